"""A training of a few seconds, run by test_fit in its own process: python tiny_training.py OUT [SLEEP]."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from galcli.training.data import Feed, Stamps
from galcli.training.fit import Fit, Settings
from galcli.training.regression import rmse

STEPS = (40, 20)


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 1),
    )  # fmt: skip


def feeds(size):
    draw = np.random.default_rng(size)
    pixels = draw.standard_normal((60, 3, size, size)).astype(np.float16)
    stamps = Stamps(pixels, np.arange(60) % 2, {}, 0.262, "tiny", None)
    return Feed(stamps, np.arange(60), draw.random((60, 1)).astype(np.float32), 8, size)


class Task:
    """RMSE on raw pixels; waits a little so that a process can be killed in the middle."""

    def __init__(self, pause=0.0):
        self.pause = pause

    def loss(self, module, batch):
        time.sleep(self.pause)
        return rmse(module(batch.pixels), batch.target)

    def validate(self, module, stage, final):
        assert not module.training
        return {"figure": float(stage)}


def fit(out, pause=0.0, every=5.0, **changes):
    settings = {"steps": STEPS, "lr": 0.02, "seed": 5, "device": "cpu", "checkpoint_minutes": every}
    settings |= {"identity": {"tiny": [1, 2]}} | changes
    return Fit(network(), Task(pause), [feeds(12), feeds(16)], Settings(**settings), Path(out))


if __name__ == "__main__":
    fit(sys.argv[1], float(sys.argv[2]), every=0.0).run(resume=True)
