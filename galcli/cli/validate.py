"""``galcli validate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galcli.cli import options as shared
from galcli.errors import InputError


@click.command("validate")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Compare number of rows and identifiers with this catalogue."
)
@shared.json_option
def command(paths: tuple[Path, ...], catalog: Path | None, as_json: bool) -> None:
    """Check outputs: tables, tiles, run folders, HATS folders, stacks of cutouts.

    Structure, checksums, columns, nulls against status, and positions against the pixels that paths name.
    """
    from galcli.predict.validate import validate
    from galcli.sky.catalog import open_catalog

    if catalog is not None:
        open_catalog(catalog).close()  # a bad catalogue is no fault of the outputs
    reports = {str(path): validate(path, catalog) for path in paths}
    if as_json:
        click.echo(json.dumps({path: report.to_dict() for path, report in reports.items()}))
    else:
        for path, report in reports.items():
            for problem in report.problems:
                click.echo(f"{path}: {problem}")
            for note in report.notes:
                click.echo(f"{path}: note: {note}")
            if not report.problems:
                click.echo(f"{path}: valid ({report.kind}, {report.rows:,} rows)")
    bad = [path for path, report in reports.items() if report.problems]
    if bad:
        raise InputError(
            f"{len(bad)} of {len(paths)} are not valid",
            "outputs of `galcli predict` can be made again with --overwrite",
        )
