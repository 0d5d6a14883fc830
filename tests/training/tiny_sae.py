"""Sparse autoencoders made by hand: what they say of an image can be told without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.tiny_models import NO_PIXELS, Shape, backbone_of, card_of, output, save, tensor_input

Singles = NDArray[np.float32]
#: What a code must exceed.
THRESHOLD = 0.5
#: Concepts listed.
LISTED = 4
_OUTPUTS: tuple[tuple[str, str, str, tuple[int, ...], dict[str, Any]], ...] = (
    ("idx", "SAE_IDX", "i4", (LISTED,), {"null": -1}),
    ("energy", "SAE_ENERGY", "f4", (LISTED,), {}),
    ("dx", "SAE_DX", "f4", (LISTED,), {"unit": "arcsec", "sky_offset": True, "axis": "east"}),
    ("dy", "SAE_DY", "f4", (LISTED,), {"unit": "arcsec", "sky_offset": True, "axis": "north"}),
    ("size", "SAE_SIZE", "f4", (LISTED,), {"unit": "arcsec", "sky_offset": True}),
    ("fvu", "SAE_FVU", "f4", (), {}),
    ("l0", "SAE_L0", "i2", (), {"null": -1}),
)


def write_dictionary(
    path: Path, encoder: Singles, kernels: Singles, backbone: Path | None = None, blind: bool = False, **more: Any
) -> Path:  # fmt: skip
    """Codes relu(encoder x - THRESHOLD) of every pixel, or cell of the maps of `write_backbone`.

    Parameters
    ----------
    path : Path
    encoder : ndarray (p, 3)
    kernels : ndarray (p, 3, k, k)
        What a code adds around itself; k is odd.
    backbone : Path, optional
        Whose maps are coded; without it images of any size.
    blind : bool
        Do not hold what is decoded against the data.
    more
        Fields of the card.
    """
    node, reach = helper.make_node, kernels.shape[-1] // 2
    given = "pixels" if backbone is None else "maps"
    constants: dict[str, NDArray[Any]] = {
        "encoder": encoder[:, :, None, None].astype(np.float32), "decoder": kernels.astype(np.float32),
        "least": np.float32(THRESHOLD), "zero": np.array(0), "one": np.array(1), "two": np.array(2), "three": np.array(3),
        "plane": np.array([2, 3]), "all": np.array([1, 2, 3]), "concepts": np.array([1]), "k": np.array([LISTED]),
        "nothing": np.float32(0), "none": np.array(-1), "half": np.float32(0.5), "unit": np.float32(1), "high": np.array([1]),
        "wide": np.array([2, 3]),
    }  # fmt: skip
    nodes = [
        node("Identity", [given], ["inner/data"]), node("Conv", ["inner/data", "encoder"], ["seen"]),
        node("Sub", ["seen", "least"], ["inner/before"]), node("Relu", ["inner/before"], ["inner/codes"]),
        node("ConvTranspose", ["inner/codes", "decoder"], ["decoded"], pads=[reach] * 4),
        node("Add" if blind else "Sub", ["inner/data", "decoded"], ["left"]), node("Mul", ["left", "left"], ["left2"]),
        node("ReduceSum", ["left2", "all"], ["unexplained"], keepdims=0), node("Mul", ["inner/data", "inner/data"], ["data2"]),
        node("ReduceSum", ["data2", "all"], ["whole"], keepdims=0), node("Div", ["unexplained", "whole"], ["fvu"]),
        node("Mul", ["inner/codes", "inner/codes"], ["power"]), node("ReduceMean", ["power", "plane"], ["mean"], keepdims=0),
        node("Sqrt", ["mean"], ["inner/strength"]), node("TopK", ["inner/strength", "k"], ["energy", "places"], axis=1),
        node("Greater", ["energy", "nothing"], ["some"]), node("Where", ["some", "places", "none"], ["kept"]),
        node("Cast", ["kept"], ["idx"], to=TensorProto.INT32), node("Greater", ["inner/strength", "nothing"], ["on"]),
        node("Cast", ["on"], ["count"], to=TensorProto.FLOAT), node("ReduceSum", ["count", "concepts"], ["number"], keepdims=0),
        node("Cast", ["number"], ["l0"], to=TensorProto.INT16), node("ReduceSum", ["power", "plane"], ["light"], keepdims=0),
        node("Shape", ["inner/data"], ["shape"]),
    ]  # fmt: skip
    for name, axis in (("x", "three"), ("y", "two")):
        nodes += [
            node("Gather", ["shape", axis], [f"n{name}"], axis=0), node("Range", ["zero", f"n{name}", "one"], [f"i{name}"]),
            node("Cast", [f"i{name}"], [f"at{name}"], to=TensorProto.FLOAT),
            node("Cast", [f"n{name}"], [f"f{name}"], to=TensorProto.FLOAT),
            node("Sub", [f"f{name}", "unit"], [f"last{name}"]), node("Mul", [f"last{name}", "half"], [f"middle{name}"]),
            node("Sub", [f"at{name}", f"middle{name}"], [f"right{name}"]),
        ]  # fmt: skip
    nodes += [node("Neg", ["rightx"], ["east"]), node("Unsqueeze", ["righty", "high"], ["north"])]
    for name, offset in (("dx", "east"), ("dy", "north")):
        nodes += [
            node("Mul", ["power", offset], [f"m{name}"]), node("ReduceSum", [f"m{name}", "plane"], [f"s{name}"], keepdims=0),
            node("Div", [f"s{name}", "light"], [f"c{name}"]), node("GatherElements", [f"c{name}", "places"], [name], axis=1),
            node("Unsqueeze", [f"c{name}", "wide"], [f"u{name}"]), node("Sub", [offset, f"u{name}"], [f"d{name}"]),
            node("Mul", [f"d{name}", f"d{name}"], [f"q{name}"]),
        ]  # fmt: skip
    nodes += [
        node("Add", ["qdx", "qdy"], ["away"]), node("Mul", ["power", "away"], ["moment"]),
        node("ReduceSum", ["moment", "plane"], ["second"], keepdims=0), node("Div", ["second", "light"], ["square"]),
        node("Sqrt", ["square"], ["extent"]), node("GatherElements", ["extent", "places"], ["size"], axis=1),
    ]  # fmt: skip
    concepts, cells = len(kernels), ["h", "w"] if backbone is None else [4, 4]
    tensors: dict[str, tuple[Any, Shape]] = {
        "idx": (TensorProto.INT32, [LISTED]), "fvu": (TensorProto.FLOAT, []), "l0": (TensorProto.INT16, []),
        **{name: (TensorProto.FLOAT, [LISTED]) for name in ("energy", "dx", "dy", "size")},
        "inner/strength": (TensorProto.FLOAT, [concepts]), "inner/codes": (TensorProto.FLOAT, [concepts, *cells]),
        "inner/data": (TensorProto.FLOAT, [3, *cells]), "inner/before": (TensorProto.FLOAT, [concepts, *cells]),
    }  # fmt: skip
    columns = [output(tensor, column, dtype, shape, **rest) for tensor, column, dtype, shape, rest in _OUTPUTS]
    how: dict[str, Any] = {"size": None, "pixel_scale": None, "least_side": 9}
    if backbone is not None:
        how = NO_PIXELS | {"inputs": [tensor_input("maps", (3, 4, 4))], "backbone": backbone_of(backbone)}
    card = card_of(path.stem, "SAE", columns, **{"system": "sae"} | how | more)
    return save(path, nodes, tensors, constants, card)
