"""The training loop: Lightning Fabric, exact resume, signals, and one line of truth when a loss is not finite.

What is random in a step depends on (seed, step) alone and what the schedule does on (step, total) alone, both fixed
at the start and stored. So the state on disk is small, and a killed and resumed training ends in the same bits.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from galcli.errors import GalcliError, InputError, Interrupted
from galcli.training import checkpoint
from galcli.training.data import Batch
from galcli.training.devices import make_fabric
from galcli.training.identity import require_same
from galcli.training.keeping import BEST, Keep, averaged
from galcli.training.layout import channels_last
from galcli.training.optim import OPTIMIZERS, SCHEDULES, OptimizerName, ScheduleName, set_rate
from galcli.training.progress import Reporter, stop_requests
from galcli.training.seeds import mix

STATE = "state.safetensors"
_AVERAGE = "average/"
#: Batches made ahead of the step that needs them.
AHEAD = 3


class Feed(Protocol):
    """Batches of one stage."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the data."""
        ...

    def batch(self, step: int) -> Batch:
        """The batch of a step (0-based within the stage); depends on nothing else."""
        ...


class Task(Protocol):
    """What is trained: a loss on a batch, and figures on held-out data."""

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Scalar loss."""
        ...

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """Figures on the held-out objects of a stage; all of them at the end, a part of them on the way."""
        ...


class Constraint(Protocol):
    """What holds of the weights after every step."""

    def on_gradients(self, module: nn.Module) -> None:
        """Change gradients before a step."""
        ...

    def on_weights(self, module: nn.Module) -> None:
        """Change weights after it."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    steps : tuple of int
        Steps of each stage.
    lr : float
        (Largest) learning rate.
    schedule : str
        Key of ``optim.SCHEDULES``; over the steps of all stages together.
    optimizer : str
        Key of ``optim.OPTIMIZERS``.
    weight_decay : float
        Decoupled decay.
    keep : Keep
        Which weights the training ends with.
    least_epoch : int
        Steps between two validations at least: small sets are looked at, and states written, after several epochs.
    seed : int
        Seed of everything random in a step.
    device : 'auto', 'cpu' or 'cuda'
        Where to train.
    checkpoint_minutes : float
        Time between two states on disk (one is also written at each validation).
    identity : dict
        JSON-able facts that a resumed training must share.
    """

    steps: tuple[int, ...]
    lr: float
    schedule: ScheduleName = "one_cycle"
    optimizer: OptimizerName = "ranger"
    weight_decay: float = 0.01
    keep: Keep = field(default_factory=Keep)
    least_epoch: int = 1
    seed: int = 256
    device: str = "auto"
    checkpoint_minutes: float = 5.0
    identity: dict[str, Any] = field(default_factory=dict)


@dataclass
class History:
    """What a training leaves beside the weights.

    Attributes
    ----------
    step : int
        Steps done.
    images : int
        Images seen.
    seconds : float
        Time spent, over all its runs.
    curve : list of dict
        One entry per epoch: step, stage, lr, mean training loss, validation figures.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


def prefetched(make: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """Batches of consecutive steps, made ahead in a thread.

    That thread computes alone: a team of its own would fight with the network's for the cores, and both would wait.
    """
    threads = torch.get_num_threads()  # of this thread; what is set below is also the number of threads to come
    with ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,)) as pool:
        waiting: deque[Future[Batch]] = deque(pool.submit(make, step) for step in steps[:AHEAD])
        try:
            for step in steps:
                batch = waiting.popleft().result()
                if step + AHEAD in steps:
                    waiting.append(pool.submit(make, step + AHEAD))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)


def locate(step: int, steps: Sequence[int]) -> tuple[int, int]:
    """Stage of a step, and the step within that stage."""
    stage = 0
    while stage + 1 < len(steps) and step >= steps[stage]:
        step -= steps[stage]
        stage += 1
    return stage, step


def require_new(out: Path) -> None:
    """Refuse a folder that holds a training.

    Raises
    ------
    InputError
    """
    if (out / STATE).exists():
        raise InputError(f"{out} already holds a training", "go on with --resume, or choose another --out")


