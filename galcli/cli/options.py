"""Options that several commands share, each written once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
#: What adds options to a command.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def all_of(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def comma_list(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Words between commas."""
    del ctx, parameter
    return tuple(item.strip() for item in value.split(",") if item.strip()) if value else ()


def parse_bands(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """``grz`` or ``g,r,z``; commas are needed where a band name is longer than one letter."""
    del ctx, parameter
    if not value:
        return None
    return tuple(part.strip() for part in value.split(",")) if "," in value else tuple(value)


def parse_map(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """``NAME=COLUMN``, several times."""
    pairs = []
    for value in values:
        name, sign, column = (part.strip() for part in value.partition("="))
        if not (name and sign and column):
            raise click.BadParameter(f"{value} is not of the form NAME=COLUMN.", ctx, parameter)
        pairs.append((name, column))
    return tuple(pairs)


def _auto(low: int, high: int) -> Callable[[click.Context, click.Parameter, str], int | None]:
    """Reader of a whole number within limits; ``auto`` is None."""
    limits = click.IntRange(low, high)

    def read(ctx: click.Context, parameter: click.Parameter, value: str) -> int | None:
        return None if value == "auto" else int(limits(value, parameter, ctx))

    return read


class Finite(click.FloatRange):
    """A number within limits; comparisons alone would let NaN through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text of the option."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


#: A seed of everything random: what the generators of numpy and torch, and a FITS header, can hold.
SEED = click.IntRange(0, 2**63 - 1)

#: Where the catalogue has what every command needs.
table_options = all_of(
    click.option("--hdu", type=click.IntRange(min=1), help="Table HDU of FITS catalogues (default: the first table)."),
    click.option("--id-column", help="Column with the identifiers (default: found by its usual names, else row numbers)."),
    click.option("--ra-column", help="Column with the right ascension in degrees (default: found)."),
    click.option("--dec-column", help="Column with the declination in degrees (default: found)."),
)  # fmt: skip

#: How the catalogue is read.
catalog_options = all_of(
    table_options, click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
)

#: What the pixels are.
pixel_options = all_of(
    click.option("--bands", callback=parse_bands, help="Bands of the cutouts, such as grz, where they do not say."),
    click.option(
        "--zeropoint", type=Finite(-100, 100), help="AB magnitude of one count per pixel, instead of what they say."
    ),
    click.option("--pixel-scale", type=Finite(1e-4, 1e4), help="arcsec per pixel, instead of what they say."),
)

#: Where the pixels are and what they are.
source_options = all_of(
    click.option(
        "--cutouts", help="Folder, file, glob or template of the cutouts (default: found beside the catalogue)."
    ),
    click.option(
        "--bricks",
        type=click.Path(path_type=Path),
        help="Table of survey bricks, whose coadds lie in the folder --cutouts (default: the one in that folder).",
    ),
    pixel_options,
)

#: The same for models, which choose what they see.
cutout_options = all_of(
    source_options,
    click.option("--front", help="Pixel front to use, such as flux:grz or display (default: from bands and survey)."),
)

precision_option = click.option(
    "--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16", "int8"]), default="auto", show_default=True,
    help="Arithmetic of the models: fp16 and bf16 on GPUs; int8 on the CPU, with error bars of its own.",
)  # fmt: skip

map_option = click.option(
    "--map", "mapped", multiple=True, metavar="NAME=COLUMN", callback=parse_map,
    help="Catalogue column to take where a model wants column NAME; repeat for more (`galcli models show` lists names).",
)  # fmt: skip

#: On what the models run.
device_options = all_of(
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, cuda:N,M or tensorrt."),
    precision_option,
    click.option(
        "--batch-size", callback=_auto(1, 65536), default="auto", show_default=True, help="Cutouts per batch, or auto."
    ),
    click.option("--threads", type=click.IntRange(0, 1024), default=0, help="Threads of the models, in each worker (0: all cores)."),
    click.option("--max-memory", type=Finite(min=0, min_open=True), help="Memory to stay below, in GB."),
)  # fmt: skip

#: What is predicted.
model_options = all_of(
    click.option(
        "--model", "models", multiple=True, metavar="NAME|PATH",
        help="Model to run; repeat for more (default: every default model the cutouts and the catalogue satisfy).",
    ),
    map_option,
    click.option("--with", "groups", multiple=True, metavar="GROUP", help="Optional outputs of the models, such as spectra."),
)  # fmt: skip

order_option = click.option(
    "--order", callback=_auto(0, 29), default="auto", show_default=True, help="HEALPix order of the tiles."
)
columns_option = click.option("--columns", callback=comma_list, help="Catalogue columns to pass through, a,b,c.")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, for machines.")
catalogs_argument = click.argument("catalogs", nargs=-1, required=True, type=click.Path(path_type=Path))
max_fail_option = click.option(
    "--max-fail", type=Finite(0, 100), default=10.0, show_default=True, metavar="PCT",
    help="Exit 3 if more percent of the rows stay without a prediction (the table is written all the same).",
)  # fmt: skip
