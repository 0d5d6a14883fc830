import copy

import numpy as np
import pytest
import torch
from torch import nn

from galcli.training import checkpoint, export, proof
from galcli.training.networks.deconvolution import Deconv2d
from galcli.training.networks.xresnet import NETWORKS, Block, PlainMish, SelfAttention, build, prepare_for_export
from galcli.training.optim import one_cycle, ranger, set_rate
from galcli.training.regression import rmse

COUNTS = {
    "xresnet18-hybrid": 6_734_743,
    "xresnet18": 6_734_871,
    "xresnet18-deconv": 6_730_007,
    "simple-cnn": 29_734,
    "simple-deconv": 29_606,
}


def images(n=3, size=64, seed=1):
    return torch.randn(n, 5, size, size, generator=torch.Generator().manual_seed(seed))


def make(name, seed=0, **settings):
    torch.manual_seed(seed)
    return build(name, **settings)


def used(name, size=64):
    """A network whose every part is away from its start: no scale is 0, all running values have been measured."""
    net = make(name)
    random = torch.Generator().manual_seed(2)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.0, generator=random)
            nn.init.normal_(part.bias, std=0.1, generator=random)
        elif isinstance(part, SelfAttention):
            nn.init.constant_(part.gamma, 1e-4)
    with torch.no_grad():
        for seed in range(2):
            net(images(4, size, seed))
    return net.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_number_of_parameters(name):
    assert sum(parameter.numel() for parameter in build(name, dropout=0.5).parameters()) == COUNTS[name]


def test_published_rates():
    assert {name for name, kind in NETWORKS.items() if kind.lr != 0.03} == {"xresnet18-deconv"}
    assert NETWORKS["xresnet18-deconv"].lr == 0.003


def test_deconvolution_is_where_it_was_published():
    places = {name: [isinstance(part, Deconv2d) for part in build(name).modules() if isinstance(part, nn.Conv2d)
                     and part.kernel_size == (3, 3)] for name in NETWORKS}  # fmt: skip
    assert places == {
        "xresnet18-hybrid": [True] * 3 + [False] * 16,
        "xresnet18": [False] * 19,
        "xresnet18-deconv": [True] * 19,
        "simple-cnn": [False] * 3,
        "simple-deconv": [True] * 3,
    }


def test_shapes_of_the_published_input():
    net = make("xresnet18-hybrid").eval()
    shapes = []
    for layer in net.body:
        if not isinstance(layer, nn.Mish):
            layer.register_forward_hook(lambda _layer, _inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        pooled, maps = net.features(images(1, 224))
    assert shapes == [
        (32, 112, 112), (32, 112, 112), (64, 112, 112), (64, 56, 56),
        (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7),
    ]  # fmt: skip
    assert maps.shape == (1, 512, 7, 7)
    assert pooled.shape == (1, 512)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [32, 50])
def test_any_size(name, size):
    net = make(name, in_channels=3, n_out=2)
    with torch.no_grad():
        net(images(2, size)[:, :3])
        for x in (images(2, size)[:, :3], images(1, size)[:, :3]):
            pooled, maps = net.eval().features(x)
            assert pooled.shape == (len(x), NETWORKS[name].width)
            torch.testing.assert_close(maps.mean((2, 3)), pooled)
            y = net(x)
            torch.testing.assert_close(y, pooled @ net.fc.weight.T + net.fc.bias)
            assert y.shape == (len(x), 2)
            assert bool(y.isfinite().all())


def test_a_block_starts_as_its_shortcut():
    block = Block("batch", 64, 64, 1, attention=True)
    with torch.no_grad():
        x = torch.randn(4, 64, 12, 12)
        torch.testing.assert_close(block(x), nn.functional.mish(x), rtol=0, atol=2e-3)
        assert not torch.equal(block(x), nn.functional.mish(x))  # biases of 1e-3


def test_self_attention_equals_its_formula():
    torch.manual_seed(0)
    layer = SelfAttention(6)
    x = torch.randn(2, 6, 5, 4)
    with torch.no_grad():
        assert torch.equal(layer(x), x)
        layer.gamma.fill_(0.3)
        for _ in range(200):  # power iterations
            y = layer(x)
    original = layer.mix.parametrizations.weight.original.detach().double().numpy()
    mix = original / np.linalg.svd(original, compute_uv=False)[0]
    for image, found in zip(x.double().numpy().reshape(2, 6, 20), y.numpy().reshape(2, 6, 20), strict=True):
        np.testing.assert_allclose(found, 0.3 * (image @ image.T) @ (mix @ image) + image, rtol=1e-4, atol=1e-4)


