"""Stamps at a coarser scale out of finer ones: quick early stages see the same sky as the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from galcli.training import cache
from galcli.training.data import Stamps


def coarser(
    folder: Path, stamps: Stamps, factor: int, say: Callable[[str], None], display: int | None = None
) -> Stamps:
    """Stamps whose pixels are sums (of display images: means) of ``factor`` x ``factor`` pixels, made once and kept.

    Parameters
    ----------
    folder : Path
        Where caches are kept.
    stamps : Stamps
        Fine stamps; their size is a multiple of the factor.
    factor : int
    say : callable
        Takes lines for the user.
    display : int, optional
        Number of the front of display images, where there are any.

    Returns
    -------
    Stamps
        A pixel has no data where one of its parts has none.

    Raises
    ------
    ValueError
        If the size is no multiple of the factor.
    OutputError
        If the disk is full or not writable.
    """
    size, left = divmod(stamps.size, factor)
    if left:
        raise ValueError(f"stamps of {stamps.size} px cannot be divided by {factor}")
    names, bands = tuple(stamps.labels), int(stamps.pixels.shape[1])
    facts = {"out of": stamps.key, "factor": factor} | ({} if display is None else {"display": display})
    recipe = cache.Recipe(stamps.name, len(stamps), size, factor * stamps.pixel_scale, names, facts, bands)

    def make(chunk: int, rows: int) -> cache.Chunk:
        part = slice(chunk * cache.CHUNK, chunk * cache.CHUNK + rows)
        fine = stamps.pixels[part].astype(np.float32).reshape(rows, bands, size, factor, size, factor)
        labels = np.stack([stamps.labels[name][part] for name in names], axis=1)
        nowhere = np.full(rows, -1, np.int64)
        coarse = fine.sum((3, 5))
        coarse[stamps.front[part] == (-1 if display is None else display)] /= factor**2
        return cache.Chunk(coarse, stamps.front[part].astype(np.int8), labels, nowhere)

    return replace(cache.build(folder, recipe, make, say), healpix=stamps.healpix, model_scale=stamps.model_scale)
