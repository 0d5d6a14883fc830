"""Galaxies as a finished network sees them: for its proof, its calibration and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.errors import InputError
from galcli.models.session import Graph
from galcli.training import proof
from galcli.training.data import Batch, Feed, Looks, Stamps, held_out
from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.seeds import mix

#: Makes the batches of a sample anew: each holds objects as seen through one or more fronts.
Batches = Callable[[], Iterable[Batch]]
Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Samples:
    """Galaxies an export needs.

    Attributes
    ----------
    training : callable
        Training galaxies, from which the extent of the domain and the like are taken.
    calibration : callable
        Held-out galaxies for what is calibrated.
    test : callable
        Other held-out galaxies, for the metrics.
    name : str
        What the held-out sample is called in the card.
    """

    training: Batches
    calibration: Batches
    test: Batches
    name: str

    def probe(self, fronts: int) -> proof.Sample:
        """Real images for the comparison of torch and onnxruntime, seen through every front in turn."""
        batch = next(iter(self.calibration()))

        def sample(count: int) -> dict[str, Tensor]:
            rows = torch.arange(count) % len(batch.front)
            front = torch.arange(count) % fronts
            return {"pixels": batch.pixels[rows], "valid": batch.valid[rows], "front": front}

        return sample


def views(
    stamps: Stamps, rows: NDArray[np.int64], target: NDArray[np.float32], seed: int = 0, servers: bool = True,
    batch_size: int = 128, fronts: Sequence[str] = FRONTS,
) -> Iterator[Batch]:  # fmt: skip
    """Batches of stamps as seen through their own flux front, and again as display images.

    Parameters
    ----------
    stamps : Stamps
    rows : ndarray (n,), int64
        Rows of the stamps.
    target : ndarray (N, T), float32
        Targets of all rows.
    seed : int
        Seed of the display images.
    servers : bool
        Display images as image servers make them (`data.held_out`).
    batch_size : int
    fronts : sequence of str
        Fronts of the network; ``front`` of the batches is the position there.
    """
    for number, name in enumerate(fronts):
        seen = rows if name == DISPLAY else rows[stamps.front[rows] == FRONTS.index(name)]
        for first in range(0, len(seen), batch_size):
            part = seen[first : first + batch_size]
            pixels, valid, front = held_out(stamps, part, name, mix(seed, first), servers)
            front = torch.full_like(front, number)
            yield Batch(pixels, valid, front, torch.from_numpy(target[part]), torch.from_numpy(part))


def varied(
    stamps: Stamps, rows: NDArray[np.int64], target: NDArray[np.float32], looks: Looks, seed: int, fronts: Sequence[str],
    batch_size: int = 128,
) -> Iterator[Batch]:  # fmt: skip
    """Batches of stamps as a network was shown them in training; arguments as for `views` and ``data.Feed``."""
    feed = Feed(stamps, rows, target, min(batch_size, len(rows)), seed, looks)
    # Whatever the network has no front for lies beyond its last one, where every lookup fails.
    place = torch.tensor([fronts.index(name) if name in fronts else len(fronts) for name in FRONTS])
    for step in range(feed.steps_per_epoch):
        batch = feed.batch(step)
        yield replace(batch, front=place[batch.front])


def measure(model: onnx.ModelProto, batches: Batches, names: list[str]) -> Values:
    """Outputs of a graph on a sample, through onnxruntime as in `galcli predict`; also ``front`` and ``target``."""
    graph = Graph(model.SerializeToString(deterministic=True), "exported graph", "cpu")
    parts: list[Values] = []
    for batch in batches():
        feeds = {"pixels": batch.pixels.numpy(), "valid": batch.valid.numpy(), "front": batch.front.numpy()}
        known = {"front": batch.front.numpy(), "target": batch.target.numpy().astype(np.float64)}
        parts.append(graph.run(feeds, names) | known)
    if not parts:
        raise InputError("a sample for the export is empty", "give more galaxies")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rounded(value: float) -> float:
    """Five digits, as metrics have in a card."""
    return float(f"{value:.5g}")
