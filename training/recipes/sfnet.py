"""``galcli train sfnet``: metallicity or emission lines from images through a sparse network (models.md section 1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.errors import InputError, UsageError
from galcli.training import checkpoint
from galcli.training.data import Feed, Stamps, split_by_seed, split_by_tile
from galcli.training.fit import Fit, Settings, seconds_per_step
from galcli.training.networks.sfnet import SFNet
from galcli.training.optim import ScheduleName
from galcli.training.pixels import FRONTS, VIEWER_PIXEL_SCALE, Pixels
from galcli.training.progress import say
from galcli.training.regression import Regression, normalisation
from galcli.training.seeds import mix
from galcli.training.sources import SHAPES, Labels, mock_stamps

_LINES = ("nii_6584", "h_alpha", "oiii_5007", "h_beta")
#: Fluxes from here on are faults of the catalogue [1e-17 erg/s/cm2].
MAX_FLUX = 1e5
MIN_SNR = 3.0
#: Files of a finished training.
WEIGHTS, METRICS = "weights.safetensors", "metrics.json"
#: Part of a given time that is spent on steps; the rest is for validation and files.
STEPPING = 0.93
Split = Literal["seed", "tile"]
_T = TypeVar("_T")


def _metallicity(labels: Labels) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = labels["oh_p50"] > 0
    if "lgm_tot_p50" in labels:
        chosen = chosen & (labels["lgm_tot_p50"] > 0) & (labels["sfr_tot_p50"] > -10)
    return chosen


def _lines(labels: Labels) -> NDArray[np.bool_]:
    fluxes = [labels[f"{line}_flux"] for line in _LINES]
    chosen: NDArray[np.bool_] = np.all([(flux > 0) & (flux < MAX_FLUX) for flux in fluxes], axis=0)
    if f"{_LINES[0]}_flux_err" in labels:
        errors = [labels[f"{line}_flux_err"] for line in _LINES]
        good = [(error > 0) & (flux > MIN_SNR * error) for flux, error in zip(fluxes, errors, strict=True)]
        chosen = chosen & np.all(good, axis=0)
    return chosen


@dataclass(frozen=True)
class Target:
    """What SFNet predicts.

    Attributes
    ----------
    labels : tuple of str
        Catalogue columns (MPA-JHU names); the first ``required`` ones hold the values, the others the selection.
    required : int
        Columns without which there is nothing to learn.
    outputs : tuple of str
        Table columns of the predictions.
    select : callable
        Rows that are fit to learn from.
    values : callable
        Targets (N, T) of all rows; anything where they are not selected.
    """

    labels: tuple[str, ...]
    required: int
    outputs: tuple[str, ...]
    select: Callable[[Labels], NDArray[np.bool_]]
    values: Callable[[Labels], NDArray[np.float32]]


def _log_fluxes(labels: Labels) -> NDArray[np.float32]:
    tiny = np.finfo(np.float32).tiny
    return np.stack([np.log10(np.fmax(labels[f"{line}_flux"], tiny)) for line in _LINES], axis=1)


TARGETS = {
    "metallicity": Target(
        ("oh_p50", "lgm_tot_p50", "sfr_tot_p50"), 1, ("Z_GAS",), _metallicity, lambda labels: labels["oh_p50"][:, None]
    ),
    "lines": Target(
        tuple(f"{line}_flux" for line in _LINES) + tuple(f"{line}_flux_err" for line in _LINES),
        4,
        ("LOG_NII_6584", "LOG_HA_6564", "LOG_OIII_5007", "LOG_HB_4861"),
        _lines,
        _log_fluxes,
    ),
}


@dataclass(frozen=True)
class Stage:
    """Part of a training on stamps of one size.

    Attributes
    ----------
    size : int
        Pixels along a side.
    pixel_scale : float
        Arcsec per pixel.
    epochs : float
        Passes over the stage's objects.
    share : float
        Part of the time, where a time is given.
    objects : float
        Part of the set that gets stamps of this size.
    """

    size: int
    pixel_scale: float
    epochs: float
    share: float = 1.0
    objects: float = 1.0


#: All recipes end on the grid of the published networks: 37.7 arcsec at the viewer's scale.
FINAL = (144, VIEWER_PIXEL_SCALE)


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    stages : tuple of Stage
        One after the other under one schedule.
    batch, lr, schedule
        Objects per step; largest learning rate; its course.
    d4 : float
        Probability of a square symmetry.
    display : float
        Part of the samples seen as display images.
    servers : bool
        Display images as image servers make them (else the viewer's own mapping in 8 bits).
    fronts : tuple of str
        Flux fronts that mock galaxies are observed through.
    centred : bool
        Start the last bias at the mean of the targets.
    mock_objects : int
        Galaxies of the mock set, where no catalogue is given.
    """

    stages: tuple[Stage, ...]
    batch: int = 64
    lr: float = 0.1
    schedule: ScheduleName = "one_cycle"
    d4: float = 1.0
    display: float = 1 / 3
    servers: bool = True
    fronts: tuple[str, ...] = ("flux:gri", "flux:grz")
    centred: bool = True
    mock_objects: int = 60_000


