"""What a comparison of predicted and observed spectra comes to, in numbers and in words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ConstantInputWarning, spearmanr

from galcli.training.calibrate import coverage
from galcli.training.interpret.spectra_compare import Comparison, Singles
from galcli.training.recipes.vae_coder import Coder
from galcli.training.spectra.grid import Floats, wavelengths
from galcli.training.spectra.quality import breaks, figures, line_widths, scatter

#: Lines weaker than this have no ratio [Angstrom].
_FAINTEST = 0.5
#: How far latents are moved, in their standard deviations, and in how many steps.
REACH, STEPS = 3.0, 25
#: A spectrum along a latent is none if its norm is off by a larger part than this, or if its flux falls below zero by
#: more than this part of its root mean square.
_LOST, _NEGATIVE = 0.1, 0.05
#: Ranges without strong lines, for the slope of the continuum [Angstrom].
_BLUE, _RED = (4150.0, 4290.0), (6800.0, 7000.0)
#: A latent that changes the spectrum by a smaller part than this from end to end is not used by the decoder.
IDLE = 0.01
#: A rank correlation weaker than this is not worth a sentence; fewer galaxies give none.
_WEAK, _FEWEST = 0.3, 8
EW, BREAK, RATIO, SLOPE = "EW(H\u03b1)", "D4000", "log [O III]/H\u03b2", "the slope of the continuum"


@dataclass(frozen=True)
class Traversal:
    """What the decoder makes of each latent alone, the others being 0.

    Attributes
    ----------
    values : ndarray (S,)
        Of the latent, -3 to 3.
    flux : ndarray (K, S, 1000), float32
    ew_ha, d4000 : ndarray (K, S)
        Angstrom; ratio.
    inside : ndarray (K, S), bool
        Around 0, as far as the spectrum keeps its norm (all of those the decoder learned from had a norm of 1) and
        is nowhere negative.
    """

    values: Floats
    flux: Singles
    ew_ha: Floats
    d4000: Floats
    inside: NDArray[np.bool_]

    def ends(self, number: int) -> tuple[int, int]:
        """First and last step of a latent inside."""
        within = np.flatnonzero(self.inside[number])
        return int(within[0]), int(within[-1])

    @property
    def change(self) -> Floats:
        """Root mean square change of the spectrum from end to end over its own root mean square, (K,)."""
        ends = np.stack([flux[[*self.ends(number)]] for number, flux in enumerate(self.flux)]).astype(np.float64)
        norm: Floats = np.sqrt(np.square(ends).mean((1, 2)))
        return np.asarray(np.sqrt(np.square(ends[:, 1] - ends[:, 0]).mean(1)) / norm)


def traverse(coder: Coder) -> Traversal:
    """Move each latent from -3 to 3."""
    values, count = np.linspace(-REACH, REACH, STEPS), coder.latents
    latent = np.zeros((count, STEPS, count), np.float32)
    for number in range(count):
        latent[number, :, number] = values
    found = coder.decode(latent.reshape(-1, count))
    each = {name: found[name].reshape(count, STEPS, *found[name].shape[1:]) for name in ("flux", "ew_ha", "d4000")}
    return Traversal(values=values, inside=_around_zero(found["flux"]).reshape(count, STEPS), **each)


def _around_zero(flux: Singles) -> NDArray[np.bool_]:
    """Steps (K S,) of latents that lie on the way from 0 before what is decoded is no spectrum."""
    norm = np.linalg.norm(flux.astype(np.float64), axis=1).reshape(-1, STEPS)
    lowest = flux.min(1).reshape(-1, STEPS) * flux.shape[1] ** 0.5 / norm
    kept = (np.abs(norm / norm[:, [STEPS // 2]] - 1) <= _LOST) & (lowest >= -_NEGATIVE)
    kept[:, STEPS // 2] = True
    right = np.logical_and.accumulate(kept[:, STEPS // 2 :], axis=1)
    left = np.logical_and.accumulate(kept[:, STEPS // 2 :: -1], axis=1)[:, ::-1]
    return np.concatenate([left[:, :-1], right], axis=1).ravel()


def properties(flux: Singles) -> dict[str, Floats]:
    """What spectra (N, 1000) are described by, each (N,); NaN where it is not defined.

    The ratio is that of the equivalent widths, of lines of 0.5 Angstrom and more; the slope is d log f_lambda / d log lambda between 4220 and 6900 Angstrom.
    """
    widths, wave = line_widths(flux), wavelengths()
    blue, red = (flux[:, (wave >= low) & (wave <= high)].mean(1, dtype=np.float64) for low, high in (_BLUE, _RED))
    span = np.log10(np.mean(_RED) / np.mean(_BLUE))
    return {
        EW: widths["HA"], BREAK: breaks(flux), RATIO: _log(widths["OIII"], _FAINTEST) - _log(widths["HB"], _FAINTEST),
        SLOPE: (_log(red) - _log(blue)) / span,
    }  # fmt: skip


def correlations(latent: Singles, flux: Singles) -> list[dict[str, float | None]]:
    """Rank correlation (Spearman) of each latent (N, K) with the properties of the spectra (N, 1000)."""
    known = properties(flux)
    return [{name: _rank(column, values) for name, values in known.items()} for column in latent.T]


def _rank(x: Singles, y: Floats) -> float | None:
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < _FEWEST:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        value = float(spearmanr(x[both], y[both]).statistic)
    return value if np.isfinite(value) else None


def _log(values: Floats, least: float = 0.0) -> Floats:
    return np.log10(np.where(values > least, values, np.nan))


def name_of(number: int, change: float) -> str:
    """What a latent is called where numbers about it are shown."""
    return f"latent {number}" + (" (not used)" if change < IDLE else "")


def sentence(number: int, found: dict[str, float | None], moved: Traversal) -> str:
    """What a latent does, from the numbers."""
    ranked = sorted(((abs(value), name, value) for name, value in found.items() if value is not None), reverse=True)
    strong = [f"{name} ({_signed(value, 2)})" for size, name, value in ranked if size >= _WEAK]
    follows = " and ".join(strong[:2]) if strong else "none of the four properties closely"
    first, last = moved.ends(number)
    change = np.abs(moved.flux[number, last] - moved.flux[number, first])
    if moved.change[number] < IDLE:
        return (
            f"Latent {number} changes the spectrum by no more than {100 * moved.change[number]:.1g} %: the decoder does "
            f"not use it, and its value tells nothing about a galaxy."
        )
    ew, d4000 = moved.ew_ha[number], moved.d4000[number]
    return (
        f"Latent {number} follows {follows}. From {_signed(moved.values[first], 1)} to {_signed(moved.values[last], 1)}, {EW} goes from "
        f"{_signed(ew[first], 1)} to {_signed(ew[last], 1)} \u00c5 and {BREAK} from {d4000[first]:.2f} to {d4000[last]:.2f}; "
        f"the spectrum changes most at {wavelengths()[int(change.argmax())]:.0f} \u00c5."
    )


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def measure(comparison: Comparison) -> dict[str, Any]:
    """All numbers of a comparison, as ``metrics.json`` holds them.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    dict
        Residuals are prediction minus observation; all galaxies with both count, also those out of domain.
    """
    card, options = comparison.model.card, comparison.options
    seen = comparison.observed
    told: dict[str, Any] = {
        "model": {"name": card.name, "version": card.version, "sha256": comparison.model.sha256,
                  "mock": card.training.mock, "training": card.training.data},
        "decoder": comparison.coder.decoder.sha256, "encoder": comparison.coder.encoder.sha256,
        "sample": {
            "catalogs": [path.name for path in options.catalogs], "mock": comparison.mock,
            "rows": len(comparison.ood), "predicted": len(comparison.predicted),
            "out_of_domain": int(comparison.ood[comparison.predicted].sum()),
            "compared": 0 if seen is None else len(seen.rows),
        },
    }  # fmt: skip
    if seen is None:
        return told
    flux = comparison.column("SPEC_FLUX", seen.rows)
    properties_of = {"SPEC_EW_HA": seen.ew_ha, "SPEC_D4000": seen.d4000}
    return told | {
        "latents": list(_latents(comparison)),
        "properties": {name: _residuals(comparison.column(name, seen.rows), truth)
                       for name, truth in properties_of.items()},
        "spectra": {
            "against the decoded targets": {one.name: one.value for one in figures(flux, seen.decoded)},
            "against the observed spectra": {one.name: one.value for one in figures(flux, seen.flux, seen.good)},
        },
    }  # fmt: skip


def _latents(comparison: Comparison) -> Iterator[dict[str, Any]]:
    seen = comparison.observed
    assert seen is not None
    value, error = (
        comparison.column(name, seen.rows).astype(np.float64) for name in ("SPEC_LATENT", "SPEC_LATENT_ERR")
    )
    truth = seen.latent.astype(np.float64)
    for number in range(truth.shape[1]):
        residual = value[:, number] - truth[:, number]
        found = {"coverage": coverage(residual, error[:, number])}
        if comparison.has_scatter:
            spread = comparison.column("SPEC_LATENT_SCATTER", seen.rows)[:, number]
            found["scatter_rank_correlation"] = _rank(spread, np.abs(residual))  # type: ignore[assignment]
        yield _residuals(value[:, number], truth[:, number]) | found


def _residuals(value: Floats, truth: Floats) -> dict[str, Any]:
    both = np.isfinite(value) & np.isfinite(truth)
    if not both.any():
        return {"objects": 0}
    residual = value[both].astype(np.float64) - truth[both]
    return {"objects": int(both.sum()), **scatter(residual), "scatter_of_the_truth": float(np.std(truth[both]))}
