"""From the design of a sparse autoencoder to its network, with what comes before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from galcli.training.networks.dictionaries import Convolutional, Dictionary, Pointwise, Spectral
from galcli.training.networks.sae import SAE, Coded, FeedForward, Lift
from galcli.training.networks.sae_export import patches
from galcli.training.networks.sparsity import (
    BatchTopK,
    Cells,
    JumpReLU,
    Rectified,
    Sparsity,
    TopK,
    TopKAbove,
    TopKCells,
)
from galcli.training.recipes.sae_plan import Design


def build(design: Design) -> SAE:
    """The network with random weights and an offset of 0."""
    sae_dictionary = dictionary(design)
    lift = Lift(design.tokens, design.width, learned=True) if design.lift else None
    encoder = FeedForward(sae_dictionary, sparsity(design))
    return SAE(sae_dictionary, encoder, torch.zeros(design.width), lift)


def dictionary(design: Design) -> Dictionary:
    """Random atoms of norm 1."""
    if design.kind == "mlp":
        return Pointwise(design.width, design.concepts)
    if design.kind == "cnn":
        return Convolutional(design.width, design.concepts, design.extent)
    return Spectral(design.width, design.concepts, design.extent)


def sparsity(design: Design) -> Sparsity:
    """What makes codes sparse: of vectors cell by cell, of maps object by object."""
    vectors = design.kind == "mlp"
    if design.sparsity == "l1":
        return Rectified(design.penalty)
    if design.sparsity == "jumprelu":
        return JumpReLU(design.concepts, design.penalty)
    if design.sparsity == "batchtopk":
        return Cells(BatchTopK(design.active)) if vectors else BatchTopK(design.active)
    if vectors:
        return TopKCells(design.active)
    return TopK(design.active) if design.part >= 1 else TopKAbove(design.concepts, design.active, design.part)


class Prepared(nn.Module):
    """A sparse autoencoder with what comes before it, and how long each of its concepts was not used.

    Parameters
    ----------
    front : nn.Module
        From a batch to data (N, C, H, W).
    design : Design
    """

    idle: Tensor

    def __init__(self, front: nn.Module, design: Design) -> None:
        super().__init__()
        self.front, self.sae, self.patch = front, build(design), design.patch
        self.register_buffer("idle", torch.zeros(design.concepts))

    def data(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """What is coded."""
        return patches(self.front(pixels, valid, front), self.patch)

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> tuple[Tensor, Coded]:
        """Data (N, C, H, W), and what is made of them; arguments as in ``data.Batch``."""
        x = self.data(pixels, valid, front)
        coded: Coded = self.sae(x)
        if self.training:
            self._note(coded.codes)
        return x, coded

    @torch.no_grad()
    def _note(self, codes: Tensor) -> None:
        """Count the objects, or cells of vectors, since each concept was used."""
        used = (codes.detach() != 0).any(3).any(2).any(0)
        cells = codes.shape[2] * codes.shape[3] if isinstance(self.sae.dictionary, Pointwise) else 1
        self.idle.copy_(torch.where(used, 0.0, self.idle + len(codes) * cells))


class Scaled(nn.Module):
    """Inner maps of another network, in units of their scatter.

    Parameters
    ----------
    scatter : float
    """

    scatter: Tensor

    def __init__(self, scatter: float) -> None:
        super().__init__()
        self.register_buffer("scatter", torch.tensor(scatter))

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """Maps (N, C, H, W); they have no fronts."""
        del valid, front
        return pixels / self.scatter
