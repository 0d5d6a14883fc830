"""Networks from images to spectra (Wu & Peek 2020, arXiv:2009.12318): an xresnet18, with batch norm or deconvolution.

Beyond a ResNet-18: a stem of 3x3 convolutions, grouped convolutions, squeeze-excite, one self-attention, Mish.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from galcli.training.networks.deconvolution import Deconv2d, fold

#: What follows a convolution ("batch"), or precedes it ("deconv").
Norm = Literal["batch", "deconv"]
#: Groups of the first convolution of each block.
GROUPS = 64
#: Squeeze-excite: its hidden channels are 8 for each 64 channels begun.
HIDDEN = 8
#: Channels of the four stages.
STAGES = (64, 128, 256, 512)


def normed(
    norm: Norm, before: int, after: int, kernel: int = 3, stride: int = 1, padding: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution between two numbers of channels, and its normalisation."""
    if norm == "deconv":
        return [Deconv2d(before, after, kernel, stride, padding, groups)]
    scale = nn.BatchNorm2d(after)
    nn.init.constant_(scale.bias, 1e-3)
    return [nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False), scale]


class SqueezeExcite(nn.Module):
    """Each channel times a factor in 0 to 1 that depends on the averages of all channels.

    Parameters
    ----------
    channels : int
        Channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = HIDDEN * -(-channels // 64)
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.Mish(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        out: Tensor = x * self.excite(x)
        return out


class SelfAttention(nn.Module):
    """gamma (X X^T) (W X) + X for X of shape C x pixels: no softmax, no scaling.

    Parameters
    ----------
    channels : int
        Channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, channels, bias=False)
        nn.init.kaiming_normal_(self.mix.weight)
        parametrizations.spectral_norm(self.mix)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape; computed in the dtype of the weights also under autocast."""
        weight = self.mix.weight
        with torch.autocast(x.device.type, enabled=False):
            flat = x.permute(0, 2, 3, 1).flatten(1, 2).to(weight.dtype)
            # Sums of squares over thousands of pixels; C x C matrices first.
            gram = flat.transpose(1, 2) @ flat
            attended = flat + flat @ (self.gamma * (gram @ weight)).transpose(1, 2)
        return attended.transpose(1, 2).reshape(x.shape).to(x.dtype)


class Block(nn.Module):
    """Residual block.

    Parameters
    ----------
    norm : {"batch", "deconv"}
        Normalisation of its convolutions.
    in_channels, out_channels : int
        Channels before and after.
    stride : int
        1 or 2.
    attention : bool
        Whether self-attention follows squeeze-excite.
    """

    def __init__(self, norm: Norm, in_channels: int, out_channels: int, stride: int, attention: bool) -> None:
        super().__init__()
        last = normed(norm, out_channels, out_channels)
        if isinstance(last[-1], nn.BatchNorm2d):
            nn.init.zeros_(last[-1].weight)  # the block starts as its shortcut
        self.path = nn.Sequential(
            *normed(norm, in_channels, out_channels, stride=stride, groups=GROUPS), nn.Mish(),
            *last, SqueezeExcite(out_channels), *([SelfAttention(out_channels)] if attention else []),
        )  # fmt: skip
        self.shortcut = nn.Sequential(
            *([nn.AvgPool2d(2, ceil_mode=True)] if stride > 1 else []),
            *(normed(norm, in_channels, out_channels, kernel=1, padding=0) if in_channels != out_channels else []),
        )
        self.act = nn.Mish()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h / stride, w / stride), rounding up."""
        out: Tensor = self.act(self.path(x) + self.shortcut(x))
        return out


def xresnet18(stem: Norm, body: Norm, in_channels: int) -> nn.Sequential:
    """Images (N, C, H, W) to maps (N, 512, H / 32, W / 32)."""
    layers: list[nn.Module] = []
    for before, after, stride in ((in_channels, 32, 2), (32, 32, 1), (32, 64, 1)):
        layers += [*normed(stem, before, after, stride=stride), nn.Mish()]
    layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    for number, (before, width) in enumerate(zip((64, *STAGES), STAGES, strict=False)):
        first = Block(body, before, width, 2 if number else 1, attention=False)
        layers.append(nn.Sequential(first, Block(body, width, width, 1, attention=number == 0)))
    return nn.Sequential(*layers)


