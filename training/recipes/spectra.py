"""``galcli train spectra``: the spectrum of a galaxy from its image (Wu & Peek 2020; models.md section 3)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galcli.errors import InputError
from galcli.training import checkpoint
from galcli.training.data import Feed, Stamps, take
from galcli.training.fit import STATE, Fit, Settings, require_new
from galcli.training.fit import Feed as AnyFeed
from galcli.training.networks.flux import FluxPixels
from galcli.training.networks.xresnet import NETWORKS, ConvNet, build
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup, require_one_length
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.spectra_data import Observed, Source, gather
from galcli.training.recipes.spectra_plan import FRONT, FRONTS, PRESETS, Preset
from galcli.training.recipes.spectra_task import LatentTask
from galcli.training.recipes.stages import STREAMED_EPOCH, Stage, steps_of
from galcli.training.recipes.vae_coder import Coder
from galcli.training.regression import normalisation
from galcli.training.seeds import mix
from galcli.training.sources import EVERY, Labels, MockStream, bands_of, mock_population
from galcli.training.spectra.mock import observe_spectra

WEIGHTS, METRICS = "weights.safetensors", "metrics.json"
#: Stamps on which the sky noise is measured.
_NOISE = 512
#: Fluxes are compressed from this many times the sky noise of the first stage on, whose pixels may be coarser than the
#: model's: about twice the noise of those.
_SOFTENING = 3.0


def train_spectra(
    out: Path, source: Source, coder: Coder, *, network: str = "xresnet18-hybrid", preset: str = "default",
    resume: bool = False, minutes: float | None = None, epochs: float | None = None, split: str = "seed",
    device: str = "auto", stream: int | None = None, dropout: float = 0.0, observed: Observed | None = None,
    least_held: int = 0,
) -> Path:  # fmt: skip
    """Train a network from images to latents of spectra; write its weights and metrics.

    Parameters
    ----------
    out : Path
        Folder for the state, the weights and the metrics.
    source : Source
        Where the galaxies come from; its seed is also that of the weights and every step.
    coder : Coder
        The autoencoder that describes the spectra.
    network : str
        Key of ``xresnet.NETWORKS``.
    preset : str
        Key of ``PRESETS``.
    resume : bool
        Go on from the state in ``out``.
    minutes : float, optional
        Time for training; without it the preset's epochs are run.
    epochs : float, optional
        Passes over the galaxies, instead of those of the preset.
    split : 'seed' or 'tile'
        How galaxies are held out: at random, or by whole HEALPix tiles.
    device : 'auto', 'cpu' or 'cuda'
    stream : int, optional
        Learn from this many mock galaxies, drawn as they are needed and each seen once (for a GPU); the set of
        the source then serves validation alone.
    dropout : float
        Share of the last features that is left out at random, for the scatter of dropout ensembles.
    observed : Observed, optional
        What ``gather`` gives for this source, where it is known already.
    least_held : int
        Galaxies that must be held out, for what is measured on them afterwards.

    Returns
    -------
    Path
        The weights file, beside which lies ``metrics.json``.

    Raises
    ------
    UsageError
        For an unknown network or preset, a stream beside a catalogue, or epochs beside a time or a stream.
    InputError
        If too few galaxies have spectra and pixels.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    lookup(NETWORKS, network, "network")
    plan, seed = lookup(PRESETS, preset, "preset"), source.seed
    require_one_length(source.catalog is not None, stream, minutes, epochs)
    if not resume:
        require_new(out)
    if source.catalog is None and observed is None:
        say("no catalogue given: training on the mock survey")
    sample = (observed or gather(plan, source, coder, split)).sample
    if (held := len(sample.rows(-1, held=True))) < least_held:
        raise InputError(
            f"{held} galaxies are held out, fewer than the {least_held} that error bars are measured on",
            "give more galaxies" if split == "seed" else "give galaxies of more patches of sky, or use --split seed",
        )
    torch.manual_seed(seed)
    module = build(network, len(bands_of(FRONT)), coder.latents, dropout)
    feeds: list[AnyFeed] = [_feed(sample, number, plan, seed) for number in range(len(plan.stages))]
    task = LatentTask(_pixels(out, sample, plan, feeds[0], resume), sample)
    if stream is not None:
        feeds = [_streamed(stage, plan, coder, mix(seed, 7, number), device)
                 for number, stage in enumerate(plan.stages)]  # fmt: skip
    identity = {
        "network": network, "preset": preset, "plan": asdict(plan), "seed": seed, "split": split, "mock": sample.mock,
        "minutes": minutes, "epochs": epochs, "stream": stream, "dropout": dropout,
        "encoder": coder.encoder.sha256, "samples": [stamps.describe() for stamps in sample.stamps],
        "stamps": [stamps.key for stamps in sample.stamps], "learned": sample.digest(), "reading": source.reading.told,
    }  # fmt: skip
    left = None if resume and (out / STATE).exists() else minutes
    steps = steps_of(plan.stages, plan.batch, feeds, module, task, device, left, stream)
    if epochs is not None:
        steps = tuple(max(1, round(epochs * stage.share * feed.steps_per_epoch))
                      for stage, feed in zip(plan.stages, feeds, strict=True))  # fmt: skip
    settings = Settings(steps, NETWORKS[network].lr, seed=seed, device=device, identity=identity)
    fit = Fit(module, task, feeds, settings, out)
    fit.run(resume)
    return _write(out, fit, task, sample, identity | {"data": None if source.catalog is None else source.catalog.name})


