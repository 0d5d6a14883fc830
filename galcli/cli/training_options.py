"""Options that the trainings share, each written once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galcli.cli.options import SEED, Decorator, all_of, map_option, pixel_options, table_options

if TYPE_CHECKING:
    from galcli.training.survey import Reading


def out_option(default: str | None = None, holds: str = "model file") -> Decorator:
    """Folder of the training."""
    return click.option(
        "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=None if default is None else Path(default),
        show_default=default is not None, help=f"Folder for state, weights, metrics and the {holds}.",
    )  # fmt: skip


def preset_option(
    *known: str, told: str = "published: as the authors ran it; quick: minutes on two cores."
) -> Decorator:
    """How the training is done; the first of those known by default."""
    return click.option("--preset", type=click.Choice(known), default=known[0], show_default=True, help=told)


seed_option = click.option(
    "--seed", type=SEED, default=256, show_default=True, help="Seed of split, weights and every step."
)
resume_option = click.option(
    "--resume", is_flag=True, help="Go on from the state in the output folder; bit for bit as if never stopped."
)
minutes_option = click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Time for training, instead of the preset's epochs."
)
epochs_option = click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="Epochs, instead of the preset's."
)
stream_option = click.option(
    "--stream", type=click.IntRange(min=64), help="Learn from N mock galaxies, each seen once (for a GPU)."
)
split_option = click.option(
    "--split", type=click.Choice(["seed", "tile"]), default="seed", show_default=True,
    help="Hold out galaxies at random, or whole HEALPix tiles.",
)  # fmt: skip
cache_option = click.option(
    "--cache", type=click.Path(path_type=Path), help="Where stamps are kept (default: OUT/cache)."
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where it runs."
)
cutouts_option = click.option(
    "--cutouts", type=click.Path(path_type=Path), help="Its cutouts (default: found beside the catalogue)."
)


def objects_option(what: str = "Galaxies") -> Decorator:
    """Size of the sample."""
    return click.option("--objects", type=click.IntRange(min=64), help=f"{what} at most.")


#: How long a training of an image network is, and on how much.
run_options = all_of(seed_option, resume_option, minutes_option, epochs_option, objects_option(), stream_option)

#: How the catalogue and the pixels of a survey are read.
reading_options = all_of(pixel_options, table_options)

#: Images with spectra to learn from.
spectra_options = all_of(
    click.option("--vae", type=click.Path(path_type=Path), help="Folder of `galcli train vae` (default: the shipped one)."),
    click.option(
        "--catalog", type=click.Path(path_type=Path),
        help="Survey with spectra (default: the mock survey, made on the fly).",
    ),
    cutouts_option,
    click.option(
        "--spectra", multiple=True, type=click.Path(),
        help="Its spectra: files, a folder or a glob; matched by identifier, else by position.",
    ),
)  # fmt: skip

#: Images with morphological classes to learn from.
morphology_options = all_of(
    click.option(
        "--galaxy10", type=click.Path(path_type=Path),
        help="The file Galaxy10_DECals.h5 (default: the mock survey, made on the fly).",
    ),
    click.option(
        "--verify/--no-verify", default=True, help="Compare its SHA-256 with the published one.  [default: verify]",
    ),
    click.option("--catalog", type=click.Path(path_type=Path), help="Instead: any survey with classes 0 to 9."),
    cutouts_option,
    click.option(
        "--label-column", default="galaxy10", show_default=True,
        help="Its column of classes, in the order of Galaxy10; negative: none.",
    ),
)  # fmt: skip

#: Galaxies with stellar masses.
mass_options = all_of(
    click.option(
        "--catalog", type=click.Path(path_type=Path),
        help="Survey with masses (default: the mock survey, made on the fly).",
    ),
    cutouts_option,
    click.option(
        "--target", metavar="COLUMN", default="lgm_tot_p50", show_default=True,
        help="Its column of log10 masses [Msun].",
    ),
    map_option,
    reading_options,
)  # fmt: skip


def reading_of(arguments: dict[str, Any]) -> Reading:
    """Take `reading_options` out of the arguments of a command."""
    from galcli.training.survey import Reading

    return Reading(**{field.name: arguments.pop(field.name) for field in fields(Reading)})
