"""Freed memory is kept: what a step frees, the next one has without asking the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from galcli.training.allocator import keep_freed_memory

#: Pages asked for while 64 MB are taken, written and freed ten times.
SCRIPT = """
import resource, sys
import torch
from galcli.training.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(30):  # until the heap is as large as it becomes
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 << 20)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of the C library of Linux")
def test_freed_memory_is_used_again() -> None:
    def fetched(how: str) -> int:
        """Megabytes that came from the system."""
        made = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True)
        return int(made.stdout)

    assert fetched("as it is") > 300
    assert fetched("keep") < 30


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    keep_freed_memory()
