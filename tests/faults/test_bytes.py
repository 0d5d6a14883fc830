"""Any bytes in the place of a catalogue or a cutout: rows and pixels, or an error of galcli's own; nothing else."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from galcli.cutouts.batch import CutoutRequest, CutoutSource, Failures
from galcli.cutouts.coadd_index import FileIndex
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.files import FileSource
from galcli.cutouts.header import NO_OVERRIDES
from galcli.cutouts.lookup import list_folder
from galcli.cutouts.stack import StackSource
from galcli.cutouts.stack_write import write_stack
from galcli.errors import GalcliError
from galcli.sky.catalog import open_catalog
from tests.cutouts.sky_images import header, write
from tests.faults.counts import FUZZED
from tests.survey import SCALE, noise, write_catalog, write_stamp

Record = Callable[..., None]

#: Seconds for one damaged file.
LIMIT = 20
IDS, RA, DEC = np.arange(1, 4), np.full(3, 120.0), np.zeros(3)


def catalogue(folder: Path) -> Path:
    columns: dict[str, Any] = {"OBJECT_ID": IDS, "RA": RA, "DEC": DEC, "NAME": np.array([b"ab", b"cde", b"f"])}
    return write_catalog(folder / "c.fits", MAG=np.ones((3, 2), np.float32), **columns)


def packed_catalogue(folder: Path) -> Path:
    path = folder / "c.fits.gz"
    path.write_bytes(gzip.compress(catalogue(folder).read_bytes(), mtime=0))
    return path


def stamp(folder: Path) -> Path:
    return write_stamp(folder / "2.fits", noise(1, seed=2)[0])


def packed_stamp(folder: Path) -> Path:
    path = folder / "2.fits.gz"
    path.write_bytes(gzip.compress(stamp(folder).read_bytes(), mtime=0))
    (folder / "2.fits").unlink()
    return path


def fpacked_stamp(folder: Path) -> Path:
    plain, path = stamp(folder), folder / "2.fits.fz"
    with fits.open(plain) as hdus:
        hdu = fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="GZIP_2", quantize_level=0)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    plain.unlink()
    return path


def picture(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        levels = np.clip(noise(1, seed=2)[0] * 12, 0, 255).astype(np.uint8)
        Image.fromarray(np.moveaxis(levels, 0, 2)).save(folder / f"2.{ending}")
        return folder / f"2.{ending}"

    return make


def stack(compress: str | None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_stack(folder / "s.fits", IDS, RA, DEC, noise(3), "grz", SCALE, compress=compress)
        return folder / "s.fits"

    return make


def image(how: str) -> Callable[[Path], Path]:
    """A large image beside its weight map, to cut stamps from."""

    def make(folder: Path) -> Path:
        head = header(60, ra=RA[0], dec=DEC[0])
        write(
            folder / "a-invvar-r.fits", header(60, ra=RA[0], dec=DEC[0], IMTYPE="invvar"), np.ones((60, 60), np.float32)
        )
        path = folder / ("a-image-r.fits.bz2" if how == "bz2" else "a-image-r.fits")
        write(path.with_suffix("") if how == "bz2" else path, head, compress=how == "Rice")
        if how == "bz2":
            path.write_bytes(bz2.compress(path.with_suffix("").read_bytes()))
            path.with_suffix("").unlink()
        return path

    return make


def read_catalogue(path: Path) -> None:
    with open_catalog(path) as catalog:
        for chunk in catalog.chunks():
            assert set(chunk.dtype.names or ()) >= {"id", "ra", "dec"}


def read_cutouts(path: Path) -> None:
    request = CutoutRequest(IDS, RA, DEC, IDS - 1)
    source: CutoutSource
    if "-image-" in path.name:
        index = FileIndex([str(path)], str(path), NO_OVERRIDES)
        source = CoaddSource(index, (RA, DEC), [(RA, DEC)], field=5.0)
    else:
        source = StackSource(path) if path.name == "s.fits" else FileSource(list_folder(path.parent), request)
    rows: list[int] = []
    for item in source.read(request, 2):
        rows += item.index.tolist()
        if not isinstance(item, Failures):
            assert item.pixels.dtype == np.float32
            assert item.pixels.flags.c_contiguous
    assert sorted(rows) == [0, 1, 2]


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None]]] = {
    "catalogue": (catalogue, read_catalogue), "catalogue.gz": (packed_catalogue, read_catalogue),
    "cutout": (stamp, read_cutouts), "cutout.gz": (packed_stamp, read_cutouts), "cutout.fz": (fpacked_stamp, read_cutouts),
    "JPEG": (picture("jpg"), read_cutouts), "PNG": (picture("png"), read_cutouts), "stack": (stack(None), read_cutouts),
    "Rice stack": (stack("rice"), read_cutouts), "image": (image("plain"), read_cutouts),
    "image.fz": (image("Rice"), read_cutouts), "image.bz2": (image("bz2"), read_cutouts),
}  # fmt: skip


def spoil(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, insert, repeat or swap some bytes."""
    raw = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at, size = chance.randrange(len(raw) or 1), chance.choice([1, 2, 8, 80, 2880])
        other = chance.randrange(len(raw) or 1)
        match chance.randrange(6):
            case 0 if raw:
                raw[at] ^= 1 << chance.randrange(8)
            case 1:
                del raw[at:]
            case 2:
                raw[at:at] = chance.randbytes(size)
            case 3:
                raw[at : at + size] = raw[other : other + size]
            case 4:
                raw[at : at + size] = chance.choice([b"\0", b"\xff", b"9", b" ", b"'"]) * size
            case _:
                raw[at : at + 20] = chance.choice(
                    [b"= -1", b"= 99999999999999999999", b"= 1E999", b"= 'x", b"= 0"]
                ).ljust(20)
    return bytes(raw)


def outcome(read: Callable[[Path], None], path: Path) -> str:
    """What a child process makes of a file: ``read``, ``refused``, or what went wrong."""
    receive, send = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(LIMIT)
        said = "read"
        try:
            read(path)
        except GalcliError as error:
            said = "refused" if error.hint else f"no hint: {error.message}"
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test wants to know
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(send, said.encode(errors="replace")[:4000])
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return said if os.waitstatus_to_exitcode(status) == 0 else f"died: {os.waitstatus_to_exitcode(status)} {said}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes(tmp_path: Path, kind: str, record_fault: Record) -> None:
    make, read = KINDS[kind]
    path = make(tmp_path)
    good = path.read_bytes()
    assert outcome(read, path) == "read"
    fates, wrong = [], {}
    for seed in range(FUZZED):
        path.write_bytes(spoil(good, random.Random(f"{kind} {seed}")))
        fates.append(outcome(read, path))
        if fates[-1] not in ("read", "refused"):
            wrong[seed] = fates[-1]
    assert not wrong
    record_fault(len(fates), f"{kind}, random bytes: {fates.count('refused')} of {len(fates)} files refused as a whole")
