"""The folder of an experiment: begun with its settings, gone on with under the same ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galcli.errors import InputError
from galcli.training.checkpoint import write_json
from galcli.training.identity import require_same

SETTINGS = "settings.json"


def begin(out: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Make the folder, or go on with the one that is there.

    Parameters
    ----------
    out : Path
    settings : mapping
        JSON-able facts that all runs of the folder share.
    resume : bool

    Raises
    ------
    InputError
        If the folder holds an experiment and ``resume`` is false, or its settings cannot be read.
    IdentityError
        If it was begun with other settings.
    """
    path = out / SETTINGS
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, dict(settings))
        return
    if not resume:
        raise InputError(f"{out} already holds an experiment", "go on with --resume, or choose another --out")
    require_same(out, read_json(path, path), settings, "experiment")


def read_json(path: Path, remove: Path) -> dict[str, Any]:
    """Read a JSON object of an experiment.

    Parameters
    ----------
    path : Path
    remove : Path
        What is made again once it is gone.

    Raises
    ------
    InputError
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", f"remove {remove} and go on with --resume") from error
    return content
