"""The same input gives the same bytes, however the work is cut and wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.survey import Survey, make_survey
from tests.tiny_models import write_network

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def network(shared_survey: Survey) -> Path:
    return write_network(shared_survey.root / "network.onnx")


@pytest.fixture(scope="module")
def reference(shared_survey: Survey, network: Path, galcli: Run) -> bytes:
    out = shared_survey.root / "reference.fits"
    galcli(*shared_survey.predict("--model", network, "--order", 2, out=out))
    return out.read_bytes()


@pytest.mark.parametrize(
    "how",
    [[], ["--batch-size", 1], ["--batch-size", 7], ["--batch-size", 64], ["--threads", 2], ["--max-memory", 0.45]],
    ids=lambda how: " ".join(map(str, how)) or "again",
)
def test_bytes_do_not_depend_on_how_the_work_is_cut(
    shared_survey: Survey, network: Path, reference: bytes, galcli: Run, tmp_path: Path, how: list[Any]
) -> None:
    galcli(*shared_survey.predict("--model", network, "--order", 2, *how, out=tmp_path / "p.fits"))
    assert (tmp_path / "p.fits").read_bytes() == reference


def test_bytes_do_not_depend_on_windows_of_the_merge(
    shared_survey: Survey, network: Path, reference: bytes, galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galcli.predict.merge.WINDOW_BYTES", 1000)
    galcli(*shared_survey.predict("--model", network, "--order", 2, out=tmp_path / "p.fits"))
    assert (tmp_path / "p.fits").read_bytes() == reference


def test_bytes_do_not_depend_on_where_the_survey_lies(reference: bytes, galcli: Run, tmp_path: Path) -> None:
    moved = make_survey(tmp_path / "elsewhere")
    network = write_network(tmp_path / "renamed.onnx")
    galcli(*moved.predict("--model", network, "--order", 2))
    assert moved.out.read_bytes() == reference


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "LANG": "C"},
        {
            "LC_ALL": "C.UTF-8",
            "TZ": "America/St_Johns",
            "PYTHONHASHSEED": "2",
            "PYTHONUTF8": "1",
            "OMP_NUM_THREADS": "1",
        },
    ],
    ids=["C", "UTF-8"],
)
def test_bytes_do_not_depend_on_locale_or_time_zone(
    shared_survey: Survey, network: Path, reference: bytes, galcli_process: Run, tmp_path: Path,
    environment: dict[str, str],
) -> None:  # fmt: skip
    out = tmp_path / "p.fits"
    galcli_process(*shared_survey.predict("--model", network, "--order", 2, out=out), cwd=tmp_path, **environment)
    assert out.read_bytes() == reference


def test_loose_files_give_the_same_bytes_twice(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 20, loose=True)
    outs = [tmp_path / "a.fits", tmp_path / "b.fits"]
    galcli(*survey.predict("--batch-size", 3, out=outs[0]))
    galcli(*survey.predict("--order", "auto", out=outs[1]))
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize("size", [1, 5])
def test_batch_size_is_obeyed(
    shared_survey: Survey, galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    from galcli.predict.runner import ModelRunner

    sizes = []
    run = ModelRunner.run

    def note(self: ModelRunner, batch: Any, table: Any) -> None:
        sizes.append(len(batch))
        run(self, batch, table)

    monkeypatch.setattr(ModelRunner, "run", note)
    galcli(*shared_survey.predict("--batch-size", size, out=tmp_path / "p.fits"))
    assert max(sizes) == size
    assert sum(sizes) == 48
