"""One cutout file per catalogue row, from a cutout service into a folder; what is there already is not asked for again."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.crew import Crew
from galcli.cutouts.http import BadAnswerError, Client, Manners, UnreachableError
from galcli.cutouts.lookup import iau_name
from galcli.cutouts.problem_list import ProblemList
from galcli.cutouts.services import Service, Wanted, is_there
from galcli.errors import IdentityError, InputError, TooManyFailures
from galcli.progress import Progress
from galcli.sky import healpix
from galcli.sky.catalog import Catalog
from galcli.tables.atomic import atomic_write, output_error

#: Files in the folder beside the cutouts.
SETTINGS, PROBLEMS = "download.json", "problems.csv"

#: Rows handled together: equal identifiers among them are fetched once, and their problems are listed in order.
_TOGETHER = 1024
#: Rows in succession without a connection after which nobody believes in the next one.
_PATIENCE = 3
#: Different reasons that are counted for the summary.
_REASONS = 100
#: Bytes of a file name that every file system takes.
_LONGEST_NAME = 255


@dataclass
class Tally:
    """What came of a download.

    Attributes
    ----------
    rows, fetched, present, failed : int
        Rows of the catalogue; those whose cutout was fetched now, was there already, is missing.
    reasons : Counter
        How often each reason for a failure occurred.
    """

    rows: int
    fetched: int = 0
    present: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Rows whose fate is known."""
        return self.fetched + self.present + self.failed

    def fail(self, reason: str) -> None:
        """Count a row without a cutout."""
        self.failed += 1
        if reason in self.reasons or len(self.reasons) < _REASONS:
            self.reasons[reason] += 1

    def require_cutouts(self, max_fail: float, folder: Path) -> None:
        """Raise `TooManyFailures` where more than ``max_fail`` percent of the rows have no cutout."""
        percent = 100 * self.failed / max(1, self.rows)
        if percent > max_fail:
            raise TooManyFailures(
                f"{self.failed:,} of {self.rows:,} rows ({percent:.3g} %) have no cutout, --max-fail allows {max_fail:g} %",
                f"{folder / PROBLEMS} says why; the same command tries them again",
            )


@dataclass(frozen=True)
class _Row:
    number: int
    identifier: str
    ra: float
    dec: float


@dataclass(frozen=True)
class _Cutout:
    """A file and the rows that it is for; the first one tells where to look."""

    path: Path
    rows: list[_Row]


def download(
    catalog: Catalog, folder: Path, service: Service, progress: Progress,
    url: str | None = None, manners: Manners | None = None, limit: int | None = None,
) -> Tally:  # fmt: skip
    """Fetch the cutouts that are missing; the same call goes on where an earlier one ended.

    Parameters
    ----------
    catalog : Catalog
        With coordinates.
    folder : Path
        Gets ``<identifier>.fits``, ``download.json`` and, where rows fail, ``problems.csv``. No other process may
        write there.
    service : Service
    progress : Progress
    url : str, optional
        Where the service is, instead of its home.
    manners : Manners, optional
    limit : int, optional
        Only the first rows.

    Returns
    -------
    Tally

    Raises
    ------
    UsageError
        If ``url`` is none.
    InputError
        If the folder holds something else, the catalogue cannot be read, or the service cannot be reached.
    OutputError
        If a file cannot be written.
    """
    manners = manners or Manners()
    stop = threading.Event()
    client = Client(url or service.home, manners, service.wanted.max_bytes, stop)
    _prepare(folder, service.wanted)
    tally = Tally(catalog.nrows if limit is None else min(limit, catalog.nrows))

    def fetch(cutout: _Cutout) -> bytes | BadAnswerError:
        try:
            return service.fetch(client.get, cutout.rows[0].ra, cutout.rows[0].dec)
        except BadAnswerError as error:
            return error

    progress.start(tally.rows, 0)
    try:
        with ProblemList(folder / PROBLEMS) as problems, Crew(manners.jobs, fetch, stop) as crew:
            work = _Work(folder, service.wanted, client.base, tally, problems)
            told = 0
            for first, rows in _pieces(catalog, limit):
                for cutout, answer in crew.do(work.missing(rows, first)):
                    work.settle(cutout, answer)
                    progress.advance(tally.done - told)
                    told = tally.done
                problems.flush()
            progress.advance(tally.done - told)
            work.finish()
    finally:
        progress.finish()
        client.close()
    return tally


def _pieces(catalog: Catalog, limit: int | None) -> Iterator[tuple[int, NDArray[Any]]]:
    """The rows, a few at a time, each time with the number of the first."""
    first = 0
    for rows in catalog.chunks(stop=limit):
        for start in range(0, len(rows), _TOGETHER):
            yield first + start, rows[start : start + _TOGETHER]
        first += len(rows)


