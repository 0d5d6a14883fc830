"""What makes the codes of a sparse autoencoder sparse (models.md 4.2).

Codes are maps (N, p, H, W), one per concept. Concept sparsity tells *which* maps are used, domain sparsity *where* in
them. Counts belong to the grid of the training; what is exported are thresholds, which hold on any grid.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

#: Width of the rectangle through which a threshold's gradient passes (Rajamanoharan et al. 2024, arXiv:2407.14435), in
#: parts of the threshold: several steps of bfloat16, so that values on its grid are seen.
BANDWIDTH = 0.05
#: Weight of a new batch in running thresholds.
MOMENTUM = 0.01


def energy(z: Tensor) -> Tensor:
    """How strongly each concept is used: mean square of its map, (N, p)."""
    return z.square().mean((2, 3))


def level(z: Tensor) -> Tensor:
    """How high the largest values of each map of values >= 0 are, (N, p): the 24th root of their mean 24th power.

    Like a root mean square it is the same on any grid; with so high a power the largest five hundredth of a map begins at
    about the same part of it in every object, see docs/decisions.md. In float64, so that torch and onnxruntime agree to the
    last digit of what is told.
    """
    return z.double().pow(24).mean((2, 3)).pow(1 / 24).to(z.dtype)


def top_concepts(z: Tensor, count: int) -> Tensor:
    """The ``count`` maps of each object with the largest energy; the others become 0."""
    chosen, maps = strongest_maps(z, count)
    return put_back(maps, chosen, z.shape[1])


def strongest_maps(z: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Numbers (N, K) and maps (N, K, H, W) of the ``count`` concepts of each object with the largest energy."""
    chosen = energy(z).topk(min(count, z.shape[1]), 1).indices
    return chosen, z.gather(1, chosen[:, :, None, None].expand(-1, -1, *z.shape[2:]))


def put_back(maps: Tensor, chosen: Tensor, concepts: int) -> Tensor:
    """Codes (N, p, H, W) with the maps of chosen concepts; the others are 0."""
    whole = maps.new_zeros(maps.shape[0], concepts, *maps.shape[2:])
    return whole.scatter(1, chosen[:, :, None, None].expand(-1, -1, *maps.shape[2:]), maps)


def top_cells(z: Tensor, count: int) -> Tensor:
    """The ``count`` concepts of each cell with the largest values; the others become 0 there."""
    chosen = z.topk(min(count, z.shape[1]), 1)
    return torch.zeros_like(z).scatter(1, chosen.indices, chosen.values)


def top_domain(z: Tensor, part: float) -> tuple[Tensor, Tensor]:
    """The largest values of each map, as many as that part of its cells, rounded up; the others become 0.

    Returns
    -------
    z : Tensor (N, p, H, W)
    least : Tensor (N, p)
        Smallest value kept in each map.
    """
    cells = z.shape[2] * z.shape[3]
    values = z.flatten(2).topk(math.ceil(part * cells), 2)
    kept = torch.zeros_like(z.flatten(2)).scatter(2, values.indices, values.values)
    return kept.reshape(z.shape), values.values[..., -1]


class Running(nn.Module):
    """A threshold for each of some values, learned as the running mean of what was just kept in training.

    The first values count alike; then each new one has the weight `MOMENTUM`.

    Parameters
    ----------
    count : int
    """

    value: Tensor
    seen: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(count))
        self.register_buffer("seen", torch.zeros(count))

    @torch.no_grad()
    def update(self, new: Tensor, known: Tensor) -> None:
        """Take in new values (count,) where they are ``known`` (count,)."""
        self.seen += known
        weight = (1 / self.seen.clamp_min(1)).clamp_min(MOMENTUM)
        self.value.copy_(torch.where(known, self.value + weight * (new - self.value), self.value))

    def begin_anew(self) -> None:
        """Forget how many values were taken in: the next one replaces them all."""
        self.seen.zero_()


