"""Telescopes and surveys: PSF, depth, noise and its correlation, and the way from a population to stamps.

Depth is the definition surveys publish: the 5 sigma magnitude of a point source. It fixes the noise per pixel through
the PSF's noise-equivalent area.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from galcli.training.mock import sed
from galcli.training.mock.psf import Psf
from galcli.training.mock.render import render
from galcli.training.mock.sky import background, draw_field, spoil

SKY_BRIGHTNESS = {"u": 22.2, "g": 21.9, "r": 20.9, "i": 20.2, "z": 19.0, "y": 18.2}
"""Dark sky, AB mag per arcsec^2: sets where the galaxy's own photon noise matters."""


@dataclass(frozen=True)
class Survey:
    """An imaging survey.

    Attributes
    ----------
    name : str
    pixscale : float
        Native pixel scale, arcsec; stamps on another grid have noise correlated by resampling.
    depth : dict
        5 sigma point-source depth per band, AB mag.
    fwhm : dict
        Median seeing per band, arcsec.
    leak : float
        Share of a native pixel's noise that coaddition leaks into each neighbour along an axis.
    """

    name: str
    pixscale: float
    depth: dict[str, float]
    fwhm: dict[str, float]
    leak: float


SURVEYS = {
    # Dey et al. 2019 (AJ 157, 168): depths and delivered seeing of DECaLS; i from DR10
    "legacy": Survey(
        "legacy",
        0.262,
        {"g": 24.7, "r": 23.9, "i": 23.6, "z": 23.0},
        {"g": 1.29, "r": 1.18, "i": 1.15, "z": 1.11},
        0.04,
    ),
    # York et al. 2000 (AJ 120, 1579) and the DR imaging pages
    "sdss": Survey(
        "sdss",
        0.396,
        {"u": 22.2, "g": 23.1, "r": 22.7, "i": 22.2, "z": 20.7},
        {"u": 1.46, "g": 1.40, "r": 1.30, "i": 1.24, "z": 1.24},
        0.0,
    ),
    # Chambers et al. 2016 (arXiv:1612.05560)
    "ps1": Survey(
        "ps1",
        0.25,
        {"g": 23.3, "r": 23.2, "i": 23.1, "z": 22.3, "y": 21.3},
        {"g": 1.31, "r": 1.19, "i": 1.11, "z": 1.07, "y": 1.02},
        0.12,
    ),
}

#: The Legacy Surveys with u and y beside their own bands: cutouts on which every kind of model can be tried.
UGRIZY = Survey(
    "legacy-ugrizy",
    0.262,
    {"u": 23.6, **SURVEYS["legacy"].depth, "y": 21.9},
    {"u": 1.40, **SURVEYS["legacy"].fwhm, "y": 1.10},
    SURVEYS["legacy"].leak,
)


def surveys_of(
    survey: str | Survey | Sequence[str | Survey], bands: str, n: int, generator: torch.Generator
) -> list[Survey]:
    """Name the survey of each object.

    Parameters
    ----------
    survey : str, Survey or sequence of them
        One for all, one per object, or ``"mixed"``: drawn among the surveys that have all the bands.
    bands : str
    n : int
    generator : torch.Generator

    Returns
    -------
    list of Survey
        One per object.

    Raises
    ------
    ValueError
        If a survey lacks a band, or the number of names is not n.
    """
    if isinstance(survey, str) and survey == "mixed":
        able = [s for s in SURVEYS.values() if set(bands) <= set(s.depth)]
        if not able:
            message = f"no survey has all of the bands {bands}"
            raise ValueError(message)
        picks = torch.randint(len(able), (n,), generator=generator, device=generator.device).tolist()
        return [able[pick] for pick in picks]
    given = [survey] * n if isinstance(survey, str | Survey) else list(survey)
    unknown = {one for one in given if isinstance(one, str)} - set(SURVEYS)
    if unknown:
        message = f"unknown survey {', '.join(sorted(unknown))}: have {', '.join(SURVEYS)}"
        raise ValueError(message)
    chosen = [one if isinstance(one, Survey) else SURVEYS[one] for one in given]
    if len(chosen) != n:
        message = f"{len(chosen)} surveys for {n} objects"
        raise ValueError(message)
    for one in {s.name: s for s in chosen}.values():
        if not set(bands) <= set(one.depth):
            message = f"survey {one.name} has bands {''.join(one.depth)}, not all of {bands}"
            raise ValueError(message)
    return chosen


