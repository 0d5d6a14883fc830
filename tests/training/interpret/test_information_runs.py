"""Networks that tell information: planted answers are found, and each network is trained once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from galcli.errors import GalcliError, InputError, Interrupted, ModelError
from galcli.training.fit import STATE, Fit
from galcli.training.interpret import information_runs
from galcli.training.interpret.information_numbers import RULES, Decomposed, decompose_pair, sample_of
from galcli.training.interpret.information_pairs import Pair, networks, parse_pair
from galcli.training.interpret.information_runs import (
    RESULT,
    Network,
    Training,
    gather_pairs,
    informed,
    plan_networks,
    said_by,
    train_all,
)
from galcli.training.mock import planted
from galcli.training.networks.mass_start import keep_size
from galcli.training.recipes.mass import METRICS, WEIGHTS, load_mass
from galcli.training.recipes.mass_data import TEST, UNUSED, Galaxies, Source
from galcli.training.recipes.mass_network import MassNetwork
from galcli.training.recipes.mass_plan import PRESETS, Inputs
from galcli.training.recipes.mass_posterior import bins_of
from tests.training.interpret.planted_galaxies import gaussian_galaxies, planted_galaxies, training_of

#: Parts whose known answers differ by less have no order, and smaller ones no sign [nat].
TOLERANCE = 0.02
PARTS = ("R", "U1", "U2", "S")
#: Where the parts begin among the known answers.
FIRST = {"pointwise": 3, "population": 7}


@pytest.fixture(scope="module")
def few() -> Galaxies:
    return planted_galaxies(600, 200)


def pair_of(words: str) -> Pair:
    return parse_pair(words, str)


def decomposed(
    pairs: list[Pair], seeds: tuple[int, ...], galaxies: Galaxies, training: Training
) -> list[Decomposed]:  # fmt: skip
    asked = plan_networks(pairs, seeds, galaxies, training)
    train_all(list(asked.values()))
    said, sample = said_by(asked), sample_of(galaxies)
    three: Callable[[Pair, int], Any] = lambda pair, seed: [  # noqa: E731
        said[inputs, seed].log_p for inputs in (pair.first, pair.second, pair.both)
    ]
    return [decompose_pair(pair, [three(pair, seed) for seed in seeds], sample) for pair in pairs]


def check_truth(found: Decomposed, seeds: int) -> None:
    """Sign and order of all parts by both rules, in every seed."""
    truth = planted.TRUTH[found.pair.names]  # type: ignore[index]
    for name, known in zip(("I1", "I2", "I12"), truth, strict=False):
        assert found.rules["pointwise"][name].mean == pytest.approx(known, abs=0.04)
    for rule in RULES:
        known = dict(zip(PARTS, truth[FIRST[rule] :], strict=False))
        for seed in range(seeds):
            told = {name: found.rules[rule][name].values[seed] for name in PARTS}
            for name in PARTS:
                if abs(known[name]) > TOLERANCE:
                    assert told[name] * known[name] > 0, (found.pair.name, rule, name, told)
            for one, other in combinations(PARTS, 2):
                if abs(known[one] - known[other]) > TOLERANCE:
                    assert (told[one] > told[other]) == (known[one] > known[other]), (found.pair.name, rule, told)


@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_planted_parts_are_found_in_three_of_three_seeds(tmp_path: Path) -> None:
    """30 networks, 60,000 galaxies seen once: 133 s of one core; information comes out 0.005 to 0.024 nat too low."""
    pairs = [pair_of(":".join(names)) for names in planted.TRUTH]
    found = decomposed(pairs, (0, 1, 2), planted_galaxies(60_000, 20_000), training_of(tmp_path, 1.0))
    for one in found:
        check_truth(one, 3)
        assert all(quantity.spread < 0.02 for rule in RULES for quantity in one.rules[rule].values())
        assert not one.weak


def test_planted_unique_and_synergistic_parts_are_found(tmp_path: Path) -> None:
    """The pair whose two columns tell different parts of the sum, with one seed and half of the galaxies."""
    (found,) = decomposed([pair_of("P1:P3")], (5,), planted_galaxies(25_000, 8_000), training_of(tmp_path, 1.0))
    check_truth(found, 1)


def test_information_of_gaussians_is_recovered(tmp_path: Path) -> None:
    """Y = X1 + 0.5 X2 + noise: I = ln(ratio of variances) / 2 (models.md 2.5)."""
    (found,) = decomposed([pair_of("X1:X2")], (0,), gaussian_galaxies(25_000, 8_000), training_of(tmp_path, 1.0))
    known = {"I1": log(2.25 / 1.25) / 2, "I2": log(2.25 / 2) / 2, "I12": log(2.25) / 2}
    for name, value in known.items():
        assert found.rules["pointwise"][name].mean == pytest.approx(value, abs=0.05)
    pointwise, population = ({name: found.rules[rule][name].mean for name in PARTS} for rule in RULES)
    assert pointwise == pytest.approx({"R": -0.103, "U1": 0.397, "U2": 0.161, "S": -0.049}, abs=0.05)
    assert population == pytest.approx({"R": 0.0589, "U1": 0.2350, "U2": 0, "S": 0.1116}, abs=0.05)


def test_signals_keep_their_size_through_all_layers() -> None:
    """As published they are lost in the biases, and networks of few columns learn no product of two."""
    inputs = Inputs(("a", "b"))
    numbers = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))

    def scatter(network: MassNetwork) -> float:
        with torch.no_grad():
            features = network.features(None, numbers)
            return float(features.std(0).mean() / features.abs().mean())

    torch.manual_seed(0)
    published, even = MassNetwork(inputs, "mi"), MassNetwork(inputs, "mi")
    keep_size(even, even.estimator.last)
    assert scatter(published) < 0.02
    assert scatter(even) > 0.3
    with torch.no_grad():
        assert even(None, numbers)[0].std() < 0.3, "bins begin with about equal chances"


def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Inputs of the networks that are trained from now on."""
    seen: list[str] = []
    train = information_runs.train_mass

    def noted(out: Path, source: Source, inputs: Inputs, **how: Any) -> Path:
        seen.append("+".join(inputs.columns))
        return train(out, source, inputs, **how)

    monkeypatch.setattr(information_runs, "train_mass", noted)
    return seen


