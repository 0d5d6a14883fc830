"""Training batches: stamps with fronts and labels, split into training and held-out rows, drawn by step.

Stamps lie on the model's grid as float16, memory-mapped, so that a set larger than memory still streams. A batch
depends on (seed, step) alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.training.augment import MIXED, d4, draw_angles, draw_d4, rotate
from galcli.training.mock import display
from galcli.training.pixels import DISPLAY, FRONTS, VIEWER_PIXEL_SCALE, VIEWERS
from galcli.training.randomise import Variety
from galcli.training.seeds import generator, mix

#: Fraction of the rows that is held out, as published.
HELD_OUT = 0.2
#: Order of the HEALPix tiles of the sky-disjoint split (3.7 degrees).
SPLIT_ORDER = 4
#: Largest angle of a small rotation, degrees.
MAX_ANGLE = 10.0


@dataclass
class Batch:
    """One training batch.

    Attributes
    ----------
    pixels : Tensor (N, B, S, S), float32
        Nanomaggies per pixel of the model's grid, or 0 to 1 for the display front; 0 where there is no data.
    valid : Tensor (N, 1, S, S), float32
        1 where every band has data.
    front : Tensor (N,), int64
        Position among the fronts of the recipe, ``pixels.FRONTS`` for models that know display images.
    target : Tensor (N, T), float32
        What is to be predicted.
    rows : Tensor (N,), int64
        Rows of the training set, for messages.
    """

    pixels: Tensor
    valid: Tensor
    front: Tensor
    target: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


@dataclass
class Stamps:
    """Stamps of one size with what is known about each.

    Attributes
    ----------
    pixels : ndarray (N, B, S, S), float16
        Nanomaggies per pixel (0 to 1 for display), NaN = no data; usually a memory map.
    front : ndarray (N,), int64
        Position among the fronts of the recipe.
    labels : dict of str to ndarray (N,), float32
        Catalogue columns; NaN where missing.
    pixel_scale : float
        Arcsec per pixel.
    name : str
        What the sample is called in metrics and cards.
    healpix : ndarray (N,), int64 or None
        NESTED order-29 pixel of each object where positions are known.
    model_scale : float
        Pixel scale [arcsec] of the model's grid, to which the brightness of these stamps is brought.
    key : str
        Hash of what determines the content; '' where they are not kept.
    """

    pixels: NDArray[np.float16]
    front: NDArray[np.int64]
    labels: dict[str, NDArray[np.float32]]
    pixel_scale: float
    name: str
    healpix: NDArray[np.int64] | None = None
    model_scale: float = VIEWER_PIXEL_SCALE
    key: str = ""

    def __len__(self) -> int:
        return len(self.front)

    @property
    def size(self) -> int:
        """Pixels along a side."""
        return int(self.pixels.shape[-1])

    @property
    def brightness(self) -> float:
        """Factor from nanomaggies per pixel to nanomaggies per pixel of the model's grid."""
        return (self.model_scale / self.pixel_scale) ** 2

    def describe(self) -> dict[str, Any]:
        """JSON-able facts about the set."""
        return {"sample": self.name, "objects": len(self), "size": self.size, "pixel_scale": self.pixel_scale}


def split_by_seed(n: int, seed: int = 256) -> NDArray[np.bool_]:
    """Which of n rows are held out: the first fifth of a permutation with torch's seed (models.md 1.1).

    Parameters
    ----------
    n : int
        Rows.
    seed : int, default 256
        Seed of the published split.

    Returns
    -------
    ndarray (n,), bool
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
    held = np.zeros(n, np.bool_)
    held[order[: int(HELD_OUT * n)]] = True
    return held


def split_by_tile(healpix: NDArray[np.int64], seed: int = 256) -> NDArray[np.bool_]:
    """Which rows are held out when whole HEALPix tiles are: no held-out galaxy has a training neighbour in its tile.

    Parameters
    ----------
    healpix : ndarray (N,), int64
        NESTED order-29 pixels.
    seed : int, default 256
        Seed of the order in which tiles are taken, until they hold a fifth of the rows.

    Returns
    -------
    ndarray (N,), bool
    """
    tile = healpix >> (2 * (29 - SPLIT_ORDER))
    tiles, count = np.unique(tile, return_counts=True)
    order = torch.randperm(len(tiles), generator=torch.Generator().manual_seed(seed)).numpy()
    before = np.cumsum(count[order]) - count[order]
    held: NDArray[np.bool_] = np.isin(tile, tiles[order[before < HELD_OUT * len(healpix)]])
    return held


def take(stamps: Stamps, rows: NDArray[np.int64], element: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, validity and front of some rows, as ``Batch`` holds them.

    Parameters
    ----------
    stamps : Stamps
        The set.
    rows : ndarray (n,), int64
        Rows.
    element : Tensor (n,), int64, optional
        Symmetry of the square applied to each (``augment.d4``).
    """
    raw = torch.from_numpy(np.stack([stamps.pixels[row] for row in rows]))
    pixels = (raw if element is None else d4(raw, element)).float()
    front = torch.from_numpy(stamps.front[rows])
    valid = torch.ones(len(rows), 1, *pixels.shape[2:])
    for row in torch.nonzero(~pixels.flatten(1).sum(1).isfinite())[:, 0]:  # few rows, so that few pixels are looked at
        good = pixels[row].isfinite().all(0)
        pixels[row] = torch.where(good, pixels[row], 0.0)
        valid[row, 0] = good.float()
    if stamps.brightness != 1:
        factor = torch.where(front == FRONTS.index(DISPLAY), 1.0, stamps.brightness)
        pixels *= factor[:, None, None, None]
    return pixels, valid, front


