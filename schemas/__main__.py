"""Writes the schemas that are made from code: ``python -m galcli.schemas``."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path

from galcli.models.card import Card

MODEL_CARD = "model-card.schema.json"


def model_card_schema() -> str:
    """JSON Schema (draft 2020-12) of the model card, as text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Card.model_json_schema()
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    path = Path(str(importlib.resources.files("galcli.schemas"))) / MODEL_CARD
    path.write_text(model_card_schema())
    print(path)
