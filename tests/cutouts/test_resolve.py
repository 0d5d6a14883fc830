"""Where cutouts are looked for, in which order, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from galcli.cutouts import lookup
from galcli.cutouts.batch import CutoutRequest, Failures
from galcli.cutouts.column import ColumnSource
from galcli.cutouts.files import FileSource
from galcli.cutouts.resolve import find_source
from galcli.cutouts.stack import StackSource, write_stack
from galcli.errors import InputError
from galcli.sky import healpix
from galcli.sky.catalog import Catalog, open_catalog
from galcli.tables.status import RowStatus

N = 5
IDS = np.arange(N, dtype=np.int64) + 70
RA, DEC = np.full(N, 150.0), np.full(N, 2.0)
BOX = ("RA1", "RA2", "DEC1", "DEC2")


@pytest.fixture
def pixels(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(N, 3, 8, 10)).astype(np.float32)


@pytest.fixture
def catalog(tmp_path: Path) -> Any:
    """Writes a catalogue; further columns and header cards as wanted."""
    opened: list[Catalog] = []

    def make(
        columns: dict[str, NDArray[Any]] | None = None, cards: dict[str, Any] | None = None, **base: Any
    ) -> Catalog:
        table = {"TARGETID": IDS, "RA": RA, "DEC": DEC, **base, **(columns or {})}
        table = {name: values for name, values in table.items() if values is not None}
        with fitsio.FITS(str(tmp_path / "cat.fits"), "rw", clobber=True) as file:
            file.write_table(list(table.values()), names=list(table), extname="CAT")
            for key, value in (cards or {}).items():
                file["CAT"].write_key(key, value)
        opened.append(open_catalog(tmp_path / "cat.fits"))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def request_of(catalog: Catalog, needs: tuple[str, ...] = ()) -> CutoutRequest:
    rows = np.concatenate(list(catalog.chunks(needs)))
    return CutoutRequest(rows["id"], rows["ra"], rows["dec"], np.arange(N), {name: rows[name] for name in needs})


def check(source: Any, catalog: Catalog, drain: Any, pixels: Any) -> None:
    np.testing.assert_array_equal(drain(source, request_of(catalog, source.needs), 2).stack(), pixels)


def test_everything_that_was_looked_for_is_listed(catalog: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_source(catalog())
    for word in ("IMAGE", "file names", str(tmp_path / "cutouts"), "cat_cutouts.fits", "cat_cutouts"):
        assert word in caught.value.message
    assert "--cutouts" in caught.value.hint


def test_search_order_beside_the_catalogue(catalog: Any, tmp_path: Path, pixels: Any, drain: Any, legacy: Any) -> None:
    """Each way that comes earlier in the order hides the ones before it here."""
    (tmp_path / "cat_cutouts").mkdir()
    for number in range(N):
        legacy(tmp_path / f"cat_cutouts/{IDS[number]}.fits", pixels[number])
    source = find_source(catalog())
    assert isinstance(source, FileSource)
    check(source, catalog(), drain, pixels)

    write_stack(tmp_path / "cat_cutouts.fits", IDS, RA, DEC, pixels + 1, "grz", 0.262)
    check(find_source(catalog()), catalog(), drain, pixels + 1)

    (tmp_path / "cutouts").mkdir()
    for number in range(N):
        legacy(tmp_path / f"cutouts/{IDS[number]}.fits", pixels[number] + 2)
    check(find_source(catalog()), catalog(), drain, pixels + 2)

    (tmp_path / "named").mkdir()
    names = np.array([f"named/{k}.fits" for k in range(N)], "S20")
    for number in range(N):
        legacy(tmp_path / names[number].decode(), pixels[number] + 3)
    source = find_source(catalog({"FILE": names}))
    assert source.needs == ("FILE",)
    check(source, catalog({"FILE": names}), drain, pixels + 3)

    cards = {"BANDS": "grz", "BUNIT": "nanomaggy", "PIXSCALE": 0.3}
    with_image = catalog({"FILE": names, "IMAGE": pixels + 4}, cards)
    source = find_source(with_image)
    assert isinstance(source, ColumnSource)
    check(source, with_image, drain, pixels + 4)


def test_folder_of_tiles_and_single_stack(catalog: Any, tmp_path: Path, pixels: Any, drain: Any) -> None:
    tile = int(healpix.pixel(RA[:1], DEC[:1], 5)[0])
    write_stack(tmp_path / f"c/Norder=5/Dir=0/Npix={tile}.fits", IDS, RA, DEC, pixels, "grz", 0.262)
    for where in (tmp_path / "c", tmp_path / f"c/Norder=5/Dir=0/Npix={tile}.fits"):
        source = find_source(catalog(), str(where))
        assert isinstance(source, StackSource)
        check(source, catalog(), drain, pixels)


def test_catalogue_without_ids(catalog: Any, tmp_path: Path, pixels: Any, drain: Any) -> None:
    ra = 150 + np.arange(N) * 0.01
    write_stack(tmp_path / "s.fits", IDS, ra, DEC, pixels, "grz", 0.262)
    anonymous = catalog(TARGETID=None, RA=ra[::-1].copy())
    assert anonymous.id_name is None
    check(find_source(anonymous, str(tmp_path / "s.fits")), anonymous, drain, pixels[::-1])


def test_templates_globs_and_files(catalog: Any, tmp_path: Path, pixels: Any, drain: Any, legacy: Any) -> None:
    fields = np.array([f"f{k % 2}" for k in range(N)], "S4")
    for number in range(N):
        (tmp_path / f"t/f{number % 2}").mkdir(parents=True, exist_ok=True)
        legacy(tmp_path / f"t/f{number % 2}/{IDS[number]}.fits", pixels[number])
    cat = catalog({"Field": fields})
    for text in ("t/{FIELD}/{TARGETID}.fits", "t/{field}/{id}.fits", "t/*/*.fits"):
        source = find_source(cat, str(tmp_path / text))
        check(source, cat, drain, pixels)
        assert source.fingerprint() == find_source(cat, str(tmp_path / text)).fingerprint()
    with pytest.raises(InputError, match="no column NOPE"):
        find_source(cat, str(tmp_path / "t/{NOPE}.fits"))
    with pytest.raises(InputError, match="no file for any"):
        find_source(cat, str(tmp_path / "t/{TARGETID}.png"))
    with pytest.raises(InputError, match="does not exist"):
        find_source(cat, str(tmp_path / "absent"))
    with pytest.raises(InputError, match="no image file matches"):
        find_source(cat, str(tmp_path / "t/*.fits"))


def test_template_over_own_columns(catalog: Any, tmp_path: Path, pixels: Any, drain: Any, legacy: Any) -> None:
    """A column called ``id`` that is not the identifier."""
    numbers = np.arange(N, dtype=np.int64) + 5
    for number in range(N):
        legacy(tmp_path / f"{numbers[number]}.fits", pixels[number])
    cat = catalog({"id": numbers})
    source = find_source(cat, str(tmp_path / "{ID}.fits"))
    check(source, cat, drain, pixels)


def test_one_file_for_all_rows(catalog: Any, tmp_path: Path, pixels: Any, drain: Any, legacy: Any) -> None:
    path = legacy(tmp_path / "field.fits", pixels[0])
    dec = 2.0 + np.array([0, 1, 2, 3, 600]) * 0.262 / 3600
    cat = catalog(DEC=dec)
    result = drain(find_source(cat, str(path), size=3), request_of(cat))
    assert result.status == {4: int(RowStatus.MISSING_CUTOUT)}
    for row in range(4):  # the object stands on row 3.5 + row of 8, column 4.5 of 10
        x, y = (round(place - c) for place, c in zip((4.5, 3.5 + row), result.center[row], strict=True))
        np.testing.assert_array_equal(result.pixels[row][:, : 8 - y], pixels[0][:, y : y + 3, x : x + 3])
        assert max(abs(c - 1) for c in result.center[row]) <= 0.5001


@pytest.mark.parametrize("name", ["one.png", "one.fits"])
def test_one_image_without_a_position_is_not_given_to_every_row(catalog: Any, tmp_path: Path, name: str) -> None:
    if name.endswith("png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / name)
    else:
        fitsio.write(
            str(tmp_path / name), np.ones((3, 8, 8), np.float32), header={"BANDS": "grz", "BUNIT": "nanomaggy"}
        )
    with pytest.raises(InputError, match="no position on the sky"):
        find_source(catalog(), str(tmp_path / name))


def test_folder_without_any_of_the_objects(catalog: Any, tmp_path: Path, pixels: Any, legacy: Any) -> None:
    (tmp_path / "c").mkdir()
    legacy(tmp_path / "c/1.fits", pixels[0], ra=20.0)
    with pytest.raises(InputError, match="no row of the catalogue is named by, or lies in, 1 image") as caught:
        find_source(catalog(), str(tmp_path / "c"))
    assert "--id-column" in caught.value.hint
    (tmp_path / "cutouts").mkdir()  # an empty folder does not hide what comes after it
    (tmp_path / "cat_cutouts").mkdir()
    legacy(tmp_path / "cat_cutouts/70.fits", pixels[0])
    assert find_source(catalog()).bands == ("g", "r", "z")
    (tmp_path / "cat_cutouts/70.fits").unlink()
    with pytest.raises(InputError, match="/cutouts: 0 files: no file for any"):
        find_source(catalog())
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="neither FITS nor"):
        find_source(catalog(), str(tmp_path / "x.txt"))


def test_names_in_the_catalogue_with_another_ending(catalog: Any, tmp_path: Path, drain: Any) -> None:
    """As in the Galaxy Zoo catalogues: the column says .jpg, the files are .png."""
    (tmp_path / "c").mkdir()
    colour = np.random.default_rng(2).integers(0, 255, (8, 8, 3), np.uint8)
    for number in range(N):
        Image.fromarray(colour + np.uint8(number)).save(tmp_path / f"c/gal{number}.png")
    names = np.array([f"/old/disk/gal{k}.jpg" for k in range(N)], "S30")
    cat = catalog({"file_loc": names})
    source = find_source(cat, str(tmp_path / "c"), pixel_scale=0.3)
    result = drain(source, request_of(cat, source.needs))
    assert not result.status
    assert source.kind == "display"
    assert result.scale[0] == 0.3


def test_overrides_reach_the_source(catalog: Any, tmp_path: Path, pixels: Any, drain: Any, legacy: Any) -> None:
    (tmp_path / "c").mkdir()
    for number in range(N):
        legacy(
            tmp_path / f"c/{IDS[number]}.fits",
            pixels[number],
            SURVEY=None,
            BANDS=None,
            BAND0=None,
            BAND1=None,
            BAND2=None,
        )
    cat = catalog()
    with pytest.raises(InputError, match="no bands"):
        find_source(cat, str(tmp_path / "c"))
    source = find_source(cat, str(tmp_path / "c"), bands=("z", "r", "g"), zeropoint=22.5, pixel_scale=0.5)
    assert source.bands == ("g", "r", "z")
    result = drain(source, request_of(cat))
    np.testing.assert_array_equal(result.stack(), pixels[:, ::-1])
    assert result.scale[0] == 0.5


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1"])
def test_image_column_types(catalog: Any, drain: Any, dtype: str) -> None:
    values = np.random.default_rng(1).integers(1, 200, (N, 2, 6, 7)).astype(dtype)
    values[3] = 9
    cat = catalog({"stamp": values}, {"BANDS": "rg", "BUNIT": "nanomaggy", "SURVEY": "DES"})
    source = find_source(cat, pixel_scale=0.27)
    assert (source.bands, source.survey, source.kind) == (("g", "r"), "des", "flux")
    result = drain(source, request_of(cat), 2)
    for row in (0, 1, 2, 4):
        np.testing.assert_array_equal(result.pixels[row], values[row, ::-1].astype(np.float32))
    assert result.status == {3: int(RowStatus.CONSTANT)}
    assert result.scale[0] == 0.27
    assert source.fingerprint() == find_source(cat, pixel_scale=0.27).fingerprint()
    assert len(source.files()["no_checksum"]) == 1


def test_image_column_of_one_band(catalog: Any, drain: Any, pixels: Any) -> None:
    cat = catalog({"IMG": pixels[:, 0]}, {"BUNIT": "nanomaggy"})
    with pytest.raises(InputError, match="IMG"):
        find_source(cat)
    source = find_source(cat, bands=("r",))
    np.testing.assert_array_equal(drain(source, request_of(cat)).stack(), pixels[:, :1])


@pytest.mark.parametrize(("images", "kind"), [(1, "flux"), (4, "display")])
def test_mixed_folder_is_read_as_what_most_rows_have(
    catalog: Any, tmp_path: Path, pixels: Any, legacy: Any, images: int, kind: str
) -> None:
    (tmp_path / "mixed").mkdir()
    for number in range(N - images):
        legacy(tmp_path / "mixed" / f"{IDS[number]}.fits", pixels[number])
    for name in IDS[N - images :]:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mixed" / f"{name}.jpg")
    source = find_source(catalog(), str(tmp_path / "mixed"))
    assert source.kind == kind
    aside = "1 file of another kind (.fits) is" if images == 4 else "1 file of another kind (.jpg) is"
    assert f"5 files [{aside} not used]" in source.describe()
    lost = next(item for item in source.read(request_of(catalog()), 4) if isinstance(item, Failures))
    only = "no JPEG or PNG, only a FITS file" if images == 4 else "no FITS file, only a JPEG or PNG"
    assert lost.reason[0] == only


def test_files_beside_stacks_and_large_images_are_told_of(
    catalog: Any, tmp_path: Path, pixels: Any, legacy: Any
) -> None:
    tile = int(healpix.pixel(RA[:1], DEC[:1], 5)[0])
    stack = tmp_path / f"c/Norder=5/Dir=0/Npix={tile}.fits"
    write_stack(stack, IDS, RA, DEC, pixels, "grz", 0.262)
    assert "not used" not in find_source(catalog(), str(tmp_path / "c")).describe()
    for name in ("70.fits", "71.FITS", "71.png", "notes.txt"):
        (tmp_path / "c" / name).write_bytes(b"")
    words = "1 stack file [3 files of another kind (.fits, .png) are not used], bands grz"
    assert words in find_source(catalog(), str(tmp_path / "c")).describe()
    assert "not used" not in find_source(catalog(), str(stack)).describe()

    (tmp_path / "large").mkdir()
    legacy(tmp_path / "large/field.fits", pixels[0])
    (tmp_path / "large/field.jpg").write_bytes(b"")
    assert "[1 file of another kind (.jpg) is not used]" in find_source(catalog(), str(tmp_path / "large")).describe()


def test_files_beside_bricks_are_told_of(catalog: Any, tmp_path: Path, pixels: Any, legacy: Any) -> None:
    folder = tmp_path / "south"
    (folder / "coadd/150/1500p020").mkdir(parents=True)
    legacy(folder / "coadd/150/1500p020/x-image-grz.fits", pixels[0])
    bricks = np.array(
        [(b"1500p020", 149.8, 150.2, 1.8, 2.2)], [("BRICKNAME", "S8"), *zip(BOX, ["f8"] * 4, strict=True)]
    )
    fitsio.write(str(folder / "survey-bricks.fits"), bricks)
    assert "not used" not in find_source(catalog(), str(folder)).describe()
    (folder / "70.fits").write_bytes(b"")
    assert "[1 file of another kind (.fits) is not used]" in find_source(catalog(), str(folder)).describe()


def test_template_without_files_shows_the_first_path_it_makes(catalog: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"the first would be .*none/{IDS[0]}\.fits"):
        find_source(catalog(), str(tmp_path / "none" / "{TARGETID}.fits"))


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        (("brick-chi2-r.fits.fz", "brick-image-r.fits.fz", "brick-invvar-r.fits.fz"), "*-image-*.fits.fz"),
        (("7.jpg", "8.jpg"), "*.jpg"),
    ],
)
def test_images_in_subfolders_are_pointed_at(catalog: Any, tmp_path: Path, names: tuple[str, ...], ending: str) -> None:
    folder = tmp_path / "coadd"
    for place in (folder / "095/0959p805", folder / "095/.hidden"):
        place.mkdir(parents=True)
        for name in names:
            (place / name).write_bytes(b"")
    (folder / "000").mkdir()
    fitsio.write(str(folder / "ccds.fits.gz"), np.zeros(2, [("RA", "f8")]))  # a table is no image
    with pytest.raises(InputError, match="no file for any") as caught:
        find_source(catalog(), str(folder))
    assert f"--cutouts '{folder}/**/{ending}'" in caught.value.hint
    assert "--bricks" in caught.value.hint


def test_search_for_subfolders_has_an_end(catalog: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_LOOKED_INTO", 3)
    for depth, images in ((2, True), (3, False)):
        folder = tmp_path / f"c{depth}"
        deepest = folder.joinpath(*"abc"[:depth])
        deepest.mkdir(parents=True)
        (deepest / "1.fits").write_bytes(b"")
        with pytest.raises(InputError, match="no file for any") as caught:
            find_source(catalog(), str(folder))
        assert ("subfolders" in caught.value.hint) == images
