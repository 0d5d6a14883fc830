import subprocess
import sys

import numpy as np
import pytest

from galcli.errors import DeviceError, DeviceMemoryError, ModelError, UsageError
from galcli.models import devices, library, runtime, session
from galcli.models.session import Graph, Session, open_resampler


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
    run = graph.session.run
    monkeypatch.setattr(graph, "session", type("Spy", (), {"run": lambda _, names, feeds: (
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


def on_cpu(data, where, providers, threads, *, optimise):
    """What onnxruntime does where a provider does not start: the CPU instead, and a line in its log."""
    return runtime.open_graph(data, where, [("CPUExecutionProvider", {})], threads, optimise=optimise)


def test_cuda_that_is_not_used_fails_hard(net, monkeypatch, capfd):
    monkeypatch.setattr(devices, "usable", lambda kind, number: True)
    monkeypatch.setattr(session, "open_graph", on_cpu)
    for device in ("cuda", "cuda:1", "tensorrt"):
        with pytest.raises(DeviceError) as caught:
            Graph(net, "net", device)
        assert caught.value.exit_code == 5
        assert caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_auto_takes_the_cpu_where_there_is_no_gpu(net, no_driver, capfd):
    graph = Graph(net, "net", "auto")
    assert graph.provider == "CPUExecutionProvider"
    assert not graph.pad
    with pytest.raises(DeviceError, match="cannot be used"):
        Graph(net, "net", "cuda")
    assert capfd.readouterr() == ("", "")


def test_memory_that_runs_out_is_told_from_other_failures(net, images, monkeypatch):
    graph = Graph(net, "net", "cpu")
    words = {
        "[ONNXRuntimeError] : 1 : FAIL : ... Failed to allocate memory for requested buffer of size 1073741824": True,
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=x": True,
        "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED": True,
        "std::bad_alloc": True,
        "indices element out of data bounds, idx=7 must be within the inclusive range [-4,3]": False,
    }
    for text, ran_out in words.items():

        def fail(*_, text=text):
            raise RuntimeError(text)

        monkeypatch.setattr(graph, "session", type("Failing", (), {"run": fail})())
        with pytest.raises(DeviceMemoryError if ran_out else ModelError, match="64 objects"):
            graph.run({"pixels": images})


def test_precision(weights):
    model = library.find("mean")
    for precision in ("auto", "fp32"):
        assert Session(model, "cpu", precision).precision == "fp32"
    with pytest.raises(ModelError, match="cannot be computed with in int8"):
        Session(model, "cpu", "int8")
    for precision in ("fp16", "bf16"):
        with pytest.raises(DeviceError, match="for GPUs"):
            Session(model, "cpu", precision)
    with pytest.raises(UsageError, match="unknown precision"):
        Session(model, "cpu", "fp8")


def test_bfloat16_is_not_for_the_cuda_provider(weights, monkeypatch):
    monkeypatch.setattr(devices, "usable", lambda kind, number: True)
    with pytest.raises(DeviceError, match="pooling"):
        Session(library.find("mean"), "cuda", "bf16")


def test_identity_names_what_changes_digits(weights):
    identity = Session(library.find("mean"), "cpu").identity()
    assert identity == {"provider": "CPUExecutionProvider", "precision": "fp32", "provider_options": {}}


def test_damaged_graphs_are_silent_on_stderr(capfd):
    with pytest.raises(ModelError, match="not a usable"):
        Graph(b"\x08\x07garbage", "garbage", "cpu")
    assert capfd.readouterr() == ("", "")


def test_resampler_is_the_generated_file():
    make = pytest.importorskip("galcli.training.make_resample")
    assert devices.resampler_bytes() == make.resample_model().SerializeToString(deterministic=True)
    assert set(open_resampler("cpu").inputs) == {"pixels", "ay", "ax"}


def test_importing_models_loads_no_runtime():
    code = "import galcli.models.library, galcli.models.grid, sys; print({'onnxruntime', 'torch'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
