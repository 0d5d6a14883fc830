"""The tables of the paper of DMAGNet as text and JSON, ours beside theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.predict.classes import ClassScores, scores
from galcli.training.classification import BINS
from galcli.training.experiments.dmagnet_measure import Outcome
from galcli.training.experiments.dmagnet_published import PAPER, ROWS, TEST, TRAINING, VALIDATION, corrected, published
from galcli.training.galaxy10 import NAMES

#: The network of the paper, and its parameters.
OURS, PARAMETERS = "dmagnet", 23_820_811
#: Names of the classes above the columns of a confusion matrix.
SHORT = ("D", "M", "RS", "IRS", "CS", "BS", "UTS", "ULS", "EwoB", "EwB")
#: Widths of the columns of classes, of networks, and of what belongs to one network.
_NAME, _NETWORK, _BLOCK = 24, 10, 21
#: Widths of the columns of what a network costs and is worth.
_COSTS = (12, 15, 10, 12, 17, 17, 17)
_PAPER = "paper, corrected"


def describe_sample(settings: Mapping[str, Any]) -> str:
    """Which galaxies the figures were measured on."""
    return (
        f"{'MOCK: ' if settings['mock'] else ''}{settings['unseen']:,} {settings['measured_on']}; "
        f"{settings['learned_from']:,} others learned from; "
        f"{settings['size']} px of {settings['pixel_scale']:g} arcsec"
    )


def caveats(settings: Mapping[str, Any]) -> list[str]:
    """What keeps the figures from being held one to one against the published ones."""
    if settings["mock"]:
        return [
            "The galaxies are SIMULATED: figures of the mock survey cannot be held one to one against the published ones,",
            "which are of Galaxy10 DECaLS. Networks are compared with each other.",
        ]
    if not settings["galaxy10"]:
        return [
            "The galaxies are not those of the paper: compare networks with each other, not with the published one."
        ]
    found = ["The sizes of the split are the published ones; which galaxies are tested was not published."]
    if settings["unseen"] != TEST:
        found = [f"{settings['unseen']:,} galaxies are tested, not the {TEST:,} of the paper."]
    if settings["preset"] != "published":
        found.append(f"The images are {settings['size']} px and the training is shorter than published.")
    return found


def main_front(outcomes: Mapping[str, Outcome]) -> str:
    """The way of seeing that the tables are of: display images, which the paper classified, where they are known."""
    return list(next(iter(outcomes.values())).fronts)[-1]


def as_text(settings: Mapping[str, Any], outcomes: Mapping[str, Outcome], machine: str) -> str:
    """The tables, in words.

    Parameters
    ----------
    settings : mapping
        Of the experiment.
    outcomes : mapping of str to Outcome
        By network.
    machine : str
        What the speed was measured on.

    Returns
    -------
    str
    """
    front = main_front(outcomes)
    lines = [
        PAPER, f"on {describe_sample(settings)}", *caveats(settings),
        "", "Training protocol", *_protocol(settings, outcomes),
        "", f"Metrics on unseen galaxies (front {front})", *_metrics(outcomes, front),
        "", "Networks", *_networks(settings, outcomes, front, machine),
        "", "Accuracy, macro F1 and calibration error through every front", *_fronts(outcomes),
        "", f"Confusion matrix of {OURS} (front {front}; rows are true classes)", *_confusion(outcomes[OURS], front),
        "", "The paper's rows carry the names of other classes; their supports tell which they are of:",
        *(f"  {row.label + f' ({row.support})':32}is {row.true}" for row in ROWS),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _protocol(settings: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """The paper's training and ours, which is the same for every network."""
    plan, seen = settings["plan"], outcomes[OURS].metrics[0]
    variety = plan["variety"]
    sizes = " then ".join(f"{stage['size']} px of {stage['pixel_scale']:g} arcsec" for stage in plan["stages"])
    others = [f"{name} {value:g}" for name, value in variety.items()
              if name not in ("turn", "contrast") and value != (name == "zoom")]  # fmt: skip
    ours = settings["learned_from"], settings["validated_on"], settings["unseen"]
    yield f"{'':30}{'paper':34}here, every network"
    for what, paper, here in (
        ("galaxies", "Galaxy10 DECaLS", settings["survey"] or f"mock survey, seed {settings['seed']}"),
        ("training, validation, test", f"{TRAINING:,}, {VALIDATION:,}, {TEST:,}", ", ".join(f"{n:,}" for n in ours)),
        ("images", "256 px, colour", sizes),
        ("seen as", "display images", ", ".join(outcomes[OURS].fronts)),
        ("turns and flips", "any angle, both axes", "any angle, both axes"),
        ("brightness, contrast", "within 10 %", f"within {variety['contrast']:.0%} (display images)"),
        ("other augmentation", "none told", ", ".join(others) or "none"),
        ("loss", "not told", "cross-entropy"),
        ("optimiser", "not told", f"AdamW, weight decay {plan['weight_decay']:g}"),
        ("learning rate", "not told", f"{plan['lr']:g} after warm-up, cosine to 1e-06"),
        ("batch", "not told", str(plan["batch"])),
        ("trainings of each network", "1", str(len(outcomes[OURS].runs))),
        ("images seen", "not told", f"{seen['images']:,} ({seen['images'] / settings['learned_from']:.1f} epochs)"),
        ("weights kept", "not told", "of the epoch with the best macro F1 on validation"),
    ):
        yield f"  {what:28}{paper:34}{here}"


