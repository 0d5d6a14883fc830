from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from galcli.cutouts.checksum import Span, datasum_of_file, sign
from galcli.errors import OutputError
from galcli.tables.checksum import add_sum


def plain_sum(data: bytes) -> int:
    """The definition: add 32-bit words, carry around."""
    total = 0
    for word in np.frombuffer(data, ">u4").tolist():
        total += word
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


@pytest.mark.parametrize("words", [0, 1, 2, 3, 719, 720, 2**16 + 1, 2**17 + 722])
def test_sum_is_the_ones_complement_sum(words: int) -> None:
    data = np.random.default_rng(words).integers(0, 256, 4 * words, np.uint8).tobytes()
    assert plain_sum(data) == add_sum(data)


def test_sum_of_largest_words_does_not_wrap() -> None:
    data = b"\xff" * (8 << 20)
    assert add_sum(data) == plain_sum(data[:8]) == 0xFFFFFFFF


def test_part_of_a_file(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 256, 2880 * 300, np.uint8).tobytes()
    (tmp_path / "f").write_bytes(data)
    descriptor = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        assert datasum_of_file(descriptor, 2880, 2880 * 299) == plain_sum(data[2880 : 2880 * 299])
        with pytest.raises(ValueError, match="too early"):
            datasum_of_file(descriptor, 2880, 2880 * 301)
    finally:
        os.close(descriptor)


def test_sign_needs_the_cards() -> None:
    with pytest.raises(OutputError, match="DATASUM"):
        sign(bytearray(b" " * 2880), Span(0, 2880, 2880))
