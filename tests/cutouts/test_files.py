"""Per-object files: every layout gives the same pixels, and a bad file costs its own row only."""

from __future__ import annotations

import gzip
import itertools
import time
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from galcli.cutouts import files as files_module
from galcli.cutouts.batch import CutoutRequest
from galcli.cutouts.files import FileSource
from galcli.cutouts.fits_image import NoOverlapError, glance, parse_image, read_image
from galcli.cutouts.hdus import DAMAGE
from galcli.cutouts.header import NO_OVERRIDES, Overrides
from galcli.cutouts.lookup import list_folder
from galcli.errors import InputError
from galcli.tables.status import RowStatus

CORRUPT, MISSING, CONSTANT = (
    int(bit) for bit in (RowStatus.CORRUPT_CUTOUT, RowStatus.MISSING_CUTOUT, RowStatus.CONSTANT)
)


@pytest.fixture
def pixels() -> NDArray[np.float32]:
    """Whole numbers, exact in every type a file may have; no zero, since that means no data."""
    return np.random.default_rng(1).integers(1, 200, (3, 11, 14)).astype(np.float32)


def source_of(folder: Path, request: CutoutRequest, overrides: Overrides = NO_OVERRIDES) -> FileSource:
    return FileSource(list_folder(folder), request, overrides)


def oriented(pixels: NDArray[Any], turn: bool, east: int, north: int) -> tuple[NDArray[Any], dict[str, Any]]:
    """The image as a camera with another orientation stores it, and the CD cards that say so."""
    stored = pixels[..., ::-1] if east > 0 else pixels
    stored = stored[..., ::-1, :] if north < 0 else stored
    matrix = np.array([[east, 0.0], [0.0, north]]) * 0.262 / 3600
    if turn:
        stored, matrix = stored.swapaxes(-1, -2), matrix[:, ::-1]
    cards = {f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)}
    return np.ascontiguousarray(stored), cards


CASES = list(
    itertools.product(
        ["f4", "f8", "i2", "i4", "u1", "u2", "i1"],
        [(False, -1, 1), (False, 1, 1), (False, -1, -1), (False, 1, -1), (True, -1, 1), (True, 1, -1)],
        ["grz", "zrg", "rzg"],
    )
)


def test_type_orientation_and_band_order_matrix(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    where = []
    for number, (dtype, (turn, east, north), order) in enumerate(CASES):
        wanted = pixels - 100.5 if dtype == "f8" else pixels  # needs more than an integer
        wanted = np.minimum(wanted, 127) if dtype == "i1" else wanted
        stored, cards = oriented(wanted[["grz".index(band) for band in order]], turn, east, north)
        legacy(tmp_path / f"{number}.fits", stored.astype(dtype), order, **cards)
        where.append(wanted)
    request = ask(np.arange(len(CASES)), np.full(len(CASES), 150.0), np.full(len(CASES), 2.0))
    result = drain(source_of(tmp_path, request), request)
    assert not result.status
    for number, wanted in enumerate(where):
        np.testing.assert_array_equal(result.pixels[number], wanted, err_msg=str(CASES[number]))
        assert result.center[number] == (6.5, 5.0)
        assert result.scale[number] == pytest.approx(0.262)


def test_compressed_and_packed_forms(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    plain = legacy(tmp_path / "1.fits", pixels)
    (tmp_path / "2.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    header = fits.getheader(plain)
    hdu = fits.CompImageHDU(pixels, header, compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "3.fits.fz", checksum=True)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, header)]).writeto(tmp_path / "4.fits", checksum=True)
    inverse = fits.ImageHDU(pixels * 9)
    inverse.header["IMAGETYP"] = "invvar"
    fits.HDUList([fits.PrimaryHDU(pixels, header), inverse]).writeto(tmp_path / "5.fits")
    fits.PrimaryHDU(np.moveaxis(pixels, 0, -1), header).writeto(tmp_path / "6.fits")  # (H, W, 3)
    request = ask(np.arange(1, 7))
    source = source_of(tmp_path, request)
    result = drain(source, request)
    assert not result.status
    for row in range(6):
        np.testing.assert_array_equal(result.pixels[row], pixels)
    assert source.counters() == {"no_checksum": 4}


