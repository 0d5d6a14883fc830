"""Stacks whose checksum is summed while they are read: damage takes back every row of the file, and only those."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest

from galcli.cutouts import stack as stack_module
from galcli.cutouts.batch import Failures, PixelBatch
from galcli.cutouts.stack import StackSource, write_stack
from galcli.sky import healpix
from galcli.tables.status import RowStatus

CORRUPT = int(RowStatus.CORRUPT_CUTOUT)
IDS = np.arange(12, dtype=np.int64) + 100
RA = np.repeat([20.0, 60.0], 6) + np.tile(np.arange(6) * 0.01, 2)
DEC = np.full(12, 5.0)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two tiles of six cutouts."""
    pixels = np.random.default_rng(1).normal(size=(12, 3, 10, 12)).astype(np.float32)
    written = []
    for rows in (slice(0, 6), slice(6, 12)):
        tile = int(healpix.pixel(RA[rows][:1], DEC[:1], 4)[0])
        written.append(tmp_path / f"c/Norder=4/Dir=0/Npix={tile}.fits")
        write_stack(written[-1], IDS[rows], RA[rows], DEC[rows], pixels[rows], "grz", 0.262)
    return written


def outcome(source: StackSource, request: Any, batch_size: int = 4) -> tuple[dict[int, Any], dict[int, int]]:
    """Pixels and status of each row, the last word on each."""
    pixels: dict[int, Any] = {}
    status: dict[int, int] = {}
    for item in source.read(replace(request, provisional=True), batch_size):
        if isinstance(item, Failures):
            status |= dict(zip(item.index.tolist(), item.status.tolist(), strict=True))
        else:
            pixels |= dict(zip(item.index.tolist(), item.pixels.copy(), strict=True))
    return {row: values for row, values in pixels.items() if row not in status}, status


def reasons(source: StackSource, request: Any, batch_size: int = 2) -> dict[int, str]:
    """Why rows are lost."""
    items = source.read(replace(request, provisional=True), batch_size)
    lost = [item for item in items if isinstance(item, Failures)]
    return {row: why for item in lost for row, why in zip(item.index.tolist(), item.reason, strict=True)}


@contextmanager
def one_failing_read(monkeypatch: Any, number: int) -> Iterator[None]:
    """A disk that fails once."""
    reads, preadv = itertools.count(1), os.preadv

    def read(*arguments: Any) -> int:
        if next(reads) == number:
            raise OSError(errno.EIO, "Input/output error")
        return preadv(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", read)
        yield


def flip(path: Path, cutout: int) -> None:
    """Change one bit of a pixel of a cutout."""
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"END" + b" " * 77, 2880) // 2880 * 2880 + 2880 + cutout * 4 * 360 + 6] ^= 1
    path.write_bytes(raw)


def asked(ask: Any, rows: Any) -> Any:
    return ask(IDS[rows], RA[rows], DEC[rows])


@pytest.mark.parametrize("rows", [np.arange(12), [3, 9, 1], [0], [5, 5, 0, 0, 11]], ids=["all", "some", "one", "again"])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_sound_files_give_what_they_give_when_checked_first(
    paths: Any, ask: Any, drain: Any, rows: Any, batch_size: int
) -> None:
    folder, request = paths[0].parents[2], asked(ask, rows)
    pixels, status = outcome(StackSource(folder), request, batch_size)
    assert not status
    np.testing.assert_array_equal([pixels[row] for row in sorted(pixels)], drain(StackSource(folder), request).stack())


@pytest.mark.parametrize("rows", [np.arange(12), [0, 6, 7], [8, 9, 10], [6], [9, 9, 6]])
@pytest.mark.parametrize("cutout", [0, 3, 5])
def test_a_flipped_bit_anywhere_takes_back_the_rows_of_its_file(paths: Any, ask: Any, rows: Any, cutout: int) -> None:
    flip(paths[1], cutout)
    source, request = StackSource(paths[0].parents[2]), asked(ask, rows)
    for _ in range(2):  # the second time the verdict is known
        pixels, status = outcome(source, request)
        lost = [place for place, row in enumerate(rows) if row >= 6]
        assert status == dict.fromkeys(lost, CORRUPT)
        assert sorted(pixels) == [place for place in range(len(rows)) if place not in lost]


def test_a_wrong_header_is_found_too(paths: Any, ask: Any) -> None:
    raw = paths[1].read_bytes()
    paths[1].write_bytes(raw.replace(b"PIXSCALE=                0.262", b"PIXSCALE=                0.263", 1))
    assert outcome(StackSource(paths[0].parents[2]), asked(ask, np.arange(12)))[1] == dict.fromkeys(
        range(6, 12), CORRUPT
    )


