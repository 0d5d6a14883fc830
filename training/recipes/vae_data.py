"""The spectra that the autoencoder learns from: mock or real, with gaps filled, normalised and weighted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.training.progress import say
from galcli.training.spectra import gaps
from galcli.training.spectra.files import read_spectra, tell
from galcli.training.spectra.gaps import Filler
from galcli.training.spectra.grid import POINTS, Floats, Spectra, wavelengths, weights
from galcli.training.spectra.match import same_object
from galcli.training.spectra.mock import mock_spectra

#: Part of the spectra that is held out, as published.
HELD_OUT = 0.25
#: Redshifts of the published sample.
Z_RANGE = (0.0, 0.36)
#: Spectra of fewer galaxies than this teach nothing.
FEWEST = 64
#: A wavelength that fewer training spectra tell of is not learned, and would be decoded to chance.
FEWEST_AT_WAVELENGTH = 16
#: Part of a spectrum's pixels with data whose errors must be believed; only these teach.
MIN_BELIEVED = 0.1


@dataclass(frozen=True)
class Sample:
    """Spectra ready for the autoencoder.

    Attributes
    ----------
    spectra : Spectra
    filled : ndarray (N, 1000), float32
        Gaps filled, of unit norm.
    weight : ndarray (N, 1000), float32
        Of each normalised pixel in the loss.
    norm : ndarray (N,)
    truth : ndarray (N, 1000), float32, or None
        Without noise and gaps, in the unit of ``filled``; known for mock spectra.
    filler : Filler
    held : ndarray (N,), bool
    mean : ndarray (1000,), float32
        Mean of the filled training spectra.
    name : str
        What the sample is called in cards.
    mock : bool
    digest : str
        Of the spectra: another set must not go on with a training.
    """

    spectra: Spectra
    filled: NDArray[np.float32]
    weight: NDArray[np.float32]
    norm: Floats
    truth: NDArray[np.float32] | None
    filler: Filler
    held: NDArray[np.bool_]
    mean: NDArray[np.float32]
    name: str
    mock: bool
    digest: str

    def rows(self, held: bool) -> NDArray[np.int64]:
        """Training or held-out rows."""
        return np.flatnonzero(self.held == held)


def gather(paths: Sequence[str | Path], objects: int | None, seed: int) -> Sample:
    """Spectra of files, or of the mock survey.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, globs; none: mock spectra.
    objects : int, optional
        Mock spectra, for which it must be given; or as many of the files', drawn by chance, where there are more.
    seed : int
        Of the mock survey, what is drawn and the split.

    Raises
    ------
    InputError
        If too few spectra can be used, or they leave out wavelengths.
    """
    if not paths:
        assert objects is not None
        spectra, truth = mock_spectra(objects, seed)
        return prepared(spectra, truth, seed, "mock survey", mock=True)
    spectra, problems = read_spectra(paths)
    tell(problems, say)
    kept = _usable(spectra)
    if objects is not None and objects < len(kept):
        kept = np.sort(np.random.default_rng(seed).permutation(kept)[:objects])
        say(f"{objects} of these are drawn by chance")
    names = dict.fromkeys(Path(path).resolve().name for path in paths)
    return prepared(spectra.take(kept), None, seed, ", ".join(names), mock=False)


def _usable(spectra: Spectra) -> NDArray[np.int64]:
    """Rows of the spectra that can be learned from; what is left out is said."""
    near = ~((spectra.z <= Z_RANGE[0]) | (spectra.z > Z_RANGE[1]))
    believed = spectra.believed.sum(1) >= MIN_BELIEVED * spectra.good.sum(1)
    kept = np.flatnonzero(near & believed)
    galaxies = len(np.unique(same_object(spectra.take(kept))))
    told = (
        f"{len(kept)} of {len(spectra)} spectra can be used, of {galaxies} galaxies: {np.count_nonzero(~near)} are not at "
        f"0 < z <= {Z_RANGE[1]}, of {np.count_nonzero(near & ~believed)} others less than {MIN_BELIEVED:.0%} of the "
        "errors are believed"
    )
    if galaxies < FEWEST:
        raise InputError(
            f"{told}; an autoencoder needs {FEWEST} galaxies at least",
            "give more files with --spectra, or leave it out to learn from the mock survey",
        )
    say(told)
    return kept


def prepared(
    spectra: Spectra, truth: NDArray[np.float32] | None, seed: int, name: str, mock: bool, filler: Filler | None = None
) -> Sample:
    """Fill gaps, normalise, weight and split.

    Parameters
    ----------
    spectra : Spectra
    truth : ndarray (N, 1000) or None
        In the unit of the spectra.
    seed : int
        Of the split.
    name, mock
        As in `Sample`.
    filler : Filler, optional
        That of an earlier training; without it, it is measured on the training spectra.

    Raises
    ------
    InputError
        If it is measured, and the training spectra leave out wavelengths.
    """
    number = same_object(spectra)
    order = torch.randperm(int(number.max()) + 1, generator=torch.Generator().manual_seed(seed)).numpy()
    held = np.isin(number, order[: int(HELD_OUT * len(order))])
    if filler is None:
        _require_wavelengths(spectra.believed[~held])
        filler = gaps.fit_filler(spectra.flux[~held], spectra.good[~held], seed)
    filled, norm = gaps.fill_in_parts(filler, spectra.flux, spectra.good)
    if truth is not None:
        truth = (truth / norm[:, None]).astype(np.float32)
    mean = filled[~held].mean(0, dtype=np.float64).astype(np.float32)
    digest = hashlib.sha256(filled.tobytes()).hexdigest()[:16]
    return Sample(spectra, filled, weights(spectra, norm), norm, truth, filler, held, mean, name, mock, digest)


def _require_wavelengths(believed: NDArray[np.bool_]) -> None:
    """Refuse training spectra that leave out wavelengths of the grid."""
    missing = wavelengths()[believed.sum(0) < FEWEST_AT_WAVELENGTH]
    if len(missing):
        raise InputError(
            f"{len(missing)} of {POINTS} wavelengths, from {missing[0]:.0f} to {missing[-1]:.0f} Angstrom, have data in "
            f"fewer than {FEWEST_AT_WAVELENGTH} training spectra",
            "give more spectra, some that reach them: of higher redshift, or of a spectrograph that begins bluer",
        )
