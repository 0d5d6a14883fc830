"""Stack files: what is written is read, in any order and byte order, and no file costs more than its own rows."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from galcli.cutouts import stack as stack_module
from galcli.cutouts.batch import CutoutRequest
from galcli.cutouts.header import Overrides
from galcli.cutouts.stack import StackSource, write_stack
from galcli.errors import InputError
from galcli.sky import healpix
from galcli.tables.status import RowStatus

N = 12
IDS = 10**17 + 3 * np.arange(N, dtype=np.int64)
RA = np.linspace(10.0, 10.2, N)
DEC = np.linspace(-0.1, 0.1, N)


@pytest.fixture
def pixels(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(N, 3, 16, 20)).astype(np.float32)


@pytest.fixture
def tiles(tmp_path: Path, pixels: NDArray[np.float32]) -> tuple[Path, list[NDArray[np.int64]]]:
    """The same objects spread over HEALPix tiles of order 9."""
    tile = healpix.pixel(RA, DEC, 9)
    rows = [np.flatnonzero(tile == one) for one in np.unique(tile)]
    assert len(rows) > 2
    for one, members in zip(np.unique(tile), rows, strict=True):
        path = tmp_path / f"cutouts/Norder=9/Dir={one // 10000 * 10000}/Npix={one}.fits"
        write_stack(path, IDS[members], RA[members], DEC[members], pixels[members], "grz", 0.262, "legacy")
    return tmp_path / "cutouts", rows


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.fits"))


@pytest.mark.parametrize("compress", [None, "rice", "lossless"])
def test_round_trip(tmp_path: Path, pixels: Any, ask: Any, drain: Any, compress: Any) -> None:
    pixels[2, 1, 3, 4] = np.nan
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262, "Legacy", compress=compress)
    source = StackSource(tmp_path / "s.fits")
    assert (source.kind, source.bands, source.survey, source.needs) == ("flux", ("g", "r", "z"), "legacy", ())
    result = drain(source, ask(IDS, RA, DEC))
    np.testing.assert_array_equal(np.isnan(result.stack()), np.isnan(pixels))
    if compress != "rice":
        np.testing.assert_array_equal(result.stack(), pixels)
    else:  # quantised to half a noise sigma: the error is at most a quarter
        assert np.nanmax(abs(result.stack() - pixels)) < 0.3
    assert set(result.scale.values()) == {0.262}
    assert result.center[0] == (9.5, 7.5)
    assert [bool(batch.has_nan[list(batch.index).index(2)]) for batch in result.batches] == [True]
    assert source.files() == {"no_checksum": frozenset()}


@pytest.mark.parametrize("compress", [None, "rice", "lossless"])
def test_bytes_are_the_same_each_time_and_astropy_agrees(tmp_path: Path, pixels: Any, compress: Any) -> None:
    paths = [tmp_path / name for name in ("a.fits", "b.fits")]
    for path in paths:
        write_stack(path, IDS, RA, DEC, pixels, "grz", 0.262, compress=compress, header={"MOCK": (True, "mock")})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with fits.open(paths[0], checksum=True) as hdus:  # a wrong checksum or a bad card would warn, and that is an error
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "PIXELS", "INDEX"]
        assert hdus["PIXELS"].header["MOCK"] is True
        assert hdus["PIXELS"].header.comments["ROWORDER"] == "row 0 south, east left, to within 45 degrees"
        assert hdus["PIXELS"].data.shape == (3 * N, 16, 20)
        np.testing.assert_array_equal(hdus["INDEX"].data["TARGETID"], IDS)
        assert hdus["INDEX"].columns["RA"].unit == "deg"


def test_objects_off_the_middle_and_objects_without_a_cutout(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    center = np.full((N, 2), np.nan)
    center[1] = 3.25, 4.5
    status, rows = np.zeros(N, np.int32), np.arange(N)
    status[0], rows[0] = int(RowStatus.CORRUPT_CUTOUT), -1
    path = tmp_path / "s.fits"
    write_stack(path, IDS, RA, DEC, pixels, "grz", 0.262, center=center, status=status, rows=rows)
    result = drain(StackSource(path), ask(IDS, RA, DEC))
    assert result.status == {0: int(RowStatus.CORRUPT_CUTOUT)}
    assert result.center[1] == (3.25, 4.5)
    assert result.center[2] == (9.5, 7.5)
    with pytest.raises(InputError, match="rows outside"):  # no cutout, and no reason
        write_stack(path, IDS, RA, DEC, pixels, "grz", 0.262, rows=rows)


def test_rows_do_not_depend_on_batch_size(tmp_path: Path, pixels: Any, ask: Any, drain: Any, tiles: Any) -> None:
    order = np.random.default_rng(3).permutation(N)
    request = ask(IDS[order], RA[order], DEC[order])
    runs = [drain(StackSource(tiles[0]), request, size) for size in (1, 2, 5, 7, 64)]
    for run in runs:
        assert run.order == runs[0].order
        np.testing.assert_array_equal(run.stack(), pixels[order])
        assert max(len(batch) for batch in run.batches) <= 64
    assert len(runs[-1].batches) == 1  # batches cross files of a request


def test_bands_are_stored_blue_to_red(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, ("z", "g", "r"), 0.262)
    source = StackSource(tmp_path / "s.fits")
    assert source.bands == ("g", "r", "z")
    np.testing.assert_array_equal(drain(source, ask(IDS)).stack(), pixels[:, [1, 2, 0]])


def test_any_array_can_be_written(tmp_path: Path, pixels: Any) -> None:
    write_stack(tmp_path / "a.fits", IDS, RA, DEC, pixels, "grz", 0.262)
    foreign = pixels[:, ::-1, ::-1].astype(">f8")[:, ::-1, ::-1]
    foreign.flags.writeable = False
    write_stack(tmp_path / "b.fits", IDS.astype(">i8"), RA, DEC, foreign, "grz", 0.262)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_text_ids_and_repeated_rows(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    names = np.array([f"obj-{k}" for k in range(30)], "S12")
    rows = np.arange(30) % N
    write_stack(tmp_path / "s.fits", names, np.zeros(30), np.zeros(30), pixels, "grz", 0.3, rows=rows, id_name="NAME")
    result = drain(StackSource(tmp_path / "s.fits"), ask(names[::-1]), 7)
    np.testing.assert_array_equal(result.stack(), pixels[rows[::-1]])


def test_same_object_twice_in_the_catalogue(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262)
    result = drain(StackSource(tmp_path / "s.fits"), ask(IDS[[4, 4, 2]]))
    np.testing.assert_array_equal(result.stack(), pixels[[4, 4, 2]])


def test_missing_marked_and_constant_rows(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    pixels[1], pixels[3], pixels[5, 0] = np.nan, 7.0, 0.0
    pixels[6, 1, 2, 2] = np.inf
    status = np.zeros(N, np.int32)
    status[4] = int(RowStatus.CORRUPT_CUTOUT)
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262, status=status)
    result = drain(StackSource(tmp_path / "s.fits"), ask([*IDS, 5], [*RA, 1.0], [*DEC, 1.0]))
    expected = {1: RowStatus.CONSTANT, 3: RowStatus.CONSTANT, 4: RowStatus.CORRUPT_CUTOUT, N: RowStatus.MISSING_CUTOUT}
    assert result.status == {row: int(bit) for row, bit in expected.items()}
    (batch,) = result.batches
    has_data = dict(zip(batch.index.tolist(), batch.band_has_data.tolist(), strict=True))
    assert has_data[5] == [False, True, True]
    assert has_data[6] == [True, True, True]
    assert np.isnan(result.pixels[6][1, 2, 2])
    assert batch.index[batch.has_nan].tolist() == [6]


def test_row_numbers_are_matched_by_position(tmp_path: Path, pixels: Any, drain: Any) -> None:
    # Identifiers in the stack that look like row numbers of another catalogue must not win over the position.
    write_stack(tmp_path / "s.fits", np.arange(N)[::-1], RA, DEC, pixels, "grz", 0.262)
    row = np.arange(N + 1, dtype=np.int64)
    request = CutoutRequest(row, np.append(RA + 0.5 / 3600, 200.0), np.append(DEC, 3.0), row)
    for source in (StackSource(tmp_path / "s.fits"), StackSource(tmp_path / "s.fits", by_position=True)):
        result = drain(source, request)
        np.testing.assert_array_equal(result.stack(), pixels)
        assert result.status == {N: int(RowStatus.MISSING_CUTOUT)}
    far = CutoutRequest(row[:N], RA + 1.5 / 3600, DEC, row[:N])
    assert len(drain(StackSource(tmp_path / "s.fits"), far).status) == N


def test_only_files_of_the_request_are_opened(tiles: Any, ask: Any, drain: Any, monkeypatch: Any) -> None:
    folder, rows = tiles
    source = StackSource(folder)
    opened: list[Path] = []
    real = stack_module.StackFile

    def spy(path: Path, overrides: Overrides) -> Any:
        opened.append(path)
        return real(path, overrides)

    monkeypatch.setattr(stack_module, "StackFile", spy)
    drain(source, ask(IDS[rows[-1]], RA[rows[-1]], DEC[rows[-1]]))
    assert len(opened) == 1


def test_without_coordinates_every_file_is_searched(tiles: Any, ask: Any, drain: Any, pixels: Any) -> None:
    np.testing.assert_array_equal(drain(StackSource(tiles[0]), ask(IDS)).stack(), pixels)


def test_object_just_across_a_border(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    ra, dec = 40 + np.arange(20_000) * 0.5 / 3600, np.full(20_000, 10.0)
    tile = healpix.pixel(ra, dec, 6)
    west = np.flatnonzero(np.diff(tile))[:1]  # the next position lies in another tile
    path = tmp_path / f"Norder=6/Dir=0/Npix={tile[west[0]]}.fits"
    write_stack(path, IDS[:1], ra[west], dec[west], pixels[:1], "grz", 0.262)
    source = StackSource(tmp_path)
    assert not drain(source, ask(IDS[:1], ra[west + 1], dec[west])).status
    assert drain(source, ask(IDS[:1], ra[west + 4], dec[west])).status == {0: int(RowStatus.MISSING_CUTOUT)}


def test_arrays_of_a_batch_belong_to_the_caller(tmp_path: Path, pixels: Any, ask: Any) -> None:
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262)
    source = StackSource(tmp_path / "s.fits")
    kept = [batch.pixels[:, 1:].reshape(-1)[::2] for batch in source.read(ask(IDS), 2)]  # views and copies
    kept = [batch.pixels[:, 1:] for batch in source.read(ask(IDS), 2)]  # views of views keep the memory
    list(source.read(ask(IDS[::-1]), 2))
    np.testing.assert_array_equal(np.concatenate(kept), pixels[:, 1:])


def test_handle_moves_between_threads(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262, compress="rice")
    source = StackSource(tmp_path / "s.fits")
    results = [drain(source, ask(IDS)).stack()]
    thread = threading.Thread(target=lambda: results.append(drain(source, ask(IDS)).stack()))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], results[1])


def plain_stack(path: Path, pixels: Any, order: str = "grz", **cards: Any) -> None:
    """A stack as somebody else may write it: no PIXSCALE column, no checksum, any order of planes and rows."""
    table = np.zeros(len(pixels), [("OBJID", ">i8"), ("RA", ">f8"), ("DEC", ">f8")])
    table["OBJID"], table["RA"], table["DEC"] = IDS, RA, DEC
    planes = np.ascontiguousarray(pixels).reshape(-1, *pixels.shape[2:])
    header = {"BANDS": order, "PIXSCALE": 0.3, "BUNIT": "nanomaggy", **cards}
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(
            planes, extname="PIXELS", header=[{"name": k, "value": v} for k, v in header.items() if v is not None]
        )
        file.write(table, extname="INDEX")


@pytest.mark.parametrize(
    ("order", "rows"), list(itertools.product(["".join(p) for p in itertools.permutations("grz")], ["SOUTH", "NORTH"]))
)
def test_band_and_row_order_matrix(tmp_path: Path, pixels: Any, ask: Any, drain: Any, order: str, rows: str) -> None:
    shuffled = pixels[:, ["grz".index(band) for band in order]]
    stored = shuffled[:, :, ::-1] if rows == "NORTH" else shuffled
    plain_stack(tmp_path / "s.fits", stored, order, ROWORDER=rows)
    source = StackSource(tmp_path / "s.fits")
    result = drain(source, ask(IDS), 5)
    np.testing.assert_array_equal(result.stack(), pixels)
    assert set(result.scale.values()) == {0.3}
    assert source.files() == {"no_checksum": {str(tmp_path / "s.fits")}}


def test_units_are_converted_or_refused(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    path = tmp_path / "s.fits"
    for cards, factor in (
        ({"BUNIT": "nJy"}, 1 / 3631), ({"BUNIT": None, "MAGZERO": 25.0}, 0.1), ({"BUNIT": None, "FLUXMAG0": 1e10}, 0.1),
    ):  # fmt: skip
        plain_stack(path, pixels, **cards)
        np.testing.assert_allclose(drain(StackSource(path), ask(IDS)).stack(), pixels * factor, rtol=1e-6)
    plain_stack(path, pixels, BUNIT=None)
    with pytest.raises(InputError, match="unit of the pixels unknown"):
        StackSource(path)
    rescued = StackSource(path, Overrides(zeropoint=20.0))
    np.testing.assert_allclose(drain(rescued, ask(IDS)).stack(), pixels * 10, rtol=1e-6)
    plain_stack(path, pixels, BANDS=None)
    with pytest.raises(InputError, match="no BANDS card"):
        StackSource(path)
    assert StackSource(path, Overrides(bands=("u", "g", "r"))).bands == ("u", "g", "r")


def test_bands_of_the_user_do_not_contradict_the_file(tmp_path: Path, pixels: Any) -> None:
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262)
    assert StackSource(tmp_path / "s.fits", Overrides(bands=("g", "r", "z"))).bands == ("g", "r", "z")
    for other in (("g",), ("g", "r", "i"), ("z", "r", "g")):
        with pytest.raises(InputError, match="its bands are g, r, z"):
            StackSource(tmp_path / "s.fits", Overrides(bands=other))


def test_pixel_scale_of_the_user_wins(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    scales = np.linspace(0.2, 0.3, N)
    scales[3] = np.nan
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", scales)
    result = drain(StackSource(tmp_path / "s.fits"), ask(IDS))
    assert result.scale[5] == scales[5]
    assert result.scale[3] == scales[0]  # the header's
    result = drain(StackSource(tmp_path / "s.fits", Overrides(pixel_scale=0.5)), ask(IDS))
    assert set(result.scale.values()) == {0.5}


def test_large_index_is_mapped(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    n = 70_000
    ids = np.arange(n)[::-1] + 77
    write_stack(tmp_path / "s.fits", ids, np.zeros(n), np.zeros(n), pixels, "grz", 0.262, rows=np.arange(n) % N)
    wanted = ids[[5, 60_000, 69_999]]
    result = drain(StackSource(tmp_path / "s.fits"), ask(wanted))
    np.testing.assert_array_equal(result.stack(), pixels[np.array([5, 60_000, 69_999]) % N])


def test_shapes_and_bands_may_differ_between_files(tmp_path: Path, ask: Any, drain: Any, rng: Any) -> None:
    sizes = [8, 8, 12, 8]
    ra = np.array([10.0, 50.0, 90.0, 130.0])
    arrays = [rng.normal(size=(1, 2, size, size)).astype(np.float32) for size in sizes]
    for k, array in enumerate(arrays):
        one = int(healpix.pixel(ra[k : k + 1], np.zeros(1), 3)[0])
        path = tmp_path / f"Norder=3/Dir=0/Npix={one}.fits"
        write_stack(path, np.array([k + 50]), ra[k : k + 1], np.zeros(1), array, "gr", 0.262)
    result = drain(StackSource(tmp_path), ask(np.arange(4) + 50, ra, np.zeros(4)))
    for k, array in enumerate(arrays):
        np.testing.assert_array_equal(result.pixels[k], array[0])


def test_fingerprint_follows_the_content(tiles: Any, pixels: Any) -> None:
    folder, _ = tiles
    first = StackSource(folder).fingerprint()
    assert StackSource(folder).fingerprint() == first
    assert len(first["files"]) == len(files_of(folder))
    path = files_of(folder)[0]
    write_stack(path, IDS[:1], RA[:1], DEC[:1], pixels[:1] + 1, "grz", 0.262)
    assert StackSource(folder).fingerprint() != first


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, pixels: Any) -> None:
    refused: list[Callable[[], None]] = [
        lambda: write_stack(tmp_path / "s", IDS, RA, DEC, pixels, "gr", 0.262),
        lambda: write_stack(tmp_path / "s", IDS, RA, DEC, pixels[:3], "grz", 0.262),
        lambda: write_stack(tmp_path / "s", IDS, RA, DEC, pixels, "ggz", 0.262),
    ]
    for write in refused:
        with pytest.raises(InputError):
            write()
    assert not list(tmp_path.iterdir())


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no stack files"):
            StackSource(path)
    (tmp_path / "x.fits").write_text("<html>")
    with pytest.raises(InputError, match="no readable stack file"):
        StackSource(tmp_path / "x.fits")


def test_file_without_usable_rows_among_other_shapes(tmp_path: Path, ask: Any, drain: Any, rng: Any) -> None:
    """A file that gives nothing must not hide that the next one has another shape."""
    sizes, marked = [8, 12, 12], [0, int(RowStatus.MISSING_CUTOUT), 0]
    pix = [100, 101, 102]  # files are read in this order
    ra, dec = healpix.center(9, pix)
    arrays = [rng.normal(size=(1, 2, size, size)).astype(np.float32) for size in sizes]
    for k, array in enumerate(arrays):
        path = tmp_path / f"Norder=9/Dir=0/Npix={pix[k]}.fits"
        status = np.array([marked[k]], np.int32)
        write_stack(path, np.array([k + 50]), ra[k : k + 1], dec[k : k + 1], array, "gr", 0.262, status=status)
    result = drain(StackSource(tmp_path), ask(np.arange(3) + 50, ra, dec))
    assert result.status == {1: int(RowStatus.MISSING_CUTOUT)}
    for k in (0, 2):
        np.testing.assert_array_equal(result.pixels[k], arrays[k][0])


@pytest.mark.parametrize("ids", [np.array([7, 7, 8, 7]), np.array([b"x", b"x", b"y", b"x"])])
def test_repeated_identifiers_are_told_apart_by_position(
    tmp_path: Path, pixels: Any, ask: Any, drain: Any, ids: Any
) -> None:
    """As OBJID, which numbers anew in each brick."""
    ra, dec = np.array([10.0, 11.0, 12.0, 13.0]), np.zeros(4)
    write_stack(tmp_path / "s.fits", ids, ra, dec, pixels[:4], "grz", 0.262)
    source = StackSource(tmp_path / "s.fits", by_position=False)
    wanted = np.array([3, 1, 2, 0])
    np.testing.assert_array_equal(drain(source, ask(ids[wanted], ra[wanted], dec)).stack(), pixels[wanted])
    np.testing.assert_array_equal(drain(source, ask(ids[wanted])).stack(), pixels[[0, 0, 2, 0]])  # no positions


def test_identifier_of_an_object_elsewhere_is_another_object(tmp_path: Path, pixels: Any, ask: Any, drain: Any) -> None:
    """The same number in another brick or survey: no pixels are better than those of another galaxy."""
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "grz", 0.262)
    ra, dec = RA.copy(), DEC.copy()
    ra[1], dec[2], dec[3] = RA[1] + 50, DEC[2] + 2 / 3600, DEC[3] + 1  # row 2 still lies in its cutout
    result = drain(StackSource(tmp_path / "s.fits", by_position=False), ask(IDS, ra, dec))
    assert result.status == {1: int(RowStatus.MISSING_CUTOUT), 3: int(RowStatus.MISSING_CUTOUT)}
    np.testing.assert_array_equal(result.pixels[2], pixels[2])
