"""From trained networks to a model file for stellar mass: rounded, proved, calibrated, measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from galcli.errors import ModelError
from galcli.models.card import Card
from galcli.models.session import Graph
from galcli.training import calibrate, export, proof
from galcli.training.fit import STATE
from galcli.training.interpret.information import empirical_prior
from galcli.training.progress import say
from galcli.training.recipes import mass_card
from galcli.training.recipes.asked import lookup
from galcli.training.recipes.mass import load_mass, require_learned, train_mass
from galcli.training.recipes.mass_data import TEST, TRAIN, VALIDATION, Galaxies, Source, batches, gather, with_gaps
from galcli.training.recipes.mass_graph import ExportedColumns, ExportedImages, ExportedMass, Posterior
from galcli.training.recipes.mass_measure import metrics
from galcli.training.recipes.mass_plan import INFRARED, PRESETS, Inputs, Parts
from galcli.training.recipes.mass_posterior import bins_of, centres, log_softmax, scores
from galcli.training.recipes.mass_task import Learner, MassTask

#: Training galaxies that fix the domain.
REFERENCE = 4_000
_BATCH = 64
#: Galaxies whose images are exchanged, to see whether they count.
_LOOKED = 16
#: What the card tells of the training of the networks beside that from all inputs.
_TOLD = ("inputs", "kind", "epochs")
#: Logarithms of the temperatures that are tried.
_TEMPERATURES = (-1.5, 1.5)

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Weights:
    """Files of the networks of a model.

    Attributes
    ----------
    both : Path
        From all inputs.
    parts : tuple of Path
        From each of two parts, or none.
    representation : Path or None
        Of the contrastive stage.
    """

    both: Path
    parts: tuple[Path, ...] = ()
    representation: Path | None = None

    @property
    def others(self) -> dict[str, Path]:
        """All but that from all inputs, by name."""
        found = dict(zip(("first", "second"), self.parts, strict=False))
        return found if self.representation is None else found | {"representation": self.representation}


def export_mass(weights: Weights, galaxies: Galaxies, parts: Parts, out: Path) -> Card:
    """Write a model file.

    Parameters
    ----------
    weights : Weights
    galaxies : Galaxies
        Those of the training: error bars come from the validation galaxies, metrics from the test galaxies.
    parts : Parts
        What the networks see.
    out : Path

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If torch and onnxruntime differ, or the weights are others.
    """
    names = parts.both.needed
    module, info = _assemble(weights, galaxies, names)
    lacking = with_gaps(
        galaxies, names, info["plan"]["blank"]
    )  # what is missing has its place in domain and error bars
    sample = _Sample(lacking, names)
    probe = sample.probe
    require_sight(module, probe(_LOOKED))
    export.freeze(module, probe(2))
    draft = export.to_onnx(module, probe(2), module.output_names())
    say(f"rounded network: torch and onnxruntime differ by at most {proof.prove(module, draft, probe):.1e}")
    trained, held = sample.measure(draft, TRAIN, REFERENCE), sample.measure(draft, VALIDATION)
    truth = galaxies.target[galaxies.rows(VALIDATION)]
    temperatures = _set_temperatures(module, held, truth)
    domain, conformal = _calibrate(trained, held, temperatures[0], truth)
    module.calibrated.set(domain, conformal)
    graph = export.to_onnx(module, probe(2), module.output_names())
    error = proof.prove(module, graph, probe)
    figures, told = _metrics(graph, module, galaxies, parts)
    found = {
        "metrics": figures,
        "calibration": told | {
            "method": conformal.method, "level": calibrate.LEVEL, "objects": conformal.objects,
            "width_depends_on_object": bool(conformal.local[0]), "temperatures": [round(one, 4) for one in temperatures],
            "domain_components": len(domain.std), "torch_onnxruntime_difference": float(f"{error:.3g}"),
        },
    }  # fmt: skip
    latents = 0 if module.representation is None else module.representation.network.estimator.latents
    card = Card.model_validate(mass_card.fields(info, parts, latents) | found)
    export.save(graph, card, out)
    say(f"model: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return card


def require_sight(module: ExportedMass, feeds: dict[str, Tensor]) -> None:
    """Refuse a network whose posterior is the same with the images of other galaxies: a layer of it has died.

    Raises
    ------
    ModelError
    """
    if "pixels" not in feeds:
        return
    place = module.output_names().index("inner/log12")
    with torch.inference_mode():
        own, others = (
            module(**(feeds | {"pixels": pixels}))[place] for pixels in (feeds["pixels"], feeds["pixels"].roll(1, 0))
        )
    if torch.equal(own, others):
        raise ModelError(
            "images change nothing of the posterior: a layer of their network has died",
            "train it anew, with another --seed or on more galaxies",
        )


def _assemble(
    weights: Weights, galaxies: Galaxies, names: tuple[str, ...]
) -> tuple[ExportedColumns | ExportedImages, dict[str, Any]]:  # fmt: skip
    both, inputs, info = load_mass(weights.both, names)
    require_learned(weights.both, info, galaxies, inputs)
    others = {name: load_mass(path, names) for name, path in weights.others.items()}
    for name, (_, seen, told) in others.items():
        require_learned(weights.others[name], told, galaxies, seen)
    info["networks"] = {name: {key: told[key] for key in _TOLD} for name, (_, _, told) in others.items()}
    networks = {name: network for name, (network, _, _) in others.items()}
    representation = networks.pop("representation", None)
    parts = [Posterior(network) for network in networks.values()]
    prior = empirical_prior(bins_of(galaxies.target[galaxies.rows(TRAIN)])).log_p
    kind = ExportedImages if inputs.images else ExportedColumns
    return kind(Posterior(both), parts, prior.tolist(), representation), info


def _metrics(
    graph: onnx.ModelProto, module: ExportedMass, galaxies: Galaxies, parts: Parts
) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
    """Metrics and calibration of the card: on test galaxies as they are, without infrared, and of the representation."""
    names = parts.both.needed
    test = _Sample(galaxies, names).measure(graph, TEST)
    infrared = np.array([name in INFRARED for name in names])
    bare = None
    if infrared.any() and not infrared[[name in parts.both.columns for name in names]].all():
        gone = np.broadcast_to(infrared, (len(galaxies), len(names)))
        bare = _Sample(galaxies.without(names, gone), names).measure(graph, TEST)
    latent = None
    if module.representation is not None:
        rows = galaxies.rows(TEST)
        with torch.inference_mode():
            log_posterior = MassTask(galaxies, names).predict(Learner(module.representation), rows)
        latent = scores(log_posterior, galaxies.target[rows])
    return metrics(test, bare, latent, galaxies, parts)


@dataclass(frozen=True)
class _Sample:
    """Inputs of the graph out of galaxies."""

    galaxies: Galaxies
    names: tuple[str, ...]

    def feeds(self, rows: NDArray[np.int64]) -> Iterator[dict[str, Tensor]]:
        """Batch by batch."""
        for batch in batches(self.galaxies, self.names, rows, _BATCH):
            columns = {"columns": batch.columns}
            if self.galaxies.stamps is None:
                yield columns
            else:
                yield {"pixels": batch.pixels, "valid": batch.valid, "front": batch.front} | columns

    def probe(self, count: int) -> dict[str, Tensor]:
        """Real galaxies for the comparison of torch and onnxruntime."""
        batch = next(self.feeds(self.galaxies.rows(VALIDATION)))
        rows = torch.arange(count) % len(batch["columns"])
        return {name: value[rows] for name, value in batch.items()}

    def measure(self, model: onnx.ModelProto, part: int, most: int | None = None) -> Values:
        """All outputs for the galaxies of a part, through onnxruntime as in `galcli predict`."""
        graph = Graph(model.SerializeToString(deterministic=True), "exported graph", "cpu")
        feeds = self.feeds(self.galaxies.rows(part)[:most])
        found = [graph.run({name: value.numpy() for name, value in batch.items()}) for batch in feeds]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _set_temperatures(module: ExportedMass, held: Values, truth: NDArray[np.float32]) -> list[float]:
    """Bring each posterior to the temperature at which the true masses are most probable."""
    bins = bins_of(truth)
    found = []
    for posterior, name in zip([module.both, *module.parts], ("inner/log12", "inner/log1", "inner/log2"), strict=False):
        assert isinstance(posterior, Posterior)
        temperature = _temperature(held[name].astype(np.float64), bins)
        posterior.temperature.fill_(temperature)
        found.append(temperature)
    return found


def _temperature(log_posterior: NDArray[np.float64], bins: NDArray[np.int64]) -> float:
    rows = np.arange(len(bins))

    def entropy(log_temperature: float) -> float:
        scaled = log_posterior / math.exp(log_temperature)
        top = scaled.max(1)
        return float((top + np.log(np.exp(scaled - top[:, None]).sum(1)) - scaled[rows, bins]).mean())

    return math.exp(float(minimize_scalar(entropy, bounds=_TEMPERATURES, method="bounded").x))


def _calibrate(
    trained: Values, held: Values, temperature: float, truth: NDArray[np.float32]
) -> tuple[calibrate.Domain, calibrate.Conformal]:  # fmt: skip
    features = held["inner/features"].astype(np.float64)
    front = np.zeros(len(features), np.int64)
    domain = calibrate.fit_domain(trained["inner/features"].astype(np.float64), features, front, 1)
    mean = np.exp(log_softmax((held["inner/log12"] / temperature).astype(np.float32)).astype(np.float64)) @ centres()
    residual = (mean - truth)[:, None]
    return domain, calibrate.fit_conformal(residual, domain.scores(features), front, 1)


def train_and_export(
    out: Path, source: Source, parts: Parts, *, contrastive: bool = False, resume: bool = False,
    minutes: float | None = None, preset: str = "default", split: str = "seed", **how: Any,
) -> Path:  # fmt: skip
    """Train the networks of a model, and write its file.

    Parameters
    ----------
    out : Path
        Folder for the model file, and a folder of each network.
    source : Source
    parts : Parts
        What the networks see.
    contrastive : bool
        Also train the representation of causal tests (of all inputs).
    resume, minutes, preset, split, **how
        As for ``train_mass``; the time is shared by the networks with images, or by all where there are none.

    Returns
    -------
    Path

    Raises
    ------
    GalcliError
        As ``train_mass`` and ``export_mass``.
    """
    plan = lookup(PRESETS, preset, "preset")
    galaxies = gather(parts.both, plan.images if parts.both.images else plan.objects, source, split)
    if plan.published:
        galaxies = galaxies.complete(parts.both.needed)
    networks: dict[str, Inputs] = {}
    if parts.second is not None:
        networks |= {"first": parts.first, "second": parts.second}
    networks["both"] = parts.both
    if contrastive:
        networks["representation"] = parts.both
    alone = next((name for name, inputs in networks.items() if inputs == plan.base(parts.both)), "")
    sharing = sum(inputs.images == parts.both.images for inputs in networks.values())
    files: dict[str, Path] = {}
    for name, inputs in networks.items():
        folder = out / name
        say(f"network {name}: {', '.join(inputs.seen)}{f' and images in {inputs.bands}' if inputs.images else ''}")
        share = minutes / sharing if minutes is not None and inputs.images == parts.both.images else None
        files[name] = train_mass(
            folder, source, inputs, kind="scl" if name == "representation" else "mi", preset=preset, split=split,
            resume=resume and any(folder.rglob(STATE)), minutes=share, given=galaxies, base=files.get(alone), **how,
        )  # fmt: skip
    model = out / f"{mass_card.name_of(parts)}.onnx"
    told = tuple(files[name] for name in ("first", "second") if name in files)
    export_mass(Weights(files["both"], told, files.get("representation")), galaxies, parts, model)
    return model
