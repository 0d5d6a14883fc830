import hashlib
import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from galcli.cutouts.batch import PixelBatch, survey_pixels
from galcli.models import devices, nvidia
from galcli.models.card import CARD_KEY, Card
from galcli.models.session import Graph, open_resampler


def card_fields(**changes):
    """Fields of the card of a model that averages pixels."""
    fields = {
        "name": "mean", "version": "1", "system": "test", "description": "mean of the pixels", "prefix": "MN",
        "fronts": [
            {"name": "flux:gri", "bands": ["g", "r", "i"], "surveys": ["sdss"]},
            {"name": "flux:grz", "bands": ["g", "r", "z"], "surveys": ["legacy", "decals"]},
            {"name": "display", "bands": ["blue", "green", "red"]},
        ],
        "size": [32, 32], "pixel_scale": 0.262,
        "outputs": [{"tensor": "mean", "column": "MEAN", "dtype": "f4", "description": "mean pixel"}],
        "training": {"data": "none", "mock": True, "objects": 0, "seed": 0, "epochs": 0, "preset": "none"},
        "licence": "BSD-3-Clause", "citation": "none",
    }  # fmt: skip
    return fields | changes


def mean_model(card, size=(32, 32), nodes=None, output=TensorProto.FLOAT, external=False, opset=18):
    """A graph with the inputs of every image model, whose output is the mean of pixels x valid + front."""
    info = helper.make_tensor_value_info
    inputs = [
        info("pixels", TensorProto.FLOAT, ["N", 3, *size]),
        info("valid", TensorProto.FLOAT, ["N", 1, *size]),
        info("front", TensorProto.INT64, ["N"]),
    ]
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    axes = numpy_helper.from_array(np.array([1, 2, 3]), "axes")
    if external:
        zero.ClearField("raw_data")
        zero.data_location = TensorProto.EXTERNAL
        for key, value in {"location": external, "offset": "0", "length": "4"}.items():
            zero.external_data.add(key=key, value=value)
    if nodes is None:
        nodes = [
            helper.make_node("Mul", ["pixels", "valid"], ["good"]),
            helper.make_node("ReduceMean", ["good", "axes"], ["average"], keepdims=0),
            helper.make_node("Cast", ["front"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["average", "number"], ["sum"]),
            helper.make_node("Add", ["sum", "zero"], ["mean"]),
        ]
    outputs = [info("mean", output, ["N"])]
    graph = helper.make_graph(nodes, "mean", inputs, outputs, [zero, axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if card is not None:
        model.metadata_props.add(key=CARD_KEY, value=card if isinstance(card, str) else json.dumps(card))
    return model.SerializeToString()


def little_resnet():
    """Two residual blocks, pooling and a linear layer, with random weights."""
    draw = np.random.default_rng(0)
    weights, nodes = [], []

    def conv(source, target, channels_in, channels_out, size, stride, after=None):
        kernel = draw.normal(0, (channels_in * size * size) ** -0.5, (channels_out, channels_in, size, size))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w_{target}"))
        weights.append(numpy_helper.from_array(draw.normal(size=channels_out).astype(np.float32), f"b_{target}"))
        pads, name = [size // 2] * 4, target if after is None else f"{target}_conv"
        inputs = [source, f"w_{target}", f"b_{target}"]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[stride] * 2, pads=pads))
        if after:
            nodes.append(helper.make_node("Add", [name, after], [target]))

    def relu(source, target):
        nodes.append(helper.make_node("Relu", [source], [target]))

    conv("pixels", "c0", 3, 32, 7, 2)
    relu("c0", "r0")
    nodes.append(helper.make_node("MaxPool", ["r0"], ["p0"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    conv("p0", "c1", 32, 32, 3, 1)
    relu("c1", "r1")
    conv("r1", "c2", 32, 32, 3, 1, after="p0")
    relu("c2", "r2")
    conv("r2", "c3", 32, 128, 3, 2)
    relu("c3", "maps")
    nodes.append(helper.make_node("GlobalAveragePool", ["maps"], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    weights.append(numpy_helper.from_array(draw.normal(size=(128, 5)).astype(np.float32), "head"))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["y"]))
    info = helper.make_tensor_value_info
    inputs = [info("pixels", TensorProto.FLOAT, ["N", 3, 96, 96])]
    outputs = [info("y", TensorProto.FLOAT, ["N", 5])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, weights)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.fixture(scope="session")
def net():
    return little_resnet()


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).normal(size=(64, 3, 96, 96)).astype(np.float32)


@pytest.fixture(scope="session")
def expected(net, images):
    return Graph(net, "net", "cpu", 1).run({"pixels": images})["y"]


@pytest.fixture
def fresh_devices():
    """Devices are asked anew, before the test and after it."""

    def forget():
        devices.usable.cache_clear()
        nvidia.missing_libraries.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def no_driver(monkeypatch, fresh_devices):
    """A machine without a GPU, whatever this one has."""
    monkeypatch.setattr(nvidia, "driver_version", lambda: None)


@pytest.fixture(scope="session")
def fields():
    return card_fields


@pytest.fixture(scope="session")
def build():
    return mean_model


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A weights folder with one default and one other model."""
    index = {}
    for name, default in (("mean", True), ("mean-too", False)):
        data = mean_model(card_fields(name=name))
        (tmp_path / f"{name}.onnx").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        index[name] = {"file": f"{name}.onnx", "sha256": digest, "size": len(data), "default": default}
    (tmp_path / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr("galcli.models.library._weights", lambda: tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def card():
    return lambda **changes: Card.model_validate(card_fields(**changes))


@pytest.fixture(scope="session")
def resampler():
    return open_resampler("cpu")


@pytest.fixture(scope="session")
def batch_of():
    def make(pixels, bands=("g", "r", "z"), kind="flux", scale=0.262, center=None):
        pixels = np.ascontiguousarray(pixels, np.float32)
        n, _, height, width = pixels.shape
        has_nan, band_has_data = survey_pixels(pixels)
        middle = np.tile([(width - 1) / 2, (height - 1) / 2], (n, 1))
        return PixelBatch(
            index=np.arange(n), pixels=pixels, bands=bands, kind=kind,
            pixel_scale=np.broadcast_to(np.float64(scale), n).copy(),
            center=middle if center is None else np.asarray(center, np.float64),
            has_nan=has_nan, band_has_data=band_has_data,
        )  # fmt: skip

    return make
