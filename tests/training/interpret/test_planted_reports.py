"""What ``galcli mock --planted`` plants is found by commands alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import pytest

from galcli.training.interpret.causal_numbers import LEVEL
from tests.training.interpret.test_causal_report import whole
from tests.training.interpret.test_dmagnet_report import numbers_of

Run = Callable[..., Any]


def test_information_of_a_pair(galcli: Run, tmp_path: Path) -> None:
    """Of 10,000 rows, each of 8,000 seen three times: measured 0.01 to 0.06 nat too low."""
    out, catalog = tmp_path / "information", tmp_path / "planted.fits"
    said = galcli("mock", tmp_path, "--planted", "-n", 10_000, "--seed", 3).out
    assert f"galcli explain mass --information --catalog {catalog} --pair P1:P3" in said
    galcli("explain", "mass", "--information", "--catalog", catalog, "--pair", "P1:P3", "--preset", "quick",
           "--epochs", 3, "--seeds", 1, "--device", "cpu", "-o", out)  # fmt: skip
    answers = fitsio.read(str(catalog), ext="INFORMATION")
    (known,) = answers[(answers["X1"] == "P1") & (answers["X2"] == "P3")]
    (pair,) = numbers_of(out)["pairs"]
    found = {name: pair["population"][name]["mean"] for name in ("I1", "I2", "I12", "U2", "S")}
    for name in ("I1", "I2", "I12"):
        assert found[name] == pytest.approx(known[name], abs=0.08), name
    assert found["I1"] > found["I2"] > 0.03
    assert found["U2"] == known["U2_POP"] == 0
    assert found["S"] == pytest.approx(known["S_POP"], abs=0.08), "two causes of one sum explain each other away"


@pytest.mark.slow
def test_dependence_of_queries(galcli: Run, tmp_path: Path) -> None:
    """In a representation that the columns gave; measured: z of 50 and more, and of -1 to 1."""
    out, catalog = tmp_path / "causal", tmp_path / "planted.fits"
    galcli("mock", tmp_path, "--planted", "-n", 10_000, "--seed", 3)
    said = galcli("train", "mass", "--catalog", catalog, "--inputs", "P1+P2+P3+P4+P5+P6", "--contrastive",
                  "--preset", "quick", "--epochs", 3, "--device", "cpu", "-o", tmp_path).out  # fmt: skip
    model = tmp_path / "mass-columns.onnx"
    assert f"model: {model}" in said
    galcli("explain", "mass", "--causal", "--model", model, "--catalog", catalog, "--query", "Q1", "--query", "Q2",
           "--query", "Q4", "--condition", "C1", "--condition", "C2", "--condition", "C4", "--permutations", 199,
           "--no-graph", "--device", "cpu", "-o", out)  # fmt: skip
    lines = whole(out)
    assert numbers_of(out)["sample"]["learned"] == "pool"
    for pair in (("Q1", "none"), ("Q1", "C1"), ("Q4", "C4")):
        assert lines[pair]["R2_PADJ"] <= LEVEL
        assert lines[pair]["R2_Z"] > 10, pair
    for pair in (("Q2", "none"), ("Q2", "C2"), ("Q4", "none")):
        assert abs(lines[pair]["R2_Z"]) < 4, pair
        assert abs(lines[pair]["R_MEDIAN"]) < 0.05, pair
    assert lines["Q1", "none"]["R_MEDIAN"] > 0.1
    assert lines["Q4", "C4"]["R_MEDIAN"] < -0.1, "given a common effect, one cause speaks against the other"
