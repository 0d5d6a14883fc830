import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from galcli.training.networks import deconvolution
from galcli.training.networks.deconvolution import EPS, ITERATIONS, MOMENTUM, SAMPLING, Deconv2d, fold, inverse_sqrt

#: in_channels, out_channels, kernel_size, stride, padding, groups
LAYERS = {
    "stem": (5, 8, 3, 2, 1, 1),
    "interleaved": (128, 6, 3, 1, 1, 1),
    "common divisor": (96, 6, 3, 1, 0, 1),
    "depthwise": (16, 16, 3, 1, 1, 16),
    "grouped": (16, 32, 3, 2, 1, 4),
    "pointwise": (128, 6, 1, 1, 0, 1),
    "strided pointwise": (12, 6, 1, 2, 0, 1),
    "overlapping samples": (3, 4, 5, 1, 2, 1),
}


def scalar(value, iterations):
    """Eigenvalue of the inverse square root, from one of the normalised covariance."""
    y, z = value, 1.0
    for _ in range(iterations):
        t = (3 - z * y) / 2
        y, z = y * t, z * t
    return z


def covariance(size, seed=0):
    """Random covariance with its eigenvalues and eigenvectors."""
    random = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(random.standard_normal((size, size)))
    values = 10 ** random.uniform(-2, 1, size)
    return (vectors * values) @ vectors.T, values, vectors


