"""Pictures: their colours are the viewer's, their borders the published ones, their galaxies the strongest ones."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from galcli.errors import InputError
from galcli.models.card import Card
from galcli.training.interpret import bpt, gallery, style
from galcli.training.interpret.predictions import Predictions, read_predictions
from galcli.training.pixels import VIEWERS, viewer_rgb
from galcli.training.viewer import colour_image
from tests.average import card as average_card


@pytest.mark.parametrize("front", VIEWERS)
def test_colours_are_those_that_networks_see(front: str) -> None:
    flux = np.random.default_rng(1).normal(0.02, 0.1, (3, 5, 4)).astype(np.float32)
    viewer = VIEWERS[front]
    expected = viewer_rgb(torch.from_numpy(flux) * viewer.flux_scale, viewer.scales, viewer.m)
    image = colour_image(flux, front, 0.262)
    assert image.shape == (5, 4, 3)
    np.testing.assert_allclose(image, expected.flip(0).permute(1, 2, 0), atol=1e-5)


def test_colours_do_not_depend_on_the_size_of_pixels() -> None:
    flux = np.full((3, 2, 2), 0.05, np.float32)
    np.testing.assert_allclose(
        colour_image(4 * flux, "flux:grz", 0.524), colour_image(flux, "flux:grz", 0.262), atol=1e-6
    )


def test_display_images_stay_as_they_are_and_gaps_are_sky() -> None:
    blue = np.array([0.9, 0.5, 0.1], np.float32).reshape(3, 1, 1)
    assert colour_image(blue, "display", 1.0)[0, 0].tolist() == pytest.approx([0.1, 0.5, 0.9])
    gap = colour_image(np.full((3, 1, 1), np.nan, np.float32), "flux:grz", 0.262)
    assert gap.ravel() == pytest.approx([VIEWERS["flux:grz"].sky] * 3)


def test_borders_of_the_bpt_diagram() -> None:
    axes = Figure().subplots()
    bpt.draw_borders(axes)
    for line, point in zip(axes.lines, [(-0.45, 0.08), (-0.14, 0.19)], strict=True):
        assert np.interp(point[0], *line.get_data()) == pytest.approx(point[1], abs=1e-3)


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    """Five galaxies; feature 2 is active in four, feature 0 in three, feature 1 in one; the last galaxy has no values."""
    index = np.array([[2, 0], [2, 0], [0, 2], [2, 1], [2, -1]], np.int16)
    activation = np.array([[0.9, 0.1], [0.5, 0.4], [0.8, 0.3], [1.0, 0.2], [9.0, 0.0]], np.float32)
    path = tmp_path / "p.fits"
    with fitsio.FITS(str(path), "rw") as file:
        weights = {"WEIGHT_Z_GAS": np.array([0.5, 0.0, -2.0], "f4"), "ACT_MAX": np.array([1.0, 1.0, 0.25], "f4")}
        file.write(weights, extname="SFZ_FEATURES")
    card = Card.model_validate(average_card(prefix="SFZ"))
    columns = {"SFZ_IDX": index, "SFZ_ACT": activation, "SFZ_DX": activation, "SFZ_DY": -activation,
               "SFZ_STATUS": np.array([0, 256, 0, 0, 1], np.int32)}  # fmt: skip
    return Predictions(path, columns, [card], {"SFZ": "flux:grz"})


def test_strongest_galaxies_of_the_most_frequent_features(predictions: Predictions) -> None:
    first, second = gallery.strongest(predictions, "SFZ", features=5, shown=3)
    assert (first.number, first.frequency, first.weights) == (2, 1.0, {"Z_GAS": -0.5})
    assert [example.row for example in first.examples] == [3, 0, 1]
    assert (second.number, second.frequency, second.weights) == (0, 0.75, {"Z_GAS": 0.5})
    assert [example.row for example in second.examples] == [2, 1, 0]
    assert second.examples[0].dx == pytest.approx(0.8)
    assert second.examples[0].dy == pytest.approx(-0.8)


def test_unknown_models_and_files_are_refused(predictions: Predictions, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model with the prefix SFL"):
        predictions.model("SFL")
    with pytest.raises(InputError, match="no table MODELS"):
        read_predictions(predictions.path)
    with pytest.raises(InputError, match="no table MODELS"):
        read_predictions(tmp_path / "nothing.fits")


def test_pictures_are_the_same_whenever_they_are_made(tmp_path: Path) -> None:
    def draw(name: str) -> bytes:
        with style.look():
            figure = bpt.Figure(figsize=(2, 2))
            bpt.draw_borders(figure.subplots())
        return style.save(figure, tmp_path / name, dpi=50).read_bytes()

    assert draw("a.png") == draw("deep/b.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (100, 100)
