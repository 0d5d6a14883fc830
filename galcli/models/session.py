"""Models and graphs opened on a device, and run on batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import DeviceError, ModelError, UsageError
from galcli.models.bound import next_power_of_two
from galcli.models.devices import GPU_PRECISIONS, Device, find_device, no_device, resampler_bytes
from galcli.models.int8 import int8_device
from galcli.models.placement import nodes_of, require_on_gpu
from galcli.models.runtime import errors, open_graph, run_error

if TYPE_CHECKING:
    from galcli.models.library import ModelFile

Array = NDArray[Any]

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


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
    device : str or Device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt``, ``tensorrt:1``. Anything but ``auto`` fails where the
        device is not really used.
    threads : int
        Threads of one operator on the CPU; 0: all cores.
    pad : bool, optional
        Fill short batches up to a power of two. By default on GPUs only, where each new shape costs an algorithm
        search and may change the last digits; on the CPU results do not depend on the batch.
    optimise : bool
        False: load as quickly as possible, to look at the graph rather than to run it.
    precision : str
        ``fp32``, or on TensorRT ``fp16`` or ``bf16``.

    Raises
    ------
    ModelError
        If the bytes are no usable graph.
    DeviceError
        If the device is not there, or would leave nodes that compute floats to the CPU.
    """

    def __init__(
        self, data: bytes, where: str, device: str | Device = "auto", threads: int = 0,
        pad: bool | None = None, optimise: bool = True, precision: str = "fp32",
    ) -> None:  # fmt: skip
        self.where = where
        self.device = device if isinstance(device, Device) else find_device(device)
        #: onnxruntime's own object.
        self.session = open_graph(data, where, self.device.providers(precision), threads, optimise=optimise)
        self.provider: str = self.session.get_providers()[0]
        if self.provider != self.device.provider:
            raise no_device(self.device)
        #: Whether it is known that no float is computed on the CPU in place of a GPU.
        self.placed = True
        if self.device.gpu:
            nodes = nodes_of(self.session)
            self.placed = nodes is not None
            require_on_gpu(nodes or (), where, self.provider)
        self.pad = self.device.gpu if pad is None else pad
        try:
            self.inputs = {item.name: _info(item) for item in self.session.get_inputs()}
            self.outputs = {item.name: _info(item) for item in self.session.get_outputs()}
            #: The file's ``metadata_props``.
            self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
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
        DeviceMemoryError
            If memory ran out.
        """
        names = list(self.outputs) if outputs is None else list(outputs)
        arrays = {name: _native(array) for name, array in feeds.items()}
        count = len(next(iter(arrays.values()))) if arrays else 0
        padded = next_power_of_two(count) if self.pad else count
        if padded != count:
            arrays = {name: _fill_up(array, padded) for name, array in arrays.items()}
        try:
            results = self.session.run(names, arrays)
        except errors() as error:
            raise run_error(self.where, count, error) from error
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
    precision : {'auto', 'fp32', 'fp16', 'bf16', 'int8'}
        ``auto`` is that of the file; the int8 one is another file (`library.find`). float16 and bfloat16 hold for the
        convolutions on a GPU; TensorRT chooses them by itself.

    Raises
    ------
    ModelError
        If the file changed since it was found, or cannot be computed with in the precision asked for.
    UsageError
        If the device or the precision is unknown, or an int8 model is to run elsewhere than on the CPU.
    DeviceError
        If the device is not there, or does not compute in that precision.
    """

    def __init__(
        self, model: ModelFile, device: str = "auto", precision: str = "auto", threads: int = 0,
        pad: bool | None = None,
    ) -> None:  # fmt: skip
        if precision not in PRECISIONS:
            raise UsageError(f"unknown precision {precision!r}", f"choose one of {', '.join(PRECISIONS)}")
        stored = model.card.precision
        if precision not in ("auto", stored) and "int8" in (precision, stored):
            raise ModelError(
                f"{model.path}: a model in {stored}, which cannot be computed with in {precision}",
                "leave out --precision",
            )
        self.model = model
        self.precision: str = stored if precision == "auto" else precision
        if stored == "int8":
            device = int8_device(device)
        try:
            data = model.path.read_bytes()
        except OSError as error:
            raise ModelError(f"{model.path}: {error.strerror}", "check the path and its permissions") from error
        if hashlib.sha256(data).hexdigest() != model.sha256:
            raise ModelError(f"{model.path}: the file changed after it was checked", "start the command again")
        found = find_device(device)
        _require_precision(found, self.precision)
        if found.kind == "cuda":
            from galcli.models.convert import for_cuda

            data = for_cuda(data, half=self.precision == "fp16")
        super().__init__(data, str(model.path), found, threads, pad, precision=self.precision)

    def identity(self) -> dict[str, Any]:
        """What about this session, beside its model, may change the last digits of a prediction (JSON-able)."""
        return self.device.identity(self.precision)


def open_resampler(device: str = "auto", threads: int = 0) -> Graph:
    """Open the shipped resampling graph (see `galcli.models.grid`).

    TensorRT would compile it anew for each size of cutouts, so CUDA runs it there.
    """
    found = find_device(device)
    if found.kind == "tensorrt":
        found = Device("cuda", found.number)
    return Graph(resampler_bytes(), "galcli/models/resample.onnx", found, threads)


def _require_precision(device: Device, precision: str) -> None:
    """Refuse what a device does slowly or not at all.

    Raises
    ------
    DeviceError
    """
    if precision in GPU_PRECISIONS and not device.gpu:
        raise DeviceError(
            f"--precision {precision} is for GPUs: the CPU only emulates it", "leave out --precision, or --device cuda"
        )
    if precision == "bf16" and device.kind == "cuda":
        raise DeviceError(
            "onnxruntime's CUDA provider has no bfloat16 pooling, and would leave it to the CPU",
            "--precision fp16, or --device tensorrt",
        )


def _info(item: Any) -> TensorInfo:
    word = str(item.type).removeprefix("tensor(").removesuffix(")")
    return TensorInfo(_DTYPES.get(word, ""), tuple(item.shape))


def _native(array: Array) -> Array:
    """Onnxruntime takes big-endian arrays for native ones and computes garbage, without an error."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _fill_up(array: Array, count: int) -> Array:
    filled = np.zeros((count, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled
