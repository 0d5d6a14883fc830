"""What the card of a network of galaxy morphology says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galcli.training.galaxy10 import NAMES
from galcli.training.networks.dmagnet import BRANCHES
from galcli.training.recipes.fronts import fronts

NAME, PREFIX, VERSION = "dmagnet", "MORPH", "1"
CITATION = "DMAGNet; classes of Galaxy10 DECaLS (Leung & Bovy) from Galaxy Zoo (Walmsley et al. 2022, MNRAS 509, 3966)"
#: Table that says which class has which number.
CLASSES = f"{PREFIX}_CLASSES"


def fields(info: dict[str, Any], offered: Sequence[str]) -> dict[str, Any]:
    """The card but for metrics and calibration.

    Parameters
    ----------
    info : dict
        What the weights tell of their training.
    offered : sequence of str
        Fronts of the model.
    """
    told = (
        "data",
        "mock",
        "objects",
        "seed",
        "epochs",
        "preset",
        "size",
        "recipe",
        "label_column",
        "classes",
        "mean",
        "std",
    )
    training = {
        "data": info["data"] or "mock survey", "mock": info["mock"], "objects": info["objects"], "seed": info["seed"],
        "epochs": round(info["epochs"], 2), "preset": info["preset"],
        "labels": [{"output": f"{PREFIX}_CLASS", "column": info["label_column"], "minimum": -0.5}],
        "details": {name: value for name, value in info.items() if name not in told}
        | {"normalisation_mean": info["mean"], "normalisation_std": info["std"]},
    }  # fmt: skip
    numbers = list(range(len(NAMES)))
    return {
        "name": NAME, "version": VERSION, "system": "dmagnet", "prefix": PREFIX,
        "description": "Morphology in the ten classes of Galaxy10, where the network looked, and how large its kernels",
        "fronts": fronts(offered), "size": (info["size"], info["size"]), "pixel_scale": info["pixel_scale"],
        "outputs": outputs(), "training": training, "domain": {"column": f"{PREFIX}_OOD"},
        "tables": [{
            "name": CLASSES, "description": f"the classes in the order of {PREFIX}_PROB",
            "columns": [
                {"name": "CLASS", "dtype": "i2", "description": f"number, as in {PREFIX}_CLASS", "values": numbers},
                {"name": "NAME", "dtype": f"A{_width()}", "description": "name, as in Galaxy10 DECaLS",
                 "values": list(NAMES)},
            ],
        }],
        "licence": "BSD-3-Clause", "citation": CITATION,
    }  # fmt: skip


def _width() -> int:
    return max(map(len, NAMES))


def outputs() -> list[dict[str, Any]]:
    """Columns of the card."""
    offset = {"dtype": "f4", "unit": "arcsec", "sky_offset": True}
    return [
        {"tensor": "class", "column": "MORPH_CLASS", "dtype": "i2", "null": -1, "ucd": "meta.code.class;src.morph.type",
         "description": "most probable class, 0 to 9 in the order of Galaxy10 DECaLS"},
        {"tensor": "class", "column": "MORPH_LABEL", "dtype": "A28", "ucd": "meta.id;src.morph.type",
         "description": "name of MORPH_CLASS", "labels": list(NAMES)},
        {"tensor": "prob", "column": "MORPH_PROB", "dtype": "f4", "shape": (len(NAMES),), "ucd": "stat.probability",
         "description": f"calibrated probability of each class, in the order of {CLASSES}"},
        {"tensor": "entropy", "column": "MORPH_ENTROPY", "dtype": "f4", "scale": "nat", "ucd": "stat.value",
         "description": "entropy of MORPH_PROB: 0 where it is sure, 2.3 where it knows nothing"},
        offset | {"tensor": "att_dx", "column": "MORPH_ATT_DX", "ucd": "pos.eq.ra;arith.diff",
                  "description": "centroid of where the network looked, in cells of 32 px: offset to the east"},
        offset | {"tensor": "att_dy", "column": "MORPH_ATT_DY", "ucd": "pos.eq.dec;arith.diff",
                  "description": "centroid of where the network looked, in cells of 32 px: offset to the north"},
        {"tensor": "rf", "column": "MORPH_RF", "dtype": "f4", "shape": (len(BRANCHES),), "ucd": "stat.value",
         "description": f"share of {', '.join(BRANCHES)} kernels in the last stage, sum 1"},
        {"tensor": "ood", "column": "MORPH_OOD", "dtype": "f4", "ucd": "stat.param",
         "description": "distance from the training sample; 99 % of similar galaxies lie below 1"},
    ]  # fmt: skip
