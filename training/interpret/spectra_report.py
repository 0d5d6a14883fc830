"""``galcli explain spectra``: what a model from images to spectra does, on one page (models.md 3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galcli.predict.options import PredictOptions
from galcli.progress import Progress
from galcli.tables.columns import Column, code_of, dictionary, from_output
from galcli.tables.fits import TableHDU, write_table
from galcli.training.interpret.pages import Pages, mock_words, require_replaceable
from galcli.training.interpret.spectra_compare import Comparison, Observed, compare, find_models
from galcli.training.interpret.spectra_figures import choose, examples_figure, traversal_figure
from galcli.training.interpret.spectra_numbers import Traversal, correlations, measure, name_of, sentence, traverse
from galcli.training.interpret.spectra_scatter import ensemble_figure, latents_figure, properties_figure
from galcli.training.interpret.stem import Stem, filters_figure, read_stem, response_figure

TABLE = "spectra-comparison.fits"


@dataclass(frozen=True)
class Asked:
    """What a report is asked for.

    Attributes
    ----------
    model : str
        Name or path.
    vae : Path or None
        As in `find_models`.
    spectra : sequence of str or Path
        Files of observed spectra; none: the page goes without.
    examples : int
        Galaxies shown.
    seed : int
        Chooses them, and draws their bands.
    """

    model: str
    vae: Path | None
    spectra: Sequence[str | Path]
    examples: int
    seed: int


def write_report(folder: Path, options: PredictOptions, asked: Asked, progress: Progress) -> Path:
    """Predict, compare, draw and write.

    Parameters
    ----------
    folder : Path
        For the page, its pictures, ``metrics.json`` and ``spectra-comparison.fits``; an earlier report is replaced.
    options : PredictOptions
        The catalogue and how it is read; models and output are set here.
    asked : Asked
    progress : Progress

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UsageError
        If the folder holds something else than a report.
    ModelError
        If the models are missing or do not belong together.
    InputError
        If there is nothing to compare.
    OutputError
        If the disk refuses.
    """
    require_replaceable(folder)
    model, coder = find_models(asked.model, options.precision, asked.vae)
    stem = read_stem(model)
    comparison = compare(options, model, coder, asked.spectra, progress)
    numbers, moved = measure(comparison), traverse(coder)
    seen = comparison.observed
    latent, flux = (
        (comparison.column("SPEC_LATENT"), comparison.column("SPEC_FLUX")) if seen is None
        else (seen.latent, seen.decoded)
    )  # fmt: skip
    numbers["traversals"] = _traversals(moved, correlations(latent, flux))
    numbers["stem"] = {"bands": stem.bands, "centre_surround_index": [round(float(value), 4) for value in stem.index]}
    pages = _Pages(folder, comparison)
    _head(pages, numbers)
    _examples(pages, asked)
    _latents(pages, numbers, moved)
    if seen is not None:
        _comparisons(pages, seen, numbers)
    _stem(pages, stem)
    write_table(folder / TABLE, [comparison_table(comparison)])
    return pages.write(numbers)


class _Pages(Pages):
    """The page under way, and what it is about."""

    def __init__(self, folder: Path, comparison: Comparison) -> None:
        card = comparison.model.card
        title = f"Model {card.name} {card.version}: spectra from images"
        super().__init__(folder, title, mock_words(comparison.mock, card.training.mock))
        self.comparison = comparison


def _head(pages: _Pages, numbers: dict[str, Any]) -> None:
    report, sample, card = pages.report, numbers["sample"], pages.comparison.model.card
    report.text(
        f"Model {card.name} {card.version} (SHA-256 {pages.comparison.model.sha256[:12]}), learned from "
        f"{card.training.data}, {card.training.objects:,} galaxies. Catalogue: {', '.join(sample['catalogs'])}, "
        f"{sample['rows']:,} galaxies, {sample['predicted']:,} with a prediction, {sample['out_of_domain']:,} of them "
        "unlike the training sample in image or spectrum (out of domain)."
        + (f" {sample['compared']:,} are compared with their observed spectra." if "latents" in numbers else "")
    )
    for note in pages.comparison.notes:
        report.text(f"Note: {note}.")
    if "latents" not in numbers:
        report.text("No observed spectra were given: the page shows predictions alone, without residuals.")
        return
    report.table(
        ("number", "galaxies", "RMSE", "bias", "sigma_MAD", "scatter of the observed", "within the error bar"),
        [*(_line(name_of(at["latent"], at["change"]), one)
           for at, one in zip(numbers["traversals"], numbers["latents"], strict=True)),
         *(_line(f"{name}{unit}", numbers["properties"][name])
           for name, unit in (("SPEC_EW_HA", " [\u00c5]"), ("SPEC_D4000", "")))],
    )  # fmt: skip
    report.text(
        "Residuals are prediction minus observation. RMSE equal to the scatter of the observed is what predicting the "
        "mean for all would give; 68 % within the error bar is what it promises. Latents of observed spectra carry the "
        "noise of these spectra."
    )
    names = ("SPEC_FLUX median relative residual", "SPEC_FLUX 90 % relative residual")
    report.table(
        ("predicted flux, relative residual per pixel", "median", "90 %"),
        [(what, *(f"{100 * found[name]:.1f} %" for name in names)) for what, found in numbers["spectra"].items()],
    )


def _line(title: str, one: dict[str, Any]) -> tuple[str, ...]:
    if not one["objects"]:
        return (title, "0", *[""] * 5)
    inside = f"{100 * one['coverage']:.0f} %" if "coverage" in one else ""
    values = (f"{one[name]:{sign}.3f}".replace("-", "\u2212")
              for name, sign in (("rmse", ""), ("bias", "+"), ("sigma_mad", ""), ("scatter_of_the_truth", "")))  # fmt: skip
    return (title, f"{one['objects']:,}", *values, inside)


def _examples(pages: _Pages, asked: Asked) -> None:
    comparison = pages.comparison
    rows = choose(comparison, asked.examples, asked.seed)
    pages.report.heading("Predicted and observed spectra" if comparison.observed else "Predicted spectra")
    caption = (
        f"{len(rows)} galaxies in order of their 4000 \u00c5 break, drawn at random from as many equal groups "
        f"(seed {asked.seed}); no choice by quality. Image as the model saw it, north up. "
    )
    if comparison.observed:
        caption += (
            "Grey: observed, as it is. Black: observed, through encoder and decoder, the target of the training. Orange: "
            "predicted from the image, with the band that holds 68 % of the spectra of latents drawn from their "
            "error bars. Below: predicted over target, minus 1."
        )
    else:
        caption += (
            "Orange: predicted from the image, with the band that holds 68 % of the spectra of latents drawn from their "
            "error bars; below, this band over the prediction, minus 1."
        )
    pages.draw("examples", (13.5, 0.5 + 2.75 * len(rows)), caption,
               lambda figure: examples_figure(comparison, rows, asked.seed, figure))  # fmt: skip


def _latents(pages: _Pages, numbers: dict[str, Any], moved: Traversal) -> None:
    comparison = pages.comparison
    pages.report.heading("What each latent does")
    which = "observed spectra, encoded and decoded" if comparison.observed else "predicted spectra"
    pages.report.text(f"In brackets: rank correlation (Spearman) over the {which}, where stronger than 0.3.")
    pages.report.points(one["sentence"] for one in numbers["traversals"])
    pages.draw("latents", (13.5, 0.8 + 2.0 * len(moved.flux)),
               "The decoder's spectrum as one latent goes from \u22123 to +3 and all others stay 0, as far as its norm "
               "keeps within 10 % (all spectra that the decoder learned from had one norm) and no flux is negative. Few "
               "galaxies lie on these lines: the cloud of spectra is bent. Beside it EW(H\u03b1) and D4000.", lambda figure: traversal_figure(moved, figure))  # fmt: skip


def _comparisons(pages: _Pages, seen: Observed, numbers: dict[str, Any]) -> None:
    comparison = pages.comparison
    pages.report.heading("Predicted against observed")
    lines = -(-seen.latent.shape[1] // 3)
    pages.draw("scatter", (13.5, 4.6 * lines), "Latents predicted from images against those of the observed spectra, with "
               "the 1:1 line. Bars: SPEC_LATENT_ERR, which should hold 68 %. Diamonds: out of domain.",
               lambda figure: latents_figure(comparison, seen, numbers, figure))  # fmt: skip
    pages.draw("properties", (11.0, 5.2), "H\u03b1 equivalent width (positive in emission) and 4000 \u00c5 break "
               "(4000\u20134100 over 3850\u20133950 \u00c5, f\u03bd): on the predicted against on the observed spectrum.",
               lambda figure: properties_figure(comparison, seen, numbers, figure))  # fmt: skip
    if comparison.has_scatter:
        pages.draw("ensemble", (7.5, 5.2), "Does the scatter of the dropout ensemble tell how wrong a latent is? Points on "
                   "the 1:1 line would be errors of that size; the ensemble knows only the last layer's doubt.",
                   lambda figure: ensemble_figure(comparison, seen, figure))  # fmt: skip


def _stem(pages: _Pages, stem: Stem) -> None:
    card, count = pages.comparison.model.card, len(stem.weights)
    pages.report.heading("How the model looks at pixels first")
    bright, dark = int((stem.index > 0.5).sum()), int((stem.index < -0.5).sum())
    pages.report.text(
        f"The first of its convolutions has {count} filters of {stem.weights.shape[-1]} x {stem.weights.shape[-1]} pixels in "
        f"{len(stem.bands)} bands; whitening, where the network has any, is folded into them, so these are the weights that "
        f"act on normalised pixels. {bright} look for bright centres (index above 0.5), {dark} for dark ones (below "
        "\u22120.5); the others for edges, colours or plain light."
    )
    blocks = -(-count // 16)
    pages.draw("filters", (13.5, blocks * (0.83 * len(stem.bands) + 0.35)),
               "Every filter in every band, strongest first, each on its own scale: orange positive, violet negative, white 0. "
               "Number: centre-surround index, the cosine between the filter in its strongest band and the pattern of 1 in the "
               "centre and \u22121/8 around it.", lambda figure: filters_figure(stem, figure))  # fmt: skip
    pages.draw("response", (12.0, 4.4), "Left: indices of all filters. Right: how strongly all filters together answer to "
               "waves on the sky; what falls to the right smooths, what rises sharpens.",
               lambda figure: response_figure(stem, figure, card.pixel_scale or 1.0))  # fmt: skip


def _traversals(moved: Traversal, found: list[dict[str, float | None]]) -> list[dict[str, Any]]:
    return [
        {"latent": number, "change": float(moved.change[number]), "rank_correlations": one, "ew_ha": moved.ew_ha[number].tolist(),
         "d4000": moved.d4000[number].tolist(), "inside": moved.inside[number].tolist(), "sentence": sentence(number, one, moved)}
        for number, one in enumerate(found)
    ]  # fmt: skip


def comparison_table(comparison: Comparison) -> TableHDU:
    """One row per row of the catalogue: what was predicted, and what was observed (NaN where nothing was).

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    TableHDU
    """
    table, card, seen = comparison.table.columns, comparison.model.card, comparison.observed
    name = (comparison.id_name or "ROW").upper()
    columns = [Column(name, code_of(table[name].dtype), ucd="meta.id;meta.main", description="as in the catalogue")]
    columns += [dictionary()[key] for key in ("RA", "DEC")]
    columns += [Column(f"{card.prefix}_STATUS", "i4", ucd="meta.code.status", description="status bits of the model")]
    columns += [from_output(output) for output in card.outputs if output.group is None]
    known = {output.column: from_output(output) for output in comparison.coder.decoder.card.outputs}
    columns += [known[key] for key in ("SPEC_EW_HA", "SPEC_D4000")]
    data = {column.name: table[column.name] for column in columns}
    if seen is not None:
        width = seen.latent.shape[1]
        for column, values in (
            (Column("LATENT_ENCODED", "f4", (width,), ucd="stat.param",
                    description="SPEC_LATENT of the observed spectrum"), seen.latent),
            (Column("EW_HA_OBSERVED", "f4", unit="Angstrom", ucd="spect.line.eqWidth;em.line.Halpha",
                    description="equivalent width of H alpha in the observed spectrum"), seen.ew_ha),
            (Column("D4000_OBSERVED", "f4", ucd="spect.index;spect.continuum",
                    description="4000 Angstrom break in the observed spectrum"), seen.d4000),
        ):  # fmt: skip
            columns.append(column)
            data[column.name] = column.blank(len(comparison.ood))
            data[column.name][seen.rows] = values
    mock = comparison.mock or card.training.mock
    header = [("MOCK", comparison.mock, "T: simulated galaxies"),
              ("MMOCK", card.training.mock, "T: the model was trained on a mock survey only")] if mock else []  # fmt: skip
    return TableHDU("COMPARISON", columns, data, list(header))
