"""``--precision int8`` from the command line: the shipped twins on the sample survey, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import onnx
import pytest

from galcli.errors import DeviceError
from galcli.models import library
from galcli.models.card import CARD_KEY
from galcli.models.int8 import int8_device
from galcli.models.library import twin_path
from galcli.sample import unpack
from tests.average import write_average
from tests.survey import Survey, read_predictions
from tests.tiny_models import change_card, sha256, write_autoencoder, write_backbone, write_chain

Run = Callable[..., Any]


def can_run() -> bool:
    try:
        int8_device("cpu")
    except DeviceError:
        return False
    return True


pytestmark = pytest.mark.skipif(not can_run(), reason="this processor cannot run int8 models")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("int8") / "sample")


def test_sample_in_both_precisions(sample: Path, galcli: Run, tmp_path: Path) -> None:
    tables = {}
    for precision in ("fp32", "int8"):
        out = tmp_path / f"{precision}.fits"
        said = galcli("predict", sample, "--precision", precision, "-o", out, "--limit", 48)
        assert f"CPU, {precision}" in said.err
        tables[precision] = read_predictions(out)
    full, twin = tables["fp32"], tables["int8"]
    assert full.dtype == twin.dtype
    for column in ("Z_GAS", "LOG_HA_6564", "LOG_OIII_HB"):
        difference = twin[column] - full[column]
        assert 0 < np.std(difference) < 0.5 * np.median(full[f"{column}_ERR"])
    for prefix in ("SFZ", "SFL"):
        assert (full[f"{prefix}_IDX"][:, 0] == twin[f"{prefix}_IDX"][:, 0]).mean() > 0.9
    models = fitsio.read(tmp_path / "int8.fits", ext="MODELS")
    found = {str(np.char.strip(row["NAME"])): row for row in models}
    twins = {"sfnet-metallicity", "sfnet-lines"}
    assert set(found) == {*twins, "spectra"}
    for name in twins:
        assert str(np.char.strip(found[name]["SHA256"])) == library.find(name, "int8").sha256
        assert json.loads(found[name]["CARD"])["twin_of"] == library.find(name).sha256
    assert "computed in float32, for want of an int8 twin: spectra" in said.err
    assert str(np.char.strip(found["spectra"]["SHA256"])) == library.find("spectra").sha256
    for column in ("SPEC_LATENT", "SPEC_LATENT_ERR", "SPEC_OOD", "SPEC_STATUS"):
        np.testing.assert_array_equal(twin[column], full[column])


def test_precision_is_part_of_what_a_run_is(sample: Path, galcli: Run, tmp_path: Path) -> None:
    words = ("predict", sample, "--model", "sfnet-metallicity", "-o", tmp_path / "p.fits", "--limit", 4)
    galcli(*words)
    assert "precision" in galcli(*words, "--precision", "int8", code=4).err
    galcli(*words, "--precision", "int8", "--overwrite")


def test_evaluate_measures_the_twin(sample: Path, galcli: Run) -> None:
    words = ("evaluate", "sfnet-metallicity", "--catalog", sample, "--limit", 48, "--json")
    scores = [json.loads(galcli(*words, *more).out)["scores"][0] for more in ((), ("--precision", "int8"))]
    assert scores[0]["objects"] == scores[1]["objects"]
    assert 0 < abs(scores[0]["rmse"] - scores[1]["rmse"]) < 0.02


def test_twin_beside_a_file(survey: Survey, galcli: Run) -> None:
    twin = twin_path(survey.model)
    write_average(twin, 16, precision="int8", twin_of=sha256(survey.model))
    galcli(*survey.predict("--precision", "int8"))
    words = ["predict", survey.catalog, "--model", twin, "-o", survey.root / "twin.fits"]
    galcli(*words)
    np.testing.assert_array_equal(read_predictions(survey.out), read_predictions(survey.root / "twin.fits"))
    assert "int8 model" in galcli(*words, "--overwrite", "--precision", "fp32", code=5).error
    write_average(twin, 16, precision="int8", twin_of="0" * 64)
    assert "of another" in galcli(*survey.predict("--precision", "int8", "--overwrite"), code=5).error


def test_twin_feeds_the_model_that_its_original_feeds(survey: Survey, galcli: Run) -> None:
    encoder, reader = write_chain(survey.root)
    twin = onnx.load(encoder)
    card = json.loads(twin.metadata_props[0].value) | {"precision": "int8", "twin_of": sha256(encoder)}
    onnx.helper.set_model_props(twin, {CARD_KEY: json.dumps(card)})
    onnx.save(twin, twin_path(encoder))
    galcli("predict", survey.catalog, "--model", encoder, "--precision", "int8", "-o", survey.out)
    np.testing.assert_allclose(read_predictions(survey.out)["DBL_VALUE"], 2 * survey.means, rtol=1e-6)
    found = fitsio.read(survey.out, ext="MODELS", columns="SHA256")
    assert np.char.strip(found).tolist() == [sha256(twin_path(encoder)), sha256(reader)]
    galcli("validate", survey.out)


def test_autoencoder_and_its_backbone_stay_in_float32(survey: Survey, galcli: Run) -> None:
    backbone = write_backbone(survey.root / "backbone.onnx")
    sae = write_autoencoder(survey.root / "sae.onnx", backbone)
    words = ["predict", survey.catalog, "-o", survey.out, "--device", "cpu", "--threads", 1, "--model", sae]
    galcli(*words)
    full = read_predictions(survey.out)
    twin = twin_path(backbone)
    twin.write_bytes(backbone.read_bytes())
    change_card(twin, precision="int8", twin_of=sha256(backbone))
    said = galcli(*words, "--precision", "int8", "--overwrite").err
    assert "note: computed in float32, for want of an int8 twin: sae\n" in said
    assert "note: computed in float32, as the backbone of sae: backbone\n" in said
    np.testing.assert_array_equal(read_predictions(survey.out), full)
    # Who asks for the backbone itself gets its twin, beside what feeds the autoencoder.
    galcli(*words, "--model", backbone, "--precision", "int8", "--overwrite")
    rows, models = read_predictions(survey.out), fitsio.read(survey.out, ext="MODELS", columns="SHA256")
    assert np.char.strip(models).tolist() == [sha256(backbone), sha256(sae), sha256(twin)]
    np.testing.assert_array_equal(rows["SAE_CODE"], full["SAE_CODE"])
    assert {"BBN_SUM", "BBN_SUM_2"} < set(rows.dtype.names or ())
    galcli("validate", survey.out)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt"])
def test_other_devices_are_refused(survey: Survey, galcli: Run, device: str) -> None:
    write_average(twin_path(survey.model), 16, precision="int8", twin_of=sha256(survey.model))
    result = galcli(*survey.predict("--precision", "int8", "--device", device), code=2)
    assert "CPU only" in result.error
    assert "--device" in result.hint
