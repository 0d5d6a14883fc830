"""Words for variables, and what is missing in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galcli.errors import UsageError
from galcli.training.interpret.causal_variables import (
    CONDITIONS,
    QUERIES,
    Variable,
    choose_variables,
    known_columns,
    parse_variable,
)
from galcli.training.recipes.mass_data import KNOWN, Source
from galcli.training.recipes.mass_plan import TARGET
from tests.training.interpret.made_causal import table, write_table

COLUMNS = ("a", "B", "c-d", "c", "d")


def test_words_are_columns_ratios_and_differences() -> None:
    assert parse_variable(" A ", COLUMNS) == Variable("a", ("a",))
    assert parse_variable("b/A", COLUMNS) == Variable("B/a", ("B", "a"), "/")
    assert parse_variable("a - b", COLUMNS) == Variable("a-B", ("a", "B"), "-")
    assert parse_variable("c-d", COLUMNS) == Variable("c-d", ("c-d",)), "a name with a sign is a column first"
    assert parse_variable("c-d-a", COLUMNS) == Variable("c-d-a", ("c-d", "a"), "-")
    assert parse_variable("a/c-d", COLUMNS) == Variable("a/c-d", ("a", "c-d"), "/")
    for words in ("x", "a*B", "a/", "/a", "a/x", "", "a/B/c"):
        with pytest.raises(UsageError) as found:
            parse_variable(words, COLUMNS)
        assert all(name in found.value.hint for name in COLUMNS)
    many = [f"column{k}" for k in range(500)]
    with pytest.raises(UsageError, match="unknown variable 'column5O0'") as told:
        parse_variable("column5O0", [*many, "column500"])
    assert "column500" in told.value.hint
    assert told.value.hint.endswith("and 441 more")


def test_sentinels_and_zero_divisors_are_missing() -> None:
    columns = {
        "a": np.array([6.0, 6, -9999, np.nan, 6, 9000, -8999]), "B": np.array([2.0, 0, 2, 2, -9999, 2, 1]),
    }  # fmt: skip
    np.testing.assert_array_equal(parse_variable("a", COLUMNS).of(columns), [6, 6, np.nan, np.nan, 6, np.nan, -8999])
    np.testing.assert_array_equal(parse_variable("a/B", COLUMNS).of(columns), [3, *[np.nan] * 5, -8999])
    np.testing.assert_array_equal(parse_variable("a-B", COLUMNS).of(columns), [4, 6, *[np.nan] * 4, -9000])


def test_no_condition_comes_first_and_none_is_its_own_condition() -> None:
    choice = choose_variables(["a", "B", "A"], ["b", "none", "c"], COLUMNS)
    assert [one.name for one in choice.queries] == ["a", "B"], "each once"
    assert [one and one.name for one in choice.conditions] == [None, "B", "c"]
    assert [(q.name, c and c.name) for q, c in choice.pairs] == [
        ("a", None), ("a", "B"), ("a", "c"), ("B", None), ("B", "c"),
    ]  # fmt: skip
    assert choice.columns == ("a", "B", "c")
    assert choose_variables(["a"], ["none"], COLUMNS).conditions == (None,)


def test_default_variables_are_those_that_there_are() -> None:
    whole = choose_variables((), (), [name for name in KNOWN if name != TARGET])
    assert tuple(one.name for one in whole.queries) == QUERIES
    assert tuple(one.name for one in whole.conditions if one) == CONDITIONS
    assert whole.absent == ()
    some = choose_variables((), (), ["Z", "EBV", "petroMag_u", "petroMag_r"])
    assert [one.name for one in some.queries] == ["petroMag_u-petroMag_r", "Z", "EBV"]
    assert [one and one.name for one in some.conditions] == [None, "Z"]
    assert set(some.absent) == {*QUERIES, *CONDITIONS} - {"petroMag_u-petroMag_r", "Z", "EBV"}
    with pytest.raises(UsageError, match="none of the default query variables") as found:
        choose_variables((), (), COLUMNS)
    assert "c-d" in found.value.hint


def test_mass_is_no_variable(tmp_path: Path) -> None:
    made = table(20, 0)
    made["petroMag_R"] = made.pop("P4")
    catalog = write_table(tmp_path / "c.fits", **made)
    columns = known_columns(Source(tmp_path, 0, catalog=catalog))
    assert {"Q1", "C1", "Z", "EBV"} <= set(columns)
    assert TARGET not in columns
    assert "petroMag_r" in columns, "as this house spells it"
    assert TARGET not in known_columns(Source(tmp_path, 0))
    with pytest.raises(UsageError, match="unknown variable 'lgm_tot_p50'"):
        parse_variable(TARGET, columns)
