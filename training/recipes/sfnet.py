"""``galcli train sfnet``: metallicity or emission lines from images through a sparse network (models.md section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from galcli.errors import InputError, UsageError
from galcli.training import checkpoint
from galcli.training.data import Feed
from galcli.training.fit import STATE, Fit, Settings, require_new
from galcli.training.fit import Feed as AnyFeed
from galcli.training.networks.sfnet import SFNet
from galcli.training.pixels import Pixels
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup, require_one_length
from galcli.training.recipes.fronts import fronts_of
from galcli.training.recipes.initial import start_from
from galcli.training.recipes.normalised import normalised
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.sfnet_data import Source, Split, gather
from galcli.training.recipes.sfnet_plan import PRESETS, TARGETS, Preset, Target
from galcli.training.recipes.stages import STREAMED_EPOCH, Stage, steps_of
from galcli.training.regression import Regression
from galcli.training.seeds import mix
from galcli.training.sources import Choice, MockStream
from galcli.training.survey import Reading

#: Files of a finished training.
WEIGHTS, METRICS = "weights.safetensors", "metrics.json"


def train(
    target: str = "metallicity",
    *,
    out: Path,
    catalog: Path | None = None,
    cutouts: Path | None = None,
    label_columns: Sequence[str] | None = None,
    preset: str = "default",
    init: Path | None = None,
    seed: int = 256,
    resume: bool = False,
    minutes: float | None = None,
    objects: int | None = None,
    k: int = 4,
    split: Split = "seed",
    cache: Path | None = None,
    device: str = "auto",
    stream: int | None = None,
    reading: Reading | None = None,
) -> Path:
    """Train SFNet and write its weights and metrics.

    Parameters
    ----------
    target : 'metallicity' or 'lines'
        What is predicted.
    out : Path
        Folder for the state, the weights and the metrics.
    catalog, cutouts : Path, optional
        A labelled survey; without a catalogue the mock survey is used.
    label_columns : sequence of str, optional
        Columns of the catalogue that stand in for ``TARGETS[target].labels``, in their order.
    preset : str
        Key of ``PRESETS``.
    init : Path, optional
        Initial weights: torchvision's ResNet-18, or an earlier training.
    seed : int
        Seed of the split, the weights and every step.
    resume : bool
        Go on from the state in ``out``.
    minutes : float, optional
        Time for training; the schedule is fitted to it, at the rate measured at the start. Without it the preset's
        epochs are run.
    objects : int, optional
        Galaxies of the mock set, or rows of the catalogue, at most.
    k : int
        Active features.
    split : 'seed' or 'tile'
        How galaxies are held out: at random, or by whole HEALPix tiles.
    cache : Path, optional
        Where stamps are kept; ``out``/cache without it.
    device : 'auto', 'cpu' or 'cuda'
        Where to train.
    stream : int, optional
        Learn from this many mock galaxies, drawn as they are needed and each seen once (for a GPU); the set of
        ``objects`` galaxies then serves validation alone.
    reading : Reading, optional
        How the catalogue and its cutouts are read, where they do not say so themselves.

    Returns
    -------
    Path
        The weights file, beside which lies ``metrics.json``.

    Raises
    ------
    UsageError
        For an unknown target or preset, a stream beside a catalogue, or a reading without one.
    InputError
        If too few galaxies have labels and pixels.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    chosen, plan = lookup(TARGETS, target, "target"), lookup(PRESETS, preset, "preset")
    require_one_length(catalog is not None, stream)
    reading = reading or Reading()
    if not resume:
        require_new(out)
    if catalog is None and reading.told:
        raise UsageError(f"nothing to read with {', '.join(reading.told)}", "name the survey with --catalog")
    source = Source(cache or out / "cache", seed, objects, catalog, cutouts, tuple(label_columns or ()), reading)
    if catalog is None:
        say("no catalogue given: training on the mock survey")
    torch.manual_seed(seed)
    network = SFNet(len(chosen.outputs), k)
    start = start_from(network, init, None if catalog is None else catalog.name, seed)
    sample = gather(chosen, plan, source, split)
    feeds: list[AnyFeed] = [_feed(sample, number, plan, seed) for number in range(len(plan.stages))]
    if stream is not None:
        seeds = [mix(seed, 7, number) for number in range(len(plan.stages))]
        feeds = [_streamed(chosen, stage, plan, one, device) for stage, one in zip(plan.stages, seeds, strict=True)]
    if plan.centred:
        with torch.no_grad():
            network.fc.bias.copy_(torch.from_numpy(sample.target[sample.rows(0, False)].mean(0)))
    task = _task(sample, chosen, plan, normalised(out, feeds[0], resume, known=start.normalisation), seed)
    identity = {
        "target": target, "preset": preset, "seed": seed, "k": k, "split": split, "mock": sample.mock,
        "init": str(init) if init else None, "minutes": minutes, "samples": [s.describe() for s in sample.stamps],
        "plan": asdict(plan), "stream": stream, "learned": None if catalog is None else sample.digest(),
    }  # fmt: skip
    if reading.told:
        identity["reading"] = reading.told
    settled = resume and (out / STATE).exists()  # then the steps of each stage stand in the state
    left = None if settled else minutes
    steps = steps_of(plan.stages, plan.batch, feeds, network, task, device, left, stream)
    settings = Settings(steps, plan.lr, plan.schedule, seed=seed, device=device, identity=identity)
    fit = Fit(network, task, feeds, settings, out)
    fit.run(resume)
    known = {
        "init": start.told,
        "label_columns": list(source.columns),
        "data": None if catalog is None else catalog.name,
    }
    return _write(out, fit, task, sample, identity | known)


