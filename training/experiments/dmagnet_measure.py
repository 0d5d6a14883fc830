"""What networks of morphology are worth on galaxies that no training saw, and what they cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from galcli.predict.classes import ClassScores, confusion, scores
from galcli.training.classification import calibration_error
from galcli.training.data import Batch
from galcli.training.pixels import Pixels

#: Forward passes of each network whose median time counts, after one that warms up.
ROUNDS = 7


@dataclass(frozen=True)
class Figures:
    """How well unseen galaxies are classified through one front, or how much that scatters.

    Attributes
    ----------
    scores : ClassScores
    calibration_error : float
        Expected calibration error.
    """

    scores: ClassScores
    calibration_error: float

    @property
    def main(self) -> tuple[float, float, float]:
        """Accuracy, macro F1 and calibration error."""
        return self.scores.accuracy, self.scores.macro[2], self.calibration_error


@dataclass(frozen=True)
class Seen:
    """Unseen galaxies, classified by one training through one front.

    Attributes
    ----------
    confusion : ndarray (C, C), int64
        Rows are true classes.
    calibration_error : float
        Of the probabilities as the network gives them, without a temperature.
    """

    confusion: NDArray[np.int64]
    calibration_error: float

    @property
    def figures(self) -> Figures:
        """Figures of this training."""
        return Figures(scores(self.confusion), self.calibration_error)


@dataclass(frozen=True)
class Summary:
    """Unseen galaxies, classified by all trainings of a network through one front.

    Attributes
    ----------
    mean : Figures
        Mean of each figure over the trainings.
    deviation : Figures or None
        Standard deviation of each (n - 1 degrees of freedom); None of a single training.
    confusion : ndarray (C, C), float64
        Galaxies, mean over the trainings; rows are true classes and sum to the support.
    """

    mean: Figures
    deviation: Figures | None
    confusion: NDArray[np.float64]


def summarise(trainings: Sequence[Seen]) -> Summary:
    """What trainings say of the same galaxies: the supports are those of the galaxies, however many trainings."""
    each = [one.figures for one in trainings]

    def over(statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Figures:
        def of(name: str) -> NDArray[np.float64]:
            return statistic(np.array([getattr(one.scores, name) for one in each]))

        return Figures(
            ClassScores(
                of("precision"), of("recall"), of("f1"), each[0].scores.support, float(of("accuracy")),
                tuple(of("macro").tolist()), tuple(of("weighted").tolist()),
            ),
            float(statistic(np.array([one.calibration_error for one in each]))),
        )  # fmt: skip

    deviation = over(lambda values: values.std(axis=0, ddof=1)) if len(each) > 1 else None
    matrix = np.mean([one.confusion for one in trainings], axis=0)
    return Summary(over(lambda values: values.mean(axis=0)), deviation, matrix)


@dataclass(frozen=True)
class Outcome:
    """A network's finished trainings and their measurements.

    Attributes
    ----------
    runs : tuple of dict of str to Seen
        One per seed: front -> what was seen through it.
    parameters : int
    multiply_adds : int
        Of one image on the model's grid, in convolutions and matrix products.
    images_per_second : float
        Forward, in float32.
    metrics : tuple of dict
        What each training wrote.
    """

    runs: tuple[dict[str, Seen], ...]
    parameters: int
    multiply_adds: int
    images_per_second: float
    metrics: tuple[dict[str, Any], ...]

    @property
    def fronts(self) -> dict[str, Summary]:
        """All trainings together, through every front."""
        return {front: summarise([run[front] for run in self.runs]) for front in self.runs[0]}


def classify(
    module: nn.Module, pixels: Pixels, batches: Iterable[Batch], classes: int, device: torch.device
) -> dict[str, Seen]:
    """Classify galaxies through every front that they are seen through.

    Parameters
    ----------
    module : nn.Module
        From normalised images to logits (N, classes); put into evaluation.
    pixels : Pixels
    batches : iterable of Batch
        ``front`` is the position in ``pixels.fronts``; the target (N, 1) is the class.
    classes : int
    device : torch.device

    Returns
    -------
    dict of str to Seen
        By the names of the fronts, in their order.
    """
    module, pixels = module.to(device).eval(), pixels.to(device)
    parts = []
    with torch.no_grad():
        for batch in batches:
            moved = batch.to(device)
            x = pixels(moved.pixels, moved.valid, moved.front).contiguous(memory_format=torch.channels_last)
            probability = module(x).double().softmax(1).cpu().numpy()
            parts.append((batch.front.numpy(), batch.target[:, 0].numpy().astype(np.int64), probability))
    front, truth, probability = (np.concatenate(values) for values in zip(*parts, strict=True))
    each = {name: front == number for number, name in enumerate(pixels.fronts)}
    return {
        name: Seen(
            confusion(truth[rows], probability[rows].argmax(1), classes),
            calibration_error(probability[rows], truth[rows]),
        )
        for name, rows in each.items()
        if rows.any()
    }


def parameters(module: nn.Module) -> int:
    """Trained numbers of a network."""
    return sum(weights.numel() for weights in module.parameters())


def multiply_adds(module: nn.Module, size: int) -> int:
    """Multiply-adds of one image of that many pixels a side, in convolutions and matrix products (two FLOPs each)."""
    device = next(module.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, 3, size, size, device=device))
    return int(counter.get_total_flops()) // 2


def paces(modules: Mapping[str, nn.Module], size: int, batch: int, device: torch.device) -> dict[str, float]:
    """Images per second of each network, forward in float32.

    The networks take turns, so that whatever else the machine does slows all of them alike.

    Parameters
    ----------
    modules : mapping of str to nn.Module
    size : int
        Pixels a side.
    batch : int
        Images at a time.
    device : torch.device
    """
    x = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    ready = {
        name: module.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        for name, module in modules.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    with torch.no_grad():
        for _ in range(1 + ROUNDS):
            for name, module in ready.items():
                began = time.perf_counter()
                module(x)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - began)
    return {name: batch / statistics.median(values[1:]) for name, values in seconds.items()}
