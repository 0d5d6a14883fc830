"""``galcli status``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galcli.cli import options as shared


@click.command("status")
@click.argument("out", type=click.Path(path_type=Path))
@shared.json_option
def command(out: Path, as_json: bool) -> None:
    """Show the progress of the run that makes OUT (the table, or its folder OUT.run)."""
    from galcli.predict.monitor import run_status

    state = run_status(out)
    if as_json:
        click.echo(json.dumps(state.to_dict()))
        return
    for line in state.lines():
        click.echo(line)
