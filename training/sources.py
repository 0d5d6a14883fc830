"""Where training stamps come from: the mock survey, or a real one through the readers that predict uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.sky import healpix
from galcli.training import cache
from galcli.training.data import Batch, Feed, Looks, Stamps
from galcli.training.mock import catalogue, instrument, population, positions
from galcli.training.mock.instrument import UGRIZY, Survey
from galcli.training.pixels import FRONTS, VIEWER_PIXEL_SCALE
from galcli.training.seeds import generator, mix

Labels = dict[str, NDArray[np.float32]]
#: Mock surveys that are seen through each flux front: one of them per galaxy.
MOCK_SURVEYS: dict[str, tuple[str | Survey, ...]] = {
    "flux:gri": ("sdss",),
    "flux:grz": ("legacy",),
    "flux:ugriz": ("sdss",),
    "flux:grizy": ("ps1", "ps1", UGRIZY),  # Pan-STARRS, and a third of the galaxies as deep as DES or Rubin see them
}
#: Generating parameters kept beside the labels: the sizes that display images are framed by.
SHAPES = ("r50", "bt")
#: Changes when the mock survey's own code makes other galaxies from the same seed.
MOCK_VERSION = 2


@dataclass(frozen=True)
class Choice:
    """Which mock galaxies a recipe wants, and what it keeps of them.

    Attributes
    ----------
    labels : tuple of str
        Names of catalogue columns, or of ``SHAPES``.
    wanted : callable
        Tells from the label columns which galaxies are kept.
    balance : str or None
        See ``mock.population.draw``.
    smallest : float
        Least half-light radius [arcsec].
    """

    labels: tuple[str, ...]
    wanted: Callable[[Labels], NDArray[np.bool_]]
    balance: str | None = None
    smallest: float = 0.0

    def facts(self) -> dict[str, Any]:
        """What a cache must know of it beside the labels."""
        wanted = None if self.wanted is every else self.wanted.__qualname__
        chosen = {"balance": self.balance, "smallest": self.smallest, "wanted": wanted}
        return {name: value for name, value in chosen.items() if value}


def every(labels: Labels) -> NDArray[np.bool_]:
    """Want them all."""
    return np.ones(len(next(iter(labels.values()))), np.bool_)


#: All galaxies.
EVERY = Choice(SHAPES, every)


def mock_population(
    n: int, seed: int, choice: Choice, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], NDArray[np.float32]]:
    """Mock galaxies that a recipe wants.

    Parameters
    ----------
    n : int
        Galaxies.
    seed : int
        Same seed, same galaxies.
    choice : Choice
    device : torch.device or str
        Where they are drawn.

    Returns
    -------
    population : dict of Tensor, each (n,)
        See ``mock.population.draw``.
    labels : ndarray (n, L), float32
        In the order asked for.
    """
    parts: list[dict[str, Tensor]] = []
    columns: list[NDArray[np.float32]] = []
    while sum(len(part) for part in columns) < n:
        random = generator(seed, len(parts), device=device)
        drawn = population.draw(2 * n, random, choice.balance)
        seen = catalogue.observe(drawn, random)
        named = {name: np.asarray(seen[name].values, np.float32) for name in choice.labels if name not in SHAPES}
        named |= {name: drawn[name].float().cpu().numpy() for name in choice.labels if name in SHAPES}
        rows = np.flatnonzero(choice.wanted(named) & (drawn["r50"].cpu().numpy() >= choice.smallest))
        index = torch.from_numpy(rows).to(device)
        parts.append({key: value[index] for key, value in drawn.items()})
        columns.append(np.stack([named[name][rows] for name in choice.labels], axis=1))
    joined = {key: torch.cat([part[key] for part in parts])[:n] for key in parts[0]}
    return joined, np.concatenate(columns)[:n]


def mock_labels(n: int, seed: int, choice: Choice) -> tuple[Labels, NDArray[np.int64]]:
    """What ``mock_stamps`` with the same arguments knows of its galaxies, without their pixels.

    Returns
    -------
    labels : dict of str to ndarray (n,), float32
    healpix : ndarray (n,), int64
        NESTED order-29 pixel.
    """
    seeds = [mix(seed, chunk) for chunk in range(-(-n // cache.CHUNK))]
    values = np.concatenate([mock_population(cache.CHUNK, mix(one, 0), choice)[1] for one in seeds])[:n]
    return {name: values[:, number] for number, name in enumerate(choice.labels)}, _positions(n, seed)


def mock_chunk(
    n: int, seed: int, size: int, pixel_scale: float, fronts: tuple[str, ...], choice: Choice,
    device: torch.device | str = "cpu", order: Sequence[str] = FRONTS,
) -> tuple[Tensor, Tensor, NDArray[np.float32]]:  # fmt: skip
    """Mock galaxies observed once each, through a flux front drawn at random.

    The galaxies and their labels are the same for every size and pixel scale.

    Parameters
    ----------
    n, seed, choice, device
        As for ``mock_population``.
    size : int
        Pixels along a side.
    pixel_scale : float
        Arcsec per pixel.
    fronts : tuple of str
        Flux fronts to draw from; of as many bands.
    order : sequence of str
        All fronts of the model.

    Returns
    -------
    pixels : Tensor (n, B, size, size), float32
        Nanomaggies per pixel, NaN = no data.
    front : Tensor (n,), int64
        Position in ``order``.
    labels : ndarray (n, L), float32
    """
    galaxies, values = mock_population(n, mix(seed, 0), choice, device)
    random = generator(seed, 1, device=device)
    front = torch.randint(len(fronts), (n,), generator=random, device=device)
    pixels = torch.empty(n, len(bands_of(fronts[0])), size, size, device=device)
    for number, name in enumerate(fronts):
        surveys = MOCK_SURVEYS[name]
        for rows in torch.split(torch.nonzero(front == number)[:, 0], 128):  # the renderer works in the cache
            part = {key: value[rows] for key, value in galaxies.items()}
            seen = [surveys[pick] for pick in (rows % len(surveys)).tolist()]
            pixels[rows], _ = instrument.stamps(part, bands_of(name), size, pixel_scale, seen, random)
    position = torch.tensor([order.index(name) for name in fronts], device=device)
    return pixels, position[front], values


def bands_of(front: str) -> str:
    """Bands of a flux front, one letter each."""
    return front.removeprefix("flux:")


def mock_stamps(
    folder: Path, n: int, size: int, pixel_scale: float, seed: int, fronts: tuple[str, ...], choice: Choice,
    say: Callable[[str], None], order: Sequence[str] = FRONTS,
) -> Stamps:  # fmt: skip
    """A cache of mock galaxies; arguments as for ``mock_chunk`` and ``cache.build``."""
    facts = {"seed": seed, "fronts": list(fronts), "mock": MOCK_VERSION} | choice.facts()
    recipe = cache.Recipe("mock", n, size, pixel_scale, choice.labels, facts, len(bands_of(fronts[0])))

    def make(chunk: int, rows: int) -> cache.Chunk:
        # Every chunk is drawn whole, so that a smaller set is the beginning of a larger one.
        drawn = mock_chunk(cache.CHUNK, mix(seed, chunk), size, pixel_scale, fronts, choice, order=order)
        pixels, front, values = drawn[0][:rows], drawn[1][:rows], drawn[2][:rows]
        nowhere = np.full(rows, -1, np.int64)
        return cache.Chunk(pixels.numpy(), front.numpy().astype(np.int8), values, nowhere)

    stamps = cache.build(folder, recipe, make, say)
    return replace(stamps, healpix=_positions(n, seed))


def _positions(n: int, seed: int) -> NDArray[np.int64]:
    """Where the mock galaxies stand, NESTED order 29: chunk by chunk, as their stamps are made."""
    chunks = range(-(-n // cache.CHUNK))
    places = [positions.draw(cache.CHUNK, generator(mix(seed, chunk), 2)) for chunk in chunks]
    return np.concatenate([healpix.pixel(ra.numpy(), dec.numpy()) for ra, dec in places])[:n]


@dataclass
class MockStream:
    """Training batches of mock galaxies that are drawn as they are needed, each seen once.

    Attributes
    ----------
    size, pixel_scale : int, float
        Grid of the stamps.
    fronts, choice
        As for ``mock_chunk``.
    values : callable
        Targets (N, T) of the galaxies of a seed, from their label columns and that seed.
    batch_size, seed, looks
        As for ``Feed``.
    steps_per_epoch : int
        Steps between two validations.
    device : str
        Where galaxies are drawn and rendered.
    order, model_scale
        As for ``mock_chunk`` and ``Stamps``.
    """

    size: int
    pixel_scale: float
    fronts: tuple[str, ...]
    choice: Choice
    values: Callable[[Labels, int], NDArray[np.float32]]
    batch_size: int
    seed: int
    looks: Looks
    steps_per_epoch: int
    device: str = "cpu"
    order: Sequence[str] = FRONTS
    model_scale: float = VIEWER_PIXEL_SCALE
    _chunk: tuple[int, Feed] | None = None

    def batch(self, step: int) -> Batch:
        """The batch of a step; depends on (seed, step) alone."""
        number, position = divmod(step, cache.CHUNK // self.batch_size)
        if self._chunk is None or self._chunk[0] != number:
            self._chunk = number, self._draw(number)
        return self._chunk[1].batch(position)

    def _draw(self, number: int) -> Feed:
        """The galaxies of one chunk."""
        seed, names = mix(self.seed, number), tuple(dict.fromkeys(self.choice.labels + SHAPES))
        choice = replace(self.choice, labels=names)
        pixels, front, columns = mock_chunk(
            cache.CHUNK, seed, self.size, self.pixel_scale, self.fronts, choice, self.device, self.order
        )
        labels = {name: columns[:, column] for column, name in enumerate(names)}
        raw, kind = pixels.half().cpu().numpy(), front.cpu().numpy()
        stamps = Stamps(raw, kind, labels, self.pixel_scale, "mock stream", model_scale=self.model_scale)
        target = self.values(labels, seed).astype(np.float32)
        rows = np.arange(len(stamps))
        return Feed(stamps, rows, target, self.batch_size, seed, self.looks)
