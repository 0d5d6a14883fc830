"""Rest-frame spectra of the three stellar populations, metal poor and metal rich.

The continua are nodes in (wavelength, f_lambda) that follow the colours of population synthesis (Bruzual & Charlot
2003, Chabrier IMF): *old* 10 Gyr, *intermediate* 0.1-2 Gyr of constant star formation, *young* the last 100 Myr.
Absorption features carry the equivalent widths of the Lick system. They are no substitute for a stellar library: they
have the right breaks, colours and lines at the resolution (270 km/s) of the 1000-point grid.
"""

from functools import lru_cache

import torch
from torch import Tensor

from galcli.training.mock.interpolate import interp

POPULATIONS = ("old", "intermediate", "young")

# Wavelength [Angstrom]: f_lambda relative to 5500 A. Fine steps only where breaks need them.
_OLD = {
    1000: 0.02, 2000: 0.03, 2500: 0.05, 2900: 0.11, 3200: 0.21, 3500: 0.265, 3750: 0.345, 3900: 0.455, 4000: 0.57,
    4060: 0.67, 4200: 0.765, 4400: 0.86, 4600: 0.95, 5000: 0.975, 5500: 1.0, 6000: 1.015, 6500: 0.995, 7000: 0.965,
    7500: 0.935, 8000: 0.90, 9000: 0.825, 10000: 0.74, 12350: 0.54, 16600: 0.38, 21600: 0.185, 33700: 0.050,
    46200: 0.0134, 120800: 5.4e-4, 300000: 3e-5,
}  # fmt: skip
_INTERMEDIATE = {
    1000: 0.06, 1500: 0.38, 2000: 0.52, 2500: 0.53, 3000: 0.565, 3400: 0.585, 3640: 0.605, 3750: 0.76, 3850: 1.02,
    4000: 1.36, 4200: 1.40, 4600: 1.26, 5000: 1.115, 5500: 1.0, 6000: 0.90, 6500: 0.80, 7000: 0.71, 7500: 0.63,
    8000: 0.565, 9000: 0.465, 10000: 0.385, 12350: 0.255, 16600: 0.158, 21600: 0.075, 33700: 0.0180, 46200: 0.0051,
    120800: 1.5e-4, 300000: 9e-6,
}  # fmt: skip
_YOUNG = {
    1000: 17.0, 1500: 8.8, 2000: 5.0, 2500: 3.1, 3000: 2.15, 3400: 1.70, 3640: 1.51, 3750: 1.75, 3900: 2.10,
    4200: 1.98, 4600: 1.57, 5000: 1.27, 5500: 1.0, 6000: 0.80, 6500: 0.645, 7000: 0.53, 7500: 0.44, 8000: 0.38,
    9000: 0.295, 10000: 0.235, 12350: 0.140, 16600: 0.082, 21600: 0.038, 33700: 0.0086, 46200: 0.0026, 120800: 8e-5,
    300000: 4e-6,
}  # fmt: skip

# Change of the slope d ln f / d ln lambda, and of the depth of the 4000 A break, from metal poor to metal rich.
_TILT = (0.50, 0.45, 0.25)
_BREAK = (0.14, 0.10, 0.02)