def test_single_band_is_two_dimensional(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    legacy(tmp_path / "1.fits", pixels[0], "r")
    request = ask([1])
    source = source_of(tmp_path, request)
    assert source.bands == ("r",)
    np.testing.assert_array_equal(drain(source, request).pixels[0], pixels[:1])


def test_files_with_fewer_bands_have_nan_there(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    legacy(tmp_path / "1.fits", pixels)
    legacy(tmp_path / "2.fits", pixels[[2, 0]], "zg")
    request = ask([1, 2])
    source = source_of(tmp_path, request)
    assert source.bands == ("g", "r", "z")
    result = drain(source, request)
    np.testing.assert_array_equal(result.pixels[1][[0, 2]], pixels[[0, 2]])
    assert np.isnan(result.pixels[1][1]).all()
    assert [batch.band_has_data.tolist() for batch in result.batches] == [[[True] * 3], [[True, False, True]]]


def test_scaled_integers_with_blank(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    counts = pixels.astype(np.int16)
    counts[1, 2, 3] = -32768
    path = legacy(tmp_path / "1.fits", counts)
    with fits.open(path, "update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update({"BSCALE": 0.5, "BZERO": 100.0, "BLANK": -32768})
    result = drain(source_of(tmp_path, ask([1])), ask([1]))
    wanted = pixels * 0.5 + 100
    wanted[1, 2, 3] = np.nan
    np.testing.assert_array_equal(result.pixels[0], wanted)


def test_zero_means_no_data_in_the_legacy_layout(
    tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any
) -> None:
    pixels[0, :4], pixels[1] = 0, 0
    legacy(tmp_path / "1.fits", pixels)
    legacy(tmp_path / "2.fits", pixels, SURVEY=None, BUNIT="nanomaggy")
    result = drain(source_of(tmp_path, ask([1, 2])), ask([1, 2]))
    np.testing.assert_array_equal(result.pixels[0], np.where(pixels == 0, np.nan, pixels))
    np.testing.assert_array_equal(result.pixels[1], pixels)


def test_units_and_flux_rule(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    legacy(tmp_path / "1.fits", pixels, scale=0.131)
    legacy(tmp_path / "2.fits", pixels, SURVEY=None, MAGZERO=25.0)
    legacy(tmp_path / "3.fits", pixels, SURVEY=None)
    result = drain(source_of(tmp_path, ask([1])), ask([1, 2, 3]))
    np.testing.assert_allclose(result.pixels[0], pixels / 4, rtol=1e-6)
    np.testing.assert_allclose(result.pixels[1], pixels / 10, rtol=1e-6)
    assert result.status == {2: CORRUPT}
    assert "unit of the pixels unknown" in result.reason[2]
    with pytest.raises(InputError, match="unit of the pixels unknown"):
        source_of(tmp_path, ask([3]))
    rescued = source_of(tmp_path, ask([3]), Overrides(zeropoint=20.0, pixel_scale=0.3))
    result = drain(rescued, ask([3]))
    np.testing.assert_allclose(result.pixels[0], pixels * 10, rtol=1e-6)
    assert result.scale == {0: 0.3}


def test_position_and_overlap(tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    arcsec = 1 / 3600
    for number in range(1, 5):
        legacy(tmp_path / f"{number}.fits", pixels)
    legacy(tmp_path / "5.fits", pixels, OVERLAP=False)
    ra = [150.0 + 0.262 * 2 * arcsec / np.cos(np.radians(2)), 150.0, 150.1, 330.0, 150.0]
    dec = [2.0, 2.0 + 0.262 * 3 * arcsec, 2.0, -2.0, 2.0]
    result = drain(source_of(tmp_path, ask([1])), ask([1, 2, 3, 4, 5], ra, dec))
    assert result.center[0] == pytest.approx((4.5, 5.0), abs=1e-3)  # 2 pixels to the east is to the left
    assert result.center[1] == pytest.approx((6.5, 8.0), abs=1e-3)
    assert result.status == {2: MISSING, 3: MISSING, 4: MISSING}
    assert "OVERLAP" in result.reason[4]


def test_shapes_are_kept_apart_and_order_is_that_of_the_request(
    tmp_path: Path, legacy: Any, ask: Any, drain: Any
) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(1, size, size)).astype(np.float32) for size in rng.choice([8, 9, 10], 150)]
    for number, array in enumerate(arrays):
        legacy(tmp_path / f"{number}.fits", array, "r")
    request = ask(rng.permutation(150))
    runs = [drain(source_of(tmp_path, request), request, size) for size in (1, 7, 64, 1000)]
    for run in runs:
        assert run.order == runs[0].order
        for row, number in enumerate(request.id.tolist()):
            np.testing.assert_array_equal(run.pixels[row], arrays[number])


@pytest.mark.parametrize("first", [np.float64, np.int16, np.float32])
def test_numbers_of_any_type_share_a_batch(
    tmp_path: Path, legacy: Any, ask: Any, drain: Any, monkeypatch: Any, first: Any
) -> None:
    """How many are kept together goes by what they become, not by how the first is stored."""
    arrays = np.random.default_rng(0).integers(1, 99, (70, 1, 8, 8))
    for number, array in enumerate(arrays):
        legacy(tmp_path / f"{number}.fits", array.astype(np.float32 if number % 7 else first), "r")
    request = ask(np.arange(70))
    whole = drain(source_of(tmp_path, request), request).stack()
    monkeypatch.setattr(files_module, "WINDOW_BYTES", 4 * 64 * 10)
    np.testing.assert_array_equal(drain(source_of(tmp_path, request), request, 1000).stack(), whole)


@pytest.mark.parametrize(("plain", "waits"), [(True, False), (True, True), (False, False)])
def test_threads_are_for_files_that_are_not_plain_or_a_disk_that_is_slow(
    tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any, monkeypatch: Any, plain: bool, waits: bool
) -> None:
    monkeypatch.setattr(files_module.time, "thread_time", (lambda: 0.0) if waits else time.perf_counter)
    for number in range(200):
        path = legacy(tmp_path / f"{number}.fits", pixels)
        if not plain:
            path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    request = ask(np.arange(200))
    source = source_of(tmp_path, request)
    drain(source, request)
    assert source.all_python == (plain and not waits)


@pytest.fixture
def folder(tmp_path: Path, pixels: Any, legacy: Any) -> Path:
    """Three cutouts; number 2 is there to be damaged. With checksums."""
    for number in (1, 2, 3):
        legacy(tmp_path / f"{number}.fits", pixels + number)
        with fitsio.FITS(str(tmp_path / f"{number}.fits"), "rw") as file:
            file[0].write_checksum()
    return tmp_path


def neighbours_are_whole(result: Any, pixels: Any) -> None:
    np.testing.assert_array_equal(result.pixels[0], pixels + 1)
    np.testing.assert_array_equal(result.pixels[2], pixels + 3)


def odd_card(path: Path, card: bytes) -> None:
    """Put a card at the end of a header, in place of the one it has of that name."""
    data = path.read_bytes()
    header, rest = data[: data.index(b"END" + b" " * 77)], data[data.index(b"END" + b" " * 77) :]
    kept = [header[at : at + 80] for at in range(0, len(header), 80) if header[at : at + 8] != card[:8]]
    size = -(-(len(header) + 80) // 2880) * 2880
    block = b"".join([*kept, card.ljust(80), b"END"]).ljust(size)
    path.write_bytes(block[:size] + rest[size - len(header) :])


@pytest.mark.parametrize(
    "value", [b"(1.5, -2.0)", b"'Andr\xe9'", b"'Andr\xc3\xa9'", b"1.5.3", b"0x1F", b"#", b"\xff / comment"]
)
def test_odd_card_costs_its_row_only_if_it_matters(
    tmp_path: Path, pixels: Any, legacy: Any, ask: Any, drain: Any, value: bytes
) -> None:
    for number in range(1, 6):
        legacy(tmp_path / f"{number}.fits", pixels + number)
    odd_card(tmp_path / "2.fits", b"OBSERVER= " + value)
    odd_card(tmp_path / "3.fits", b"HIERARCH ESO \xb5 = " + value)
    odd_card(tmp_path / "4.fits", b"CD1_1   = " + value)
    odd_card(tmp_path / "5.fits", b"BSCALE  = " + value)
    result = drain(source_of(tmp_path, ask([1])), ask([1, 2, 3, 4, 5]))
    for row in (0, 1, 2):
        np.testing.assert_array_equal(result.pixels[row], pixels + row + 1)
    assert result.status == {3: CORRUPT, 4: CORRUPT}


def packed_as(path: Path, ending: str) -> bytes:
    """Content of the file as ``.fits``, ``.fits.gz`` or ``.fits.fz``."""
    if ending == "fits.gz":
        return gzip.compress(path.read_bytes())
    if ending == "fits.fz":
        with fits.open(path) as hdus:
            header = hdus[0].header.copy(strip=True)
            hdu = fits.CompImageHDU(hdus[0].data, header, compression_type="RICE_1", quantize_level=0.1)
            fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path.with_suffix(".fz"), checksum=True)
        return path.with_suffix(".fz").read_bytes()
    return path.read_bytes()


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "fits.fz"])
def test_200_truncations(folder: Path, pixels: Any, ask: Any, drain: Any, ending: str, record_fault: Any) -> None:
    path = folder / f"2.{ending}"
    data = packed_as(folder / "2.fits", ending)
    (folder / "2.fits").unlink()
    path.write_bytes(data)
    source = source_of(folder, ask([1]))
    last = 2880 + pixels.nbytes if ending == "fits" else len(data) - (2880 if ending == "fits.fz" else 0)
    for cut in np.random.default_rng(2).integers(0, len(data), 200).tolist():
        path.write_bytes(data[:cut])
        result = drain(source, ask([1, 2, 3]))
        neighbours_are_whole(result, pixels)
        if cut < last:  # what follows is padding
            assert result.status == {1: CORRUPT}
            assert "2.fits" in result.reason[1]
        record_fault()


def test_100_flipped_bits(folder: Path, pixels: Any, ask: Any, drain: Any, record_fault: Any) -> None:
    path = folder / "2.fits"
    data = path.read_bytes()
    source = source_of(folder, ask([1]))
    rng = np.random.default_rng(3)
    for at, bit in zip(rng.integers(2880, 2880 + pixels.nbytes, 100), rng.integers(0, 8, 100), strict=True):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(bit)
        path.write_bytes(damaged)
        result = drain(source, ask([1, 2, 3]))
        neighbours_are_whole(result, pixels)
        assert result.status == {1: CORRUPT}
        record_fault()


def test_flipped_bits_in_the_header(folder: Path, pixels: Any, ask: Any, drain: Any) -> None:
    path = folder / "2.fits"
    data = path.read_bytes()
    source = source_of(folder, ask([1]))
    for at in range(0, 2880, 17):
        damaged = bytearray(data)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        result = drain(source, ask([1, 2, 3]))
        neighbours_are_whole(result, pixels)
        if not result.status:  # the name of a checksum card itself
            np.testing.assert_array_equal(result.pixels[1], pixels + 2)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html><body>503 Service Unavailable</body></html>", b"\x1f\x8b broken", b"SIMPLE  = " + b"\xff" * 9000,
     b"SIMPLE  =                    T" + b" " * 2850],
)  # fmt: skip
def test_garbage(folder: Path, pixels: Any, ask: Any, drain: Any, content: bytes) -> None:
    source = source_of(folder, ask([1]))
    (folder / "2.fits").write_bytes(content)
    result = drain(source, ask([1, 2, 3]))
    neighbours_are_whole(result, pixels)
    assert result.status == {1: CORRUPT}


