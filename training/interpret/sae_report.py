"""``galcli explain sae``: what the concepts of a sparse autoencoder are about, on one page (models.md 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galcli.predict.options import PredictOptions
from galcli.progress import Progress
from galcli.tables.fits import write_table
from galcli.training.interpret import sae_figures as figures
from galcli.training.interpret.pages import Pages, mock_words, require_replaceable
from galcli.training.interpret.sae_atoms import Decoder
from galcli.training.interpret.sae_concepts import AVERAGED, Shown, show
from galcli.training.interpret.sae_numbers import (
    CHANCE,
    FEWEST,
    SHUFFLES,
    USED,
    Correlations,
    Matches,
    Places,
    Together,
    Usage,
    correlate,
    match,
    places,
    together,
    usage,
)
from galcli.training.interpret.sae_seen import SFNET, Sample, View, open_view
from galcli.training.interpret.sae_table import concept_hdu
from galcli.training.recipes.sae_measure import COVERED, coverage, redundancy

Numbers = dict[str, Any]
TABLE = "concepts.fits"
#: Columns listed for a concept, concepts of the graph, pairs listed, and pairs kept among the numbers.
_COLUMNS, _GRAPH, _PAIRS, _KEPT = 6, 48, 10, 500
#: Features shown beside concepts, unless these have more best ones.
_FEATURES = 16
#: Names of the card's figures.
_TOLD = {"SAE_FVU mean": "fvu", "SAE_FVU median": "fvu_median", "SAE_L0 mean": "l0", "dead fraction": "dead"}


@dataclass(frozen=True)
class Asked:
    """What a report is asked for.

    Attributes
    ----------
    model : str
        Name or path.
    sample : str
        What the galaxies are called on the page.
    concepts : int
        Concepts shown in detail, at most.
    """

    model: str
    sample: str
    concepts: int


@dataclass(frozen=True)
class _Measured:
    """Everything that was measured."""

    view: View
    sample: Sample
    usage: Usage
    places: Places
    found: Correlations
    matches: Matches | None
    together: Together
    shown: list[Shown]
    numbers: Numbers


def write_report(folder: Path, options: PredictOptions, asked: Asked, progress: Progress) -> Path:
    """Predict, measure, look, draw and write.

    Parameters
    ----------
    folder : Path
        For the page, its pictures, ``metrics.json`` and ``concepts.fits``; an earlier report is replaced.
    options : PredictOptions
        The catalogue and how it is read; models are set here.
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
        If the model is no sparse autoencoder.
    InputError
        If no galaxy gets a prediction.
    Interrupted
        After a signal.
    OutputError
        If the disk refuses.
    """
    require_replaceable(folder)
    with open_view(options, asked.model, progress) as view:
        decoder = Decoder(view.model, options.threads)
        sample = view.predict(progress)
        measured = _measure(view, sample, decoder, asked, progress)
    progress.note("pictures are drawn")
    card = view.card
    mock = mock_words(sample.mock, card.training.mock)
    pages = Pages(folder, f"Model {card.name} {card.version}: concepts of {_subject(view)}", mock)
    pages.write(measured.numbers)  # so that the folder is known as a report, should drawing be stopped
    _head(pages, measured, asked)
    _utilisation(pages, measured, asked)
    for shown in measured.shown:
        _concept(pages, measured, shown, asked)
    _matches(pages, measured, asked)
    _graph(pages, measured, asked)
    header = [("MOCK", sample.mock, "T: simulated galaxies"),
              ("MMOCK", card.training.mock, "T: the model was trained on a mock survey only"),
              ("OBJECTS", len(sample.chosen), "galaxies with a prediction")]  # fmt: skip
    table = concept_hdu(measured.usage, measured.places, measured.found, measured.matches, header)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / TABLE, [table])
    return pages.write(measured.numbers)


def _subject(view: View) -> str:
    return "images" if view.card.native else view.card.inputs[0].description


def _measure(view: View, sample: Sample, decoder: Decoder, asked: Asked, progress: Progress) -> _Measured:
    strength, said = sample.strength, sample.said
    used = usage(strength)
    where = places(said["idx"].astype(np.int64), said["dx"], said["dy"], said["size"], strength.shape[1])
    found = correlate(strength, sample.columns)
    both = slice(None) if sample.compared.all() else sample.compared  # a slice copies nothing
    matches = None if sample.features is None else match(strength[both], sample.features[both])
    alive = used.alive
    most = alive[np.argsort(-(used.used * (1 - used.used))[alive], kind="stable")[:_GRAPH]]
    pairs = together(strength, np.sort(most))
    shown = show(view, sample, decoder, [int(concept) for concept in alive[: asked.concepts]], progress)
    numbers = _numbers(view, sample, used, asked) | {
        "redundancy": redundancy(torch.from_numpy(decoder.atoms(alive)), np.ones(len(alive), np.bool_)),
        "utilisation": {"used": np.sort(used.used)[::-1].round(5).tolist(), "area": float(used.used.mean()),
                        "area_active": float(used.active.mean())},
        "cell": _cell(view, sample, shown),
        "concepts": [_told(one, used, where, found, matches, sample) for one in shown],
        "pairs": [{"concepts": [int(pairs.concepts[i]), int(pairs.concepts[j])], "phi": float(pairs.phi[i, j]),
                   "lift": float(pairs.lift[i, j])} for i, j in pairs.edges[:_KEPT]],
    }  # fmt: skip
    if matches is not None:
        numbers["sfnet"] = {"galaxies": int(sample.compared.sum()), "concepts": int(np.isfinite(matches.best).sum()),
                            "beyond_chance": int(matches.beyond.sum()), "shuffles": SHUFFLES}  # fmt: skip
    return _Measured(view, sample, used, where, found, matches, pairs, shown, numbers)


def _numbers(view: View, sample: Sample, used: Usage, asked: Asked) -> Numbers:
    """Model, sample, and figures like those of the card."""
    card, fvu, active = view.card, sample.said["fvu"].astype(np.float64), sample.said["l0"]
    front = view.front if card.native else None
    told = {metric.name: metric.value for metric in card.metrics if metric.front == front or metric.front is None}
    return {
        "model": {"name": card.name, "version": card.version, "sha256": view.model.sha256, "mock": card.training.mock},
        "sample": {"name": asked.sample, "rows": sample.rows, "predicted": len(sample.chosen), "mock": sample.mock,
                   "front": view.front, "out_of_domain": sample.outside, "columns": list(sample.columns),
                   "without_sfnet": view.without_sfnet},
        "quality": {
            "fvu": float(fvu.mean()), "fvu_median": float(np.median(fvu)), "l0": float(active.mean()),
            "dead": float(1 - (used.active > 0).mean()), "coverage": coverage(np.sqrt(used.energy)[None]),
        },
        "quality_of_the_card": {short: told[name] for name, short in _TOLD.items() if name in told}
        | {short: value for name, value in told.items() for short in ("coverage", "redundancy") if name.startswith(short)},
    }  # fmt: skip


def _told(
    one: Shown, used: Usage, where: Places, found: Correlations, matches: Matches | None, sample: Sample
) -> Numbers:  # fmt: skip
    """The numbers of a concept."""
    c = one.concept
    numbers: Numbers = {
        "concept": c, "active": float(used.active[c]), "used": float(used.used[c]), "strength": float(used.strength[c]),
        "share": float(used.share[c]), "offset": _number(where.offset[c]), "size": _number(where.size[c]),
        "galaxies": [int(sample.chosen[look.place]) for look in one.examples],
        "strengths": [float(sample.strength[look.place, c]) for look in one.examples],
        "averaged": one.averaged,
        "columns": [{"column": found.names[at], "objects": int(found.objects[at]), "pearson": _number(found.pearson[c, at]),
                     "spearman": _number(found.spearman[c, at]), "chance": _number(found.chance[c, at])}
                    for at in found.best(c, _COLUMNS)],
    }  # fmt: skip
    if matches is not None:
        numbers["sfnet"] = {
            "feature": int(matches.feature[c]),
            "r": _number(matches.best[c]),
            "null": _number(matches.null[c]),
        }
    return numbers


def _cell(view: View, sample: Sample, shown: Sequence[Shown]) -> float | None:
    """Side of the cells of inner maps, arcsec; None for autoencoders of images, and where no scale is known."""
    if view.card.native or not sample.scaled or not shown:
        return None
    frame = shown[0].mean.frame
    return (frame.east - frame.west) / view.card.inputs[0].shape[-1]


def _cells(measured: _Measured) -> str:
    """What places cannot tell."""
    cell = measured.numbers["cell"]
    return "" if cell is None else f"; cells of {cell:.1f} arcsec, less is not resolved"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _head(pages: Pages, measured: _Measured, asked: Asked) -> None:
    card, sample, numbers = measured.view.card, measured.sample, measured.numbers
    own, told = numbers["quality"] | {"redundancy": numbers["redundancy"]}, numbers["quality_of_the_card"]
    report, concepts = pages.report, len(measured.usage.active)
    report.text(
        f"Model {card.name} {card.version} (SHA-256 {measured.view.model.sha256[:12]}), {concepts:,} concepts of "
        f"{_subject(measured.view)}, learned from {card.training.data}, {card.training.objects:,} galaxies. Sample: "
        f"{asked.sample}, {sample.rows:,} galaxies seen through the front {measured.view.front}, {len(sample.chosen):,} with a "
        f"prediction, {sample.outside:,} of them unlike the training sample (out of domain)."
    )
    report.table(
        ("figure", "here", "in the card"),
        [(title, _shown(own[name], how), _shown(told.get(name), how)) for title, name, how in (
            ("variance left unexplained, mean", "fvu", ".3f"), ("variance left unexplained, median", "fvu_median", ".3f"),
            ("active concepts per galaxy, mean", "l0", ".1f"), ("dead concepts, of all", "dead", ".1%"),
            (f"concepts that hold {COVERED:.0%} of the energy", "coverage", ",.0f"),
            ("mean largest cosine between kernels of active concepts", "redundancy", ".3f"))],
    )  # fmt: skip
    report.text(
        "The card was measured on held-out galaxies of the training. Dead concepts are active in no galaxy; a small sample "
        "leaves more of them."
    )
    pages.draw("quality", (11.0, 3.8),
               f"What the concepts leave unexplained of each galaxy of {asked.sample}, noise included, and how many are active.",
               lambda figure: figures.quality_figure(sample.said["fvu"], sample.said["l0"], told, figure))  # fmt: skip


def _shown(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _utilisation(pages: Pages, measured: _Measured, asked: Asked) -> None:
    used, report = measured.usage, pages.report
    report.heading("How much concepts are used")
    pages.draw("utilisation", (9.0, 4.6),
               f"Part of the {used.objects:,} galaxies of {asked.sample} in which each concept is active, and of those that use it: "
               f"it holds more than {USED:.0%} of their energy. Area under the curve: mean part; small areas mean concepts "
               "for special galaxies.",
               lambda figure: figures.utilisation_figure(used, figure))  # fmt: skip
    heads = ("concept", "active in", "used by", "mean strength", "from the object", "size",
             "goes most with", "Spearman", *(("SFNet feature", "correlation") if measured.matches else ()))  # fmt: skip
    report.table(heads, [_line(one, measured) for one in measured.numbers["concepts"]])
    report.text(
        "The concepts that hold most of the energy, in this order. Strength: root mean square of a concept's map (SAE_ENERGY "
        "of predictions), its mean over the galaxies in which it is active; energy: the square of the strength. From the "
        f"object: mean distance of the centroid of a concept's energy{_cells(measured)}. Columns and features are the best ones of many. In brackets is what chance may explain: columns with "
        f"a chance of {CHANCE:g} or more, all tries counted (of Spearman's correlation; for classes, of how many of their galaxies "
        f"have the concept: Fisher's exact test); features of {SFNET} within what {SHUFFLES} shuffles of the galaxies "
        f"gave. {TABLE} holds all concepts."
    )


def _line(one: Numbers, measured: _Measured) -> tuple[str, ...]:
    best = one["columns"][0] if one["columns"] else None
    sure = best is not None and best["chance"] < CHANCE
    column = ("", "") if best is None else (best["column"], _signed(best["spearman"]))
    cells = [str(one["concept"]), f"{one['active']:.0%}", f"{one['used']:.0%}", f"{one['strength']:.3g}",
             *(f'{one[name]:.1f}"' if one[name] is not None else "" for name in ("offset", "size")),
             *(text if sure or not text else f"({text})" for text in column)]  # fmt: skip
    if "sfnet" in one:
        match_, sure = one["sfnet"], bool(measured.matches and measured.matches.beyond[one["concept"]])
        theirs = ("", "") if match_["r"] is None else (str(match_["feature"]), _signed(match_["r"]))
        cells += [text if sure or not text else f"({text})" for text in theirs]
    return tuple(cells)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")


def _concept(pages: Pages, measured: _Measured, shown: Shown, asked: Asked) -> None:
    one = next(entry for entry in measured.numbers["concepts"] if entry["concept"] == shown.concept)
    pages.report.heading(f"Concept {shown.concept}")
    kernel = (
        "its vector: the channels of the inner maps with the largest weights" if shown.kernel.shape[1:] == (1, 1)
        else "what one unit of it adds to the data, in each band (asinh of signal over noise), north up, on the smallest grid "
        "that the model takes" if shown.bands else "its kernel in the strongest channels of the inner maps"
    )  # fmt: skip
    pages.draw(
        f"concept-{shown.concept}", (12.6, 4.3),
        f"Concept {shown.concept}. Left: the {len(shown.examples)} galaxies of {asked.sample} in which it is strongest, "
        "strongest first, north up, east left; contours: its activation at 25, 50 and 75 % of its largest value in each, small ones in a ring; frames where maps have few cells: "
        "those above 5 % of it, the brighter the more active. Middle: "
        f"mean activation over {_which(shown)} in which it is active (cross: the object). Right: {kernel}.",
        lambda figure: figures.concept_figure(shown, figure),
    )  # fmt: skip
    where = (
        f", {one['offset']:.1f} arcsec from the object and {one['size']:.1f} arcsec wide (rms){_cells(measured)}"
        if one["offset"] is not None
        else ""
    )
    pages.report.text(
        f"Active in {one['active']:.1%} of the galaxies, used by {one['used']:.1%}; mean strength {one['strength']:.3g}{where}."
    )
    if one["columns"]:
        pages.report.table(
            ("goes with", "galaxies", "Pearson", "Spearman", "chance, all tries counted"),
            [(each["column"], f"{each['objects']:,}", _signed(each["pearson"]), _signed(each["spearman"]),
              _chance(each["chance"])) for each in one["columns"]],
        )  # fmt: skip
    else:
        pages.report.text("No column of the catalogue can be compared with it.")


def _which(shown: Shown) -> str:
    return f"{shown.averaged} galaxies" + (", drawn evenly over the catalogue," if shown.averaged == AVERAGED else "")


def _chance(value: float) -> str:
    return f"{value:.1g}"


def _matches(pages: Pages, measured: _Measured, asked: Asked) -> None:
    matches, report, chosen = measured.matches, pages.report, [one.concept for one in measured.shown]
    report.heading("Features of SFNet that concepts go with")
    if matches is None:
        report.text(f"{SFNET} did not look at these galaxies: {measured.view.without_sfnet}.")
        return
    told, features = measured.numbers["sfnet"], _features(matches, chosen)
    report.text(
        f"{SFNET} has a prediction of {told['galaxies']:,} of the {len(measured.sample.chosen):,} galaxies; only these are compared."
    )
    if not features:
        report.text(f"No feature of {SFNET} is active in {FEWEST} galaxies together with a concept that is.")
        return
    report.text(
        f"Of {told['concepts']:,} concepts active in {FEWEST} galaxies or more, {told['beyond_chance']:,} go with a feature of "
        f"{SFNET} more strongly than with any feature in {SHUFFLES} shuffles of the galaxies; chance alone would give about "
        f"{told['concepts'] / (SHUFFLES + 1):.0f}."
    )
    pages.draw("sfnet", (12.0, 1.9 + 0.3 * max(8, len(chosen))),
               f"Left: correlation (Pearson) of the strength of concepts with the activation of features of {SFNET} over the same "
               f"galaxies of {asked.sample}: the best feature of each concept shown, and others; rings: best ones beyond chance; grey: "
               "active in too few galaxies. Right: best matches of all concepts, and what shuffled galaxies give.",
               lambda figure: figures.matches_figure(matches, chosen, features, figure))  # fmt: skip


def _features(matches: Matches, chosen: Sequence[int]) -> list[int]:
    """The best feature of each concept, then others that go with any of them, up to `_FEATURES`."""
    best = list(dict.fromkeys(int(matches.feature[concept]) for concept in chosen if matches.feature[concept] >= 0))
    strong = np.nan_to_num(np.abs(matches.r[list(chosen)])).max(0, initial=0)
    others = [
        int(feature)
        for feature in np.argsort(-strong, kind="stable")
        if strong[feature] > 0 and int(feature) not in best
    ]
    return best + others[: max(0, _FEATURES - len(best))]


def _graph(pages: Pages, measured: _Measured, asked: Asked) -> None:
    found, report = measured.together, pages.report
    report.heading("Concepts that go together")
    if len(found.concepts) < 2:
        report.text("Fewer than two concepts are active.")
        return
    report.text(
        f"Of the {len(found.concepts)} concepts whose use differs most from galaxy to galaxy, {len(found.edges)} pairs are used "
        "by the same galaxies more often than chance gives."
    )
    pages.draw("graph", (13.0, 7.4),
               f"Left: pairs used together by galaxies of {asked.sample}, the {figures.LINES} strongest of each concept; discs: part of the "
               "galaxies that use a concept. Right: phi coefficient of all pairs; grey: used by all or none. An "
               "autoencoder with a fixed number of active concepts makes others go apart.",
               lambda figure: figures.graph_figure(found, measured.usage, figure))  # fmt: skip
    if found.edges:
        report.table(("pair", "phi", "as often as by chance"), _pairs(found, found.edges[:_PAIRS]))


def _pairs(found: Together, edges: Sequence[tuple[int, int]]) -> list[tuple[str, ...]]:
    return [(f"{found.concepts[i]} and {found.concepts[j]}", _signed(float(found.phi[i, j])), f"{found.lift[i, j]:.2g} times")
            for i, j in edges]  # fmt: skip
