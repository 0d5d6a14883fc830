"""The table of faults is whole, and its tests are there."""

from __future__ import annotations

import ast

from tests.faults.report import Record, render
from tests.faults.table import FAULTS
from tests.launcher import ROOT


def test_every_fault_has_its_line() -> None:
    assert list(FAULTS) == [f"F{number}" for number in range(1, 31)]
    assert all(fault.tests or fault.limits for fault in FAULTS.values())


def test_every_test_of_the_table_is_there() -> None:
    there = set()
    for file in {name.partition("::")[0] for fault in FAULTS.values() for name in fault.tests}:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        there |= {f"{file}::{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for fault in FAULTS.values() for name in fault.tests} <= there


def test_a_failure_is_not_hidden() -> None:
    text = render({"F1": Record(tries=3, passed=2, failed=["tests/x.py::test_y"]), "F2": Record(tries=5, passed=5)})
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| F")}
    assert len(lines) == 30
    assert "**FAILED**: tests/x.py::test_y" in lines["F1"]
    assert "5 passed" in lines["F2"]
    assert "not run" in lines["F3"]
