"""Sparse and convolutional recovery with tiny plans, and their claims on made-up courses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from galcli.training.experiments import sae_convolutional, sae_recovery
from galcli.training.experiments.sae_descent import atoms_in_data, descend, model_of, unrolled
from galcli.training.networks.dictionaries import Convolutional, Pointwise
from galcli.training.networks.sae import Lift

VECTORS = sae_recovery.Plan(40, 50, 2, 48, 640, 32, 40, 4e-3, 0.08, 15, 0.2, 2.0)
MAPS = sae_convolutional.Plan(8, 6, 3, 8, 2, 16, 320, 16, 30, 2e-3, 0.06, 10, 0.2, 1.0)
BOTH = [(sae_recovery, VECTORS), (sae_convolutional, MAPS)]


@pytest.mark.parametrize(("module", "plan"), BOTH)
def test_atoms_are_found_from_a_noisy_start(module: Any, plan: Any) -> None:
    models = module.measure(plan, 0, "cpu")["models"]
    for course in models.values():
        assert course["found"][0] < 0.92
        assert course["found"][-1] > 0.98
        assert len(course["found"]) == len(course["coherence"]) == plan.steps + 1
    assert len({course["found"][0] for course in models.values()}) == 1  # the same start
    assert models["lifted"]["coherence"][-1] < models["plain"]["coherence"][-1]
    plain, lifted = (models[name]["coherence_in_data"] for name in ("plain", "lifted"))
    assert plain == pytest.approx(models["plain"]["coherence"][-1], rel=1e-5)  # its atoms are those of the data
    assert abs(lifted - models["lifted"]["coherence"][-1]) > 1e-4


@pytest.mark.parametrize(("module", "plan"), BOTH)
def test_atoms_that_are_right_stay_right(module: Any, plan: Any) -> None:
    for name, course in module.measure(replace(plan, start_noise=0.0), 1, "cpu")["models"].items():
        assert course["found"][0] == pytest.approx(1, abs=1e-6)
        assert min(course["found"]) > 0.999, name


@pytest.mark.parametrize(("module", "plan"), BOTH)
def test_seeds_differ_and_repeat(module: Any, plan: Any) -> None:
    short = replace(plan, steps=2)
    first = module.measure(short, 3, "cpu")
    assert module.measure(short, 3, "cpu") == first
    assert module.measure(short, 4, "cpu") != first


def test_an_orthonormal_lift_takes_the_same_course() -> None:
    models = sae_recovery.measure(VECTORS, 0, "cpu")["models"]
    assert models["orthonormal"]["found"] == pytest.approx(models["plain"]["found"], abs=1e-5)
    assert models["lifted"]["found"][3] > models["plain"]["found"][3]


@pytest.mark.parametrize("kind", [Pointwise, Convolutional])
@pytest.mark.parametrize("learned", [True, False])
def test_of_a_lift_only_the_way_back_is_learned(kind: Any, learned: bool) -> None:
    torch.manual_seed(0)
    true = kind(4, 6, *([3] if kind is Convolutional else [])).weight.detach()
    lift = Lift(4, 9, learned=learned)
    up, down = lift.up.detach().clone(), lift.down.detach().clone()
    model = model_of(kind, true + 0.05 * torch.randn_like(true), unrolled(0.5, 3, 0.2), lift)
    descend(model, iter(torch.randn(5, 8, 4, 5, 5)), 1e-2, 8, lambda one: torch.ones(1))
    assert torch.equal(lift.up, up)
    torch.testing.assert_close(lift.up.t() @ lift.up, torch.eye(4))
    assert torch.equal(lift.down, down) is not learned


@pytest.mark.parametrize("kind", [Pointwise, Convolutional])
def test_atoms_of_a_lifted_model_are_seen_in_the_data(kind: Any) -> None:
    torch.manual_seed(0)
    start = kind(4, 6, *([3] if kind is Convolutional else [])).weight.detach()
    model = model_of(kind, 2 * start, unrolled(1.0, 2, 0.2), Lift(4, 9))
    assert model.dictionary.weight.shape[1] == 9
    torch.testing.assert_close(atoms_in_data(model), start)
    z = torch.randn(2, 6, 5, 5)
    plain = model_of(kind, start, unrolled(1.0, 2, 0.2))
    torch.testing.assert_close(model.decode(z), plain.decode(z), rtol=0, atol=1e-5)


def course(end: float, slow: float, pairs: float, in_data: float = 0.09) -> dict[str, Any]:
    """A rise from 0.8 to its end that lasts so many steps."""
    found = [min(end, 0.8 + (end - 0.8) * step / slow) for step in range(41)]
    return {"found": found, "coherence": [0.1] * 40 + [pairs], "coherence_in_data": in_data}


def results(
    lifted_end: float = 0.999, lifted_slow: float = 10.0, lifted_pairs: float = 0.08, lifted_in_data: float = 0.08
) -> list[dict[str, Any]]:
    return [
        {
            "models": {
                "plain": course(0.999, 20 + 0.1 * seed, 0.09 + 1e-4 * seed, 0.09 + 1e-4 * seed),
                "orthonormal": course(0.999, 20 + 0.1 * seed, 0.09),
                "lifted": course(lifted_end - 1e-4 * seed, lifted_slow + 0.2 * seed, lifted_pairs, lifted_in_data),
            }
        }
        for seed in range(3)
    ]


def verdicts(found: list[Any]) -> list[str]:
    return [claim.verdict for claim in found]


def test_claims_hold_fail_and_stay_undecided() -> None:
    for module in (sae_recovery, sae_convolutional):
        assert verdicts(module.claims(results()))[:4] == ["holds"] * 4
        assert verdicts(module.claims(results(lifted_end=0.98)))[:4] == ["fails", "holds", "holds", "holds"]
        assert verdicts(module.claims(results(lifted_slow=30)))[:4] == ["holds", "fails", "holds", "holds"]
        assert verdicts(module.claims(results(lifted_pairs=0.1)))[:4] == ["holds", "holds", "fails", "holds"]
        assert verdicts(module.claims(results(lifted_pairs=0.0901)))[:4] == ["holds", "holds", "undecided", "holds"]
        assert verdicts(module.claims(results(lifted_in_data=0.1)))[:4] == ["holds", "holds", "holds", "fails"]
        assert set(verdicts(module.claims(results()[:1]))) == {"undecided"}
    never = verdicts(sae_recovery.claims(results(lifted_end=0.9)))  # 0.95 is never reached
    assert never[:2] == ["fails", "fails"]


def test_an_orthonormal_lift_that_matters_is_noticed() -> None:
    assert verdicts(sae_recovery.claims(results()))[4] == "holds"
    moved = results()
    for seed, one in enumerate(moved):
        one["models"]["orthonormal"]["found"][7] += 0.01 + 1e-3 * seed
    assert verdicts(sae_recovery.claims(moved))[4] == "fails"


def test_courses_are_drawn() -> None:
    for module in (sae_recovery, sae_convolutional):
        figure = Figure()
        module.draw(figure, results())
        left, right = figure.axes
        assert len(left.get_legend().get_texts()) == len(module.TITLES)
        assert "cosine" in left.get_ylabel()
        assert "step" in right.get_xlabel()
