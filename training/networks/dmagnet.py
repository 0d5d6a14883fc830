"""DMAGNet, the dynamic multi-scale attention network for galaxy morphology (models.md 5.2).

The paper gives the parameters of each stage but not the inside of its blocks. Those below are the ones of models.md
5.2: they reproduce every published count, normalise everywhere, and fit the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

#: Sizes of the three branches of a block's dynamic large kernel: 3x3 kernels spread by these dilations.
DILATIONS = (1, 2, 3)
#: Names of these branches.
BRANCHES = ("small", "medium", "large")
#: Stages whose maps ``DMAGNet.layer`` gives, from the image upwards.
LAYERS = ("stem", "dma1", "dma2", "dma3", "lam")
#: Channels of the stem and of the three stages.
STAGES = (64, 128, 256, 512)
#: Channels of the last maps, and of the features that the attention pools.
LAM_WIDTH, POOLED = 1024, 256
#: Width of the last hidden layer.
HIDDEN = 128


def normed(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias between two numbers of channels, and its batch norm."""
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after)]


def depthwise(channels: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """One kernel per channel; the size of the maps stays."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)


class DynamicLargeKernel(nn.Module):
    """Three receptive fields side by side; the image decides, channel by channel, how much of each is used.

    Parameters
    ----------
    channels : int
        Channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(depthwise(channels, 3, dilation), *normed(channels, channels, 1), nn.ReLU())
            for dilation in DILATIONS
        )
        self.selector = nn.Conv2d(channels, len(DILATIONS) * channels, 1)
        self.fuse = nn.Conv2d(len(DILATIONS) * channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the same shape (N, C, h, w), and the share (N, 3, C) of each branch in each channel (sum 1)."""
        branches = [branch(x) for branch in self.branches]
        summed = branches[0] + branches[1] + branches[2]
        logits = self.selector(summed.mean((2, 3), keepdim=True)).float()
        shares = torch.unflatten(logits.flatten(1), 1, (len(DILATIONS), -1)).softmax(1)
        scaled = [branch * share[..., None, None] for branch, share in zip(branches, shares.unbind(1), strict=True)]
        return self.fuse(torch.cat(scaled, 1)), shares


class MultiScaleFFN(nn.Module):
    """Channels are mixed, looked at through 3x3 and 5x5 kernels, and mixed again; the residual is added.

    Parameters
    ----------
    channels : int
        Channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Sequential(*normed(channels, wide, 1), nn.ReLU())
        self.scales = nn.ModuleList(
            nn.Sequential(depthwise(wide, kernel), nn.BatchNorm2d(wide), nn.ReLU()) for kernel in (3, 5)
        )
        self.project = nn.Sequential(*normed(2 * wide, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        wide = self.expand(x)
        out: Tensor = x + self.project(torch.cat([scale(wide) for scale in self.scales], 1))
        return out


class AttentionalFusion(nn.Module):
    """Each channel is raised by a factor in 1 to 2 that depends on the averages of all channels.

    Parameters
    ----------
    channels : int
        Channels, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.excite = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        out: Tensor = x + x * self.excite(x.mean((2, 3), keepdim=True))
        return out


class Block(nn.Module):
    """Dynamic multi-scale attention block.

    Parameters
    ----------
    before, after : int
        Channels, in and out.
    stride : int
        1 or 2.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.entry = nn.Sequential(*normed(before, after, 3, stride), nn.ReLU())
        self.kernel = DynamicLargeKernel(after)
        self.ffn = MultiScaleFFN(after)
        self.fusion = AttentionalFusion(after)
        widens = before != after or stride != 1
        self.shortcut = nn.Conv2d(before, after, 1, stride) if widens else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, h, w) to (N, C', h / stride, w / stride), rounding up; and the shares (N, 3, C') of branches."""
        entered = self.entry(x)
        mixed, shares = self.kernel(entered)
        fused = self.fusion(self.ffn(entered + mixed))
        return torch.relu(fused + self.shortcut(x)), shares


class Stage(nn.Module):
    """One or two blocks, of which the first halves the maps and widens them.

    Parameters
    ----------
    before, after : int
        Channels, in and out.
    blocks : int
    """

    def __init__(self, before: int, after: int, blocks: int) -> None:
        super().__init__()
        widths = [before] + [after] * blocks
        self.blocks = nn.ModuleList(
            Block(first, second, 1 if number else 2) for number, (first, second) in enumerate(pairwise(widths))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, C', h / 2, w / 2), and the shares (N, 3) of small, medium and large kernels, averaged."""
        shares = []
        for block in self.blocks:
            x, share = block(x)
            shares.append(share.mean(2))
        return x, torch.stack(shares).mean(0)


class LocalAttention(nn.Module):
    """Attention map over the last maps: what it marks counts up to twice.

    Parameters
    ----------
    before, after : int
        Channels, in and out.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(*normed(before, after, 3), nn.ReLU())
        self.attend = nn.Sequential(
            nn.Conv2d(after, after // 4, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(after // 4, after, 1),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, C', h, w), and the attention (N, h, w), averaged over channels."""
        wide = self.widen(x)
        attention = self.attend(wide)
        # A mean over rows of a matrix does not depend on where in a batch a galaxy stands, over the channels of maps it does.
        average = attention.permute(0, 2, 3, 1).reshape(-1, attention.shape[1]).mean(1)
        return wide + wide * attention, average.reshape(attention[:, 0].shape)


class Head(nn.Module):
    """Attention pooling over positions, one hidden layer, logits.

    Parameters
    ----------
    channels, classes : int
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(*normed(channels, POOLED, 3), nn.ReLU())
        self.score = nn.Sequential(nn.Conv2d(POOLED, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 1))
        self.hidden = nn.Sequential(nn.Linear(POOLED, HIDDEN), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(HIDDEN, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, classes), hidden features (N, 128), and the weight (N, h, w) of each position (sum 1)."""
        maps = self.reduce(x)
        scores = self.score(maps)
        weights = scores.float().flatten(1).softmax(1)
        pooled = (maps.flatten(2).float() * weights.unsqueeze(1)).sum(2)
        with torch.autocast(pooled.device.type, enabled=False):
            hidden = self.hidden(pooled)
            logits: Tensor = self.fc(self.dropout(hidden))
        return logits, hidden, weights.reshape(scores[:, 0].shape)


@dataclass
class Trace:
    """What the network saw in a batch.

    Attributes
    ----------
    logits : Tensor (N, classes)
    hidden : Tensor (N, 128)
        Penultimate features.
    attention : Tensor (N, h, w)
        Weight of each position in the pooling; sums to 1.
    lam : Tensor (N, h, w)
        Attention map of the last maps, 0 to 1, averaged over channels.
    shares : list of 3 Tensors (N, 3)
        Use of small, medium and large kernels in each stage; each row sums to 1.
    maps : Tensor (N, 1024, h, w)
        Last maps, raised by their attention: what the head sees.
    """

    logits: Tensor
    hidden: Tensor
    attention: Tensor
    lam: Tensor
    shares: list[Tensor]
    maps: Tensor


class DMAGNet(nn.Module):
    """The published network: 23,820,811 parameters for ten classes.

    Parameters
    ----------
    classes : int
    in_channels : int, default 3
    """

    def __init__(self, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, STAGES[0], 7, 2, 3, bias=False), nn.BatchNorm2d(STAGES[0]), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.dma1 = Stage(STAGES[0], STAGES[1], 2)
        self.dma2 = Stage(STAGES[1], STAGES[2], 1)
        self.dma3 = Stage(STAGES[2], STAGES[3], 2)
        self.lam = LocalAttention(STAGES[3], LAM_WIDTH)
        self.head = Head(LAM_WIDTH, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # by inputs: by its one output, scores would begin saturated
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def trace(self, x: Tensor) -> Trace:
        """All that can be told about images (N, C, H, W) of at least 32 pixels a side."""
        x = self.stem(x)
        shares = []
        for stage in (self.dma1, self.dma2, self.dma3):
            x, share = stage(x)
            shares.append(share)
        x, lam = self.lam(x)
        logits, hidden, attention = self.head(x)
        return Trace(logits, hidden, attention, lam, shares, x)

    def layer(self, x: Tensor, name: str) -> Tensor:
        """Maps (N, C', h, w) of one of ``LAYERS``; what lies above is not computed.

        Raises
        ------
        ValueError
            For an unknown layer.
        """
        if name not in LAYERS:
            raise ValueError(f"unknown layer {name!r}; known: {', '.join(LAYERS)}")
        x = self.stem(x)
        for step in LAYERS[1 : LAYERS.index(name) + 1]:
            x = getattr(self, step)(x)[0]
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, C, H, W)."""
        return self.trace(x).logits
