"""How fast SFNet is trained: the whole training loop against bare forward + backward + step on one batch in memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from galcli.training.data import Feed, Stamps
from galcli.training.devices import make_fabric
from galcli.training.fit import Fit, Settings
from galcli.training.networks.sfnet import SFNet
from galcli.training.optim import ranger
from galcli.training.pixels import FRONTS, Pixels
from galcli.training.recipes.sfnet_plan import PRESETS
from galcli.training.regression import Regression, rmse
from tests.benchmarks.measure import REPEATS, Result

STAGE, BATCH, STEPS, OBJECTS = PRESETS["default"].stages[0], PRESETS["default"].batch, 16, 2048


def run(folder: Path) -> list[Result]:
    """Train on stamps of the shipped training's first stage: all fronts, all symmetries, a third as display images."""
    feed = _feed()
    whole, bare = [], []
    for repeat in range(REPEATS + 1):  # the first one warms up
        seconds = _bare(feed), _whole(feed, folder / f"throughput-{repeat}")
        if repeat:
            bare.append(seconds[0])
            whole.append(seconds[1])
    plain, full = statistics.median(bare), statistics.median(whole)
    images = BATCH * STEPS
    facts = {
        "bare img/s": images / plain,
        "loop img/s": images / full,
        "px": STAGE.size,
        "threads": torch.get_num_threads(),
    }
    return [Result("training: loop / bare steps", plain / full, "", 0.9, facts=facts)]


def _feed() -> Feed:
    draw = np.random.default_rng(0)
    pixels = (0.03 * draw.standard_normal((OBJECTS, 3, STAGE.size, STAGE.size)) + 0.05).astype(np.float16)
    labels = {"r50": draw.uniform(2, 8, OBJECTS).astype(np.float32), "bt": draw.random(OBJECTS).astype(np.float32)}
    stamps = Stamps(pixels, np.arange(OBJECTS) % 2, labels, STAGE.pixel_scale, "noise")
    target = draw.normal(8.7, 0.2, (OBJECTS, 1)).astype(np.float32)
    return Feed(stamps, np.arange(OBJECTS), target, BATCH, 0)


def _bare(feed: Feed) -> float:
    """Seconds of the bare steps on a batch that lies in memory as the network takes it."""
    fabric = make_fabric("auto")
    network = SFNet(1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = fabric.setup_module(network)
    optimizer = ranger(network, 1e-3)
    batch = feed.batch(0).to(fabric.device)
    pixels = Pixels(FRONTS, (0.1,) * 3, (0.1,) * 3).to(fabric.device)
    x = pixels(batch.pixels, batch.valid, batch.front).contiguous(memory_format=torch.channels_last)
    began = 0.0
    for step in range(STEPS + 1):
        if step == 1:
            began = time.perf_counter()
        optimizer.zero_grad()
        loss = rmse(model(x), batch.target)
        fabric.backward(loss)
        optimizer.step()
        float(loss.detach())
    return time.perf_counter() - began


def _whole(feed: Feed, out: Path) -> float:
    """Seconds of as many steps of the training loop, as it counts them: without validation and files."""
    nothing = np.zeros(0, np.int64)
    scaling = Pixels(FRONTS, (0.1,) * 3, (0.1,) * 3)
    task = Regression(scaling, [feed.stamps], [nothing], feed.target, ["Z_GAS"])
    fit = Fit(SFNet(1), task, [feed], Settings((STEPS,), 1e-3, checkpoint_minutes=60.0), out)
    return fit.run().seconds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for result in run(Path(name)):
            print(result.line())
