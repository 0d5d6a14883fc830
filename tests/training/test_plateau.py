"""Training to a plateau: the same bits after an interruption, the rate that falls, the end that is found."""

import os
import signal

import pytest
import torch
from torch import nn

from galcli.errors import GalcliError, IdentityError, InputError, Interrupted, ModelError
from galcli.training import checkpoint
from galcli.training.fit import STATE
from galcli.training.plateau import PlateauFit, Settings

TABLE = torch.rand(96, 5, generator=torch.Generator().manual_seed(0))
ROWS, HELD = torch.arange(64), torch.arange(64, 96)


def fit(out, after=None, width=4, **changes):
    """An autoencoder of a small table; ``after`` is called with the number of each training batch."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 5))
    batches = []

    def loss(rows, random):
        if after and module.training:
            batches.append(1)
            after(len(batches))
        noise = 0.01 * torch.randn(len(rows), 5, generator=random)
        return (module(TABLE[rows] + noise) - TABLE[rows]).square().sum()

    settings = {"batch": 16, "lr": 0.01, "epochs": 8, "seed": 3, "identity": {"tiny": [1, 2]}} | changes
    return PlateauFit(module, loss, ROWS, HELD, Settings(**settings), out)


def same(one, other):
    a, b = one.module.state_dict(), other.module.state_dict()
    return all(value.equal(b[name]) for name, value in a.items())


def test_interrupted_training_ends_in_the_same_bits(tmp_path):
    whole = fit(tmp_path / "whole")
    whole.run()

    def stop(batch):
        if batch == 10:  # in the third epoch
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        fit(tmp_path / "cut", after=stop).run()
    assert checkpoint.load(tmp_path / "cut" / STATE)[1]["progress"]["epoch"] == 3
    rest = fit(tmp_path / "cut")
    progress = rest.run(resume=True)
    assert same(whole, rest)
    assert progress.curve == whole.progress.curve
    assert len(progress.curve) == 8


def test_finished_training_is_not_begun_again(tmp_path):
    first = fit(tmp_path)
    first.run()
    again = fit(tmp_path, after=lambda _: pytest.fail("no step is left"))
    again.run(resume=True)
    assert same(first, again)
    with pytest.raises(InputError, match="already holds a training"):
        fit(tmp_path).run()


def test_weights_are_those_of_the_lowest_held_out_loss(tmp_path):
    training = fit(tmp_path, epochs=30, lr=2.0, stop=40, patience=40)  # so fast that it jumps about
    progress = training.run()
    losses = [entry["held_out_loss"] for entry in progress.curve]
    assert min(losses) < losses[-1]
    assert training.held_loss() == min(losses) == progress.best


def test_small_gains_are_kept_but_do_not_go_on_for_ever(tmp_path):
    training = fit(tmp_path, epochs=100)
    losses, weights = [100, 99.95, 99.92, 99.89, *[99.88 - 0.001 * number for number in range(50)]], []

    def held_loss():
        weights.append(training._copy())
        return losses[len(weights) - 1]

    training.held_loss = held_loss
    progress = training.run()
    assert progress.level == 99.89  # all gains together make a thousandth
    assert progress.epoch == 4 + 10
    assert progress.best == losses[13]
    assert all(value.equal(weights[13][name]) for name, value in training.module.state_dict().items())


def test_epochs_are_told_as_they_are(tmp_path, capsys):
    progress = fit(tmp_path, epochs=6).run()
    told = [f"loss {entry['train_loss']:.4f}  held out {entry['held_out_loss']:.4f}" for entry in progress.curve]
    lines = capsys.readouterr().err.splitlines()
    assert told[0] in lines[0]
    assert told[-1] in lines[-1]


def test_rate_falls_at_a_plateau_and_training_ends(tmp_path):
    progress = fit(tmp_path, epochs=100, lr=1e-30).run()  # nothing can be gained
    assert [entry["lr"] for entry in progress.curve] == 7 * [1e-30] + 4 * [1e-30 / 10]
    assert len(progress.curve) == 11  # the first epoch, and ten without gain


def test_another_training_is_not_gone_on_with(tmp_path):
    fit(tmp_path).run()
    with pytest.raises(IdentityError, match=r"tiny: \[1, 2\] -> 7"):
        fit(tmp_path, identity={"tiny": 7}).run(resume=True)
    with pytest.raises(ModelError, match="another network"):
        fit(tmp_path, width=6).run(resume=True)


def test_damaged_state_is_told(tmp_path):
    fit(tmp_path).run()
    data = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="no readable safetensors file") as caught:
        fit(tmp_path).run(resume=True)
    assert caught.value.hint == "start again in another folder"


def test_loss_that_is_no_number_is_told(tmp_path):
    broken = fit(tmp_path)
    broken.loss = lambda rows, random: torch.tensor(float("nan"))
    with pytest.raises(GalcliError, match="loss is nan in epoch 1"):
        broken.run()
