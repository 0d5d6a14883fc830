"""Large images that are damaged, unusual or many: what is opened, what is said, what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from galcli.cutouts import coadd_pixels, coadds
from galcli.errors import InputError
from galcli.tables.status import RowStatus
from tests.cutouts.sky_images import DEC, RA, SCALE, header, view, write
from tests.cutouts.test_coadds import positions

CORRUPT = int(RowStatus.CORRUPT_CUTOUT)


def two_fields(folder: Path, **how: Any) -> tuple[Path, Path]:
    """Two images side by side, and a row in the middle of each: at RA and at RA + 0.02."""
    for number in (0, 1):
        head = header(200, ra=RA + 0.02 * number)
        write(folder / f"{number}.fits", head, **how)
    return folder / "0.fits", folder / "1.fits"


@pytest.mark.parametrize("damage", ["cut", "bit", "emptied"])
def test_damaged_image_costs_its_own_rows(tmp_path: Path, stamps: Any, damage: str) -> None:
    bad, _ = two_fields(tmp_path / "i")
    clean, _ = stamps(tmp_path / "i", [RA, RA + 0.02], [DEC, DEC])
    with fits.open(bad, mode="update") as hdus:
        hdus[0].add_checksum()
    raw = bytearray(bad.read_bytes())
    if damage == "bit":
        raw[5760 + 4 * (100 * 200 + 100)] ^= 1
    bad.write_bytes(raw if damage == "bit" else raw[: 2880 * 2] if damage == "cut" else b"")
    result, source = stamps(tmp_path / "i", [RA, RA + 0.02], [DEC, DEC])
    np.testing.assert_array_equal(result.pixels[1], clean.pixels[1])
    if damage == "bit":
        assert result.status == {0: CORRUPT}
        assert "checksum" in result.reason[0]
        assert len(source.files()["no_checksum"]) == 1
    else:  # where it lay is not known any more
        assert result.status == {0: int(RowStatus.MISSING_CUTOUT)}
        assert len(source.files()["unreadable"]) == 1


@pytest.mark.parametrize("factor", [0.0, 1e-9])
def test_pixels_without_size_are_damage(tmp_path: Path, stamps: Any, factor: float) -> None:
    two_fields(tmp_path / "i")
    bent = {"PV1_1": factor, "PV2_1": factor}
    write(tmp_path / "i/1.fits", header(ra=RA + 0.02, projection="TPV", **bent), np.ones((200, 200)))
    result, source = stamps(tmp_path / "i", [RA, RA + 0.02], [DEC, DEC], size=None, field=10.0)
    assert result.status == {1: int(RowStatus.MISSING_CUTOUT)}
    assert len(source.files()["unreadable"]) == 1


def test_weight_map_of_another_size_is_damage(tmp_path: Path, stamps: Any) -> None:
    write(tmp_path / "i/a-image-r.fits", header(200))
    write(tmp_path / "i/a-invvar-r.fits", header(90, IMTYPE="invvar"), np.ones((90, 90), np.float32))
    result, _ = stamps(tmp_path / "i", [RA], [DEC])
    assert result.status == {0: CORRUPT}


def test_nothing_usable_is_refused_with_the_reason(tmp_path: Path, stamps: Any) -> None:
    head = header()
    del head["BUNIT"]
    write(tmp_path / "units/a.fits", head)
    with pytest.raises(InputError, match="unit of the pixels unknown") as caught:
        stamps(tmp_path / "units", [RA], [DEC])
    assert "--zeropoint" in caught.value.hint
    result, _ = stamps(tmp_path / "units", [RA], [DEC], zeropoint=22.5)
    assert not result.status
    write(tmp_path / "far/a.fits", header(ra=10.0))
    with pytest.raises(InputError, match="no row of the catalogue"):
        stamps(tmp_path / "far", [RA], [DEC])


def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[Any]]:
    """Names of the files that are opened, and the parts that are decoded."""
    opened: list[str] = []
    decoded: list[Any] = []
    original, read = coadd_pixels.open_fits, coadd_pixels._OpenPlane.read
    monkeypatch.setattr(coadd_pixels, "open_fits", lambda path: opened.append(str(path)) or original(path))
    monkeypatch.setattr(coadd_pixels._OpenPlane, "read", lambda *part: decoded.append(part) or read(*part))
    return opened, decoded


@pytest.mark.parametrize("rows", [3, 300])
def test_each_image_is_opened_once_per_request(
    tmp_path: Path, stamps: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """And where many stamps are wanted, it is decoded once."""
    for band in "gr":
        write(tmp_path / f"i/b-image-{band}.fits", header(400, FILTER=band), compress=True)
    opened, decoded = watch(monkeypatch)
    rng = np.random.default_rng(0)
    ra, dec = positions(header(400), *rng.uniform(20, 380, (2, rows)))
    few, _ = stamps(tmp_path / "i", ra, dec)
    assert sorted(opened) == sorted({*opened})
    assert len(opened) == 2
    assert len(decoded) == 2 * (1 if rows == 300 else rows)
    assert len(few.pixels) == rows


def test_bands_that_do_not_fit_into_memory_together_are_decoded_once(
    tmp_path: Path, stamps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the five of a Pan-STARRS skycell: what there is no room for is read in parts, not again for each row."""
    heads = [header(400, ra=RA + 0.2 * number) for number in (0, 1)]
    for number, head in enumerate(heads):
        for band in "gr":
            head["FILTER"] = band
            write(tmp_path / f"i/{number}-image-{band}.fits", head, compress=True)
    rng = np.random.default_rng(0)
    place = np.concatenate([positions(head, *rng.uniform(20, 380, (2, 60))) for head in heads], axis=1)
    opened, decoded = watch(monkeypatch)
    monkeypatch.setattr(coadds, "KEPT_BYTES", 6 * 400 * 400)
    stamps(tmp_path / "i", *place)
    assert len(opened) == 4
    assert len(decoded) == 2 * (1 + 60)


