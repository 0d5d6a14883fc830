"""`galcli explain mass`: which options belong to which report, and what they ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.training.interpret import causal_report, information_report
from galcli.training.interpret.causal_seen import SEED

Run = Callable[..., Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the reports are asked for, in place of their work."""
    found: list[Any] = []

    def noted(folder: Path, asked: Any, progress: object) -> Path:
        found.append(asked)
        return folder / "index.html"

    for report in (causal_report, information_report):
        monkeypatch.setattr(report, "write_report", noted)
    return found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "two reports"),
        (("--causal", "--information"), "two reports"),
        (("--causal", "--pair", "optical:infrared"), "--pair is about the other report"),
        (("--causal", "--seeds", 3), "--seeds is about the other report"),
        (("--information", "--query", "Z"), "--query is about the other report"),
        (("--information", "--no-graph"), "--graph is about the other report"),
        (("--information", "--include-self"), "--include-self is about the other report"),
        (("--information", "--permutations", 99), "--permutations is about the other report"),
        (("--causal", "--permutations", 18), "x>=19"),
        (("--causal", "--cutouts", "x"), "--cutouts are those of a catalogue"),
        (("--information", "--pair", "optical"), "names no two inputs"),
    ],
)
def test_options_of_the_other_report_are_refused(galcli: Run, asked: list[Any], words: Any, told: str) -> None:
    assert told in galcli("explain", "mass", *words, code=2).error
    assert not asked


def test_defaults_are_those_of_the_reports(galcli: Run, asked: list[Any], tmp_path: Path) -> None:
    galcli("explain", "mass", "--causal", "-o", tmp_path / "a")
    galcli("explain", "mass", "--information", "-o", tmp_path / "b")
    causal, information = asked
    assert (causal.model, causal.source.seed, causal.everyone, causal.graph) == ("mass-photometry", SEED, False, None)
    assert (causal.neighbours, causal.permutations, causal.seed) == (100, None, 256)
    assert (causal.queries, causal.conditions, causal.include_self, causal.device) == ((), (), False, "auto")
    assert [pair.name for pair in information.pairs] == ["optical:infrared"]
    assert information.networks == tmp_path / "b-networks", "not in the report, which is replaced"
    assert (information.seeds, information.preset, information.epochs) == (3, "default", None)


def test_help_tells_the_defaults(galcli: Run) -> None:
    text = " ".join(galcli("explain", "mass", "--help").out.split())
    neighbours = causal_report.Asked.__dataclass_fields__["neighbours"].default
    for field, default in (("neighbours", neighbours), ("permutations", f"{causal_report.PERMUTATIONS}, or more")):
        assert re.search(rf"--{field} INTEGER RANGE causal: [^\[]*\[default: {default}", text), field
    assert f"mock galaxies of --causal {SEED}," in text
    assert f"[default: {information_report.SEEDS}]" in text


def test_options_reach_the_reports(galcli: Run, asked: list[Any], tmp_path: Path) -> None:
    galcli("explain", "mass", "--causal", "--query", "Z", "--query", "a/b", "--condition", "EBV", "--neighbours", 40,
           "--permutations", 99, "--include-self", "--no-graph", "--seed", 5, "--model", "own.onnx",
           "--catalog", "c.fits", "--map", "Z=ZSPEC", "--target", "MASS", "-o", tmp_path / "a")  # fmt: skip
    galcli("explain", "mass", "--information", "--pair", "published", "--seeds", 2, "--preset", "quick", "--epochs", 1.5,
           "--networks", tmp_path / "n", "--objects", 900, "-o", tmp_path / "b")  # fmt: skip
    causal, information = asked
    assert (causal.queries, causal.conditions) == (("Z", "a/b"), ("EBV",))
    assert (causal.neighbours, causal.permutations) == (40, 99)
    assert (causal.include_self, causal.everyone, causal.graph) == (True, True, False)
    assert (causal.seed, causal.source.seed, causal.model) == (5, 5, "own.onnx")
    assert (causal.source.catalog, causal.source.mapped) == (Path("c.fits"), (("Z", "ZSPEC"),))
    assert causal.source.target == "MASS"
    assert len(information.pairs) == 29
    assert (information.seeds, information.preset, information.epochs) == (2, "quick", 1.5)
    assert (information.networks, information.source.objects) == (tmp_path / "n", 900)
