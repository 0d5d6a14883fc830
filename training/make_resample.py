"""Writes ``galcli/models/resample.onnx``: ``python -m galcli.training.make_resample``.

Two products of matrices, ``Ay P Axᵀ``, for each object and band: the resampling of `galcli.models.grid`.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Both are understood by onnxruntime 1.20 and later.
OPSET = 18
IR_VERSION = 10


def resample_model() -> onnx.ModelProto:
    """Graph with ``pixels (N,C,H,W)``, ``ay (N,h,H)``, ``ax (N,w,W)`` -> ``resampled (N,C,h,w)``, all float32."""
    kind = TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info("pixels", kind, ["N", "C", "H", "W"]),
        helper.make_tensor_value_info("ay", kind, ["N", "h", "H"]),
        helper.make_tensor_value_info("ax", kind, ["N", "w", "W"]),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["ay", "band_axis"], ["rows"]),
        helper.make_node("Transpose", ["ax"], ["ax_t"], perm=[0, 2, 1]),
        helper.make_node("Unsqueeze", ["ax_t", "band_axis"], ["columns"]),
        helper.make_node("MatMul", ["rows", "pixels"], ["half"]),
        helper.make_node("MatMul", ["half", "columns"], ["resampled"]),
    ]
    outputs = [helper.make_tensor_value_info("resampled", kind, ["N", "C", "h", "w"])]
    axis = numpy_helper.from_array(np.array([1], np.int64), "band_axis")
    graph = helper.make_graph(nodes, "resample", inputs, outputs, [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "galcli"
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the graph into the package."""
    path = Path(str(importlib.resources.files("galcli.models"))) / "resample.onnx"
    path.write_bytes(resample_model().SerializeToString(deterministic=True))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
