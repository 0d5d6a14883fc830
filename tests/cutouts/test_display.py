"""JPEG and PNG: channels, orientation, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from galcli.cutouts.files import FileSource
from galcli.cutouts.header import Overrides
from galcli.cutouts.lookup import list_folder
from galcli.tables.status import RowStatus

CORRUPT = int(RowStatus.CORRUPT_CUTOUT)


@pytest.fixture
def colour() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)


def settled(colour: NDArray[np.uint8]) -> NDArray[np.float32]:
    """By the definition: blue, green, red; row 0 = south; 0 to 1."""
    return (colour[::-1, :, ::-1].transpose(2, 0, 1) * np.float32(1 / 255)).astype(np.float32)


def write_png16(path: Path, values: NDArray[np.uint16]) -> None:
    """A 16-bit RGB PNG, which pillow reads but does not write."""
    height, width, _ = values.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_modes(tmp_path: Path, colour: Any, ask: Any, drain: Any) -> None:
    Image.fromarray(colour).save(tmp_path / "1.png")
    alpha = np.random.default_rng(2).integers(0, 256, (9, 12, 1), np.uint8)
    Image.fromarray(np.concatenate([colour, alpha], axis=2)).save(tmp_path / "2.png")
    write_png16(tmp_path / "3.png", colour.astype(np.uint16) * 257)
    few = colour // 128 * 255
    Image.fromarray(few).quantize(8).save(tmp_path / "4.png")
    Image.fromarray(colour[..., 0]).save(tmp_path / "5.png")
    source = FileSource(list_folder(tmp_path), ask([1]))
    assert (source.kind, source.bands, source.survey) == ("display", ("blue", "green", "red"), "")
    result = drain(source, ask([1, 2, 3, 4, 5]))
    for row in range(3):
        np.testing.assert_array_equal(result.pixels[row], settled(colour))
    np.testing.assert_array_equal(result.pixels[3], settled(few))
    assert result.status == {4: CORRUPT}
    assert "colour" in result.reason[4]
    assert np.isnan(result.scale[0])
    assert result.center[0] == (5.5, 4.0)
    assert source.counters() == {"no_checksum": 0}


def test_scale_of_the_user(tmp_path: Path, colour: Any, ask: Any, drain: Any) -> None:
    Image.fromarray(colour).save(tmp_path / "1.jpg", quality=95)
    source = FileSource(list_folder(tmp_path), ask([1]), Overrides(pixel_scale=0.4))
    assert drain(source, ask([1])).scale == {0: 0.4}


def test_truncated_at_200_places(tmp_path: Path, ask: Any, drain: Any, record_fault: Any) -> None:
    y, x = np.mgrid[:64, :64]
    smooth = np.stack([x * 3, y * 3, x + y], axis=2).astype(np.uint8)
    for name in ("1.jpg", "2.png"):
        Image.fromarray(smooth).save(tmp_path / name)
    source = FileSource(list_folder(tmp_path), ask([1, 2]))
    whole = drain(source, ask([1, 2]))
    rng = np.random.default_rng(5)
    for row, name in enumerate(("1.jpg", "2.png")):
        data = (tmp_path / name).read_bytes()
        for cut in rng.integers(0, len(data), 200).tolist():
            (tmp_path / name).write_bytes(data[:cut])
            result = drain(source, ask([1, 2]))
            if cut >= len(data) - 24 and not result.status:  # checksums and end markers, after the pixels
                np.testing.assert_array_equal(result.pixels[row], whole.pixels[row])
            else:
                assert result.status == {row: CORRUPT}
            np.testing.assert_array_equal(result.pixels[1 - row], whole.pixels[1 - row])
            record_fault()
        (tmp_path / name).write_bytes(data)


def test_hostile_images_are_refused(tmp_path: Path, colour: Any, ask: Any, drain: Any) -> None:
    Image.fromarray(colour).save(tmp_path / "1.png")
    for number, size in ((2, 9_000), (3, 12_000), (4, 100_000)):  # 81, 144 and 10,000 million pixels
        header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        body = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + body)
    (tmp_path / "5.jpg").write_bytes(b"<html>")
    (tmp_path / "6.png").write_bytes(b"GIF89a" + b"\0" * 40)
    result = drain(FileSource(list_folder(tmp_path), ask([1])), ask([1, 2, 3, 4, 5, 6]))
    assert result.status == dict.fromkeys(range(1, 6), CORRUPT)
    np.testing.assert_array_equal(result.pixels[0], settled(colour))


def test_fits_is_preferred_to_display(tmp_path: Path, colour: Any, ask: Any, drain: Any, legacy: Any) -> None:
    Image.fromarray(colour).save(tmp_path / "1.jpg")
    legacy(tmp_path / "2.fits", colour.astype(np.float32).transpose(2, 0, 1) + 1)
    source = FileSource(list_folder(tmp_path), ask([1, 2]))
    assert source.kind == "flux"
    assert drain(source, ask([1, 2])).status == {0: int(RowStatus.MISSING_CUTOUT)}
