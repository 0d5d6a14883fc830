import numpy as np
import pytest
import torch
from torch import nn

from galcli.training.networks.resnet import STRIDE, ResNet18, cell_centers
from galcli.training.networks.sfnet import SFNet, sparsify
from galcli.training.optim import one_cycle, ranger, set_rate
from galcli.training.regression import rmse


def torchvision_names():
    """State-dict names of torchvision's resnet18, written out from its structure."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{part}" for part in norm)]
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            place = f"layer{layer}.{block}"
            for number in (1, 2):
                names += [f"{place}.conv{number}.weight", *(f"{place}.bn{number}.{part}" for part in norm)]
            if layer > 1 and block == 0:
                names += [f"{place}.downsample.0.weight", *(f"{place}.downsample.1.{part}" for part in norm)]
    return [*names, "fc.weight", "fc.bias"]


def images(n=3, size=64, dtype=torch.float32):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_names_are_torchvisions():
    names = torchvision_names()
    assert len(names) == 122
    assert list(ResNet18(1000).state_dict()) == names
    assert list(SFNet(1).state_dict()) == names


@pytest.mark.parametrize(("n_out", "count"), [(1, 11_177_025), (4, 11_178_564)])
def test_number_of_parameters(n_out, count):
    assert sum(parameter.numel() for parameter in SFNet(n_out).parameters()) == count


def test_shapes_of_the_published_input():
    net = SFNet(1).eval()
    with torch.no_grad():
        pooled, maps = net.features(images(1, 144))
    assert maps.shape == (1, 512, 5, 5)
    assert pooled.shape == (1, 512)
    assert cell_centers(144) == [0.0, 32.0, 64.0, 96.0, 128.0]


def test_cells_look_at_multiples_of_the_stride():
    # A receptive field is symmetric about the pixel it is centred on, so with equal weights the gradient is too (but
    # for ties in the pooling). Cells spread evenly over the image would be centred 16 pixels further.
    net = ResNet18(1).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1e-3)
    x = torch.ones(1, 3, 288, 288, requires_grad=True)
    net.maps(x)[0, 0, 4, 4].backward()
    weight = x.grad[0].sum(0)
    place = torch.arange(288.0)
    mass = weight.sum()
    assert (weight.sum(1) @ place / mass).item() == pytest.approx(4 * STRIDE, abs=2)
    assert (weight.sum(0) @ place / mass).item() == pytest.approx(4 * STRIDE, abs=2)


def test_topk_of_a_vector_written_by_hand():
    f = torch.tensor([[0.5, -3.0, 2.0, 0.1, 2.5, 0.4]], requires_grad=True)
    z = sparsify(f, 3)
    torch.testing.assert_close(z, torch.tensor([[0.5, 0.0, 2.0, 0.0, 2.5, 0.0]]), rtol=0, atol=0)
    (z * torch.arange(1.0, 7.0)).sum().backward()
    torch.testing.assert_close(f.grad, torch.tensor([[1.0, 0.0, 3.0, 0.0, 5.0, 0.0]]), rtol=0, atol=0)


def test_fewer_positive_features_than_k():
    f = torch.tensor([[-1.0, 0.0, 2.0, -5.0]], requires_grad=True)
    z = sparsify(f, 3)
    assert z.tolist() == [[0.0, 0.0, 2.0, 0.0]]
    z.sum().backward()
    assert f.grad.tolist() == [[0.0, 0.0, 1.0, 0.0]]


def test_all_features_is_the_dense_network():
    net, dense = SFNet(4, k=512).eval(), ResNet18(4).eval()
    dense.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net(images()), dense(images()))


def test_head_is_the_linear_layer():
    net = ResNet18(4)
    pooled = torch.rand(5, 512)
    torch.testing.assert_close(net.head(pooled), net.fc(pooled), rtol=1e-5, atol=1e-6)


def test_head_keeps_float32_under_autocast():
    net = SFNet(1).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y = net(images())
    assert y.dtype == torch.float32


def test_map_average_is_the_pooled_feature():
    with torch.no_grad():
        pooled, maps = SFNet(1).eval().features(images(2, 144))
    np.testing.assert_allclose(maps.double().mean((2, 3)), pooled, atol=1e-6)


def test_gather_form_equals_scatter_form():
    torch.manual_seed(5)
    net = SFNet(4, k=4).double().eval()
    x = images(4, 96, torch.float64)
    with torch.no_grad():
        sparse = net.explain(x)
        torch.testing.assert_close(sparse.y, net(x), rtol=0, atol=1e-8)
    assert (sparse.values.diff(dim=1) <= 0).all()
    torch.testing.assert_close(sparse.pooled.gather(1, sparse.idx), sparse.values)
    width = sparse.maps.shape[3]
    for row in range(4):
        for j in range(4):
            peak = sparse.maps[row, sparse.idx[row, j]]
            assert peak[sparse.cell[row, j] // width, sparse.cell[row, j] % width] == peak.max()


def test_silent_features_have_no_number():
    net = SFNet(1, k=4).eval()
    for norm in (net.layer4[0].bn2, net.layer4[0].downsample[1], net.layer4[1].bn2):
        nn.init.zeros_(norm.weight)
    nn.init.zeros_(net.layer4[1].bn2.bias)
    net.layer4[1].bn2.bias.data[7] = 1.0
    with torch.no_grad():
        sparse = net.explain(images(2))
    assert sparse.idx.tolist() == [[7, -1, -1, -1]] * 2
    assert (sparse.cell[:, 1:] == -1).all()
    assert (sparse.values[:, 1:] == 0).all()


CHANNELS, ACTIVE = 6, 2


def planted(n, random):
    """Images in which 2 of 6 channels hold a blob somewhere; their brightnesses (n, 6), 0 where there is none."""
    brightness = torch.zeros(n, CHANNELS)
    active = torch.rand(n, CHANNELS, generator=random).argsort(1)[:, :ACTIVE]
    brightness.scatter_(1, active, 0.5 + torch.rand(n, ACTIVE, generator=random))
    row, column = torch.randint(2, 10, (2, n, CHANNELS, 1, 1), generator=random)
    place = torch.arange(12.0)
    blob = torch.exp(-((place[:, None] - row) ** 2 + (place - column) ** 2) / 2) * 144 / (2 * torch.pi)
    noise = 0.01 * torch.randn(n, CHANNELS, 12, 12, generator=random)
    return noise + brightness[:, :, None, None] * blob, brightness


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_features_are_recovered(seed):
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    truth = torch.tensor([1.0, -1.0, 2.0, -2.0, 3.0, -3.0])
    conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False, groups=CHANNELS)
    nn.init.uniform_(conv.weight, 0, 0.2)
    fc = nn.Linear(CHANNELS, 1)
    nn.init.zeros_(fc.weight)
    optimizer, schedule = ranger(nn.Sequential(conv, fc), 0.05), one_cycle(0.05)
    for step in range(200):
        x, brightness = planted(64, random)
        set_rate(optimizer, *schedule(step, 200))
        optimizer.zero_grad()
        y = fc(sparsify(conv(x).mean((2, 3)), ACTIVE))
        rmse(y, (brightness @ truth)[:, None]).backward()
        optimizer.step()
    x, brightness = planted(500, random)
    kept = sparsify(conv(x).mean((2, 3)), ACTIVE) > 0
    assert (kept == (brightness > 0)).all(1).float().mean() >= 0.95
    learnt = fc.weight[0] * conv.weight.sum((1, 2, 3))
    torch.testing.assert_close(learnt, truth, rtol=0.15, atol=0.1)
