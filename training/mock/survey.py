"""A mock survey on disk: ``catalog.fits``, cutout stacks by HEALPix tile, ``spectra.fits``.

Each tile's pixels come from a generator seeded by the survey's seed and the tile, so that a survey interrupted at any
moment goes on with the tiles that are missing, and equals an uninterrupted one byte for byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.stack_write import write_stack
from galcli.errors import InputError, UsageError
from galcli.sky import healpix
from galcli.sky.tiles import Tile, make_tiles
from galcli.tables.columns import Column
from galcli.tables.fits import Card, TableHDU, write_table
from galcli.training.mock import catalogue, instrument, planted, population, positions, spectra
from galcli.training.mock.instrument import SURVEYS, UGRIZY
from galcli.training.progress import track
from galcli.training.spectra.grid import POINTS

BANDS = "ugrizy"

#: Galaxies rendered at once.
CHUNK = 32
#: Bytes of uncompressed pixels in a stack file at most.
STACK_BYTES = 256_000_000
#: First identifier; beyond 2^53, so that whoever reads ids as float is found out.
FIRST_ID = 39_627_000_000_000_001


@dataclass(frozen=True)
class MockOptions:
    """What a mock survey shall be.

    Attributes
    ----------
    number, seed : int
    bands : str
        Out of ugrizy.
    size : int
        Side of the cutouts, px.
    pixel_scale : float
        arcsec per pixel.
    survey : str
        ``legacy``, ``sdss``, ``ps1``, ``mixed`` (one of the three per galaxy), ``legacy-ugrizy``, or ``noiseless`` (no
        noise, no PSF, no other objects).
    rice : bool
        Rice-compressed stacks.
    balance : str or None
        ``galaxy10``: class frequencies of Galaxy10.
    spectra : bool
        Write ``spectra.fits``.
    """

    number: int = 1000
    seed: int = 0
    bands: str = "grz"
    size: int = 144
    pixel_scale: float = 0.262
    survey: str = "legacy"
    rice: bool = False
    balance: str | None = None
    spectra: bool = True

    def __post_init__(self) -> None:
        if not self.bands or list(self.bands) != [b for b in BANDS if b in self.bands]:
            raise UsageError(
                f"--bands {self.bands}: bands are some of {BANDS}, in this order", "for example --bands grz"
            )
        drawn = tuple(SURVEYS) if self.survey == "mixed" else (self.survey,)
        if set(drawn) <= set(SURVEYS):
            lacking = [band for band in self.bands if any(band not in SURVEYS[name].depth for name in drawn)]
            if lacking:
                raise UsageError(
                    f"the {self.survey} survey has no band {', '.join(lacking)}",
                    "use --survey legacy-ugrizy, which has all six",
                )


def write_survey(directory: Path, options: MockOptions) -> Path:
    """Write a mock survey, or what is missing of it.

    Parameters
    ----------
    directory : Path
    options : MockOptions

    Returns
    -------
    Path
        The catalogue.

    Raises
    ------
    InputError
        If the directory holds another survey.
    """
    directory.mkdir(parents=True, exist_ok=True)
    cards = _cards(options)
    catalog = directory / "catalog.fits"
    # The catalogue comes last: without it, the stacks tell whose survey was interrupted here.
    for path in (catalog, *sorted((directory / "cutouts").rglob("*.fits"))):
        if path.exists():
            _require_same(path, cards)
    pop, ra, dec, observed = draw_catalogue(options)
    ids = FIRST_ID + np.arange(options.number, dtype=np.int64)
    for tile, rows in _tiles(ra, dec, options):
        path = directory / "cutouts" / tile.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_stack(path, rows, ids, ra, dec, pop, options, cards)
    if options.spectra:
        _write_spectra(directory / "spectra.fits", ids, pop, options, cards)
    _write_catalog(catalog, ids, ra, dec, observed, cards)
    return catalog


def draw_catalogue(
    options: MockOptions,
) -> tuple[dict[str, Tensor], NDArray[np.float64], NDArray[np.float64], dict[str, Any]]:
    """Draw the galaxies of a survey.

    Returns
    -------
    pop : dict of Tensor (n,)
        Generating parameters.
    ra, dec : ndarray (n,), float64, degrees
    observed : dict of catalogue.Column
    """
    generator = torch.Generator().manual_seed(options.seed)
    pop = population.draw(options.number, generator, options.balance)
    ra, dec = positions.draw(options.number, generator)
    return pop, ra.numpy(), dec.numpy(), catalogue.observe(pop, generator)


def write_planted(directory: Path, number: int, seed: int) -> Path:
    """Write ``planted.fits``: a catalogue with planted dependences, and the answers computed from its densities.

    Parameters
    ----------
    directory : Path
    number, seed : int

    Returns
    -------
    Path
    """
    generator = torch.Generator().manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "planted.fits"
    cards: list[Card] = [("MOCK", True, "planted by galcli"), ("SEED", seed, "random seed")]
    write_table(path, [planted.catalogue(number, generator, cards), *planted.answers(cards)])
    return path


def _tiles(
    ra: NDArray[np.float64], dec: NDArray[np.float64], options: MockOptions
) -> Iterator[tuple[Tile, NDArray[np.int64]]]:
    """Tiles of the survey with their rows, none larger than a stack file should be."""
    galaxy_bytes = 4 * len(options.bands) * options.size**2
    with tempfile.TemporaryDirectory() as folder:
        order = Path(folder) / "rows.npy"
        tiles = make_tiles(healpix.pixel(ra, dec), order, max_rows=max(1, STACK_BYTES // galaxy_bytes))
        rows = np.load(order, allow_pickle=False)
    for tile in track(tiles, "cutouts", weight=len):
        yield tile, rows[tile.start : tile.stop]


def _write_stack(
    path: Path, rows: NDArray[np.int64], ids: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64],
    pop: dict[str, Tensor], options: MockOptions, cards: list[Card],
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(hash((options.seed, int(rows[0]))) & 0x7FFFFFFFFFFFFFFF)
    pixels = np.empty((len(rows), len(options.bands), options.size, options.size), np.float32)
    for start in range(0, len(rows), CHUNK):
        index = torch.from_numpy(rows[start : start + CHUNK])
        part = {key: values[index] for key, values in pop.items()}
        pixels[start : start + CHUNK] = _stamps(part, options, generator).numpy()
    write_stack(
        path, ids[rows], ra[rows], dec[rows], pixels, tuple(options.bands), options.pixel_scale,
        survey=options.survey + "-mock", compress="rice" if options.rice else None,
        header={key: (value, comment) for key, value, comment in cards},
    )  # fmt: skip


def _stamps(pop: dict[str, Tensor], options: MockOptions, generator: torch.Generator) -> Tensor:
    """Cutouts (n, B, H, W) [nanomaggy/px] as the survey would deliver them."""
    if options.survey == "noiseless":
        from galcli.training.mock.render import render
        from galcli.training.mock.sed import component_fluxes

        fluxes = component_fluxes(pop, options.bands)
        return render(pop, fluxes, options.bands, options.pixel_scale, options.size, generator)
    survey = UGRIZY if options.survey == UGRIZY.name else options.survey
    return instrument.stamps(pop, options.bands, options.size, options.pixel_scale, survey, generator)[0]


def _write_spectra(
    path: Path, ids: NDArray[np.int64], pop: dict[str, Tensor], options: MockOptions, cards: list[Card]
) -> None:
    observed = spectra.observe(pop, torch.Generator().manual_seed(options.seed + 1))
    unit = "10**(-17) erg s-1 cm-2 Angstrom-1"
    shape = (POINTS,)
    columns = [
        Column("TARGETID", "i8", ucd="meta.id;meta.main", description="galaxy of catalog.fits", null=-1),
        Column("FLUX", "f4", shape, unit=unit, description="rest-frame spectrum through a 3 arcsec fibre; 0 = no data"),
        Column("IVAR", "f4", shape, description="inverse variance of FLUX; 0 = no data"),
        Column("MODEL", "f4", shape, unit=unit, description="spectrum without noise and gaps"),
        Column("SNR", "f4", description="signal to noise per pixel near 6200 Angstrom"),
    ]
    data = {
        "TARGETID": ids, "FLUX": observed.flux.numpy(), "IVAR": observed.ivar.numpy(),
        "MODEL": observed.model.numpy(), "SNR": observed.snr.numpy(),
    }  # fmt: skip
    wave = Column("WAVE", "f8", unit="Angstrom", description="rest-frame wavelength of each spectrum pixel, vacuum")
    grid = TableHDU("WAVELENGTH", [wave], {"WAVE": spectra.grid().numpy()}, cards)
    write_table(path, [TableHDU("SPECTRA", columns, data, cards), grid])


def _write_catalog(
    path: Path, ids: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64], observed: dict[str, Any],
    cards: list[Card],
) -> None:  # fmt: skip
    columns = [
        Column("TARGETID", "i8", ucd="meta.id;meta.main", description="identifier of the galaxy", null=-1),
        Column("RA", "f8", unit="deg", ucd="pos.eq.ra;meta.main", description="right ascension, J2000"),
        Column("DEC", "f8", unit="deg", ucd="pos.eq.dec;meta.main", description="declination, J2000"),
    ]
    data: dict[str, NDArray[Any]] = {"TARGETID": ids, "RA": ra, "DEC": dec}
    for name, entry in observed.items():
        columns.append(_column(name, entry))
        data[columns[-1].name] = entry.values
    write_table(path, [TableHDU("CATALOG", columns, data, cards)])


def _column(name: str, entry: Any) -> Column:
    values: NDArray[Any] = entry.values
    kind = values.dtype.kind
    dtype = "b1" if kind == "b" else f"A{values.dtype.itemsize}" if kind == "S" else f"{kind}{values.dtype.itemsize}"
    null = -32768 if dtype == "i2" else -(2**31) if dtype == "i4" else -(2**63) if dtype == "i8" else None
    return Column(name, dtype, values.shape[1:], unit=entry.unit or None, description=entry.description, null=null)


def _cards(options: MockOptions) -> list[Card]:
    return [
        ("MOCK", True, "simulated survey, not the sky"),
        ("SEED", options.seed, "random seed"),
        ("NGAL", options.number, "galaxies in the survey"),
        ("MSURVEY", options.survey, "imitated survey"),
        ("MBANDS", options.bands, "bands"),
        ("MSIZE", options.size, "[px] side of the cutouts"),
        ("MSCALE", options.pixel_scale, "[arcsec] pixel scale"),
        ("MBALANCE", options.balance or "none", "class frequencies"),
    ]


def _require_same(path: Path, cards: list[Card]) -> None:
    with open_fits(path) as file:
        header = file[1].read_header()
    differing = [key for key, value, _ in cards if header.get(key) != value]
    if differing:
        raise InputError(
            f"{path} belongs to another survey ({', '.join(differing)} differ)", "choose another directory"
        )
