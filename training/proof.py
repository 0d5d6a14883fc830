"""The proof that a model file says what its network says: torch against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.errors import ModelError
from galcli.models.session import Graph
from galcli.training.progress import say

#: Largest difference between torch and onnxruntime, relative to max(1, |y|).
TOLERANCE = 1e-4
#: Numbers of objects for which the two are compared.
BATCHES = (1, 3, 8)
#: Differences that are forgiven a network which amplifies rounding, as a multiple of what torch differs from itself.
AMPLIFIED = 10.0

Inputs = Mapping[str, Tensor]
#: Gives the graph's inputs for a number of objects.
Sample = Callable[[int], Inputs]
#: What a network says, output by output, each (N, ...).
Says = Callable[[Inputs], Sequence[Tensor]]


def prove(module: nn.Module, model: onnx.ModelProto, sample: Sample) -> float:
    """Compare torch with onnxruntime on the CPU.

    Parameters
    ----------
    module : nn.Module
        The frozen module that was exported.
    model : onnx.ModelProto
    sample : callable
        ``sample(n)`` gives inputs of n objects, best real ones.

    Returns
    -------
    float
        Largest max|torch - onnxruntime| / max(1, |y|) over all outputs and ``BATCHES``.

    Raises
    ------
    ModelError
        See `compare`.
    """
    graph = Graph(model.SerializeToString(deterministic=True), "exported graph", "cpu")
    worst = 0.0
    for count in BATCHES:
        inputs = sample(count)
        found = graph.run({name: value.numpy() for name, value in inputs.items()})
        worst = max(worst, compare(partial(outputs_of, module), inputs, found, "exported graph"))
    if worst > TOLERANCE:
        say(f"this network amplifies the rounding of numbers: its predictions are good to {worst:.0e} only; "
            "trainings that are longer settle")  # fmt: skip
    return worst


def outputs_of(module: nn.Module, inputs: Inputs) -> list[Tensor]:
    """What a module says, as a list even where it is one tensor."""
    said = module(**inputs)
    return [said] if isinstance(said, Tensor) else list(said)


def compare(says: Says, inputs: Inputs, found: Mapping[str, NDArray[Any]], where: str) -> float:
    """Largest difference between what torch says and what onnxruntime found.

    Parameters
    ----------
    says : callable
    inputs : mapping of str to Tensor
    found : dict of str to ndarray
        The same outputs in the same order.
    where : str
        Name for messages.

    Returns
    -------
    float

    Raises
    ------
    ModelError
        If it exceeds ``TOLERANCE`` and what torch itself makes of another order of its sums, or outputs that are whole
        numbers differ at all.
    """
    with torch.no_grad():
        expected = says(inputs)
    errors = [difference(ours.numpy(), theirs) for ours, theirs in zip(expected, found.values(), strict=True)]
    if max(errors) <= TOLERANCE:
        return max(errors)
    rounding = _rounding(says, inputs, expected)
    for name, error, own in zip(found, errors, rounding, strict=True):
        if not error <= max(TOLERANCE, AMPLIFIED * own):
            count = len(expected[0])
            raise ModelError(
                f"{where}: torch and onnxruntime differ by {error:.2g} in output {name} for {count} objects",
                "train longer; if that does not help, it is a fault of galcli: report it with this line",
            )
    return max(errors)


def _rounding(says: Says, inputs: Inputs, expected: Sequence[Tensor]) -> list[float]:
    """How much outputs change where images lie otherwise in memory, so that torch adds in another order."""
    turned = {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in inputs.items()
    }
    with torch.no_grad():
        return [difference(one.numpy(), other.numpy()) for one, other in zip(expected, says(turned), strict=True)]


def difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Largest |a - b| / max(1, |a|); infinite where shapes, NaN or whole numbers differ."""
    if expected.shape != found.shape or expected.dtype.kind != found.dtype.kind:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, found) else float("inf")
    nan = np.isnan(expected)
    if not np.array_equal(nan, np.isnan(found)):
        return float("inf")
    ratio = np.abs(expected - found) / np.maximum(1, np.abs(expected))
    return float(np.max(ratio, where=~nan, initial=0.0))
