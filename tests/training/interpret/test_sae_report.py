"""The report of concepts: planted galaxies, columns and kernels are found, on the page, in the numbers and in the table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fitsio
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from galcli.errors import ModelError
from galcli.models import library
from galcli.predict.options import PredictOptions
from galcli.progress import Lines
from galcli.training.interpret import sae_seen
from galcli.training.interpret.sae_atoms import Decoder
from galcli.training.interpret.sae_concepts import Shown, show
from galcli.training.interpret.sae_figures import concept_figure, quality_figure
from galcli.training.interpret.sae_frames import Frame
from galcli.training.interpret.sae_numbers import usage
from galcli.training.interpret.sae_seen import Sample, open_view
from tests.survey import SCALE, noise, write_catalog, write_stacks, write_stamp
from tests.tiny_models import card_of, output, save, write_backbone
from tests.training.interpret.test_dmagnet_report import headings, numbers_of, pictures_in
from tests.training.tiny_sae import THRESHOLD, write_dictionary

Run = Callable[..., Any]
GALAXIES = 64
#: Cutouts of two sizes.
SIDES = (40, 52)
#: What concepts look for: +g, +r, +z, -g, and something that never is.
ENCODER = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0, 0]], np.float32)
DEAD = 4
#: Where concepts 0 to 3 are planted: px to the east and north of the object.
AT = ((3, 7), (-5, 2), (8, -6), (-9, -9))


def kernels() -> NDArray[np.float32]:
    """Each concept adds a pattern of its own that tells rows from columns and bands from each other."""
    return np.random.default_rng(5).normal(0, 1, (len(ENCODER), 3, 3, 3)).astype(np.float32)


class Planted(NamedTuple):
    """A survey and what is in it."""

    catalog: Path
    cutouts: Path
    amplitude: NDArray[np.float64]  # (GALAXIES, 4); 0: not there

    def strength(self) -> NDArray[np.float64]:
        """Root mean square of the codes: one pixel of each image has one."""
        sides = np.array([SIDES[row % 2] for row in range(GALAXIES)])
        return np.where(self.amplitude > 0, self.amplitude - THRESHOLD, 0) / sides[:, None]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Concepts 0 and 1 go together, in every other galaxy; 2 and 3 each come as they like."""
    root, draw = tmp_path_factory.mktemp("planted"), np.random.default_rng(11)
    there = np.stack([np.arange(GALAXIES) % 4 < 2] * 2 + [draw.random(GALAXIES) < 0.5 for _ in range(2)], 1)
    amplitude = np.where(there, draw.uniform(8, 12, there.shape), 0)
    ids, dec = np.arange(GALAXIES) + 1000, draw.uniform(-5, 5, GALAXIES)
    ra = draw.uniform(150, 160, GALAXIES)
    (root / "cutouts").mkdir()
    for row in range(GALAXIES):
        side = SIDES[row % 2] + 1  # odd: the object is on a pixel
        pixels = draw.normal(0, 0.01, (3, side, side)).astype(np.float32)
        for (band, sign), (east, north), height in zip(
            ((0, 1), (1, 1), (2, 1), (0, -1)), AT, amplitude[row], strict=True
        ):
            pixels[band, side // 2 + north, side // 2 - east] += sign * height
        write_stamp(root / "cutouts" / f"{ids[row]}.fits", pixels, ra[row], dec[row])
    planted = Planted(root / "catalog.fits", root / "cutouts", amplitude)
    strong = amplitude[:, 0].copy()
    half = np.where(np.arange(GALAXIES) < 40, amplitude[:, 2], -9999)
    write_catalog(planted.catalog, OBJECT_ID=ids, RA=ra, DEC=dec, PLANTED=strong, HALF=half,
                  HALF_ERR=draw.random(GALAXIES), NOISE=draw.random(GALAXIES), NOTE=np.full(GALAXIES, b"text"))  # fmt: skip
    return planted


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dictionary(tmp_path_factory.mktemp("model") / "sae-hand.onnx", ENCODER, kernels())


@pytest.fixture(scope="module")
def report(planted: Planted, model: Path, galcli: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    galcli("explain", "sae", "--model", model, "--catalog", planted.catalog, "--threads", 1, "-o", out)
    return out


class Found(NamedTuple):
    """What is shown of the planted survey."""

    sample: Sample
    shown: dict[int, Shown]


@pytest.fixture(scope="module")
def found(planted: Planted, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    options = PredictOptions((planted.catalog,), tmp_path_factory.mktemp("x") / "p.fits", threads=1)
    with open_view(options, str(model), Lines()) as view:
        sample = view.predict(Lines())
        shown = show(view, sample, Decoder(view.model, 1), [0, 1, 2, 3], Lines())
    return Found(sample, {one.concept: one for one in shown})


def table_of(folder: Path) -> Any:
    return fitsio.read(str(folder / "concepts.fits"), ext="CONCEPTS")


def test_page_holds_its_parts_and_needs_no_other_file(report: Path) -> None:
    page = report / "index.html"
    held = pictures_in(page)
    assert {name for name in held if not name.startswith("concept")} == {"quality", "utilisation", "graph"}
    assert {name for name in held if name.startswith("concept")} == {f"concept-{number}" for number in range(4)}
    assert all((report / f"{name}.png").read_bytes() == data for name, data in held.items())
    assert headings(page)[0] == "How much concepts are used"
    text = page.read_text()
    assert not re.findall(r"src=(?!\"data:)|https?:|url\(|@import", text)
    assert text.count("catalog.fits") >= len(held), "each caption names the sample"
    assert "MOCK" not in text
    assert "SFNet" in text
    assert "sfnet-metallicity has a prediction of 0 of the 64 galaxies" in text, (
        "its field is larger than these cutouts"
    )


def test_use_is_what_was_planted(report: Path, planted: Planted) -> None:
    numbers, table, strength = numbers_of(report), table_of(report), planted.strength()
    assert numbers["quality"]["dead"] == pytest.approx(0.2)
    assert numbers["quality"]["l0"] == pytest.approx((planted.amplitude > 0).sum(1).mean())
    np.testing.assert_allclose(table["ACTIVE"], [*(planted.amplitude > 0).mean(0), 0], atol=1e-6)
    energy = strength**2 / np.maximum((strength**2).sum(1, keepdims=True), 1e-12)
    np.testing.assert_allclose(table["USED"][:DEAD], (energy > 0.01).mean(0), atol=1e-6)
    mean = [values[values > 0].mean() for values in strength.T]
    np.testing.assert_allclose(table["STRENGTH"], [*mean, 0], rtol=5e-2)
    np.testing.assert_allclose(table["OFFSET"][:DEAD], [SCALE * np.hypot(*at) for at in AT], rtol=1e-3)
    assert np.isnan(table["OFFSET"][DEAD])
    assert numbers["utilisation"]["area_active"] == pytest.approx(table["ACTIVE"].mean())
    assert {one["concept"]: one["strength"] for one in numbers["concepts"]} == {
        number: pytest.approx(table["STRENGTH"][number]) for number in range(DEAD)
    }


def test_strongest_galaxies_come_first(report: Path, planted: Planted) -> None:
    for one in numbers_of(report)["concepts"]:
        side = np.array([SIDES[row % 2] + 1 for row in range(GALAXIES)])
        values = np.where(planted.amplitude[:, one["concept"]] > 0, planted.amplitude[:, one["concept"]], 0) / side
        best = np.sort(one["strengths"])[::-1]
        assert one["strengths"] == best.tolist()
        assert len(one["galaxies"]) == 9
        assert set(one["galaxies"]) <= set(np.argsort(-values)[:14].tolist())


def test_columns_that_were_planted_are_found(report: Path) -> None:
    table, numbers = table_of(report), numbers_of(report)
    assert numbers["sample"]["columns"] == ["PLANTED", "HALF", "NOISE"], "no errors, texts, positions, identifiers"
    assert table["R_PLANTED"][0] > 0.97
    assert table["RHO_PLANTED"][0] > 0.9
    assert table["P_PLANTED"][0] < 1e-6
    assert table["P_NOISE"][0] > 0.1
    first = {one["concept"]: one["columns"][0] for one in numbers["concepts"]}
    assert first[0]["column"] == "PLANTED"
    assert (first[2]["column"], first[2]["objects"]) == ("HALF", 40), "numbers that mean none are none"
    assert np.isnan(table["RHO_PLANTED"][DEAD])


def test_only_concepts_that_go_together_are_joined(report: Path) -> None:
    pairs = numbers_of(report)["pairs"]
    assert [one["concepts"] for one in pairs] == [[0, 1]]
    assert pairs[0]["phi"] == pytest.approx(1)
    assert pairs[0]["lift"] == pytest.approx(2)


def test_maps_lie_where_concepts_were_planted(found: Found) -> None:
    for concept, (east, north) in enumerate(AT):
        shown = found.shown[concept]
        for values, frame in (shown.mean, *(look.maps[concept] for look in shown.examples)):
            y, x = np.unravel_index(np.nanargmax(values), values.shape)
            across, along = frame.centres(values.shape)
            assert across[x] == pytest.approx(east * SCALE, abs=0.7 * SCALE)
            assert along[y] == pytest.approx(north * SCALE, abs=0.7 * SCALE)
        assert shown.unit == "arcsec"
        assert shown.averaged == (found.sample.strength[:, concept] > 0).sum()


def test_images_are_the_galaxies_own(found: Found) -> None:
    """Concept 2 is a spot in band z: red, at its place in the picture that is drawn."""
    for look in found.shown[2].examples:
        values, frame = look.image
        y, x = np.unravel_index(values[..., 0].argmax(), values.shape[:2])
        across, along = frame.centres(values.shape[:2])
        assert (across[x], along[y]) == pytest.approx((AT[2][0] * SCALE, AT[2][1] * SCALE), abs=0.1)
        assert frame.east == pytest.approx(-frame.west)


def test_kernels_are_those_of_the_dictionary(found: Found, model: Path) -> None:
    true = kernels()
    for concept, shown in found.shown.items():
        held = np.zeros_like(shown.kernel)
        middle = held.shape[-1] // 2
        held[:, middle - 1 : middle + 2, middle - 1 : middle + 2] = true[concept] / np.linalg.norm(true[concept])
        np.testing.assert_allclose(shown.kernel, held, atol=1e-5)
        assert shown.bands == ("g", "r", "z")
    atoms = Decoder(library.find(model), 1).atoms([0, 3])
    cosine = (true[0] * true[3]).sum() / np.linalg.norm(true[0]) / np.linalg.norm(true[3])
    assert atoms[0] @ atoms[1] == pytest.approx(cosine, abs=1e-5)


def test_pictures_show_north_up_and_east_left(found: Found) -> None:
    """Contours surround the planted pixel, which is drawn left of and above the object."""
    figure = Figure(figsize=(12.6, 4.3), layout="constrained")
    concept_figure(found.shown[0], figure)
    spot = np.array(AT[0]) * SCALE
    mean = next(axes for axes in figure.axes if axes.get_xlabel() == "east [arcsec]")
    for axes in (figure.axes[0], mean):
        drawn, object_ = axes.transData.transform(spot), axes.transData.transform((0, 0))
        assert drawn[0] < object_[0]
        assert drawn[1] > object_[1]
    contours = figure.axes[0].collections[0]
    np.testing.assert_allclose(contours.get_paths()[-1].vertices.mean(0), spot, atol=0.3 * SCALE)
    (ring,) = figure.axes[0].lines  # a single pixel is a speck
    np.testing.assert_allclose(ring.get_xydata(), [spot], atol=0.3 * SCALE)
    image = mean.images[0]
    assert image.origin == "lower"
    np.testing.assert_allclose(image.get_extent(), found.shown[0].mean.frame.extent)


def test_rows_without_cutouts_and_without_columns(planted: Planted, model: Path, galcli: Run, tmp_path: Path) -> None:
    rows = fitsio.read(str(planted.catalog))
    dec = rows["DEC"].copy()
    dec[3] = np.nan
    ids = rows["OBJECT_ID"].copy()
    ids[:2] += 5000
    write_catalog(tmp_path / "c.fits", OBJECT_ID=ids, RA=rows["RA"], DEC=dec)
    said = galcli("explain", "sae", "--model", model, "--catalog", tmp_path / "c.fits", "--cutouts", planted.cutouts,
                  "--concepts", 2, "--limit", 20, "--threads", 1, "-o", tmp_path / "out").err  # fmt: skip
    numbers = numbers_of(tmp_path / "out")
    assert "3 of 20 galaxies have no prediction" in said
    assert (numbers["sample"]["rows"], numbers["sample"]["predicted"]) == (20, 17)
    assert len(numbers["concepts"]) == 2
    assert not {0, 1, 3} & {row for one in numbers["concepts"] for row in one["galaxies"]}
    assert numbers["sample"]["columns"] == []
    assert "No column of the catalogue can be compared with it." in (tmp_path / "out" / "index.html").read_text()
    assert not [name for name in table_of(tmp_path / "out").dtype.names if name.startswith("R_")]


def test_images_without_a_scale_are_told_of_in_pixels(model: Path, galcli: Run, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    (tmp_path / "cutouts").mkdir()
    for row in range(8):
        picture = draw.integers(0, 50, (40, 40, 3), np.uint8)
        picture[10, 12] = 255
        Image.fromarray(picture).save(tmp_path / "cutouts" / f"{row}.png")
    write_catalog(tmp_path / "c.fits", OBJECT_ID=np.arange(8), RA=np.linspace(1, 2, 8), DEC=np.zeros(8))
    galcli("explain", "sae", "--model", model, "--catalog", tmp_path / "c.fits", "--threads", 1, "-o", tmp_path / "out")
    one = numbers_of(tmp_path / "out")["concepts"][0]
    assert one["offset"] is None
    assert one["averaged"] == 8


def test_inner_maps_are_shown_by_their_strongest_channels(galcli: Run, tmp_path: Path) -> None:
    """Concept c of the maps is the light of band c; its vector is a known one, its cells those of the backbone."""
    backbone = write_backbone(tmp_path / "backbone.onnx")
    vectors = np.random.default_rng(2).normal(0, 1, (5, 3, 1, 1)).astype(np.float32)
    model = write_dictionary(tmp_path / "sae-maps.onnx", ENCODER, vectors, backbone)
    pixels = noise(24, bands=3) * 0.01
    pixels[:, 1, 13, 1] += 64  # band r, north-east: row 13 is north, column 1 is east
    ids, ra, dec = np.arange(24) + 1, np.linspace(120, 130, 24), np.linspace(-5, 5, 24)
    write_catalog(tmp_path / "catalog.fits", OBJECT_ID=ids, RA=ra, DEC=dec)
    write_stacks(tmp_path / "cutouts", ids, ra, dec, pixels)
    options = PredictOptions((tmp_path / "catalog.fits",), tmp_path / "p.fits", threads=1)
    with open_view(options, str(model), Lines()) as view:
        decoder = Decoder(view.model, 1)
        shown = show(view, view.predict(Lines()), decoder, [1], Lines())[0]
    assert shown.bands == ()
    np.testing.assert_allclose(shown.kernel, vectors[1] / np.linalg.norm(vectors[1]), atol=1e-5)
    np.testing.assert_allclose(decoder.kernels([4, 0, 2, 3, 1] * 7), vectors[[4, 0, 2, 3, 1] * 7], atol=1e-6)
    assert shown.mean.values.shape == (4, 4)
    assert shown.mean.values.argmax() == 3 * 4 + 0
    assert shown.examples[0].image.values.shape == (16, 16, 3)
    galcli(
        "explain",
        "sae",
        "--model",
        model,
        "--catalog",
        tmp_path / "catalog.fits",
        "--threads",
        1,
        "-o",
        tmp_path / "out",
    )
    page = (tmp_path / "out" / "index.html").read_text()
    assert "the channels of the inner maps with the largest weights" in page
    assert numbers_of(tmp_path / "out")["cell"] == pytest.approx(4 * SCALE)
    assert "cells of 1.0 arcsec, less is not resolved" in page
    figure = Figure(figsize=(12.6, 4.3), layout="constrained")
    concept_figure(shown, figure)
    stamp = figure.axes[0]
    assert len(stamp.images) == 1, "nothing is laid over the galaxy"
    (frames,) = stamp.collections
    brightest = frames.get_paths()[int(np.argmax(frames.get_edgecolors()[:, 3]))].vertices[:4].mean(0)
    across, along = shown.examples[0].maps[1].frame.centres((4, 4))
    np.testing.assert_allclose(brightest, [across[0], along[3]], atol=1e-6)


def test_a_failing_sfnet_leaves_the_rest_whole(
    planted: Planted, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any failure of the other network leaves the report whole, and says why."""
    monkeypatch.setattr(sae_seen, "SFNET", "no-such-model")
    options = PredictOptions((planted.catalog,), tmp_path / "p.fits", threads=1, limit=6)
    with open_view(options, str(model), Lines()) as view:
        sample = view.predict(Lines())
        assert "no-such-model" in view.without_sfnet
    assert sample.features is None
    assert usage(sample.strength).objects == 6


def test_galaxies_without_features_are_not_compared(
    planted: Planted, model: Path, galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that takes only the larger cutouts: the smaller ones have no features, whatever concepts say of them."""
    graph = [
        helper.make_node("ReduceMax", ["pixels", "plane"], ["most"], keepdims=0),
        helper.make_node("TopK", ["most", "all"], ["act", "order"], axis=1),
        helper.make_node("Cast", ["order"], ["idx"], to=TensorProto.INT32),
    ]
    labels = {"name": "FEATURES", "description": "features", "columns": [
        {"name": "FEATURE", "dtype": "i4", "description": "number", "values": [0, 1, 2]}]}  # fmt: skip
    columns = [output("idx", "OTH_IDX", "i4", (3,), null=-1), output("act", "OTH_ACT", shape=(3,))]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sae_seen, "SFNET", "other")
    save(Path("other"), graph, {"idx": (TensorProto.INT32, [3]), "act": (TensorProto.FLOAT, [3])},
         {"plane": np.array([2, 3]), "all": np.array([3])},
         card_of("other", "OTH", columns, SIDES[1], tables=[labels]))  # fmt: skip
    galcli(
        "explain", "sae", "--model", model, "--catalog", planted.catalog, "--concepts", 1, "--threads", 1, "-o", "out"
    )
    numbers, table = numbers_of(tmp_path / "out"), table_of(tmp_path / "out")
    assert numbers["sfnet"]["galaxies"] == GALAXIES // 2
    assert f"of {GALAXIES // 2} of the {GALAXIES} galaxies" in Path("out", "index.html").read_text()
    assert table["SFNET_FEATURE"][:3].tolist() == [0, 1, 2]
    np.testing.assert_array_less(0.999, table["SFNET_R"][:3])


def test_unexplained_variances_fill_their_picture() -> None:
    """Whether they are near 1 or near 0, and with what the card says in sight."""
    draw = np.random.default_rng(0)
    for scale, told in ((0.003, 0.0035), (0.9, 0.8), (0.003, 0.02)):
        figure = Figure()
        quality_figure(scale * draw.uniform(0.8, 1.2, 500), draw.integers(3, 9, 500), {"fvu": told}, figure)
        axes = figure.axes[0]
        assert sum(bar.get_height() > 0 for bar in axes.patches) >= 3
        assert max(line.get_xdata()[0] for line in axes.lines) < axes.get_xlim()[1]


def test_frames_of_strides_begin_at_the_first_pixel() -> None:
    frame = Frame(8.0, -8.0, -8.0, 8.0).of_strides((4, 4), (16, 16))
    across, along = frame.centres((4, 4))
    np.testing.assert_allclose(across, [7.5, 3.5, -0.5, -4.5])
    np.testing.assert_allclose(along, [-7.5, -3.5, 0.5, 4.5])


def test_what_cannot_be_explained_is_refused(planted: Planted, model: Path, galcli: Run, tmp_path: Path) -> None:
    words = ("explain", "sae", "-o", tmp_path / "out", "--catalog", planted.catalog)
    assert "not a sparse autoencoder" in galcli(*words, "--model", "sfnet-metallicity", code=5).error
    assert "--catalog" in galcli("explain", "sae", "--cutouts", "x", "-o", tmp_path / "o", code=2).hint
    blind = write_dictionary(tmp_path / "blind.onnx", ENCODER, kernels(), blind=True)
    with pytest.raises(ModelError, match="does not show what it decodes"):
        Decoder(library.find(blind), 1)
    empty = write_catalog(tmp_path / "none.fits", OBJECT_ID=np.arange(3), RA=np.full(3, 20.0), DEC=np.full(3, 1.0))
    gone = galcli("explain", "sae", "-o", tmp_path / "out", "--model", model, "--catalog", empty, "--cutouts",
                  planted.cutouts, code=4)  # fmt: skip
    assert gone.error
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    assert "holds no report" in galcli(*words[:2], "-o", tmp_path / "mine", "--model", model, code=2).error
    assert json.dumps((tmp_path / "mine" / "index.html").read_text()) == '"mine"'
