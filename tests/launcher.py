"""Runs of galcli that can be stopped, killed and broken at will.

A process imports galcli once and forks a child for each run, so that a run costs no start-up. A child can count what
it does to the file system and, at the n-th such event, kill its process group, send itself a signal or fail.

Run as ``python -m tests.launcher``, it obeys JSON lines on stdin and answers on stdout; `Launcher` is the other end.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
#: File system events that change something; with what they are asked about in ``args[0]``.
CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "write", "sync")
#: What a run imports sooner or later.
PRELOADED = (
    "astropy.io.fits", "astropy.table", "galcli.cli.predict", "galcli.cli.preview", "galcli.predict.run", "healpy",
    "onnxruntime", "PIL.Image", "rich.console", "rich.table",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Ended:
    """How a run ended.

    Attributes
    ----------
    code : int
        Exit code; the negative number of the signal that killed it; 0 and ``stopped`` while it is stopped.
    out, err : str
    events : list of str
        What it did to the file system, one line each: ``os.rename /path``.
    seconds : float
    """

    code: int
    out: str
    err: str
    events: list[str]
    seconds: float
    stopped: bool = False


class Launcher:
    """The other end of the process that forks runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.launcher"], cwd=ROOT, env=os.environ | single, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout
        self._process.stdout.close()

    def start(self, argv: list[str], **how: Any) -> dict[str, Any]:
        """Begin a run; see `child` for how it may be disturbed. The answer is what `wait` wants."""
        self._count += 1
        return self._ask({"argv": argv, "log": str(self._folder / f"run{self._count}"), **how})

    def wait(self, run: dict[str, Any]) -> Ended:
        """Wait until a run has ended, or has stopped itself."""
        return Ended(**self._ask({"wait": run}))

    def run(self, argv: list[str], **how: Any) -> Ended:
        """A whole run."""
        return self.wait(self.start(argv, **how))

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def child(order: dict[str, Any]) -> None:
    """Run galcli in this process.

    Parameters
    ----------
    order : dict
        ``argv``; ``log``: prefix of the files for stdout, stderr and the events; ``at``: number of the event
        at which ``do`` happens: the number of a signal to the whole group, or ``error`` with the number ``errno``;
        ``times``: at how many events in a row; ``where``: count only events on paths that contain this; ``reads``: the
        events are calls that open or read files instead; ``pause``: seconds to wait before each batch.
    """
    os.setpgid(0, 0)
    log = order["log"]
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    diary, note = os.open(f"{log}.events", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), os.write
    if order.get("pause"):
        slow_down(order["pause"])
    first, action, where = order.get("at", 0), order.get("do"), order.get("where", "")
    number = order.get("errno", errno.ENOSPC)
    events = 0

    def happen(event: str, path: object) -> None:
        nonlocal events
        if where not in str(path):
            return
        events += 1
        note(diary, f"{event} {str(path)!r}\n".encode(errors="backslashreplace"))
        if first and first <= events < first + order.get("times", 1):
            if action == "error":
                raise OSError(number, os.strerror(number), str(path))
            os.killpg(0, action)

    if order.get("reads"):
        watch_reads(happen)
    else:
        watch_changes(happen)
    from galcli.cli import main

    sys.argv = ["galcli", *order["argv"]]
    main()


def watch_changes(happen: Callable[[str, object], None]) -> None:
    """Call ``happen`` with what and where before each change of the file system."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in CHANGES:
            return
        if (event == "open" and not args[2] & WRITING) or (event == "os.mkdir" and Path(os.fsdecode(args[0])).is_dir()):
            return
        happen(event, args[0])

    sys.addaudithook(hook)
    write = os.write

    def counted_write(descriptor: int, data: Any) -> int:
        happen("write", Path(f"/proc/self/fd/{descriptor}").readlink())
        return write(descriptor, data)

    os.write = counted_write
    # What a killed process wrote stays in the system's cache: only a power cut needs the wait for the disk.
    os.fsync = lambda descriptor: happen("sync", Path(f"/proc/self/fd/{descriptor}").readlink())


def watch_reads(happen: Callable[[str, object], None]) -> None:
    """Call ``happen`` with what and where before each call that opens a file to read, or reads from it, in Python's view.

    What the C library cfitsio reads for itself is not seen.
    """

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes) and not args[2] & WRITING:
            happen(event, os.fsdecode(args[0]))

    class File(io.FileIO):
        def readinto(self, buffer: Any, /) -> int | None:
            happen("read", self.name)
            return super().readinto(buffer)

        def readall(self) -> bytes | None:
            happen("read", self.name)
            return super().readall()

        def read(self, size: int | None = -1, /) -> bytes | None:
            happen("read", self.name)
            return super().read(-1 if size is None else size)

    plain_open = builtins.open

    def watched_open(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **how: Any) -> Any:
        if set(mode) & set("wax+") or isinstance(file, int) or how.get("opener"):
            return plain_open(file, mode, buffering, *text, **how)
        raw = File(file)
        if buffering == 0:
            return raw
        buffered = io.BufferedReader(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *text, **how)

    def watched(read: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *args: Any) -> Any:
            happen("read", Path(f"/proc/self/fd/{descriptor}").readlink())
            return read(descriptor, *args)

        return call

    sys.addaudithook(hook)
    builtins.open = io.open = watched_open
    for name in ("read", "pread", "preadv", "readv"):
        setattr(os, name, watched(getattr(os, name)))


def slow_down(seconds: float) -> None:
    """Make every batch take longer, so that a run lasts long enough to be killed."""
    from galcli.predict.runner import ModelRunner

    run = ModelRunner.run

    def slow(self: ModelRunner, *args: Any) -> None:
        time.sleep(seconds)
        run(self, *args)

    ModelRunner.run = slow  # type: ignore[method-assign]


def serve() -> None:
    """Obey the test."""
    for name in PRELOADED:  # once, for all children
        importlib.import_module(name)

    began: dict[int, float] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(json.dumps(ended(order["wait"], began)), flush=True)
            continue
        pid = os.fork()
        if not pid:
            code = 70
            try:
                child(order)
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        began[pid] = time.monotonic()
        print(json.dumps({"pid": pid, "log": order["log"], "kill_after": order.get("kill_after")}), flush=True)


def ended(run: dict[str, Any], began: dict[int, float]) -> dict[str, Any]:
    """Wait for a child, killing its process group when its time is over."""
    pid, limit = run["pid"], run["kill_after"]
    flags = os.WUNTRACED
    if limit is not None:
        time.sleep(max(0.0, began[pid] + limit - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, flags)
    stopped = os.WIFSTOPPED(status)
    texts = {name: Path(f"{run['log']}.{name}") for name in ("out", "err", "events")}
    read = {name: path.read_text() if path.exists() else "" for name, path in texts.items()}
    return {
        "code": 0 if stopped else os.waitstatus_to_exitcode(status), "out": read["out"], "err": read["err"],
        "events": read["events"].splitlines(), "seconds": time.monotonic() - began[pid], "stopped": stopped,
    }  # fmt: skip


if __name__ == "__main__":
    serve()
