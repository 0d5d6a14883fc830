"""Classification of images: loss, validation, calibration of probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor, nn
from torch.nn import functional

from galcli.predict.classes import confusion, scores
from galcli.training.data import Batch, Stamps, held_out
from galcli.training.pixels import DISPLAY, FRONTS, Pixels
from galcli.training.seeds import mix

#: Objects of one validation batch.
EVALUATE = 128
#: Bins of confidence in the calibration error (Guo et al. 2017, arXiv:1706.04599).
BINS = 15
#: Temperatures looked for: to 20 times sharper or softer.
_LOG_T = 3.0


def calibration_error(probability: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    """Expected calibration error: mean |accuracy - confidence| over bins of confidence, weighted by their objects.

    Parameters
    ----------
    probability : ndarray (N, C)
    truth : ndarray (N,)
    """
    confidence = probability.max(1).astype(np.float64)
    right = probability.argmax(1) == truth
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(place, right - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(truth))


def fit_temperature(logits: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    """Temperature T that makes softmax(logits / T) most likely (Guo et al. 2017); the classes stay as they are.

    Parameters
    ----------
    logits : ndarray (N, C)
    truth : ndarray (N,)
    """
    given = logits.astype(np.float64)
    rows = np.arange(len(given))

    def loss(log_t: float) -> float:
        scaled = given / math.exp(log_t)
        return float(np.mean(special.logsumexp(scaled, axis=1) - scaled[rows, truth]))

    return math.exp(optimize.minimize_scalar(loss, bounds=(-_LOG_T, _LOG_T), method="bounded").x)


def balanced_weights(labels: NDArray[np.int64], classes: int) -> list[float]:
    """Weight of each class that makes all count the same; 0 for classes that do not occur."""
    count = np.bincount(labels, minlength=classes)
    weight = np.where(count > 0, len(labels) / np.maximum(count, 1) / np.count_nonzero(count), 0.0)
    return [float(value) for value in weight]


@dataclass
class Classification:
    """The task of ``fit.Fit`` for images and classes.

    Attributes
    ----------
    pixels : Pixels
        From stamps to the network's input.
    stamps : list of Stamps
        One set per stage, of the same galaxies.
    rows : list of ndarray, int64
        Held-out rows of each stage, in random order: the first of them are looked at on the way.
    target : ndarray (N, 1), float32
        Class of every row.
    names : sequence of str
        Names of the classes.
    weights : sequence of float, optional
        Weight of each class in the loss.
    glance : int
        Objects per front that tell one epoch from another.
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
    weights: Sequence[float] | None = None
    glance: int = 1000
    fronts: tuple[str, ...] = FRONTS
    seed: int = 0
    servers: bool = True
    #: Figures of the last full validation, per front.
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of a batch."""
        device = batch.pixels.device
        x = self.pixels.to(device)(batch.pixels, batch.valid, batch.front)
        logits = module(x.contiguous(memory_format=torch.channels_last)).float()
        weight = None if self.weights is None else torch.tensor(self.weights, device=device)
        return functional.cross_entropy(logits, batch.target[:, 0].long(), weight)

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """Accuracy and macro F1 over all fronts, always of the same galaxies, so that epochs can be compared.

        The figures of each front on all galaxies are kept in ``metrics`` at the end.
        """
        classes = len(self.names)
        seen = np.zeros((classes, classes), np.int64)
        for front in self.fronts:
            rows = self._visible(stage, front)
            rows = rows if final else rows[: self.glance]
            if not len(rows):
                continue
            said = np.concatenate([logits.argmax(1) for logits in self._logits(module, stage, front, rows)])
            truth = self.target[rows, 0].astype(np.int64)
            seen += confusion(truth[: self.glance], said[: self.glance], classes)
            if final:
                matrix = confusion(truth, said, classes)
                one = scores(matrix)
                self.metrics[front] = {
                    "accuracy": one.accuracy, "macro_f1": one.macro[2], "objects": len(rows),
                    "f1": dict(zip(self.names, one.f1.tolist(), strict=True)), "confusion": matrix.tolist(),
                }  # fmt: skip
        whole = scores(seen)
        return {"accuracy": whole.accuracy, "macro_f1": whole.macro[2]}

    def _logits(
        self, module: nn.Module, stage: int, front: str, rows: NDArray[np.int64]
    ) -> Iterator[NDArray[np.float32]]:
        device = next(module.parameters()).device
        for number, first in enumerate(range(0, len(rows), EVALUATE)):
            part = rows[first : first + EVALUATE]
            batch = held_out(self.stamps[stage], part, front, mix(self.seed, number), self.servers)
            x = self.pixels.to(device)(*(value.to(device) for value in batch))
            yield module(x.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()

    def _visible(self, stage: int, front: str) -> NDArray[np.int64]:
        """Held-out rows of a stage that can be seen through a front."""
        rows, kind = self.rows[stage], self.stamps[stage].front
        return rows if front == DISPLAY else rows[kind[rows] == FRONTS.index(front)]
