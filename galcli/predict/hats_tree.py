"""Names of the files in a HATS folder, and those files that are neither rows nor their description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galcli import __version__
from galcli.predict.leaves import Leaf
from galcli.predict.options import HATS
from galcli.sky.healpix import ORDER_MAX
from galcli.tables.atomic import atomic_write
from galcli.tables.columns import Column
from galcli.tables.fits import TableHDU, write_table
from galcli.tables.parquet import HEALPIX

#: Orders of the map of the sky, by how crowded it is: 12,288 to 786,432 pixels.
MAP_ORDERS = 5, 8


@dataclass(frozen=True)
class HatsTree:
    """Files of a HATS folder.

    Attributes
    ----------
    root : Path
    suffix : str
        Ending of the leaves: ``.parquet`` or ``.fits``.
    """

    root: Path
    suffix: str

    @classmethod
    def of_layout(cls, root: Path, layout: str) -> HatsTree:
        """The tree that a layout writes."""
        return cls(root, ".parquet" if layout == HATS else ".fits")

    @property
    def record(self) -> Path:
        """Header, columns, models and facts of the run: the HDUs of a table, without its rows."""
        return self.root / "galcli.fits"

    @property
    def properties(self) -> tuple[Path, Path]:
        """What HATS readers open first, under its new and its old name."""
        return self.root / "hats.properties", self.root / "properties"

    @property
    def partitions(self) -> Path:
        """The leaf pixels."""
        return self.root / "partition_info.csv"

    @property
    def maps(self) -> tuple[Path, Path]:
        """How many rows lie where, under its new and its old name."""
        return self.root / "skymap.fits", self.root / "point_map.fits"

    @property
    def dataset(self) -> Path:
        """Folder of the leaves."""
        return self.root / "dataset"

    @property
    def schema(self) -> Path:
        """Columns of the Parquet leaves."""
        return self.dataset / "_common_metadata"

    @property
    def statistics(self) -> Path:
        """Footers of all Parquet leaves."""
        return self.dataset / "_metadata"

    @property
    def bad(self) -> Path:
        """Rows whose coordinates are bad: they lie in no pixel."""
        return self.root / f"bad-coordinates{self.suffix}"

    def leaf(self, order: int, pix: int) -> Path:
        """File of a leaf pixel."""
        return self.dataset / f"Norder={order}/Dir={pix // 10000 * 10000}/Npix={pix}{self.suffix}"

    @property
    def known(self) -> set[str]:
        """Names that galcli gives to what lies in the folder."""
        files = (self.record, *self.properties, self.partitions, *self.maps, self.dataset, self.bad)
        return {path.name for path in files}


def write_partitions(tree: HatsTree, leaves: Sequence[Leaf]) -> None:
    """List the leaf pixels."""
    lines = ["Norder,Npix", *(f"{leaf.order},{leaf.pix}" for leaf in leaves)]
    atomic_write(tree.partitions, "".join(line + "\n" for line in lines).encode())


def read_partitions(tree: HatsTree) -> list[tuple[int, int]]:
    """The leaf pixels that are listed: order and pixel of each.

    Raises
    ------
    OSError
        If the list cannot be read.
    ValueError
        If it is damaged.
    """
    head, *lines = tree.partitions.read_text("ascii").splitlines() or [""]
    if head != "Norder,Npix":
        raise ValueError("it does not open with Norder,Npix")
    pixels = []
    for line in lines:
        order, pix = (int(word) for word in line.split(","))
        if not (0 <= order <= ORDER_MAX and 0 <= pix < 12 << 2 * order):
            raise ValueError(f"{line} is no HEALPix pixel")
        pixels.append((order, pix))
    return pixels


def write_maps(tree: HatsTree, hpx: NDArray[np.int64], order: int) -> None:
    """Count the rows in each pixel of an order, and write the map of the whole sky.

    Parameters
    ----------
    tree : HatsTree
    hpx : ndarray or memmap (n,), int64
        Pixels of order 29, -1 where there is none.
    order : int
    """
    counts = np.zeros(12 << 2 * order, np.int64)
    for start in range(0, len(hpx), 1 << 20):
        part = np.asarray(hpx[start : start + (1 << 20)])
        counts += np.bincount(part[part >= 0] >> 2 * (ORDER_MAX - order), minlength=len(counts))
    column = Column("ROWS", "i8", description="rows in this pixel")
    hdu = TableHDU(
        "SKYMAP", [column], {"ROWS": counts},
        [
            ("PIXTYPE", "HEALPIX", "HEALPix map"), ("ORDERING", "NESTED", ""), ("COORDSYS", "C", "equatorial"),
            ("NSIDE", 1 << order, ""), ("FIRSTPIX", 0, ""), ("LASTPIX", len(counts) - 1, ""),
            ("INDXSCHM", "IMPLICIT", "one row per pixel"), ("OBJECT", "FULLSKY", ""),
        ],
    )  # fmt: skip
    for path in tree.maps:
        write_table(path, [hdu])


def write_properties(tree: HatsTree, name: str, leaves: Sequence[Leaf], map_order: int) -> None:
    """Write what HATS readers open first; nothing in it depends on the day.

    Parameters
    ----------
    tree : HatsTree
        Its leaves are there.
    name : str
        Of the catalogue.
    leaves : sequence of Leaf
    map_order : int
    """
    size = sum(path.stat().st_size for path in tree.dataset.rglob("*") if path.is_file())
    entries = {
        "obs_collection": name,
        "dataproduct_type": "object",
        "hats_nrows": sum(map(len, leaves)),
        "hats_col_ra": "RA",
        "hats_col_dec": "DEC",
        "hats_col_healpix": HEALPIX if tree.suffix == ".parquet" else "HPX",
        "hats_col_healpix_order": ORDER_MAX,
        "hats_npix_suffix": tree.suffix,
        "hats_skymap_order": map_order,
        "hats_max_rows": max(map(len, leaves), default=0),
        "hats_order": max((leaf.order for leaf in leaves), default=0),
        "moc_sky_fraction": f"{sum(1 / (12 << 2 * leaf.order) for leaf in leaves):.5g}",
        "hats_builder": f"galcli {__version__}",
        "hats_estsize": -(-size // 1024),
        "hats_version": "v1.0",
    }
    text = "#HATS catalog\n" + "".join(f"{key}={_escaped(str(value))}\n" for key, value in entries.items())
    for path in tree.properties:
        atomic_write(path, text.encode("utf-8", "backslashreplace"))


def read_properties(tree: HatsTree) -> dict[str, str]:
    """Entries of the file of properties.

    Raises
    ------
    OSError
        If it cannot be read.
    UnicodeDecodeError
        If it is no text.
    """
    lines = tree.properties[0].read_text("utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line.strip() and not line.startswith(("#", "!")))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _escaped(value: str) -> str:
    """A value in a file of properties, where a backslash begins an escape."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
