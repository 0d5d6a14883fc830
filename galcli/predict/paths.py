"""Every path of a prediction run, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from galcli.errors import InputError
from galcli.sky.tiles import Tile


@dataclass(frozen=True)
class RunPaths:
    """Files of the run that makes ``out``.

    Attributes
    ----------
    out : Path
        The output: a table, or a folder.
    """

    out: Path

    @property
    def root(self) -> Path:
        """Run folder; removed when the table is complete and no tile was given up, unless ``--keep-tiles``."""
        return self.out.with_name(self.out.name + ".run")

    @property
    def record(self) -> Path:
        """``run.json``: identity, settings, and who ran it."""
        return self.root / "run.json"

    @property
    def lock(self) -> Path:
        """Lock file of the whole run."""
        return self.root / "lock"

    @property
    def planning(self) -> Path:
        """Lock file of whoever makes the plan."""
        return self.root / "planning"

    @property
    def plan(self) -> Path:
        """Folder of the plan; it appears whole, by rename."""
        return self.root / "plan"

    @property
    def catalog(self) -> Path:
        """Catalogue columns of the run, one structured row per catalogue row."""
        return self.plan / "catalog.npy"

    @property
    def rows(self) -> Path:
        """Catalogue rows ordered by tile, int64."""
        return self.plan / "rows.npy"

    @property
    def tiles(self) -> Path:
        """The tiles, as JSON."""
        return self.plan / "tiles.json"

    @property
    def table(self) -> Path:
        """What the table looks like, JSON."""
        return self.plan / "table.json"

    @property
    def planned(self) -> bool:
        """Whether a run was planned here, wholly."""
        return all(path.exists() for path in (self.record, self.catalog, self.rows, self.tiles, self.table))

    @property
    def spill(self) -> Path:
        """Working folder of the merge."""
        return self.root / "merge"

    @property
    def building(self) -> Path:
        """An output folder in the making."""
        return self.root / "output"

    @property
    def replaced(self) -> Path:
        """An output folder that makes room for a new one."""
        return self.root / "replaced"

    @property
    def problems(self) -> Path:
        """Table of the rows that went wrong, beside the output."""
        return self.out.with_name(self.out.name + ".problems.csv")

    def tile(self, tile: Tile) -> Path:
        """FITS file of a finished tile."""
        return self.root / tile.path

    def claim(self, tile: Tile) -> Path:
        """Lock file that a worker holds while it makes a tile."""
        return self.root / "claims" / (tile.path.replace("/", "_") + ".lock")

    @property
    def reports(self) -> Path:
        """Folder of the tiles' problem lists."""
        return self.root / "reports"

    def report(self, tile: Tile) -> Path:
        """Problems met in a finished tile, JSON."""
        return self.reports / (tile.path.replace("/", "_") + ".json")

    @property
    def given_up(self) -> Path:
        """Folder with one file, the reason, for each tile that could not be made."""
        return self.root / "given-up"

    @property
    def gave_up(self) -> bool:
        """Whether tiles were given up, and not made since."""
        return any(self.given_up.glob("*.txt"))

    def reason(self, tile: Tile) -> Path:
        """Why a tile was given up, text."""
        return self.given_up / (tile.path.replace("/", "_") + ".txt")

    @property
    def site(self) -> Path:
        """Files of the batch system, and its logs."""
        return self.root / "site"


def paths_of(place: Path) -> RunPaths:
    """Paths of a run, from its output table or its folder.

    Raises
    ------
    InputError
        If the path names nothing that could be a table.
    """
    name = place.name.removesuffix(".run")
    if not name:
        raise InputError(
            f"{place} is neither an output table nor a run folder", "give the table, or the folder <output>.run"
        )
    return RunPaths(place.with_name(name))
