"""Training of a small network on a table in memory: Adam, a rate that falls at plateaus, an end that is found.

Everything random in an epoch depends on (seed, epoch) alone and the state on disk is that after a whole epoch, so that
a killed and resumed training ends in the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from galcli.errors import GalcliError, Interrupted, ModelError
from galcli.training import checkpoint
from galcli.training.fit import STATE, require_new
from galcli.training.identity import require_same
from galcli.training.progress import Reporter, stop_requests
from galcli.training.seeds import generator

#: Loss of some rows, summed over them; what is random in it comes from the generator.
RowLoss = Callable[[Tensor, torch.Generator], Tensor]
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    batch, lr, epochs : int, float, int
        Rows per step; first learning rate; epochs at most.
    patience : int
        Epochs without gain after which the rate falls to a tenth.
    stop : int
        Epochs without gain after which the training ends.
    gain : float
        Relative decrease of the held-out loss that counts as one.
    seed : int
    identity : dict
        JSON-able facts that a resumed training must share.
    """

    batch: int = 64
    lr: float = 1e-3
    epochs: int = 200
    patience: int = 5
    stop: int = 10
    gain: float = 1e-3
    seed: int = 0
    identity: dict[str, Any] = field(default_factory=dict)


@dataclass
class Progress:
    """How far a training is.

    Attributes
    ----------
    epoch : int
        Epochs done.
    lr : float
    best : float
        Lowest held-out loss so far, per row.
    level : float
        Held-out loss at the last gain (`Settings.gain`).
    idle : int
        Epochs since then.
    seconds : float
        Time spent, over all its runs.
    curve : list of dict
        One entry per epoch: lr, training loss and held-out loss per row.
    """

    epoch: int = 0
    lr: float = 0.0
    best: float = math.inf
    level: float = math.inf
    idle: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


class PlateauFit:
    """One training, from scratch or from its state on disk.

    Parameters
    ----------
    module : nn.Module
        On its device, with its initial weights.
    loss : callable
        Of rows of the table, with the present weights.
    rows, held : Tensor of int64
        Training and held-out rows.
    settings : Settings
    out : Path
        Folder of the state.

    Attributes
    ----------
    module : nn.Module
        After ``run`` with the weights of the lowest held-out loss.
    progress : Progress
    """

    def __init__(
        self, module: nn.Module, loss: RowLoss, rows: Tensor, held: Tensor, settings: Settings, out: Path
    ) -> None:
        self.module, self.loss, self.rows, self.held = module, loss, rows, held
        self.settings, self.out = settings, out
        self.progress = Progress(lr=settings.lr)
        self.optimizer = torch.optim.Adam(module.parameters(), lr=settings.lr)
        self.best = self._copy()

    def run(self, resume: bool = False) -> Progress:
        """Train to the end.

        Raises
        ------
        Interrupted
            After SIGINT or SIGTERM; the state is on disk.
        IdentityError
            If the state on disk belongs to a training with other settings.
        GalcliError
            If a loss is not finite.
        """
        self._open(resume)
        with stop_requests() as stop, Reporter(self.settings.epochs, self.progress.epoch, "rows") as reporter:
            while not self._ended():
                began = time.monotonic()
                self._epoch(reporter)
                self.progress.seconds += time.monotonic() - began
                self._save()
                if stop.is_set() and not self._ended():
                    raise Interrupted(f"stopped after epoch {self.progress.epoch}", "go on with --resume")
        self.module.load_state_dict(self.best)
        return self.progress

    def _ended(self) -> bool:
        return self.progress.epoch >= self.settings.epochs or self.progress.idle >= self.settings.stop

    def _epoch(self, reporter: Reporter) -> None:
        """One pass over the training rows, and the held-out loss."""
        number, now = self.progress.epoch, self.progress
        for group in self.optimizer.param_groups:
            group["lr"] = now.lr
        random = generator(self.settings.seed, 1, number)
        order = self.rows[torch.randperm(len(self.rows), generator=random)]
        self.module.train()
        total = 0.0
        for batch in torch.split(order, self.settings.batch):
            self.optimizer.zero_grad()
            loss = self.loss(batch, random)
            if not math.isfinite(float(loss.detach())):
                raise GalcliError(
                    f"loss is {float(loss.detach())} in epoch {number + 1} (rows {batch[:8].tolist()} ...)",
                    "look at these spectra or rows",
                )
            torch.autograd.backward(loss)
            self.optimizer.step()
            total += float(loss.detach())
        held = self.held_loss()
        now.epoch += 1
        now.curve.append({"lr": now.lr, "train_loss": total / len(order), "held_out_loss": held})
        reporter.step(number, total / len(order), now.lr, len(order), held)
        self._judge(held)

    def held_loss(self) -> float:
        """Loss per held-out row; with the same random numbers every time."""
        random = generator(self.settings.seed, 2)
        self.module.eval()
        with torch.no_grad():
            parts = [float(self.loss(batch, random)) for batch in torch.split(self.held, self.settings.batch)]
        return math.fsum(parts) / max(len(self.held), 1)

    def _judge(self, held: float) -> None:
        """Keep the best weights; lower the rate at a plateau."""
        now = self.progress
        if held < now.best:
            now.best, self.best = held, self._copy()
        if held < now.level * (1 - self.settings.gain):
            now.level, now.idle = held, 0
            return
        now.idle += 1
        if now.idle % (self.settings.patience + 1) == 0:
            now.lr /= 10

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def _open(self, resume: bool) -> None:
        """Start anew or from the state on disk."""
        path = self.out / STATE
        if not path.exists():
            self._save()
            return
        if not resume:
            require_new(self.out)
        try:
            tensors, info = checkpoint.load(path)
        except ModelError as error:
            raise ModelError(error.message, "start again in another folder") from error
        require_same(self.out, info["identity"], self.settings.identity)
        try:
            self._unpack(tensors)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{path} belongs to another network: {error}", "choose another --out") from error
        self.progress = Progress(**info["progress"])

    def _save(self) -> None:
        state = self.optimizer.state_dict()["state"]
        tensors = {f"model/{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        tensors |= {f"{key}/{number}": torch.as_tensor(entry[key]) for number, entry in state.items()
                    for key in _MOMENTS}  # fmt: skip
        info = {"progress": asdict(self.progress), "identity": self.settings.identity}
        checkpoint.save(self.out / STATE, tensors, info)

    def _unpack(self, tensors: dict[str, Tensor]) -> None:
        """Bring weights and optimiser back to the state that ``_save`` saw."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.module.load_state_dict(part("model/"))
        device = next(self.module.parameters()).device
        self.best = {name: value.to(device) for name, value in part("best/").items()}
        state = self.optimizer.state_dict()
        state["state"] = {int(number): {key: tensors[f"{key}/{number}"] for key in _MOMENTS}
                          for number in part("exp_avg/")}  # fmt: skip
        self.optimizer.load_state_dict(state)
