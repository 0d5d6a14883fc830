import pytest
import torch
from torch import nn
from torch.nn import functional

from galcli.training.experiments.dmagnet_measure import multiply_adds, parameters
from galcli.training.networks import convnext, morphology
from galcli.training.networks.convnext import DEPTHS, WIDTHS, Block, ChannelNorm, ConvNeXt
from galcli.training.networks.morphology import NETWORKS
from galcli.training.optim import adamw

DMAGNET = 23_820_811


def images(n=2, size=64, channels=3, seed=1):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def make(name="convnext", seed=0):
    torch.manual_seed(seed)
    return NETWORKS[name](10)


def test_budgets_are_those_that_are_told():
    rows = {
        line.split()[0]: line.split()[1:] for line in morphology.__doc__.splitlines() if "," in line and "  " in line
    }
    assert list(rows) == list(NETWORKS)
    for name, told in rows.items():
        network = make(name)
        count = multiply_adds(network, 128)
        assert told == [f"{value:,}" for value in (parameters(network), count, 2 * count)]
    assert parameters(make("dmagnet")) == DMAGNET
    assert abs(parameters(make("convnext")) / DMAGNET - 1) < 0.02
    assert f"{parameters(make('convnext')):,}" in ConvNeXt.__doc__


def test_convnext_is_convnext_t_of_other_widths(monkeypatch):
    assert DEPTHS == (3, 3, 9, 3)
    assert [width / WIDTHS[0] for width in WIDTHS] == [1, 2, 4, 8]
    monkeypatch.setattr(convnext, "WIDTHS", (96, 192, 384, 768))
    with torch.device("meta"):  # the published one: its parameters, and 4.5 G multiply-adds at 224 px
        published = ConvNeXt(1000)
    assert parameters(published) == 28_589_128
    assert multiply_adds(published, 224) == pytest.approx(4.5e9, rel=0.01)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_logits_of_every_grid(name, size):
    with torch.no_grad():
        logits = make(name).eval()(images(1, size))
    assert logits.shape == (1, 10)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("size", "cells"), [(32, 1), (64, 2), (96, 3), (128, 4), (256, 8), (100, 3)])
def test_last_maps_of_convnext(size, cells):
    with torch.device("meta"):
        assert ConvNeXt(10).maps(torch.empty(1, 3, size, size)).shape == (1, 704, cells, cells)


def test_a_block_of_scale_zero_is_identity():
    torch.manual_seed(0)
    block, x = Block(8), images(2, 9, 8)
    nn.init.normal_(block.expand.weight)
    nn.init.normal_(block.project.weight)
    nn.init.zeros_(block.scale)
    assert torch.equal(block(x), x)
    nn.init.ones_(block.scale)
    added = block(x) - x
    assert added.abs().mean() > 0.1
    # What is added is in proportion to the scale, channel by channel.
    with torch.no_grad():
        block.scale.copy_(torch.arange(8.0))
    torch.testing.assert_close(block(x) - x, added * torch.arange(8.0).view(1, 8, 1, 1), rtol=1e-4, atol=1e-4)


def test_a_block_sees_seven_pixels_of_every_channel():
    torch.manual_seed(0)
    block = Block(4)
    nn.init.ones_(block.scale)
    x = images(1, 15, 4).requires_grad_()
    block(x)[0, 0, 7, 7].backward()
    seen = x.grad[0].abs() > 0
    assert seen[:, 4:11, 4:11].all()
    assert seen.sum() == 4 * 49


def test_a_block_is_what_the_paper_draws():
    torch.manual_seed(0)
    block, x = Block(4).double(), images(1, 9, 4).double()
    nn.init.normal_(block.scale)
    kernel, bias = block.depthwise.weight, block.depthwise.bias
    middle = torch.stack([(x[0, c, 1:8, 1:8] * kernel[c, 0]).sum() + bias[c] for c in range(4)])  # at (4, 4)
    middle = (middle - middle.mean()) / (middle.var(unbiased=False) + 1e-6).sqrt()
    hidden = block.expand.weight @ middle + block.expand.bias
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    out = x[0, :, 4, 4] + block.scale * (block.project.weight @ hidden + block.project.bias)
    torch.testing.assert_close(block(x)[0, :, 4, 4], out)


def test_channel_norm_is_over_the_channels_of_each_position():
    x = 3 + 2 * images(2, 5, 64)
    found = ChannelNorm(64)(x)
    assert found.shape == x.shape
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 5, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.var(1, unbiased=False), torch.ones(2, 5, 5), rtol=0, atol=1e-3)
    # Other positions and other images do not matter.
    torch.testing.assert_close(ChannelNorm(64)(x[1:, :, 2:3, 2:3]), found[1:, :, 2:3, 2:3])


def test_a_new_convnext_begins_as_its_stem_and_halvings():
    network = make().eval()
    scales = [value for name, value in network.named_parameters() if name.endswith(".scale")]
    assert len(scales) == sum(DEPTHS)
    assert all((value == 1e-6).all() for value in scales)
    with torch.no_grad():
        x = network.stem(images())
        for halve in network.halve:
            x = halve(x)
        torch.testing.assert_close(network.maps(images()), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_image_is_classified_as_in_a_batch(name):
    network, x = make(name).eval(), images(3)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_sixteen_images_are_learned_by_heart(name):
    network, x = make(name).train(), images(16, 32)
    truth = torch.arange(16) % 10
    optimizer = adamw(network, 1e-3, 0.05)
    losses = []
    while len(losses) < 16 and (not losses or losses[-1] > 0.5):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), truth)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 < 2 < losses[0], losses
    # Everything learns but DMAGNet's attention, which has a single position to choose from in images of 32 px.
    idle = {name for name, weights in network.named_parameters() if not weights.grad.abs().sum() > 0}
    assert all(each.startswith("head.score") for each in idle)
    assert name == "dmagnet" or not idle
