"""Damaged stack files: their rows are marked, every other row is bit-identical."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.cutouts.stack import StackSource, write_stack
from galcli.errors import InputError
from galcli.sky import healpix
from galcli.tables.status import RowStatus

CORRUPT = int(RowStatus.CORRUPT_CUTOUT)
IDS = np.arange(6, dtype=np.int64) + 100
RA = np.repeat([20.0, 60.0], 3) + np.tile([0, 0.01, 0.02], 2)
DEC = np.full(6, 5.0)


@pytest.fixture(params=[None, "rice"], ids=["plain", "rice"])
def survey(request: Any, tmp_path: Path) -> tuple[Path, Path, bytes]:
    """Two tiles; the second is there to be damaged."""
    pixels = np.random.default_rng(1).normal(size=(6, 2, 10, 12)).astype(np.float32)
    paths = []
    for rows in (slice(0, 3), slice(3, 6)):
        tile = int(healpix.pixel(RA[rows][:1], DEC[:1], 4)[0])
        path = tmp_path / f"c/Norder=4/Dir=0/Npix={tile}.fits"
        write_stack(path, IDS[rows], RA[rows], DEC[rows], pixels[rows], "gr", 0.262, compress=request.param)
        paths.append(path)
    return tmp_path / "c", paths[1], paths[1].read_bytes()


@pytest.fixture
def undamaged(survey: Any, ask: Any, drain: Any) -> Any:
    return drain(StackSource(survey[0]), ask(IDS, RA, DEC)).stack()


def check(folder: Path, ask: Any, drain: Any, undamaged: Any, *, may_survive: bool = False) -> bool:
    """Rows of the good tile are untouched; rows of the other are corrupt, or exactly right."""
    result = drain(StackSource(folder), ask(IDS, RA, DEC), 4)
    for row in range(3):
        np.testing.assert_array_equal(result.pixels[row], undamaged[row])
    if may_survive and not result.status:
        np.testing.assert_array_equal(result.stack(), undamaged)
        return True
    assert result.status == {3: CORRUPT, 4: CORRUPT, 5: CORRUPT}
    assert all(reason for reason in result.reason.values())
    return False


def test_200_truncations(survey: Any, ask: Any, drain: Any, undamaged: Any, record_fault: Any) -> None:
    folder, path, data = survey
    cuts = np.random.default_rng(2).integers(0, len(data), 200)
    survivors = []
    for cut in cuts.tolist():
        path.write_bytes(data[:cut])
        if check(folder, ask, drain, undamaged, may_survive=True):
            survivors.append(cut)
        record_fault()
    # What is cut off inside the last padding block of the file is not data.
    assert all(cut > len(data) - 2880 for cut in survivors)


def test_100_flipped_bits(survey: Any, ask: Any, drain: Any, undamaged: Any, record_fault: Any) -> None:
    folder, path, data = survey
    rng = np.random.default_rng(3)
    for at, bit in zip(rng.integers(2880, len(data), 100).tolist(), rng.integers(0, 8, 100).tolist(), strict=True):
        damaged = bytearray(data)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        # A flip in the name of a CHECKSUM card leaves nothing to compare with: then the pixels must be right.
        check(folder, ask, drain, undamaged, may_survive=True)
        record_fault()


def test_flipped_pixels_are_all_found(survey: Any, ask: Any, drain: Any, undamaged: Any, record_fault: Any) -> None:
    folder, path, data = survey
    start = data.index(b"EXTNAME = 'PIXELS") // 2880 * 2880 + 2880 * (2 if b"ZIMAGE" in data else 1)
    rng = np.random.default_rng(4)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[start + int(rng.integers(0, 400))] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        check(folder, ask, drain, undamaged)
        record_fault()


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", b"SIMPLE  =" + b" " * 3000, b"\0" * 5760])
def test_garbage(survey: Any, ask: Any, drain: Any, undamaged: Any, content: bytes) -> None:
    folder, path, _ = survey
    path.write_bytes(content)
    check(folder, ask, drain, undamaged)


def test_file_vanishes_or_shrinks_during_the_run(survey: Any, ask: Any, drain: Any, undamaged: Any) -> None:
    folder, path, data = survey
    source = StackSource(folder)
    drain(source, ask(IDS, RA, DEC))
    path.write_bytes(data[:6000])
    result = drain(source, ask(IDS, RA, DEC))
    np.testing.assert_array_equal(result.stack()[:3], undamaged[:3])
    assert all(status == CORRUPT for status in result.status.values())
    source = StackSource(folder)
    path.unlink()
    assert drain(source, ask(IDS, RA, DEC)).status == {3: CORRUPT, 4: CORRUPT, 5: CORRUPT}


def test_file_that_can_no_longer_be_read(tmp_path: Path, ask: Any, drain: Any, monkeypatch: Any) -> None:
    """Damaged after its sums were checked: its rows are corrupt, even where they are a whole batch."""
    pixels = np.random.default_rng(1).normal(size=(3, 2, 10, 12)).astype(np.float32)
    write_stack(tmp_path / "a.fits", IDS[:3], RA[:3], DEC[:3], pixels, "gr", 0.262)
    source = StackSource(tmp_path / "a.fits")

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("galcli.cutouts.stack_file.StackFile.read_into", fail)
    assert drain(source, ask(IDS[:3])).status == {0: CORRUPT, 1: CORRUPT, 2: CORRUPT}


def test_nothing_but_damage_is_refused(survey: Any) -> None:
    folder, _, _ = survey
    for path in folder.rglob("*.fits"):
        path.write_bytes(b"no")
    with pytest.raises(InputError, match="no readable stack file"):
        StackSource(folder)


def test_rows_that_point_outside(tmp_path: Path, ask: Any, drain: Any) -> None:
    pixels = np.random.default_rng(1).normal(size=(3, 2, 10, 12)).astype(np.float32)
    write_stack(tmp_path / "a.fits", IDS[:3], RA[:3], DEC[:3], pixels, "gr", 0.262)
    data = (tmp_path / "a.fits").read_bytes()
    table = data.rindex(b"XTENSION") + 5760
    for number, row in enumerate((-5, 99)):
        place = data.index(np.array(IDS[number], ">i8").tobytes(), table) + 24
        data = data[:place] + np.array(row, ">i8").tobytes() + data[place + 8 :]
    data = data.replace(b"DATASUM ", b"DATASUN ").replace(b"CHECKSUM", b"CHECKSUN")
    (tmp_path / "b.fits").write_bytes(data)
    result = drain(StackSource(tmp_path / "b.fits"), ask(IDS[:3]))
    assert result.status == {0: CORRUPT, 1: CORRUPT}
    np.testing.assert_array_equal(result.pixels[2], pixels[2])


def test_file_with_contradicting_units_costs_its_own_rows(tmp_path: Path, ask: Any, drain: Any) -> None:
    """Whether it is the first file or not; nothing but such files is refused with what is missing."""
    pixels = np.random.default_rng(1).normal(size=(6, 2, 10, 12)).astype(np.float32)
    tiles = healpix.pixel(RA[[0, 3]], DEC[:2], 4).tolist()
    for odd in range(2):
        for number, tile in enumerate(tiles):
            rows = slice(3 * number, 3 * number + 3)
            unit = {"MAGZERO": 20.0} if number == odd else {}  # against its BUNIT
            path = tmp_path / f"{odd}/Norder=4/Dir=0/Npix={tile}.fits"
            write_stack(path, IDS[rows], RA[rows], DEC[rows], pixels[rows], "gr", 0.262, header=unit)
        result = drain(StackSource(tmp_path / str(odd)), ask(IDS, RA, DEC))
        assert result.status == dict.fromkeys(range(3 * odd, 3 * odd + 3), CORRUPT)
        assert all("disagree" in reason for reason in result.reason.values())
        (tmp_path / f"{odd}/Norder=4/Dir=0/Npix={tiles[1 - odd]}.fits").unlink()
        with pytest.raises(InputError, match="disagree"):
            StackSource(tmp_path / str(odd))


@pytest.mark.parametrize("text", [b"1E999", b"INFINITY", b"'x'", b"T"])
def test_checksum_that_is_no_number(survey: Any, ask: Any, drain: Any, undamaged: Any, text: bytes) -> None:
    folder, path, data = survey
    at = data.index(b"DATASUM = ", data.index(b"'PIXELS"))
    path.write_bytes(data[:at] + (b"DATASUM = " + text).ljust(80) + data[at + 80 :])
    check(folder, ask, drain, undamaged)
    assert StackSource(folder).fingerprint()["files"]
