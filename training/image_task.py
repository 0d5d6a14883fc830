"""What trainings on images have in common: the network's input, and its outputs on held-out galaxies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.training.data import Batch, Stamps, held_out
from galcli.training.pixels import DISPLAY, FRONTS, Pixels
from galcli.training.seeds import mix

#: Objects of one validation batch.
EVALUATE = 128


@dataclass
class ImageTask:
    """The part of a task of ``fit.Fit`` that does not depend on what is learned.

    Attributes
    ----------
    pixels : Pixels
        From stamps to the network's input.
    stamps : list of Stamps
        One set per stage; sets of later stages may be the beginning of the first.
    rows : list of ndarray, int64
        Held-out rows of each stage; the first of them are looked at on the way.
    target : ndarray (N, T), float32
        Targets of all rows.
    names : sequence of str
        Names of the outputs.
    glance : int
        Objects per front looked at on the way.
    fronts : tuple of str
        Fronts that are evaluated.
    seed : int
        Seed of the held-out display images.
    servers : bool
        How those are made: see ``data.as_display``.
    """

    pixels: Pixels
    stamps: list[Stamps]
    rows: list[NDArray[np.int64]]
    target: NDArray[np.float32]
    names: Sequence[str]
    glance: int = 1000
    fronts: tuple[str, ...] = FRONTS
    seed: int = 0
    servers: bool = True
    #: Figures of the last full validation, per front.
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def output(self, module: nn.Module, batch: Batch) -> Tensor:
        """What the network says of a batch, (N, ...)."""
        return self._output(module, batch.pixels, batch.valid, batch.front)

    def held(self, stage: int, final: bool) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Each front with the held-out rows that are seen through it: all at the end, a part on the way."""
        for front in self.fronts:
            rows, kind = self.rows[stage], self.stamps[stage].front
            seen = rows if front == DISPLAY else rows[kind[rows] == FRONTS.index(front)]
            seen = seen if final else seen[: self.glance]
            if len(seen):
                yield front, seen

    def outputs(self, module: nn.Module, stage: int, front: str, rows: NDArray[np.int64]) -> Tensor:
        """What the network says of rows of a stage as seen through one front, (n, ...), on the CPU."""
        device = next(module.parameters()).device
        parts = []
        for number, first in enumerate(range(0, len(rows), EVALUATE)):
            part = rows[first : first + EVALUATE]
            batch = held_out(self.stamps[stage], part, front, mix(self.seed, number), self.servers)
            parts.append(self._output(module, *(value.to(device) for value in batch)).cpu())
        return torch.cat(parts)

    def _output(self, module: nn.Module, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        x = self.pixels.to(pixels.device)(pixels, valid, front)
        said: Tensor = module(x.contiguous(memory_format=torch.channels_last))
        return said
