"""The same ResNet-18 on the same cutouts through other programs, all on all cores, in one time window, in turns.

Zoobot and Hyrax run where an environment that holds them is named: ``--peers-python PATH``, once for each.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.models import library
from tests.benchmarks.measure import Result
from tests.benchmarks.peers_loss import losses
from tests.benchmarks.peers_sides import Job, Side, Usage, galcli, installed_peers, plain_script, watch
from tests.benchmarks.peers_survey import PeerSurvey, twin_of, write_models, write_survey

OBJECTS, LOSS_OBJECTS, REPEATS = 4096, 1000, 3
SHIPPED = "sfnet-metallicity"
INT8 = "galcli int8"
#: Goals: how many times as fast galcli is with the network, at float32 and at int8.
GOALS = {"plain script": (1.0, 2.5), "zoobot": (1.6, 5.0), "hyrax engine": (1.25, 4.0)}
FEED_GOAL = 4.0


@dataclass(frozen=True)
class Entry:
    """A program with what it is given.

    Attributes
    ----------
    name : str
    side : Side
    cutouts, model : Path
    """

    name: str
    side: Side
    cutouts: Path
    model: Path


@dataclass(frozen=True)
class Speed:
    """The best of the runs of an entry: what else the machine does only adds.

    Attributes
    ----------
    rate : float
        Images/s once it has started.
    cpu : float
        Processor time of one image, ms; unlike the rate it tells little of what else the machine does.
    first : float
        Seconds of the whole command for one object: imports, opening, one result in a finished file.
    peak : float
        Highest resident set, GB.
    """

    rate: float
    cpu: float
    first: float
    peak: float

    def to_facts(self) -> dict[str, float]:
        """What is told beside the rate."""
        return {"CPU ms/image": self.cpu, "first result after, s": self.first, "peak, GB": self.peak}


def run(folder: Path, pythons: Sequence[Path] = ()) -> Iterator[Result]:
    """Measure galcli and whatever else is there; each result comes as soon as it is known."""
    survey = write_survey(folder / "survey", OBJECTS)
    few = write_survey(folder / "few", LOSS_OBJECTS)
    resnet, average = write_models(folder)
    peers, absent = installed_peers(pythons)
    sides = [galcli(), plain_script()]
    for side in peers:
        try:
            _once(Entry(side.name, side, survey.files, average), survey.one, folder)
            sides.append(side)
        except RuntimeError as error:  # a peer that does not work here must not cost the figures of the others
            yield Result(f"peers: {side.name}", 0, "fails", facts={"said": str(error)})
    network = [Entry(side.name, side, survey.files, resnet) for side in sides]
    if twin_of(resnet).exists():
        network.append(Entry(INT8, galcli("--precision", "int8", name=INT8), survey.files, resnet))
    else:
        absent.append("int8 twin")
    feed = [Entry(side.name, side, survey.files, average) for side in sides]
    feed += [Entry(f"{side.name}, stack", side, survey.stack, average) for side in sides[:2]]
    shipped = [Entry(SHIPPED, galcli(), survey.files, library.find(SHIPPED).path)]
    yield from (Result(f"peers: {name}", 0, "absent") for name in absent)
    yield from _shipped_results(in_turns(shipped, survey, folder)[SHIPPED])
    yield from _feed_results(in_turns(feed, survey, folder))
    yield from _network_results(in_turns(network, survey, folder))
    yield from losses(sides, few, resnet, average, folder)


def in_turns(entries: Sequence[Entry], survey: PeerSurvey, folder: Path) -> dict[str, Speed]:
    """Run every entry on one object and on all of them, several times, and compare what they say."""
    ones: dict[str, list[Usage]] = {entry.name: [] for entry in entries}
    wholes: dict[str, list[Usage]] = {entry.name: [] for entry in entries}
    said: dict[str, NDArray[Any]] = {}
    for _ in range(REPEATS):
        for entry in entries:
            ones[entry.name].append(_once(entry, survey.one, folder)[0])
            usage, said[entry.name] = _once(entry, survey.catalog, folder)
            wholes[entry.name].append(usage)
    for name, predictions in said.items():
        if name != INT8 and not np.allclose(predictions, said[entries[0].name], rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"{name} predicts other values than {entries[0].name}")
    return {entry.name: _speed(ones[entry.name], wholes[entry.name]) for entry in entries}


def _speed(ones: list[Usage], wholes: list[Usage]) -> Speed:
    first, seconds = (min(usage.seconds for usage in usages) for usages in (ones, wholes))
    start, cpu = (min(usage.cpu for usage in usages) for usages in (ones, wholes))
    peak = max(usage.peak for usage in wholes) / 1e9
    return Speed(OBJECTS / (seconds - first), (cpu - start) / OBJECTS * 1e3, first, peak)


def _once(entry: Entry, catalog: Path, folder: Path) -> tuple[Usage, NDArray[Any]]:
    """One run that begins with nothing; it must succeed."""
    out = folder / "out.fits"
    usage = watch(entry.side.command(Job(catalog, entry.cutouts, entry.model, out)), folder)
    if usage.code:
        raise RuntimeError(f"{entry.name} ended with {usage.code}:\n{usage.said}")
    predictions = entry.side.read(out)
    if out.is_dir():
        shutil.rmtree(out)
    else:
        out.unlink()
    return usage, predictions


def _network_results(speeds: dict[str, Speed]) -> Iterator[Result]:
    """Rates with the network, and how many times as fast galcli is."""
    for name, speed in speeds.items():
        yield Result(f"peers: {name}", speed.rate, "images/s", facts=speed.to_facts())
    for name, (plain, fast) in GOALS.items():
        if name in speeds:
            yield Result(f"peers: galcli / {name}", speeds["galcli"].rate / speeds[name].rate, "", plain)
            if INT8 in speeds:
                yield Result(f"peers: {INT8} / {name}", speeds[INT8].rate / speeds[name].rate, "", fast)


def _feed_results(speeds: dict[str, Speed]) -> Iterator[Result]:
    """Rates with a model that only averages."""
    for name, speed in speeds.items():
        yield Result(f"peers, feed: {name}", speed.rate, "images/s", facts=speed.to_facts())
    stack, script = speeds["galcli, stack"].rate, speeds["plain script"].rate
    facts = {"script on the stack": speeds["plain script, stack"].rate, "galcli on files": speeds["galcli"].rate}
    yield Result("peers, feed: galcli, stack / script", stack / script, "", FEED_GOAL, facts=facts)


def _shipped_results(speed: Speed) -> Iterator[Result]:
    """What a user of the shipped network waits for, and holds."""
    yield Result("peers: galcli, first result", speed.first, "s", 2, at_least=False, facts={"model": SHIPPED})
    yield Result("peers: galcli, peak", speed.peak, "GB", 0.5, at_least=False, facts={"images/s": speed.rate})
