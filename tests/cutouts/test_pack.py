"""Stacks made of cutouts and of large images: every row with its own pixels, or with the reason."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest

from galcli.cutouts import pack as pack_module
from galcli.cutouts.fit import fit
from galcli.errors import Interrupted
from galcli.tables.status import RowStatus
from tests.cutouts.sky_images import DEC, RA, header, write
from tests.survey import Survey, make_survey, noise, read_predictions, write_catalog, write_stamp

Run = Callable[..., Any]


def pixels_of(folder: Path) -> dict[int, Any]:
    """Cutouts of a folder of stacks by identifier."""
    found = {}
    for path in folder.rglob("Npix=*.fits"):
        with fitsio.FITS(str(path)) as file:
            index = file["INDEX"].read()
            planes = file["PIXELS"].read()
            bands = len(file["PIXELS"].read_header()["BANDS"].strip())
        for entry in index[index["STATUS"] == 0]:
            found[int(entry["OBJECT_ID"])] = (planes[entry["ROW"] * bands :][:bands], entry)
    return found


@pytest.fixture
def loose(tmp_path: Path) -> Survey:
    return make_survey(tmp_path / "s", 30, loose=True)


@pytest.mark.parametrize("compression", ["none", "lossless", "rice"])
def test_packed_cutouts_give_the_same_predictions(loose: Survey, galcli: Run, tmp_path: Path, compression: str) -> None:
    galcli(*loose.predict())
    expected = read_predictions(loose.out)
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st", "--compression", compression)
    galcli(*loose.predict("--cutouts", tmp_path / "st", "--overwrite"))
    found = read_predictions(loose.out)
    if compression == "rice":
        np.testing.assert_allclose(found["AVG_FLUX"], expected["AVG_FLUX"], atol=0.05)
    else:
        np.testing.assert_array_equal(found, expected)
    assert len(pixels_of(tmp_path / "st")) == 30


def test_stamps_cut_from_images(galcli: Run, tmp_path: Path) -> None:
    head = header(300)
    pixels = write(tmp_path / "i/a.fits", head, compress=True)
    rng = np.random.default_rng(0)
    ra, dec = RA + rng.uniform(-1, 1, 40) * 0.009, DEC + rng.uniform(-1, 1, 40) * 0.009
    ra[3], dec[5] = np.nan, 80.0
    write_catalog(tmp_path / "c.fits", OBJECT_ID=np.arange(40), RA=ra, DEC=dec)
    out = tmp_path / "st"
    galcli("cutouts", "cut", tmp_path / "c.fits", "--cutouts", tmp_path / "i/*.fits", "-o", out, "--size", 32)
    found = pixels_of(out)
    assert sorted(found) == [row for row in range(40) if row not in (3, 5)]
    from astropy.nddata import Cutout2D
    from astropy.wcs import WCS

    for row, (stamp, entry) in found.items():
        x, y = WCS(head).all_world2pix(ra[row], dec[row], 0)
        expected = Cutout2D(pixels, (float(x), float(y)), 32, mode="partial", fill_value=np.nan)
        np.testing.assert_array_equal(stamp[0], expected.data)
        np.testing.assert_allclose([entry["X"], entry["Y"]], expected.input_position_cutout, atol=1e-3)
    with (out / "problems.csv").open() as file:
        problems = {int(row["row"]): row["reason"] for row in csv.DictReader(file)}
    assert set(problems) == {3, 5}
    assert "no image" in problems[5]


def test_predictions_from_images_and_from_their_stamps_are_equal(galcli: Run, tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "s", 20, ra=RA + np.linspace(-1, 1, 20) * 0.008, dec=np.full(20, DEC))
    for band in "grz":
        write(tmp_path / f"i/b-image-{band}.fits", header(300, FILTER=band), seed=ord(band))
    galcli(*survey.predict("--cutouts", tmp_path / "i/*-image-*.fits"))
    expected = read_predictions(survey.out)
    assert (expected["STATUS"] == 0).all()
    galcli("cutouts", "cut", survey.catalog, "--cutouts", tmp_path / "i", "-o", tmp_path / "st", "--size", 20)
    galcli(*survey.predict("--cutouts", tmp_path / "st", "--overwrite"))
    np.testing.assert_array_equal(read_predictions(survey.out), expected)


def test_cutouts_of_several_sizes(galcli: Run, tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "s", 4, loose=True)
    big = noise(1, 40)[0]
    write_stamp(survey.cutouts / f"{survey.ids[2]}.fits", big, ra=survey.ra[2], dec=survey.dec[2])
    galcli("cutouts", "pack", survey.catalog, "-o", tmp_path / "a")
    found = pixels_of(tmp_path / "a")
    np.testing.assert_array_equal(found[survey.ids[2]][0], big)
    stamp = found[survey.ids[0]][0]
    assert stamp.shape == (3, 40, 40)
    np.testing.assert_array_equal(stamp[:, 12:28, 12:28], survey.pixels[0])
    assert np.isnan(stamp).sum() == 3 * (1600 - 256)
    galcli("cutouts", "pack", survey.catalog, "-o", tmp_path / "b", "--size", 10)
    np.testing.assert_array_equal(pixels_of(tmp_path / "b")[survey.ids[2]][0], big[:, 15:25, 15:25])


def test_reasons_for_rows_without_a_cutout_come_back(loose: Survey, galcli: Run, tmp_path: Path) -> None:
    files = sorted(loose.cutouts.iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:5000])
    write_stamp(files[2], np.full((3, 16, 16), 2.0, np.float32), ra=loose.ra[2], dec=loose.dec[2])
    galcli(*loose.predict("--max-fail", 100))
    expected = read_predictions(loose.out)["STATUS"]
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st")
    said = (tmp_path / "st/problems.csv").read_text()
    assert len(said.splitlines()) == 4
    (tmp_path / "st/.problems.csv.1-0123abcd.tmp").write_text("of a killed run")
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st")  # there is nothing to do
    assert (tmp_path / "st/problems.csv").read_text() == said
    assert not list((tmp_path / "st").glob(".*.tmp"))
    said = galcli("validate", tmp_path / "st", "--catalog", loose.catalog)
    assert "3 objects" in said.out
    galcli(*loose.predict("--cutouts", tmp_path / "st", "--overwrite", "--max-fail", 100))
    np.testing.assert_array_equal(read_predictions(loose.out)["STATUS"], expected)
    wanted = {RowStatus.MISSING_CUTOUT, RowStatus.CORRUPT_CUTOUT, RowStatus.CONSTANT}
    assert wanted <= {RowStatus(int(bits) & ~16) for bits in expected}
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st", "--max-fail", 5, code=3)


def test_interrupted_packing_goes_on(loose: Survey, galcli: Run, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pack_module, "MAX_ROWS", 4)
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "whole")
    files = {path.relative_to(tmp_path / "whole"): path.read_bytes() for path in (tmp_path / "whole").rglob("Npix=*")}
    assert len(files) > 5
    written: list[Path] = []
    original = pack_module.write_stack

    def stop_later(path: Path, *args: Any, **how: Any) -> None:
        if len(written) == 3:
            raise Interrupted("stopped", "again")
        written.append(path)
        original(path, *args, **how)

    monkeypatch.setattr(pack_module, "write_stack", stop_later)
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st", code=75)
    times = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(pack_module, "write_stack", original)
    written[1].write_bytes(written[1].read_bytes()[:-2880])  # and one is damaged
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st")
    again = {path.relative_to(tmp_path / "st"): path.read_bytes() for path in (tmp_path / "st").rglob("Npix=*")}
    assert again == files
    assert [path.stat().st_mtime_ns == times[path] for path in written] == [True, False, True]
    assert not list((tmp_path / "st").glob(".plan-*"))


def test_folder_of_other_things_is_refused(loose: Survey, galcli: Run, tmp_path: Path) -> None:
    out = tmp_path / "st"
    galcli("cutouts", "pack", loose.catalog, "-o", out)
    result = galcli("cutouts", "pack", loose.catalog, "-o", out, "--size", 12, code=4)
    assert "size" in result.error
    result = galcli("cutouts", "pack", loose.catalog, "-o", out, "--compression", "rice", code=4)
    assert "compression" in result.error
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "mine", code=4)
    (out / "stacks.json").write_text("[")
    galcli("cutouts", "pack", loose.catalog, "-o", out, code=4)
    galcli("cutouts", "pack", loose.catalog, "-o", loose.catalog, code=6)


def test_what_cannot_be_packed(loose: Survey, galcli: Run, tmp_path: Path) -> None:
    from PIL import Image

    result = galcli("cutouts", "cut", loose.catalog, "-o", tmp_path / "a", code=4)
    assert "pack" in result.hint
    (tmp_path / "png").mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / f"png/{loose.ids[0]}.png")
    result = galcli("cutouts", "pack", loose.catalog, "--cutouts", tmp_path / "png", "-o", tmp_path / "b", code=4)
    assert "no flux" in result.error


def test_summary_for_machines(loose: Survey, galcli: Run, tmp_path: Path) -> None:
    result = galcli("cutouts", "pack", loose.catalog, "-o", tmp_path / "st", "--limit", 12, "--json")
    last = json.loads(result.out.splitlines()[-1])
    assert last == {
        "event": "done", "out": str(tmp_path / "st"), "size": [16, 16], "rows": 12, "packed": 12, "failed": 0,
        "cropped": 0,
    }  # fmt: skip


@pytest.mark.parametrize("side", [4, 5, 9, 12])
@pytest.mark.parametrize("place", [(4.0, 4.0), (3.6, 4.2), (0.0, 8.0)])
def test_fitted_cutouts_hold_their_object_in_the_middle(side: int, place: tuple[float, float]) -> None:
    pixels = np.arange(81, dtype=np.float32).reshape(1, 9, 9)
    fitted, (x, y) = fit(pixels, place, (side, side))
    assert abs(x - (side - 1) / 2) <= 0.5
    assert abs(y - (side - 1) / 2) <= 0.5
    row, column = round(place[1]), round(place[0])
    assert fitted[0, round(y + row - place[1]), round(x + column - place[0])] == pixels[0, row, column]


def test_catalogues_whose_identifier_is_no_name_for_a_column(galcli: Run, tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "s", 5, ids=np.arange(5), loose=True)
    galcli(*survey.predict())
    expected = read_predictions(survey.out)
    ra, dec = survey.ra, survey.dec
    for name, columns in {"none": {}, "row": {"ROW": np.arange(5)}, "x": {"X": np.arange(5)}}.items():
        catalog = write_catalog(tmp_path / f"{name}.fits", **columns, RA=ra, DEC=dec)
        words = [catalog, "--cutouts", survey.cutouts, *(("--id-column", *columns) if columns else ())]
        galcli("cutouts", "pack", *words, "-o", tmp_path / name)
        words[2] = tmp_path / name
        galcli("predict", *words, "--model", survey.model, "-o", tmp_path / f"out-{name}.fits")
        found = read_predictions(tmp_path / f"out-{name}.fits")
        np.testing.assert_array_equal(found["AVG_FLUX"], expected["AVG_FLUX"])
        said = galcli("validate", tmp_path / name, "--catalog", catalog)
        assert said.out == f"{tmp_path / name}: valid (stacks, 5 rows)\n"


def test_what_was_said_of_the_cutouts_must_be_said_again(loose: Survey, galcli: Run, tmp_path: Path) -> None:
    words = ["cutouts", "pack", loose.catalog, "-o", tmp_path / "st"]
    galcli(*words, "--pixel-scale", 0.3)
    galcli(*words, "--pixel-scale", 0.3)
    assert "overrides differ" in galcli(*words, "--pixel-scale", 0.4, code=4).error
