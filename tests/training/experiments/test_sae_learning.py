"""Three autoencoders trained alike: what they cost, what they learn, and known answers of the measures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from galcli.training.experiments.sae_learning import (
    KINDS,
    Learned,
    Learning,
    hoyer,
    learn,
    pictures,
    split,
    unexplained,
    used,
)
from galcli.training.networks.dictionaries import Spectral
from galcli.training.networks.sae import SAE, FeedForward
from galcli.training.networks.sparsity import TopK

TINY = Learning(images=40, side=8, concepts=6, active=2, part=1 / 8, modes=2, support=3, steps=30, batch=8, rate=0.1)


def blobs(count: int, side: int = 8) -> Tensor:
    """Images (count, 2, side, side) of one round blob each, at random places."""
    random = torch.Generator().manual_seed(5)
    place = torch.rand(count, 2, 1, generator=random) * side
    offset = (torch.arange(side) - place + side / 2).remainder(side) - side / 2
    along, across = torch.exp(-0.5 * offset.square()).unbind(1)
    blob = along[:, :, None] * across[:, None, :]
    return torch.stack([blob, 0.5 * blob], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_training_explains_more_and_can_be_repeated(kind: str) -> None:
    images = blobs(40)
    before, after = (learn(kind, images, replace(TINY, steps=steps), 3) for steps in (1, 80))
    assert unexplained(after, images) < 0.8 * unexplained(before, images)
    again = learn(kind, images, replace(TINY, steps=1), 3)
    assert torch.equal(again.model.dictionary.weight, before.model.dictionary.weight)
    torch.testing.assert_close(after.model.dictionary.norms(), torch.ones(6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_as_sparse_as_asked_for(kind: str) -> None:
    images = blobs(40)
    codes = learn(kind, images, TINY, 0).codes(images)
    active = codes.flatten(2).count_nonzero(2)
    assert (active > 0).sum(1).max() <= 2
    assert active.max() <= (1 if kind == "mlp" else 8)  # an eighth of 64 cells


@pytest.mark.parametrize(("kind", "shape"), [("mlp", (6, 2, 8, 8)), ("cnn", (6, 2, 3, 3)), ("fno", (6, 2, 8, 8))])
def test_atoms_are_images(kind: str, shape: tuple[int, ...]) -> None:
    learned = learn(kind, blobs(40), replace(TINY, steps=2), 0)
    assert learned.atoms().shape == shape
    if kind == "fno":  # around the middle: a code of one cell there makes the atom
        code = torch.zeros(1, 6, 8, 8)
        code[0, 1, 4, 4] = 1.0
        made = learned.model.dictionary.synthesise(code)[0]
        torch.testing.assert_close(made, learned.atoms()[1], rtol=0, atol=1e-5)


def test_a_vector_autoencoder_sees_tiles_of_finer_images() -> None:
    images = blobs(40)
    learned = learn("mlp", images, TINY, 0)
    four = torch.cat([torch.cat(list(images[:4].split(2)), 3), torch.cat(list(images[4:8].split(2)), 3)], 2)
    made = learned.made(four)
    torch.testing.assert_close(made[:, :, :8, :8], learned.made(images[:2]), rtol=0, atol=1e-6)
    torch.testing.assert_close(made[:, :, 8:, 8:], learned.made(images[6:8]), rtol=0, atol=1e-6)


def test_a_band_limited_field_has_the_same_error_on_every_grid() -> None:
    """Codes that are never cut off: the autoencoder is a linear operator between functions."""
    torch.manual_seed(2)
    dictionary = Spectral(1, 3, 3)
    encoder = FeedForward(dictionary, TopK(3))
    with torch.no_grad():
        encoder.bias.fill_(50.0)  # positive everywhere
    learned = Learned("fno", SAE(dictionary, encoder, torch.zeros(1)), 16)
    errors = []
    for side in (16, 32, 64):
        place = torch.arange(side) * (2 * math.pi / side)
        field = torch.cos(2 * place + 0.4) + torch.cos(3 * place[:, None]) + torch.sin(place[:, None] + 6 * place)
        errors.append(unexplained(learned, field[None, None]))
    assert errors[0] > 0.1
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-4)


def test_hoyer_of_known_atoms() -> None:
    single, flat = torch.zeros(16), torch.full((16,), -2.0)
    single[3] = -5.0
    half = torch.tensor([1.0, -1.0, 0.0, 0.0])
    assert hoyer(torch.stack([single, flat])).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    assert float(hoyer(half.reshape(1, 1, 2, 2))) == pytest.approx(2 - math.sqrt(2))


def test_use_counts_images_above_one_per_cent_of_their_energy() -> None:
    strengths = torch.tensor([[1.0, 0.0, 0.02], [1.0, 0.0, 0.005], [0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    assert used(strengths).tolist() == [0.75, 0.25, 0.25]


def test_a_fifth_is_held_out() -> None:
    known, held = split(torch.arange(12.0))
    assert held.tolist() == [10, 11]
    assert len(known) == 10


def test_pictures_are_in_per_cent_of_the_largest_size() -> None:
    atoms = torch.tensor([[[[9.0]], [[-0.5]]], [[[9.0]], [[0.25]]]]) * torch.ones(2, 2, 1, 2)
    atoms[1, 1, 0, 0] = -1.0
    assert pictures(atoms, torch.tensor([1, 0])) == [[[-100, 25]], [[-100, -100]]]
