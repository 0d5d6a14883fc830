"""``galcli explain mass --information``: what pairs of inputs tell about the mass, alone and together (models.md 2.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from galcli.progress import Progress
from galcli.tables.fits import write_table
from galcli.training.interpret import information_figures as figures
from galcli.training.interpret.information import QUANTITIES, Profile
from galcli.training.interpret.information_numbers import (
    RULES,
    Decomposed,
    Quantity,
    Sample,
    decompose_pair,
    sample_of,
)
from galcli.training.interpret.information_pairs import Pair
from galcli.training.interpret.information_runs import (
    Network,
    Said,
    Training,
    gather_pairs,
    informed,
    plan_networks,
    said_by,
    train_all,
)
from galcli.training.interpret.information_table import information_hdus
from galcli.training.interpret.pages import Pages, mock_words, require_replaceable
from galcli.training.recipes.mass_data import TEST, TRAIN, UNUSED, VALIDATION, Galaxies, Source
from galcli.training.recipes.mass_plan import EXTINCTION, Inputs

Numbers = dict[str, Any]
Networks = dict[tuple[Inputs, int], Network]
TABLE = "information.fits"
#: What is decomposed, and into what.
WHOLE, PARTS = QUANTITIES[:3], QUANTITIES[3:]
_MINIMUM = {"pointwise": "in each galaxy", "population": "of the means"}
#: Seeds below which the spread says little.
SEEDS = 3


@dataclass(frozen=True)
class Asked:
    """What a report is asked for.

    Attributes
    ----------
    pairs : tuple of Pair
        See ``information_pairs.pairs_of``.
    source : Source
        Where the galaxies come from.
    networks : Path
        Folder in which networks are kept.
    seeds : int
        Trainings of each network; the first has the seed of the source.
    preset : str
    epochs : float, optional
        Passes over the galaxies, instead of those of the preset.
    device : 'auto', 'cpu' or 'cuda'
    processes : int
        Networks without images trained at a time, where there is no GPU.
    """

    pairs: tuple[Pair, ...]
    source: Source
    networks: Path
    seeds: int = SEEDS
    preset: str = "default"
    epochs: float | None = None
    device: str = "auto"
    processes: int = 1


@dataclass(frozen=True)
class _Measured:
    """Everything that was measured."""

    galaxies: Galaxies
    sample: Sample
    training: Training
    networks: Networks
    said: dict[tuple[Inputs, int], Said]
    found: list[Decomposed]
    seeds: tuple[int, ...]


def write_report(folder: Path, asked: Asked, progress: Progress) -> Path:
    """Train what is not trained yet, decompose, draw and write.

    Parameters
    ----------
    folder : Path
        For the page, its pictures, ``metrics.json`` and ``information.fits``; an earlier report is replaced.
    asked : Asked
    progress : Progress

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UsageError
        For an unknown preset, or if the folder holds something else than a report.
    InputError
        If the galaxies cannot be used.
    ModelError
        If a network on disk is damaged.
    Interrupted
        After a signal; the same command goes on.
    OutputError
        If the disk refuses.
    """
    require_replaceable(folder)
    plan = informed(asked.preset)
    galaxies = gather_pairs(asked.pairs, asked.source, plan)
    training = Training(asked.networks, asked.source, asked.preset, plan, asked.epochs, asked.device, asked.processes)
    measured = _measure(asked, galaxies, training, progress)
    return write_pages(folder, measured, progress)


def _measure(asked: Asked, galaxies: Galaxies, training: Training, progress: Progress) -> _Measured:
    seeds = tuple(asked.source.seed + number for number in range(asked.seeds))
    networks = plan_networks(asked.pairs, seeds, galaxies, training)
    train_all(list(networks.values()))
    progress.note("information is decomposed")
    said, sample = said_by(networks), sample_of(galaxies)
    found = [
        decompose_pair(pair, [_three(pair, seed, said) for seed in seeds], sample) for pair in asked.pairs
    ]  # fmt: skip
    return _Measured(galaxies, sample, training, networks, said, found, seeds)


def _three(pair: Pair, seed: int, said: dict[tuple[Inputs, int], Said]) -> tuple[Any, Any, Any]:
    first, second, both = (said[inputs, seed].log_p for inputs in (pair.first, pair.second, pair.both))
    return first, second, both


def write_pages(folder: Path, measured: _Measured, progress: Progress) -> Path:
    """Draw and write what was measured."""
    progress.note("pictures are drawn")
    numbers, mock = _numbers(measured), measured.galaxies.mock
    pages = Pages(folder, "Stellar mass: what inputs tell alone and together", mock_words(mock, mock))
    pages.write(numbers)  # so that the folder is known as a report, should drawing be stopped
    _head(pages, measured)
    _pairs(pages, measured)
    _networks(pages, numbers)
    for number, one in enumerate(measured.found, 1):
        _profiles(pages, number, one)
    header = [("MOCK", mock, "T: simulated galaxies"), ("OBJECTS", len(measured.sample.rows), "test galaxies"),
              ("SEEDS", len(measured.seeds), "trainings of each network")]  # fmt: skip
    write_table(folder / TABLE, information_hdus(measured.found, measured.sample, header))
    return pages.write(numbers)


def _numbers(measured: _Measured) -> Numbers:
    galaxies, training = measured.galaxies, measured.training
    parts = {"learned_from": TRAIN, "validation": VALIDATION, "test": TEST, "left_out": UNUSED}
    return {
        "sample": {"name": galaxies.name, "mock": galaxies.mock, "target": training.source.target}
        | {name: len(galaxies.rows(part)) for name, part in parts.items()}
        | {"in_bins_without_training_galaxy": measured.sample.prior.unseen(measured.sample.bins)},
        "training": {"preset": training.preset, "plan": training.plan.told(), "epochs": training.epochs,
                     "seeds": list(measured.seeds)},
        "pairs": [_told(one) for one in measured.found],
        "networks": [_told_network(inputs, measured) for inputs in dict.fromkeys(key[0] for key in measured.networks)],
    }  # fmt: skip


def _told(one: Decomposed) -> Numbers:
    return {
        "pair": one.pair.name, "group": one.pair.group, "first": _inputs(one.pair.first), "second": _inputs(one.pair.second),
        "weak": one.weak,
        **{rule: {name: each.told() for name, each in one.rules[rule].items()} for rule in RULES},
        "profiles": {name: _told_profile(each) for name, each in one.profiles.items()},
    }  # fmt: skip


def _inputs(inputs: Inputs) -> Numbers:
    return {"columns": list(inputs.columns), "bands": inputs.bands, "normalised": inputs.normalised}


def _told_profile(one: Profile) -> Numbers:
    return {
        "edges": one.edges.tolist(), "count": one.count.tolist(), "middle": _plain(one.middle),
        "mean": {name: _plain(one.mean[name]) for name in QUANTITIES},
        "error": {name: _plain(one.error[name]) for name in QUANTITIES},
    }  # fmt: skip


def _plain(values: Any) -> list[float | None]:
    """NaN is no JSON."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _told_network(inputs: Inputs, measured: _Measured) -> Numbers:
    several = [measured.said[inputs, seed] for seed in measured.seeds]
    surprise = float(measured.sample.prior.surprise(measured.sample.bins).mean())
    told = {name: [one.scores[name] for one in several] for name in ("cross_entropy", "sigma_mad", "crps")}
    return {
        "words": measured.networks[inputs, measured.seeds[0]].words, "inputs": _inputs(inputs),
        "information": [surprise - entropy for entropy in told["cross_entropy"]], **told,
        "folders": [measured.networks[inputs, seed].folder.name for seed in measured.seeds],
    }  # fmt: skip


