"""The shipped models: a row's numbers do not depend on the rows beside it, nor on how many threads compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.models import library
from galcli.models.library import ModelFile
from galcli.models.session import Session
from galcli.predict.rowwise import Rowwise, works_rowwise
from galcli.tables.columns import dictionary, from_output, other_shapes

#: Rows of each model, and of those that are fed row by row.
ROWS, ALONE = 37, 8
#: Size of the cutouts for models that take any: rows of whole registers, as on common grids.
NATIVE = (72, 80)
#: Metric of int8 twins -> least and largest value.
GOALS = {
    "speed over float32": (2.5, 5),
    "rmse over float32": (0.9, 1.02),
    "first feature as in float32": (0.97, 1),
}  # fmt: skip
MODELS = [*library.shipped(), *library.shipped("int8")]


def galaxies(shape: tuple[int, int, int], fronts: int) -> dict[str, NDArray[Any]]:
    """Noise around sources of all brightnesses; every front; the corners of some without data."""
    draw = np.random.default_rng(5)
    y, x = np.indices(shape[1:]) - (np.array(shape[1:])[:, None, None] - 1) / 2
    light = np.exp(-np.hypot(x, y) / draw.uniform(3, 20, (ROWS, 1, 1, 1)))
    pixels = draw.normal(0, 0.02, (ROWS, *shape)) + light * 10 ** draw.uniform(-1.5, 1, (ROWS, shape[0], 1, 1))
    valid = np.ones((ROWS, 1, *shape[1:]), np.float32)
    valid[::5, :, :20, :20] = 0
    return {"pixels": (pixels * valid).astype(np.float32), "valid": valid, "front": draw.integers(0, fronts, ROWS)}


def feeds_of(model: ModelFile) -> dict[str, NDArray[Any]]:
    """What a model is fed with: galaxies, or tensors as another model might give them."""
    draw, feeds = np.random.default_rng(5), {}
    if model.card.columns:
        feeds["columns"] = draw.normal(17, 2, (ROWS, len(model.card.columns))).astype(np.float32)
    if model.card.fronts:
        fronts = model.card.fronts
        feeds |= galaxies((max(len(front.bands) for front in fronts), *(model.card.size or NATIVE)), len(fronts))
    if feeds:
        return feeds
    return {tensor.name: draw.normal(0, 2, (ROWS, *tensor.shape)).astype(tensor.dtype) for tensor in model.card.inputs}


def is_fed_alone(model: ModelFile) -> bool:
    """Whether it takes pixels row by row."""
    return works_rowwise(model.card) and bool(model.card.fronts)


@pytest.mark.parametrize(
    "model", [model for model in MODELS if not is_fed_alone(model)], ids=lambda model: model.path.stem
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_do_not_depend_on_their_batch(model: ModelFile, threads: int) -> None:
    feeds = feeds_of(model)
    whole = Session(model, "cpu", threads=2).run(feeds)
    session = Session(model, "cpu", threads=threads)
    for size in (1, 2, 5, 16, 37):
        parts = [
            session.run({key: values[start : start + size] for key, values in feeds.items()})
            for start in range(0, ROWS, size)
        ]
        for output, expected in whole.items():
            joined = np.concatenate([part[output] for part in parts])
            np.testing.assert_array_equal(joined, expected, err_msg=f"{output}, {size} rows at a time")


@pytest.mark.parametrize("model", [model for model in MODELS if is_fed_alone(model)], ids=lambda model: model.path.stem)
@pytest.mark.parametrize("threads", [2, 3])
def test_rows_that_are_fed_alone_do_not_depend_on_threads(model: ModelFile, threads: int) -> None:
    """Nor on how many of them come together."""
    feeds, tensors = feeds_of(model), [output.tensor for output in model.card.outputs]
    alone = Rowwise(Session(model, "cpu", threads=1)).run(feeds, ALONE, tensors)
    several = Rowwise(Session(model, "cpu", threads=threads), Session(model, "cpu", threads=1), threads)
    found = several.run(feeds, ALONE, tensors)
    for row, expected in enumerate(alone):
        single = several.run({key: values[row : row + 1] for key, values in feeds.items()}, 1, tensors)
        for said in (found[row], single[0]):
            assert expected is not None
            assert said is not None
            for tensor, values in expected.items():
                np.testing.assert_array_equal(said[tensor], values, err_msg=f"{tensor}, row {row}")


def test_there_are_shipped_models_and_they_are_whole() -> None:
    sfnet, spectra = {"sfnet-metallicity", "sfnet-lines"}, {"spectra", "spectra-vae-decoder", "spectra-vae-encoder"}
    others = {"dmagnet", "sae-fno", "sae-sfnet", "mass-photometry"}
    assert {model.name for model in library.shipped()} == sfnet | spectra | others
    assert {model.name for model in library.default_models()} == sfnet | {"spectra", "mass-photometry"}
    assert {model.name for model in library.shipped("int8")} == sfnet
    assert set(library.verify().values()) == {""}
    assert sum(model.size for model in MODELS) <= 260e6
    # What travels with every installation: default models, their twins, and what they feed.
    default = {model.name for model in library.default_models()} | {"spectra-vae-decoder", "spectra-vae-encoder"}
    assert sum(model.size for model in MODELS if model.name in default) <= 95e6


def test_twins_reach_their_goals() -> None:
    """Figures of the cards: faster, as good, and for the same reason."""
    for model in library.shipped("int8"):
        assert model.card.twin_of == library.find(model.name).sha256
        of = {name: [metric for metric in model.card.metrics if metric.name.endswith(name)] for name in GOALS}
        for name, (least, most) in GOALS.items():
            assert of[name]
            assert all(least <= metric.value <= most for metric in of[name]), name
        fronts = {metric.front for metric in of["first feature as in float32"]}
        assert fronts == {front.name for front in model.card.fronts}
        assert min(metric.objects for metric in of["rmse over float32"]) > 5000


def test_columns_are_those_of_the_dictionary() -> None:
    for model in library.shipped():
        for output in model.card.outputs:
            column = replace(from_output(output), header=())  # whose values are the card's alone
            shape = other_shapes()[output.column].get(model.name, dictionary()[output.column].shape)
            assert column == replace(dictionary()[output.column], shape=shape)
            if output.column.endswith(("_DX", "_DY")):
                assert "along the pixel grid where the image is not north up" in from_output(output).description
