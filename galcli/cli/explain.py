"""``galcli explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from galcli.cli import options as shared
from galcli.cli import training_options as training
from galcli.cli.extras import need_training
from galcli.cli.stoppable import stoppable
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


@command.command("dmagnet")
@click.option("--model", metavar="NAME|PATH", default="dmagnet", show_default=True, help="Model to explain.")
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Galaxies to show it on (default: the embedded sample)."
)
@shared.cutout_options
@click.option(
    "--label-column", metavar="COLUMN",
    help="Its column of true classes, 0 to 9 in the order of Galaxy10; negative: none (default: the one that the model "
    "learned from, where there is one).",
)  # fmt: skip
@click.option(
    "--dream", is_flag=True, help="Also dream: for each class, change a galaxy until a layer answers strongly."
)
@click.option(
    "--layers", callback=shared.comma_list, metavar="A,B,...",
    help="Layers to dream of: stem, dma1, dma2, dma3, lam (default: all).",
)  # fmt: skip
@click.option("--channel", type=click.IntRange(min=0), help="Dream of this channel of each layer, not of all.")
@click.option("--class", "logit", is_flag=True, help="Dream of the class itself (its logit), not of layers.")
@click.option(
    "--max-size", type=click.IntRange(min=1),
    help="Largest dreams in px: of 256, 512 and 1024, which takes hours without a GPU.  [default: 512]",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("dmagnet-report"), show_default=True,
    help="Folder for index.html, its pictures, metrics.json, and the dreams in full size (dream-images); finished dreams in "
    "it are used again.",
)  # fmt: skip
@shared.device_options
@shared.catalog_options
@stoppable()
def dmagnet(
    model: str, catalog: Path | None, label_column: str | None, dream: bool, layers: tuple[str, ...],
    channel: int | None, logit: bool, max_size: int | None, out: Path, **reading: Any,
) -> None:  # fmt: skip
    """Show what a network of morphology looks at, how often it is right, and with --dream what it dreams of."""
    need_training("galcli explain")
    if catalog is None and (label_column or reading["cutouts"]):
        raise UsageError("--cutouts and --label-column are those of a catalogue", "name it with --catalog")
    if not dream and (layers or logit or channel is not None or max_size is not None):
        raise UsageError("--layers, --channel, --class and --max-size are about dreams", "add --dream")
    if logit and (layers or channel is not None):
        raise UsageError("--class is dreamt of instead of layers", "leave out --layers and --channel, or --class")
    import tempfile

    from galcli.cli.predict import make_options
    from galcli.progress import choose_progress
    from galcli.sample import unpack
    from galcli.training.interpret import dmagnet_dreams as dreams
    from galcli.training.interpret.dmagnet_report import Asked, write_report
    from galcli.training.interpret.dream import DreamSettings
    from galcli.training.networks.dmagnet import LAYERS
    from galcli.training.recipes.dmagnet_data import LABEL

    wanted = None
    if dream:
        settings = DreamSettings(max_size=max_size or 512)
        wanted = dreams.Asked(tuple(dict.fromkeys(layers)) or LAYERS, channel, settings, logit)
    with tempfile.TemporaryDirectory(prefix="galcli-sample-") as folder:
        name = "the embedded mock sample" if catalog is None else catalog.name
        if catalog is None:
            catalog, label_column = unpack(Path(folder) / "sample"), LABEL
        options = make_options((catalog,), Path(folder) / "predictions.fits", **reading)
        page = write_report(out, options, Asked(model, name, label_column, wanted), choose_progress(as_json=False))
    click.echo(f"report: {page}")


@command.command("sae")
@click.option("--model", metavar="NAME|PATH", default="sae-fno", show_default=True, help="Model to explain.")
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Galaxies to show it on (default: the embedded sample)."
)
@shared.cutout_options
@click.option(
    "--concepts", type=click.IntRange(1, 64), default=12, show_default=True,
    help="Concepts shown in detail: those that hold most of the energy.",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("sae-report"), show_default=True,
    help="Folder for index.html, its pictures, metrics.json and concepts.fits.",
)  # fmt: skip
@shared.device_options
@shared.catalog_options
def sae(model: str, catalog: Path | None, concepts: int, out: Path, **reading: Any) -> None:
    """Show the concepts of a sparse autoencoder: in which galaxies, where, with what they go, and which go together."""
    need_training("galcli explain")
    if catalog is None and reading["cutouts"]:
        raise UsageError("--cutouts are those of a catalogue", "name it with --catalog")
    import tempfile

    from galcli.cli.predict import make_options
    from galcli.progress import choose_progress
    from galcli.sample import unpack
    from galcli.training.interpret.sae_report import Asked, write_report

    with tempfile.TemporaryDirectory(prefix="galcli-sample-") as folder:
        name = "the embedded mock sample" if catalog is None else catalog.name
        if catalog is None:
            catalog = unpack(Path(folder) / "sample")
        options = make_options((catalog,), Path(folder) / "predictions.fits", **reading)
        page = write_report(out, options, Asked(model, name, concepts), choose_progress(as_json=False))
    click.echo(f"report: {page}")


@command.command("mass")
@click.option(
    "--causal", is_flag=True, help="Does the mass still go with a column, where the network takes galaxies for alike?"
)
@click.option(
    "--information", is_flag=True, help="What do two inputs tell of the mass, each alone, both alike, and together?"
)
@training.mass_options
@training.objects_option()
@click.option(
    "--model", metavar="NAME|PATH", help="causal: model with SCL_LATENT, of `galcli train mass --contrastive`.  [default: mass-photometry]",
)  # fmt: skip
@click.option(
    "--query", "queries", multiple=True, metavar="COLUMN",
    help="causal: column, ratio a/b or difference a-b of two; repeat for more (default: structure, colours, redshift).",
)  # fmt: skip
@click.option(
    "--condition", "conditions", multiple=True, metavar="COLUMN",
    help="causal: what is held fixed meanwhile, in the same words; repeat for more.",
)  # fmt: skip
@click.option("--neighbours", type=click.IntRange(min=10), help="causal: galaxies of a neighbourhood.  [default: 100]")
@click.option(
    "--permutations", type=click.IntRange(min=19),
    help="causal: of the null; p is never below 1 / (1 + N), and only 19 or more can show anything.  [default: 500, or more where many pairs are tested]",
)  # fmt: skip
@click.option(
    "--include-self", is_flag=True, default=None, help="causal: test the galaxies of the neighbourhoods too, each its own neighbour, as published.",
)  # fmt: skip
@click.option(
    "--graph/--no-graph", default=None, help="causal: also a graph by causal-learn.  [default: where installed]"
)
@click.option(
    "--pair", "pairs", multiple=True, metavar="A:B",
    help="information: two inputs, such as optical:infrared, optical:shapes, phot[g]:phot[urizw1w2w3], petroMag_r:images[gr]; "
    "published: the 29 of the paper; repeat for more.  [default: optical:infrared]",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), help="information: trainings of each network.  [default: 3]")
@click.option(
    "--preset", type=click.Choice(["default", "published", "quick"]), help="information: of `galcli train mass`.  [default: default]",
)  # fmt: skip
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="information: epochs, instead of the preset's."
)
@click.option(
    "--networks", type=click.Path(path_type=Path, file_okay=False),
    help="information: folder of trained networks, which are used again.  [default: OUT-networks]",
)  # fmt: skip
@click.option(
    "--seed",
    type=shared.SEED,
    help="Of mock galaxies, weights and permutations.  [default: 256; mock galaxies of --causal 8, which no model learned from]",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("mass-report"), show_default=True,
    help="Folder for index.html, its pictures, metrics.json and a FITS table.",
)  # fmt: skip
@training.device_option
@stoppable()
def mass(causal: bool, information: bool, out: Path, **arguments: Any) -> None:
    """Show what the estimate of stellar mass rests on: --causal tests dependences, --information splits what inputs tell."""
    need_training("galcli explain")
    if causal == information:
        raise UsageError("--causal and --information are two reports", "give one of them")
    from galcli.cli import explain_mass

    page = (explain_mass.causal if causal else explain_mass.information)(out, arguments)
    click.echo(f"report: {page}")
