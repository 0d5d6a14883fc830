"""The networks that classify galaxies: DMAGNet, and others to hold it against.

ConvNeXt has DMAGNet's number of parameters (less 1.7 %) but twice its arithmetic; ResNet-18 has its arithmetic but half
its parameters. With ten classes, and for one image of 128 px (arithmetic grows with the number of pixels):

========  ==========  =============  =============
network   parameters  multiply-adds  FLOPs
========  ==========  =============  =============
dmagnet   23,820,811    595,478,272  1,190,956,544
resnet18  11,181,642    592,183,296  1,184,366,592
convnext  23,413,730  1,225,271,168  2,450,542,336
========  ==========  =============  =============
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from galcli.training.networks.convnext import ConvNeXt
from galcli.training.networks.dmagnet import DMAGNet
from galcli.training.networks.resnet import ResNet18

#: ``NETWORKS[name](classes)`` makes a network with random weights, from normalised images (N, 3, H, W) to logits.
NETWORKS: dict[str, Callable[[int], nn.Module]] = {"dmagnet": DMAGNet, "resnet18": ResNet18, "convnext": ConvNeXt}
