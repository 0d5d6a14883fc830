"""From `galcli train sfnet` to a model file: train, then export on galaxies that the training never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, UsageError
from galcli.models import library
from galcli.training import checkpoint
from galcli.training.data import Stamps
from galcli.training.progress import say
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.sfnet import train
from galcli.training.recipes.sfnet_card import KINDS
from galcli.training.recipes.sfnet_data import Source, Split, gather, recall
from galcli.training.recipes.sfnet_int8 import export_int8, rebuild
from galcli.training.recipes.sfnet_model import export_sfnet
from galcli.training.recipes.sfnet_plan import PRESETS, TARGETS, Preset, Target
from galcli.training.seeds import mix
from galcli.training.survey import Reading
from galcli.training.views import Samples, views

#: Mock galaxies drawn anew for calibration and metrics: enough for 5,000 tested ones through each flux front.
FRESH = 20_000
#: Training galaxies that fix the domain and the largest activations.
REFERENCE = 6_000
#: Part of the unseen galaxies that calibrates the error bars; the metrics are measured on the others.
CALIBRATION = 1 / 3


def train_and_export(
    target: str = "metallicity", *, out: Path, catalog: Path | None = None, cutouts: Path | None = None,
    label_columns: tuple[str, ...] | None = None, preset: str = "default", seed: int = 256,
    objects: int | None = None, split: Split = "seed", cache: Path | None = None, reading: Reading | None = None,
    **rest: Any,
) -> Path:  # fmt: skip
    """Train SFNet and write its model file.

    Parameters
    ----------
    target, out, catalog, cutouts, label_columns, preset, seed, objects, split, cache, reading, **rest
        As for `train`.

    Returns
    -------
    Path
        The ONNX file, in ``out``.

    Raises
    ------
    GalcliError
        As `train` and `export_sfnet`.
    """
    weights = train(
        target, out=out, catalog=catalog, cutouts=cutouts, label_columns=label_columns, preset=preset, seed=seed,
        objects=objects, split=split, cache=cache, reading=reading, **rest,
    )  # fmt: skip
    columns = tuple(label_columns or ())
    source = Source(cache or out / "cache", seed, objects, catalog, cutouts, columns, reading or Reading())
    return export_trained(target, preset, weights, source, split)


def export_trained(target: str, preset: str, weights: Path, source: Source, split: Split = "seed") -> Path:
    """Export trained weights beside themselves, in float32 and int8.

    Parameters
    ----------
    target, preset : str
        As in the training.
    weights : Path
        ``weights.safetensors`` of the training.
    source : Source
        The galaxies it learned from.
    split : 'seed' or 'tile'

    Returns
    -------
    Path
        The ONNX file.
    """
    chosen, plan = TARGETS[target], PRESETS[preset]
    model = weights.with_name(f"{KINDS[target].name}.onnx")
    fronts = checkpoint.load_weights(weights)[1].get("fronts", ())
    samples = _samples(chosen, plan, source, gather(chosen, plan, source, split), fronts)
    export_sfnet(weights, samples, model, say)
    export_int8(model, samples, say)
    return model


def export_twin(
    model: Path, *, catalog: Path | None = None, cutouts: Path | None = None,
    label_columns: tuple[str, ...] | None = None, objects: int | None = None, cache: Path | None = None,
    reading: Reading | None = None,
) -> Path:  # fmt: skip
    """Write the int8 twin of a model file beside it, on the galaxies of its own export.

    Parameters
    ----------
    model : Path
        Exported SFNet.
    catalog, cutouts, label_columns, objects, reading
        As in its training; nothing where it learned from the mock survey.
    cache : Path, optional
        Where stamps are kept; ``cache`` beside the model without it.

    Returns
    -------
    Path
        The int8 file.

    Raises
    ------
    UsageError
        If the survey that the model learned from is not named.
    InputError
        If it holds other galaxies than those the model learned from.
    GalcliError
        As `export_int8`.
    """
    found = library.find(model, "fp32")
    _, kind = rebuild(found)
    training, fronts = found.card.training, [front.name for front in found.card.fronts]
    target = next(name for name, one in KINDS.items() if one == kind)
    first, last = training.details["samples"][0], training.details["samples"][-1]
    if (last["sample"] == "mock") != (catalog is None):
        raise UsageError(
            f"{model} learned from {training.data}",
            "leave out --catalog"
            if last["sample"] == "mock"
            else "name that survey with --catalog, as in the training",
        )
    count = objects if catalog else first["objects"]
    columns = tuple(label_columns or ())
    source = Source(
        cache or model.parent / "cache", training.seed, count, catalog, cutouts, columns, reading or Reading()
    )
    plan = PRESETS[training.preset]
    learned = recall(TARGETS[target], plan, source, training.details["split"], 2 * REFERENCE)
    if len(learned.usable) != first["objects"]:
        raise InputError(
            f"{catalog} gives {len(learned.usable)} galaxies, but the model learned from {first['objects']}",
            "give the catalogue, --label-columns and --objects of the training",
        )
    export_int8(model, _samples(TARGETS[target], plan, source, learned, fronts), say)
    return library.twin_path(model)


def _samples(target: Target, plan: Preset, source: Source, learned: Sample, fronts: Sequence[str]) -> Samples:
    """Training galaxies, and two disjoint sets that the training never saw, as the network's fronts show them."""
    last = len(learned.stamps) - 1
    if source.catalog is None:
        unseen, rows = _fresh(target, plan, source)
        name = f"unseen mock galaxies (seed {mix(source.seed, 1) % 10**6})"
    else:
        unseen, rows = learned, learned.rows(last, held=True)
        name = f"held-out galaxies of {Path(str(source.catalog)).name}"
    # Held-out rows come in catalogue order; a permutation keeps calibration and test alike.
    rows = np.random.default_rng(source.seed).permutation(rows)
    count = max(1, round(CALIBRATION * len(rows)))
    reference = learned.rows(last, held=False)[:REFERENCE]
    return Samples(
        training=_through(learned, last, reference, plan, fronts),
        calibration=_through(unseen, -1, rows[:count], plan, fronts),
        test=_through(unseen, -1, rows[count:], plan, fronts),
        name=name,
    )


def _fresh(target: Target, plan: Preset, source: Source) -> tuple[Sample, NDArray[np.int64]]:
    """Mock galaxies of another seed, on the grid of the last stage."""
    number = FRESH if source.objects is None else min(FRESH, max(512, source.objects // 2))
    alone = replace(plan, stages=(replace(plan.stages[-1], objects=1.0),))
    sample = gather(target, alone, Source(source.cache, mix(source.seed, 1), number), "seed")
    return sample, np.flatnonzero(sample.usable)


def _through(sample: Sample, stage: int, rows: NDArray[np.int64], plan: Preset, fronts: Sequence[str]) -> Any:
    stamps: Stamps = sample.stamps[stage]
    return partial(views, stamps, rows, sample.target, servers=plan.servers, fronts=fronts)