class _Step(torch.autograd.Function):
    """1 where the value is above its threshold; the threshold's gradient comes from values within half a bandwidth."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(u, threshold)
        return (u > threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        u, threshold = ctx.saved_tensors
        near = _near(u, threshold)
        return None, (-gradient * near / (BANDWIDTH * threshold)).sum_to_size(threshold.shape)


class _Jump(torch.autograd.Function):
    """The value where it is above its threshold, else 0, with the same gradient of the threshold."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(u, threshold)
        return u * (u > threshold)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        u, threshold = ctx.saved_tensors
        return gradient * (u > threshold), (-gradient * _near(u, threshold) / BANDWIDTH).sum_to_size(threshold.shape)


def _near(u: Tensor, threshold: Tensor) -> Tensor:
    return ((u - threshold).abs() < BANDWIDTH * threshold / 2).to(u.dtype)


def hard_threshold(u: Tensor, threshold: float) -> Tensor:
    """Values of either sign beyond the threshold; its gradient is that of the values kept."""
    return u * (u.abs() > threshold)


class Sparsity(nn.Module):
    """From what an encoder says, u (N, p, H, W), to sparse codes.

    The exported graph codes as in evaluation.
    """

    def forward(self, u: Tensor) -> Tensor:
        """Codes (N, p, H, W)."""
        raise NotImplementedError

    def penalty(self, u: Tensor, z: Tensor) -> Tensor:
        """What the loss adds for codes ``z`` made of ``u``."""
        del u
        return z.new_zeros(())

    def tried(self, u: Tensor, count: int) -> Tensor:
        """Codes of the ``count`` concepts of each object that come nearest to being used, as sparse as those used."""
        return top_concepts(u.relu(), count)

    def begin(self, u: Tensor, count: int) -> None:
        """Let learned thresholds begin where ``count`` concepts of a cell are active in the mean; others have none."""


