"""What becomes of 1,000 objects when a file is damaged or missing, or the program is killed half-way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.benchmarks.measure import Result
from tests.benchmarks.peers_sides import Job, Side, watch
from tests.benchmarks.peers_survey import PeerSurvey

KINDS: tuple[Literal["truncated"], Literal["missing"]] = ("truncated", "missing")


def losses(sides: list[Side], survey: PeerSurvey, resnet: Path, average: Path, folder: Path) -> Iterator[Result]:
    """Each side through each misfortune."""
    files = sorted(survey.files.iterdir())
    victim = files[len(files) // 2]
    for side in sides:
        for kind in KINDS:
            out = folder / f"{kind}-{side.name.replace(' ', '-')}.fits"
            with misfortune(victim, kind):
                usage = watch(side.command(Job(survey.catalog, survey.files, average, out)), folder)
            rows = len(side.read(out))
            facts = {"exit code": usage.code, "said": _last(usage.said)}
            yield Result(f"loss: {side.name}, one file {kind}", rows, "rows", facts=facts)
        yield from _killed(side, survey, resnet, folder)


def _killed(side: Side, survey: PeerSurvey, resnet: Path, folder: Path) -> Iterator[Result]:
    """Killed in the middle of the work, then started again."""
    name = side.name.replace(" ", "-")
    words = {
        part: side.command(Job(survey.one if part == "one" else survey.catalog, survey.files, resnet, out))
        for part in ("one", "whole", "killed")
        for out in [folder / f"{part}-{name}.fits"]
    }
    start, whole = (watch(words[part], folder).seconds for part in ("one", "whole"))
    usage = watch(words["killed"], folder, kill_after=start + (whole - start) / 2)
    out = folder / f"killed-{name}.fits"
    rows = len(side.read(out))
    again = watch(words["killed"], folder)
    facts = {
        "exit code": usage.code, "a run, s": whole, "of which start-up, s": start,
        "started again, s": again.seconds, "its exit code": again.code, "rows then": len(side.read(out)),
    }  # fmt: skip
    yield Result(f"loss: {side.name}, killed half-way", rows, "rows", facts=facts)


@contextmanager
def misfortune(path: Path, kind: Literal["truncated", "missing"]) -> Iterator[None]:
    """A file that is cut in half, or away, for a while."""
    whole = path.read_bytes()
    if kind == "truncated":
        os.truncate(path, len(whole) // 2)
    else:
        path.unlink()
    try:
        yield
    finally:
        path.write_bytes(whole)


def _last(said: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:100] if lines else ""
