"""``galcli explain dmagnet``: what a network of galaxy morphology looks at and dreams of, on one page (models.md 5.4, 5.5)."""

from __future__ import annotations

from collections.abc import Mapping
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
from galcli.training.interpret import dmagnet_dream_figures as figures
from galcli.training.interpret import dmagnet_dreams as dreams
from galcli.training.interpret.dmagnet_dream_figures import Gathered
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
from galcli.training.interpret.dmagnet_numbers import SAME, Numbers, counts, kernels, quality, quality_of_card, variety
from galcli.training.interpret.dmagnet_seen import PER_CLASS, Beginning, Looks, Verdicts, judge, look_at
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
    """The page, and what it is about; ``mock`` as `mock_words`."""

    pages: Pages
    mock: list[str]
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
    mock = mock_words(verdicts.mock, card.training.mock)
    parts = _Parts(Pages(folder, title, mock), mock, asked, twin, verdicts, looks)
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
        "variety": variety(parts.looks),
    }  # fmt: skip
    _head(parts, numbers)
    numbers["examples"] = _examples(parts, numbers["variety"])
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
    if absent := parts.verdicts.absent:
        report.text(f"No galaxy of this sample is predicted as {_listed(absent)}: left out of the next two parts.")
    labelled = bool(sample["labelled"])
    report.table(
        ("class", "predicted", *(("labelled", "right") if labelled else ())),
        [(f"{number} {name}", *(f"{one[key]:,}" for key in ("predicted", "labelled", "right") if key in one))
         for number, (name, one) in enumerate(numbers["classes"].items())],
    )  # fmt: skip


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _examples(parts: _Parts, different: Numbers) -> list[dict[str, Any]]:
    verdicts, looks = parts.verdicts, parts.looks
    found = examples_of(verdicts, looks)
    parts.pages.report.heading("What the network looks at")
    truth = " Orange: known to be of another class." if verdicts.label_column else ""
    cells = looks.attention.shape[-1]
    wide = f"{parts.twin.card.field:.0f} arcsec wide" if verdicts.scaled else "from edge to edge, of unknown scale"
    lines = len({one.number for one in found})
    parts.pages.draw(
        "examples", (13.5, 0.35 + 2.13 * lines),
        f"The galaxies of {parts.asked.sample} that are most surely of each predicted class, north up, {wide}, "
        f"with the probability of the class.{truth} Beside each: the weights with which the last maps are pooled "
        f"({cells} x {cells} cells; orange: much, each on its own scale) and their centroid (cross); and the local attention, "
        "averaged over channels (blue: much, one scale for all).",
        lambda figure: examples_figure(found, looks, figure),
    )  # fmt: skip
    _tell_variety(parts, different)
    return [_told(one, parts) for one in found]


def _tell_variety(parts: _Parts, different: Numbers) -> None:
    place, lam = different["centroid_percent"], different["lam_percent"]
    parts.pages.report.text(
        f"From galaxy to galaxy the centroid scatters by {place:.2g} % of the field, the local attention by {lam:.2g} % of "
        f"its mean. What scatters by less than {SAME:g} % tells next to nothing of a galaxy.",
        warning=min(place, lam) < SAME,
    )


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
    verdicts, looks, twin, folder = parts.verdicts, parts.looks, parts.twin, parts.pages.folder
    begun = {number: verdicts.beginning(number) for number in range(len(NAMES))}
    inputs = {number: looks.inputs[looks.at(np.array([one.row]))[0]] for number, one in begun.items()}
    bounds = valid_range(twin.pixels)
    made = figures.gather(dream_all(folder / dreams.FOLDER, twin, bounds, inputs, asked), inputs, bounds, folder / figures.FOLDER,
                  f"Dream of model {twin.card.name} {twin.card.version}, {twin.file.sha256[:12]}. {' '.join(parts.mock)}".strip())  # fmt: skip
    settings = asked.settings
    numbers: Numbers = {
        "settings": asdict(settings), "sizes": list(settings.kept), "targets": list(asked.targets),
        "logit": asked.logit, "channel": asked.channel,
        "inputs": {NAMES[number]: _begun(verdicts, number, one) for number, one in begun.items()},
        "traces": {NAMES[number]: {target: {str(size): made.traces[Wish(number, target), size].tolist() for size in settings.kept}
                                   for target in asked.targets} for number in begun},
        "ratios": {target: {str(size): _ratios(made, target, size) for size in settings.kept} for target in asked.targets},
    }  # fmt: skip
    _draw_dreams(parts, asked, made, begun)
    _draw_changes(parts, asked, made, numbers["ratios"])
    return numbers


