"""Spectral recovery with a tiny plan: the same course in space and in frequencies; claims on made-up courses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from galcli.training.experiments import sae_spectral
from galcli.training.experiments.sae_descent import normalise_on_
from galcli.training.experiments.sae_spectral import (
    Plan,
    convolutional_of,
    kernel_gradient,
    kernels_of,
    rough_kernels,
    smooth_kernels,
    spectral_of,
)

PLAN = Plan(6, 4, 3, 7, 9, 2, 1.5, 1, 0.3, 192, 16, 24, 3e-3, 0.03, 6, 0.2, 1.0, 2.0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(2)


def test_all_modes_take_the_course_of_kernels() -> None:
    figures = sae_spectral.measure(PLAN, 0, "cpu")
    assert max(figures["away"]["fno"]) < 1e-5
    assert figures["away"]["plain"][0] < 1e-5  # the same start
    assert max(figures["away"]["plain"]) > 1e-2  # another course
    for course in figures["found"].values():
        assert course[0] < 0.95
        assert course[-1] > 0.97
    smooth, rough = figures["modes"]["smooth"], figures["modes"]["rough"]
    assert smooth["few"][0] == pytest.approx(smooth["all"][0], abs=1e-6)  # the same start
    assert smooth["few"][-1] != pytest.approx(smooth["all"][-1], abs=1e-3)
    assert rough["few"][-1] < rough["all"][-1]


def test_kernels_that_are_right_stay_right() -> None:
    figures = sae_spectral.measure(replace(PLAN, start_noise=0.0, pixel_noise=0.0), 1, "cpu")
    for course in [*figures["found"].values(), figures["modes"]["rough"]["all"]]:
        assert course[0] == pytest.approx(1, abs=1e-5)
        assert min(course) > 0.995


def test_kernels_survive_their_transform() -> None:
    kernels = smooth_kernels(PLAN, 9)
    torch.testing.assert_close(kernels_of(spectral_of(kernels, 4), 9), kernels, rtol=0, atol=1e-5)
    assert kernels_of(convolutional_of(kernels), 9) is not kernels
    torch.testing.assert_close(kernels_of(convolutional_of(kernels), 9), kernels)
    few = kernels_of(spectral_of(kernels, 2), 9)
    assert (few - kernels).flatten(1).norm(dim=1).max() < 0.75  # most of a smooth kernel is kept
    rough = rough_kernels(PLAN, 9)
    assert (rough != 0).flatten(2).any(1).sum(1).tolist() == [9] * 4
    assert rough[:, :, 4, 4].abs().min() > 0  # around the middle
    assert (kernels_of(spectral_of(rough, 2), 9) - rough).flatten(1).norm(dim=1).min() > 0.6
    torch.testing.assert_close(rough.flatten(1).norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("modes", [2, 4])
def test_spectral_atoms_have_norm_one_on_the_grid_of_the_images(modes: int) -> None:
    dictionary = spectral_of(3 * smooth_kernels(PLAN, 9), modes)
    normalise_on_(dictionary, 9)
    torch.testing.assert_close(kernels_of(dictionary, 9).flatten(1).norm(dim=1), torch.ones(4))


def test_the_gradient_of_coefficients_becomes_that_of_kernels() -> None:
    kernels = rough_kernels(PLAN, 7)
    plain, spectral = convolutional_of(kernels), spectral_of(kernels, 3)
    z, x = torch.randn(2, 4, 7, 7), torch.randn(2, 6, 7, 7)
    for one in (plain, spectral):
        (one.synthesise(z) - x).square().sum().backward()
    kernel_gradient(7)(spectral)
    before = kernels_of(spectral, 7)
    with torch.no_grad():
        spectral.weight -= 1e-2 * spectral.weight.grad
    torch.testing.assert_close((before - kernels_of(spectral, 7)) / 1e-2, plain.weight.grad, rtol=1e-3, atol=1e-3)


def results(away: float = 1e-6, few: float = 0.98, end: float = 0.995) -> list[dict[str, Any]]:
    return [
        {
            "found": {name: [0.8, end + 1e-4 * seed] for name in sae_spectral.TITLES},
            "away": {"fno": [0.0, away * (1 + 0.1 * seed)], "plain": [0.0, 0.1]},
            "away_every": 1,
            "modes": {
                "smooth": {"few": [0.8, few + 1e-3 * seed], "all": [0.8, 0.95]},
                "rough": {"few": [0.3, 0.3 + 1e-3 * seed], "all": [0.8, 0.95]},
            },
        }
        for seed in range(3)
    ]


def test_claims_hold_fail_and_stay_undecided() -> None:
    def verdicts(**parts: float) -> list[str]:
        return [claim.verdict for claim in sae_spectral.claims(results(**parts))]

    assert verdicts() == ["holds"] * 4
    assert verdicts(end=0.97) == ["fails", "holds", "holds", "holds"]
    assert verdicts(away=1e-2) == ["holds", "fails", "holds", "holds"]
    assert verdicts(few=0.94) == ["holds", "holds", "fails", "holds"]
    assert verdicts(few=0.949) == ["holds", "holds", "undecided", "holds"]
    assert {claim.verdict for claim in sae_spectral.claims(results()[:1])} == {"undecided"}


def test_courses_are_drawn() -> None:
    figure = Figure()
    sae_spectral.draw(figure, results())
    assert [len(axes.get_legend().get_texts()) for axes in figure.axes] == [3, 2, 4]
