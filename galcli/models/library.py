"""Model files: those shipped in ``galcli.weights`` and those the user names, checked before anything parses them."""

from __future__ import annotations

import difflib
import hashlib
import importlib.resources
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from galcli.errors import ModelError
from galcli.models.card import CARD_KEY, Card, TensorInput, parse_card
from galcli.models.session import Graph, TensorInfo

INDEX = "index.json"
#: Largest file that protobuf, and so ONNX in one file, allows.
MAX_BYTES = 2**31
#: How the seal of an exported file begins: one more entry of ONNX's ``metadata_props`` (field 14: key, value), whose
#: value is the SHA-256 of all bytes before it. Written at the end, it needs no other reader than this module.
_SEAL = b"\x72\x4f\x0a\x0bgalcli.seal\x12\x40"
_SEAL_BYTES = len(_SEAL) + 64

#: Precisions of which there are files.
Stored = Literal["fp32", "int8"]
#: Systems of which `galcli train int8` makes twins.
_TWINNED = {"sfnet"}
#: What the index tells of a file.
_FILE_FACTS = {"file", "sha256", "size"}

_KINDS = {"float16": "f", "float32": "f", "float64": "f", "bool": "b"} | dict.fromkeys(
    ("int8", "int16", "int32", "int64", "uint8"), "i"
)


@dataclass(frozen=True)
class ModelFile:
    """A model file whose bytes were verified and whose graph fits its card.

    Attributes
    ----------
    name : str
    path : Path
    sha256 : str
    size : int
        Bytes.
    card : Card
    default : bool
        Whether `galcli predict` runs it without being asked.
    """

    name: str
    path: Path
    sha256: str
    size: int
    card: Card
    default: bool = False

    @property
    def found_by(self) -> str:
        """What commands find it by: the name of a shipped model, the path of any other."""
        return self.name if self.path.parent == _weights() else str(self.path)


def find(name_or_path: str | Path, precision: str = "auto") -> ModelFile:
    """Find a shipped model by name, or open a model file by path.

    Parameters
    ----------
    name_or_path : str or Path
        A name in ``weights/index.json``, or the path of an ONNX file with a card.
    precision : {'auto', 'fp32', 'fp16', 'int8'}
        ``int8``: the twin of that precision, which the index lists or which lies beside the file (`twin_path`).
        ``auto``: the shipped model in float32, or the file as it is. Else: not an int8 file.

    Returns
    -------
    ModelFile

    Raises
    ------
    ModelError
        If there is no such model or twin, the SHA-256 differs from the index, the graph does not fit its card, or the
        twin is that of another file.
    """
    text = os.fspath(name_or_path)
    index = _index()
    if text in index:
        return _shipped(text, index[text], _shipped_precision(precision))
    path = Path(text)
    if path.exists() or path.suffix == ".onnx" or path.name != text:
        return _in_precision(_given(path), precision)
    close = difflib.get_close_matches(text, index, n=3, cutoff=0.4)
    suggestion = f"did you mean {' or '.join(close)}? " if close else ""
    raise ModelError(
        f"there is no model named {text!r}",
        f"{suggestion}`galcli models list` names all; a file is given by its path, such as ./{text}.onnx",
    )


def names() -> list[str]:
    """Every name in ``weights/index.json``, in its order."""
    return list(_index())


def shipped(precision: Stored = "fp32") -> list[ModelFile]:
    """Every model of ``weights/index.json`` that has a file of that precision, in its order."""
    return [_shipped(name, entry, precision) for name, entry in _index().items() if precision in _precisions(entry)]


def default_models(precision: str = "auto") -> list[ModelFile]:
    """The models that `galcli predict` runs without being asked; ``precision`` as for `find`, float32 without a twin."""
    stored = _shipped_precision(precision)
    return [
        _shipped(name, entry, stored if stored in _precisions(entry) else "fp32")
        for name, entry in _index().items()
        if entry["default"]
    ]


def verify() -> dict[str, str]:
    """Check every shipped file: model, with its precision where that is not float32, to what is wrong ('': nothing)."""
    problems = {}
    for name, entry in _index().items():
        for precision in _precisions(entry):
            title = name if precision == "fp32" else f"{name} ({precision})"
            try:
                problems[title] = _backbone_fault(_shipped(name, entry, precision).card)
            except ModelError as error:
                problems[title] = error.message
    return problems


