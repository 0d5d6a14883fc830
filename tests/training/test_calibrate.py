import numpy as np
import pytest

from galcli.training import calibrate
from galcli.training.calibrate import bias_by_bin, conformal_quantile, coverage, fit_conformal, fit_domain


def test_quantile_is_the_conformal_order_statistic():
    values = np.arange(1.0, 101)[::-1]
    assert conformal_quantile(values, 0.68) == 69  # ceil(101 x 0.68) = 69
    assert conformal_quantile(values, 0.999) == 100
    assert conformal_quantile(np.array([3.0]), 0.68) == 3


def drawn(count, noise, seed=0, components=4):
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(count, components))
    front = draw.integers(0, 3, count)
    return scores, front, (noise(scores, front) * draw.normal(size=count))[:, None]


def even(scores, front):
    return 0.1 * np.ones(len(scores))


def by_object(scores, front):
    return 0.1 * np.exp(0.7 * scores[:, 0] - 0.3 * scores[:, 2])


def by_front(scores, front):
    return np.array([0.1, 0.2, 0.4])[front]


@pytest.mark.parametrize("count", [600, 6000])
@pytest.mark.parametrize("noise", [even, by_object, by_front])
def test_coverage_on_new_objects(count, noise):
    scores, front, residual = drawn(count, noise)
    fitted = fit_conformal(residual, scores, front, 3)
    assert fitted.method == ("cross-conformal" if count < 2000 else "split-conformal")
    scores, front, residual = drawn(20000, noise, seed=1)
    width = fitted.half_width(scores, front)
    assert coverage(residual[:, 0], width[:, 0]) == pytest.approx(0.68, abs=0.04)
    for number in range(3):
        mine = front == number
        assert coverage(residual[mine, 0], width[mine, 0]) == pytest.approx(0.68, abs=0.08)


def test_width_depends_on_the_object_only_where_that_is_better():
    scores, front, residual = drawn(6000, by_object)
    fitted = fit_conformal(residual, scores, front, 3)
    assert fitted.local.tolist() == [True]
    np.testing.assert_allclose(fitted.slope[:, 0], [0.7, 0, -0.3, 0], atol=0.08)
    width = fitted.half_width(scores, front)[:, 0]
    bright = scores[:, 0] > 1
    assert coverage(residual[bright, 0], width[bright]) == pytest.approx(0.68, abs=0.05)
    # Far from everything seen, the width stays within the range it was fitted in.
    assert fitted.half_width(np.full((1, 4), 1e6), np.zeros(1, int))[0, 0] < 5 * width.max()
    scores, front, residual = drawn(6000, by_front)
    assert fit_conformal(residual, scores, front, 3).half_width(scores, front)[:, 0].std() > 0


def test_flat_widths_are_the_fronts_quantiles():
    scores, front, residual = drawn(6000, by_front)
    width = fit_conformal(residual, scores, front, 3).half_width(scores, front)[:, 0]
    np.testing.assert_allclose(width / by_front(scores, front), 0.994, atol=0.08)


def test_widths_follow_what_there_is_and_not_the_noise_of_many_features():
    def true_width(scores, front):
        return 0.1 * np.exp(0.3 * scores[:, 0])

    errors = []
    for seed in range(3):
        scores, front, residual = drawn(6000, true_width, seed, components=100)
        fitted = fit_conformal(residual, scores, front, 3)
        scores, front, _ = drawn(4000, true_width, 9, components=100)
        errors.append(np.log(fitted.half_width(scores, front)[:, 0] / true_width(scores, front)).std())
    assert np.mean(errors) < 0.2  # 0.3 for widths that are all the same, 0.22 for those that follow freely


def test_missing_truth_is_left_out_and_rare_fronts_borrow():
    scores, front, residual = drawn(3000, even)
    residual[::3] = np.nan
    front[front == 2] = 0
    front[:10] = 2
    fitted = fit_conformal(residual, scores, front, 3)
    assert np.isfinite(fitted.quantile).all()
    assert coverage(residual[:, 0], fitted.half_width(scores, front)[:, 0]) == pytest.approx(0.68, abs=0.04)


def test_domain_of_a_gaussian_is_the_mahalanobis_distance():
    draw = np.random.default_rng(0)
    mix = draw.normal(size=(5, 5))
    features = draw.normal(size=(4000, 5)) @ mix + 3
    domain = fit_domain(features[:2000], features[2000:], np.zeros(2000, int), 1)
    covariance = np.cov(features[:2000], rowvar=False)
    centred = features[2000:] - features[:2000].mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred))
    if len(domain.std) == 5:
        np.testing.assert_allclose(domain.distance(features[2000:]), expected, rtol=1e-6)
    inside = domain.distance(features[2000:]) <= domain.threshold[0]
    assert inside.mean() == pytest.approx(0.99, abs=0.002)


def test_domain_sees_directions_that_training_never_used():
    draw = np.random.default_rng(0)
    features = np.zeros((3000, 40))
    features[:, :3] = draw.normal(size=(3000, 3)) * [10, 3, 1] + 5
    domain = fit_domain(features[:1500], features[1500:], np.arange(1500) % 2, 2)
    assert len(domain.std) == 3
    odd = features[:1].copy()
    odd[0, 20] = 1.0
    assert domain.distance(odd)[0] > 3 * domain.threshold.max()
    assert domain.scores(features).std(axis=0) == pytest.approx(1, abs=0.05)


def test_domain_keeps_999_of_the_variance():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(20000, 30)) * 0.5 ** np.arange(30)
    domain = fit_domain(features, features, np.zeros(20000, int), 1)
    # Components below i hold 1 - 0.25^i of the variance.
    assert len(domain.std) == 5
    assert domain.rest == pytest.approx(0.5**5 / np.sqrt(0.75), rel=0.05)


def test_features_that_never_vary():
    features = np.full((100, 8), 2.0)
    domain = fit_domain(features, features, np.zeros(100, int), 1)
    assert np.isfinite(domain.distance(features)).all()


def test_bias_by_bin_shows_regression_to_the_mean():
    draw = np.random.default_rng(0)
    truth = draw.normal(size=4000)
    prediction = 0.5 * truth
    bins = bias_by_bin(prediction - truth, truth, 4)
    assert [entry["objects"] for entry in bins] == [1000] * 4
    for entry in bins:
        assert entry["bias"] == pytest.approx(-0.5 * entry["center"], abs=1e-4)
    assert bias_by_bin(np.array([np.nan]), np.array([1.0])) == []


def test_interval_score_prefers_the_narrow_and_true():
    draw = np.random.default_rng(0)
    size = np.abs(draw.normal(size=20000))
    scores = [calibrate._interval_score(size, np.full(20000, width)) for width in (0.5, 0.9945, 1.5)]
    assert scores[1] == min(scores)
