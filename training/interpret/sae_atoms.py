"""What the concepts of a sparse autoencoder look like: its decoder, cut out of the model file and asked for each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from galcli.errors import ModelError
from galcli.models.library import ModelFile
from galcli.models.session import Graph, Session

Singles = NDArray[np.float32]
#: Tensors of the model file between which the decoder lies.
CODES, DATA = "inner/codes", "inner/data"
#: Numbers of codes that are decoded at once.
_AT_ONCE = 1 << 24
#: Answer beside the cell that is asked for, over that in it, below which a decoder works cell by cell.
_NOTHING = 1e-6


class Decoder:
    """From codes to data, as the model file has it; whatever its weights are called and however they are stored.

    Parameters
    ----------
    file : ModelFile
        With the outputs ``inner/codes`` and ``inner/data``.
    threads : int
        0: all cores.

    Attributes
    ----------
    concepts : int
        p.
    bands : int
        Channels of an image, or of the inner maps.
    patch : int
        Side of the patches that are one cell, in px; 1 where cells are pixels, or cells of inner maps.

    Raises
    ------
    ModelError
        If the graph does not show what is decoded from the codes.
    """

    def __init__(self, file: ModelFile, threads: int = 0) -> None:
        model = onnx.load_model_from_string(file.path.read_bytes())
        self._output, decoder = _cut(model, str(file.path))
        self._graph = Graph(decoder.SerializeToString(), f"decoder of {file.path}", "cpu", threads)
        session, card = Session(file, "cpu", threads=threads), file.card
        if card.native:
            side, self.bands = card.least_side or 1, len(card.fronts[0].bands)
            pixels = np.zeros((1, self.bands, side, side), np.float32)
            self._blank: dict[str, NDArray[Any]] = {
                "pixels": pixels,
                "valid": pixels[:, :1] + 1,
                "front": np.zeros(1, np.int64),
            }
            channels, *self._cells = session.run(self._blank, [DATA])[DATA].shape[1:]
            self.patch = math.isqrt(channels // self.bands)
        else:
            self.bands, *self._cells = card.inputs[0].shape
            self._blank = {card.inputs[0].name: np.zeros((1, self.bands, *self._cells), np.float32)}
            self.patch = 1
        self.concepts = int(session.outputs["inner/strength"].shape[1] or 0)

    def kernels(self, concepts: Sequence[int] | NDArray[np.int64]) -> Singles:
        """What one unit of each concept in the middle adds to the data.

        Parameters
        ----------
        concepts : sequence of int

        Returns
        -------
        ndarray (len(concepts), bands, h, w), float32
            On the smallest grid that the model takes; row 0 = south. Decoders that work cell by cell give a vector of
            channels (h = w = 1), or a patch.
        """
        wanted = np.asarray(concepts, np.int64)
        if self._cellwise(wanted[:1]):
            found = self._packed(wanted)
            return found.reshape(len(found), self.bands, self.patch, self.patch)
        middle = [length // 2 for length in self._cells]
        places = np.tile(middle, (len(wanted), 1))
        return np.concatenate([self._answers(part, places[: len(part)]) for part in self._parts(wanted)])

    def atoms(self, concepts: Sequence[int] | NDArray[np.int64]) -> Singles:
        """The kernels as vectors of norm 1, (len(concepts), D)."""
        flat = self.kernels(concepts).reshape(len(concepts), -1)
        unit: Singles = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        return unit

    def _cellwise(self, some: NDArray[np.int64]) -> bool:
        """Whether a code changes no cell but its own."""
        height, width = self._cells
        if height * width == 1 or not len(some):
            return True
        answer = np.abs(self._answers(some, np.zeros((len(some), 2), np.int64))).max((0, 1))
        return bool(answer.ravel()[1:].max() <= _NOTHING * answer[0, 0])

    def _packed(self, concepts: NDArray[np.int64]) -> Singles:
        """Vectors (len(concepts), channels) of a decoder that works cell by cell: every cell is asked for another one."""
        _, width = self._cells
        cells = math.prod(self._cells)
        found = []
        for part in self._parts(concepts, cells):
            number, cell = np.divmod(np.arange(len(part)), cells)
            y, x = np.divmod(cell, width)
            codes = np.zeros((number[-1] + 1, self.concepts, *self._cells), np.float32)
            codes[number, part, y, x] = 1
            found.append(self._decoded(codes)[number, :, y, x])
        return np.concatenate(found)

    def _answers(self, concepts: NDArray[np.int64], places: NDArray[np.int64]) -> Singles:
        """Maps (n, channels, h, w) of a unit of each concept at its place."""
        codes = np.zeros((len(concepts), self.concepts, *self._cells), np.float32)
        codes[np.arange(len(concepts)), concepts, places[:, 0], places[:, 1]] = 1
        return self._decoded(codes)

    def _decoded(self, codes: Singles) -> Singles:
        """What codes say beyond what none would say."""
        nothing = self._run(np.zeros_like(codes[:1]))
        return self._run(codes) - nothing

    def _run(self, codes: Singles) -> Singles:
        # The graph may ask inputs for their shape.
        blank = {name: np.repeat(values, len(codes), 0) for name, values in self._blank.items()}
        feeds = {name: values for name, values in (blank | {CODES: codes}).items() if name in self._graph.inputs}
        decoded: Singles = self._graph.run(feeds)[self._output]
        return decoded

    def _parts(self, concepts: NDArray[np.int64], packed: int = 1) -> list[NDArray[np.int64]]:
        """Concepts in parts that memory holds the codes of."""
        rows = max(1, _AT_ONCE // (self.concepts * math.prod(self._cells))) * packed
        return [concepts[first : first + rows] for first in range(0, len(concepts), rows)]


def _cut(model: onnx.ModelProto, where: str) -> tuple[str, onnx.ModelProto]:
    """What is held against the data, and the graph that makes it of the codes."""
    graph = model.graph
    made = {CODES}
    for node in graph.node:
        if made.intersection(node.input):
            made.update(node.output)
    said = [
        name
        for node in graph.node
        if node.op_type == "Sub" and DATA in node.input
        for name in node.input
        if name in made
    ]
    if len(said) != 1:
        raise ModelError(f"{where}: its graph does not show what it decodes from its codes",
                         "give a model file of `galcli train sae`")  # fmt: skip
    needed, nodes = {said[0]}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output) and CODES not in node.output:
            nodes.append(node)
            needed.update(node.input)
    inputs = [helper.make_tensor_value_info(CODES, TensorProto.FLOAT, ["N", "p", "h", "w"])]
    inputs += [one for one in graph.input if one.name in needed]
    output = helper.make_tensor_value_info(said[0], TensorProto.FLOAT, None)
    held = [tensor for tensor in graph.initializer if tensor.name in needed]
    cut = helper.make_graph(nodes[::-1], "decoder", inputs, [output], held)
    return said[0], helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)
