"""Information of pairs of inputs about the stellar mass, measured for one seed of an experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galcli.training.experiments.sae_curves import COLOURS
from galcli.training.interpret.information_numbers import RULES, decompose_pair, sample_of
from galcli.training.interpret.information_pairs import parse_pair
from galcli.training.interpret.information_runs import Training, gather_pairs, informed, plan_networks, said_by, train
from galcli.training.recipes.mass_data import Source

#: What the galaxies are.
SAMPLE = "MOCK galaxies (SDSS ugriz, WISE)"
#: Parts of the information, in the order of charts.
PARTS = ("R", "U1", "U2", "S")


@dataclass(frozen=True)
class Sizes:
    """How an experiment is done.

    Attributes
    ----------
    objects : int
        Mock galaxies.
    epochs : float
        Passes over them.
    pairs : tuple of str
        As `information_pairs.parse_pair` reads them.
    """

    objects: int
    epochs: float
    pairs: tuple[str, ...]


def measured(plan: Sizes, seed: int, device: str) -> dict[str, Any]:
    """Information of each pair, and its parts by each rule [nat]: other galaxies and other weights for every seed.

    Returns
    -------
    dict
        Pair -> rule -> quantity -> value.
    """
    pairs = [parse_pair(words) for words in plan.pairs]
    with tempfile.TemporaryDirectory(prefix="galcli-mass-") as folder:
        source = Source(Path(folder) / "cache", seed, plan.objects)
        how = Training(Path(folder), source, "default", informed("default"), plan.epochs, device, 1)
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


def of(results: Sequence[Mapping[str, Any]], pair: str, quantity: str, rule: str) -> list[float]:
    """A quantity of a pair, one per seed."""
    return [one[pair][rule][quantity] for one in results]


def draw_parts(figure: Figure, results: list[dict[str, Any]]) -> None:
    """Parts of the information of each pair by both rules: means over the seeds, and each seed as a dot."""
    pairs = list(results[0])
    figure.set_size_inches(max(9.0, 2.5 + 0.75 * len(pairs)), 8)
    panels = figure.subplots(len(RULES), 1, sharex=True)
    for axes, rule in zip(panels, RULES, strict=True):
        for number, (part, colour) in enumerate(zip(PARTS, COLOURS, strict=True)):
            place = np.arange(len(pairs)) + (number - 1.5) * 0.2
            values = np.array([of(results, pair, part, rule) for pair in pairs])
            axes.bar(place, values.mean(1), 0.19, color=colour, label=part)
            axes.plot(np.repeat(place, values.shape[1]), values.ravel(), "k.", ms=3)
        axes.axhline(0, color="0.3", linewidth=0.8)
        axes.set(ylabel=f"information [nat]\n{rule} minimum")
    panels[0].legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    panels[-1].set_xticks(
        np.arange(len(pairs)), pairs, rotation=30 if len(pairs) > 3 else 0, ha="right" if len(pairs) > 3 else "center"
    )
