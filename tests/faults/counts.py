"""How often each fault is tried: often by `make faults`, less often by `make test`. All counts stand here."""

from __future__ import annotations

import os

FULL = os.environ.get("GALCLI_FAULTS") == "full"


def _tries(full: int, quick: int) -> int:
    return full if FULL else quick


#: Kills at random moments, and rows of the survey they hit (about 40 tiles).
KILLS, KILLED_ROWS = _tries(50, 6), 56
#: Moments at which a run is killed or refused a change of the disk: these many, spread over all there are.
DISK_CHANGES = _tries(200, 10)
#: Calls that read and fail with EIO, for each kind of cutouts.
READS = _tries(1000, 8)
#: System calls that read and fail with EIO, for each kind of file.
SYSTEM_CALLS = _tries(20, 2)
#: Sizes of a disk that is too small.
DISK_SIZES = _tries(10, 4)
#: Random damage to model files and checkpoints.
TRUNCATIONS, FLIPS = _tries(100, 10), _tries(200, 20)
#: Positions compared with another HEALPix library.
POSITIONS = _tries(1_000_000, 100_000)
#: Rows of the small and the large catalogue whose peak memory is compared.
MEMORY_ROWS = (_tries(100_000, 10_000), _tries(1_000_000, 100_000))
#: Examples that hypothesis makes for each command line, and damaged files of each kind.
EXAMPLES, FUZZED = _tries(10, 2), _tries(100, 15)


def spread(events: int, tries: int) -> range:
    """At most ``tries`` numbers from 1 to ``events``, evenly spread."""
    return range(1, events + 1, -(-events // tries))
