"""Dictionaries learned again from a noisy start: unrolled hard thresholds, gradient descent (models.md 4.3).

Codes are not followed back (the analytic gradient of the dictionary). Of a lift, the matrix L before the encoder therefore
gets no gradient and stays orthonormal: what is learned is the way back, P, beside the atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from galcli.training.networks.dictionaries import Convolutional, Dictionary, Pointwise, Spectral
from galcli.training.networks.fourier import least_side
from galcli.training.networks.sae import SAE, Lift, Unrolled
from galcli.training.networks.sparsity import hard_threshold


class Course(NamedTuple):
    """What was seen on the way, before the first step and after each.

    Attributes
    ----------
    found : list of float
        Mean best cosine of the true atoms, see `sae_synthetic`.
    figures : list of float
        What else was asked for.
    """

    found: list[float]
    figures: list[float]


def unrolled(threshold: float, steps: int, rate: float) -> Unrolled:
    """The encoder: ``steps`` hard thresholds, with the analytic gradient of the dictionary."""
    return Unrolled(partial(hard_threshold, threshold=threshold), steps, rate)


def model_of(kind: type[Pointwise | Convolutional], start: Tensor, encoder: Unrolled, lift: Lift | None = None) -> SAE:
    """The autoencoder that learns from given atoms.

    Parameters
    ----------
    kind : type
        Of dictionary.
    start : Tensor (p, C) or (p, C, k, k)
        Atoms in the data's space, of any norm; they are lifted if the data are.
    encoder : Unrolled
    lift : Lift, optional
    """
    atoms = start if lift is None else raised(start, lift.up.detach())
    dictionary = kind(*reversed(atoms.shape[:2]), *atoms.shape[3:]).to(start.device)
    dictionary.weight.data.copy_(atoms)
    dictionary.normalise_()
    return SAE(dictionary, encoder, lift=lift)


def raised(atoms: Tensor, matrix: Tensor) -> Tensor:
    """Atoms (p, C, ...) whose channels are mixed by a matrix (D, C): (p, D, ...)."""
    mixed: Tensor = torch.tensordot(atoms, matrix, ([1], [1]))
    return mixed.movedim(-1, 1)


def atoms_in_data(model: SAE) -> Tensor:
    """Atoms as they add to the data: P D, (p, C, ...)."""
    weight = model.dictionary.weight.detach()
    return weight if model.lift is None else raised(weight, model.lift.down.detach())


@torch.no_grad()
def normalise_on_(dictionary: Dictionary, side: int) -> None:
    """Scale atoms to norm 1 on maps of ``side`` pixels: those of spectral ones depend on the grid."""
    dictionary.normalise_()
    if isinstance(dictionary, Spectral):
        dictionary.weight.mul_(side / least_side(dictionary.modes))


def descend(
    model: SAE, data: Iterator[Tensor], rate: float, batch: int, found: Callable[[SAE], Tensor],
    figure: Callable[[SAE], float] = lambda model: 0.0, before: Callable[[Dictionary], None] = lambda dictionary: None,
) -> Course:  # fmt: skip
    """Learn by plain gradient descent; atoms have norm 1 after every step.

    Parameters
    ----------
    model : SAE
    data : iterator of Tensor (N, C, H, W)
        One batch per step.
    rate : float
        Of learning.
    batch : int
        Samples in a batch, which may be the cells of a single map.
    found : callable
        Best cosines of the true atoms.
    figure : callable, optional
        Another number to be followed.
    before : callable, optional
        Changes the dictionary's gradient before each step.
    """
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], rate)
    cosines, figures = [found(model).mean()], [figure(model)]
    for x in data:
        loss = (model(x).data - x).square().sum() / batch
        optimizer.zero_grad()
        loss.backward()
        before(model.dictionary)
        optimizer.step()
        normalise_on_(model.dictionary, x.shape[-1])
        cosines.append(found(model).mean())
        figures.append(figure(model))
    return Course(torch.stack(cosines).tolist(), figures)
