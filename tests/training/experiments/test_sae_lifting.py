"""Lifting with a tiny plan: one start for all lifts; claims on made-up losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from galcli.training.experiments import sae_lifting
from galcli.training.experiments.sae_lifting import (
    KINDS,
    LIFTS,
    LOST,
    Plan,
    begin,
    common_loss,
    learn,
    measure,
    ratio,
    steps_to,
)

PLAN = Plan(32, 8, 16, 8, 6, 2, (1e-3, 1e-2), 2, 4, 24, 4, 6, 2, 0.2, 3, 3)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(2)


def test_every_lift_begins_alike_and_learns() -> None:
    figures = measure(PLAN, 0, "cpu")
    for kind in KINDS:
        losses = figures["losses"][kind]
        assert all(len(course) == 4 for courses in losses.values() for course in courses)
        starts = {round(course[0], 3) for courses in losses.values() for course in courses}
        assert len(starts) == 1, kind
        assert min(map(min, losses["none"])) < 0.95 * losses["none"][0][0]
        assert losses["learned"][0] != losses["orthonormal"][0]
        assert {lift: len(courses) for lift, courses in losses.items()} == dict.fromkeys(LIFTS, len(PLAN.rates))
    assert measure(PLAN, 0, "cpu") == figures


@pytest.mark.parametrize("kind", KINDS)
def test_an_orthonormal_lift_changes_no_gradient_descent(kind: str) -> None:
    """Proposition C.2 for feed-forward encoders: the same losses, where steps do not depend on the axes."""
    data = torch.randn(16, 6, 9, 9)
    courses = []
    for lift in ("none", "orthonormal", "learned"):
        torch.manual_seed(4)
        model = begin(PLAN, data, kind, lift)
        optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], 0.2)
        course = []
        for _ in range(8):
            loss = (model(data).data - data).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            course.append(float(loss.detach()))
        courses.append(course)
    none, orthonormal, learned = courses
    assert orthonormal == pytest.approx(none, rel=1e-4)
    assert learned[0] == pytest.approx(none[0], rel=1e-4)
    assert abs(learned[-1] - none[-1]) > 20 * abs(orthonormal[-1] - none[-1])


def test_a_diverged_training_is_lost_and_not_a_hole() -> None:
    losses = learn(PLAN, 1e3 * torch.randn(40, 3, 16, 16), "cnn", "learned", 1e18, 0)
    assert losses[-1] == LOST
    assert max(losses) == LOST


def test_steps_to_the_loss_that_both_reach() -> None:
    slow, fast = [[1.0, 0.8, 0.6, 0.4]], [[1.0, 0.3, 0.2, 0.2], [1.0, 2.0, 5.0, 9.0]]
    assert common_loss(slow, fast) == 0.4
    assert steps_to(slow, 0.4, 5) == 15
    assert steps_to(fast, 0.4, 5) == pytest.approx(5 * 0.6 / 0.7)


def test_models_that_learn_nothing_are_not_compared() -> None:
    idle, falls = [[1.0, 1.0, 1.2]], [[1.0, 0.5, 0.2]]
    assert ratio(idle, falls) == ratio(falls, idle) == ratio(idle, idle) == 1
    assert ratio([[1.0, 0.6, 0.2]], [[1.0, 0.2, 0.2]]) == pytest.approx(2)


def test_adam_goes_further_with_an_orthonormal_lift() -> None:
    """Every weight moves by the rate, and there are twice as many: sqrt(2) as far in the data."""
    data, lengths = torch.randn(64, 6, 5, 5), []
    for lift in ("none", "orthonormal"):
        torch.manual_seed(4)
        model = begin(PLAN, data, "mlp", lift)
        weight = model.dictionary.weight
        before = weight.detach().clone()
        optimizer = torch.optim.Adam([weight], 1e-4)
        (model(data).data - data).square().mean().backward()
        optimizer.step()
        step = weight.detach() - before
        lengths.append(float((step if model.lift is None else step @ model.lift.up).norm()))
    assert lengths[1] > 1.2 * lengths[0]


def results(
    learned: float = 0.5, best: float = 0.5, orthonormal: float = 0.5, turned: float = 0.5
) -> list[dict[str, Any]]:
    """Losses that fall with time scales in units of that without lift, at the usual rate and at the best one."""

    def course(scale: float, seed: int) -> list[float]:
        return [0.5 ** (step / scale * (1 + 0.01 * seed)) for step in range(21)]

    def losses(seed: int) -> dict[str, list[list[float]]]:
        return {
            "none": [course(10, 0), course(5, 0)],
            "orthonormal": [course(10 * orthonormal, seed), course(5 * turned, seed)],
            "learned": [course(10 * learned, seed), course(5 * best, seed)],
        }

    return [{"rates": [1e-3, 1e-2], "every": 5, "losses": {kind: losses(seed) for kind in KINDS}} for seed in range(3)]


def test_claims_hold_fail_and_stay_undecided() -> None:
    def verdicts(**parts: float) -> list[str]:
        return [claim.verdict for claim in sae_lifting.claims(results(**parts))]

    assert verdicts() == ["holds"] * 4
    assert verdicts(learned=2, best=0.5) == ["fails", "holds", "holds", "holds"]
    assert verdicts(orthonormal=1.5) == ["holds", "fails", "holds", "holds"]
    assert verdicts(best=2) == ["holds", "holds", "undecided", "holds"]  # the usual rate is its best one, and no better
    assert verdicts(learned=0.9, best=2) == ["holds", "holds", "fails", "holds"]
    assert verdicts(orthonormal=0.9, turned=2) == ["holds", "holds", "holds", "fails"]
    assert verdicts(orthonormal=1.01)[1] == "undecided"
    assert {claim.verdict for claim in sae_lifting.claims(results()[:1])} == {"undecided"}


def test_the_best_rate_of_every_lift_is_drawn() -> None:
    figure = Figure()
    sae_lifting.draw(figure, results(best=3))
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert len(labels) == 6
    assert labels[0] == [f"{words}, rate 0.001" for words in LIFTS.values()]
    assert labels[3][0] == "no lift, rate 0.01"
    assert labels[3][1:] == ["orthonormal lift, fixed, rate 0.01", "learned lift, rate 0.001"]
