"""``galcli explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from galcli.cli import options as shared
from galcli.cli.extras import need_training
from galcli.errors import UsageError


@click.group("explain")
def command() -> None:
    """Show what a model does and how well, on one HTML page with plots: one subcommand per kind of model."""


@command.command("spectra")
@click.option("--model", metavar="NAME|PATH", default="spectra", show_default=True, help="Model to explain.")
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Galaxies to show it on (default: the embedded sample)."
)
@shared.cutout_options
@click.option(
    "--spectra", multiple=True, type=click.Path(),
    help="Their observed spectra: SDSS spec-*.fits or DESI coadd-*.fits, a folder or a glob; repeat for more. Matched by "
    "identifier, else by position (default: those of the sample; with --catalog, none).",
)  # fmt: skip
@click.option(
    "--vae", type=click.Path(path_type=Path),
    help="Folder of the autoencoder that the model learned from (default: beside the model, else the shipped one).",
)  # fmt: skip
@click.option("--examples", type=click.IntRange(1, 50), default=6, show_default=True, help="Galaxies shown one by one.")
@click.option("--seed", type=shared.SEED, default=256, show_default=True, help="Chooses these galaxies.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("spectra-report"), show_default=True,
    help="Folder for index.html, its pictures, metrics.json and spectra-comparison.fits.",
)  # fmt: skip
@shared.device_options
@shared.catalog_options
def spectra(
    model: str, catalog: Path | None, spectra: tuple[str, ...], vae: Path | None, examples: int, seed: int, out: Path,
    **reading: Any,
) -> None:  # fmt: skip
    """Predict galaxies' spectra from their images, hold them against observed ones, and show what the latents mean."""
    need_training("galcli explain")
    if catalog is None and (spectra or reading["cutouts"]):
        raise UsageError("--cutouts and --spectra are those of a catalogue", "name it with --catalog")
    import tempfile

    from galcli.cli.predict import make_options
    from galcli.progress import choose_progress
    from galcli.sample import unpack
    from galcli.training.interpret.spectra_report import Asked, write_report

    with tempfile.TemporaryDirectory(prefix="galcli-sample-") as folder:
        if catalog is None:
            catalog = unpack(Path(folder) / "sample")
            spectra = (str(catalog.with_name("spectra.fits")),)
        options = make_options((catalog,), Path(folder) / "predictions.fits", **reading)
        page = write_report(out, options, Asked(model, vae, spectra, examples, seed), choose_progress(as_json=False))
    click.echo(f"report: {page}")
