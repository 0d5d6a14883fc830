"""ResNet-18 (He et al. 2016, arXiv:1512.03385) with the parameter names of torchvision.

The names matter: a torchvision checkpoint loads strictly, without any renaming, and every file written here can be
read back by torchvision.
"""

from __future__ import annotations

from torch import Tensor, nn

#: Channels of the last feature map.
WIDTH = 512
#: Input pixels per cell of the last feature map.
STRIDE = 32


def cell_centers(size: int) -> list[float]:
    """Input pixel on which each cell of the last map is centred, along one axis.

    Every convolution and the pooling pad symmetrically and sample their input at multiples of the stride, so cell i
    looks at pixel 32 i: the grid of cells is *not* symmetric about the image centre ((size - 1) / 2).

    Parameters
    ----------
    size : int
        Pixels of the input along the axis.

    Returns
    -------
    list of float
        One pixel coordinate per cell (0 = centre of the first pixel).
    """
    cells = size
    for _ in range(5):  # conv1, maxpool and three strided stages: each halves, rounding up
        cells = (cells + 1) // 2
    return [float(STRIDE * cell) for cell in range(cells)]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual that is added.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    stride : int
        Stride of the first convolution; a 1x1 convolution brings the residual to the new shape where it changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h / stride, w / stride)."""
        residual = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)) + residual)
        return out


class ResNet18(nn.Module):
    """ResNet-18 whose 122 state-dict names equal torchvision's.

    Parameters
    ----------
    n_out : int
        Outputs of the last linear layer.
    in_channels : int, default 3
        Channels of the image.
    """

    def __init__(self, n_out: int, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, WIDTH, 2), BasicBlock(WIDTH, WIDTH, 1))
        self.fc = nn.Linear(WIDTH, n_out)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, x: Tensor) -> Tensor:
        """Last feature map.

        Parameters
        ----------
        x : Tensor (N, C, H, W)
            Normalised image.

        Returns
        -------
        Tensor (N, 512, h, w)
            Non-negative; h = ceil(H / 32). In the dtype of the weights also under autocast.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.to(self.fc.weight.dtype)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features and the map they are the average of.

        Parameters
        ----------
        x : Tensor (N, C, H, W)
            Normalised image.

        Returns
        -------
        pooled : Tensor (N, 512)
            Non-negative averages over the map.
        maps : Tensor (N, 512, h, w)
            The last feature map.
        """
        maps = self.maps(x)
        return maps.mean((2, 3)), maps

    def head(self, pooled: Tensor) -> Tensor:
        """Last linear layer on pooled features (N, 512): y (N, n_out)."""
        # Product and sum instead of a matmul, which autocast would run in bfloat16: there 12 + log(O/H) near 8.7
        # has steps of 0.06 dex.
        return (pooled.unsqueeze(1) * self.fc.weight).sum(2) + self.fc.bias

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the dense network: image (N, C, H, W) to y (N, n_out)."""
        pooled, _ = self.features(x)
        return self.head(pooled)
