"""Parts of the report of a DMAGNet, with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from galcli.training.interpret.dmagnet_figures import centroid, spread
from galcli.training.interpret.dmagnet_numbers import reliability, variety
from galcli.training.interpret.dmagnet_seen import PER_CLASS, Looks, Verdicts


def test_surest_and_spread() -> None:
    chosen = np.array([1, 1, 0, 1, -1, 1])
    probability = np.zeros((6, 10), np.float32)
    probability[:, 1] = (0.5, 0.9, 0.99, 0.7, 1, 0.7)
    truth = np.array([1, 2, 1, 1, 1, -1])
    verdicts = Verdicts(None, "f", chosen, probability, truth, "t", False)  # type: ignore[arg-type]
    assert verdicts.surest(1).tolist() == [1, 3, 5, 0]
    assert verdicts.surest(1, right_first=True).tolist() == [3, 0, 1, 5]
    assert verdicts.surest(4).tolist() == verdicts.spread(4).tolist() == []
    assert verdicts.compared.tolist() == [0, 1, 2, 3]
    assert "Merging" not in verdicts.absent
    assert len(verdicts.absent) == 8
    many = replace(verdicts, chosen=np.arange(1000) % 2)
    taken = many.spread(1)
    assert len(taken) == PER_CLASS
    assert taken[[0, -1]].tolist() == [1, 999]
    assert (np.diff(taken) > 20).all()


def test_every_class_has_a_galaxy_to_begin_with() -> None:
    chosen = np.array([1, 1, 0, -1, 0, 0])
    truth = np.array([2, 1, 3, 4, 3, -1])
    probability = np.full((6, 10), 0.01, np.float32)
    probability[:, 1] = (0.9, 0.8, 0, 0.99, 0, 0)
    probability[:, 3] = (0.4, 0, 0.1, 0.99, 0.2, 0.3)
    probability[:, 4] = (0.1, 0, 0.3, 0.99, 0.2, 0.25)
    verdicts = Verdicts(None, "f", chosen, probability, truth, "t", False)  # type: ignore[arg-type]
    assert verdicts.beginning(1) == (1, "predicted"), "the surer one is none"
    assert verdicts.beginning(2) == (0, "labelled")
    assert verdicts.beginning(3) == (4, "labelled"), "the surest of two, though another one is likelier"
    assert verdicts.beginning(4) == (2, "likeliest"), "the labelled one has no prediction"
    unlabelled = replace(verdicts, truth=np.full(6, -1), label_column=None)
    assert unlabelled.beginning(1) == (0, "predicted")
    assert unlabelled.beginning(3) == (0, "likeliest")


def test_maps_lie_where_their_cells_look() -> None:
    """Cells are centred on pixels 0, 32, 64 and 96 of 128."""
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    assert centroid(values, 128) == (64, 32)
    rows, columns = np.nonzero(spread(values, 128))
    assert abs(rows - 32).max() <= 16
    assert abs(columns - 64).max() <= 16
    assert len(rows) >= 31**2
    values[:] = 0.0625
    assert (spread(values, 128) == 0.0625).all()


def test_reliability_of_known_galaxies() -> None:
    probability = np.full((5, 10), 0.0, np.float32)
    probability[:, 0] = (0.9, 0.91, 0.92, 0.5, 1.0)
    found = reliability(probability, np.array([0, 0, 1, 1, 0]))
    assert [one["objects"] for one in found] == [1, 3, 1]
    assert [one["accuracy"] for one in found] == [0, 2 / 3, 1]
    assert (found[0]["least"], found[2]["most"]) == (0, 1)
    assert found[1]["confidence"] == pytest.approx(0.91)
    assert all(one["least"] <= one["accuracy"] <= one["most"] for one in found)
    assert found[0]["most"] > 0.3, "one galaxy proves little"


def test_maps_that_are_the_same_for_every_galaxy_are_told_from_others() -> None:
    attention = np.zeros((6, 4, 4), np.float32)
    attention[:, 1, 2] = 1
    lam = np.full((6, 4, 4), 0.5, np.float32)
    looks = Looks(*[None] * 3, attention, lam, None)  # type: ignore[arg-type]
    assert variety(looks) == {"objects": 6, "centroid_percent": 0, "lam_percent": 0}
    attention[:3, 1, 2], attention[:3, 3, 2] = 0, 1  # half of them two cells of four lower
    lam[:3] = 0.3
    assert variety(looks)["centroid_percent"] == pytest.approx(25)
    assert variety(looks)["lam_percent"] == pytest.approx(25)