def _metrics(outcomes: Mapping[str, Outcome], front: str) -> Iterator[str]:
    """Table 3: precision, recall, F1 and support."""
    each = {_PAPER: published()}
    each |= {network: scores(one.fronts[front].confusion) for network, one in outcomes.items()}
    ours, runs = each[OURS], len(outcomes[OURS].runs)
    yield " " * _NAME + "".join(f"  {name:{_BLOCK - 2}}" for name in each) + f"{'support':>12}"
    heads = f"{'prec.':>6}{'rec.':>6}{'F1':>6}"
    yield f"{'class':{_NAME}}" + f"{heads:{_BLOCK}}" * len(each) + f"{'paper':>6}{'here':>6}"
    for number, name in enumerate(NAMES):
        cells = ((one.precision[number], one.recall[number], one.f1[number]) for one in each.values())
        support = f"{each[_PAPER].support[number]:6d}{ours.support[number] // runs:6d}"
        yield f"{name:{_NAME}}" + "".join(map(_three, cells)) + support
    total = f"{TEST:6d}{ours.support.sum() // runs:6d}"
    yield f"{'Accuracy':{_NAME}}" + "".join(f"{f'{one.accuracy:18.2f}':{_BLOCK}}" for one in each.values()) + total
    yield f"{'Macro avg.':{_NAME}}" + "".join(_three(one.macro) for one in each.values()) + total
    yield f"{'Weighted avg.':{_NAME}}" + "".join(_three(one.weighted) for one in each.values()) + total


def _three(values: tuple[float, float, float]) -> str:
    return f"{''.join(f'{value:6.2f}' for value in values):{_BLOCK}}"


def _networks(settings: Mapping[str, Any], outcomes: Mapping[str, Outcome], front: str, machine: str) -> Iterator[str]:
    """What each costs and what it is worth."""
    heads = ("parameters", "multiply-adds", "images/s", "training", "accuracy", "macro F1", "ECE")
    yield _line("network", heads)
    for network, one in outcomes.items():
        minutes = sum(metrics["seconds"] for metrics in one.metrics) / 60
        cells = (
            f"{one.parameters:,}", f"{one.multiply_adds / 1e9:.4f} G", f"{one.images_per_second:,.0f}",
            f"{minutes:.1f} min", *(_with_error(values) for values in one.each(front).T),
        )  # fmt: skip
        yield _line(network, cells)
    paper = published()
    cells = (f"{PARAMETERS:,}", "-", "-", "-", f"{paper.accuracy:.4f}", f"{paper.macro[2]:.4f}", "-")
    yield _line("paper", cells)
    yield f"multiply-adds (two FLOPs each) of one image of {settings['size']} px, in convolutions and matrix products;"
    yield f"images/s: forward, float32, batches of {settings['plan']['batch']}, the networks in turn, on {machine};"
    yield f"ECE: expected calibration error, {BINS} bins, before any temperature"
    if len(next(iter(outcomes.values())).runs) > 1:
        yield "+-: standard deviation of the trainings, which differ in weights and order; the galaxies are the same"
    else:
        yield "one training each: how much of a difference is chance, --seeds tells"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:{_NETWORK}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _COSTS, strict=True))


