"""``run.json``: the identity of a run, and beside it who ran what, where and when."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from galcli.errors import InputError
from galcli.predict.identity import Identity, digest
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.tables.atomic import atomic_write

#: How to get out of a run on disk that cannot be gone on with.
START_ANEW = "give `galcli predict --restart` to start anew, or another output with -o"


class RunRecord(BaseModel):
    """The record of a run, as it lies in the run's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: dict[str, Any] = Field(description="everything that determines the values of the table")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the identity, as in the table's header")
    catalog: dict[str, Any] = Field(description="the catalogue's files when it was read, to tell whether they changed")
    options: dict[str, Any] = Field(description="arguments of the command")
    argv: tuple[str, ...] = Field(description="command line")
    folder: str = Field(description="folder it was given in")
    host: str
    python: str
    started: str = Field(description="local time with its offset from UTC, ISO 8601")

    @property
    def keep_tiles(self) -> bool:
        """Whether whoever began the run wanted its tiles kept."""
        return bool(self.options.get("keep_tiles"))


def write_record(paths: RunPaths, identity: Identity, options: PredictOptions, catalog: dict[str, Any]) -> None:
    """Write the record of a run that begins here and now."""
    settings = dataclasses.asdict(options) | {
        "catalogs": [str(catalog.resolve()) for catalog in options.catalogs],
        "out": str(options.out.resolve()),
        "bricks": None if options.bricks is None else str(options.bricks.resolve()),
    }
    record = RunRecord(
        identity=identity, sha256=digest(identity), catalog=catalog, options=settings,
        argv=tuple(map(_readable, sys.argv)), folder=_readable(str(Path.cwd())), host=platform.node(),
        python=platform.python_version(), started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )  # fmt: skip
    atomic_write(paths.record, json.dumps(record.model_dump(), indent=1).encode())


def _readable(text: str) -> str:
    """Text whose bytes that are no UTF-8, as file names may hold, became escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_record(paths: RunPaths) -> RunRecord | None:
    """The record of the run in a folder; None where no run was planned.

    Raises
    ------
    InputError
        If the file is no record.
    """
    if not paths.planned:
        return None
    try:
        return RunRecord.model_validate(json.loads(paths.record.read_bytes()))
    except FileNotFoundError:  # finished and removed just now
        return None
    except ValueError as error:  # of JSON, of its text, or of what it says
        raise InputError(
            f"{paths.record} is damaged, or was written by another version of galcli",
            START_ANEW,
        ) from error
