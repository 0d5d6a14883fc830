"""Writes the schemas that are made from code: ``python -m galcli.schemas``."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path

from pydantic import BaseModel

from galcli.models.card import Card
from galcli.predict.record import RunRecord

#: File of this package -> what it describes.
SCHEMAS: dict[str, type[BaseModel]] = {"model-card.schema.json": Card, "run-record.schema.json": RunRecord}


def schema_text(described: type[BaseModel]) -> str:
    """JSON Schema (draft 2020-12), as text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | described.model_json_schema()
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    for name, described in SCHEMAS.items():
        path = Path(str(importlib.resources.files("galcli.schemas"))) / name
        path.write_text(schema_text(described))
        print(path)
