"""Truncated Fourier series: against torch's transform, between resolutions, and in onnxruntime."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from galcli.errors import InputError
from galcli.models.session import Graph
from galcli.training import export
from galcli.training.networks.fourier import analyse, least_side, multiplicity, require_side, synthesise

M = 8
SIZES = [(17, 17), (32, 32), (24, 41), (96, 64)]


def maps(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


def kept(x: Tensor, modes: int) -> Tensor:
    """Coefficients of torch's own transform, in our order, complex128."""
    height, width = x.shape[-2:]
    whole = torch.fft.fft2(x.double()) / (height * width)
    rows = [k % height for k in range(-modes, modes + 1)]
    return whole[..., rows, :][..., : modes + 1]


def wave(height: int, width: int, ky: int, kx: int) -> Tensor:
    y, x = torch.arange(height) / height, torch.arange(width) / width
    return torch.cos(2 * math.pi * (ky * y[:, None] + kx * x))[None, None]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_coefficients_are_those_of_the_fast_transform(height: int, width: int) -> None:
    x = maps(height, width)
    real, imaginary = analyse(x, M)
    expected = kept(x, M)
    assert real.shape == (2, 3, 2 * M + 1, M + 1)
    torch.testing.assert_close(real.double(), expected.real, rtol=0, atol=1e-6)
    torch.testing.assert_close(imaginary.double(), expected.imag, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_band_limited_maps_come_back(height: int, width: int) -> None:
    """On the smallest grid every map is one; on larger ones, what was synthesised."""
    x = maps(17, 17)
    coefficients = analyse(x, M)
    torch.testing.assert_close(synthesise(*coefficients, 17, 17), x, rtol=0, atol=1e-5)
    other = synthesise(*coefficients, height, width)
    for ours, theirs in zip(analyse(other, M), coefficients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_shared_points_of_two_grids_have_the_same_values() -> None:
    coefficients = analyse(maps(20, 20), M)
    coarse, fine = synthesise(*coefficients, 20, 20), synthesise(*coefficients, 60, 40)
    torch.testing.assert_close(fine[..., ::3, ::2], coarse, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("ky", "kx"), [(3, 2), (-3, 2), (0, 0), (5, 0), (0, 8)])
def test_a_wave_is_one_coefficient(ky: int, kx: int) -> None:
    real, imaginary = analyse(wave(32, 48, ky, kx), M)
    expected = torch.zeros(2 * M + 1, M + 1)
    amplitude = 1.0 if ky == kx == 0 else 0.5
    expected[M + ky, kx] = amplitude
    if kx == 0:  # both halves of the plane stand there
        expected[M - ky, kx] = amplitude
    torch.testing.assert_close(real[0, 0], expected, rtol=0, atol=1e-6)
    assert imaginary.abs().max() < 1e-6


def test_power_is_the_same_on_both_sides() -> None:
    """Parseval's theorem for the frequencies that are kept."""
    x = synthesise(*analyse(maps(30, 30), M), 30, 30)
    real, imaginary = analyse(x, M)
    power = ((real.square() + imaginary.square()) * multiplicity(M)).sum((2, 3))
    torch.testing.assert_close(power, x.square().mean((2, 3)), rtol=1e-5, atol=0)


def test_a_quarter_turn_permutes_the_frequencies() -> None:
    """f(y, x) turned to f(x, -y): the coefficient of (ky, kx) goes to (-kx, ky)."""
    x = maps(33, 33)
    turned = torch.rot90(x, 1, (2, 3)).roll(1, 2)  # about the first pixel
    ours, theirs = kept(x, M), torch.complex(*(part.double() for part in analyse(turned, M)))
    for ky, kx in ((1, 3), (4, 2), (7, 5)):
        torch.testing.assert_close(theirs[..., M - kx, ky], ours[..., M + ky, kx], rtol=0, atol=1e-6)


def test_the_unseen_part_of_the_first_column_changes_nothing() -> None:
    real, imaginary = analyse(maps(20, 20), M)
    expected = synthesise(real, imaginary, 20, 20)
    other = imaginary.clone()
    other[..., M, 0] += 3.0  # the mean of a real map is real
    other[..., M + 2, 0] += 1.0
    other[..., M - 2, 0] += 1.0  # conjugates have opposite signs: equal ones cancel
    torch.testing.assert_close(synthesise(real, other, 20, 20), expected, rtol=0, atol=1e-5)


def test_maps_that_are_too_small_are_refused() -> None:
    require_side(17, 17, M)
    with pytest.raises(InputError, match="30 x 16 pixels cannot hold frequencies up to 8"):
        require_side(16, 30, M)


class Smooth(nn.Module):
    """Everything above M taken away."""

    def forward(self, pixels: Tensor) -> Tensor:
        return synthesise(*analyse(pixels, M), pixels.shape[2], pixels.shape[3])


def test_one_graph_serves_every_size() -> None:
    model = export.to_onnx(Smooth(), {"pixels": maps(20, 24)}, ["y"], least_side(M))
    graph = Graph(model.SerializeToString(), "test", "cpu")
    for height, width in SIZES:
        x = maps(height, width, 1)
        found = graph.run({"pixels": x.numpy()})["y"]
        expected = torch.fft.fft2(x.double())
        mask = torch.zeros(height, width, dtype=torch.bool)
        reach = [k % height for k in range(-M, M + 1)], [k % width for k in range(-M, M + 1)]
        mask[np.ix_(*reach)] = True
        np.testing.assert_allclose(found, torch.fft.ifft2(expected * mask).real.numpy(), atol=1e-5)
        one = graph.run({"pixels": x[1:].numpy()})["y"]
        np.testing.assert_array_equal(one, found[1:])
