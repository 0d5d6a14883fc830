"""The table a run writes: right values, in order, and a FITS file that others read without complaint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from astropy.units import Unit

from galcli.sky import healpix
from tests.survey import Survey, make_survey, raw_rows, read_predictions
from tests.tiny_models import write_classes, write_corners, write_network

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def finished(shared_survey: Survey, galcli: Run) -> Path:
    """A table with scalar, vector, matrix, integer and text columns, and every kind of header card."""
    root = shared_survey.root
    models = [
        write_corners(root / "corners.onnx"),
        write_classes(root / "classes.onnx"),
        write_network(root / "net.onnx"),
    ]
    more = [word for model in models for word in ("--model", model)]
    galcli(*shared_survey.predict(*more, "--columns", "ra", out=root / "finished.fits"))
    return root / "finished.fits"


def test_values_are_the_means_of_the_right_pixels(shared_survey: Survey, finished: Path) -> None:
    rows = read_predictions(finished)
    np.testing.assert_array_equal(rows["OBJECT_ID"], shared_survey.ids)
    np.testing.assert_array_equal(rows["RA"], shared_survey.ra)
    np.testing.assert_array_equal(rows["DEC"], shared_survey.dec)
    np.testing.assert_array_equal(rows["HPX"], healpix.pixel(shared_survey.ra, shared_survey.dec))
    np.testing.assert_allclose(rows["AVG_FLUX"], shared_survey.means, rtol=1e-6)
    np.testing.assert_array_equal(rows["CRN_FLUX"], shared_survey.pixels[:, :, [[0, 0], [-1, -1]], [[0, -1], [0, -1]]])
    np.testing.assert_array_equal(rows["CLS_NR"], shared_survey.means.argmax(axis=1))
    np.testing.assert_array_equal(rows["CLS_NAME"], np.array(["green", "red", "infrared"])[rows["CLS_NR"]])
    assert not rows["STATUS"].any()
    assert not rows["AVG_STATUS"].any()


def test_tiles_do_not_change_the_table_but_for_their_order_in_its_history(
    shared_survey: Survey, finished: Path, galcli: Run, tmp_path: Path
) -> None:
    galcli(*shared_survey.predict("--order", 4, "--columns", "ra", out=tmp_path / "fine.fits"))
    coarse, fine = read_predictions(finished), read_predictions(tmp_path / "fine.fits")
    for name in fine.dtype.names or ():
        np.testing.assert_array_equal(fine[name], coarse[name])


def test_astropy_opens_it_without_a_warning(finished: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(finished, checksum=True) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "PREDICTIONS", "MODELS", "RUN", "CLS_NAMES"]
            for hdu in hdus:
                assert hdu.data is None or len(hdu.data)
        table = Table.read(finished, hdu="PREDICTIONS")
        assert len(table) == 48
        assert Table.read(finished, hdu="CLS_NAMES")["LABEL"].tolist() == ["green", "red", "infrared"]


def test_every_column_is_explained(finished: Path) -> None:
    with fits.open(finished) as hdus:
        for hdu in hdus[1:]:
            for n in range(1, hdu.header["TFIELDS"] + 1):
                name = hdu.header[f"TTYPE{n}"]
                assert name == name.upper()
                assert len(hdu.header[f"TCOMM{n}"]) > 3, (hdu.name, name)
                if f"TUNIT{n}" in hdu.header:
                    Unit(hdu.header[f"TUNIT{n}"], format="fits")
                if f"TUCD{n}" in hdu.header:
                    assert check_ucd(hdu.header[f"TUCD{n}"], check_controlled_vocabulary=True), (hdu.name, name)
                # STATUS is never null.
                if name != "STATUS" and hdu.columns[n - 1].format.lstrip("0123456789")[0] in "BIJK":
                    assert f"TNULL{n}" in hdu.header, (hdu.name, name)


def test_checksums_verify_and_carry_no_date(finished: Path) -> None:
    with fits.open(finished) as hdus:
        for hdu in hdus:
            assert hdu.verify_checksum() == 1
            assert hdu.verify_datasum() == 1
            assert "T" not in hdu.header.comments["CHECKSUM"].split("HDU")[0].upper().replace("CHECKSUM OF THIS", "")
            assert not any(
                letter.isdigit() for letter in hdu.header.comments["CHECKSUM"] + hdu.header.comments["DATASUM"]
            )


def test_provenance_is_in_the_file(shared_survey: Survey, finished: Path) -> None:
    with fits.open(finished) as hdus:
        models, run = hdus["MODELS"].data, hdus["RUN"].data
        assert models["NAME"].tolist() == ["average", "corners", "classes", "network"]
        assert json.loads(models["CARD"][0])["name"] == "average"
        facts = dict(zip(run["KEY"].tolist(), run["VALUE"].tolist(), strict=True))
        assert facts["models.0.sha256"] == models["SHA256"][0] == hdus[1].header["MSHA1"]
        assert facts["catalog.rows"] == "48"
        assert facts["models.0.front"] == "flux:grz"
        text = " ".join(facts) + " ".join(facts.values()) + repr(hdus[1].header)
    # Where and when it ran is not what determines the values.
    assert str(shared_survey.root) not in text
    assert "finished.fits" not in text


def test_validate_passes_it(finished: Path, galcli: Run) -> None:
    assert "valid" in galcli("validate", finished).out
    found = json.loads(galcli("validate", finished, "--json").out)
    assert found[str(finished)] == {"kind": "table", "rows": 48, "problems": [], "notes": []}


@pytest.mark.parametrize("what", ["bit", "cut", "header", "empty"])
def test_validate_finds_damage(finished: Path, galcli: Run, tmp_path: Path, what: str) -> None:
    raw = bytearray(finished.read_bytes())
    start = raw.find(raw_rows(finished)[10].tobytes())
    if what == "bit":
        raw[start + 40] ^= 4
    elif what == "cut":
        del raw[-3000:]
    elif what == "header":
        at = raw.find(b"average", raw.find(b"MODEL1  "))
        raw[at] = ord("A")
    else:
        raw.clear()
    broken = tmp_path / "broken.fits"
    broken.write_bytes(raw)
    assert "not valid" in galcli("validate", broken, code=4).error


def test_null_without_a_reason_is_found(shared_survey: Survey, galcli: Run, tmp_path: Path) -> None:
    """A table with right checksums whose values contradict its status."""
    galcli(*shared_survey.predict(out=tmp_path / "p.fits"))
    with fits.open(tmp_path / "p.fits") as hdus:
        hdus["PREDICTIONS"].data["AVG_FLUX"][3, 1] = np.nan
        hdus.writeto(tmp_path / "nan.fits", checksum=True)
    result = galcli("validate", tmp_path / "nan.fits", code=4)
    assert "AVG_FLUX" in result.out
    assert "row 3" in result.out


def test_default_output_lies_in_the_current_folder(
    shared_survey: Survey, galcli: Run, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    galcli("predict", shared_survey.catalog, "--model", shared_survey.model, "--threads", 1)
    assert (tmp_path / "catalog_galcli.fits").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "catalog_galcli.fits"]


def test_only_the_output_is_left(survey: Survey, galcli: Run) -> None:
    before = set(survey.root.iterdir())
    galcli(*survey.predict("--order", 3))
    assert set(survey.root.iterdir()) - before == {survey.out}


def test_folders_of_the_output_are_made(survey: Survey, galcli: Run) -> None:
    out = survey.root / "new" / "größe und maß" / "p.fits"
    galcli(*survey.predict(out=out))
    assert out.exists()


def test_first_lines_name_device_and_model(survey: Survey, galcli: Run) -> None:
    lines = galcli(*survey.predict()).err.splitlines()
    assert "on CPU, fp32" in lines[0]
    assert any("average 1.0" in line and "flux:grz" in line for line in lines[:4])


def test_mock_weights_are_announced(survey: Survey, galcli: Run) -> None:
    from tests.average import write_average

    training = {"data": "mock", "mock": True, "objects": 9, "seed": 0, "epochs": 1, "preset": "quick"}
    write_average(survey.model, 16, training=training)
    assert "MOCK" in galcli(*survey.predict()).err
    with fits.open(survey.out) as hdus:
        assert hdus["PREDICTIONS"].header["MMOCK1"] is True


def test_text_that_looks_like_markup_is_shown_as_it_is(tmp_path: Path, galcli: Run) -> None:
    """Identifiers come from strangers: the preview must not read them as colours."""
    ids = np.array([b"[red]", b"[/b]", b"[link=x]y"])
    survey = make_survey(tmp_path / "s", 3, ids=ids)
    out = galcli(*survey.predict()).out
    assert "[/b]" in out
    assert "[red]" in out
