"""Every output is known as what it is, and damage in any of its files is found and named."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galcli.cutouts.stack_write import write_stack
from galcli.predict.hats_files import file_table
from galcli.predict.hats_tree import HatsTree
from galcli.predict.paths import RunPaths
from galcli.predict.validate import validate
from galcli.tables.fits import table_bytes
from tests.survey import BANDS, SCALE, Survey, make_survey, write_catalog, write_stamp
from tests.tiny_models import write_classes

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> Survey:
    """Outputs of every kind, beside the survey that they were made from."""
    survey = make_survey(tmp_path_factory.mktemp("validate") / "survey", 30)
    ra, ids = survey.ra.copy(), survey.ids.copy()
    ra[[4, 9]] = np.nan
    ids[5] -= 1
    write_catalog(survey.catalog, OBJECT_ID=ids, RA=ra, DEC=survey.dec)
    classes = write_classes(survey.root / "classes.onnx")
    words = ["--model", classes, "--max-fail", 50, "--order", 2]
    galcli(*survey.predict(*words, "--keep-tiles", out=survey.root / "table.fits"))
    for layout in ("hats", "hats-fits"):
        galcli(*survey.predict(*words, "--layout", layout, out=survey.root / layout))
    return survey


KINDS = {"table.fits": "table", "table.fits.run": "run", "hats": "hats", "hats-fits": "hats-fits", "cutouts": "stacks"}


@pytest.fixture(scope="module")
def copies(made: Survey, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a copy of an output, to be damaged."""

    def copy(name: str) -> Path:
        target = tmp_path_factory.mktemp("copy") / name
        (shutil.copytree if (made.root / name).is_dir() else shutil.copy)(made.root / name, target)
        return target

    return copy


def problems(path: Path, *more: Any) -> str:
    return "\n".join(validate(path, *more).problems)


@pytest.mark.parametrize("name", KINDS)
def test_whole_outputs_are_valid(made: Survey, name: str) -> None:
    report = validate(made.root / name, made.catalog)
    assert report.problems == []
    assert report.kind == KINDS[name]
    assert report.rows == 30
    assert {"hats": "bad coordinates", "hats-fits": "bad coordinates", "cutouts": "no cutout"}.get(name, "") in "".join(
        report.notes
    )


def test_single_tiles_and_stacks_are_valid(made: Survey) -> None:
    tiles = [*RunPaths(made.root / "table.fits").root.glob("Norder=*/*/*.fits")]
    bad = RunPaths(made.root / "table.fits").root / "bad-coordinates" / "part=0.fits"
    for path in [*tiles, bad]:
        assert validate(path).kind == "tile"
        assert validate(path).problems == []
    assert sum(validate(path).rows for path in tiles) == 28
    stack = next(made.cutouts.rglob("*.fits"))
    assert validate(stack).kind == "stack"
    assert validate(stack).problems == []


def test_command_says_what_it_found(made: Survey, galcli: Run, tmp_path: Path) -> None:
    paths = [made.root / name for name in KINDS]
    found = json.loads(galcli("validate", *paths, "--catalog", made.catalog, "--json").out)
    assert [found[str(path)]["kind"] for path in paths] == list(KINDS.values())
    (tmp_path / "empty").mkdir()
    result = galcli("validate", tmp_path / "empty", paths[0], code=4)
    assert "1 of 2 are not valid" in result.error
    assert result.out.splitlines()[0].startswith(f"{tmp_path / 'empty'}: it is neither a run")
    assert "none.fits" in galcli("validate", paths[0], "--catalog", tmp_path / "none.fits", code=4).error


def write_images(path: Path) -> None:
    with fitsio.FITS(str(path), "rw") as file:
        for band in BANDS:
            file.write(np.ones((4, 4), np.float32), extname=band, compress="rice")


def stamps(folder: Path, made: Survey) -> None:
    folder.mkdir()
    for i in range(2):
        write_stamp(folder / f"{made.ids[i]}.fits", made.pixels[i], ra=made.ra[i], dec=made.dec[i])
    (folder / "problems.csv").write_text("row,id,reason\n")


