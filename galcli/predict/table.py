"""What the output table looks like: columns, header and the HDUs that go with it, kept in the plan as JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from galcli.models.card import Card as ModelCard
from galcli.models.card import parse_card
from galcli.predict.engine import Engine
from galcli.predict.identity import Identity, digest, fits_text, flatten
from galcli.predict.layout import Layout
from galcli.predict.runner import told
from galcli.sky.healpix import ORDER_MAX
from galcli.tables.columns import Column
from galcli.tables.fits import Card, TableHDU

#: Extension names of the output file.
PREDICTIONS, MODELS, RUN = "PREDICTIONS", "MODELS", "RUN"


@dataclass(frozen=True)
class ModelRecord:
    """A model as the table remembers it: one row of the MODELS HDU.

    Attributes
    ----------
    name, version, sha256, front : str
    status : str
        Name of its status column in this table.
    tables : dict of str to str
        Name of each of the card's tables -> its name in this file.
    card : str
        The card, JSON.
    """

    name: str
    version: str
    sha256: str
    front: str
    status: str
    tables: dict[str, str]
    card: str

    @property
    def parsed(self) -> ModelCard:
        """The card."""
        return parse_card(self.card, self.name)


@dataclass(frozen=True)
class TableSpec:
    """The output table before it has rows.

    Attributes
    ----------
    columns : tuple of Column
    copied : dict of str to str
        Table column -> field of the plan's catalogue that is copied into it.
    header : tuple of Card
        Cards of the PREDICTIONS HDU.
    models : tuple of ModelRecord
    identity : dict
    """

    columns: tuple[Column, ...]
    copied: dict[str, str]
    header: tuple[Card, ...]
    models: tuple[ModelRecord, ...]
    identity: Identity

    @property
    def layout(self) -> str:
        """Form of the output: see `galcli.predict.options`."""
        return str(self.identity["layout"])

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the identity, as the header of each tile and of the table says it."""
        return digest(self.identity)

    def to_json(self) -> str:
        """JSON text from which `from_json` makes an equal spec."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TableSpec:
        """Read what `to_json` wrote."""
        entry = json.loads(text)
        return cls(
            tuple(_column(column) for column in entry["columns"]),
            entry["copied"],
            tuple((key, value, comment) for key, value, comment in entry["header"]),
            tuple(ModelRecord(**model) for model in entry["models"]),
            entry["identity"],
        )

    def further_hdus(self) -> list[TableHDU]:
        """HDUs after the predictions: MODELS, RUN, and the tables of the cards."""
        models = _text_table(
            MODELS,
            {
                "NAME": ("model", [model.name for model in self.models]),
                "VERSION": ("version of the model", [model.version for model in self.models]),
                "SHA256": ("SHA-256 of the model file", [model.sha256 for model in self.models]),
                "FRONT": ("how its pixels were read", [model.front for model in self.models]),
                "CARD": ("model card, JSON", [model.card for model in self.models]),
            },
        )
        flat = flatten(self.identity)
        run = _text_table(
            RUN,
            {
                "KEY": ("what determines the values of this file", list(flat)),
                "VALUE": ("its value", list(flat.values())),
            },
        )
        return [models, run, *self._card_tables()]

    def _card_tables(self) -> list[TableHDU]:
        hdus = []
        for model in self.models:
            for table in model.parsed.tables:
                columns = [
                    Column(c.name, c.dtype, unit=c.unit, description=told(c.description, model.tables))
                    for c in table.columns
                ]
                columns = [dataclasses.replace(c, null=-1) if c.dtype[0] in "iu" else c for c in columns]
                shaped = []
                data = {}
                for column, source in zip(columns, table.columns, strict=True):
                    values = np.array(source.values, column.numpy)
                    shaped.append(dataclasses.replace(column, shape=values.shape[1:]))
                    data[column.name] = values
                header: list[Card] = [
                    ("MODEL", model.name, "model this table belongs to"),
                    ("CARDNAME", table.name, "name of this table in the model's card"),
                ]
                hdus.append(TableHDU(model.tables[table.name], shaped, data, header))
        return hdus


def table_spec(identity: Identity, engine: Engine, layout: Layout) -> TableSpec:
    """The table that a run with these resources writes."""
    runners = list(engine.all_runners())
    models = tuple(
        ModelRecord(
            runner.model.name, runner.model.card.version, runner.model.sha256, entry["front"], runner.status.name,
            runner.tables, runner.model.card.model_dump_json(),
        )
        for runner, entry in zip(runners, identity["models"], strict=True)
    )  # fmt: skip
    columns = (*layout.columns, *(column for runner in engine.runners for column in runner.columns))
    return TableSpec(columns, layout.copied, _header(identity, models), models, identity)


def _column(entry: dict[str, Any]) -> Column:
    """A column from JSON, which knows no tuples."""
    header = tuple((key, value, comment) for key, value, comment in entry["header"])
    return Column(**entry | {"shape": tuple(entry["shape"]), "header": header})


def _header(identity: Identity, models: tuple[ModelRecord, ...]) -> tuple[Card, ...]:
    """Versions, identity, models, and whether their weights come from a mock survey."""
    cards: list[Card] = [
        ("GALCLI", identity["galcli"], "galcli version"),
        ("ORTVER", identity["onnxruntime"], "onnxruntime version"),
        ("IDENTITY", digest(identity), "SHA-256 of what the RUN table lists"),
        ("HPXNEST", True, "HPX is NESTED"),
        ("HPXORDER", ORDER_MAX, "HEALPix order of HPX"),
    ]
    for number, model in enumerate(models, start=1):
        cards += [
            (f"MODEL{number}", model.name, "model"),
            (f"MVER{number}", model.version, "its version"),
            (f"MSHA{number}", model.sha256, "SHA-256 of its file"),
            (f"MFRONT{number}", model.front, "how its pixels were read"),
            (f"MMOCK{number}", model.parsed.training.mock, "T: trained on a mock survey only"),
        ]
    return tuple(cards)


def _text_table(name: str, columns: dict[str, tuple[str, list[str]]]) -> TableHDU:
    """HDU of text columns, each as wide as its longest entry."""
    specs, data = [], {}
    for column, (description, values) in columns.items():
        encoded = [fits_text(value).encode() for value in values]
        width = max([1, *map(len, encoded)])
        specs.append(Column(column, f"A{width}", description=description))
        data[column] = np.array(encoded, f"S{width}")
    return TableHDU(name, specs, data, [])
