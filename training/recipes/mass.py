"""``galcli train mass``: the posterior of a galaxy's stellar mass from photometry, images, or both (models.md section 2)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from galcli.errors import InputError, ModelError, UsageError
from galcli.training import checkpoint
from galcli.training.fit import STATE, Fit, Settings, require_new
from galcli.training.keeping import Keep
from galcli.training.networks.mass_start import keep_size
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup
from galcli.training.recipes.mass_data import TRAIN, VALIDATION, Galaxies, MassFeed, Source, gather
from galcli.training.recipes.mass_network import MassNetwork, Prepare, Prepared, Scales
from galcli.training.recipes.mass_plan import PRESETS, Inputs, Kind, Preset
from galcli.training.recipes.mass_scales import measure
from galcli.training.recipes.mass_task import BEST_BY, Learner, MassTask
from galcli.training.recipes.stages import Stage, steps_of
from galcli.training.seeds import mix

WEIGHTS, METRICS, SCALES = "weights.safetensors", "metrics.json", "scales.json"
#: Folder of the network of the columns alone.
COLUMNS = "columns"
#: Galaxies to learn from at least.
LEAST = 64
#: Steps between two validations at least.
LEAST_EPOCH = 100


def train_mass(
    out: Path, source: Source, inputs: Inputs, *, kind: Kind = "mi", preset: str = "default", resume: bool = False,
    minutes: float | None = None, epochs: float | None = None, split: str = "seed", device: str = "auto",
    given: Galaxies | None = None, seed: int | None = None, plan: Preset | None = None, base: Path | None = None,
) -> Path:  # fmt: skip
    """Train one network; write its weights and metrics.

    Where images come beside columns (but for the published preset and the contrastive stage), a network of the columns
    alone is trained before, and this one learns what images change of its posterior (``MassNetwork``).

    Parameters
    ----------
    out : Path
        Folder for the state, the weights and the metrics.
    source : Source
        Where the galaxies come from.
    inputs : Inputs
        What the network sees.
    kind : 'mi' or 'scl'
        Posterior alone (for information), or with the contrastive stage (for causal tests).
    preset : str
        Key of ``PRESETS``.
    resume : bool
        Go on from the state in ``out``.
    minutes : float, optional
        Time for training; without it the preset's length. A network of the columns alone comes on top.
    epochs : float, optional
        Passes over the galaxies, instead of those of the preset; also of the network of the columns alone.
    split : 'seed' or 'tile'
    device : 'auto', 'cpu' or 'cuda'
    given : Galaxies, optional
        What ``gather`` gives for this source, or more columns and bands than these inputs want.
    seed : int, optional
        Of the weights and every step; that of the source.
    plan : Preset, optional
        Instead of that of the preset, which it changes.
    base : Path, optional
        Weights of the network of the columns alone, trained on the same galaxies; without them it is trained in the
        folder `COLUMNS` of ``out``.

    Returns
    -------
    Path
        The weights file, beside which lies ``metrics.json``.

    Raises
    ------
    UsageError
        For an unknown preset, or epochs beside a time.
    InputError
        If too few galaxies have a mass and what the network sees.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    plan, seed = plan or lookup(PRESETS, preset, "preset"), source.seed if seed is None else seed
    if minutes is not None and epochs is not None:
        raise UsageError("epochs are given beside a time, which sets the length too", "give one of them")
    if not resume:
        require_new(out)
    objects = plan.images if inputs.images else plan.objects
    galaxies = given or gather(inputs, objects, source, split)
    if plan.published:
        galaxies = galaxies.complete(inputs.needed)
    rows = galaxies.rows(TRAIN)
    _require_enough(len(rows), len(galaxies.rows(VALIDATION)))
    batch = min(plan.contrastive if kind == "scl" else plan.batch[inputs.images], len(rows))
    alone = plan.base(inputs) if kind == "mi" else None
    if alone is not None and base is None:
        say("before images are looked at, a network learns what the columns alone tell")
        base = train_mass(
            out / COLUMNS, source, alone, preset=preset, resume=resume and (out / COLUMNS / STATE).exists(), epochs=epochs,
            split=split, device=device, given=galaxies, seed=seed, plan=plan,
        )  # fmt: skip
    known = None if alone is None or base is None else _known(base, galaxies, alone)
    torch.manual_seed(seed)
    scales = _scales(out, galaxies, inputs, plan, resume)
    learner = Learner(Prepared(Prepare(inputs, inputs.needed, scales), _begin(inputs, kind, plan, known)))
    seen = galaxies if inputs.images else replace(galaxies, stamps=None)
    feed = MassFeed(seen, inputs.needed, rows, batch, mix(seed, 1), plan.blank)
    task = MassTask(seen, inputs.needed, kind == "scl")
    identity = {
        "inputs": asdict(inputs), "kind": kind, "preset": preset, "plan": plan.told(), "seed": seed, "split": split,
        "mock": galaxies.mock, "minutes": minutes, "epochs": epochs, "learned": galaxies.digest(inputs.needed),
        "stamps": galaxies.stamps.key if galaxies.stamps is not None and inputs.images else None,
        "target": source.target, "reading": source.reading.told,
    } | ({} if known is None or base is None else {"base": sha256(base.read_bytes()).hexdigest()})  # fmt: skip
    length = epochs or plan.length(inputs.images)
    left = None if resume and (out / STATE).exists() else minutes
    steps = steps_of([Stage(1, 1.0, length)], batch, [feed], learner, task, device, left, None)
    if plan.iterations is not None and minutes is None and epochs is None:
        steps = (plan.iterations,)
    settings = Settings(steps, plan.lr[inputs.images], schedule=plan.schedule, optimizer=plan.optimizer,
                        weight_decay=plan.weight_decay, keep=Keep() if plan.published else Keep(figure=BEST_BY), least_epoch=LEAST_EPOCH,
                        seed=seed, device=device, identity=identity)  # fmt: skip
    fit = Fit(learner, task, [feed], settings, out)
    fit.run(resume)
    fit.validate(0)  # the last epoch need not be the best one
    return _write(out, fit, task, galaxies, source, identity | {"scales": scales.told()})


