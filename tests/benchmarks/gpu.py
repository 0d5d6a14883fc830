"""How much of a GPU the model gets: the whole of ``predict`` against the slower of a bare onnxruntime and the feed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from galcli.errors import DeviceError
from galcli.models import devices, library
from galcli.models.bound import Lane
from galcli.models.devices import Device, find_device
from galcli.models.session import Session
from galcli.predict.engine import GPU_BATCH
from galcli.predict.run import predict
from tests.average import write_average
from tests.benchmarks.measure import Result, alternate
from tests.benchmarks.survey import Silent, noise, options, write_stacks

FILES, EACH, SIDE, REPEATS = 16, 2048, 144, 3
IMAGES = FILES * EACH
#: Times the batch that lies on the GPU is run.
BARE = 40


def run(folder: Path) -> list[Result]:
    """Measure every shipped model of images alone on every provider that can be used, in float32 and float16."""
    try:
        find_device("cuda")
    except DeviceError as error:
        print(f"no GPU: skipped ({error.message})", flush=True)
        return []
    print(_gpu(), flush=True)
    write_stacks(folder, FILES, EACH, SIDE)
    average = write_average(folder / "average.onnx")
    results = [Result("gpu: feed", _rate(folder, average, "cpu", "fp32"), "images/s", facts={"images": IMAGES})]
    feed = results[0].value
    kinds = [kind for kind in ("cuda", "tensorrt") if devices.usable(kind, 0)]
    for model in (one for one in library.shipped() if one.card.fronts and not one.card.columns):
        for kind in kinds:
            for precision in ("fp32", "fp16"):
                name = f"gpu: {model.name}, {kind} {precision}"
                bare = _bare(Session(model, kind, precision), GPU_BATCH)
                whole = _rate(folder, model.path, kind, precision)
                fast = 20_000 if precision == "fp16" else None
                results += [
                    Result(f"{name}, bare", bare, "images/s", facts={"batch": GPU_BATCH}),
                    Result(f"{name}, predict", whole, "images/s", fast),
                    Result(f"{name}, predict / limit", whole / min(bare, feed), "", 0.85),
                ]
        with _channels_last():
            bare = _bare(Session(model, "cuda", "fp16"), GPU_BATCH)
            results.append(Result(f"gpu: {model.name}, cuda fp16, channels last, bare", bare, "images/s"))
    return results


def bare_run(session: Session, device: Device, count: int) -> Callable[[], None]:
    """A call that runs the session on one batch, which lies on the device already."""
    feeds = {
        "pixels": noise(count, SIDE, seed=0),
        "valid": np.ones((count, 1, SIDE, SIDE), np.float32),
        "front": np.zeros(count, np.int64),
    }
    wanted = list(dict.fromkeys(output.tensor for output in session.model.card.outputs))
    lane = Lane(device)

    def once() -> None:
        lane.run(session, feeds, wanted)

    return once


def _bare(session: Session, count: int) -> float:
    """Images per second of a session alone."""
    once = bare_run(session, session.device, count)
    for _ in range(3):
        once()
    (seconds,) = alternate([lambda: [once() for _ in range(BARE)]], REPEATS)
    return BARE * count / seconds


def _rate(folder: Path, model: Path, device: str, precision: str) -> float:
    """Images per second of the whole of predict, less what a run of one row takes."""
    chosen = options(folder, model, device=device, precision=precision)
    first = options(folder, model, device=device, precision=precision, limit=1, out=folder / "first.fits")
    predict(chosen, Silent())  # TensorRT compiles
    whole, start = alternate([lambda: predict(chosen, Silent()), lambda: predict(first, Silent())], REPEATS)
    return IMAGES / (whole - start)


@contextlib.contextmanager
def _channels_last() -> Iterator[None]:
    """Convolutions with the channels as the fastest axis, as tensor cores want them."""
    with mock.patch.dict(devices.CUDA_OPTIONS, prefer_nhwc="1"):
        yield


def _gpu() -> str:
    """Name, memory and driver of the GPU."""
    if shutil.which("nvidia-smi") is None:
        return "gpu unknown (no nvidia-smi)"
    words = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return "gpu " + subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