class Rectified(Sparsity):
    """max(u, 0), with a penalty on the mean over objects of the sum over concepts of mean |z|.

    Parameters
    ----------
    weight : float
        lambda.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        return u.relu()

    def penalty(self, u: Tensor, z: Tensor) -> Tensor:
        """See `Sparsity`."""
        del u
        return self.weight * z.abs().mean((2, 3)).sum(1).mean()


class JumpReLU(Sparsity):
    """u where it is above the learned threshold of its concept (Rajamanoharan et al. 2024), else 0.

    Parameters
    ----------
    concepts : int
    weight : float
        Of the number of values that are not 0, per cell.
    start : float
        Thresholds at the beginning.
    """

    def __init__(self, concepts: int, weight: float, start: float = 1e-3) -> None:
        super().__init__()
        self.weight = weight
        self.log_threshold = nn.Parameter(torch.full((1, concepts, 1, 1), math.log(start)))

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        z: Tensor = _Jump.apply(u, self.log_threshold.exp())  # type: ignore[no-untyped-call]
        return z

    def penalty(self, u: Tensor, z: Tensor) -> Tensor:
        """See `Sparsity`."""
        del z
        used: Tensor = _Step.apply(u, self.log_threshold.exp())  # type: ignore[no-untyped-call]
        return self.weight * used.mean((2, 3)).sum(1).mean()

    @torch.no_grad()
    def begin(self, u: Tensor, count: int) -> None:
        """See `Sparsity`: from thresholds near 0 they would not come to where codes are sparse within a training."""
        kept = u.flatten().topk(max(1, count * u.numel() // u.shape[1])).values
        self.log_threshold.fill_(math.log(max(float(kept[-1]), 1e-6)))


class TopK(Sparsity):
    """The K concepts with the largest energy, and of their maps the part rho with the largest values.

    Parameters
    ----------
    count : int
        K.
    part : float
        rho; 1: no domain sparsity.
    """

    def __init__(self, count: int, part: float = 1.0) -> None:
        super().__init__()
        self.count, self.part = count, part

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        return self.tried(u, self.count)

    def tried(self, u: Tensor, count: int) -> Tensor:
        """See `Sparsity`."""
        if self.part >= 1:
            return top_concepts(u.relu(), count)
        chosen, maps = strongest_maps(u.relu(), count)
        return put_back(top_domain(maps, self.part)[0], chosen, u.shape[1])


class TopKAbove(TopK):
    """The K concepts with the largest energy, and of their maps the values above thresholds, which hold on any grid.

    The threshold of a concept is in units of the `level` of its map: the running mean of the smallest value among the part
    rho with the largest ones. In units of the values it would keep most of a bright galaxy and little of a faint one: their
    maps differ by factors. Codes are the same in training and in evaluation, so that dictionaries are learned for the codes
    that they are exported with.

    Parameters
    ----------
    concepts : int
    count : int
        K.
    part : float
        rho, below 1.
    """

    def __init__(self, concepts: int, count: int, part: float) -> None:
        super().__init__(count, part)
        self.domain = Running(concepts)

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        chosen, maps = strongest_maps(u.relu(), self.count)
        height = level(maps.detach())
        if self.training:
            kept, least = top_domain(maps.detach(), self.part)
            self._note(chosen, least / height.clamp_min(1e-12), energy(kept) > 0)
        above = maps > (self.domain.value[chosen] * height)[:, :, None, None]
        return put_back(maps * above, chosen, u.shape[1])

    @torch.no_grad()
    def _note(self, chosen: Tensor, least: Tensor, used: Tensor) -> None:
        """Take the mean over objects of the smallest values kept, in their units, into the thresholds of their concepts."""
        total, number = torch.zeros_like(self.domain.value), torch.zeros_like(self.domain.value)
        total = total.scatter_add(0, chosen.flatten(), (least * used).flatten().to(total.dtype))
        number = number.scatter_add(0, chosen.flatten(), used.flatten().to(total.dtype))
        self.domain.update(total / number.clamp_min(1), number > 0)


class TopKCells(Sparsity):
    """The K largest concepts of every cell: the usual sparse autoencoder, whose tokens are the cells.

    Parameters
    ----------
    count : int
        K.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        return top_cells(u.relu(), self.count)

    def tried(self, u: Tensor, count: int) -> Tensor:
        """See `Sparsity`: of each cell."""
        return top_cells(u.relu(), count)


class Cells(Sparsity):
    """A sparsity of objects applied to cells: every cell is an object of its own, as in autoencoders of vectors.

    Parameters
    ----------
    each : Sparsity
    """

    def __init__(self, each: Sparsity) -> None:
        super().__init__()
        self.each = each

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        n, concepts, height, width = u.shape
        z: Tensor = self.each(u.permute(0, 2, 3, 1).reshape(-1, concepts, 1, 1))
        return z.reshape(n, height, width, concepts).permute(0, 3, 1, 2)

    def tried(self, u: Tensor, count: int) -> Tensor:
        """See `Sparsity`: of each cell."""
        return top_cells(u.relu(), count)


class BatchTopK(Sparsity):
    """The K N concepts of a batch with the largest energies, so that objects differ in how many they use.

    In evaluation those with an energy above the running mean of the smallest one kept (Bussmann et al. 2024).

    Parameters
    ----------
    count : int
        K: mean number of concepts of an object.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.least = Running(1)

    def forward(self, u: Tensor) -> Tensor:
        """See `Sparsity`."""
        z = u.relu()
        strength = energy(z)
        if self.training:
            kept = strength.flatten().topk(min(self.count * len(z), strength.numel()))
            mask = torch.zeros_like(strength.flatten()).scatter(0, kept.indices, 1.0).reshape(strength.shape)
            positive = kept.values[kept.values > 0]
            if len(positive):
                self.least.update(positive[-1:], torch.ones(1, dtype=torch.bool, device=z.device))
        else:
            mask = (strength >= self.least.value).to(z.dtype)
        return z * mask[:, :, None, None]
