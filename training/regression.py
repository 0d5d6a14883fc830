"""Regression of catalogue values on images: loss, normalisation, and figures per front on held-out galaxies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.training.data import Batch, Stamps, held_out
from galcli.training.fit import Feed
from galcli.training.pixels import DISPLAY, FRONTS, Pixels
from galcli.training.seeds import mix

#: Images that the normalisation is measured on, at most.
NORMALISE = 20_000
#: Bins of the true value in which the bias is given.
BINS = 8
#: Objects of one validation batch.
EVALUATE = 128


def rmse(y: Tensor, target: Tensor) -> Tensor:
    """Root mean square over batch and outputs jointly; 1e-12 under the root keeps the gradient finite at 0."""
    return ((y - target).square().mean() + 1e-12).sqrt()


def normalisation(feed: Feed, mapped: Callable[[Batch], Tensor]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of the mapped training images (Welford's running sums).

    Parameters
    ----------
    feed : Feed
        Training batches; one pass, or as much of it as holds ``NORMALISE`` images.
    mapped : callable
        Images (N, C, H, W) of a batch, as they come before normalisation.

    Returns
    -------
    mean, std : list of C float
        Blue to red.
    """
    count, images = 0, 0
    mean = squares = torch.zeros(1, dtype=torch.float64)
    for step in range(feed.steps_per_epoch):
        if images >= NORMALISE:
            break
        batch = feed.batch(step)
        images += len(batch)
        values = mapped(batch).transpose(0, 1).flatten(1).double()
        new = values.shape[1]
        delta = values.mean(1) - mean
        count += new
        mean = mean + delta * (new / count)
        squares = squares + values.var(1, correction=0) * new + delta.square() * (new * (count - new) / count)
    return mean.tolist(), (squares / count).sqrt().tolist()


def figures(y: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    """How well one output is predicted.

    Parameters
    ----------
    y, truth : ndarray (N,)
        Prediction and label.

    Returns
    -------
    dict
        rmse, bias (mean of y - truth), sigma_mad (1.4826 x median |residual - median|), objects, and ``bins``: equal
        numbers of objects by true value, each with centre, bias and objects.
    """
    residual = y - truth
    order = np.argsort(truth, kind="stable")
    bins = [
        {"truth": float(truth[part].mean()), "bias": float(residual[part].mean()), "objects": len(part)}
        for part in np.array_split(order, BINS)
        if len(part)
    ]
    return {
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "bias": float(residual.mean()),
        "sigma_mad": float(1.4826 * np.median(np.abs(residual - np.median(residual)))),
        "objects": len(truth),
        "bins": bins,
    }


@dataclass
class Regression:
    """The task of ``fit.Fit`` for images and catalogue values.

    Attributes
    ----------
    pixels : Pixels
        From stamps to the network's input.
    stamps : list of Stamps
        One set per stage; sets of later stages may be the beginning of the first.
    rows : list of ndarray, int64
        Held-out rows of each stage.
    target : ndarray (N, T), float32
        Targets of all rows.
    outputs : sequence of str
        Names of the T outputs.
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
    outputs: Sequence[str]
    glance: int = 1000
    fronts: tuple[str, ...] = FRONTS
    seed: int = 0
    servers: bool = True
    #: Figures of the last full validation, per front and output.
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """RMSE of a batch."""
        pixels = self.pixels.to(batch.pixels.device)
        x = pixels(batch.pixels, batch.valid, batch.front).contiguous(memory_format=torch.channels_last)
        return rmse(module(x), batch.target)

    def predict(self, module: nn.Module, stage: int, front: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predictions (N, T) of rows of a stage as seen through one front."""
        device = next(module.parameters()).device
        pixels = self.pixels.to(device)
        parts = []
        for number, first in enumerate(range(0, len(rows), EVALUATE)):
            part = rows[first : first + EVALUATE]
            batch = held_out(self.stamps[stage], part, front, mix(self.seed, number), self.servers)
            x = pixels(*(value.to(device) for value in batch)).contiguous(memory_format=torch.channels_last)
            parts.append(module(x).double().cpu())
        return torch.cat(parts).numpy()

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """RMSE per front; all figures of all held-out objects are kept in ``metrics`` at the end."""
        seen: dict[str, Any] = {}
        for front in self.fronts:
            rows = self._visible(stage, front)
            rows = rows if final else rows[: self.glance]
            if not len(rows):
                continue
            y, truth = self.predict(module, stage, front, rows), self.target[rows].astype(np.float64)
            seen[front] = float(np.sqrt(np.mean((y - truth) ** 2)))
            if final:
                each = zip(self.outputs, y.T, truth.T, strict=True)
                self.metrics[front] = {name: figures(one, true) for name, one, true in each}
        return seen

    def _visible(self, stage: int, front: str) -> NDArray[np.int64]:
        """Held-out rows of a stage that can be seen through a front."""
        rows, kind = self.rows[stage], self.stamps[stage].front
        return rows if front == DISPLAY else rows[kind[rows] == FRONTS.index(front)]
