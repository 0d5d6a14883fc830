"""Contradictions in an output whose checksums hold: what it lacks, and what it says of its own making."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galcli.predict.validate import validate
from tests.survey import Survey, make_survey, read_predictions, write_catalog
from tests.tiny_models import write_classes

Run = Callable[..., Any]
Edit = Callable[[fits.HDUList], Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> Survey:
    survey = make_survey(tmp_path_factory.mktemp("record") / "survey", 12)
    galcli(*survey.predict("--model", write_classes(survey.root / "classes.onnx"), "--order", 2, "--keep-tiles"))
    galcli(*survey.predict("--layout", "hats", out=survey.root / "hats"))
    return survey


def edited(source: Path, target: Path, edit: Edit) -> Path:
    """A copy of a FITS file that somebody changed and summed anew."""
    with fits.open(source, memmap=False) as hdus:
        edit(hdus)
        hdus.writeto(target, checksum=True, overwrite=True)
    return target


def taken(rows: Any, name: str = "PREDICTIONS") -> Edit:
    def edit(hdus: fits.HDUList) -> None:
        hdus[name] = fits.BinTableHDU(hdus[name].data[rows], hdus[name].header, name)

    return edit


def without(column: str) -> Edit:
    def edit(hdus: fits.HDUList) -> None:
        hdus["PREDICTIONS"].columns.del_col(column)

    return edit


def value(hdu: str, column: str, row: int, new: Any) -> Edit:
    return lambda hdus: hdus[hdu].data[column].__setitem__(row, new)


def card(key: str, new: Any) -> Edit:
    return lambda hdus: hdus["PREDICTIONS"].header.set(key, new)


def test_a_file_that_astropy_wrote_again_is_valid(made: Survey, tmp_path: Path) -> None:
    assert validate(edited(made.out, tmp_path / "a.fits", lambda hdus: None), [made.catalog]).problems == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (taken(np.delete(np.arange(12), 5)), "11 rows, but it was made from 12"),
        (taken(np.append(np.arange(12), 5)), "13 rows, but it was made from 12"),
        (card("TTYPE6", "OTHER"), "column AVG_FLUX is missing"),
        (without("CLS_STATUS"), "column CLS_STATUS is missing"),
        (card("TTYPE6", "OTHER"), "column OTHER does not belong here"),
        (card("IDENTITY", "0" * 64), "header card IDENTITY is 0000"),
        (card("HPXNEST", False), "header card HPXNEST is False, not True"),
        (card("MSHA2", "0" * 64), "SHA256 of model 2 differs"),
        (value("RUN", "VALUE", 0, "other"), "header card IDENTITY is"),
        (value("MODELS", "NAME", 0, "other"), "NAME of model 1 differs"),
        (taken([0], "MODELS"), "NAME of model 2 differs"),
        (taken([1, 0], "MODELS"), "NAME of model 1 differs"),
        (value("CLS_NAMES", "NR", 0, 99), "differs from the card in MODELS"),
        (lambda hdus: hdus.pop("CLS_NAMES"), "no HDU CLS_NAMES"),
        (lambda hdus: hdus.pop("RUN"), "no HDU RUN"),
        (value("PREDICTIONS", "CLS_STATUS", 3, 1 << 20), "CLS_STATUS has unknown bits in 1 rows, the first is row 3"),
    ],
)  # fmt: skip
def test_contradictions_are_named(made: Survey, tmp_path: Path, edit: Edit, message: str) -> None:
    problems = validate(edited(made.out, tmp_path / "a.fits", edit)).problems
    assert any(message in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_record_of_a_folder_is_looked_at(made: Survey, tmp_path: Path) -> None:
    record = made.root / "hats" / "galcli.fits"
    before = record.read_bytes()
    edited(record, tmp_path / "galcli.fits", card("MVER1", "9"))
    record.write_bytes((tmp_path / "galcli.fits").read_bytes())
    assert validate(made.root / "hats").problems == [
        "VERSION of model 1 differs between RUN, MODELS and the header of PREDICTIONS"
    ]
    record.write_bytes(before)


def test_values_in_the_tiles_of_a_run_are_looked_at(made: Survey) -> None:
    root = made.out.with_name(made.out.name + ".run")
    tile = sorted(root.glob("Norder=*/*/*.fits"))[0]
    before = tile.read_bytes()
    for edit, message in (
        (value("PREDICTIONS", "AVG_FLUX", 0, np.nan), "AVG_FLUX is not finite although AVG_STATUS says it is good"),
        (value("PREDICTIONS", "STATUS", 0, 2), "lacks NO_PREDICTION"),
        (card("TUNIT2", "rad"), "column RA has the unit rad, not deg"),
        (card("IDENTITY", "0" * 64), "does not belong to this run"),
    ):
        edited(tile, tile, edit)
        problems = validate(root).problems
        assert any(problem.startswith(f"{tile.relative_to(root)}: ") and message in problem for problem in problems)
        tile.write_bytes(before)
    assert validate(root).problems == []


@pytest.mark.parametrize("layout", ["table", "hats", "hats-fits"])
@pytest.mark.parametrize("rows", [0, 3])
def test_outputs_without_a_row_on_the_sky_are_valid(
    made: Survey, galcli: Run, tmp_path: Path, layout: str, rows: int
) -> None:
    nowhere = np.full(rows, np.nan)
    catalog = write_catalog(tmp_path / "c.fits", OBJECT_ID=np.arange(rows), RA=nowhere, DEC=nowhere)
    words = ["--cutouts", made.cutouts, "--model", made.model, "--layout", layout, "--max-fail", 100]
    galcli("predict", catalog, *words, "-o", tmp_path / "out")
    report = validate(tmp_path / "out", [catalog])
    assert (report.kind, report.rows, report.problems) == (layout, rows, [])


def test_rows_and_table_are_chosen_as_they_were_for_predict(made: Survey, galcli: Run, tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "c.fits", A=np.arange(3))
    with fits.open(catalog, mode="append") as hdus, fits.open(made.catalog) as others:
        hdus.append(others[1].copy())
    out = tmp_path / "out.fits"
    words = ["--hdu", 2, "--limit", 7]
    galcli("predict", catalog, "--cutouts", made.cutouts, "--model", made.model, "-o", out, *words)
    assert len(read_predictions(out)) == 7
    assert galcli("validate", out, made.cutouts, "--catalog", catalog, *words).out.count("valid (") == 2
    assert "but" in galcli("validate", out, "--catalog", catalog, "--hdu", 2, code=4).out
