"""All experiments on one paper, one after the other, and one table of what became of their claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from galcli.errors import GalcliError, Interrupted
from galcli.tables.atomic import atomic_write
from galcli.training.experiments import folder
from galcli.training.experiments.claims_report import HEAD, as_line, as_rows, paper_of, row
from galcli.training.experiments.experiment import Experiment, on_data, run_experiment
from galcli.training.progress import say

#: Experiments of each series, in their order: of sparse autoencoders that of models.md 4.3.
SERIES: dict[str, tuple[str, ...]] = {
    "sae-all": (
        "sae-recovery", "sae-convolutional", "sae-spectral", "sae-resolution", "sae-stability", "sae-correlation",
        "sae-utilisation", "sae-rotation", "sae-lifting",
    ),
    "mass-all": ("mass-synergy", "mass-infrared", "mass-bands"),
}  # fmt: skip


def find(name: str) -> Experiment:
    """The experiment of a name."""
    found: Experiment = import_module(f"galcli.training.experiments.{name.replace('-', '_')}").EXPERIMENT
    return found


def run_series(
    out: Path, series: str, preset: str = "quick", seeds: int | None = None, resume: bool = False, device: str = "auto",
    prepare: Callable[[Experiment, Path], Experiment] | None = None, data: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Do all of them, each in a folder of its own, and write ``table.md``.

    Parameters
    ----------
    out : Path
    series : str
        Key of `SERIES`.
    preset, seeds, resume, device
        As `run_experiment`.
    prepare : callable, optional
        Gives an experiment, and its folder, the data that were asked for.
    data : mapping, optional
        JSON-able facts of these data: none where each experiment makes its own.

    Returns
    -------
    str
        The table.

    Raises
    ------
    GalcliError
        At the end, if an experiment could not be done; the table tells why, and the others are in it.
    """
    folder.begin(out, on_data({"experiment": series, "preset": preset}, data or {}), resume)
    rows, lines, failed = [], [], []
    for name in SERIES[series]:
        say(name)
        try:
            experiment = find(name) if prepare is None else prepare(find(name), out / name)
            run_experiment(out / name, experiment, preset, seeds, resume, device)
            result = folder.read_json(out / name / "result.json", out / name)
            rows += as_rows(result)
            lines.append(as_line(result))
        except Interrupted:
            raise
        except GalcliError as error:
            failed.append(error)
            rows.append(row(name, error.message, "", "", "not done"))
        table = "\n".join([f"Claims of {paper_of(series)}:", "", *HEAD, *rows, "", "What was run:", "", *lines]) + "\n"
        atomic_write(out / "table.md", table.encode())
    say(f"written: {out / 'table.md'}")
    if failed:
        raise type(failed[0])(
            f"{len(failed)} of {len(SERIES[series])} were not done: {failed[0].message}", failed[0].hint
        )
    return table
