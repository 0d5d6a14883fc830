"""Truncated Fourier series of maps as dense matrix products, at any resolution (models.md 4.5).

A map on H x W pixels is a sample of a periodic function. Its coefficients with |ky| <= M and 0 <= kx <= M do not depend
on the grid, because they are divided by H W; those with kx < 0 are complex conjugates of them. The matrices are made
from the size of the input, so that one graph serves every size on every provider (onnxruntime has no Fourier transform
on GPUs).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from galcli.errors import InputError


def least_side(modes: int) -> int:
    """Pixels along a side that frequencies up to ``modes`` need: on fewer, +M and -M or lower ones would be the same."""
    return 2 * modes + 1


def require_side(height: int, width: int, modes: int) -> None:
    """Refuse maps that are too small.

    Raises
    ------
    InputError
    """
    if min(height, width) < least_side(modes):
        raise InputError(
            f"maps of {width} x {height} pixels cannot hold frequencies up to {modes}",
            f"give at least {least_side(modes)} pixels along each side, or fewer modes",
        )


def analyse(x: Tensor, modes: int) -> tuple[Tensor, Tensor]:
    """Fourier coefficients of real maps.

    Parameters
    ----------
    x : Tensor (..., H, W), float32
        H and W are at least `least_side`.
    modes : int
        M: largest frequency along each axis.

    Raises
    ------
    InputError
        As `require_side`; an exported graph has the least side in its card instead.

    Returns
    -------
    real, imaginary : Tensor (..., 2 M + 1, M + 1)
        Rows are ky = -M ... M, columns kx = 0 ... M.
    """
    height, width = x.shape[-2], x.shape[-1]
    if not torch.compiler.is_exporting():
        require_side(height, width, modes)
    cos_x, sin_x = _waves(0, modes, width, x.device)
    cos_y, sin_y = _waves(-modes, modes, height, x.device)
    # Cosines and sines side by side: every large map goes through one product.
    along_x = x @ torch.cat([cos_x, -sin_x]).t()
    both = along_x.transpose(-1, -2).contiguous() @ torch.cat([cos_y, sin_y]).t() / (height * width)
    columns, rows = modes + 1, least_side(modes)
    re, im = both.transpose(-1, -2)[..., :columns], both.transpose(-1, -2)[..., columns:]
    return re[..., :rows, :] + im[..., rows:, :], im[..., :rows, :] - re[..., rows:, :]


def synthesise(real: Tensor, imaginary: Tensor, height: int, width: int) -> Tensor:
    """Real maps out of their coefficients: the inverse of `analyse` for maps without higher frequencies.

    Parameters
    ----------
    real, imaginary : Tensor (..., 2 M + 1, M + 1)
        As `analyse` gives them. In the column kx = 0 only that part counts which coefficients of real maps have.
    height, width : int

    Returns
    -------
    Tensor (..., height, width)
    """
    modes = real.shape[-1] - 1
    cos_x, sin_x = _waves(0, modes, width, real.device)
    cos_y, sin_y = _waves(-modes, modes, height, real.device)
    # As in `analyse`: real and imaginary parts in one product along each axis.
    turn = torch.cat([torch.cat([cos_y, sin_y], 1), torch.cat([-sin_y, cos_y], 1)])
    along_y = torch.cat([real, imaginary], -2).transpose(-1, -2).contiguous() @ turn
    re, im = along_y[..., :height], along_y[..., height:]
    twice = multiplicity(modes, real.device).unsqueeze(1)
    return torch.cat([re, im], -2).transpose(-1, -2).contiguous() @ torch.cat([twice * cos_x, -twice * sin_x])


def multiplicity(modes: int, device: torch.device | str = "cpu") -> Tensor:
    """How many frequencies of the whole plane each column kx = 0 ... M stands for, (M + 1,)."""
    count = torch.full((modes + 1,), 2.0, device=device)
    count[0] = 1.0
    return count


def _waves(first: int, last: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine (last - first + 1, size) of 2 pi k j / size."""
    k = torch.arange(first, last + 1, dtype=torch.float32, device=device).unsqueeze(1)
    product = k * torch.arange(size, dtype=torch.float32, device=device)  # exact below 2^24
    phase = (product - size * (product / size).floor()) * (2 * math.pi / size)
    return phase.cos(), phase.sin()