def test_each_network_is_trained_once(few: Galaxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, training = trained(monkeypatch), training_of(tmp_path, 1.0)
    first = decomposed([pair_of("P1:P2"), pair_of("P1:P3")], (0,), few, training)
    assert sorted(seen) == ["P1", "P1+P2", "P1+P3", "P2", "P3"]
    seen.clear()
    second = decomposed([pair_of("P2:P3"), pair_of("P2:P1")], (0,), few, training)
    assert seen == ["P2+P3"], "others are those of the first command"
    assert second[1].rules["pointwise"]["U2"].values == first[0].rules["pointwise"]["U1"].values
    assert not list(tmp_path.rglob(STATE)), "states of finished trainings are gone"
    assert len(list(tmp_path.rglob(WEIGHTS))) == 6


def test_what_determines_a_network_determines_its_place(few: Galaxies, tmp_path: Path) -> None:
    pairs, training = [pair_of("P1:P2")], training_of(tmp_path, 1.0)

    def place(
        galaxies: Galaxies = few, training: Training = training, seed: int = 0, pairs: list[Pair] = pairs
    ) -> Path:
        return plan_networks(pairs, (seed,), galaxies, training)[pairs[0].first, seed].folder

    def changed(**columns: Any) -> Galaxies:
        return replace(few, columns=few.columns | columns)

    same = place()
    assert place(changed(P2=few.columns["P1"], P6=few.columns["P1"])) == same, "columns that it does not see"
    assert place(pairs=[pair_of("P1:P5")]) == same
    assert place(training=replace(training, device="auto", processes=4)) == same
    target, part = few.target.copy(), few.part.copy()
    target[0] += 0.1
    part[0] = UNUSED
    others = [
        place(seed=1), place(training=replace(training, epochs=2.0)), place(changed(P1=few.columns["P2"])),
        place(replace(few, target=target)), place(replace(few, part=part)),
        place(training=replace(training, plan=replace(training.plan, weight_decay=0.0))),
    ]  # fmt: skip
    assert len({same, *others}) == 7


def network_of(few: Galaxies, folder: Path, epochs: float = 8.0) -> Network:
    pair = pair_of("P1:P2")
    return plan_networks([pair], (0,), few, training_of(folder, epochs))[pair.both, 0]


def test_an_interrupted_training_goes_on(few: Galaxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = network_of(few, tmp_path / "whole"), network_of(few, tmp_path / "stopped")
    train_all([whole])
    step, count = Fit._step, 0

    def stopping(self: Fit, *words: Any) -> float:
        nonlocal count
        count += 1
        if count == 20:
            raise Interrupted("stopped at step 20", "go on with --resume")
        return step(self, *words)

    monkeypatch.setattr(Fit, "_step", stopping)
    with pytest.raises(Interrupted, match="step 20") as raised:
        train_all([stopped])
    assert "same command" in raised.value.hint
    assert not stopped.done
    assert (stopped.folder / STATE).exists()
    train_all([stopped])
    assert (stopped.folder / RESULT).read_bytes() == (whole.folder / RESULT).read_bytes()


def test_a_training_without_its_result_does_not_count(
    few: Galaxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Killed between the weights and what they say: measured again, to the same bytes."""
    network = network_of(few, tmp_path, 2.0)
    save = information_runs.checkpoint.save

    def dying(path: Path, *words: Any) -> None:
        if path.name == RESULT:
            raise KeyboardInterrupt
        save(path, *words)

    monkeypatch.setattr(information_runs.checkpoint, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        train_all([network])
    assert (network.folder / WEIGHTS).exists()
    assert not network.done
    monkeypatch.setattr(information_runs.checkpoint, "save", save)
    train_all([network])
    assert np.isfinite(network.said().log_p).all()


def test_damage_is_told(few: Galaxies, tmp_path: Path) -> None:
    network = network_of(few, tmp_path, 1.0)
    train_all([network])
    path = network.folder / RESULT
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ModelError, match=re.escape(str(path))) as raised:
        network.said()
    assert f"remove {network.folder}" in raised.value.hint
    other = replace(network, seed=1)
    other.folder.mkdir()
    (other.folder / RESULT).write_bytes(good)
    with pytest.raises(ModelError, match="another network"):
        other.said()


def test_only_test_galaxies_count(few: Galaxies, tmp_path: Path) -> None:
    network = network_of(few, tmp_path, 1.0)
    train_all([network])
    said, rows = network.said(), few.rows(TEST)
    assert said.log_p.shape == rows.shape
    prepared, inputs, _ = load_mass(network.folder / WEIGHTS)
    none = torch.zeros(len(rows), 0, 1, 1)
    with torch.no_grad():
        logits = prepared(none, none, torch.from_numpy(few.matrix(inputs.needed)[rows]))[0]
    expected = logits.log_softmax(1).numpy()[np.arange(len(rows)), bins_of(few.target[rows])]
    np.testing.assert_allclose(said.log_p, expected, atol=1e-5)
    assert said.scores["cross_entropy"] == pytest.approx(-expected.mean(), abs=1e-5)


def test_the_best_epoch_counts(few: Galaxies, tmp_path: Path) -> None:
    """A network that learns its few galaxies by heart is taken from before."""
    network = network_of(few, tmp_path, 150.0)
    train_all([network])
    told = json.loads((network.folder / METRICS).read_text())
    seen = [-entry["log_p"] for entry in told["curve"]]
    assert min(seen) < seen[-1] - 0.1
    assert told["held_out"]["cross_entropy"] == pytest.approx(min(seen), abs=1e-6)
    assert sorted(path.name for path in network.folder.iterdir()) == sorted(
        ["lock", "scales.json", METRICS, RESULT, WEIGHTS]
    )


def test_nothing_is_taken_away_in_training() -> None:
    for name, plan in PRESETS.items():
        assert informed(name) == replace(plan, blank=(0.0, 0.0))


def test_galaxies_have_every_value_that_any_pair_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample for all pairs of a command, so that they share networks and their numbers compare."""
    gather, lacking = (
        information_runs.gather,
        {"w2mpro": slice(0, 300), "petroMag_g": slice(200, 500), "Z": slice(400, 900)},
    )

    def with_gaps(*words: Any) -> Galaxies:
        found = gather(*words)
        for name, rows in lacking.items():
            found.columns[name][rows] = np.nan
        return found

    monkeypatch.setattr(information_runs, "gather", with_gaps)
    pairs = [parse_pair("optical:infrared"), parse_pair("phot[u]:phot[gr]")]
    galaxies = gather_pairs(pairs, Source(tmp_path, 5, 3000), informed("quick"))
    assert (galaxies.part[:500] == UNUSED).all()
    assert (galaxies.part[500:] != UNUSED).all(), "redshifts are only looked at, and need not be there"
    columns = tuple(dict.fromkeys(name for inputs in networks(pairs) for name in inputs.needed))
    assert np.isfinite(galaxies.matrix(columns)[500:]).all()
    asked = plan_networks(pairs, (0,), galaxies, training_of(tmp_path, 1.0))
    assert len({tuple(network.galaxies.rows(TEST)) for network in asked.values()}) == 1


def test_too_few_galaxies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="validation or test galaxies"):
        gather_pairs([parse_pair("optical:infrared")], Source(tmp_path, 5, 8), informed("quick"))


@pytest.mark.slow
def test_several_at_a_time_end_as_one_by_one(few: Galaxies, tmp_path: Path) -> None:
    pair, seen = pair_of("P1:P2"), {}
    for processes in (1, 2):
        asked = plan_networks([pair], (0,), few, training_of(tmp_path / str(processes), 1.0, processes=processes))
        train_all(list(asked.values()))
        seen[processes] = [network.said().log_p for network in asked.values()]
        logs = len(list((tmp_path / str(processes)).rglob("log.txt")))
        assert logs == (3 if processes > 1 else 0)
    np.testing.assert_array_equal(seen[1], seen[2])


def test_a_failure_names_its_network(few: Galaxies, tmp_path: Path) -> None:
    training = training_of(tmp_path, 1.0, rate=1e30)
    with pytest.raises(GalcliError, match="network of P1, seed 0"):
        train_all(list(plan_networks([pair_of("P1:P2")], (0,), few, training).values()))
