"""``galcli evaluate``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galcli.cli import options as shared
from galcli.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from galcli.predict.evaluate import Classified


@click.command("evaluate")
@click.argument("model")
@click.option(
    "--catalog", "catalogs", multiple=True, type=click.Path(path_type=Path),
    help="Labelled catalogue; repeat for more (default: the embedded sample).",
)  # fmt: skip
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="OUTPUT=COLUMN",
    help="Label column of an output, number for number or vector for vector (default: the card's).",
)
@shared.cutout_options
@shared.map_option
@shared.device_options
@shared.catalog_options
@shared.json_option
def command(
    model: str, catalogs: tuple[Path, ...], labels: tuple[str, ...], as_json: bool, **rest: Any
) -> None:  # fmt: skip
    """Measure MODEL (name or path) on a labelled catalogue, through the same runtime as predict."""
    import tempfile

    from galcli.cli.predict import make_options
    from galcli.models import library
    from galcli.predict.evaluate import Classified, Scores, evaluate
    from galcli.progress import Lines, choose_progress
    from galcli.sample import unpack

    pairs = dict(_pair(text) for text in labels)
    with tempfile.TemporaryDirectory(prefix="galcli-sample-") as folder:
        sample = ", ".join(map(str, catalogs)) or "the embedded mock sample"
        options = make_options(catalogs or (unpack(Path(folder) / "sample"),), **rest)
        found = evaluate(options, model, pairs, Lines() if as_json else choose_progress(as_json=False))
    scores = [one for one in found if isinstance(one, Scores)]
    classified = [one for one in found if isinstance(one, Classified)]
    if as_json:
        told = {"sample": sample, "scores": [dataclasses.asdict(score) for score in scores]}
        click.echo(json.dumps(told | ({"classes": [_as_json(one) for one in classified]} if classified else {})))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("output", "label", "objects", "RMSE", "bias", "sigma_MAD", "scatter", "R2", "in 68 %", box=None)
    for score in scores:
        table.add_row(
            escape(score.column), escape(score.label), f"{score.objects:,}", f"{score.rmse:.4f}", f"{score.bias:+.4f}",
            f"{score.sigma_mad:.4f}", f"{score.scatter:.4f}", f"{score.r2:.3f}",
            "" if score.coverage is None else f"{100 * score.coverage:.0f} %",
        )  # fmt: skip
    console = Console()
    # Cut names and numbers would mislead: a narrow terminal wraps the lines instead.
    console.width = max(console.width, 100)
    console.print(f"measured on {sample}", markup=False)
    if scores:
        console.print(table)
    for one in classified:
        console.print(_class_table(one))
    training = library.find(model).card.training
    if not training.mock:
        click.echo(
            f"note: this model learned from {training.data}; its own galaxies would make it look better than it is",
            err=True,
        )


def _as_json(one: Classified) -> dict[str, Any]:
    """Figures of classes."""
    figures = one.figures
    averages = {"macro": figures.macro, "weighted": figures.weighted}
    names = ("precision", "recall", "f1")
    return {
        "column": one.column, "label": one.label, "objects": one.objects, "unpredicted": one.unpredicted,
        "out_of_domain": one.out_of_domain, "accuracy": figures.accuracy,
        **{name: dict(zip(names, values, strict=True)) for name, values in averages.items()},
        "classes": [
            {"name": name, "precision": precision, "recall": recall, "f1": f1, "objects": support}
            for name, precision, recall, f1, support in zip(
                one.names, figures.precision.tolist(), figures.recall.tolist(), figures.f1.tolist(),
                figures.support.tolist(), strict=True,
            )
        ],
        "confusion": one.confusion.tolist(),
    }  # fmt: skip


def _class_table(one: Classified) -> Table:
    """Precision, recall and F1 of each class and on average."""
    from rich.markup import escape
    from rich.table import Table

    figures = one.figures
    table = Table(f"{one.column} against {escape(one.label)}", "objects", "precision", "recall", "F1", box=None)
    rows = zip(one.names, figures.support, figures.precision, figures.recall, figures.f1, strict=True)
    for name, support, *values in rows:
        table.add_row(escape(name), f"{support:,}", *(f"{value:.3f}" for value in values))
    for name, average in (("macro average", figures.macro), ("weighted average", figures.weighted)):
        table.add_row(name, f"{one.objects:,}", *(f"{value:.3f}" for value in average))
    table.add_row("accuracy", f"{one.objects:,}", "", f"{figures.accuracy:.3f}", "")
    return table


def _pair(text: str) -> tuple[str, str]:
    output, sign, column = text.partition("=")
    if not (output and sign and column):
        raise UsageError(
            f"--label {text} is not of the form OUTPUT=COLUMN",
            "for example --label Z_GAS=oh_p50 or --label MORPH_CLASS=galaxy10",
        )
    return output, column
