"""Dreams of a DMAGNet for every class and layer: each is kept in a file, so that work goes on where it was stopped."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from galcli import __version__
from galcli.errors import Interrupted, ModelError, UsageError
from galcli.progress import duration
from galcli.training import checkpoint
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.dream import (
    SCALE,
    Bounds,
    Dream,
    DreamSettings,
    Objective,
    class_objective,
    dream,
    layer_objective,
)
from galcli.training.interpret.twin import Twin
from galcli.training.networks.dmagnet import LAYERS
from galcli.training.progress import LINE_SECONDS, say, stop_requests

#: Folder of the files.
FOLDER = "dreams"
#: Target that is no layer: the logit of the class itself.
LOGIT = "class"
#: Seconds of a step at 256 px on one core (measured): how the time left is shared among objectives.
_COST = dict(zip((*LAYERS, LOGIT), (0.03, 0.064, 0.078, 0.11, 0.13, 0.15), strict=True))


@dataclass(frozen=True)
class Asked:
    """What is to be dreamt of.

    Attributes
    ----------
    layers : tuple of str
        Names in ``LAYERS``.
    channel : int or None
        The one channel of each layer that is to grow; None: all.
    settings : DreamSettings
    logit : bool
        Whether, instead of layers, the logit of the class is to grow.
    """

    layers: tuple[str, ...] = LAYERS
    channel: int | None = None
    settings: DreamSettings = field(default_factory=DreamSettings)
    logit: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what grows, dream by dream: the layers, or `LOGIT` alone."""
        return (LOGIT,) if self.logit else self.layers

    def objective(self, twin: Twin, wish: Wish) -> Objective:
        """What grows in a dream.

        Raises
        ------
        UsageError
            If there is no such layer or channel.
        """
        if self.logit:
            return class_objective(twin.network, wish.number)
        return layer_objective(twin.network, wish.target, self.channel)

    def require_possible(self, twin: Twin) -> None:
        """Refuse layers and channels that the network does not have, before anything is done.

        Raises
        ------
        UsageError
        """
        if not self.targets:
            raise UsageError("no layer is named", f"choose from {', '.join(LAYERS)}")
        for target in self.targets:
            self.objective(twin, Wish(0, target))


class Wish(NamedTuple):
    """A dream to be made: the class whose galaxy it begins with, and what grows: a layer, or `LOGIT`."""

    number: int
    target: str

    @property
    def stem(self) -> str:
        """Name of its files, without their ending."""
        return f"{NAMES[self.number].lower().replace(' ', '-')}-{self.target}"


def dream_all(
    folder: Path, twin: Twin, bounds: Bounds, inputs: Mapping[int, Tensor], asked: Asked
) -> Iterator[tuple[Wish, Dream]]:
    """Make the dreams that are not there yet, and give all of them.

    Parameters
    ----------
    folder : Path
        Where the files are kept.
    twin : Twin
    bounds : tuple of two Tensors
        As for `dream`, on the device of the network.
    inputs : mapping of int to Tensor (3, S, S)
        Class -> normalised input of its galaxy, on the same device.
    asked : Asked

    Yields
    ------
    Wish, Dream
        Class by class; images as the files hold them, rounded to half precision.

    Raises
    ------
    Interrupted
        After a signal; finished dreams are kept.
    OutputError
        If the disk refuses.
    """
    wishes = [Wish(number, target) for number in inputs for target in asked.targets]
    identities = {wish: _identity(twin, asked, wish, inputs[wish.number]) for wish in wishes}
    missing = {wish for wish in wishes if _kept(folder, wish, identities[wish]) is None}
    if len(missing) < len(wishes):
        say(f"{len(wishes) - len(missing)} of {len(wishes)} dreams are there already")
    with (
        stop_requests() as stop,
        _Watch(asked.settings, [wish.target for wish in wishes if wish in missing], stop) as watch,
    ):
        for wish in wishes:
            kept = _kept(folder, wish, identities[wish])
            if kept is None:
                watch.wish = wish
                objective = asked.objective(twin, wish)
                made = dream(objective, inputs[wish.number], bounds, asked.settings, watch.step)
                kept = _keep(folder, wish, identities[wish], made)
                watch.finished += 1
            yield wish, kept


def _identity(twin: Twin, asked: Asked, wish: Wish, image: Tensor) -> dict[str, Any]:
    """All that determines a dream."""
    settings = asked.settings
    return {
        "galcli": __version__, "model": twin.file.sha256, "layer": wish.target, "channel": asked.channel,
        "class": wish.number, "image": hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest(),
        "sizes": list(settings.kept), "steps": settings.steps, "rate": settings.rate, "jitter": settings.jitter,
        "seed": settings.seed,
    }  # fmt: skip


def _path(folder: Path, wish: Wish) -> Path:
    return folder / f"{wish.stem}.safetensors"


def _keep(folder: Path, wish: Wish, identity: dict[str, Any], made: Dream) -> Dream:
    """Write a dream; gives it as it will be read."""
    tensors = {f"image/{size}": torch.from_numpy(image).half() for size, image in made.images.items()}
    tensors |= {f"trace/{size}": torch.from_numpy(trace) for size, trace in made.trace.items()}
    checkpoint.save(_path(folder, wish), tensors, identity)
    return _dream(tensors, identity["sizes"])


def _kept(folder: Path, wish: Wish, identity: dict[str, Any]) -> Dream | None:
    """The dream of this identity out of its file; None where there is none, or it is damaged."""
    try:
        tensors, found = checkpoint.load(_path(folder, wish))
    except ModelError:
        return None
    return _dream(tensors, identity["sizes"]) if found == identity else None


def _dream(tensors: Mapping[str, Tensor], sizes: list[int]) -> Dream:
    return Dream(
        {size: tensors[f"image/{size}"].float().numpy() for size in sizes},
        {size: tensors[f"trace/{size}"].numpy() for size in sizes},
    )


class _Watch:
    """How far the dreams are: a bar on a terminal, a line in a log now and then."""

    def __init__(self, settings: DreamSettings, targets: list[str], stop: threading.Event) -> None:
        self.settings, self.stop = settings, stop
        self.count, self.finished = len(targets), 0
        self.total = sum(
            settings.steps * self._price(target, size, small)
            for target in targets for size in settings.kept for small in (True, False)
        )  # fmt: skip
        self.done, self.began = 0.0, time.monotonic()
        self.said = self.began
        #: The dream under way.
        self.wish = Wish(0, LAYERS[0])
        self.bar: Progress | None = None
        if sys.stderr.isatty() and targets:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("dreams", total=self.total)

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, done: int, total: int, size: int, value: float) -> None:
        """Report a step of the dream under way (`dream.Progress`); end all where a signal came."""
        del total, value
        small = (done - 1) % (2 * self.settings.steps) < self.settings.steps
        self.done += self._price(self.wish.target, size, small)
        text = f"{NAMES[self.wish.number]}, {self.wish.target} at {size} px, {self.finished} of {self.count} finished"
        now = time.monotonic()
        if self.bar:
            self.bar.update(self.task, completed=self.done, description=text)
        elif now - self.said >= LINE_SECONDS:
            self.said = now
            left = (self.total - self.done) * (now - self.began) / self.done
            say(f"dreams: {text}, {duration(left)} left")
        if self.stop.is_set():
            raise Interrupted(
                f"stopped: {self.finished} of {self.count} dreams were finished and are kept",
                "give the same command again to go on",
            )

    @staticmethod
    def _price(target: str, size: int, small: bool) -> float:
        return _COST[target] * size**2 * (SCALE**2 if small else 1.0)
