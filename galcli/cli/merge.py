"""``galcli merge``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galcli.cli import options as shared


@click.command("merge")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Output to write (default: RUN_DIR without .run).")
@click.option("--keep-tiles", is_flag=True, help="Keep the run folder.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@shared.max_fail_option
@shared.json_option
def command(run_dir: Path, out: Path | None, keep_tiles: bool, overwrite: bool, max_fail: float, as_json: bool) -> None:
    """Join the finished tiles of RUN_DIR (<output>.run) into the table or HATS folder that the run was begun for."""
    from galcli.predict.run import merge_run
    from galcli.progress import choose_progress

    summary = merge_run(run_dir, out, choose_progress(as_json=as_json), keep=keep_tiles, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps({"event": "done", **summary.to_dict()}))
    summary.require_predictions(max_fail)
