"""What Table 1 of Wu & Peek (2020) says, and what trainings say to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.training.experiments.statistics import Claim, compare

HYBRID, BATCH, DECONV = "xresnet18-hybrid", "xresnet18", "xresnet18-deconv"
SIMPLE, SIMPLE_DECONV = "simple-cnn", "simple-deconv"
#: Validation loss after 10 and 50 epochs.
PUBLISHED: dict[str, tuple[float, float | None]] = {
    HYBRID: (0.711, 0.688),
    BATCH: (0.726, 0.698),
    DECONV: (0.735, 0.760),
    SIMPLE: (0.885, None),
    SIMPLE_DECONV: (0.944, None),
}
PUBLISHED_EPOCHS = (10, 50)
#: Of simple-deconv in the authors' notebook, which contradicts their paper.
NOTEBOOK = 0.8236


@dataclass(frozen=True)
class Scores:
    """What the trainings of a table wrote.

    Attributes
    ----------
    epochs : tuple of int
        Of the two columns.
    metrics : dict
        ``metrics.json`` of each seed, by network and epochs.
    """

    epochs: tuple[int, int]
    metrics: dict[tuple[str, int], list[dict[str, Any]]]

    @classmethod
    def of(cls, epochs: tuple[int, int], trainings: Iterable[tuple[str, int, dict[str, Any]]]) -> Scores:
        """From network, epochs and metrics of each training, seed after seed."""
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for network, number, metrics in trainings:
            found.setdefault((network, number), []).append(metrics)
        return cls(epochs, found)

    def curves(self, network: str, epochs: int) -> NDArray[np.float64]:
        """Validation loss (seeds, epochs)."""
        return np.array([[point["rmse"] for point in one["curve"]] for one in self.metrics[network, epochs]])

    def loss(self, network: str, epochs: int) -> list[float]:
        """Validation loss at the end, seed by seed."""
        return [float(value) for value in self.curves(network, epochs)[:, -1]]


def claims(scores: Scores) -> list[Claim]:
    """The claims of the table, each with its comparisons.

    Parameters
    ----------
    scores : Scores

    Returns
    -------
    list of Claim
        In the order in which the paper makes them.
    """
    short, long = scores.epochs

    def between(better: str, worse: str, epochs: int) -> Any:
        name = f"{better} below {worse}, {epochs} epochs"
        return compare(name, scores.loss(better, epochs), scores.loss(worse, epochs))

    def over_time(network: str, falls: bool) -> Any:
        first, last = scores.loss(network, short), scores.loss(network, long)
        name = f"{network} {'falls' if falls else 'rises'} from {short} to {long} epochs"
        return compare(name, last, first) if falls else compare(name, first, last)

    deep, simple = (HYBRID, BATCH, DECONV), (SIMPLE, SIMPLE_DECONV)
    return [
        Claim("the hybrid is better than batch norm", tuple(between(HYBRID, BATCH, n) for n in (short, long))),
        Claim(
            "batch norm is better than deconvolution throughout",
            tuple(between(BATCH, DECONV, n) for n in (short, long)),
        ),
        Claim("deep is better than simple", tuple(between(one, other, short) for one in deep for other in simple)),
        Claim(
            f"deconvolution throughout overfits from {short} to {long} epochs, the other deep networks improve",
            (over_time(DECONV, falls=False), over_time(HYBRID, falls=True), over_time(BATCH, falls=True)),
        ),
        Claim("simple-cnn is better than simple-deconv", (between(SIMPLE, SIMPLE_DECONV, short),)),
    ]