def test_image_whose_scale_varies_is_read_in_one_go(
    tmp_path: Path, stamps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if there is room for no other one meanwhile."""
    distortion = {"CRPIX1": -4000.0, "CRPIX2": -5000.0, "PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 0.05, "PV2_4": 0.05}
    rng = np.random.default_rng(0)
    heads = [header((200, 600), ra=RA + east, projection="TPV", **distortion) for east in (0.0, 0.2)]
    for number, head in enumerate(heads):
        write(tmp_path / f"i/{number}.fits", head, rng.normal(size=(200, 600)), compress=True)
    places = [positions(head, rng.uniform(0, 600, 40), rng.uniform(0, 200, 40)) for head in heads]
    place = np.concatenate(places, axis=1)
    scales = [*stamps(tmp_path / "i", *place)[0].scale.values()]
    opened, _ = watch(monkeypatch)
    monkeypatch.setattr(coadd_pixels, "KEPT_IMAGES", 1)
    # A field of 100 pixels in one half of each image, and of 101 in the other.
    result, _ = stamps(tmp_path / "i", *place, size=None, field=100 * np.median(scales))
    assert {pixels.shape for pixels in result.pixels.values()} == {(1, 103, 103)}
    assert len(opened) == 2


def test_decoding_as_a_whole_gives_the_same_pixels(
    tmp_path: Path, stamps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "i/a.fits", header(400), compress=True)
    write(tmp_path / "i/b.fits", header(400, ra=RA + 0.015), compress=True)
    rng = np.random.default_rng(0)
    ra, dec = positions(header(400), *rng.uniform(20, 380, (2, 60)))
    results = []
    for kept in (0, 4 * 400 * 400, 1 << 29):  # in parts; whole, one at a time; whole, both kept
        monkeypatch.setattr(coadds, "KEPT_BYTES", kept)
        results.append(stamps(tmp_path / "i", ra, dec)[0].stack())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_few_files_are_open_at_a_time(
    tmp_path: Path, stamps: Any, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """A tile of a sparse catalogue may hold thousands of images: no more open files, or memory, than few take."""
    ra = RA + 0.02 * np.arange(12)
    for number, there in enumerate(ra):
        write(tmp_path / f"i/{number}.fits{ending}", header(60, ra=there))
    everything, _ = stamps(tmp_path / "i", ra, [DEC] * 12)
    most: list[tuple[int, int]] = []
    get = coadd_pixels.OpenImages._get

    def watched(images: Any, image: Any) -> Any:
        opened = get(images, image)
        most.append((len([*Path("/proc/self/fd").iterdir()]), sum(one.nbytes for one in images._open.values())))
        return opened

    monkeypatch.setattr(coadd_pixels.OpenImages, "_get", watched)
    monkeypatch.setattr(coadd_pixels, "KEPT_IMAGES", 3)
    monkeypatch.setattr(coadds, "KEPT_BYTES", 2 * 60 * 60 * 4)
    few, _ = stamps(tmp_path / "i", ra, [DEC] * 12)
    np.testing.assert_array_equal(few.stack(), everything.stack())
    files, memory = np.array(most).T
    assert files[2:].max() <= files[2]
    assert memory.max() == (60 * 60 * 4 if ending else 0)  # those of which no more is wanted are let go


def bricks(folder: Path, case: Any = str.upper) -> Path:
    """Two bricks of a survey side by side, with their table."""
    rows: dict[str, list[Any]] = {"brickname": [], "ra1": [], "ra2": [], "dec1": [], "dec2": []}
    side = 180 * SCALE / 3600
    for number, name in enumerate(["1500p020", "1501p020"]):
        ra = RA + number * side
        for band in "gr":
            write(
                folder / f"coadd/150/{name}/legacysurvey-{name}-image-{band}.fits.fz", header(200, ra=ra, FILTER=band)
            )
            write(folder / f"coadd/150/{name}/legacysurvey-{name}-nexp-{band}.fits.fz", header(200, ra=ra, FILTER=band))
        for key, value in zip(rows, (name, ra - side / 2, ra + side / 2, DEC - side / 2, DEC + side / 2), strict=True):
            rows[key].append(value)
    Table({case(key): value for key, value in rows.items()}).write(folder / "survey-bricks.fits.gz")
    return folder / "survey-bricks.fits.gz"


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_bricks_are_found_through_their_table(tmp_path: Path, stamps: Any, case: Any) -> None:
    table = bricks(tmp_path / "dr", case)
    ra = RA + np.array([0.0, 0.5, 1.0, 0.1]) * 180 * SCALE / 3600
    by_table, source = stamps(tmp_path / "dr", ra, [DEC] * 4)
    assert source.bands == ("g", "r")
    by_glob, _ = stamps(tmp_path / "dr/coadd/**/*-image-*.fits.fz", ra, [DEC] * 4)
    np.testing.assert_array_equal(by_table.stack(), by_glob.stack())
    named, _ = stamps(tmp_path / "dr/coadd", ra, [DEC] * 4, bricks=table)
    np.testing.assert_array_equal(by_table.stack(), named.stack())
    only_one, _ = stamps(tmp_path / "dr", ra[:1], [DEC])
    assert by_table.fingerprint["files"] == 4
    assert only_one.fingerprint["files"] == 2
    np.testing.assert_array_equal(only_one.pixels[0], by_table.pixels[0])


def test_bricks_without_images_are_places_without_an_image(tmp_path: Path, stamps: Any) -> None:
    bricks(tmp_path / "dr")
    for path in (tmp_path / "dr/coadd/150/1501p020").iterdir():
        path.unlink()
    ra = RA + np.array([0.0, 1.0]) * 180 * SCALE / 3600
    result, _ = stamps(tmp_path / "dr", ra, [DEC] * 2)
    assert result.status == {1: int(RowStatus.MISSING_CUTOUT)}


def test_table_that_holds_no_bricks(tmp_path: Path, stamps: Any) -> None:
    bricks(tmp_path / "dr")
    Table({"BRICKNAME": ["../../etc"], "RA1": [0.0], "RA2": [1.0], "DEC1": [0.0], "DEC2": [1.0]}).write(
        tmp_path / "evil.fits"
    )
    Table({"NAME": ["x"]}).write(tmp_path / "other.fits")
    with pytest.raises(InputError, match="no name of a brick"):
        stamps(tmp_path / "dr", [RA], [DEC], bricks=tmp_path / "evil.fits")
    with pytest.raises(InputError, match="no column BRICKNAME"):
        stamps(tmp_path / "dr", [RA], [DEC], bricks=tmp_path / "other.fits")


def test_changed_image_changes_the_fingerprint(tmp_path: Path, stamps: Any) -> None:
    two_fields(tmp_path / "i")
    before, _ = stamps(tmp_path / "i", [RA], [DEC])
    assert stamps(tmp_path / "i", [RA], [DEC])[0].fingerprint == before.fingerprint
    assert stamps(tmp_path / "i", [RA], [DEC], size=25)[0].fingerprint != before.fingerprint
    write(tmp_path / "i/1.fits", header(200, ra=RA + 0.02), seed=3)
    assert stamps(tmp_path / "i", [RA], [DEC])[0].fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("columns", "weighted", "legacy", "counted"),
    [(9, False, False, 1), (8, False, False, 0), (80, False, False, 0), (9, True, False, 0), (9, False, True, 0)],
)  # fmt: skip
def test_zeros_that_nothing_explains_are_counted(
    tmp_path: Path, stamps: Any, columns: int, weighted: bool, legacy: bool, counted: int
) -> None:
    """A stamp of 80 columns, some of which hold zeros: more than a tenth, a tenth, all of them."""
    head = header(200, **({"LEGPIPEV": "9"} if legacy else {}))
    pixels = view(head)
    pixels[:, 60 : 60 + columns] = 0
    write(tmp_path / "i/a-image-r.fits", head, pixels)
    write(tmp_path / "i/b.fits", header(200, ra=RA + 0.02))  # full of stars
    if weighted:
        write(tmp_path / "i/a-invvar-r.fits", header(200, IMTYPE="invvar"), np.ones((200, 200), np.float32))
    result, source = stamps(tmp_path / "i", [RA, RA + 0.02], [DEC, DEC], size=80)
    assert source.counters()["zeros"] == counted
    if columns < 80:
        assert (np.isnan(result.pixels[0][0]) if legacy else result.pixels[0][0] == 0).sum() == 80 * columns
