"""The variational autoencoder of spectra of Portillo et al. (2020, AJ 160, 45), and its loss (InfoVAE)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from galcli.training.spectra.grid import POINTS

HIDDEN = (549, 110)
SLOPE = 0.01
#: Draws from the prior that the latents of a batch are compared with.
PRIOR = 200


class Encoded(NamedTuple):
    """What the encoder says of a batch: mean and logarithm of the variance of each latent, (N, L) each."""

    mean: Tensor
    log_variance: Tensor


class SpectrumVAE(nn.Module):
    """1000 - 549 - 110 - (mu, ln sigma^2) - L - 110 - 549 - 1000, leaky ReLU.

    Parameters
    ----------
    latents : int
        L: 6 gives 1,223,090 parameters, 10 gives 1,224,418.
    points : int
        Pixels of a spectrum.
    """

    def __init__(self, latents: int = 6, points: int = POINTS) -> None:
        super().__init__()
        wide, narrow = HIDDEN
        self.latents = latents
        self.encoder = nn.Sequential(
            nn.Linear(points, wide), nn.LeakyReLU(SLOPE), nn.Linear(wide, narrow), nn.LeakyReLU(SLOPE),
            nn.Linear(narrow, 2 * latents),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latents, narrow), nn.LeakyReLU(SLOPE), nn.Linear(narrow, wide), nn.LeakyReLU(SLOPE),
            nn.Linear(wide, points),
        )  # fmt: skip

    def encode(self, x: Tensor) -> Encoded:
        """Latents of spectra (N, 1000), which are normalised and have the mean spectrum subtracted."""
        return Encoded(*self.encoder(x).chunk(2, dim=1))

    def decode(self, z: Tensor) -> Tensor:
        """Spectra (N, 1000) minus the mean spectrum, from latents (N, L)."""
        decoded: Tensor = self.decoder(z)
        return decoded

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Encoded, Tensor]:
        """Reconstruction (N, 1000), what was encoded, and the latents drawn from it with ``noise`` (N, L)."""
        encoded = self.encode(x)
        z = encoded.mean + noise * (0.5 * encoded.log_variance).exp()
        return self.decode(z), encoded, z


def kl(encoded: Encoded) -> Tensor:
    """Kullback-Leibler divergence from the unit Gaussian, summed over latents and batch [nat]."""
    mean, log_variance = encoded
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between samples (M, L) and (N, L), kernel exp(-mean_d (a_d - b_d)^2)."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (-(x[:, None] - y[None]).square().mean(2)).exp().mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def info_vae_loss(
    x: Tensor, weight: Tensor, decoded: Tensor, encoded: Encoded, z: Tensor, prior: Tensor, mmd_weight: float,
    alpha: float,
) -> Tensor:  # fmt: skip
    """Loss of InfoVAE (Zhao et al. 2019, arXiv:1706.02262, eq. 6), sums over the batch (models.md 3.2).

    1/2 sum w (x - x_decoded)^2 + (1 - alpha) KL + (lambda + alpha - 1) MMD B L

    Parameters
    ----------
    x, weight, decoded : Tensor (B, 1000)
        Spectrum, inverse squared error (0: not looked at), reconstruction.
    encoded : Encoded
    z : Tensor (B, L)
        Latents drawn from it.
    prior : Tensor (200, L)
        Draws from the unit Gaussian.
    mmd_weight : float
        lambda.
    alpha : float
        0 weighs the divergence of each spectrum's latents from the prior fully, 1 only that of all together.
    """
    misfit = 0.5 * (weight * (x - decoded).square()).sum()
    return misfit + (1 - alpha) * kl(encoded) + (mmd_weight + alpha - 1) * mmd(prior, z) * z.numel()


def loss_of(
    module: SpectrumVAE, x: Tensor, weight: Tensor, mmd_weight: float, alpha: float, generator: torch.Generator
) -> Tensor:
    """Loss of a batch with noise and prior drawn from a CPU generator."""
    noise = torch.randn(len(x), module.latents, generator=generator).to(x.device)
    prior = torch.randn(PRIOR, module.latents, generator=generator).to(x.device)
    decoded, encoded, z = module(x, noise)
    return info_vae_loss(x, weight, decoded, encoded, z, prior, mmd_weight, alpha)
