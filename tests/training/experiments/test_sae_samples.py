"""Small images: the same ones again, coarser views of one scene, and what turning leaves as it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from galcli.training.experiments.sae_samples import circle, coarser, digits, galaxies, scenes, turned


def wave(side: int, across: int, along: int) -> Tensor:
    """A cosine of whole periods, (1, 1, side, side)."""
    place = torch.arange(side) * (2 * math.pi / side)
    return torch.cos(across * place + along * place[:, None] + 0.3)[None, None]


def test_galaxies_depend_on_their_seed_alone() -> None:
    first = galaxies(4, 12, 3)
    assert first.shape == (4, 3, 12, 12)
    assert first.isfinite().all()
    assert torch.equal(first, galaxies(4, 12, 3))
    assert not torch.equal(first, galaxies(4, 12, 4))
    middle, edge = first[..., 5:7, 5:7].mean(), first[..., 0, :].mean()
    assert middle > edge + 1  # a galaxy stands in the middle, in units of noise


def test_a_scene_on_a_finer_grid_is_the_same_scene() -> None:
    """Small pixels hold less light, and show the same surface brightness."""
    coarse, fine = scenes(8, 16, 16, 5), scenes(8, 16, 64, 5)
    assert coarse.std() > 0.5
    difference = (torch.asinh(torch.nn.functional.avg_pool2d(fine.sinh(), 4)) - coarse).abs().mean()
    assert difference < 0.1 * coarse.std()  # a factor of 2 would be 0.4


def test_aligned_galaxies_stretch_to_the_north() -> None:
    seen = scenes(40, 24, 24, 2, aligned=True)[:, 1].mean(0)
    offset = torch.arange(24) - 11.5
    north, east = ((seen * square).sum() for square in (offset[:, None].square(), offset.square()))
    assert north > 1.2 * east


def test_digits_are_shuffled_by_the_seed() -> None:
    some = digits(50, 16, 1)
    assert some.shape == (50, 1, 16, 16)
    assert float(some.std()) == pytest.approx(1)
    assert torch.equal(some, digits(50, 16, 1))
    assert not torch.equal(some, digits(50, 16, 2))
    assert len(digits(5000, 8, 0)) == 1797


@pytest.mark.parametrize(("across", "along"), [(0, 0), (3, 2), (-7, 5), (7, -7)])
def test_a_coarse_view_samples_the_same_waves(across: int, along: int) -> None:
    torch.testing.assert_close(coarser(wave(64, across, along), 16), wave(16, across, along), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("across", "along"), [(8, 0), (0, 8), (9, 1), (3, 20)])
def test_a_coarse_view_loses_what_it_cannot_hold(across: int, along: int) -> None:
    assert coarser(wave(64, across, along), 16).abs().max() < 1e-5


def test_turning_by_nothing_leaves_the_circle_and_by_a_quarter_moves_pixels() -> None:
    images = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    inside = circle(10)
    assert torch.equal(turned(images, 0), images * inside)
    assert inside[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    quarter = turned(images, 90)
    assert any(torch.allclose(quarter, images.rot90(times, (2, 3)) * inside, rtol=0, atol=1e-5) for times in (1, 3))