def draw_psf(surveys: Sequence[Survey], bands: str, generator: torch.Generator) -> Psf:
    """Draw PSFs: seeing scatters by 8 per cent per object and 4 per cent per band, ellipticity by 2 per cent.

    Parameters
    ----------
    surveys : sequence of Survey
        One per object.
    bands : str
    generator : torch.Generator

    Returns
    -------
    Psf
    """
    n, device = len(surveys), generator.device
    median = torch.tensor([[s.fwhm[band] for band in bands] for s in surveys], device=device)
    scatter = torch.randn(n, len(bands) + 3, generator=generator, device=device)
    fwhm = median * torch.exp(0.08 * scatter[:, :1] + 0.04 * scatter[:, 3:])
    kind = torch.multinomial(torch.tensor([0.15, 0.6, 0.25], device=device), n, replacement=True, generator=generator)
    return Psf(fwhm, kind, 0.03 * scatter[:, 1], 0.03 * scatter[:, 2])


def draw_depth(surveys: Sequence[Survey], bands: str, generator: torch.Generator) -> Tensor:
    """Draw 5 sigma point-source depths, (n, B) AB mag: nominal with a scatter of 0.1 mag per object."""
    nominal = torch.tensor([[s.depth[band] for band in bands] for s in surveys], device=generator.device)
    return nominal + 0.1 * torch.randn(len(surveys), 1, generator=generator, device=generator.device)


def white_sigma(depth: Tensor, psf: Psf, pixscale: float) -> Tensor:
    """Uncorrelated noise per pixel that gives a depth.

    Parameters
    ----------
    depth : Tensor
        (n, B) 5 sigma point-source depth, AB mag.
    psf : Psf
    pixscale : float
        Arcsec per pixel.

    Returns
    -------
    Tensor
        (n, B) nanomaggies per pixel: F_5 / 5 / sqrt(N_eff), N_eff the noise-equivalent area in pixels.
    """
    return 10.0 ** (0.4 * (22.5 - depth)) / 5.0 / torch.sqrt(psf.noise_area() / pixscale**2)


def noise_kernel(survey: Survey, pixscale: float, size: int) -> Tensor:
    """Matrix that takes white noise on a survey's native pixels to a stamp's pixels along one axis.

    Parameters
    ----------
    survey : Survey
    pixscale : float
        Of the stamp, arcsec.
    size : int
        Pixels of the stamp.

    Returns
    -------
    Tensor
        (size, m), conserving flux: neighbours leak into each other by `Survey.leak`, then linear interpolation
        (finer grid) or pixel overlap (coarser grid).
    """
    ratio = pixscale / survey.pixscale
    native = size if abs(ratio - 1.0) < 0.01 else math.ceil(size * ratio) + 3
    eye = torch.eye(native)
    leak = survey.leak * (eye.roll(1, 0) + eye.roll(-1, 0)) + (1.0 - 2.0 * survey.leak) * eye
    if native == size:
        return leak
    centre = (torch.arange(size) - 0.5 * (size - 1)) * ratio + 0.5 * (native - 1)
    distance = (centre[:, None] - torch.arange(native)[None]).abs()
    if ratio < 1.0:
        matrix = (1.0 - distance).clamp(min=0.0) * ratio
    else:
        matrix = (0.5 * (1.0 + ratio) - distance).clamp(0.0, 1.0)
    return matrix @ leak


