"""Tiny ONNX models, each with one property that a test needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.average import card as average_card

Shape = Sequence[int | str]
_TYPES = {"f4": TensorProto.FLOAT, "i8": TensorProto.INT64}


def output(tensor: str, column: str, dtype: str = "f4", shape: Sequence[int] = (), **more: Any) -> dict[str, Any]:
    """An output as the card lists it."""
    return {
        "tensor": tensor,
        "column": column,
        "dtype": dtype,
        "shape": list(shape),
        "description": f"tensor {tensor}",
        **more,
    }


def tensor_input(name: str, shape: Sequence[int] = (), dtype: str = "f4") -> dict[str, Any]:
    """An input that another model feeds, as the card lists it."""
    return {"name": name, "dtype": dtype, "shape": list(shape), "description": f"tensor {name}"}


def save(
    path: Path, nodes: list[Any], outputs: dict[str, tuple[Any, Shape]], constants: dict[str, NDArray[Any]],
    card: dict[str, Any],
) -> Path:  # fmt: skip
    """Write a graph with the inputs its card asks for."""
    height, width = card["size"] or ("h", "w")
    info = helper.make_tensor_value_info
    inputs = []
    if card["fronts"]:
        inputs = [
            info("pixels", TensorProto.FLOAT, ["N", 3, height, width]),
            info("valid", TensorProto.FLOAT, ["N", 1, height, width]),
            info("front", TensorProto.INT64, ["N"]),
        ]
    if card.get("columns"):
        inputs.append(info("columns", TensorProto.FLOAT, ["N", len(card["columns"])]))
    inputs += [
        info(tensor["name"], _TYPES[tensor["dtype"]], ["N", *tensor["shape"]]) for tensor in card.get("inputs", ())
    ]
    wanted = [info(name, kind, ["N", *shape]) for name, (kind, shape) in outputs.items()]
    held = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, card["name"], inputs, wanted, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"galcli.card": json.dumps(card)})
    onnx.save(model, path)
    return path


def card_of(name: str, prefix: str, outputs: list[dict[str, Any]], size: int = 16, **more: Any) -> dict[str, Any]:
    """A card like the averaging model's."""
    return average_card(size, 0.262, name=name, prefix=prefix, outputs=outputs, **more)


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change_card(path: Path, **changes: Any) -> None:
    """Change fields of the card of a model file."""
    model = onnx.load(path)
    card = json.loads(model.metadata_props[0].value) | changes
    helper.set_model_props(model, {"galcli.card": json.dumps(card)})
    onnx.save(model, path)


def write_corners(path: Path, size: int = 16) -> Path:
    """The four corner pixels of each band, (3, 2, 2): tells orientation and band order."""
    steps = np.array([1, 1, size - 1, size - 1], np.int64)
    constants = {
        "from": np.zeros(4, np.int64), "to": np.array([2**31, 2**31, size, size], np.int64),
        "axes": np.arange(4, dtype=np.int64), "steps": steps,
    }  # fmt: skip
    node = helper.make_node("Slice", ["pixels", "from", "to", "axes", "steps"], ["corners"])
    card = card_of("corners", "CRN", [output("corners", "CRN_FLUX", shape=(3, 2, 2))], size)
    return save(path, [node], {"corners": (TensorProto.FLOAT, [3, 2, 2])}, constants, card)