def smooth(count, channels, size, length=1.0, seed=0):
    """Images of independent channels, each smooth over a length in pixels."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(count * channels, 1, size + 16, size + 16, generator=random, dtype=torch.float64)
    place = torch.arange(-8.0, 9.0, dtype=torch.float64)
    kernel = torch.exp(-((place[:, None] ** 2 + place**2) / (2 * length**2)))[None, None]
    images = nn.functional.conv2d(noise, kernel / kernel.square().sum().sqrt())
    return images.view(count, channels, size, size)


def make(name, dtype=torch.float64):
    torch.manual_seed(0)
    return Deconv2d(*LAYERS[name]).to(dtype)


def batch(layer, count=4, size=17, seed=1):
    """Correlated images off zero."""
    shape = count, layer.in_channels, size, size
    images = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (images + 0.8 * images.roll(1, 1) + images.roll(1, 2) + 0.5).to(layer.weight.dtype)


def every_patch(layer, x, stride):
    """Flat zero-padded patches (N, h, w, C k k), cut out one by one."""
    k, pad = layer.kernel_size[0], layer.padding[0]
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    steps = range(0, padded.shape[2] - k + 1, stride)
    rows = [[padded[:, :, i : i + k, j : j + k].reshape(len(x), -1) for j in steps] for i in steps]
    return np.array(rows).transpose(2, 0, 1, 3)


def slow_statistics(layer, x):
    """Mean and whitening matrix of each group of a grouped layer, or of all columns of one that is not."""
    stride = layer.stride[0]
    if layer.kernel_size == (1, 1):
        patches = x.numpy().transpose(0, 2, 3, 1).reshape(-1, x.shape[1])[:: (SAMPLING * stride) ** 2]
    else:
        patches = every_patch(layer, x, SAMPLING * stride)
        patches = patches.reshape(-1, patches.shape[3])
    result = []
    for group in np.split(patches, layer.groups, axis=1):
        columns = group.shape[1] // len(layer.running_mean[0])
        samples = np.concatenate([group[:, column::columns] for column in range(columns)])
        mean = samples.mean(0)
        sigma = (samples - mean).T @ (samples - mean) / len(samples) + EPS * np.eye(len(mean))
        norm = np.sqrt((sigma**2).sum())
        y, z = sigma / norm, np.eye(len(mean))
        for _ in range(ITERATIONS):
            step = (3 * np.eye(len(mean)) - z @ y) / 2
            y, z = y @ step, step @ z
        result.append((mean, z / np.sqrt(norm)))
    return result


def slow_output(layer, x, statistics):
    """Whiten every patch, then multiply it by the kernels."""
    patches = every_patch(layer, x, layer.stride[0])
    kernels = layer.weight.detach().numpy().reshape(layer.groups, layer.out_channels // layer.groups, -1)
    parts = []
    for group, (mean, delta), kernel in zip(np.split(patches, layer.groups, 3), statistics, kernels, strict=True):
        columns = group.shape[3] // len(mean)
        white = np.empty_like(group)
        for column in range(columns):
            white[..., column::columns] = (group[..., column::columns] - mean) @ delta
        parts.append(white @ kernel.T)
    return np.concatenate(parts, 3).transpose(0, 3, 1, 2) + layer.bias.detach().numpy()[:, None, None]


@pytest.mark.parametrize("iterations", [1, 5, 9])
def test_eigenvalues_follow_the_scalar_recursion(iterations):
    sigma, values, vectors = covariance(30)
    found = vectors.T @ inverse_sqrt(torch.from_numpy(sigma), iterations).numpy() @ vectors
    norm = np.sqrt((values**2).sum())
    expected = np.array([scalar(value / norm, iterations) for value in values]) / np.sqrt(norm)
    np.testing.assert_allclose(found, np.diag(expected), rtol=0, atol=1e-13)


def test_many_iterations_give_the_inverse_square_root():
    sigma, values, vectors = covariance(30)
    exact = (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(inverse_sqrt(torch.from_numpy(sigma), 25), exact, rtol=0, atol=1e-9)


def test_inverse_square_roots_of_a_stack_are_those_of_its_matrices():
    stack = torch.from_numpy(np.array([covariance(9, seed)[0] for seed in range(4)]))
    single = torch.stack([inverse_sqrt(sigma) for sigma in stack])
    torch.testing.assert_close(inverse_sqrt(stack), single, rtol=0, atol=1e-14)


def test_a_diagonal_stays_diagonal():
    delta = inverse_sqrt(torch.diag(torch.tensor([4.0, 1.0, 0.25, 9.0], dtype=torch.float64)))
    assert torch.equal(delta, torch.diag(delta.diagonal()))
    assert delta.diagonal().argsort().tolist() == [3, 0, 1, 2]


def test_what_is_white_stays_as_it_is():
    deviation = [(inverse_sqrt(torch.eye(45).double(), count) - torch.eye(45)).abs().max() for count in (3, 5, 7, 10)]
    assert deviation == sorted(deviation, reverse=True)
    assert deviation[-1] < 1e-12


def test_weak_directions_are_under_whitened_on_purpose():
    place = np.stack(np.meshgrid(range(3), range(3)), -1).reshape(9, 2)
    distance = ((place[:, None] - place) ** 2).sum(2)
    patch = np.exp(-distance / (2 * 1.345134**2))  # the length at which the condition is 790
    values, vectors = np.linalg.eigh(patch)
    assert values[-1] / values[0] == pytest.approx(790, rel=1e-4)
    sigma = torch.from_numpy(np.kron(np.eye(5), patch))
    weakest = np.kron(np.eye(5)[0], vectors[:, 0])

    def share(iterations):
        return weakest @ inverse_sqrt(sigma, iterations).numpy() @ weakest * np.sqrt(values[0])

    assert share(5) == pytest.approx(0.18, abs=0.01)
    assert share(15) == pytest.approx(1, abs=1e-6)
    assert inverse_sqrt(sigma.float(), 30).sub(inverse_sqrt(sigma, 30)).abs().max() < 1e-2


def test_output_on_the_sampled_grid_has_the_covariance_that_was_aimed_at():
    layer = Deconv2d(5, 45, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(45).view(45, 5, 3, 3))
        layer.bias.zero_()
    x = smooth(8, 5, 60)
    with torch.no_grad():
        white = layer(x)[:, :, ::SAMPLING, ::SAMPLING].transpose(0, 1).flatten(1).numpy()
    ((_, delta),) = slow_statistics(layer, x)
    patches = every_patch(layer, x, SAMPLING).reshape(-1, 45)
    np.testing.assert_allclose(white.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(white, bias=True), delta @ np.cov(patches.T, bias=True) @ delta, atol=1e-11)
    before, after = (np.linalg.eigvalsh(np.cov(rows, bias=True)) for rows in (patches.T, white))
    assert after[-1] / after[0] < before[-1] / before[0] / 10


@pytest.mark.parametrize("name", LAYERS)
def test_training_equals_a_slow_reading_of_the_description(name):
    layer = make(name)
    x = batch(layer)
    statistics = slow_statistics(layer, x)
    with torch.no_grad():
        np.testing.assert_allclose(layer(x), slow_output(layer, x, statistics), rtol=0, atol=1e-10)
    for group, (mean, delta) in enumerate(statistics):
        np.testing.assert_allclose(layer.running_mean[group], MOMENTUM * mean, atol=1e-13)
        expected = (1 - MOMENTUM) * np.eye(len(mean)) + MOMENTUM * delta
        np.testing.assert_allclose(layer.running_delta[group], expected, atol=1e-11)


@pytest.mark.parametrize("name", LAYERS)
def test_folding(name):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        net = nn.Sequential(nn.Identity(), nn.Sequential(make(name, dtype)))
        layer = net[1][0]
        with torch.no_grad():
            for seed in range(3):
                net(batch(layer, seed=seed))
            x = batch(layer, seed=9)
            expected = net.eval()(x)
            fold(net)
            torch.testing.assert_close(net(x), expected, rtol=0, atol=tolerance)
        assert type(net[1][0]) is nn.Conv2d
        # Patch by patch, in float64.
        layer.double()
        statistics = list(zip(layer.running_mean.numpy(), layer.running_delta.numpy(), strict=True))
        slow = slow_output(layer, x.double(), statistics)
        np.testing.assert_allclose(net(x).detach(), slow, rtol=0, atol=5 * tolerance)


@pytest.mark.parametrize("settings", [(2, 3, 3, 1, 1, 1), (4, 4, 3, 1, 1, 2), (3, 2, 1, 1, 0, 1)])
def test_gradients_flow_through_the_whitening(settings):
    torch.manual_seed(0)
    layer = Deconv2d(*settings).double()
    x = batch(layer, 2, 5).requires_grad_()

    def output(x, weight, bias):
        return functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(output, (x, layer.weight, layer.bias), fast_mode=True)


@pytest.mark.parametrize("x", [torch.zeros(2, 5, 9, 9), torch.ones(1, 5, 3, 3), torch.randn(1, 5, 1, 1)])
def test_little_to_measure(x):
    layer = Deconv2d(5, 4, 3, 2, 1)
    y = layer(x.requires_grad_())
    y.square().sum().backward()
    assert all(bool(value.isfinite().all()) for value in (y, x.grad, layer.weight.grad, layer.running_delta))


def test_evaluation_leaves_the_running_values():
    layer = make("grouped").eval()
    before = copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        assert torch.equal(layer(batch(layer)), nn.Conv2d.forward(layer, batch(layer)))  # not yet trained: the identity
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_whitening_keeps_float32_under_autocast():
    layer, other = make("stem", torch.float32), make("stem", torch.float32)
    x = batch(layer)
    y = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        low = other(x)
    assert low.dtype == torch.bfloat16
    assert torch.equal(layer.running_delta, other.running_delta)
    assert torch.equal(layer.running_mean, other.running_mean)
    torch.testing.assert_close(low.float(), y, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("iterations", [1, ITERATIONS])
def test_large_matrices_go_by_their_eigenvalues_to_the_same_values_and_gradients(monkeypatch, iterations):
    size = 24
    sigma = torch.stack([torch.from_numpy(covariance(size, seed)[0]) for seed in (1, 2)])
    sigma[1] = 3 * torch.eye(size)  # equal eigenvalues: no slope may divide by their difference
    weight = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for large in (size, size + 1):
        monkeypatch.setattr(deconvolution, "_LARGE", large)
        given = sigma.clone().requires_grad_()
        root = inverse_sqrt(given, iterations)
        (root * weight).sum().backward()
        found.append((root.detach(), given.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
