"""Initial weights of a training, and what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from galcli.training import checkpoint
from galcli.training.progress import say

#: What a galcli file tells of its training that is worth passing on.
_TOLD = ("target", "network", "preset", "data", "objects", "epochs", "seed", "seconds", "mock", "init")


def start_from(module: nn.Module, init: Path | None) -> dict[str, Any] | None:
    """Load initial weights, if there are any.

    Parameters
    ----------
    module : nn.Module
    init : Path or None
        See ``checkpoint.load_weights``.

    Returns
    -------
    dict or None
        The file's name, and the training that a galcli file tells of.

    Raises
    ------
    ModelError
        If the file is missing or damaged, or does not fit the network.
    """
    if init is None:
        return None
    info = checkpoint.initialise(module, init, say)
    earlier = {name: info[name] for name in _TOLD if info.get(name) is not None}
    if isinstance(earlier.get("init"), str):
        earlier["init"] = {"file": Path(earlier["init"]).name}  # where it lay is nobody's business
    return {"file": init.name} | earlier
