"""Every error galcli raises on purpose, in one tree.

::

    GalcliError                 exit 1
    ├── UsageError              exit 2   an option or argument makes no sense
    ├── TooManyFailures         exit 3   more rows without a prediction or cutout than --max-fail allows
    ├── InputError              exit 4   a catalogue or cutout source cannot be used
    │   ├── NoCutoutsError      exit 4   no cutouts lie beside the catalogue, and none are named
    │   └── IdentityError       exit 4   the run on disk was made with other inputs or settings
    ├── ModelError              exit 5   a model file cannot be used
    ├── DeviceError             exit 5   the device asked for is not there
    │   └── DeviceMemoryError   exit 5   its memory does not hold a batch
    ├── OutputError             exit 6   the result cannot be written
    └── Interrupted             exit 75  stopped by a signal; the run can be resumed

Each error says in one line what is wrong and, in ``hint``, in one line how to fix it.
"""

from __future__ import annotations


class GalcliError(Exception):
    """Base of all errors that galcli raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, in one line.
    hint : str, optional
        How to fix it, in one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[GalcliError], tuple[str, str]]:
        # Errors cross process borders when tiles run in worker processes.
        return type(self), (self.message, self.hint)


class UsageError(GalcliError):
    """An option or argument makes no sense."""

    exit_code = 2


class TooManyFailures(GalcliError):  # noqa: N818 - the name says what happened
    """More rows without a prediction or cutout than the user allows; what there is, is written all the same."""

    exit_code = 3


class InputError(GalcliError):
    """A catalogue or a cutout source cannot be used."""

    exit_code = 4


class NoCutoutsError(InputError):
    """No cutouts lie beside the catalogue or in it, and none are named."""


class IdentityError(InputError):
    """What is on disk was made with other inputs or settings."""


class ModelError(GalcliError):
    """A model file cannot be used."""

    exit_code = 5


class DeviceError(GalcliError):
    """The device asked for is not there or is not really used."""

    exit_code = 5


class DeviceMemoryError(DeviceError):
    """The device's memory does not hold a batch; a smaller one may fit."""


class OutputError(GalcliError):
    """The result cannot be written."""

    exit_code = 6


class Interrupted(GalcliError):  # noqa: N818 - the name says what happened
    """Stopped by a signal; the same command resumes the run."""

    exit_code = 75
