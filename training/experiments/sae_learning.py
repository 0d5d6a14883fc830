"""SAE-MLP, SAE-CNN and SAE-FNO trained alike on small images, and what their concepts look like.

Data, steps, batches, concepts and active concepts are the same for all three, and so is how fast their weights change:
Adam moves every weight by about the rate, which is therefore given in units of the weights' scatter, because atoms of
norm 1 have small entries where they have many. Codes are those of the training: the K strongest concepts, and of
their maps the part rho with the largest values, as in equation 3 of the paper, on whatever grid. Fixed thresholds on
values do not serve here: with so few cells in each map they let through ten times too many of bright objects.

The same K does not mean as many codes. With K = 8 an image has 8 that are not 0 in SAE-MLP; in SAE-CNN and SAE-FNO it has
8 maps x rho x 256 px = 64 (quick), whose places are free. Errors at the same K are therefore not those of equal codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from galcli.training.networks.dictionaries import Convolutional, Dictionary, Pointwise, Spectral
from galcli.training.networks.sae import SAE, FeedForward
from galcli.training.networks.sparsity import TopK, TopKCells, energy
from galcli.training.seeds import generator, mix

#: What the paper calls the kinds.
KINDS = {"mlp": "SAE-MLP", "cnn": "SAE-CNN", "fno": "SAE-FNO"}
#: Steps over which the rate rises; afterwards it falls as a cosine.
WARM = 20
#: Scatter of weights that belong to no atom, for their rate.
OWN = 0.05
#: A concept counts as used by an image from this part of the energy of the image's codes on.
USED = 0.01
#: Pixels coded at once outside training.
AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Learning:
    """Sizes of a training.

    Attributes
    ----------
    images : int
        At most; a fifth of them is held out, and measured on.
    side : int
        Pixels along a side.
    concepts, active : int
        p and K.
    part : float
        rho: part of a map in which a concept may be active; whole cells of every grid, so that it is the same on all.
    modes : int
        M of SAE-FNO.
    support : int
        Side of the kernels of SAE-CNN.
    steps, batch : int
    rate : float
        Largest change per step, in units of the scatter of the weights.
    """

    images: int
    side: int
    concepts: int
    active: int
    part: float
    modes: int
    support: int
    steps: int
    batch: int
    rate: float


#: Sizes by preset.
QUICK = Learning(2560, 16, 64, 8, 1 / 32, 5, 5, 600, 16, 0.1)
FULL = Learning(12_800, 48, 64, 8, 1 / 32, 16, 11, 3200, 64, 0.1)


@dataclass(frozen=True)
class Learned:
    """A trained autoencoder.

    Attributes
    ----------
    kind : str
        Key of `KINDS`.
    model : SAE
        Of cells that are whole images: SAE-MLP; of images: the others.
    side : int
        Pixels along a side of the images it was trained on.
    """

    kind: str
    model: SAE
    side: int

    @torch.no_grad()
    def codes(self, images: Tensor) -> Tensor:
        """Codes (N, p, h, w) of images (N, C, H, W); h and w are H and W, or as many as images of `side` fit in."""
        codes: Tensor = self.model(self._data(images)).codes
        return codes

    @torch.no_grad()
    def made(self, images: Tensor) -> Tensor:
        """Reconstruction of images (N, C, H, W)."""
        step = max(1, AT_ONCE // images[0, 0].numel())
        return torch.cat([self._images(self.model.decode(self.codes(part))) for part in torch.split(images, step)])

    def strengths(self, images: Tensor) -> Tensor:
        """Energy of every concept in each of the images, (N, p)."""
        step = max(1, AT_ONCE // images[0, 0].numel())
        return torch.cat([energy(self.codes(part)) for part in torch.split(images, step)])

    @torch.no_grad()
    def atoms(self) -> Tensor:
        """Concepts as images (p, C, S, S): SAE-MLP and SAE-FNO on the grid of the training, SAE-CNN as far as they reach."""
        dictionary = self.model.dictionary
        if isinstance(dictionary, Spectral):
            return dictionary.kernels(self.side).roll((self.side // 2, self.side // 2), (2, 3))
        weight = dictionary.weight.detach()
        return weight if weight.ndim == 4 else weight.reshape(len(weight), -1, self.side, self.side)

    def _data(self, images: Tensor) -> Tensor:
        return functional.pixel_unshuffle(images, self.side) if self.kind == "mlp" else images

    def _images(self, data: Tensor) -> Tensor:
        return functional.pixel_shuffle(data, self.side) if self.kind == "mlp" else data


def learn(kind: str, images: Tensor, plan: Learning, seed: int) -> Learned:
    """Train one autoencoder; it minimises the fraction of variance unexplained.

    Parameters
    ----------
    kind : str
        Key of `KINDS`.
    images : Tensor (N, C, S, S)
    plan : Learning
    seed : int
        Of the weights and of the batches, which are the same for all kinds.
    """
    torch.manual_seed(mix(seed, 0))
    learned = Learned(kind, _begin(kind, images, plan).to(images.device), images.shape[-1])
    data, model = learned._data(images), learned.model
    assert isinstance(model.encoder, FeedForward)
    atoms = [model.dictionary.weight, model.encoder.weights.weight]
    others = [one for one in model.parameters() if all(one is not atom for atom in atoms)]
    scatter = float(atoms[0].detach().square().mean().sqrt())
    groups = [{"params": atoms, "lr": plan.rate * scatter}, {"params": others, "lr": plan.rate * OWN}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _course(step, plan.steps))
    variance, random = _variance(images), generator(seed, 1)
    for _ in range(plan.steps):
        x = data[torch.randint(len(data), (plan.batch,), generator=random).to(data.device)]
        loss = (model(x).data - x).square().mean() / variance
        optimizer.zero_grad()
        loss.backward()
        model.dictionary.keep_norms_()
        optimizer.step()
        model.dictionary.normalise_()
        schedule.step()
    model.eval()
    return learned


def split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images to learn from, and the fifth that is held out."""
    known = len(images) - len(images) // 5
    return images[:known], images[known:]


