"""Sparse autoencoders held against others' code: neuraloperator, a plain reference in torch, scikit-learn."""

from __future__ import annotations

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from sklearn.decomposition import DictionaryLearning
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.data import Batch
from galcli.training.networks.dictionaries import Spectral
from galcli.training.optim import relative_adamw, set_rate, warm_cosine
from galcli.training.recipes.sae_network import Prepared, Scaled
from galcli.training.recipes.sae_plan import PRESETS, design
from galcli.training.recipes.sae_task import Reconstruction, UnitNorm

M = 4


@pytest.mark.parametrize("size", [(10, 9), (16, 16), (24, 41), (96, 64)])
def test_a_spectral_dictionary_is_the_spectral_convolution_of_neuraloperator(size: tuple[int, int]) -> None:
    """At even heights: at odd ones neuraloperator 2.0 puts coefficients back into the wrong rows (its pull request 688)."""
    torch.manual_seed(4)
    dictionary = Spectral(3, 6, M)
    there, back = (SpectralConv(*channels, (2 * M + 1, 2 * M), bias=False) for channels in ((6, 3), (3, 6)))
    weight = torch.complex(*dictionary.weight.detach().unbind(1))  # (p, C, ky, kx), as theirs: (in, out, ky, kx)
    with torch.no_grad():
        there.weight.tensor.copy_(weight)
        back.weight.tensor.copy_(weight.transpose(0, 1).conj())
        z, x = torch.randn(2, 6, *size), torch.randn(2, 3, *size)
        torch.testing.assert_close(dictionary.synthesise(z), there(z), rtol=0, atol=2e-6)
        torch.testing.assert_close(dictionary.correlate(x), back(x), rtol=0, atol=2e-6)


def batch_of(x: Tensor) -> Batch:
    """Vectors (N, D) as maps of one cell."""
    none = torch.zeros(len(x))
    return Batch(x[:, :, None, None], none, none, none, none)


def mixtures(true: Tensor, count: int, active: int, random: torch.Generator) -> Tensor:
    """Sums (count, D) of so many atoms of (p, D) each, with weights 1 +- 0.2."""
    place = torch.rand(count, len(true), generator=random).topk(active, 1).indices
    weights = 1 + 0.2 * torch.randn(count, active, generator=random)
    return torch.zeros(count, len(true)).scatter(1, place, weights) @ true


def found(atoms: Tensor, true: Tensor) -> Tensor:
    """Largest cosine of each true atom with those found."""
    return (functional.normalize(true, dim=1) @ functional.normalize(atoms, dim=1).t()).abs().amax(1)


def trained(x: Tensor, concepts: int, active: int, steps: int, batch: int, seed: int, dead: float = 1e5) -> Prepared:
    """Our autoencoder of vectors (N, D), from random weights, with the optimiser, loss and constraint of the recipe."""
    torch.manual_seed(seed)
    module = Prepared(Scaled(1.0), design("mlp", x.shape[1], 1, concepts=concepts, active=active)).train()
    task, norm, rate = Reconstruction(lambda _: [], dead=dead), UnitNorm(), PRESETS["default"].lr
    optimizer, random = relative_adamw(module, rate), torch.Generator().manual_seed(seed)
    for step in range(steps):
        set_rate(optimizer, *warm_cosine(rate)(step, steps))
        loss = task.loss(module, batch_of(x[torch.randint(len(x), (batch,), generator=random)]))
        optimizer.zero_grad()
        loss.backward()
        norm.on_gradients(module)
        optimizer.step()
        norm.on_weights(module)
    return module.eval()


def atoms(module: Prepared) -> Tensor:
    return module.sae.dictionary.weight.detach()


def left_over(made: Tensor, x: Tensor) -> float:
    """Fraction of variance unexplained."""
    return float((x - made).square().sum() / (x - x.mean(0)).square().sum())


