"""Dictionaries of concepts: adjoints, norms, and the same dictionary in space and in frequencies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from galcli.training.networks.dictionaries import Convolutional, Dictionary, Pointwise, Spectral
from galcli.training.networks.fourier import synthesise

C, P = 3, 6


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


def made(kind: str) -> Dictionary:
    return {
        "pointwise": lambda: Pointwise(C, P),
        "convolutional": lambda: Convolutional(C, P, 5),
        "spectral": lambda: Spectral(C, P, 4),
    }[kind]()


KINDS = ["pointwise", "convolutional", "spectral"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(9, 9), (12, 20)])
def test_correlation_is_the_adjoint_of_synthesis(kind: str, size: tuple[int, int]) -> None:
    dictionary = made(kind)
    z, x = torch.randn(2, P, *size), torch.randn(2, C, *size)
    left, right = (dictionary.synthesise(z) * x).sum(), (z * dictionary.correlate(x)).sum()
    assert float(left.detach()) == pytest.approx(float(right.detach()), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_atoms_have_norm_one_and_keep_it_under_the_gradient(kind: str) -> None:
    dictionary = made(kind)
    torch.testing.assert_close(dictionary.norms(), torch.ones(P))
    z = torch.randn(4, P, 9, 9)
    (dictionary.synthesise(z) - torch.randn(4, C, 9, 9)).square().mean().backward()
    dictionary.keep_norms_()
    gradient = dictionary.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0
    with torch.no_grad():
        for step in (1e-3, 1e-4):  # norms change in second order only
            moved = made(kind)
            moved.weight.copy_(dictionary.weight - step * gradient)
            assert (moved.norms() - 1).abs().max() < 2 * step**2 * gradient.square().sum() + 2e-6
        dictionary.weight *= torch.linspace(0.5, 2, P).reshape(-1, *[1] * (dictionary.weight.ndim - 1))
    dictionary.normalise_()
    torch.testing.assert_close(dictionary.norms(), torch.ones(P))


@pytest.mark.parametrize("side", [5, 3])
def test_a_spectral_dictionary_with_all_modes_is_a_convolutional_one(side: int) -> None:
    """Products of coefficients are circular convolutions: exact where the grid holds no more than the modes."""
    plain = Convolutional(C, P, side)
    spectral = Spectral.of_kernels(plain.weight.detach(), 4)
    torch.testing.assert_close(spectral.norms(), plain.norms())
    z, x = torch.randn(2, P, 9, 9), torch.randn(2, C, 9, 9)
    torch.testing.assert_close(spectral.synthesise(z), plain.synthesise(z), rtol=0, atol=1e-5)
    torch.testing.assert_close(spectral.correlate(x), plain.correlate(x), rtol=0, atol=1e-5)
    middle = plain.weight.detach()[:, :, side // 2, side // 2]
    torch.testing.assert_close(spectral.kernels(9)[:, :, 0, 0], middle, rtol=0, atol=1e-5)


def test_gradients_in_frequencies_are_those_in_space_over_the_number_of_modes() -> None:
    """A step on coefficients moves the kernel by its own gradient over the area (models.md 4.1), but for the columns
    that stand for two frequencies, which move twice as far."""
    plain = Convolutional(C, P, 9)
    spectral = Spectral.of_kernels(plain.weight.detach(), 4)
    z, x = torch.randn(2, P, 9, 9), torch.randn(2, C, 9, 9)
    for one in (plain, spectral):
        (one.synthesise(z) - x).square().sum().backward()
    assert plain.weight.grad is not None
    assert spectral.weight.grad is not None
    slope = spectral.weight.grad.clone()
    slope[..., 1:] /= 2
    real, imaginary = slope.unbind(1)
    in_space = synthesise(real, imaginary, 9, 9).roll((4, 4), (2, 3))
    torch.testing.assert_close(in_space, plain.weight.grad, rtol=1e-3, atol=1e-3)


def test_smooth_codes_mean_the_same_on_finer_grids() -> None:
    spectral = Spectral(C, P, 4)
    coefficients = torch.randn(2, 1, P, 7, 4).unbind(0)
    coarse, fine = (spectral.synthesise(synthesise(*coefficients, side, side)) for side in (9, 27))
    torch.testing.assert_close(fine[..., ::3, ::3], coarse, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_shifted_data_have_shifted_codes(kind: str) -> None:
    dictionary, x = made(kind), torch.randn(1, C, 12, 15)

    def shifted(maps: Tensor) -> Tensor:
        return maps.roll((5, -4), (2, 3))

    torch.testing.assert_close(dictionary.correlate(shifted(x)), shifted(dictionary.correlate(x)), rtol=0, atol=1e-5)


def test_shifted_kernels_and_codes_say_the_same() -> None:
    torch.manual_seed(0)
    dictionary, side = Spectral(2, 3, 4), 18
    z, x = torch.randn(2, 3, side, side), torch.randn(2, 2, side, side)
    made, codes = dictionary.synthesise(z), dictionary.correlate(x)
    away = torch.tensor([[2, -3], [0, 5], [1, 1]])
    dictionary.shift_(away / side)
    moved = torch.stack([z[:, k].roll(tuple(away[k].tolist()), (1, 2)) for k in range(3)], 1)
    torch.testing.assert_close(dictionary.synthesise(moved), made, atol=1e-4, rtol=0)
    known = torch.stack([codes[:, k].roll(tuple(away[k].tolist()), (1, 2)) for k in range(3)], 1)
    torch.testing.assert_close(dictionary.correlate(x), known, atol=1e-4, rtol=0)
    dictionary.shift_(torch.full((3, 2), 0.1))
    torch.testing.assert_close(dictionary.norms(), torch.ones(3))


def test_the_middle_of_a_kernel_is_where_its_light_is() -> None:
    side = 17
    y, x = torch.meshgrid(torch.arange(side) - 8, torch.arange(side) - 8, indexing="ij")
    places = [(3, -2), (-4, 0), (0, 4)]
    kernels = torch.stack([torch.exp(-((y - a) ** 2 + (x - b) ** 2) / 4.5) for a, b in places])
    dictionary = Spectral.of_kernels(kernels.unsqueeze(1), 8)
    torch.testing.assert_close(dictionary.middles() * side, torch.tensor(places).float(), atol=1e-2, rtol=0)
    dictionary.shift_(dictionary.middles())
    torch.testing.assert_close(dictionary.middles(), torch.zeros(3, 2), atol=1e-3, rtol=0)


def test_a_part_of_a_dictionary_makes_its_part() -> None:
    torch.manual_seed(1)
    for dictionary in (Pointwise(3, 6), Convolutional(3, 6, 3), Spectral(3, 6, 2)):
        z = torch.randn(2, 6, 8, 8)
        parts = [dictionary.synthesise(z[:, rows], rows) for rows in (slice(0, 2), slice(2, 6))]
        torch.testing.assert_close(sum(parts), dictionary.synthesise(z), atol=1e-5, rtol=1e-4)
        cosines = dictionary.atoms() @ dictionary.atoms().t()
        torch.testing.assert_close(cosines.diagonal(), torch.ones(6))
