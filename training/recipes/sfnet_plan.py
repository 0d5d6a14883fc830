"""What SFNet can be trained on and how: targets, their selections, stages and presets (models.md section 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.training.data import Looks
from galcli.training.optim import ScheduleName
from galcli.training.pixels import VIEWER_PIXEL_SCALE
from galcli.training.recipes.stages import Stage

Labels = dict[str, NDArray[np.float32]]
_LINES = ("nii_6584", "h_alpha", "oiii_5007", "h_beta")
#: Fluxes from here on are faults of the catalogue [1e-17 erg/s/cm2].
MAX_FLUX = 1e5
MIN_SNR = 3.0


def _metallicity(labels: Labels) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = labels["oh_p50"] > 0
    if "lgm_tot_p50" in labels:
        chosen = chosen & (labels["lgm_tot_p50"] > 0) & (labels["sfr_tot_p50"] > -10)
    return chosen


def _lines(labels: Labels) -> NDArray[np.bool_]:
    fluxes = [labels[f"{line}_flux"] for line in _LINES]
    chosen: NDArray[np.bool_] = np.all([(flux > 0) & (flux < MAX_FLUX) for flux in fluxes], axis=0)
    if f"{_LINES[0]}_flux_err" in labels:
        errors = [labels[f"{line}_flux_err"] for line in _LINES]
        good = [(error > 0) & (flux > MIN_SNR * error) for flux, error in zip(fluxes, errors, strict=True)]
        chosen = chosen & np.all(good, axis=0)
    return chosen


@dataclass(frozen=True)
class Target:
    """What SFNet predicts.

    Attributes
    ----------
    labels : tuple of str
        Catalogue columns (MPA-JHU names); the first ``required`` ones hold the values, the others the selection.
    required : int
        Columns without which there is nothing to learn.
    outputs : tuple of str
        Table columns of the predictions.
    select : callable
        Rows that are fit to learn from.
    values : callable
        Targets (N, T) of all rows; anything where they are not selected.
    """

    labels: tuple[str, ...]
    required: int
    outputs: tuple[str, ...]
    select: Callable[[Labels], NDArray[np.bool_]]
    values: Callable[[Labels], NDArray[np.float32]]


def _log_fluxes(labels: Labels) -> NDArray[np.float32]:
    tiny = np.finfo(np.float32).tiny
    return np.stack([np.log10(np.fmax(labels[f"{line}_flux"], tiny)) for line in _LINES], axis=1)


TARGETS = {
    "metallicity": Target(
        ("oh_p50", "lgm_tot_p50", "sfr_tot_p50"), 1, ("Z_GAS",), _metallicity, lambda labels: labels["oh_p50"][:, None]
    ),
    "lines": Target(
        tuple(f"{line}_flux" for line in _LINES) + tuple(f"{line}_flux_err" for line in _LINES),
        4,
        ("LOG_NII_6584", "LOG_HA_6564", "LOG_OIII_5007", "LOG_HB_4861"),
        _lines,
        _log_fluxes,
    ),
}


#: All recipes end on the grid of the published networks: 37.7 arcsec at the viewer's scale.
FINAL = (144, VIEWER_PIXEL_SCALE)


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    stages : tuple of Stage
        One after the other under one schedule.
    batch, lr, schedule
        Objects per step; largest learning rate; its course.
    d4 : float
        Probability of a square symmetry.
    display : float
        Part of the samples seen as display images.
    servers : bool
        Display images as image servers make them (else the viewer's own mapping in 8 bits).
    fronts : tuple of str
        Flux fronts that mock galaxies are observed through.
    centred : bool
        Start the last bias at the mean of the targets.
    mock_objects : int
        Galaxies of the mock set, where no catalogue is given.
    """

    stages: tuple[Stage, ...]
    batch: int = 64
    lr: float = 0.1
    schedule: ScheduleName = "one_cycle"
    d4: float = 1.0
    display: float = 1 / 3
    servers: bool = True
    fronts: tuple[str, ...] = ("flux:gri", "flux:grz")
    centred: bool = True
    mock_objects: int = 60_000

    @property
    def looks(self) -> Looks:
        """How galaxies are shown in training."""
        return Looks(self.d4, self.display, self.servers)


PRESETS = {
    "default": Preset((Stage(72, 0.524, 12.0, 0.5), Stage(*FINAL, 6.0, 0.5, 0.4)), lr=0.01),
    # What the authors ran: the viewer's SDSS layer alone, 8-bit images, symmetries for half of the images (flips in
    # the paper), one cycle (flat and cosine in the paper), targets and bias as they come.
    "published": Preset(
        (Stage(*FINAL, 20.0),), d4=0.5, display=1.0, servers=False, fronts=("flux:gri",), centred=False
    ),
    "quick": Preset((Stage(72, 0.524, 4.0, 0.7), Stage(*FINAL, 1.0, 0.3, 0.4)), lr=0.01, mock_objects=5_000),
}
