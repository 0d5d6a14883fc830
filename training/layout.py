"""How the weights of networks lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def channels_last(module: nn.Module) -> nn.Module:
    """Lay kernels as convolutions want them on the CPU, in place; torch refuses modules that hold tensors of five axes."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module
