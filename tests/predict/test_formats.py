"""Catalogues of every format, and several at once, through a whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from galcli.predict.paths import RunPaths
from tests.survey import Survey, make_survey, noise, raw_rows, read_predictions, write_catalog

Run = Callable[..., Any]


def rewritten(survey: Survey, name: str, rows: slice = slice(None)) -> Path:
    """Rows of the survey's catalogue in another format."""
    path = survey.root / name
    table = Table({"OBJECT_ID": survey.ids, "RA": survey.ra, "DEC": survey.dec})[rows]
    if name.endswith((".parquet", ".hats")):
        rows_of = pa.table({column: np.asarray(table[column]) for column in table.colnames})
        if name.endswith(".parquet"):
            pq.write_table(rows_of, path, row_group_size=7)
            return path
        place = path / "dataset/Norder=0/Dir=0"
        place.mkdir(parents=True)
        pq.write_table(rows_of, place / "Npix=4.parquet")
        (path / "partition_info.csv").write_text("Norder,Npix\n0,4\n")
        (path / "hats.properties").write_text(f"hats_nrows={len(table)}\nhats_col_ra=RA\nhats_col_dec=DEC\n")
        return path
    forms = {"csv": "ascii.csv", "tsv": "ascii.tab", "ecsv": "ascii.ecsv", "xml": "votable"}
    if name.endswith(".fits"):
        return write_catalog(path, **{column: np.asarray(table[column]) for column in table.colnames})
    table.write(path, format=forms[name.rpartition(".")[2]])
    return path


def predict(survey: Survey, galcli: Run, *words: object, code: int = 0) -> Any:
    return galcli("predict", *words, "--model", survey.model, "--threads", 1, "--device", "cpu", code=code)


@pytest.mark.parametrize("name", ["g.csv", "g.tsv", "g.ecsv", "g.xml", "g.parquet", "g.hats"])
def test_every_format_gives_the_same_rows(survey: Survey, galcli: Run, name: str) -> None:
    galcli(*survey.predict())
    out = survey.root / "other.fits"
    predict(survey, galcli, rewritten(survey, name), "-o", out)
    assert raw_rows(out).tobytes() == raw_rows(survey.out).tobytes()
    assert "nothing to do" in predict(survey, galcli, survey.root / name, "-o", out).err
    galcli("validate", out)


def test_several_catalogues_are_one_table(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict())
    parts = [
        rewritten(survey, "a.fits", slice(0, 10)), rewritten(survey, "b.csv", slice(10, 11)),
        rewritten(survey, "c.hats", slice(11, 30)), rewritten(survey, "d.parquet", slice(30, None)),
    ]  # fmt: skip
    out = survey.root / "joint.fits"
    result = predict(survey, galcli, *parts, "-o", out)
    assert "a.fits HDU 1 and 3 more: 48 rows" in result.err
    assert raw_rows(out).tobytes() == raw_rows(survey.out).tobytes()
    assert "48 rows" in galcli("plan", *parts, "--model", survey.model).out
    scores = galcli("evaluate", survey.model, "--catalog", parts[0], "--catalog", parts[1], code=4)
    assert "names no labels" in scores.error


def test_row_numbers_count_on(survey: Survey, galcli: Run) -> None:
    a = write_catalog(survey.root / "a.fits", RA=survey.ra[:20], DEC=survey.dec[:20])
    b = write_catalog(survey.root / "b.fits", RA=survey.ra[20:], DEC=survey.dec[20:])
    predict(survey, galcli, a, b, "-o", survey.out)
    rows = read_predictions(survey.out)
    assert rows["ROW"].tolist() == list(range(48))
    np.testing.assert_allclose(rows["AVG_FLUX"], survey.means, rtol=1e-6)


def test_several_catalogues_need_a_name_for_their_table(survey: Survey, galcli: Run) -> None:
    a, b = (rewritten(survey, name) for name in ("a.fits", "b.csv"))
    result = predict(survey, galcli, a, b, code=2)
    assert "-o" in result.hint
    for catalog in (a, b):
        before = catalog.read_bytes()
        overwritten = predict(survey, galcli, a, catalog, "-o", a, "--overwrite", code=2)
        assert "overwrite the catalogue" in overwritten.error
        assert catalog.read_bytes() == before


def test_a_change_of_any_catalogue_is_noticed(survey: Survey, galcli: Run) -> None:
    from tests.predict.conftest import halt  # what the fixture `halted` does, for other inputs

    a, b = rewritten(survey, "catalog.fits", slice(0, 24)), rewritten(survey, "b.csv", slice(24, None))
    halt(survey, galcli, b)
    assert RunPaths(survey.out).record.exists()
    b.write_text(b.read_text().replace(b.read_text().splitlines()[1] + "\n", ""))
    assert "other inputs" in predict(survey, galcli, a, b, "-o", survey.out, "--order", 3, code=4).error


def test_cutouts_and_output_are_named_after_the_catalogue(
    survey: Survey, galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = rewritten(survey, "galaxies.hats")
    galaxies = catalog.rename(survey.root / "galaxies")
    survey.cutouts.rename(survey.root / "galaxies_cutouts")
    monkeypatch.chdir(tmp_path)
    predict(survey, galcli, galaxies)
    predict(survey, galcli, rewritten(survey, "galaxies.csv"))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".fits"] == ["galaxies_galcli.fits"]


def test_hours_are_refused_unless_the_column_is_named(tmp_path: Path, galcli: Run) -> None:
    n = 120
    rng = np.random.default_rng(0)
    survey = make_survey(tmp_path / "s", n, ra=rng.uniform(0, 24, n), dec=rng.uniform(-40, 60, n))
    result = galcli(*survey.predict(), code=4)
    assert "RA looks like hours" in result.error
    assert "--ra-column RA" in result.hint
    assert not survey.out.exists()
    galcli(*survey.predict("--ra-column", "RA", "--dec-column", "DEC"))
    write_catalog(survey.catalog, {"RA": "deg"}, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec)
    galcli(*survey.predict("--overwrite"))
    np.testing.assert_allclose(read_predictions(survey.out)["AVG_FLUX"], survey.means, rtol=1e-6)


@pytest.mark.parametrize("flat", [False, True])
def test_image_column_of_parquet(tmp_path: Path, galcli: Run, flat: bool) -> None:
    survey = make_survey(tmp_path / "s", 8)
    pixels = noise(8)
    image = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    columns = {"OBJECT_ID": survey.ids, "RA": survey.ra, "DEC": survey.dec, "IMAGE": image}
    table = pa.table(columns).replace_schema_metadata({"BANDS": "grz", "BUNIT": "nanomaggy", "PIXSCALE": "0.262"})
    names = [survey.root / "g.parquet"] if flat else [survey.root / "a.parquet", survey.root / "b.parquet"]
    for part, path in enumerate(names):
        pq.write_table(table if flat else table.slice(4 * part, 4), path, row_group_size=3)
    predict(survey, galcli, *names, "-o", survey.out)
    np.testing.assert_allclose(
        read_predictions(survey.out)["AVG_FLUX"], pixels.mean(axis=(2, 3), dtype=np.float64), rtol=1e-6
    )
