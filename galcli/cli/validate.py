"""``galcli validate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galcli.cli import options as shared
from galcli.errors import InputError

_MADE_AGAIN = "outputs of `galcli predict` can be made again with --overwrite"
_STACKS = "make the stacks again with `galcli cutouts pack` or `cut`"
_HINTS = {
    "stack": _STACKS,
    "stacks": _STACKS,
    "run": "give the command of the run again with --restart",
    "other": "validate checks outputs of `galcli predict` and stacks of cutouts; catalogues and loose cutouts are "
    "checked by `galcli predict` as it reads them",
}


@click.command("validate")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--catalog",
    "catalogs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Compare rows and identifiers with this catalogue; repeat for several that were predicted together.",
)
@click.option("--hdu", type=click.IntRange(1), help="Table HDU of the catalogue, as it was given to predict.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows of it, as it was given to predict.")
@shared.json_option
def command(
    paths: tuple[Path, ...], catalogs: tuple[Path, ...], hdu: int | None, limit: int | None, as_json: bool
) -> None:
    """Check outputs: tables, tiles, run folders, HATS folders, stacks of cutouts.

    Structure, checksums, columns, nulls against status, and positions against the pixels that paths name.
    """
    from galcli.predict.validate import validate
    from galcli.sky.catalog import open_catalog

    if catalogs:
        open_catalog(catalogs, hdu).close()  # a bad catalogue is no fault of the outputs
    reports = {str(path): validate(path, catalogs, hdu=hdu, limit=limit) for path in paths}
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
        hints = dict.fromkeys(_HINTS.get(reports[path].kind, _MADE_AGAIN) for path in bad)
        raise InputError(f"{len(bad)} of {len(paths)} are not valid", "; ".join(hints))
