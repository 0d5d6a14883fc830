"""Classification of images: loss, validation, calibration of probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor, nn
from torch.nn import functional

from galcli.predict.classes import confusion, scores
from galcli.training.data import Batch
from galcli.training.image_task import ImageTask

#: Bins of confidence in the calibration error (Guo et al. 2017, arXiv:1706.04599).
BINS = 15
#: Temperatures looked for: to 20 times sharper or softer.
_LOG_T = 3.0


@dataclass(frozen=True)
class Confidence:
    """How sure a classifier was, and how often it was right, in bins of its largest probability.

    Bin b holds those from b / BINS up to, but without, (b + 1) / BINS; the last one holds 1 too.

    Attributes
    ----------
    objects : ndarray (BINS,), int64
    right : ndarray (BINS,), int64
        Objects whose most probable class is the true one.
    confidence : ndarray (BINS,), float64
        Mean of the largest probability; 0 in empty bins.
    """

    objects: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]


def bin_confidence(probability: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> Confidence:
    """Count objects, and those that are right, in `BINS` bins of equal width of the largest probability.

    Parameters
    ----------
    probability : ndarray (N, C)
    truth : ndarray (N,)
    """
    largest = probability.max(1).astype(np.float64)
    place = np.minimum((largest * BINS).astype(np.int64), BINS - 1)
    objects = np.bincount(place, minlength=BINS)
    right = np.bincount(place[probability.argmax(1) == truth], minlength=BINS)
    return Confidence(objects, right, np.bincount(place, largest, BINS) / np.maximum(objects, 1))


def calibration_error(probability: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> float:
    """Expected calibration error: mean |accuracy - confidence| over bins of confidence, weighted by their objects.

    Parameters
    ----------
    probability : ndarray (N, C)
    truth : ndarray (N,)
    """
    bins = bin_confidence(probability, truth)
    return float(np.abs(bins.right - bins.objects * bins.confidence).sum() / len(truth))


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
class Classification(ImageTask):
    """The task of ``fit.Fit`` for images and classes: ``target`` (N, 1) holds the class, ``names`` theirs.

    Attributes
    ----------
    weights : sequence of float, optional
        Weight of each class in the loss.
    """

    weights: Sequence[float] | None = None

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of a batch."""
        logits = self.output(module, batch).float()
        weight = None if self.weights is None else logits.new_tensor(self.weights)
        return functional.cross_entropy(logits, batch.target[:, 0].long(), weight)

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """Accuracy and macro F1 over all fronts, always of the same galaxies, so that epochs can be compared.

        The figures of each front on all galaxies are kept in ``metrics`` at the end.
        """
        classes = len(self.names)
        seen = np.zeros((classes, classes), np.int64)
        for front, rows in self.held(stage, final):
            said = self.outputs(module, stage, front, rows).float().argmax(1).numpy()
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
