"""Where int8 models run: on processors that multiply 8-bit numbers without loss, so that all predict the same."""

from __future__ import annotations

import platform
from pathlib import Path

from galcli.errors import DeviceError, UsageError

#: Instructions that add up products of 8-bit numbers in 32 bits. Without them onnxruntime adds pairs of products in
#: 16 bits, where they overflow.
EXACT = frozenset({"avx512_vnni", "avx_vnni"})
CPUINFO = Path("/proc/cpuinfo")


def int8_device(device: str) -> str:
    """The device on which int8 models run.

    Parameters
    ----------
    device : str
        What the user asked for.

    Returns
    -------
    str
        ``cpu``.

    Raises
    ------
    UsageError
        If the user asked for another device.
    DeviceError
        If this processor would give other numbers.
    """
    if device not in ("auto", "cpu"):
        raise UsageError(f"int8 models run on the CPU only, not on {device}", "leave out --device or --precision int8")
    if platform.machine().lower() in ("x86_64", "amd64") and not EXACT & _instructions():
        raise DeviceError(
            "this processor is not known to have VNNI instructions, without which int8 models give other numbers",
            "leave out --precision int8: float32 runs on every processor",
        )
    return "cpu"


def _instructions() -> set[str]:
    """What Linux says the processor can do; nothing on other systems."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("flags") for word in line.partition(":")[2].split()}
