"""Words for the inputs of a model for stellar mass, and what its file and its card are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.errors import InputError, ModelError, UsageError
from galcli.models.card import Output
from galcli.training.interpret.causal_seen import find_model
from galcli.training.recipes import mass_card
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import ERRORS, INFRARED, MAGNITUDES, OPTICAL, REDSHIFT, SETS, Inputs
from galcli.training.recipes.mass_words import GROUPS, mock_column, parse_parts, parts_of, spell
from tests.survey import write_catalog
from tests.tiny_models import write_columns

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, one = tmp_path_factory.mktemp("words") / "own.fits", np.ones(3)
    return write_catalog(path, RA=one, DEC=one, lgm_tot_p50=one, EBV=one, Colour=one, Z_SPEC=one)


def test_one_part_or_two(tmp_path: Path) -> None:
    source = Source(tmp_path, 0)
    one = parts_of("z+phot[r]", source)
    assert (one.first, one.second, one.names) == (
        Inputs(("petroMag_r", "petroMagErr_r", REDSHIFT)), None, ("z+phot[r]",)
    )  # fmt: skip
    two = parts_of(" optical : shapes[ig]", source)
    assert (two.first, two.second, two.names) == (
        Inputs(OPTICAL), Inputs((), "gi", True), ("optical", "shapes[ig]")
    )  # fmt: skip
    assert two.both == Inputs(OPTICAL, "gi", True)


def test_published_words_are_their_sets(tmp_path: Path) -> None:
    """Though some have groups in them, which would be one part."""
    assert all(parts_of(word, Source(tmp_path, 0)) is parts for word, parts in SETS.items())
    assert parts_of("optical:infrared", Source(tmp_path, 0)) == SETS["optical+ir"]
    assert parts_of("optical+infrared", Source(tmp_path, 0)).second is None


def test_columns_are_those_of_the_catalogue(catalog: Path) -> None:
    source = Source(catalog.parent, 0, catalog=catalog)
    assert parts_of("colour+redshift", source).first == Inputs((REDSHIFT, "Colour"))
    with pytest.raises(InputError, match="no column"):
        parts_of("colour+nothing", source)
    with pytest.raises(UsageError, match="no input of its own"):
        parts_of("colour:lgm_tot_p50", source)
    with pytest.raises(UsageError, match="unknown input 'colour'"):
        parts_of("colour", Source(catalog.parent, 0))


@pytest.mark.parametrize(
    "inputs", [*GROUPS.values(), Inputs(("Z",), "gr"), Inputs(("petroMag_g", "w1mpro"), "z", True)]
)
def test_words_for_inputs_are_read_as_these(inputs: Inputs) -> None:
    assert parse_parts(spell(inputs), mock_column).both == inputs


def test_a_refused_word_trains_nothing(galcli: Run, tmp_path: Path) -> None:
    for words, told in (("optcal", "unknown input 'optcal'"), ("optical:", "no two inputs"), ("", "unknown input ''"),
                        ("images[gx]", "unknown bands"), ("images:images", "same inputs twice")):  # fmt: skip
        assert told in galcli("train", "mass", "--inputs", words, "-o", tmp_path / "out", code=2).error
    assert not (tmp_path / "out").exists()


def test_help_tells_the_published_words(galcli: Run) -> None:
    text = " ".join(galcli("train", "mass", "--help").out.split())
    told = text.partition("What is known of a galaxy: ")[2].partition(" (optical")[0]
    assert set(told.replace(" or ", ", ").split(", ")) == set(SETS)


def test_names_of_models(tmp_path: Path) -> None:
    names = {word: mass_card.name_of(parts) for word, parts in SETS.items()}
    assert names == {
        "photometry+images": "mass", "optical+ir": "mass-photometry", "optical": "mass-optical", "images": "mass-images",
        "images+ir": "mass-images-ir", "images+ir+z": "mass-images-ir-z",
    }  # fmt: skip
    for words, name in (("optical+infrared", "mass-columns"), ("infrared:redshift", "mass-columns"),
                        ("images[gr]", "mass-custom"), ("shapes+optical", "mass-custom")):  # fmt: skip
        assert mass_card.name_of(parts_of(words, Source(tmp_path, 0))) == name


@pytest.mark.parametrize(
    ("words", "width"), [("optical:infrared", 24), (":".join(("+".join(MAGNITUDES), "redshift")), 63)]
)
def test_names_of_two_parts_fit_into_their_column(words: str, width: int, tmp_path: Path) -> None:
    parts = parts_of(words, Source(tmp_path, 0))
    (pair,) = (one for one in mass_card.outputs(parts, 0) if one["column"] == "PID_PAIR")
    assert Output(**pair).dtype == f"A{width}"
    assert pair["labels"] == ("|".join(parts.names),)
    assert len(pair["labels"][0]) <= width


@pytest.mark.parametrize(("inputs", "data", "words"), [
    (Inputs(OPTICAL + INFRARED), "mock survey", "optical+ir"),
    (Inputs(OPTICAL), "mock survey", "optical"),
    (Inputs(MAGNITUDES[:2] + ERRORS[:1]), "mock survey", "petroMag_u+petroMag_g+petroMagErr_u"),
    (Inputs((REDSHIFT, "Colour")), "own.fits", "Z+Colour --catalog own.fits"),
    (Inputs((REDSHIFT,), "gr"), "mock survey", "Z+images[gr]"),
    (None, "mock survey", "optical+ir"),
])  # fmt: skip
def test_models_without_a_representation_tell_how_to_train_theirs(
    inputs: Inputs | None, data: str, words: str, tmp_path: Path
) -> None:  # fmt: skip
    training = {"data": data, "mock": True, "objects": 9, "seed": 0, "epochs": 1.0, "preset": "quick"}
    told = {} if inputs is None else {"inputs": vars(inputs)}
    columns = ("P1", "P2") if inputs is None else inputs.needed
    path = write_columns(tmp_path / "bare.onnx", [{"name": name, "quantity": "value"} for name in columns],
                         training=training | {"details": told})  # fmt: skip
    with pytest.raises(ModelError, match="no representation") as found:
        find_model(str(path))
    assert found.value.hint == f"train one with `galcli train mass --inputs {words} --contrastive`"
