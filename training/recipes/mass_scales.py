"""What the inputs of networks for stellar mass are scaled with, measured on training galaxies."""

from __future__ import annotations

import numpy as np
import torch

from galcli.training.data import take
from galcli.training.networks.mass_inputs import MassPixels
from galcli.training.recipes.mass_data import TRAIN, Galaxies
from galcli.training.recipes.mass_network import Scales
from galcli.training.recipes.mass_plan import BANDS, Inputs

#: Galaxies whose pixels are looked at.
_LOOKED_AT = 2048
#: Fluxes are compressed from this many times the sky noise on.
_SOFTENING = 3.0
#: Part of the galaxies whose flux is below the least one that images are divided by: u, and all other bands.
_FAINTEST = {"u": 0.02}
_FAINT = 0.001


def measure(galaxies: Galaxies, inputs: Inputs, published: bool) -> Scales:
    """Scales of the training galaxies.

    Parameters
    ----------
    galaxies : Galaxies
    inputs : Inputs
    published : bool
        Numbers stay as they are.
    """
    rows, columns = galaxies.rows(TRAIN), [(0.0, 1.0)] * len(inputs.seen)
    if not published:
        columns = [_moments(galaxies.columns[name][rows]) for name in inputs.seen]
    pixels = _pixels(galaxies, inputs, published) if inputs.images else {}
    return Scales(columns, pixels)


def _moments(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> tuple[float, float]:
    """Mean and standard deviation of the values that are there; (0, 1) where none differs."""
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return 0.0, 1.0
    return float(known.mean()), float(known.std()) or 1.0


def _pixels(galaxies: Galaxies, inputs: Inputs, published: bool) -> dict[str, list[float]]:
    assert galaxies.stamps is not None
    count, train = len(inputs.bands), galaxies.rows(TRAIN)
    found = {"softening": [1.0] * count, "mean": [0.0] * count, "std": [1.0] * count}
    names = [f"petroMag_{band}" for band in inputs.bands]
    if inputs.normalised:
        found["least"] = [
            _least(galaxies.columns[name][train], band) for name, band in zip(names, inputs.bands, strict=True)
        ]
    if published:
        return found
    rows = train[:_LOOKED_AT]
    pixels, valid, _ = take(galaxies.stamps, rows)
    pixels = pixels[:, [BANDS.index(band) for band in inputs.bands]]
    magnitudes = torch.from_numpy(galaxies.matrix(tuple(names))[rows]) if inputs.normalised else None
    if magnitudes is not None:
        faintest = torch.tensor(found["least"])
        flux = torch.maximum(torch.nan_to_num(10 ** (0.4 * (22.5 - magnitudes))), faintest)
        spread = _noise(pixels / flux[:, :, None, None])
    else:
        spread = _noise(pixels)
    found["softening"] = [float(f"{_SOFTENING * value:.4g}") for value in spread]
    mapped = MassPixels(**found).mapped(pixels, valid, magnitudes).transpose(0, 1).flatten(1).double()
    return found | {"mean": mapped.mean(1).tolist(), "std": mapped.std(1, correction=0).tolist()}


def _noise(pixels: torch.Tensor) -> list[float]:
    """Scatter of the sky in each band, robust against what stands on it."""
    flat = pixels.transpose(0, 1).flatten(1)
    found: list[float] = (1.4826 * (flat - flat.median(1, keepdim=True).values).abs().median(1).values).tolist()
    return found


def _least(magnitudes: np.ndarray[tuple[int], np.dtype[np.float32]], band: str) -> float:
    flux = 10 ** (0.4 * (22.5 - magnitudes[np.isfinite(magnitudes)].astype(np.float64)))
    return float(f"{np.quantile(flux, _FAINTEST.get(band, _FAINT)):.4g}")
