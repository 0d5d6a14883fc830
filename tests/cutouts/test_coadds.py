"""Stamps from large images: the right pixels, from the right images, whatever the grids."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from galcli.errors import InputError
from galcli.tables.status import RowStatus
from tests.cutouts.sky_images import DEC, RA, SCALE, brightness, header, view, write


def positions(head: fits.Header, x: Any, y: Any) -> Any:
    return WCS(head).all_pix2world(x, y, 0)


PLACES = (np.array([60.0, 99.4, 130.2, 55.5]), np.array([70.0, 101.7, 61.3, 120.5]))


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("size", [23, 24])
def test_stamps_are_those_of_astropy(tmp_path: Path, stamps: Any, compress: bool, size: int) -> None:
    head = header()
    pixels = write(tmp_path / "i/field.fits", head, compress=compress)
    result, source = stamps(tmp_path / "i", *positions(head, *PLACES), size=size)
    assert source.bands == ("r",)
    for row, place in enumerate(zip(*PLACES, strict=True)):
        expected = Cutout2D(pixels, place, size)
        np.testing.assert_array_equal(result.pixels[row][0], expected.data)
        np.testing.assert_allclose(result.center[row], expected.input_position_cutout, atol=1e-4)
        assert result.scale[row] == pytest.approx(SCALE, rel=1e-6)


@pytest.mark.parametrize("ending", [".gz", ".bz2"])
def test_packed_files(tmp_path: Path, stamps: Any, ending: str) -> None:
    head = header()
    pixels = write(tmp_path / "plain.fits", head)
    pack = gzip.compress if ending == ".gz" else bz2.compress
    (tmp_path / "i").mkdir()
    (tmp_path / f"i/frame.fits{ending}").write_bytes(pack((tmp_path / "plain.fits").read_bytes()))
    result, _ = stamps(tmp_path / "i", *positions(head, *PLACES))
    expected = Cutout2D(pixels, (PLACES[0][0], PLACES[1][0]), 24).data
    np.testing.assert_array_equal(result.pixels[0][0], expected)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_images_are_turned_back(tmp_path: Path, stamps: Any, turn: int) -> None:
    straight, turned = header((200, 220)), header((220, 200), turn=turn)
    write(tmp_path / "a/straight.fits", straight)
    write(tmp_path / "b/turned.fits", turned)
    place = positions(straight, *PLACES)
    upright, _ = stamps(tmp_path / "a", *place, size=25)
    result, _ = stamps(tmp_path / "b", *place, size=25)
    np.testing.assert_allclose(result.stack(), upright.stack(), rtol=2e-4)
    for row in range(4):
        np.testing.assert_allclose(result.center[row], upright.center[row], atol=1e-3)


def test_distorted_projections(tmp_path: Path, stamps: Any) -> None:
    """TPV with the size of distortions that DECam has."""
    distortion = {"PV1_1": 1.0069, "PV2_1": 1.0054, "PV1_7": -0.0073, "PV2_7": -0.0073, "PV1_0": -1e-3, "PV2_0": 5e-4}
    head = header(projection="TPV", CRPIX1=-4072.0, CRPIX2=-5295.0, **distortion)
    pixels = write(tmp_path / "i/ccd.fits", head, np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32))
    result, _ = stamps(tmp_path / "i", *positions(head, *PLACES))
    for row, place in enumerate(zip(*PLACES, strict=True)):
        expected = Cutout2D(pixels, place, 24)
        np.testing.assert_array_equal(result.pixels[row][0], expected.data)
        np.testing.assert_allclose(result.center[row], expected.input_position_cutout, atol=1e-3)
    assert result.scale[0] == pytest.approx(SCALE * np.sqrt(1.0069 * 1.0054), rel=0.01)


def test_images_on_one_grid_are_joined_without_a_trace(tmp_path: Path, stamps: Any) -> None:
    """As the skycells of one projection cell: the same plane, cut into parts that overlap."""
    head = header()
    whole = write(tmp_path / "whole/a.fits", head)
    for number, (x, y) in enumerate([(0, 0), (90, 0), (0, 90), (90, 90)]):
        part = head.copy()
        part["CRPIX1"] -= x
        part["CRPIX2"] -= y
        write(tmp_path / f"parts/cell{number}.fits", part, whole[y : y + 110, x : x + 110])
    place = positions(head, [100.2, 98.0, 30.0], [100.7, 40.0, 101.0])
    one, _ = stamps(tmp_path / "whole", *place, size=60)
    joined, source = stamps(tmp_path / "parts", *place, size=60)
    np.testing.assert_array_equal(joined.stack(), one.stack())
    assert np.isnan(one.pixels[2]).any() == np.isnan(joined.pixels[2]).any()
    assert "4 images" in source.describe()


def test_images_on_other_grids_are_interpolated(tmp_path: Path, stamps: Any) -> None:
    """Neighbouring bricks have their own tangent points."""
    side = 400 * SCALE / 3600
    for number, (ra, dec) in enumerate([(0, 0), (0.8, 0), (0, 0.8), (0.8, 0.8)]):
        head = header(400, RA + (ra - 0.4) * side, DEC + (dec - 0.4) * side, turn=0.02 * number)
        write(tmp_path / f"b/brick{number}.fits", head)
    result, _ = stamps(tmp_path / "b", [RA, RA + 0.4 * side], [DEC + 0.1 * side, DEC + 0.1 * side], size=300)
    assert not np.isnan(result.stack()).any()
    # What the sky looks like there, on the grid of the image in which the object stands deepest.
    head = header(400, RA + 0.4 * side, DEC + 0.4 * side, turn=0.06)
    x, y = WCS(head).all_world2pix([RA + 0.4 * side], [DEC + 0.1 * side], 0)
    corner = np.round([x[0] - result.center[1][0], y[0] - result.center[1][1]])
    rows, columns = np.mgrid[:300, :300]
    sky = brightness(*WCS(head).all_pix2world(columns + corner[0], rows + corner[1], 0)) * SCALE**2
    np.testing.assert_allclose(result.pixels[1][0], sky, atol=0.02 * np.ptp(sky), rtol=0.01)
    assert result.pixels[1][0].sum() == pytest.approx(sky.sum(), rel=1e-3)


def test_bands_of_different_scales_keep_their_flux(tmp_path: Path, stamps: Any) -> None:
    """As 90prime at 0.454 and MOSAIC at 0.262 arcsec: the finest grid is taken."""
    write(tmp_path / "i/g.fits", header(200, scale=0.454, FILTER="g"))
    write(tmp_path / "i/z.fits", header(300, FILTER="z"))
    result, source = stamps(tmp_path / "i", [RA], [DEC], size=120)
    assert source.bands == ("g", "z")
    assert result.scale[0] == pytest.approx(SCALE, rel=1e-6)
    g, z = result.pixels[0]
    assert g.sum() == pytest.approx(z.sum(), rel=2e-3)
    np.testing.assert_allclose(g, z, atol=0.03 * np.ptp(z))


def test_field_decides_the_size(tmp_path: Path, stamps: Any) -> None:
    write(tmp_path / "i/a.fits", header(400))
    for field in (20.0, 37.728):
        result, _ = stamps(tmp_path / "i", [RA], [DEC], size=None, field=field)
        side = result.pixels[0].shape[-1]
        assert field / SCALE + 1 <= side <= field / SCALE + 4


def test_field_can_be_made_smaller(tmp_path: Path, stamps: Any, ask: Any, drain: Any) -> None:
    write(tmp_path / "i/a.fits", header(400))
    small, _ = stamps(tmp_path / "i", [RA], [DEC], size=None, field=20.0)
    _, source = stamps(tmp_path / "i", [RA], [DEC], size=None, field=37.728)
    source.field = 20.0
    np.testing.assert_array_equal(drain(source, ask([0], [RA], [DEC])).stack(), small.stack())


@pytest.mark.parametrize("bad", [0.0, np.nan, -1.0])
@pytest.mark.parametrize("where", ["beside", "within"])
def test_weights_mark_pixels_without_data(tmp_path: Path, stamps: Any, bad: float, where: str) -> None:
    head = header(100)
    weight = np.ones((100, 100), np.float32)
    weight[40:44, 45:60] = bad
    pixels = write(tmp_path / "i/brick-image-r.fits", head)
    if where == "beside":
        write(tmp_path / "i/brick-invvar-r.fits", header(100, IMTYPE="invvar"), weight)
    else:
        hdus = [fits.PrimaryHDU(pixels, head), fits.ImageHDU(weight, header(100), name="WEIGHT")]
        fits.HDUList(hdus).writeto(tmp_path / "i/brick-image-r.fits", overwrite=True)
    result, source = stamps(tmp_path / "i", *positions(head, [50.0], [50.0]), size=40)
    expected = np.where(weight == 1, pixels, np.nan)[30:70, 30:70]
    np.testing.assert_array_equal(result.pixels[0][0], expected)
    assert "1 image" in source.describe()


@pytest.mark.parametrize(
    "order", [("SCI 1", "WHT 1", "SCI 2", "WHT 2"), ("SCI 1", "SCI 2", "WHT 1", "WHT 2"), ("SCI 1", "SCI 2", "WHT 2")]
)
def test_each_image_of_a_file_has_its_own_weights(tmp_path: Path, stamps: Any, order: tuple[str, ...]) -> None:
    hdus = [fits.PrimaryHDU()]
    for name in order:
        kind, number = name.split()
        weight = np.ones((100, 100), np.float32)
        weight[50 * int(number) - 40 : 50 * int(number) - 30] = 0  # other rows in each map
        values = view(header(100)) if kind == "SCI" else weight
        hdus.append(fits.ImageHDU(values, header(100, ra=RA + 0.02 * int(number)), name=kind))
    (tmp_path / "i").mkdir()
    fits.HDUList(hdus).writeto(tmp_path / "i/mosaic.fits")
    result, _ = stamps(tmp_path / "i", RA + 0.02 * np.array([1, 2]), [DEC] * 2, size=100)
    for number in (1, 2):
        without = np.isnan(result.pixels[number - 1][0]).all(axis=1)
        first = 50 * number - 40
        assert np.flatnonzero(without).tolist() == (
            [*range(first, first + 10)] if f"WHT {number}" in order else []
        )  # fmt: skip


@pytest.mark.parametrize("word", ["LIGHT", "Science", "object"])
def test_words_of_cameras_for_images(tmp_path: Path, stamps: Any, word: str) -> None:
    write(tmp_path / "i/a.fits", header(IMAGETYP=word))
    result, _ = stamps(tmp_path / "i", [RA], [DEC])
    assert not result.status


def test_values_beyond_float32_are_no_data(tmp_path: Path, stamps: Any) -> None:
    pixels = view(header(100)).astype(np.float64)
    pixels[50, 50] = 1e300
    write(tmp_path / "i/a.fits", header(100), pixels)
    result, _ = stamps(tmp_path / "i", [RA], [DEC], size=100)
    assert np.argwhere(np.isnan(result.pixels[0][0])).tolist() == [[50, 50]]


def test_missing_bands_and_places_without_an_image(tmp_path: Path, stamps: Any) -> None:
    g, r = header(200, FILTER="g"), header((200, 100), ra=RA - 50 * SCALE / 3600, FILTER="r")
    write(tmp_path / "i/g.fits", g)
    write(tmp_path / "i/r.fits", r)
    ra, dec = positions(g, [30.0, 170.0, 100.0, 400.0], [100.0] * 4)
    result, _ = stamps(tmp_path / "i", [*ra, np.nan, RA + 180], [*dec, DEC, -DEC], size=20)
    has = {row: batch.band_has_data[k].tolist() for batch in result.batches for k, row in enumerate(batch.index)}
    assert has == {0: [True, False], 1: [True, True], 2: [True, True]}
    assert np.isnan(result.pixels[0][1]).all()
    assert result.status == dict.fromkeys((3, 4, 5), int(RowStatus.MISSING_CUTOUT))


def test_asinh_stacks_are_linear_after_reading(tmp_path: Path, stamps: Any) -> None:
    flux = np.random.default_rng(0).normal(0, 50, (100, 100))
    soften, offset = 70.0, 0.3
    stored = (2.5 / np.log(10)) * np.arcsinh((flux - offset) / (2 * soften))
    zero = {"HIERARCH FPA.ZP": 25.0, "EXPTIME": 100.0, "HIERARCH FPA.FILTERID": "r.00000"}
    head = header(100, BSOFTEN=soften, BOFFSET=offset, **zero)
    for card in ("BUNIT", "FILTER"):
        del head[card]
    write(tmp_path / "i/rings.unconv.fits", head, stored)
    result, source = stamps(tmp_path / "i", *positions(head, [50.0], [50.0]), size=40)
    assert source.bands == ("r",)
    nanomaggies = flux * 10 ** (0.4 * (22.5 - 25 - 2.5 * np.log10(100.0)))
    np.testing.assert_allclose(result.pixels[0][0], nanomaggies[30:70, 30:70], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize(("scale", "zero"), [(1, 0), (1, 32768), (0.1, 5.0)])
def test_blanks_of_integers_are_no_data(tmp_path: Path, stamps: Any, compress: bool, scale: float, zero: float) -> None:
    """As Pan-STARRS stores its stacks."""
    head = header(100)
    raw = np.random.default_rng(0).integers(-2000, 2000, (100, 100)).astype(np.int16)
    raw[45:50, 40:60] = -32768
    (tmp_path / "i").mkdir()
    path = tmp_path / "i/a.fits"
    if compress:
        hdu = fits.CompImageHDU(raw, head, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    else:
        fits.PrimaryHDU(raw, head).writeto(path)
    with fits.open(path, "update", disable_image_compression=True, do_not_scale_image_data=True) as hdus:
        hdus[-1].header.update({"BSCALE": scale, "BZERO": zero, "ZBLANK" if compress else "BLANK": -32768})
    result, _ = stamps(tmp_path / "i", *positions(head, [50.0], [50.0]), size=40)
    expected = np.where(raw == -32768, np.nan, raw * np.float64(scale) + zero)[30:70, 30:70]
    np.testing.assert_allclose(result.pixels[0][0], expected, rtol=1e-6, atol=1e-4)


def test_all_bands_of_very_many_images_are_known(tmp_path: Path, stamps: Any) -> None:
    ra = RA + 0.01 * np.arange(70)
    for number, there in enumerate(ra):
        for band in "grz":
            write(tmp_path / f"i/{number:02}-{band}.fits", header(20, ra=there, FILTER=band), np.ones((20, 20)))
    _, source = stamps(tmp_path / "i", ra, [DEC] * 70, size=10)
    assert source.bands == ("g", "r", "z")


def test_cubes_give_all_their_bands(tmp_path: Path, stamps: Any) -> None:
    head = header(100, BANDS="rg")
    cube = np.random.default_rng(1).normal(size=(2, 100, 100)).astype(np.float32)
    write(tmp_path / "i/cube.fits", head, cube)
    result, source = stamps(tmp_path / "i", *positions(head, [50.0], [50.0]), size=20)
    assert source.bands == ("g", "r")
    np.testing.assert_array_equal(result.pixels[0], cube[::-1, 40:60, 40:60])


def test_result_does_not_depend_on_the_batch_size(tmp_path: Path, stamps: Any) -> None:
    for number, east in enumerate([-1, 1]):
        write(tmp_path / f"i/{number}.fits", header(150, ra=RA + east * 60 * SCALE / 3600), compress=True)
    rng = np.random.default_rng(0)
    ra, dec = RA + rng.uniform(-1, 1, 40) * 0.009, DEC + rng.uniform(-1, 1, 40) * 0.004
    one, _ = stamps(tmp_path / "i", ra, dec, batch_size=1)
    many, _ = stamps(tmp_path / "i", ra, dec, batch_size=64)
    assert one.order == many.order
    np.testing.assert_array_equal(one.stack(), many.stack())


def test_pixel_scale_of_the_user_is_refused(tmp_path: Path, stamps: Any) -> None:
    write(tmp_path / "i/a.fits", header())
    with pytest.raises(InputError, match="contradicts the WCS"):
        stamps(tmp_path / "i", [RA], [DEC], pixel_scale=0.3)
