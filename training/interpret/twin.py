"""The torch twin of a DMAGNet's model file, for what needs gradients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from galcli.errors import ModelError
from galcli.models import library
from galcli.models.card import Card
from galcli.models.library import ModelFile
from galcli.models.session import Session
from galcli.training import export, seeds
from galcli.training.networks.dmagnet import DMAGNet
from galcli.training.pixels import Pixels
from galcli.training.proof import Inputs, compare

Floats = NDArray[np.float32]
#: Outputs of the file that the twin must reproduce, in the order of `_require_same`.
_COMPARED = ("inner/logits", "inner/pooled", "inner/attention", "inner/lam", "inner/branches")
_HINT = "give a model file of `galcli train dmagnet`"


@dataclass(frozen=True)
class Twin:
    """A DMAGNet in torch that says what its model file says.

    Attributes
    ----------
    network : DMAGNet
        In evaluation mode, weights frozen, batch norms folded into the convolutions; float32 on the CPU.
    pixels : Pixels
        From pixels on the model's grid to the network's input.
    file : ModelFile
        Where it comes from.
    difference : float
        Largest max|torch - onnxruntime| / max(1, |y|) on random images.
    """

    network: DMAGNet
    pixels: Pixels
    file: ModelFile
    difference: float

    @property
    def card(self) -> Card:
        """The card of the model file."""
        return self.file.card


def read_twin(name_or_path: str | Path) -> Twin:
    """Rebuild the network of a DMAGNet model file, and prove that both agree.

    Parameters
    ----------
    name_or_path : str or Path
        As for `library.find`.

    Returns
    -------
    Twin

    Raises
    ------
    ModelError
        If there is no such file, it is damaged or no DMAGNet in float32, or the twin says something else.
    """
    file = library.find(name_or_path, "fp32")
    if file.card.system != "dmagnet" or file.card.size is None:
        raise ModelError(f"{file.path}: not a DMAGNet in float32", _HINT)
    network, pixels = _network(file), _pixels(file)
    return Twin(network, pixels, file, _require_same(file, network, pixels))


def _pixels(file: ModelFile) -> Pixels:
    """The colour mapping; its normalisation is that of the card, as in every model with these fronts."""
    card, details = file.card, file.card.training.details
    try:
        mean, std = details["normalisation_mean"], details["normalisation_std"]
        return Pixels([front.name for front in card.fronts], mean, std, float(card.pixel_scale or 0))
    except (KeyError, ValueError) as error:
        raise ModelError(f"{file.path}: its card lacks the normalisation or a known front: {error}", _HINT) from None


def _network(file: ModelFile) -> DMAGNet:
    """DMAGNet with the numbers of the file's graph."""
    layers = _layers(onnx.load_model_from_string(file.path.read_bytes()).graph)
    if "head.fc" not in layers:
        raise ModelError(f"{file.path}: its graph holds no DMAGNet", _HINT)
    network = DMAGNet(len(layers["head.fc"].weight))
    export.freeze(network, {"x": torch.zeros(1, 3, 32, 32)})  # folds the batch norms, as in the file
    named = {name: name.rpartition(".") for name in network.state_dict()}
    if foreign := set(layers) - {stem for stem, _, _ in named.values()}:
        raise ModelError(f"{file.path}: a DMAGNet has no layer {min(foreign)}", _HINT)
    state = {
        name: torch.tensor(getattr(layers[stem], kind)) for name, (stem, _, kind) in named.items() if stem in layers
    }
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise ModelError(f"{file.path}: its weights are not those of a DMAGNet", _HINT) from None
    return network.requires_grad_(False)


class _Layer(NamedTuple):
    """A convolution or linear layer: its weight, and its bias, of which the exporter writes none where all are zero."""

    weight: Floats
    bias: Floats


def _layers(graph: onnx.GraphProto) -> dict[str, _Layer]:
    """Layers of the network by their names in it."""
    stored: dict[str, NDArray[Any]] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # big weights are stored in half precision, with a cast behind each
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    layers = {}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in stored:
            weight = stored[node.input[1]].astype(np.float32)
            bias = stored[node.input[2]].astype(np.float32) if len(node.input) > 2 else np.zeros(len(weight), "f4")
            layers[node.input[1].removeprefix("network.").removesuffix(".weight")] = _Layer(weight, bias)
    return layers


def _require_same(file: ModelFile, network: DMAGNet, pixels: Pixels) -> float:
    """Largest difference between twin and file on random images, through each front; refuse a twin that differs."""
    draw, count = seeds.generator(0), len(pixels.fronts)
    size = file.card.size or (0, 0)
    inputs = {
        "pixels": torch.rand(count, 3, *size, generator=draw) ** 4,
        "valid": torch.ones(count, 1, *size), "front": torch.arange(count),
    }  # fmt: skip
    session = Session(file, "cpu")
    if missing := set(_COMPARED) - set(session.outputs):
        raise ModelError(f"{file.path}: its graph lacks the output {min(missing)}", _HINT)
    found = session.run({name: value.numpy() for name, value in inputs.items()}, _COMPARED)

    def says(given: Inputs) -> list[torch.Tensor]:
        seen = network.trace(pixels(**given))
        return [seen.logits, seen.hidden, seen.attention, seen.lam, torch.stack(seen.shares, 1)]

    try:
        return compare(says, inputs, found, str(file.path))
    except ModelError as error:
        raise ModelError(
            error.message, "the file was changed, or made by another version of galcli: train and export anew"
        ) from None