def _head(pages: Pages, measured: _Measured) -> None:
    galaxies, training, report = measured.galaxies, measured.training, pages.report
    lengths = "" if training.epochs is None else f", {training.epochs:g} epochs"
    left_out = len(galaxies.rows(UNUSED))
    kept = ", each from its best epoch on the validation galaxies" if not training.plan.published else ""
    report.text(
        f"Sample: {galaxies.name}; log10 of the mass from {training.source.target}. {len(galaxies.rows(TRAIN)):,} galaxies "
        f"were learned from, {len(galaxies.rows(VALIDATION)):,} decided when learning was done, and "
        f"{len(measured.sample.rows):,} that no network saw are measured; {left_out:,} without a mass in "
        f"range or without a value of any input of this page are left out, so that all networks see the same galaxies. "
        f"{len(measured.networks)} networks: preset {training.preset}{lengths}, seeds "
        f"{', '.join(map(str, measured.seeds))}{kept}. Every network also sees {EXTINCTION}."
    )
    report.text(
        "I = mean of ln p(mass bin | input) - ln p(mass bin) over the test galaxies, in nat (1 nat = 1.44 bit). It is split "
        "into what both inputs tell (redundant, R), what the first tells beyond that (U1), and the second (U2), and the rest, "
        "which only both together tell (synergistic, S = I12 - R - U1 - U2). How much of it is redundant can be defined in "
        "several ways; two of them are shown."
    )
    report.points([
        ("I1, I2 and I12 are lower bounds, but for the scatter of galaxies and seeds: a better network may find more. The "
         f"distribution of the masses, p(mass bin), is that of the {len(galaxies.rows(TRAIN)):,} galaxies that were learned "
         "from, by an estimate that makes no information too large (Grassberger 2003)."),
        ("The parts are no bounds: S is too low where the network of both inputs is weaker than those of one, and R, U1, U2 "
         "and S all shift where a network of one input is the weaker one, or too sure of itself, which lowers R by the "
         "minimum in each galaxy. More epochs or galaxies show whether that is so."),
        ("Minimum in each galaxy (pointwise, as published): R is the mean of the smaller of i1 and i2. In each galaxy one of "
         "U1 and U2 is 0, since the input that tells less tells nothing of its own by this rule; their means may both be "
         "positive, also where only one input tells anything. R and S may be negative: inputs that mislead in some galaxies "
         "count against R, and S is negative wherever both together tell less than the better one alone."),
        ("Minimum of the means (population): R is the smaller of I1 and I2. One of U1 and U2 is 0; S is "
         "negative only by chance, or where the network of both inputs is the weaker one."),
        ("Errors are those of means over galaxies; the spread is the standard deviation over seeds. Differences smaller "
         "than both together say nothing."),
    ])  # fmt: skip
    if any(measured.training.plan.base(inputs) for inputs, _ in measured.networks):
        report.text(
            "A network of images and columns corrects the posterior of the columns alone by what the images tell beside "
            "them. So it cannot know much less than the columns, whereas one of the images alone has no such help: U and S "
            "of the images rest on how well each of the two has learned."
        )
    for words in _warnings(measured):
        report.text(words, warning=True)


