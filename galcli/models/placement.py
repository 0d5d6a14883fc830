"""Where the nodes of a graph run: onnxruntime moves what a provider lacks to the CPU with a log line only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from galcli.errors import DeviceError

#: Operators that also do the arithmetic of shapes and indices, which onnxruntime keeps on the CPU on purpose. All of
#: them have kernels for floats on a GPU, so they never come to the CPU for want of one.
_SHAPE_ARITHMETIC = frozenset({
    "Add", "And", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Flatten", "Gather",
    "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not",
    "Or", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Shape", "Size", "Slice", "Split",
    "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A node of the graph that is run, and the provider it was given to."""

    provider: str
    operator: str
    name: str


def nodes_of(session: Any) -> list[Node] | None:
    """The nodes of an open session; None where this version of onnxruntime does not tell."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    return [Node(part.ep_name, node.op_type, node.name) for part in ask() for node in part.get_nodes()]


def on_the_cpu(nodes: Iterable[Node]) -> list[Node]:
    """The nodes that compute floats on the CPU in a graph meant for a GPU."""
    return [node for node in nodes if node.provider.startswith("CPU") and node.operator not in _SHAPE_ARITHMETIC]


def require_on_gpu(nodes: Iterable[Node], where: str, provider: str) -> None:
    """Refuse a graph that would copy its pixels to the CPU and back for some nodes.

    Raises
    ------
    DeviceError
        Naming the nodes.
    """
    strays = on_the_cpu(nodes)
    if strays:
        shown = ", ".join(f"{node.operator} ({node.name})" if node.name else node.operator for node in strays[:3])
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        raise DeviceError(
            f"{where}: {provider} cannot run {shown}{more}, which would run on the CPU",
            "use --device tensorrt or --device cpu, or export the model without these operators",
        )
