"""What the options of ``galcli explain mass`` ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from galcli.cli.training_options import reading_of
from galcli.errors import UsageError
from galcli.progress import choose_progress

#: Options that only one of the two reports has.
_CAUSAL = ("model", "queries", "conditions", "neighbours", "permutations", "include_self", "graph")
_INFORMATION = ("pairs", "seeds", "preset", "epochs", "networks")


def causal(out: Path, given: dict[str, Any]) -> Path:
    """Write the report of causal tests."""
    _refuse(given, _INFORMATION, "--information")
    from galcli.training.interpret.causal_report import Asked, write_report
    from galcli.training.interpret.causal_seen import SEED

    own = _own(given, _CAUSAL)
    if "include_self" in own:
        own["everyone"] = True
    seed = {} if given["seed"] is None else {"seed": given["seed"]}
    asked = Asked(own.pop("model", "mass-photometry"), _source(out, given, SEED), device=given["device"], **own, **seed)
    return write_report(out, asked, choose_progress(as_json=False))


def information(out: Path, given: dict[str, Any]) -> Path:
    """Write the report of the decomposition of information."""
    _refuse(given, _CAUSAL, "--causal")
    from galcli.training.interpret.information_pairs import pairs_of
    from galcli.training.interpret.information_report import Asked, write_report

    own, source = _own(given, _INFORMATION), _source(out, given, 256)
    pairs = pairs_of(own.pop("pairs", ("optical:infrared",)), source)
    networks = own.pop("networks", _beside(out))
    asked = Asked(pairs, source, networks, device=given["device"], processes=os.cpu_count() or 1, **own)
    return write_report(out, asked, choose_progress(as_json=False))


def _beside(out: Path) -> Path:
    """Where networks and stamps are kept: not in the report, which is replaced."""
    return Path(f"{out.absolute()}-networks")  # `.` and `/` have no name


def _own(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Options that were given; the others keep the defaults of the report."""
    return {name: given[name] for name in names if _was_given(given[name])}


def _was_given(value: Any) -> bool:
    return value is not None and value != ()


def _refuse(given: dict[str, Any], names: tuple[str, ...], report: str) -> None:
    for name in names:
        if _was_given(given[name]):
            word = {"queries": "query", "conditions": "condition", "pairs": "pair"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{word} is about the other report", f"leave it out, or give {report}")


def _source(out: Path, given: dict[str, Any], seed: int) -> Any:
    from galcli.training.recipes.mass_data import Source

    if given["catalog"] is None and given["cutouts"] is not None:
        raise UsageError("--cutouts are those of a catalogue", "name it with --catalog")
    reading = reading_of(given)
    return Source(_beside(out) / "cache", seed if given["seed"] is None else given["seed"], given["objects"], given["catalog"],
                  given["cutouts"], given["target"], given["mapped"], reading)  # fmt: skip