def write_logarithm(path: Path, size: int = 16) -> Path:
    """Natural logarithm of the mean of band g: NaN where that is negative."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Gather", ["means", "zero"], ["g"], axis=1),
        helper.make_node("Log", ["g"], ["log"]),
    ]
    constants = {"axes": np.array([2, 3]), "zero": np.array(0, np.int64)}
    card = card_of("logarithm", "LOG", [output("log", "LOG_G", unit="nat")], size)
    return save(path, nodes, {"log": (TensorProto.FLOAT, [])}, constants, card)


def write_classes(path: Path, size: int = 16, names: tuple[str, ...] = ("green", "red", "infrared")) -> Path:
    """The brightest band as a number and as a name, and a table of the names."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("ArgMax", ["means"], ["number"], axis=1, keepdims=0),
    ]
    card = card_of(
        "classes", "CLS",
        [output("number", "CLS_NR", "i2", null=-1, description="row of CLS_NAMES"),
         output("number", "CLS_NAME", "A8", labels=list(names))], size,
        tables=[
            {"name": "CLS_NAMES", "description": "names", "columns": [
                {"name": "NR", "dtype": "i2", "description": "number", "values": [0, 1, 2]},
                {"name": "LABEL", "dtype": "A8", "description": "name", "values": list(names)},
            ]},
        ],
    )  # fmt: skip
    return save(path, nodes, {"number": (TensorProto.INT64, [])}, {"axes": np.array([2, 3])}, card)


