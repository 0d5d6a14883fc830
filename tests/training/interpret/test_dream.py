"""DeepDream against what can be calculated, and on a DMAGNet with random weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal
from torch import Tensor
from torch.nn import functional

from galcli.errors import UsageError
from galcli.training.interpret import dream as module
from galcli.training.interpret.dream import (
    WIDTHS,
    Bounds,
    DreamSettings,
    Objective,
    class_objective,
    dream,
    gradient,
    half_mean_square,
    kernel,
    layer_objective,
    resized,
    smoothed,
    valid_range,
    widths,
)
from galcli.training.networks.dmagnet import LAYERS, DMAGNet
from galcli.training.pixels import FRONTS, Pixels

WIDE: Bounds = (torch.full((3, 1, 1), -100.0), torch.full((3, 1, 1), 100.0))
TIGHT: Bounds = (torch.tensor([-1.0, -0.5, -2.0]).view(3, 1, 1), torch.tensor([1.0, 2.0, 0.5]).view(3, 1, 1))


def noise(size: int, seed: int = 0) -> Tensor:
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))


def linear(seed: int = 1) -> Objective:
    """One layer without borders: the image goes around."""
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return lambda x: half_mean_square(functional.conv2d(functional.pad(x, (2,) * 4, mode="circular"), weight))


@pytest.fixture(scope="module")
def network() -> DMAGNet:
    """Random weights, and batch norms that know what they see."""
    torch.manual_seed(0)
    made = DMAGNet()
    with torch.no_grad():
        for norm in made.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0
        made.train()(torch.randn(4, 3, 64, 64))
    return made


def test_gradient_of_a_linear_layer_is_the_correlation_with_its_answer() -> None:
    draw = np.random.default_rng(1)
    image, weight = draw.normal(size=(12, 17)), draw.normal(size=(5, 5))
    answer = signal.correlate2d(image, weight, "same")  # what torch calls a convolution
    expected = signal.convolve2d(answer, weight, "same") / answer.size  # its adjoint
    kernels = torch.from_numpy(weight)[None, None]
    value, slope = gradient(
        lambda x: half_mean_square(functional.conv2d(x, kernels, padding=2)), torch.tensor(image)[None]
    )
    assert value == pytest.approx(np.mean(answer**2) / 2, rel=1e-12)
    np.testing.assert_allclose(slope[0].numpy(), expected, rtol=1e-10, atol=1e-12)


def test_objective_grows_in_every_small_step() -> None:
    settings = DreamSettings(sizes=(48,), steps=10, rate=1e-3)
    trace = dream(linear(), noise(48), WIDE, settings).trace[48]
    assert trace.shape == (2, 10)
    assert (np.diff(trace, axis=1) > 0).all()


def test_first_order_growth_is_that_of_the_gradient() -> None:
    objective, x = linear(), noise(48)
    settings = DreamSettings(sizes=(48,), steps=2, rate=1e-4, jitter=0)
    start = resized(x, 48, WIDE)
    small = resized(start, round(48 / 1.4), WIDE)
    value, slope = gradient(objective, small)
    step = smoothed(slope, 0, 2)
    trace = dream(objective, x, WIDE, settings).trace[48][0]
    assert trace[0] == pytest.approx(value, rel=1e-6)
    assert trace[1] - trace[0] == pytest.approx(1e-4 * float((slope * step).sum() / step.std()), rel=0.02)


def test_sizes_are_those_of_the_spec_and_each_starts_from_the_one_before() -> None:
    def objective(x: Tensor) -> Tensor:
        seen.append(x.shape[-1])
        return half_mean_square(x)

    seen: list[int] = []
    found = dream(objective, noise(128), TIGHT, DreamSettings(steps=1, rate=0.0))
    assert seen == [183, 256, 366, 512, 731, 1024]
    assert {size: image.shape for size, image in found.images.items()} == {
        size: (3, size, size) for size in (256, 512, 1024)
    }
    assert all(image.dtype == np.float32 for image in found.images.values())
    # Without steps, nothing but bicubic enlargement is left.
    image = noise(128)
    for size in (256, 512, 1024):
        image = resized(image, size, TIGHT)
        np.testing.assert_array_equal(found.images[size], image.numpy())


def test_detail_of_the_smaller_copy_is_carried_over() -> None:
    seen: list[Tensor] = []

    def objective(x: Tensor) -> Tensor:
        seen.append(x.detach()[0])
        return x.sum() + (x * torch.linspace(-1, 1, x.shape[-1])).sum()  # a ramp brightens, or darkens, all alike

    settings = DreamSettings(sizes=(56,), steps=1, rate=0.1, jitter=0)
    dream(objective, noise(56), WIDE, settings)
    small, large = seen
    added = large - resized(noise(56), 56, WIDE)
    slope = smoothed(1 + torch.linspace(-1, 1, 40).expand(3, 40, 40), 0, 1)
    expected = 0.1 * slope / slope.std()
    assert small.shape == (3, 40, 40)
    assert added.mean() == pytest.approx(float(expected.mean()), rel=1e-3)
    inner = functional.interpolate(expected[None], (56, 56), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(added[..., 4:-4], inner[..., 4:-4], atol=2e-3, rtol=0)


def test_each_step_starts_anew() -> None:
    def objective(x: Tensor) -> Tensor:
        assert x.grad_fn is not None  # the batch axis
        assert x.grad_fn.next_functions[0][0].name() == "torch::autograd::AccumulateGrad"  # and nothing before it
        return half_mean_square(x)

    with torch.no_grad():  # whatever the caller does
        found = dream(objective, noise(32), TIGHT, DreamSettings(sizes=(32, 40), steps=2))
    assert found.images[40].shape == (3, 40, 40)


@pytest.mark.parametrize("sigma", [0.25, 1.0, 2.3, 4.8])
def test_kernel_sums_to_one_and_has_its_width(sigma: float) -> None:
    weights = kernel(sigma).double()
    reach = len(weights) // 2
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    assert torch.equal(weights, weights.flip(0))
    assert reach >= 4 * sigma
    variance = float((weights * torch.arange(-reach, reach + 1).square()).sum())
    if sigma >= 1:
        assert variance == pytest.approx(sigma**2, rel=3e-3)
    else:  # a Gaussian narrower than a pixel is all but one pixel
        assert variance < 2e-3


def test_widths_grow_with_the_steps() -> None:
    assert widths(0, 20) == (0.25, 0.5, 1.0)
    assert widths(5, 20) == (0.5, 1.0, 2.0)
    assert widths(10, 20) == (0.75, 1.5, 3.0)
    assert widths(19, 20) == pytest.approx((1.2, 2.4, 4.8))


def test_smoothing_spreads_a_point_as_the_mean_of_three_gaussians() -> None:
    point = torch.zeros(3, 64, 64)
    point[1, 30, 20] = 1
    spread = smoothed(point, 10, 20)
    assert spread[[0, 2]].abs().max() == 0
    assert spread[1].sum() == pytest.approx(1, abs=1e-5)
    y, x = torch.meshgrid(torch.arange(64) - 30, torch.arange(64) - 20, indexing="ij")
    gaussians = [torch.exp(-0.5 * (x**2 + y**2) / sigma**2) for sigma in (0.75, 1.5, 3.0)]
    expected = sum(one / one.sum() for one in gaussians) / 3
    torch.testing.assert_close(spread[1], expected, atol=1e-4, rtol=0)


def test_smoothing_does_not_see_where_the_image_was_rolled() -> None:
    slope = noise(33)
    rolled = smoothed(slope.roll((7, -20), (1, 2)), 19, 20)
    torch.testing.assert_close(rolled, smoothed(slope, 19, 20).roll((7, -20), (1, 2)), atol=1e-6, rtol=0)


def test_pixels_stay_within_their_bounds_and_reach_them() -> None:
    low, high = TIGHT
    found = dream(linear(), 3 * noise(64), TIGHT, DreamSettings(sizes=(32, 48), steps=5, rate=2.0))
    for image in found.images.values():
        assert (image >= low.numpy()).all()
        assert (image <= high.numpy()).all()
        at_bound = (image == low.numpy()) | (image == high.numpy())
        assert (at_bound.mean((1, 2)) > 0.1).all()


def test_bounds_are_black_and_white_after_normalisation() -> None:
    pixels = Pixels(FRONTS, [0.1, 0.2, 0.3], [0.5, 0.25, 0.2])
    shown = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    normal = pixels(shown, torch.ones(2, 1, 8, 8), torch.full((2,), FRONTS.index("display")))
    for bound, image in zip(valid_range(pixels), normal, strict=True):
        torch.testing.assert_close(bound.expand(3, 8, 8), image)


def test_same_seed_same_bits() -> None:
    def run(**changes: int) -> dict[int, NDArray[np.float32]]:
        return dream(objective, noise(40), TIGHT, DreamSettings(sizes=(32, 48), steps=3, **changes)).images

    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))

    def objective(x: Tensor) -> Tensor:  # with a stride and borders, so that the shift matters
        return half_mean_square(functional.conv2d(x, weight, stride=3))

    first = run(seed=5)
    torch.manual_seed(99)  # of no importance
    assert {size: image.tobytes() for size, image in run(seed=5).items()} == {
        size: image.tobytes() for size, image in first.items()
    }
    assert all(np.abs(first[size] - image).max() > 0.01 for size, image in run(seed=6).items())
    alone = run(seed=5, max_size=47)
    assert list(alone) == [32]
    assert alone[32].tobytes() == first[32].tobytes()


def test_shift_is_at_most_the_jitter_along_both_axes_and_is_undone() -> None:
    image = torch.zeros(3, 96, 96)
    image[:, 48, 48] = 1
    places = []

    def objective(x: Tensor) -> Tensor:
        if x.shape[-1] == 96:
            places.append(divmod(int(x[0, 0].argmax()), 96))
        return x.sum() * 0

    found = dream(objective, image, WIDE, DreamSettings(sizes=(96,), steps=200))
    shift = np.array(places) - 48
    assert (shift.min(0) < -28).all()
    assert (shift.max(0) > 28).all()
    assert np.abs(shift).max() <= 32
    assert abs(np.corrcoef(shift.T)[0, 1]) < 0.2
    np.testing.assert_array_equal(found.images[96], image.numpy())  # no gradient, no change, no division by zero


def test_sizes_above_the_largest_allowed_are_left_out() -> None:
    settings = DreamSettings(max_size=600)
    assert (settings.kept, settings.left_out) == ((256, 512), (1024,))
    assert (DreamSettings().kept, DreamSettings().left_out) == ((256, 512, 1024), ())
    with pytest.raises(UsageError, match="largest allowed, 255 px") as caught:
        DreamSettings(max_size=255)
    assert caught.value.hint == "allow at least 256 px"


@pytest.mark.parametrize("sizes", [(), (16,), (64, 32), (64, 64)])
def test_impossible_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="impossible sizes"):
        DreamSettings(sizes=sizes)


def test_no_steps_and_no_square() -> None:
    with pytest.raises(UsageError, match="0 steps"):
        DreamSettings(steps=0)
    for shape in ((3, 32, 40), (1, 3, 32, 32)):
        with pytest.raises(ValueError, match=r"\(C, S, S\)"):
            dream(linear(), torch.zeros(shape), TIGHT, DreamSettings(sizes=(32,)))


def test_progress_tells_each_step() -> None:
    told: list[tuple[int, int, int, float]] = []
    found = dream(linear(), noise(32), TIGHT, DreamSettings(sizes=(32, 40), steps=3), lambda *step: told.append(step))
    assert [step[0] for step in told] == list(range(1, 13))
    assert {step[1] for step in told} == {12}
    assert [step[2] for step in told] == [32] * 6 + [40] * 6
    assert [step[3] for step in told] == [*found.trace[32].ravel(), *found.trace[40].ravel()]


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_is_dreamt_of(network: DMAGNet, layer: str) -> None:
    objective = layer_objective(network, layer)
    image = noise(64)
    with torch.no_grad():
        maps = network.layer(image[None], layer)
    assert maps.shape[1] == WIDTHS[layer]
    assert objective(image[None]).item() == pytest.approx(maps.double().square().mean().item() / 2, rel=1e-5)
    found = dream(objective, image, WIDE, DreamSettings(sizes=(64,), steps=4, jitter=0))
    assert (found.trace[64][:, -1] > found.trace[64][:, 0]).all()
    assert not network.training
    assert all(not weight.requires_grad and weight.grad is None for weight in network.parameters())


def gradients(network: DMAGNet, make: Callable[[DMAGNet], Objective]) -> tuple[float, Tensor]:
    return gradient(make(network), noise(64, seed=3))


def changed(network: DMAGNet, name: str, keep: int) -> DMAGNet:
    """The same network with other weights in all rows of a layer but one."""
    other = DMAGNet()
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        for kind in ("weight", "bias"):
            values = other.get_parameter(f"{name}.{kind}")
            rows = torch.arange(len(values)) != keep
            values[rows] += 1
    return other


def test_channel_touches_only_itself(network: DMAGNet) -> None:
    def make(one: DMAGNet) -> Objective:
        return layer_objective(one, "stem", 7)

    value, slope = gradients(network, make)
    with torch.no_grad():
        maps = network.stem(noise(64, seed=3)[None])
    assert value == pytest.approx(maps[0, 7].square().mean().item() / 2, rel=1e-5)
    assert slope.abs().max() > 0
    same = gradients(changed(network, "stem.1", 7), make)
    assert same[0] == value
    assert torch.equal(same[1], slope)
    assert gradients(changed(network, "stem.1", 8), make)[0] != value


def test_class_touches_only_itself(network: DMAGNet) -> None:
    def make(one: DMAGNet) -> Objective:
        return class_objective(one, 4)

    value, slope = gradients(network, make)
    with torch.no_grad():
        assert value == pytest.approx(network(noise(64, seed=3)[None])[0, 4].item(), rel=1e-5)
    same = gradients(changed(network, "head.fc", 4), make)
    assert same[0] == pytest.approx(value, rel=1e-6)
    torch.testing.assert_close(same[1], slope, rtol=1e-5, atol=1e-9)
    assert gradients(changed(network, "head.fc", 5), make)[0] != pytest.approx(value, rel=1e-3)


def test_what_the_network_lacks(network: DMAGNet) -> None:
    with pytest.raises(UsageError, match="unknown layer 'head'"):
        layer_objective(network, "head")
    for channel in (-1, 64):
        with pytest.raises(UsageError, match="stem has no channel") as caught:
            layer_objective(network, "stem", channel)
        assert caught.value.hint == "give a channel from 0 to 63"
    for number in (-1, 10):
        with pytest.raises(UsageError, match="no class"):
            class_objective(network, number)
    assert module.WIDTHS == {"stem": 64, "dma1": 128, "dma2": 256, "dma3": 512, "lam": 1024}
