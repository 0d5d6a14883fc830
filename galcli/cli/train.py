"""``galcli train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from galcli.cli import options as shared
from galcli.cli import training_options as training
from galcli.cli.extras import need_training
from galcli.cli.stoppable import stoppable


@click.group("train")
def command() -> None:
    """Train a model and export it: one subcommand per recipe."""


@command.command("sfnet")
@click.option(
    "--target", type=click.Choice(["metallicity", "lines"]), default="metallicity", show_default=True,
    help="What is predicted: 12+log(O/H), or four line fluxes.",
)  # fmt: skip
@training.out_option()
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Labelled survey (default: the mock survey, made on the fly)."
)
@training.cutouts_option
@training.reading_options
@click.option(
    "--label-columns", callback=shared.comma_list, help="Its label columns, a,b,c, where they are not MPA-JHU's."
)
@training.preset_option("default", "published", "quick")
@click.option(
    "--init", type=click.Path(path_type=Path), help="Initial weights: torchvision's ResNet-18 or an earlier training."
)
@training.seed_option
@training.resume_option
@training.minutes_option
@training.objects_option()
@training.stream_option
@click.option("--k", type=click.IntRange(1, 512), default=4, show_default=True, help="Active features per galaxy.")
@training.split_option
@training.cache_option
@training.device_option
@stoppable()
def sfnet(out: Path | None, **arguments: Any) -> None:
    """Train SFNet, the sparse feature network, and export it to ONNX with its card.

    Without --catalog it trains on the mock survey and says so.
    """
    need_training("galcli train")
    from galcli.training.recipes.sfnet_export import train_and_export

    reading = training.reading_of(arguments)
    folder = out or Path(f"sfnet-{arguments['target']}")
    model = train_and_export(out=folder, reading=reading, **arguments)
    click.echo(f"model: {model}")
    click.echo(f"next: galcli predict CATALOG --model {model}")


@command.command("vae")
@training.out_option("spectra-vae", "two model files")
@click.option(
    "--spectra", multiple=True, type=click.Path(),
    help="SDSS spec-*.fits or DESI coadd-*.fits, a folder or a glob; repeat for more (default: mock spectra).",
)  # fmt: skip
@training.preset_option(
    "l6", "published", "quick",
    told="l6: six latents; published: six principal components of ten latents; quick: a minute.",
)  # fmt: skip
@training.seed_option
@training.resume_option
@training.objects_option("Spectra")
@training.device_option
@stoppable()
def vae(out: Path, **arguments: Any) -> None:
    """Train the autoencoder that describes a galaxy's spectrum by six numbers.

    Its encoder and decoder are exported to ONNX. Without --spectra it trains on the mock survey and says so.
    """
    need_training("galcli train")
    from galcli.training.recipes.vae import train_vae

    decoder = train_vae(out, **arguments)
    click.echo(f"models: {decoder} and its encoder beside it")
    click.echo(f"next: galcli train spectra --vae {out}")


@command.command("spectra")
@click.option(
    "--network",
    type=click.Choice(["xresnet18-hybrid", "xresnet18", "xresnet18-deconv", "simple-cnn", "simple-deconv"]),
    default="xresnet18-hybrid", show_default=True, help="hybrid: network deconvolution in the stem, batch norm above.",
)  # fmt: skip
@training.out_option("spectra")
@training.spectra_options
@training.reading_options
@training.preset_option("default", "published", "quick")
@training.run_options
@click.option(
    "--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
    help="Share of the last features left out; adds SPEC_LATENT_SCATTER, the scatter of 32 such networks.",
)  # fmt: skip
@training.split_option
@training.cache_option
@training.device_option
@stoppable()
def spectra(
    out: Path, vae: Path | None, catalog: Path | None, cutouts: Path | None, spectra: tuple[str, ...], seed: int,
    objects: int | None, cache: Path | None, **arguments: Any,
) -> None:  # fmt: skip
    """Train a network that predicts galaxy spectra from images, and export it to ONNX with its card.

    Images come in the bands g r i z y. Without --catalog it trains on the mock survey and says so.
    """
    need_training("galcli train")
    from galcli.training.recipes.spectra_data import Source
    from galcli.training.recipes.spectra_export import train_and_export
    from galcli.training.recipes.vae_coder import open_coder

    reading = training.reading_of(arguments)
    source = Source(cache or out / "cache", seed, objects, catalog, cutouts, spectra, reading)
    model = train_and_export(out, source, open_coder(vae), **arguments)
    click.echo(f"model: {model}")
    click.echo(f"next: galcli predict CATALOG --model {model} --with spectra")


@command.command("dmagnet")
@training.out_option("dmagnet")
@training.morphology_options
@training.reading_options
@training.preset_option(
    "default", "published", "quick", "finetune",
    told="published: as the authors ran it, as far as they tell; quick: minutes on two cores; finetune: go on from --init.",
)  # fmt: skip
@click.option(
    "--init", type=click.Path(path_type=Path), help="Initial weights: weights.safetensors of an earlier training."
)
@training.run_options
@click.option("--class-weights", is_flag=True, help="Let every class count the same in the loss.")
@click.option(
    "--average", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Keep the moving average of the weights, of this decay per step, such as 0.999.",
)  # fmt: skip
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="End after so many epochs (of 4,096 images at least) without a better macro F1 on the last stage.",
)
@training.cache_option
@training.device_option
@stoppable()
def dmagnet(
    out: Path, galaxy10: Path | None, verify: bool, catalog: Path | None, cutouts: Path | None, label_column: str,
    seed: int, objects: int | None, cache: Path | None, **arguments: Any,
) -> None:  # fmt: skip
    """Train DMAGNet, which tells the morphology of galaxies, and export it to ONNX with its card.

    The classes are the ten of Galaxy10. Without --galaxy10 or --catalog it trains on the mock survey and says so.
    """
    need_training("galcli train")
    from galcli.training.recipes.dmagnet_data import Source
    from galcli.training.recipes.dmagnet_export import train_and_export

    reading = training.reading_of(arguments)
    source = Source(cache or out / "cache", seed, objects, galaxy10, verify, catalog, cutouts, label_column, reading)
    model = train_and_export(out, source, **arguments)
    click.echo(f"model: {model}")
    click.echo(f"next: galcli predict CATALOG --model {model}")


@command.command("sae")
@click.option(
    "--on", default="images", show_default=True, metavar="images|features:MODEL[:LAYER]",
    help="What is coded: cutouts, or the inner maps of a model file.",
)  # fmt: skip
@click.option(
    "--kind", type=click.Choice(["mlp", "cnn", "fno"]), default="fno", show_default=True,
    help="mlp: a vector of each cell (of images: each patch); cnn: kernels; fno: kernels in Fourier space, at any "
    "resolution.",
)  # fmt: skip
@click.option(
    "--lift", type=click.IntRange(min=0), is_flag=False, flag_value=0, metavar="[CHANNELS]",
    help="Code in a space of so many channels (default: twice as many as there are).",
)  # fmt: skip
@training.out_option("sae")
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    help="Survey to learn from (default: the mock survey, made on the fly).",
)
@training.cutouts_option
@training.reading_options
@training.preset_option(
    "default",
    "published",
    "quick",
    told="published: more galaxies and larger batches, for a GPU; quick: minutes on two cores.",
)
@click.option("--concepts", type=click.IntRange(min=1), help="Size of the dictionary.")
@click.option(
    "--active", type=click.IntRange(min=1), help="Concepts per galaxy, or of mlp per cell; of l1 only those listed."
)
@click.option(
    "--sparsity", type=click.Choice(["topk", "batchtopk", "jumprelu", "l1"]), default="topk", show_default=True,
    help="What makes codes sparse.",
)  # fmt: skip
@click.option("--penalty", type=click.FloatRange(min=0), help="Weight of the sparsity of jumprelu and l1.")
@click.option(
    "--nested",
    is_flag=True,
    help="Matryoshka: the first concepts are a dictionary of their own, and so on to all of them.",
)
@training.seed_option
@training.resume_option
@training.minutes_option
@training.epochs_option
@training.objects_option()
@training.cache_option
@training.device_option
@stoppable()
def sae(
    out: Path, seed: int, objects: int | None, cache: Path | None, catalog: Path | None, cutouts: Path | None,
    **arguments: Any,
) -> None:  # fmt: skip
    """Train a sparse autoencoder, a dictionary of concepts, and export it to ONNX with its card.

    Its concepts say what is in an image, where and how strongly. Without --catalog it trains on the mock survey and says
    so.
    """
    need_training("galcli train")
    from dataclasses import fields

    from galcli.training.recipes.sae import Asked
    from galcli.training.recipes.sae_data import Source
    from galcli.training.recipes.sae_export import train_and_export

    reading = training.reading_of(arguments)
    asked = Asked(**{field.name: arguments.pop(field.name) for field in fields(Asked)})
    source = Source(cache or out / "cache", seed, objects, catalog, cutouts, reading)
    model = train_and_export(out, source, asked, **arguments)
    click.echo(f"model: {model}")
    click.echo(f"next: galcli predict CATALOG --model {model}")


@command.command("mass")
@click.option(
    "--inputs", metavar="WORDS", default="photometry+images", show_default=True,
    help="What is known of a galaxy: photometry+images, optical, optical+ir, images, images+ir or images+ir+z (optical: "
    "magnitudes in ugriz and their errors; ir: W1 to W3; z: redshift; images in ugriz, normalised where the photometry is "
    "known too). Or any in the words of `galcli explain mass --pair`: A+B, or A:B, whose information is told apart. E(B-V) "
    "always.",
)  # fmt: skip
@training.out_option("mass")
@training.mass_options
@training.preset_option("default", "published", "quick")
@click.option(
    "--contrastive", is_flag=True, help="Also learn the representation of causal tests (SCL_LATENT), from all inputs."
)
@training.seed_option
@training.resume_option
@training.minutes_option
@training.epochs_option
@training.objects_option()
@training.split_option
@training.cache_option
@training.device_option
@stoppable()
def mass(
    inputs: str, out: Path, seed: int, objects: int | None, cache: Path | None, catalog: Path | None,
    cutouts: Path | None, target: str, mapped: tuple[tuple[str, str], ...], **arguments: Any,
) -> None:  # fmt: skip
    """Train networks for the stellar mass and export them: its posterior, and what each part of the inputs tells.

    One network sees all inputs; where these have two parts, each has a network of its own. Without --catalog they train on
    the mock survey and say so.
    """
    need_training("galcli train")
    from galcli.training.recipes.mass_data import Source
    from galcli.training.recipes.mass_export import train_and_export
    from galcli.training.recipes.mass_words import parts_of

    reading = training.reading_of(arguments)
    source = Source(cache or out / "cache", seed, objects, catalog, cutouts, target, mapped, reading)
    model = train_and_export(out, source, parts_of(inputs, source), **arguments)
    click.echo(f"model: {model}")
    click.echo(f"next: galcli predict CATALOG --model {model}")


@command.command("int8")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Survey that MODEL learned from, if not the mock survey."
)
@training.cutouts_option
@training.reading_options
@click.option("--label-columns", callback=shared.comma_list, help="Its label columns, as in the training.")
@training.objects_option("Rows of the catalogue, as in the training,")
@click.option("--cache", type=click.Path(path_type=Path), help="Where stamps are kept (default: `cache` beside MODEL).")
def int8(model: Path, **arguments: Any) -> None:
    """Make the int8 twin of MODEL, a file of `galcli train sfnet`, beside it.

    It is calibrated and measured on the galaxies that MODEL was exported with. New trainings make it themselves.
    """
    need_training("galcli train")
    from galcli.training.recipes.sfnet_export import export_twin

    reading = training.reading_of(arguments)
    twin = export_twin(model, reading=reading, **arguments)
    click.echo(f"model: {twin}")
    click.echo(f"next: galcli predict CATALOG --model {model} --precision int8")
