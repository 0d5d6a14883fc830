"""Regression of catalogue values on images: loss, normalisation, and figures per front on held-out galaxies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.training.data import Batch
from galcli.training.fit import Feed
from galcli.training.image_task import ImageTask

#: Images that the normalisation is measured on, at most.
NORMALISE = 20_000
#: Bins of the true value in which the bias is given.
BINS = 8


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
class Regression(ImageTask):
    """The task of ``fit.Fit`` for images and catalogue values."""

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """RMSE of a batch."""
        return rmse(self.output(module, batch), batch.target)

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """RMSE per front; all figures of all held-out objects are kept in ``metrics`` at the end."""
        seen: dict[str, Any] = {}
        for front, rows in self.held(stage, final):
            y = self.outputs(module, stage, front, rows).double().numpy()
            truth = self.target[rows].astype(np.float64)
            seen[front] = float(np.sqrt(np.mean((y - truth) ** 2)))
            if final:
                each = zip(self.names, y.T, truth.T, strict=True)
                self.metrics[front] = {name: figures(one, true) for name, one, true in each}
        return seen
