import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from galcli.errors import ModelError, OutputError
from galcli.training import checkpoint
from galcli.training.networks.resnet import ResNet18
from galcli.training.networks.sfnet import SFNet
from galcli.training.optim import ranger, set_rate


def equal(a, b):
    return all(a[name].equal(b[name]) for name in a) and a.keys() == b.keys()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_torchvision_state_dict_loads_strictly(tmp_path, name):
    imagenet, lines = ResNet18(1000).state_dict(), []
    path = tmp_path / name
    torch.save(imagenet, path) if path.suffix == ".pth" else save_file(imagenet, path)
    net = SFNet(1)
    fc = net.fc.weight.detach().clone()
    checkpoint.initialise(net, path, lines.append)
    state = net.state_dict()
    # torchvision's images are red to blue, galcli's blue to red
    assert state["conv1.weight"].equal(imagenet["conv1.weight"][:, [2, 1, 0]])
    assert all(
        state[key].equal(value) for key, value in imagenet.items() if key.partition(".")[0] not in ("fc", "conv1")
    )
    assert net.fc.weight.equal(fc)
    assert len(lines) == 2
    assert "fc.weight and fc.bias left out" in lines[0]
    assert "red, green, blue" in lines[1]


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ModelError, match="pickled module") as caught:
        checkpoint.load_weights(path)
    assert "state_dict()" in caught.value.hint


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors", "missing.pth", "missing.safetensors"])
def test_damaged_and_missing_files(tmp_path, name):
    path = tmp_path / name
    if "damaged" in name:
        path.write_bytes(b"not a model" * 10)
    with pytest.raises(ModelError, match=name):
        checkpoint.load_weights(path)


def test_other_networks_are_refused(tmp_path):
    state = ResNet18(1).state_dict()
    del state["layer2.0.conv1.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match=r"layer2\.0\.conv1\.weight"):
        checkpoint.initialise(SFNet(1), tmp_path / "part.safetensors", print)
    with pytest.raises(ModelError, match="conv1"):
        checkpoint.initialise(SFNet(1, in_channels=5), _saved(tmp_path, ResNet18(1)), print)


def _saved(folder, module):
    save_file(module.state_dict(), folder / "whole.safetensors")
    return folder / "whole.safetensors"


def test_a_trunk_starts_another_training(tmp_path):
    metallicity, lines = SFNet(1), SFNet(4)
    checkpoint.save(tmp_path / "m.safetensors", metallicity.state_dict(), {"target": "metallicity"})
    told = []
    assert checkpoint.initialise(lines, tmp_path / "m.safetensors", told.append) == {"target": "metallicity"}
    assert lines.conv1.weight.equal(metallicity.conv1.weight)
    assert len(told) == 1
    assert lines.layer4[1].conv2.weight.equal(metallicity.layer4[1].conv2.weight)
    assert lines.fc.weight.shape == (4, 512)
    assert checkpoint.load_weights(tmp_path / "m.safetensors")[1] == {"target": "metallicity"}


def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 3))


def train(module, optimizer, first, last):
    for step in range(first, last):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        set_rate(optimizer, 0.01 + 0.001 * step, 0.9)
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("stop", [0, 1, 8])
def test_state_goes_to_disk_and_back(tmp_path, stop):
    whole, part, other = small(), small(), small()
    optimizer = ranger(whole, 0.1)
    train(whole, optimizer, 0, 16)
    optimizer = ranger(part, 0.1)
    train(part, optimizer, 0, stop)
    checkpoint.save(tmp_path / "state.safetensors", *checkpoint.pack(part, optimizer))
    train(other, ranger(other, 0.1), 0, 3)
    optimizer = ranger(other, 0.1)
    checkpoint.unpack(other, optimizer, *checkpoint.load(tmp_path / "state.safetensors"))
    train(other, optimizer, stop, 16)
    assert equal(whole.state_dict(), other.state_dict())


def test_state_of_another_network_is_refused(tmp_path):
    module = small()
    tensors, info = checkpoint.pack(module, ranger(module, 0.1))
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3))
    with pytest.raises(ModelError, match="another network"):
        checkpoint.unpack(other, ranger(other, 0.1), tensors, info)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("galcli.tables.atomic.os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        checkpoint.save(path, {"a": torch.ones(3)}, {"step": 2})
    assert checkpoint.load(path)[1] == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


#: Replaces a state again and again.
WRITER = """
import itertools, sys, torch
from pathlib import Path
from galcli.training import checkpoint
for number in itertools.count():
    checkpoint.save(Path(sys.argv[1]), {"weight": torch.full((8,), float(number))}, {"number": number})
"""


def test_a_state_that_is_replaced_meanwhile_is_the_old_or_the_new_one(tmp_path):
    """A training writes its state while somebody looks at it."""
    path = tmp_path / "s.safetensors"
    with subprocess.Popen([sys.executable, "-c", WRITER, path]) as writer:
        try:
            while not path.exists():
                assert writer.poll() is None
                time.sleep(0.01)
            for _ in range(1000):
                tensors, info = checkpoint.load(path)
                assert tensors["weight"].tolist() == [info["number"]] * 8
        finally:
            writer.kill()
