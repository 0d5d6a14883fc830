"""Where a training runs, and in what precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric

from galcli.errors import DeviceError
from galcli.training.allocator import keep_freed_memory

Precision = Literal["bf16-mixed", "32-true"]


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (Linux; elsewhere float32 is used)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def pick_device(name: str) -> torch.device:
    """The device of a name: auto, cpu or cuda.

    Raises
    ------
    DeviceError
        If ``cuda`` is asked for and there is none, or the name is another.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"unknown device {name!r}", "use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device was found", "train with --device cpu, or install torch with CUDA")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def make_fabric(device: str) -> Fabric:
    """Fabric on one device (`pick_device`), in bfloat16 where the hardware has it.

    On the CPU the process keeps the memory that it frees from here on (`keep_freed_memory`).
    """
    gpu = pick_device(device).type == "cuda"
    if not gpu:
        keep_freed_memory()
    precision: Precision = "bf16-mixed" if gpu or has_bfloat16() else "32-true"
    return Fabric(accelerator="cuda" if gpu else "cpu", devices=1, precision=precision)
