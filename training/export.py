"""From a torch module to a model file: float16 weights, an ONNX graph, the proof that both say the same, the card.

The order matters: weights are rounded first, so that the proof, the calibration and the metrics all belong to the
very numbers that are stored.

>>> freeze(module, example)                       # fold batch norms, round the weights
>>> graph = to_onnx(module, example, outputs)     # onnx, opset 18, any number of objects
>>> prove(module, graph, sample)                  # or fail (training/proof.py)
>>> ...                                           # calibrate (training/calibrate.py), export again, measure
>>> save(graph, card, path)
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import galcli
from galcli.errors import ModelError
from galcli.models.card import CARD_KEY, Card
from galcli.models.library import INDEX, inspect, sealed
from galcli.tables.atomic import atomic_write
from galcli.training.make_resample import IR_VERSION, OPSET
from galcli.training.proof import Inputs, difference, outputs_of

#: Weights with at least this many elements are stored as float16.
BIG = 1024
#: Control flow, and operators that the CUDA provider of onnxruntime lacks.
FORBIDDEN = frozenset({"If", "Loop", "Scan", "SequenceMap", "DFT", "STFT", "Mish", "Rfft", "Irfft"})


def freeze(module: nn.Module, example: Inputs) -> None:
    """Fold batch norms into convolutions and round big weights to float16 values, in place.

    Parameters
    ----------
    module : nn.Module
        Goes to evaluation mode. Parameters with ``BIG`` or more elements become exact float16 values (in float32
        tensors); smaller ones and buffers stay as they are.
    example : mapping of str to Tensor
        Inputs by name, on which folding is checked.

    Raises
    ------
    ModelError
        If folding changes the outputs by more than 1e-3, or a weight is beyond float16.
    """
    module.eval()
    with torch.no_grad():
        before = outputs_of(module, example)
        _fold(module)
        for number, (old, new) in enumerate(zip(before, outputs_of(module, example), strict=True)):
            if old.is_floating_point() and difference(old.numpy(), new.numpy()) > 1e-3:
                raise ModelError(f"folding batch norms changes output {number}", "name them conv1/bn1, conv2/bn2, ...")
        for name, parameter in module.named_parameters():
            if parameter.numel() >= BIG:
                rounded = parameter.half().float()
                if not bool(rounded.isfinite().all()):
                    raise ModelError(f"weights {name} are too large for float16", "train with weight decay")
                parameter.copy_(rounded)


def _fold(module: nn.Module) -> None:
    """Fold each batch norm into its convolution: conv1/bn1 of one module, or neighbours in a Sequential."""
    for parent in list(module.modules()):
        children = dict(parent.named_children())
        names = list(children)
        for place, name in enumerate(names):
            norm = children[name]
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            partner = names[place - 1] if isinstance(parent, nn.Sequential) else name.replace("bn", "conv")
            conv = children.get(partner)
            if isinstance(conv, nn.Conv2d):
                setattr(parent, partner, fuse_conv_bn_eval(conv, norm))
                setattr(parent, name, nn.Identity())


def to_onnx(
    module: nn.Module, example: Inputs, outputs: Sequence[str], least_side: int | None = None
) -> onnx.ModelProto:
    """Export a frozen module; the same weights always give the same bytes.

    Parameters
    ----------
    module : nn.Module
        ``forward(**example)`` returns one tensor per output, each (N, ...).
    example : mapping of str to Tensor (N, ...)
        Inputs in the order of ``forward``; N at least 2.
    outputs : sequence of str
        Names of the outputs.
    least_side : int, optional
        Images may have any size from this on, in px; without it they have that of the example.

    Returns
    -------
    onnx.ModelProto
        Float16 weights followed by a Cast that onnxruntime folds when it opens the file; float32 compute.

    Raises
    ------
    ModelError
        If the graph holds an operator that may not be used.
    """
    dim = torch.export.Dim
    free = {0: dim("N")}
    sides = free if least_side is None else free | {2: dim("H", min=least_side), 3: dim("W", min=least_side)}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(), kwargs=dict(example), dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            input_names=list(example), output_names=list(outputs),
            dynamic_shapes={name: sides if value.ndim == 4 else free for name, value in example.items()},
        )  # fmt: skip
    if program is None:
        raise ModelError("torch exported nothing", "see the messages of torch.onnx")
    model = copy.deepcopy(program.model_proto)
    _check_operators(model)
    _shrink(model.graph)
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what torch's exporter says about itself: deprecations of its own code, libraries it looked for."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", "# The axis name: [NHW]", UserWarning)  # one name for all is meant
            yield
    finally:
        logger.setLevel(level)


def _check_operators(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type in FORBIDDEN:
            raise ModelError(f"the graph holds the operator {node.domain}{node.op_type}", "write it in plain operators")
        if node.op_type == "Einsum" and len(node.input) > 2:
            raise ModelError("the graph holds an Einsum of three operands", "write it as MatMuls")


def _shrink(graph: onnx.GraphProto) -> None:
    """Store big weights as float16 where that loses nothing."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < BIG:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what differs between machines: stack traces with paths, versions of the exporter."""
    graph = model.graph
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "galcli", galcli.__version__
    del graph.value_info[:]
    parts = [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]


def save(model: onnx.ModelProto, card: Card, path: Path) -> None:
    """Write a model file whole or not at all, after checking it as `galcli predict` would.

    Parameters
    ----------
    model : onnx.ModelProto
    card : Card
    path : Path

    Raises
    ------
    ModelError
        If the graph does not fit the card.
    OutputError
        If the file cannot be written.
    """
    model = copy.deepcopy(model)
    del model.metadata_props[:]
    text = json.dumps(card.model_dump(mode="json", exclude_defaults=True), separators=(",", ":"))
    model.metadata_props.add(key=CARD_KEY, value=text)
    data = sealed(model.SerializeToString(deterministic=True))
    inspect(data, str(path))
    atomic_write(path, data)


def add_to_index(path: Path, default: bool) -> None:
    """Enter a model file into ``index.json`` of its folder, so that it is found by name and its bytes are verified.

    An int8 twin goes into the entry of its model, which must be there; ``default`` is that of the model.
    """
    data = path.read_bytes()
    index_path = path.with_name(INDEX)
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    card = inspect(data, str(path))
    facts = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    if card.precision == "fp32":
        index[card.name] = facts | {"default": default}
    elif index.get(card.name, {}).get("sha256") == card.twin_of:
        index[card.name]["int8"] = facts
    else:
        raise ModelError(f"{path}: the index does not list the model whose twin this is", "enter that model first")
    atomic_write(index_path, (json.dumps(index, indent=1) + "\n").encode())
