"""DMAGNet's parts and shapes (models.md 5.2 and 5.8)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from galcli.training.networks.dmagnet import (
    DILATIONS,
    LAYERS,
    AttentionalFusion,
    Block,
    DMAGNet,
    DynamicLargeKernel,
    Head,
    LocalAttention,
    MultiScaleFFN,
)

PUBLISHED = (9_536, 768_704, 1_375_040, 11_922_176, 7_343_104, 2_402_251)
#: Sizes of the maps at two input sizes: the paper's Table 1, and its text.
SHAPES = {512: (128, 64, 32, 16, 16), 256: (64, 32, 16, 8, 8)}
WIDTHS = (64, 128, 256, 512, 1024)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def network() -> DMAGNet:
    torch.manual_seed(0)
    return DMAGNet().eval()


def test_parameters_are_the_published_ones(network: DMAGNet) -> None:
    assert tuple(count(getattr(network, name)) for name in (*LAYERS, "head")) == PUBLISHED
    assert count(network) == sum(PUBLISHED) == 23_820_811


@pytest.mark.parametrize(("before", "after"), [(64, 128), (128, 256), (256, 512)])
def test_blocks_have_the_two_polynomials(before: int, after: int) -> None:
    assert count(Block(before, after, 2)) == 20.5 * after**2 + 123.25 * after
    assert count(Block(after, after, 1)) == 24.5 * after**2 + 122.25 * after


@pytest.mark.parametrize("size", SHAPES)
def test_shapes_of_the_stages(network: DMAGNet, size: int) -> None:
    with torch.no_grad():
        x = torch.randn(1, 3, size, size)
        for name, width, side in zip(LAYERS, WIDTHS, SHAPES[size], strict=True):
            assert network.layer(x, name).shape == (1, width, side, side)
        assert network(x).shape == (1, 10)


def test_a_layer_is_what_the_whole_network_computes(network: DMAGNet) -> None:
    x, seen = torch.randn(2, 3, 64, 64), {}
    hook = network.lam.register_forward_hook(lambda module, inputs, output: seen.update(lam=output[0]))
    with torch.no_grad():
        network(x)
        torch.testing.assert_close(network.layer(x, "lam"), seen["lam"])
        torch.testing.assert_close(network.trace(x).maps, seen["lam"])
    hook.remove()
    with pytest.raises(ValueError, match="known: stem, dma1, dma2, dma3, lam"):
        network.layer(x, "head")


def test_shares_and_attention_sum_to_one(network: DMAGNet) -> None:
    with torch.no_grad():
        seen = network.trace(torch.randn(3, 3, 96, 96))
    assert [tuple(share.shape) for share in seen.shares] == [(3, 3)] * 3
    for share in seen.shares:
        torch.testing.assert_close(share.sum(1), torch.ones(3))
    assert seen.attention.shape == seen.lam.shape == (3, 3, 3)
    torch.testing.assert_close(seen.attention.sum((1, 2)), torch.ones(3))
    assert ((seen.lam > 0) & (seen.lam < 1)).all()


def test_each_channel_chooses_its_own_kernels() -> None:
    torch.manual_seed(1)
    shares = DynamicLargeKernel(8)(torch.randn(2, 8, 9, 9))[1]
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 8))
    assert shares.std(2).min() > 0


def test_no_preference_is_a_third_each() -> None:
    kernel = DynamicLargeKernel(4).eval()
    nn.init.zeros_(kernel.selector.weight)
    nn.init.zeros_(kernel.selector.bias)
    x = torch.randn(2, 4, 12, 12)
    mixed, shares = kernel(x)
    torch.testing.assert_close(shares, torch.full((2, 3, 4), 1 / 3))
    thirds = torch.cat([branch(x) / 3 for branch in kernel.branches], 1)
    torch.testing.assert_close(mixed, kernel.fuse(thirds))


def test_kernels_reach_3_5_and_7_pixels() -> None:
    kernel = DynamicLargeKernel(1).eval()
    x = torch.zeros(1, 1, 15, 15)
    x[..., 7, 7] = 1
    for branch, dilation in zip(kernel.branches, DILATIONS, strict=True):
        nn.init.ones_(branch[0].weight)
        touched = torch.nonzero(branch[0](x)[0, 0])
        assert touched.min() == 7 - dilation
        assert touched.max() == 7 + dilation
        assert len(touched) == 9


def test_uniform_scores_pool_the_mean() -> None:
    torch.manual_seed(2)
    head = Head(16, 10).eval()
    nn.init.zeros_(head.score[2].weight)
    x = torch.randn(2, 16, 5, 7)
    logits, hidden, weights = head(x)
    torch.testing.assert_close(weights, torch.full((2, 5, 7), 1 / 35))
    mean = head.reduce(x).mean((2, 3))
    torch.testing.assert_close(hidden, head.hidden(mean))
    torch.testing.assert_close(logits, head.fc(hidden))


def test_attention_begins_open() -> None:
    """Scores that begin in saturation pass no gradient on, and the network looks at one place for ever."""
    torch.manual_seed(5)
    network = DMAGNet().train()
    seen = network.trace(torch.randn(8, 3, 128, 128))
    assert seen.attention.shape == (8, 4, 4)
    surprise = -(seen.attention * seen.attention.log()).sum((1, 2))
    assert float(surprise.detach().mean()) > 0.5 * np.log(16)


def test_fusion_and_attention_raise_by_one_to_two() -> None:
    fusion, x = AttentionalFusion(8), torch.rand(2, 8, 4, 4) + 0.1
    factor = fusion(x) / x
    assert ((factor > 1) & (factor < 2)).all()
    torch.testing.assert_close(factor, factor[:, :, :1, :1].expand_as(factor))
    attention = LocalAttention(8, 16).eval()
    nn.init.zeros_(attention.attend[2].weight)
    nn.init.zeros_(attention.attend[2].bias)
    maps, weight = attention(x)
    torch.testing.assert_close(maps, 1.5 * attention.widen(x))
    torch.testing.assert_close(weight, torch.full((2, 4, 4), 0.5))


def test_the_feed_forward_part_starts_from_its_input() -> None:
    part, x = MultiScaleFFN(4).eval(), torch.randn(1, 4, 6, 6)
    nn.init.zeros_(part.project[0].weight)
    torch.testing.assert_close(part(x), x)


def test_every_parameter_learns() -> None:
    torch.manual_seed(3)
    network = DMAGNet()
    functional.cross_entropy(network(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 2, 3])).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_twenty_images_are_learned_by_heart() -> None:
    torch.manual_seed(4)
    network, images, classes = DMAGNet(), torch.randn(20, 3, 32, 32), torch.arange(20) % 10
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        logits = network(images)
        if (logits.argmax(1) == classes).all():
            break
        functional.cross_entropy(logits, classes).backward()
        optimizer.step()
    assert (logits.argmax(1) == classes).all()