def twin_path(path: Path) -> Path:
    """Where the int8 twin of a model file lies: ``NAME-int8.onnx`` beside ``NAME.onnx``."""
    return path.with_name(f"{path.stem}-int8{path.suffix}")


def inspect(data: bytes, where: str) -> Card:
    """Read the card of a model and check the graph against it.

    Parameters
    ----------
    data : bytes
        The whole ONNX file, already verified where it was shipped.
    where : str
        Name for messages.

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If the bytes are no ONNX model, there is no card, or the two do not fit.
    """
    graph = Graph(data, where, device="cpu", threads=1, optimise=False)
    text = graph.metadata.get(CARD_KEY)
    if text is None:
        raise ModelError(f"{where}: the file holds no galcli model card", "export the model with `galcli train`")
    card = parse_card(text, where)
    fault = _input_fault(card, graph.inputs) or _output_fault(card, graph.outputs)
    if fault:
        raise ModelError(f"{where}: the graph does not fit its card: {fault}", "export the model again")
    return card


def feeding_fault(given: TensorInfo, wanted: TensorInput) -> str:
    """Why a tensor cannot feed an input of a card; '' if it can."""
    return _tensor_fault(given, *_tensor_of(wanted))


def sealed(data: bytes) -> bytes:
    """An ONNX file with its own SHA-256 at its end, by which `find` notices damage.

    Parameters
    ----------
    data : bytes
        The whole file.
    """
    return data + _SEAL + hashlib.sha256(data).hexdigest().encode()


def is_sealed(data: bytes) -> bool:
    """Whether the file tells its own SHA-256."""
    return data[-_SEAL_BYTES:-64] == _SEAL


def _require_seal(data: bytes, where: str) -> None:
    """Refuse a file that differs from what was sealed; one that never was is taken as it is."""
    if is_sealed(data) and sealed(data[:-_SEAL_BYTES]) != data:
        raise ModelError(f"{where}: the file is damaged: it is not the one that was exported", "get the file again")


def _index() -> dict[str, dict[str, Any]]:
    """``weights/index.json``: name -> file, sha256, size, default."""
    path = _weights() / INDEX
    try:
        index: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {error}", "install galcli again") from error
    for name, entry in index.items():
        for part, needed in ((entry, _FILE_FACTS | {"default"}), (entry.get("int8"), _FILE_FACTS)):
            if part is not None and (missing := needed - set(part)):
                raise ModelError(f"{path}: {name} has no {', '.join(sorted(missing))}", "install galcli again")
    return index


def _weights() -> Path:
    return Path(str(importlib.resources.files("galcli.weights")))


def _precisions(entry: dict[str, Any]) -> tuple[Stored, ...]:
    """Precisions of which the index lists a file."""
    return ("fp32", "int8") if "int8" in entry else ("fp32",)


def _shipped_precision(precision: str) -> Stored:
    """Which file serves the precision asked for: float16 is computed from the float32 one."""
    return "int8" if precision == "int8" else "fp32"


def _shipped(name: str, entry: dict[str, Any], precision: Stored) -> ModelFile:
    if precision not in _precisions(entry):
        raise _no_twin(name, _shipped(name, entry, "fp32").card)
    facts = entry if precision == "fp32" else entry["int8"]
    path = _weights() / facts["file"]
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != facts["sha256"] or len(data) != facts["size"]:
        raise ModelError(
            f"{path}: the file is not the one that was shipped (SHA-256 {sha256[:12]}, not {facts['sha256'][:12]})",
            "the file is damaged or was replaced: install galcli again, or give a model of your own by its path",
        )
    model = ModelFile(name, path, sha256, len(data), inspect(data, str(path)), entry["default"] and precision == "fp32")
    if precision == "int8":
        _require_twin(model, entry["sha256"])
    return model


def _given(path: Path) -> ModelFile:
    """A file that the user names."""
    data = _read(path)
    _require_seal(data, str(path))
    card = inspect(data, str(path))
    return ModelFile(card.name, path, hashlib.sha256(data).hexdigest(), len(data), card)