def unexplained(learned: Learned, images: Tensor) -> float:
    """Fraction of the variance about the mean of each channel that the reconstruction leaves over."""
    return float((learned.made(images) - images).square().mean() / _variance(images))


def used(strengths: Tensor) -> Tensor:
    """Fraction of the images that use each concept, (p,), out of their energies (N, p)."""
    total = strengths.sum(1, keepdim=True)
    return ((strengths > USED * total) & (strengths > 0)).float().mean(0)


def hoyer(atoms: Tensor) -> Tensor:
    """Hoyer's sparsity of each atom (p, ...): 1 with a single entry, 0 where all have the same size; (p,)."""
    flat = atoms.flatten(1)
    root = math.sqrt(flat.shape[1])
    scores: Tensor = (root - flat.abs().sum(1) / flat.square().sum(1).sqrt()) / (root - 1)
    return scores


def pictures(atoms: Tensor, order: Tensor) -> list[list[list[int]]]:
    """The middle channel of chosen atoms (p, C, S, S), in per cent of its largest size, for a JSON file."""
    chosen = atoms[order, atoms.shape[1] // 2]
    whole: list[list[list[int]]] = (100 * chosen / chosen.abs().amax((1, 2), keepdim=True)).round().int().tolist()
    return whole


def _begin(kind: str, images: Tensor, plan: Learning) -> SAE:
    """Random atoms of norm 1, and the mean of the data."""
    channels = images.shape[1]
    if kind == "mlp":
        vectors = Pointwise(channels * images.shape[-1] ** 2, plan.concepts)
        return SAE(vectors, FeedForward(vectors, TopKCells(plan.active)), images.mean(0).flatten())
    kernels: Dictionary = (
        Convolutional(channels, plan.concepts, plan.support)
        if kind == "cnn"
        else Spectral(channels, plan.concepts, plan.modes)
    )
    sparsity = TopK(plan.active, plan.part)
    return SAE(kernels, FeedForward(kernels, sparsity), images.mean((0, 2, 3)))


def _course(step: int, steps: int) -> float:
    """Rate of a step over the largest."""
    return min(1.0, (step + 1) / WARM) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _variance(images: Tensor) -> Tensor:
    return (images - images.mean((0, 2, 3), keepdim=True)).square().mean()
