"""What ``galcli experiment dmagnet-table`` writes, read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from galcli.predict.classes import scores
from galcli.training.galaxy10 import NAMES

_NAME, _BLOCK = 24, 21


def lines_of(text: str, title: str) -> list[str]:
    """Lines of the table of ``table.txt`` whose title begins so, without the title."""
    (found,) = (part.splitlines()[1:] for part in text.split("\n\n") if part.startswith(title))
    return found


def check_agreement(text: str, result: dict[str, Any]) -> None:
    """Every figure of ``table.txt`` is that of ``result.json``, and in it the mean of the trainings."""
    front, networks = result["front"], result["networks"]
    seen = [one["fronts"][front] for one in networks]
    several = len(networks[0]["trainings"]) > 1
    told = f"mean of {len(networks[0]['trainings'])} trainings" if several else "one training"
    assert result["figures"] == told
    assert text.count(told) >= 3
    _check_metrics(lines_of(text, f"Metrics on unseen galaxies (front {front}; {told})")[2:], result, seen, several)
    for one, line in zip(networks, lines_of(text, "Networks")[1:], strict=False):
        figures = zip(_main(one["fronts"][front]), _main(one["fronts"][front]["standard_deviation"]), strict=True)
        assert line.startswith(one["network"])
        assert "".join(f"{_with(mean, deviation):>17}" for mean, deviation in figures) in line
    _check_fronts(lines_of(text, "Accuracy, macro F1"), networks, several)
    matrix = lines_of(text, f"Confusion matrix of dmagnet (front {front}; galaxies, {told}")[1:]
    for line, row in zip(matrix, seen[0]["mean_confusion"], strict=True):
        assert line[_NAME:].split() == [f"{count:.{1 if several else 0}f}" for count in row]
    for one in networks:
        for name, summary in one["fronts"].items():
            _check_means(summary, [run["fronts"][name] for run in one["trainings"]])


def _with(mean: float, deviation: float | None) -> str:
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} +-{deviation:.4f}"


def _main(figures: dict[str, Any] | None) -> list[float | None]:
    if figures is None:
        return [None] * 3
    return [figures["accuracy"], figures["macro"]["f1"], figures["calibration_error"]]


def _rows(figures: dict[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """Name and figures of each line of a table of metrics."""
    for name, values in (*figures["classes"].items(), ("Macro avg.", figures["macro"])):
        yield name, [values[key] for key in ("precision", "recall", "f1")]
    yield "Weighted avg.", list(figures["weighted"].values())
    yield "Accuracy", [figures["accuracy"]]


def _check_metrics(lines: list[str], result: dict[str, Any], seen: list[dict[str, Any]], several: bool) -> None:
    places = {line[:_NAME].strip(): number for number, line in enumerate(lines)}
    ours, scatter = [dict(_rows(one)) for one in seen], []
    if several:
        scatter = [dict(_rows(one["standard_deviation"])) for one in seen]
    for name, paper in _rows(result["published"]):
        number = places[name]
        each = [f"{value:.2f}" for one in ({name: paper}, *ours) for value in one[name]]
        support = [
            one["classes"][name]["support"] if name in NAMES else one["objects"]
            for one in (result["published"], seen[0])
        ]
        assert lines[number][_NAME:].split() == [*each, *map(str, support)], name
        if several:
            assert lines[number + 1].split() == ["+-", *(f"{value:.3f}" for one in scatter for value in one[name])]
    assert len(lines) == (1 + several) * (len(NAMES) + 3)


def _check_fronts(lines: list[str], networks: list[dict[str, Any]], several: bool) -> None:
    fronts = networks[0]["fronts"]
    assert lines[0].split() == " ".join(f"{name} ({one['objects']:,})" for name, one in fronts.items()).split()
    for number, one in enumerate(networks):
        place = 2 + number * (1 + several)
        means = [f"{value:.4f}" for front in fronts for value in _main(one["fronts"][front])]
        assert lines[place].split() == [one["network"], *means]
        if several:
            each = [value for front in fronts for value in _main(one["fronts"][front]["standard_deviation"])]
            assert lines[place + 1].split() == ["+-", *(f"{value:.4f}" for value in each)]


def _check_means(summary: dict[str, Any], trainings: list[dict[str, Any]]) -> None:
    """Figures of a front are means over the trainings, supports those of the galaxies."""
    matrices = [np.array(one["confusion"]) for one in trainings]
    each = [scores(matrix) for matrix in matrices]
    supports = [one["support"] for one in summary["classes"].values()]
    assert sum(supports) == summary["objects"]
    for matrix in (*matrices, np.array(summary["mean_confusion"])):
        np.testing.assert_allclose(matrix.sum(1), supports)
    np.testing.assert_allclose(summary["mean_confusion"], np.mean(matrices, axis=0))
    assert [one["macro_f1"] for one in trainings] == [one.macro[2] for one in each]
    known = {name: [one.f1[number] for one in each] for number, name in enumerate(NAMES)}
    known |= {"accuracy": [one["accuracy"] for one in trainings], "macro": [one["macro_f1"] for one in trainings]}
    known |= {"error": [one["calibration_error"] for one in trainings]}
    np.testing.assert_allclose(_f1(summary), [np.mean(values) for values in known.values()], rtol=1e-12)
    if len(trainings) == 1:
        assert summary["standard_deviation"] is None
    else:
        deviations = [np.std(values, ddof=1) for values in known.values()]
        np.testing.assert_allclose(_f1(summary["standard_deviation"]), deviations, rtol=1e-9, atol=1e-15)


def _f1(figures: dict[str, Any]) -> list[float]:
    classes = [one["f1"] for one in figures["classes"].values()]
    return [*classes, figures["accuracy"], figures["macro"]["f1"], figures["calibration_error"]]
