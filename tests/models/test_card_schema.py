import importlib.resources
import json

import jsonschema
import pytest

from galcli.models.card import Card
from galcli.schemas.__main__ import SCHEMAS, schema_text


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_file_is_what_the_code_says(name):
    stored = importlib.resources.files("galcli.schemas").joinpath(name).read_text()
    assert stored == schema_text(SCHEMAS[name]), "run python -m galcli.schemas"


def test_schema_accepts_a_card_and_refuses_faults(fields):
    schema = json.loads(schema_text(Card))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    good = fields()
    validator.validate(good)
    validator.validate(Card.model_validate(good).model_dump(mode="json"))
    for fault in ({"prefix": "lower"}, {"unknown": 1}, {"outputs": [{"tensor": "x"}]}, {"name": "No Spaces"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(good | fault)
