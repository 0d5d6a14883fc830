import importlib.resources
import json

import jsonschema
import pytest
from astropy.io import fits
from pydantic import ValidationError

from galcli.models.card import Card, Training
from galcli.schemas.__main__ import SCHEMAS, schema_text
from galcli.tables.header import card_text


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


@pytest.mark.parametrize("shape", [(1,), (0,), (3, -1)])
def test_shapes_that_tables_do_not_keep_are_refused(fields, shape):
    good = fields()
    first = dict(good["outputs"][0]) | {"shape": shape}
    with pytest.raises(ValidationError, match="that of one number is"):
        Card.model_validate(good | {"outputs": [first, *good["outputs"][1:]]})


BACKBONE = {"name": "other", "sha256": "0" * 64, "bindings": {"inner/z": "z"}}


def tensor(name):
    return {"name": name, "shape": [6], "description": "latents"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fronts": []}, "at least one front"),
        ({"inputs": [tensor("z")]}, "neither fronts"),
        (
            {"fronts": [], "columns": [{"name": "m", "quantity": "mag", "system": "AB"}], "inputs": [tensor("z")]},
            "neither fronts",
        ),
        ({"fronts": [], "inputs": [tensor("z"), tensor("z")]}, "same name"),
        ({"fronts": [], "inputs": [tensor("z") | {"dtype": "f8"}]}, "dtype"),
        ({"backbone": BACKBONE}, "feeds input tensors of a float32 model"),
        (
            {"fronts": [], "columns": [{"name": "m", "quantity": "mag", "system": "AB"}], "backbone": BACKBONE},
            "feeds input tensors",
        ),
        (
            {"fronts": [], "inputs": [tensor("z")], "backbone": BACKBONE, "precision": "int8", "twin_of": "0" * 64},
            "of a float32 model",
        ),
        ({"fronts": [], "inputs": [tensor("z")], "backbone": BACKBONE | {"sha256": "0"}}, "sha256"),
    ],
)
def test_a_model_is_fed_in_one_way(fields, changes, words):
    with pytest.raises(ValidationError, match=words):
        Card.model_validate(fields(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"least_side": 33},
        {"size": None, "pixel_scale": None, "least_side": 0},
        {"size": None, "pixel_scale": None, "least_side": 33, "fronts": [], "inputs": [tensor("z")]},
    ],
)
def test_least_side_is_for_cutouts_of_native_size(fields, changes):
    with pytest.raises(ValidationError, match="least_side"):
        Card.model_validate(fields(**changes))


def with_header(fields, *cards):
    return Card.model_validate(fields(outputs=[fields()["outputs"][0] | {"header": list(cards)}]))


@pytest.mark.parametrize("value", [True, 1, 2**63 - 1, -(2**63), 1.0, 1e90, 3.9e-4, "WAVE-LOG", "", "it's"])
def test_header_cards_keep_value_and_type(fields, value):
    card = with_header(fields, {"keyword": "1CTYP#", "value": value, "comment": "of the spectra"})
    again = Card.model_validate_json(card.model_dump_json())
    (found,) = again.outputs[0].header
    assert (found.value, type(found.value)) == (value, type(value))


@pytest.mark.parametrize(
    "fault",
    [
        {"keyword": "lower"}, {"keyword": "TOO-LONG-1"}, {"keyword": "SIXSIX#"}, {"keyword": "FIVES#A"},
        {"keyword": "#"}, {"keyword": "A##"}, {"keyword": "TTYPE#"}, {"keyword": "TCOMM7"}, {"keyword": "MODEL#"},
        {"keyword": ""}, {"keyword": "A B"}, {"value": float("nan")}, {"value": float("inf")}, {"value": None},
        {"value": "x" * 69}, {"value": "\N{ANGSTROM SIGN}"}, {"value": "blank at the end "}, {"value": [1]},
        {"comment": "\n"}, {"other": 1}, {"value": "12 "}, {"value": 10**90}, {"value": 2**63}, {"value": -(2**63) - 1},
        {"comment": "x" * 48}, {"value": "x" * 60, "comment": "y" * 6}, {"value": "'" * 40}, {"keyword": "GROUPS"},
        {"keyword": "ZCMPTYPE"}, {"keyword": "ZFORM#"}, {"keyword": "ZCTYP1"}, {"keyword": "ZNAXIS2"}, {"keyword": "TBCOL#"},
    ],
    ids=str,
)  # fmt: skip
def test_header_cards_that_no_table_can_hold_are_refused(fields, fault):
    good = {"keyword": "1CTYP#", "value": 1}
    with_header(fields, good)
    with pytest.raises(ValidationError):
        with_header(fields, good | fault)
    with pytest.raises(ValidationError, match="twice"):
        with_header(fields, good, good)


@pytest.mark.parametrize(
    "more", [{"value": "x" * 68}, {"value": 1.5, "comment": "y" * 47}, {"value": "x" * 60, "comment": "y" * 5}]
)
def test_header_cards_that_just_fit_are_whole(fields, more):
    (card,) = with_header(fields, {"keyword": "1CTYP#", **more}).outputs[0].header
    found = fits.Card.fromstring(card_text("1CTYP100", card.value, card.comment))
    assert (found.value, found.comment) == (card.value, card.comment)


def test_no_card_takes_the_place_of_one_that_galcli_or_fits_writes(fields, survey, galcli):
    """Every keyword in the header of a real table is refused."""
    galcli(*survey.predict())
    header = fits.getheader(survey.out, 1)
    assert {"NAXIS1", "TTYPE5", "TNULL4", "IDENTITY", "MMOCK1", "EXTNAME", "CHECKSUM", "HPXORDER"} <= set(header)
    for keyword in [*header, *fits.getheader(survey.out, 0), "END"]:
        with pytest.raises(ValidationError):
            with_header(fields, {"keyword": keyword, "value": 1})


def test_the_length_of_a_training_tells_the_one_before() -> None:
    facts = {"data": "mock survey", "mock": True, "objects": 38_912, "seed": 1, "epochs": 2.0, "preset": "finetune"}
    assert Training(**facts).length == "38,912 galaxies, 2 epochs"
    earlier = {"init": {"file": "weights.safetensors", "objects": 77_824, "epochs": 4.1499}}
    assert Training(**facts, details=earlier).length.endswith(
        "after 77,824 galaxies, 4.15 epochs of an earlier training"
    )
    foreign = {"init": {"file": "resnet18.pth"}}
    assert Training(**facts, details=foreign).length == "38,912 galaxies, 2 epochs"
