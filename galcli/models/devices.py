"""On what models run: names of devices, the options that fix their arithmetic, and whether one can really be used."""

from __future__ import annotations

import functools
import importlib.resources
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galcli.errors import DeviceError, ModelError, UsageError
from galcli.models import nvidia
from galcli.models.runtime import Provider, onnxruntime, open_graph, version

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

#: TF32 would halve the digits of float32; HEURISTIC picks the same convolution algorithm in each run, whereas the
#: library's default times them anew and so may change the last digits from run to run.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

#: What the CPU only emulates.
GPU_PRECISIONS = ("fp16", "bf16")


@dataclass(frozen=True)
class Device:
    """One device of this machine.

    Attributes
    ----------
    kind : 'cpu', 'cuda' or 'tensorrt'
    number : int
        Which GPU.
    """

    kind: str
    number: int = 0

    @property
    def gpu(self) -> bool:
        """Whether it has memory of its own."""
        return self.kind != "cpu"

    @property
    def provider(self) -> str:
        """Name of onnxruntime's execution provider."""
        return PROVIDERS[self.kind]

    def arithmetic(self, precision: str) -> dict[str, str]:
        """The provider's options that decide about digits, for ``fp32``, ``fp16`` or ``bf16``."""
        if self.kind == "tensorrt":
            flags = {name: str(int(precision == name)) for name in ("fp16", "bf16")}
            return {f"trt_{name}_enable": flag for name, flag in flags.items()} | {"trt_int8_enable": "0"}
        return dict(CUDA_OPTIONS) if self.gpu else {}

    def identity(self, precision: str) -> dict[str, Any]:
        """What about it may change the last digits of a prediction (JSON-able)."""
        return {"provider": self.provider, "precision": precision, "provider_options": self.arithmetic(precision)}

    def providers(self, precision: str) -> list[Provider]:
        """What onnxruntime may use, best first; shapes are computed on the CPU on every device."""
        cpu: Provider = (PROVIDERS["cpu"], {})
        if not self.gpu:
            return [cpu]
        which = {"device_id": str(self.number)}
        chosen = [(self.provider, which | self.arithmetic(precision))]
        if self.kind == "tensorrt":
            chosen[0][1].update(_engine_cache())
            chosen.append((PROVIDERS["cuda"], which | CUDA_OPTIONS))
        return [*chosen, cpu]


def parse_device(device: str) -> tuple[str, int]:
    """Split ``cuda:1`` into its kind and number.

    Raises
    ------
    UsageError
        If the text names no device.
    """
    kind, colon, number = device.partition(":")
    known = kind in ("auto", *PROVIDERS)
    if not known or (colon and (kind in ("auto", "cpu") or not re.fullmatch(r"[0-9]{1,4}", number))):
        raise UsageError(f"unknown device {device!r}", "choose auto, cpu, cuda, tensorrt, or cuda:NUMBER")
    return kind, int(number or 0)


def find_device(name: str) -> Device:
    """The device of a name such as ``cuda:1``; of ``auto``, a GPU where one can be used, else the CPU.

    Raises
    ------
    UsageError
        If the text names no device.
    DeviceError
        If that device cannot be used.
    """
    kind, number = parse_device(name)
    if kind == "auto":
        return Device("cuda") if usable("cuda", 0) else Device("cpu")
    if kind != "cpu" and not usable(kind, number):
        raise no_device(Device(kind, number))
    return Device(kind, number)


@functools.cache
def usable(kind: str, number: int) -> bool:
    """Whether a session really runs on the device: onnxruntime itself falls back to the CPU with a log line only."""
    if PROVIDERS[kind] not in onnxruntime().get_available_providers() or nvidia.driver_version() is None:
        return False
    if nvidia.missing_libraries(kind) or _missing_package(kind):
        return False
    try:
        session = open_graph(
            resampler_bytes(), "resample.onnx", Device(kind, number).providers("fp32"), 1, optimise=True
        )
    except ModelError:
        return False
    return bool(session.get_providers()[0] == PROVIDERS[kind])


def no_device(device: Device) -> DeviceError:
    """Why a device cannot be used, and what to do."""
    reason, hint = _what_is_missing(device)
    return DeviceError(f"device {device.kind}:{device.number} cannot be used: {reason}", hint)


def _what_is_missing(device: Device) -> tuple[str, str]:
    pip = f"{sys.executable} -m pip install"
    if device.provider not in onnxruntime().get_available_providers():
        return (
            f"this onnxruntime has no {device.provider}",
            f"{sys.executable} -m pip uninstall -y onnxruntime onnxruntime-gpu; {pip} 'galcli[gpu]'; or use --device cpu",
        )
    built, driver = nvidia.cuda_version(), nvidia.driver_version()
    if driver is None:
        return "no NVIDIA driver was found", "use --device cpu, or run on a machine with an NVIDIA GPU"
    # Within a major version of CUDA, older drivers run newer libraries.
    if driver[0] < built[0]:
        return (
            f"the NVIDIA driver supports CUDA {driver[0]}.{driver[1]}, onnxruntime {version()} needs {built[0]}.{built[1]}",
            f"install a driver for CUDA {built[0]} or an onnxruntime-gpu built for CUDA {driver[0]}, or use --device cpu",
        )
    extra = "tensorrt" if device.kind == "tensorrt" else "gpu"
    missing = nvidia.missing_libraries(device.kind)
    if missing:
        return f"cannot load {', '.join(missing)}", f"{pip} 'galcli[{extra}]'; or use --device cpu"
    if _missing_package(device.kind):
        return "the Python package onnx is missing", f"{pip} 'galcli[{extra}]'; or use --device cpu"
    return (
        f"onnxruntime {version()} could not start {device.provider} on GPU {device.number}",
        "nvidia-smi lists the GPUs and who uses them; or use --device cpu",
    )


def _missing_package(kind: str) -> bool:
    """Whether the package that makes graphs ready for CUDA (see `galcli.models.convert`) is not installed."""
    return kind == "cuda" and importlib.util.find_spec("onnx") is None


@functools.cache
def resampler_bytes() -> bytes:
    """The shipped resampling graph."""
    return importlib.resources.files("galcli.models").joinpath("resample.onnx").read_bytes()


def _engine_cache() -> dict[str, str]:
    """TensorRT compiles a model for minutes; what it made is kept among the user's own files, since it is code."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "galcli" / f"tensorrt-{version()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to, as on some clusters: compiled anew each time
        return {"trt_engine_cache_enable": "0"}
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
