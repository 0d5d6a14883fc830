"""What networks for stellar mass are trained for: the posterior of the mass, alone or with the contrastive stage."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.augment import d4
from galcli.training.data import Batch
from galcli.training.networks.mass import bin_of
from galcli.training.recipes.mass_contrastive import contrastive_loss
from galcli.training.recipes.mass_data import VALIDATION, Galaxies, MassBatch, batches
from galcli.training.recipes.mass_network import Prepared
from galcli.training.recipes.mass_posterior import Scores, log_softmax, scores

#: Figure of the epoch that is kept: mean log posterior of the true bin [nat].
BEST_BY = "log_p"
#: Galaxies per batch of a validation.
_BATCH = 256


class Learner(nn.Module):
    """A network on its way: in full precision where numbers come in that would not survive bfloat16.

    Parameters
    ----------
    prepared : Prepared
    """

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self.prepared = prepared

    def forward(
        self, pixels: Tensor, valid: Tensor, columns: Tensor, bins: Tensor | None = None, element: Tensor | None = None
    ) -> Tensor:
        """Logits (N, 520); with ``bins`` the contrastive loss, images turned by the symmetries ``element``."""
        network = self.prepared.network
        with _precision(network.images, columns):
            images, numbers = self.prepared.prepare(pixels, valid, columns)
            if bins is not None:
                turned = None if images is None or element is None else d4(images, element)
                return contrastive_loss(network, images, turned, numbers, bins)
            latents = network.encode(images, numbers)
        with _precision(False, columns):  # numbers without images come in again
            logits: Tensor = network.logits(latents.float(), numbers)
            return logits


def _precision(images: bool, like: Tensor) -> AbstractContextManager[Any]:
    return torch.autocast(like.device.type, enabled=images and torch.is_autocast_enabled(like.device.type))


@dataclass
class MassTask:
    """Task of ``fit.Fit`` for a `Learner`.

    Attributes
    ----------
    galaxies : Galaxies
    names : tuple of str
        Columns, in the order of the network.
    contrastive : bool
    scores : Scores or None
        Of the last full validation.
    """

    galaxies: Galaxies
    names: tuple[str, ...]
    contrastive: bool = False
    scores: Scores | None = field(default=None)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the true bin [nat], or the contrastive loss."""
        assert isinstance(batch, MassBatch)
        bins = bin_of(batch.target[:, 0])
        if not self.contrastive:
            return functional.cross_entropy(module(batch.pixels, batch.valid, batch.columns).float(), bins)
        element = torch.randint(8, (len(batch),)).to(bins.device)  # the loop seeds torch at every step
        loss: Tensor = module(batch.pixels, batch.valid, batch.columns, bins, element)
        return loss

    def predict(self, module: nn.Module, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log posterior (N, 520) of some galaxies."""
        device, parts = next(module.parameters()).device, []
        for batch in batches(self.galaxies, self.names, rows, _BATCH):
            one = batch.to(device)
            parts.append(log_softmax(module(one.pixels, one.valid, one.columns).float().cpu().numpy()))
        return np.concatenate(parts)

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """Figures on all validation galaxies, so that epochs compare; `BEST_BY` is larger the better."""
        del stage
        rows = self.galaxies.rows(VALIDATION)
        found = scores(self.predict(module, rows), self.galaxies.target[rows])
        if final:
            self.scores = found
        return {BEST_BY: -found.cross_entropy, "sigma_mad": found.sigma_mad, "crps": found.crps}
