"""Synthetic sparse data, and how well their atoms are found: known answers."""

from __future__ import annotations

import pytest
import torch

from galcli.training.experiments.sae_synthetic import (
    AMPLITUDE,
    batches,
    best_cosines,
    best_cosines_rolled,
    best_cosines_shifted,
    coherence,
    crossing,
    sparse_maps,
    sparse_vectors,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


def test_vectors_have_as_many_codes_as_asked_for() -> None:
    z = sparse_vectors(200, 30, 4, "cpu").dense(torch.arange(50, 150))
    assert z.shape == (100, 30)
    assert (z != 0).sum(1).tolist() == [4] * 100
    assert float(z[z != 0].mean()) == pytest.approx(AMPLITUDE, abs=0.2)
    assert float(z[z != 0].std()) == pytest.approx(1, abs=0.2)


def test_maps_have_a_single_concept_each() -> None:
    z = sparse_maps(100, 6, 7, 3, "cpu").dense(torch.arange(100)).reshape(100, 6, 49)
    assert (z != 0).sum(2).sort(1).values.tolist() == [[0] * 5 + [3]] * 100
    assert (z != 0).any(2).any(0).all()


def test_every_sample_is_used_once_in_a_time_through() -> None:
    rows = list(batches(20, 6, 7, "cpu"))
    assert [len(one) for one in rows] == [6] * 7
    for first in (0, 3):
        assert len(set(torch.cat(rows[first : first + 3]).tolist())) == 18
    assert rows[0].tolist() != rows[3].tolist()


def test_cosines_do_not_mind_order_sign_or_length() -> None:
    true = torch.randn(5, 40)
    found = torch.cat([torch.randn(2, 40), -3 * true.flip(0)])
    torch.testing.assert_close(best_cosines(found, true), torch.ones(5))
    axes = torch.eye(4)
    assert best_cosines(axes[:2], axes).tolist() == [1, 1, 0, 0]


def test_moved_kernels_are_the_same_up_to_sign() -> None:
    small = torch.randn(4, 3, 3, 3)
    true = torch.nn.functional.pad(small, [1, 1, 1, 1])
    moved = -2 * torch.nn.functional.pad(small, [2, 0, 0, 2]).flip(0)
    torch.testing.assert_close(best_cosines_shifted(moved, true), torch.ones(4))
    assert best_cosines(moved.flatten(1), true.flatten(1)).max() < 0.9
    torch.testing.assert_close(best_cosines_shifted(small, true), torch.ones(4))  # of another extent
    # A kernel that must leave its frame to fit is not the same: only what overlaps counts.
    edge = torch.zeros(1, 1, 3, 3)
    edge[0, 0, 0, 0] = edge[0, 0, 2, 2] = 1
    wrapped = edge.roll((1, 1), (2, 3))
    assert float(best_cosines_shifted(wrapped, edge)) == pytest.approx(0.5)


def test_periodic_kernels_may_be_rolled() -> None:
    true = torch.randn(4, 3, 6, 6)
    rolled = -true.roll((2, 5), (2, 3))
    torch.testing.assert_close(best_cosines_rolled(rolled, true), torch.ones(4))
    assert best_cosines_shifted(rolled, true).max() < 0.95


def test_coherence_of_known_atoms() -> None:
    assert coherence(torch.eye(7)) == pytest.approx(0, abs=1e-6)
    assert coherence(torch.ones(3, 5)) == pytest.approx(1)
    assert coherence(torch.tensor([[1.0, 0], [0, 2], [-3, 0]])) == pytest.approx(1 / 3)


def test_levels_are_reached_between_steps() -> None:
    assert crossing([0.0, 0.5, 1.0], 0.75) == pytest.approx(1.5)
    assert crossing([0.0, 0.5, 0.2, 0.4, 0.9], 0.45) == pytest.approx(0.9)
    assert crossing([0.0, 0.5, 1.0], 2) == 2
    assert crossing([0.9, 1.0], 0.5) == 0
    assert crossing([1.0, 0.9], 0.5) == 0
    assert crossing([0.9, 0.9], 0.9) == 0
    assert crossing([0.3, 0.3, 0.5], 0.4) == pytest.approx(1.5)