PRESETS = {
    "default": Preset((Stage(96, 0.393, 12.0, 0.7), Stage(*FINAL, 6.0, 0.3, 0.4)), lr=0.01),
    # What the authors ran: the viewer's SDSS layer alone, 8-bit images, symmetries for half of the images (flips in
    # the paper), one cycle (flat and cosine in the paper), targets and bias as they come.
    "published": Preset(
        (Stage(*FINAL, 20.0),), d4=0.5, display=1.0, servers=False, fronts=("flux:gri",), centred=False
    ),
    "quick": Preset((Stage(72, 0.524, 4.0, 0.7), Stage(*FINAL, 1.0, 0.3, 0.4)), lr=0.01, mock_objects=5_000),
}


@dataclass(frozen=True)
class Sample:
    """Stamps of every stage with their split and targets.

    Attributes
    ----------
    stamps : list of Stamps
        One per stage; later ones may be the beginning of the first.
    held : ndarray (N,), bool
        Rows of the first that are held out.
    target : ndarray (N, T), float32
        Targets of its rows.
    usable : ndarray (N,), bool
        Rows with labels.
    mock : bool
        Whether the galaxies are simulated.
    """

    stamps: list[Stamps]
    held: NDArray[np.bool_]
    target: NDArray[np.float32]
    usable: NDArray[np.bool_]
    mock: bool

    def rows(self, stage: int, held: bool) -> NDArray[np.int64]:
        """Training or held-out rows of a stage."""
        n = len(self.stamps[stage])
        return np.flatnonzero(self.usable[:n] & (self.held[:n] == held))


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

    Returns
    -------
    Path
        The weights file, beside which lies ``metrics.json``.

    Raises
    ------
    UsageError
        For an unknown target or preset.
    InputError
        If too few galaxies have labels and pixels.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    chosen, plan = _lookup(TARGETS, target, "target"), _lookup(PRESETS, preset, "preset")
    sample = _sample(chosen, plan, catalog, cutouts, label_columns, objects, cache or out / "cache", seed, split)
    feeds = [_feed(sample, number, plan, seed) for number in range(len(plan.stages))]
    torch.manual_seed(seed)
    network = SFNet(len(chosen.outputs), k)
    if init is not None:
        checkpoint.initialise(network, init, say)
    if plan.centred:
        with torch.no_grad():
            network.fc.bias.copy_(torch.from_numpy(sample.target[sample.rows(0, False)].mean(0)))
    task = _task(sample, chosen, plan, _normalisation(out, feeds[0], resume), seed)
    identity = {
        "target": target, "preset": preset, "seed": seed, "k": k, "split": split, "mock": sample.mock,
        "init": str(init) if init else None, "minutes": minutes, "samples": [s.describe() for s in sample.stamps],
        "plan": asdict(plan),
    }  # fmt: skip
    steps = _steps(plan, feeds, network, task, None if resume else minutes, device)
    settings = Settings(steps, plan.lr, plan.schedule, seed=seed, device=device, identity=identity)
    fit = Fit(network, task, feeds, settings, out)
    fit.run(resume)
    return _write(out, fit, task, sample, identity)


def _lookup(table: Mapping[str, _T], name: str, kind: str) -> _T:
    if name not in table:
        raise UsageError(f"unknown {kind} {name!r}", f"known: {', '.join(table)}")
    return table[name]


