"""Sparse autoencoders: known codes, lifting that changes nothing, and dictionaries that are found again (models.md 4.6)."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from galcli.training.networks.dictionaries import Convolutional, Dictionary, Pointwise, Spectral
from galcli.training.networks.sae import SAE, FeedForward, Lift, Unrolled
from galcli.training.networks.sparsity import TopKCells, hard_threshold


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(11)


def unrolled(threshold: float, steps: int, rate: float) -> Unrolled:
    return Unrolled(partial(hard_threshold, threshold=threshold), steps, rate)


def sparse_vectors(n: int, concepts: int, count: int) -> Tensor:
    """Codes (n, p, 1, 1) with that many entries of 15 +- 1."""
    places = torch.rand(n, concepts).topk(count, 1).indices
    return torch.zeros(n, concepts).scatter(1, places, 15 + torch.randn(n, count))[:, :, None, None]


def cosines(found: Tensor, true: Tensor) -> Tensor:
    """Best cosine of each true atom (rows) among those found, whatever its sign."""
    return (
        torch.nn.functional.normalize(true, dim=1).matmul(torch.nn.functional.normalize(found, dim=1).t()).abs().amax(1)
    )


def test_orthonormal_atoms_are_decoded_in_one_step() -> None:
    dictionary = Pointwise(16, 16)
    with torch.no_grad():
        dictionary.weight.copy_(torch.linalg.qr(torch.randn(16, 16)).Q)
    z = sparse_vectors(20, 16, 3)
    model = SAE(dictionary, unrolled(1.0, 1, 1.0))
    torch.testing.assert_close(model(dictionary.synthesise(z)).codes, z, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["pointwise", "convolutional", "spectral"])
def test_an_orthonormal_lift_changes_nothing(kind: str) -> None:
    """Propositions C.1 and C.3: with P = L^T and L^T L = 1 it is the model of the dictionary L^T D."""
    lift = Lift(4, 7)
    above: Dictionary = {
        "pointwise": lambda: Pointwise(7, 10),
        "convolutional": lambda: Convolutional(7, 10, 3),
        "spectral": lambda: Spectral(7, 10, 4),
    }[kind]()
    below: Dictionary = {
        "pointwise": lambda: Pointwise(4, 10),
        "convolutional": lambda: Convolutional(4, 10, 3),
        "spectral": lambda: Spectral(4, 10, 4),
    }[kind]()
    channel = 2 if kind == "spectral" else 1
    with torch.no_grad():  # atoms inside the lifted space, so that the adjoint stays there
        down = torch.tensordot(above.weight, lift.down, ([channel], [1])).movedim(-1, channel)
        below.weight.copy_(down)
        above.weight.copy_(torch.tensordot(down, lift.up, ([channel], [1])).movedim(-1, channel))
    x = torch.randn(3, 4, 9, 9)
    plain = SAE(below, unrolled(0.1, 4, 0.1))(x)
    lifted = SAE(above, unrolled(0.1, 4, 0.1), lift=lift)(x)
    assert (plain.codes != 0).float().mean() > 0.05
    torch.testing.assert_close(lifted.codes, plain.codes, rtol=0, atol=1e-5)
    torch.testing.assert_close(lifted.data, plain.data, rtol=0, atol=1e-5)


def test_codes_move_with_the_image() -> None:
    """SAE-FNO is equivariant under circular shifts, exactly."""
    dictionary = Spectral(3, 5, 4)
    model = SAE(dictionary, FeedForward(dictionary, TopKCells(2)), torch.randn(3))
    x = torch.randn(2, 3, 16, 12)
    codes, moved = model(x).codes, model(x.roll((3, -5), (2, 3))).codes
    torch.testing.assert_close(moved, codes.roll((3, -5), (2, 3)), rtol=0, atol=1e-5)


def test_a_dictionary_is_recovered_from_a_noisy_start() -> None:
    """100 channels, 150 atoms, 4 of them in each sample: unrolled hard thresholds find the atoms (models.md 4.3)."""
    true = Pointwise(100, 150)
    dictionary = Pointwise(100, 150)
    with torch.no_grad():
        dictionary.weight.copy_(true.weight + 0.05 * torch.randn(150, 100))
    dictionary.normalise_()
    model = SAE(dictionary, unrolled(2.0, 30, 0.2))
    optimizer = torch.optim.SGD(dictionary.parameters(), 2e-3)
    start = cosines(dictionary.weight.detach(), true.weight.detach()).mean()
    assert 0.85 < start < 0.95
    for _ in range(400):
        x = true.synthesise(sparse_vectors(64, 150, 4)).detach()
        loss = (model(x).data - x).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        dictionary.normalise_()
    assert cosines(dictionary.weight.detach(), true.weight.detach()).mean() > 0.999


def test_the_analytic_gradient_is_that_for_given_codes() -> None:
    dictionary = Pointwise(12, 20)
    model = SAE(dictionary, unrolled(0.3, 5, 0.2))
    x = torch.randn(6, 12, 1, 1)
    coded = model(x)
    (0.5 * (coded.data - x).square().sum()).backward()
    z, rest = coded.codes[:, :, 0, 0], (x - coded.data)[:, :, 0, 0]
    torch.testing.assert_close(dictionary.weight.grad, -(z.t() @ rest), rtol=1e-4, atol=1e-5)


def test_atoms_of_a_lifted_model_are_those_that_the_data_see() -> None:
    lift = Lift(3, 6)
    for dictionary in (Pointwise(6, 5), Convolutional(6, 5, 3), Spectral(6, 5, 2)):
        model = SAE(dictionary, FeedForward(dictionary, TopKCells(2)), lift=lift)
        z = torch.zeros(5, 5, 5, 5)
        z[range(5), range(5), 2, 2] = 1
        made = torch.nn.functional.normalize(model.decode(z).detach().flatten(1), dim=1)
        torch.testing.assert_close(model.atoms() @ model.atoms().t(), made @ made.t(), rtol=0, atol=1e-5)
