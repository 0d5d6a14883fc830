"""Opening ONNX graphs and running them: the only module that calls onnxruntime.

onnxruntime is imported when the first graph is opened, so that commands which open none start at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.resources
import io
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.parallel import cores
from galcli.errors import DeviceError, ModelError, UsageError
from galcli.models.int8 import int8_device

if TYPE_CHECKING:
    from galcli.models.library import ModelFile

Array = NDArray[Any]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
PRECISIONS = ("auto", "fp32", "fp16", "int8")

#: TF32 would halve the digits of float32; HEURISTIC picks the same convolution algorithm in each run, whereas the
#: library's default times them anew and so may change the last digits from run to run.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
TENSORRT_OPTIONS = {"trt_fp16_enable": "0", "trt_int8_enable": "0"}

#: What precedes the word ``location`` where a tensor names a file that holds its data: protobuf's tag and length of
#: a map key, in any of the encodings its readers accept.
_FILE_KEY = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of a graph's input or output.

    Attributes
    ----------
    dtype : str
        numpy name, such as ``float32``; '' for types numpy does not have.
    shape : tuple
        int for a fixed length, str or None for a free one.
    """

    dtype: str
    shape: tuple[int | str | None, ...]


_DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64", "uint8": "uint8",
}  # fmt: skip


class Graph:
    """An ONNX graph opened on one device.

    Parameters
    ----------
    data : bytes
        The whole file. Data kept outside the file is never read.
    where : str
        Name for messages.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``, ``tensorrt:1``. Anything but ``auto`` fails where the
        device is not really used.
    threads : int
        Threads of one operator on the CPU; 0: all cores.
    pad : bool, optional
        Fill short batches up to a power of two. By default on GPUs only, where each new shape costs an algorithm
        search and may change the last digits; on the CPU results do not depend on the batch.
    optimise : bool
        False: load as quickly as possible, to look at the graph rather than to run it.

    Raises
    ------
    ModelError
        If the bytes are no usable graph.
    DeviceError
        If the device is not there.
    """

    def __init__(
        self, data: bytes, where: str, device: str = "auto", threads: int = 0,
        pad: bool | None = None, optimise: bool = True,
    ) -> None:  # fmt: skip
        self.where = where
        kind, number = parse_device(device)
        if kind == "auto":
            kind = "cuda" if _usable("cuda", number) else "cpu"
        elif kind != "cpu" and not _usable(kind, number):
            raise _no_device(kind, number)
        self._session = _open(data, where, kind, number, threads, optimise)
        self.provider: str = self._session.get_providers()[0]
        if self.provider != PROVIDERS[kind]:
            raise _no_device(kind, number)
        self.provider_options = _options(kind, number)
        self.pad = kind != "cpu" if pad is None else pad
        try:
            self.inputs = {item.name: _info(item) for item in self._session.get_inputs()}
            self.outputs = {item.name: _info(item) for item in self._session.get_outputs()}
            #: The file's ``metadata_props``.
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except UnicodeDecodeError as error:
            raise ModelError(f"{where}: damaged: {error}", "get the file again") from error

    def run(self, feeds: Mapping[str, Array], outputs: Iterable[str] | None = None) -> dict[str, Array]:
        """Run the graph on one batch.

        Parameters
        ----------
        feeds : mapping of str to ndarray (N, ...)
            Every input of the graph. Byte order and memory layout are made native where they are not.
        outputs : iterable of str, optional
            Outputs wanted; by default all.

        Returns
        -------
        dict of str to ndarray (N, ...)

        Raises
        ------
        ModelError
            If onnxruntime refuses the arrays or fails.
        """
        names = list(self.outputs) if outputs is None else list(outputs)
        arrays = {name: _native(array) for name, array in feeds.items()}
        count = len(next(iter(arrays.values()))) if arrays else 0
        padded = _next_power_of_two(count) if self.pad else count
        if padded != count:
            arrays = {name: _fill_up(array, padded) for name, array in arrays.items()}
        try:
            results = self._session.run(names, arrays)
        except _errors() as error:
            raise ModelError(
                f"{self.where}: onnxruntime failed on {count} objects: {_first_line(error)}",
                "a smaller --batch-size helps where memory ran out; --device cpu avoids the graphics card",
            ) from error
        if padded != count:
            results = [result[:count] for result in results]
        return dict(zip(names, results, strict=True))


class Session(Graph):
    """A model of the library, opened on one device.

    Parameters
    ----------
    model : ModelFile
        Its SHA-256 is checked against the bytes that are opened.
    device, threads, pad
        See `Graph`.
    precision : {'auto', 'fp32', 'fp16', 'int8'}
        ``auto`` is that of the file; the int8 one is another file (`library.find`).

    Raises
    ------
    ModelError
        If the file changed since it was found, or cannot be computed with in the precision asked for.
    UsageError
        If the device or the precision is unknown, or an int8 model is to run elsewhere than on the CPU.
    DeviceError
        If the device is not there, or this processor cannot run int8 models.
    """

    def __init__(
        self, model: ModelFile, device: str = "auto", precision: str = "auto", threads: int = 0,
        pad: bool | None = None,
    ) -> None:  # fmt: skip
        if precision not in PRECISIONS:
            raise UsageError(f"unknown precision {precision!r}", f"choose one of {', '.join(PRECISIONS)}")
        if precision == "fp16":
            raise ModelError(
                f"{model.name}: there is no {precision} twin of this model",
                "leave out --precision, or give the path of a model exported with that precision",
            )
        self.model = model
        self.precision: str = model.card.precision
        if self.precision == "int8":
            device = int8_device(device)
        try:
            data = model.path.read_bytes()
        except OSError as error:
            raise ModelError(f"{model.path}: {error.strerror}", "check the path and its permissions") from error
        if hashlib.sha256(data).hexdigest() != model.sha256:
            raise ModelError(f"{model.path}: the file changed after it was checked", "start the command again")
        super().__init__(data, str(model.path), device, threads, pad)

    def identity(self) -> dict[str, Any]:
        """What about this session may change the last digits of a prediction (JSON-able)."""
        return {
            "model": self.model.name,
            "sha256": self.model.sha256,
            "precision": self.precision,
            "provider": self.provider,
            "provider_options": self.provider_options,
            "onnxruntime": version(),
        }


