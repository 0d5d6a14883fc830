"""Inner maps of a model file, as sparse autoencoders learn from them: made once through onnxruntime, and kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.errors import ModelError, OutputError, UsageError
from galcli.models import library
from galcli.models.library import ModelFile
from galcli.models.session import Session
from galcli.training import data
from galcli.training.checkpoint import write_json
from galcli.training.data import Batch
from galcli.training.progress import say
from galcli.training.recipes.sae_data import BATCH, GLANCE, Galaxies, Source, gather
from galcli.training.recipes.sae_plan import Preset
from galcli.training.seeds import generator
from galcli.training.sources import MOCK_SURVEYS

#: How names of tensors for other models begin.
INNER = "inner/"


@dataclass(frozen=True)
class Layer:
    """A tensor of maps that a model file gives.

    Attributes
    ----------
    model : ModelFile
    name : str
        Of the layer.
    shape : (int, int, int)
        Channels, height, width.
    """

    model: ModelFile
    name: str
    shape: tuple[int, int, int]

    @property
    def tensor(self) -> str:
        """Name of the graph's output."""
        return INNER + self.name


def open_layer(asked: str) -> Layer:
    """The layer that ``MODEL`` or ``MODEL:LAYER`` names.

    Raises
    ------
    ModelError
        If there is no such model, it takes other inputs than images, or gives no inner maps.
    UsageError
        If it gives none of that name, or several and none is named.
    """
    name, _, wanted = asked.partition(":")
    model = library.find(name)
    card = model.card
    if not card.fronts or card.size is None:
        raise ModelError(
            f"{model.name} does not take images on a grid of its own", "choose another: see galcli models list"
        )
    maps = {}
    for tensor, info in Session(model, "cpu").outputs.items():
        if tensor.startswith(INNER) and len(info.shape) == 4 and all(isinstance(side, int) for side in info.shape[1:]):
            maps[tensor.removeprefix(INNER)] = tuple(int(side) for side in info.shape[1:])  # type: ignore[arg-type]
    if not maps:
        raise ModelError(
            f"{model.name} gives no inner maps",
            "choose a model with outputs inner/LAYER (N, channels, height, width), such as sfnet-metallicity",
        )
    known = ", ".join(maps)
    if wanted and wanted not in maps:
        raise UsageError(f"{model.name} gives no inner maps {wanted!r}", f"its layers: {known}")
    if not wanted and len(maps) != 1:
        raise UsageError(f"{model.name} gives {len(maps)} layers of inner maps", f"name one, {name}:LAYER: {known}")
    layer = wanted or next(iter(maps))
    channels, height, width = maps[layer]
    return Layer(model, layer, (channels, height, width))


@dataclass(frozen=True)
class Maps:
    """Inner maps of galaxies.

    Attributes
    ----------
    layer : Layer
    galaxies : Galaxies
    values : ndarray (N, C, h, w), float16
        A memory map.
    scatter : float
        Root mean square of training maps about the mean of each channel.
    """

    layer: Layer
    galaxies: Galaxies
    values: NDArray[np.float16]
    scatter: float


def maps_of(layer: Layer, plan: Preset, source: Source) -> Maps:
    """Inner maps of the galaxies of a source, in the fluxes that the model takes.

    Raises
    ------
    UsageError
        If the mock survey does not show what the model wants.
    InputError, ModelError, OutputError
    """
    card = layer.model.card
    assert card.size is not None
    assert card.pixel_scale is not None
    offered = tuple(front.model_dump() for front in card.fronts)
    if source.catalog is None:
        offered = tuple(front for front in offered if front["name"] in MOCK_SURVEYS)
        if not offered:
            raise UsageError(f"the mock survey shows no fluxes that {layer.model.name} takes", "name a --catalog")
    galaxies = gather(plan, source, (card.size[0], card.pixel_scale), offered)
    place = {front.name: number for number, front in enumerate(card.fronts)}
    fronts = np.array([place[front["name"]] for front in offered])
    values = _kept(layer, galaxies, fronts, source.cache)
    sample = values[np.sort(np.random.default_rng(source.seed).permutation(galaxies.rows)[:4096])].astype(np.float32)
    return Maps(layer, galaxies, values, float((sample - sample.mean((0, 2, 3), keepdims=True)).std()))


