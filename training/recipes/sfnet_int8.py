"""The int8 twin of an exported SFNet: the same weights in 8 bits, calibrated and measured anew."""

from __future__ import annotations

import functools
import itertools
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from galcli.errors import ModelError
from galcli.models import library
from galcli.models.card import Card
from galcli.models.library import ModelFile
from galcli.models.session import Graph, Session
from galcli.training import calibrate, export, proof, quantise
from galcli.training.data import Batch
from galcli.training.networks.sfnet import SFNet
from galcli.training.networks.sfnet_export import ExportedSFNet
from galcli.training.pixels import Pixels
from galcli.training.recipes.sfnet_card import KINDS, Kind
from galcli.training.recipes.sfnet_model import finish, predicted_of, tensors, truth_of
from galcli.training.recipes.sfnet_plan import TARGETS
from galcli.training.views import Samples, Values, measure, rounded

#: One in so many batches of the training sample fixes the ranges of the activations.
EVERY = 4
#: Objects of a batch whose time is taken, as many as `galcli predict` uses, and how often.
TIMED, TIMES = 32, 8


def export_int8(path: Path, samples: Samples, say: Callable[[str], None] = print) -> Card:
    """Write the int8 twin of an exported SFNet beside it (`library.twin_path`).

    Parameters
    ----------
    path : Path
        Model file of `export_sfnet`.
    samples : Samples
        Those of its own export: the training galaxies fix the ranges of the activations.
    say : callable
        Takes lines for the user.

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If the file is no SFNet in float32, or its torch module says something else than the file.
    """
    model = library.find(path, "fp32")
    module, kind = rebuild(model)
    probe = samples.probe(len(module.pixels.fronts))
    graph = export.to_onnx(module, probe(2), module.output_names())
    _require_same(model, graph, kind, probe)
    ranges = quantise.measure_ranges(
        graph, (_feeds(one) for one in itertools.islice(samples.training(), 0, None, EVERY))
    )
    say(f"ranges of {len(ranges)} activations measured on training galaxies")
    final = finish(module, kind, graph, samples, probe, functools.partial(quantise.quantise, ranges=ranges), say)
    del final.fields["calibration"]["torch_onnxruntime_difference"]  # that of the graph in float32
    metrics = [*_against(model, kind, final.test, samples), _speed(model, final.graph, samples)]
    fields = final.fields | {
        "metrics": [*final.fields["metrics"], *metrics], "precision": "int8", "twin_of": model.sha256,
    }  # fmt: skip
    card = Card.model_validate(model.card.model_dump() | fields)
    twin = library.twin_path(path)
    export.save(final.graph, card, twin)
    for metric in metrics:
        say(f"{metric.get('front', ''):9s} {metric['name']}: {metric['value']:.4g}")
    say(f"int8 twin: {twin} ({twin.stat().st_size / 1e6:.1f} MB)")
    return card


def rebuild(model: ModelFile) -> tuple[ExportedSFNet, Kind]:
    """The frozen torch module of a model file: the numbers of its graph under the names of the state dict.

    Error bars and domain, which every export measures anew, are as in a module that was never calibrated.

    Raises
    ------
    ModelError
        If the file is no SFNet in float32.
    """
    card = model.card
    target = next((name for name, kind in KINDS.items() if kind.name == card.name), None)
    if target is None or card.system != "sfnet" or card.precision != "fp32" or card.size is None:
        raise ModelError(f"{model.path}: not an SFNet in float32", "give a model file of `galcli train sfnet`")
    details = card.training.details
    pixels = Pixels([front.name for front in card.fronts], details["normalisation_mean"], details["normalisation_std"])
    columns = TARGETS[target].outputs
    network = SFNet(len(columns), details["k"])
    module = ExportedSFNet(pixels, network, card.size[0], float(card.pixel_scale or 0))
    empty = torch.zeros(2, 3, *card.size)
    export.freeze(module, {"pixels": empty, "valid": empty[:, :1], "front": torch.zeros(2, dtype=torch.int64)})
    graph = onnx.load_model_from_string(model.path.read_bytes()).graph
    stored: dict[str, NDArray[Any]] = {
        tensor.name.removesuffix(".half"): numpy_helper.to_array(tensor) for tensor in graph.initializer
    }
    table = {column.name: np.array(column.values, np.float32) for column in card.tables[0].columns}
    state: dict[str, NDArray[Any]] = {"fc.weight": np.stack([table[f"WEIGHT_{column}"] for column in columns])}
    state["fc.bias"] = np.array([table[f"BIAS_{column}"][0] for column in columns])
    for node in graph.node:
        if node.op_type == "Conv":  # of equal biases the exporter keeps one, of zeros none
            weight = stored[node.input[1]]
            biases: NDArray[Any] = stored[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight))
            stem = node.input[1].removeprefix("network.").removesuffix(".weight")
            state[f"{stem}.weight"], state[f"{stem}.bias"] = weight, biases
    network.load_state_dict(
        {name: torch.tensor(value.astype(np.float32)) for name, value in state.items()}, strict=True
    )
    agn = table.get("WEIGHT_AGN_SCORE", np.zeros_like(table["ACT_MAX"]))
    bias = float(table["BIAS_AGN_SCORE"][0]) if module.lines else 0.0
    module.set_features(torch.from_numpy(table["ACT_MAX"]), torch.from_numpy(agn), bias)
    return module, KINDS[target]