def plain(x: Tensor, concepts: int, active: int, steps: int, batch: int, seed: int, rate: float) -> Tensor:
    """What a TopK autoencoder as Gao et al. (2024) describe it, written out with torch's own layers, makes of its data."""
    torch.manual_seed(seed)
    encoder, decoder = nn.Linear(x.shape[1], concepts), nn.Linear(concepts, x.shape[1])
    with torch.no_grad():
        decoder.weight.div_(decoder.weight.norm(dim=0))
        decoder.bias.copy_(x.mean(0))
        encoder.weight.copy_(decoder.weight.t())
        encoder.bias.zero_()

    def made(vectors: Tensor) -> Tensor:
        u = encoder(vectors - decoder.bias).relu()
        kept = u.topk(active, 1)
        out: Tensor = decoder(torch.zeros_like(u).scatter(1, kept.indices, kept.values))
        return out

    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], rate)
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = x[torch.randint(len(x), (batch,), generator=random)]
        optimizer.zero_grad()
        (made(some) - some).square().sum(1).mean().backward()
        optimizer.step()
        with torch.no_grad():
            decoder.weight.div_(decoder.weight.norm(dim=0))
    with torch.no_grad():
        return made(x)


@pytest.mark.parametrize("seed", [0, 1])
def test_training_reconstructs_no_worse_than_a_plain_reference(seed: int) -> None:
    """At whichever of three rates is best for the reference."""
    random = torch.Generator().manual_seed(seed)
    true = functional.normalize(torch.randn(128, 64, generator=random), dim=1)
    x = mixtures(true, 8192, 5, random) + 0.02 * torch.randn(8192, 64, generator=random)
    how = (x, 128, 5, 600, 128, seed)
    module = trained(*how)
    with torch.no_grad():
        _, coded = module(*[getattr(batch_of(x), name) for name in ("pixels", "valid", "front")])
    ours = left_over(coded.data[:, :, 0, 0], x)
    theirs = min(left_over(plain(*how, rate), x) for rate in (1e-3, 3e-3, 1e-2))
    assert ours <= theirs
    assert ours < 0.1
    assert torch.equal((coded.codes > 0).sum(1).flatten().unique(), torch.tensor([5]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # within 30 rounds it is near enough
@pytest.mark.parametrize("seed", [0, 1])
def test_a_dictionary_is_found_no_worse_than_by_scikit_learn(seed: int) -> None:
    """48 atoms in 32 dimensions, three in each of 1,500 sums, from random weights."""
    random = torch.Generator().manual_seed(seed)
    true = functional.normalize(torch.randn(48, 32, generator=random), dim=1)
    x = mixtures(true, 1500, 3, random)
    ours = found(atoms(trained(x, 48, 3, 1500, 128, seed, dead=1000)), true)
    learner = DictionaryLearning(
        48, alpha=0.3, max_iter=30, tol=0, fit_algorithm="cd", transform_algorithm="lasso_cd", positive_code=True,
        random_state=seed,
    )  # fmt: skip
    theirs = found(torch.tensor(learner.fit(x.double().numpy()).components_, dtype=torch.float32), true)
    assert theirs.mean() > 0.8  # it is a fair opponent
    assert ours.mean() >= theirs.mean()
    assert ours.min() > 0.99


def test_eight_orthonormal_atoms_are_found_where_dead_concepts_are_revived() -> None:
    """models.md 4.6. Now and then the offset takes the place of one atom, with which the others then mix: a minimum too."""

    def success(dead: float, seed: int) -> bool:
        random = torch.Generator().manual_seed(seed)
        true = torch.linalg.qr(torch.randn(16, 8, generator=random)).Q.t()
        module = trained(mixtures(true, 4096, 2, random), 8, 2, 1000, 64, seed, dead)
        return int((found(atoms(module), true) > 0.97).sum()) >= 7

    revived = [success(512, seed) for seed in range(6)]
    assert sum(revived) >= 4
    assert sum(success(1e9, seed) for seed in range(6)) < sum(revived)
