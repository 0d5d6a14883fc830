"""Positions that are not right ascension and declination in degrees: recognised, and refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.table import Table, pieces

_OTHER_COORDINATES = (
    ("GLON", "GLAT"), ("GAL_LON", "GAL_LAT"), ("GAL_L", "GAL_B"), ("L", "B"), ("LII", "BII"), ("ELON", "ELAT"),
    ("ECL_LON", "ECL_LAT"), ("LAMBDA", "BETA"),
)  # fmt: skip
_HOURS = ("RAH", "RA_HOURS", "RAHOURS", "RA_HOUR", "RAHR", "RA_HR", "RA_HMS", "AL2000")
#: Keywords that name the system of all coordinates, and what they say where it is not equatorial.
_SYSTEM_KEYS = ("COORDSYS", "RADESYS", "COOSYS")
_OTHER_SYSTEMS = {
    "G": "Galactic", "GAL": "Galactic", "GALACTIC": "Galactic", "GALACTIC_II": "Galactic",
    "SUPERGALACTIC": "supergalactic", "SUPER_GALACTIC": "supergalactic", "E": "ecliptic", "ECL": "ecliptic",
    "ECLIPTIC": "ecliptic", "ECL_FK4": "ecliptic", "ECL_FK5": "ecliptic",
}  # fmt: skip


def other_system(header: Mapping[str, Any], folded: Mapping[str, str]) -> str:
    """What the coordinates of a catalogue without RA and Dec are; '' if nothing says so.

    Parameters
    ----------
    header : mapping
        Keywords in capitals.
    folded : mapping of str to str
        Column names in capitals -> as they are spelled.
    """
    hours = [folded[name] for name in _HOURS if name in folded]
    if hours:
        return f"right ascension only in hours ({hours[0]})"
    for lon, lat in _OTHER_COORDINATES:
        if lon in folded and lat in folded:
            return f"no equatorial coordinates, only {folded[lon]}, {folded[lat]}"
    for key in _SYSTEM_KEYS:
        system = str(header.get(key, "")).strip()
        if system.upper() in _OTHER_SYSTEMS:
            return f"no equatorial coordinates: they are {_OTHER_SYSTEMS[system.upper()]} ({key} = {system})"
    return ""


def refuse_ring(table: Table) -> None:
    """Raise `InputError` if a catalogue says that its rows are HEALPix pixels in RING order."""
    ring = [key for key, said in table.header.items() if "ORDERING" in key and str(said).strip().upper() == "RING"]
    ring += [key for key in ("HPXNEST",) if str(table.header.get(key, "")).strip().upper() in ("F", "FALSE", "0")]
    if ring:
        raise InputError(
            f"{table.where}: {ring[0]} = {table.header[ring[0]]} says that its pixels are in RING order",
            "galcli knows NESTED pixels only: convert them with healpy.ring2nest and write ORDERING = 'NESTED'",
        )


class HourCheck:
    """Whether right ascensions look like hours, told from their range while the rows pass by.

    A survey that reaches over more than 60 degrees of declination, but nowhere beyond 24 in right ascension, is given
    in hours. Only a column that states no unit and that the user did not name is judged.

    Parameters
    ----------
    parts : sequence of (str, int)
        Where the tables are whose rows follow each other, and their numbers of rows: one may be in hours and
        another in degrees.
    """

    _ROWS, _TURN, _SPAN, _HEIGHT = 20, 24.0, 20.0, 60.0

    def __init__(self, parts: Sequence[tuple[str, int]]) -> None:
        self._places = [where for where, _ in parts]
        self._starts = np.cumsum([0, *(nrows for _, nrows in parts)], dtype=np.int64)
        self._rows = np.zeros(len(parts), np.int64)
        self._low, self._high = np.full((len(parts), 2), np.inf), np.full((len(parts), 2), -np.inf)

    def see(self, start: int, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> None:
        """Take in the rows from ``start`` on, degrees (N,) each."""
        both = np.stack([ra, dec], axis=1)
        both[~np.isfinite(both).all(axis=1)] = np.nan
        for part, first, last in pieces(self._starts, start, start + len(both)):
            begin = int(self._starts[part]) - start
            here = both[begin + first : begin + last]
            self._rows[part] += np.count_nonzero(~np.isnan(here[:, 0]))
            self._low[part] = np.fmin(self._low[part], np.fmin.reduce(here))
            self._high[part] = np.fmax(self._high[part], np.fmax.reduce(here))

    def judge(self, where: str, ra_name: str) -> None:
        """Raise `InputError` if those of a table, or all of them together (``where``), are hours."""
        for place, rows, low, high in zip(self._places, self._rows, self._low, self._high, strict=True):
            self._judge(place, ra_name, int(rows), low, high)
        self._judge(where, ra_name, int(self._rows.sum()), self._low.min(axis=0), self._high.max(axis=0))

    def _judge(self, where: str, ra_name: str, rows: int, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        if rows < self._ROWS:
            return
        width, height = high - low
        if low[0] >= 0 and high[0] <= self._TURN and width > self._SPAN and height > self._HEIGHT:
            raise InputError(
                f"{where}: {ra_name} looks like hours: all of it lies between 0 and 24, while Dec spans {height:.0f} degrees",
                f"multiply it by 15; if these are degrees all the same, say so with --ra-column {ra_name}",
            )