def simple(norm: Norm, padding: int, in_channels: int) -> nn.Sequential:
    """Three convolutions: images (N, C, H, W) to maps (N, 64, H / 4, W / 4)."""
    layers: list[nn.Module] = []
    for before, after, stride in ((in_channels, 32, 2), (32, 32, 2), (32, 64, 1)):
        layers += [*normed(norm, before, after, stride=stride, padding=padding), nn.ReLU()]
    return nn.Sequential(*layers)


class Kind(NamedTuple):
    """One of the published networks.

    Attributes
    ----------
    body : callable
        ``body(in_channels)`` makes the layers up to the last maps.
    width : int
        Channels of the last maps.
    lr : float
        Published maximum learning rate.
    """

    body: Callable[[int], nn.Sequential]
    width: int
    lr: float


NETWORKS = {
    "xresnet18-hybrid": Kind(lambda channels: xresnet18("deconv", "batch", channels), STAGES[-1], 0.03),
    "xresnet18": Kind(lambda channels: xresnet18("batch", "batch", channels), STAGES[-1], 0.03),
    "xresnet18-deconv": Kind(lambda channels: xresnet18("deconv", "deconv", channels), STAGES[-1], 0.003),
    "simple-cnn": Kind(lambda channels: simple("batch", 1, channels), 64, 0.03),
    "simple-deconv": Kind(lambda channels: simple("deconv", 0, channels), 64, 0.03),
}


class ConvNet(nn.Module):
    """Convolutions, average over the last maps, linear layer.

    Parameters
    ----------
    body : nn.Sequential
        Layers up to the last maps.
    width : int
        Channels of the last maps.
    n_out : int
        Outputs.
    dropout : float, default 0
        Share of the pooled features that training sets to 0.
    """

    def __init__(self, body: nn.Sequential, width: int, n_out: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, n_out)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) or module is self.fc:
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features and the maps they are the averages of.

        Parameters
        ----------
        x : Tensor (N, C, H, W)
            Normalised image, at least 32 pixels a side.

        Returns
        -------
        pooled : Tensor (N, width)
        maps : Tensor (N, width, h, w)
            The last maps, in the dtype of the weights also under autocast.
        """
        maps = self.body(x).to(self.fc.weight.dtype)
        return maps.mean((2, 3)), maps

    def head(self, pooled: Tensor) -> Tensor:
        """Dropout and linear layer on pooled features (N, width): y (N, n_out), in the dtype of the weights."""
        with torch.autocast(pooled.device.type, enabled=False):
            y: Tensor = self.fc(self.dropout(pooled))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to y (N, n_out)."""
        return self.head(self.features(x)[0])


def build(name: str, in_channels: int = 5, n_out: int = 6, dropout: float = 0.0) -> ConvNet:
    """A network of ``NETWORKS`` with random weights.

    Parameters
    ----------
    name : str
        Key of ``NETWORKS``.
    in_channels, n_out : int
        Bands and outputs.
    dropout : float, default 0
        As for ``ConvNet``.

    Returns
    -------
    ConvNet
    """
    kind = NETWORKS[name]
    return ConvNet(kind.body(in_channels), kind.width, n_out, dropout)


class PlainMish(nn.Module):
    """Mish, x tanh(ln u) with u = 1 + e^x, without the logarithm: slow, and its last digit depends on the rows beside."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor to one of the same shape."""
        # tanh(ln u) = (1 - 1/u^2) / (1 + 1/u^2), and 1/u = 1 - s.
        s = torch.sigmoid(x)
        square = s * (2 - s)
        return x * square / (2 - square)


def prepare_for_export(module: nn.Module) -> None:
    """Leave plain convolutions, plain weights and plain operators; to be followed by ``export.freeze``.

    Parameters
    ----------
    module : nn.Module
        Holds networks of this file; goes to evaluation mode and is changed in place, its outputs only by rounding.
    """
    module.eval()
    fold(module)
    for part in list(module.modules()):
        if isinstance(part, SelfAttention):
            # A new layer: removing the parametrisation would change the class, which copies of the network share.
            plain = nn.Linear(part.mix.in_features, part.mix.out_features, bias=False)
            plain.weight = nn.Parameter(part.mix.weight.detach().clone())
            part.mix = plain
        for name, child in part.named_children():
            if isinstance(child, nn.Mish):
                setattr(part, name, PlainMish())