def _with_error(values: NDArray[np.float64]) -> str:
    """Mean and standard deviation over the trainings; the value where there is one."""
    return f"{values[0]:.4f}" if len(values) == 1 else f"{values.mean():.4f} +-{values.std(ddof=1):.4f}"


def _fronts(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    seen = outcomes[OURS].fronts
    names = (f"{front} ({one.confusion.sum():,})" for front, one in seen.items())
    yield " " * _NETWORK + "".join(f"{name:>26}" for name in names)
    yield f"{'network':{_NETWORK}}" + f"{'acc.':>10}{'F1':>8}{'ECE':>8}" * len(seen)
    for network, one in outcomes.items():
        line = ""
        for front in seen:
            figures = scores(one.fronts[front].confusion)
            line += f"{figures.accuracy:10.4f}{figures.macro[2]:8.4f}{one.fronts[front].calibration_error:8.4f}"
        yield f"{network:{_NETWORK}}{line}"


def _confusion(one: Outcome, front: str) -> Iterator[str]:
    yield f"{'':{_NAME}}" + "".join(f"{name:>6}" for name in SHORT)
    for name, row in zip(NAMES, one.fronts[front].confusion, strict=True):
        yield f"{name:{_NAME}}" + "".join(f"{count:6d}" for count in row)


def as_json(settings: Mapping[str, Any], outcomes: Mapping[str, Outcome], machine: str) -> dict[str, Any]:
    """Everything the tables were made from.

    Parameters
    ----------
    settings, outcomes, machine
        As for `as_text`.

    Returns
    -------
    dict
    """
    return {
        "experiment": "dmagnet-table", "paper": PAPER, "sample": describe_sample(settings), "mock": settings["mock"],
        "caveats": " ".join(caveats(settings)), "settings": dict(settings), "machine": machine,
        "classes": list(NAMES), "front": main_front(outcomes),
        "published": {
            "parameters": PARAMETERS, **_figures(published()), "confusion": corrected().tolist(),
            "printed_as": {row.true: row.label for row in ROWS},
        },
        "networks": [
            {
                "network": network, "parameters": one.parameters, "multiply_adds": one.multiply_adds,
                "flops": 2 * one.multiply_adds, "images_per_second": round(one.images_per_second, 1),
                "fronts": {
                    front: _figures(scores(seen.confusion))
                    | {"calibration_error": seen.calibration_error, "confusion": seen.confusion.tolist()}
                    for front, seen in one.fronts.items()
                },
                "trainings": [
                    {"seed": metrics["training"]["seed"]} | {name: metrics[name] for name in ("seconds", "images", "curve")}
                    | {"fronts": {front: dict(zip(("accuracy", "macro_f1", "calibration_error"), values.tolist(), strict=True))
                                  for front in run for values in one.each(front)[number : number + 1]}}
                    for number, (metrics, run) in enumerate(zip(one.metrics, one.runs, strict=True))
                ],
            }
            for network, one in outcomes.items()
        ],
    }  # fmt: skip


def _figures(one: ClassScores) -> dict[str, Any]:
    averages = {"macro": one.macro, "weighted": one.weighted}
    columns = zip(NAMES, one.precision, one.recall, one.f1, one.support, strict=True)
    return {
        "accuracy": one.accuracy, "objects": int(one.support.sum()),
        **{name: dict(zip(("precision", "recall", "f1"), values, strict=True)) for name, values in averages.items()},
        "classes": {
            name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
            for name, precision, recall, f1, support in columns
        },
    }  # fmt: skip
