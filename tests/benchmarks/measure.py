"""What the benchmarks share: repeated timing, the machine's facts, and results that print as one line."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: Times each side of a comparison is run; medians are compared.
REPEATS = 5

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Result:
    """One measured number beside its goal.

    Attributes
    ----------
    name : str
    value : float
    unit : str
    goal : float or None
        None: stated for information only.
    at_least : bool
        Whether the value should reach the goal (else it should stay below).
    facts : dict
        What the value was made from: medians of both sides, sizes.
    """

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    at_least: bool = True
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value < self.goal

    def line(self) -> str:
        """The result as people read it."""
        goal = "" if self.goal is None else f"  goal {'>=' if self.at_least else '<'} {_short(self.goal)}"
        verdict = {None: "", True: "  ok", False: "  MISSED"}[self.reached]
        facts = ", ".join(f"{key} {_short(value)}" for key, value in self.facts.items())
        facts = f"   ({facts})" if facts else ""
        return f"{self.name:34s} {_short(self.value):>10s} {self.unit:9s}{goal}{verdict}{facts}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"reached": self.reached}


def alternate(sides: Sequence[Callable[[], Any]], repeats: int = REPEATS) -> list[float]:
    """Median seconds of each side, run in turns so that a drift of the machine meets all of them alike."""
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for side, times in zip(sides, seconds, strict=True):
            began = time.perf_counter()
            side()
            times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in seconds]


def command(*arguments: object) -> None:
    """Run galcli as a user does; its messages are shown only when it fails."""
    words = [sys.executable, "-m", "galcli", *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and the versions that matter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages / 1e9, 1),
        "load_before": os.getloadavg()[0],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: version(name) for name in ("galcli", "numpy", "fitsio", "healpy", "astropy")},
        "onnxruntime": _onnxruntime(),
    }


def _onnxruntime() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
