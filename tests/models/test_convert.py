"""Graphs rewritten for the CUDA provider, run on the CPU."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from galcli.models import library
from galcli.models.convert import for_cuda
from galcli.models.session import Graph
from tests.models.test_shipped import feeds_of

#: Operators of the shipped models that CUDA has kernels for, in float32 (docs/OperatorKernels.md of onnxruntime 1.31).
ON_CUDA = {
    "Abs", "Add", "ArgMax", "AveragePool", "Cast", "Clip", "Conv", "Div", "Equal", "Exp", "Expand", "Gather",
    "GatherElements", "GatherND", "Gemm", "Greater", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "MaxPool",
    "Min", "Mul", "Pad", "Pow", "Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Sign",
    "Slice", "Sqrt", "Squeeze", "Sub", "TopK", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
#: Shipped models and their number of convolutions.
SHIPPED = {"sfnet-metallicity": 20, "sfnet-lines": 20, "spectra": 38, "spectra-vae-decoder": 0}


def model_of(nodes, inputs, outputs, weights):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def types_of(data):
    """Element type of every tensor of a graph, inferred; proves the graph well-formed too."""
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    known = {
        info.name: info.type.tensor_type.elem_type for info in [*inferred.value_info, *inferred.input, *inferred.output]
    }
    return known | {tensor.name: tensor.data_type for tensor in inferred.initializer}, inferred.node


def emulated(data):
    """The halved graph in float32, each float16 value rounded to 11 bits as a GPU would.

    onnxruntime on the CPU leaves out casts to float16 and back, and with them the rounding.
    """
    graph = onnx.load_model_from_string(data).graph
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    for tensor in list(graph.initializer):
        if tensor.name in stored:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    graph.initializer.append(numpy_helper.from_array(np.float32(2**13 + 1), "split"))
    nodes = []
    for node in graph.node:
        name = node.output[0]
        if node.op_type == "Cast" and node.input[0] in stored | {f"{name}/half"}:
            node = helper.make_node("Identity", [node.input[0]], [name])  # noqa: PLW2901
        elif name.endswith("/half"):
            if node.op_type == "Cast":
                node = helper.make_node("Identity", [node.input[0]], [f"{name}/whole"])  # noqa: PLW2901
            node.output[0] = f"{name}/whole"
            nodes += [node, helper.make_node("Mul", [f"{name}/whole", "split"], [f"{name}/a"]),
                      helper.make_node("Sub", [f"{name}/a", f"{name}/whole"], [f"{name}/b"])]  # fmt: skip
            node = helper.make_node("Sub", [f"{name}/a", f"{name}/b"], [name])  # noqa: PLW2901
        nodes.append(node)
    model = onnx.load_model_from_string(data)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    model.graph.CopyFrom(graph)
    return model.SerializeToString()


def test_asinh_is_spelled_out_to_the_last_digits():
    data = model_of([helper.make_node("Asinh", ["x"], ["y"])], {"x": ["N"]}, {"y": ["N"]}, {})
    changed = for_cuda(data, half=False)
    assert "Asinh" not in {node.op_type for node in onnx.load_model_from_string(changed).graph.node}
    x = np.concatenate([np.geomspace(1e-30, 1e9, 4001), np.linspace(0.2, 0.3, 1001)]).astype(np.float32)
    x = np.concatenate([-x, [0.0], x]).astype(np.float32)
    found = Graph(changed, "asinh", "cpu").run({"x": x})["y"]
    exact = np.arcsinh(x.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-37)


def test_graph_without_a_convolution_stays_in_float32():
    data = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 2]},
                    {"w": np.ones((4, 2), np.float32)})  # fmt: skip
    assert onnx.load_model_from_string(for_cuda(data, half=True)) == onnx.load_model_from_string(data)


def test_convolutions_and_what_lies_between_are_halved(net, images, expected):
    types, nodes = types_of(for_cuda(net, half=True))
    for node in nodes:
        kind = types[node.output[0]]
        if node.op_type in ("Conv", "Relu", "Add", "MaxPool"):
            assert kind == TensorProto.FLOAT16, node.name
        elif node.op_type in ("GlobalAveragePool", "Flatten", "MatMul"):
            assert kind == TensorProto.FLOAT, node.name
    assert sum(node.op_type == "Cast" for node in nodes) == 2  # in and out
    for form in (for_cuda(net, half=True), emulated(for_cuda(net, half=True))):
        found = Graph(form, "net", "cpu").run({"pixels": images})["y"]
        assert not np.array_equal(found, expected)
        np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())


def test_weights_stored_as_float16_are_taken_as_they_are(images):
    draw = np.random.default_rng(2)
    nodes = [
        helper.make_node("Cast", ["w.half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "w", "b"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["y"]),
    ]
    weights = {"w.half": draw.normal(size=(4, 3, 3, 3)).astype(np.float16), "b": np.ones(4, np.float32)}
    data = model_of(nodes, {"pixels": ["N", 3, 96, 96]}, {"y": ["N", 4, 94, 94]}, weights)
    changed = onnx.load_model_from_string(for_cuda(data, half=True)).graph
    conv = next(node for node in changed.node if node.op_type == "Conv")
    assert list(conv.input) == ["pixels/half", "w.half", "b/half"]
    assert [node.output[0] for node in changed.node if node.op_type == "Cast"] == ["pixels/half", "y"]
    found, exact = (
        Graph(form, "g", "cpu").run({"pixels": images[:2]})["y"] for form in (for_cuda(data, half=True), data)
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, atol=2e-2)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("half", [False, True])
def test_shipped_model_runs_on_cuda_kernels_alone(name, half):
    changed = for_cuda(library.find(name).path.read_bytes(), half=half)
    types, nodes = types_of(changed)
    assert {node.op_type for node in nodes} <= ON_CUDA
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert len(convolutions) == SHIPPED[name]
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    for node in convolutions:
        assert {types[name] for name in [*node.input, *node.output]} == {kind}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_in_float16_says_the_same(name):
    model = library.find(name)
    data, feeds = model.path.read_bytes(), feeds_of(model)
    forms = (data, emulated(for_cuda(data, half=True)), for_cuda(data, half=False))
    exact, found, same = (Graph(form, name, "cpu").run(feeds) for form in forms)
    for output in model.card.outputs:
        if exact[output.tensor].dtype.kind != "f" or output.sky_offset:
            continue
        a, b, c = (values[output.tensor] for values in (exact, found, same))
        spread = max(float(np.std(a)), 0.05)
        np.testing.assert_allclose(c, a, atol=1e-4 * max(1, float(np.abs(a).max())), err_msg=output.column)
        assert np.sqrt(np.mean((a - b) ** 2)) < 0.005 * spread, output.column


def test_file_and_its_seal_stay_as_they_are():
    path = library.find(next(iter(SHIPPED))).path
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    changed = onnx.load_model_from_string(for_cuda(path.read_bytes(), half=True))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert {item.key for item in changed.metadata_props} == {item.key for item in onnx.load(path).metadata_props}
