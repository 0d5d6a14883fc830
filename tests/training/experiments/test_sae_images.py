"""Experiments with sparse autoencoders on images: tiny ones run through, made-up results decide claims either way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from galcli.training.experiments import sae_correlation, sae_resolution, sae_rotation, sae_stability, sae_utilisation
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_learning import Learning
from galcli.training.experiments.statistics import Verdict

TINY = Learning(images=30, side=8, concepts=6, active=2, part=1 / 16, modes=3, support=3, steps=3, batch=4, rate=0.1)
PLANS: dict[str, Any] = {
    "sae-resolution": sae_resolution.Plan(**asdict(TINY), fewer_modes=(2,)),
    "sae-stability": sae_stability.Plan(**asdict(TINY), counts=(1, 3)),
    "sae-correlation": TINY,
    "sae-utilisation": TINY,
    "sae-rotation": TINY,
}
MODULES = (sae_resolution, sae_stability, sae_correlation, sae_utilisation, sae_rotation)
EXPERIMENTS = {one.EXPERIMENT.name: one.EXPERIMENT for one in MODULES}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_tiny_experiments_are_measured_judged_and_drawn(name: str) -> None:
    experiment: Experiment = EXPERIMENTS[name]
    results = [experiment.measure(PLANS[name], seed, "cpu") for seed in (0, 1)]
    assert results[0] == experiment.measure(PLANS[name], 0, "cpu")
    assert results[0] != results[1]
    results = json.loads(json.dumps(results, allow_nan=False))
    claims = experiment.claims(results)
    gains, *single = ([one.gain.value for claim in experiment.claims(part) for one in claim.differences]
                      for part in (results, results[:1], results[1:]))  # fmt: skip
    assert gains == pytest.approx([(first + second) / 2 for first, second in zip(*single, strict=True)], abs=1e-9)
    assert single[0] != single[1]  # claims look at what was measured
    assert all(claim.verdict == "undecided" for claim in experiment.claims(results[:1]))  # one seed decides nothing
    assert len({claim.statement for claim in claims}) == len(claims)
    figure = Figure(figsize=(12, 5))
    experiment.draw(figure, results)
    figure.canvas.draw()
    assert "MOCK" in experiment.sample


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_parts_of_maps_are_whole_cells_of_every_grid(name: str) -> None:
    for plan in EXPERIMENTS[name].plans.values():
        cells = plan.part * plan.side**2
        assert cells == int(cells) >= 1
        assert plan.side >= 2 * plan.modes + 1


def resolution(series: float, kernels: float) -> Callable[[float], dict[str, Any]]:
    def made(noise: float) -> dict[str, Any]:
        errors = {"SAE-MLP": [0.1, 0.5, 0.4], "SAE-CNN": [0.1, 0.1, 0.1 * kernels + noise],
                  "SAE-FNO, M = 3": [0.1, 0.1 * series + noise, 0.1]}  # fmt: skip
        return {"sides": [8, 16, 32], "errors": {"galaxies": errors, "digits": errors}}

    return made


def stability(vectors: float, series: float) -> Callable[[float], dict[str, Any]]:
    def made(noise: float) -> dict[str, Any]:
        moved = [{"all": scores, "used": scores, "coefficients": scores} for by in (vectors, series)
                 for scores in [[[0.2, 0.3, 0.9], [0.1, 0.3 + by + noise * by, 0.9]]]]  # fmt: skip
        return {"counts": [1, 16], "mlp": moved[0], "fno": moved[1]}

    return made


def correlation(kernels: float, series: float) -> Callable[[float], dict[str, Any]]:
    def made(noise: float) -> dict[str, Any]:
        whole, spread = {"cnn": 0.1, "fno": 0.2, "mlp": 0.1}, {"cnn": kernels, "fno": series, "mlp": 0.1}
        return {
            kind: {"cosines": [-one - noise * one, one], "all": whole[kind] + noise} for kind, one in spread.items()
        }

    return made


def utilisation(vectors: int, more: int, series: int) -> Callable[[float], dict[str, Any]]:
    def made(noise: float) -> dict[str, Any]:
        curves = {name: [1.0] * count + [noise] * (20 - count) for name, count in
                  (("mlp", vectors), ("more", more), ("fno", series))}  # fmt: skip
        left = {"mlp": 0.3, "more": 0.01 * more + noise, "fno": 0.1}
        return {name: {"used": curves[name], "unexplained": left[name], "active": 8} for name in curves}

    return made


def rotation(vectors: float, series: float) -> Callable[[float], dict[str, Any]]:
    def made(noise: float) -> dict[str, Any]:
        one = {kind: {"ratios": [1.0] + [growth + noise * growth] * 6} for kind, growth in
               (("mlp", vectors), ("fno", series))}  # fmt: skip
        return {"galaxies": one, "digits": one}

    return made


@pytest.mark.parametrize(
    ("name", "made", "verdicts"),
    [
        ("sae-resolution", resolution(1.0, 4.0), ["holds", "holds"]),
        ("sae-resolution", resolution(1.5, 1.0), ["fails", "fails"]),
        ("sae-stability", stability(0.2, 0.1), ["holds", "holds", "holds"]),
        ("sae-stability", stability(0.1, 0.2), ["fails", "fails", "fails"]),
        ("sae-correlation", correlation(0.1, 0.2), ["holds", "holds"]),
        ("sae-correlation", correlation(0.2, 0.1), ["holds", "fails"]),
        ("sae-utilisation", utilisation(12, 15, 6), ["holds", "holds", "holds"]),
        ("sae-utilisation", utilisation(6, 3, 12), ["fails", "fails", "fails"]),
        ("sae-rotation", rotation(3.0, 1.5), ["holds"]),
        ("sae-rotation", rotation(1.5, 3.0), ["fails"]),
    ],
)
def test_made_up_results_decide(name: str, made: Callable[[float], dict[str, Any]], verdicts: list[Verdict]) -> None:
    claims = EXPERIMENTS[name].claims([made(noise) for noise in (0.0, 0.01, 0.005)])
    assert [claim.verdict for claim in claims] == verdicts


def test_one_concept_that_all_images_use_has_an_area_of_one_over_p() -> None:
    shares = [1.0] + [0.0] * 63
    assert sae_utilisation.area(shares) == pytest.approx(1 / 64)
    assert sae_utilisation.enough(shares) == 1
    assert sae_utilisation.enough([1.0] * 20) == 18


def test_the_shift_is_that_of_medians() -> None:
    assert sae_stability.shift([[0.0, 0.2, 9.0], [0.5, 0.6], [0.3]]) == pytest.approx(0.35)


def test_images_that_are_not_turned_have_a_ratio_of_exactly_one() -> None:
    found = sae_rotation.measure(replace(TINY, images=20), 3, "cpu")
    assert {found[sample][kind]["ratios"][0] for sample in found for kind in found[sample]} == {1.0}


def test_cosines_of_known_atoms() -> None:
    atoms = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]])
    assert sae_correlation.cosines(atoms).tolist() == pytest.approx([0.0, -0.6, 0.8])
