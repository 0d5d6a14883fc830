"""Which weights of a training are kept: the last, their moving average, or those of the best epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

#: Weights of the best epoch so far, which ended with that step: a kill between this file and the state loses neither.
BEST = "best-{}.safetensors"


@dataclass(frozen=True)
class Keep:
    """What a training ends with.

    Attributes
    ----------
    average : float or None
        Decay per step of an exponential moving average of the weights, which is validated and kept in their place.
    figure : str or None
        Validation figure, larger is better, whose best epoch of the last stage is kept; None: the last weights.
    patience : int or None
        Epochs of the last stage without a better figure after which the training ends.
    """

    average: float | None = None
    figure: str | None = None
    patience: int | None = None

    def best(self, curve: Sequence[dict[str, Any]], last_stage: int) -> int | None:
        """Position in the curve of the best epoch; the first of equals, None where there is none.

        Parameters
        ----------
        curve : sequence of dict
            ``History.curve``.
        last_stage : int
            Number of the stage whose grid is the model's.
        """
        name = self.figure
        if name is None:
            return None
        seen = [number for number, entry in enumerate(curve) if entry["stage"] == last_stage]
        return max(seen, key=lambda number: float(curve[number][name]), default=None)

    def exhausted(self, curve: Sequence[dict[str, Any]], last_stage: int) -> bool:
        """Whether the figure has not become better for as long as there is patience."""
        best = self.best(curve, last_stage)
        return self.patience is not None and best is not None and len(curve) - 1 - best >= self.patience


def averaged(module: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network that holds the moving average of its weights and buffers."""
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=average, use_buffers=True)
