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
from galcli.training.spectra.files import read_spectra
from galcli.training.spectra.gaps import Filler
from galcli.training.spectra.grid import Floats, Spectra, weights
from galcli.training.spectra.mock import mock_spectra

#: Part of the spectra that is held out, as published.
HELD_OUT = 0.25
#: Redshifts of the published sample.
Z_RANGE = (0.0, 0.36)
#: Fewer spectra than this teach nothing.
FEWEST = 64


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


def gather(paths: Sequence[str | Path], objects: int, seed: int) -> Sample:
    """Spectra of files, or of the mock survey.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, globs; none: mock spectra.
    objects : int
        Mock spectra, or at most so many of the files.
    seed : int
        Of the mock survey and the split.

    Raises
    ------
    InputError
        If too few spectra can be used.
    """
    if not paths:
        spectra, truth = mock_spectra(objects, seed)
        return prepared(spectra, truth, seed, "mock survey", mock=True)
    spectra, problems = read_spectra(paths)
    for problem in problems[:10]:
        say(f"left out: {problem.path}: {problem.reason}")
    if len(problems) > 10:
        say(f"left out: {len(problems) - 10} more")
    kept = np.flatnonzero(~((spectra.z <= Z_RANGE[0]) | (spectra.z > Z_RANGE[1])))[:objects]
    say(f"{len(kept)} of {len(spectra)} spectra with 0 < z <= {Z_RANGE[1]}")
    if len(kept) < FEWEST:
        raise InputError(
            f"{len(kept)} usable spectra, fewer than the {FEWEST} that an autoencoder needs at least",
            "give more files with --spectra, or leave it out to learn from the mock survey",
        )
    return prepared(spectra.take(kept), None, seed, Path(str(paths[0])).name, mock=False)


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
    """
    held = np.zeros(len(spectra), np.bool_)
    order = torch.randperm(len(spectra), generator=torch.Generator().manual_seed(seed)).numpy()
    held[order[: int(HELD_OUT * len(spectra))]] = True
    if filler is None:
        filler = gaps.fit_filler(spectra.flux[~held], spectra.good[~held], seed)
    filled, norm = gaps.fill_in_parts(filler, spectra.flux, spectra.good)
    if truth is not None:
        truth = (truth / norm[:, None]).astype(np.float32)
    mean = filled[~held].mean(0, dtype=np.float64).astype(np.float32)
    digest = hashlib.sha256(filled.tobytes()).hexdigest()[:16]
    return Sample(spectra, filled, weights(spectra, norm), norm, truth, filler, held, mean, name, mock, digest)
