"""The column dictionary says what FITS and the Virtual Observatory accept."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.units import Unit

from galcli.models.card import Output
from galcli.sky.catalog import ColumnMeta
from galcli.tables.columns import (
    Column,
    base_columns,
    column_models,
    dictionary,
    from_output,
    id_column,
    is_fits_unit,
    passed_through,
    renamed,
    status_column,
)


@pytest.mark.parametrize("name", dictionary())
def test_every_column_is_described(name: str) -> None:
    column = dictionary()[name]
    assert name == name.upper()
    assert column.description
    assert check_ucd(column.ucd, check_controlled_vocabulary=True)
    if column.unit:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Unit(column.unit, format="fits")
    assert column.dtype[0] not in "iu" or column.null is not None or name in ("ROW", "CATALOG_ROW", "STATUS")


def test_dictionary_knows_base_columns_and_shipped_models() -> None:
    sfnet, spectra = {"sfnet-metallicity", "sfnet-lines"}, {"spectra", "spectra-vae-decoder"}
    assert set(column_models().values()) == {"", "dmagnet", "sae-fno", "mass-photometry"} | sfnet | spectra
    assert {"RA", "DEC", "HPX", "STATUS", "Z_GAS", "Z_GAS_ERR", "LOG_HA_6564_ERR", "SFL_DY"} < set(dictionary())
    assert dictionary()["SFZ_STATUS"] == status_column("SFZ", "sfnet-metallicity")
    assert dictionary()["SFZ_IDX"].shape == (4,)


@pytest.mark.parametrize(
    ("unit", "known"),
    [("deg", True), ("10**-17 erg s-1 cm-2", True), ("nanomaggy", False), ("dex", False), ("nat", False), ("?", False)],
)
def test_units(unit: str, known: bool) -> None:
    column = Column("X", "f4", unit=unit, description="some value")
    assert is_fits_unit(unit) == known
    assert column.fits_unit == (unit if known else None)
    assert column.comment == ("some value" if known else f"some value [{unit}]")


def test_scale_words_stand_in_the_comment() -> None:
    assert dictionary()["Z_GAS"].comment == "gas-phase metallicity 12+log(O/H) [dex]"
    assert Column("X", "u8", null=5).comment == "x [null 5]"


def test_blank_values_are_null() -> None:
    for column in dictionary().values():
        blank = column.blank(3)
        assert blank.shape == (3, *column.shape)
        assert blank.dtype == column.numpy
        assert column.is_null(blank).all() == (
            column.dtype != "b1" and (column.dtype[0] in "fA" or column.null is not None)
        )
    text = Column("T", "A5")
    assert text.is_null(text.blank(2)).all()
    assert not text.is_null(np.array([b"a"])).any()


def test_identifier_columns() -> None:
    assert id_column(None, np.dtype(np.int64)).name == "ROW"
    assert id_column("objID", np.dtype(np.int64)).dtype == "i8"
    assert id_column("name", np.dtype("S12")).dtype == "A12"
    assert id_column("name", np.dtype("S")).dtype == "A1"
    assert id_column("id", np.dtype(np.uint64)).dtype == "u8"
    assert [c.name for c in base_columns(id_column("objID", np.dtype("i8")))] == ["OBJID", "RA", "DEC", "HPX", "STATUS"]


def test_catalogue_columns_pass_through() -> None:
    meta = ColumnMeta("flux_r", np.dtype("f4"), (3,), "nanomaggy", "flux", "phot.flux", None)
    column = passed_through(meta)
    assert (column.name, column.dtype, column.shape, column.fits_unit) == ("FLUX_R", "f4", (3,), None)
    assert column.comment == "flux [nanomaggy]"
    assert passed_through(meta, "IN_RA").name == "IN_RA"
    assert passed_through(dataclasses.replace(meta, dtype=np.dtype(bool))).dtype == "b1"
    assert passed_through(dataclasses.replace(meta, dtype=np.dtype("S7"))).dtype == "A7"


def test_model_outputs_become_columns() -> None:
    output = Output(tensor="z", column="Z", dtype="f4", shape=(4,), scale="dex", ucd="phys.abund.Z", description="d")
    assert from_output(output) == Column("Z", "f4", (4,), None, "dex", "phys.abund.Z", "d")
    assert renamed(from_output(output), "Z_2").name == "Z_2"


def test_types_that_tables_cannot_hold_are_refused() -> None:
    for dtype in ("f2", "c8", "A0", "i16", "S4"):
        with pytest.raises(ValueError, match="no type"):
            Column("X", dtype)
