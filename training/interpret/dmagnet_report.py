"""``galcli explain dmagnet``: what a network of galaxy morphology looks at and dreams of, on one page (models.md 5.4, 5.5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.predict.options import PredictOptions
from galcli.progress import Progress
from galcli.training.devices import pick_device
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret import dmagnet_dreams as dreams
from galcli.training.interpret.dmagnet_dream_figures import Gathered, gather, grid_figure, spectra_figure, traces_figure
from galcli.training.interpret.dmagnet_dreams import Wish, dream_all
from galcli.training.interpret.dmagnet_figures import (
    Example,
    branches_figure,
    centroid,
    confusion_figure,
    examples_figure,
    examples_of,
    reliability_figure,
)
from galcli.training.interpret.dmagnet_numbers import Numbers, counts, kernels, quality, quality_of_card
from galcli.training.interpret.dmagnet_seen import PER_CLASS, Looks, Verdicts, judge, look_at
from galcli.training.interpret.dream import valid_range
from galcli.training.interpret.pages import Pages, mock_words, require_replaceable
from galcli.training.interpret.twin import Twin, read_twin


@dataclass(frozen=True)
class Asked:
    """What a report is asked for.

    Attributes
    ----------
    model : str
        Name or path.
    sample : str
        What the galaxies are called on the page.
    label_column : str or None
        As in `judge`.
    dreams : dmagnet_dreams.Asked or None
        None: the page goes without.
    """

    model: str
    sample: str
    label_column: str | None = None
    dreams: dreams.Asked | None = None


@dataclass(frozen=True)
class _Parts:
    """The page, and what it is about."""

    pages: Pages
    asked: Asked
    twin: Twin
    verdicts: Verdicts
    looks: Looks


def write_report(folder: Path, options: PredictOptions, asked: Asked, progress: Progress) -> Path:
    """Predict, look, draw and write; then dream, draw and write again.

    Parameters
    ----------
    folder : Path
        For the page, its pictures, ``metrics.json`` and the dreams; an earlier report is replaced, its dreams are used.
    options : PredictOptions
        The catalogue and how it is read; model, columns and output are set here.
    asked : Asked
    progress : Progress

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UsageError
        If the folder holds something else than a report, or the network lacks a layer or channel.
    ModelError
        If the model is no DMAGNet in float32.
    InputError
        If there is nothing to look at.
    Interrupted
        After a signal: the page is there without the dreams, and the finished ones are kept.
    OutputError
        If the disk refuses.
    """
    require_replaceable(folder)
    twin = read_twin(asked.model)
    if asked.dreams is not None:
        asked.dreams.require_possible(twin)
    verdicts = judge(options, twin, asked.label_column, progress)
    device = _device(options.device)
    twin.network.to(device)
    twin.pixels.to(device)
    looks = look_at(verdicts, options, twin)
    card = twin.card
    title = f"Model {card.name} {card.version}: morphology from images"
    parts = _Parts(Pages(folder, title, mock_words(verdicts.mock, card.training.mock)), asked, twin, verdicts, looks)
    numbers = _sections(parts)
    page = parts.pages.write(numbers)
    if asked.dreams is not None:
        numbers["dreams"] = _dreams(parts, asked.dreams)
        page = parts.pages.write(numbers)
    return page


def _device(name: str) -> torch.device:
    """Where torch runs for a device of onnxruntime."""
    kind, _, number = name.partition(":")
    device = pick_device("cuda" if kind == "tensorrt" else kind)
    return torch.device("cuda", int(number.split(",")[0])) if number and device.type == "cuda" else device


def _sections(parts: _Parts) -> Numbers:
    """All but the dreams; gives the numbers behind it."""
    verdicts, card = parts.verdicts, parts.twin.card
    numbers: Numbers = {
        "model": {"name": card.name, "version": card.version, "sha256": parts.twin.file.sha256, "mock": card.training.mock},
        "sample": {
            "name": parts.asked.sample, "galaxies": len(verdicts.chosen), "mock": verdicts.mock, "front": verdicts.front,
            "predicted": int((verdicts.chosen >= 0).sum()), "labelled": int((verdicts.truth >= 0).sum()),
            "label_column": verdicts.label_column, "looked_at": len(parts.looks.rows),
        },
        "classes": counts(verdicts), "kernels": kernels(verdicts, parts.looks),
    }  # fmt: skip
    _head(parts, numbers)
    numbers["examples"] = _examples(parts)
    _branches(parts, numbers["kernels"])
    numbers["quality"] = quality(verdicts)
    numbers["quality_of_the_card"] = quality_of_card(card, verdicts.front)
    _confusion(parts, numbers)
    return numbers


def _head(parts: _Parts, numbers: Numbers) -> None:
    report, card, sample = parts.pages.report, parts.twin.card, numbers["sample"]
    report.text(
        f"Model {card.name} {card.version} (SHA-256 {parts.twin.file.sha256[:12]}), learned from {card.training.data}, "
        f"{card.training.objects:,} galaxies. Sample: {sample['name']}, {sample['galaxies']:,} galaxies seen through the "
        f"front {sample['front']}, {sample['predicted']:,} with a prediction"
        + (f", {sample['labelled']:,} with a label ({sample['label_column']})." if sample["labelled"] else ", none with a label.")
    )  # fmt: skip
    if verdicts := parts.verdicts.absent:
        report.text(f"No galaxy of this sample is predicted as {_listed(verdicts)}: left out below.")
    labelled = bool(sample["labelled"])
    report.table(
        ("class", "predicted", *(("labelled", "right") if labelled else ())),
        [(f"{number} {name}", *(f"{one[key]:,}" for key in ("predicted", "labelled", "right") if key in one))
         for number, (name, one) in enumerate(numbers["classes"].items())],
    )  # fmt: skip


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _examples(parts: _Parts) -> list[dict[str, Any]]:
    verdicts, looks = parts.verdicts, parts.looks
    found = examples_of(verdicts, looks)
    parts.pages.report.heading("What the network looks at")
    truth = " Orange: known to be of another class." if verdicts.label_column else ""
    cells, field = looks.attention.shape[-1], parts.twin.card.field
    lines = len({one.number for one in found})
    parts.pages.draw(
        "examples", (13.5, 0.35 + 2.13 * lines),
        f"The galaxies of {parts.asked.sample} that are most surely of each predicted class, north up, {field:.0f} arcsec "
        f"wide, with the probability of the class.{truth} Beside each: the weights with which the last maps are pooled "
        f"({cells} x {cells} cells; orange: much, each on its own scale) and their centroid (cross); and the local attention, "
        "averaged over channels (blue: much, one scale for all).",
        lambda figure: examples_figure(found, looks, figure),
    )  # fmt: skip
    return [_told(one, parts) for one in found]


def _told(example: Example, parts: _Parts) -> dict[str, Any]:
    verdicts, looks, at = parts.verdicts, parts.looks, example.place
    row, scale, size = int(looks.rows[at]), parts.twin.card.pixel_scale or 1.0, looks.images.shape[1]
    x, y = centroid(looks.attention[at], size)
    told: dict[str, Any] = {
        "row": row, "class": NAMES[example.number], "probability": float(verdicts.probability[row, example.number]),
        "attention": looks.attention[at].tolist(), "lam": looks.lam[at].tolist(), "centroid_px": [x, y],
        "centroid_east_north_arcsec": [((size - 1) / 2 - x) * scale, (y - (size - 1) / 2) * scale],
    }  # fmt: skip
    return told | ({"truth": NAMES[verdicts.truth[row]]} if verdicts.truth[row] >= 0 else {})


def _branches(parts: _Parts, numbers: Numbers) -> None:
    parts.pages.report.heading("How large its kernels are")
    use = numbers["classes"]
    parts.pages.draw(
        "kernels", (13.5, 1.7 + 0.5 * len(use)),
        "Each block weighs small, medium and large kernels (3, 5 and 7 cells wide), channel by channel: shares averaged "
        f"over channels and blocks, for up to {PER_CLASS} galaxies of each predicted class in {parts.asked.sample} (numbers "
        "in brackets). Marks: mean; bars: scatter of the galaxies (standard deviation); dotted: all sizes alike.",
        lambda figure: branches_figure(use, figure),
    )  # fmt: skip


def _confusion(parts: _Parts, numbers: Numbers) -> None:
    pages, own, card = parts.pages, numbers["quality"], numbers["quality_of_the_card"]
    pages.report.heading("How often it is right")
    shown, where = (own, parts.asked.sample) if own else (card, card["sample"] if card else "")
    if not own:
        pages.report.text(
            "No galaxy of this sample has a label. "
            + (f"What follows is told by the model's card, measured on {where} through the front {card['front']}." if card
               else "The model's card tells no confusion matrix either.")
        )  # fmt: skip
    if not shown:
        return
    pages.report.table(
        ("sample", "galaxies", "accuracy", "macro F1", "calibration error"),
        [(f"{one['sample']} (card)" if one is card else parts.asked.sample, f"{one['objects']:,}",
          *(f"{one[name]:.3f}" if name in one else "" for name in ("accuracy", "macro_f1", "calibration_error")))
         for one in (own, card) if one],
    )  # fmt: skip
    matrix: NDArray[np.int64] = np.array(shown["confusion"])
    pages.draw("confusion", (9.6, 7.6), f"Confusion matrix on {where}: numbers are galaxies, colours shares of the true class.",
               lambda figure: confusion_figure(matrix, figure))  # fmt: skip
    if own:
        pages.draw(
            "reliability", (6.6, 5.6),
            f"Reliability on {where}: points on the line are as often right as the probability says. Calibration error (mean "
            f"distance from the line, weighted by galaxies): {own['calibration_error']:.3f}. Bars: 68 % of a binomial share.",
            lambda figure: reliability_figure(own["reliability"], figure),
        )  # fmt: skip


def _dreams(parts: _Parts, asked: dreams.Asked) -> Numbers:
    """Dream, and add to the page what came of it."""
    verdicts, looks, twin = parts.verdicts, parts.looks, parts.twin
    rows = {
        number: int(found[0]) for number in range(len(NAMES)) if len(found := verdicts.surest(number, right_first=True))
    }
    inputs = {number: looks.inputs[looks.at(np.array([row]))[0]] for number, row in rows.items()}
    bounds = valid_range(twin.pixels)
    made = gather(dream_all(parts.pages.folder / dreams.FOLDER, twin, bounds, inputs, asked), inputs, bounds)
    settings = asked.settings
    numbers: Numbers = {
        "settings": asdict(settings), "sizes": list(settings.kept), "layers": list(asked.layers), "channel": asked.channel,
        "left_out": verdicts.absent,
        "inputs": {NAMES[number]: {"row": row, "probability": float(verdicts.probability[row, number]),
                                   **({"right": bool(verdicts.truth[row] == number)} if verdicts.truth[row] >= 0 else {})}
                   for number, row in rows.items()},
        "traces": {NAMES[number]: {layer: {str(size): made.traces[Wish(number, layer), size].tolist() for size in settings.kept}
                                   for layer in asked.layers} for number in rows},
        "ratios": {layer: {str(size): _ratio(made, list(rows), layer, size) for size in settings.kept} for layer in asked.layers},
    }  # fmt: skip
    _draw_dreams(parts, asked, made, numbers)
    return numbers


def _ratio(made: Gathered, classes: list[int], layer: str, size: int) -> dict[str, list[float]]:
    """Median and range over the classes of a ratio of powers."""
    found = [made.ratios[Wish(number, layer), size] for number in classes]
    each = np.stack([one.power for one in found])
    seen = np.isfinite(each).all(0)
    values = {"frequency": found[0].frequency, "median": np.median(each, 0), "low": each.min(0), "high": each.max(0)}
    return {name: [float(f"{value:.5g}") for value in one[seen]] for name, one in values.items()}


def _draw_dreams(parts: _Parts, asked: dreams.Asked, made: Gathered, numbers: Numbers) -> None:
    pages, settings, sample = parts.pages, asked.settings, parts.asked.sample
    pages.report.heading("What the network dreams of")
    grown = ("the class's logit" if asked.layers == (dreams.LOGIT,)
             else "half the mean square of " + ("a layer's maps" if asked.channel is None else f"channel {asked.channel} of a layer"))  # fmt: skip
    right = ", of those that belong to it where there are any" if parts.verdicts.label_column else ""
    pages.report.text(
        f"DeepDream changes an image so that {grown}, J, grows: what appears is what that part of the network answers to. "
        f"Each dream begins with the galaxy of {sample} most surely of the predicted class{right}, enlarged to each size in "
        f"turn; {2 * settings.steps} steps a size, the first half on a smaller copy."
    )
    if parts.verdicts.absent:
        pages.report.text(f"Left out, as no galaxy is predicted as such: {', '.join(parts.verdicts.absent)}.")
    if settings.left_out:
        told = " and ".join(map(str, settings.left_out))
        pages.report.text(f"Larger dreams, {told} px, were left out: ask for them with --max-size.")
    columns, lines = 1 + len(asked.layers), len(made.inputs)
    for size in settings.kept:
        pages.draw(f"dreams-{size}", (2.05 * columns + 0.5, 2.07 * lines + 0.35),
                   f"Dreams at {size} px of galaxies of {sample}, north up.",
                   partial(grid_figure, made, asked.layers, size))  # fmt: skip
    pages.draw("traces", (1.2 + 2.6 * len(asked.layers) if len(asked.layers) > 1 else 6.0, 4.4),
               f"J before each step, class by class, for galaxies of {sample}. At each size the first half of the steps is on "
               "the smaller copy; a line breaks where the copy changes.",
               lambda figure: traces_figure(made, asked.layers, figure))  # fmt: skip
    side = parts.looks.images.shape[1]
    pages.draw("spectra", (1.0 + 4.4 * len(settings.kept), 4.6),
               f"Which scales the dreams changed: their radial power spectra over those of their inputs, enlarged alike, from "
               f"{sample}. Lines: median of the classes; bands: their range. Right of the dashed line the input has no detail of "
               f"its own ({side} px wide before it was enlarged).",
               lambda figure: spectra_figure(numbers["ratios"], side, figure))  # fmt: skip
