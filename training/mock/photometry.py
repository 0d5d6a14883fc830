"""What a photometric pipeline would measure: Petrosian magnitudes, radii, axis ratios and Sersic indices.

Curves of growth of bulge and disc are mixed band by band with the light each has there, so that a red bulge makes R50
smaller and n larger in redder bands. No pixels are involved.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from galcli.training.mock import sed
from galcli.training.mock.interpolate import disc_growth, interp, sersic_growth, sersic_radius

Population = dict[str, Tensor]

BANDS = "ugriz"
DEPTH = (22.2, 23.1, 22.7, 22.2, 20.7)  # 5 sigma point sources [AB mag]
FLOOR = (0.025, 0.010, 0.010, 0.010, 0.015)  # relative error of bright galaxies
PSF_AREA = 3.9  # arcsec^2, effective area of an SDSS point source
PSF_R50, PSF_R90 = 0.7, 1.3  # arcsec
WISE_DEPTH = (17.1, 15.7, 11.5)  # 5 sigma [Vega mag]
WISE_FLOOR = (0.023, 0.021, 0.020)
APERTURE = 4.0  # Petrosian aperture, two Petrosian radii, in R50
STEPS = 64


class Photometry(NamedTuple):
    """Measurements per galaxy and band (ugriz), shapes (n, 5) and, for WISE, (n, 3)."""

    mag: Tensor
    mag_err: Tensor
    r50: Tensor
    r90: Tensor
    axis_ratio: Tensor
    sersic_n: Tensor
    wise: Tensor
    wise_err: Tensor


def bulge_share(pop: Population, fluxes: Tensor) -> Tensor:
    """Share of the light of each band in the bulge, shape (n, B), from `sed.component_fluxes` (n, 3, B)."""
    return fluxes[:, 0] * pop["bulge_old"][:, None] / fluxes.sum(1)


def radii(pop: Population, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Radii that hold half and 90 % of the light in the Petrosian aperture, and the light that it misses.

    Circular apertures, no seeing.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
    share : Tensor, shape (n, B)
        From `bulge_share`.

    Returns
    -------
    r50, r90, fraction : Tensor, shape (n, B)
        arcsec, arcsec, and the fraction of the total light inside the aperture.
    """
    x = torch.logspace(-1.4, 1.1, STEPS, device=share.device)  # radius over the face-on R50
    radius = x * pop["r50"][:, None]
    bulge = sersic_growth(radius / (pop["re_bulge"] * pop["q_bulge"].sqrt())[:, None], pop["n_bulge"][:, None])
    disc = disc_growth(radius / (pop["h_disc"] * pop["q_app"].sqrt())[:, None])
    growth = share[:, :, None] * bulge[:, None] + (1 - share)[:, :, None] * disc[:, None]
    log_x = x.log()

    def crossing(level: Tensor) -> Tensor:
        """Radius over R50 at which each curve of growth reaches a level (n, B)."""
        index = torch.searchsorted(growth, level[..., None].contiguous()).clamp(1, STEPS - 1)
        low, high = growth.gather(2, index - 1), growth.gather(2, index)
        weight = ((level[..., None] - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
        return (log_x[index - 1] + weight * (log_x[index] - log_x[index - 1])).exp()[..., 0]

    def enclosed(at: Tensor) -> Tensor:
        """Fraction of the light inside a radius over R50 (n, B)."""
        index = torch.searchsorted(x, at.contiguous()).clamp(1, STEPS - 1)[..., None]
        low, high = growth.gather(2, index - 1), growth.gather(2, index)
        weight = ((at[..., None] - x[index - 1]) / (x[index] - x[index - 1])).clamp(0, 1)
        return (low + weight * (high - low))[..., 0]

    total = torch.ones_like(share)
    for _ in range(2):  # R50 sets the aperture, which sets R50
        half = crossing(0.5 * total)
        total = enclosed(APERTURE * half)
    r50 = pop["r50"][:, None]
    return crossing(0.5 * total) * r50, crossing(0.9 * total) * r50, total


@lru_cache(maxsize=8)
def _concentration(device: str) -> tuple[Tensor, Tensor]:
    """R90/R50 inside the Petrosian aperture against Sersic index."""
    n = torch.linspace(0.5, 8, 76, device=device)
    total = torch.ones_like(n)
    for _ in range(3):
        half = sersic_radius(0.5 * total, n)
        total = sersic_growth(APERTURE * half, n)
    return sersic_radius((0.9 * total).clamp(max=0.995), n) / sersic_radius(0.5 * total, n), n


def measure(pop: Population, generator: torch.Generator) -> Photometry:
    """Measure every galaxy with the errors of SDSS and AllWISE.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        A population; see `population.draw`.
    generator : torch.Generator

    Returns
    -------
    Photometry
        ugriz magnitudes are AB as observed (not corrected for Galactic extinction), WISE magnitudes are Vega.
    """
    fluxes = sed.component_fluxes(pop, (*BANDS, *sed.VEGA_OFFSET))
    optical, infrared = fluxes[..., :5], fluxes[..., 5:].sum(1)
    n, device = len(infrared), infrared.device

    def normal(columns: int) -> Tensor:
        return torch.randn(n, columns, generator=generator, device=device)

    share = bulge_share(pop, optical)
    r50, r90, inside = radii(pop, share)
    flux = optical.sum(1) * inside
    point = 10 ** (0.4 * (22.5 - flux.new_tensor(DEPTH))) / 5  # sigma of a point source
    area = torch.pi * (APERTURE * r50[:, 2:3]).clamp_min(4.0) ** 2  # one aperture, that of r, for all bands
    sigma = torch.sqrt(point**2 * area / PSF_AREA + (flux * flux.new_tensor(FLOOR)) ** 2)
    measured = torch.maximum(flux + sigma * normal(5), 0.3 * sigma)  # magnitudes of non-detections stay finite
    error = 1.0857 * sigma / measured

    blur = 0.02 + 0.3 * error.clamp_max(0.5)
    disturbed = 0.1 * pop["disturbance"][:, None] * normal(1)
    seen50 = torch.sqrt(r50**2 + PSF_R50**2) * torch.exp(blur * normal(5))
    seen90 = torch.sqrt(r90**2 + PSF_R90**2) * torch.exp(blur * normal(5)).clamp_min(0.5)
    q = share * pop["q_bulge"][:, None] + (1 - share) * pop["q_app"][:, None]
    q = torch.sqrt((q**2 * r50**2 + 0.06) / (r50**2 + 0.06))  # fits know the PSF, but not perfectly
    q = (q + blur * normal(5) + disturbed).clamp(0.05, 1)
    sersic = interp(r90 / r50, *_concentration(str(device))) * torch.exp((0.05 + blur) * normal(5))

    depth = 10 ** (0.4 * (22.5 - infrared.new_tensor(WISE_DEPTH) - infrared.new_tensor(list(sed.VEGA_OFFSET.values()))))
    wise_sigma = torch.sqrt((depth / 5) ** 2 + (infrared * infrared.new_tensor(WISE_FLOOR)) ** 2)
    wise = torch.maximum(infrared + wise_sigma * normal(3), 2 * wise_sigma)  # below 2 sigma AllWISE gives the limit
    vega = sed.magnitudes(wise) - wise.new_tensor(list(sed.VEGA_OFFSET.values()))
    return Photometry(
        sed.magnitudes(measured), error, seen50, torch.maximum(seen90, 1.2 * seen50), q, sersic.clamp(0.5, 8),
        vega, 1.0857 * wise_sigma / wise,
    )  # fmt: skip
