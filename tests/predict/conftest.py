"""Runs that stopped in the middle, and what they should have written."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.models.bound import Lane
from galcli.models.devices import Device
from galcli.predict import inputs
from galcli.predict.engine import Engine
from galcli.predict.paths import RunPaths
from tests.survey import Survey, make_survey

Run = Callable[..., Any]


@pytest.fixture
def halted(survey: Survey, galcli: Run) -> Survey:
    """A survey whose run was stopped in the middle: some tiles are there, others not."""
    halt(survey, galcli)
    return survey


def halt(survey: Survey, galcli: Run, *more: object, tiles: int = 3) -> None:
    """Stop a run after a few tiles."""
    import galcli.predict.worker as worker

    made = []
    make = worker.run_tile

    def stop_soon(*args: Any) -> Any:
        if len(made) == tiles:
            signal.raise_signal(signal.SIGTERM)
        made.append(1)
        return make(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "run_tile", stop_soon)
        galcli(*survey.predict("--order", 3, *more), code=75)
    assert len(tiles_of(survey)) == tiles


def tiles_of(survey: Survey) -> list[Path]:
    return sorted(RunPaths(survey.out).root.glob("Norder=*/**/*.fits"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> bytes:
    """What an uninterrupted run of the fixture survey writes."""
    survey = make_survey(tmp_path_factory.mktemp("reference") / "survey")
    galcli(*survey.predict("--order", 3))
    return survey.out.read_bytes()


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Engines open with two lanes on the CPU; the list holds them."""
    opened: list[Engine] = []
    real = inputs.open_engine

    def in_lanes(*args: Any) -> Engine:
        engine = real(*args)
        engine.lanes = (Lane(Device("cpu")), Lane(Device("cpu")))
        opened.append(engine)
        return engine

    monkeypatch.setattr(inputs, "open_engine", in_lanes)
    return opened
