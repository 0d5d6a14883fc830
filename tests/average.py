"""A model that only averages pixels: what is left of a run's time is galcli's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

BANDS = "grz"


def card(size: int | None = 144, scale: float | None = 0.262, **changes: Any) -> dict[str, Any]:
    """Card of the averaging model."""
    return {
        "name": "average",
        "version": "1.0",
        "system": "test",
        "description": "mean flux per band",
        "prefix": "AVG",
        "fronts": [
            {"name": "flux:grz", "bands": ["g", "r", "z"]},
            {"name": "display", "bands": ["blue", "green", "red"]},
        ],
        "size": [size, size] if size else None,
        "pixel_scale": scale,
        "outputs": [
            {"tensor": "mean", "column": "AVG_FLUX", "dtype": "f4", "shape": [3], "description": "mean pixel per band"}
        ],
        "training": {"data": "none", "mock": False, "objects": 0, "seed": 0, "epochs": 0, "preset": "none"},
        "licence": "BSD-3-Clause",
        "citation": "none",
    } | changes


def write_average(path: Path, size: int | None = 144, scale: float | None = 0.262, **changes: Any) -> Path:
    """Write the averaging model as ONNX."""
    side: Any = size or "size"
    inputs = [
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, side, side]),
        helper.make_tensor_value_info("valid", TensorProto.FLOAT, ["N", 1, side, side]),
        helper.make_tensor_value_info("front", TensorProto.INT64, ["N"]),
    ]
    outputs = [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 3])]
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0)
    graph = helper.make_graph([node], "average", inputs, outputs, [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"galcli.card": json.dumps(card(size, scale, **changes))})
    onnx.save(model, path)
    return path
