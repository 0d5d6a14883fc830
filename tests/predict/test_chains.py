"""Models that other models feed: what they are told of a row beside its tensors, and groups far down a chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from galcli.tables.status import ModelStatus
from tests.survey import Survey, make_survey, read_predictions
from tests.tiny_models import change_card, link_to, output, write_chain

Run = Callable[..., Any]

LATENT = {"inner/latent": "latent"}


def predict(survey: Survey, encoder: Path, *more: object) -> list[object]:
    return ["predict", survey.catalog, "-o", survey.out, "--model", encoder, "--threads", 1, "--device", "cpu", *more]


@pytest.mark.parametrize("display", [False, True])
def test_offsets_of_a_chained_model_need_a_scale_too(tmp_path: Path, galcli: Run, display: bool) -> None:
    survey = make_survey(tmp_path / "s", 6, loose=True)
    if display:
        for name, pixels in zip(survey.ids, survey.pixels, strict=True):
            (survey.cutouts / f"{name}.fits").unlink()
            picture = np.clip(pixels * 20, 0, 255).astype(np.uint8).transpose(1, 2, 0)
            Image.fromarray(picture).save(survey.cutouts / f"{name}.png")
    encoder, reader = write_chain(survey.root)
    change_card(reader, outputs=[output("double", "DBL_DX", shape=(3,), sky_offset=True)])
    change_card(encoder, chain=[link_to(reader, LATENT)])
    galcli(*predict(survey, encoder))
    rows = read_predictions(survey.out)
    assert not rows["DBL_STATUS"].any()
    assert np.isfinite(rows["ENC_SUM"]).all()
    assert (np.isnan(rows["DBL_DX"]) == display).all()
    galcli("validate", survey.out)


def test_doubts_about_a_row_hold_for_what_it_feeds(survey: Survey, galcli: Run) -> None:
    encoder, _ = write_chain(survey.root, size=17)  # one pixel more than the cutouts have
    sums = survey.means.sum(axis=1) * (16 / 17) ** 2
    change_card(encoder, max_masked=0.2, domain={"column": "ENC_SUM", "threshold": float(np.median(sums))})
    galcli(*predict(survey, encoder))
    rows = read_predictions(survey.out)
    expected = np.where(sums > np.median(sums), int(ModelStatus.OUT_OF_DOMAIN), 0) | int(ModelStatus.EDGE)
    np.testing.assert_array_equal(rows["ENC_STATUS"], expected)
    np.testing.assert_array_equal(rows["DBL_STATUS"], expected)
    galcli("validate", survey.out)


def test_what_is_fed_nothing_says_why(survey: Survey, galcli: Run) -> None:
    encoder, _ = write_chain(survey.root, size=17)
    change_card(encoder, max_masked=0.0)  # there is no row of which every pixel is seen
    said = galcli(*predict(survey, encoder), code=3)
    rows = read_predictions(survey.out)
    assert (rows["ENC_STATUS"] == int(ModelStatus.MASKED | ModelStatus.EDGE)).all()
    np.testing.assert_array_equal(rows["DBL_STATUS"], rows["ENC_STATUS"])
    assert f"{len(rows)} x too many pixels without data" in said.err
    assert "not finite" not in said.err
    galcli("validate", survey.out)


def test_groups_of_chained_models_can_be_asked_for(survey: Survey, galcli: Run) -> None:
    encoder, reader = write_chain(survey.root)
    spectra = survey.root / "spectra.onnx"
    change_card(spectra, outputs=[output("double", "SPC_VALUE", shape=(3,)),
                                  output("double", "SPC_LINES", shape=(3,), group="lines")])  # fmt: skip
    # Always the doubler, which makes spectra of what it doubled where they are asked for.
    change_card(reader, chain=[link_to(spectra, {"double": "latent"}, "spectra")])
    change_card(encoder, chain=[link_to(reader, LATENT)])
    galcli(*predict(survey, encoder, "--with", "spectra", "--with", "lines"))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["SPC_VALUE"], 2 * rows["DBL_VALUE"])
    np.testing.assert_array_equal(rows["SPC_LINES"], rows["SPC_VALUE"])
    # Without the spectra there are no lines of theirs.
    assert "more, spectra" in galcli(*predict(survey, encoder, "--with", "lines", "--overwrite"), code=2).hint
