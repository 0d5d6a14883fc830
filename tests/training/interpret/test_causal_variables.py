"""Words for variables, and what is missing in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galcli.errors import InputError, UsageError
from galcli.training.interpret.causal_variables import (
    CONDITIONS,
    QUERIES,
    Variable,
    choose_variables,
    known_columns,
    parse_variable,
)
from galcli.training.recipes.mass_columns import KNOWN
from galcli.training.recipes.mass_data import Source, gather
from galcli.training.recipes.mass_plan import TARGET, Inputs
from tests.survey import write_catalog
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


def test_missing_values_and_zero_divisors_are_missing() -> None:
    columns = {"a": np.array([6.0, 6, np.nan, 6, 12000]), "B": np.array([2.0, 0, 2, np.nan, 1])}
    np.testing.assert_array_equal(parse_variable("a", COLUMNS).of(columns), [6, 6, np.nan, 6, 12000])
    np.testing.assert_array_equal(parse_variable("a/B", COLUMNS).of(columns), [3, np.nan, np.nan, np.nan, 12000])
    np.testing.assert_array_equal(parse_variable("a-B", COLUMNS).of(columns), [4, 6, np.nan, np.nan, 11999])


def test_words_stand_for_columns() -> None:
    words = {"Z": "Z", "Z_SPEC": "Z", "petroFlux_r": "petroFlux_r"}
    assert parse_variable("z_spec", words) == Variable("Z", ("Z",))
    assert parse_variable("petroflux_r/Z_SPEC", words) == Variable("petroFlux_r/Z", ("petroFlux_r", "Z"), "/")
    assert len(choose_variables(["Z", "Z_SPEC"], [], words).queries) == 1, "one column under two names"


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


def foreign(path: Path, units: dict[str, str] | None = None, n: int = 200, **more: np.ndarray) -> Path:
    """A catalogue that calls nearly all columns otherwise than networks do, in another order and unit."""
    draw = np.random.default_rng(2)
    columns = {
        "RA": draw.uniform(0, 9, n), "DEC": draw.uniform(0, 9, n), "OBJECT_ID": np.arange(n),
        "LOGMSTAR": draw.uniform(9, 11, n), "lgm_tot_p50": draw.uniform(9, 11, n), "Z_SPEC": draw.uniform(0.01, 0.3, n),
        "petroFlux_u": np.full(n, 10.0), "petroFlux_r": np.full(n, 100.0), "E_BV": np.full(n, 0.02),
        "AGE_MYR": np.linspace(1000, 12000, n),
    } | more  # fmt: skip
    return write_catalog(path, units, **columns)


def test_variables_are_found_as_the_networks_find_them(tmp_path: Path) -> None:
    """By other names and from fluxes, without a word of the user; and by --map."""
    source = Source(tmp_path, 0, catalog=foreign(tmp_path / "c.fits"), target="LOGMSTAR")
    columns = known_columns(source)
    choice = choose_variables((), (), columns)
    assert [one.name for one in choice.queries] == ["petroMag_u-petroMag_r", "Z", "EBV"]
    assert [one and one.name for one in choice.conditions] == [None, "Z"]
    assert "LOGMSTAR" not in columns
    asked = choose_variables(["lgm_tot_p50", "e_bv", "petroFlux_r", "age_myr"], ["z_spec"], columns)
    assert asked.columns == ("lgm_tot_p50", "EBV", "petroFlux_r", "AGE_MYR", "Z")
    for word in ("redshift", "zspec"):  # other names that the catalogue does not use
        assert choose_variables(["e_bv"], [word], columns).columns == ("EBV", "Z")
    galaxies = gather(Inputs((*choice.columns, *asked.columns)), 0, source)
    np.testing.assert_allclose(choice.queries[0].of(galaxies.columns), 2.5, rtol=1e-6)
    np.testing.assert_allclose(galaxies.columns["petroFlux_r"], 100)
    mapped = replace(source, mapped=(("petroMag_g", "petroFlux_u"), ("w1mpro", "petroFlux_r")))
    columns = known_columns(mapped)
    assert {"petroMag_g", "petroMag_u", "w1mpro"} <= set(columns)
    assert columns["petroFlux_u"] == "petroMag_g", "the user says so"
    with pytest.raises(InputError, match="no column nowhere"):
        known_columns(replace(source, mapped=(("Z", "nowhere"),)))


@pytest.mark.parametrize(("bands", "unit"), [("ugriz", ""), ("ugriz", "mag"), ("z", "mag")])
def test_a_band_is_no_redshift(tmp_path: Path, bands: str, unit: str) -> None:
    """Where `z` is a magnitude, redshifts are those of another name, or there are none, by no word."""
    magnitudes = {band: np.full(200, 17.0) for band in bands}
    source = Source(tmp_path, 0, catalog=foreign(tmp_path / "c.fits", dict.fromkeys(bands, unit), **magnitudes))
    columns = known_columns(source)
    assert "z" not in columns
    if len(bands) > 1:
        assert columns["Z"] == columns["Z_SPEC"] == "Z"
        assert gather(Inputs(("Z",)), 0, source).columns["Z"].max() < 0.3
        return
    assert "Z" not in columns, "the name comes first, and is taken"
    with pytest.raises(InputError, match=r"column z is in mag, but .* takes Z as a number without a unit"):
        gather(Inputs(("Z",)), 0, source)


def test_large_numbers_of_unknown_columns_are_values(tmp_path: Path) -> None:
    """A column that nobody here knows loses its sentinels and nothing else."""
    age = np.linspace(1000, 12000, 200)
    age[:3] = -9999, 9999, np.nan
    catalog = foreign(tmp_path / "c.fits", AGE_MYR=age)
    source = Source(tmp_path, 0, catalog=catalog, target="LOGMSTAR")
    galaxies = gather(Inputs(("AGE_MYR",)), 0, source)
    (query,) = choose_variables(["AGE_MYR"], [], known_columns(source)).queries
    np.testing.assert_array_equal(
        query.of(galaxies.columns), np.where(np.arange(200) < 3, np.nan, age.astype(np.float32))
    )