def version() -> str:
    """Version of onnxruntime."""
    import onnxruntime

    return str(onnxruntime.__version__)


def open_resampler(device: str = "auto", threads: int = 0) -> Graph:
    """Open the shipped resampling graph (see `galcli.models.grid`)."""
    return Graph(_resampler_bytes(), "galcli/models/resample.onnx", device, threads)


def parse_device(device: str) -> tuple[str, int]:
    """Split ``cuda:1`` into its kind and number.

    Raises
    ------
    UsageError
        If the text names no device.
    """
    kind, _, number = device.partition(":")
    known = kind in ("auto", *PROVIDERS)
    if not known or (number and (kind in ("auto", "cpu") or not re.fullmatch(r"[0-9]{1,4}", number))):
        raise UsageError(f"unknown device {device!r}", "choose auto, cpu, cuda, tensorrt, or cuda:NUMBER")
    return kind, int(number or 0)


def _open(data: bytes, where: str, kind: str, number: int, threads: int, optimise: bool) -> Any:
    if not data:
        raise ModelError(f"{where}: the file is empty", "get the file again")
    if _names_other_files(data):
        raise ModelError(f"{where}: the graph keeps data in other files", "store the model in one file")
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what matters arrives as an exception
    # Left to choose the number itself, onnxruntime ties each thread to a core, the same ones in every process.
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Idle worker threads sleep rather than spin, since the cores also read and decode cutouts.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = [(PROVIDERS[kind], _options(kind, number))]
    if kind == "tensorrt":
        providers.append((PROVIDERS["cuda"], _options("cuda", number)))
    if kind != "cpu":
        providers.append((PROVIDERS["cpu"], {}))
    try:
        return ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except _errors() as error:
        raise ModelError(
            f"{where}: not a usable ONNX model: {_first_line(error)}",
            "the file may be damaged or made for another runtime: get it again, or export it with `galcli train`",
        ) from error


def _names_other_files(data: bytes) -> bool:
    """Whether a tensor's data lies outside the file, where no SHA-256 covers it.

    Checked before onnxruntime sees the bytes, since its older versions read such files from wherever they are.
    """
    place = data.find(b"location")
    while place >= 0:
        if _FILE_KEY.search(data, max(0, place - 24), place):
            return True
        place = data.find(b"location", place + 1)
    return False


@functools.cache
def _onnxruntime() -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


@functools.cache
def _errors() -> tuple[type[Exception], ...]:
    """Every exception onnxruntime raises; its own ones share no base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (item for item in vars(state).values() if isinstance(item, type) and issubclass(item, Exception))
    return (RuntimeError, ValueError, TypeError, *own)


@functools.cache
def _resampler_bytes() -> bytes:
    return importlib.resources.files("galcli.models").joinpath("resample.onnx").read_bytes()


def _options(kind: str, number: int) -> dict[str, str]:
    if kind == "cpu":
        return {}
    return {"device_id": str(number)} | (CUDA_OPTIONS if kind == "cuda" else TENSORRT_OPTIONS)


@functools.cache
def _usable(kind: str, number: int) -> bool:
    """Whether a session really runs on the device: onnxruntime itself falls back to the CPU with a log line only."""
    ort = _onnxruntime()
    if PROVIDERS[kind] not in ort.get_available_providers() or not _driver_present():
        return False
    if hasattr(ort, "preload_dlls"):  # CUDA libraries that pip installed; it prints what it misses
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
    try:
        session = _open(_resampler_bytes(), "resample.onnx", kind, number, 1, optimise=True)
    except ModelError:
        return False
    return bool(session.get_providers()[0] == PROVIDERS[kind])


def _driver_present() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _no_device(kind: str, number: int) -> DeviceError:
    name = PROVIDERS[kind]
    if name not in _onnxruntime().get_available_providers():
        reason = f"this onnxruntime has no {name}"
        hint = "install onnxruntime-gpu (and remove onnxruntime, which overwrites it), or use --device cpu"
    elif not _driver_present():
        reason, hint = "no NVIDIA driver was found", "use --device cpu, or run on a machine with an NVIDIA GPU"
    else:
        reason = f"onnxruntime {version()} could not start {name}"
        hint = "CUDA and cuDNN of the versions onnxruntime wants must be installed: see `galcli doctor`"
    return DeviceError(f"device {kind}:{number} cannot be used: {reason}", hint)


def _info(item: Any) -> TensorInfo:
    word = str(item.type).removeprefix("tensor(").removesuffix(")")
    return TensorInfo(_DTYPES.get(word, ""), tuple(item.shape))


def _native(array: Array) -> Array:
    """Onnxruntime takes big-endian arrays for native ones and computes garbage, without an error."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _next_power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()


def _fill_up(array: Array, count: int) -> Array:
    filled = np.zeros((count, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
