"""The contrastive stage: latents from which the mass is read, contrasted between galaxies (models.md 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from galcli.training.recipes.mass_network import MassNetwork

#: Weight of the reconstruction of images, and of photometry.
RECONSTRUCTION = {True: 100.0, False: 1.0}


@dataclass(frozen=True)
class Look:
    """What the networks make of some galaxies.

    Attributes
    ----------
    x, made : Tensor
        Images or photometry, and their reconstruction.
    logits : Tensor (N, 520)
    tell : Tensor (N, m)
        Latents that tell the mass.
    """

    x: Tensor
    made: Tensor
    logits: Tensor
    tell: Tensor


def look(network: MassNetwork, images: Tensor | None, numbers: Tensor) -> Look:
    """Encode, estimate and decode."""
    assert network.decoder is not None
    latents = network.encode(images, numbers)
    made = network.decoder(latents)
    x = numbers[:, : made.shape[1]] if images is None else images
    return Look(x, made, network.estimator(latents), latents[:, : network.estimator.latents])


def again(network: MassNetwork, first: Look, images: bool, numbers: Tensor) -> Look:
    """The same of a reconstruction, extras as they were."""
    if images:
        return look(network, first.made, numbers)
    return look(network, None, torch.cat([first.made, numbers[:, first.made.shape[1] :]], 1))


def contrast(positives: Sequence[tuple[Tensor, Tensor]], ones: Tensor, others: Tensor) -> Tensor:
    """-ln(P / (P + N)): P = exp(-mean rms) between equal galaxies, N between different ones.

    Parameters
    ----------
    positives : sequence of (Tensor (n, m), Tensor (n, m))
        Latents of the same galaxies.
    ones, others : Tensor (N, m)
        Latents of different galaxies.
    """
    near = torch.cat([_rms(one - other) for one, other in positives]).mean()
    return functional.softplus(near - _rms(ones - others).mean())


def _rms(difference: Tensor) -> Tensor:
    return (difference.square().mean(1) + 1e-12).sqrt()  # a finite gradient at 0


def consistency(first: Tensor, second: Tensor) -> Tensor:
    """Cross-entropy of either posterior in the other, each in turn without gradient; logits (N, 520)."""
    return _into(first, second) + _into(second, first)


def _into(fixed: Tensor, logits: Tensor) -> Tensor:
    return functional.cross_entropy(logits, fixed.detach().softmax(1))


def contrastive_loss(
    network: MassNetwork, images: Tensor | None, turned: Tensor | None, numbers: Tensor, bins: Tensor
) -> Tensor:
    """Loss of a batch whose two halves are different galaxies.

    Parameters
    ----------
    network : MassNetwork
        With a decoder.
    images, turned : Tensor (2n, B, 64, 64) or None
        Images, and the same in other orientations.
    numbers : Tensor (2n, K)
    bins : Tensor (2n,), int64
        Of the true mass.

    Returns
    -------
    Tensor
        Cross-entropy + weight * reconstruction + contrast + consistency; sums over the two halves of means over each.
    """
    first = look(network, images, numbers)
    looks = [again(network, first, images is not None, numbers)]
    targets = [first.x]  # a reconstruction of a reconstruction is held against the galaxy itself
    entropy = functional.cross_entropy(first.logits, bins) + functional.cross_entropy(looks[0].logits, bins)
    if turned is not None:
        looks.append(look(network, turned, numbers))
        targets.append(turned)
    made = functional.mse_loss(first.made, first.x)
    for one, x in zip(looks, targets, strict=True):
        made = made + functional.mse_loss(one.made, x)
    agreement = torch.stack([consistency(first.logits, one.logits) for one in looks]).sum()
    half = len(bins) // 2
    apart = contrast([(first.tell, one.tell) for one in looks], first.tell[:half], first.tell[half : 2 * half])
    # Both halves count: twice the mean over all.
    return 2 * entropy + 2 * RECONSTRUCTION[images is not None] * made + apart + 2 * agreement
