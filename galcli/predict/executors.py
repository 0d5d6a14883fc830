"""Who makes the tiles: this process, a pool of processes, or the workers of a site. Engines are known here only."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from galcli.errors import DeviceError, OutputError
from galcli.predict.engine import Engine
from galcli.predict.options import PredictOptions
from galcli.predict.plan import Plan
from galcli.predict.process import ENDING, Process, without_signals, work_apart
from galcli.predict.sites import Site
from galcli.predict.tile import TileReport
from galcli.predict.worker import Assignment, make_tile
from galcli.sky.tiles import Tile

#: Tiles handed to a site for each of its workers: one in work, one on its way.
AHEAD = 2
#: Seconds between two signs of life of a site's nodes, and after which one that gives none is lost.
HEARTBEAT, SILENCE = 2, 60
#: Seconds after which Parsl asks for the first jobs, and between two looks at what has become of them.
LOOK = 1
#: Characters of Parsl's messages that are shown, the last ones: they hold the output of whole jobs.
_SHOWN = 300


class Crew(Protocol):
    """Those who make tiles."""

    #: Tiles they take at a time.
    slots: int
    #: Whether a worker that dies may take with it what it had to say of the tile before.
    loses_answers: bool

    def submit(self, tile: Tile) -> Future[TileReport]:
        """Hand out a tile; at most ``slots`` may be out."""
        ...

    def result(self, future: Future[TileReport]) -> TileReport:
        """What came of a tile that is done.

        Raises
        ------
        BrokenExecutor
            If its worker died.
        Exception
            What the worker raised.
        """
        ...

    def check(self) -> None:
        """Raise `DeviceError` where none of them will ever work again."""
        ...

    def close(self) -> None:
        """End at once, whatever is in work."""
        ...


@contextmanager
def open_crew(plan: Plan, engine: Engine, options: PredictOptions, site: Site | None) -> Iterator[Crew]:
    """Whoever the options name; when the block ends, no process is left."""
    crew: Crew
    workers = options.workers or len(options.devices)
    if site is not None:
        told = replace(options, device=site.device, threads=site.threads)
        crew = SiteCrew(site, Assignment(told, str(Path.cwd()), site.workers), plan.paths.site)
    elif workers > 1:
        crew = PoolCrew(options, workers)
    else:
        crew = InlineCrew(plan, engine)
    try:
        yield crew
    finally:
        crew.close()


class InlineCrew:
    """The process itself: no pool, no copies."""

    slots = 1
    loses_answers = False

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self._plan, self._engine = plan, engine

    def submit(self, tile: Tile) -> Future[TileReport]:
        """Make the tile; what goes wrong is raised here and ends the run."""
        future: Future[TileReport] = Future()
        future.set_result(make_tile(self._plan, self._engine, tile))
        return future

    def result(self, future: Future[TileReport]) -> TileReport:
        """See `Crew`."""
        return future.result()

    def check(self) -> None:
        """See `Crew`."""

    def close(self) -> None:
        """Nothing is open."""


class PoolCrew:
    """Processes of this machine, in turns on the devices given.

    Each is a pool of its own: where one dies, the others are not touched, and its tile is known.
    """

    loses_answers = False

    def __init__(self, options: PredictOptions, workers: int) -> None:
        devices, folder = options.devices, str(Path.cwd())
        assignments = [
            Assignment(replace(options, device=devices[number % len(devices)]), folder, workers)
            for number in range(workers)
        ]
        self.slots = workers
        self._all = [Process(assignment) for assignment in assignments]
        self._idle = deque(self._all)
        self._busy: dict[Future[TileReport], Process] = {}

    def submit(self, tile: Tile) -> Future[TileReport]:
        """See `Crew`."""
        process = self._idle.popleft()
        future = process.submit(tile)
        self._busy[future] = process
        return future

    def result(self, future: Future[TileReport]) -> TileReport:
        """See `Crew`."""
        process = self._busy.pop(future)
        self._idle.append(process)
        try:
            return future.result()
        except BrokenExecutor:
            process.restart()
            raise

    def check(self) -> None:
        """See `Crew`: dead processes are replaced."""

    def close(self) -> None:
        """See `Crew`."""
        for process in self._all:
            process.tell_to_end()
        until = time.monotonic() + ENDING
        for process in self._all:
            process.close(until)


class SiteCrew:
    """Workers that Parsl starts, here or through a batch system.

    Each makes its tiles in a process of its own (``work_apart``): all workers of a node share Parsl's queues, which one
    that is killed at the wrong moment leaves locked, so that none of the others would ever be heard again.
    """

    loses_answers = True  # a node or the network may be lost

    def __init__(self, site: Site, assignment: Assignment, folder: Path) -> None:
        import parsl.errors
        from parsl.concurrent import ParslPoolExecutor
        from parsl.config import Config
        from parsl.executors.high_throughput import errors

        self.slots = AHEAD * site.jobs * site.nodes * site.workers
        self._assignment, self._folder = assignment, folder.absolute()
        self._useless = False
        self._lost = (errors.WorkerLost, errors.ManagerLost)
        self._failed = parsl.errors.ParslError
        if re.search(r"[^\w./+=@-]", str(self._folder)):
            raise OutputError(
                f"{self._folder}: Parsl cannot work in a folder whose name has blanks or signs in it",
                "choose another output with -o",
            )
        self._parsl = _parsl_executor(site)
        config = Config(executors=[self._parsl], run_dir=str(self._folder), strategy_period=LOOK, usage_tracking=0)
        try:
            # Parsl itself ends its processes by SIGTERM.
            with without_signals(signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
                self._executor: Any = ParslPoolExecutor(config=config)
        except self._failed as error:
            raise self._no_workers(error) from error

    def submit(self, tile: Tile) -> Future[TileReport]:
        """See `Crew`."""
        future: Future[TileReport] = self._executor.submit(work_apart, self._assignment, tile)
        return future

    def result(self, future: Future[TileReport]) -> TileReport:
        """See `Crew`."""
        try:
            return future.result()
        except self._lost as error:
            raise BrokenExecutor(str(error)) from error
        except self._failed as error:
            raise self._no_workers(error) from error

    def check(self) -> None:
        """See `Crew`."""
        if self._parsl.interchange_proc.poll() is not None:
            raise DeviceError("Parsl's interchange, which leads to the workers, has ended", "start the run again")

    def close(self) -> None:
        """See `Crew`."""
        logs = _files_of("parsl", self._folder)
        if self._parsl.interchange_proc.poll() is None:
            self._executor.shutdown(wait=False)
        else:  # Parsl would ask it for ever what to end
            self._parsl.provider.cancel(list(self._parsl.blocks_to_job_id.values()))
        for log in logs:  # Parsl takes them off its loggers, if that, but leaves them open
            for name in ("parsl", "concurrent.futures"):
                logging.getLogger(name).removeHandler(log)
            log.close()
        if not self._useless:  # else its logs say why
            shutil.rmtree(self._folder, ignore_errors=True)

    def _no_workers(self, error: Exception) -> DeviceError:
        self._useless = True
        return DeviceError(
            f"the site gives no workers: {str(error)[-_SHOWN:]}",
            f"check its profile (partition, account, worker_init); its logs are in {self._folder}",
        )


def _files_of(logger: str, folder: Path) -> list[logging.FileHandler]:
    """Files in a folder to which a logger writes."""
    files = (handler for handler in logging.getLogger(logger).handlers if isinstance(handler, logging.FileHandler))
    return [file for file in files if Path(file.baseFilename).is_relative_to(folder)]


def _parsl_executor(site: Site) -> Any:
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import LocalProvider, SlurmProvider

    python = sys.executable  # Parsl's own scripts need not be on the PATH
    asked: dict[str, Any] = {
        "init_blocks": site.jobs, "max_blocks": site.jobs, "nodes_per_block": site.nodes, "worker_init": site.worker_init,
    }  # fmt: skip
    if site.provider == "slurm":
        asked |= {
            "partition": site.partition, "account": site.account, "qos": site.qos, "constraint": site.constraint,
            "gpus_per_node": site.gpus_per_node or None, "walltime": site.walltime, "exclusive": site.exclusive,
            "scheduler_options": site.scheduler_options,
            "launcher": SrunLauncher() if site.nodes > 1 else SingleNodeLauncher(),
        }  # fmt: skip
    provider: Any = {"local": LocalProvider, "slurm": SlurmProvider}[site.provider]
    return HighThroughputExecutor(
        label="galcli",
        provider=provider(**asked),
        launch_cmd=DEFAULT_LAUNCH_CMD.replace(
            "process_worker_pool.py",
            f"{shlex.quote(python)} -P -m parsl.executors.high_throughput.process_worker_pool",
        ),
        interchange_launch_cmd=[python, "-P", "-m", "galcli.predict.interchange", str(os.getpid())],
        address="127.0.0.1" if site.provider == "local" else None,
        max_workers_per_node=site.workers,
        cores_per_worker=1e-3,  # the profile alone says how many workers a node has
        available_accelerators=site.gpus_per_node,
        heartbeat_period=HEARTBEAT,
        heartbeat_threshold=SILENCE,
        drain_period=None if site.provider == "local" else site.drain_seconds,
    )