def _feed(sample: Sample, stage: int, plan: Preset, seed: int) -> Feed:
    rows = sample.rows(stage, held=False)
    if len(rows) < plan.batch:
        raise InputError(
            f"{len(rows)} galaxies with spectra and pixels are left for training, fewer than a batch of {plan.batch}",
            "give more galaxies",
        )
    stamps = sample.stamps[stage]
    return Feed(stamps, rows, sample.target, plan.batch, mix(seed, stage), plan.looks)


def _streamed(stage: Stage, plan: Preset, coder: Coder, seed: int, device: str) -> MockStream:
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"

    def latents(labels: Labels, chunk: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Of the galaxies that ``mock_chunk`` draws with the seed of a chunk."""
        galaxies, _ = mock_population(len(next(iter(labels.values()))), mix(chunk, 0), EVERY, where)
        return coder.encode(coder.normalise(observe_spectra(galaxies, chunk)[0])[0])

    return MockStream(
        stage.size, stage.pixel_scale, FRONTS, EVERY, latents, plan.batch, seed, plan.looks,
        STREAMED_EPOCH // plan.batch, where, FRONTS, plan.stages[-1].pixel_scale,
    )  # fmt: skip


def _pixels(out: Path, sample: Sample, plan: Preset, feed: AnyFeed, resume: bool) -> FluxPixels:
    """How fluxes become the network's input; measured once per training."""
    path = out / "normalisation.json"
    if resume and path.exists():
        return FluxPixels(**json.loads(path.read_text()))
    bands = len(bands_of(FRONT))
    softening = _softening(sample.stamps[0], sample.rows(0, held=False)) if plan.asinh else None
    idle = FluxPixels([0.0] * bands, [1.0] * bands, softening)
    mean, std = normalisation(feed, lambda batch: idle.compress(batch.pixels, batch.valid))
    stored: dict[str, Any] = {"mean": mean, "std": std, "softening": softening}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(path, stored)
    return FluxPixels(**stored)


def _softening(stamps: Stamps, rows: np.ndarray[Any, np.dtype[np.int64]]) -> list[float]:
    """A few times the sky noise of each band in these stamps, in nanomaggies over the area of a pixel of the model."""
    pixels = take(stamps, rows[:_NOISE])[0].transpose(0, 1).flatten(1)
    spread = (pixels - pixels.median(1, keepdim=True).values).abs().median(1).values
    return [float(f"{value:.4g}") for value in (_SOFTENING * 1.4826 * spread).tolist()]


def _write(out: Path, fit: Fit, task: LatentTask, sample: Sample, facts: dict[str, Any]) -> Path:
    """Weights and metrics of a finished training."""
    assert isinstance(fit.module, ConvNet)
    last = sample.stamps[-1]
    if not task.metrics:  # the training on disk was complete, and so its last validation is not in memory
        fit.validate(len(sample.stamps) - 1)
    history = fit.history
    objects = history.images if facts["stream"] else len(sample.rows(0, held=False))
    description = facts | {
        "recipe": "spectra", "latents": fit.module.fc.out_features, "size": last.size,
        "pixel_scale": last.pixel_scale, "objects": objects, "epochs": history.images / objects,
        **json.loads((out / "normalisation.json").read_text()),
    }  # fmt: skip
    held = {"sample": f"{last.name}, held out", "latents": task.metrics}
    # Equal trainings give equal weights: the time stands in the metrics alone, with the history.
    checkpoint.write_json(out / METRICS, {"training": description, "held_out": held, **vars(history)})
    checkpoint.save(out / WEIGHTS, fit.module.state_dict(), description)
    say(f"weights: {out / WEIGHTS}")
    for name, one in task.metrics.items():
        say(f"{name}: rmse {one['rmse']:.4f}, bias {one['bias']:+.4f}, {one['objects']} objects")
    return out / WEIGHTS