def _require_enough(learned: int, validated: int) -> None:
    if learned < LEAST or not validated:
        raise InputError(f"{learned} galaxies are left to learn from and {validated} to validate with; {LEAST} and 1 are needed",
                         "give more galaxies with masses, or raise --objects")  # fmt: skip


def _begin(inputs: Inputs, kind: Kind, plan: Preset, known: Prepared | None) -> MassNetwork:
    """A network as training finds it, drawn by torch's seed; ``known``: that of the columns alone, which it corrects."""
    network = MassNetwork(inputs, kind, corrects=known is not None)
    if not plan.published:
        keep_size(network, network.estimator.last)
    if known is not None and network.base is not None:
        network.base.load_state_dict(known.network.state_dict())
    return network


def _known(weights: Path, galaxies: Galaxies, inputs: Inputs) -> Prepared:
    """The network of the columns alone; on the same galaxies its scales are the same.

    Raises
    ------
    ModelError
        If it learned from other galaxies.
    """
    prepared, _, info = load_mass(weights)
    require_learned(weights, info, galaxies, inputs)
    return prepared


def require_learned(weights: Path, info: dict[str, Any], galaxies: Galaxies, inputs: Inputs) -> None:
    """Refuse weights that learned from other galaxies or columns.

    Raises
    ------
    ModelError
    """
    if info.get("learned") != galaxies.digest(inputs.needed):
        raise ModelError(f"{weights}: learned from other galaxies, or other columns", "train this network anew")


def _scales(out: Path, galaxies: Galaxies, inputs: Inputs, plan: Preset, resume: bool) -> Scales:
    """Measured once per training."""
    path = out / SCALES
    if not (resume and path.exists() and (out / STATE).exists()):  # else nobody knows whose they are
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(path, measure(galaxies, inputs, plan.published).told())
    return Scales.of(json.loads(path.read_text()))


def _write(
    out: Path, fit: Fit, task: MassTask, galaxies: Galaxies, source: Source, identity: dict[str, Any]
) -> Path:  # fmt: skip
    """Weights and metrics of a finished training."""
    assert isinstance(fit.module, Learner)
    assert task.scores is not None
    history, objects = fit.history, len(galaxies.rows(TRAIN))
    description = identity | {
        "recipe": "mass", "data": None if source.catalog is None else source.catalog.name, "objects": objects,
        "epochs": history.images / objects,
    }  # fmt: skip
    held = {"sample": f"{galaxies.name}, validation"} | task.scores.told()
    # Equal trainings give equal weights: the time stands in the metrics alone, with the history.
    checkpoint.write_json(out / METRICS, {"training": description, "held_out": held, **vars(history)})
    checkpoint.save(out / WEIGHTS, fit.module.prepared.state_dict(), description)
    say(f"weights: {out / WEIGHTS}")
    found = task.scores
    say(f"cross-entropy {found.cross_entropy:.4f} nat, sigma_MAD {found.sigma_mad:.4f} dex, CRPS {found.crps:.4f} dex")
    return out / WEIGHTS


def load_mass(weights: Path, names: tuple[str, ...] | None = None) -> tuple[Prepared, Inputs, dict[str, Any]]:
    """A trained network, what it sees, and what its weights tell of their training.

    Parameters
    ----------
    weights : Path
    names : tuple of str, optional
        Columns in the order in which the network is to take them; that of the training.

    Raises
    ------
    ModelError
        If it is no file of ``train_mass``.
    """
    state, info = checkpoint.load_weights(weights)
    try:
        told = info["inputs"]
        inputs = Inputs(tuple(told["columns"]), told["bands"], told["normalised"])
        prepared = Prepared(
            Prepare(inputs, names or inputs.needed, Scales.of(info["scales"])),
            MassNetwork(inputs, info["kind"], "base" in info),
        )
        prepared.load_state_dict(state, strict=True)
    except KeyError as error:
        raise ModelError(f"{weights}: the weights do not say their {error}", "give a file of galcli train") from error
    except RuntimeError as error:
        raise ModelError(f"{weights}: not the weights of this network", "give a file of galcli train") from error
    return prepared.eval(), inputs, info
