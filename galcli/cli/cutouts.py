"""``galcli cutouts``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from galcli.cli import options as shared

_max_fail = click.option(
    "--max-fail", type=shared.Finite(0, 100), default=10.0, show_default=True, metavar="PCT",
    help="Exit 3 if more percent of the rows stay without a cutout.",
)  # fmt: skip


@click.group("cutouts")
def command() -> None:
    """Cut stamps from images, pack cutouts into stacks, download cutouts."""


@command.command("download")
@shared.catalogs_argument
@click.option(
    "--survey", type=click.Choice(["legacy", "panstarrs"]), required=True,
    help="Service to ask: the Legacy Surveys' sky viewer, or Pan-STARRS at STScI.",
)  # fmt: skip
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the cutouts, new or of the same kind.",
)
@click.option("--layer", help="Layer of the Legacy Surveys' service (default: ls-dr10).")
@click.option(
    "--bands", callback=shared.parse_bands, help="Bands, such as grz (default: grz, sdss gri, panstarrs grizy)."
)
@click.option("--size", type=click.IntRange(8, 3000), help="Side in pixels (default: 144, panstarrs 240).")
@click.option(
    "--pixel-scale", type=shared.Finite(0.05, 20), help="arcsec per pixel (default: as the survey's images were made)."
)
@click.option("--jobs", type=click.IntRange(1, 16), default=4, show_default=True, help="Requests at a time.")
@click.option(
    "--rate", type=shared.Finite(0.01, 1000), default=5.0, show_default=True, help="Requests per second at most."
)
@click.option(
    "--timeout", type=shared.Finite(0.1, 3600), default=60.0, show_default=True, help="Seconds to wait for an answer."
)
@click.option("--url", metavar="BASE", help="Another address of the service, such as a mirror.")
@shared.catalog_options
@_max_fail
@shared.json_option
def download(
    catalogs: tuple[Path, ...], survey: str, out: Path, layer: str | None, bands: tuple[str, ...] | None, size: int | None,
    pixel_scale: float | None, jobs: int, rate: float, timeout: float, url: str | None, hdu: int | None,
    id_column: str | None, ra_column: str | None, dec_column: str | None, limit: int | None, max_fail: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Fetch one FITS cutout per row of CATALOGS into a folder.

    The same command again fetches what is missing. Busy services are asked again after a while, up to three times; rows
    that stay without a cutout are listed in problems.csv. Then: galcli predict CATALOGS --cutouts FOLDER.
    """
    from galcli import interrupts
    from galcli.cutouts.download import PROBLEMS, download
    from galcli.cutouts.http import Manners
    from galcli.cutouts.services import make_service
    from galcli.predict.claims import run_lock
    from galcli.progress import choose_progress, duration
    from galcli.sky.catalog import open_catalog

    began = time.monotonic()
    service = make_service(survey, layer, bands, size, pixel_scale)
    progress = choose_progress(as_json=as_json, name="download")
    with interrupts.graceful(), open_catalog(catalogs, hdu, id_column, ra_column, dec_column) as rows:
        rows.require_coordinates()
        with run_lock(out / ".lock", shared=False):
            manners = Manners(jobs, rate, timeout)
            tally = download(rows, out, service, progress, url, manners, limit)
    if as_json:
        counts = {"rows": tally.rows, "fetched": tally.fetched, "present": tally.present, "failed": tally.failed}
        click.echo(json.dumps({"event": "done", "out": str(out), **counts}))
    else:
        progress.note(
            f"{tally.rows:,} rows in {duration(time.monotonic() - began)}: {tally.fetched:,} fetched, "
            f"{tally.present:,} were there, {tally.failed:,} failed"
        )
        for reason, number in tally.reasons.most_common(5):
            progress.note(f"  {number:,} x {reason}")
        if tally.failed:
            progress.note(f"  rows with problems are listed in {out / PROBLEMS}")
    tally.require_cutouts(max_fail, out)


