import pytest

from galcli.errors import DeviceError
from galcli.models.placement import Node, nodes_of, on_the_cpu, require_on_gpu
from galcli.models.session import Graph

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize("operator", ["Conv", "Gemm", "MatMul", "Relu", "Asinh", "FusedConv", "Softmax", "a new one"])
def test_float_arithmetic_on_the_cpu_is_named(operator):
    nodes = [Node(CUDA, "Conv", "first"), Node(CPU, operator, "second"), Node(CPU, "Shape", "third")]
    assert on_the_cpu(nodes) == nodes[1:2]
    with pytest.raises(DeviceError) as caught:
        require_on_gpu(nodes, "model.onnx", CUDA)
    assert f"{operator} (second)" in caught.value.message
    assert "--device" in caught.value.hint


def test_shapes_may_be_computed_on_the_cpu():
    nodes = [Node(CPU, operator, "") for operator in ("Shape", "Gather", "Concat", "Unsqueeze", "Slice", "Cast", "Mul")]
    assert on_the_cpu(nodes) == []
    require_on_gpu([*nodes, Node(CUDA, "Conv", "")], "model.onnx", CUDA)


def test_many_strays_are_counted():
    with pytest.raises(DeviceError, match="and 17 more"):
        require_on_gpu([Node(CPU, "Conv", f"c{i}") for i in range(20)], "model.onnx", CUDA)


def test_nodes_of_a_real_session(net):
    nodes = nodes_of(Graph(net, "net", "cpu").session)
    assert nodes is not None
    assert {node.provider for node in nodes} == {CPU}
    assert sum("Conv" in node.operator for node in nodes) == 4
    assert {node.operator for node in on_the_cpu(nodes)} >= {"GlobalAveragePool", "MatMul"}


def test_older_versions_do_not_tell(net):
    assert nodes_of(object()) is None
    assert Graph(net, "net", "cpu").placed
