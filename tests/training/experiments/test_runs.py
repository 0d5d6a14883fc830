"""Runs in processes of their own; the work is at the top of this file, where those find it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from galcli.errors import GalcliError, InputError, Interrupted
from galcli.training.experiments.runs import run_all
from galcli.training.progress import stop_requests
from tests.launcher import ROOT


@dataclass(frozen=True)
class Run:
    name: str
    folder: Path


def work(run):
    """Leave a file; fail, die or wait for a signal as the name says."""
    if run.name.startswith("waits"):
        with stop_requests() as stop:
            (run.folder / run.name).write_text(str(os.getpid()))  # now it listens
            assert stop.wait(60)
            (run.folder / f"{run.name} saved").touch()
            raise Interrupted("stopped at step 3", "go on with --resume")
    (run.folder / run.name).write_text(str(os.getpid()))
    if run.name == "fails":
        raise InputError("no pixels", "give pixels")
    if run.name == "dies":
        os._exit(9)
    return "well"


@pytest.mark.parametrize("processes", [1, 2])
def test_all_runs_are_done(tmp_path, capsys, processes):
    runs = [Run(name, tmp_path) for name in "abc"]
    run_all(work, runs, processes)
    assert [(tmp_path / name).exists() for name in "abc"] == [True] * 3
    said = capsys.readouterr().err
    assert sorted(line.split(": ", 1)[1] for line in said.splitlines()) == ["a: well", "b: well", "c: well"]
    assert (int((tmp_path / "a").read_text()) == os.getpid()) is (processes == 1)


@pytest.mark.parametrize(("processes", "beside"), [(1, "a"), (2, "waits")])
def test_a_run_that_fails_names_itself_and_no_other_begins(tmp_path, processes, beside):
    runs = [Run(name, tmp_path) for name in (beside, "fails", "d")]
    with pytest.raises(InputError, match=r"^fails: no pixels$") as caught:
        run_all(work, runs, processes)
    assert caught.value.hint == "give pixels"
    assert not (tmp_path / "d").exists()


def test_a_process_that_dies_is_an_error_with_the_name_of_a_run(tmp_path):
    with pytest.raises(GalcliError, match="dies: a process ended"):
        run_all(work, [Run("dies", tmp_path)], 2)


def begin(folder):
    """Two runs that wait and one that must never begin, in a process that can be signalled."""
    code = (
        "from pathlib import Path\nfrom galcli.errors import Interrupted\n"
        "from galcli.training.experiments.runs import run_all\n"
        "from tests.training.experiments.test_runs import Run, work\n"
        "if __name__ == '__main__':\n"
        f"    try:\n        run_all(work, [Run(name, Path({str(folder)!r})) for name in ('waits', 'waits too', 'z')], 2)\n"
        "    except Interrupted:\n        print('interrupted')\n"
    )
    script = folder / "begin.py"
    script.write_text(code)
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, script], env=path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not all((folder / name).exists() and (folder / name).read_text() for name in ("waits", "waits too")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def gone(folder):
    """Wait for the ends of both processes."""
    for name in ("waits", "waits too"):
        deadline = time.monotonic() + 30
        while Path(f"/proc/{(folder / name).read_text()}").exists():
            assert time.monotonic() < deadline, f"{name} goes on"
            time.sleep(0.05)


@pytest.mark.parametrize("to_all", [True, False])
def test_a_signal_ends_all_runs_in_order(tmp_path, to_all):
    if to_all and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("SIGINT is ignored here, as under nohup")  # and by every process begun here
    process = begin(tmp_path)
    if to_all:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C on a terminal does
    else:
        process.terminate()
    assert process.communicate(timeout=30)[0] == "interrupted\n"
    gone(tmp_path)
    assert (tmp_path / "waits saved").exists()
    assert (tmp_path / "waits too saved").exists()
    assert not (tmp_path / "z").exists()


def test_runs_end_with_a_parent_that_is_killed(tmp_path):
    process = begin(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    gone(tmp_path)