# Vacuum wavelength [A], Gaussian sigma [A], equivalent width [A] in old, intermediate, young; True if it grows with Z.
_ABSORPTION = (
    (3582.0, 12, 3.0, 0.5, 0.0, True),
    (3648.0, 10, 2.5, 0.5, 0.0, True),
    (3736.0, 10, 3.5, 0.5, 0.0, True),
    (3830.0, 12, 4.0, 0.5, 0.0, True),
    (4047.0, 7, 1.6, 0.5, 0.1, True),
    (4228.0, 6, 1.4, 0.4, 0.0, True),
    (4456.0, 9, 1.6, 0.5, 0.1, True),
    (4958.0, 9, 1.4, 0.5, 0.1, True),
    (5016.0, 12, 2.6, 1.0, 0.2, True),
    (5783.0, 8, 0.8, 0.3, 0.0, True),
    (6104.0, 7, 0.9, 0.4, 0.1, True),
    (6164.0, 8, 1.1, 0.4, 0.1, True),
    (6360.0, 8, 0.8, 0.3, 0.0, True),
    (6790.0, 25, 2.0, 0.3, 0.0, True),
    (7065.0, 14, 1.8, 0.3, 0.0, True),
    (3771.7, 5, 1.0, 4.0, 1.5, False),
    (3798.9, 5, 1.0, 5.0, 2.0, False),
    (3836.5, 6, 1.5, 6.0, 2.5, False),
    (3890.2, 6, 1.5, 6.5, 2.8, False),
    (3934.8, 9, 8.5, 2.5, 0.6, True),
    (3969.6, 9, 7.0, 8.0, 3.4, False),
    (4102.9, 8, 0.8, 7.0, 3.4, False),
    (3880.0, 25, 7.0, 0.5, 0.0, True),
    (4175.0, 22, 3.0, 0.4, 0.0, True),
    (4305.0, 14, 6.0, 1.2, 0.1, True),
    (4341.7, 8, 0.8, 6.6, 3.3, False),
    (4384.0, 10, 4.2, 1.0, 0.1, True),
    (4532.0, 12, 3.0, 1.2, 0.2, True),
    (4670.0, 20, 5.5, 1.6, 0.2, True),
    (4862.7, 8, 1.7, 6.0, 3.2, False),
    (5110.0, 45, 5.0, 1.0, 0.1, True),
    (5176.0, 11, 4.2, 1.3, 0.2, True),
    (5271.0, 9, 2.8, 1.2, 0.2, True),
    (5336.0, 9, 2.5, 1.0, 0.2, True),
    (5407.0, 8, 1.5, 0.6, 0.1, True),
    (5709.0, 8, 0.9, 0.3, 0.0, True),
    (5893.6, 7, 3.2, 1.0, 0.5, True),
    (6210.0, 35, 3.5, 0.6, 0.1, True),
    (6497.0, 12, 1.5, 0.6, 0.1, True),
    (6564.6, 8, 1.0, 4.2, 2.4, False),
    (7140.0, 55, 6.0, 1.0, 0.1, True),
    (7660.0, 55, 3.0, 0.5, 0.0, True),
    (8190.0, 15, 1.2, 0.3, 0.0, True),
    (8500.4, 6, 1.6, 1.2, 0.6, True),
    (8544.4, 7, 3.8, 2.8, 1.2, True),
    (8664.5, 7, 3.1, 2.3, 1.0, True),
)


@lru_cache(maxsize=8)
def wavelength(device: str = "cpu") -> Tensor:
    """Grid of the templates [Angstrom, vacuum]: 900 A to 30 micron in 2.3e-4 steps of log10, float64."""
    return torch.logspace(2.9542, 5.4771, 11001, dtype=torch.float64, device=device)


def continuum(wave: Tensor, population: int) -> Tensor:
    """Continuum f_lambda of a population at solar metallicity, 1 at 5500 A, interpolated in log-log."""
    nodes = (_OLD, _INTERMEDIATE, _YOUNG)[population]
    log_wave = torch.tensor(list(nodes), dtype=wave.dtype, device=wave.device).log()
    log_flux = torch.tensor(list(nodes.values()), dtype=wave.dtype, device=wave.device).log()
    return interp(wave.log(), log_wave, log_flux).exp()


def spectrum(wave: Tensor, population: int, metallicity: float) -> Tensor:
    """Rest-frame spectrum of one population without dust and without emission lines.

    Parameters
    ----------
    wave : Tensor, shape (k,)
        Wavelength [Angstrom, vacuum].
    population : int
        0 old, 1 intermediate, 2 young.
    metallicity : float
        0 (metal poor, gas 12+log(O/H) = 8.2) to 1 (metal rich, 9.2).

    Returns
    -------
    Tensor, shape (k,)
        f_lambda, arbitrary normalisation.
    """
    offset = metallicity - 0.5
    flux = continuum(wave, population) * (wave / 6200.0) ** (_TILT[population] * offset)
    below = torch.sigmoid((3980.0 - wave) / 40.0)  # 1 blueward of the 4000 A break
    flux = flux * (1 - _BREAK[population] * offset * below)
    for centre, sigma, *widths, metallic in _ABSORPTION:
        strength = float(widths[population]) * (10 ** (0.6 * offset) if metallic else 1.0)
        depth = min(strength / (sigma * (2 * torch.pi) ** 0.5), 0.85)
        flux = flux * (1 - depth * torch.exp(-0.5 * ((wave - centre) / sigma) ** 2))
    return flux


@lru_cache(maxsize=8)
def library(device: str = "cpu") -> Tensor:
    """All templates on `wavelength`, shape (3 populations, 2 metallicities, k), float64."""
    wave = wavelength("cpu")
    rows = [torch.stack([spectrum(wave, p, metal) for metal in (0.0, 1.0)]) for p in range(3)]
    return torch.stack(rows).to(device)
