"""What the NVIDIA driver and the installed CUDA libraries say of themselves, asked through ctypes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import io
import math
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import DeviceMemoryError
from galcli.models.runtime import onnxruntime

_WINDOWS = sys.platform == "win32"


def cuda_version() -> tuple[int, int]:
    """CUDA that onnxruntime was built for, such as (13, 0); (0, 0) where it was built for none."""
    major, _, minor = (getattr(onnxruntime(), "cuda_version", "") or "0.0").partition(".")
    return int(major), int(minor.partition(".")[0] or 0)


def driver_version() -> tuple[int, int] | None:
    """Newest CUDA that the installed driver supports; None where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if _WINDOWS else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return number.value // 1000, number.value % 1000 // 10


def libraries(kind: str) -> tuple[str, ...]:
    """Libraries that onnxruntime loads for a kind of device (``cuda`` or ``tensorrt``), by the names it uses."""
    major, _ = cuda_version()
    if _WINDOWS:
        cuda: tuple[str, ...] = (
            f"cudart64_{major}.dll",
            f"cublasLt64_{major}.dll",
            f"cublas64_{major}.dll",
            "cudnn64_9.dll",
        )
        tensorrt: tuple[str, ...] = ("nvinfer_10.dll", "nvinfer_plugin_10.dll", "nvonnxparser_10.dll")
    else:
        cuda = (f"libcudart.so.{major}", f"libcublasLt.so.{major}", f"libcublas.so.{major}", "libcurand.so.10",
                "libcudnn.so.9")  # fmt: skip
        tensorrt = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
    return cuda + (tensorrt if kind == "tensorrt" else ())


@functools.cache
def missing_libraries(kind: str) -> tuple[str, ...]:
    """Load the libraries of a kind of device, those that pip installed first, and tell which cannot be loaded."""
    if hasattr(onnxruntime(), "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses
            onnxruntime().preload_dlls()
    wheel = importlib.util.find_spec("tensorrt_libs") if kind == "tensorrt" else None
    folders = [Path(place) for place in (wheel.submodule_search_locations if wheel else None) or ()]
    missing = []
    for name in libraries(kind):
        places = [str(folder / name) for folder in folders if (folder / name).is_file()]
        if not any(_loads(place) for place in [*places, name]):
            missing.append(name)
    return tuple(missing)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def page_locked(shape: tuple[int, ...], dtype: np.dtype[Any], gpu: int) -> NDArray[Any]:
    """An array in page-locked memory, which a GPU reads by itself and at full speed; freed with its last view.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    gpu : int
        Number of the GPU; another would get a context of its own.

    Raises
    ------
    DeviceMemoryError
        If the system gives no such memory.
    """
    size = max(math.prod(shape) * dtype.itemsize, 1)
    library = _runtime()
    address = ctypes.c_void_p()
    if (
        library.cudaSetDevice(ctypes.c_int(gpu)) != 0
        or library.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0)) != 0
    ):
        raise DeviceMemoryError(
            f"out of memory: no {size / 1e6:.0f} MB of page-locked memory to be had", "give a smaller --batch-size"
        )
    assert address.value is not None
    memory = (ctypes.c_ubyte * size).from_address(address.value)
    # The driver frees what is left when the process ends; by then its library may be gone.
    weakref.finalize(memory, library.cudaFreeHost, address).atexit = False
    return np.ndarray(shape, dtype, memoryview(memory))


def _runtime() -> ctypes.CDLL:
    return ctypes.CDLL(libraries("cuda")[0])
