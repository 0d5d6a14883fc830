"""Trainings in stages: stamps of one size after the other, and how many steps each gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from galcli.training.fit import Feed, Task
from galcli.training.pace import seconds_per_step
from galcli.training.progress import say

#: Part of a given time that is spent on steps; the rest is for validation and files.
STEPPING = 0.93
#: Streamed galaxies between two validations.
STREAMED_EPOCH = 50_000


@dataclass(frozen=True)
class Stage:
    """Part of a training on stamps of one size.

    Attributes
    ----------
    size : int
        Pixels along a side.
    pixel_scale : float
        Arcsec per pixel.
    epochs : float
        Passes over the stage's objects.
    share : float
        Part of the time, where a time is given.
    objects : float
        Part of the set that gets stamps of this size.
    """

    size: int
    pixel_scale: float
    epochs: float
    share: float = 1.0
    objects: float = 1.0


def steps_of(
    stages: Sequence[Stage], batch: int, feeds: Sequence[Feed], network: nn.Module, task: Task, device: str,
    minutes: float | None, stream: int | None,
) -> tuple[int, ...]:  # fmt: skip
    """Steps of each stage: its epochs, the galaxies of a stream, or what fits into the time.

    Parameters
    ----------
    stages : sequence of Stage
    batch : int
        Objects per step.
    feeds : sequence of Feed
        One per stage.
    network, task, device
        As for ``fit.Fit``; the time of a step is measured with them.
    minutes : float, optional
        Time for all stages.
    stream : int, optional
        Galaxies that are streamed.
    """
    if stream is not None and minutes is None:
        return tuple(max(1, int(stream * stage.share / batch)) for stage in stages)
    if minutes is None:
        return tuple(round(stage.epochs * feed.steps_per_epoch) for stage, feed in zip(stages, feeds, strict=True))
    steps = []
    for stage, feed in zip(stages, feeds, strict=True):
        pace = seconds_per_step(network, task, feed, device)
        steps.append(max(1, int(60 * minutes * STEPPING * stage.share / pace)))
        epochs = steps[-1] / feed.steps_per_epoch
        say(f"{stage.size} px: {batch / pace:.0f} img/s, {steps[-1]} steps, {epochs:.1f} epochs")
    return tuple(steps)
