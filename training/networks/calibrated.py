"""Error bars and distance from the training sample, computed in the graph from penultimate features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from galcli.training.calibrate import Conformal, Domain

#: float32 numbers in the widest register of a processor (AVX-512).
LANES = 16


class Calibrated(nn.Module):
    """What `galcli.training.calibrate` measured, as constants of the graph (float32, MatMul only).

    Until ``set`` is called every error bar is 1 and every distance the plain length of the features.

    Parameters
    ----------
    features : int
        Penultimate features.
    outputs : int
        Outputs with error bars.
    fronts : int
        Fronts.
    """

    mean: Tensor
    basis: Tensor
    std: Tensor
    rest: Tensor
    threshold: Tensor
    slope: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor
    quantile: Tensor

    def __init__(self, features: int, outputs: int, fronts: int) -> None:
        super().__init__()
        axis, none, one = np.eye(features, 1), np.zeros(outputs), np.ones(1)
        domain = Domain(np.zeros(features), axis, one, 1.0, np.ones(fronts))
        flat = np.ones((fronts, outputs)), none.astype(bool), "none", 0
        self.set(domain, Conformal(np.zeros((1, outputs)), none, none, none, *flat))

    def set(self, domain: Domain, conformal: Conformal) -> None:
        """Take over new constants."""
        # Sums over components that fill the processor's registers do not depend on where in a batch a row stands.
        idle = -len(domain.std) % LANES
        padded = {
            "basis": np.pad(domain.basis, ((0, 0), (0, idle))),
            "std": np.pad(domain.std, (0, idle), constant_values=1.0),
            "slope": np.pad(conformal.slope, ((0, idle), (0, 0))),
        }
        values = vars(domain) | vars(conformal) | padded
        for name in ("mean", "basis", "std", "rest", "threshold", "slope", "offset", "low", "high", "quantile"):
            self.register_buffer(name, torch.tensor(values[name], dtype=torch.float32))

    def forward(self, features: Tensor, front: Tensor) -> tuple[Tensor, Tensor]:
        """Error bars and domain of a batch.

        Parameters
        ----------
        features : Tensor (N, C)
            Penultimate features.
        front : Tensor (N,), int64

        Returns
        -------
        error : Tensor (N, T)
            Half-widths of 68 % intervals, in the unit of the outputs.
        distance : Tensor (N,)
            Distance from the training sample over the distance that 99 % of held-out objects keep.
        """
        centred = features - self.mean
        components = centred @ self.basis
        rest = centred - components @ self.basis.t()
        scores = components / self.std
        distance = (scores.square().sum(1) + rest.square().sum(1) / self.rest.square()).sqrt()
        log_scale = torch.minimum(torch.maximum(scores @ self.slope + self.offset, self.low), self.high)
        return self.quantile[front] * log_scale.exp(), distance / self.threshold[front]
