"""Pictures of predicted spectra: beside observed ones, and along each latent (models.md 3.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from galcli.training.interpret.predictions import seen_images
from galcli.training.interpret.spectra_compare import Comparison, Singles
from galcli.training.interpret.spectra_numbers import REACH, Traversal
from galcli.training.interpret.style import FAINT, INK, PREDICTED, look
from galcli.training.spectra.grid import POINTS, wavelengths
from galcli.training.spectra.measure import LINES
from galcli.training.spectra.quality import breaks

#: Draws for the band of a predicted spectrum, and its limits in per cent.
DRAWS, BAND = 100, (16.0, 84.0)
#: Spectra have a sum of squares of 1; times this their root mean square is 1.
UNIT = POINTS**0.5
#: What is marked: name -> vacuum wavelengths [Angstrom].
MARKS = {
    "[O II]": (LINES["OII"].centre,), "H, K": (3934.8, 3969.6), r"H$\delta$": (4102.9,), r"H$\gamma$": (4341.7,),
    r"H$\beta$": (LINES["HB"].centre,), "[O III]": (4960.3, LINES["OIII"].centre), "Mg b": (5176.6,),
    "Na D": (5895.6,), r"H$\alpha$, [N II]": (LINES["HA"].centre,), "[S II]": (6725.0,),
}  # fmt: skip
_X, _LABEL = (3380.0, 8320.0), "rest-frame wavelength, vacuum [\u00c5]"


@dataclass(frozen=True)
class Example:
    """One galaxy.

    Attributes
    ----------
    row : int
        Of the table.
    flux : ndarray (1000,)
        Predicted.
    low, high : ndarray (1000,)
        Where 68 % of the spectra lie whose latents are drawn from the error bars and the correlation of the errors.
    """

    row: int
    flux: Singles
    low: Singles
    high: Singles


def choose(comparison: Comparison, count: int, seed: int) -> list[int]:
    """Galaxies over the whole range of the 4000 Angstrom break: one drawn at random of each of ``count`` equal groups.

    It is the break of the decoded observed spectra, or of the predicted ones where nothing was observed.

    Parameters
    ----------
    comparison : Comparison
    count : int
        Galaxies wanted; fewer where there are fewer.
    seed : int

    Returns
    -------
    list of int
        Rows of the table, bluest first.
    """
    seen = comparison.observed
    rows, d4000 = (
        (comparison.predicted, comparison.column("SPEC_D4000")) if seen is None else (seen.rows, breaks(seen.decoded))
    )
    order = rows[np.argsort(d4000, kind="stable")]
    draw = np.random.default_rng(seed)
    return [int(draw.choice(group)) for group in np.array_split(order, min(count, len(order)))]


def example(comparison: Comparison, row: int, seed: int) -> Example:
    """A galaxy's predicted spectrum with its band."""
    at = np.array([row])
    latent, error = (comparison.column(name, at) for name in ("SPEC_LATENT", "SPEC_LATENT_ERR"))
    correlation = comparison.model.card.calibration.get("residual_correlation", np.eye(latent.shape[1]))
    draw = np.random.default_rng([seed, row])
    noise = draw.multivariate_normal(np.zeros(latent.shape[1]), correlation, DRAWS)
    drawn = comparison.coder.decode((latent + error * noise).astype(np.float32))["flux"]
    low, high = np.percentile(drawn, BAND, axis=0).astype(np.float32)
    return Example(row, comparison.column("SPEC_FLUX", at)[0], low, high)


def examples_figure(comparison: Comparison, rows: list[int], seed: int, figure: Figure) -> None:
    """Draw image, spectra and residuals of some galaxies, one below the other (Wu & Peek 2020, Figure 1)."""
    images = seen_images(comparison.table, comparison.model.card.prefix, comparison.options, rows)
    scale = comparison.model.card.pixel_scale or 1.0
    with look():
        grid = figure.add_gridspec(3 * len(rows), 2, width_ratios=(1.0, 4.4), height_ratios=(3, 1, 0.3) * len(rows))
        for number, row in enumerate(rows):
            first = 3 * number
            _image(figure.add_subplot(grid[first : first + 2, 0]), images.get(row), scale, _title(comparison, row))
            upper = figure.add_subplot(grid[first, 1])
            lower = figure.add_subplot(grid[first + 1, 1], sharex=upper)
            _spectrum(upper, lower, comparison, example(comparison, row, seed))
            if number == 0:
                _mark(upper)
                upper.legend(loc="upper left", ncols=4, handlelength=1.4, columnspacing=1.2, fontsize=9)
            if number == len(rows) - 1:
                lower.set_xlabel(_LABEL)


def _title(comparison: Comparison, row: int) -> str:
    name = f"row {row}"
    if comparison.id_name is not None:
        value = comparison.table.columns[comparison.id_name.upper()][row]
        name = value.decode().strip() if isinstance(value, bytes) else str(value)
    return name + ("\nout of domain" if comparison.ood[row] else "")


