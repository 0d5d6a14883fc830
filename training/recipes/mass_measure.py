"""How good a model for stellar mass is, on galaxies that it never saw: what its card says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.training import calibrate
from galcli.training.interpret.information import empirical_prior, information, summary
from galcli.training.recipes.mass_data import TEST, TRAIN, Galaxies
from galcli.training.recipes.mass_plan import FRONT, Parts
from galcli.training.recipes.mass_posterior import LEVELS, Scores, bins_of, scores

Values = dict[str, NDArray[Any]]
_RMSE, _BIAS = "LOGM_MEAN rmse", "LOGM_MEAN bias"
_COVERAGE, _INSIDE = "LOGM_MEAN coverage of the 68 % interval", "inside the domain"
#: Figures that are told of galaxies without infrared, too.
_BARE = frozenset((_RMSE, _BIAS, _COVERAGE, _INSIDE))
_LOGS = ("inner/log1", "inner/log2", "inner/log12")


def metrics(
    test: Values, bare: Values | None, latent: Scores | None, galaxies: Galaxies, parts: Parts
) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
    """Metrics of the card, and what its calibration tells beside.

    Parameters
    ----------
    test : dict of str to ndarray (N, ...)
        Outputs of the graph for the test galaxies.
    bare : dict of str to ndarray (N, ...), or None
        The same of these galaxies without their infrared values.
    latent : Scores or None
        Of the posterior from the representation of causal tests.
    galaxies : Galaxies
    parts : Parts

    Returns
    -------
    metrics : list of dict
    calibration : dict
        ``pit``: parts of the probability integral transforms in ten bins.
    """
    truth = galaxies.target[galaxies.rows(TEST)]
    found = scores(test["inner/log12"], truth)
    figures = list(_of_posterior(found, test, truth))
    if bare is not None:
        of_bare = _of_posterior(scores(bare["inner/log12"], truth), bare, truth)
        figures += [(f"{name} without infrared", value, unit) for name, value, unit in of_bare if name in _BARE]
    if latent is not None:
        figures += [("SCL_LATENT cross-entropy", latent.cross_entropy, "nat"),
                    ("SCL_LATENT sigma_mad", latent.sigma_mad, "dex")]  # fmt: skip
    if parts.second is not None:
        figures += _of_information(test, galaxies, truth)
    common: dict[str, Any] = {"sample": f"test galaxies of the {galaxies.name}", "objects": len(truth)}
    if parts.both.images:
        common["front"] = FRONT
    pit = {"pit": [round(part, 4) for part in found.pit]}
    return [common | {"name": name, "value": value, "unit": unit} for name, value, unit in figures], pit


def _of_posterior(found: Scores, test: Values, truth: NDArray[np.float32]) -> Iterator[tuple[str, float, str | None]]:
    residual = test["mean"].astype(np.float64) - truth
    yield _RMSE, float(np.sqrt(np.mean(residual**2))), "dex"
    yield "LOGM_MEAN rmse of the mean", float(truth.std()), "dex"
    yield _BIAS, found.bias, "dex"
    yield "LOGM_MEAN sigma_mad", found.sigma_mad, "dex"
    yield "LOGM_MEAN outliers beyond 3 sigma_mad", found.outliers, None
    yield _COVERAGE, calibrate.coverage(residual, test["err"]), None
    yield "posterior CRPS", found.crps, "dex"
    yield "posterior cross-entropy", found.cross_entropy, "nat"
    for level, part in zip(LEVELS, found.coverage, strict=True):
        yield f"posterior coverage of the {100 * level:.0f} % interval", part, None
    yield "posterior largest deviation of the PIT from 0.1", max(abs(part - 0.1) for part in found.pit), None
    yield _INSIDE, float(np.mean(test["ood"] <= 1)), None


def _of_information(
    test: Values, galaxies: Galaxies, truth: NDArray[np.float32]
) -> Iterator[tuple[str, float, str | None]]:  # fmt: skip
    """Information about the true masses (not the expected one of the columns), by both rules."""
    bins = bins_of(truth)
    prior = empirical_prior(bins_of(galaxies.target[galaxies.rows(TRAIN)]))
    i1, i2, i12 = (information(test[name], bins, prior) for name in _LOGS)
    told = summary(i1, i2, i12, np.random.default_rng(0))
    for name in ("I1", "I2", "I12"):
        yield f"information {name}", told.pointwise[name].mean, "nat"
    for rule, parts in (("pointwise", told.pointwise), ("population", told.population)):
        for name in ("R", "U1", "U2", "S"):
            yield f"information {name}, {rule} minimum", parts[name].mean, "nat"
    for column, name in (("MI_X1", "mi_x1"), ("MI_X2", "mi_x2"), ("MI_X12", "mi_x12")):
        yield f"{column} mean", float(test[name].mean()), "nat"
