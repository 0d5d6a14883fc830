"""Decomposition of information, on distributions whose information is known."""

from __future__ import annotations

from itertools import pairwise
from math import log, nan, sqrt

import numpy as np
import pytest
import torch
from scipy.special import exp1
from scipy.stats import norm

from galcli.errors import InputError
from galcli.training.interpret.information import (
    QUANTITIES,
    Estimate,
    Prior,
    bin_numbers,
    decompose,
    empirical_prior,
    equal_edges,
    information,
    over_seeds,
    profile,
    summary,
)
from galcli.training.mock import planted
from galcli.training.networks.mass import BINS
from galcli.training.recipes.mass_posterior import centres
from tests.training.expected import expected

GATES = {
    "XOR": ([(a, b, a ^ b) for a in (0, 1) for b in (0, 1)], (0, 0, 0, log(2)), (0, 0, 0, log(2))),
    "first": ([(a, b, a) for a in (0, 1) for b in (0, 1)], (0, log(2), 0, 0), (0, log(2), 0, 0)),
    "identical": ([(a, a, a) for a in (0, 1)], (log(2), 0, 0, 0), (log(2), 0, 0, 0)),
    # 0.2158 nat from either input, 0.5623 from both
    "AND": ([(a, b, a & b) for a in (0, 1) for b in (0, 1)], (0.0425, 0.1733, 0.1733, 0.1733), (0.2158, 0, 0, 0.3466)),
}