def write_flags(path: Path, size: int = 16) -> Path:
    """The mean of each band, whether it is above 5, and both for band g alone: numbers and truth values, also as vectors."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Greater", ["means", "five"], ["high"]),
        helper.make_node("Gather", ["means", "zero"], ["g"], axis=1),
        helper.make_node("Gather", ["high", "zero"], ["g_high"], axis=1),
    ]
    constants = {"axes": np.array([2, 3]), "five": np.array(5, np.float32), "zero": np.array(0, np.int64)}
    tensors = {
        "g": (TensorProto.FLOAT, []), "g_high": (TensorProto.BOOL, []),
        "means": (TensorProto.FLOAT, [3]), "high": (TensorProto.BOOL, [3]),
    }  # fmt: skip
    columns = [
        output("g", "FLG_G"), output("g_high", "FLG_HIGH", "b1"),
        output("means", "FLG_MEANS", shape=(3,)), output("high", "FLG_HIGHS", "b1", (3,)),
    ]  # fmt: skip
    return save(path, nodes, tensors, constants, card_of("flags", "FLG", columns, size))


def write_network(path: Path, size: int = 16, seed: int = 0) -> Path:
    """Two convolutions, a pooling and a linear layer with random weights: sums of many terms, as in a real model."""
    rng = np.random.default_rng(seed)
    constants = {
        "w1": rng.normal(0, 0.3, (16, 3, 3, 3)).astype(np.float32), "b1": rng.normal(0, 1, 16).astype(np.float32),
        "w2": rng.normal(0, 0.1, (32, 16, 3, 3)).astype(np.float32), "b2": rng.normal(0, 1, 32).astype(np.float32),
        "w3": rng.normal(0, 0.3, (32, 5)).astype(np.float32), "b3": rng.normal(0, 1, 5).astype(np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["pixels", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["y"]),
    ]
    card = card_of("network", "NET", [output("y", "NET_Y", shape=(5,))], size)
    return save(path, nodes, {"y": (TensorProto.FLOAT, [5])}, constants, card)


def write_chain(folder: Path, size: int = 16) -> tuple[Path, Path]:
    """An encoder (mean per band, and their sum on request) with two chained readers: one always, one on request.

    Returns
    -------
    encoder, reader : Path
        The reader doubles what it is fed; a copy of it, ``spectra``, is the one on request.
    """
    readers = {}
    for name, prefix in (("doubler", "DBL"), ("spectra", "SPC")):
        columns, inputs = [output("double", f"{prefix}_VALUE", shape=(3,))], [tensor_input("latent", (3,))]
        card = card_of(name, prefix, columns, inputs=inputs, **NO_PIXELS)
        node = helper.make_node("Add", ["latent", "latent"], ["double"])
        readers[name] = save(folder / f"{name}.onnx", [node], {"double": (TensorProto.FLOAT, [3])}, {}, card)
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["inner/latent"], keepdims=0),
        helper.make_node("ReduceSum", ["inner/latent", "one"], ["sum"], keepdims=0),
    ]
    bindings = {"inner/latent": "latent"}
    card = card_of(
        "encoder", "ENC", [output("sum", "ENC_SUM"), output("sum", "ENC_MORE", group="more")], size,
        chain=[link_to(readers["doubler"], bindings), link_to(readers["spectra"], bindings, "spectra")],
    )  # fmt: skip
    tensors = {"inner/latent": (TensorProto.FLOAT, [3]), "sum": (TensorProto.FLOAT, [])}
    encoder = save(folder / "encoder.onnx", nodes, tensors, {"axes": np.array([2, 3]), "one": np.array([1])}, card)
    return encoder, readers["doubler"]


def write_backbone(path: Path, **more: Any) -> Path:
    """The sum of the mean pixels of a cutout of 16 x 16, and means of 4 x 4 pixels for others: ``inner/maps`` (3, 4, 4)."""
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["inner/maps"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ReduceMean", ["inner/maps", "plane"], ["means"], keepdims=0),
        helper.make_node("ReduceSum", ["means", "band"], ["sum"], keepdims=0),
    ]
    tensors = {"inner/maps": (TensorProto.FLOAT, [3, 4, 4]), "sum": (TensorProto.FLOAT, [])}
    constants = {"plane": np.array([2, 3]), "band": np.array([1])}
    card = card_of(path.stem, "BBN", [output("sum", "BBN_SUM")], **more)
    return save(path, nodes, tensors, constants, card)


#: Concepts of `write_autoencoder`.
CONCEPTS = 5


def dictionary(seed: int) -> NDArray[np.float32]:
    """Encoder of `write_autoencoder`, (48, CONCEPTS)."""
    return np.random.default_rng(seed).normal(0, 0.1, (48, CONCEPTS)).astype(np.float32)


def write_autoencoder(
    path: Path, backbone: Path, seed: int = 0, bindings: dict[str, str] | None = None,
    fed: dict[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """Rectified codes of the maps of `write_backbone`, by its `dictionary`; the card names the backbone.

    The tensor ``total`` is the sum of the codes, for cards that list it.
    """
    fed = fed or tensor_input("maps", (3, 4, 4))
    nodes = [
        helper.make_node("Flatten", [fed["name"]], ["flat"]),
        helper.make_node("MatMul", ["flat", "dictionary"], ["product"]),
        helper.make_node("Relu", ["product"], ["codes"]),
        helper.make_node("ReduceSum", ["codes", "axis"], ["total"], keepdims=0),
    ]
    if fed["dtype"] != "f4":
        nodes.insert(0, helper.make_node("Cast", [fed["name"]], ["cast"], to=TensorProto.FLOAT))
        nodes[1].input[0] = "cast"
    card = card_of(
        path.stem, "SAE", [output("codes", "SAE_CODE", shape=(CONCEPTS,))], inputs=[fed],
        **NO_PIXELS | {"backbone": backbone_of(backbone, bindings)} | more,
    )  # fmt: skip
    rows = int(np.prod(fed["shape"]))
    constants = {"dictionary": np.resize(dictionary(seed), (rows, CONCEPTS)), "axis": np.array([1])}
    tensors: dict[str, tuple[Any, Shape]] = {"codes": (TensorProto.FLOAT, [CONCEPTS]), "total": (TensorProto.FLOAT, [])}
    return save(path, nodes, tensors, constants, card)


def backbone_of(path: Path, bindings: dict[str, str] | None = None) -> dict[str, Any]:
    """A model file as the card of one that it feeds names it."""
    return {"name": path.stem, "sha256": sha256(path), "bindings": bindings or {"inner/maps": "maps"}}


def write_native(path: Path, **more: Any) -> Path:
    """Where the light is, for cutouts of any size: its centroid in band g, px east and north of the middle.

    Beside the two columns NAT_DX and NAT_DY there are the sums of rectified convolutions, NAT_Y, and the offset for
    others: ``inner/offset`` (2,).
    """
    draw, node = np.random.default_rng(3), helper.make_node
    constants: dict[str, NDArray[Any]] = {
        "kernel": draw.normal(0, 0.3, (4, 3, 5, 5)).astype(np.float32), "zero": np.array(0), "one": np.array(1),
        "two": np.array(2), "three": np.array(3), "half": np.float32(0.5), "unit": np.float32(1),
        "plane": np.array([1, 2]), "high": np.array([1]),
    }  # fmt: skip
    nodes = [
        node("Conv", ["pixels", "kernel"], ["conv"], pads=[2, 2, 2, 2]), node("Relu", ["conv"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["pool"]), node("Flatten", ["pool"], ["y"]),
        node("Gather", ["pixels", "zero"], ["g"], axis=1), node("ReduceSum", ["g", "plane"], ["light"], keepdims=1),
        node("Div", ["g", "light"], ["share"]), node("Shape", ["pixels"], ["shape"]),
    ]  # fmt: skip
    for name, axis in (("x", "three"), ("y", "two")):
        nodes += [
            node("Gather", ["shape", axis], [f"n{name}"], axis=0),
            node("Range", ["zero", f"n{name}", "one"], [f"places{name}"]),
            node("Cast", [f"places{name}"], [f"at{name}"], to=TensorProto.FLOAT),
            node("Cast", [f"n{name}"], [f"f{name}"], to=TensorProto.FLOAT),
            node("Sub", [f"f{name}", "unit"], [f"last{name}"]), node("Mul", [f"last{name}", "half"], [f"middle{name}"]),
            node("Sub", [f"at{name}", f"middle{name}"], [f"line{name}"]),
        ]  # fmt: skip
    nodes += [
        node("Unsqueeze", ["liney", "high"], ["columny"]),
        node("Mul", ["share", "linex"], ["momentx"]), node("Mul", ["share", "columny"], ["momenty"]),
        node("ReduceSum", ["momentx", "plane"], ["right"], keepdims=0),
        node("ReduceSum", ["momenty", "plane"], ["dy"], keepdims=0), node("Neg", ["right"], ["dx"]),
        node("Unsqueeze", ["dx", "high"], ["dx1"]), node("Unsqueeze", ["dy", "high"], ["dy1"]),
        node("Concat", ["dx1", "dy1"], ["inner/offset"], axis=1),
    ]  # fmt: skip
    columns = [
        output("dx", "NAT_DX", unit="arcsec", sky_offset=True, axis="east"),
        output("dy", "NAT_DY", unit="arcsec", sky_offset=True, axis="north"),
        output("y", "NAT_Y", shape=(4,)),
    ]  # fmt: skip
    tensors: dict[str, tuple[Any, Shape]] = {
        "dx": (TensorProto.FLOAT, []), "dy": (TensorProto.FLOAT, []), "y": (TensorProto.FLOAT, [4]),
        "inner/offset": (TensorProto.FLOAT, [2]),
    }  # fmt: skip
    card = card_of(path.stem, "NAT", columns, **{"size": None, "pixel_scale": None} | more)
    return save(path, nodes, tensors, constants, card)


def input_column(name: str, quantity: str = "mag", **more: Any) -> dict[str, Any]:
    """A catalogue column as the card lists it: a magnitude in AB, or what ``more`` says."""
    return {"name": name, "quantity": quantity} | ({"system": "AB"} if quantity == "mag" else {}) | more


def write_columns(path: Path, columns: Sequence[dict[str, Any]], prefix: str = "COL", **more: Any) -> Path:
    """What a model is fed with catalogue columns, column for column, 0 where there is none, and which were there.

    Beside the tensors of the columns COL_SEEN and COL_THERE there is one for others: ``inner/seen`` (K,).
    """
    count = len(columns)
    nodes = [
        helper.make_node("IsNaN", ["columns"], ["missing"]), helper.make_node("Not", ["missing"], ["there"]),
        helper.make_node("Where", ["missing", "zero", "columns"], ["seen"]),
        helper.make_node("Identity", ["seen"], ["inner/seen"]),
    ]  # fmt: skip
    tensors: dict[str, tuple[Any, Shape]] = {
        "seen": (TensorProto.FLOAT, [count]), "there": (TensorProto.BOOL, [count]),
        "inner/seen": (TensorProto.FLOAT, [count]),
    }  # fmt: skip
    told = [
        output("seen", f"{prefix}_SEEN", shape=(count,)), output("there", f"{prefix}_THERE", "b1", shape=(count,)),
    ]  # fmt: skip
    card = card_of(path.stem, prefix, told, **NO_PIXELS | {"columns": list(columns)} | more)
    return save(path, nodes, tensors, {"zero": np.array(0, np.float32)}, card)


#: Width of the hidden layers of `write_perceptron`; odd, so that no row fills whole registers.
PERCEPTRON = 27


def write_perceptron(path: Path, columns: Sequence[dict[str, Any]], prefix: str = "MLP", **more: Any) -> Path:
    """A perceptron of catalogue columns, and what depends on how onnxruntime groups numbers: logarithms and sums of rows."""
    draw, widths = np.random.default_rng(5), (len(columns), PERCEPTRON, PERCEPTRON, 7)
    constants: dict[str, NDArray[Any]] = {"axis": np.array([1])}
    nodes, name = [], "columns"
    for layer, (before, after) in enumerate(pairwise(widths)):
        constants[f"w{layer}"] = (draw.normal(size=(before, after)) / np.sqrt(before)).astype(np.float32)
        constants[f"b{layer}"] = draw.normal(size=after).astype(np.float32)
        nodes += [
            helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [f"sum{layer}"]),
            helper.make_node("Softplus", [f"sum{layer}"], [f"soft{layer}"]),
        ]
        name = f"soft{layer}"
    nodes += [
        helper.make_node("Identity", [name], ["y"]), helper.make_node("Log", [name], ["log"]),
        helper.make_node("ReduceSum", ["log", "axis"], ["total"], keepdims=0),
        helper.make_node("ReduceMean", ["soft0", "axis"], ["mean"], keepdims=0),
    ]  # fmt: skip
    tensors: dict[str, tuple[Any, Shape]] = {
        "y": (TensorProto.FLOAT, [7]), "log": (TensorProto.FLOAT, [7]), "total": (TensorProto.FLOAT, []),
        "mean": (TensorProto.FLOAT, []),
    }  # fmt: skip
    told = [
        output("y", f"{prefix}_Y", shape=(7,)), output("log", f"{prefix}_LOG", shape=(7,)),
        output("total", f"{prefix}_TOTAL"), output("mean", f"{prefix}_MEAN"),
    ]  # fmt: skip
    card = card_of(path.stem, prefix, told, **NO_PIXELS | {"columns": list(columns)} | more)
    return save(path, nodes, tensors, constants, card)


def write_both(path: Path, columns: Sequence[dict[str, Any]], prefix: str = "BTH", **more: Any) -> Path:
    """The mean pixel of each band of cutouts of 16 x 16, and a product of them and catalogue columns (0 where missing)."""
    draw = np.random.default_rng(6)
    constants: dict[str, NDArray[Any]] = {
        "plane": np.array([2, 3]), "zero": np.array(0, np.float32), "axis": np.array([1]),
        "w": draw.normal(size=(3 + len(columns), 5)).astype(np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "plane"], ["mean"], keepdims=0),
        helper.make_node("IsNaN", ["columns"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "columns"], ["seen"]),
        helper.make_node("Concat", ["mean", "seen"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["y"]),
        helper.make_node("ReduceSum", ["y", "axis"], ["total"], keepdims=0),
    ]  # fmt: skip
    tensors: dict[str, tuple[Any, Shape]] = {
        "mean": (TensorProto.FLOAT, [3]), "seen": (TensorProto.FLOAT, [len(columns)]), "total": (TensorProto.FLOAT, []),
    }  # fmt: skip
    told = [
        output("mean", f"{prefix}_MEAN", shape=(3,)), output("seen", f"{prefix}_SEEN", shape=(len(columns),)),
        output("total", f"{prefix}_TOTAL"),
    ]  # fmt: skip
    return save(path, nodes, tensors, constants, card_of(path.stem, prefix, told, columns=list(columns), **more))


def link_to(fed: Path, bindings: dict[str, str], group: str | None = None) -> dict[str, Any]:
    """A link of a chain, as the card of the feeding model lists it."""
    return {"name": fed.stem, "sha256": sha256(fed), "bindings": bindings, "group": group}


#: Wavelengths of `write_decoder`: lambda_j = 10^(LOGLAM0 + j DLOGLAM) Angstrom.
LOGLAM0, DLOGLAM = 3.53, 0.00039


def spectrum_header(loglam0: float = LOGLAM0) -> list[dict[str, Any]]:
    """Header cards of a column of spectra: its wavelengths by their own names, and as FITS has them (WAVE-LOG)."""
    first = 10**loglam0
    cards = {
        "LOGLAM0": loglam0, "DLOGLAM": DLOGLAM, "1CTYP#": "WAVE-LOG", "1CUNI#": "Angstrom", "1CRPX#": 1.0,
        "1CRVL#": first, "1CDLT#": first * DLOGLAM * np.log(10.0),
    }  # fmt: skip
    return [{"keyword": key, "value": value, "comment": "of the spectra"} for key, value in cards.items()]


def write_decoder(
    folder: Path, size: int = 16, points: int = 1000, name: str = "latents", loglam0: float = LOGLAM0
) -> Path:
    """A model of three latents (the mean per band) with, on request, a decoder that makes spectra of them.

    The spectrum is latent 0 times `spectrum_basis`, and the first latent stands in a column of its own.
    """
    columns = [
        output("flux", "SPEC_FLUX", shape=(points,), header=spectrum_header(loglam0)), output("first", "SPEC_FIRST"),
    ]  # fmt: skip
    card = card_of(f"{name}-decoder", "DEC", columns, inputs=[tensor_input("latent", (3,))], **NO_PIXELS)
    nodes = [
        helper.make_node("Gather", ["latent", "zero"], ["first"], axis=1),
        helper.make_node("Unsqueeze", ["first", "one"], ["column"]),
        helper.make_node("Mul", ["column", "basis"], ["flux"]),
    ]
    constants = {"zero": np.array(0), "one": np.array([1]), "basis": spectrum_basis(points)[None]}
    tensors: dict[str, tuple[Any, Shape]] = {"flux": (TensorProto.FLOAT, [points]), "first": (TensorProto.FLOAT, [])}
    decoder = save(folder / f"{name}-decoder.onnx", nodes, tensors, constants, card)
    link = link_to(decoder, {"latent": "latent"}, "spectra")
    card = card_of(name, "LAT", [output("latent", "SPEC_LATENT", shape=(3,))], size, chain=[link])
    node = helper.make_node("ReduceMean", ["pixels", "axes"], ["latent"], keepdims=0)
    return save(folder / f"{name}.onnx", [node], {"latent": (TensorProto.FLOAT, [3])}, {"axes": np.array([2, 3])}, card)


def spectrum_basis(points: int) -> NDArray[np.float32]:
    """Shape of the spectra of `write_decoder`, (points,)."""
    return (1 + np.arange(points, dtype=np.float32) / points).astype(np.float32)


#: What the card of a model says that sees no pixels.
NO_PIXELS: dict[str, Any] = {"fronts": [], "size": None, "pixel_scale": None}


def write_index(folder: Path, models: dict[str, bool]) -> None:
    """``index.json`` for model files ``NAME.onnx`` of a weights folder; name -> default."""
    index = {
        name: {
            "file": f"{name}.onnx", "sha256": sha256(folder / f"{name}.onnx"),
            "size": (folder / f"{name}.onnx").stat().st_size, "default": default,
        }
        for name, default in models.items()
    }  # fmt: skip
    (folder / "index.json").write_text(json.dumps(index))
