import hashlib
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from galcli.errors import DeviceError, ModelError, UsageError
from galcli.models import library, session
from galcli.models.session import Graph, Session, open_resampler, parse_device


def little_resnet():
    """Two residual blocks, pooling and a linear layer, with random weights."""
    draw = np.random.default_rng(0)
    weights, nodes = [], []

    def conv(source, target, channels_in, channels_out, size, stride, after=None):
        kernel = draw.normal(0, (channels_in * size * size) ** -0.5, (channels_out, channels_in, size, size))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w_{target}"))
        weights.append(numpy_helper.from_array(draw.normal(size=channels_out).astype(np.float32), f"b_{target}"))
        pads, name = [size // 2] * 4, target if after is None else f"{target}_conv"
        inputs = [source, f"w_{target}", f"b_{target}"]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[stride] * 2, pads=pads))
        if after:
            nodes.append(helper.make_node("Add", [name, after], [target]))

    def relu(source, target):
        nodes.append(helper.make_node("Relu", [source], [target]))

    conv("pixels", "c0", 3, 32, 7, 2)
    relu("c0", "r0")
    nodes.append(helper.make_node("MaxPool", ["r0"], ["p0"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    conv("p0", "c1", 32, 32, 3, 1)
    relu("c1", "r1")
    conv("r1", "c2", 32, 32, 3, 1, after="p0")
    relu("c2", "r2")
    conv("r2", "c3", 32, 128, 3, 2)
    relu("c3", "maps")
    nodes.append(helper.make_node("GlobalAveragePool", ["maps"], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    weights.append(numpy_helper.from_array(draw.normal(size=(128, 5)).astype(np.float32), "head"))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["y"]))
    info = helper.make_tensor_value_info
    inputs = [info("pixels", TensorProto.FLOAT, ["N", 3, 96, 96])]
    outputs = [info("y", TensorProto.FLOAT, ["N", 5])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, weights)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.fixture(scope="module")
def net():
    return little_resnet()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(64, 3, 96, 96)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(net, images):
    return Graph(net, "net", "cpu", 1).run({"pixels": images})["y"]


def in_batches(graph, images, size):
    parts = [graph.run({"pixels": images[at : at + size]})["y"] for at in range(0, len(images), size)]
    return np.concatenate(parts)


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_cpu_is_bit_identical_over_batches_and_threads(net, images, expected, size, threads):
    assert np.array_equal(in_batches(Graph(net, "net", "cpu", threads), images, size), expected)


def test_padding_to_powers_of_two(net, images, expected, monkeypatch):
    graph = Graph(net, "net", "cpu", pad=True)
    shapes = []
    run = graph._session.run
    monkeypatch.setattr(graph, "_session", type("Spy", (), {"run": lambda _, names, feeds: (
        shapes.append(feeds["pixels"].shape[0]), run(names, feeds))[1]})())  # fmt: skip
    assert np.array_equal(in_batches(graph, images, 21), expected)
    assert shapes == [32, 32, 32, 1]


def test_byte_order_and_layout_do_not_matter(net, images, expected):
    graph = Graph(net, "net", "cpu")
    swapped = images.astype(">f4")
    strided = np.repeat(images, 2, axis=3)[..., ::2]
    frozen = images.copy()
    frozen.flags.writeable = False
    for same in (swapped, strided, frozen):
        assert np.array_equal(graph.run({"pixels": same})["y"], expected)


def test_empty_batch(net):
    assert Graph(net, "net", "cpu").run({"pixels": np.zeros((0, 3, 96, 96), np.float32)})["y"].shape == (0, 5)


@pytest.mark.parametrize(
    "feeds",
    [
        {"pixels": np.zeros((2, 3, 64, 64), np.float32)},
        {"pixels": np.zeros((2, 3, 96, 96), np.float64)},
        {"stars": np.zeros((2, 3, 96, 96), np.float32)},
        {},
    ],
)
def test_wrong_feeds_are_model_errors(net, feeds):
    with pytest.raises(ModelError, match="onnxruntime failed") as caught:
        Graph(net, "net", "cpu").run(feeds)
    assert "\n" not in caught.value.message


def test_only_wanted_outputs(build, fields):
    graph = Graph(build(fields()), "mean", "cpu")
    feeds = {
        "pixels": np.full((3, 3, 32, 32), 2, np.float32),
        "valid": np.ones((3, 1, 32, 32), np.float32),
        "front": np.arange(3),
    }
    assert list(graph.run(feeds, ["mean"])) == ["mean"]
    np.testing.assert_allclose(graph.run(feeds)["mean"], [2, 3, 4])
    with pytest.raises(ModelError):
        graph.run(feeds, ["median"])


def test_cuda_that_is_not_used_fails_hard(net, monkeypatch, capfd):
    monkeypatch.setattr(session, "_usable", lambda kind, number: True)
    real = session._open
    on_cpu = lambda data, where, kind, *rest: real(data, where, "cpu", *rest)  # noqa: E731
    monkeypatch.setattr(session, "_open", on_cpu)
    for device in ("cuda", "cuda:1", "tensorrt"):
        with pytest.raises(DeviceError) as caught:
            Graph(net, "net", device)
        assert caught.value.exit_code == 5
        assert caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_auto_takes_the_cpu_where_there_is_no_gpu(net, monkeypatch, capfd):
    monkeypatch.setattr(session, "_driver_present", lambda: False)
    session._usable.cache_clear()
    graph = Graph(net, "net", "auto")
    assert graph.provider == "CPUExecutionProvider"
    assert not graph.pad
    with pytest.raises(DeviceError, match="cannot be used"):
        Graph(net, "net", "cuda")
    session._usable.cache_clear()
    assert capfd.readouterr() == ("", "")


def test_probe_that_falls_back_counts_as_absent(monkeypatch, capfd):
    monkeypatch.setattr(session, "_driver_present", lambda: True)
    real = session._open
    on_cpu = lambda data, where, kind, *rest, **more: real(data, where, "cpu", *rest, **more)  # noqa: E731
    monkeypatch.setattr(session, "_open", on_cpu)
    session._usable.cache_clear()
    assert not session._usable("cuda", 0)
    session._usable.cache_clear()
    assert capfd.readouterr().out == ""


def test_device_names():
    assert parse_device("cuda:3") == ("cuda", 3)
    assert parse_device("auto") == ("auto", 0)
    for wrong in ("gpu", "cuda:x", "cpu:1", "", "cuda:-1", "auto:0"):
        with pytest.raises(UsageError):
            parse_device(wrong)


def test_precision(weights):
    model = library.find("mean")
    for precision in ("auto", "fp32"):
        assert Session(model, "cpu", precision).precision == "fp32"
    with pytest.raises(ModelError, match=r"no .* twin"):
        Session(model, "cpu", "fp16")
    with pytest.raises(UsageError, match="unknown precision"):
        Session(model, "cpu", "fp8")


def test_identity_names_what_changes_digits(weights):
    model = library.find("mean")
    identity = Session(model, "cpu").identity()
    assert identity["sha256"] == hashlib.sha256(model.path.read_bytes()).hexdigest()
    assert identity["provider"] == "CPUExecutionProvider"
    assert set(identity) == {"model", "sha256", "precision", "provider", "provider_options", "onnxruntime"}


def test_damaged_graphs_are_silent_on_stderr(capfd):
    with pytest.raises(ModelError, match="not a usable"):
        Graph(b"\x08\x07garbage", "garbage", "cpu")
    assert capfd.readouterr() == ("", "")


def test_resampler_is_the_generated_file():
    make = pytest.importorskip("galcli.training.make_resample")
    assert session._resampler_bytes() == make.resample_model().SerializeToString(deterministic=True)
    assert set(open_resampler("cpu").inputs) == {"pixels", "ay", "ax"}


def test_importing_models_loads_no_runtime():
    code = "import galcli.models.library, galcli.models.grid, sys; print({'onnxruntime', 'torch'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