def _image(axes: Axes, image: Singles | None, scale: float, title: str) -> None:
    """The galaxy as the model saw it, north up and east to the left."""
    axes.set_axis_off()
    axes.set_title(title, fontsize=9.5)
    if image is not None:
        axes.imshow(image, origin="lower", interpolation="nearest")
        axes.plot([3, 3 + 10 / scale], [3, 3], color="white", lw=2, solid_capstyle="butt")
        axes.text(3 + 5 / scale, 4.5, '10"', color="white", fontsize=9, ha="center", va="bottom")


def _spectrum(upper: Axes, lower: Axes, comparison: Comparison, one: Example) -> None:
    wave, seen = wavelengths(), comparison.observed
    target = None
    if seen is not None:
        at = int(np.flatnonzero(seen.rows == one.row)[0])
        target = seen.decoded[at]
        observed = np.where(seen.good[at], seen.flux[at], np.nan)
        upper.plot(wave, observed * UNIT, color="#a0a0a0", lw=0.6, label="observed")
        upper.plot(wave, target * UNIT, color="black", lw=1.0, label="decoded from the observed")
    upper.fill_between(wave, one.low * UNIT, one.high * UNIT, color=PREDICTED, alpha=0.25, lw=0, label="68 %")
    upper.plot(wave, one.flux * UNIT, color=PREDICTED, lw=1.0, label="predicted from the image")
    drawn = [one.flux, one.high, *([] if target is None else [target])]
    upper.set(xlim=_X, ylim=(0, 1.12 * UNIT * max(float(flux.max()) for flux in drawn)), ylabel=r"$f_\lambda$ / rms")
    reference = one.flux if target is None else target
    lower.axhline(0, color=INK, lw=0.7)
    low, high = (100 * (flux / reference - 1) for flux in (one.low, one.high))
    lower.fill_between(wave, low, high, color=PREDICTED, alpha=0.25, lw=0)
    if target is not None:
        lower.plot(wave, 100 * (one.flux / target - 1), color=PREDICTED, lw=0.8)
    lower.set(ylim=(-45, 45), yticks=(-30, 0, 30), ylabel="diff. [%]")
    upper.tick_params(labelbottom=False)
    for axes in (upper, lower):
        for centre in (wavelength for several in MARKS.values() for wavelength in several):
            axes.axvline(centre, color=FAINT, lw=0.5, ls=":", zorder=0)


def _mark(axes: Axes) -> None:
    """Name the lines above the panel."""
    for name, centres in MARKS.items():
        axes.annotate(name, (float(np.mean(centres)), 1), (0, 3), xycoords=axes.get_xaxis_transform(), rotation=40,
                      textcoords="offset points", fontsize=8.5, color=INK, ha="left", va="bottom")  # fmt: skip


def traversal_figure(moved: Traversal, figure: Figure) -> None:
    """Draw the spectrum along each latent, and how H alpha and the break go with it."""
    count, wave = len(moved.flux), wavelengths()
    colours = ScalarMappable(Normalize(-REACH, REACH), "viridis")
    with look():
        panels = figure.subplots(count, 3, squeeze=False, width_ratios=(5, 1.25, 1.25), sharex="col")
        for number, (spectrum, ew, d4000) in enumerate(panels):
            inside = moved.inside[number]
            for step in (step for step in range(0, len(moved.values), 2) if inside[step]):
                spectrum.plot(wave, moved.flux[number, step] * UNIT, color=colours.to_rgba(moved.values[step]), lw=0.7)
            spectrum.set(xlim=_X, ylabel=f"latent {number}\n" + r"$f_\lambda$ / rms")
            for axes, values, label in ((ew, moved.ew_ha[number], "EW(H$\\alpha$) [\u00c5]"),
                                        (d4000, moved.d4000[number], "D4000")):  # fmt: skip
                axes.plot(moved.values[inside], values[inside], color=FAINT, lw=0.9, zorder=1)
                axes.scatter(
                    moved.values[inside], values[inside], s=11, c=moved.values[inside], norm=colours.norm, cmap="viridis",
                    zorder=2,
                )  # fmt: skip
                if number == 0:
                    axes.set_title(label)
        for column, label in enumerate((_LABEL, "latent", "latent")):
            panels[-1, column].set_xlabel(label)
        _mark(panels[0, 0])
        for axes in panels[:, 1:].flat:
            axes.set(xlim=(-3.3, 3.3), xticks=(-3, 0, 3))
        for column in (1, 2):
            limits = np.array([axes.get_ylim() for axes in panels[:, column]])
            for axes in panels[:, column]:
                axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
        figure.colorbar(colours, ax=panels[:, 0].tolist(), location="left", aspect=60, pad=0.01, fraction=0.03,
                        label="value of the latent, the others 0 [standard deviations]")  # fmt: skip
