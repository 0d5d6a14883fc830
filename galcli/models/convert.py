"""A model's graph made ready for the CUDA provider: operators it lacks are spelled out, convolutions go to float16.

The file stays as it is: the graph is changed in memory, after its SHA-256 was checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

#: Coefficients of asinh(x) = x + c1 x^3 + c2 x^5 + ..., to x^9.
_ASINH_SERIES = (1.0, -1 / 6, 3 / 40, -15 / 336, 105 / 3456)
#: Below it the series holds to float32; above it the logarithm does.
_ASINH_SMALL = 0.25

#: What is computed in float16 from float16 alone, so that convolutions hand their maps on as they are.
_BETWEEN = frozenset({"Add", "AveragePool", "Clip", "Concat", "LeakyRelu", "MaxPool", "Mul", "Relu", "Sigmoid"})


def for_cuda(data: bytes, *, half: bool) -> bytes:
    """Rewrite a graph for the CUDA provider.

    Parameters
    ----------
    data : bytes
        A whole ONNX model.
    half : bool
        Compute convolutions and what lies between them in float16, with the weights that the file stores as float16.
        Colours, normalisation, pooling and heads stay float32.

    Returns
    -------
    bytes
    """
    import onnx

    model = onnx.load_model_from_string(data)
    _spell_out_asinh(model.graph)
    if half:
        _halve(model.graph)
    return bytes(model.SerializeToString())


def _spell_out_asinh(graph: Any) -> None:
    """Replace Asinh, which has no CUDA kernel, by its series near 0 and sign(x) log(|x| + sqrt(x^2 + 1)) elsewhere."""
    from onnx import helper, numpy_helper

    if not any(node.op_type == "Asinh" for node in graph.node):
        return
    constants = {f"c{power}": value for power, value in enumerate(_ASINH_SERIES)} | {"small": _ASINH_SMALL}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"asinh/{name}"))
    nodes = []
    for node in graph.node:
        nodes += [node] if node.op_type != "Asinh" else [
            helper.make_node(operator, inputs, [output], f"{node.name}/{output}")
            for operator, inputs, output in _asinh_steps(node.input[0], node.output[0])
        ]  # fmt: skip
    _set_nodes(graph, nodes)


def _asinh_steps(x: str, y: str) -> Iterable[tuple[str, list[str], str]]:
    """Operator, inputs and output of each step from ``x`` to ``y = asinh(x)``."""

    def inner(name: str) -> str:
        return f"{y}/asinh/{name}"

    yield "Mul", [x, x], inner("square")
    yield "Mul", ["asinh/c4", inner("square")], inner("sum4")
    for power in (3, 2, 1):
        yield "Add", [f"asinh/c{power}", inner(f"sum{power + 1}")], inner(f"part{power}")
        yield "Mul", [inner(f"part{power}"), inner("square")], inner(f"sum{power}")
    yield "Add", ["asinh/c0", inner("sum1")], inner("part0")
    yield "Mul", [x, inner("part0")], inner("series")
    yield "Abs", [x], inner("length")
    yield "Add", [inner("square"), "asinh/c0"], inner("radicand")
    yield "Sqrt", [inner("radicand")], inner("root")
    yield "Add", [inner("length"), inner("root")], inner("argument")
    yield "Log", [inner("argument")], inner("log")
    yield "Sign", [x], inner("sign")
    yield "Mul", [inner("sign"), inner("log")], inner("far")
    yield "Less", [inner("length"), "asinh/small"], inner("near")
    yield "Where", [inner("near"), inner("series"), inner("far")], y


def _halve(graph: Any) -> None:
    """Compute convolutions, and what lies between them, in float16."""
    from onnx import helper

    weights = _HalfWeights(graph)
    halved: set[str] = set()  # tensors of which there is a float16 form, called <name>/half
    chosen: set[int] = set()
    for number, node in enumerate(graph.node):
        maps = [name for name in node.input if name and not weights.known(name)]
        if (node.op_type == "Conv" and len(maps) == 1) or (
            node.op_type in _BETWEEN and maps and halved.issuperset(maps) and len(node.output) == 1
        ):
            chosen.add(number)
            halved.update(node.output)
    wanted = {name for number, node in enumerate(graph.node) if number not in chosen for name in node.input}
    wanted |= {output.name for output in graph.output}
    nodes, there = [], set(halved)
    for number, node in enumerate(graph.node):
        if number not in chosen:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name and weights.known(name):
                node.input[place] = weights.half(name)
            elif name:
                if name not in there:
                    there.add(name)
                    nodes.append(helper.make_node("Cast", [name], [f"{name}/half"], f"{name}/to_half", to=_FLOAT16))
                node.input[place] = f"{name}/half"
        output = node.output[0]
        node.output[0] = f"{output}/half"
        nodes.append(node)
        if output in wanted:
            nodes.append(helper.make_node("Cast", [f"{output}/half"], [output], f"{output}/to_float", to=_FLOAT))
    _set_nodes(graph, nodes)


_FLOAT, _FLOAT16 = 1, 10  # onnx.TensorProto's numbers


class _HalfWeights:
    """The float weights of a graph, and their float16 form."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._held = {tensor.name: tensor for tensor in graph.initializer}
        self._stored: dict[str, str] = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "Cast" and node.input[0] in self._held
            and self._held[node.input[0]].data_type == _FLOAT16
        }  # fmt: skip

    def known(self, name: str) -> bool:
        """Whether a tensor is a constant."""
        return name in self._held or name in self._stored

    def half(self, name: str) -> str:
        """Name of the float16 form of a constant: as the file stores it, or rounded now."""
        from onnx import numpy_helper

        if name in self._stored:
            return self._stored[name]
        tensor = self._held[name]
        if tensor.data_type != _FLOAT:
            return name
        rounded = f"{name}/half"
        if rounded not in self._held:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            self._held[rounded] = numpy_helper.from_array(values, rounded)
            self._graph.initializer.append(self._held[rounded])
        return rounded


def _set_nodes(graph: Any, nodes: list[Any]) -> None:
    """Put the nodes that are used in place of those there were."""
    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    kept = [node for node in nodes if used.intersection(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