def _feed(sample: Sample, stage: int, plan: Preset, seed: int) -> Feed:
    rows = sample.rows(stage, held=False)
    if len(rows) < plan.batch:
        raise InputError(
            f"{len(rows)} galaxies with labels and pixels are left for training, fewer than a batch of {plan.batch}",
            "check --label-columns and the selection, or give more galaxies",
        )
    stamps = sample.stamps[stage]
    return Feed(stamps, rows, sample.target, plan.batch, mix(seed, stage), plan.looks)


def _streamed(target: Target, stage: Stage, plan: Preset, seed: int, device: str) -> MockStream:
    gpu = device != "cpu" and torch.cuda.is_available()
    return MockStream(
        stage.size, stage.pixel_scale, plan.fronts, Choice(target.labels, target.select),
        lambda labels, _: target.values(labels), plan.batch, seed,
        plan.looks, STREAMED_EPOCH // plan.batch, "cuda" if gpu else "cpu",
    )  # fmt: skip


def _task(sample: Sample, target: Target, plan: Preset, pixels: Pixels, seed: int) -> Regression:
    rows = [sample.rows(stage, held=True) for stage in range(len(plan.stages))]
    return Regression(
        pixels, sample.stamps, rows, sample.target, target.outputs,
        fronts=fronts_of(sample, plan.display), servers=plan.servers, seed=seed,
    )  # fmt: skip


def _write(out: Path, fit: Fit, task: Regression, sample: Sample, facts: dict[str, Any]) -> Path:
    """Weights and metrics of a finished training."""
    network, last = fit.module, len(sample.stamps) - 1
    if not task.metrics:  # the training on disk was complete, and so its last validation is not in memory
        fit.validate(last)
    history = fit.history
    objects = history.images if facts["stream"] else len(sample.rows(0, held=False))
    description = facts | {
        "recipe": "sfnet", "n_out": len(task.names), "outputs": list(task.names), "fronts": list(task.fronts),
        "mean": task.pixels.mean.flatten().tolist(), "std": task.pixels.std.flatten().tolist(),
        "size": sample.stamps[last].size, "pixel_scale": sample.stamps[last].pixel_scale,
        "objects": objects, "epochs": history.images / objects, "seconds": round(history.seconds, 1),
    }  # fmt: skip
    figures = {"sample": f"{sample.stamps[last].name}, held out", "fronts": task.metrics}
    checkpoint.write_json(out / METRICS, {"training": description, "held_out": figures, **vars(history)})
    checkpoint.save(out / WEIGHTS, network.state_dict(), description)
    say(f"weights: {out / WEIGHTS}")
    for front, outputs in task.metrics.items():
        for name, one in outputs.items():
            say(f"{front:9s} {name}: rmse {one['rmse']:.4f}, bias {one['bias']:+.4f}, {one['objects']} objects")
    return out / WEIGHTS
