import importlib.resources
import json

import jsonschema
import pytest

from galcli.models.card import Card
from galcli.schemas.__main__ import MODEL_CARD, model_card_schema


def test_schema_file_is_what_the_code_says():
    stored = importlib.resources.files("galcli.schemas").joinpath(MODEL_CARD).read_text()
    assert stored == model_card_schema(), "run python -m galcli.schemas"


def test_schema_accepts_a_card_and_refuses_faults(fields):
    schema = json.loads(model_card_schema())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    good = fields()
    validator.validate(good)
    validator.validate(Card.model_validate(good).model_dump(mode="json"))
    for fault in ({"prefix": "lower"}, {"unknown": 1}, {"outputs": [{"tensor": "x"}]}, {"name": "No Spaces"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(good | fault)
