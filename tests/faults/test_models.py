"""Model files and checkpoints that are damaged or meant to do harm: refused, and nothing of theirs is run."""

from __future__ import annotations

import json
import os
import pickle
import random
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from galcli.errors import GalcliError, ModelError
from galcli.models.library import sealed
from tests.conftest import run_main
from tests.faults.counts import FLIPS, TRUNCATIONS
from tests.survey import Survey
from tests.tiny_models import write_index, write_network

Record = Callable[..., None]


def in_child(work: Callable[[], Any]) -> Any:
    """What a function returns when it runs in a process of its own; a crash there fails the test here."""
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if not pid:
            try:
                file.write(json.dumps(work()).encode())
                file.flush()
                os._exit(0)
            finally:
                os._exit(70)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the process died"
        file.seek(0)
        return json.loads(file.read())


class Opened:
    """Files opened to be read, as Python sees them."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            self.paths.append(os.fsdecode(args[0]))


def trial(path: Path) -> str:
    """What becomes of a model file: ``refused``, ``failed`` when it is run, or the bytes it computes."""
    from galcli.models.library import find
    from galcli.models.session import Session

    pixels = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    feeds = {"pixels": pixels, "valid": np.ones((2, 1, 16, 16), np.float32), "front": np.zeros(2, np.int64)}
    try:
        session = Session(find(path), device="cpu", threads=1)
    except GalcliError as error:
        return (
            "refused" if (error.exit_code, bool(error.hint), "\n" in error.message) == (5, True, False) else repr(error)
        )
    try:
        return b"".join(value.tobytes() for value in session.run(feeds).values()).hex()
    except GalcliError as error:
        return "failed" if error.exit_code == 5 else repr(error)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_network(tmp_path_factory.mktemp("network") / "network.onnx").read_bytes()


def damaged(network: bytes, how: str) -> list[bytes]:
    chance = random.Random(how)
    if how == "cut":
        return [network[: chance.randrange(len(network))] for _ in range(TRUNCATIONS)]
    flipped = []
    for _ in range(FLIPS):
        data = bytearray(network)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        flipped.append(bytes(data))
    return flipped


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damage_to_a_shipped_model_is_always_found(
    network: bytes, tiny_weights: Path, how: str, record_fault: Record
) -> None:
    path = tiny_weights / "network.onnx"
    path.write_bytes(network)
    write_index(tiny_weights, {"network": True})
    assert trial(Path("network")) != "refused"

    def work() -> list[str]:
        fates = []
        for data in damaged(network, how):
            path.write_bytes(data)
            fates.append(trial(Path("network")))
        return fates

    fates = in_child(work)
    assert set(fates) == {"refused"}
    record_fault(len(fates))


@pytest.mark.parametrize("exported", [False, True], ids=["foreign", "exported"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damage_to_a_users_model_never_crashes(
    network: bytes, tmp_path: Path, how: str, exported: bool, record_fault: Record
) -> None:
    """What galcli exported carries a seal, by which every changed value is found."""
    path = tmp_path / "own.onnx"
    network = sealed(network) if exported else network
    path.write_bytes(network)
    good = trial(path)
    assert good not in ("refused", "failed")

    def work() -> list[str]:
        fates = []
        for data in damaged(network, how):
            path.write_bytes(data)
            fates.append(trial(path))
        return fates

    fates = in_child(work)
    if how == "cut":
        assert set(fates) - ({good} if exported else set()) == {"refused"}  # a cut may take away the seal alone
    assert not [fate for fate in fates if "Error" in fate]
    changed = sum(fate not in ("refused", "failed", good) for fate in fates)
    if exported:
        assert not changed
    note = (
        f"a user's own file that {'galcli exported' if exported else 'carries no seal'}, {how} {len(fates)} times: "
        f"{fates.count('refused')} refused, {fates.count('failed')} refused when run, {fates.count(good)} compute the "
        f"same, {changed} compute other values"
    )
    record_fault(len(fates), note)


def other_files(network: bytes, folder: Path) -> dict[str, bytes]:
    """Model files that are none, or that want more than they may have."""
    model = onnx.load_from_string(network)

    def changed(change: Callable[[Any], None]) -> bytes:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        change(copy)
        return copy.SerializeToString()

    def external(location: str) -> Callable[[Any], None]:
        def change(copy: Any) -> None:
            tensor = copy.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)

        return change

    def huge(copy: Any) -> None:
        del copy.graph.initializer[0].dims[:]
        copy.graph.initializer[0].dims.extend([2**31, 2**10])

    (folder / "secret.bin").write_bytes(bytes(4096))
    return {
        "empty": b"", "text": b"hello\n", "HTML": b"<html>404 Not Found</html>", "zeros": bytes(5000),
        "future opset": changed(lambda copy: setattr(copy.opset_import[0], "version", 9999)),
        "opset 0": changed(lambda copy: setattr(copy.opset_import[0], "version", 0)),
        "future IR": changed(lambda copy: setattr(copy, "ir_version", 9999)),
        "data in ../": changed(external("../secret.bin")),
        "data elsewhere": changed(external(str(folder / "secret.bin"))),
        "data in /etc": changed(external("/etc/passwd")),
        "custom operator": changed(lambda copy: copy.graph.node.append(
            helper.make_node("Evil", ["pixels"], ["evil"], domain="evil"))),
        "tensor of 8 TB": changed(huge),
    }  # fmt: skip


def test_files_that_are_no_usable_model(network: bytes, tmp_path: Path, record_fault: Record) -> None:
    """None is opened, nor any file that it names; the claim of 2 GB is met before the bytes are read."""
    inside = tmp_path / "inside"
    inside.mkdir()
    files = other_files(network, tmp_path)

    def work() -> tuple[dict[str, str], list[str]]:
        fates = {}
        opened = Opened()
        for name, data in files.items():
            (inside / "m.onnx").write_bytes(data)
            fates[name] = trial(inside / "m.onnx")
        with (inside / "huge.onnx").open("wb") as file:
            file.truncate(2**31 + 5)
        fates["2 GB"] = trial(inside / "huge.onnx")
        return fates, [path for path in opened.paths if "secret" in path or path.startswith("/etc")]

    fates, outside = in_child(work)
    assert set(fates.values()) == {"refused"}, fates
    assert not outside
    record_fault(len(fates), f"refused: {', '.join(fates)}")


# --- files that would run code ------------------------------------------------------------------------------------------


class Canary:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def hostile(folder: Path, canary: Path) -> list[Path]:
    """Files that run code, write outside their folder or fill the memory when they are read carelessly."""
    import torch

    paths = [folder / name for name in ("plain.pth", "torch.pt", "objects.npz", "bomb.pth", "slip.pth", "list.pt")]
    paths[0].write_bytes(pickle.dumps(Canary(canary)))
    torch.save({"state": Canary(canary)}, paths[1])
    np.savez(paths[2], array=np.array([Canary(canary)], dtype=object))
    with zipfile.ZipFile(paths[3], "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", pickle.dumps(Canary(canary)))
        bomb.writestr("archive/data/0", bytes(200 << 20))
        bomb.writestr("archive/version", "3\n")
    with zipfile.ZipFile(paths[4], "w") as slip:
        slip.writestr(f"../{canary.name}", "out")
        slip.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    torch.save([torch.zeros(2)], paths[5])
    return paths


@pytest.mark.filterwarnings("ignore")  # the readers may warn of what they refuse
def test_hostile_files_are_not_run(shared_survey: Survey, tmp_path: Path, record_fault: Record) -> None:
    """As initial weights and as models: refused with exit 5, and the canary is not there."""
    canary = tmp_path / "canary"
    for path in hostile(tmp_path, canary):
        for words in (
            ["train", "sfnet", "--init", path, "--preset", "quick", "-o", tmp_path / "out"],
            shared_survey.predict("--model", path, out=tmp_path / "p.fits"),
            ["models", "show", path],
        ):
            run_main([*words], 5)
            assert not canary.exists()
            record_fault()
    assert not (tmp_path / "p.fits").exists()


# --- checkpoints --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # torch may warn of what it refuses
@pytest.mark.parametrize("form", ["zip", "plain"])
def test_damaged_state_dict_is_read_or_refused(tmp_path: Path, form: str, record_fault: Record) -> None:
    """Torch's own files carry no digest that covers them; whatever is wrong with one, it is a `ModelError`."""
    import torch

    from galcli.training import checkpoint

    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(30.0)}, path, _use_new_zipfile_serialization=form == "zip")
    files = [b"", *damaged(path.read_bytes(), "cut"), *damaged(path.read_bytes(), "flipped")]
    refused = 0
    for data in files:
        path.write_bytes(data)
        try:
            checkpoint.load_weights(path)
        except ModelError:
            refused += 1
    assert refused > len(files) / 3  # every cut is one; a flipped bit may lie in a value
    record_fault(len(files), f"torch state dicts ({form}), cut and flipped: {refused} of {len(files)} refused")


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damaged_checkpoint(tmp_path: Path, how: str, record_fault: Record) -> None:
    import torch

    from galcli.training import checkpoint

    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"model/a": torch.arange(50_000.0), "model/b": torch.tensor(4)}, {"step": 7})
    checkpoint.load(path)
    files = damaged(path.read_bytes(), how)
    refused = 0
    for data in files:
        path.write_bytes(data)
        try:
            checkpoint.load(path)
        except ModelError:
            refused += 1
    record_fault(refused, f"safetensors {how}: {refused} of {len(files)} refused")
    assert refused == len(files)
