"""Information that posteriors expect themselves to carry, as exported graphs are to give it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galcli.training.interpret.information import Prior


def expected(log_posterior: NDArray[np.floating], prior: Prior) -> NDArray[np.float64]:
    """Sum of p ln(p / prior) (N,) of posteriors (N, 520)."""
    logs = log_posterior.astype(np.float64)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))  # single precision leaves sums a little off 1
    p = np.exp(logs)
    divergence: NDArray[np.float64] = np.where(p > 0, p * (np.where(p > 0, logs, 0.0) - prior.log_p), 0.0).sum(1)
    return divergence
