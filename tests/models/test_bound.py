"""Runs bound to device memory, with the CPU standing in for a GPU."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from galcli.errors import DeviceMemoryError, ModelError
from galcli.models import bound
from galcli.models.bound import Lane, Tensor
from galcli.models.devices import Device
from galcli.models.runtime import onnxruntime
from galcli.models.session import Graph


@pytest.fixture
def lane():
    return Lane(Device("cpu"))


@pytest.fixture
def uploads(monkeypatch):
    """Shapes that were uploaded."""
    shapes = []
    update = onnxruntime().OrtValue.update_inplace

    def note(self, array):
        shapes.append(array.shape)
        update(self, array)

    monkeypatch.setattr(onnxruntime().OrtValue, "update_inplace", note)
    return shapes


@pytest.fixture(scope="module")
def doubler():
    """y = 2 x, of vectors of five."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "double",
        [info("x", TensorProto.FLOAT, ["N", 5])], [info("y", TensorProto.FLOAT, ["N", 5])],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 18)]
    return Graph(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString(), "double", "cpu")


@pytest.fixture(scope="module")
def graph(net):
    return Graph(net, "net", "cpu")


@pytest.mark.parametrize("count", [1, 7, 32, 64])
def test_rows_are_those_of_a_plain_run_whatever_lay_there_before(graph, images, expected, lane, uploads, count):
    for start in (0, 64 - count):  # the second batch lies in the memory of the first
        found = lane.run(graph, {"pixels": images[start : start + count]}, ["y"])["y"]
        assert np.array_equal(found, expected[start : start + count])
        lane.clear()
    padded = 1 << (count - 1).bit_length()
    assert uploads == [(padded, 3, 96, 96)] * 2


def test_batches_are_padded_to_one_shape_where_each_costs_a_compilation(graph, images, expected, uploads):
    lane = Lane(Device("cpu"), least=24)
    for count in (24, 5, 1):
        assert np.array_equal(lane.run(graph, {"pixels": images[:count]}, ["y"])["y"], expected[:count])
        lane.clear()
    assert {shape[0] for shape in uploads} == {32}
    lane.run(graph, {"pixels": images[:5]}, ["y"])
    lane.least = 8  # by another lane, which ran out of memory: this batch keeps its shape
    lane.run(graph, {"pixels": images[1:6]}, ["y"])
    lane.clear()
    assert np.array_equal(lane.run(graph, {"pixels": images[:5]}, ["y"])["y"], expected[:5])
    assert [shape[0] for shape in uploads[3:]] == [32, 32, 8]


def test_byte_order_and_layout_do_not_matter(graph, images, expected, lane):
    for same in (images.astype(">f4"), np.repeat(images, 2, axis=3)[..., ::2]):
        assert np.array_equal(lane.run(graph, {"pixels": same}, ["y"])["y"], expected)
        lane.clear()


def test_several_graphs_share_one_upload(graph, images, expected, lane, uploads):
    for _ in range(3):
        assert np.array_equal(lane.run(graph, {"pixels": images}, ["y"])["y"], expected)
    assert len(uploads) == 1
    other = images + 1
    lane.run(graph, {"pixels": other}, ["y"])
    assert np.array_equal(lane.run(graph, {"pixels": images}, ["y"])["y"], expected)
    assert len(uploads) == 2


def test_array_that_was_written_to_is_uploaded_again_in_the_next_batch(graph, images, lane, uploads):
    changing = images.copy()
    before = lane.run(graph, {"pixels": changing}, ["y"])["y"]
    lane.clear()
    changing += 1
    assert not np.array_equal(lane.run(graph, {"pixels": changing}, ["y"])["y"], before)
    assert len(uploads) == 2


def test_array_that_nobody_can_write_to_is_uploaded_once(graph, images, expected, lane, uploads):
    kept = images.copy()
    kept.flags.writeable = False
    for _ in range(3):
        assert np.array_equal(lane.run(graph, {"pixels": kept[:16]}, ["y"])["y"], expected[:16])
        lane.clear()
    assert len(uploads) == 1
    lane.run(graph, {"pixels": kept[:8]}, ["y"])
    assert len(uploads) == 2


def test_a_view_that_cannot_be_written_to_may_look_at_an_array_that_can(graph, images, lane, uploads):
    changing = images.copy()
    view = changing[:]
    view.flags.writeable = False
    for _ in range(2):
        lane.run(graph, {"pixels": view}, ["y"])
        lane.clear()
    assert len(uploads) == 2


def test_output_that_stays_feeds_the_next_graph_without_a_copy(
    graph, doubler, images, expected, lane, uploads, monkeypatch
):
    copies = []
    download = onnxruntime().OrtValue.numpy
    monkeypatch.setattr(onnxruntime().OrtValue, "numpy", lambda self: (copies.append(1), download(self))[1])
    kept = lane.run(graph, {"pixels": images[:7]}, ["y"], {"y"})["y"]
    assert isinstance(kept, Tensor)
    assert not copies
    assert np.array_equal(lane.run(doubler, {"x": kept}, ["y"])["y"], 2 * expected[:7])
    assert (len(uploads), len(copies)) == (1, 1)  # the pixels up, the result down
    assert len(kept) == 7
    assert np.array_equal(kept[:], expected[:7])
    assert np.array_equal(kept[np.array([True, False] * 3 + [True])], expected[:7:2])


def test_memory_is_used_again(graph, images, lane, monkeypatch):
    made = []
    slot = bound._Slot
    monkeypatch.setattr(bound, "_Slot", lambda *args: (made.append(args[0].shape[0]), slot(*args))[1])
    constant = images.copy()
    constant.flags.writeable = False
    for count in [*range(1, 65), *range(64, 0, -1)]:
        lane.run(graph, {"pixels": (constant if count % 3 else images)[:count]}, ["y"])
        lane.clear()
    # One for each power of two, and one where a lasting array holds the other.
    assert len(made) <= 2 * 7


def test_memory_of_many_shapes_is_not_kept_for_ever(lane):
    info = helper.make_tensor_value_info
    whole = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "double",
        [info("x", TensorProto.FLOAT, ["N", "h", "w"])], [info("y", TensorProto.FLOAT, ["N", "h", "w"])],
    )  # fmt: skip
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    double = Graph(model.SerializeToString(), "double", "cpu")
    for side in [*range(8, 72), *range(71, 7, -1)]:
        x = np.random.default_rng(side).normal(size=(8, side, side + 1)).astype(np.float32)
        assert np.array_equal(lane.run(double, {"x": x}, ["y"])["y"], 2 * x)
        lane.clear()
        kept = sum(slot.host.nbytes for slots in lane._free.values() for slot in slots)
        assert kept <= 4 * 8 * 71 * 72 * 4
        assert (x.shape, x.dtype.str) in lane._free  # what was used last stays


def test_failures_are_told_apart(graph, images, lane, monkeypatch):
    with pytest.raises(ModelError, match="on 3 objects"):
        lane.run(graph, {"pixels": images[:3, :, :5]}, ["y"])

    def full(*_):
        raise RuntimeError("Failed to allocate memory for requested buffer of size 4294967296")

    monkeypatch.setattr(graph.session, "run_with_iobinding", full)
    with pytest.raises(DeviceMemoryError, match="64 objects"):
        lane.run(graph, {"pixels": images}, ["y"])
    lane.release()
    monkeypatch.undo()
    assert len(lane.run(graph, {"pixels": images[:32]}, ["y"])["y"]) == 32
