"""Handing out tiles, and what happens to one whose worker dies: it is tried again, and in the end given up."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from itertools import chain

from galcli import interrupts
from galcli.errors import DeviceError, GalcliError
from galcli.predict.claims import claim
from galcli.predict.engine import Engine
from galcli.predict.executors import Crew
from galcli.predict.plan import Plan
from galcli.predict.problems import reason_given_up
from galcli.predict.tile import TileReport, give_up_tile, is_made
from galcli.progress import duration
from galcli.sky.tiles import Tile
from galcli.tables.atomic import atomic_write

#: How often a tile is tried, and seconds between two looks for a signal.
TRIES = 3
POLL = 0.2
#: Seconds between two looks for tiles that are there though nobody said so, where answers may be lost; and until a tile
#: that a lost worker holds is first tried again.
PATIENCE = 5.0
#: So many tiles that fail one after the other are not at fault themselves.
HOPELESS = 100
#: A tile takes long where it takes so many times as long as any before it, and so many seconds at least.
MUCH_LONGER, LONG = 10, 300.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Hands tiles to a crew.

    A tile that fails is tried again at once. Its last try comes when all others are done, and it is then alone, so that
    no tile is given up because of its neighbour on a machine. Errors of galcli's own and of the system (device, input,
    disk) end the run: other tiles would meet them too.

    A worker that is lost may still be at work, or hang, and hold its tile: nobody waits for it, but the tile is looked
    at again and again, until it is there or free.

    Parameters
    ----------
    crew : Crew
    plan : Plan
    engine : Engine
    note : callable
        Is told of every failure.
    shared : bool
        Other runs work on the tiles of the plan: those that they hold are left to them.
    """

    def __init__(self, crew: Crew, plan: Plan, engine: Engine, note: Callable[[str], None], *, shared: bool) -> None:
        self._crew, self._plan, self._engine, self._note, self._shared = crew, plan, engine, note, shared
        self._failures: Counter[Tile] = Counter()
        self._working: dict[Future[TileReport], Tile] = {}
        self._begun: dict[Tile, float] = {}
        self._waits: Counter[Tile] = Counter()
        self._held: set[Tile] = set()  # begun, and to be handed out again
        self._there: set[Tile] = set()
        self._started = self._looked = time.monotonic()
        self._longest = 0.0
        self._made, self._enough, self._failing, self._silences = 0, 0, 0, 0

    def make(self, tiles: Sequence[Tile]) -> Iterator[TileReport]:
        """Make these tiles; all others of the plan are made already.

        Yields
        ------
        What came of each, in the order in which they are done.

        Raises
        ------
        Interrupted
            After a signal.
        GalcliError, OSError
            What a worker met that other tiles would meet too.
        """
        wanted = sum(map(_needs_models, tiles))
        self._made = sum(map(_needs_models, self._plan.tiles)) - wanted
        self._enough = TRIES * min(self._crew.slots, wanted)
        waiting, last = deque(tiles), deque[Tile]()
        while waiting or last or self._begun:
            interrupts.check()
            self._crew.check()
            while waiting and len(self._begun) < self._crew.slots:
                self._hand_out(waiting.popleft())
            if not self._begun:
                self._hand_out(last.popleft())
            self._look_for_stalled()
            for tile, report in chain(self._unanswered(), self._done()):
                if report is None and self._failures[tile] < TRIES:
                    (last if self._failures[tile] == TRIES - 1 else waiting).appendleft(tile)
                    continue
                if report is not None and report.made and _needs_models(tile):
                    self._made, self._failing = self._made + 1, 0
                yield report or TileReport(tile)

    def _hand_out(self, tile: Tile) -> None:
        self._begun[tile] = time.monotonic()
        self._submit(tile)

    def _submit(self, tile: Tile) -> None:
        self._working[self._crew.submit(tile)] = tile

    def _look_for_stalled(self) -> None:
        """Tell of each tile that takes far longer than those before it: its worker may hang, or its answer be lost."""
        now = time.monotonic()
        if not self._longest and now - self._started > LONG * 2**self._silences:
            self._silences += 1
            why = (
                "do the workers still wait for the batch system?" if self._crew.loses_answers else "does a worker hang?"
            )
            self._note(f"no tile is done after {duration(now - self._started)}; {why}")
        for tile, began in self._begun.items():
            held = tile in self._held
            patience = PATIENCE if held else max(LONG, MUCH_LONGER * self._longest)
            # Each time twice as long: it may as well wait for a job of the batch system.
            if now - began <= patience * 2 ** self._waits[tile] or not (held or self._longest):
                continue
            again = held or self._crew.loses_answers
            if not held and (again or not self._waits[tile]):
                said = "handed out again" if again else "does its worker hang?"
                self._note(f"{tile.path}: no answer for {duration(now - began)}; {said}")
            self._waits[tile] += 1
            if again:  # who makes it looks whether it is there, and holds it meanwhile
                self._held.discard(tile)
                self._submit(tile)

    def _unanswered(self) -> list[tuple[Tile, TileReport]]:
        """Tiles that are there though nobody said so: their worker died, on the next one, before it was heard.

        Those that were there at the last look already; and only those that are late are looked for.
        """
        now = time.monotonic()
        if not self._crew.loses_answers or now - self._looked < PATIENCE:
            return []
        self._looked = now
        late = [tile for tile, began in self._begun.items() if now - began > PATIENCE + 2 * self._longest]
        there = {tile for tile in late if is_made(self._plan, tile)}
        silent, self._there = there & self._there, there
        for tile in silent:
            self._forget(tile)
        return [(tile, TileReport(tile)) for tile in silent]

    def _forget(self, tile: Tile) -> None:
        """Wait for a tile no longer."""
        self._held.discard(tile)
        for future in [future for future, other in self._working.items() if other == tile]:
            del self._working[future]
        del self._begun[tile]
        self._waits.pop(tile, None)

    def _done(self) -> Iterator[tuple[Tile, TileReport | None]]:
        """Tiles that are done, waiting for one; None for those that failed."""
        if not self._working:  # all that are left are held
            time.sleep(POLL)
        for future in wait(self._working, POLL, FIRST_COMPLETED).done:
            if future not in self._working:  # another answer for its tile came at the same time
                continue
            tile = self._working[future]
            try:
                report = self._crew.result(future)
            except (GalcliError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever the fault of one tile, the others go on
                self._failed(tile, error)
                if self._failures[tile] >= TRIES and not self._give_up(tile, error):
                    self._wait_for_holder(tile, future)
                    continue
                self._forget(tile)
                yield tile, None
                continue
            if not report.made and self._is_held(tile):
                self._wait_for_holder(tile, future)
                continue
            if tile not in self._waits:  # else it is no measure
                self._longest = max(self._longest, time.monotonic() - self._begun[tile])
            self._forget(tile)
            yield tile, report

    def _is_held(self, tile: Tile) -> bool:
        """Whether a tile that somebody else is at is ours nevertheless: that one is a worker that this run has lost."""
        ours = self._failures[tile] or not self._shared
        return bool(ours) and not is_made(self._plan, tile)

    def _wait_for_holder(self, tile: Tile, future: Future[TileReport]) -> None:
        """Try a tile again later."""
        del self._working[future]
        self._held.add(tile)
        self._begun[tile] = time.monotonic()
        if self._waits[tile] <= 1:
            self._note(f"{tile.path}: held by a worker that was lost or hangs; tried again later")

    def _failed(self, tile: Tile, error: Exception) -> None:
        """Count a failure, and give up the run where no tile works any more."""
        lost = isinstance(error, BrokenExecutor)
        self._failures[tile] += 1
        self._failing += self._failures[tile] == 1
        self._note(f"{tile.path}: {_reason(error)} (try {self._failures[tile]} of {TRIES})")
        _log.debug("%s", tile.path, exc_info=error)
        if self._failing >= HOPELESS or (not self._made and self._failures.total() >= self._enough):
            if not lost:
                raise error
            raise DeviceError(
                "worker after worker was killed with the tile it worked on",
                "where memory ran out: fewer --workers, or --max-memory; else run without workers to see the fault itself",
            ) from error

    def _give_up(self, tile: Tile, error: Exception) -> bool:
        """Commit the tile without predictions, unless it is made or another run is at it; False where a lost worker is."""
        with claim(self._plan.paths.claim(tile)) as ours:
            if ours and not is_made(self._plan, tile):
                reason = reason_given_up(tile, TRIES, _reason(error))
                text = "".join(traceback.format_exception(error))
                atomic_write(self._plan.paths.reason(tile), f"{reason}\n\n{text}".encode())
                give_up_tile(self._plan, self._engine, tile, reason)
        return ours or self._shared


def _reason(error: Exception) -> str:
    return "worker was killed" if isinstance(error, BrokenExecutor) else f"{type(error).__name__}: {error}"


def _needs_models(tile: Tile) -> bool:
    """Whether making a tile shows that workers work: rows with bad coordinates are not predicted."""
    return tile.order >= 0