def _sample(
    target: Target, plan: Preset, catalog: Path | None, cutouts: Path | None, label_columns: Sequence[str] | None,
    objects: int | None, cache: Path, seed: int, split: Split,
) -> Sample:  # fmt: skip
    """Stamps of every stage, from the survey given or from the mock survey."""
    mock = catalog is None
    if mock:
        say("no catalogue given: training on the mock survey")
        names = tuple(dict.fromkeys(name for each in TARGETS.values() for name in each.labels)) + SHAPES
        n = objects or plan.mock_objects

        def wanted(labels: Labels) -> NDArray[np.bool_]:
            return _metallicity(labels) | _lines(labels)

        stamps = [
            mock_stamps(cache, int(n * stage.objects), stage.size, stage.pixel_scale, seed, plan.fronts, names,
                        wanted, say)
            for stage in plan.stages
        ]  # fmt: skip
    else:
        raise NotImplementedError
    labels = stamps[0].labels
    usable = target.select(labels)
    if split == "tile" and stamps[0].healpix is None:
        raise UsageError("the mock set has no positions to split by tile", "use --split seed, or give a catalogue")
    rows = np.flatnonzero(usable)
    healpix = stamps[0].healpix
    held = np.zeros(len(usable), np.bool_)
    held[rows] = split_by_seed(len(rows)) if healpix is None or split == "seed" else split_by_tile(healpix[rows])
    return Sample(stamps, held, target.values(labels).astype(np.float32), usable, mock)


def _feed(sample: Sample, stage: int, plan: Preset, seed: int) -> Feed:
    rows = sample.rows(stage, held=False)
    if len(rows) < plan.batch:
        raise InputError(
            f"{len(rows)} galaxies with labels and pixels are left for training, fewer than a batch of {plan.batch}",
            "check --label-columns and the selection, or give more galaxies",
        )
    stamps = sample.stamps[stage]
    return Feed(stamps, rows, sample.target, plan.batch, mix(seed, stage), plan.d4, plan.display, plan.servers)


def _normalisation(out: Path, feed: Feed, resume: bool) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel; measured once per training."""
    path = out / "normalisation.json"
    if resume and path.exists():
        stored = json.loads(path.read_text())
        return stored["mean"], stored["std"]
    mean, std = normalisation(feed)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(path, {"mean": mean, "std": std})
    return mean, std


def _task(sample: Sample, target: Target, plan: Preset, scaling: tuple[list[float], list[float]], seed: int) -> Regression:
    rows = [sample.rows(stage, held=True) for stage in range(len(plan.stages))]
    return Regression(
        Pixels(FRONTS, *scaling), sample.stamps, rows, sample.target, target.outputs, servers=plan.servers, seed=seed
    )


def _steps(
    plan: Preset, feeds: list[Feed], network: SFNet, task: Regression, minutes: float | None, device: str
) -> tuple[int, ...]:
    """Steps of each stage: the preset's epochs, or what fits into the time."""
    if minutes is None:
        return tuple(round(stage.epochs * feed.steps_per_epoch) for stage, feed in zip(plan.stages, feeds, strict=True))
    steps = []
    for stage, feed in zip(plan.stages, feeds, strict=True):
        pace = seconds_per_step(network, task, feed, device)
        steps.append(max(1, int(60 * minutes * STEPPING * stage.share / pace)))
        say(f"{stage.size} px: {plan.batch / pace:.0f} img/s, {steps[-1]} steps, {steps[-1] / feed.steps_per_epoch:.1f} epochs")
    return tuple(steps)


def _write(out: Path, fit: Fit, task: Regression, sample: Sample, facts: dict[str, Any]) -> Path:
    """Weights and metrics of a finished training."""
    network, last = fit.module, len(sample.stamps) - 1
    if not task.metrics:  # the training on disk was complete, and so its last validation is not in memory
        fit.validate(last)
    history = fit.history
    description = facts | {
        "recipe": "sfnet", "n_out": len(task.outputs), "outputs": list(task.outputs), "fronts": list(FRONTS),
        "mean": task.pixels.mean.flatten().tolist(), "std": task.pixels.std.flatten().tolist(),
        "size": sample.stamps[last].size, "pixel_scale": sample.stamps[last].pixel_scale,
        "objects": len(sample.rows(0, held=False)), "epochs": history.images / len(sample.rows(0, held=False)),
    }  # fmt: skip
    figures = {"sample": f"{sample.stamps[last].name}, held out", "fronts": task.metrics}
    checkpoint.write_json(out / METRICS, {"training": description, "held_out": figures, **vars(history)})
    checkpoint.save(out / WEIGHTS, network.state_dict(), description)
    say(f"weights: {out / WEIGHTS}")
    for front, outputs in task.metrics.items():
        for name, one in outputs.items():
            say(f"{front:9s} {name}: rmse {one['rmse']:.4f}, bias {one['bias']:+.4f}, {one['objects']} objects")
    return out / WEIGHTS
