"""How well classes are told apart: the figures of a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScores:
    """What a confusion matrix says.

    Attributes
    ----------
    precision, recall, f1 : ndarray (C,)
        Of each class; 0 where nothing was predicted as it, or nothing belongs to it.
    support : ndarray (C,), int64
        Objects of each class.
    accuracy : float
    macro : tuple of 3 float
        Means of precision, recall and F1 over the classes that occur.
    weighted : tuple of 3 float
        The same, weighted by the objects of the classes.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    accuracy: float
    macro: tuple[float, float, float]
    weighted: tuple[float, float, float]


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Confusion matrix (C, C): rows are true classes, columns predicted ones."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def scores(matrix: NDArray[np.int64]) -> ClassScores:
    """Figures of a confusion matrix (C, C) with true classes in rows."""
    right, support, said = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    precision, recall = right / np.maximum(said, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + said, 1)
    each, occurs, share = np.stack([precision, recall, f1]), support > 0, support / max(support.sum(), 1)
    macro, weighted = each[:, occurs].sum(1) / max(occurs.sum(), 1), each @ share
    accuracy = float(right.sum() / max(support.sum(), 1))
    return ClassScores(precision, recall, f1, support, accuracy, tuple(macro.tolist()), tuple(weighted.tolist()))
