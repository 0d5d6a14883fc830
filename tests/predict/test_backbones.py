"""Models that name the one that feeds them: autoencoders on the inner maps of another model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from galcli.models import library
from galcli.models.doctor import examine
from galcli.predict.engine import Engine
from galcli.predict.paths import RunPaths
from galcli.tables.status import ModelStatus, RowStatus
from tests.average import write_average
from tests.predict.conftest import halt
from tests.survey import Survey, make_survey, read_predictions, write_catalog, write_stacks
from tests.tiny_models import (
    NO_PIXELS,
    backbone_of,
    card_of,
    change_card,
    dictionary,
    link_to,
    output,
    save,
    sha256,
    tensor_input,
    write_autoencoder,
    write_backbone,
    write_chain,
    write_index,
    write_logarithm,
)  # fmt: skip

Run = Callable[..., Any]


def predict(survey: Survey, *models: object, more: tuple[object, ...] = ()) -> list[str]:
    words = ["predict", survey.catalog, "-o", survey.out, "--threads", 1, "--device", "cpu", *more]
    return [str(word) for word in [*words, *(part for model in models for part in ("--model", model))]]


def codes(survey: Survey, seed: int = 0) -> NDArray[np.float64]:
    """What `write_autoencoder` should say, (n, CONCEPTS)."""
    maps = survey.pixels.astype(np.float64).reshape(len(survey.pixels), 3, 4, 4, 4, 4).mean(axis=(3, 5))
    return np.maximum(maps.reshape(len(maps), -1) @ dictionary(seed), 0)


@pytest.fixture
def backbone(survey: Survey) -> Path:
    return write_backbone(survey.root / "backbone.onnx")


@pytest.fixture
def sae(survey: Survey, backbone: Path) -> Path:
    return write_autoencoder(survey.root / "sae.onnx", backbone)


def test_autoencoder_is_run_after_its_backbone(survey: Survey, galcli: Run, backbone: Path, sae: Path) -> None:
    said = galcli(*predict(survey, sae))
    rows = read_predictions(survey.out)
    assert list(rows.dtype.names or ())[5:] == ["BBN_SUM", "BBN_STATUS", "SAE_CODE", "SAE_STATUS"]
    np.testing.assert_allclose(rows["SAE_CODE"], codes(survey), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows["BBN_SUM"], survey.means.sum(axis=1), rtol=1e-6)
    assert not rows["STATUS"].any() | rows["SAE_STATUS"].any()
    assert f"model sae 1.0 ({sha256(sae)[:12]}), fed by backbone" in said.err
    models = fitsio.read(survey.out, ext="MODELS")
    assert np.char.strip(models["SHA256"]).tolist() == [sha256(backbone), sha256(sae)]
    assert json.loads(models["CARD"][1])["backbone"] == backbone_of(backbone)
    galcli("validate", survey.out)
    assert "nothing to do" in galcli(*predict(survey, sae)).err
    write_autoencoder(sae, backbone, seed=1)
    assert "models.1.sha256" in galcli(*predict(survey, sae), code=4).error


def test_backbone_asked_for_itself_runs_once(survey: Survey, galcli: Run, backbone: Path, sae: Path) -> None:
    galcli(*predict(survey, sae))
    alone = survey.out.read_bytes()
    for models in ((backbone, sae), (sae, backbone)):
        galcli(*predict(survey, *models, more=("--overwrite",)))
        assert survey.out.read_bytes() == alone
    # Asked for twice it runs twice, as any model does, and feeds the autoencoder once.
    galcli(*predict(survey, sae, backbone, backbone, more=("--overwrite",)))
    rows = read_predictions(survey.out)
    assert list(rows.dtype.names or ())[5:] == [
        "BBN_SUM", "BBN_STATUS", "SAE_CODE", "SAE_STATUS", "BBN_SUM_2", "BBN_STATUS_2",
    ]  # fmt: skip
    galcli("validate", survey.out)


def test_several_autoencoders_share_a_backbone(survey: Survey, galcli: Run, backbone: Path, sae: Path) -> None:
    other = write_autoencoder(survey.root / "other.onnx", backbone, seed=1)
    galcli(*predict(survey, sae, survey.model, other))
    rows = read_predictions(survey.out)
    assert list(rows.dtype.names or ())[5:] == [
        "BBN_SUM", "BBN_STATUS", "SAE_CODE", "SAE_STATUS", "SAE_CODE_2", "SAE_STATUS_2", "AVG_FLUX", "AVG_STATUS",
    ]  # fmt: skip
    np.testing.assert_allclose(rows["SAE_CODE"], codes(survey), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows["SAE_CODE_2"], codes(survey, 1), rtol=1e-5, atol=1e-6)
    galcli("validate", survey.out)


def test_backbone_may_lie_anywhere_if_it_is_named(survey: Survey, galcli: Run, backbone: Path, sae: Path) -> None:
    (survey.root / "elsewhere").mkdir()
    backbone = backbone.rename(survey.root / "elsewhere" / "renamed.onnx")
    galcli(*predict(survey, sae, backbone))
    np.testing.assert_allclose(read_predictions(survey.out)["SAE_CODE"], codes(survey), rtol=1e-5, atol=1e-6)
    assert "needs backbone, which is neither beside" in galcli(*predict(survey, sae), code=5).error


def test_installed_autoencoder(
    survey: Survey, galcli: Run, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    backbone = write_backbone(tiny_weights / "backbone.onnx")
    write_autoencoder(tiny_weights / "sae.onnx", backbone)
    write_index(tiny_weights, {"backbone": False, "sae": False})
    galcli(*predict(survey, "sae"))
    np.testing.assert_allclose(read_predictions(survey.out)["SAE_CODE"], codes(survey), rtol=1e-5, atol=1e-6)
    # One of the user's own, whose backbone is installed, and a stranger of the same name beside it.
    own = write_autoencoder(survey.root / "own.onnx", backbone, seed=2)
    write_average(survey.root / "backbone.onnx", 16)
    galcli(*predict(survey, own, more=("--overwrite",)))
    np.testing.assert_allclose(read_predictions(survey.out)["SAE_CODE"], codes(survey, 2), rtol=1e-5, atol=1e-6)
    shown = galcli("models", "show", "sae").out
    assert f"fed by    backbone (SHA-256 {sha256(backbone)}), with maps f4[3,4,4]" in shown
    assert "(fed by backbone)" in galcli("models", "list").out
    entries = json.loads(galcli("models", "list", "--json").out)
    assert {entry["name"]: entry["backbone"] for entry in entries} == {"backbone": None, "sae": "backbone"}
    assert "sae: good" in galcli("models", "verify").out
    assert json.loads(galcli("plan", survey.catalog, "--model", "sae", "--json").out)["models"] == ["backbone", "sae"]
    # Another backbone under the same name: what is installed does not fit together.
    change_card(backbone, version="2")
    write_index(tiny_weights, {"backbone": False, "sae": False})
    wrong = f"backbone of SHA-256 {backbone_sha(tiny_weights / 'sae.onnx')[:12]}"
    assert f"sae: {wrong}, on which it was trained, is not installed" in galcli("models", "verify", code=5).out
    assert [finding.verdict for finding in examine() if wrong in finding.what] == ["bad"]


def test_default_autoencoder_comes_with_its_backbone(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
    backbone = write_backbone(tiny_weights / "backbone.onnx")
    write_autoencoder(tiny_weights / "sae.onnx", backbone)
    write_average(tiny_weights / "average.onnx", 16)
    write_index(tiny_weights, {"average": True, "backbone": False, "sae": True})
    galcli(*predict(survey))
    assert list(read_predictions(survey.out).dtype.names or ())[5::2] == ["AVG_FLUX", "BBN_SUM", "SAE_CODE"]
    # Where the backbone does not fit the cutouts, neither does what it feeds.
    change_card(backbone, fronts=[{"name": "flux:JHK", "bands": ["J", "H", "K"]}])
    write_autoencoder(tiny_weights / "sae.onnx", backbone)
    write_index(tiny_weights, {"average": True, "backbone": False, "sae": True})
    galcli(*predict(survey, more=("--overwrite",)))
    assert list(read_predictions(survey.out).dtype.names or ())[5::2] == ["AVG_FLUX"]
    assert "flux:JHK" in galcli(*predict(survey, "sae", more=("--overwrite",)), code=4).error


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("absent", "sae needs backbone, which is neither beside"),
        ("another", "sae was trained on another backbone"),
        ("tensor", "backbone has no output inner/nothing to feed sae"),
        ("input", "backbone feeds sae with other, but its inputs are maps"),
        (
            "shape",
            "backbone cannot feed input maps of sae: inner/maps has the shape ('N', 3, 4, 4), not (None, 3, 4, 5)",
        ),
        ("type", "backbone cannot feed input maps of sae: inner/maps is float32, not int64"),
        ("int8", "this is an int8 model"),
        ("on a chained one", "sae cannot be fed by doubler, which another model feeds"),
        ("on another autoencoder", "sae cannot be fed by first, which another model feeds"),
    ],
)
def test_wrong_backbone_is_refused_before_any_work(
    survey: Survey, galcli: Run, backbone: Path, sae: Path, fault: str, words: str
) -> None:
    hint = "export sae again"
    if fault == "absent":
        backbone.unlink()
        hint = f"put backbone.onnx of SHA-256 {backbone_sha(sae)} beside {sae}"
    elif fault == "another":
        change_card(backbone, version="2")
        words += f" ({backbone_sha(sae)[:12]}) than {backbone} ({sha256(backbone)[:12]})"
        hint = f"put backbone.onnx of SHA-256 {backbone_sha(sae)} beside {sae}, or train sae again"
    elif fault in ("tensor", "input"):
        bindings = {"inner/nothing": "maps"} if fault == "tensor" else {"inner/maps": "other"}
        write_autoencoder(sae, backbone, bindings=bindings)
    elif fault in ("shape", "type"):
        fed = tensor_input("maps", (3, 4, 5)) if fault == "shape" else tensor_input("maps", (3, 4, 4), "i8")
        write_autoencoder(sae, backbone, fed=fed)
    elif fault == "int8":
        change_card(backbone, precision="int8", twin_of="0" * 64)
        write_autoencoder(sae, backbone)
        hint = "give the file of the float32 model"
    elif fault == "on a chained one":
        _, doubler = write_chain(survey.root)
        write_autoencoder(sae, doubler)
        hint = "a model that works on pixels"
    else:
        write_autoencoder(sae, write_autoencoder(survey.root / "first.onnx", backbone))
        hint = "a model that works on pixels"
    for command in (predict(survey, sae), ["plan", str(survey.catalog), "--model", str(sae)]):
        result = galcli(*command, code=5)
        assert words in result.error
        assert hint in result.hint
    assert not RunPaths(survey.out).root.exists()


def backbone_sha(path: Path) -> str:
    """The SHA-256 of the backbone that a model's card names."""
    link = library.find(path).card.backbone
    assert link is not None
    return link.sha256


