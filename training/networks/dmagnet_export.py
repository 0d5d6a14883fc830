"""DMAGNet as it is exported: from pixels on the model's grid to the columns of the table."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.calibrate import Domain
from galcli.training.networks.calibrated import LANES, Distance
from galcli.training.networks.dmagnet import HIDDEN, DMAGNet
from galcli.training.networks.resnet import cell_centers
from galcli.training.pixels import Pixels

#: Names of what ``ExportedDMAGNet.forward`` returns.
OUTPUTS = (
    "class", "prob", "entropy", "att_dx", "att_dy", "rf", "ood", "inner/logits", "inner/pooled", "inner/attention",
    "inner/lam", "inner/branches", "inner/maps",
)  # fmt: skip


class ExportedDMAGNet(nn.Module):
    """Pixels, network, calibrated probabilities, domain, and where the network looked, in one module.

    Parameters
    ----------
    pixels : Pixels
        Colour mapping and normalisation.
    network : DMAGNet
    size : int
        Pixels along a side of the model's grid.
    pixel_scale : float
        Arcsec per pixel of the grid.
    """

    temperature: Tensor
    east: Tensor
    north: Tensor

    def __init__(self, pixels: Pixels, network: DMAGNet, size: int, pixel_scale: float) -> None:
        super().__init__()
        self.pixels, self.network = pixels, network
        self.distance = Distance(HIDDEN, len(pixels.fronts))
        # Strides and paddings are those of a ResNet, and so are the centres of the cells.
        offset = (torch.tensor(cell_centers(size)) - (size - 1) / 2) * pixel_scale
        north, east = torch.meshgrid(offset, -offset, indexing="ij")
        self.register_buffer("north", north)
        self.register_buffer("east", east)
        self.calibrate([1.0] * len(pixels.fronts))

    def calibrate(self, temperature: list[float], domain: Domain | None = None) -> None:
        """Take over the temperature of each front, and the extent of the training sample."""
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))
        if domain is not None:
            self.distance.set(domain)

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> tuple[Tensor, ...]:
        """All outputs, in the order of ``OUTPUTS``.

        Parameters
        ----------
        pixels : Tensor (N, 3, S, S)
            0 where there is no data.
        valid : Tensor (N, 1, S, S)
        front : Tensor (N,), int64
        """
        seen = self.network.trace(self.pixels(pixels, valid, front))
        scaled = seen.logits / self.temperature[front].unsqueeze(1)
        prob = scaled.softmax(1)
        # Filled up to whole registers, a sum does not depend on where in a batch a row stands.
        surprise = functional.pad(prob * scaled.log_softmax(1), (0, -prob.shape[1] % LANES))
        centroid = [(seen.attention * offset).sum((1, 2)) for offset in (self.east, self.north)]
        return (
            seen.logits.argmax(1).to(torch.int16), prob, -surprise.sum(1), *centroid, seen.shares[-1],
            self.distance(seen.hidden, front), seen.logits, seen.hidden, seen.attention, seen.lam,
            torch.stack(seen.shares, 1), seen.maps,
        )  # fmt: skip
