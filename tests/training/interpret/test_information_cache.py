"""Networks that tell information are kept by their content: trained once, gone on with, and never taken for others."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.errors import Interrupted, ModelError
from galcli.training.fit import STATE, Fit
from galcli.training.interpret import information_runs
from galcli.training.interpret.information_pairs import Pair
from galcli.training.interpret.information_runs import RESULT, Training, plan_networks, train_all
from galcli.training.recipes.mass import WEIGHTS
from galcli.training.recipes.mass_data import UNUSED, Galaxies, Source
from galcli.training.recipes.mass_plan import PRESETS, Inputs
from galcli.training.survey import Reading
from tests.training.interpret.planted_galaxies import planted_galaxies, training_of
from tests.training.interpret.test_information_runs import decomposed, network_of, pair_of


@pytest.fixture(scope="module")
def few() -> Galaxies:
    return planted_galaxies(600, 200)


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


def test_columns_beside_images_have_one_network(few: Galaxies, tmp_path: Path) -> None:
    """That which images correct is the one of a pair, or one more."""
    pairs = [Pair(("P1", "g"), Inputs(("P1",)), Inputs((), "g")),
             Pair(("P2+g", "P3"), Inputs(("P2",), "g"), Inputs(("P3",)))]  # fmt: skip
    found = plan_networks(pairs, (0, 1), few, training_of(tmp_path, 1.0))
    place = {(inputs.columns, inputs.bands, seed): network for (inputs, seed), network in found.items()}
    columns = [("P1",), ("P2",), ("P3",), ("P2", "P3")]
    assert {key[:2] for key in place} == {(one, "") for one in columns} | {
        ((), "g"), (("P1",), "g"), (("P2",), "g"), (("P2", "P3"), "g"),
    }  # fmt: skip
    for (names, bands, seed), network in place.items():
        corrected = place[names, "", seed].folder / WEIGHTS if bands and names else None
        assert network.base == corrected, names
    published = replace(training_of(tmp_path, 1.0), plan=PRESETS["published"])
    assert not any(network.base for network in plan_networks(pairs, (0,), few, published).values())


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


def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings end with a signal, once."""
    whole, count = Fit._step, 0

    def stopping(self: Fit, *words: Any) -> float:
        nonlocal count
        count += 1
        if count == step:
            raise Interrupted(f"stopped at step {step}", "go on with --resume")
        return whole(self, *words)

    monkeypatch.setattr(Fit, "_step", stopping)


def test_an_interrupted_training_goes_on(few: Galaxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = network_of(few, tmp_path / "whole"), network_of(few, tmp_path / "stopped")
    train_all([whole])
    stopped_at(20, monkeypatch)
    with pytest.raises(Interrupted, match="step 20") as raised:
        train_all([stopped])
    assert "same command" in raised.value.hint
    assert not stopped.done
    assert (stopped.folder / STATE).exists()
    train_all([stopped])
    assert (stopped.folder / RESULT).read_bytes() == (whole.folder / RESULT).read_bytes()


def test_the_same_galaxies_go_on_however_they_are_called(
    few: Galaxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The folder of a network and what its training must be the same in are of one mind."""
    stopped_at(20, monkeypatch)
    first = network_of(few, tmp_path)
    how = replace(first.training, source=replace(first.training.source, target="LOGM"))
    first = replace(first, training=how)
    with pytest.raises(Interrupted):
        train_all([first])
    assert (first.folder / STATE).exists()
    source = Source(tmp_path, 9, 700, Path("same.fits"), target="logm", reading=Reading(hdu=1, id_column="ID"))
    again = replace(first, training=replace(how, source=source, processes=3), galaxies=replace(few, name="same.fits"))
    assert again.folder == first.folder
    train_all([again])
    whole = network_of(few, tmp_path / "whole")
    train_all([whole])
    np.testing.assert_array_equal(again.said().log_p, whole.said().log_p)


def test_other_values_do_not_go_on(few: Galaxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_at(20, monkeypatch)
    first = network_of(few, tmp_path)
    with pytest.raises(Interrupted):
        train_all([first])
    target = few.target.copy()
    target[3] += 0.1
    plan = replace(first.training.plan, weight_decay=0.0)
    others = [
        replace(first, galaxies=replace(few, target=target)), replace(first, galaxies=replace(few, mock=False)),
        replace(first, training=replace(first.training, plan=plan)),
        replace(first, training=replace(first.training, preset="default")),
    ]  # fmt: skip
    assert len({first.folder, *(one.folder for one in others)}) == 5
    for one in others:
        train_all([one])  # nothing of another training is in its way
        assert one.done
    assert not first.done


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