def _kept(layer: Layer, galaxies: Galaxies, fronts: NDArray[np.int64], folder: Path) -> NDArray[np.float16]:
    """The maps on disk, made if need be."""
    stamps = galaxies.stamps
    facts = f"{layer.model.sha256} {layer.name} {stamps.key} {fronts.tolist()}"
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]
    place = folder / f"maps-{layer.model.name}-{layer.name}-{len(stamps)}-{key}"
    path, told = place / "maps.npy", place / "manifest.json"
    shape = (len(stamps), *layer.shape)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not told.exists():
            array = np.lib.format.open_memmap(path, "w+", np.dtype("<f2"), shape)
            _fill(array, layer, galaxies, fronts)
            array.flush()
            write_json(told, {"facts": facts, "shape": shape})
        kept: NDArray[np.float16] = np.load(path, mmap_mode="r")
    except OSError as error:
        need = 2 * np.prod(shape) / 1e9
        raise OutputError(f"{place}: {error}", f"it takes {need:.1f} GB; choose another --out or --cache") from error
    if kept.shape != shape:
        raise ModelError(f"{path} has the shape {kept.shape}, not {shape}", f"remove {place}; it is made again")
    return kept


def _fill(array: NDArray[np.float16], layer: Layer, galaxies: Galaxies, fronts: NDArray[np.int64]) -> None:
    session, stamps = Session(layer.model, "auto"), galaxies.stamps
    began, every = time.monotonic(), np.arange(len(stamps))
    for first in range(0, len(stamps), BATCH):
        rows = every[first : first + BATCH]
        pixels, valid, _ = data.take(stamps, rows)
        front = fronts[stamps.front[rows]]
        feeds = {"pixels": pixels.numpy(), "valid": valid.numpy(), "front": front}
        maps = session.run(feeds, [layer.tensor])[layer.tensor]
        array[rows] = np.clip(maps, -65504, 65504)
        if first % (64 * BATCH) == 0 and first:
            rate = first / (time.monotonic() - began)
            say(f"inner maps {first}/{len(stamps)}  {rate:.0f}/s  {(len(stamps) - first) / rate / 60:.1f} min left")


@dataclass
class MapFeed:
    """Training batches of inner maps.

    Attributes
    ----------
    maps : Maps
    batch_size : int
    seed : int
        Of the order.
    """

    maps: Maps
    batch_size: int
    seed: int
    _order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass."""
        return max(1, len(self.maps.galaxies.rows) // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step; depends on (seed, step) alone."""
        epoch, position = divmod(step, self.steps_per_epoch)
        known = self.maps.galaxies.rows
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, torch.randperm(len(known), generator=generator(self.seed, epoch)).numpy()
        order = self._order[1][position * self.batch_size : (position + 1) * self.batch_size]
        return _batch(self.maps, known[order])


def held_maps(maps: Maps, whole: bool = True) -> Iterator[Batch]:
    """Held-out galaxies; ``rows`` of the batches are those of the stamps."""
    rows = maps.galaxies.held if whole else maps.galaxies.held[:GLANCE]
    for first in range(0, len(rows), BATCH):
        yield _batch(maps, rows[first : first + BATCH])


def _batch(maps: Maps, rows: NDArray[np.int64]) -> Batch:
    values = torch.from_numpy(maps.values[np.sort(rows)].astype(np.float32))
    none = torch.zeros(len(rows), 0)
    return Batch(values, none, torch.zeros(len(rows), dtype=torch.int64), none, torch.from_numpy(np.sort(rows)))
