"""Information of pairs of inputs about the stellar mass, measured for one seed of an experiment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galcli.training.experiments.criteria import StandIn
from galcli.training.experiments.sae_curves import COLOURS
from galcli.training.experiments.statistics import Claim
from galcli.training.interpret.information_numbers import RULES, decompose_pair, sample_of
from galcli.training.interpret.information_pairs import parse_pair
from galcli.training.interpret.information_runs import Training, gather_pairs, informed, plan_networks, said_by, train
from galcli.training.recipes.mass_data import Source

#: What the galaxies are.
SAMPLE = "MOCK galaxies (SDSS ugriz, WISE)"
#: Parts of the information, in the order of charts.
PARTS = ("R", "U1", "U2", "S")
_TOLD = {"R": "by both alike", "U1": "by the first alone", "U2": "by the second alone", "S": "by both together"}
#: The rules in words.
RULE = {"pointwise": "minimum in each galaxy, as published", "population": "minimum of the means"}


@dataclass(frozen=True)
class Sizes:
    """How an experiment is done.

    Attributes
    ----------
    objects : int
        Mock galaxies, or galaxies of a catalogue at most.
    epochs : float
        Passes over them.
    pairs : tuple of str
        As `information_pairs.parse_pair` reads them.
    """

    objects: int
    epochs: float
    pairs: tuple[str, ...]


def measured(plan: Sizes, seed: int, device: str) -> dict[str, Any]:
    """Information of each pair, and its parts by each rule [nat]: other mock galaxies and weights for every seed.

    Returns
    -------
    dict
        Pair -> rule -> quantity -> value.
    """
    with tempfile.TemporaryDirectory(prefix="galcli-mass-") as folder:
        return measured_in(plan, seed, device, Source(Path(folder), seed), Path(folder))


def measured_in(plan: Sizes, seed: int, device: str, source: Source, folder: Path) -> dict[str, Any]:
    """The same on the galaxies of a source. Networks lie in the folder until they are done, so that a stop costs little.

    Parameters
    ----------
    plan : Sizes
    seed : int
        Of the weights, and of mock galaxies.
    device : 'cpu' or 'cuda'
    source : Source
        Its seed chooses the galaxies of a catalogue; without one they are mock ones, kept no longer than the networks.
    folder : Path
    """
    work = folder / f"networks-{seed}"
    if source.catalog is None:
        source = replace(source, cache=work / "cache", seed=seed)
    found = _measured(plan, seed, device, replace(source, objects=plan.objects), work)
    shutil.rmtree(work)
    return found


def _measured(plan: Sizes, seed: int, device: str, source: Source, work: Path) -> dict[str, Any]:
    pairs = [parse_pair(words) for words in plan.pairs]
    how = Training(work, source, "default", informed("default"), plan.epochs, device, 1)
    galaxies = gather_pairs(pairs, source, how.plan)
    asked = plan_networks(pairs, [seed], galaxies, how)
    for network in asked.values():
        train(network)
    said, sample = said_by(asked), sample_of(galaxies)
    found: dict[str, Any] = {}
    for pair in pairs:
        three = tuple(said[inputs, seed].log_p for inputs in (pair.first, pair.second, pair.both))
        told = decompose_pair(pair, [(three[0], three[1], three[2])], sample)
        found[pair.name] = {
            rule: {name: round(value.mean, 5) for name, value in told.rules[rule].items()} for rule in RULES
        }
    return found


def claim_of(results: Sequence[Mapping[str, Any]]) -> type[Claim]:
    """Kind of the claims about images: a stand-in where no pair has any."""
    return Claim if any(parse_pair(pair).both.images for pair in results[0]) else StandIn


def of(results: Sequence[Mapping[str, Any]], pair: str, quantity: str, rule: str) -> list[float]:
    """A quantity of a pair, one per seed."""
    return [one[pair][rule][quantity] for one in results]


def draw_parts(figure: Figure, results: list[dict[str, Any]]) -> None:
    """Parts of the information of each pair by both rules: means over the seeds, and each seed as a dot."""
    pairs = list(results[0])
    figure.set_size_inches(12, 2.6 + 0.62 * len(pairs))
    panels = figure.subplots(1, len(RULES), sharex=True, sharey=True)
    for axes, rule in zip(panels, RULES, strict=True):
        for number, (part, colour) in enumerate(zip(PARTS, COLOURS, strict=True)):
            place = np.arange(len(pairs)) + (number - 1.5) * 0.2
            values = np.array([of(results, pair, part, rule) for pair in pairs])
            axes.barh(place, values.mean(1), 0.19, color=colour, label=f"{part}, {_TOLD[part]}")
            axes.plot(values.ravel(), np.repeat(place, values.shape[1]), "k.", ms=3)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.tick_params(axis="y", which="both", length=0)
        axes.set(title=RULE[rule], xlabel="information [nat]; dots: seeds")
    panels[0].set_yticks(np.arange(len(pairs)), [pair.replace(":", " : ") for pair in pairs])
    panels[0].set_ylim(len(pairs) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PARTS))
