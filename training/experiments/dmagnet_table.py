"""Tables 2 and 3 of the paper of DMAGNet, beside two other networks that are trained in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from galcli.errors import InputError, ModelError
from galcli.tables.atomic import atomic_write
from galcli.training import checkpoint
from galcli.training.devices import pick_device
from galcli.training.experiments import folder
from galcli.training.experiments.dmagnet_figure import draw
from galcli.training.experiments.dmagnet_measure import Outcome, Seen, classify, multiply_adds, paces, parameters
from galcli.training.experiments.dmagnet_published import TEST
from galcli.training.experiments.dmagnet_report import as_json, as_text
from galcli.training.experiments.runs import run_all
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.style import save
from galcli.training.networks.morphology import NETWORKS
from galcli.training.pixels import Pixels
from galcli.training.progress import say
from galcli.training.recipes.asked import lookup
from galcli.training.recipes.dmagnet import FIGURE, METRICS, WEIGHTS, train_dmagnet
from galcli.training.recipes.dmagnet_data import Labelled, Source, Unseen, gather, unseen
from galcli.training.recipes.dmagnet_plan import PRESETS
from galcli.training.views import views

#: Mock galaxies drawn anew to measure the networks on: as many as the paper tested.
FRESH = TEST


@dataclass(frozen=True)
class Training:
    """One training of a network of the table.

    Attributes
    ----------
    out : Path
        Its folder.
    network : str
    preset : str
    source : Source
        Its seed is that of weights and steps.
    labelled : Labelled
        The same galaxies for all.
    epochs : float or None
        Instead of the preset's.
    device : str
    """

    out: Path
    network: str
    preset: str
    source: Source
    labelled: Labelled
    epochs: float | None
    device: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.network}, seed {self.source.seed}"

    @property
    def done(self) -> bool:
        """Whether it came to its end: the weights are the last file that a training writes."""
        return (self.out / WEIGHTS).exists()

    def metrics(self) -> dict[str, Any]:
        """What it wrote."""
        return folder.read_json(self.out / METRICS, self.out)

    def trained(self) -> tuple[nn.Module, Pixels]:
        """The network with its weights, and what makes its input."""
        try:
            state, info = checkpoint.load_weights(self.out / WEIGHTS)
        except ModelError as error:
            raise self._damaged(error) from error
        module = NETWORKS[self.network](len(NAMES))
        module.load_state_dict(state)
        return module, Pixels(info["fronts"], info["mean"], info["std"], info["pixel_scale"])

    def classified(self, test: Unseen, seed: int, device: torch.device) -> dict[str, Seen]:
        """What it says of unseen galaxies, whose display images are of the kind that it learned from.

        Parameters
        ----------
        test : Unseen
        seed : int
            Seed of the display images.
        device : torch.device

        Returns
        -------
        dict of str to Seen
            By front.
        """
        module, pixels = self.trained()
        servers = PRESETS[self.preset].looks.servers
        batches = views(test.stamps, test.rows, test.target, seed, servers, fronts=pixels.fronts)
        return classify(module, pixels, batches, len(NAMES), device)

    def train(self) -> str:
        """Train, or go on; says in a few words how it went."""
        try:
            train_dmagnet(
                self.out, self.source, network=self.network, preset=self.preset, resume=True, epochs=self.epochs,
                device=self.device, labelled=self.labelled,
            )  # fmt: skip
        except ModelError as error:  # its state is damaged
            raise self._damaged(error) from error
        metrics = self.metrics()
        last = metrics["curve"][-1]["stage"]
        best = max(point[FIGURE] for point in metrics["curve"] if point["stage"] == last)
        return f"macro F1 {best:.4f} on validation galaxies, in {metrics['seconds'] / 60:.1f} min"

    def _damaged(self, error: ModelError) -> ModelError:
        return ModelError(error.message, f"remove {self.out} and go on with --resume")


def dmagnet_table(
    out: Path, source: Source, *, preset: str = "quick", seeds: int = 1, epochs: float | None = None,
    resume: bool = False, device: str = "auto",
) -> str:  # fmt: skip
    """Train every network of ``morphology.NETWORKS`` and hold the result against the published tables.

    Parameters
    ----------
    out : Path
        Folder for ``table.txt``, ``result.json``, ``table.png`` and one folder per training.
    source : Source
        Galaxies, the same for all trainings; its seed is also the first one of weights and steps.
    preset : str
        Key of ``dmagnet_plan.PRESETS``.
    seeds : int
        Trainings of each network; with ``resume`` there may be more than before.
    epochs : float, optional
        Passes over the galaxies, instead of those of the preset.
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
        As ``folder.begin``, ``gather`` and ``train_dmagnet``.
    """
    lookup(PRESETS, preset, "preset")
    source.check()
    where = pick_device(device)
    labelled = gather(PRESETS[preset], source)
    test = unseen(PRESETS[preset], source, labelled, FRESH)
    settings = _settings(preset, epochs, source, labelled, test)
    folder.begin(out, settings, resume)
    trainings = [
        Training(out / f"{network}-{seed}", network, preset, replace(source, seed=seed), labelled, epochs, device)
        for seed in range(source.seed, source.seed + seeds)
        for network in NETWORKS
    ]
    run_all(Training.train, [one for one in trainings if not one.done], 1)
    return _write(out, settings, dict(_outcomes(trainings, test, settings, where)), where)


def _settings(preset: str, epochs: float | None, source: Source, labelled: Labelled, test: Unseen) -> dict[str, Any]:
    """What all trainings of a folder share."""
    plan, sample = PRESETS[preset], labelled.sample
    learned, held = (len(sample.rows(0, held=value)) for value in (False, True))
    if learned < plan.batch or not held:
        raise InputError(
            f"{learned} galaxies with classes and pixels to learn from, {held} to validate; a batch has {plan.batch}",
            "check --label-column and --objects, or give more galaxies",
        )
    last = sample.stamps[-1]
    return {
        "preset": preset, "epochs": epochs, "plan": asdict(plan), "seed": source.seed, "mock": sample.mock,
        "survey": source.name, "galaxy10": source.galaxy10 is not None, "reading": source.reading.told,
        "stamps": [stamps.key for stamps in sample.stamps], "labels": sample.digest(), "sample": last.name,
        "size": last.size, "pixel_scale": last.pixel_scale,
        "learned_from": learned, "validated_on": held, "measured_on": test.name, "unseen": len(test.rows),
    }  # fmt: skip


def _outcomes(
    trainings: list[Training], test: Unseen, settings: dict[str, Any], device: torch.device
) -> Iterator[tuple[str, Outcome]]:
    """Measure finished trainings, on the same galaxies and in one run."""
    first = {one.network: one.trained()[0] for one in trainings[: len(NETWORKS)]}
    speed = paces(first, settings["size"], settings["plan"]["batch"], device)
    for network, module in first.items():
        mine = [one for one in trainings if one.network == network]
        runs = tuple(one.classified(test, settings["seed"], device) for one in mine)
        cost = parameters(module), multiply_adds(module, settings["size"]), speed[network]
        yield network, Outcome(runs, *cost, tuple(one.metrics() for one in mine))


def _write(out: Path, settings: dict[str, Any], outcomes: dict[str, Outcome], device: torch.device) -> str:
    """Text, JSON and figure of finished trainings."""
    threads = torch.get_num_threads()
    cpu = f"the CPU with {threads} thread{'s' if threads > 1 else ''}"
    machine = torch.cuda.get_device_name() if device.type == "cuda" else cpu
    text = as_text(settings, outcomes, machine)
    atomic_write(out / "table.txt", text.encode())
    checkpoint.write_json(out / "result.json", as_json(settings, outcomes, machine))
    save(draw(settings, outcomes), out / "table.png")
    say(f"written: {out / 'table.txt'}, result.json and table.png beside it")
    return text
