"""What a sparse autoencoder is trained for: reconstruction out of few concepts, all of which are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from galcli.training.data import Batch
from galcli.training.networks.dictionaries import Pointwise
from galcli.training.networks.sae import SAE, Coded, FeedForward

#: A concept is dead when it was not used for so many times the mean number of objects, or cells of vectors, between two
#: uses of a concept, p / K. (models.md 4.4 says 1e5 objects, in which even noise is used now and then.)
RESTING = 100
#: How many dead concepts try, and the weight of their loss (Gao et al. 2024, arXiv:2406.04093).
TRYING, AUXILIARY = 32, 1 / 32
#: Parts of a nested dictionary, each a dictionary of its own (Bussmann et al. 2025, arXiv:2503.17547).
NESTED = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


def unexplained(x: Tensor, made: Tensor) -> Tensor:
    """Fraction of the variance about the mean of each channel that a reconstruction of a batch leaves over."""
    about = x - x.mean((0, 2, 3), keepdim=True)
    return (x - made).square().sum() / about.square().sum().clamp_min(1e-12)


@dataclass
class Reconstruction:
    """Task of ``fit.Fit`` for a `sae_network.Prepared`.

    Attributes
    ----------
    held : callable
        Batches of held-out objects: all of them, or a part where its argument is false.
    nested : bool
        Every part of the dictionary reconstructs by itself, from the first concept on.
    dead : float
        Objects or cells after which a concept counts as dead.
    """

    held: Callable[[bool], Iterable[Batch]]
    nested: bool = False
    dead: float = math.inf

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Fraction of variance unexplained, with the penalty of the sparsity and the share of dead concepts."""
        x, coded = module(batch.pixels, batch.valid, batch.front)
        sae, idle = _parts(module)
        assert isinstance(sae.encoder, FeedForward)
        loss = self._reconstruction(sae, x, coded) + sae.encoder.penalty(coded)
        dead = idle > self.dead
        return loss + AUXILIARY * revival(sae, x, coded, dead) if bool(dead.any()) else loss

    def validate(self, module: nn.Module, stage: int, final: bool) -> dict[str, Any]:
        """Figures on the held-out objects."""
        del stage
        left = whole = active = 0.0
        sae, idle = _parts(module)
        vectors, count, used = isinstance(sae.dictionary, Pointwise), 0, torch.zeros_like(idle, dtype=torch.bool)
        for batch in (one.to(idle.device) for one in self.held(final)):
            x, coded = module(batch.pixels, batch.valid, batch.front)
            left += float((x - coded.data).square().sum())
            whole += float((x - x.mean((0, 2, 3), keepdim=True)).square().sum())
            on = coded.codes != 0
            active += float((on.sum(1) if vectors else on.any(3).any(2).sum(1)).sum())
            used |= on.any(3).any(2).any(0)
            count += len(batch) * (on.shape[2] * on.shape[3] if vectors else 1)
        return {"fvu": left / whole, "l0": active / count, "dead": 1 - float(used.float().mean())} if count else {}

    def _reconstruction(self, sae: SAE, x: Tensor, coded: Coded) -> Tensor:
        if not self.nested:
            return unexplained(x, coded.data)
        made = list(nested(sae, coded.codes))
        return torch.stack([unexplained(x, one) for one in made]).mean()


def _parts(module: nn.Module) -> tuple[SAE, Tensor]:
    """The autoencoder of a ``sae_network.Prepared``, and how long each concept was not used."""
    sae, idle = module.sae, module.idle
    assert isinstance(sae, SAE)
    assert isinstance(idle, Tensor)
    return sae, idle


def nested(sae: SAE, codes: Tensor) -> Iterator[Tensor]:
    """Reconstructions by growing parts of the dictionary."""
    total, first = None, 0
    for part in NESTED:
        last = math.ceil(part * codes.shape[1])
        one = sae.dictionary.synthesise(codes[:, first:last], slice(first, last))
        total, first = (one if total is None else total + one), last
        yield sae.finish(total)


def revival(sae: SAE, x: Tensor, coded: Coded, dead: Tensor) -> Tensor:
    """How badly dead concepts alone explain what is left over: it gives them a gradient."""
    assert isinstance(sae.encoder, FeedForward)
    left = (x - coded.data).detach()
    tried = sae.encoder.sparsity.tried(coded.before * dead.to(x.dtype)[:, None, None], min(TRYING, int(dead.sum())))
    made = sae.lowered(sae.dictionary.synthesise(tried))
    return (left - made).square().sum() / left.square().sum().clamp_min(1e-12)


class UnitNorm:
    """Constraint of ``fit.Fit``: atoms keep norm 1, and gradients do not pull at it."""

    def on_gradients(self, module: nn.Module) -> None:
        """Take the part along each atom out of the gradient."""
        _parts(module)[0].dictionary.keep_norms_()

    def on_weights(self, module: nn.Module) -> None:
        """Scale every atom to norm 1."""
        _parts(module)[0].dictionary.normalise_()
