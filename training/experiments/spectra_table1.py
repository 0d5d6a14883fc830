"""Table 1 of Wu & Peek (2020, arXiv:2009.12318): batch normalisation against deconvolution in five networks."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galcli.errors import InputError, ModelError, UsageError
from galcli.tables.atomic import atomic_write
from galcli.training.checkpoint import write_json
from galcli.training.experiments import folder
from galcli.training.experiments.runs import run_all
from galcli.training.experiments.spectra_claims import Scores, claims
from galcli.training.experiments.spectra_figure import draw
from galcli.training.experiments.spectra_report import as_json, as_text
from galcli.training.interpret.style import save
from galcli.training.networks.xresnet import NETWORKS
from galcli.training.progress import say
from galcli.training.recipes.spectra import METRICS, WEIGHTS, train_spectra
from galcli.training.recipes.spectra_data import Observed, Source, gather
from galcli.training.recipes.spectra_plan import PRESETS as RECIPES
from galcli.training.recipes.vae_coder import Coder, open_coder

#: Seed of the mock survey: the same galaxies whatever the seeds of the trainings.
SURVEY_SEED = 256
#: Networks that the paper trained for the shorter time only.
SHORT_ONLY = ("simple-cnn", "simple-deconv")


@dataclass(frozen=True)
class Plan:
    """How much is trained.

    Attributes
    ----------
    recipe : str
        Preset of ``recipes.spectra``.
    epochs : tuple of int
        Of the table's two columns.
    seeds : int
        Repeats.
    """

    recipe: str
    epochs: tuple[int, int]
    seeds: int


PLANS = {
    "quick": Plan("coarse", (8, 16), 3),
    "full": Plan("published", (10, 50), 3),
}


@dataclass(frozen=True)
class Training:
    """One cell of the table with one seed.

    Attributes
    ----------
    out : Path
        Its folder.
    network : str
    epochs : int
    seed : int
        Of weights, order and noise.
    recipe : str
    source : Source
        The same galaxies for all.
    vae : Path or None
    device : str
    """

    out: Path
    network: str
    epochs: int
    seed: int
    recipe: str
    source: Source
    vae: Path | None
    device: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.network}, {self.epochs} epochs, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether it came to its end: the weights are the last file that a training writes."""
        return (self.out / WEIGHTS).exists()

    def metrics(self) -> dict[str, Any]:
        """What it wrote."""
        return folder.read_json(self.out / METRICS, self.out)


def spectra_table1(
    out: Path, source: Source, vae: Path | None = None, *, preset: str = "quick", seeds: int | None = None,
    resume: bool = False, device: str = "auto",
) -> str:  # fmt: skip
    """Train the five networks with several seeds and hold the result against the published table.

    Parameters
    ----------
    out : Path
        Folder for ``table.txt``, ``result.json``, ``table1.png`` and one folder per training.
    source : Source
        Galaxies, the same for all trainings.
    vae : Path, optional
        Folder of ``galcli train vae``; the shipped autoencoder without it.
    preset : str
        Key of ``PLANS``.
    seeds : int, optional
        Repeats, instead of the preset's.
    resume : bool
        Go on with what is in ``out``.
    device : 'auto', 'cpu' or 'cuda'

    Returns
    -------
    str
        The content of ``table.txt``.

    Raises
    ------
    UsageError
        For an unknown preset.
    GalcliError
        As ``folder.begin``, ``gather`` and ``train_spectra``.
    """
    if preset not in PLANS:
        raise UsageError(f"unknown preset {preset!r}", f"known: {', '.join(PLANS)}")
    plan = PLANS[preset]
    coder, observed = _given(plan.recipe, source, vae)
    settings = _settings(preset, plan, source, coder, observed)
    folder.begin(out, settings, resume)
    trainings = [
        Training(out / f"{network}-{epochs}-{seed}", network, epochs, seed, plan.recipe, source, vae, device)
        for seed in range(seeds or plan.seeds)
        for epochs in plan.epochs
        for network in NETWORKS
        if epochs == plan.epochs[0] or network not in SHORT_ONLY
    ]
    # The longest ones first, so that no process is left alone with one at the end.
    todo = sorted((one for one in trainings if not one.done), key=_cost, reverse=True)
    run_all(train, todo, _processes(device, len(todo)))
    return _write(out, settings, trainings)


