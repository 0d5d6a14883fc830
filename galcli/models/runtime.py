"""The one module that imports onnxruntime: opening a graph's bytes, its exceptions, its version.

onnxruntime is imported when the first graph is opened, so that commands which open none start at once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from galcli.cutouts.parallel import cores
from galcli.errors import DeviceMemoryError, GalcliError, ModelError

#: Name and options of an execution provider, as onnxruntime takes them.
Provider = tuple[str, dict[str, str]]

#: What precedes the word ``location`` where a tensor names a file that holds its data: protobuf's tag and length of
#: a map key, in any of the encodings its readers accept.
_FILE_KEY = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")

#: How onnxruntime's arenas, CUDA, cuDNN, cuBLAS, TensorRT and C++ say that memory ran out.
_OUT_OF_MEMORY = re.compile(
    r"failed to allocate memory|memory allocation failed|out ?of ?memory|ALLOC_FAILED|bad[_ ]alloc", re.IGNORECASE
)


@functools.cache
def onnxruntime() -> Any:
    """The module, which keeps its own log to itself: what matters arrives as an exception."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def version() -> str:
    """Version of onnxruntime."""
    return str(onnxruntime().__version__)


@functools.cache
def errors() -> tuple[type[Exception], ...]:
    """Every exception onnxruntime raises; its own ones share no base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (item for item in vars(state).values() if isinstance(item, type) and issubclass(item, Exception))
    return (RuntimeError, ValueError, TypeError, MemoryError, *own)


def run_error(where: str, count: int, error: Exception) -> GalcliError:
    """What a failed run on ``count`` objects is called: a want of memory, which a smaller batch cures, or the model's fault."""
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return DeviceMemoryError(
            f"{where}: memory ran out for {count} objects at once", "give a smaller --batch-size, or use --device cpu"
        )
    return ModelError(
        f"{where}: onnxruntime failed on {count} objects: {first_line(error)}",
        "check the model with `galcli models verify`; --device cpu avoids the graphics card",
    )


def open_graph(data: bytes, where: str, providers: Sequence[Provider], threads: int, *, optimise: bool) -> Any:
    """An ``InferenceSession`` that runs on the providers given, and on no other.

    Parameters
    ----------
    data : bytes
        The whole file. Data kept outside the file is never read.
    where : str
        Name for messages.
    providers : sequence of (str, dict)
        The first that can run a node gets it.
    threads : int
        Threads of one operator on the CPU; 0: all cores.
    optimise : bool
        False: load as quickly as possible, to look at the graph rather than to run it.

    Raises
    ------
    ModelError
        If the bytes are no usable graph.
    """
    if not data:
        raise ModelError(f"{where}: the file is empty", "get the file again")
    if names_other_files(data):
        raise ModelError(f"{where}: the graph keeps data in other files", "store the model in one file")
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what matters arrives as an exception
    # Left to choose the number itself, onnxruntime ties each thread to a core, the same ones in every process.
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Idle worker threads sleep rather than spin, since the cores also read and decode cutouts.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Where each node runs is asked afterwards (models/placement.py); older versions ignore the entry.
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(data, options, providers=list(providers), enable_fallback=0)
    except errors() as error:
        raise ModelError(
            f"{where}: not a usable ONNX model: {first_line(error)}",
            "the file may be damaged or made for another runtime: get it again, or export it with `galcli train`",
        ) from error


def names_other_files(data: bytes) -> bool:
    """Whether a tensor's data lies outside the file, where no SHA-256 covers it.

    Checked before onnxruntime sees the bytes, since its older versions read such files from wherever they are.
    """
    place = data.find(b"location")
    while place >= 0:
        if _FILE_KEY.search(data, max(0, place - 24), place):
            return True
        place = data.find(b"location", place + 1)
    return False


def first_line(error: Exception) -> str:
    """The first line of a message."""
    return str(error).strip().partition("\n")[0]