def of_lsdb(folder: Path, made: Survey) -> None:
    shutil.copytree(made.root / "hats", folder)
    (folder / "galcli.fits").unlink()
    text = (folder / "hats.properties").read_text()
    (folder / "hats.properties").write_text(re.sub("hats_builder=.*", "hats_builder=hats-import v1", text))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda to, made: shutil.copy(made.catalog, to), "a FITS table that galcli did not write"),
        (lambda to, made: write_stamp(to, made.pixels[0], ra=1.0, dec=1.0), "a FITS image, and no stack of cutouts"),
        (lambda to, made: write_images(to), "it holds FITS images, and is no stack of cutouts"),
        (lambda to, made: to.write_text("id,ra,dec\n1,2,3\n"), "not a plain FITS file, as outputs of galcli are"),
        (lambda to, made: to.write_bytes(gzip.compress(made.catalog.read_bytes())), "not a plain FITS file"),
        (lambda to, made: None, "there is no such file"),
        (stamps, "nor one of stacks Norder=*/Dir=*/Npix=*.fits; files in it: 2 .fits, 1 .csv"),
        (of_lsdb, "it is a HATS catalogue made by hats-import v1"),
    ],
)  # fmt: skip
def test_what_galcli_did_not_write_is_said_to_be_what_it_is(
    made: Survey, galcli: Run, tmp_path: Path, make: Callable[[Path, Survey], Any], says: str
) -> None:
    path = tmp_path / "thing"
    make(path, made)
    result = galcli("validate", path, code=4)
    assert says in result.out
    assert result.hint.startswith("validate checks outputs of `galcli predict` and stacks of cutouts")
    assert "overwrite" not in result.hint
    assert json.loads(galcli("validate", path, "--json", code=4).out)[str(path)]["kind"] == "other"


def test_what_is_damaged_is_not_said_to_be_somebody_elses(made: Survey, galcli: Run, tmp_path: Path) -> None:
    raw = (made.root / "table.fits").read_bytes()
    stack = next(made.cutouts.rglob("*.fits")).read_bytes()
    for name, data, kind, hint in [
        ("cut", raw[:-2880], "table", "--overwrite"),
        ("empty", b"", "table", "--overwrite"),
        ("renamed", raw.replace(b"'PREDICTIONS'", b"'PREDICTIONX'"), "table", "--overwrite"),
        ("stack", stack[:-2880], "stack", "galcli cutouts pack"),
    ]:
        (tmp_path / name).write_bytes(data)
        assert validate(tmp_path / name).kind == kind
        assert hint in galcli("validate", tmp_path / name, code=4).hint


# --- against a catalogue ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["table.fits", "table.fits.run", "hats", "hats-fits"])
def test_rows_of_another_catalogue_are_told(made: Survey, tmp_path: Path, name: str) -> None:
    ids = made.ids.copy()
    ids[5] -= 1
    write_catalog(tmp_path / "short.fits", OBJECT_ID=ids[:-1], RA=made.ra[:-1], DEC=made.dec[:-1])
    assert "30 rows, but" in problems(made.root / name, tmp_path / "short.fits")
    ids[[7, 8]] = ids[[8, 7]]
    write_catalog(tmp_path / "swapped.fits", OBJECT_ID=ids, RA=made.ra, DEC=made.dec)
    assert "2 rows have another identifier" in problems(made.root / name, tmp_path / "swapped.fits")
    assert "the first is row 7" in problems(made.root / name, tmp_path / "swapped.fits")
    write_catalog(tmp_path / "text.fits", OBJECT_ID=ids.astype("S"), RA=made.ra, DEC=made.dec)
    assert "30 rows have another identifier" in problems(made.root / name, tmp_path / "text.fits")


def test_objects_without_cutout_are_counted(made: Survey) -> None:
    notes = validate(made.cutouts, [made.catalog]).notes
    assert notes == [f"1 objects of {made.catalog} HDU 1 have no cutout: {made.ids[5] - 1}"]


# --- what can be wrong -----------------------------------------------------------------------------------------------------


