"""How good a dictionary of concepts is, measured on held-out galaxies (models.md 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from galcli.training.views import rounded

Floats = NDArray[np.float64]
#: Part of the energy that the coverage counts concepts for.
COVERED = 0.9
#: Galaxies with a label below which a probe says nothing, and folds of its cross-validation.
LEAST, FOLDS = 100, 5
#: Penalties that a probe chooses from.
_ALPHAS = np.logspace(-1, 5, 13)
#: Classes of fewer galaxies are left out of a probe.
_FEW = 10


def metrics(
    said: Mapping[str, NDArray[Any]], probes: Mapping[str, NDArray[np.float32]], sample: str, front: str | None
) -> Iterator[dict[str, Any]]:
    """Figures of the card on one sample.

    Parameters
    ----------
    said : mapping of str to ndarray (N, ...)
        ``fvu``, ``l0`` and ``inner/strength`` of the graph.
    probes : mapping of str to ndarray (N,)
        See ``sae_data.PROBES``; NaN where unknown.
    sample : str
        What it is called.
    front : str or None
    """
    strength, fvu = said["inner/strength"].astype(np.float64), said["fvu"].astype(np.float64)
    common = {"sample": sample, "front": front}
    for name, value in (
        ("SAE_FVU mean", fvu.mean()), ("SAE_FVU median", np.median(fvu)), ("SAE_L0 mean", said["l0"].mean()),
        ("dead fraction", 1 - (strength > 0).any(0).mean()),
        (f"coverage: concepts for {COVERED:.0%} of the energy", coverage(strength)),
    ):  # fmt: skip
        yield common | {"name": name, "value": rounded(float(value)), "objects": len(fvu)}
    for name, values in probes.items():
        known = np.isfinite(values)
        if np.count_nonzero(known) >= LEAST:
            value = probe(strength[known], values[known].astype(np.float64), classes=name == "CLASS")
            yield common | {"name": f"{name} R2 of a linear probe", "value": rounded(value),
                            "objects": int(np.count_nonzero(known))}  # fmt: skip


def coverage(strength: Floats) -> int:
    """How many concepts, the strongest first, hold `COVERED` of the energy of a sample.

    Parameters
    ----------
    strength : ndarray (N, p)
        Root mean square of each concept's map.
    """
    energies = np.sort((strength**2).sum(0))[::-1]
    share = np.cumsum(energies) / max(energies.sum(), 1e-300)
    return int(np.searchsorted(share, COVERED) + 1)


def redundancy(atoms: Tensor, alive: NDArray[np.bool_]) -> float:
    """Mean over the concepts in use of the largest cosine with another one, of either sign.

    Parameters
    ----------
    atoms : Tensor (p, D)
        Of norm 1.
    alive : ndarray (p,), bool
    """
    used = atoms[torch.from_numpy(alive)]
    if len(used) < 2:
        return 0.0
    cosines = (used @ used.t()).abs().fill_diagonal_(0)
    return float(cosines.max(1).values.mean())


def probe(strength: Floats, values: Floats, classes: bool = False) -> float:
    """R2 of a ridge regression from concepts' strengths, cross-validated; of classes that of their indicators.

    Parameters
    ----------
    strength : ndarray (N, p)
    values : ndarray (N,)
    classes : bool
        Values are whole numbers of classes; R2 is the mean over classes.
    """
    used = strength[:, (strength > 0).any(0)]
    if not used.shape[1]:
        return 0.0
    target = values[:, None]
    if classes:
        known, count = np.unique(values, return_counts=True)
        kept = known[count >= _FEW]
        target = (values[:, None] == kept).astype(np.float64)
        target = target[:, target.std(0) > 0]
        if not target.shape[1]:
            return 0.0
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    said = cross_val_predict(make_pipeline(StandardScaler(), RidgeCV(_ALPHAS)), used, target, cv=folds)
    left = ((target - said.reshape(target.shape)) ** 2).sum(0) / ((target - target.mean(0)) ** 2).sum(0)
    return float(1 - left.mean())


def concept_table(strength: Floats, probes: Mapping[str, NDArray[np.float32]]) -> list[dict[str, Any]]:
    """Columns of the card's table: how often and how strongly each concept is used, and with what it goes.

    Parameters
    ----------
    strength : ndarray (N, p)
    probes : mapping of str to ndarray (N,)
    """
    used = strength > 0
    often = used.mean(0)
    mean = np.divide(strength.sum(0), used.sum(0), out=np.zeros(len(often)), where=often > 0)
    columns = [
        {"name": "CONCEPT", "dtype": "i4", "description": "number, as in SAE_IDX", "values": list(range(len(often)))},
        {"name": "ACTIVE", "dtype": "f4", "description": "part of the views of held-out galaxies in which it is active",
         "values": _short(often)},
        {"name": "STRENGTH", "dtype": "f4", "description": "mean SAE_ENERGY where it is active", "values": _short(mean)},
    ]  # fmt: skip
    for name, values in probes.items():
        known = np.isfinite(values)
        if name != "CLASS" and np.count_nonzero(known) >= LEAST:
            columns.append({"name": f"R_{name}", "dtype": "f4",
                            "description": f"correlation of its strength with {name} of held-out galaxies",
                            "values": _short(correlations(strength[known], values[known].astype(np.float64)))})  # fmt: skip
    return columns


def correlations(strength: Floats, values: Floats) -> Floats:
    """Pearson's correlation of each concept's strength (N, p) with values (N,); 0 of concepts that do not vary."""
    about, centred = strength - strength.mean(0), values - values.mean()
    norm = np.sqrt((about**2).sum(0) * (centred**2).sum())
    found: Floats = np.divide(centred @ about, norm, out=np.zeros(strength.shape[1]), where=norm > 0)
    return found


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
