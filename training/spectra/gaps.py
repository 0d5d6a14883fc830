"""Gaps of spectra filled by iterative principal components (Yip et al. 2004, AJ 128, 585; models.md 3.2).

No spectrograph covers the whole rest-frame grid of a galaxy at any redshift. The mean and the first eigenvectors of a
sample, fitted where a spectrum has data, tell what it looks like where it has none; filled spectra give better
eigenvectors, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.training.spectra.grid import Floats

EIGENVECTORS, ITERATIONS = 10, 20
#: Spectra that the eigenvectors are measured on, at most; the others are filled with what these give.
FITTED = 20_000
#: Keeps the fit of a spectrum with few pixels finite; far below the noise of any spectrum.
_RIDGE = 1e-9
#: Logarithm of the factor by which what fills gaps may change a norm.
_LARGEST_CHANGE = 0.7


@dataclass(frozen=True)
class Filler:
    """What fills the gaps of a spectrum.

    Attributes
    ----------
    mean : ndarray (1000,)
        Mean of the filled, normalised sample.
    vectors : ndarray (10, 1000)
        Its eigenvectors, orthonormal.
    """

    mean: Floats
    vectors: Floats

    def fill(
        self, flux: NDArray[np.floating], good: NDArray[np.bool_], iterations: int = ITERATIONS
    ) -> tuple[Floats, Floats]:
        """Fill the gaps of spectra and normalise them.

        Parameters
        ----------
        flux : ndarray (N, 1000)
            In any unit; what it holds in the gaps is not looked at.
        good : ndarray (N, 1000), bool
            Where there is data.
        iterations : int
            The norm depends on what the gaps hold, and that on the norm.

        Returns
        -------
        filled : ndarray (N, 1000)
            Of unit norm (l2).
        norm : ndarray (N,)
            What the data are divided by. A spectrum without data is the mean; one that is zero without gaps stays zero.
        """
        measured = np.where(good, flux, 0.0)
        scale = (measured @ self.mean) / np.maximum(good @ self.mean**2, np.finfo(float).tiny)
        guess = np.where(good, flux, np.abs(scale)[:, None] * self.mean)
        first = norm = _lengths(guess)
        filled, inverse = guess, self._normal(good)
        for _ in range(iterations):
            filled = self._refill(measured, good, norm, inverse)
            norm = norm * _lengths(filled)
        # Eigenvectors that the data hardly tell apart may run away; such gaps keep the mean, scaled to the data.
        wild = (scale != 0) & (np.abs(np.log(norm / first)) > _LARGEST_CHANGE)
        norm = np.where(wild, first, norm)
        filled = np.where(wild[:, None], guess, filled)
        return np.where(good, flux / norm[:, None], filled / _lengths(filled)[:, None]), norm

    def _normal(self, good: NDArray[np.bool_]) -> Floats:
        """Inverse of the normal matrix of each spectrum's fit, (N, k, k): its eigenvectors where it has data."""
        count = len(self.vectors)
        products = (self.vectors[:, None] * self.vectors[None]).reshape(count * count, -1)
        matrix = (good.astype(np.float64) @ products.T).reshape(-1, count, count)
        return np.asarray(np.linalg.inv(matrix + _RIDGE * np.eye(count)))

    def _refill(self, measured: Floats, good: NDArray[np.bool_], norm: Floats, inverse: Floats) -> Floats:
        """Normalised spectra whose gaps hold the mean plus the eigenvectors that fit the data best."""
        normalised = measured / norm[:, None]
        coefficients = np.einsum("nkl,nl->nk", inverse, np.where(good, normalised - self.mean, 0.0) @ self.vectors.T)
        return np.where(good, normalised, self.mean + coefficients @ self.vectors)


def fit_filler(flux: NDArray[np.floating], good: NDArray[np.bool_], seed: int = 0) -> Filler:
    """Measure mean and eigenvectors of a sample with gaps.

    Parameters
    ----------
    flux : ndarray (N, 1000)
        In any unit.
    good : ndarray (N, 1000), bool
        Where there is data; every pixel of the grid in at least one spectrum. Spectra that are zero everywhere tell
        nothing and are left out.
    seed : int
        Chooses ``FITTED`` of more spectra.

    Returns
    -------
    Filler
    """
    if len(flux) > FITTED:
        rows = np.random.default_rng(seed).permutation(len(flux))[:FITTED]
        flux, good = flux[rows], good[rows]
    told = (good & (flux != 0)).any(axis=1)
    flux, good = flux[told], good[told]
    measured: Floats = np.where(good, flux, 0.0).astype(np.float64)
    norm = np.linalg.norm(measured, axis=1)
    seen = np.maximum(good.sum(0), 1)
    mean = np.zeros(measured.shape[1])
    for _ in range(ITERATIONS):  # the mean of the sample is the first guess, and sets the norms
        mean = (measured / norm[:, None]).sum(0) / seen
        gaps = np.where(good, 0.0, mean)
        norm = norm * np.sqrt(((measured / norm[:, None]) ** 2).sum(1) + (gaps**2).sum(1))
    filled = np.where(good, measured / norm[:, None], mean)
    filler = _components(filled)
    for _ in range(ITERATIONS):
        filled = filler._refill(measured, good, norm, filler._normal(good))
        length = np.linalg.norm(filled, axis=1)
        norm, filled = norm * length, filled / length[:, None]
        filler = _components(filled)
    return filler


def fill_in_parts(
    filler: Filler, flux: NDArray[np.floating], good: NDArray[np.bool_], part: int = 4096
) -> tuple[NDArray[np.float32], Floats]:
    """What ``filler.fill`` gives, a part at a time and in float32, so that memory holds large sets."""
    filled, norm = np.empty(flux.shape, np.float32), np.empty(len(flux))
    for first in range(0, len(flux), part):
        rows = slice(first, first + part)
        filled[rows], norm[rows] = filler.fill(flux[rows], good[rows])
    return filled, norm


def _lengths(filled: Floats) -> Floats:
    """Norms of spectra (N,), 1 where it is zero."""
    norm = np.linalg.norm(filled, axis=1)
    return np.where(norm > 0, norm, 1.0)


def _components(filled: Floats) -> Filler:
    """Mean and leading eigenvectors of the covariance; their signs are fixed by their largest entries."""
    mean = filled.mean(0)
    centred = filled - mean
    vectors = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :EIGENVECTORS].T
    largest = vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)]
    return Filler(mean, vectors * np.sign(largest)[:, None])
