"""How soon the command line answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measure import Result, alternate, command

REPEATS = 11


def run(folder: Path) -> list[Result]:
    """``galcli --help`` in processes of its own, beside a Python that does nothing."""
    del folder
    command("--help")
    nothing, galcli = alternate(
        [lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), lambda: command("--help")], REPEATS
    )
    return [Result("start-up: galcli --help", galcli, "s", 0.3, at_least=False, facts={"python alone, s": nothing})]
