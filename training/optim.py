"""Optimisers and learning-rate schedules of the published runs (models.md 0.1, 0.2, 2.3 and 5.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from pytorch_optimizer import Lookahead
from torch import nn

BETAS = (0.95, 0.99)
#: Key of a parameter group by which the learning rate is multiplied.
_SCALE = "rate_scale"
#: (lr, beta1) at step 0 ... T-1 of T.
Schedule = Callable[[int, int], tuple[float, float]]
ScheduleName = Literal["one_cycle", "flat_cos", "warm_cosine", "third"]
OptimizerName = Literal["ranger", "adamw", "relative_adamw", "adam"]
#: Part of the steps in which the rate of ``warm_cosine`` rises: 5 of 80 epochs (models.md 5.3).
WARM_UP = 1 / 16


def ranger(module: nn.Module, lr: float, weight_decay: float = 0.01) -> Lookahead:
    """Lookahead (k = 6, alpha = 0.5) around RAdam with decoupled weight decay.

    Call it after the weights are loaded: the slow weights start as a copy of the fast ones.

    Parameters
    ----------
    module : nn.Module
        Network; its batch-norm parameters and biases are not decayed.
    lr : float
        Learning rate; each step multiplies the decayed weights by 1 - lr * weight_decay.
    weight_decay : float, default 0.01
        Decoupled decay.

    Returns
    -------
    Lookahead
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for part in module.modules():
        norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        for name, parameter in part.named_parameters(recurse=False):
            (free if norm or name == "bias" else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    inner = torch.optim.RAdam(groups, lr=lr, betas=BETAS, eps=1e-6, decoupled_weight_decay=True)
    return Lookahead(inner, k=6, alpha=0.5)


def adamw(module: nn.Module, lr: float, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101).

    Arguments as for `ranger`; nothing but kernels and matrices is decayed, whatever the kind of norm.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in module.parameters():
        (decayed if parameter.dim() > 1 else free).append(parameter)
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}], lr=lr
    )


#: Scatter that is taken for biases, which begin at 0.
BIASES = 0.05


def relative_adamw(module: nn.Module, lr: float, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW whose rate is in units of the scatter with which each kernel or matrix begins.

    Adam moves every number by about its rate: atoms of norm 1 have small ones where they have many, and would else learn
    at speeds that depend on their size. Arguments as for `adamw`.
    """
    groups = []
    for parameter in module.parameters():
        matrix = parameter.dim() > 1 and parameter.numel() > max(parameter.shape)
        scatter = float(parameter.detach().square().mean().sqrt()) if matrix else BIASES
        decay = weight_decay if matrix else 0.0
        groups.append({"params": [parameter], "weight_decay": decay, "lr": lr * scatter, _SCALE: scatter})
    return torch.optim.AdamW(groups, lr=lr)


def adam(module: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam (beta 0.9 and 0.999, epsilon 1e-8; models.md 2.3); arguments as for `ranger`, all weights decay alike."""
    return torch.optim.Adam(module.parameters(), lr=lr, weight_decay=weight_decay)


OPTIMIZERS: dict[OptimizerName, Callable[[nn.Module, float, float], torch.optim.Optimizer]] = {
    "ranger": ranger,
    "adamw": adamw,
    "relative_adamw": relative_adamw,
    "adam": adam,
}


def cosine(start: float, end: float, s: float) -> float:
    """Cosine piece from ``start`` (s = 0) to ``end`` (s = 1)."""
    return start + (end - start) * (1 + math.cos(math.pi * (1 - s))) / 2


def one_cycle(lr_max: float, div: float = 25.0, div_final: float = 1e5, pct: float = 0.25) -> Schedule:
    """Cosine lr_max / div -> lr_max over the first quarter of steps, then cosine to lr_max / div_final.

    beta1 moves 0.95 -> 0.85 -> 0.95 with the same two pieces.
    """

    def at(step: int, total: int) -> tuple[float, float]:
        position = step / total
        if position < pct:
            s = position / pct
            return cosine(lr_max / div, lr_max, s), cosine(0.95, 0.85, s)
        s = (position - pct) / (1 - pct)
        return cosine(lr_max, lr_max / div_final, s), cosine(0.85, 0.95, s)

    return at


def flat_cos(lr: float, div_final: float = 1e5, pct: float = 0.75) -> Schedule:
    """Constant for the first three quarters of steps, then cosine to lr / div_final; beta1 stays 0.95."""

    def at(step: int, total: int) -> tuple[float, float]:
        position = step / total
        if position < pct:
            return lr, BETAS[0]
        return cosine(lr, lr / div_final, (position - pct) / (1 - pct)), BETAS[0]

    return at


def warm_cosine(lr: float, end: float = 1e-6) -> Schedule:
    """Straight up to lr over the first sixteenth of steps, then cosine to ``end``; beta1 stays 0.9."""

    def at(step: int, total: int) -> tuple[float, float]:
        warm = max(1, round(WARM_UP * total))
        if step < warm:
            return lr * (step + 1) / warm, 0.9
        return cosine(lr, end, (step - warm) / max(1, total - 1 - warm)), 0.9

    return at


def third(lr: float) -> Schedule:
    """Constant for the first third of steps, then a fifth of it (models.md 2.3); beta1 stays 0.9."""

    def at(step: int, total: int) -> tuple[float, float]:
        return (lr if 3 * step < total else lr / 5), 0.9

    return at


SCHEDULES: dict[ScheduleName, Callable[[float], Schedule]] = {
    "one_cycle": one_cycle,
    "flat_cos": flat_cos,
    "warm_cosine": warm_cosine,
    "third": third,
}


def set_rate(optimizer: torch.optim.Optimizer, lr: float, beta1: float) -> None:
    """Set the learning rate and beta1 of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(_SCALE, 1.0)
        group["betas"] = (beta1, group["betas"][1])
