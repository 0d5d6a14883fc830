"""The autoencoder as it is exported: spectrum to standardised latents, and standardised latents to spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from galcli.training.calibrate import INSIDE, conformal_quantile
from galcli.training.networks.calibrated import LANES
from galcli.training.networks.vae import SpectrumVAE
from galcli.training.spectra.grid import Floats
from galcli.training.spectra.measure import LINES, Break, EquivalentWidth

#: A number that scatters less than this part of the one that scatters most is not stretched to unit variance: an
#: autoencoder may leave latents idle, whose rounding errors would be stretched with them.
LEAST = 0.05
#: A direction in which numbers scatter less than this holds nothing but rounding errors.
_FLAT = 1e-3


@dataclass(frozen=True)
class Standard:
    """How the numbers that describe a spectrum follow from the autoencoder's latents.

    numbers = ((latents - center) @ axes.T) / std

    Attributes
    ----------
    center : ndarray (L,)
        Mean of the latents over the training spectra.
    axes : ndarray (K, L)
        Orthonormal: principal components, or the latents themselves.
    std : ndarray (K,)
        Standard deviations along them, at least ``LEAST`` of the largest.
    """

    center: Floats
    axes: Floats
    std: Floats

    @property
    def forward(self) -> Floats:
        """Matrix (L, K) from centred latents to numbers."""
        return np.asarray(self.axes.T / self.std)

    def numbers(self, latents: Floats) -> Floats:
        """Numbers (N, K) of latents (N, L)."""
        return np.asarray((latents - self.center) @ self.forward)

    @property
    def inverse(self) -> Floats:
        """Matrix (K, L) from numbers to centred latents."""
        return np.asarray(self.axes * self.std[:, None])


def standardise(latents: Floats, components: int | None) -> Standard:
    """Measure how latents become numbers of zero mean and unit variance.

    Parameters
    ----------
    latents : ndarray (N, L)
        Latent means of the training spectra.
    components : int or None
        Principal components that are kept; None: the latents themselves.
    """
    center = latents.mean(0)
    axes = np.eye(latents.shape[1])
    if components is not None:
        vectors = np.linalg.eigh(np.cov(latents, rowvar=False))[1][:, ::-1][:, :components].T
        largest = vectors[np.arange(components), np.abs(vectors).argmax(1)]
        axes = vectors * np.sign(largest)[:, None]
    std = ((latents - center) @ axes.T).std(0)
    return Standard(center, axes, np.maximum(std, LEAST * std.max()))


def fit_domain(numbers: Floats, held: Floats) -> Floats:
    """Measure how far the numbers of the training spectra reach.

    Parameters
    ----------
    numbers : ndarray (N, K)
        Of training spectra; of zero mean.
    held : ndarray (M, K)
        Of held-out spectra.

    Returns
    -------
    ndarray (K, K)
        ``|numbers @ matrix|`` is their Mahalanobis distance from the training spectra over the distance that 99 % of
        held-out ones keep.
    """
    variance, axes = np.linalg.eigh(numbers.T @ numbers / len(numbers))
    matrix = axes / np.sqrt(np.maximum(variance, _FLAT**2))
    return np.asarray(matrix / conformal_quantile(np.linalg.norm(held @ matrix, axis=1), INSIDE))


class ExportedEncoder(nn.Module):
    """Normalised, gap-filled spectrum to standardised latents.

    Parameters
    ----------
    vae : SpectrumVAE
    standard : Standard
    mean : ndarray (1000,)
        Mean training spectrum.
    """

    mean: Tensor
    center: Tensor
    matrix: Tensor

    def __init__(self, vae: SpectrumVAE, standard: Standard, mean: Floats) -> None:
        super().__init__()
        self.encoder, self.latents = vae.encoder, vae.latents
        self.register_buffer("mean", _tensor(mean))
        self.register_buffer("center", _tensor(standard.center))
        self.register_buffer("matrix", _tensor(standard.forward))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Latents (N, K) of spectra (N, 1000) of unit norm."""
        mean = self.encoder(spectrum - self.mean)[:, : self.latents]
        numbers: Tensor = (mean - self.center) @ self.matrix
        return numbers


class ExportedDecoder(nn.Module):
    """Standardised latents to spectrum, equivalent width of H alpha, 4000 Angstrom break and distance.

    Parameters
    ----------
    vae, standard, mean
        As above.
    domain : ndarray (K, K)
        Of `fit_domain`.
    """

    mean: Tensor
    center: Tensor
    matrix: Tensor
    domain: Tensor

    def __init__(self, vae: SpectrumVAE, standard: Standard, mean: Floats, domain: Floats) -> None:
        super().__init__()
        self.decoder = vae.decoder
        self.register_buffer("mean", _tensor(mean))
        self.register_buffer("center", _tensor(standard.center))
        self.register_buffer("matrix", _tensor(standard.inverse))
        # Sums that fill the processor's registers do not depend on where in a batch a row stands.
        self.register_buffer("domain", _tensor(np.pad(domain, ((0, 0), (0, -len(domain) % LANES)))))
        self.width, self.ratio = EquivalentWidth(LINES["HA"]), Break()

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Flux (N, 1000), equivalent width [Angstrom], break and distance (N,) of latents (N, K)."""
        flux = self.decoder(latent @ self.matrix + self.center) + self.mean
        distance = (latent @ self.domain).square().sum(1).sqrt()
        return flux, self.width(flux), self.ratio(flux), distance


def _tensor(values: Floats) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
