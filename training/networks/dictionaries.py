"""Dictionaries of concepts: how maps of codes z (N, p, H, W) become maps of data x (N, C, H, W), and the adjoint.

Maps are periodic. Three forms share one interface: a vector per concept (of the channels of one cell), a small kernel,
or the Fourier coefficients of a kernel of any extent, which hold on any grid (models.md 4.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.networks.fourier import analyse, least_side, multiplicity, synthesise

#: All concepts.
EVERY = slice(None)


class Dictionary(nn.Module):
    """Atoms with their norm: ``weight`` (p, ...) holds one concept per row.

    Parameters
    ----------
    weight : Tensor (p, ...)
        Atoms to begin with.
    metric : Tensor, broadcast to an atom
        The squared norm of an atom is the sum of its squares times this.

    Attributes
    ----------
    axis : int
        Of ``weight``, along which channels lie.
    """

    metric: Tensor
    axis = 1

    def __init__(self, weight: Tensor, metric: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_buffer("metric", metric)

    def synthesise(self, z: Tensor, rows: slice = EVERY) -> Tensor:
        """D z: data (N, C, H, W) out of codes (N, p, H, W), or out of those of some rows of the dictionary."""
        raise NotImplementedError

    def correlate(self, x: Tensor) -> Tensor:
        """The adjoint: codes (N, p, H, W) out of data (N, C, H, W), such that <D z, x> = <z, adjoint x>."""
        raise NotImplementedError

    def norms(self) -> Tensor:
        """Norm of each atom, (p,); of kernels on the smallest grid that holds them."""
        return (self.weight.square() * self.metric).flatten(1).sum(1).sqrt()

    @torch.no_grad()
    def atoms(self, channels: Tensor | None = None) -> Tensor:
        """Atoms as vectors (p, D) of norm 1, whose products are cosines; 0 where an atom is.

        Parameters
        ----------
        channels : Tensor (A, C), optional
            Matrix that mixes their channels first.
        """
        scaled = self.weight * self.metric.sqrt()
        if channels is not None:
            scaled = torch.tensordot(scaled, channels, ([self.axis], [1]))
        flat = scaled.flatten(1)
        return flat / flat.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)

    @torch.no_grad()
    def normalise_(self) -> None:
        """Scale every atom to norm 1; atoms that are 0 stay so."""
        self.weight.div_(self._each(self.norms().clamp_min(1e-12)))

    @torch.no_grad()
    def keep_norms_(self) -> None:
        """Take away that part of the gradient which would change norms."""
        gradient = self.weight.grad
        if gradient is not None:
            normal = self.weight * self.metric
            length = normal.square().flatten(1).sum(1).clamp_min(1e-24)
            gradient -= normal * self._each((gradient * normal).flatten(1).sum(1) / length)

    def _each(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * (self.weight.ndim - 1))


class Pointwise(Dictionary):
    """A vector of channels per concept, at every cell.

    Parameters
    ----------
    channels, concepts : int
    """

    def __init__(self, channels: int, concepts: int) -> None:
        super().__init__(torch.randn(concepts, channels), torch.ones(()))
        self.normalise_()

    def synthesise(self, z: Tensor, rows: slice = EVERY) -> Tensor:
        """See `Dictionary`."""
        return functional.conv2d(z, self.weight[rows].t()[:, :, None, None])

    def correlate(self, x: Tensor) -> Tensor:
        """See `Dictionary`."""
        return functional.conv2d(x, self.weight[:, :, None, None])


class Convolutional(Dictionary):
    """A kernel per concept, (p, C, k, k): x = sum of kernels convolved with their codes.

    Parameters
    ----------
    channels, concepts : int
    side : int
        k: odd.
    """

    def __init__(self, channels: int, concepts: int, side: int) -> None:
        super().__init__(torch.randn(concepts, channels, side, side), torch.ones(()))
        self.normalise_()

    def synthesise(self, z: Tensor, rows: slice = EVERY) -> Tensor:
        """See `Dictionary`."""
        return functional.conv2d(self._around(z), self.weight[rows].flip(2, 3).transpose(0, 1))

    def correlate(self, x: Tensor) -> Tensor:
        """See `Dictionary`."""
        return functional.conv2d(self._around(x), self.weight)

    def _around(self, maps: Tensor) -> Tensor:
        reach = self.weight.shape[-1] // 2
        return functional.pad(maps, [reach] * 4, mode="circular")


class Spectral(Dictionary):
    """Fourier coefficients of a kernel per concept, (p, 2, C, 2 M + 1, M + 1), real and imaginary parts.

    Kernels are as large as the map, and smooth: their largest frequency is M. On the smallest grid that holds them,
    of 2 M + 1 pixels a side, they are plain kernels, and there their norm is taken.

    Parameters
    ----------
    channels, concepts : int
    modes : int
        M.
    """

    axis = 2

    def __init__(self, channels: int, concepts: int, modes: int) -> None:
        side = least_side(modes)
        kernels = torch.randn(concepts, channels, side, side)
        super().__init__(_coefficients(kernels, modes), multiplicity(modes) / side**2)
        self.modes = modes
        self.normalise_()

    @classmethod
    def of_kernels(cls, kernels: Tensor, modes: int) -> Spectral:
        """The same dictionary as a convolutional one with kernels (p, C, k, k), as far as M reaches.

        Kernels of at most 2 M + 1 pixels on maps of 2 M + 1 pixels a side are reproduced exactly.
        """
        concepts, channels, height, _ = kernels.shape
        made, side = cls(channels, concepts, modes), least_side(modes)
        around = torch.zeros(concepts, channels, side, side)
        around[..., :height, :height] = kernels
        reach = height // 2
        with torch.no_grad():
            made.weight.copy_(_coefficients(around.roll((-reach, -reach), (2, 3)), modes))
        return made

    def kernels(self, side: int) -> Tensor:
        """Kernels as maps (p, C, side, side) around their first pixel, in units in which they are added on such a grid."""
        real, imaginary = self.weight.unbind(1)
        return synthesise(real, imaginary, side, side) / side**2

    @torch.no_grad()
    def middles(self) -> Tensor:
        """Where the square of each kernel is centred, (p, 2): y and x as parts of the field, by its first harmonics."""
        side = 2 * least_side(self.modes)
        real, imaginary = analyse(self.kernels(side).square().sum(1), 1)
        phase = torch.atan2(imaginary, real)  # of a point at s: -2 pi k s
        return -torch.stack([phase[:, 2, 0], phase[:, 1, 1]], 1) / (2 * math.pi)

    @torch.no_grad()
    def shift_(self, away: Tensor) -> None:
        """Shift every kernel periodically by -``away`` (p, 2), in parts of the field.

        Codes that another dictionary shifted alike gives with `correlate` move by +``away``.
        """
        k = torch.arange(-self.modes, self.modes + 1, dtype=torch.float32)
        turn = 2 * math.pi * (k[:, None] * away[:, 0, None, None] + k[self.modes :] * away[:, 1, None, None])
        cos, sin = turn.cos().unsqueeze(1), turn.sin().unsqueeze(1)
        real, imaginary = self.weight.unbind(1)
        self.weight.copy_(torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], 1))

    def synthesise(self, z: Tensor, rows: slice = EVERY) -> Tensor:
        """See `Dictionary`."""
        real, imaginary = self.weight[rows].unbind(1)
        mixed = _mixed(analyse(z, self.modes), real, imaginary)
        return synthesise(*mixed, z.shape[-2], z.shape[-1])

    def correlate(self, x: Tensor) -> Tensor:
        """See `Dictionary`."""
        real, imaginary = self.weight.unbind(1)
        mixed = _mixed(analyse(x, self.modes), real.transpose(0, 1), -imaginary.transpose(0, 1))
        return synthesise(*mixed, x.shape[-2], x.shape[-1])


def _mixed(maps: tuple[Tensor, Tensor], real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Products, mode by mode, of coefficients (N, a, ky, kx) with complex matrices (a, b, ky, kx).

    One row of zeros is added, because for a single row onnxruntime adds in another order; and einsum is three hundred
    times slower than what is written out here (torch 2.13 on a CPU).
    """
    row = torch.cat(maps, 1)
    rows = torch.cat([row, torch.zeros_like(row[:1])]).permute(2, 3, 0, 1).contiguous()
    matrix = torch.cat([torch.cat([real, imaginary], 1), torch.cat([-imaginary, real], 1)])
    made = (rows @ matrix.permute(2, 3, 0, 1).contiguous()).permute(2, 3, 0, 1)[:-1]
    return made[:, : real.shape[1]], made[:, real.shape[1] :]


def _coefficients(kernels: Tensor, modes: int) -> Tensor:
    """Transform (p, 2, C, 2 M + 1, M + 1) of kernels (p, C, S, S), not divided by their area."""
    side = kernels.shape[-1]
    return torch.stack(analyse(kernels, modes), 1) * side**2