def _noise(surveys: Sequence[Survey], pixscale: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Noise of unit white-equivalent sigma per stamp pixel, correlated as each survey's resampling makes it."""
    n, bands, size, _ = shape
    names = [s.name for s in surveys]
    out = torch.empty(shape, device=generator.device)
    for survey in {s.name: s for s in surveys}.values():
        rows = torch.tensor([i for i, name in enumerate(names) if name == survey.name], device=generator.device)
        kernel = noise_kernel(survey, pixscale, size).to(generator.device)
        cells = kernel.shape[1]
        white = torch.randn(len(rows), bands, cells, cells, generator=generator, device=generator.device)
        if cells != size or survey.leak > 0.0:
            # sigma per stamp pixel and per native pixel differ by the ratio of their sides
            white = (kernel @ white @ kernel.T) * (survey.pixscale / pixscale if cells != size else 1.0)
        if len(rows) == n:
            return white
        out[rows] = white
    return out


def observe(
    images: Tensor,
    bands: str,
    pixscale: float,
    survey: str | Survey | Sequence[str | Survey],
    generator: torch.Generator,
    psf: Psf | None = None,
    defects: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Observe noiseless images, in place.

    Parameters
    ----------
    images : Tensor
        (n, B, H, W) nanomaggies per pixel, already convolved with `psf`.
    bands : str
    pixscale : float
        Arcsec per pixel.
    survey : str, Survey or sequence of them
        See `surveys_of`.
    generator : torch.Generator
    psf : Psf, optional
        PSFs in the images; drawn anew (for the depth only) unless given.
    defects : bool
        Mask 1 per cent, spoil 0.2 per cent.

    Returns
    -------
    images : Tensor
        The same tensor, with sky noise, photon noise, background residuals, masks (NaN) and artefacts.
    info : dict of Tensor
        ``fwhm`` (n, B) arcsec; ``depth`` (n, B) mag; ``sigma`` (n, B) rms per pixel of the sky; ``white`` (n, B)
        uncorrelated sigma per pixel of the same depth; ``masked``, ``artefact`` (n,) bool.
    """
    n, _, size, _ = images.shape
    surveys = surveys_of(survey, bands, n, generator)
    psf = draw_psf(surveys, bands, generator) if psf is None else psf
    depth = draw_depth(surveys, bands, generator)
    white = white_sigma(depth, psf, pixscale)
    factors = {s.name: _correlation(s, pixscale) for s in {s.name: s for s in surveys}.values()}
    rms = torch.tensor([factors[s.name] for s in surveys], device=white.device)
    sky = [10.0 ** (0.4 * (22.5 - SKY_BRIGHTNESS[band])) * pixscale**2 for band in bands]
    scale = (1.0 / torch.tensor(sky, device=images.device))[:, None, None]
    noise = _noise(surveys, pixscale, tuple(images.shape), generator).to(images.device)
    noise.mul_(white.to(images.device)[:, :, None, None])
    noise.mul_(torch.mul(images, scale).clamp_(min=0.0).add_(1.0).sqrt_())
    images.add_(noise).add_(background(white.to(images.device), size, generator))
    info = {"fwhm": psf.fwhm, "depth": depth, "white": white, "sigma": white * rms[:, None]}
    none = torch.zeros(n, dtype=torch.bool, device=images.device)
    info["masked"], info["artefact"] = spoil(images, white, generator) if defects else (none, none)
    return images, info


def _correlation(survey: Survey, pixscale: float) -> float:
    """Rms of a stamp pixel over its white-equivalent sigma, averaged over pixel phases."""
    kernel = noise_kernel(survey, pixscale, 64)[8:-8]
    scale = 1.0 if kernel.shape[1] == 64 else survey.pixscale / pixscale
    return float((kernel**2).sum(1).mean()) * scale


def stamps(
    pop: Mapping[str, Tensor],
    bands: str,
    size: int,
    pixscale: float,
    survey: str | Survey | Sequence[str | Survey],
    generator: torch.Generator,
    fluxes: Tensor | None = None,
    device: torch.device | str | None = None,
    defects: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Make observed stamps of a population.

    Parameters
    ----------
    pop : mapping of Tensor
        Population, (n,) per key, on the generator's device.
    bands : str
        Bands out of ugrizy, blue to red.
    size : int
        Side, pixels.
    pixscale : float
        Arcsec per pixel.
    survey : str, Survey or sequence of them
        See `surveys_of`.
    generator : torch.Generator
    fluxes : Tensor, optional
        (n, 3, B) nanomaggies; from `sed.component_fluxes` unless given.
    device : optional
        Where to render, if not on the generator's device.
    defects : bool
        Mask 1 per cent, spoil 0.2 per cent.

    Returns
    -------
    images : Tensor
        (n, B, size, size) float32 nanomaggies per pixel, row 0 = south, NaN = no data.
    info : dict of Tensor
        As `observe` gives it, and ``dx``, ``dy`` (n,): arcsec of the galaxy east and north of the stamp's centre
        (half a pixel at most, as in real cutouts).
    """
    n = len(pop["z"])
    surveys = surveys_of(survey, bands, n, generator)
    if fluxes is None:
        fluxes = sed.component_fluxes(dict(pop), bands)
    psf = draw_psf(surveys, bands, generator)
    reference = "r" if "r" in bands else bands[len(bands) // 2]
    depth = max((s.depth[reference] for s in surveys), default=22.0)
    field = draw_field(n, bands, size * pixscale, depth, generator)
    offset = (torch.rand(n, 2, generator=generator, device=generator.device) - 0.5) * pixscale
    images = render(pop, fluxes, bands, pixscale, size, generator, psf, field, offset, device)
    images, info = observe(images, bands, pixscale, surveys, generator, psf, defects)
    info["dx"], info["dy"] = offset[:, 0], offset[:, 1]
    return images, info
