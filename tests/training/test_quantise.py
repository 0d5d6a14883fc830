import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from galcli.errors import ModelError
from galcli.models.session import Graph
from galcli.training import export, quantise

SIDE = 12


def network(seed=0, dead=()):
    """Two convolutions with a pooling and a shortcut between them, and a mean at the end; the weights in float16."""
    draw = np.random.default_rng(seed)
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 16, 3, 3)}
    values = {name: draw.normal(0, 0.3, shape) for name, shape in shapes.items()}
    values["w2"][list(dead)] = 0
    initializers, nodes = [], []
    for name, value in values.items():
        initializers.append(numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        initializers.append(numpy_helper.from_array(draw.normal(0, 1, 16).astype(np.float32), f"b{name[1]}"))
    initializers.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    pads = {"pads": [1, 1, 1, 1]}
    nodes += [
        helper.make_node("Conv", ["pixels", "w1", "b1"], ["c1"], **pads),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], **pads),
        helper.make_node("Add", ["c2", "p1"], ["a2"]),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], **pads),
        helper.make_node("Relu", ["c3"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "axes"], ["pooled"], keepdims=0),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "network", [info("pixels", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [info("pooled", TensorProto.FLOAT, ["N", 16])],
        initializers,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", export.OPSET)], ir_version=9)


def feeds(count, seed=1):
    return {"pixels": np.random.default_rng(seed).normal(0.5, 1, (count, 3, SIDE, SIDE)).astype(np.float32)}


def run(model, given):
    return Graph(model.SerializeToString(), "network", "cpu").run(given)


def constants(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.fixture(scope="module")
def ranges():
    return quantise.measure_ranges(network(), [feeds(64)])


@pytest.fixture(scope="module")
def twin(ranges):
    return quantise.quantise(network(), ranges)


def test_twin_says_nearly_the_same(twin):
    given = feeds(50, seed=2)
    expected, found = run(network(), given), run(twin, given)
    spread = expected["pooled"].std()
    error = found["pooled"] - expected["pooled"]
    assert 0 < np.abs(error).max() < 0.1 * spread
    assert abs(error.mean()) < 0.01 * spread


def test_weights_have_a_scale_per_channel(twin):
    before, after = constants(network()), constants(twin)
    weight = before["w2.half"].astype(np.float32)
    np.testing.assert_allclose(after["w2.scale"], np.abs(weight).max((1, 2, 3)) / 127, rtol=1e-6)
    assert after["w2.int8"].dtype == np.int8
    assert (np.abs(after["w2.int8"]).max((1, 2, 3)) == 127).all()
    restored = after["w2.int8"] * after["w2.scale"][:, None, None, None]
    assert (np.abs(restored - weight) <= 0.5001 * after["w2.scale"][:, None, None, None]).all()
    bias = after["w2.bias.int32"] * after["w2.bias.scale"].astype(float)
    np.testing.assert_allclose(bias, before["b2"], atol=after["w2.bias.scale"].max())


def test_nothing_is_stored_twice(twin):
    names = set(constants(twin))
    assert not {"w1.half", "b1"} & names
    assert len(names) == len(twin.graph.initializer)
    assert names == {name for node in twin.graph.node for name in node.input} & names


def test_what_lies_between_convolutions_is_8_bit_and_nothing_else(twin, ranges):
    assert list(ranges) == ["pixels", "r1", "p1", "c2", "r2", "maps"]
    after = constants(twin)
    assert after["p1.scale"] == after["r1.scale"]  # else onnxruntime pools in float32
    kinds = collections.Counter(node.op_type for node in twin.graph.node)
    assert kinds["QuantizeLinear"] == 6
    assert kinds["Cast"] == 0


def test_onnxruntime_computes_it_in_whole_numbers(twin, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(twin.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = collections.Counter(node.op_type for node in onnx.load(tmp_path / "opened.onnx").graph.node)
    assert kinds["QLinearConv"] == 3
    assert kinds["QLinearAdd"] == 1
    assert kinds["Conv"] == kinds["FusedConv"] == kinds["Add"] == kinds["Relu"] == 0
    assert kinds["QuantizeLinear"] == 1


def test_same_bytes_each_time(twin, ranges):
    again = quantise.quantise(network(), quantise.measure_ranges(network(), [feeds(64)]))
    assert again.SerializeToString(deterministic=True) == twin.SerializeToString(deterministic=True)


def test_rows_do_not_depend_on_their_batch(twin):
    given = feeds(23, seed=3)
    whole = run(twin, given)
    for size in (1, 4, 7):
        parts = [run(twin, {"pixels": given["pixels"][first : first + size]}) for first in range(0, 23, size)]
        for name, expected in whole.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)


def test_ranges_leave_out_whole_objects_and_hold_zero():
    given = feeds(200)
    given["pixels"][:, :] += 10
    given["pixels"][7] *= 1000
    found = quantise.measure_ranges(network(), [{"pixels": part} for part in np.array_split(given["pixels"], 3)])
    extremes = np.delete(given["pixels"], 7, axis=0).max((1, 2, 3))
    assert found["pixels"][0] == 0
    assert np.quantile(extremes, 0.98) < found["pixels"][1] <= extremes.max()
    assert all(low <= 0 <= high for low, high in found.values())


def test_a_channel_without_weights_keeps_its_bias(ranges):
    model = network(dead=[3])
    after = constants(quantise.quantise(model, ranges))
    found = after["w2.bias.int32"][3] * after["w2.bias.scale"][3].astype(float)
    assert found == pytest.approx(constants(model)["b2"][3], rel=1e-4)
    assert not after["w2.int8"][3].any()


def test_sample_that_breaks_the_network():
    given = feeds(4)
    given["pixels"][0, 0, 0, 0] = np.inf
    with pytest.raises(ModelError, match="not finite"):
        quantise.measure_ranges(network(), [given])


def test_graph_without_convolutions():
    model = network()
    nodes = [helper.make_node("ReduceMean", ["pixels", "axes"], ["pooled"], keepdims=0)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(ModelError, match="no convolution"):
        quantise.measure_ranges(model, [feeds(2)])