def _require_same(model: ModelFile, graph: onnx.ModelProto, kind: Kind, probe: proof.Sample) -> None:
    """Refuse a rebuilt module that predicts something else than its file."""
    feeds = {name: value.numpy() for name, value in probe(max(proof.BATCHES)).items()}
    names = [*tensors(kind), "idx", "act", "dx", "dy", "inner/pooled"]
    expected = Session(model, "cpu").run(feeds, names)
    found = Graph(graph.SerializeToString(deterministic=True), "rebuilt graph", "cpu").run(feeds, names)
    for name in names:
        error = proof.difference(expected[name], found[name])
        if not error <= proof.TOLERANCE:
            raise ModelError(
                f"{model.path}: the rebuilt network differs by {error:.2g} in output {name}",
                "the file was made by another version of galcli: train and export anew",
            )


def _feeds(batch: Batch) -> dict[str, NDArray[Any]]:
    return {"pixels": batch.pixels.numpy(), "valid": batch.valid.numpy(), "front": batch.front.numpy()}


def _against(model: ModelFile, kind: Kind, test: Values, samples: Samples) -> Iterable[dict[str, Any]]:
    """What the twin loses: its errors over those of the float32 model, and how often both name the same feature.

    And by how much the error bars of single galaxies differ, which are calibrated anew.
    """
    bars = [quantity.error for quantity in kind.quantities]
    full = measure(onnx.load_model_from_string(model.path.read_bytes()), samples.test, [*tensors(kind), *bars, "idx"])
    truth = truth_of(test, kind)
    squares = [(predicted_of(values, kind) - truth) ** 2 for values in (test, full)]
    same = test["idx"][:, 0] == full["idx"][:, 0]
    for number, front in enumerate(model.card.fronts):
        rows = test["front"] == number
        if not rows.any():
            continue
        common = {"sample": samples.name, "objects": int(rows.sum()), "front": front.name}
        twin_rmse, full_rmse = (np.sqrt(square[rows].mean(axis=0)) for square in squares)
        for quantity, ratio in zip(kind.quantities, twin_rmse / full_rmse, strict=True):
            yield common | {"name": f"{quantity.column} rmse over float32", "value": rounded(ratio)}
            change = np.abs(np.log(test[quantity.error][rows] / full[quantity.error][rows]))
            yield common | {
                "name": f"{quantity.column} error bar within a factor of float32 (68 %)",
                "value": rounded(np.exp(np.quantile(change, calibrate.LEVEL))),
            }
        yield common | {"name": "first feature as in float32", "value": rounded(same[rows].mean())}


def _speed(model: ModelFile, graph: onnx.ModelProto, samples: Samples) -> dict[str, Any]:
    """Processor time of the float32 model over that of the twin, in turns; other programs do not change it much."""
    batch = next(iter(samples.test()))
    rows = np.arange(TIMED) % len(batch)
    feeds = {name: value[rows] for name, value in _feeds(batch).items()}
    names = [output.tensor for output in model.card.outputs]
    graphs = Session(model, "cpu"), Graph(graph.SerializeToString(deterministic=True), "int8 graph", "cpu")
    spent = np.empty((TIMES, len(graphs)))
    for turn, column in np.ndindex(spent.shape):
        before = time.process_time()
        graphs[column].run(feeds, names)
        spent[turn, column] = time.process_time() - before
    full, twin = np.median(spent[1:], axis=0)  # the first turn allocates
    sample = f"processor time of batches of {TIMED} on {platform.machine()}"
    return {"name": "speed over float32", "value": rounded(full / twin), "sample": sample, "objects": TIMED * TIMES}
