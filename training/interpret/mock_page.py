"""The mock survey at a glance: ``python -m galcli.training.interpret.mock_page docs/mock.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from galcli.training.interpret.bpt import OH, X, Y, draw_borders
from galcli.training.interpret.style import COLOURS, FAINT, INK, look, save
from galcli.training.mock import cosmology, instrument, population
from galcli.training.mock.survey import MockOptions, draw_catalogue
from galcli.training.viewer import VIEWER_PIXEL_SCALE, colour_image

Floats = NDArray[np.float64]

#: Galaxies in the plots, and their seed.
NUMBER, SEED = 20_000, 11
#: Mosaic: rows, columns, pixels of a stamp (at 0.262 arcsec) and the faintest galaxy in it.
ROWS, COLUMNS, SIDE, FAINTEST = 9, 8, 124, 16.9
BANDS = "grz"
#: Half-light radii of Shen et al. 2003, MNRAS 343, 978: late types eq. 18, early types eq. 17 (Table 1) [kpc].
SHEN_LATE, SHEN_EARLY = (0.10, 0.14, 0.39, 3.98e10), (2.88e-6, 0.56)


def mock_figure() -> Figure:
    """Draw a mosaic of mock galaxies beside colour-magnitude, size-mass, mass-metallicity and BPT plots."""
    options = MockOptions(number=NUMBER, seed=SEED, bands=BANDS)
    pop, _, _, observed = draw_catalogue(options)
    columns = {name: np.asarray(column.values) for name, column in observed.items()}
    with look():
        figure = Figure(figsize=(17.2, 9.2))
        left, right = figure.subfigures(1, 2, width_ratios=[0.90, 1.0], wspace=0.0, squeeze=False)[0]
        _mosaic(left, pop, columns)
        panels = right.subplots(2, 2, gridspec_kw={"left": 0.075, "right": 0.985, "top": 0.945, "bottom": 0.07,
                                                   "wspace": 0.24, "hspace": 0.27})  # fmt: skip
        for axes, draw in zip(panels.flat, (_colour_magnitude, _size_mass, _mass_metallicity, _bpt), strict=True):
            draw(axes, columns)
    return figure


def _mosaic(part: SubFigure, pop: dict[str, torch.Tensor], columns: dict[str, NDArray[np.generic]]) -> None:
    """Galaxies drawn at random among the bright ones, from blue to red."""
    generator = torch.Generator().manual_seed(SEED)
    bright = np.flatnonzero(columns["petroMag_r"].astype(np.float64) < FAINTEST)
    rows = np.random.default_rng(SEED).choice(bright, ROWS * COLUMNS, replace=False)
    colour = columns["petroMag_g"][rows].astype(np.float64) - columns["petroMag_r"][rows].astype(np.float64)
    rows = rows[np.argsort(colour)]
    stamps, _ = instrument.stamps(
        {key: values[torch.from_numpy(rows)] for key, values in pop.items()},
        BANDS, SIDE, VIEWER_PIXEL_SCALE, "legacy", generator, defects=False,
    )  # fmt: skip
    images = [colour_image(stamp, "flux:grz", VIEWER_PIXEL_SCALE)[::-1] for stamp in stamps.numpy()]
    lines = [np.concatenate(images[k * COLUMNS : (k + 1) * COLUMNS], axis=1) for k in range(ROWS)]
    axes = part.add_axes((0.015, 0.015, 0.97, 0.93))
    axes.imshow(np.concatenate(lines), interpolation="hanning")  # smooth where it shrinks
    axes.set_axis_off()
    for k in range(1, max(ROWS, COLUMNS)):
        axes.axhline(k * SIDE - 0.5, color="white", lw=0.6)
        axes.axvline(k * SIDE - 0.5, color="white", lw=0.6)
    axes.set(xlim=(-0.5, COLUMNS * SIDE - 0.5), ylim=(ROWS * SIDE - 0.5, -0.5))
    width = SIDE * VIEWER_PIXEL_SCALE
    axes.set_title(f'mock galaxies with r < {FAINTEST}, drawn at random, sorted by g $-$ r ({width:.0f}" wide, grz)')


def _density(axes: Axes, x: Floats, y: Floats, colour: str, bins: int = 110) -> None:
    """Galaxies per bin, on a logarithmic grey or coloured scale."""
    limits = (sorted(axes.get_xlim()), sorted(axes.get_ylim()))
    axes.hist2d(x, y, bins=bins, range=limits, cmap=colour, norm=LogNorm(0.6, 140), rasterized=True)


def _colour_magnitude(axes: Axes, columns: dict[str, NDArray[np.generic]]) -> None:
    r, u = (columns[f"petroMag_{band}"].astype(np.float64) for band in "ru")
    distance = cosmology.luminosity_distance(torch.from_numpy(columns["Z"].astype(np.float32))).numpy()
    axes.set(xlim=(-16.2, -23.9), ylim=(0.5, 3.9), xlabel=r"$M_r$ (no K correction)", ylabel=r"u $-$ r",
             title="colour and magnitude")  # fmt: skip
    _density(axes, r - 5 * np.log10(distance.astype(np.float64) * 1e5), u - r, "bone_r")


def _size_mass(axes: Axes, columns: dict[str, NDArray[np.generic]]) -> None:
    mass = columns["lgm_tot_p50"].astype(np.float64)
    major, ratio, kpc = (columns[name].astype(np.float64) for name in ("TRUE_R50", "expAB_r", "TRUE_KPC_ARCSEC"))
    size = np.log10(major * np.sqrt(ratio) * kpc)
    quiescent = columns["TRUE_QUIESCENT"].astype(bool)
    axes.set(xlim=(8.5, 11.8), ylim=(-0.55, 1.4), xlabel=r"log $M_\star$ [$M_\odot$]",
             ylabel=r"log $R_{50}$, circularised [kpc]", title="size and mass")  # fmt: skip
    for chosen, colour, name in ((~quiescent, "#2c6fb3", "star-forming"), (quiescent, "#b4322a", "quiescent")):
        pick = np.random.default_rng(SEED).permutation(np.flatnonzero(chosen))[:5000]
        axes.scatter(mass[pick], size[pick], s=2.5, c=colour, lw=0, alpha=0.35, rasterized=True)
        axes.scatter([], [], s=16, c=colour, lw=0, label=name)
    grid = np.linspace(8.6, 11.7, 200)
    gamma, alpha, beta, knee = SHEN_LATE
    late = np.log10(gamma) + alpha * grid + (beta - alpha) * np.log10(1 + 10**grid / knee)
    early = np.log10(SHEN_EARLY[0]) + SHEN_EARLY[1] * grid
    axes.plot(grid, late, color=INK, lw=1.3, label="Shen et al. 2003, late")
    axes.plot(grid[grid > 10], early[grid > 10], "--", color=INK, lw=1.3, label="Shen et al. 2003, early")
    axes.legend(loc="upper left")


def _mass_metallicity(axes: Axes, columns: dict[str, NDArray[np.generic]]) -> None:
    mass, oh = columns["lgm_tot_p50"].astype(np.float64), columns["oh_p50"].astype(np.float64)
    axes.set(xlim=(8.3, 11.6), ylim=(8.05, 9.4), xlabel=r"log $M_\star$ [$M_\odot$]", ylabel="12 + log (O/H)",
             title="mass and metallicity")  # fmt: skip
    _density(axes, mass[oh > 0], oh[oh > 0], "bone_r")
    grid = torch.linspace(8.5, 11.3, 100)
    axes.plot(grid, population.mass_metallicity(grid), color="#c8501e", lw=1.6, label="Tremonti et al. 2004")
    axes.legend(loc="lower right")


def _bpt(axes: Axes, columns: dict[str, NDArray[np.generic]]) -> None:
    flux = {name: columns[f"{name}_flux"].astype(np.float64) for name in ("nii_6584", "h_alpha", "oiii_5007", "h_beta")}
    error = {name: columns[f"{name}_flux_err"].astype(np.float64) for name in flux}
    good = np.all([flux[name] > 3 * error[name] for name in flux], axis=0)
    nii = np.log10(flux["nii_6584"][good] / flux["h_alpha"][good])
    oiii = np.log10(flux["oiii_5007"][good] / flux["h_beta"][good])
    oh = columns["oh_p50"].astype(np.float64)[good]
    order = np.random.default_rng(SEED).permutation(len(oh))
    nii, oiii, oh = nii[order], oiii[order], oh[order]
    formed = oh > 0
    axes.scatter(nii[~formed], oiii[~formed], s=3, c=FAINT, lw=0, alpha=0.6, label="composite or AGN", rasterized=True)
    points = axes.scatter(nii[formed], oiii[formed], s=3, c=oh[formed], cmap=COLOURS, norm=Normalize(*OH), lw=0,
                          rasterized=True)  # fmt: skip
    draw_borders(axes)
    axes.set(xlim=X, ylim=Y, title="BPT", ylabel=r"log [O III] $\lambda$5007 / H$\beta$")
    axes.legend(loc="lower left", markerscale=3)
    inset = axes.inset_axes((0.93, 0.07, 0.03, 0.36))
    bar = axes.figure.colorbar(points, cax=inset, extend="both", ticklocation="left")
    bar.set_label("12 + log (O/H)", fontsize=9)
    inset.tick_params(labelsize=8)


if __name__ == "__main__":
    print(save(mock_figure(), Path(sys.argv[1]), dpi=80))
