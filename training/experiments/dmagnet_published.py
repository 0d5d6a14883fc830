"""What the paper of DMAGNet (Chessa, Murru & Lazzari) prints of its test, and which classes that is of.

The rows of its Tables 2 and 3 carry Galaxy10's names in Galaxy10's order, but their supports are those of other classes.
The ten test sizes all differ, so each support tells its class: the rows stand in the alphabetical order of folders that
the images were read from (whatever that of the in-between ones was called: it lies between Round and Unbarred).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.predict.classes import ClassScores, scores
from galcli.training.galaxy10 import NAMES

PAPER = "DMAGNet (Chessa, Murru & Lazzari), Tables 2 and 3"


@dataclass(frozen=True)
class Row:
    """A row of Table 3.

    Attributes
    ----------
    label : str
        Class as printed.
    true : str
        Class whose galaxies it is about, one of ``galaxy10.NAMES``.
    precision, recall, f1 : float
        To two decimals.
    support : int
        Test galaxies.
    """

    label: str
    true: str
    precision: float
    recall: float
    f1: float
    support: int


#: Table 3, row by row.
ROWS = (
    Row("Disturbed", "Barred Spiral", 0.86, 0.85, 0.85, 368),
    Row("Merging", "Cigar Shaped Smooth", 0.76, 0.85, 0.80, 60),
    Row("Round Smooth", "Disturbed", 0.75, 0.57, 0.65, 195),
    Row("In-between Round Smooth", "Edge-on with Bulge", 0.95, 0.92, 0.94, 337),
    Row("Cigar-shaped Smooth", "Edge-on without Bulge", 0.90, 0.94, 0.92, 256),
    Row("Barred Spiral", "Merging", 0.90, 0.91, 0.91, 334),
    Row("Unbarred Tight Spiral", "Round Smooth", 0.94, 0.95, 0.94, 476),
    Row("Unbarred Loose Spiral", "In-between Round Smooth", 0.92, 0.96, 0.94, 365),
    Row("Edge-on without Bulge", "Unbarred Loose Spiral", 0.76, 0.77, 0.76, 473),
    Row("Edge-on with Bulge", "Unbarred Tight Spiral", 0.78, 0.82, 0.80, 330),
)
#: Its last rows: accuracy; precision, recall and F1 of the macro and the weighted average.
ACCURACY, MACRO, WEIGHTED = 0.87, (0.85, 0.85, 0.85), (0.86, 0.87, 0.86)
#: Table 2: rows are true classes, columns predicted ones, both in the order of ``ROWS``.
CONFUSION = (
    (313, 3, 5, 2, 1, 7, 1, 1, 23, 12),
    (0, 51, 1, 0, 3, 0, 1, 2, 1, 1),
    (10, 3, 112, 2, 2, 2, 7, 14, 38, 5),
    (2, 0, 2, 310, 13, 2, 1, 1, 5, 1),
    (2, 2, 1, 3, 241, 2, 0, 0, 3, 2),
    (5, 1, 2, 2, 4, 304, 6, 1, 8, 1),
    (4, 0, 4, 0, 0, 4, 451, 0, 0, 13),
    (1, 5, 3, 1, 0, 2, 0, 349, 3, 1),
    (22, 1, 20, 5, 3, 11, 6, 4, 363, 38),
    (7, 1, 0, 0, 1, 2, 7, 9, 34, 269),
)
#: What the paper tells of its data.
TRAINING, VALIDATION, TEST = 11_487, 1_276, 3_194


def corrected() -> NDArray[np.int64]:
    """Published confusion matrix (10, 10) in the order of ``galaxy10.NAMES``, rows true."""
    place = [[row.true for row in ROWS].index(name) for name in NAMES]
    return np.array(CONFUSION, np.int64)[np.ix_(place, place)]


def published() -> ClassScores:
    """Figures of that matrix, each under the class that it is of."""
    return scores(corrected())
