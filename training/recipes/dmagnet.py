"""``galcli train dmagnet``: the class of a galaxy from its image (DMAGNet; models.md section 5)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galcli.errors import InputError, UsageError
from galcli.training import checkpoint
from galcli.training.classification import Classification, balanced_weights
from galcli.training.data import Feed
from galcli.training.fit import STATE, Fit, Settings, require_new
from galcli.training.fit import Feed as AnyFeed
from galcli.training.galaxy10 import NAMES
from galcli.training.keeping import Keep
from galcli.training.networks.morphology import NETWORKS
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup, require_one_length
from galcli.training.recipes.dmagnet_data import LABEL, SEEN_AS, Labelled, Source, gather, mock_choice
from galcli.training.recipes.dmagnet_plan import PRESETS, Preset
from galcli.training.recipes.fronts import fronts_of
from galcli.training.recipes.initial import start_from
from galcli.training.recipes.normalised import normalised
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.stages import STREAMED_EPOCH, steps_of
from galcli.training.seeds import mix
from galcli.training.sources import MockStream

WEIGHTS, METRICS = "weights.safetensors", "metrics.json"
#: Validation figure whose best epoch is kept.
FIGURE = "macro_f1"
#: Mock galaxies per front that choose it; of a survey, all that are held out.
GLANCE = 1000
#: Images between two validations at least, however small the set.
LEAST_EPOCH = 4096


def train_dmagnet(
    out: Path, source: Source, *, network: str = "dmagnet", preset: str = "default", resume: bool = False,
    minutes: float | None = None, epochs: float | None = None, device: str = "auto", stream: int | None = None,
    class_weights: bool = False, average: float | None = None, patience: int | None = None,
    init: Path | None = None, labelled: Labelled | None = None,
) -> Path:  # fmt: skip
    """Train a network of galaxy morphology; write its weights and metrics.

    Parameters
    ----------
    out : Path
        Folder for the state, the weights and the metrics.
    source : Source
        Where the galaxies come from; its seed is also that of the weights and every step.
    network : str
        Key of ``morphology.NETWORKS``.
    preset : str
        Key of ``PRESETS``.
    resume : bool
        Go on from the state in ``out``.
    minutes : float, optional
        Time for training; without it the preset's epochs are run.
    epochs : float, optional
        Passes over the galaxies, instead of those of the preset.
    device : 'auto', 'cpu' or 'cuda'
    stream : int, optional
        Learn from this many mock galaxies, drawn as they are needed and each seen once (for a GPU); the set of the
        source then serves validation alone.
    class_weights : bool
        Let every class count the same in the loss.
    average : float, optional
        Keep the exponential moving average of the weights, of this decay per step.
    patience : int, optional
        Epochs, of at least `LEAST_EPOCH` images, on the last stage without a better macro F1 after which the training
        ends.
    init : Path, optional
        Initial weights: ``weights.safetensors`` of an earlier training.
    labelled : Labelled, optional
        What ``gather`` gives for this source, where it is known already.

    Returns
    -------
    Path
        The weights file, beside which lies ``metrics.json``.

    Raises
    ------
    UsageError
        For an unknown network or preset, a stream beside a survey, epochs beside a time or a stream, or a preset
        that goes on from an earlier training without its weights, or weights that know the galaxies held out.
    InputError
        If too few galaxies have classes and pixels.
    ModelError
        If the initial weights are damaged, or not of this network.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    check(out, source, network=network, preset=preset, resume=resume, minutes=minutes, epochs=epochs, stream=stream,
          init=init)  # fmt: skip
    plan, seed = PRESETS[preset], source.seed
    sample = (labelled or gather(plan, source)).sample
    torch.manual_seed(seed)
    module = NETWORKS[network](len(NAMES))
    start = start_from(module, init, source.name, seed)
    feeds: list[AnyFeed] = [_feed(sample, number, plan, seed) for number in range(len(plan.stages))]
    pixels = normalised(out, feeds[0], resume, plan.stages[-1].pixel_scale, start.normalisation)
    steps = _steps(plan, feeds, sample, epochs)
    if stream is not None:
        feeds = [_streamed(number, plan, mix(seed, 7, number), device) for number in range(len(plan.stages))]
    labels = sample.target[sample.rows(0, held=False), 0].astype(np.int64)
    weights = balanced_weights(labels, len(NAMES)) if class_weights else None
    held = np.random.default_rng(seed).permutation(sample.rows(0, held=True))  # surveys may be sorted by class
    rows = [held] * len(plan.stages)
    task = Classification(
        pixels,
        sample.stamps,
        rows,
        sample.target,
        NAMES,
        glance=GLANCE if sample.mock else len(held),
        fronts=fronts_of(sample, plan.display),
        seed=seed,
        servers=plan.servers,
        weights=weights,
    )
    identity = {
        "network": network, "preset": preset, "plan": asdict(plan), "seed": seed, "mock": sample.mock,
        "minutes": minutes, "epochs": epochs, "stream": stream, "class_weights": class_weights, "average": average,
        "patience": patience, "init": str(init) if init else None, "samples": [stamps.describe() for stamps in sample.stamps],
        "stamps": [stamps.key for stamps in sample.stamps], "learned": sample.digest(), "reading": source.reading.told,
    }  # fmt: skip
    if stream is not None or minutes is not None:
        left = None if resume and (out / STATE).exists() else minutes
        steps = steps_of(plan.stages, plan.batch, feeds, module, task, device, left, stream)
    settings = Settings(
        steps, plan.lr, schedule="warm_cosine", optimizer="adamw", weight_decay=plan.weight_decay,
        keep=Keep(average, FIGURE, patience),
        least_epoch=-(-LEAST_EPOCH // plan.batch), seed=seed, device=device, identity=identity,
    )  # fmt: skip
    fit = Fit(module, task, feeds, settings, out)
    fit.run(resume)
    return _write(out, fit, task, sample, identity | {"data": source.name, "init": start.told})


def check(
    out: Path, source: Source, *, network: str = "dmagnet", preset: str = "default", resume: bool = False,
    minutes: float | None = None, epochs: float | None = None, stream: int | None = None,
    init: Path | None = None, **rest: Any,
) -> None:  # fmt: skip
    """Refuse what ``train_dmagnet`` cannot do, before any galaxy is read; arguments and errors are its own."""
    lookup(NETWORKS, network, "network")
    if lookup(PRESETS, preset, "preset").goes_on and init is None:
        raise UsageError(f"the preset {preset} goes on from an earlier training", "name its weights with --init")
    if init is not None:
        checkpoint.load_weights(init)
    source.check()
    require_one_length(source.name is not None, stream, minutes, epochs)
    if not resume:
        require_new(out)


def _steps(plan: Preset, feeds: list[AnyFeed], sample: Sample, epochs: float | None) -> tuple[int, ...]:
    """Steps of each stage: the epochs asked for, or as many images as the preset shows of its mock set."""
    passes = max(1.0, plan.mock_objects / np.count_nonzero(sample.usable))
    each = [stage.share * epochs if epochs is not None else stage.epochs * passes for stage in plan.stages]
    return tuple(max(1, round(count * feed.steps_per_epoch)) for count, feed in zip(each, feeds, strict=True))


def _feed(sample: Sample, stage: int, plan: Preset, seed: int) -> Feed:
    rows = sample.rows(stage, held=False)
    if len(rows) < plan.batch or not len(sample.rows(stage, held=True)):
        raise InputError(
            f"{len(rows)} galaxies with classes and pixels are left for training, fewer than a batch of {plan.batch}"
            if len(rows) < plan.batch
            else "no galaxy is left for validation",
            "check --label-column and --objects, or give more galaxies",
        )
    return Feed(sample.stamps[stage], rows, sample.target, plan.batch, mix(seed, stage), plan.looks)


def _streamed(number: int, plan: Preset, seed: int, device: str) -> MockStream:
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    stage = plan.stages[number]
    return MockStream(
        stage.size, stage.pixel_scale, SEEN_AS, mock_choice(plan),
        lambda labels, _: labels[LABEL][:, None], plan.batch, seed, plan.looks, STREAMED_EPOCH // plan.batch, where,
        model_scale=plan.stages[-1].pixel_scale,
    )  # fmt: skip


def _write(out: Path, fit: Fit, task: Classification, sample: Sample, facts: dict[str, Any]) -> Path:
    """Weights and metrics of a finished training."""
    last = sample.stamps[-1]
    fit.validate(len(sample.stamps) - 1)  # of the weights that are kept
    history = fit.history
    objects = history.images if facts["stream"] else len(sample.rows(0, held=False))
    description = facts | {
        "recipe": "dmagnet", "classes": list(task.names), "fronts": list(task.fronts), "size": last.size,
        "pixel_scale": last.pixel_scale, "mean": task.pixels.mean.flatten().tolist(),
        "std": task.pixels.std.flatten().tolist(), "objects": objects, "epochs": history.images / objects,
    }  # fmt: skip
    held = {"sample": f"{last.name}, held out", "fronts": task.metrics}
    # Equal trainings give equal weights: the time stands in the metrics alone, with the history.
    checkpoint.write_json(out / METRICS, {"training": description, "held_out": held, **vars(history)})
    checkpoint.save(out / WEIGHTS, fit.module.state_dict(), description)
    say(f"weights: {out / WEIGHTS}")
    for front, one in task.metrics.items():
        say(f"{front:9s} accuracy {one['accuracy']:.4f}, macro F1 {one['macro_f1']:.4f}, {one['objects']} objects")
    return out / WEIGHTS
