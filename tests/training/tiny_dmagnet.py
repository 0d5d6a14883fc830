"""Model files of DMAGNets with random weights, in their full shape: an export costs seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from galcli.models.card import Card
from galcli.training import export
from galcli.training.networks.dmagnet import DMAGNet
from galcli.training.networks.dmagnet_export import OUTPUTS, ExportedDMAGNet
from galcli.training.pixels import FRONTS, Pixels

SIZE, PIXEL_SCALE = 64, 0.5
MEAN, STD = [0.1, 0.15, 0.2], [0.2, 0.25, 0.3]


def sample(count: int) -> dict[str, torch.Tensor]:
    """Random images through every front."""
    draw = torch.Generator().manual_seed(count)
    return {
        "pixels": torch.rand(count, 3, SIZE, SIZE, generator=draw) ** 4,
        "valid": torch.ones(count, 1, SIZE, SIZE),
        "front": torch.arange(count) % len(FRONTS),
    }


def network(classes: int, pixels: Pixels) -> DMAGNet:
    """Random weights whose batch norms know the random images, and of which no layer is idle."""
    torch.manual_seed(1)
    made = DMAGNet(classes)
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 1.0
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.1)
            elif isinstance(part, torch.nn.Linear):
                part.weight.mul_(2)
        made.dma1.blocks[0].shortcut.bias.normal_()  # other biases stay 0: the exporter leaves them out
        made.dma2.blocks[0].kernel.selector.bias.normal_()
        made.dma3.blocks[0].kernel.selector.bias.normal_()  # large enough for half precision
        made.train()(pixels(**sample(8)))
    return made


def make(
    path: Path, card: Card, classes: int, change: Callable[[Pixels, DMAGNet], Any] = lambda pixels, network: None
) -> tuple[ExportedDMAGNet, onnx.ModelProto]:
    """Write a model file, of a network that may be changed before; gives what it was made of."""
    pixels = Pixels(FRONTS, MEAN, STD, PIXEL_SCALE)
    inside = network(classes, pixels)
    change(pixels, inside)
    module = ExportedDMAGNet(pixels, inside, SIZE, PIXEL_SCALE)
    export.freeze(module, sample(2))
    graph = export.to_onnx(module, sample(2), OUTPUTS)
    export.save(graph, card, path)
    return module, graph
