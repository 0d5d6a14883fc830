"""Rice-compressed stacks: what threads decode is what cfitsio decodes, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest

from galcli.cutouts import rice
from galcli.cutouts.header import NO_OVERRIDES
from galcli.cutouts.stack import write_stack
from galcli.cutouts.stack_file import StackFile

ROOT = Path(__file__).resolve().parents[2]
IDS = np.arange(40, dtype=np.int64)
RA, DEC = np.linspace(10, 11, 40), np.zeros(40)


def read(path: Path) -> tuple[Any, Any]:
    """All cutouts through galcli and through fitsio, and the open file."""
    stack = StackFile(path, NO_OVERRIDES)
    found = np.empty((stack.count, *stack.shape), np.float32)
    low, high = np.empty((2, stack.count, stack.shape[0]), np.float32)
    stack.read_into(np.arange(stack.count), found, low, high)
    with fitsio.FITS(str(path)) as file:
        expected = file["PIXELS"][:, :, :].reshape(found.shape)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
    return stack, found


def quantised(path: Path, pixels: Any, method: str) -> Path:
    """A stack that fitsio compresses in another way than galcli would."""
    write_stack(path, IDS[: len(pixels)], RA[: len(pixels)], DEC[: len(pixels)], pixels, "gr", 0.262)
    with fitsio.FITS(str(path)) as file:
        header, index = file["PIXELS"].read_header(), file["INDEX"].read()
    planes = pixels.reshape(-1, *pixels.shape[2:])
    header.clean()
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None)
        file.write_image(
            planes, extname="PIXELS", header=header, compress="RICE", tile_dims=(1, *planes.shape[1:]), qlevel=4.0,
            qmethod=method, dither_seed=17,
        )  # fmt: skip
        file.write(index, extname="INDEX")
    return path


def noise(n: int = 40, bands: int = 2, side: int = 33) -> Any:
    return np.random.default_rng(2).normal(3, 0.2, (n, bands, side, side + 4)).astype(np.float32)


def test_noise(tmp_path: Path) -> None:
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, noise(), "gr", 0.262, compress="rice")
    stack, _ = read(tmp_path / "s.fits")
    assert stack._rice is not None
    assert stack._rice.hold(0, 80)


def test_gaps_constants_and_extremes(tmp_path: Path) -> None:
    """NaN have a code of their own; planes that cannot be quantised are stored otherwise and go through cfitsio."""
    pixels = noise()
    pixels[1, 0, 3:9] = np.nan
    pixels[2, 1] = np.nan
    pixels[3] = 7.5
    pixels[4, 0] = 0
    pixels[5, 1, 2, 2], pixels[6, 1, 2, 2] = 1e30, -1e30
    pixels[7, 0, 0, 0] = np.inf
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, pixels, "gr", 0.262, compress="rice")
    stack, found = read(tmp_path / "s.fits")
    assert stack._rice is not None
    assert not stack._rice.hold(0, 80)
    assert np.isnan(found[1, 0, 3:9]).all()
    assert (found[3] == 7.5).all()


@pytest.mark.parametrize("method", ["SUBTRACTIVE_DITHER_1", "SUBTRACTIVE_DITHER_2", "NO_DITHER"])
def test_other_ways_of_quantising(tmp_path: Path, method: str) -> None:
    pixels = noise(12)
    pixels[3, 0, 5, 5:9] = 0  # exact zeros stay zero in the second method
    path = quantised(tmp_path / "s.fits", pixels, method)
    stack, found = read(path)
    assert (stack._rice is not None) == (method != "NO_DITHER")
    if method != "NO_DITHER":
        assert (found[3, 0, 5, 5:9] == 0).all() == (method == "SUBTRACTIVE_DITHER_2")


def test_without_a_decoder_cfitsio_does_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(rice, "_HOMES", ())
    rice._decoder.cache_clear()
    try:
        write_stack(tmp_path / "s.fits", IDS, RA, DEC, noise(), "gr", 0.262, compress="rice")
        assert read(tmp_path / "s.fits")[0]._rice is None
    finally:
        rice._decoder.cache_clear()


def unsigned(path: Path, form: str) -> tuple[bytes, int]:
    """A stack without checksums, whose lengths have 32 bits (P) or 64 (Q, as files of many gigabytes), and its table."""
    raw, stack = path.read_bytes(), StackFile(path, NO_OVERRIDES)
    start, end, cards = stack._data_start, stack._pixels.span.end, stack._pixels.cards()
    rows = np.frombuffer(raw, [("code", ">i4", 2), ("scale", ">f8", 2)], cards["NAXIS2"], start)
    wide = rows.astype([("code", ">i4" if form == "P" else ">i8", 2), ("scale", ">f8", 2)])
    heap = raw[start + rows.nbytes :][: cards["PCOUNT"]]
    head = raw[:start].replace(b"'1PB(", f"'1{form}B(".encode()).replace(b" 24 /", b" %d /" % wide.itemsize)
    data = wide.tobytes() + heap
    whole = head + data + bytes(-len(data) % 2880) + raw[end:]
    return whole.replace(b"DATASUM ", b"XATASUM ").replace(b"CHECKSUM=", b"XHECKSUM="), start


@pytest.mark.parametrize("form", ["P", "Q"])
def test_damage_without_checksums_is_an_error_of_the_file(tmp_path: Path, form: str) -> None:
    """Whatever stands in the table and the heap: a ValueError, or pixels, but nothing else."""
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, noise(), "gr", 0.262, compress="rice")
    whole, place = unsigned(tmp_path / "s.fits", form)
    (tmp_path / "whole.fits").write_bytes(whole)
    np.testing.assert_array_equal(read(tmp_path / "whole.fits")[1], read(tmp_path / "s.fits")[1])
    rng, refused = np.random.default_rng(5), 0
    out, low, high = np.empty((40, 2, 33, 37), np.float32), *np.empty((2, 40, 2), np.float32)
    for _ in range(150):
        raw = bytearray(whole)
        for at in rng.integers(place, place + 80 * 24 + 3000, 3):
            raw[at] ^= int(rng.integers(1, 256))
        (tmp_path / "bad.fits").write_bytes(raw)
        try:
            StackFile(tmp_path / "bad.fits", NO_OVERRIDES).read_into(np.arange(40), out, low, high)
        except (OSError, ValueError):
            refused += 1
    assert refused > 10


#: Decodes the same planes in many threads that begin at once, in a process that has decoded nothing before.
_AT_ONCE = """
import sys, threading
from pathlib import Path
import numpy as np
from galcli.cutouts.header import NO_OVERRIDES
from galcli.cutouts.stack_file import StackFile

