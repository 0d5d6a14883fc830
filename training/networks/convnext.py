"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545): a plain modern convolutional network, of DMAGNet's number of parameters.

Depths, stem, blocks and initial weights are those published for ConvNeXt-T. Its widths are 11/12 of that network's (88
to 704 channels instead of 96 to 768): the nearest multiple of eight to DMAGNet's 23,820,811 parameters, 1.7 % below.
Left out is stochastic depth, which belongs to the published training, not to the network.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

#: Channels and blocks of the four stages.
WIDTHS, DEPTHS = (88, 176, 352, 704), (3, 3, 9, 3)
#: Initial scale of what a block adds.
LAYER_SCALE = 1e-6
_EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position of maps (N, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7x7 convolution and an inverted bottleneck; what they give is scaled and added.

    Parameters
    ----------
    channels : int
        Channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.project = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        last = self.depthwise(x).permute(0, 2, 3, 1)
        last = self.project(self.act(self.expand(self.norm(last)))) * self.scale
        out: Tensor = x + last.permute(0, 3, 1, 2)
        return out


class ConvNeXt(nn.Module):
    """ConvNeXt with 23,413,730 parameters for 10 classes.

    Parameters
    ----------
    classes : int
    in_channels : int, default 3
        Channels of the image.
    """

    def __init__(self, classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, WIDTHS[0], 4, 4), ChannelNorm(WIDTHS[0], eps=_EPS))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )
        self.halve = nn.ModuleList(
            nn.Sequential(ChannelNorm(before, eps=_EPS), nn.Conv2d(before, after, 2, 2))
            for before, after in pairwise(WIDTHS)
        )
        self.norm = nn.LayerNorm(WIDTHS[-1], eps=_EPS)
        self.fc = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def maps(self, x: Tensor) -> Tensor:
        """Last maps (N, 704, h, w) of images (N, C, H, W) of at least 32 pixels a side; h = floor(H / 32)."""
        x = self.stages[0](self.stem(x))
        for halve, stage in zip(self.halve, self.stages[1:], strict=True):
            x = stage(halve(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, C, H, W)."""
        pooled: Tensor = self.norm(self.maps(x).mean((2, 3)))
        logits: Tensor = self.fc(pooled)
        return logits
