"""Opening what a run works on, and saying what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from galcli import __version__
from galcli.models.devices import GPU_PRECISIONS, Device
from galcli.models.int8 import int8_device
from galcli.predict.engine import Engine, open_engine
from galcli.predict.layout import Layout, base_columns_of, catalog_layout
from galcli.predict.options import PredictOptions
from galcli.predict.runner import ModelRunner, Taken
from galcli.predict.table import MODELS, PREDICTIONS, RUN
from galcli.progress import Progress, silent
from galcli.sky.catalog import Catalog, open_catalog
from galcli.tables.fits import table_cards

#: Rows that are looked at before a run, for columns without usable values.
_FIRST = 10_000


@contextmanager
def open_inputs(
    options: PredictOptions, note: Callable[[str], None] = silent, elsewhere: str | None = None
) -> Iterator[tuple[Catalog, Layout, Engine]]:
    """Open catalogue, cutouts and models.

    Parameters
    ----------
    options : PredictOptions
    note : callable
        Is told how far the search for cutouts is where it takes long.
    elsewhere : str, optional
        Kind of the devices of other machines, which make the predictions: a plan for them needs no such device here.
    """
    with open_catalog(
        options.catalogs, hdu=options.hdu, id_column=options.id_column,
        ra_column=options.ra_column, dec_column=options.dec_column,
    ) as catalog:  # fmt: skip
        base = base_columns_of(catalog, options.layout)
        taken = Taken({column.name for column in base}, {PREDICTIONS, MODELS, RUN})
        engine = open_engine(_opened_here(options, elsewhere), catalog, taken, note)
        if elsewhere is not None:
            if any(runner.session.precision == "int8" for runner in engine.all_runners()):
                int8_device(elsewhere)
            engine.elsewhere = (Device(elsewhere), options.precision if options.precision in GPU_PRECISIONS else None)
        written = [column for runner in engine.runners for column in runner.columns]
        layout = catalog_layout(catalog, base, options.columns, {column.name for column in written})
        table_cards(PREDICTIONS, [*layout.columns, *written], 0, ())  # what no table can hold is refused here
        yield catalog, layout, engine


def _opened_here(options: PredictOptions, elsewhere: str | None) -> PredictOptions:
    """Options of the engine of this process: on its CPU where it makes a plan for other machines."""
    if elsewhere is None:
        return dataclasses.replace(options, device=options.devices[0])
    precision = "auto" if options.precision in GPU_PRECISIONS else options.precision
    return dataclasses.replace(options, device="cpu", precision=precision)


def announce(engine: Engine, catalog: Catalog, options: PredictOptions, progress: Progress) -> None:
    """Say on what the run computes, with which models, and what the user or somebody else answers for."""
    session = engine.runners[0].session
    device, precision = engine.elsewhere or (None, None)
    provider = (session.provider if device is None else device.provider).removesuffix("ExecutionProvider")
    progress.note(f"galcli {__version__} on {provider}, {precision or session.precision}")
    progress.note(f"catalogue {catalog.where}: {catalog.nrows:,} rows; cutouts: {engine.source.describe()}")
    for runner in engine.runners:
        card = runner.model.card
        what = [f"pixels as {runner.front_name}"] if runner.sees else []
        what += [f"columns {', '.join(column.name for column in card.columns)}"] if card.columns else []
        progress.note(f"model {card.name} {card.version} ({runner.model.sha256[:12]}), {'; '.join(what)}")
        for line in _of_columns(runner, catalog, options.limit):
            progress.note(line)
        for child in (child.model for child, _ in runner.children if child.model.card.backbone):
            progress.note(f"model {child.name} {child.card.version} ({child.sha256[:12]}), fed by {card.name}")
    if catalog.id_name is None:
        progress.note(
            "note: no identifier of whole numbers or text among the columns (--id-column): rows are known by their number "
            "and position"
        )
    for option, value in (("--zeropoint", options.zeropoint), ("--pixel-scale", options.pixel_scale)):
        if value is not None:
            progress.note(f"note: {option} {value:g} holds for all cutouts, whatever their headers say")
    mock = [runner.model.name for runner in engine.all_runners() if runner.model.card.training.mock]
    if mock:
        progress.note(
            f"note: {', '.join(mock)} learned from a MOCK survey: good for trying galcli, not for science on real galaxies"
        )


def _of_columns(runner: ModelRunner, catalog: Catalog, limit: int | None) -> Iterator[str]:
    """Where a model's columns come from, which the catalogue has not, and which are mostly empty in its first rows."""
    wants = runner.wants
    if wants is None:
        return
    if changes := wants.changes():
        yield f"  {', '.join(changes)}"
    if absence := wants.absence(runner.model.name):
        yield absence
    for first in catalog.chunks(wants.needs, size=_FIRST, stop=min(_FIRST, limit or _FIRST)):
        yield from wants.thin({name: first[name] for name in wants.needs}, runner.model)
