"""SFNet, the sparse feature network of Wu (2025), ApJ 980 183, arXiv:2501.00089.

A ResNet-18 whose pooled features pass a top-k bottleneck before the linear layer, so that every prediction is a sum
of k terms that can be read and named.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from galcli.training.networks.resnet import WIDTH, ResNet18


class Sparse(NamedTuple):
    """A prediction together with what it is made of.

    Attributes
    ----------
    y : Tensor (N, n_out)
        Prediction.
    idx : Tensor (N, k), int64
        Active features by descending activation; -1 where the activation is 0.
    values : Tensor (N, k)
        Their activations.
    cell : Tensor (N, k), int64
        Cell row * w + column of the last map where the active feature peaks; -1 where ``idx`` is.
    pooled : Tensor (N, 512)
        All features before the bottleneck (domain statistics, frequencies "pre").
    maps : Tensor (N, 512, h, w)
        The last feature map (``inner/layer4``).
    """

    y: Tensor
    idx: Tensor
    values: Tensor
    cell: Tensor
    pooled: Tensor
    maps: Tensor


def sparsify(features: Tensor, k: int) -> Tensor:
    """Keep the k largest positive features of each row, by value, and set the others to 0.

    The gradient flows through the kept entries alone (models.md 1.2).

    Parameters
    ----------
    features : Tensor (N, C)
        Features.
    k : int
        Entries to keep.

    Returns
    -------
    Tensor (N, C)
        Fewer than k entries are non-zero where fewer than k features are positive.
    """
    values, index = torch.topk(features.relu(), k, dim=1)
    return torch.zeros_like(features).scatter(1, index, values)


class SFNet(ResNet18):
    """ResNet-18 with a top-k bottleneck; state-dict names stay those of torchvision.

    Parameters
    ----------
    n_out : int
        Targets: 1 gives 11,177,025 parameters (metallicity), 4 gives 11,178,564 (lines).
    k : int, default 4
        Active features per galaxy; 512 is the dense network.
    in_channels : int, default 3
        Channels of the image.
    """

    def __init__(self, n_out: int, k: int = 4, in_channels: int = 3) -> None:
        super().__init__(n_out, in_channels)
        if not 1 <= k <= WIDTH:
            raise ValueError(f"k = {k} is outside 1 to {WIDTH}")
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Prediction in the scatter form used for training: image (N, C, H, W) to y (N, n_out)."""
        pooled, _ = self.features(x)
        return self.head(sparsify(pooled, self.k))

    def explain(self, x: Tensor) -> Sparse:
        """Prediction in the gather form used for export; equal to ``forward`` up to rounding.

        Parameters
        ----------
        x : Tensor (N, C, H, W)
            Normalised image.

        Returns
        -------
        Sparse
        """
        pooled, maps = self.features(x)
        values, index = torch.topk(pooled.relu(), self.k, dim=1)
        y = (values.unsqueeze(2) * self.fc.weight.t()[index]).sum(1) + self.fc.bias
        cell = maps.flatten(2).argmax(2).gather(1, index)
        silent = values <= 0
        nothing = torch.full_like(index, -1)
        return Sparse(y, torch.where(silent, nothing, index), values, torch.where(silent, nothing, cell), pooled, maps)
