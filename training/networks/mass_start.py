"""How networks for stellar mass begin so that all of their layers learn from the first step on.

As published (Glorot weights, biases of 0.1, leaky slope 0.2) each layer hands on about half of the variance that it gets,
and after twenty the inputs are lost in the biases: what only two inputs together tell takes ten times the steps.
"""

from __future__ import annotations

import torch
from torch import nn

from galcli.training.networks.mass import SLOPE

#: Logits begin with this part of the scatter that other layers have: near equal chances for all bins.
_LOGITS = 0.1


@torch.no_grad()
def keep_size(network: nn.Module, logits: nn.Linear) -> None:
    """Bring all layers to weights that keep the size of signals (He et al. 2015, arXiv:1502.01852), in place.

    Parameters
    ----------
    network : nn.Module
        Its biases begin at 0.
    logits : nn.Linear
        Its last layer.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    logits.weight.mul_(_LOGITS)
