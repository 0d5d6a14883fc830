"""Stamps made once and kept on disk: resumable chunk by chunk, the same bits every time.

A cache is a folder of three arrays (``pixels.npy`` float16, ``front.npy``, ``labels.npy``, and ``healpix.npy`` where
positions are known) and ``manifest.json``, whose key is a hash of everything that determines the content.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, OutputError
from galcli.training.checkpoint import write_json
from galcli.training.data import Stamps

#: Galaxies of one chunk.
CHUNK = 1024
#: Largest float16: brighter pixels are cut to it.
_MAX = float(np.finfo(np.float16).max)


@dataclass
class Chunk:
    """What a maker gives for one chunk of rows.

    Attributes
    ----------
    pixels : ndarray (n, B, S, S)
        Float32; NaN = no data.
    front : ndarray (n,), int8
        Position among the recipe's fronts.
    labels : ndarray (n, L), float32
        In the order of the recipe's label names.
    healpix : ndarray (n,), int64
        NESTED order-29 pixel; -1 where there is no position.
    """

    pixels: NDArray[np.float32]
    front: NDArray[np.int8]
    labels: NDArray[np.float32]
    healpix: NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """What determines a cache.

    Attributes
    ----------
    name : str
        What the sample is called.
    n : int
        Rows.
    size : int
        Pixels along a side.
    pixel_scale : float
        Arcsec per pixel.
    labels : tuple of str
        Names of the label columns.
    facts : dict
        JSON-able: seed, source fingerprints and the like.
    bands : int
        Bands of a stamp.
    """

    name: str
    n: int
    size: int
    pixel_scale: float
    labels: tuple[str, ...]
    facts: dict[str, Any]
    bands: int = 3

    @property
    def key(self) -> str:
        """Hash of everything above."""
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()[:16]


def build(folder: Path, recipe: Recipe, make: Callable[[int, int], Chunk], say: Callable[[str], None]) -> Stamps:
    """Open a cache, making what is missing of it.

    Parameters
    ----------
    folder : Path
        Where caches are kept; this one gets a sub-folder of its own.
    recipe : Recipe
        What it holds.
    make : callable
        ``make(chunk, rows)`` gives the rows of a chunk; depends on the chunk's number alone.
    say : callable
        Takes lines for the user.

    Returns
    -------
    Stamps

    Raises
    ------
    OutputError
        If the disk is full or not writable.
    """
    place = folder / f"{recipe.name}-{recipe.n}x{recipe.size}-{recipe.key}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with alone(place, say):
            arrays = _arrays(place, recipe, make, say)
    except OSError as error:
        need = recipe.n * recipe.bands * recipe.size**2 * 2 / 1e9
        raise OutputError(
            f"{place}: {error}", f"the cache takes {need:.1f} GB; choose another --out or --cache"
        ) from error
    labels = np.array(arrays["labels"])
    named = {name: np.ascontiguousarray(labels[:, number]) for number, name in enumerate(recipe.labels)}
    healpix = np.array(arrays["healpix"])
    known = healpix if len(healpix) and (healpix >= 0).all() else None
    front = np.array(arrays["front"]).astype(np.int64)
    return Stamps(arrays["pixels"], front, named, recipe.pixel_scale, recipe.name, known, key=recipe.key)


@contextlib.contextmanager
def alone(place: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep others from making what this folder holds; the system frees the lock of a process that dies."""
    with (place / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another training works on {place}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _arrays(
    place: Path, recipe: Recipe, make: Callable[[int, int], Chunk], say: Callable[[str], None]
) -> dict[str, np.memmap[Any, Any]]:
    """The arrays on disk, whole."""
    done = _done(place)
    arrays = {name: _open(place / f"{name}.npy", *form, fresh=done == 0) for name, form in _shapes(recipe).items()}
    began, first = time.monotonic(), done
    for chunk in range(done, -(-recipe.n // CHUNK)):
        rows = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, recipe.n))
        made = make(chunk, rows.stop - rows.start)
        arrays["pixels"][rows] = np.clip(made.pixels, -_MAX, _MAX)
        arrays["front"][rows], arrays["labels"][rows] = made.front, made.labels
        arrays["healpix"][rows] = made.healpix
        for array in arrays.values():
            array.flush()
        write_json(place / "manifest.json", {**vars(recipe), "key": recipe.key, "chunks": chunk + 1})
        rate = (rows.stop - first * CHUNK) / (time.monotonic() - began)
        if chunk % 8 == 0 or rows.stop == recipe.n:
            left = (recipe.n - rows.stop) / rate / 60
            say(f"stamps {rows.stop}/{recipe.n}  {recipe.size} px  {rate:.0f}/s  {left:.1f} min left")
    return arrays


def _done(place: Path) -> int:
    """Chunks already made."""
    manifest = place / "manifest.json"
    if not manifest.exists():
        return 0
    try:
        return int(json.loads(manifest.read_text())["chunks"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{manifest} is damaged: {error}", f"remove {place}; it is made again") from error


def _shapes(recipe: Recipe) -> dict[str, tuple[tuple[int, ...], str]]:
    n, size = recipe.n, recipe.size
    return {
        "pixels": ((n, recipe.bands, size, size), "<f2"),
        "front": ((n,), "|i1"),
        "labels": ((n, len(recipe.labels)), "<f4"),
        "healpix": ((n,), "<i8"),
    }


def _open(path: Path, shape: tuple[int, ...], dtype: str, fresh: bool) -> np.memmap[Any, Any]:
    mode: Any = "w+" if fresh else "r+"
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode, np.dtype(dtype), shape)
    if array.shape != shape:
        raise InputError(f"{path} has the shape {array.shape}, not {shape}", f"remove {path.parent}; it is made again")
    return array