stack = StackFile(Path(sys.argv[1]), NO_OVERRIDES)
gate, found = threading.Barrier(16), []

def work():
    gate.wait()
    found.append(stack._rice.read(stack._descriptor, 0, 1).tobytes())

threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(set(found)))
"""


def test_threads_that_begin_at_once_decode_the_same(tmp_path: Path) -> None:
    """cfitsio makes its table of random numbers at the first call, without a lock."""
    write_stack(tmp_path / "s.fits", IDS, RA, DEC, noise(), "gr", 0.262, compress="rice")
    for _ in range(3):
        said = subprocess.run(
            [sys.executable, "-c", _AT_ONCE, tmp_path / "s.fits"], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert said.stdout.strip() == "1"


def test_the_table_of_random_numbers_is_there_before_threads_are(tmp_path: Path, monkeypatch: Any) -> None:
    calls: list[str] = []
    real = rice._decoder()

    class Watched:
        CfitsioException = real.CfitsioException

        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(real, name)

    rice._decoder.cache_clear()
    monkeypatch.setattr(rice.importlib, "import_module", lambda home: Watched())
    try:
        write_stack(tmp_path / "s.fits", IDS, RA, DEC, noise(), "gr", 0.262, compress="rice")
        StackFile(tmp_path / "s.fits", NO_OVERRIDES)
        assert calls == ["unquantize_float_c"]
    finally:
        rice._decoder.cache_clear()
