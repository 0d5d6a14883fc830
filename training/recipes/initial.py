"""Initial weights of a training, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from galcli.errors import UsageError
from galcli.training import checkpoint
from galcli.training.progress import say

#: What a galcli file tells of its training that is worth passing on.
_TOLD = ("target", "network", "preset", "data", "objects", "epochs", "seed", "seconds", "mock", "init")


@dataclass(frozen=True)
class Initial:
    """What a training starts from.

    Attributes
    ----------
    told : dict or None
        The file's name, and the training that a galcli file tells of; None: random weights.
    normalisation : tuple of two lists of float, or None
        Mean and standard deviation of the channels that the weights are used to, where the file tells.
    """

    told: dict[str, Any] | None = None
    normalisation: tuple[list[float], list[float]] | None = field(default=None, repr=False)


def start_from(module: nn.Module, init: Path | None, data: str | None, seed: int) -> Initial:
    """Load initial weights, if there are any.

    Parameters
    ----------
    module : nn.Module
    init : Path or None
        See ``checkpoint.load_weights``.
    data : str or None
        Survey to learn from now; None: the mock survey, whose galaxies are others for each seed.
    seed : int
        That splits it.

    Returns
    -------
    Initial

    Raises
    ------
    ModelError
        If the file is missing or damaged, or does not fit the network.
    UsageError
        If the weights know galaxies that are to test them now: the same survey, split by another seed.
    """
    if init is None:
        return Initial()
    info = checkpoint.initialise(module, init, say)
    if data is not None and info.get("data") == data and info.get("seed") != seed:
        raise UsageError(
            f"{init} learned from {data} split by the seed {info.get('seed')}, so it knows galaxies held out now",
            f"give --seed {info.get('seed')}",
        )
    earlier = {name: info[name] for name in _TOLD if info.get(name) is not None}
    if isinstance(earlier.get("init"), str):
        earlier["init"] = {"file": Path(earlier["init"]).name}  # where it lay is nobody's business
    used_to = (info["mean"], info["std"]) if {"mean", "std"} <= set(info) else None
    return Initial({"file": init.name} | earlier, used_to)
