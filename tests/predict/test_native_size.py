"""Models that take cutouts at native size: offsets on the sky, the least side, and files of any size in one folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from galcli.models import library
from galcli.models.session import Session
from galcli.predict.engine import Engine
from galcli.tables.status import ModelStatus, RowStatus
from tests.predict.conftest import halt
from tests.survey import SCALE, Survey, make_survey, read_predictions, write_catalog, write_stamp
from tests.tiny_models import NO_PIXELS, backbone_of, card_of, output, save, tensor_input, write_index, write_native

Run = Callable[..., Any]

#: (height, width) of the cutouts in `mixed`: odd and even, square and not.
SIZES = [(33, 33), (64, 64), (47, 90), (256, 256), (90, 47), (128, 201), (33, 256), (64, 64), (101, 101), (35, 34),
         (64, 64), (47, 90)]  # fmt: skip


def predict(survey: Survey, *models: object, more: tuple[object, ...] = ()) -> list[str]:
    words = ["predict", survey.catalog, "-o", survey.out, "--threads", 1, "--device", "cpu", *more]
    return [str(word) for word in [*words, *(part for model in models for part in ("--model", model))]]


def spot(height: int, width: int, x: float, y: float) -> NDArray[np.float32]:
    """A faint sky and a round source of 2 px width at (x, y) from the middle, (3, height, width)."""
    rows, columns = np.indices((height, width))
    at = (columns - (width - 1) / 2 - x) ** 2 + (rows - (height - 1) / 2 - y) ** 2
    image = 1e-6 + np.exp(-at / 8)
    return np.stack([image, 2 * image, 3 * image]).astype(np.float32)


@pytest.fixture
def mixed(tmp_path: Path) -> Survey:
    """Twelve galaxies in files of their own, of all `SIZES` and of two pixel scales."""
    survey = make_survey(tmp_path / "mixed", len(SIZES), loose=True)
    for i, (height, width) in enumerate(SIZES):
        pixels = spot(height, width, *offset_of(i)) * np.random.default_rng(i).uniform(0.9, 1.1, (3, height, width))
        write(survey, i, pixels.astype(np.float32))
    return survey


def scale_of(row: int) -> float:
    return SCALE if row % 2 else 0.5


def offset_of(row: int) -> tuple[float, float]:
    """Pixels to the right of the middle, and above it."""
    return (row % 5 - 2.0, 1.5 - row % 4)


def write(survey: Survey, row: int, pixels: NDArray[np.float32], scale: float | None = None) -> None:
    step = (scale or scale_of(row)) / 3600
    path = survey.cutouts / f"{survey.ids[row]}.fits"
    path.unlink()
    write_stamp(path, pixels, survey.ra[row], survey.dec[row], cd=np.diag([-step, step]))


@pytest.fixture
def native(mixed: Survey) -> Path:
    return write_native(mixed.root / "native.onnx")


def test_offsets_are_multiplied_by_the_pixel_scale_of_their_row(mixed: Survey, native: Path, galcli: Run) -> None:
    for row, (height, width) in enumerate(SIZES):
        write(mixed, row, spot(height, width, *offset_of(row)))
    galcli(*predict(mixed, native))
    rows = read_predictions(mixed.out)
    scale = np.array([scale_of(row) for row in range(len(SIZES))])
    x, y = np.array([offset_of(row) for row in range(len(SIZES))]).T
    # East is to the left; the faint sky pulls the centroid to the middle by a percent at most, where it is largest.
    np.testing.assert_allclose(rows["NAT_DX"], -x * scale, atol=0.01)
    np.testing.assert_allclose(rows["NAT_DY"], y * scale, atol=0.01)
    assert not rows["STATUS"].any() | rows["NAT_STATUS"].any()
    galcli("validate", mixed.out)


def test_offsets_count_from_the_object_not_from_the_middle_of_the_cutout(
    mixed: Survey, native: Path, galcli: Run
) -> None:
    for row, (height, width) in enumerate(SIZES):
        step = scale_of(row) / 3600
        path = mixed.cutouts / f"{mixed.ids[row]}.fits"
        path.unlink()
        # The middle lies 2 px north and 1 px east of the object.
        ra = mixed.ra[row] + step / np.cos(np.radians(mixed.dec[row]))
        write_stamp(path, spot(height, width, 0, 0), ra, mixed.dec[row] + 2 * step, cd=np.diag([-step, step]))
    galcli(*predict(mixed, native))
    rows = read_predictions(mixed.out)
    scale = np.array([scale_of(row) for row in range(len(SIZES))])
    assert not rows["NAT_STATUS"].any()
    np.testing.assert_allclose(rows["NAT_DY"], 2 * scale, atol=0.01)
    np.testing.assert_allclose(rows["NAT_DX"], scale, atol=0.01)


def test_images_without_a_scale_have_no_offsets(mixed: Survey, native: Path, galcli: Run) -> None:
    for row, name in enumerate(mixed.ids):
        (mixed.cutouts / f"{name}.fits").unlink()
        picture = (255 * np.clip(spot(*SIZES[row], *offset_of(row)) / 3, 0, 1)).astype(np.uint8)
        Image.fromarray(picture[::-1, ::-1].transpose(1, 2, 0)).save(mixed.cutouts / f"{name}.png")
    galcli(*predict(mixed, native))
    rows = read_predictions(mixed.out)
    assert np.isnan(rows["NAT_DX"]).all()
    assert np.isfinite(rows["NAT_Y"]).all()
    assert not rows["NAT_STATUS"].any()
    galcli("validate", mixed.out)
    galcli(*predict(mixed, native, more=("--pixel-scale", 0.25, "--overwrite")))
    quarter = read_predictions(mixed.out)
    galcli(*predict(mixed, native, more=("--pixel-scale", 0.5, "--overwrite")))
    np.testing.assert_array_equal(read_predictions(mixed.out)["NAT_DX"], 2 * quarter["NAT_DX"])


def test_what_a_native_model_feeds_gives_its_offsets_in_pixels_too(mixed: Survey, native: Path, galcli: Run) -> None:
    fed = tensor_input("z", (2,))
    columns = [output("same", "FED_OFFSET", shape=(2,), unit="arcsec", sky_offset=True)]
    link = backbone_of(native, {"inner/offset": "z"})
    card = card_of("fed", "FED", columns, **NO_PIXELS, inputs=[fed], backbone=link)
    node = helper.make_node("Identity", ["z"], ["same"])
    sae = save(mixed.root / "fed.onnx", [node], {"same": (TensorProto.FLOAT, [2])}, {}, card)
    galcli(*predict(mixed, sae))
    rows = read_predictions(mixed.out)
    np.testing.assert_array_equal(rows["FED_OFFSET"], np.stack([rows["NAT_DX"], rows["NAT_DY"]], axis=1))


def test_cutouts_below_the_least_side_get_no_prediction(mixed: Survey, galcli: Run) -> None:
    native = write_native(mixed.root / "native.onnx", least_side=35)
    said = galcli(*predict(mixed, native, more=("--max-fail", 50))).err
    assert "takes no cutouts below" not in said  # the first cutouts are large enough, for the most part
    rows = read_predictions(mixed.out)
    small = np.array([min(size) < 35 for size in SIZES])
    assert 0 < small.sum() < len(small)
    np.testing.assert_array_equal(rows["NAT_STATUS"], np.where(small, int(ModelStatus.MASKED), 0))
    np.testing.assert_array_equal(rows["STATUS"], np.where(small, int(RowStatus.NO_PREDICTION), 0))
    np.testing.assert_array_equal(np.isnan(rows["NAT_Y"]).all(axis=1), small)
    assert f"{small.sum()} x too many pixels without data" in said
    assert "or a smaller cutout than the model takes" in said
    galcli("validate", mixed.out)


@pytest.mark.parametrize("loose", [False, True])
def test_first_cutouts_that_are_too_small_are_told_of(
    tmp_path: Path, galcli: Run, tiny_weights: Path, loose: bool
) -> None:
    survey = make_survey(tmp_path / "survey", 8, loose=loose)
    write_native(tiny_weights / "native.onnx", least_side=17)
    write_native(tiny_weights / "any.onnx", least_side=16)
    write_index(tiny_weights, {"native": True, "any": True})
    why = "takes no cutouts below 17 px; the first cutouts have 16 px"
    assert f"note: without native, which {why}\n" in galcli(*predict(survey)).err
    assert not read_predictions(survey.out)["NAT_STATUS"].any()
    told = f"note: native {why}: rows with so small ones get no prediction\n"
    assert told in galcli(*predict(survey, "native", more=("--overwrite",)), code=3).err
    assert (read_predictions(survey.out)["NAT_STATUS"] == int(ModelStatus.MASKED)).all()
    assert "native size, at least 17 px" in galcli("models", "show", "native").out


def test_gaps_count_at_native_size(mixed: Survey, galcli: Run) -> None:
    native = write_native(mixed.root / "native.onnx", max_masked=0.2)
    for row in (1, 3, 5):
        height, width = SIZES[row]
        pixels = spot(height, width, 0, 0)
        pixels[:, : round(height * {1: 0.15, 3: 0.25, 5: 0}[row])] = np.nan
        if row == 5:
            pixels[:, height // 2 - 9 : height // 2 + 9, width // 2 - 9 : width // 2 + 9] = np.nan
        write(mixed, row, pixels)
    galcli(*predict(mixed, native, more=("--max-fail", 50)))
    masked = np.isin(np.arange(len(SIZES)), [3, 5])
    status = read_predictions(mixed.out)["NAT_STATUS"]
    np.testing.assert_array_equal(status, np.where(masked, int(ModelStatus.MASKED), 0))


def test_rows_do_not_depend_on_their_neighbours(
    mixed: Survey, native: Path, galcli: Run, request: pytest.FixtureRequest
) -> None:
    mixed = replace(mixed, pixels=mixed.pixels[:0])
    words = ("--model", native, "--order", 3)
    galcli(*mixed.predict(*words))
    whole, rows = mixed.out.read_bytes(), read_predictions(mixed.out)
    assert not rows["NAT_STATUS"].any()
    for more in (("--batch-size", 1), ("--batch-size", 5), ("--threads", 1), ("--threads", 3), ("--workers", 2)):
        galcli(*mixed.predict(*words, *more, "--overwrite"))
        assert mixed.out.read_bytes() == whole
    mixed.out.unlink()
    halt(mixed, galcli, "--model", native)
    galcli(*mixed.predict(*words))
    assert mixed.out.read_bytes() == whole
    columns = [name for name in rows.dtype.names or () if name.startswith("NAT")]
    for order, batch in ((0, 1), (0, 2), (0, 64), (2, 3)):
        galcli(*mixed.predict("--model", native, "--order", order, "--batch-size", batch, "--overwrite"))
        np.testing.assert_array_equal(read_predictions(mixed.out)[columns], rows[columns])
    backwards = slice(None, None, -1)
    write_catalog(mixed.catalog, OBJECT_ID=mixed.ids[backwards], RA=mixed.ra[backwards], DEC=mixed.dec[backwards])
    galcli(*mixed.predict("--model", native, "--order", 0, "--overwrite"))
    np.testing.assert_array_equal(read_predictions(mixed.out)[columns][backwards], rows[columns])
    opened: list[Engine] = request.getfixturevalue("lanes")
    galcli(*mixed.predict("--model", native, "--order", 0, "--batch-size", 3, "--overwrite"))
    assert len(opened) == 1
    for name in columns:  # the bytes are promised on the CPU alone
        np.testing.assert_allclose(read_predictions(mixed.out)[name][backwards], rows[name], rtol=1e-5, atol=1e-6)


def test_each_row_is_what_the_graph_says_of_its_cutout_alone(mixed: Survey, native: Path, galcli: Run) -> None:
    for row, size in enumerate(SIZES):
        write(mixed, row, spot(*size, *offset_of(row)), scale=SCALE)  # at this scale fluxes are taken as they are
    galcli(*predict(mixed, native))
    rows, session = read_predictions(mixed.out), Session(library.find(native), "cpu", threads=1)
    for row, size in enumerate(SIZES):
        pixels = spot(*size, *offset_of(row))[None]
        feeds = {"pixels": pixels, "valid": np.ones((1, 1, *size), np.float32), "front": np.zeros(1, np.int64)}
        found = session.run(feeds, ["dx", "dy", "y"])
        np.testing.assert_array_equal(rows["NAT_Y"][row], found["y"][0])
        np.testing.assert_array_equal(rows["NAT_DX"][row], np.float32(np.float64(found["dx"][0]) * SCALE))
        np.testing.assert_array_equal(rows["NAT_DY"][row], np.float32(np.float64(found["dy"][0]) * SCALE))
