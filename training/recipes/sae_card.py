"""What the card of a sparse autoencoder says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galcli.models.library import ModelFile
from galcli.training.networks.fourier import least_side
from galcli.training.networks.robust import BORDER
from galcli.training.recipes.fronts import fronts
from galcli.training.recipes.sae_plan import TITLES, Design

PREFIX, VERSION = "SAE", "1"
CITATION = "Sparse autoencoder neural operators (Tolooshams, Shen & Anandkumar 2025)"
#: Table that describes the concepts.
CONCEPTS = f"{PREFIX}_CONCEPTS"
#: Input of autoencoders of inner maps.
MAPS = "maps"
#: Names of shipped backbones in the names of their autoencoders.
_SHORT = {"sfnet-metallicity": "sfnet"}


def name_of(design: Design, backbone: ModelFile | None) -> str:
    """``sae-fno`` and the like for images; for inner maps ``sae-`` and the model, with the kind unless it is mlp."""
    if backbone is None:
        return f"sae-{design.kind}"
    kind = "" if design.kind == "mlp" else f"-{design.kind}"
    return f"sae-{_SHORT.get(backbone.name, backbone.name)}{kind}"


def fields(info: dict[str, Any], design: Design, backbone: ModelFile | None, offered: Sequence[str]) -> dict[str, Any]:
    """The card but for metrics, calibration, domain and table.

    Parameters
    ----------
    info : dict
        What the weights tell of their training.
    design : Design
    backbone : ModelFile or None
        The model whose maps are coded.
    offered : sequence of str
        Fronts of an autoencoder of images.
    """
    told = ("data", "mock", "objects", "seed", "epochs", "preset", "recipe")
    training = {
        "data": info["data"] or "mock survey", "mock": info["mock"], "objects": info["objects"], "seed": info["seed"],
        "epochs": round(info["epochs"], 2), "preset": info["preset"],
        "details": {name: value for name, value in info.items() if name not in told},
    }  # fmt: skip
    return {
        "name": name_of(design, backbone), "version": VERSION, "system": "sae", "prefix": PREFIX,
        "description": f"Concepts of {_subject(info, backbone)}: which, where, how strongly ({TITLES[design.kind]}, "
        f"{design.concepts} concepts)",
        "outputs": outputs(design), "training": training, "licence": "BSD-3-Clause", "citation": CITATION,
        **(_images(design, offered) if backbone is None else _maps(info, design, backbone)),
    }  # fmt: skip


def _subject(info: dict[str, Any], backbone: ModelFile | None) -> str:
    return "images" if backbone is None else f"{info['layer']} of {backbone.name}"


def _images(design: Design, offered: Sequence[str]) -> dict[str, Any]:
    least = {"fno": least_side(design.extent), "cnn": design.extent, "mlp": design.patch}[design.kind]
    return {"fronts": fronts(offered), "least_side": max(least, 2 * BORDER + 1)}


def _maps(info: dict[str, Any], design: Design, backbone: ModelFile) -> dict[str, Any]:
    shape = info["shape"]
    wanted = {"name": MAPS, "shape": shape, "description": f"{info['layer']} of {backbone.name}"}
    bindings = {f"inner/{info['layer']}": MAPS}
    return {
        "inputs": [wanted],
        "backbone": {"name": backbone.name, "sha256": backbone.sha256, "bindings": bindings},
    }  # fmt: skip


def outputs(design: Design) -> list[dict[str, Any]]:
    """Columns of the card."""
    each = {"dtype": "f4", "shape": (design.listed,)}
    sky = each | {"unit": "arcsec", "sky_offset": True}
    return [
        {"tensor": "idx", "column": "SAE_IDX", "dtype": "i4", "shape": (design.listed,), "null": -1, "ucd": "meta.code",
         "description": f"strongest active concepts, in descending order: rows of {CONCEPTS}; -1: no more"},
        each | {"tensor": "energy", "column": "SAE_ENERGY", "ucd": "stat.value",
                "description": "root mean square of the concept's map; 0 where there is none"},
        sky | {"tensor": "dx", "column": "SAE_DX", "axis": "east", "ucd": "pos.eq.ra;arith.diff",
               "description": "centroid of the concept's energy: offset to the east"},
        sky | {"tensor": "dy", "column": "SAE_DY", "axis": "north", "ucd": "pos.eq.dec;arith.diff",
               "description": "centroid of the concept's energy: offset to the north"},
        sky | {"tensor": "size", "column": "SAE_SIZE", "ucd": "phys.angSize",
               "description": "root mean square distance of the concept's energy from that centroid"},
        {"tensor": "fvu", "column": "SAE_FVU", "dtype": "f4", "ucd": "stat.param",
         "description": "fraction of variance that the concepts leave unexplained; of images mostly noise of their pixels"},
        {"tensor": "l0", "column": "SAE_L0", "dtype": "i2", "null": -1, "ucd": "meta.number",
         "description": "how many concepts are active, listed or not"},
    ]  # fmt: skip
