"""``galcli predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from galcli import interrupts
from galcli.cli import options as shared
from galcli.errors import UsageError


@click.command("predict")
@shared.catalogs_argument
@shared.cutout_options
@shared.model_options
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="FITS table or folder to write (default: <catalog>_galcli.fits or <catalog>_galcli_hats).",
)  # fmt: skip
@click.option(
    "--layout", type=click.Choice(["auto", "table", "hats", "hats-fits"]), default="auto", show_default=True,
    help="One FITS table, or a HATS folder of Parquet files, which lsdb opens, or of FITS files, which it does not; "
    "auto: a table up to 50 million rows, then hats.",
)  # fmt: skip
@shared.device_options
@shared.catalog_options
@shared.columns_option
@shared.order_option
@click.option(
    "--workers", type=click.IntRange(1, 1024),
    help="Processes that make tiles, on this machine or on each node of the site (default: one per device).",
)  # fmt: skip
@click.option("--site", metavar="NAME|FILE", help="Start the workers by this profile: local, slurm, or a TOML file.")
@click.option("--shard", metavar="I/N", help="Work on tiles I mod N, then on free ones; `galcli merge` joins them.")
@click.option("--restart", is_flag=True, help="Forget an unfinished run of the same output.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output when the new one is complete.")
@click.option("--keep-tiles", is_flag=True, help="Keep the run folder with one FITS file per tile.")
@shared.max_fail_option
@click.option("--dry-run", is_flag=True, help="Same as `galcli plan`: show what would be done.")
@shared.json_option
def command(dry_run: bool, as_json: bool, **arguments: Any) -> int:
    """Predict the physics of every galaxy of CATALOGS into a FITS table or a HATS folder.

    One row per catalogue row, in a table in the same order; the rows of several catalogues follow each other.
    Interrupted runs go on where they stopped when the same command is given again. Exit codes: 0 done, 2 usage, 3 too
    many rows without a prediction, 4 bad input, 5 model or device, 6 output or disk, 75 interrupted and resumable.
    """
    if len(arguments["catalogs"]) > 1 and arguments["out"] is None and not dry_run:
        raise UsageError(
            "several catalogues, and no name for their table",
            "name the table to write with -o; if you meant one, put a pattern given to --cutouts in quotes",
        )
    with interrupts.graceful():
        options = make_options(**arguments)
    if dry_run:
        from galcli.cli.plan import show_plan

        return show_plan(options, as_json=as_json)
    from galcli.predict.run import predict
    from galcli.progress import choose_progress

    summary = predict(options, choose_progress(as_json=as_json))
    if as_json:
        click.echo(json.dumps({"event": "done", **summary.to_dict()}))
    elif summary.counts is not None:
        from galcli.cli.preview import preview

        preview(summary.out, options.layout)
    summary.require_predictions(options.max_fail)
    return 0


def make_options(
    catalogs: tuple[Path, ...], out: Path | None = None, shard: str | None = None, layout: str = "table", **rest: Any
) -> Any:
    """Options of a run from the arguments of the command line."""
    from galcli.predict.options import PredictOptions, parse_shard

    if layout == "auto":
        layout = choose_layout(catalogs, out, rest)
    return PredictOptions(
        catalogs=catalogs,
        out=out or default_output(catalogs[0], layout),
        layout=layout,
        shard=None if shard is None else parse_shard(shard),
        **rest,
    )


def choose_layout(catalogs: tuple[Path, ...], out: Path | None, rest: dict[str, Any]) -> str:
    """A table up to `LARGE` rows, then a folder; but a table whose name the user gave is never made a folder silently."""
    from galcli.predict.options import HATS, LARGE, TABLE
    from galcli.sky.catalog import open_catalog
    from galcli.sky.formats import most_rows

    limit = rest.get("limit")
    if not all(path.exists() for path in catalogs) or (limit is not None and limit <= LARGE):
        return TABLE
    # To open a text catalogue is to copy it: most need no look.
    if all(path.is_file() for path in catalogs) and sum(most_rows(path, LARGE) for path in catalogs) <= LARGE:
        return TABLE
    named = {name: rest.get(name) for name in ("hdu", "id_column", "ra_column", "dec_column")}
    with open_catalog(catalogs, **named) as opened:
        rows = opened.nrows
    if rows <= LARGE:
        return TABLE
    if out is not None and out.suffix.lower() in (".fits", ".fit"):
        raise UsageError(
            f"{rows:,} rows: above {LARGE:,} the output is a folder, and {out} is the name of a table",
            f"-o {out.with_suffix('')}_hats for the folder, or --layout table for one large table",
        )
    return HATS


def default_output(catalog: Path, layout: str) -> Path:
    """``galaxies.csv.gz`` -> ``galaxies_galcli.fits``, or ``galaxies_galcli_hats``, in the current folder."""
    from galcli.sky.formats import stem_of

    return Path(f"{stem_of(catalog)}_galcli" + (".fits" if layout == "table" else "_hats"))
