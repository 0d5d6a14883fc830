"""Distances in the flat LCDM of the mock survey: H0 = 70 km/s/Mpc, Omega_m = 0.3."""

from functools import lru_cache

import torch
from torch import Tensor

from galcli.training.mock.interpolate import interp

H0 = 70.0  # km / s / Mpc
OMEGA_M = 0.3
C_KMS = 299792.458
SUN_R = 4.65  # absolute AB magnitude of the Sun in r
Z_MAX = 1.0  # end of the distance table


@lru_cache(maxsize=8)
def _table(device: str) -> tuple[Tensor, Tensor]:
    """Redshifts and comoving distances [Mpc], Simpson's rule in float64 on 8000 intervals."""
    z = torch.linspace(0, Z_MAX, 8001, dtype=torch.float64)
    step = z[1] - z[0]

    def inverse_e(redshift: Tensor) -> Tensor:
        return 1 / torch.sqrt(OMEGA_M * (1 + redshift) ** 3 + 1 - OMEGA_M)

    pieces = step / 6 * (inverse_e(z[:-1]) + 4 * inverse_e(z[:-1] + step / 2) + inverse_e(z[1:]))
    distance = C_KMS / H0 * torch.cat([torch.zeros(1, dtype=torch.float64), pieces.cumsum(0)])
    return z.to(device), distance.to(device)


def comoving_distance(z: Tensor) -> Tensor:
    """Comoving distance [Mpc] for 0 <= z <= 1, shape and dtype of `z`."""
    redshift, distance = _table(str(z.device))
    return interp(z.double(), redshift, distance).to(z.dtype)


def luminosity_distance(z: Tensor) -> Tensor:
    """Luminosity distance [Mpc]."""
    return comoving_distance(z) * (1 + z)


def kpc_per_arcsec(z: Tensor) -> Tensor:
    """Proper kpc per arcsec on the sky."""
    return comoving_distance(z) / (1 + z) * 1e3 * (torch.pi / 180 / 3600)


def redshift_at(distance: Tensor) -> Tensor:
    """Redshift at a comoving distance [Mpc], the inverse of `comoving_distance`."""
    redshift, table = _table(str(distance.device))
    return interp(distance.double(), table, redshift).to(distance.dtype)


def redshift_at_luminosity_distance(distance: Tensor) -> Tensor:
    """Redshift at a luminosity distance [Mpc]."""
    redshift, table = _table(str(distance.device))
    return interp(distance.double(), table * (1 + redshift), redshift).to(distance.dtype)


def nanomaggies_per_sun(z: Tensor) -> Tensor:
    """Nanomaggies (AB, r) of 1 L_sun,r at the luminosity distance of z, without k-correction."""
    return 10 ** (0.4 * (22.5 - SUN_R)) / (luminosity_distance(z) * 1e5) ** 2
