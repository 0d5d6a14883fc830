"""Networks whose cross-entropies tell information: each trained once, kept by its content, and only loaded thereafter."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.errors import InputError, Interrupted, ModelError
from galcli.training import checkpoint
from galcli.training.cache import alone
from galcli.training.devices import pick_device
from galcli.training.experiments.runs import run_all
from galcli.training.fit import STATE
from galcli.training.interpret.information_pairs import Pair, has_redshifts, networks
from galcli.training.keeping import BEST
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup
from galcli.training.recipes.mass import METRICS, WEIGHTS, load_mass, train_mass
from galcli.training.recipes.mass_data import TEST, TRAIN, VALIDATION, Galaxies, Source, gather
from galcli.training.recipes.mass_plan import BANDS, EXTINCTION, PRESETS, REDSHIFT, TARGET, Inputs, Preset
from galcli.training.recipes.mass_posterior import bins_of, scores
from galcli.training.recipes.mass_task import Learner, MassTask
from galcli.training.survey import Reading

Doubles = NDArray[np.float64]
#: What a finished network said of the test galaxies: the last file that is written.
RESULT = "test.safetensors"
_LOG = "log.txt"
#: Changes when the same key would stand for another training.
_VERSION = 2


@dataclass(frozen=True)
class Training:
    """How networks are trained, all of them alike.

    Attributes
    ----------
    folder : Path
        Of all networks that were ever asked for.
    source : Source
        Where the galaxies come from.
    preset : str
    plan : Preset
        Its numbers.
    epochs : float or None
        Passes over the galaxies, instead of the preset's.
    device : 'auto', 'cpu' or 'cuda'
    processes : int
        Networks without images trained at a time, where there is no GPU.
    """

    folder: Path
    source: Source
    preset: str
    plan: Preset
    epochs: float | None
    device: str
    processes: int


@dataclass(frozen=True)
class Said:
    """What one network says of the test galaxies.

    Attributes
    ----------
    log_p : ndarray (N,), float64
        ln of the posterior at the true bin.
    scores : dict
        ``mass_posterior.Scores`` of these posteriors.
    """

    log_p: Doubles
    scores: dict[str, Any]


@dataclass(frozen=True)
class Network:
    """One network, which can be sent to another process.

    Attributes
    ----------
    words : str
        What its inputs are called.
    inputs : Inputs
    seed : int
        Of weights, order and views.
    galaxies : Galaxies
        With no more than what it needs.
    training : Training
    base : Path or None
        Weights of the columns alone, which it corrects (``mass_plan.Preset.base``).
    """

    words: str
    inputs: Inputs
    seed: int
    galaxies: Galaxies
    training: Training
    base: Path | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"network of {self.words}, seed {self.seed}"

    def facts(self) -> dict[str, Any]:
        """Everything that determines it, JSON-able."""
        galaxies, how = self.galaxies, self.training
        stamps = galaxies.stamps.key if galaxies.stamps is not None else None
        facts = {
            "version": _VERSION, "inputs": asdict(self.inputs), "preset": how.preset, "plan": how.plan.told(),
            "epochs": how.epochs, "seed": self.seed, "galaxies": galaxies.digest(self.inputs.needed),
            "mock": galaxies.mock, "stamps": stamps,
        }  # fmt: skip
        told: dict[str, Any] = json.loads(json.dumps(facts))
        return told

    @property
    def folder(self) -> Path:
        """Named by its content."""
        text = json.dumps(self.facts(), sort_keys=True)
        return self.training.folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def done(self) -> bool:
        """Whether it need only be loaded."""
        return (self.folder / RESULT).exists()

    @property
    def length(self) -> float:
        """Galaxies that its training sees, each as often as it comes."""
        plan, images, learned = self.training.plan, self.inputs.images, len(self.galaxies.rows(TRAIN))
        if plan.iterations is not None and self.training.epochs is None:
            return float(plan.iterations * min(plan.batch[images], learned))
        return (self.training.epochs or plan.length(images)) * learned

    def said(self) -> Said:
        """What it says, once it is done.

        Raises
        ------
        ModelError
            If the file is damaged.
        """
        path = self.folder / RESULT
        try:
            tensors, info = checkpoint.load(path)
            if info["network"] != self.facts():
                raise ModelError(f"{path} is of another network", "")
            return Said(tensors["log_p"].numpy().astype(np.float64), info["scores"])
        except (ModelError, KeyError) as error:
            told = error.message if isinstance(error, ModelError) else f"{path} holds no {error}"
            raise ModelError(told, f"remove {self.folder}; its network is trained again") from error


def informed(preset: str) -> Preset:
    """Numbers of a preset with no values taken away in training: information is that of values that are there.

    Raises
    ------
    UsageError
        For an unknown preset.
    """
    return replace(lookup(PRESETS, preset, "preset"), blank=0.0)


def gather_pairs(pairs: Sequence[Pair], source: Source, plan: Preset) -> Galaxies:
    """Galaxies that have every value that any network of these pairs sees: all networks learn from the same ones.

    Redshifts are read too where there are any.

    Parameters
    ----------
    pairs : sequence of Pair
    source : Source
    plan : Preset
        Its galaxies, where the source does not say how many.

    Raises
    ------
    InputError
        If the survey cannot be used, or too few galaxies have all values.
    """
    asked = networks(pairs)
    columns = tuple(dict.fromkeys(name for inputs in asked for name in inputs.needed))
    images = any(inputs.images for inputs in asked)
    read = tuple(name for name in columns if name != EXTINCTION)
    if REDSHIFT not in read and has_redshifts(source):
        read += (REDSHIFT,)
    found = gather(Inputs(read, BANDS if images else ""), plan.images if images else plan.objects, source)
    complete = found.complete(columns)
    fewest = min(len(complete.rows(part)) for part in (VALIDATION, TEST))
    if fewest < 2:
        raise InputError(f"only {fewest} validation or test galaxies of {found.name} have a mass and all values that are asked for",
                         "give more galaxies, or pairs of columns that have values")  # fmt: skip
    return complete


def plan_networks(
    pairs: Sequence[Pair], seeds: Sequence[int], galaxies: Galaxies, training: Training
) -> dict[tuple[Inputs, int], Network]:  # fmt: skip
    """All networks that pairs need, each once: small ones first, and all inputs of a seed before the next seed."""
    asked, plan = networks(pairs), training.plan
    bases = {base: f"{words}, columns alone" for inputs, words in asked.items() if (base := plan.base(inputs))}
    found: dict[tuple[Inputs, int], Network] = {}
    for seed in seeds:
        for inputs, words in {**bases, **asked}.items():
            columns = {name: galaxies.columns[name] for name in inputs.needed}
            given = replace(galaxies, columns=columns, stamps=galaxies.stamps if inputs.images else None)
            base = plan.base(inputs)
            before = None if base is None else found[base, seed].folder / WEIGHTS
            found[inputs, seed] = Network(words, inputs, seed, given, training, before)
    return found


def train_all(asked: Sequence[Network]) -> None:
    """Train what is not done yet: networks without images some at a time, others one by one.

    Raises
    ------
    Interrupted
        After a signal; the same command goes on.
    GalcliError
        Of the first network that fails, with its name.
    """
    todo = [network for network in asked if not network.done]
    say(f"{len(asked)} networks, {len(asked) - len(todo)} of them trained before")
    if not todo:
        return
    how = todo[0].training
    at_a_time = 1 if pick_device(how.device).type == "cuda" else how.processes
    batches = (
        ([network for network in todo if not network.inputs.images], at_a_time),
        ([network for network in todo if network.inputs.images], 1),
    )
    for several, processes in batches:
        if several:
            say(foretold(several, processes))
    try:
        for several, processes in batches:
            if several:
                run_all(train, several, min(processes, len(several)))
    except Interrupted as error:
        raise Interrupted(error.message, "give the same command again: it goes on where it was stopped") from error


def foretold(several: Sequence[Network], processes: int) -> str:
    """How many trainings are to come, and how long they take at the pace of those of their kind in the same folder.

    Parameters
    ----------
    several : sequence of Network
        All with images, or all without.
    processes : int
        Trained at a time.
    """
    images = several[0].inputs.images
    words = f"networks to train: {len(several)} {'with' if images else 'without'} images"
    seen, seconds = 0, 0.0
    for path in several[0].training.folder.glob(f"*/{METRICS}"):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a damaged one tells nothing
            told = json.loads(path.read_text())
            if bool(told["training"]["inputs"]["bands"]) == images:
                seen, seconds = seen + told["images"], seconds + told["seconds"]
    if not seen or not seconds:
        return f"{words}; how long they take shows when the first is done"
    left = sum(network.length for network in several) * seconds / seen / processes
    return f"{words}: about {_time(left)}, at {seen / seconds:,.0f} galaxies/s as those trained before"


def _time(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def train(network: Network) -> str:
    """Train one network or go on with it, and keep what it says of the test galaxies; gives that in a few words."""
    network.folder.mkdir(parents=True, exist_ok=True)
    with alone(network.folder, say), _heard(network.folder):
        if not network.done:
            say(f"training: {network.name}")
            _train(network)
    found, spent = network.said().scores, json.loads((network.folder / METRICS).read_text())["seconds"]
    return f"cross-entropy {found['cross_entropy']:.4f} nat on {found['objects']:,} test galaxies, {_time(spent)}"


def _train(network: Network) -> None:
    how, out = network.training, network.folder
    # Galaxies that are the same teach the same, however their catalogue is read and its column of masses is called.
    source = replace(how.source, target=TARGET, reading=Reading())
    try:
        weights = train_mass(
            out, source, network.inputs, preset=how.preset, resume=(out / STATE).exists(), epochs=how.epochs,
            device=how.device, given=network.galaxies, seed=network.seed, plan=how.plan, base=network.base,
        )  # fmt: skip
        learner = Learner(load_mass(weights)[0]).eval().to(pick_device(how.device))
    except ModelError as error:  # a file of it is damaged
        raise ModelError(error.message, f"remove {out}; its network is trained again") from error
    rows = network.galaxies.rows(TEST)
    truth = network.galaxies.target[rows]
    with torch.no_grad():
        posterior = MassTask(network.galaxies, network.inputs.needed).predict(learner, rows)
    log_p = posterior[np.arange(len(rows)), bins_of(truth)]
    told = {"network": network.facts(), "scores": scores(posterior, truth).told()}
    checkpoint.save(out / RESULT, {"log_p": torch.from_numpy(log_p.copy())}, told)
    for path in (out / STATE, *out.glob(BEST.format("*"))):  # four times the weights, and of no use any more
        path.unlink()


@contextlib.contextmanager
def _heard(folder: Path) -> Iterator[None]:
    """Progress of one of several trainings at a time goes into a file beside it."""
    if multiprocessing.parent_process() is None:
        yield
        return
    with (folder / _LOG).open("a") as log, contextlib.redirect_stderr(log):
        yield


def said_by(asked: Mapping[tuple[Inputs, int], Network]) -> dict[tuple[Inputs, int], Said]:
    """What all networks say, once they are done.

    Raises
    ------
    ModelError
        If a file is damaged.
    """
    return {key: network.said() for key, network in asked.items()}