def test_model_that_two_cards_link_is_refused(survey: Survey, galcli: Run, backbone: Path, sae: Path) -> None:
    feeding = write_backbone(survey.root / "feeding.onnx", chain=[link_to(sae, {"inner/maps": "maps"})])
    assert "chained to sae, which names backbone" in galcli(*predict(survey, feeding), code=5).error


def test_what_the_backbone_met_holds_for_the_autoencoder(survey: Survey, galcli: Run) -> None:
    pixels = survey.pixels.copy()
    pixels[3, :, :, :12] = np.nan
    pixels[5, 1] = np.nan
    pixels[7, :, 0, :2] = np.nan
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    sums = survey.means.sum(axis=1)
    backbone = write_backbone(survey.root / "backbone.onnx", pixel_scale=0.262 * 1.06, max_masked=0.5)
    change_card(backbone, domain={"column": "BBN_SUM", "threshold": 1.06**2 * float(np.median(sums))})
    sae = write_autoencoder(survey.root / "sae.onnx", backbone)
    galcli(*predict(survey, sae))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["SAE_STATUS"], rows["BBN_STATUS"])
    assert rows["SAE_STATUS"][3] == int(ModelStatus.MASKED | ModelStatus.EDGE)
    assert rows["SAE_STATUS"][5] & int(ModelStatus.MISSING_BAND)
    kept = np.isin(np.arange(48), [3, 5], invert=True)
    outside = rows["SAE_STATUS"][kept] & int(ModelStatus.OUT_OF_DOMAIN)
    assert 0 < outside.astype(bool).sum() < outside.size
    assert (rows["SAE_STATUS"][kept] & int(ModelStatus.EDGE)).all()
    np.testing.assert_array_equal(np.isnan(rows["SAE_CODE"]).all(axis=1), ~kept)
    np.testing.assert_array_equal(rows["STATUS"], np.where(kept, 0, int(RowStatus.NO_PREDICTION)))
    galcli("validate", survey.out)