class Fit:
    """One training, from scratch or from its state on disk.

    Parameters
    ----------
    module : nn.Module
        Network with its initial weights.
    task : Task
        Loss and validation.
    feeds : sequence of Feed
        One per stage.
    settings : Settings
        How to train.
    out : Path
        Folder of the state and the metrics; made if need be.
    constraint : Constraint, optional

    Attributes
    ----------
    module : nn.Module
        The same network, trained by ``run``, with the weights that are kept at its end.
    history : History
        Figures so far.
    """

    def __init__(
        self, module: nn.Module, task: Task, feeds: Sequence[Feed], settings: Settings, out: Path,
        constraint: Constraint | None = None,
    ) -> None:  # fmt: skip
        self.fabric = make_fabric(settings.device)
        self.module = channels_last(module)
        self.task, self.feeds, self.settings, self.out = task, feeds, settings, out
        self.constraint = constraint
        self.history = History()
        self.steps = settings.steps
        self.schedule = SCHEDULES[settings.schedule](settings.lr)
        self.losses: list[float] = []
        self.model = self.fabric.setup_module(self.module)
        decay = settings.keep.average
        self.average = None if decay is None else averaged(self.module, decay)
        self.shown = self.model if self.average is None else self.fabric.setup_module(self.average)

    def run(self, resume: bool = False) -> History:
        """Train to the end.

        Parameters
        ----------
        resume : bool
            Go on from the state in the folder, if there is one.

        Returns
        -------
        History

        Raises
        ------
        Interrupted
            After SIGINT or SIGTERM; the state is on disk.
        IdentityError
            If the state on disk belongs to a training with other settings.
        GalcliError
            If a loss is not finite.
        """
        make = OPTIMIZERS[self.settings.optimizer]
        optimizer = make(self.module, self.settings.lr, self.settings.weight_decay)
        self._open(optimizer, resume)
        wrapped = self.fabric.setup_optimizers(optimizer)
        total = sum(self.steps)
        left = range(self.history.step, self.history.step if self._exhausted() else total)
        with stop_requests() as stop, Reporter(total, self.history.step) as reporter:
            clock = saved = time.monotonic()
            for batch in prefetched(self._make, left):
                step = self.history.step
                lr, beta1 = self.schedule(step, total)
                set_rate(optimizer, lr, beta1)
                loss = self._step(wrapped, batch)
                reporter.step(step, loss, lr, len(batch))
                now = time.monotonic()
                self.history.seconds += now - clock
                clock = now
                done = self._close_epoch(lr, reporter)
                if done or stop.is_set() or now - saved >= 60 * self.settings.checkpoint_minutes:
                    self._save(optimizer)
                    saved = clock = time.monotonic()
                if done and self._exhausted():
                    reporter.say(f"no better {self.settings.keep.figure} for {self.settings.keep.patience} epochs")
                    break
                if stop.is_set() and self.history.step < total:
                    raise Interrupted(f"stopped at step {step + 1} of {total}", "go on with --resume")
            self._keep(reporter)
        return self.history

    def validate(self, stage: int, final: bool = True) -> dict[str, Any]:
        """Figures of the present weights on the held-out objects of a stage."""
        self.shown.eval()
        with torch.no_grad():
            figures = self.task.validate(self.shown, stage, final)
        self.model.train()
        return figures

    def _best(self) -> dict[str, Any] | None:
        """The best epoch, where one is looked for and has ended."""
        number = self.settings.keep.best(self.history.curve, len(self.steps) - 1)
        return None if number is None else self.history.curve[number]

    def _file_of(self, epoch: dict[str, Any]) -> Path:
        """Where the weights of the best epoch are."""
        return self.out / BEST.format(epoch["step"])

    def _exhausted(self) -> bool:
        return self.settings.keep.exhausted(self.history.curve, len(self.steps) - 1)

    def _keep(self, reporter: Reporter) -> None:
        """Take over the weights of the best epoch, or the average, at the end."""
        best = self._best()
        if best is not None:
            self.module.load_state_dict(checkpoint.load(self._file_of(best))[0])
            reporter.say(f"the weights of epoch {best['epoch']:.2f} are kept, the best by {self.settings.keep.figure}")
        elif self.average is not None:
            self.module.load_state_dict(self.average.module.state_dict())
        self.shown = self.model

    def _make(self, step: int) -> Batch:
        stage, local = locate(step, self.steps)
        return self.feeds[stage].batch(local)

    def _step(self, optimizer: Any, batch: Batch) -> float:
        """One update of the weights; the loss is looked at before the weights change."""
        torch.manual_seed(mix(self.settings.seed, self.history.step))
        optimizer.zero_grad()
        loss = self.task.loss(self.model, batch.to(self.fabric.device))
        value = float(loss.detach())
        if not math.isfinite(value):
            rows = ", ".join(str(row) for row in batch.rows[:8].tolist())
            raise GalcliError(
                f"loss is {value} at step {self.history.step + 1} (batch of {len(batch)}, training rows {rows} ...)",
                "lower the learning rate, or look at the labels and pixels of these rows",
            )
        self.fabric.backward(loss)
        if self.constraint is not None:
            self.constraint.on_gradients(self.module)
        optimizer.step()
        if self.constraint is not None:
            self.constraint.on_weights(self.module)
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.losses.append(value)
        self.history.step += 1
        self.history.images += len(batch)
        return value

    def _close_epoch(self, lr: float, reporter: Reporter) -> bool:
        """At the end of an epoch or stage: validate and note it; say whether it was one."""
        stage, last = locate(self.history.step - 1, self.steps)
        of_stage = last + 1 == self.steps[stage]
        length = self.feeds[stage].steps_per_epoch
        if not of_stage and (last + 1) % (-(-self.settings.least_epoch // length) * length):
            return False
        final = self.history.step == sum(self.steps)
        figures = self.validate(stage, final)
        loss = math.fsum(self.losses) / max(len(self.losses), 1)
        self.losses.clear()
        epoch = (last + 1) / length
        entry = {"step": self.history.step, "stage": stage, "epoch": round(epoch, 4), "lr": lr, "train_loss": loss}
        self.history.curve.append(entry | figures)
        best = self._best()
        if best is not None and best["step"] == self.history.step:
            shown = self.module if self.average is None else self.average.module
            checkpoint.save(self._file_of(best), shown.state_dict(), {"step": self.history.step} | figures)
        words = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if isinstance(value, float))
        reporter.say(f"stage {stage + 1} epoch {epoch:.2f}  train {loss:.4f}  {words}")
        return True

    def _open(self, optimizer: Optimizer, resume: bool) -> None:
        """Start anew or from the state on disk."""
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / STATE
        if not path.exists():
            self._save(optimizer)  # the steps of each stage are settled from now on
            return
        if not resume:
            require_new(self.out)
        tensors, info = checkpoint.load(path)
        require_same(self.out, info["identity"], self.settings.identity)
        checkpoint.unpack(self.module, optimizer, tensors, info)
        if self.average is not None:
            kept = {name.removeprefix(_AVERAGE): value for name, value in tensors.items() if name.startswith(_AVERAGE)}
            self.average.load_state_dict(kept)
        self.steps = tuple(info["steps"])
        self.losses = info["losses"]
        self.history = History(**info["history"])

    def _save(self, optimizer: Optimizer) -> None:
        tensors, info = checkpoint.pack(self.module, optimizer)
        if self.average is not None:
            tensors |= {_AVERAGE + name: value for name, value in self.average.state_dict().items()}
        info |= {"steps": self.steps, "losses": self.losses, "history": vars(self.history)}
        checkpoint.save(self.out / STATE, tensors, info | {"identity": self.settings.identity})
        best = self._best()
        for path in self.out.glob(BEST.format("*")):
            if best is None or path != self._file_of(best):
                path.unlink()
