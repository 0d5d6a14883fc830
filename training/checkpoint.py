"""Weights and training states in safetensors files, written whole or not at all.

Two kinds of file: *weights* (tensors under torchvision's names) and *state* (weights, buffers, both halves of the
optimiser). What is not a tensor stands as JSON in the metadata. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_optimizer import Lookahead
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.optim import Optimizer

from galcli.errors import ModelError
from galcli.tables.atomic import atomic_write

#: Metadata key of the JSON.
KEY = "galcli.training"
#: Metadata key of the SHA-256 over that JSON and all tensors; safetensors itself notices no changed value.
DIGEST = "galcli.sha256"
_MODEL = "model/"
#: State of RAdam and AdamW per parameter.
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def save(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write tensors and their JSON description atomically.

    Parameters
    ----------
    path : Path
        File.
    tensors : mapping of str to Tensor
        Any strides (a channels-last weight is stored in plain order).
    info : mapping
        JSON-able description.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(info))
    atomic_write(path, _ordered(serialize(plain, {KEY: text, DIGEST: _digest(plain, text)})))


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata in order: safetensors writes them in a random one."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # where tensors begin, as safetensors does
    return len(text).to_bytes(8, "little") + text + data[end:]


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over names, types, shapes and values."""
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the JSON of a safetensors file.

    Raises
    ------
    ModelError
        If the file is missing or damaged: no value of a file that galcli wrote can change unnoticed.
    """
    try:
        # In one go: safe_open opens the file twice, and a training may replace it in between.
        data = path.read_bytes()
        tensors = deserialize(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        text = metadata.get(KEY, "{}")
        if DIGEST in metadata and metadata[DIGEST] != _digest(tensors, text):
            raise ValueError("its values are not those that were written")
        return tensors, json.loads(text)
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: no readable safetensors file: {error}", "give a .safetensors file") from error


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under torchvision's names, from a weights file, a training state or a torch ``.pth`` state dict.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or a state dict written by ``torch.save``.

    Returns
    -------
    weights : dict of str to Tensor
    info : dict
        The training description of a galcli file, else empty.

    Raises
    ------
    ModelError
        If the file is damaged, or holds a pickled module instead of a state dict.
    """
    if path.suffix == ".safetensors":
        tensors, info = load(path)
        state = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
        return state or tensors, info
    convert = (
        "where it was made: torch.save(model.state_dict(), 'weights.pth') or "
        "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
    )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: a pickled module or other objects, not a plain state dict", convert) from error
    except Exception as error:  # on damaged bytes torch's reader raises whatever comes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: cannot be read: {reason}", convert) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path}: holds no state dict (names to tensors)", convert)
    return content, {}


def initialise(module: nn.Module, path: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Load initial weights strictly; a last layer of another shape keeps its random start.

    Files that galcli did not write are taken for torchvision's, whose first layer expects red to blue; it is turned
    to galcli's blue to red.

    Parameters
    ----------
    module : nn.Module
        Network with torchvision's names.
    path : Path
        See ``load_weights``.
    say : callable
        Takes lines for the user.

    Returns
    -------
    dict
        The training description of a galcli file, else empty.

    Raises
    ------
    ModelError
        If a name is missing, unknown, or has another shape (other than the last layer's).
    """
    weights, info = load_weights(path)
    own = module.state_dict()
    turned = not info and "conv1.weight" in weights
    if turned:
        weights["conv1.weight"] = weights["conv1.weight"].flip(1)
    skipped = [name for name in ("fc.weight", "fc.bias") if name in own and name in weights]
    skipped = [name for name in skipped if own[name].shape != weights[name].shape]
    for name in skipped:
        weights[name] = own[name]
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path}: does not fit the network: {reason[:300]}", "give the weights of such a network"
        ) from error
    left_out = f" ({' and '.join(skipped)} left out: another shape)" if skipped else ""
    say(f"initial weights: {path}{left_out}")
    if turned:
        say("no file of galcli: its first layer is taken to expect red, green, blue, and turned to blue, green, red")
    return info


def pack(module: nn.Module, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of training as named tensors and JSON: see ``unpack``."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    tensors = {_MODEL + name: value for name, value in module.state_dict().items()}
    state = optimizer.state_dict()
    base = state.get("base_optimizer", state)
    for number, group in enumerate(optimizer.param_groups):
        for position, parameter in enumerate(group["params"]):
            name = names[parameter]
            if isinstance(optimizer, Lookahead):
                tensors[f"slow/{name}"] = state["lookahead_state"][number, position]["slow_params"]
            index = base["param_groups"][number]["params"][position]
            for key, value in base["state"].get(index, {}).items():
                tensors[f"{key}/{name}"] = torch.as_tensor(value)
    lookahead = isinstance(optimizer, Lookahead)
    return tensors, {"counters": [group["counter"] for group in optimizer.param_groups] if lookahead else []}


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """The value with the parameter's strides, so that a resumed step runs the very same loops."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape and value.dim() else value


def unpack(module: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Bring module and optimiser back to the state that ``pack`` saw, to the last bit.

    Raises
    ------
    ModelError
        If the state belongs to another network.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    try:
        module.load_state_dict({name.removeprefix(_MODEL): v for name, v in tensors.items() if name.startswith(_MODEL)})
        state = optimizer.state_dict()
        base = state.get("base_optimizer", state)
        for number, group in enumerate(optimizer.param_groups):
            if isinstance(optimizer, Lookahead):
                base["param_groups"][number]["counter"] = info["counters"][number]
            for position, parameter in enumerate(group["params"]):
                name = names[parameter]
                if isinstance(optimizer, Lookahead):
                    slow = state["lookahead_state"][number, position]
                    slow["slow_params"] = _like(parameter, tensors[f"slow/{name}"])
                index = base["param_groups"][number]["params"][position]
                kept = {key: tensors[f"{key}/{name}"] for key in _MOMENTS if f"{key}/{name}" in tensors}
                if kept:
                    base["state"][index] = {key: _like(parameter, value) for key, value in kept.items()}
        optimizer.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise ModelError(f"the state on disk belongs to another network: {error}", "choose another --out") from error