def as_display(stamps: Stamps, pixels: Tensor, rows: NDArray[np.int64], seed: int, servers: bool = True) -> Tensor:
    """Turn flux stamps of one front into display images.

    Parameters
    ----------
    stamps : Stamps
        The set, for the sizes of the galaxies (labels ``r50`` [arcsec] and ``bt``) where it knows them.
    pixels : Tensor (n, 3, S, S)
        As ``take`` gives them.
    rows : ndarray (n,), int64
        Their rows; all of the same flux front.
    seed : int
        Seed of mapping, field of view and JPEG quality.
    servers : bool
        As public image servers make them; else the viewer's own mapping in 8 bits.

    Returns
    -------
    Tensor (n, 3, S, S), float32
        0 to 1, blue to red.
    """
    front = FRONTS[stamps.front[rows[0]]]
    bands, flux = "".join(VIEWERS[front].bands), pixels / stamps.brightness
    if not servers:
        return (display.to_rgb(flux, bands, front, stamps.pixel_scale) * 255).round() / 255
    side = np.float32(stamps.size * stamps.pixel_scale)
    unknown = {"r50": np.full(len(rows), side), "bt": np.zeros(len(rows), np.float32)}  # the view stays the stamp's own
    known = {key: stamps.labels[key][rows] for key in unknown if key in stamps.labels}
    shapes = {key: torch.from_numpy(value) for key, value in (unknown | known).items()}
    return display.display(flux, shapes, bands, stamps.pixel_scale, stamps.size, generator(seed))


def mix_display(
    stamps: Stamps, batch: tuple[Tensor, Tensor, Tensor], rows: NDArray[np.int64], chosen: Tensor, seed: int,
    servers: bool = True,
) -> None:  # fmt: skip
    """Replace the chosen flux rows of (pixels, valid, front) by display images, in place."""
    pixels, valid, front = batch
    for number, name in enumerate(FRONTS):
        mine = torch.nonzero(chosen & (front == number))[:, 0]
        if name != DISPLAY and len(mine):
            pixels[mine] = as_display(stamps, pixels[mine], rows[mine.numpy()], mix(seed, number), servers)
            valid[mine] = 1.0
            front[mine] = FRONTS.index(DISPLAY)


@dataclass(frozen=True)
class Looks:
    """How galaxies are shown to a network in training.

    Attributes
    ----------
    d4 : float
        Probability that a symmetry of the square is drawn.
    display : float
        Part of the flux stamps that is turned into display images.
    servers : bool
        As for ``as_display``.
    rotation : float
        Probability that a stamp is turned by up to ``MAX_ANGLE``.
    variety : Variety or None
        Domain randomisation.
    """

    d4: float = 1.0
    display: float = 1 / 3
    servers: bool = True
    rotation: float = 0.0
    variety: Variety | None = None


@dataclass
class Feed:
    """Training batches out of stamps.

    Attributes
    ----------
    stamps : Stamps
        The set.
    rows : ndarray (n,), int64
        Its training rows.
    target : ndarray (N, T), float32
        Targets of *all* rows of the set.
    batch_size : int
        Objects per batch; an epoch's incomplete last batch is left out.
    seed : int
        Seed of order and looks.
    looks : Looks
        Augmentation.
    """

    stamps: Stamps
    rows: NDArray[np.int64]
    target: NDArray[np.float32]
    batch_size: int
    seed: int
    looks: Looks = field(default_factory=Looks)
    _order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass."""
        return len(self.rows) // self.batch_size

    def batch(self, step: int) -> Batch:
        """The batch of a step; depends on (seed, step) alone."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, torch.randperm(len(self.rows), generator=generator(self.seed, epoch)).numpy()
        rows = self.rows[self._order[1][position * self.batch_size : (position + 1) * self.batch_size]]
        random, looks = generator(self.seed, 1, step), self.looks
        pixels, valid, front = take(self.stamps, rows, draw_d4(len(rows), looks.d4, random))
        chosen = torch.rand(len(rows), generator=random) < looks.display
        if looks.variety:
            pixels, valid = looks.variety.on_sky(pixels, valid, front, self.stamps.pixel_scale, random)
        mix_display(self.stamps, (pixels, valid, front), rows, chosen, mix(self.seed, 2, step), looks.servers)
        if looks.variety:
            pixels = looks.variety.on_screen(pixels, front, random)
        if looks.rotation:
            angles = draw_angles(len(rows), looks.rotation, MAX_ANGLE, random)
            valid = (rotate(valid, angles) > 1 - MIXED).float()
            pixels = rotate(pixels, angles) * valid
        return Batch(pixels, valid, front, torch.from_numpy(self.target[rows]), torch.from_numpy(rows))


def held_out(
    stamps: Stamps, rows: NDArray[np.int64], front: str, seed: int, servers: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out rows as they look through one front.

    Parameters
    ----------
    stamps : Stamps
        The set.
    rows : ndarray (n,), int64
        Rows: of that flux front, or of any front for ``display``.
    front : str
        Name in ``pixels.FRONTS``.
    seed : int
        Seed of the display images.
    servers : bool
        As for ``as_display``.

    Returns
    -------
    pixels, valid, front : Tensor
        As ``Batch`` holds them.
    """
    batch = take(stamps, rows)
    if front == DISPLAY:
        mix_display(stamps, batch, rows, torch.ones(len(rows), dtype=torch.bool), seed, servers)
    return batch