def _warnings(measured: _Measured) -> Iterator[str]:
    if len(measured.seeds) < SEEDS:
        yield f"{len(measured.seeds)} seed{'s' * (len(measured.seeds) > 1)} only: {SEEDS} or more tell how much trainings differ."
    weak = [one.pair.name for one in measured.found if one.weak]
    if weak:
        yield ("Surely too low S: with both inputs the network knows less than with one of them, of "
               f"{', '.join(weak)}. Train longer, or on more galaxies.")  # fmt: skip
    unlearned = [one.pair.name for one in measured.found if one.unlearned]
    if unlearned:
        yield (f"Information below 0 in {', '.join(unlearned)}: networks that know less than the distribution of all masses "
               "tells, of which no part means anything. Train longer, or on more galaxies.")  # fmt: skip
    unseen = measured.sample.prior.unseen(measured.sample.bins)
    if unseen > 0.01 * len(measured.sample.rows):
        yield (f"{unseen:,} test galaxies have masses in bins without any training galaxy: how rare they are is not known, "
               "and their information is too small. Give more galaxies.")  # fmt: skip


def _pairs(pages: Pages, measured: _Measured) -> None:
    report = pages.report
    for number, (group, several) in enumerate(groupby(measured.found, key=lambda one: one.pair.group), 1):
        found = list(several)
        report.heading(f"Information of pairs: {group}" if group else "Information of pairs")
        pages.draw(
            f"pairs-{number}", figures.bars_size(len(found)),
            f"Left: information of the first input, the second, and both, {len(measured.sample.rows):,} test galaxies of "
            f"{measured.galaxies.name}. Middle and right: its parts by either rule. Error bars: error over galaxies and "
            "spread over seeds together.",
            lambda figure, found=found: figures.bars_figure(found, figure),  # type: ignore[misc]
        )  # fmt: skip
        report.table(("pair", *WHOLE), [(one.pair.name, *_cells(one, RULES[0], WHOLE)) for one in found])
        report.table(
            ("pair", "minimum", *PARTS),
            [(one.pair.name, _MINIMUM[rule], *_cells(one, rule, PARTS)) for one in found for rule in RULES],
        )
    report.text(f"Each cell: mean \u00b1 error over galaxies (spread over seeds), in nat. {TABLE} holds all numbers.")


def _cells(one: Decomposed, rule: str, names: Sequence[str]) -> list[str]:
    return [_cell(one.rules[rule][name]) for name in names]


def _cell(one: Quantity) -> str:
    spread = f" ({one.spread:.3f})" if np.isfinite(one.spread) else ""
    return _signed(f"{one.mean:.3f} \u00b1 {one.error:.3f}{spread}")


def _signed(text: str) -> str:
    return text.replace("-", "\u2212")


def _networks(pages: Pages, numbers: Numbers) -> None:
    pages.report.heading("Networks")
    pages.report.table(
        ("inputs", "information [nat]", "spread over seeds", "cross-entropy [nat]", "sigma_MAD [dex]", "CRPS [dex]"),
        [(one["words"], _signed(f"{np.mean(one['information']):.3f}"), _spread(one["information"]),
          *(f"{np.mean(one[name]):.4f}" for name in ("cross_entropy", "sigma_mad", "crps"))) for one in numbers["networks"]],
    )  # fmt: skip
    pages.report.text("On the test galaxies, means over seeds.")


def _spread(values: Sequence[float]) -> str:
    return f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""


def _profiles(pages: Pages, number: int, one: Decomposed) -> None:
    pages.report.heading(f"{one.pair.names[0]} and {one.pair.names[1]}")
    pages.draw(
        f"profiles-{number}", (11.0, 4.3),
        "Information and its parts (minimum in each galaxy) in bins of equally many test galaxies; bands: standard errors over "
        "galaxies. Rare masses surprise more, so that I12 rises towards both ends.",
        lambda figure: figures.profiles_figure(one, figure),
    )  # fmt: skip
