"""Spectra of the mock survey: those of the galaxies whose stamps ``sources.mock_stamps`` makes from the same seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from galcli.training import cache
from galcli.training.mock import spectra as mock
from galcli.training.seeds import generator, mix
from galcli.training.sources import EVERY, mock_population
from galcli.training.spectra.grid import Spectra, concatenate
from galcli.training.spectra.sdss import SIGMA_MIN


def observe_spectra(galaxies: dict[str, Tensor], seed: int) -> tuple[Spectra, NDArray[np.float32]]:
    """Spectra of mock galaxies, and the same without noise and gaps.

    Parameters
    ----------
    galaxies : dict of Tensor, each (n,)
        See ``mock.population.draw``.
    seed : int
        Seed of the noise.

    Returns
    -------
    spectra : Spectra
    truth : ndarray (n, 1000), float32
        In the same unit.
    """
    z = galaxies["z"].double().cpu().numpy()
    seen = mock.observe(galaxies, generator(seed, 3, device=galaxies["z"].device))
    flux, ivar, truth = (values.cpu().numpy() for values in (seen.flux, seen.ivar, seen.model))
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)) / (1 + z[:, None]), 0).astype(np.float32)
    nowhere, name = np.full(len(z), np.nan), tuple(f"mock galaxy {row}" for row in range(len(z)))
    return Spectra(flux, ivar, sigma >= SIGMA_MIN, z, nowhere, nowhere, np.full(len(z), -1), name), truth


def mock_spectra(n: int, seed: int) -> tuple[Spectra, NDArray[np.float32]]:
    """Spectra of n mock galaxies, row by row those of ``sources.mock_stamps`` for ``EVERY`` galaxy.

    Parameters
    ----------
    n, seed : int

    Returns
    -------
    spectra : Spectra
    truth : ndarray (n, 1000), float32
        Without noise and gaps.
    """
    parts, truths = [], []
    for chunk in range(-(-n // cache.CHUNK)):
        one = mix(seed, chunk)
        galaxies, _ = mock_population(cache.CHUNK, mix(one, 0), EVERY)
        spectra, truth = observe_spectra(galaxies, one)
        parts.append(spectra)
        truths.append(truth)
    return concatenate(parts).take(np.arange(n)), np.concatenate(truths)[:n]
