"""Sparse autoencoders of maps: data = dictionary of concepts applied to sparse codes (models.md 4.1).

The dictionary says what kind it is: `Pointwise` SAE-MLP, `Convolutional` SAE-CNN, `Spectral` SAE-FNO. The encoder is
one layer with weights of its own, or steps of a descent with those of the dictionary. Data may be lifted to more channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galcli.training.networks.dictionaries import Dictionary
from galcli.training.networks.sparsity import Sparsity


class Coded(NamedTuple):
    """What an autoencoder makes of data.

    Attributes
    ----------
    before : Tensor (N, p, H, W)
        What the sparsity was given.
    codes : Tensor (N, p, H, W)
    data : Tensor (N, C, H, W)
        Reconstruction.
    """

    before: Tensor
    codes: Tensor
    data: Tensor


class Lift(nn.Module):
    """Data in more channels, L x, and back: P x. They begin orthonormal and tied: P = L^T, P L = 1.

    Parameters
    ----------
    channels, width : int
        Before and after; width >= channels.
    learned : bool
        Let both change, each for itself; else they stay as they begin.
    """

    def __init__(self, channels: int, width: int, *, learned: bool = False) -> None:
        super().__init__()
        frame = torch.linalg.qr(torch.randn(width, channels)).Q
        self.up = nn.Parameter(frame, requires_grad=learned)
        self.down = nn.Parameter(frame.t().clone(), requires_grad=learned)

    def raise_(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, width, H, W)."""
        return torch.einsum("wc,nchx->nwhx", self.up, x)

    def lower(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to (N, C, H, W)."""
        return torch.einsum("cw,nwhx->nchx", self.down, x)


class FeedForward(nn.Module):
    """One layer, z = sparsity(E x + b), whose weights begin as those of the dictionary.

    Parameters
    ----------
    dictionary : Dictionary
    sparsity : Sparsity
    """

    def __init__(self, dictionary: Dictionary, sparsity: Sparsity) -> None:
        super().__init__()
        self.weights = copy.deepcopy(dictionary)
        self.bias = nn.Parameter(torch.zeros(len(dictionary.weight), 1, 1))
        self.sparsity = sparsity

    def forward(self, x: Tensor, dictionary: Dictionary) -> tuple[Tensor, Tensor]:
        """What the sparsity is given, and the codes, both (N, p, H, W)."""
        del dictionary
        u = self.weights.correlate(x) + self.bias
        return u, self.sparsity(u)

    @torch.no_grad()
    def scale_(self, factor: float) -> None:
        """Multiply the weights, and with them the codes of `TopK`, `TopKAbove` and `TopKCells`."""
        self.weights.weight.mul_(factor)

    def penalty(self, coded: Coded) -> Tensor:
        """What the sparsity adds to the loss."""
        return self.sparsity.penalty(coded.before, coded.codes)


class Unrolled(nn.Module):
    """Steps of a descent: z <- sparse(z - rate D^T (D z - x)), from z = 0.

    Parameters
    ----------
    sparse : callable
        Proximal step, such as a hard threshold.
    steps : int
        T.
    rate : float
        alpha.
    analytic : bool
        The dictionary's gradient is that for given codes, which are not followed back (Malezieux et al. 2022).
    """

    def __init__(self, sparse: Callable[[Tensor], Tensor], steps: int, rate: float, *, analytic: bool = True) -> None:
        super().__init__()
        self.sparse, self.steps, self.rate, self.analytic = sparse, steps, rate, analytic

    def forward(self, x: Tensor, dictionary: Dictionary) -> tuple[Tensor, Tensor]:
        """See `FeedForward`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.analytic):
            u = self.rate * dictionary.correlate(x)
            z = self.sparse(u)
            for _ in range(self.steps - 1):
                u = z - self.rate * dictionary.correlate(dictionary.synthesise(z) - x)
                z = self.sparse(u)
        return u, z


class SAE(nn.Module):
    """A sparse autoencoder: x = P (D z + b), z = encoder(L x - b).

    Parameters
    ----------
    dictionary : Dictionary
        Of as many channels as the lifted data have.
    encoder : FeedForward or Unrolled
    offset : Tensor (C), optional
        b, the mean of the (lifted) data to begin with; without it there is none.
    lift : Lift, optional
    """

    def __init__(
        self, dictionary: Dictionary, encoder: FeedForward | Unrolled, offset: Tensor | None = None,
        lift: Lift | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dictionary, self.encoder, self.lift = dictionary, encoder, lift
        self.offset = None if offset is None else nn.Parameter(offset.reshape(-1, 1, 1).clone())

    def forward(self, x: Tensor) -> Coded:
        """Codes and reconstruction of data (N, C, H, W)."""
        lifted = x if self.lift is None else self.lift.raise_(x)
        before, codes = self.encoder(lifted if self.offset is None else lifted - self.offset, self.dictionary)
        return Coded(before, codes, self.decode(codes))

    def decode(self, codes: Tensor) -> Tensor:
        """Data (N, C, H, W) of codes (N, p, H, W)."""
        return self.finish(self.dictionary.synthesise(codes))

    @torch.no_grad()
    def atoms(self) -> Tensor:
        """Atoms in the space of the data as vectors (p, D) of norm 1, whose products are cosines; 0 where an atom is."""
        if self.lift is None:
            return self.dictionary.atoms()
        return self.dictionary.atoms(self.lift.down)

    def finish(self, made: Tensor) -> Tensor:
        """Data (N, C, H, W) of what the dictionary made."""
        return self.lowered(made if self.offset is None else made + self.offset)

    def lowered(self, made: Tensor) -> Tensor:
        """What the dictionary made, without the offset, in the channels of the data."""
        return made if self.lift is None else self.lift.lower(made)
