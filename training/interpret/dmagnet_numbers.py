"""The numbers behind the plots of a DMAGNet."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from galcli.models.card import Card
from galcli.predict.classes import confusion, scores
from galcli.training.classification import BINS, bin_confidence, calibration_error
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.dmagnet_seen import Looks, Singles, Verdicts, Whole
from galcli.training.networks.dmagnet import BRANCHES

Numbers = dict[str, Any]
#: Figures of the card that stand beside its confusion matrix.
_FIGURES = {
    "MORPH_CLASS accuracy": "accuracy",
    "MORPH_CLASS macro F1": "macro_f1",
    "MORPH_PROB calibration error": "calibration_error",
}

#: Scatter, in percent, below which a map is said to be the same for all galaxies.
SAME = 2.0


def counts(verdicts: Verdicts) -> Numbers:
    """Galaxies predicted as each class, and, where labels are known, how many of them are right."""
    truth, chosen = verdicts.truth, verdicts.chosen
    found: Numbers = {}
    for number, name in enumerate(NAMES):
        found[name] = {"predicted": int((chosen == number).sum())}
        if verdicts.label_column is not None:
            both = verdicts.compared
            found[name] |= {
                "labelled": int((truth[both] == number).sum()),
                "right": int(((truth == number) & (chosen == number)).sum()),
            }
    return found


def quality(verdicts: Verdicts) -> Numbers | None:
    """Confusion matrix, accuracy, macro F1 and calibration on the labelled galaxies; None where there are none."""
    rows = verdicts.compared
    if not len(rows):
        return None
    truth, chosen, probability = verdicts.truth[rows], verdicts.chosen[rows], verdicts.probability[rows]
    matrix = confusion(truth, chosen, len(NAMES))
    one = scores(matrix)
    return {
        "objects": len(rows), "confusion": matrix.tolist(), "accuracy": one.accuracy, "macro_f1": one.macro[2],
        "f1": dict(zip(NAMES, one.f1.tolist(), strict=True)),
        "calibration_error": calibration_error(probability, truth), "reliability": reliability(probability, truth),
    }  # fmt: skip


def reliability(probability: Singles, truth: Whole) -> list[dict[str, float]]:
    """How often the class is right in bins of its probability, those of `bin_confidence`; empty bins are left out.

    ``least`` and ``most`` hold 68 % of Jeffreys' interval of a binomial share, which does not end where none or all are
    right (Brown, Cai & DasGupta 2001): no bin of few galaxies seems certain.
    """
    bins = bin_confidence(probability, truth)
    found = []
    for number in np.flatnonzero(bins.objects):
        objects, good = int(bins.objects[number]), int(bins.right[number])
        least, most = special.betaincinv(good + 0.5, objects - good + 0.5, (0.16, 0.84))
        found.append({
            "low": number / BINS, "high": (number + 1) / BINS, "objects": objects,
            "confidence": float(bins.confidence[number]), "accuracy": good / objects,
            "least": float(least) if good else 0.0, "most": float(most) if good < objects else 1.0,
        })  # fmt: skip
    return found


def quality_of_card(card: Card, front: str) -> Numbers | None:
    """What the card tells of the same: through the front given, else through its first; None where it tells nothing."""
    told = card.calibration.get("confusion")
    if not isinstance(told, dict) or tuple(told.get("names", ())) != NAMES:
        return None
    chosen = next((name for name in (front, *(one.name for one in card.fronts)) if name in told), None)
    if chosen is None:
        return None
    metrics = [metric for metric in card.metrics if metric.front == chosen and metric.name in _FIGURES]
    found: Numbers = {_FIGURES[metric.name]: metric.value for metric in metrics}
    sample = metrics[0].sample if metrics else "galaxies that the card does not name"
    objects = int(np.sum(told[chosen]))
    return found | {"front": chosen, "sample": sample, "objects": objects, "confusion": told[chosen]}


def kernels(verdicts: Verdicts, looks: Looks) -> Numbers:
    """Mean and scatter (standard deviation) of the shares of kernel sizes, over a fair part of each predicted class."""
    found: Numbers = {"stages": 3, "sizes": list(BRANCHES), "classes": {}}
    for number, name in enumerate(NAMES):
        places = looks.at(verdicts.spread(number))
        if len(places):
            shares = looks.shares[places].astype(np.float64)
            found["classes"][name] = {
                "objects": len(places), "mean": shares.mean(0).tolist(), "scatter": shares.std(0).tolist(),
            }  # fmt: skip
    return found


def variety(looks: Looks) -> Numbers:
    """How much what the network looks at differs from galaxy to galaxy.

    Returns
    -------
    dict
        ``centroid_percent``: scatter of the centroid of the pooling weights, of the field. ``lam_percent``: mean scatter of
        a cell of the local attention, of its mean.
    """
    attention, lam = looks.attention.astype(np.float64), looks.lam.astype(np.float64)
    across = [(attention.sum(axis) * (np.arange(attention.shape[3 - axis]) + 0.5)).sum(1) for axis in (1, 2)]
    sides = [attention.shape[3 - axis] for axis in (1, 2)]
    scatter = np.hypot(*(values.std() / side for values, side in zip(across, sides, strict=True)))
    return {
        "objects": len(lam), "centroid_percent": 100 * float(scatter),
        "lam_percent": 100 * float(lam.std(0).mean() / lam.mean()),
    }  # fmt: skip
