"""The task of ``fit.Fit`` for images and the latents of spectra: loss, and figures on held-out galaxies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.training.data import Batch, take
from galcli.training.image_task import EVALUATE
from galcli.training.networks.flux import FluxPixels
from galcli.training.recipes.sample import Sample
from galcli.training.regression import figures, rmse


@dataclass
class LatentTask:
    """Regression of latents on fluxes.

    Attributes
    ----------
    pixels : FluxPixels
    sample : Sample
    glance : int
        Held-out galaxies looked at on the way.
    metrics : dict
        Figures of the last full validation, per latent.
    """

    pixels: FluxPixels
    sample: Sample
    glance: int = 2000
    metrics: dict[str, Any] = field(default_factory=dict)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """RMSE over the batch and all latents."""
        return rmse(module(self._seen(batch.pixels, batch.valid)), batch.target)

    def predict(self, module: nn.Module, stage: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predictions (N, K) of rows of a stage."""
        device = next(module.parameters()).device
        parts = []
        for first in range(0, len(rows), EVALUATE):
            pixels, valid, _ = take(self.sample.stamps[stage], rows[first : first + EVALUATE])
            parts.append(module(self._seen(pixels.to(device), valid.to(device))).double().cpu())
        return torch.cat(parts).numpy()

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """Joint RMSE of all latents; the figures of each are kept in ``metrics`` at the end."""
        rows = self.sample.rows(stage, held=True)
        rows = rows if final else rows[: self.glance]
        if not len(rows):
            return {}
        y, truth = self.predict(module, stage, rows), self.sample.target[rows].astype(np.float64)
        if final:
            each = zip(y.T, truth.T, strict=True)
            self.metrics = {f"SPEC_LATENT[{number}]": figures(one, true) for number, (one, true) in enumerate(each)}
        return {"rmse": float(np.sqrt(np.mean((y - truth) ** 2)))}

    def _seen(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """The network's input."""
        prepared: Tensor = self.pixels.to(pixels.device)(pixels, valid)
        return prepared.contiguous(memory_format=torch.channels_last)
