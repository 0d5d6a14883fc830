"""The tables of the paper of DMAGNet as text and JSON, ours beside theirs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from galcli.predict.classes import ClassScores
from galcli.training.classification import BINS
from galcli.training.experiments.dmagnet_measure import Figures, Outcome, Seen, Summary
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
#: Lines below those of the classes, and below means.
_AVERAGES, _SCATTER = ("Accuracy", "Macro avg.", "Weighted avg."), "  +-"


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
    if settings["preset"] == "published":
        found.append("The training is as far as published; its length and optimiser are ours.")
    else:
        found.append(
            f"The images are {settings['size']} px, not 256, and are varied more than published; "
            "length and optimiser of the training are ours."
        )
    return found


def main_front(outcomes: Mapping[str, Outcome]) -> str:
    """The way of seeing that the tables are of: display images, which the paper classified, where they are known."""
    return list(next(iter(outcomes.values())).fronts)[-1]


def averaged(outcomes: Mapping[str, Outcome]) -> str:
    """Of how many trainings every figure of a network is."""
    count = len(outcomes[OURS].runs)
    return "one training" if count == 1 else f"mean of {count} trainings"


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
    front, mean = main_front(outcomes), averaged(outcomes)
    lines = [
        PAPER, f"on {describe_sample(settings)}", *caveats(settings),
        "", "Training protocol", *_protocol(settings, outcomes),
        "", f"Metrics on unseen galaxies (front {front}; {mean})", *_metrics(outcomes, front),
        "", "Networks", *_networks(settings, outcomes, front, machine),
        "", f"Accuracy, macro F1 and calibration error through every front ({mean})", *_fronts(outcomes),
        "", f"Confusion matrix of {OURS} (front {front}; galaxies, {mean}; rows are true classes)",
        *_confusion(outcomes[OURS].fronts[front]),
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
    """Table 3: precision, recall, F1 and support; below each line of several trainings, their standard deviations."""
    found = {network: one.fronts[front] for network, one in outcomes.items()}
    paper, ours = published(), found[OURS].mean.scores
    yield " " * _NAME + "".join(f"  {name:{_BLOCK - 2}}" for name in (_PAPER, *found)) + f"{'support':>12}"
    heads = f"{'prec.':>6}{'rec.':>6}{'F1':>6}"
    yield f"{'class':{_NAME}}" + f"{heads:{_BLOCK}}" * (1 + len(found)) + f"{'paper':>6}{'here':>6}"
    columns = [_rows(paper), *(_rows(one.mean.scores) for one in found.values())]
    scatter = [_rows(one.deviation.scores) for one in found.values() if one.deviation]
    for number, name in enumerate((*NAMES, *_AVERAGES)):
        support = "".join(f"{_supports(one)[number]:6d}" for one in (paper, ours))
        yield f"{name:{_NAME}}" + "".join(_block(column[number], 2) for column in columns) + support
        if scatter:
            yield f"{_SCATTER:{_NAME + _BLOCK}}" + "".join(_block(column[number], 3) for column in scatter).rstrip()


def _rows(one: ClassScores) -> list[Sequence[float]]:
    """Figures of every class, and of all."""
    classes = zip(one.precision, one.recall, one.f1, strict=True)
    return [*classes, (one.accuracy,), one.macro, one.weighted]


def _supports(one: ClassScores) -> list[int]:
    """Galaxies of every class, and all."""
    return [*one.support, *[one.support.sum()] * len(_AVERAGES)]


def _block(values: Sequence[float], digits: int) -> str:
    """Columns of one network; a single value stands below F1."""
    return f"{''.join(f'{value:6.{digits}f}' for value in values):>18}".ljust(_BLOCK)


def _networks(settings: Mapping[str, Any], outcomes: Mapping[str, Outcome], front: str, machine: str) -> Iterator[str]:
    """What each costs and what it is worth."""
    heads = ("parameters", "multiply-adds", "images/s", "training", "accuracy", "macro F1", "ECE")
    yield _line("network", heads)
    for network, one in outcomes.items():
        minutes = statistics.fmean(metrics["seconds"] for metrics in one.metrics) / 60
        cells = (
            f"{one.parameters:,}", f"{one.multiply_adds / 1e9:.4f} G", f"{one.images_per_second:,.0f}",
            f"{minutes:.1f} min", *_with_deviations(one.fronts[front]),
        )  # fmt: skip
        yield _line(network, cells)
    paper = published()
    cells = (f"{PARAMETERS:,}", "-", "-", "-", f"{paper.accuracy:.4f}", f"{paper.macro[2]:.4f}", "-")
    yield _line("paper", cells)
    yield f"multiply-adds (two FLOPs each) of one image of {settings['size']} px, in convolutions and matrix products;"
    yield f"images/s: forward, float32, batches of {settings['plan']['batch']}, the networks in turn, on {machine};"
    yield f"ECE: expected calibration error, {BINS} bins, before any temperature"
    if len(outcomes[OURS].runs) > 1:
        yield f"training, accuracy, macro F1, ECE: {averaged(outcomes)}, which differ in weights and order;"
        yield "+-: their standard deviation; the galaxies are the same"
    else:
        yield "one training each: how much of a difference is chance, --seeds tells"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:{_NETWORK}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _COSTS, strict=True))


def _with_deviations(one: Summary) -> Iterator[str]:
    deviations = [""] * 3 if one.deviation is None else [f" +-{value:.4f}" for value in one.deviation.main]
    for mean, deviation in zip(one.mean.main, deviations, strict=True):
        yield f"{mean:.4f}{deviation}"


def _fronts(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    seen = outcomes[OURS].fronts
    names = (f"{front} ({one.mean.scores.support.sum():,})" for front, one in seen.items())
    yield " " * _NETWORK + "".join(f"{name:>26}" for name in names)
    yield f"{'network':{_NETWORK}}" + f"{'acc.':>10}{'F1':>8}{'ECE':>8}" * len(seen)
    for network, one in outcomes.items():
        each = [one.fronts[front] for front in seen]
        yield f"{network:{_NETWORK}}" + "".join(_main(summary.mean) for summary in each)
        if scatter := [summary.deviation for summary in each if summary.deviation]:
            yield f"{_SCATTER:{_NETWORK}}" + "".join(map(_main, scatter))


def _main(one: Figures) -> str:
    accuracy, macro_f1, error = one.main
    return f"{accuracy:10.4f}{macro_f1:8.4f}{error:8.4f}"


def _confusion(one: Summary) -> Iterator[str]:
    digits = 0 if one.deviation is None else 1
    yield f"{'':{_NAME}}" + "".join(f"{name:>6}" for name in SHORT)
    for name, row in zip(NAMES, one.confusion, strict=True):
        yield f"{name:{_NAME}}" + "".join(f"{count:6.{digits}f}" for count in row)


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
        "classes": list(NAMES), "front": main_front(outcomes), "figures": averaged(outcomes),
        "published": {
            "parameters": PARAMETERS, **_figures(published()), "confusion": corrected().tolist(),
            "printed_as": {row.true: row.label for row in ROWS},
        },
        "networks": [
            {
                "network": network, "parameters": one.parameters, "multiply_adds": one.multiply_adds,
                "flops": 2 * one.multiply_adds, "images_per_second": round(one.images_per_second, 1),
                "fronts": {front: _summary(seen) for front, seen in one.fronts.items()},
                "trainings": [
                    {"seed": metrics["training"]["seed"]} | {name: metrics[name] for name in ("seconds", "images", "curve")}
                    | {"fronts": {front: _training(seen) for front, seen in run.items()}}
                    for metrics, run in zip(one.metrics, one.runs, strict=True)
                ],
            }
            for network, one in outcomes.items()
        ],
    }  # fmt: skip


def _figures(one: ClassScores) -> dict[str, Any]:
    figures = _values(one)
    for name, support in zip(NAMES, one.support, strict=True):
        figures["classes"][name]["support"] = int(support)
    return {"objects": int(one.support.sum())} | figures


def _values(one: ClassScores) -> dict[str, Any]:
    columns = zip(NAMES, one.precision.tolist(), one.recall.tolist(), one.f1.tolist(), strict=True)
    return {
        "accuracy": one.accuracy, "macro": _three(one.macro), "weighted": _three(one.weighted),
        "classes": {name: _three(values) for name, *values in columns},
    }  # fmt: skip


def _three(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1"), values, strict=True))


def _summary(one: Summary) -> dict[str, Any]:
    deviation = None
    if one.deviation is not None:
        deviation = _values(one.deviation.scores) | {"calibration_error": one.deviation.calibration_error}
    return _figures(one.mean.scores) | {
        "calibration_error": one.mean.calibration_error, "standard_deviation": deviation,
        "mean_confusion": one.confusion.tolist(),
    }  # fmt: skip


def _training(one: Seen) -> dict[str, Any]:
    main = zip(("accuracy", "macro_f1", "calibration_error"), one.figures.main, strict=True)
    return dict(main) | {"confusion": one.confusion.tolist()}