def test_no_signal_and_odd_values(folder: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    legacy(folder / "4.fits", np.full_like(pixels, np.nan))
    legacy(folder / "5.fits", np.full_like(pixels, 3.0))
    legacy(folder / "6.fits", np.zeros_like(pixels))
    odd = pixels.copy()
    odd[0, 1, 1], odd[1, 2, 2], odd[2, 3, 3] = np.inf, np.nan, 1e30
    legacy(folder / "7.fits", odd)
    result = drain(source_of(folder, ask([1])), ask([1, 2, 3, 4, 5, 6, 7]))
    assert result.status == {3: CONSTANT, 4: CONSTANT, 5: CONSTANT}
    odd[0, 1, 1] = np.nan
    np.testing.assert_array_equal(result.pixels[6], odd)
    neighbours_are_whole(result, pixels)


def test_file_that_vanishes(folder: Path, pixels: Any, ask: Any, drain: Any) -> None:
    source = source_of(folder, ask([1]))
    (folder / "2.fits").unlink()
    result = drain(source, ask([1, 2, 3, 4]))
    neighbours_are_whole(result, pixels)
    assert result.status == {1: MISSING, 3: MISSING}


def test_fingerprint_follows_the_files(folder: Path, ask: Any, legacy: Any, pixels: Any) -> None:
    first = source_of(folder, ask([1])).fingerprint()
    assert source_of(folder, ask([1])).fingerprint() == first
    legacy(folder / "2.fits", pixels)
    assert source_of(folder, ask([1])).fingerprint() != first


def test_first_file_damaged(folder: Path, ask: Any) -> None:
    (folder / "1.fits").write_bytes(b"no")
    assert source_of(folder, ask([1, 2])).bands == ("g", "r", "z")
    with pytest.raises(InputError, match="no readable cutout"):
        source_of(folder, ask([1]))


def test_first_file_without_bands(folder: Path, pixels: Any, legacy: Any, ask: Any, drain: Any) -> None:
    """A file that lacks what every file must say costs its own row, first or not; all of them cost the run."""
    legacy(folder / "1.fits", pixels, "")
    source = source_of(folder, ask([1, 2, 3]))
    result = drain(source, ask([1, 2, 3]))
    assert source.bands == ("g", "r", "z")
    assert result.status == {0: CORRUPT}
    assert set(result.pixels) == {1, 2}
    with pytest.raises(InputError, match=r"1\.fits: .*band"):
        source_of(folder, ask([1]))


def test_a_glance_tells_what_reading_tells_but_for_the_pixels(tmp_path: Path, pixels: Any, legacy: Any) -> None:
    for number, (dtype, (turn, east, north), order) in enumerate(CASES):
        stored, cards = oriented(pixels[["grz".index(band) for band in order]].astype(dtype), turn, east, north)
        path = legacy(tmp_path / f"{number}.fits", stored, order, **cards)
        whole, seen = read_image(path, 150.0, 2.0, NO_OVERRIDES), glance(path, 150.0, 2.0, NO_OVERRIDES)
        parsed, header = parse_image(path.read_bytes(), 150.0, 2.0, NO_OVERRIDES)
        assert (seen.rule, seen.center, seen.shape) == (whole.rule, whole.center, whole.shape)
        assert (parsed.rule, parsed.center, parsed.shape) == (whole.rule, whole.center, whole.shape)
        np.testing.assert_array_equal(parsed.raw, whole.raw)
        assert header["BANDS"] == order
        assert np.isnan(seen.raw).all()
        with pytest.raises(NoOverlapError):
            glance(path, 151.0, 2.0, NO_OVERRIDES)


@pytest.mark.parametrize("keep", [0, 80, 2880, 2880 + 3 * 11 * 14 * 4 - 1])
def test_a_glance_sees_that_a_file_is_cut(tmp_path: Path, pixels: Any, legacy: Any, keep: int) -> None:
    path = legacy(tmp_path / "a.fits", pixels)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DAMAGE):
        glance(path, 150.0, 2.0, NO_OVERRIDES)
