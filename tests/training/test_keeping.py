"""Which weights a training ends with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from galcli.training import checkpoint
from galcli.training.fit import STATE
from galcli.training.keeping import BEST, Keep, averaged

_spec = importlib.util.spec_from_file_location("tiny_training", Path(__file__).with_name("tiny_training.py"))
assert _spec is not None
assert _spec.loader is not None
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

#: Of the nine epochs, of which the last three are those of the last stage.
FIGURES = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.3, 0.5, 0.4]


class Scripted:
    """Validation as written, whatever the weights; keeps those it was shown."""

    def __init__(self, fit: Any, figures: list[float]) -> None:
        self.fit, self.figures, self.shown = fit, figures, []
        self.loss = fit.task.loss
        fit.task = self

    def validate(self, module: Any, stage: int, final: bool) -> dict[str, Any]:
        self.shown.append([value.clone() for value in module.state_dict().values()])
        return {"score": self.figures[len(self.fit.history.curve)]}


def weights(fit: Any) -> list[torch.Tensor]:
    return list(fit.module.state_dict().values())


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(a.equal(b) for a, b in zip(one, other, strict=True))


def test_the_best_epoch_of_the_last_stage_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = tiny.fit(tmp_path, keep=Keep(figure="score"))
    script = Scripted(fit, FIGURES)
    fit.run()
    told = f"the weights of epoch {fit.history.curve[7]['epoch']:.2f} are kept, the best by score"
    assert told in capsys.readouterr().err
    assert len(script.shown) == 9
    assert same(weights(fit), script.shown[7])
    assert not same(weights(fit), script.shown[8])
    again = tiny.fit(tmp_path, keep=Keep(figure="score"))
    again.run(resume=True)
    assert same(weights(fit), weights(again))


def test_the_last_weights_are_kept_without_a_figure(tmp_path: Path) -> None:
    fit = tiny.fit(tmp_path)
    script = Scripted(fit, FIGURES)
    fit.run()
    assert same(weights(fit), script.shown[-1])
    assert not list(tmp_path.glob(BEST.format("*")))


def test_patience_ends_a_training(tmp_path: Path) -> None:
    keep, figures = Keep(figure="score", patience=1), [*FIGURES[:6], 0.5, 0.5, 0.6]
    fit = tiny.fit(tmp_path, keep=keep)
    script = Scripted(fit, figures)
    fit.run()
    assert fit.history.step == 54  # the second epoch of the last stage was no better
    assert same(weights(fit), script.shown[6])  # of equals the first
    again = tiny.fit(tmp_path, keep=keep)
    Scripted(again, figures)
    again.run(resume=True)
    assert again.history.step == 54
    assert same(weights(fit), weights(again))


def test_a_kill_between_the_best_weights_and_the_state_loses_neither(tmp_path: Path) -> None:
    """The epoch that was the best before the kill need not be so when it is repeated."""
    fit = tiny.fit(tmp_path, keep=Keep(figure="score"))
    script = Scripted(fit, [*FIGURES[:6], 0.3, 0.5, 0.4])
    save = fit._save

    def killed(optimizer: Any) -> None:
        if fit.history.step == 54:
            raise KeyboardInterrupt
        save(optimizer)

    fit._save = killed
    with pytest.raises(KeyboardInterrupt):
        fit.run()
    assert {path.name for path in tmp_path.glob(BEST.format("*"))} == {BEST.format(47), BEST.format(54)}
    rest = tiny.fit(tmp_path, keep=Keep(figure="score"))
    Scripted(rest, [*FIGURES[:6], 0.3, 0.2, 0.1])
    rest.run(resume=True)
    assert same(weights(rest), script.shown[6])
    assert [path.name for path in tmp_path.glob(BEST.format("*"))] == [BEST.format(47)]


def test_a_best_file_of_a_lost_training_is_not_used(tmp_path: Path) -> None:
    fit = tiny.fit(tmp_path, keep=Keep(figure="score"))
    Scripted(fit, FIGURES)
    fit.run()
    (tmp_path / STATE).unlink()
    other = tiny.fit(tmp_path, keep=Keep(figure="score"), seed=9)
    script = Scripted(other, FIGURES)
    other.run()
    assert same(weights(other), script.shown[7])


def test_the_average_follows_the_weights() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = averaged(module, 0.9)
    expected = None
    for value in (1.0, 2.0, 4.0):
        torch.nn.init.constant_(module.weight, value)
        average.update_parameters(module)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
        assert average.module.weight.item() == pytest.approx(expected)


def test_the_average_is_validated_kept_and_resumed(tmp_path: Path) -> None:
    keep = Keep(average=0.8)
    whole = tiny.fit(tmp_path / "whole", keep=keep)
    script = Scripted(whole, FIGURES)
    whole.run()
    assert same(weights(whole), script.shown[-1][1:])  # behind the number of averaged steps
    plain = tiny.fit(tmp_path / "plain")
    plain.run()
    assert not same(weights(whole), weights(plain))
    assert plain.history.curve[-1]["train_loss"] == whole.history.curve[-1]["train_loss"]  # it does not steer

    part = tiny.fit(tmp_path / "part", keep=keep)
    Scripted(part, FIGURES)
    save, part._save = part._save, lambda optimizer: (save(optimizer), _stop(part))[0]
    with pytest.raises(KeyboardInterrupt):
        part.run()
    assert checkpoint.load(tmp_path / "part" / STATE)[1]["history"]["step"] == 28
    rest = tiny.fit(tmp_path / "part", keep=keep)
    Scripted(rest, FIGURES)
    rest.run(resume=True)
    assert same(weights(rest), weights(whole))


def _stop(fit: Any) -> None:
    if fit.history.step == 28:
        raise KeyboardInterrupt


@pytest.mark.parametrize("optimizer", ["adamw", "ranger"])
def test_every_optimizer_resumes_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    how = {"optimizer": optimizer, "schedule": "warm_cosine", "lr": 3e-3}
    whole = tiny.fit(tmp_path / "whole", **how)
    whole.run()
    part = tiny.fit(tmp_path / "part", **how)
    save, part._save = part._save, lambda optimizer: (save(optimizer), _stop(part))[0]
    with pytest.raises(KeyboardInterrupt):
        part.run()
    rest = tiny.fit(tmp_path / "part", **how)
    rest.run(resume=True)
    assert same(weights(rest), weights(whole))
