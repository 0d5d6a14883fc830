"""All experiments on one paper, one after the other, and one table of what became of their claims."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from galcli.errors import GalcliError, Interrupted
from galcli.tables.atomic import atomic_write
from galcli.training.experiments import folder
from galcli.training.experiments.claims_report import HEAD, as_line, as_rows, paper_of, row
from galcli.training.experiments.experiment import Experiment, run_experiment
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
    out: Path, series: str, preset: str = "quick", seeds: int | None = None, resume: bool = False, device: str = "auto"
) -> str:
    """Do all of them, each in a folder of its own, and write ``table.md``.

    Parameters
    ----------
    out : Path
    series : str
        Key of `SERIES`.
    preset, seeds, resume, device
        As `run_experiment`.

    Returns
    -------
    str
        The table.

    Raises
    ------
    GalcliError
        At the end, if an experiment could not be done; the table tells why, and the others are in it.
    """
    folder.begin(out, {"experiment": series, "preset": preset}, resume)
    rows, lines, failed = [], [], []
    for name in SERIES[series]:
        say(name)
        try:
            run_experiment(out / name, find(name), preset, seeds, resume, device)
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