def _in_precision(model: ModelFile, precision: str) -> ModelFile:
    """The user's file, or the twin beside it."""
    stored = model.card.precision
    if precision in ("auto", stored):
        return model
    if stored == "int8":
        raise ModelError(
            f"{model.path}: this is an int8 model", "leave out --precision, or give the file of the float32 model"
        )
    if precision != "int8":
        return model
    path = twin_path(model.path)
    if not path.exists():
        raise _no_twin(str(model.path), model.card)
    twin = _given(path)
    _require_twin(twin, model.sha256)
    return twin


def _no_twin(where: str, card: Card) -> ModelError:
    return ModelError(f"{where}: this model has no int8 twin", _without_twin(card))


def _require_twin(twin: ModelFile, sha256: str) -> None:
    if twin.card.twin_of != sha256:
        raise ModelError(f"{twin.path}: not the int8 twin of this model but of another", _without_twin(twin.card))


def _without_twin(card: Card) -> str:
    """How to go on for want of a twin."""
    return "run it with --precision fp32" + (
        ", or make the twin with `galcli train int8`" if card.system in _TWINNED else ""
    )


def _backbone_fault(card: Card) -> str:
    """Why a shipped model has nothing to feed it; '' if it has, or needs nothing."""
    link = card.backbone
    if link is None or _index().get(link.name, {}).get("sha256") == link.sha256:
        return ""
    return f"{link.name} of SHA-256 {link.sha256[:12]}, on which it was trained, is not installed"


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # some devices and pipes never end
            raise ModelError(f"{path} is not a file", "give the path of an ONNX model file")
        if path.is_file() and path.stat().st_size >= MAX_BYTES:
            raise ModelError(f"{path}: larger than 2 GB, so no ONNX model in one file", "give an ONNX model file")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", "give the path of an ONNX model file") from error


def _input_fault(card: Card, inputs: dict[str, TensorInfo]) -> str:
    """What is wrong with the graph's inputs; '' if nothing."""
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {}
    if card.fronts:
        height, width = card.size or (None, None)
        counts = {len(front.bands) for front in card.fronts}
        bands = counts.pop() if len(counts) == 1 else None
        expected["pixels"] = ("float32", (None, bands, height, width))
        expected["valid"] = ("float32", (None, 1, height, width))
        expected["front"] = ("int64", (None,))
    if card.columns:
        expected["columns"] = ("float32", (None, len(card.columns)))
    expected |= {tensor.name: _tensor_of(tensor) for tensor in card.inputs}
    if set(inputs) != set(expected):
        return f"it has the inputs {sorted(inputs)}, not {sorted(expected)}"
    for name, (dtype, shape) in expected.items():
        if fault := _tensor_fault(inputs[name], dtype, shape):
            return f"input {name} {fault}"
    return ""


def _tensor_of(wanted: TensorInput) -> tuple[str, tuple[int | None, ...]]:
    """Type and shape of an input that is no pixels."""
    return np.dtype(wanted.dtype).name, (None, *wanted.shape)


def _tensor_fault(info: TensorInfo, dtype: str, shape: tuple[int | None, ...]) -> str:
    if info.dtype != dtype:
        return f"is {info.dtype or 'of an unknown type'}, not {dtype}"
    return _shape_fault(info.shape, shape)


def _output_fault(card: Card, outputs: dict[str, TensorInfo]) -> str:
    """What is wrong with the graph's outputs; '' if nothing."""
    for output in card.outputs:
        info = outputs.get(output.tensor)
        if info is None:
            return f"it has no output {output.tensor} (column {output.column})"
        wanted = {"f": "f", "b": "b"}.get(output.dtype[0], "i")  # text comes as the number of its label
        if _KINDS.get(info.dtype) != wanted:
            return f"output {output.tensor} is {info.dtype or 'of an unknown type'}, but its column {output.dtype}"
        fault = _shape_fault(info.shape, (None, *output.shape))
        if fault:
            return f"output {output.tensor} {fault}"
    return ""


def _shape_fault(shape: tuple[int | str | None, ...], expected: tuple[int | None, ...]) -> str:
    """Compare shapes; the first axis counts objects and must be free, other free axes are taken on trust."""
    if len(shape) != len(expected):
        return f"has {len(shape)} axes, not {len(expected)}"
    if isinstance(shape[0], int):
        return f"has room for exactly {shape[0]} objects, but the number must be free"
    for have, want in zip(shape, expected, strict=True):
        if isinstance(have, int) and want is not None and have != want:
            return f"has the shape {shape}, not {expected}"
    return ""