def _begun(verdicts: Verdicts, number: int, one: Beginning) -> dict[str, Any]:
    """What is known of the galaxy with which the dreams of a class begin."""
    told = {
        "row": one.row, "why": one.why, "probability": float(verdicts.probability[one.row, number]),
        "predicted": NAMES[verdicts.chosen[one.row]],
    }  # fmt: skip
    return told | ({"truth": NAMES[verdicts.truth[one.row]]} if verdicts.truth[one.row] >= 0 else {})


def _ratios(made: Gathered, target: str, size: int) -> Numbers:
    """Ratio of powers of each class and their median, at frequencies at which all inputs have power."""
    found = {number: made.ratios[Wish(number, target), size] for number in made.inputs}
    each = np.stack([one.power for one in found.values()])
    seen = np.isfinite(each).all(0)

    def short(values: NDArray[np.float64]) -> list[float]:
        return [float(f"{value:.5g}") for value in values[seen]]

    return {
        "frequency": short(next(iter(found.values())).frequency), "median": short(np.median(each, 0)),
        "classes": {NAMES[number]: short(power) for number, power in zip(found, each, strict=True)},
    }  # fmt: skip


def _draw_dreams(parts: _Parts, asked: dreams.Asked, made: Gathered, begun: Mapping[int, Beginning]) -> None:
    """The images."""
    pages, settings, sample, targets = parts.pages, asked.settings, parts.asked.sample, asked.targets
    pages.report.heading("What the network dreams of")
    grown = ("the class's logit" if asked.logit
             else "half the mean square of " + ("a layer's maps" if asked.channel is None else f"channel {asked.channel} of a layer"))  # fmt: skip
    pages.report.text(
        f"DeepDream changes an image so that {grown}, J, grows: what appears is what that part of the network answers to. "
        f"Each dream begins with a galaxy of {sample}, enlarged to each size in turn; {2 * settings.steps} steps a size, the "
        "first half on a smaller copy."
    )
    if settings.left_out:
        told = " and ".join(map(str, settings.left_out))
        pages.report.text(f"Larger dreams, {told} px, were left out: ask for them with --max-size.")
    why = _why(parts.verdicts, begun)
    for size in settings.kept:
        pages.draw(f"dreams-{size}", (2.05 * (1 + len(targets)) + 0.5, 2.07 * len(begun) + 0.35),
                   f"Dreams at {size} px of galaxies of {sample}, north up. {why}", partial(figures.grid_figure, made, targets, size))  # fmt: skip
    largest = settings.kept[-1]
    if largest > figures.THUMB:
        pages.draw("dreams-centres", figures.centres_size(made, targets),
                   f"The centres of the dreams at {largest} px of galaxies of {sample}, {figures.CENTRE} px wide: pixel by pixel, not "
                   "averaged as above, in 256 colours.", partial(figures.centres_figure, made, targets))  # fmt: skip
    pages.report.text(f"Each dream in full, pixel by pixel, as a PNG in the folder {figures.FOLDER} beside this page:")
    pages.report.links(
        ("class", *targets),
        [(NAMES[number], [(f"{largest} px", made.files[Wish(number, target)].relative_to(pages.folder).as_posix())
                          for target in targets]) for number in begun],
    )  # fmt: skip


def _why(verdicts: Verdicts, begun: Mapping[int, Beginning]) -> str:
    """Which galaxies the dreams begin with, in sentences."""
    right = ", of those that belong to it where there are any" if verdicts.label_column else ""
    told = f"Each line begins with the galaxy most surely predicted as the class{right}."
    for why, instead in (
        ("labelled", "with a galaxy that is labelled so"),
        ("likeliest", "with the galaxy to which the network gives the class the highest probability"),
    ):
        if found := [f"{NAMES[number]} ({100 * verdicts.probability[one.row, number]:.2g} %)"
                     for number, one in begun.items() if one.why == why]:  # fmt: skip
            told += f" No galaxy is predicted as {_listed(found)}: there it begins {instead} (in brackets: that probability)."
    return told


def _draw_changes(parts: _Parts, asked: dreams.Asked, made: Gathered, ratios: Numbers) -> None:
    """How J grew, and what changed on which scale."""
    pages, sample, targets = parts.pages, parts.asked.sample, asked.targets
    pages.draw("traces", figures.curves_size(targets, 1),
               f"J before each step, class by class, for galaxies of {sample}. At each size the first half of the steps is on "
               "the smaller copy; a line breaks where the copy changes.",
               lambda figure: figures.traces_figure(made, targets, figure))  # fmt: skip
    side = parts.looks.images.shape[1]
    pages.draw("spectra", figures.curves_size(targets, len(asked.settings.kept)),
               f"Which scales the dreams changed: their radial power spectra over those of their inputs, enlarged alike, from "
               f"{sample}. Colours: classes; black: their median. Right of the dashed line the input has no detail of "
               f"its own ({side} px wide before it was enlarged).",
               lambda figure: figures.spectra_figure(ratios, side, figure))  # fmt: skip
