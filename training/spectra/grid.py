"""The rest-frame wavelength grid of all spectra, and a set of spectra on it (Portillo et al. 2020, AJ 160, 45)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOGLAM0, DLOGLAM, POINTS = 3.53, 0.00039, 1000
#: What is added to the squared errors of normalised spectra.
SOFTENING = 1 / 2e6


def wavelengths() -> Floats:
    """Rest-frame vacuum wavelengths [Angstrom], 10^(3.53 + 0.00039 j), shape (1000,)."""
    return np.asarray(10 ** (LOGLAM0 + DLOGLAM * np.arange(POINTS)))


def edges() -> Floats:
    """Borders of the grid's pixels [Angstrom], shape (1001,)."""
    return np.asarray(10 ** (LOGLAM0 + DLOGLAM * (np.arange(POINTS + 1) - 0.5)))


@dataclass(frozen=True)
class Spectra:
    """Spectra on the rest-frame grid.

    Rest-frame convention: F(lambda) = (1 + z) f_obs(lambda (1 + z)), so that a line's integral is its observed flux.

    Attributes
    ----------
    flux : ndarray (N, 1000), float32
        1e-17 erg/s/cm2/Angstrom; 0 where there is no data.
    ivar : ndarray (N, 1000), float32
        Inverse variance; 0 where there is no data.
    believed : ndarray (N, 1000), bool
        Whether there is data whose errors are as the survey tells.
    z : ndarray (N,), float64
        Redshift.
    ra, dec : ndarray (N,), float64
        Degrees; NaN where unknown.
    id : ndarray (N,), int64
        Identifier of the target (``TARGETID``); -1 where there is none.
    name : tuple of str
        File (and row) that each comes from.
    """

    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    believed: NDArray[np.bool_]
    z: Floats
    ra: Floats
    dec: Floats
    id: NDArray[np.int64]
    name: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.z)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Where there is data, (N, 1000)."""
        return np.asarray(self.ivar > 0)

    def take(self, rows: NDArray[np.int64]) -> Spectra:
        """Some of the spectra, in the order asked for."""
        arrays = {key: value[rows] for key, value in vars(self).items() if key != "name"}
        return Spectra(**arrays, name=tuple(self.name[row] for row in rows.tolist()))


def concatenate(parts: Sequence[Spectra]) -> Spectra:
    """One set out of several."""
    fields = [key for key in vars(parts[0]) if key != "name"]
    arrays = {key: np.concatenate([getattr(part, key) for part in parts]) for key in fields}
    return Spectra(**arrays, name=tuple(name for part in parts for name in part.name))


def weights(spectra: Spectra, norm: Floats) -> NDArray[np.float32]:
    """Weights of normalised pixels in the loss, w = 1 / (sigma^2 + 1/2e6).

    Parameters
    ----------
    spectra : Spectra
    norm : ndarray (N,)
        What the spectra are divided by.

    Returns
    -------
    ndarray (N, 1000), float32
        0 where there is no data, and where its errors are not believed.
    """
    believed = spectra.believed
    variance = 1 / np.where(believed, spectra.ivar, 1) / norm[:, None] ** 2
    return np.where(believed, 1 / (variance + SOFTENING), 0).astype(np.float32)