def train(training: Training) -> str:
    """Do one training, or go on with it; says in a few words how it went."""
    training.out.mkdir(parents=True, exist_ok=True)
    coder, observed = _given(training.recipe, training.source, training.vae)
    with (training.out / "log.txt").open("a") as log, contextlib.redirect_stderr(log):
        try:
            train_spectra(
                training.out, replace(training.source, seed=training.seed), coder, network=training.network,
                preset=training.recipe, epochs=training.epochs, resume=True, device=training.device, observed=observed,
            )  # fmt: skip
        except ModelError as error:  # its state is damaged
            raise ModelError(error.message, f"remove {training.out} and go on with --resume") from error
    metrics = training.metrics()
    return f"rmse {metrics['curve'][-1]['rmse']:.4f} in {metrics['seconds']:.0f} s"


@functools.cache
def _given(recipe: str, source: Source, vae: Path | None) -> tuple[Coder, Observed]:
    """Autoencoder and galaxies, once per process."""
    coder = open_coder(vae)
    return coder, gather(RECIPES[recipe], source, coder)


def _cost(training: Training) -> tuple[int, int]:
    """Whitening the channels of every layer takes most of the time, whatever the size of the images."""
    return training.epochs * (4 if training.network == "xresnet18-deconv" else 1), -training.seed


def _processes(device: str, runs: int) -> int:
    """One training on a GPU, one per core without."""
    if device != "cpu" and torch.cuda.is_available():
        return 1
    return max(1, min(runs, os.cpu_count() or 1))


def _settings(preset: str, plan: Plan, source: Source, coder: Coder, observed: Observed) -> dict[str, Any]:
    """What all trainings of a folder share."""
    recipe, sample = RECIPES[plan.recipe], observed.sample
    last = sample.stamps[-1]
    rows = {name: sample.rows(-1, held=held) for name, held in (("learned_from", False), ("held_out", True))}
    learned, held = (len(values) for values in rows.values())
    if learned < recipe.batch or not held:
        raise InputError(
            f"{learned} galaxies with spectra and pixels to learn from, {held} held out; a batch has {recipe.batch}",
            "give more galaxies",
        )
    truth = sample.target.astype(np.float64)
    mean = truth[rows["learned_from"]].mean(axis=0)
    return {
        "preset": preset, "epochs": plan.epochs, "batch": recipe.batch, "asinh": recipe.asinh, "d4": recipe.d4,
        "rotation": recipe.rotation, "mock": sample.mock, "sample": last.name if source.catalog is None else source.catalog.name,
        "stamps": last.key, "size": last.size, "pixel_scale": last.pixel_scale,
        "spectra": [str(path) for path in source.spectra], "encoder": coder.encoder.sha256, "latents": coder.latents,
        **{name: len(values) for name, values in rows.items()},
        "predict_the_mean": round(float(np.sqrt(np.mean((truth[rows["held_out"]] - mean) ** 2))), 4),
    }  # fmt: skip


def _write(out: Path, settings: dict[str, Any], trainings: list[Training]) -> str:
    """Text, JSON and figure of finished trainings."""
    scores = Scores.of(settings["epochs"], ((one.network, one.epochs, one.metrics()) for one in trainings))
    found = claims(scores)
    text = as_text(settings, scores, found)
    atomic_write(out / "table.txt", text.encode())
    write_json(out / "result.json", as_json(settings, scores, found))
    save(draw(settings, scores), out / "table1.png")
    say(f"written: {out / 'table.txt'}, result.json and table1.png beside it")
    return text
