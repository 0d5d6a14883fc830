"""``galcli sample``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sample")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default="sample")
def command(directory: Path) -> None:
    """Unpack the embedded sample survey into DIRECTORY (default: sample).

    Some hundred mock galaxies with ugrizy cutouts, spectra and the truth, to try every command on.
    """
    from galcli.sample import unpack

    catalog = unpack(directory)
    click.echo(f"sample survey in {directory}")
    click.echo(f"next: galcli predict {catalog}")
