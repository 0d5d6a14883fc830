"""Sparsity of codes: counts, thresholds that take their place, and gradients of learned ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from galcli.training.networks import sparsity
from galcli.training.networks.sparsity import (
    BatchTopK,
    JumpReLU,
    Rectified,
    Running,
    TopK,
    TopKAbove,
    TopKCells,
    energy,
    hard_threshold,
    top_cells,
    top_concepts,
    top_domain,
)


def codes(seed: int = 0, shape: tuple[int, ...] = (3, 8, 6, 5)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_energy_is_the_mean_square() -> None:
    z = torch.zeros(1, 2, 4, 5)
    z[0, 1, :, 0] = 3.0
    assert energy(z).tolist() == [[0.0, pytest.approx(9 * 4 / 20)]]


def test_the_strongest_concepts_stay_whole() -> None:
    z = codes()
    kept = top_concepts(z, 3)
    used = energy(kept) > 0
    assert used.sum(1).tolist() == [3, 3, 3]
    assert torch.equal(kept[used], z[used])
    for row in range(3):
        assert energy(z)[row][used[row]].min() > energy(z)[row][~used[row]].max()
    assert torch.equal(top_concepts(z, 99), z)


def test_every_cell_keeps_its_own_concepts() -> None:
    z = codes()
    kept = top_cells(z, 2)
    assert ((kept != 0).sum(1) == 2).all()
    assert torch.equal(kept.amax(1), z.amax(1))
    assert torch.equal(kept.sum(1), z.topk(2, 1).values.sum(1))


@pytest.mark.parametrize(("part", "count"), [(0.1, 3), (0.5, 15), (1.0, 30), (0.01, 1)])
def test_domain_sparsity_rounds_up(part: float, count: int) -> None:
    z = codes().abs() + 0.1
    kept, least = top_domain(z, part)
    assert ((kept > 0).sum((2, 3)) == count).all()
    for row, concept in ((0, 0), (2, 7)):
        assert least[row, concept] == kept[row, concept][kept[row, concept] > 0].min()
        assert (kept[row, concept] > 0).sum() == (z[row, concept] >= least[row, concept]).sum()


def test_concepts_first_then_domain() -> None:
    chosen = TopK(2, 0.2)(codes())
    assert ((energy(chosen) > 0).sum(1) == 2).all()
    assert ((chosen > 0).sum((2, 3)).amax(1) == 6).all()


def test_thresholds_of_the_domain_keep_that_part_on_finer_grids() -> None:
    """Counts belong to a grid; the calibrated threshold keeps the same part of a smooth map on one twice as fine."""
    part = 0.2
    layer = TopKAbove(1, 1, part).train()

    def smooth(side: int, phase: float) -> Tensor:
        y, x = torch.meshgrid(*[torch.arange(side) / side * 2 * math.pi] * 2, indexing="ij")
        return (1.5 + torch.sin(x + phase) * torch.cos(y - 2 * phase))[None, None]

    for step in range(300):
        layer(smooth(24, 0.1 * step))
    layer.eval()
    for side in (24, 48, 96):
        kept = (layer(smooth(side, 0.77)) > 0).float().mean()
        assert kept == pytest.approx(part, abs=0.03)
    counted, _ = top_domain(smooth(48, 0.77), part * (24 / 48) ** 2)  # the count of the coarse grid keeps a quarter
    assert (counted > 0).float().mean() == pytest.approx(part / 4, abs=0.01)


def test_codes_are_learned_as_they_are_exported() -> None:
    layer = TopKAbove(4, 2, 0.25).train()
    for seed in range(20):
        u = codes(seed, (8, 4, 8, 8)).requires_grad_()
        seen = layer(u)
        torch.testing.assert_close(seen, layer.eval()(u))
        seen.square().sum().backward()
        assert torch.equal(u.grad, 2 * seen)
        layer.train()
    counts = (seen > 0).sum((2, 3))
    assert counts.max() > 16 > counts[counts > 0].min()  # a quarter of 64 in the mean alone


def test_thresholds_of_the_domain_do_not_mind_how_bright_an_object_is() -> None:
    layer = TopKAbove(4, 2, 0.25).train()
    for seed in range(20):
        layer(codes(seed, (8, 4, 8, 8)))
    layer.eval()
    u = codes(99, (8, 4, 8, 8))
    torch.testing.assert_close(layer(100 * u), 100 * layer(u))
    assert ((layer(u) > 0).float().mean((2, 3)).sum(1) / 2).mean().item() == pytest.approx(0.25, abs=0.03)


def test_running_values_begin_with_the_first_and_wait_for_the_unseen() -> None:
    running = Running(2)
    running.update(torch.tensor([4.0, 7.0]), torch.tensor([True, False]))
    assert running.value.tolist() == [4.0, 0.0]
    running.update(torch.tensor([5.0, 9.0]), torch.tensor([True, True]))
    assert running.value.tolist() == [4.5, 9.0]  # the first values count alike
    for _ in range(1000):
        running.update(torch.tensor([2.0, 2.0]), torch.tensor([True, False]))
    assert running.value[0] == pytest.approx(2.0, abs=1e-3)
    running.update(torch.tensor([3.0, 3.0]), torch.tensor([True, False]))
    assert running.value[0] == pytest.approx(2.0 + sparsity.MOMENTUM, abs=1e-3)
    running.begin_anew()
    running.update(torch.tensor([5.0, 5.0]), torch.tensor([True, False]))
    assert running.value.tolist() == [5.0, 9.0]


def test_a_batch_shares_its_concepts_and_evaluation_uses_the_threshold() -> None:
    u = codes(1, (16, 8, 4, 4)) * torch.linspace(0.2, 3, 16)[:, None, None, None]
    layer = BatchTopK(2).train()
    used = energy(layer(u)) > 0
    assert used.sum() == 2 * 16
    assert used[0].sum() < 2 < used[-1].sum()  # the faint use fewer, the bright more
    smallest = energy(u.relu())[used].min()
    assert layer.least.value.item() == pytest.approx(float(smallest))
    layer.eval()
    assert torch.equal(energy(layer(u)) > 0, used)
    assert torch.equal(layer(u[:1]), layer(u)[:1])  # an object does not depend on its batch


def test_rectified_codes_and_their_penalty() -> None:
    u = torch.tensor([-1.0, 2.0, 3.0, -4.0]).reshape(1, 2, 1, 2)
    layer = Rectified(0.5)
    z = layer(u)
    assert z.flatten().tolist() == [0, 2, 3, 0]
    assert layer.penalty(u, z).item() == pytest.approx(0.5 * (2 / 2 + 3 / 2))


def test_learned_thresholds_and_their_gradients() -> None:
    """The estimators of Rajamanoharan et al. (2024, eqs. 11 and 12)."""
    layer = JumpReLU(1, 1.0, start=0.5)
    width = 0.5 * sparsity.BANDWIDTH
    half = width / 2
    u = torch.tensor([0.5 - 0.5 * half, 0.5 + 0.5 * half, 2.0, -1.0]).reshape(1, 1, 2, 2).requires_grad_()
    z = layer(u)
    assert z.flatten().tolist() == [0, pytest.approx(0.5 + 0.5 * half), 2.0, 0]
    z.sum().backward()
    assert u.grad is not None
    assert u.grad.flatten().tolist() == [0, 1, 1, 0]
    # d/d log(threshold) = threshold d/d threshold; two values lie within the bandwidth.
    assert layer.log_threshold.grad.item() == pytest.approx(0.5 * -2 * 0.5 / width, rel=1e-5)
    layer.log_threshold.grad = None
    penalty = layer.penalty(u, z)
    assert penalty.item() == pytest.approx(0.5)
    penalty.backward()
    assert layer.log_threshold.grad.item() == pytest.approx(0.5 * -2 / 4 / width, rel=1e-5)


def test_values_of_half_precision_move_learned_thresholds() -> None:
    """Their grid has steps of 0.004 from 0.5 on: a band of fixed width would see none of them."""
    for start in (0.3, 0.6, 1.3, 2.1):
        layer = JumpReLU(1, 1.0, start=start)
        u = torch.rand(1, 1, 100, 100, generator=torch.Generator().manual_seed(0)).mul(4).bfloat16()
        layer.penalty(u, layer(u)).backward()
        # Values of even density 1/4: d/d log(threshold) of the part above it is - threshold / 4.
        assert layer.log_threshold.grad.item() == pytest.approx(-start / 4, rel=0.25)


def test_learned_thresholds_begin_where_so_many_concepts_of_a_cell_pass() -> None:
    u = torch.randn(4, 32, 6, 6, generator=torch.Generator().manual_seed(1))
    layer = JumpReLU(32, 1.0)
    layer.begin(u, 5)
    assert (layer(u) != 0).sum(1).float().mean().item() == pytest.approx(5, abs=0.02)


def test_hard_thresholds_keep_both_signs() -> None:
    u = torch.tensor([-3.0, -1.0, 0.5, 2.0], requires_grad=True)
    z = hard_threshold(u, 1.5)
    assert z.tolist() == [-3, 0, 0, 2]
    z.sum().backward()
    assert u.grad is not None
    assert u.grad.tolist() == [1, 0, 0, 1]


def test_cells_take_their_largest_positive_concepts() -> None:
    u = -torch.ones(1, 4, 1, 1)
    u[0, 2] = 3.0
    assert TopKCells(2)(u).flatten().tolist() == [0, 0, 3, 0]


def test_concepts_that_are_tried_are_as_sparse_as_those_used() -> None:
    u = codes(3, (4, 16, 8, 8))
    maps, cells = TopK(2, 0.125).tried(u, 5), TopKCells(2).tried(u, 5)
    assert ((maps > 0).sum((2, 3)).sort(1).values[:, -5:] == 8).all()
    assert ((maps > 0).any(3).any(2).sum(1) == 5).all()
    assert ((cells > 0).sum(1) <= 5).all()
    assert (cells > 0).any(3).any(2).all()  # each cell has its own
    for tried in (maps, cells, BatchTopK(2).tried(u, 5)):
        assert torch.equal(tried[tried > 0], u[tried > 0])
