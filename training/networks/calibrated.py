"""Error bars and distance from the training sample, computed in the graph from penultimate features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.training.calibrate import Conformal, Domain

#: float32 numbers in the widest register of a processor (AVX-512).
LANES = 16


def _constants(module: nn.Module, values: dict[str, NDArray[Any] | float]) -> None:
    for name, value in values.items():
        module.register_buffer(name, torch.tensor(value, dtype=torch.float32))


class Distance(nn.Module):
    """Distance from the training sample (`galcli.training.calibrate.Domain`) as a part of a graph.

    Until ``set`` is called it is the plain length of the features.

    Parameters
    ----------
    features : int
        Penultimate features.
    fronts : int
        Fronts.
    """

    mean: Tensor
    basis: Tensor
    std: Tensor
    rest: Tensor
    threshold: Tensor

    def __init__(self, features: int, fronts: int) -> None:
        super().__init__()
        self.set(Domain(np.zeros(features), np.eye(features, 1), np.ones(1), 1.0, np.ones(fronts)))

    def set(self, domain: Domain) -> None:
        """Take over new constants."""
        # Sums over components that fill the processor's registers do not depend on where in a batch a row stands.
        idle = -len(domain.std) % LANES
        basis = np.pad(domain.basis, ((0, 0), (0, idle)))
        _constants(self, vars(domain) | {"basis": basis, "std": np.pad(domain.std, (0, idle), constant_values=1.0)})

    def scores(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened components (N, m) of features (N, C), and what they leave of them (N, C)."""
        centred = features - self.mean
        components = centred @ self.basis
        return components / self.std, centred - components @ self.basis.t()

    def of(self, scores: Tensor, rest: Tensor, front: Tensor) -> Tensor:
        """Distance (N,) over the distance that 99 % of held-out objects of the front keep."""
        distance = (scores.square().sum(1) + rest.square().sum(1) / self.rest.square()).sqrt()
        return distance / self.threshold[front]

    def forward(self, features: Tensor, front: Tensor) -> Tensor:
        """The same, from features (N, C)."""
        return self.of(*self.scores(features), front)


class Calibrated(nn.Module):
    """What `galcli.training.calibrate` measured, as constants of the graph (float32, MatMul only).

    Until ``set`` is called every error bar is 1.

    Parameters
    ----------
    features : int
        Penultimate features.
    outputs : int
        Outputs with error bars.
    fronts : int
        Fronts.
    """

    slope: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor
    quantile: Tensor

    def __init__(self, features: int, outputs: int, fronts: int) -> None:
        super().__init__()
        self.distance = Distance(features, fronts)
        none = np.zeros(outputs)
        flat = np.ones((fronts, outputs)), none.astype(bool), "none", 0
        self._take(Conformal(np.zeros((LANES, outputs)), none, none, none, *flat))

    def set(self, domain: Domain, conformal: Conformal) -> None:
        """Take over new constants."""
        self.distance.set(domain)
        self._take(conformal)

    def _take(self, conformal: Conformal) -> None:
        names = ("offset", "low", "high", "quantile")
        idle = len(self.distance.std) - len(conformal.slope)
        slope = np.pad(conformal.slope, ((0, idle), (0, 0)))
        _constants(self, {"slope": slope} | {name: getattr(conformal, name) for name in names})

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
        scores, rest = self.distance.scores(features)
        log_scale = torch.minimum(torch.maximum(scores @ self.slope + self.offset, self.low), self.high)
        return self.quantile[front] * log_scale.exp(), self.distance.of(scores, rest, front)
