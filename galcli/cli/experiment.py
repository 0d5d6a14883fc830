"""``galcli experiment``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from galcli.cli import training_options as training
from galcli.cli.extras import need_training
from galcli.cli.options import Decorator, all_of
from galcli.cli.stoppable import stoppable
from galcli.errors import UsageError


@click.group("experiment")
def command() -> None:
    """Repeat a table or figure of the papers, on mock or real data: one subcommand for each."""


@command.command("spectra-table1")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("spectra-table1"), show_default=True,
    help="Folder for table.txt, result.json, table1.png and one folder per training.",
)  # fmt: skip
@training.spectra_options
@training.reading_options
@training.preset_option(
    "quick", "full",
    told="quick: few galaxies on small stamps, a quarter of an hour on two cores; full: as published, for a GPU.",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), help="Repeats, instead of the preset's; more may be added later.")
@click.option("--resume", is_flag=True, help="Go on with what is in the output folder.")
@training.objects_option()
@training.cache_option
@training.device_option
@stoppable()
def table1(
    out: Path, vae: Path | None, catalog: Path | None, cutouts: Path | None, spectra: tuple[str, ...],
    objects: int | None, cache: Path | None, **arguments: Any,
) -> None:  # fmt: skip
    """Batch normalisation or deconvolution: five networks from images to spectra (Wu & Peek 2020, Table 1).

    Each is trained with several seeds; the table shows ours beside the published losses, and which claims of the paper
    hold here. Without --catalog this is done on the mock survey, and says so.
    """
    need_training("galcli experiment")
    from galcli.training.experiments.spectra_table1 import SURVEY_SEED, spectra_table1
    from galcli.training.recipes.spectra_data import Source

    reading = training.reading_of(arguments)
    source = Source(cache or out / "cache", SURVEY_SEED, objects, catalog, cutouts, spectra, reading)
    click.echo(spectra_table1(out, source, vae, **arguments), nl=False)


@command.command("dmagnet-table")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("dmagnet-table"), show_default=True,
    help="Folder for table.txt, result.json, table.png and one folder per training.",
)  # fmt: skip
@training.morphology_options
@training.reading_options
@training.preset_option(
    "quick", "default", "published",
    told="quick: minutes on two cores; default: as the shipped model; published: as far as published (length and "
    "optimiser are ours), for a GPU.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True,
    help="Trainings of each network; more may be added later.",
)  # fmt: skip
@training.seed_option
@training.epochs_option
@click.option("--resume", is_flag=True, help="Go on with what is in the output folder.")
@training.objects_option()
@training.cache_option
@training.device_option
@stoppable()
def dmagnet_table(
    out: Path, galaxy10: Path | None, verify: bool, catalog: Path | None, cutouts: Path | None, label_column: str,
    seed: int, objects: int | None, cache: Path | None, **arguments: Any,
) -> None:  # fmt: skip
    """DMAGNet beside ResNet-18 and ConvNeXt, trained in the same way to tell the morphology of galaxies.

    The tables show training, metrics of every class, parameters, arithmetic and speed, beside the published numbers,
    whose rows get the names of the classes that they are of. Without --galaxy10 or --catalog this is done on the mock
    survey, and says so.
    """
    need_training("galcli experiment")
    from galcli.training.experiments.dmagnet_table import dmagnet_table as run
    from galcli.training.recipes.dmagnet_data import Source

    reading = training.reading_of(arguments)
    source = Source(cache or out / "cache", seed, objects, galaxy10, verify, catalog, cutouts, label_column, reading)
    click.echo(run(out, source, **arguments), nl=False)


#: Experiments on claims of the papers, and what each asks: with sparse autoencoders, and on stellar mass.
_CLAIMS = {
    "sae-recovery": "Are the atoms of sparse data found again, and faster where data are lifted to more channels?",
    "sae-convolutional": "Are the kernels of sparse convolutional data found again, up to shift and sign?",
    "sae-spectral": "Is SAE-FNO with all modes the same as SAE-CNN, and better for smooth kernels with few?",
    "sae-resolution": "Does SAE-FNO hold on finer grids than those it learned from, where SAE-CNN does not?",
    "sae-stability": "Do the concepts of SAE-FNO depend less on the number of active ones than those of SAE-MLP?",
    "sae-correlation": "Are the concepts of SAE-FNO more widely correlated than those of SAE-CNN?",
    "sae-utilisation": "Does SAE-FNO need fewer concepts for a population of images than SAE-MLP?",
    "sae-rotation": "Does SAE-FNO suffer less than SAE-MLP where images are rotated?",
    "sae-lifting": "Do SAE-MLP, SAE-CNN and SAE-FNO learn faster where data are lifted to more channels?",
    "mass-synergy": "Do images and photometry tell more of the stellar mass together? (quick: measured shapes, a stand-in)",
    "mass-infrared": "Do images make infrared photometry dispensable for the stellar mass? (quick: measured shapes, a stand-in)",
    "mass-bands": "Which bands tell most of the stellar mass together with the others?",
}
#: All of those on one paper.
_SERIES = {
    "sae-all": "All experiments with sparse autoencoders",
    "mass-all": "All experiments on stellar mass",
}
_QUICK = {
    "sae": "quick: minutes on two cores; full: as published, for a GPU.",
    "mass": "quick: minutes on two cores, without images: what stands in for a claim of the paper is marked; full: with "
    "images, as published, for a GPU.",
}


def _kind(name: str) -> str:
    return name.partition("-")[0]


def _claim_options(name: str, holds: str) -> Decorator:
    return all_of(
        click.option(
            "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(name), show_default=True,
            help=f"Folder for {holds}.",
        ),
        training.preset_option("quick", "full", told=_QUICK[_kind(name)]),
        click.option("--seeds", type=click.IntRange(min=1), help="Repeats, three without it; more may be added later."),
        click.option("--resume", is_flag=True, help="Go on with what is in the output folder."),
        training.device_option,
        *([training.mass_options] if _kind(name) == "mass" else []),
    )  # fmt: skip


def _source(out: Path, preset: str, given: dict[str, Any]) -> Any:
    """Take `mass_options` out of what was given."""
    if given["cutouts"] is not None and preset == "quick":
        raise UsageError("--preset quick takes no images", "leave out --cutouts, or give --preset full")
    from galcli.training.recipes.mass_data import Source

    catalog, cutouts, target, mapped = (given.pop(name) for name in ("catalog", "cutouts", "target", "mapped"))
    source = Source(out / "cache", 0, None, catalog, cutouts, target, mapped, training.reading_of(given))
    source.check()
    return source


def _claim_command(name: str, asked: str) -> click.Command:
    @click.command(name, help=f"{asked}\n\nMeasured with several seeds, and held against the paper's claims.")
    @_claim_options(name, f"table.txt, result.json, {name}.png and one file per seed")
    @stoppable()
    def experiment(out: Path, preset: str, **arguments: Any) -> None:
        need_training("galcli experiment")
        from galcli.training.experiments.experiment import run_experiment
        from galcli.training.experiments.series import find

        found = find(name)
        if _kind(name) == "mass":
            from galcli.training.experiments.mass_galaxies import on_galaxies

            found = on_galaxies(found, out, _source(out, preset, arguments), preset)
        click.echo(run_experiment(out, found, preset, **arguments), nl=False)

    return experiment


def _series_command(name: str, what: str) -> click.Command:
    @click.command(name, help=f"{what}, and one table of the paper's claims: which of them hold here.")
    @_claim_options(name, "table.md and one folder per experiment")
    @stoppable()
    def series(out: Path, preset: str, **arguments: Any) -> None:
        need_training("galcli experiment")
        from galcli.training.experiments.series import run_series

        data: dict[str, Any] = {}
        if _kind(name) == "mass":
            from galcli.training.experiments.mass_galaxies import facts, on_galaxies

            source = _source(out, preset, arguments)
            data = {"prepare": partial(on_galaxies, source=source, preset=preset), "data": facts(source)}
        click.echo(run_series(out, name, preset, **data, **arguments), nl=False)

    return series


for _name, _asked in _CLAIMS.items():
    command.add_command(_claim_command(_name, _asked))
for _name, _what in _SERIES.items():
    command.add_command(_series_command(_name, _what))
