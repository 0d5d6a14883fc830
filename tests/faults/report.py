"""Which faults were tried in this run, how often, and what came of it: a pytest plugin that writes REPORT.md.

With ``--fault-report FILE`` only the tests of the table (tests/faults/table.py) run, and the file is written anew.
"""

from __future__ import annotations

import datetime as dt
import platform
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.faults.counts import FULL
from tests.faults.table import FAULTS, Fault

_KEY = "fault"


@dataclass
class Record:
    """What came of a fault."""

    tries: int = 0
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@pytest.fixture
def record_fault(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count what a test tried within itself: ``record_fault(200)``, ``record_fault(200, "3 were refused")``.

    A test that does not call it counts as one try.
    """

    def record(tries: int = 1, note: str = "") -> None:
        request.node.user_properties.append((_KEY, (tries, note)))

    return record


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-report", type=Path, help="Run the fault tests and write what came of them here.")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fault-report"):
        config.pluginmanager.register(Reporter(config.getoption("--fault-report")), "galcli-faults")


class Reporter:
    """Chooses the tests, follows them and writes the report."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Record] = defaultdict(Record)
        self._missing: list[str] = []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        wanted = {name for fault in FAULTS.values() for name in fault.tests}
        chosen = [item for item in items if name_of(item.nodeid) in wanted]
        self._missing = sorted(wanted - {name_of(item.nodeid) for item in chosen})
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        counted = [value for key, value in report.user_properties if key == _KEY]
        tries = sum(number for number, _ in counted) if counted else 1
        for ident, fault in FAULTS.items():
            if name_of(report.nodeid) not in fault.tests:
                continue
            record = self.records[ident]
            if report.skipped:
                record.notes.append(f"not run: {name_of(report.nodeid)}: {_reason(report)}")
                continue
            record.tries += tries
            record.passed += tries if report.passed else 0
            record.notes += [note for _, note in counted if note]
            if report.failed:
                record.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        for ident, fault in FAULTS.items():
            self.records[ident].failed += [f"{name} is gone" for name in self._missing if name in fault.tests]
        self.path.write_text(render(self.records), encoding="utf-8")


def name_of(nodeid: str) -> str:
    """``tests/faults/test_kill.py::test_x[1-2]`` -> ``faults/test_kill.py::test_x``."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix("Skipped: ")


def render(records: dict[str, Record]) -> str:
    """The report as Markdown."""
    made_by = (
        f"Written by `make faults` on {dt.datetime.now(dt.UTC).date()}: galcli {version('galcli')}"
        f"{_commit()}, Python {platform.python_version()}, onnxruntime {_onnxruntime()}"
        f"{'' if FULL else ', **reduced counts**'}."
    )
    lines = [
        "# Fault report",
        "",
        made_by,
        "Each fault is injected on purpose by the tests named in [table.py](table.py); a try counts as passed when it",
        "ends as the last column says.",
        "",
        "| fault | injected | tries | result |",
        "|---|---|---|---|",
    ]
    lines += [_line(ident, fault, records.get(ident, Record())) for ident, fault in FAULTS.items()]
    notes = [(ident, note) for ident in FAULTS for note in dict.fromkeys(records.get(ident, Record()).notes)]
    limits = [(ident, fault.limits) for ident, fault in FAULTS.items() if fault.limits]
    for title, entries in (("Notes of this run", notes), ("What these tests do not cover", limits)):
        lines += ["", f"## {title}", "", *(f"- {ident}: {text}" for ident, text in entries)]
    return "\n".join(lines) + "\n"


def _line(ident: str, fault: Fault, record: Record) -> str:
    if record.failed:
        result = f"**FAILED**: {', '.join(record.failed)}"
    elif not record.tries:
        result = "not run: " + (fault.limits or "see the notes")
    else:
        result = f"{record.passed:,} passed: {fault.figure}"
    return f"| {ident} | {fault.injected} | {record.tries:,} | {result} |"


def _commit() -> str:
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*"]
    done: Any = subprocess.run(words, capture_output=True, text=True)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""


def _onnxruntime() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
