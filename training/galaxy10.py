"""Galaxy10 DECaLS: its classes, and the split that the published networks were trained on.

17,736 colour images of the Legacy Surveys with classes from Galaxy Zoo (Leung & Bovy, github.com/henrysky/Galaxy10).
The order of the classes is that of the file's labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError

NAMES = (
    "Disturbed", "Merging", "Round Smooth", "In-between Round Smooth", "Cigar Shaped Smooth", "Barred Spiral",
    "Unbarred Tight Spiral", "Unbarred Loose Spiral", "Edge-on without Bulge", "Edge-on with Bulge",
)  # fmt: skip
#: Galaxies of each class.
COUNTS = (1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873)
#: Parts of the published split (models.md 5.1): of each class kept, of those tested; of the rest validated.
KEPT, TESTED, VALIDATED = 0.9, 0.2, 0.1


@dataclass(frozen=True)
class Split:
    """Rows of the three parts, and those that belong to none.

    Attributes
    ----------
    training, validation, test, unused : ndarray, int64
        Disjoint; in ascending order.
    """

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    unused: NDArray[np.int64]


def split(labels: NDArray[np.int64], seed: int, kept: float = KEPT) -> Split:
    """Divide labelled galaxies as the published networks were (the numbers are theirs, the order is the seed's).

    Of each class floor(kept n) galaxies are used; of these, ceil(0.2 .) are tested; the others are pooled, and
    floor(0.1 .) of them validated. Galaxy10 gives 11,487, 1,276 and 3,194.

    Parameters
    ----------
    labels : ndarray (N,)
        Class of each galaxy; negative ones belong to no part.
    seed : int
    kept : float
        1 to use every galaxy.
    """
    draw = np.random.default_rng(seed)
    tested, pool, unused = [], [], []
    for label in np.unique(labels[labels >= 0]):
        rows = draw.permutation(np.flatnonzero(labels == label))
        # Rounded first: 0.9 n must not fall below a whole number that it is.
        most = int(np.floor(round(kept * len(rows), 6)))
        unused.append(rows[most:])
        rows = rows[:most]
        count = int(np.ceil(round(TESTED * len(rows), 6)))
        tested.append(rows[:count])
        pool.append(rows[count:])
    others = draw.permutation(np.concatenate(pool))
    count = int(VALIDATED * len(others))
    parts = others[count:], others[:count], np.concatenate(tested), np.concatenate(unused)
    return Split(*(np.sort(part) for part in parts))


def check_labels(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Classes as whole numbers; -1 where there is none (NaN or negative).

    Raises
    ------
    InputError
        If a label is none of the classes.
    """
    values = labels.astype(np.float64)
    missing = ~(values >= 0)
    wrong = np.flatnonzero(~missing & ~np.isin(values, np.arange(len(NAMES))))
    if len(wrong):
        raise InputError(
            f"{where}: {len(wrong)} labels are no class, the first {values[wrong[0]]:g} in row {wrong[0]}",
            f"classes are the whole numbers 0 to {len(NAMES) - 1} in the order of Galaxy10; negative or NaN is no label",
        )
    if missing.all():
        raise InputError(f"{where}: no row has a label", f"classes are the whole numbers 0 to {len(NAMES) - 1}")
    return np.where(missing, -1, np.nan_to_num(values)).astype(np.int64)
