"""How long a training step takes on this machine."""

from __future__ import annotations

import copy
import time
from typing import Any

from torch import nn

from galcli.training.devices import make_fabric
from galcli.training.fit import Feed, Task
from galcli.training.layout import channels_last
from galcli.training.optim import ranger


def seconds_per_step(module: nn.Module, task: Task, feed: Feed, device: str, steps: int = 10) -> float:
    """Time of one training step on this machine, measured on a copy of the network.

    Parameters
    ----------
    module, task, feed
        As for ``Fit``.
    device : str
        As in ``Settings``.
    steps : int
        Steps measured, after two that warm up: enough for feeds whose steps differ in size.

    Returns
    -------
    float
        Seconds, preparation of the batch included.
    """
    fabric = make_fabric(device)
    twin = channels_last(copy.deepcopy(module))
    model = fabric.setup_module(twin)
    optimizer: Any = fabric.setup_optimizers(ranger(twin, 1e-6))
    began = 0.0
    for step in range(steps + 2):
        if step == 2:
            began = time.monotonic()
        optimizer.zero_grad()
        loss = task.loss(model, feed.batch(step).to(fabric.device))
        fabric.backward(loss)
        optimizer.step()
        float(loss.detach())
    return (time.monotonic() - began) / steps
