import dataclasses
import json

import numpy as np
import pytest

from galcli.predict.classes import scores
from galcli.training.experiments.dmagnet_figure import draw
from galcli.training.experiments.dmagnet_measure import Outcome, Seen
from galcli.training.experiments.dmagnet_published import ROWS, corrected, published
from galcli.training.experiments.dmagnet_report import as_json, as_text
from galcli.training.recipes.dmagnet_plan import PRESETS
from tests.training.experiments.dmagnet_tables import check_agreement, lines_of


def outcome(*matrices):
    """A network whose trainings saw these confusion matrices."""
    metrics = [
        {
            "seconds": 90.0 * (1 + number),
            "images": 3 * 11_487,
            "curve": [{"macro_f1": 0.5}],
            "training": {"seed": number},
        }
        for number in range(len(matrices))
    ]
    runs = tuple({"display": Seen(np.asarray(matrix), 0.01 * (1 + number))} for number, matrix in enumerate(matrices))
    return Outcome(runs, 23_820_811, 595_478_272, 100.0, tuple(metrics))


def settings(**changes):
    return {
        "preset": "published", "plan": dataclasses.asdict(PRESETS["published"]), "seed": 1, "mock": False,
        "survey": "Galaxy10_DECals.h5", "galaxy10": True, "learned_from": 11_487, "validated_on": 1_276,
        "unseen": 3_194, "measured_on": "test galaxies of Galaxy10_DECals.h5", "size": 256, "pixel_scale": 0.262,
    } | changes  # fmt: skip


def test_the_published_matrix_gives_the_published_table():
    outcomes = {"dmagnet": outcome(corrected()), "perfect": outcome(np.diag(corrected().sum(1)))}
    text = as_text(settings(), outcomes, "a machine")
    for row in ROWS:
        line = next(line for line in text.splitlines() if line.startswith(f"{row.true:24}"))
        figures = [f"{value:.2f}" for value in (row.precision, row.recall, row.f1)]
        assert line[24:].split() == figures * 2 + ["1.00"] * 3 + [str(row.support)] * 2
    assert "34,461 (3.0 epochs)" in text
    assert "The sizes of the split are the published ones" in text
    assert "MOCK" not in text
    assert "SIMULATED" not in text
    assert max(map(len, text.splitlines())) <= 120
    given = as_json(settings(), outcomes, "a machine")
    assert json.loads(json.dumps(given))["networks"][1]["fronts"]["display"]["macro"]["f1"] == 1.0
    assert draw(settings(), outcomes).get_suptitle().startswith("3,194 test galaxies")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mock": True, "survey": None}, "SIMULATED"),
        ({"galaxy10": False, "survey": "my.fits"}, "not those of the paper"),
        ({"unseen": 12}, "12 galaxies are tested, not the 3,194"),
        ({"preset": "quick", "size": 64}, "64 px, not 256"),
        ({"preset": "quick", "size": 64}, "length and optimiser of the training are ours"),
        ({}, "as far as published; its length and optimiser are ours"),
    ],
)
def test_what_differs_from_the_paper_is_told_everywhere(changes, words):
    outcomes = {"dmagnet": outcome(corrected())}
    assert words in as_text(settings(**changes), outcomes, "a machine")
    assert words in as_json(settings(**changes), outcomes, "a machine")["caveats"]
    assert words in draw(settings(**changes), outcomes).get_supxlabel()


def test_trainings_count_once_and_every_figure_is_their_mean():
    perfect = np.diag(corrected().sum(1))
    outcomes = {"dmagnet": outcome(corrected(), corrected(), perfect), "other": outcome(perfect, perfect, perfect)}
    text, given = as_text(settings(), outcomes, "a machine"), as_json(settings(), outcomes, "a machine")
    check_agreement(text, json.loads(json.dumps(given)))
    found = given["networks"][0]["fronts"]["display"]
    assert found["objects"] == 3_194
    assert found["classes"]["Barred Spiral"]["support"] == 368
    assert found["accuracy"] == pytest.approx((2 * 2763 / 3194 + 1) / 3)
    assert found["standard_deviation"]["accuracy"] == pytest.approx((1 - 2763 / 3194) / 3**0.5)
    mean, summed = (2 * published().macro[2] + 1) / 3, scores(2 * corrected() + perfect).macro[2]
    assert found["macro"]["f1"] == pytest.approx(mean)
    assert abs(mean - summed) > 1e-4, "the summed matrix would give another"
    assert lines_of(text, "Networks")[1].count(f"{mean:.4f} +-") == 1
    assert " 3.0 min" in lines_of(text, "Networks")[1]  # of one training: 1.5, 3 and 4.5
    assert given["networks"][1]["fronts"]["display"]["standard_deviation"]["macro"]["f1"] == 0
    assert max(map(len, text.splitlines())) <= 120


def test_the_figure_says_of_how_many_trainings_it_is():
    perfect = np.diag(corrected().sum(1))
    figure = draw(settings(), {"dmagnet": outcome(corrected(), perfect)})
    left, right = figure.axes
    assert right.get_title() == "dmagnet: whole galaxies, mean of 2 trainings;\ncolours are shares of the true class"
    assert figure.get_suptitle().endswith("mean of 2 trainings")
    counts = np.array([int(text.get_text()) for text in right.texts]).reshape(10, 10)
    np.testing.assert_allclose(counts, (corrected() + perfect) / 2, atol=0.5)
    mean, deviation = (published().macro[2] + 1) / 2, (1 - published().macro[2]) / 2**0.5
    assert f"dmagnet: macro F1 {mean:.3f} +-{deviation:.3f}" in [one.get_text() for one in left.get_legend().texts]
    (marks,) = left.containers
    ends = np.array([segment[:, 0] for segment in marks.lines[2][0].get_segments()])
    np.testing.assert_allclose(np.diff(ends)[:, 0] / 2, (1 - published().f1) / 2**0.5)
    (alone,) = draw(settings(), {"dmagnet": outcome(corrected())}).axes[0].containers
    assert not alone.has_xerr
