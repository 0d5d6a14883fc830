import hashlib
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from galcli.errors import ModelError
from galcli.models import library
from galcli.models.card import Card
from galcli.models.session import Graph, Session
from galcli.training import export, proof
from galcli.training.make_resample import IR_VERSION


class Toy(nn.Module):
    """Two convolutions with batch norms, a linear layer; inputs of every image model."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.body = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, 2)

    def forward(self, pixels, valid, front):
        x = self.body(self.bn1(self.conv1(pixels * valid)).relu()).mean((2, 3))
        y = self.fc(x) + front[:, None]
        return y, x.argmax(1).to(torch.int16), y[:, 0] > 0


def make_toy(seed=0, kind=Toy):
    torch.manual_seed(seed)
    toy = kind()
    for norm in (toy.bn1, toy.body[1]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    return toy


def sample(count):
    random = torch.Generator().manual_seed(count)
    return {
        "pixels": torch.randn(count, 3, 32, 32, generator=random),
        "valid": torch.ones(count, 1, 32, 32),
        "front": torch.arange(count) % 2,
    }


OUTPUTS = ["y", "best", "positive"]


@pytest.fixture(scope="module")
def toy():
    module = make_toy()
    export.freeze(module, sample(2))
    return module


@pytest.fixture(scope="module")
def graph(toy):
    return export.to_onnx(toy, sample(2), OUTPUTS)


def card(**changes):
    training = {"data": "none", "mock": True, "objects": 0, "seed": 0, "epochs": 0, "preset": "none"}
    outputs = [{"tensor": "y", "column": "Y", "dtype": "f4", "shape": (2,), "description": "y"}]
    fields = {
        "name": "toy", "version": "1", "system": "test", "description": "toy", "prefix": "TOY",
        "fronts": [{"name": "flux:gri", "bands": ("g", "r", "i")}], "size": (32, 32), "pixel_scale": 0.262,
        "outputs": outputs, "training": training, "licence": "BSD-3-Clause", "citation": "none",
    }  # fmt: skip
    return Card.model_validate(fields | changes)


def test_freezing_folds_and_rounds(toy):
    assert not any(isinstance(part, nn.BatchNorm2d) for part in toy.modules())
    weight = toy.body[0].weight
    assert weight.numel() >= export.BIG
    assert torch.equal(weight, weight.half().float())
    reference = make_toy().eval()
    for theirs, ours in zip(reference(**sample(4)), toy(**sample(4)), strict=True):
        assert torch.allclose(theirs.float(), ours.float(), atol=3e-3)


def test_norm_of_the_wrong_convolution_is_noticed():
    class Crossed(Toy):
        def forward(self, pixels, valid, front):
            x = self.bn1(self.conv1(pixels * valid).relu())  # not what conv1, bn1 stand for
            return self.fc(self.body(x).mean((2, 3))), front, front > 0

    with pytest.raises(ModelError, match="folding"):
        export.freeze(make_toy(kind=Crossed), sample(2))


def test_weights_beyond_float16():
    toy = make_toy()
    nn.init.constant_(toy.body[0].weight, 1e5)
    with pytest.raises(ModelError, match="too large"):
        export.freeze(toy, sample(2))


def test_big_weights_are_stored_as_float16_and_nothing_is_lost(toy, graph):
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    half = [name for name, values in stored.items() if values.dtype == np.float16]
    assert half == ["body.0.weight.half"]
    assert np.array_equal(stored[half[0]].astype(np.float32), toy.body[0].weight.detach().numpy())


def test_onnxruntime_folds_the_casts_when_it_opens_the_file(graph, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    opened = onnx.load(tmp_path / "opened.onnx").graph
    names = {tensor.name for tensor in opened.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    assert not names
    assert sum(node.op_type == "Cast" for node in opened.node) <= sum(
        node.op_type == "Cast" and not node.name.endswith(".half.cast") for node in graph.graph.node
    )


def test_graph_has_the_contracts_form(graph):
    assert [item.version for item in graph.opset_import if item.domain == ""] == [18]
    assert graph.ir_version == IR_VERSION
    assert [item.name for item in graph.graph.input] == ["pixels", "valid", "front"]
    assert [item.name for item in graph.graph.output] == OUTPUTS
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert not {node.op_type for node in graph.graph.node} & export.FORBIDDEN
    assert b"/work" not in graph.SerializeToString()
    assert b".py" not in graph.SerializeToString()


def test_parity_is_proved(toy, graph):
    assert proof.prove(toy, graph, sample) < 1e-5


def test_a_changed_weight_fails_the_proof(toy, graph):
    wrong = onnx.ModelProto()
    wrong.CopyFrom(graph)
    for tensor in wrong.graph.initializer:
        if tensor.name == "fc.bias":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(1e-3), tensor.name))
    with pytest.raises(ModelError, match="differ"):
        proof.prove(toy, wrong, sample)


def test_whole_numbers_and_nan_must_agree():
    one = np.array([1.0, np.nan])
    assert proof.difference(one, one) == 0
    assert proof.difference(one, np.array([1.0, 2.0])) == float("inf")
    assert proof.difference(np.array([1]), np.array([2])) == float("inf")
    assert proof.difference(np.array([1]), np.array([1.0])) == float("inf")
    assert proof.difference(np.array([100.0]), np.array([101.0])) == pytest.approx(0.01)
    assert proof.difference(np.array([0.0]), np.array([0.5])) == 0.5


def test_same_weights_same_bytes(graph):
    again = make_toy()
    export.freeze(again, sample(2))
    assert export.to_onnx(again, sample(2), OUTPUTS).SerializeToString(deterministic=True) == graph.SerializeToString(
        deterministic=True
    )


def test_same_bytes_from_another_process(graph, tmp_path):
    code = (
        f"import importlib.util as u; s = u.spec_from_file_location('t', {__file__!r}); t = u.module_from_spec(s)\n"
        "s.loader.exec_module(t); m = t.make_toy(); t.export.freeze(m, t.sample(2))\n"
        "print(t.hashlib.sha256(t.export.to_onnx(m, t.sample(2), t.OUTPUTS).SerializeToString(deterministic=True))"
        ".hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


def test_control_flow_and_foreign_operators_are_refused(graph):
    for name, domain in (("Loop", ""), ("DFT", ""), ("Mish", ""), ("Rfft", "com.microsoft"), ("FusedConv", "x")):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(graph)
        wrong.graph.node.append(onnx.helper.make_node(name, [], [], domain=domain))
        with pytest.raises(ModelError, match=name):
            export._check_operators(wrong)
    wrong.graph.node.pop()
    wrong.graph.node.append(onnx.helper.make_node("Einsum", ["a", "b", "c"], ["d"], equation="i,i,i->i"))
    with pytest.raises(ModelError, match="three operands"):
        export._check_operators(wrong)


def test_saved_model_runs_and_is_found_by_name(toy, graph, tmp_path, monkeypatch):
    path = tmp_path / "toy.onnx"
    export.save(graph, card(), path)
    export.save(graph, card(), tmp_path / "again.onnx")
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    export.add_to_index(path, default=True)
    monkeypatch.setattr(library, "_weights", lambda: tmp_path)
    model = library.find("toy")
    assert model.card == card()
    assert model.default
    inputs = sample(5)
    found = Session(model, "cpu").run({name: value.numpy() for name, value in inputs.items()}, ["y"])
    with torch.no_grad():
        np.testing.assert_allclose(found["y"], toy(**inputs)[0].numpy(), atol=1e-5)
    assert json.loads((tmp_path / "index.json").read_text())["toy"]["size"] == path.stat().st_size
    assert sorted(item.name for item in tmp_path.iterdir()) == ["again.onnx", "index.json", "toy.onnx"]


def test_card_that_does_not_fit_is_not_written(graph, tmp_path):
    with pytest.raises(ModelError, match="does not fit"):
        export.save(graph, card(size=(64, 64)), tmp_path / "toy.onnx")
    assert not list(tmp_path.iterdir())


def test_any_number_of_objects(graph):
    opened = Graph(graph.SerializeToString(), "toy", "cpu")
    for count in (1, 2, 17):
        found = opened.run({name: value.numpy() for name, value in sample(count).items()})
        assert found["y"].shape == (count, 2)


class Amplifier(nn.Module):
    """A wave whose phase is a large number times a factor: with it grows what rounding does."""

    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.factor = nn.Conv2d(3, 8, 7), factor

    def forward(self, pixels, valid, front):
        return torch.sin(self.conv(1e3 * pixels * valid).mean((2, 3)) * self.factor) + front[:, None]


def test_rounding_that_a_network_amplifies_is_forgiven_and_told(capfd):
    """Short trainings leave such networks; a fault of the graph is still found."""
    calm, wild = Amplifier(1e-3), Amplifier(300.0)
    graphs = [export.to_onnx(one.eval(), sample(2), ["y"]) for one in (calm, wild)]
    assert proof.prove(calm, graphs[0], sample) <= proof.TOLERANCE
    assert "amplifies" not in capfd.readouterr().err
    assert proof.prove(wild, graphs[1], sample) > proof.TOLERANCE
    assert "amplifies the rounding of numbers" in capfd.readouterr().err
    with torch.no_grad():
        wild.conv.bias += 1e-2
    with pytest.raises(ModelError, match=r"differ by .* in output y for 1 objects"):
        proof.prove(wild, graphs[1], sample)