def leaf_of(root: Path) -> Path:
    return sorted(root.glob("dataset/Norder=*/Dir=*/Npix=*"))[0]


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a leaf anew, as somebody else would."""
    pq.write_table(change(pq.ParquetFile(path).read()), path)


def replaced(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def seal(root: Path) -> None:
    """List the files of a folder anew, so that what they say is looked at."""
    tree = HatsTree(root, "")
    with fitsio.FITS(str(tree.record)) as file:
        start = file["FILES"].get_offsets()["header_start"]
    raw = tree.record.read_bytes()[:start]
    tree.record.write_bytes(raw + table_bytes([file_table(tree)])[2880:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: leaf_of(root).unlink(), "Npix=.*parquet is missing"),
        (lambda root: shutil.copy(leaf_of(root), leaf_of(root).with_name("Npix=0.parquet")), "Npix=0.*is not galcli's"),
        (lambda root: (root / "properties").unlink(), "properties is missing"),
        (lambda root: (root / "properties").write_text("a=b"), "properties is not as it was written"),
        (lambda root: (root / "galcli.fits").unlink(), "galcli.fits: No such file"),
        (lambda root: rewrite(leaf_of(root), lambda t: t), "is not as it was written"),
    ],
)  # fmt: skip
def test_files_that_are_not_as_they_were_are_named(
    copies: Callable[[str], Path], damage: Callable[[Path], Any], message: str
) -> None:
    root = copies("hats")
    damage(root)
    assert re.search(message, problems(root)), problems(root)
    assert len(validate(root).problems) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "bad-coordinates.parquet").unlink(), "28 of the 30 rows of the catalogue"),
        (lambda root: (root / "partition_info.csv").write_text("Norder,Npix\n0,12\n"), "0,12 is no HEALPix pixel"),
        (lambda root: (root / "partition_info.csv").write_text("Norder,Npix\n1,x\n"), "partition_info.csv: invalid"),
        (lambda root: (root / "partition_info.csv").write_text("Norder,Npix\n"), "does not list the leaves"),
        (lambda root: rewrite(leaf_of(root), lambda t: t.slice(1)), "29 of the 30 rows of the catalogue"),
        (lambda root: rewrite(leaf_of(root), lambda t: t.take(list(range(len(t)))[::-1])), "not in the order"),
        (lambda root: rewrite(leaf_of(root), lambda t: t.drop_columns(["CLS_NR"])), "its columns are not those"),
        (lambda root: rewrite(leaf_of(root), lambda t: replaced(t, "RA", [1.0] * len(t))), "HPX is not the pixel"),
        (lambda root: rewrite(leaf_of(root), lambda t: replaced(t, "STATUS", [16] * len(t))), "contradict each other"),
        (lambda root: rewrite(leaf_of(root), lambda t: replaced(t, "CLS_STATUS", [1] * len(t))), "CLS_NR has a value"),
        (lambda root: leaf_of(root).write_bytes(b"PAR1 this is none PAR1"), "Npix=.* is damaged"),
        (lambda root: (root / "hats.properties").write_text("hats_nrows=27\n"), "hats_nrows is 27, not 28"),
        (lambda root: shutil.copy(root / "skymap.fits", root / "hats.properties"), "hats.properties"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_hats_folder_is_named(
    copies: Callable[[str], Path], damage: Callable[[Path], Any], message: str
) -> None:
    root = copies("hats")
    damage(root)
    seal(root)
    assert re.search(message, problems(root)), problems(root)


def test_rows_in_another_pixel_are_found(copies: Callable[[str], Path]) -> None:
    root = copies("hats-fits")
    one, two, *_ = sorted(root.glob("dataset/Norder=*/Dir=*/Npix=*"))
    shutil.copy(one, two)
    seal(root)
    assert "do not lie in its pixel" in problems(root)
    assert "rows of the catalogue" in problems(root)


def test_overlapping_leaves_are_found(copies: Callable[[str], Path]) -> None:
    root = copies("hats")
    order, pix = (int(word) for word in (root / "partition_info.csv").read_text().splitlines()[1].split(","))
    with (root / "partition_info.csv").open("a") as file:
        file.write(f"{order + 1},{4 * pix}\n")
    child = root / f"dataset/Norder={order + 1}/Dir=0/Npix={4 * pix}.parquet"
    child.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(leaf_of(root), child)
    seal(root)
    assert "leaves overlap" in problems(root)


def test_unfinished_run_is_valid_and_says_what_is_missing(copies: Callable[[str], Path]) -> None:
    root = copies("table.fits.run")
    tiles = sorted(root.glob("Norder=*/*/*.fits"))
    tiles[0].unlink()
    report = validate(root)
    assert report.problems == []
    assert "1 of " in report.notes[0]
    assert tiles[0].name in report.notes[0]


def test_what_is_wrong_with_a_run_is_named(copies: Callable[[str], Path]) -> None:
    root = copies("table.fits.run")
    one, two, *_ = sorted(root.glob("Norder=*/*/*.fits"))
    shutil.copy(one, two)
    assert f"{two.relative_to(root)}: " in problems(root)
    assert "rows do not lie in the pixel" in problems(two)
    shutil.copy(one, two.with_name("Npix=1.fits"))
    assert "Npix=1.fits does not belong to the plan" in problems(root)
    record = json.loads((root / "run.json").read_text())
    record["identity"]["order"] = 5
    (root / "run.json").write_text(json.dumps(record))
    assert "written for different runs" in problems(root)
    (root / "run.json").unlink()
    assert "no run.json" in problems(root)


def test_a_plan_that_lost_a_row_is_named(copies: Callable[[str], Path]) -> None:
    root = copies("table.fits.run")
    rows = np.load(root / "plan" / "rows.npy")
    rows[0] = rows[1]
    np.save(root / "plan" / "rows.npy", rows)
    assert "a row is in two tiles" in problems(root)
    (root / "plan" / "rows.npy").unlink()
    assert "holds no run" in problems(root)


def test_what_is_wrong_with_stacks_is_named(made: Survey, tmp_path: Path) -> None:
    path = tmp_path / "Norder=2" / "Dir=0" / "Npix=1.fits"
    write_stack(path, made.ids[:3], made.ra[:3], made.dec[:3], made.pixels[:3], BANDS, SCALE)
    assert "3 objects do not lie in the pixel" in problems(tmp_path)
    plain = tmp_path / "stack.fits"
    write_stack(plain, made.ids[:3], made.ra[:3], made.dec[:3], made.pixels[:3], BANDS, SCALE)
    assert problems(plain) == ""
    write_stack(plain, made.ids[:3], made.ra[:3], made.dec[:3], made.pixels[:2], BANDS, SCALE, rows=np.array([0, 1, 1]))
    assert problems(plain) == ""
    with fitsio.FITS(str(plain), "rw") as file:
        file["INDEX"].write_column("ROW", np.array([0, 1, 2]))
        file["INDEX"].write_checksum()
    assert "1 entries of INDEX point outside the 2 cutouts" in problems(plain)
    with fitsio.FITS(str(plain), "rw") as file:
        file["INDEX"].write_column("ROW", np.array([0, 0, 0]))
        file["INDEX"].write_checksum()
    assert "1 of the 2 cutouts belong to no entry of INDEX" in problems(plain)
    middle = np.full((3, 2), 7.5)
    middle[1, 0] = 16
    write_stack(plain, made.ids[:3], made.ra[:3], made.dec[:3], made.pixels[:3], BANDS, SCALE, center=middle)
    assert problems(plain) == "stack.fits: 1 objects lie outside their cutouts"
    for pix in (10000, 20000):
        shutil.copy(plain, path.with_name(f"Npix={pix}.fits"))
    assert "Npix=20000.fits: its path names no pixel" in problems(tmp_path)


# --- any damage ------------------------------------------------------------------------------------------------------------


def files_in(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_a_problem_and_never_a_crash(copies: Callable[[str], Path], made: Survey, name: str) -> None:
    root = copies(name)
    # Locks and claims hold nothing; of problem lists the tiles know nothing.
    files = [path for path in files_in(root) if path.stat().st_size and "reports" not in path.parts]

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(files), st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans())
    def check(path: Path, where: float, flip: int, cut: bool) -> None:
        raw = path.read_bytes()
        at = int(where * len(raw))
        path.write_bytes(raw[:at] if cut else raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :])
        try:
            found = validate(root, [made.catalog]).problems
        finally:
            path.write_bytes(raw)
        if path.suffix == ".fits" or name.startswith("hats"):
            assert found, f"{path.relative_to(root.parent)} at {at}, {'cut' if cut else f'flipped {flip}'}"
        assert all("\n" not in problem for problem in found)

    check()
    assert problems(root, made.catalog) == ""