class _Work:
    """Decides what is fetched, and what becomes of the answers."""

    def __init__(self, folder: Path, wanted: Wanted, base: str, tally: Tally, problems: ProblemList) -> None:
        self._folder = folder
        self._wanted = wanted
        self._base = base
        self._tally = tally
        self._problems = problems
        self._reached = False
        self._in_vain: list[str] = []  # why there was no connection, for the last cutouts in succession

    def missing(self, rows: NDArray[Any], first: int) -> Iterator[_Cutout]:
        """The cutouts to be fetched, in the order of the catalogue; all other rows are settled on the way."""
        cutouts: dict[str, _Cutout] = {}
        usable = healpix.good(rows["ra"], rows["dec"])
        for number, (entry, good) in enumerate(zip(rows, usable.tolist(), strict=True), start=first):
            identifier = entry["id"].item()
            text = identifier.decode("ascii") if isinstance(identifier, bytes) else str(identifier)
            row = _Row(number, text, float(entry["ra"]), float(entry["dec"]))
            if good:
                name = file_name(text, row.ra, row.dec)
                cutouts.setdefault(name, _Cutout(self._folder / name, [])).rows.append(row)
            else:
                self._fail_all([row], "RA or Dec is missing, not finite or out of range")
        for cutout in cutouts.values():
            interrupts.check()
            if not self._there(cutout.path, cutout.rows):
                yield cutout

    def settle(self, cutout: _Cutout, answer: bytes | BadAnswerError) -> None:
        """Keep a good answer, or note why there is none."""
        if isinstance(answer, UnreachableError):
            self._in_vain.append(str(answer))
        else:
            self._reached, self._in_vain = True, []
        if isinstance(answer, BadAnswerError):
            self._fail_all(cutout.rows, str(answer))
            self._require_connection(_PATIENCE)
            return
        atomic_write(cutout.path, answer)
        self._tally.fetched += 1
        if not self._there(cutout.path, cutout.rows[1:]):
            self._fail_all(cutout.rows[1:], "the file cannot be read again")

    def finish(self) -> None:
        """Raise `InputError` if the service was asked, but never reached."""
        if not self._reached:
            self._require_connection(1)

    def _require_connection(self, patience: int) -> None:
        if len(self._in_vain) >= patience:
            raise InputError(
                f"{self._base} cannot be reached: {self._in_vain[-1]}",
                "check the network, or --url; the same command goes on",
            )

    def _there(self, path: Path, rows: list[_Row]) -> bool:
        """Whether a file is there; if it is, its rows are settled."""
        for row in rows:
            try:
                if not is_there(path, self._wanted, row.ra, row.dec):
                    return False
            except BadAnswerError as error:
                self._fail_all([row], str(error))
            else:
                self._tally.present += 1
        return True

    def _fail_all(self, rows: list[_Row], reason: str) -> None:
        for row in rows:
            self._tally.fail(reason)
            self._problems.add(row.number, row.identifier, reason)


def file_name(identifier: str, ra: float, dec: float) -> str:
    """Name of a cutout that its row is known by: the identifier, or the IAU name where that cannot be a file name."""
    stem = identifier
    long = len(stem.encode()) + len(".fits") > _LONGEST_NAME
    if long or not stem.isprintable() or stem[:1] in ("", ".") or set(stem) & set("/\\"):
        stem = iau_name(ra, dec)
    return f"{stem}.fits"


def _prepare(folder: Path, wanted: Wanted) -> None:
    """Refuse a folder with other things in it; remove what a killed download left half-written."""
    path = folder / SETTINGS
    settings = json.loads(json.dumps(dataclasses.asdict(wanted)))  # as they come back: lists, not tuples
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stray in folder.glob(".*.tmp"):
            stray.unlink(missing_ok=True)
        known = path.read_bytes() if path.exists() else None
        foreign = known is None and any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError as error:
        raise output_error(folder, error) from error
    if foreign:
        raise InputError(f"{folder} holds files that were not downloaded", "choose a new folder with -o")
    if known is None:
        atomic_write(path, json.dumps(settings, indent=1).encode() + b"\n")
        return
    try:
        before = dict(json.loads(known))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}", "choose a new folder with -o") from error
    changes = [f"{key} {before.get(key)}, now {value}" for key, value in settings.items() if before.get(key) != value]
    if changes:
        raise IdentityError(
            f"{folder} holds cutouts of another kind: {'; '.join(changes)}", "choose another folder with -o"
        )
