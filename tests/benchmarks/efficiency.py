"""How much of the machine the model gets: the whole of ``predict`` against a bare onnxruntime loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from galcli.errors import GalcliError
from galcli.models import library
from galcli.predict.engine import MAX_BATCH
from galcli.predict.run import predict
from tests.average import card
from tests.benchmarks.measure import Result, alternate
from tests.benchmarks.survey import SCALE, Silent, noise, options, write_stacks

FILES, EACH, SIDE, REPEATS = 2, 2048, 144, 3
IMAGES = FILES * EACH
SHIPPED = "sfnet-metallicity"


def run(folder: Path) -> list[Result]:
    """Predict with the shipped SFNet (a network of its size where there is none) and run the same graph bare."""
    import onnxruntime

    try:
        model = library.find(SHIPPED).path
    except GalcliError:
        model = write_resnet18(folder / "resnet18.onnx")
    write_stacks(folder, FILES, EACH, SIDE)
    chosen = options(folder, model)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feeds = {
        "pixels": noise(MAX_BATCH, SIDE, seed=0),
        "valid": np.ones((MAX_BATCH, 1, SIDE, SIDE), np.float32),
        "front": np.zeros(MAX_BATCH, np.int64),
    }
    session.run(None, feeds)

    def bare() -> None:
        for _ in range(IMAGES // MAX_BATCH):
            session.run(None, feeds)

    loop, whole = alternate([bare, lambda: predict(chosen, Silent())], REPEATS)
    facts = {"model": model.name, "bare images/s": IMAGES / loop, "predict images/s": IMAGES / whole, "images": IMAGES}
    return [Result("efficiency: predict / bare loop", loop / whole, "", 0.95, facts=facts)]


def write_resnet18(path: Path) -> Path:
    """Write a network of the shape of ResNet-18 with random weights, and the averaging model's card."""
    draw = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[TensorProto] = []

    def weight(*shape: int) -> str:
        name = f"w{len(weights)}"
        values = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    def conv(x: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
        pads = [kernel // 2] * 4
        return add("Conv", x, weight(channels[1], channels[0], kernel, kernel), strides=[stride] * 2, pads=pads)

    x = add("Relu", conv("pixels", (3, 64), 7, 2))
    x = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    before = 64
    for width, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            inner = add("Relu", conv(x, (before, width), 3, stride))
            kept = x if (stride, before) == (1, width) else conv(x, (before, width), 1, stride)
            x = add("Relu", add("Add", conv(inner, (width, width), 3, 1), kept))
            before = width
    flat = add("Flatten", add("GlobalAveragePool", x))
    nodes.append(helper.make_node("MatMul", [flat, weight(512, 3)], ["mean"]))
    return _save(path, nodes, weights)


def _save(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> Path:
    inputs = [
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, SIDE, SIDE]),
        helper.make_tensor_value_info("valid", TensorProto.FLOAT, ["N", 1, SIDE, SIDE]),
        helper.make_tensor_value_info("front", TensorProto.INT64, ["N"]),
    ]
    outputs = [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 3])]
    graph = helper.make_graph(nodes, "resnet18", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"galcli.card": json.dumps(card(SIDE, SCALE, name="resnet18"))})
    onnx.save(model, path)
    return path
