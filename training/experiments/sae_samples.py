"""Small images on which the experiments with sparse autoencoders are done: mock galaxies and handwritten digits.

Both are made without a download. Galaxies are seen as the Legacy Surveys see them, or without noise on a fine grid, of
which coarser ones show the same scenes.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from galcli.training.mock import instrument, sed
from galcli.training.mock.instrument import SURVEYS
from galcli.training.mock.psf import round_psf
from galcli.training.mock.render import render
from galcli.training.networks.robust import BORDER, RobustPixels
from galcli.training.seeds import generator, mix
from galcli.training.sources import Choice, every, mock_population

#: Side of what is seen around a galaxy, arcsec.
FIELD = 19.2
BANDS = "grz"
#: Galaxies whose shape shows: half-light radius of at least 2 arcsec.
RESOLVED = Choice(("r50",), every, None, 2.0)
#: Empty cells around the 8 x 8 of a digit, so that what is periodic does not touch itself.
MARGIN = 2
_SURVEY = SURVEYS["legacy"]


def galaxies(count: int, side: int, seed: int) -> Tensor:
    """Mock galaxies in the Legacy Surveys' g, r and z: noise, seeing, neighbours and defects.

    Parameters
    ----------
    count : int
    side : int
        Pixels along a side of `FIELD`.
    seed : int
        Same seed, same galaxies.

    Returns
    -------
    Tensor (count, 3, side, side), float32
        asinh of signal over noise, both by a frame of 4 px around the image (models.md 4.4).
    """
    population, _ = mock_population(count, mix(seed, 0), RESOLVED)
    framed, scale = side + 2 * BORDER, FIELD / side
    pixels, _ = instrument.stamps(population, BANDS, framed, scale, _SURVEY, generator(seed, 1))
    valid = (~pixels.isnan()).all(1, keepdim=True)
    scaled: Tensor = RobustPixels(("flux:grz",))(
        pixels.nan_to_num(), valid.float(), torch.zeros(count, dtype=torch.long)
    )
    return scaled[..., BORDER:-BORDER, BORDER:-BORDER].contiguous()


def scenes(count: int, side: int, fine: int, seed: int, *, aligned: bool = False) -> Tensor:
    """Mock galaxies without noise and neighbours, on a grid so fine that coarser ones can show the same scene.

    Parameters
    ----------
    count, seed
        As for `galaxies`.
    side : int
        Pixels along a side of the coarsest grid, whose noise in the Legacy Surveys is the unit.
    fine : int
        Pixels along a side of the grid that is wanted.
    aligned : bool
        All major axes to the north.

    Returns
    -------
    Tensor (count, 3, fine, fine), float32
        asinh of the surface brightness.
    """
    population, _ = mock_population(count, mix(seed, 0), RESOLVED)
    if aligned:
        population["pa"] = torch.zeros(count)  # radians east of north
    seeing = torch.tensor([_SURVEY.fwhm[band] for band in BANDS]).expand(count, -1)
    depth = torch.tensor([_SURVEY.depth[band] for band in BANDS]).expand(count, -1)
    noise = instrument.white_sigma(depth, round_psf(seeing), FIELD / side)
    fluxes = sed.component_fluxes(population, BANDS)
    pixels = render(population, fluxes, BANDS, FIELD / fine, fine, generator(seed, 1), seeing)
    return torch.asinh(pixels * (fine / side) ** 2 / noise[:, :, None, None])


def digits(count: int, side: int, seed: int) -> Tensor:
    """Handwritten digits of scikit-learn (Alpaydin & Kaynak 1998), 8 x 8 and enlarged, in an order of the seed.

    Parameters
    ----------
    count : int
        At most 1,797.
    side : int
        Pixels along a side, to which the 8 px of a digit and `MARGIN` around are enlarged.
    seed : int

    Returns
    -------
    Tensor (count, 1, side, side), float32
        Of scatter 1.
    """
    known = torch.from_numpy(load_digits().images).float()
    chosen = known[torch.randperm(len(known), generator=generator(seed, 2))[:count], None]
    framed = functional.pad(chosen, [MARGIN] * 4)
    large = functional.interpolate(framed, (side, side), mode="bicubic", align_corners=False)
    return large / large.std()


def coarser(images: Tensor, side: int) -> Tensor:
    """The same periodic functions on a coarser grid, as far as it holds them: their Fourier series, cut off.

    Parameters
    ----------
    images : Tensor (N, C, S, S)
    side : int
        Even, at most S; of the finest frequency, whose phase the grid cannot hold, nothing is left.

    Returns
    -------
    Tensor (N, C, side, side)
    """
    whole = images.shape[-1]
    if side == whole:
        return images
    series = torch.fft.rfft2(images, norm="forward")
    reach = side // 2 - 1
    kept = torch.zeros(*images.shape[:2], side, side // 2 + 1, dtype=series.dtype, device=images.device)
    columns = slice(reach + 1)
    kept[:, :, : reach + 1, columns] = series[:, :, : reach + 1, columns]
    kept[:, :, -reach:, columns] = series[:, :, -reach:, columns]
    seen: Tensor = torch.fft.irfft2(kept, s=(side, side), norm="forward")
    return seen


def turned(images: Tensor, degrees: float) -> Tensor:
    """Images turned about their centre by bilinear interpolation, 0 outside the largest circle that they hold.

    Parameters
    ----------
    images : Tensor (N, C, S, S)
    degrees : float
        0 leaves what is in the circle exactly as it is.
    """
    angle = torch.deg2rad(torch.tensor(degrees))
    cos, sin = float(angle.cos()), float(angle.sin())
    matrix = images.new_tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(images), -1, -1)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    seen = functional.grid_sample(images, grid, align_corners=False) if degrees else images
    return seen * circle(images.shape[-1]).to(images)


def circle(side: int) -> Tensor:
    """1 where a pixel's centre is within the largest circle of a square, else 0: (side, side)."""
    offset = torch.arange(side) - (side - 1) / 2
    return (offset[:, None].square() + offset.square() <= (side / 2) ** 2).float()
