"""``galcli validate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galcli.cli import options as shared
from galcli.errors import InputError


@click.command("validate")
@click.argument("tables", nargs=-1, required=True, type=click.Path(path_type=Path))
@shared.json_option
def command(tables: tuple[Path, ...], as_json: bool) -> None:
    """Check output tables: FITS structure, checksums, columns, and nulls against status."""
    from galcli.tables.verify import verify

    found = {str(table): verify(table) for table in tables}
    if as_json:
        click.echo(json.dumps(found))
    else:
        for table, problems in found.items():
            for problem in problems:
                click.echo(f"{table}: {problem}")
            if not problems:
                click.echo(f"{table}: valid")
    bad = [table for table, problems in found.items() if problems]
    if bad:
        raise InputError(
            f"{len(bad)} of {len(tables)} tables are not valid",
            "tables of `galcli predict` can be made again with --overwrite",
        )
