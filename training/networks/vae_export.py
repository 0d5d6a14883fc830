"""The autoencoder as it is exported: spectrum to standardised latents, and standardised latents to spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from galcli.training.calibrate import INSIDE, conformal_quantile
from galcli.training.networks.calibrated import LANES
from galcli.training.networks.vae import SpectrumVAE
from galcli.training.spectra.grid import POINTS, Floats
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

    def latents(self, numbers: Floats) -> Floats:
        """Latents (N, L) of numbers (N, K)."""
        return np.asarray(numbers @ self.inverse + self.center)

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


@dataclass(frozen=True)
class Domain:
    """How far the numbers of the training spectra reach: the larger of two distances, each in units of its limit.

    One is Mahalanobis's. It takes no notice of a bent cloud; but within such a bend the decoder's spectra lose their
    norm, which is 1 in training, and so the other one is the factor by which the norm is off.

    Attributes
    ----------
    matrix : ndarray (K, K)
        ``|numbers @ matrix|`` is the first.
    slope : float
        ``slope (max(norm, 1 / norm) - 1)`` is the second: no logarithm, whose last digit depends on the place in a batch.
    """

    matrix: Floats
    slope: float

    def distance(self, numbers: Floats, norm: Floats) -> Floats:
        """Distance (N,) of numbers (N, K) whose spectra have these norms (N,)."""
        return np.asarray(np.maximum(np.linalg.norm(numbers @ self.matrix, axis=1), self.slope * _off(norm)))


def fit_domain(numbers: Floats, held: Floats, norm: Floats) -> Domain:
    """Measure the domain, so that 99 % of held-out spectra lie below a distance of 1.

    Parameters
    ----------
    numbers : ndarray (N, K)
        Of training spectra; of zero mean.
    held : ndarray (M, K)
        Of held-out spectra.
    norm : ndarray (M,)
        Of their decoded spectra.
    """
    variance, axes = np.linalg.eigh(numbers.T @ numbers / len(numbers))
    matrix = axes / np.sqrt(np.maximum(variance, _FLAT**2))
    size = np.maximum(_off(norm), _FLAT)
    each = Domain(
        matrix / conformal_quantile(np.linalg.norm(held @ matrix, axis=1), INSIDE), 1 / conformal_quantile(size, INSIDE)
    )
    both = conformal_quantile(each.distance(held, norm), INSIDE)
    return Domain(each.matrix / both, each.slope / both)


def _off(norm: Floats) -> Floats:
    """By how much more than 1 norms (N,) are off by a factor."""
    return np.asarray(np.maximum(norm, 1 / norm) - 1)


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
    domain : Domain
    """

    mean: Tensor
    center: Tensor
    matrix: Tensor
    domain: Tensor

    def __init__(self, vae: SpectrumVAE, standard: Standard, mean: Floats, domain: Domain) -> None:
        super().__init__()
        self.decoder = vae.decoder
        self.register_buffer("mean", _tensor(mean))
        self.register_buffer("center", _tensor(standard.center))
        self.register_buffer("matrix", _tensor(standard.inverse))
        # Sums that fill the processor's registers do not depend on where in a batch a row stands.
        self.register_buffer("domain", _tensor(np.pad(domain.matrix, ((0, 0), (0, -len(domain.matrix) % LANES)))))
        self.slope = domain.slope
        self.width, self.ratio = EquivalentWidth(LINES["HA"]), Break()

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Flux (N, 1000), equivalent width [Angstrom], break and distance (N,) of latents (N, K)."""
        flux = self.decoder(latent @ self.matrix + self.center) + self.mean
        filled = nn.functional.pad(flux, (0, -POINTS % LANES))
        far, norm = (values.square().sum(1).sqrt() for values in (latent @ self.domain, filled))
        return (
            flux,
            self.width(flux),
            self.ratio(flux),
            torch.maximum(far, self.slope * (torch.maximum(norm, 1.0 / norm) - 1)),
        )


def _tensor(values: Floats) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
