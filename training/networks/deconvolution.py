"""Network deconvolution (Ye et al. 2020, arXiv:1905.11926): a convolution that whitens its input patches.

Training whitens with the statistics of the batch, evaluation with running ones; the latter is a plain convolution,
which is what ``fold`` leaves behind.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Patches are sampled on a grid this many times coarser than the convolution's own.
SAMPLING = 3
#: Added to the diagonal of the covariance.
EPS = 1e-5
#: Newton-Schulz iterations: fewer than convergence needs, so that weak directions are not blown up to full strength.
ITERATIONS = 5
#: Weight of a batch in the running values.
MOMENTUM = 0.1
#: Channels that are whitened together.
BLOCK = 64
#: From this size on, a processor finds eigenvectors in a quarter of the time that the iterations' products take.
_LARGE = 256


def inverse_sqrt(sigma: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Inverse square roots of covariances by coupled Newton-Schulz iterations, differentiable.

    Parameters
    ----------
    sigma : Tensor (..., D, D)
        Symmetric positive definite.
    iterations : int, default 5
        At least 1. Few leave directions of small variance below unit variance.

    Returns
    -------
    Tensor (..., D, D)
        Tends to sigma^(-1/2).
    """
    norm: Tensor = torch.linalg.matrix_norm(sigma, keepdim=True)
    y = sigma / norm
    if sigma.device.type == "cpu" and sigma.shape[-1] >= _LARGE:
        root: Tensor = _OfEigenvalues.apply(y, iterations)  # type: ignore[no-untyped-call]
        return root / norm.sqrt()
    identity = torch.eye(sigma.shape[-1], dtype=sigma.dtype, device=sigma.device)
    z = step = 1.5 * identity - 0.5 * y  # the first iteration, where z is the identity
    for _ in range(iterations - 1):
        y = y @ step
        step = 1.5 * identity - 0.5 * (z @ y)
        z = step @ z
    return z / norm.sqrt()


class _OfEigenvalues(torch.autograd.Function):
    """The same iterations on the eigenvalues alone: every iterate is a polynomial of the first matrix."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, iterations: int) -> Tensor:
        """Z of the last iteration from Y (..., D, D) of the first."""
        values, vectors = torch.linalg.eigh(y)
        root, slopes = _iterate(values, iterations)
        ctx.save_for_backward(vectors, slopes)
        rooted: Tensor = (vectors * root.unsqueeze(-2)) @ vectors.mT
        return rooted

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Daleckii and Krein's formula: in the basis of eigenvectors each element is scaled by its slope."""
        vectors, slopes = ctx.saved_tensors
        return vectors @ (slopes * (vectors.mT @ grad @ vectors)) @ vectors.mT, None


def _iterate(values: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The iterations on eigenvalues (..., D), and the slopes (..., D, D) between any two of them.

    The slope of a product f g from a to b is f[a,b] g(b) + f(a) g[a,b]: carried along, it never divides by a - b.
    """
    y, z = values, torch.ones_like(values)
    y_slope = torch.ones_like(values).unsqueeze(-1) * z.unsqueeze(-2)
    z_slope = torch.zeros_like(y_slope)
    for _ in range(iterations):
        step = 1.5 - 0.5 * z * y
        step_slope = -0.5 * (z_slope * y.unsqueeze(-2) + z.unsqueeze(-1) * y_slope)
        y_slope = y_slope * step.unsqueeze(-2) + y.unsqueeze(-1) * step_slope
        z_slope = z_slope * step.unsqueeze(-2) + z.unsqueeze(-1) * step_slope
        y, z = y * step, z * step
    return z, z_slope


class Deconv2d(nn.Conv2d):
    """Convolution of whitened patches, with bias.

    The whitening is computed in the dtype of the weights, also under autocast. ``eval()`` freezes the running values.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    kernel_size : int
        Side of the kernel.
    stride, padding, groups : int
        As for ``nn.Conv2d``.

    Attributes
    ----------
    running_mean : Tensor (groups, D)
        Mean patch; D entries are whitened together.
    running_delta : Tensor (groups, D, D)
        Whitening matrix (the average of matrices, not the matrix of an average covariance).
    """

    running_mean: Tensor
    running_delta: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups)
        block = in_channels // groups
        if groups == 1 and block > BLOCK:
            block = math.gcd(block, BLOCK)
        self.columns = in_channels // groups // block
        size = block * kernel_size**2
        self.register_buffer("running_mean", torch.zeros(groups, size))
        self.register_buffer("running_delta", torch.eye(size).repeat(groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h', w')."""
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.folded(
                *(self._measure(x) if self.training else (self.running_mean, self.running_delta))
            )
        return functional.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)

    def folded(self, mean: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of the plain convolution that equals whitening followed by this one.

        Parameters
        ----------
        mean : Tensor (groups, D)
            Mean patch.
        delta : Tensor (groups, D, D)
            Whitening matrix.

        Returns
        -------
        weight : Tensor (C', C / groups, k, k)
        bias : Tensor (C',)
        """
        assert self.bias is not None
        size = mean.shape[1]
        kernels = self.weight.reshape(self.groups, -1, size, self.columns).transpose(2, 3)
        white = kernels.reshape(self.groups, -1, size) @ delta
        shift = (white @ mean.unsqueeze(2)).view(self.out_channels, self.columns).sum(1)
        weight = white.view(self.groups, -1, self.columns, size).transpose(2, 3).reshape(self.weight.shape)
        return weight, self.bias - shift

    def _measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and whitening matrix of a batch, which also enter the running values."""
        patches = self._patches(x)
        mean = patches.mean(1)
        centred = patches - mean.unsqueeze(1)
        half = centred.detach().mT @ centred
        # The product with itself, whose two equal gradients cost one product instead of two.
        product = half + half.mT - half.detach()
        identity = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
        delta = inverse_sqrt(product / centred.shape[1] + EPS * identity)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_delta.lerp_(delta, MOMENTUM)
        return mean, delta

    def _patches(self, x: Tensor) -> Tensor:
        """Sampled patches (groups, n, D) of images (N, C, h, w), zero-padded borders included."""
        stride = SAMPLING * self.stride[0]
        if self.kernel_size == (1, 1):
            sampled = x.permute(0, 2, 3, 1).reshape(-1, self.in_channels)[:: stride**2]
        else:
            pad = int(self.padding[0])
            windows = functional.pad(x, (pad,) * 4) if pad else x
            for axis in (2, 3):
                windows = windows.unfold(axis, self.kernel_size[0], stride)
            sampled = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        # Entry f * columns + g of a patch belongs to column g; columns count as further samples.
        shape = len(sampled), self.groups, self.running_mean.shape[1], self.columns
        interleaved = sampled.to(self.weight.dtype).reshape(shape)
        return interleaved.permute(1, 0, 3, 2).reshape(self.groups, -1, shape[2])


def fold(module: nn.Module) -> None:
    """Replace every ``Deconv2d`` inside a module in evaluation mode by the plain convolution that it is, in place.

    Parameters
    ----------
    module : nn.Module
        Changed in place; its outputs stay equal up to rounding.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Deconv2d):
                setattr(parent, name, _plain(child))


@torch.no_grad()
def _plain(layer: Deconv2d) -> nn.Conv2d:
    weight, bias = layer.folded(layer.running_mean, layer.running_delta)
    plain = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,  # type: ignore[arg-type]
        groups=layer.groups, dtype=weight.dtype, device=weight.device,
    )  # fmt: skip
    plain.weight.copy_(weight)
    assert plain.bias is not None
    plain.bias.copy_(bias)
    return plain.eval()