def test_value_that_is_not_finite_costs_the_autoencoder_its_row_too(survey: Survey, galcli: Run) -> None:
    pixels = survey.pixels.copy()
    pixels[[3, 20], 0] -= 100  # the logarithm of a negative mean is NaN
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    logarithm = write_logarithm(survey.root / "logarithm.onnx")
    fed = tensor_input("maps", ())
    sae = write_autoencoder(survey.root / "sae.onnx", logarithm, bindings={"log": "maps"}, fed=fed)
    galcli(*predict(survey, sae))
    rows = read_predictions(survey.out)
    failed = np.isin(np.arange(48), [3, 20])
    np.testing.assert_array_equal(rows["SAE_STATUS"], np.where(failed, int(ModelStatus.MODEL_ERROR), 0))
    np.testing.assert_array_equal(np.isnan(rows["SAE_CODE"]).all(axis=1), failed)
    galcli("validate", survey.out)


def test_bytes_do_not_depend_on_how_the_work_is_cut(
    survey: Survey, galcli: Run, backbone: Path, sae: Path, request: pytest.FixtureRequest
) -> None:
    # Onnxruntime adds up five numbers in an order that depends on their place in the batch.
    change_card(sae, outputs=[output("codes", "SAE_CODE", shape=(5,)), output("total", "SAE_TOTAL")])
    words = ("--model", sae, "--order", 0)
    galcli(*survey.predict(*words))
    whole = survey.out.read_bytes()
    for batch in (1, 3, 7, 64):
        galcli(*survey.predict(*words, "--batch-size", batch, "--overwrite"))
        assert survey.out.read_bytes() == whole
    words = ("--model", sae, "--order", 3)
    galcli(*survey.predict(*words, "--overwrite"))
    whole = survey.out.read_bytes()
    galcli(*survey.predict(*words, "--workers", 2, "--overwrite"))
    assert survey.out.read_bytes() == whole
    survey.out.unlink()
    halt(survey, galcli, "--model", sae)
    assert "going on with an unfinished run" in galcli(*survey.predict(*words)).err
    assert survey.out.read_bytes() == whole
    opened: list[Engine] = request.getfixturevalue("lanes")
    before = read_predictions(survey.out)
    galcli(*survey.predict(*words, "--batch-size", 3, "--overwrite"))
    assert len(opened) == 1
    after = read_predictions(survey.out)
    for name in before.dtype.names or ():  # the bytes are promised on the CPU alone
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6)


