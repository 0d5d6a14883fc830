"""From a trained sparse autoencoder to its model file: rounded, its thresholds calibrated, proved, measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.errors import ModelError
from galcli.models.card import Card
from galcli.models.session import Graph
from galcli.training import calibrate, checkpoint, export, proof
from galcli.training.data import Batch
from galcli.training.networks.dictionaries import Spectral
from galcli.training.networks.resnet import STRIDE
from galcli.training.networks.robust import RobustPixels
from galcli.training.networks.sae import FeedForward
from galcli.training.networks.sae_export import OUTPUTS, ExportedImages, ExportedMaps, Said
from galcli.training.networks.sparsity import Running
from galcli.training.pixels import FRONTS
from galcli.training.progress import say
from galcli.training.recipes import sae_card, sae_measure
from galcli.training.recipes.sae import Asked, Material, check, material, train_sae
from galcli.training.recipes.sae_data import Source, held_looks
from galcli.training.recipes.sae_network import Prepared, Scaled
from galcli.training.recipes.sae_plan import PRESETS, Design
from galcli.training.seeds import mix
from galcli.training.views import rounded

#: Training batches from which thresholds and the mean of the data are taken.
CALIBRATED = 64
_WANTED = ("fvu", "l0", "inner/strength")


def train_and_export(out: Path, source: Source, asked: Asked, **how: Any) -> Path:
    """Train a sparse autoencoder and write its model file.

    Parameters
    ----------
    out, source, asked, **how
        As for `sae.train_sae`.

    Returns
    -------
    Path
        ``sae-*.onnx`` in ``out``.

    Raises
    ------
    GalcliError
        As `sae.train_sae` and `export_sae`.
    """
    check(out, source, asked, **how)
    found = material(asked, PRESETS[how.get("preset", "default")], source)
    weights = train_sae(out, source, asked, given=found, **how)
    return export_sae(weights, found, out)


def export_sae(weights: Path, found: Material, out: Path) -> Path:
    """Write the model file of a trained autoencoder.

    Parameters
    ----------
    weights : Path
        Safetensors file of the training.
    found : Material
        What it learned from.
    out : Path
        Folder.

    Returns
    -------
    Path

    Raises
    ------
    ModelError
        If torch and onnxruntime differ, or the weights are no autoencoder's.
    """
    module, info, design = _load(weights)
    probe = _probe(module, found, info)
    module.eval()
    centre(module)
    export.freeze(module.sae, {"x": module.data(*_inputs(next(_training(found, info))))})
    mean = settle(module, islice(_training(found, info), CALIBRATED))
    exported = _exported(module, design, mean, found)
    least = None if found.layer else sae_card.fields(_told(info, found), design, None, FRONTS)["least_side"]
    graph = export.to_onnx(exported, probe(2), OUTPUTS, least_side=least)
    error = prove(exported, graph, probe)
    say(f"torch and onnxruntime differ by at most {error:.1e}")
    said = measure(graph, found.held(info["seed"])(True), maps=found.layer is not None)
    say(f"measured {len(said['fvu'])} held-out views")
    seen = said if found.layer else measure(graph, held_looks(found.galaxies, info["seed"]), maps=False)
    backbone = found.layer.model if found.layer else None
    card = Card.model_validate(
        sae_card.fields(_told(info, found), design, backbone, FRONTS)
        | _found(module, said, found, info)
        | {"domain": {"column": "SAE_FVU", "threshold": rounded(float(np.quantile(seen["fvu"], calibrate.INSIDE)))}}
        | {"calibration": _calibration(module, found, info, len(seen["fvu"]), error)}
    )
    path = out / f"{card.name}.onnx"
    export.save(graph, card, path)
    say(f"model: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


def _load(weights: Path) -> tuple[Prepared, dict[str, Any], Design]:
    state, info = checkpoint.load_weights(weights)
    try:
        design = Design(**info["design"])
        front = RobustPixels(FRONTS) if info["scatter"] is None else Scaled(info["scatter"])
        module = Prepared(front, design)
        module.load_state_dict(state, strict=True)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{weights}: not the weights of a sparse autoencoder", "give a file of galcli train sae"
        ) from error
    return module, info, design


def _training(found: Material, info: Mapping[str, Any]) -> Iterator[Batch]:
    """Training batches in the order and looks of the training."""
    feed = found.feed(info["batch"], mix(info["seed"], 1))
    return map(feed.batch, range(feed.steps_per_epoch))


def _inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return batch.pixels, batch.valid, batch.front


def centre(module: Prepared) -> None:
    """Move spectral kernels to where codes stand: a dictionary says the same with kernels here and codes there."""
    dictionary, encoder = module.sae.dictionary, module.sae.encoder
    if isinstance(dictionary, Spectral) and isinstance(encoder, FeedForward) and isinstance(encoder.weights, Spectral):
        middles = dictionary.middles()
        dictionary.shift_(middles)
        encoder.weights.shift_(middles)


@torch.no_grad()
def settle(module: Prepared, batches: Iterable[Batch]) -> Tensor:
    """Take thresholds as means over training batches, with the weights as they are stored now.

    Returns
    -------
    Tensor (C,)
        Mean of the data.
    """
    total, count = torch.zeros(1, dtype=torch.float64), 0
    for part in module.modules():
        if isinstance(part, Running):
            part.begin_anew()
    module.train()
    for batch in batches:
        x, _ = module(*_inputs(batch))
        total, count = total + x.double().mean((2, 3)).sum(0), count + len(batch)
    module.eval()
    return (total / count).float()


def _exported(module: Prepared, design: Design, mean: Tensor, found: Material) -> nn.Module:
    if found.layer is None:
        return ExportedImages(module.front, module.sae, mean, design.listed, design.patch).eval()
    card, (_, height, width) = found.layer.model.card, found.layer.shape
    if height != width or card.size is None or card.pixel_scale is None:
        raise ModelError(f"maps of {width} x {height} cells are not square", "choose another layer")
    assert isinstance(module.front, Scaled)
    offsets = cell_offsets(card.size[0], height, card.pixel_scale)
    return ExportedMaps(float(module.front.scatter), module.sae, mean, design.listed, offsets).eval()


def cell_offsets(size: int, cells: int, pixel_scale: float) -> list[float]:
    """Offset of the cells of inner maps from the centre of the image, in arcsec, along one axis.

    Strides and paddings are those of a ResNet: cell i looks at pixel i times the stride, a power of two.

    Parameters
    ----------
    size : int
        Pixels of the backbone's grid.
    cells : int
        Of the map.
    pixel_scale : float
        Arcsec per pixel.
    """
    stride = next((step for step in (1, 2, 4, 8, 16, STRIDE) if -(-size // step) == cells), None)
    if stride is None:
        raise ModelError(f"{cells} cells of {size} px have no stride of a ResNet", "choose another layer")
    return [(stride * cell - (size - 1) / 2) * pixel_scale for cell in range(cells)]


def _probe(module: Prepared, found: Material, info: Mapping[str, Any]) -> proof.Sample:
    """Held-out objects for the comparison of torch and onnxruntime."""
    batch = next(iter(found.held(info["seed"])(False)))

    def sample(count: int) -> dict[str, Tensor]:
        rows = torch.arange(count) % len(batch)
        if found.layer is not None:
            return {sae_card.MAPS: batch.pixels[rows]}
        front = torch.arange(count) % len(FRONTS)
        return {"pixels": batch.pixels[rows], "valid": batch.valid[rows], "front": front}

    return sample


def prove(exported: nn.Module, graph: onnx.ModelProto, sample: proof.Sample) -> float:
    """Compare torch with onnxruntime in two halves, between which sparsity decides.

    What is decided there, which concepts are kept and where, may turn on the last digit. So the first half is compared up
    to what the sparsity is given, and the second from what onnxruntime gave it.

    Returns
    -------
    float
        Largest difference, relative to max(1, |y|).

    Raises
    ------
    ModelError
    """
    runner = Graph(graph.SerializeToString(deterministic=True), "exported graph", "cpu")
    first = ("inner/data", "inner/before")

    def before(**inputs: Tensor) -> list[Tensor]:
        said: Said = exported(**inputs)
        return [said.data, said.before]

    def after(**inputs: Tensor) -> list[Tensor]:
        offsets = exported.offsets(inputs["pixels"]) if "pixels" in inputs else (-exported.north, exported.north)  # type: ignore[operator]
        said = exported.told(given["inner/data"], given["inner/before"], *offsets)  # type: ignore[operator]
        return list(said)[: len(OUTPUTS) - len(first)]

    worst = 0.0
    for count in proof.BATCHES:
        inputs = sample(count)
        found = runner.run({name: value.numpy() for name, value in inputs.items()})
        given = {name: torch.from_numpy(found[name]) for name in first}
        worst = max(
            worst,
            proof.compare(partial(_says, before), inputs, {name: found[name] for name in first}, "exported graph"),
            proof.compare(partial(_says, after), inputs, {name: found[name] for name in OUTPUTS if name not in first},
                          "exported graph"),
        )  # fmt: skip
    return worst


def _says(half: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    said: list[Tensor] = half(**inputs)
    return said


def measure(graph: onnx.ModelProto, batches: Iterable[Batch], maps: bool) -> dict[str, NDArray[Any]]:
    """What the graph says of objects, through onnxruntime as in `galcli predict`; also ``front`` and ``rows``."""
    runner = Graph(graph.SerializeToString(deterministic=True), "exported graph", "cpu")
    parts = []
    for batch in batches:
        feeds = {"pixels": batch.pixels, "valid": batch.valid, "front": batch.front}
        given = {sae_card.MAPS: batch.pixels} if maps else feeds
        said = runner.run({name: value.numpy() for name, value in given.items()}, _WANTED)
        parts.append(said | {"front": batch.front.numpy(), "rows": batch.rows.numpy()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _told(info: Mapping[str, Any], found: Material) -> dict[str, Any]:
    return dict(info) | ({"shape": found.layer.shape} if found.layer else {})


def _found(
    module: Prepared, said: Mapping[str, NDArray[Any]], found: Material, info: Mapping[str, Any]
) -> dict[str, Any]:
    """Metrics and table of the card."""
    sample = (
        f"{found.galaxies.stamps.name} galaxies, held out" if info["mock"] else f"held-out galaxies of {info['data']}"
    )
    probes = {name: values[said["rows"]] for name, values in found.galaxies.probes.items()}
    figures = []
    for number, front in enumerate(FRONTS if found.layer is None else (None,)):
        rows = said["front"] == number if front else np.ones(len(said["fvu"]), np.bool_)
        if rows.any():
            part = {name: values[rows] for name, values in said.items()}
            figures += list(sae_measure.metrics(part, {n: v[rows] for n, v in probes.items()}, sample, front))
    strength = said["inner/strength"].astype(np.float64)
    alive = np.asarray((strength > 0).any(0))
    figures.append({"name": "redundancy: mean largest cosine between atoms", "sample": "the dictionary",
                    "objects": int(alive.sum()), "value": rounded(sae_measure.redundancy(module.sae.atoms(), alive))})  # fmt: skip
    return {
        "metrics": figures,
        "tables": [{
            "name": sae_card.CONCEPTS, "description": "concepts, measured on held-out galaxies",
            "columns": sae_measure.concept_table(strength, probes),
        }],
    }  # fmt: skip


def _calibration(
    module: Prepared, found: Material, info: Mapping[str, Any], views: int, error: float
) -> dict[str, Any]:
    """Where thresholds come from, of the sparsity if it has any and of the domain."""
    told: dict[str, Any] = {"domain_views": views, "torch_onnxruntime_difference": rounded(error)}
    if any(isinstance(part, Running) for part in module.modules()):
        batches = min(CALIBRATED, found.feed(info["batch"], 0).steps_per_epoch)
        told |= {"thresholds": "means over training batches", "batches": batches}
    return told
