"""The frame of experiments on the claims of a paper: seeds are measured, claims judged over them (models.md 4.3)."""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from galcli.errors import GalcliError, UsageError
from galcli.tables.atomic import atomic_write
from galcli.training.checkpoint import write_json
from galcli.training.devices import pick_device
from galcli.training.experiments import folder
from galcli.training.experiments.claims_report import as_json, as_text
from galcli.training.experiments.runs import run_all
from galcli.training.experiments.statistics import Claim
from galcli.training.interpret.style import look, save
from galcli.training.progress import say

#: Repeats.
SEEDS = 3
#: Letters in a line above a picture.
_LINE = 120


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    name : str
        Of the command and its picture.
    title : str
        What is asked, in a line.
    plans : mapping of str to dataclass
        Sizes, by preset; ``full`` is larger, as near to the paper as is known.
    measure : callable
        (plan, seed, 'cpu' or 'cuda') to the JSON-able figures of one seed. A top-level function, deterministic in plan
        and seed, which prints nothing.
    claims : callable
        What the figures of all seeds, in their order, say about the paper's claims.
    draw : callable
        Fills an empty figure with them.
    sample : str
        What the data are.
    titles : mapping of str to str
        By preset, where one asks something else.
    data : mapping
        JSON-able facts by which given data are told from others; empty where data are made from the seed.
    """

    name: str
    title: str
    plans: Mapping[str, Any]
    measure: Callable[[Any, int, str], dict[str, Any]]
    claims: Callable[[list[dict[str, Any]]], list[Claim]]
    draw: Callable[[Figure, list[dict[str, Any]]], None]
    sample: str
    titles: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def title_of(self, preset: str) -> str:
        """What is asked by a preset."""
        return self.titles.get(preset, self.title)


@dataclass(frozen=True)
class SeedRun:
    """One seed of an experiment.

    Attributes
    ----------
    path : Path
        JSON file of its figures.
    experiment : str
    measure : callable
        Of the experiment.
    plan : dataclass
    seed : int
    device : 'cpu' or 'cuda'
    """

    path: Path
    experiment: str
    measure: Callable[[Any, int, str], dict[str, Any]]
    plan: Any
    seed: int
    device: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.experiment}, seed {self.seed}"


def run_experiment(
    out: Path, experiment: Experiment, preset: str = "quick", seeds: int | None = None, resume: bool = False,
    device: str = "auto",
) -> str:  # fmt: skip
    """Measure every seed and judge the claims.

    Parameters
    ----------
    out : Path
        Folder for ``table.txt``, ``result.json``, a picture and one file per seed.
    experiment : Experiment
    preset : str
        Key of its plans.
    seeds : int, optional
        Repeats, ``SEEDS`` without it.
    resume : bool
        Go on with the seeds that are in ``out``.
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
        As ``folder.begin`` and ``pick_device``; and of the first seed that fails, with its name.
    """
    if preset not in experiment.plans:
        raise UsageError(f"unknown preset {preset!r}", f"known: {', '.join(experiment.plans)}")
    plan, kind = experiment.plans[preset], pick_device(device).type
    settings = {"experiment": experiment.name, "preset": preset, "plan": asdict(plan)}
    folder.begin(out, on_data(settings, experiment.data), resume)
    runs = [
        SeedRun(out / f"seed-{seed}.json", experiment.name, experiment.measure, plan, seed, kind)
        for seed in range(seeds or SEEDS)
    ]
    todo = [run for run in runs if not run.path.exists()]
    run_all(measure_seed, todo, 1 if kind == "cuda" else max(1, min(len(todo), os.cpu_count() or 1)))
    return _write(out, experiment, settings, [folder.read_json(run.path, run.path) for run in runs])


def on_data(settings: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the facts of given data, if there are any."""
    return {**settings, **({"data": dict(data)} if data else {})}


def measure_seed(run: SeedRun) -> str:
    """Measure one seed and keep its figures; says how long it took.

    Raises
    ------
    GalcliError
        If a figure is no number.
    """
    began = time.monotonic()
    figures = run.measure(run.plan, run.seed, run.device)
    seconds = time.monotonic() - began
    if bad := _not_finite(figures):
        raise GalcliError(f"{bad} is not finite", "the training diverged: learn more slowly")
    write_json(run.path, {"seed": run.seed, "device": run.device, "seconds": round(seconds, 1), "figures": figures})
    return f"{seconds:.0f} s"


def _not_finite(value: Any, name: str = "") -> str:
    """Name of the first number within that is infinite or none."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else name
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((bad for key, one in inside if (bad := _not_finite(one, f"{name}.{key}".lstrip(".")))), "")


def _write(out: Path, experiment: Experiment, settings: dict[str, Any], seeds: list[dict[str, Any]]) -> str:
    """Text, JSON and figure of measured seeds."""
    results = [one["figures"] for one in seeds]
    claims = experiment.claims(results)
    full, title = asdict(experiment.plans["full"]), experiment.title_of(settings["preset"])
    result = as_json(experiment.name, title, experiment.sample, settings, full, seeds, claims)
    text = as_text(result)
    with look():
        figure = Figure(figsize=(12, 5), layout="constrained")
        figure.suptitle(f"{title}\n{textwrap.fill(experiment.sample, _LINE)}")
        experiment.draw(figure, results)
        save(figure, out / f"{experiment.name}.png")
    atomic_write(out / "table.txt", text.encode())
    write_json(out / "result.json", result)
    say(f"written: {out / 'table.txt'}, result.json and {experiment.name}.png beside it")
    return text
