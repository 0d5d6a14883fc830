import contextlib
import json
import os
import random

import numpy as np
import pytest
from onnx import TensorProto, helper

from galcli.errors import ModelError
from galcli.models import library, runtime
from galcli.models.session import Session


def refused(path, *words):
    with pytest.raises(ModelError) as caught:
        library.find(path)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert "\n" not in caught.value.message
    for word in words:
        assert word in caught.value.message
    return caught.value


def test_names_defaults_and_verify(weights):
    assert [model.name for model in library.shipped()] == ["mean", "mean-too"]
    assert [model.name for model in library.default_models()] == ["mean"]
    assert library.verify() == {"mean": "", "mean-too": ""}
    assert library.find("mean").default
    assert library.find("mean").card.prefix == "MN"


def test_unknown_name_suggests_close_ones(weights):
    error = refused("maen", "no model named")
    assert "did you mean mean" in error.hint


def test_path_is_hashed(weights, tmp_path):
    model = library.find(tmp_path / "mean.onnx")
    assert model.sha256 == library.find("mean").sha256
    assert not model.default
    refused(tmp_path / "nowhere.onnx", "No such file")


def test_every_flipped_bit_of_a_shipped_model_is_caught(weights):
    path = weights / "mean.onnx"
    good = path.read_bytes()
    draw = random.Random(1)
    for _ in range(200):
        data = bytearray(good)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        refused("mean", "not the one that was shipped")
    assert "not the one" in library.verify()["mean"]
    assert library.verify()["mean-too"] == ""


def test_every_truncation_of_a_users_model_is_an_error(weights):
    path = weights / "own.onnx"
    good = (weights / "mean.onnx").read_bytes()
    draw = random.Random(2)
    for length in {0, 1, *(draw.randrange(len(good)) for _ in range(100))}:
        path.write_bytes(good[:length])
        refused(path, str(path))


def test_flipped_bits_of_a_users_model_never_crash(weights):
    path = weights / "own.onnx"
    good = (weights / "mean.onnx").read_bytes()
    draw = random.Random(3)
    feeds = {"pixels": np.zeros((2, 3, 32, 32), np.float32), "valid": np.ones((2, 1, 32, 32), np.float32)}
    for _ in range(100):
        data = bytearray(good)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        # A flip inside a description changes nothing, so not all can be caught without a known SHA-256.
        with contextlib.suppress(ModelError):
            Session(library.find(path), device="cpu").run(feeds | {"front": np.zeros(2, np.int64)})


def test_other_files_are_refused(tmp_path):
    page = tmp_path / "page.onnx"
    page.write_text("<html><body>404</body></html>")
    refused(page, "not a usable ONNX model")
    page.write_bytes(b"")
    refused(page, "empty")


@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "/tmp/../etc/passwd"])
def test_no_other_file_is_opened_for_a_model(build, fields, tmp_path, monkeypatch, location):
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        np.zeros(1, np.float32).tofile(folder / "w.bin")
    path = inside / "m.onnx"
    path.write_bytes(build(fields(), external=location))
    monkeypatch.chdir(inside)
    refused(path, "keeps data in other files")


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "folder"])
def test_what_is_no_file_is_not_read(tmp_path, place):
    """A device or a pipe may have no end."""
    path = tmp_path / place
    if place == "pipe":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    refused(path, "is not a file")


def test_names_of_other_files_are_found_in_any_encoding():
    for key in (b"\n\x08location", b"\n\x88\x80\x80\x00location", b"\x8a\x80\x00\x08location"):
        assert runtime.names_other_files(b"location" + key + b"\x12\x05w.bin")
    assert not runtime.names_other_files(b"\n\x09location1 location \x08location")


def test_the_word_location_itself_is_no_fault(build, fields, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(build(fields(description="location\nlocation of 8 location")))
    assert library.find(path).card.description.startswith("location")


def test_custom_operator_and_future_opset(build, fields, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(build(fields(), nodes=[helper.make_node("Evil", ["pixels"], ["mean"], domain="evil")]))
    refused(path, "not a usable ONNX model")
    path.write_bytes(build(fields(), opset=9999))
    refused(path, "not a usable ONNX model")


def tensor(name, shape, dtype="f4"):
    return {"name": name, "dtype": dtype, "shape": list(shape), "description": name}


def test_tensors_that_feed_a_model_must_be_those_of_its_graph(build, fields, tmp_path):
    path = tmp_path / "m.onnx"
    right = [tensor("pixels", (3, 32, 32)), tensor("valid", (1, 32, 32)), tensor("front", (), "i8")]
    path.write_bytes(build(fields(fronts=[], inputs=right)))
    assert [item.name for item in library.find(path).card.inputs] == ["pixels", "valid", "front"]
    for wrong, words in (
        (tensor("front", ()), "input front is int64, not float32"),
        (tensor("front", (2,), "i8"), "input front has 1 axes, not 2"),
        (tensor("other", (), "i8"), "not ['other', 'pixels', 'valid']"),
    ):
        path.write_bytes(build(fields(fronts=[], inputs=[*right[:2], wrong])))
        refused(path, "does not fit its card", words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": [64, 64]}, "input pixels"),
        ({"fronts": [{"name": "flux:g", "bands": ["g"]}]}, "input pixels"),
        ({"columns": [{"name": "MAG", "quantity": "mag", "system": "AB"}]}, "inputs"),
        ({"fronts": [], "inputs": [tensor("pixels", (3, 32, 32))]}, "inputs"),
        ({"outputs": [{"tensor": "x", "column": "X", "dtype": "f4", "description": ""}]}, "no output x"),
        ({"outputs": [{"tensor": "mean", "column": "X", "dtype": "i4", "null": -1, "description": ""}]}, "float32"),
        ({"outputs": [{"tensor": "mean", "column": "X", "dtype": "f4", "shape": [4], "description": ""}]}, "axes"),
    ],
)
def test_graph_must_fit_the_card(build, fields, tmp_path, changes, words):
    path = tmp_path / "m.onnx"
    path.write_bytes(build(fields(**changes)))
    refused(path, "does not fit its card", words)


def test_number_of_objects_must_be_free(build, fields, tmp_path):
    import onnx

    model = onnx.load_from_string(build(fields()))
    for item in model.graph.input:
        item.type.tensor_type.shape.dim[0].dim_value = 8
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path, "free")


def test_wrong_dtype_of_an_input(build, fields, tmp_path):
    import onnx

    model = onnx.load_from_string(build(fields()))
    model.graph.input[2].type.tensor_type.elem_type = TensorProto.INT32
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path, "input front is int32, not int64")


def test_card_missing_or_broken(build, fields, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(build(None))
    refused(path, "no galcli model card")
    path.write_bytes(build("{"))
    refused(path, "card is not valid")
    path.write_bytes(build(fields(prefix="lower")))
    refused(path, "prefix")


def test_damaged_index(weights):
    (weights / "index.json").write_text("{")
    refused("mean", "index.json")
    (weights / "index.json").unlink()
    assert library.shipped() == []


def test_changed_file_is_not_opened(weights):
    model = library.find("mean")
    path = weights / "mean.onnx"
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(ModelError, match="changed"):
        Session(model, device="cpu")


def test_index_entries_need_every_key(weights):
    index = json.loads((weights / "index.json").read_text())
    del index["mean"]["sha256"]
    (weights / "index.json").write_text(json.dumps(index))
    refused("mean", "index.json")