def test_plain_mish_is_mish():
    x = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([-1e4, 1e4])])
    torch.testing.assert_close(PlainMish()(x), nn.functional.mish(x), rtol=1e-6, atol=1e-7)


def test_dropout_is_in_the_head_alone():
    net = make("simple-cnn", dropout=0.5)
    reference = make("simple-cnn")
    assert list(net.state_dict()) == list(reference.state_dict())
    net.eval().dropout.train()  # as an ensemble of predictions does
    pooled = torch.ones(4000, 64)
    with torch.no_grad():
        y = net.head(pooled)
        torch.testing.assert_close(y.mean(0), reference.head(pooled[:1])[0], rtol=0, atol=0.1)
        assert y.std(0).min() > 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16(name):
    net, exact = make(name), make(name)
    x = images(4, 48)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    y.square().mean().backward()
    assert y.dtype == torch.float32
    assert all(bool(parameter.grad.isfinite().all()) for parameter in net.parameters())
    with torch.no_grad():
        assert (y - exact(x)).square().mean() < 0.05 * exact(x).var()


@pytest.mark.parametrize("name", ["xresnet18-hybrid", "simple-cnn", "simple-deconv"])
def test_eight_images_are_learnt_by_heart(name):
    net = make(name)
    size, steps, rate = (32, 40, 0.01) if NETWORKS[name].width == 512 else (16, 100, 0.03)
    x, y = images(8, size), torch.randn(8, 6, generator=torch.Generator().manual_seed(3))
    optimizer, schedule = ranger(net, rate), one_cycle(rate)
    for step in range(steps):
        set_rate(optimizer, *schedule(step, steps))
        optimizer.zero_grad()
        loss = rmse(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss < 0.05


@pytest.mark.parametrize("name", ["xresnet18-hybrid", "xresnet18-deconv"])
def test_training_resumes_to_the_last_bit(name, tmp_path):
    def step(net, optimizer, seed):
        optimizer.zero_grad()
        net(images(4, 32, seed)).square().mean().backward()
        optimizer.step()

    net = make(name)
    optimizer = ranger(net, 1e-3)
    step(net, optimizer, 0)
    checkpoint.save(tmp_path / "state.safetensors", *checkpoint.pack(net, optimizer))
    other = make(name, seed=5)
    resumed = ranger(other, 1e-3)
    checkpoint.unpack(other, resumed, *checkpoint.load(tmp_path / "state.safetensors"))
    step(net, optimizer, 1)
    step(other, resumed, 1)
    there = other.state_dict()
    assert all(torch.equal(value, there[key]) for key, value in net.state_dict().items())
    assert torch.equal(net.eval()(images()), other.eval()(images()))


@pytest.mark.parametrize("name", NETWORKS)
def test_export(name):
    net = used(name)
    reference = copy.deepcopy(net)
    prepare_for_export(net)
    with torch.no_grad():
        torch.testing.assert_close(net(images()), reference(images()), rtol=1e-5, atol=1e-5)
    convolutions = sum(isinstance(part, nn.Conv2d) for part in reference.modules())
    export.freeze(net, {"x": images(2)})
    model = export.to_onnx(net, {"x": images(2)}, ["y"])
    kinds = [node.op_type for node in model.graph.node]
    # One for one: nothing is normalised or whitened in the graph.
    assert kinds.count("Conv") == convolutions
    assert kinds.count("MatMul") + kinds.count("Gemm") == (4 if "xresnet" in name else 1)
    assert not {"BatchNormalization", "ReduceSumSquare", "Sqrt"} & set(kinds)
    mishes = sum(isinstance(part, nn.Mish) for part in reference.modules())
    assert kinds.count("Div") == mishes
    assert kinds.count("Sub") == 2 * mishes
    assert proof.prove(net, model, lambda count: {"x": images(count)}) <= 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_say_the_same(name):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        net, x = used(name).to(dtype), images().to(dtype)
        with torch.no_grad():
            expected = net(x)
            prepare_for_export(net)
            error = (net(x) - expected).abs().max() / expected.abs().max()
        assert error <= tolerance


def test_export_of_maps_with_odd_sides():
    net = used("xresnet18-hybrid", 112)
    prepare_for_export(net)
    model = export.to_onnx(net, {"x": images(2, 112)}, ["y"])
    assert proof.prove(net, model, lambda count: {"x": images(count, 112)}) <= 1e-4
