"""``galcli mock``."""

from __future__ import annotations

from pathlib import Path

import click

from galcli.cli import options as shared
from galcli.cli.extras import need_training


@click.command("mock")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("-n", "--number", type=click.IntRange(min=1), default=1000, show_default=True, help="Galaxies.")
@click.option("--seed", type=shared.SEED, default=0, show_default=True)
@click.option("--bands", default="grz", show_default=True, help="Bands among u g r i z y.")
@click.option("--size", type=click.IntRange(16, 1024), default=144, show_default=True, help="Cutout side, px.")
@click.option(
    "--pixel-scale", type=click.FloatRange(0.05, 2.0), default=0.262, show_default=True, help="arcsec per px."
)
@click.option(
    "--survey", type=click.Choice(["legacy", "legacy-ugrizy", "sdss", "ps1", "mixed", "noiseless"]), default="legacy", show_default=True,
    help="Depth and seeing; mixed: legacy, sdss or ps1, drawn per galaxy; noiseless: no noise, no PSF, no sky (for exact tests).",
)  # fmt: skip
@click.option("--rice", is_flag=True, help="Rice-compressed stacks (quantisation level 2).")
@click.option("--balance", type=click.Choice(["galaxy10"]), help="Resample to the class frequencies of Galaxy10.")
@click.option("--no-spectra", is_flag=True, help="Leave out spectra.fits.")
@click.option("--planted", is_flag=True, help="Write instead a catalogue with planted dependences and their answers.")
def command(directory: Path, planted: bool, no_spectra: bool, number: int, seed: int, **rest: object) -> None:
    """Write a mock survey of any size into DIRECTORY: catalog.fits with the truth, cutout stacks, spectra.fits.

    The same seed gives the same survey; an interrupted survey goes on where it stopped.
    """
    need_training("galcli mock")
    if planted:
        from galcli.training.mock.survey import write_planted

        path = write_planted(directory, number, seed)
        click.echo(f"planted table: {path}")
        click.echo(f"next: galcli explain mass --information --catalog {path} --pair P1:P3")
        return
    from galcli.training.mock.survey import MockOptions, write_survey

    catalog = write_survey(directory, MockOptions(number=number, seed=seed, spectra=not no_spectra, **rest))  # type: ignore[arg-type]
    click.echo(f"mock survey of {number:,} galaxies: {catalog}")
    click.echo(f"next: galcli predict {catalog}")
