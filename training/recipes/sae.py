"""``galcli train sae``: a dictionary of concepts for images, or for the inner maps of a model (models.md section 4)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galcli.errors import UsageError
from galcli.training import checkpoint
from galcli.training.data import Batch
from galcli.training.fit import STATE, Feed, Fit, Settings, require_new
from galcli.training.networks.robust import RobustPixels
from galcli.training.networks.sae import FeedForward
from galcli.training.pixels import FRONTS
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup
from galcli.training.recipes.sae_data import Cutouts, Galaxies, Source, gather, held_images
from galcli.training.recipes.sae_features import Layer, MapFeed, Maps, held_maps, maps_of, open_layer
from galcli.training.recipes.sae_network import Prepared, Scaled
from galcli.training.recipes.sae_plan import PRESETS, Design, Preset, design
from galcli.training.recipes.sae_task import RESTING, Reconstruction, UnitNorm
from galcli.training.recipes.stages import Stage, steps_of
from galcli.training.seeds import mix

WEIGHTS, METRICS = "weights.safetensors", "metrics.json"
#: What `--on` says for cutouts, and how it begins for inner maps.
IMAGES, FEATURES = "images", "features:"
#: Steps between two validations at least.
LEAST_EPOCH = 50
#: Training objects whose mean the offset begins with.
MEANED = 1024


@dataclass(frozen=True)
class Asked:
    """Which autoencoder is wanted.

    Attributes
    ----------
    on : str
        `IMAGES`, or `FEATURES` with MODEL or MODEL:LAYER.
    kind : str
        See `sae_plan.Design`, also for the others.
    sparsity : str
    concepts, active, lift : int or None
    penalty : float or None
    nested : bool
        Train every part of the dictionary as one of its own.
    """

    on: str = IMAGES
    kind: Any = "fno"
    sparsity: Any = "topk"
    concepts: int | None = None
    active: int | None = None
    lift: int | None = None
    penalty: float | None = None
    nested: bool = False

    @property
    def layer(self) -> str | None:
        """MODEL or MODEL:LAYER; None: images.

        Raises
        ------
        UsageError
            For anything else.
        """
        if self.on == IMAGES:
            return None
        if not self.on.startswith(FEATURES) or self.on == FEATURES:
            raise UsageError(
                f"--on {self.on} is neither images nor inner maps", "give images, or features:MODEL[:LAYER]"
            )
        return self.on.removeprefix(FEATURES)

    def design(self, layer: Layer | None) -> Design:
        """The autoencoder for images, or for maps of a layer."""
        channels, side = (3, None) if layer is None else (layer.shape[0], min(layer.shape[1:]))
        return design(self.kind, channels, side, concepts=self.concepts, active=self.active, lift=self.lift,
                      sparsity=self.sparsity, penalty=self.penalty)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What an autoencoder learns from.

    Attributes
    ----------
    galaxies : Galaxies
    layer : Layer or None
        Whose maps; None: images.
    maps : Maps or None
    """

    galaxies: Galaxies
    layer: Layer | None = None
    maps: Maps | None = None

    @property
    def cells(self) -> int:
        """Cells of a map; of images as they are."""
        return self.galaxies.stamps.size**2 if self.layer is None else self.layer.shape[1] * self.layer.shape[2]

    def feed(self, batch: int, seed: int) -> Feed:
        """Training batches."""
        return Cutouts.of(self.galaxies, batch, seed) if self.maps is None else MapFeed(self.maps, batch, seed)

    def held(self, seed: int) -> Callable[[bool], Iterable[Batch]]:
        """Held-out batches: all, or a part."""
        maps = self.maps
        return (
            (lambda whole: held_images(self.galaxies, seed, whole))
            if maps is None
            else (lambda whole: held_maps(maps, whole))
        )

    def front(self) -> nn.Module:
        """From a batch to what is coded."""
        return RobustPixels(FRONTS) if self.maps is None else Scaled(self.maps.scatter)


def material(asked: Asked, plan: Preset, source: Source) -> Material:
    """Galaxies, and the maps of the model where one is asked for.

    Raises
    ------
    GalcliError
        As ``sae_data.gather``, ``sae_features.open_layer`` and ``maps_of``.
    """
    if asked.layer is None:
        return Material(gather(plan, source))
    layer = open_layer(asked.layer)
    maps = maps_of(layer, plan, source)
    return Material(maps.galaxies, layer, maps)


