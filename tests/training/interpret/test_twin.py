"""The torch twin of a DMAGNet's model file, made from random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper

from galcli.errors import ModelError
from galcli.models.card import Card
from galcli.models.session import Session
from galcli.training import export, proof
from galcli.training.interpret.dream import class_objective, gradient
from galcli.training.interpret.twin import Twin, read_twin
from galcli.training.networks.dmagnet_export import ExportedDMAGNet
from galcli.training.pixels import FRONTS
from tests.training.tiny_dmagnet import MEAN, PIXEL_SCALE, SIZE, STD, make, sample

CLASSES = 7
BANDS = {"flux:gri": "gri", "flux:grz": "grz", "display": ("blue", "green", "red")}


@dataclass(frozen=True)
class Made:
    """A model file, and what it was made of."""

    path: Path
    module: ExportedDMAGNet
    graph: onnx.ModelProto
    twin: Twin


def card(**changes: Any) -> Card:
    fields = {
        "name": "dmagnet", "version": "1", "system": "dmagnet", "description": "random", "prefix": "MORPH",
        "fronts": [{"name": name, "bands": tuple(BANDS[name])} for name in FRONTS], "size": (SIZE, SIZE),
        "pixel_scale": PIXEL_SCALE, "licence": "BSD-3-Clause", "citation": "none",
        "outputs": [{"tensor": "prob", "column": "MORPH_PROB", "dtype": "f4", "shape": (CLASSES,),
                     "description": "probabilities"}],
        "training": {
            "data": "none", "mock": True, "objects": 0, "seed": 0, "epochs": 0, "preset": "none",
            "details": {"normalisation_mean": MEAN, "normalisation_std": STD},
        },
    }  # fmt: skip
    return Card.model_validate(fields | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("twin") / "random.onnx"
    module, graph = make(path, card(), CLASSES)
    return Made(path, module, graph, read_twin(path))


def saved(graph: onnx.ModelProto, path: Path, **changes: Any) -> Path:
    export.save(graph, card(**changes), path)
    return path


def with_other(graph: onnx.ModelProto, wanted: str, change: Callable[[Any], Any]) -> onnx.ModelProto:
    """The same graph with one weight changed."""
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    (tensor,) = [one for one in other.graph.initializer if one.name.removesuffix(".half") == wanted]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values), tensor.name))
    return other


def test_twin_has_the_weights_of_the_file_bit_by_bit(made: Made) -> None:
    ours, theirs = made.twin.network.state_dict(), made.module.network.state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert theirs["dma3.blocks.0.kernel.selector.bias"].abs().max() > 0
    assert theirs["dma3.blocks.1.kernel.selector.bias"].abs().max() == 0


def test_twin_says_what_the_file_says(made: Made) -> None:
    inputs = sample(5)
    found = Session(made.twin.file, "cpu").run({name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        logits = made.twin.network(made.twin.pixels(**inputs))
    assert proof.difference(found["inner/logits"], logits.numpy()) <= proof.TOLERANCE
    assert (found["inner/logits"].argmax(1) == found["class"]).all()
    assert 0 < made.twin.difference <= proof.TOLERANCE
    assert made.twin.card == card()


def test_twin_is_frozen_and_gives_gradients(made: Made) -> None:
    network = made.twin.network
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())
    image = made.twin.pixels(**sample(1))[0]
    value, slope = gradient(class_objective(network, CLASSES - 1), image)
    direction = slope / slope.norm()
    with torch.no_grad():
        ahead, behind = (network(image[None] + sign * 1e-3 * direction)[0, -1].item() for sign in (1, -1))
    assert (ahead - behind) / 2e-3 == pytest.approx(float((slope * direction).sum()), rel=0.05)
    assert value == pytest.approx((ahead + behind) / 2, rel=1e-2)


@pytest.mark.parametrize("wrong", ["mean", "scale"])
def test_card_that_tells_another_normalisation_or_scale_is_noticed(made: Made, tmp_path: Path, wrong: str) -> None:
    training = card().training.model_dump()
    training["details"] = {"normalisation_mean": [0.1, 0.15, 0.21], "normalisation_std": STD}
    changes: dict[str, Any] = {"training": training} if wrong == "mean" else {"pixel_scale": 0.51}
    with pytest.raises(ModelError, match=r"differ by .* in output inner/"):
        read_twin(saved(made.graph, tmp_path / "wrong.onnx", **changes))


def test_card_without_normalisation(made: Made, tmp_path: Path) -> None:
    training = card().training.model_dump() | {"details": {}}
    with pytest.raises(ModelError, match="lacks the normalisation") as caught:
        read_twin(saved(made.graph, tmp_path / "bare.onnx", training=training))
    assert "galcli train dmagnet" in caught.value.hint


def test_twin_that_reads_another_weight_is_refused(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = with_other(made.graph, "network.lam.attend.0.weight", lambda weight: weight * weight.dtype.type(1.02))
    # The file itself is consistent, so the twin follows it ...
    twin = read_twin(saved(other, tmp_path / "other.onnx"))
    assert not torch.equal(twin.network.lam.attend[0].weight, made.twin.network.lam.attend[0].weight)
    # ... but not where it would read the numbers of another file.
    monkeypatch.setattr(onnx, "load_model_from_string", lambda data: other)
    with pytest.raises(ModelError, match=r"differ by .* in output inner/"):
        read_twin(made.path)


def test_weights_of_other_shapes_are_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    other = with_other(made.graph, "network.lam.attend.0.weight", lambda weight: weight[:-1])
    monkeypatch.setattr(onnx, "load_model_from_string", lambda data: other)
    with pytest.raises(ModelError, match="not those of a DMAGNet"):
        read_twin(made.path)


def test_damaged_file_is_refused(made: Made, tmp_path: Path) -> None:
    path = Path(shutil.copy(made.path, tmp_path / "damaged.onnx"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        read_twin(path)


def test_network_with_a_layer_too_many_or_too_few_is_refused(made: Made, tmp_path: Path) -> None:
    def renamed(before: str, after: str) -> onnx.ModelProto:
        other = onnx.ModelProto()
        other.CopyFrom(made.graph)
        for tensor in other.graph.initializer:
            tensor.name = tensor.name.replace(before, after)
        for node in other.graph.node:
            for names in (node.input, node.output):
                names[:] = [name.replace(before, after) for name in names]
        return other

    with pytest.raises(ModelError, match="has no layer dma4"):
        read_twin(saved(renamed("network.dma2.", "network.dma4."), tmp_path / "more.onnx"))
    unnamed = renamed("network.stem.0.weight", "network.stem.2.weight")
    with pytest.raises(ModelError, match=r"has no layer stem\.2"):
        read_twin(saved(unnamed, tmp_path / "fewer.onnx"))
    with pytest.raises(ModelError, match="holds no DMAGNet"):
        read_twin(saved(renamed("network.head.fc", "network.head.last"), tmp_path / "headless.onnx"))


def test_other_systems_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a DMAGNet in float32") as caught:
        read_twin(saved(made.graph, tmp_path / "other.onnx", system="sfnet"))
    assert caught.value.hint == "give a model file of `galcli train dmagnet`"
    with pytest.raises(ModelError, match="no model named"):
        read_twin("dmagnet-of-nobody")
