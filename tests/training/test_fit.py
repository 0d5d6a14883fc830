import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from galcli.errors import DeviceError, GalcliError, IdentityError, InputError, Interrupted
from galcli.training import checkpoint
from galcli.training.devices import make_fabric
from galcli.training.fit import STATE, locate, prefetched
from galcli.training.identity import require_same

SCRIPT = Path(__file__).with_name("tiny_training.py")
_spec = importlib.util.spec_from_file_location("tiny_training", SCRIPT)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training."""
    fit = tiny.fit(tmp_path_factory.mktemp("whole"))
    fit.run()
    return fit


def same(one, other):
    a, b = one.module.state_dict(), other.module.state_dict()
    return all(value.equal(b[name]) for name, value in a.items())


def progress(folder):
    if not (folder / STATE).exists():
        return 0
    return checkpoint.load(folder / STATE)[1]["history"]["step"]


def test_stages_follow_each_other(whole):
    assert [locate(step, (3, 2)) for step in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert whole.history.step == 60
    assert whole.history.images == 480
    ends = [(entry["step"], entry["stage"]) for entry in whole.history.curve]
    assert ends == [(7, 0), (14, 0), (21, 0), (28, 0), (35, 0), (40, 0), (47, 1), (54, 1), (60, 1)]
    assert all(entry["figure"] == entry["stage"] for entry in whole.history.curve)


def test_the_same_seed_gives_the_same_weights(whole, tmp_path):
    again = tiny.fit(tmp_path)
    again.run()
    assert same(whole, again)
    assert again.history.curve == whole.history.curve
    other = tiny.fit(tmp_path / "other", seed=6)
    other.run()
    assert not same(whole, other)


def test_killed_and_resumed_is_bit_identical(whole, tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path), "0.05"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while progress(tmp_path) < 17 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    reached = progress(tmp_path)
    assert 17 <= reached < 60
    resumed = tiny.fit(tmp_path)
    resumed.run(resume=True)
    assert same(whole, resumed)
    assert resumed.history.curve == whole.history.curve
    assert [file.name for file in tmp_path.iterdir() if not file.name.endswith(".tmp")] == [STATE]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_state_to_resume(whole, tmp_path, number):
    def send():
        while progress(tmp_path) < 7:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(Interrupted, match="of 60") as caught:
        tiny.fit(tmp_path, pause=0.01).run()
    thread.join()
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) == before
    assert 7 <= progress(tmp_path) < 60
    resumed = tiny.fit(tmp_path)
    resumed.run(resume=True)
    assert same(whole, resumed)


def test_a_finished_training_stays_as_it_is(whole, tmp_path):
    fit = tiny.fit(whole.out)
    fit.run(resume=True)
    assert same(whole, fit)


def test_a_folder_in_use_is_not_overwritten(whole):
    with pytest.raises(InputError, match="already holds a training") as caught:
        tiny.fit(whole.out).run()
    assert "--resume" in caught.value.hint


def test_another_training_is_not_resumed(whole):
    with pytest.raises(IdentityError, match=r"tiny: -2 \+3"):
        tiny.fit(whole.out, identity={"tiny": [1, 3]}).run(resume=True)


def test_differences_are_told_one_by_one(tmp_path):
    there = {"plan": {"batch": 64, "stages": [1, 2]}, "seed": 5, "objects": 9, "old": 1}
    asked = {"plan": {"batch": 32, "stages": [1, 2]}, "seed": 6, "objects": 8}
    require_same(tmp_path, there, dict(reversed(there.items())))
    with pytest.raises(IdentityError) as caught:
        require_same(tmp_path, there, asked)
    told = "objects: 9 -> 8; old: 1 -> (absent); plan.batch: 64 -> 32; and 1 more"
    assert f"({told})" in caught.value.message


def test_a_loss_that_is_not_finite_names_step_and_rows(tmp_path):
    fit = tiny.fit(tmp_path)
    fit.feeds[0].target[13] = float("nan")
    step = next(step for step in range(7) if 13 in fit.feeds[0].batch(step).rows)
    rows = fit.feeds[0].batch(step).rows.tolist()
    with pytest.raises(GalcliError, match=f"loss is nan at step {step + 1} ") as caught:
        fit.run()
    assert ", ".join(map(str, rows)) in caught.value.message
    assert all(value.isfinite().all() for value in fit.module.state_dict().values())


def test_schedule_and_momentum_reach_the_optimiser(tmp_path):
    seen = []
    fit = tiny.fit(tmp_path)
    schedule = fit.schedule
    fit.schedule = lambda step, total: seen.append((step, total)) or schedule(step, total)
    fit.run()
    assert seen == [(step, 60) for step in range(60)]


def test_errors_of_the_batch_thread_are_raised():
    def make(step):
        if step == 2:
            raise InputError("bad stamp")
        return step

    seen = []
    with pytest.raises(InputError, match="bad stamp"):
        seen.extend(prefetched(make, range(9)))
    assert seen == [0, 1]
    assert list(prefetched(lambda step: step, range(3, 9))) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_devices_that_are_not_there(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        make_fabric(device)


def test_batches_are_made_by_one_thread_beside_the_network() -> None:
    """Two teams of threads on the same cores wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = list(prefetched(lambda _: torch.get_num_threads(), range(4)))
        assert made == [1] * 4
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)