def test_maps_stay_on_the_device_between_the_two(
    survey: Survey, galcli: Run, sae: Path, lanes: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from galcli.models.bound import Lane, Tensor

    fed: list[type] = []
    run = Lane.run

    def watched(self: Lane, graph: Any, feeds: Any, *rest: Any) -> Any:
        fed.extend(type(value) for name, value in feeds.items() if name == "maps")
        return run(self, graph, feeds, *rest)

    monkeypatch.setattr(Lane, "run", watched)
    galcli(*predict(survey, sae, more=("--order", 0, "--batch-size", 3)))
    assert set(fed) == {Tensor}
    np.testing.assert_allclose(read_predictions(survey.out)["SAE_CODE"], codes(survey), rtol=1e-5, atol=1e-6)


def test_autoencoder_has_groups_and_feeds_others(survey: Survey, galcli: Run, backbone: Path) -> None:
    card = card_of(
        "reader", "RDR", [output("twice", "RDR_TWICE", shape=(5,))], **NO_PIXELS, inputs=[tensor_input("z", (5,))]
    )
    node = onnx.helper.make_node("Add", ["z", "z"], ["twice"])
    reader = save(survey.root / "reader.onnx", [node], {"twice": (TensorProto.FLOAT, [5])}, {}, card)
    sae = write_autoencoder(survey.root / "sae.onnx", backbone, chain=[link_to(reader, {"codes": "z"}, "reading")])
    more = output("codes", "SAE_MORE", shape=(5,), group="more")
    change_card(sae, outputs=[output("codes", "SAE_CODE", shape=(5,)), more])
    galcli(*predict(survey, sae, more=("--with", "more", "--with", "reading")))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["SAE_MORE"], rows["SAE_CODE"])
    np.testing.assert_array_equal(rows["RDR_TWICE"], 2 * rows["SAE_CODE"])
    galcli("validate", survey.out)
    galcli(*predict(survey, sae, more=("--overwrite",)))
    assert not {"SAE_MORE", "RDR_TWICE"} & set(read_predictions(survey.out).dtype.names or ())
    assert "more, reading" in galcli(*predict(survey, sae, more=("--with", "x", "--overwrite")), code=2).hint


def test_evaluate_measures_the_autoencoder_and_not_its_backbone(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s")
    truth = codes(survey)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, TRUTH=truth)
    backbone = write_backbone(survey.root / "backbone.onnx")
    # Both call a column and their status by the same names.
    change_card(backbone, prefix="SAE", outputs=[output("sum", "SAE_CODE")])
    sae = write_autoencoder(survey.root / "sae.onnx", backbone)
    words = ("evaluate", sae, "--catalog", survey.catalog, "--device", "cpu", "--json", "--label")
    scores = json.loads(galcli(*words, "SAE_CODE=TRUTH").out)["scores"]
    assert len(scores) == 5
    for score in scores:
        assert score["objects"] == 48
        assert score["rmse"] < 1e-5 * max(score["scatter"], 1)
    assert "its outputs are SAE_CODE" in galcli(*words, "BBN_SUM=TRUTH", code=4).hint
