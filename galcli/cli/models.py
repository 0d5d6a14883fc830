"""``galcli models``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from galcli.cli import options as shared
from galcli.errors import ModelError

if TYPE_CHECKING:
    from rich.table import Table

    from galcli.models.card import Output, TensorInput
    from galcli.models.card_columns import Alias, InputColumn


@click.group("models")
def command() -> None:
    """List, show and verify model files."""


@command.command("list")
@shared.json_option
def list_models(as_json: bool) -> None:
    """List the shipped models."""
    from galcli.models import library

    models = [*library.shipped(), *library.shipped("int8")]
    if as_json:
        entries = [
            {"name": m.name, "version": m.card.version, "precision": m.card.precision, "default": m.default,
             "bytes": m.size, "sha256": m.sha256, "mock": m.card.training.mock,
             "inputs": [tensor.name for tensor in m.card.inputs],
             "backbone": m.card.backbone and m.card.backbone.name, "columns": [o.column for o in m.card.outputs]}
            for m in models
        ]  # fmt: skip
        click.echo(json.dumps(entries))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "precision", "default", "MB", "trained on", "predicts", box=None, pad_edge=False)
    for column in table.columns[:-2]:
        column.no_wrap = True  # sentences give way first
    table.columns[-1].overflow = "fold"
    feeding = {link.name: model.name for model in models for link in model.card.chain}
    feeding |= {model.card.name: model.card.backbone.name for model in models if model.card.backbone}
    for model in models:
        card = model.card
        predicts = card.description + (f" (fed by {feeding.get(card.name, 'another model')})" if card.inputs else "")
        table.add_row(
            card.name, card.precision, "yes" if model.default else "", f"{model.size / 1e6:.1f}",
            "mock survey" if card.training.mock else escape(card.training.data), escape(predicts),
        )  # fmt: skip
    Console().print(table)


@command.command("show")
@click.argument("model")
@shared.precision_option
@shared.json_option
def show(model: str, precision: str, as_json: bool) -> None:
    """Show the card of MODEL (name or path)."""
    from galcli.models import library

    found = library.find(model, precision)
    card = found.card
    if as_json:
        click.echo(card.model_dump_json(indent=1))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"{card.name} {card.version} ({card.system}): {card.description}", markup=False)
    console.print(f"file      {found.path}, {found.size / 1e6:.1f} MB, SHA-256 {found.sha256}", markup=False)
    console.print(f"precision {card.precision}{f', twin of {card.twin_of}' if card.twin_of else ''}", markup=False)
    if card.inputs:
        fed = ", ".join(f"{tensor.name} {_type(tensor)}: {tensor.description}" for tensor in card.inputs)
        link = card.backbone
        feeding = f"{link.name} (SHA-256 {link.sha256})" if link else "another model"
        console.print(f"fed by    {feeding}, with {fed}", markup=False)
    if card.fronts:
        least = f", at least {card.least_side} px" if card.least_side else ""
        size = f'{card.size[1]} x {card.size[0]} px at {card.pixel_scale}"' if card.size else f"native size{least}"
        console.print(f"pixels    {size}; fronts {', '.join(front.name for front in card.fronts)}", markup=False)
    origin = "MOCK survey: not for science on real galaxies" if card.training.mock else "real galaxies"
    console.print(
        f"training  {card.training.data}; {card.training.length}; "
        f"preset {card.training.preset}, seed {card.training.seed}; {origin}",
        markup=False,
    )
    if card.columns:
        console.print(_columns_table(card.columns))
    table = Table("column", "type", "unit", "description", box=None)
    for output in card.outputs:
        group = f" (--with {output.group})" if output.group else ""
        unit = escape(output.unit or output.scale or "")
        table.add_row(output.column, escape(_type(output)), unit, escape(output.description + group))
    console.print(table)
    metrics = Table("metric", "value", "front", "measured on", "objects", box=None)
    for metric in card.metrics:
        words = (metric.name, f"{metric.value:.4g} {metric.unit or ''}", metric.front or "", metric.sample)
        metrics.add_row(*map(escape, words), f"{metric.objects:,}")
    console.print(metrics)
    console.print(f"licence   {card.licence}\ncite      {card.citation}", markup=False)


@command.command("verify")
@click.argument("model", required=False)
@shared.precision_option
def verify(model: str | None, precision: str) -> None:
    """Check MODEL (name or path), or every shipped model: SHA-256, card and graph."""
    from galcli.models import library

    if model is not None:
        found = library.find(model, precision)
        is_shipped = model in library.names()
        whole = is_shipped or library.is_sealed(found.path.read_bytes())
        told = "good" if whole else "readable; it carries no seal, so only you know whether its SHA-256 is right"
        click.echo(f"{found.name}: {told}, SHA-256 {found.sha256}")
        return
    problems = library.verify()
    for name, problem in problems.items():
        click.echo(f"{name}: {problem or 'good'}")
    if any(problems.values()):
        raise ModelError("a shipped model file is damaged", "install galcli again")


def _columns_table(columns: tuple[InputColumn, ...]) -> Table:
    """Catalogue columns that a model takes, with the other names that are looked for."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("takes column", "as", "range", "where missing", "or", box=None)
    for column in columns:
        own, *others = column.ways
        missing = "no prediction" if column.missing == "null" else "predicted without"
        names = (f"{way.name}" + (f" ({_scale(way)})" if _scale(way) != _scale(own) else "") for way in others)
        table.add_row(*map(escape, (column.name, _scale(own), _range(column), missing, ", ".join(names))))
    return table


def _range(column: InputColumn) -> str:
    """Which numbers are taken, such as ``0 to 40``; all others are missing values."""
    if column.low is None:
        return "" if column.high is None else f"below {column.high:g}"
    return f"above {column.low:g}" if column.high is None else f"{column.low:g} to {column.high:g}"


def _scale(way: Alias) -> str:
    """Quantity, unit and system, such as ``flux, nanomaggy, AB``."""
    return ", ".join(filter(None, dict.fromkeys((way.quantity, way.unit, way.system))))


def _type(tensor: Output | TensorInput) -> str:
    """Type and shape of a row, such as ``f4[6]``."""
    return tensor.dtype + (f"[{','.join(map(str, tensor.shape))}]" if tensor.shape else "")