def train_sae(
    out: Path, source: Source, asked: Asked, *, preset: str = "default", resume: bool = False,
    minutes: float | None = None, epochs: float | None = None, device: str = "auto", given: Material | None = None,
) -> Path:  # fmt: skip
    """Train a sparse autoencoder; write its weights and metrics.

    Parameters
    ----------
    out : Path
        Folder for the state, the weights and the metrics.
    source : Source
        Where the galaxies come from; its seed is also that of the weights and every step.
    asked : Asked
    preset : str
        Key of ``PRESETS``.
    resume : bool
        Go on from the state in ``out``.
    minutes : float, optional
        Time for training; without it the preset's epochs are run.
    epochs : float, optional
        Passes over the galaxies, instead of those of the preset.
    device : 'auto', 'cpu' or 'cuda'
    given : Material, optional
        What ``material`` gives for these arguments, where it is known already.

    Returns
    -------
    Path
        The weights file, beside which lies ``metrics.json``.

    Raises
    ------
    UsageError
        For an unknown preset, numbers that contradict each other, or epochs beside a time.
    GalcliError
        As ``material``.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    check(out, source, asked, preset=preset, resume=resume, minutes=minutes, epochs=epochs)
    plan, seed = PRESETS[preset], source.seed
    found = given or material(asked, plan, source)
    made = asked.design(found.layer)
    vectors = made.kind == "mlp" and found.layer is not None
    batch = min(plan.images(found.cells if vectors else 0), len(found.galaxies.rows))
    feed, held = found.feed(batch, mix(seed, 1)), found.held(seed)
    torch.manual_seed(seed)
    module = Prepared(found.front(), made)
    begin(module, feed, max(1, MEANED // batch), made.active)
    task = Reconstruction(held, asked.nested, RESTING * made.concepts / made.active)
    identity = {
        "design": made.told(), "nested": asked.nested, "on": asked.on, "preset": preset, "plan": asdict(plan), "seed": seed,
        "mock": found.galaxies.mock, "minutes": minutes, "epochs": epochs, "batch": batch,
        "backbone": found.layer.model.sha256 if found.layer else None, "sample": found.galaxies.stamps.describe(),
        "stamps": found.galaxies.stamps.key, "reading": source.reading.told,
    }  # fmt: skip
    stage = Stage(found.galaxies.stamps.size, found.galaxies.stamps.pixel_scale, epochs or plan.epochs)
    left = None if resume and (out / STATE).exists() else minutes
    steps = steps_of([stage], batch, [feed], module, task, device, left, None)
    settings = Settings(
        tuple(max(1, count) for count in steps), plan.lr, schedule="warm_cosine", optimizer="relative_adamw",
        weight_decay=plan.weight_decay, least_epoch=LEAST_EPOCH, seed=seed, device=device, identity=identity,
    )  # fmt: skip
    fit = Fit(module, task, [feed], settings, out, UnitNorm())
    fit.run(resume)
    return _write(out, fit, found, source, identity)


def check(
    out: Path, source: Source, asked: Asked, *, preset: str = "default", resume: bool = False,
    minutes: float | None = None, epochs: float | None = None, **rest: Any,
) -> None:  # fmt: skip
    """Refuse what ``train_sae`` cannot do, before any galaxy is read; arguments and errors are its own."""
    lookup(PRESETS, preset, "preset")
    source.check()
    asked.design(open_layer(asked.layer) if asked.layer else None)
    if minutes is not None and epochs is not None:
        raise UsageError("epochs are given beside a time, which sets the length too", "give one of them")
    if not resume:
        require_new(out)


@torch.no_grad()
def begin(module: Prepared, feed: Feed, batches: int, active: int) -> None:
    """Set the offset to the mean of training data, codes to the scale at which atoms reconstruct them best, and thresholds.

    Parameters
    ----------
    module : Prepared
        With random atoms, and an encoder of the same weights.
    feed : Feed
    batches : int
        How many are looked at.
    active : int
        Concepts of a cell that pass thresholds which are learned.
    """
    sae, total, count = module.sae, torch.zeros(1), 0
    assert sae.offset is not None
    assert isinstance(sae.encoder, FeedForward)
    for batch in map(feed.batch, range(batches)):
        x = _lifted(module, batch)
        total, count = total + x.double().mean((2, 3)).sum(0), count + len(batch)
    sae.offset.copy_((total / count).float().reshape(-1, 1, 1))
    x = _lifted(module, feed.batch(0)) - sae.offset
    u = sae.encoder.weights.correlate(x)
    sae.encoder.sparsity.begin(u, active)
    probe = copy.deepcopy(sae.encoder)  # so that its running thresholds learn nothing yet
    made = sae.dictionary.synthesise(probe(x, sae.dictionary)[1])
    scale = float((x * made).sum() / made.square().sum())
    sae.encoder.scale_(scale)
    sae.encoder.sparsity.begin(scale * u, active)


def _lifted(module: Prepared, batch: Batch) -> Tensor:
    x = module.data(batch.pixels, batch.valid, batch.front)
    return x if module.sae.lift is None else module.sae.lift.raise_(x)


def _write(out: Path, fit: Fit, found: Material, source: Source, identity: dict[str, Any]) -> Path:
    """Weights and metrics of a finished training."""
    figures = fit.validate(0)
    history, galaxies = fit.history, found.galaxies
    objects = len(galaxies.rows)
    description = identity | {
        "recipe": "sae", "data": source.name, "objects": objects, "epochs": history.images / objects,
        "layer": found.layer.name if found.layer else None,
        "model": found.layer.model.name if found.layer else None,
        "scatter": float(found.maps.scatter) if found.maps else None,
    }  # fmt: skip
    held = {"sample": f"{galaxies.stamps.name}, held out", "objects": len(np.unique(galaxies.held))} | figures
    # Equal trainings give equal weights: the time stands in the metrics alone, with the history.
    checkpoint.write_json(out / METRICS, {"training": description, "held_out": held, **vars(history)})
    checkpoint.save(out / WEIGHTS, fit.module.state_dict(), description)
    say(f"weights: {out / WEIGHTS}")
    units = {"l0": " per cell"} if identity["design"]["kind"] == "mlp" else {}
    say("  ".join(f"{name} {value:.4f}{units.get(name, '')}" for name, value in figures.items()))
    return out / WEIGHTS