def _stack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `cut` and `pack` have in common."""
    for decorate in (
        shared.json_option,
        _max_fail,
        shared.catalog_options,
        click.option(
            "--compression", type=click.Choice(["none", "lossless", "rice"]), default="none", show_default=True,
            help="none is read fastest; rice is smallest and rounds to a quarter of the noise.",
        ),
        click.option(
            "-o", "--out", type=click.Path(path_type=Path), required=True,
            help="Folder for the stacks, new or of the same kind.",
        ),
        shared.source_options,
        shared.catalogs_argument,
    ):  # fmt: skip
        function = decorate(function)
    return function


@command.command("cut")
@_stack_options
@click.option("--size", type=click.IntRange(8, 4096), help="Side in pixels (default: 40 arcsec).")
def cut(**arguments: Any) -> None:
    """Cut a stamp around each row of CATALOGS from large images, into stacks by HEALPix tile.

    The images are coadds, bricks, frames or exposures, in any number of files: --cutouts 'coadd/**/*-image-*.fits.fz'.
    The same command again goes on. Then: galcli predict CATALOGS --cutouts FOLDER.
    """
    _stack("cut", **arguments)


@command.command("pack")
@_stack_options
@click.option(
    "--size", type=click.IntRange(8, 4096), help="Side in pixels (default: the largest of the first cutouts)."
)
def pack(**arguments: Any) -> None:
    """Pack the cutouts of CATALOGS, one file each, into stacks by HEALPix tile.

    Stacks are read many times faster than files of their own. The same command again goes on.
    Then: galcli predict CATALOGS --cutouts FOLDER.
    """
    _stack("pack", **arguments)


def _stack(
    name: str, catalogs: tuple[Path, ...], cutouts: str | None, bricks: Path | None, bands: tuple[str, ...] | None,
    zeropoint: float | None, pixel_scale: float | None, out: Path, compression: str, size: int | None, hdu: int | None,
    id_column: str | None, ra_column: str | None, dec_column: str | None, limit: int | None, max_fail: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Make stacks, and say what came of it."""
    from galcli import interrupts
    from galcli.cutouts.coadds import CoaddSource
    from galcli.cutouts.pack import PROBLEMS, pack
    from galcli.cutouts.resolve import find_source
    from galcli.errors import InputError
    from galcli.predict.claims import run_lock
    from galcli.progress import choose_progress, duration
    from galcli.sky.catalog import open_catalog

    began = time.monotonic()
    progress = choose_progress(as_json=as_json, name=name)
    with interrupts.graceful(), open_catalog(catalogs, hdu, id_column, ra_column, dec_column) as rows:
        rows.require_coordinates()
        said: dict[str, Any] = {"bands": bands, "zeropoint": zeropoint, "pixel_scale": pixel_scale}
        source = find_source(rows, cutouts, bricks=bricks, size=size, note=progress.note, **said)
        if name == "cut" and not isinstance(source, CoaddSource):
            raise InputError(f"{source.describe()}: these are cutouts already", "use `galcli cutouts pack`")
        progress.note(f"from {source.describe()}")
        with run_lock(out / ".lock", shared=False):
            tally = pack(
                rows, source, out, progress, size=size,
                compress=None if compression == "none" else compression, limit=limit,  # type: ignore[arg-type]
                overrides=said,
            )  # fmt: skip
    if as_json:
        counts = {"rows": tally.rows, "packed": tally.packed, "failed": tally.failed, "cropped": tally.cropped}
        click.echo(json.dumps({"event": "done", "out": str(out), "size": tally.size, **counts}))
    else:
        height, width = tally.size
        progress.note(
            f"{tally.rows:,} rows in {duration(time.monotonic() - began)}: {tally.packed:,} in stacks of "
            f"{width} x {height} pixels, {tally.failed:,} without a cutout"
        )
        if tally.cropped and size is None:
            progress.note(f"  {tally.cropped:,} cutouts were larger, and were cropped: --size keeps more")
        for reason, number in tally.reasons.most_common(5):
            progress.note(f"  {number:,} x {reason}")
        if tally.failed:
            progress.note(f"  rows with problems are listed in {out / PROBLEMS}")
    tally.require_cutouts(max_fail, out)
