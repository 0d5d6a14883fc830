"""``galcli plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from galcli.cli import options as shared


@click.command("plan")
@shared.catalogs_argument
@shared.cutout_options
@shared.model_options
@shared.device_options
@shared.catalog_options
@shared.columns_option
@shared.order_option
@shared.json_option
def command(catalogs: tuple[Path, ...], as_json: bool, **rest: Any) -> int:
    """Show tiles, rows, expected time and memory of a prediction before anything is written.

    The rate is measured on the first cutouts of the catalogue with the models that would run.
    """
    from galcli.cli.predict import make_options

    return show_plan(make_options(catalogs, **rest), as_json=as_json)


def show_plan(options: Any, *, as_json: bool) -> int:
    """Print the forecast of a run."""
    from galcli.predict.forecast import forecast

    expected = forecast(options)
    if as_json:
        click.echo(json.dumps(expected.to_dict()))
        return 0
    for line in expected.lines():
        click.echo(line)
    return 0