def table_information(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Exact pointwise information of a discrete joint distribution.

    Parameters
    ----------
    joint : ndarray (A, B, C)
        Probability of (x1, x2, y); sums to 1.

    Returns
    -------
    i1, i2, i12, weight : ndarray (E,)
        About y, of the E events of positive probability `weight`.
    """
    first, second, both = np.nonzero(joint)
    y, x1, x2, x12 = joint.sum((0, 1)), joint.sum((1, 2)), joint.sum((0, 2)), joint.sum(2)
    weight = joint[first, second, both]
    prior = np.log(y[both])
    i1 = np.log(joint.sum(1)[first, both] / x1[first]) - prior
    i2 = np.log(joint.sum(0)[second, both] / x2[second]) - prior
    return i1, i2, np.log(weight / x12[first, second]) - prior, weight


def joint_of(events: list[tuple[int, int, int]]) -> np.ndarray:
    joint = np.zeros((2, 2, 2))
    for event in events:
        joint[event] += 1 / len(events)
    return joint


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("gate", GATES)
def test_gates_by_both_rules(gate: str) -> None:
    events, pointwise, population = GATES[gate]
    *each, weight = table_information(joint_of(events))
    assert weight.sum() == pytest.approx(1)
    assert [weight @ part for part in decompose(*each)] == pytest.approx(pointwise, abs=5e-5)
    assert decompose(*[weight @ i for i in each]) == pytest.approx(population, abs=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_population_rule_is_that_of_a_library(seed: int) -> None:
    dit = pytest.importorskip("dit")
    joint = rng(seed).dirichlet(np.full(12, 0.5)).reshape(2, 2, 3)
    events = [(f"{a}{b}{y}", p) for (a, b, y), p in np.ndenumerate(joint)]
    lattice = dit.pid.PID_MMI(dit.Distribution(*zip(*events, strict=True)), [[0], [1]], [2])
    *each, weight = table_information(joint)
    found = decompose(*[weight @ i for i in each])
    bits = [lattice[node] for node in (((0,), (1,)), ((0,),), ((1,),), ((0, 1),))]
    assert found == pytest.approx(np.array(bits, float) * log(2), abs=1e-8)


def gaussian_triple(count: int) -> tuple[np.ndarray, ...]:
    """i1, i2, i12 of samples of y = x1 + x2 / 2 + noise, unit variances."""
    x1, x2, noise = rng(1).normal(0, 1, (3, count))
    y = x1 + 0.5 * x2 + noise

    def density(mean: np.ndarray | float, variance: float) -> np.ndarray:
        return -0.5 * ((y - mean) ** 2 / variance + log(variance))

    return tuple(density(*given) - density(0, 2.25) for given in ((x1, 1.25), (0.5 * x2, 2.0), (x1 + 0.5 * x2, 1.0)))


def test_gaussian_triple_by_both_rules() -> None:
    analytic = [0.5 * log(2.25 / variance) for variance in (1.25, 2.0, 1.0)]
    assert analytic == pytest.approx([0.2939, 0.0589, 0.4055], abs=5e-5)
    found = summary(*gaussian_triple(2_000_000), rng())
    mean = {rule: [getattr(found, rule)[name].mean for name in QUANTITIES] for rule in ("pointwise", "population")}
    assert mean["pointwise"] == pytest.approx([*analytic, -0.103, 0.397, 0.161, -0.049], abs=2e-3)
    assert mean["population"] == pytest.approx([*analytic, 0.0589, 0.2350, 0, 0.1116], abs=2e-3)
    assert found.galaxies == 2_000_000


def test_planted_table_by_both_rules() -> None:
    table = planted.table(200_000, torch.Generator().manual_seed(3))
    base = planted.log_density(table, ())
    for pair, truth in planted.TRUTH.items():
        each = [(planted.log_density(table, given) - base).numpy() for given in (pair[:1], pair[1:], pair)]
        found = summary(*each, rng())
        known = dict(zip(planted.QUANTITIES, truth, strict=True))
        for name in QUANTITIES[:3]:
            assert found.population[name] == found.pointwise[name]
            assert known[name] == pytest.approx(found.pointwise[name].mean, abs=4 * found.pointwise[name].error + 1e-3)
        for name in QUANTITIES[3:]:
            for rule, suffix in ((found.pointwise, "POINT"), (found.population, "POP")):
                value = rule[name]
                assert value.error < 0.005
                assert known[f"{name}_{suffix}"] == pytest.approx(value.mean, abs=4 * value.error + 1e-3), (pair, name)


def test_parts_add_up_and_inputs_can_change_places() -> None:
    i1, i2, i12 = rng(2).normal(0, 1, (3, 500))
    parts = decompose(i1, i2, i12)
    np.testing.assert_allclose(sum(parts), i12, atol=1e-12)
    np.testing.assert_allclose(parts.R + parts.U1, i1, atol=1e-12)
    np.testing.assert_allclose(parts.R + parts.U2, i2, atol=1e-12)
    assert min(parts.U1.min(), parts.U2.min()) == 0
    other = decompose(i2, i1, i12)
    for one, two in zip(parts, (other.R, other.U2, other.U1, other.S), strict=True):
        np.testing.assert_array_equal(one, two)


def test_galaxies_without_all_three_have_no_parts_and_do_not_count() -> None:
    each = rng(3).normal(0, 1, (3, 300))
    broken = each.copy()
    broken[0, :10], broken[1, 10:20], broken[2, 20:30] = nan, nan, nan
    for part in decompose(*broken):
        assert np.isnan(part).tolist() == [True] * 30 + [False] * 270
    assert summary(*broken, rng()) == summary(*each[:, 30:], rng())
    assert summary(*broken, rng()).galaxies == 270
    with pytest.raises(InputError, match="1 galaxies give no mean"):
        summary(*broken[:, :31], rng())


def test_standard_errors_are_the_scatter_of_repeated_samples() -> None:
    # the second case has equal I1 and I2, where the minimum has no derivative
    for shift in (0.3, 0.0):
        runs = []
        for seed in range(300):
            common, *own = rng(seed).normal(0, 1, (4, 400))
            runs.append(summary(common + own[0] + shift, common + own[1], common + own[2] + 1, rng(seed)))
        for rule in ("pointwise", "population"):
            for name in QUANTITIES:
                values = [getattr(run, rule)[name] for run in runs]
                scatter = np.std([value.mean for value in values])
                if scatter > 1e-3:  # U2 is 0 in nearly all, where I1 is the larger
                    assert np.mean([value.error for value in values]) == pytest.approx(scatter, rel=0.25), (rule, name)


def test_prior_counts_a_galaxy_for_what_it_is_and_an_empty_bin_as_a_half() -> None:
    bins = np.array([0, 0, 0, 5, 519])
    prior = empirical_prior(bins)
    assert np.exp(prior.log_p).sum() == pytest.approx(1)
    assert prior.counts.sum() == 5
    total = 5 + 0.5 * (BINS - 3)
    assert np.exp(prior.log_p[[0, 5, 7]]) == pytest.approx([3 / total, 1 / total, 0.5 / total])
    assert prior.unseen(np.array([0, 7, 8, 519])) == 2
    full = empirical_prior(np.repeat(np.arange(BINS), 300))
    assert full.log_p == pytest.approx(np.full(BINS, -log(BINS)))
    assert full.surprise(np.arange(BINS)) == pytest.approx(np.full(BINS, log(BINS)), abs=1 / 500)
    with pytest.raises(InputError, match="no training galaxy"):
        empirical_prior(bins[:0])


#: Like masses of galaxies: wide, with thin ends. ln p in each bin.
MASSES = np.log(np.diff(norm.cdf(np.append(centres() - 0.00625, 12.5), 10.0, 0.6)) + 1e-12)


def drawn_priors(learned: int, draws: int = 300) -> list[Prior]:
    """Priors of training samples of `MASSES`."""
    p = np.exp(MASSES) / np.exp(MASSES).sum()
    counts = rng(learned).multinomial(learned, p, draws)
    return [empirical_prior(np.repeat(np.arange(BINS), one)) for one in counts]


@pytest.mark.parametrize("learned", [200, 800, 2000, 8000])
def test_prior_of_few_galaxies_makes_no_information_too_large(learned: int) -> None:
    p = np.exp(MASSES) / np.exp(MASSES).sum()
    entropy = -(p * np.log(p)).sum()
    found = [p @ prior.surprise(np.arange(BINS)) - entropy for prior in drawn_priors(learned)]
    lost = (p * exp1(2 * learned * p)).sum()
    error = np.std(found) / sqrt(len(found))
    assert -lost - 4 * error - 0.002 < np.mean(found) < 4 * error
    assert lost < 30 / learned
    published = np.mean([-(p @ prior.log_p) - entropy for prior in drawn_priors(learned, 20)])
    assert published > 120 / learned, "what the logarithm of the parts adds, for half of the 520 bins"


def test_surprise_is_right_in_each_bin() -> None:
    """So that profiles over the mass are right too; 0.1 to 20 training galaxies in a bin."""
    learned, p = 2000, np.exp(MASSES) / np.exp(MASSES).sum()
    mean = np.mean([prior.surprise(np.arange(BINS)) for prior in drawn_priors(learned, 3000)], 0)
    bins = np.flatnonzero(learned * p > 0.1)
    assert (learned * p[bins]).max() > 15
    np.testing.assert_allclose(mean[bins], (-np.log(p) - exp1(2 * learned * p))[bins], atol=0.08)
    common = learned * p > 3
    np.testing.assert_allclose(mean[common], -np.log(p[common]), atol=0.05)


def posteriors(count: int, sharpness: float, seed: int) -> np.ndarray:
    logits = sharpness * rng(seed).normal(0, 1, (count, BINS))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def test_information_of_a_posterior_is_what_it_gains_over_the_prior() -> None:
    prior = empirical_prior(rng(4).integers(100, 400, 50_000))
    bins = rng(5).integers(100, 400, 40)
    same = np.broadcast_to(prior.log_p, (40, BINS))
    assert information(same, bins, prior) == pytest.approx(0, abs=0.01), "1 / n of 130 galaxies and more in a bin"
    sure = np.full((40, BINS), -np.inf)
    sure[np.arange(40), bins] = 0
    assert information(sure, bins, prior) == pytest.approx(prior.surprise(bins))
    assert expected(sure, prior) == pytest.approx(-prior.log_p[bins])
    assert expected(same, prior) == pytest.approx(0, abs=1e-12)


def test_expected_information_is_the_mean_of_what_comes_true() -> None:
    prior = empirical_prior(rng(6).integers(0, BINS, 5000))
    posterior = np.repeat(posteriors(1, 2.0, 7), 200_000, 0)
    p = np.exp(posterior[0].astype(np.float64))
    bins = rng(8).choice(BINS, 200_000, p=p / p.sum())
    come_true = posterior[0, bins] - prior.log_p[bins]
    error = come_true.std() / sqrt(len(bins))
    assert expected(posterior[:1], prior)[0] == pytest.approx(come_true.mean(), abs=4 * error)


def test_expected_parts_are_never_negative_but_for_synergy() -> None:
    prior = empirical_prior(rng(9).integers(0, BINS, 5000))
    each = [expected(posteriors(300, sharp, seed), prior) for sharp, seed in ((0.5, 1), (0.6, 2), (0.55, 3))]
    near = expected(np.broadcast_to(prior.log_p.astype(np.float32), (3, BINS)), prior)
    assert (near >= 0).all()  # single precision alone would put it on either side of 0
    parts = decompose(*each)
    assert min(part.min() for part in parts[:3]) >= 0
    assert parts.S.min() < 0 < parts.S.max()


def test_spread_over_seeds() -> None:
    runs = [{"R": Estimate(value, 0.1)} for value in (1.0, 2.0, 4.0)]
    found = over_seeds(runs)["R"]
    assert (found.mean, found.values) == (pytest.approx(7 / 3), (1.0, 2.0, 4.0))
    assert found.spread == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert np.isnan(over_seeds(runs[:1])["R"].spread)


def test_profile_is_the_mean_of_each_bin() -> None:
    each = rng(10).normal(0, 1, (3, 1000))
    mass = rng(11).uniform(8, 12, 1000)
    mass[:20] = nan
    each[1, 20:30] = nan
    edges = np.array([8.5, 9.5, 9.6, 11.0, 20.0, 30.0])
    found = profile(mass, *each, edges)
    used = np.isfinite(mass) & np.isfinite(each).all(0)
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = used & (mass >= low) & (mass < high)
        assert found.count[k] == inside.sum()
        if k == 4:
            assert np.isnan([found.mean[name][k] for name in QUANTITIES] + [found.middle[k]]).all()
            continue
        kept = summary(*each[:, inside], rng())
        assert found.middle[k] == pytest.approx(mass[inside].mean())
        for name in QUANTITIES:
            assert (found.mean[name][k], found.error[name][k]) == pytest.approx(kept.pointwise[name], abs=1e-12)


def test_bins_hold_equal_numbers_and_all_galaxies() -> None:
    values = rng(12).normal(0, 1, 1003)
    edges = equal_edges(values, 10)
    count = np.bincount(bin_numbers(values, edges), minlength=10)
    assert count.sum() == 1003
    assert set(count) <= {100, 101}
    repeated = np.array([1.0] * 90 + [2.0] * 5 + [3.0] * 5)
    assert np.bincount(bin_numbers(repeated, equal_edges(repeated, 10))).sum() == 100
    same = np.full(7, 4.0)
    assert (bin_numbers(same, equal_edges(same, 5)) == 0).all()
    assert bin_numbers(np.array([nan, np.inf, -np.inf, 3.9, 4.1]), np.array([4.0, 4.0])).tolist() == [-1] * 5
    with pytest.raises(InputError, match="without any finite value"):
        equal_edges(np.array([nan]), 3)


def test_prior_is_a_plain_value() -> None:
    prior = Prior(np.log(np.full(BINS, 1 / BINS)), np.zeros(BINS, np.int64))
    assert prior.unseen(np.arange(BINS)) == BINS