def test_each_byte_of_a_sound_file_is_read_once(paths: Any, ask: Any, monkeypatch: Any) -> None:
    """Those that are asked for as they are read, the others at the end."""
    reads: list[tuple[int, int, int]] = []
    preadv = os.preadv

    def read(descriptor: int, buffers: Any, offset: int) -> int:
        reads.append((os.fstat(descriptor).st_ino, offset, sum(map(len, buffers))))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", read)
    _, status = outcome(StackSource(paths[0].parents[2]), asked(ask, [0, 1, 2, 4, 6]))
    assert not status
    for path in paths:
        with fitsio.FITS(str(path)) as file:
            span = file["PIXELS"].get_offsets()
        times = np.zeros(path.stat().st_size, int)
        for file_number, offset, size in reads:
            times[offset : offset + size] += file_number == path.stat().st_ino
        assert (times[span["data_start"] : span["data_end"]] == 1).all()


def test_a_reader_that_stops_early_proves_nothing(paths: Any, ask: Any) -> None:
    flip(paths[0], 5)
    source = StackSource(paths[0].parents[2])
    reading = source.read(replace(asked(ask, np.arange(12)), provisional=True), 2)
    assert isinstance(next(reading), PixelBatch)
    reading.close()
    assert outcome(source, asked(ask, np.arange(12)))[1] == dict.fromkeys(range(6), CORRUPT)


def test_whoever_cannot_take_rows_back_gets_none_of_a_damaged_file(paths: Any, ask: Any, drain: Any) -> None:
    flip(paths[1], 5)
    assert sorted(drain(StackSource(paths[0].parents[2]), asked(ask, np.arange(12)), 1).pixels) == list(range(6))


def test_odd_cutouts_are_summed_before(tmp_path: Path, ask: Any) -> None:
    """The sum is made in steps of eight bytes; cutouts of an odd number of pixels are no whole number of them."""
    pixels = np.random.default_rng(1).normal(size=(3, 1, 5, 7)).astype(np.float32)
    write_stack(tmp_path / "s.fits", IDS[:3], RA[:3], DEC[:3], pixels, "g", 0.262)
    found, status = outcome(StackSource(tmp_path / "s.fits"), ask(IDS[:3], RA[:3], DEC[:3]))
    np.testing.assert_array_equal([found[row] for row in range(3)], pixels)
    assert not status


def test_a_read_that_fails_once_costs_its_own_rows(paths: Any, ask: Any, monkeypatch: Any) -> None:
    """Here the second of three batches of a file, one of whose cutouts is wanted again in the third."""
    source, request = StackSource(paths[0]), asked(ask, [0, 1, 2, 3, 3, 5])
    monkeypatch.setattr(stack_module, "ahead", map)  # so that the batches are read in order
    with one_failing_read(monkeypatch, 2):
        lost = reasons(source, request)
    assert sorted(lost) == [2, 3]
    assert all("Input/output error" in why for why in lost.values())
    assert reasons(source, request) == {}


def test_a_failing_read_of_what_nobody_asked_for(paths: Any, ask: Any, monkeypatch: Any) -> None:
    """Nobody knows whether the file is sound: its rows are taken back, with the true reason and for this time only."""
    source, request = StackSource(paths[0]), asked(ask, [0, 1])
    with one_failing_read(monkeypatch, 2):
        lost = reasons(source, request)
    assert sorted(lost) == [0, 1]
    assert all("Input/output error" in why for why in lost.values())
    assert reasons(source, request) == {}


@pytest.mark.parametrize("becomes", ["gone", "garbage", "of another unit"])
def test_a_file_that_cannot_be_opened_again_takes_back_its_own_rows(
    paths: Any, ask: Any, monkeypatch: Any, becomes: str
) -> None:
    monkeypatch.setattr(stack_module, "OPEN_FILES", 1)
    source = StackSource(paths[0].parents[2])
    reading = source.read(replace(asked(ask, np.arange(12)), provisional=True), 6)
    items = [next(reading), next(reading)]
    for path in paths:
        if path not in source._opened:
            closed = path
    if becomes == "gone":
        closed.unlink()
    elif becomes == "garbage":
        closed.write_bytes(b"no")
    else:
        write_stack(closed, IDS[:1], RA[:1], DEC[:1], np.ones((1, 3, 10, 12), np.float32), "grz", 0.262,
                    header={"MAGZERO": 20.0})  # fmt: skip
    items += reading
    [taken_back] = [item for item in items if isinstance(item, Failures)]
    first = 6 * paths.index(closed)
    assert sorted(taken_back.index.tolist()) == list(range(first, first + 6))
    assert all(why.startswith(f"{closed.name}: ") for why in taken_back.reason)
