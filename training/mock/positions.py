"""Where the mock galaxies stand: patches that put every case of the sky into a survey."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patch:
    """A disc on the sky, filled evenly.

    Attributes
    ----------
    ra, dec, radius : float
        Degrees.
    share : float
        Of the galaxies.
    """

    ra: float
    dec: float
    radius: float
    share: float


#: A deep field, a wide one, one across RA = 0, one on the north pole, and the whole sky: tiles hold one to thousands.
PATCHES = (
    Patch(150.1, 2.2, 1.0, 0.50),
    Patch(200.0, -15.0, 8.0, 0.25),
    Patch(0.0, 0.5, 1.0, 0.10),
    Patch(0.0, 90.0, 2.0, 0.05),
    Patch(90.0, 0.0, 180.0, 0.10),
)


def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw positions.

    Parameters
    ----------
    n : int
    generator : torch.Generator

    Returns
    -------
    ra, dec : Tensor (n,), float64, degrees
        0 <= ra < 360.
    """
    shares = torch.tensor([patch.share for patch in PATCHES], dtype=torch.float64)
    u = torch.rand(n, 3, dtype=torch.float64, generator=generator, device=generator.device).cpu()
    which = torch.searchsorted(shares.cumsum(0) / shares.sum(), u[:, 0].clamp(max=1 - 1e-12))
    values = torch.tensor([[p.ra, p.dec, p.radius] for p in PATCHES], dtype=torch.float64)[which].deg2rad()
    ra0, dec0, radius = values.unbind(1)
    cos_r = 1 - u[:, 1] * (1 - radius.cos())  # even in area
    sin_r = (1 - cos_r**2).clamp(min=0).sqrt()
    angle = 2 * torch.pi * u[:, 2]
    sin_dec = dec0.sin() * cos_r + dec0.cos() * sin_r * angle.cos()
    dec = sin_dec.clamp(-1, 1).asin()
    ra = ra0 + torch.atan2(angle.sin() * sin_r * dec0.cos(), cos_r - dec0.sin() * sin_dec)
    ra = ra.rad2deg() % 360.0
    return torch.where(ra >= 360.0, 0.0, ra), dec.rad2deg()
