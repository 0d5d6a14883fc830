"""Point-spread function: a Moffat profile per band, kept as its analytic transfer function.

Half-integer Moffat exponents have an elementary Fourier transform, so that a convolution costs one exponential per
frequency and its normalisation is exact (the transfer function is 1 at zero frequency).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS = (2.5, 3.5, 4.5)
"""Moffat exponents that can be drawn; 3.5 is typical of DECam and SDSS."""

# Matern polynomials: with x = 2 pi alpha k the transfer function is (1 + x + c2 x^2 + c3 x^3) exp(-x).
_C2 = (0.0, 1.0 / 3.0, 2.0 / 5.0)
_C3 = (0.0, 0.0, 1.0 / 15.0)


@dataclass(frozen=True)
class Psf:
    """Moffat PSFs of a batch.

    Attributes
    ----------
    fwhm : Tensor
        (n, B) full width at half maximum in arcsec, pixel response included.
    kind : Tensor
        (n,) int64 index into `BETAS`.
    e1, e2 : Tensor
        (n,) ellipticity components (of distortion type, a few per cent), shared by the bands; e1 > 0 is stretched
        along the columns' axis (east-west).
    """

    fwhm: Tensor
    kind: Tensor
    e1: Tensor
    e2: Tensor

    def rows(self, index: slice | Tensor) -> Psf:
        """Return the PSFs of some rows."""
        return Psf(self.fwhm[index], self.kind[index], self.e1[index], self.e2[index])

    def to(self, device: torch.device) -> Psf:
        """Return the same PSFs on a device."""
        return Psf(self.fwhm.to(device), self.kind.to(device), self.e1.to(device), self.e2.to(device))

    def beta(self) -> Tensor:
        """Return the Moffat exponents, (n,)."""
        return torch.tensor(BETAS, device=self.fwhm.device)[self.kind]

    def alpha(self) -> Tensor:
        """Return the Moffat core radii, (n, B) arcsec."""
        beta = self.beta()[:, None]
        return self.fwhm / (2.0 * torch.sqrt(2.0 ** (1.0 / beta) - 1.0))

    def noise_area(self) -> Tensor:
        """Return the noise-equivalent area 1 / integral(P^2), (n, B) arcsec^2.

        For a Moffat profile it is pi alpha^2 (2 beta - 1) / (beta - 1)^2 (King 1983, PASP 95, 163, for the concept).
        """
        beta = self.beta()[:, None]
        return math.pi * self.alpha() ** 2 * (2.0 * beta - 1.0) / (beta - 1.0) ** 2


def round_psf(fwhm: Tensor, beta: float = 3.5) -> Psf:
    """Make circular PSFs of one exponent.

    Parameters
    ----------
    fwhm : Tensor
        (n, B) arcsec.
    beta : float
        One of `BETAS`.
    """
    zero = torch.zeros(len(fwhm), device=fwhm.device)
    kind = torch.full((len(fwhm),), BETAS.index(beta), dtype=torch.int64, device=fwhm.device)
    return Psf(fwhm, kind, zero, zero)


def transfer(psf: Psf, side: int, pixscale: float) -> Tensor:
    """Evaluate the transfer functions on the half plane of `torch.fft.rfft2`.

    Parameters
    ----------
    psf : Psf
        PSFs of n objects in B bands.
    side : int
        Canvas side P in pixels.
    pixscale : float
        Arcsec per pixel.

    Returns
    -------
    Tensor
        (n, B, P, P // 2 + 1) real, 1 at zero frequency.
    """
    device = psf.fwhm.device
    ky = (torch.fft.fftfreq(side, device=device) / pixscale)[None, :, None]
    kx = (torch.fft.rfftfreq(side, device=device) / pixscale)[None, None, :]
    e1, e2 = psf.e1[:, None, None], psf.e2[:, None, None]
    k = torch.sqrt((1.0 + e1) * kx**2 + (1.0 - e1) * ky**2 + 2.0 * e2 * kx * ky)
    x = (2.0 * math.pi) * psf.alpha()[:, :, None, None] * k[:, None]
    c2 = torch.tensor(_C2, device=device)[psf.kind][:, None, None, None]
    c3 = torch.tensor(_C3, device=device)[psf.kind][:, None, None, None]
    poly = (c3 * x).add_(c2).mul_(x).add_(1.0).mul_(x).add_(1.0)
    return poly.mul_(torch.exp(x.neg_()))
