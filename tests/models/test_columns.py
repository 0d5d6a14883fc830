"""Columns of a card in a catalogue: which one is taken, and what becomes of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import fitsio
import numpy as np
import pytest
from astropy.table import Table
from numpy.typing import NDArray
from pydantic import ValidationError

from galcli.errors import InputError
from galcli.models.card import Card
from galcli.models.card_columns import InputColumn
from galcli.models.columns import CatalogColumns, bind_columns
from galcli.models.units import AB_JANSKY, Mismatch, factor_between, photometric
from galcli.sky.catalog import open_catalog
from tests.survey import write_catalog
from tests.tiny_models import input_column

MAG = input_column("m")
NANOMAGGY = {"quantity": "flux", "unit": "nanomaggy"}
#: m_AB - m_Vega of the band W1 (Jarrett et al. 2011).
W1 = 2.699


def card_with(fields: Callable[..., dict[str, Any]], columns: Sequence[dict[str, Any]]) -> Card:
    return Card.model_validate(fields(fronts=[], size=None, pixel_scale=None, columns=list(columns)))


@pytest.fixture
def bind(fields: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Any]:
    """Bind columns of a card to a catalogue of the columns given: what they are, and the first of them, float32."""

    def make(
        columns: dict[str, Any] | Sequence[dict[str, Any]], units: dict[str, str] | None = None,
        mapped: dict[str, str] | None = None, **data: Any,
    ) -> tuple[CatalogColumns, NDArray[np.float32], NDArray[np.bool_]]:  # fmt: skip
        count = len(next(iter(data.values())))
        path = write_catalog(tmp_path / "cat.fits", units, RA=np.zeros(count), DEC=np.zeros(count), **data)
        return of_file(path, columns, mapped)

    def of_file(path: Path, columns: Any, mapped: dict[str, str] | None = None) -> Any:
        card = card_with(fields, [columns] if isinstance(columns, dict) else columns)
        with open_catalog(path) as catalog:
            bound = bind_columns(card, catalog, {key.upper(): value for key, value in (mapped or {}).items()})
            rows = np.concatenate(list(catalog.chunks(bound.needs)))
        taken, lacking = bound.take({name: rows[name] for name in bound.needs})
        assert taken.dtype == np.float32
        assert taken.flags.c_contiguous
        return bound, taken[:, 0] if isinstance(columns, dict) else taken, lacking

    make.of_file = of_file  # type: ignore[attr-defined]
    return make


@pytest.mark.parametrize(
    ("column", "unit", "values", "expected"),
    [
        # m = 22.5 - 2.5 log10(f / nanomaggy): 100 nanomaggies are five magnitudes brighter than one.
        (MAG, "nanomaggy", [100.0, 1.0, 1e-2], [17.5, 22.5, 27.5]),
        (MAG, "nanomaggies", [100.0], [17.5]),
        (MAG, "maggies", [1.0], [0.0]),
        (MAG, "1e-9 maggy", [100.0], [17.5]),
        # m_AB = -2.5 log10(f / Jy) + 8.90 (8.9000 for 48.6 exactly).
        (MAG, "Jy", [3630.7805477], [0.0]),
        (MAG, "mJy", [3.6307805477], [15.0]),
        (MAG, "uJy", [3.6307805477], [22.5]),
        (MAG, "erg/s/cm2/Hz", [3.6307805477e-20], [0.0]),
        (MAG, "mag", [17.25], [17.25]),
        (MAG, "mmag", [17250.0], [17.25]),
        (MAG, "mag(AB)", [17.25], [17.25]),
        (MAG, "", [17.25], [17.25]),
        (MAG, "who knows", [17.25], [17.25]),
        *((input_column("m", system="Vega", ab_minus_vega=W1), unit, [10.0], [7.301])
          for unit in ("mag_AB", "mag [AB]", "[mag AB]", "magAB", "ABmag", "AB_mag", "mag(AB)")),
        # m_AB = m_Vega + 2.699
        (input_column("m", ab_minus_vega=W1), "mag(Vega)", [10.0], [12.699]),
        (input_column("m", system="Vega", ab_minus_vega=W1), "AB mag", [10.0], [7.301]),
        (input_column("m", system="Vega", ab_minus_vega=W1), "mag", [10.0], [10.0]),
        # Maggies are AB where nothing says otherwise, whatever the magnitudes are that the model takes.
        (input_column("m", system="Vega", ab_minus_vega=W1), "nanomaggy", [100.0], [17.5 - W1]),
        (input_column("m", system="Vega", ab_minus_vega=W1), "Vega nanomaggies", [100.0], [17.5]),
        (input_column("m", system="Vega", ab_minus_vega=W1), "uJy", [363.07805477], [17.5 - W1]),
        (input_column("m", "flux", unit="nanomaggy", system="AB"), "mag", [17.5, 22.5], [100.0, 1.0]),
        (input_column("m", "flux", unit="maggy", system="AB"), "mag", [0.0], [1.0]),
        (input_column("m", "flux", unit="nanomaggy", system="AB"), "uJy", [3.6307805477], [1.0]),
        (input_column("m", "flux", unit="uJy", system="AB"), "nanomaggy", [1.0, -2.0], [3.6307805, -7.2615611]),
        (input_column("m", "flux", unit="nanomaggy", system="AB"), "", [-3.0, 0.0], [-3.0, 0.0]),
        (input_column("m", "flux", unit="nanomaggy", system="Vega", ab_minus_vega=2.5), "uJy", [3.6307805477], [10.0]),
        (input_column("m", "flux", unit="nanomaggy", system="Vega", ab_minus_vega=2.5), "AB mag", [22.5], [10.0]),
        (input_column("m", "value", unit="arcsec"), "deg", [0.5], [1800.0]),
        (input_column("m", "value", unit="mag"), "mags", [0.5], [0.5]),
        (input_column("m", "value"), "km/s", [0.5], [0.5]),
        # Spellings beside those of the standards.
        *((MAG, unit, [3.6307805477e6], [7.5]) for unit in ("microJy", "microjansky", "uJansky")),
        (MAG, "milliJy", [3.6307805477], [15.0]),
        (MAG, "nanoJy", [3630.7805477], [22.5]),
        (MAG, "MJy", [3.6307805477e-3], [-0.0]),
        (MAG, "mJY", [3.6307805477], [15.0]),
        *((MAG, unit, [3.6307805477], [22.5]) for unit in ("ujy", "UJY", "uJY", "MICROJANSKY")),
        *((MAG, unit, [3630.7805477], [0.0]) for unit in ("JY", "jy", "JANSKY")),
        *((MAG, unit, [3630.7805477], [22.5]) for unit in ("nJY", "njy", "NJY")),
        # A system alone is a unit of magnitudes.
        *((input_column("m", system="Vega", ab_minus_vega=W1), unit, [10.0], [7.301]) for unit in ("AB", "[AB]", "(ab)")),
        (input_column("m", ab_minus_vega=W1), "Vega", [10.0], [12.699]),
        (MAG, "AB", [17.25], [17.25]),
        (input_column("m", "flux", unit="nanomaggy", system="AB"), "AB", [3.0], [3.0]),
        (MAG, "asinh mag", [17.25], [17.25]),
        (input_column("m", "value", unit=""), "%", [50.0], [0.5]),
        *((input_column("m", "value", unit=""), unit, [0.5], [0.5])
          for unit in ("", "1", "---", "none", "dimensionless")),
        (input_column("m", "value", unit="mag"), "mag(AB)", [0.5], [0.5]),
        (input_column("m", "value", unit="kpc"), "", [0.5], [0.5]),
        (input_column("m", "value", unit="log(solMass)"), "dex", [10.5], [10.5]),
    ],
)  # fmt: skip
def test_known_conversions(
    bind: Any, column: dict[str, Any], unit: str, values: list[float], expected: list[float]
) -> None:
    _, taken, lacking = bind(column, {"m": unit}, m=np.array(values))
    np.testing.assert_allclose(taken, expected, rtol=2e-7, atol=1e-6)
    assert not lacking.any()


def test_magnitudes_are_those_of_astropy(bind: Any) -> None:
    flux = np.random.default_rng(0).uniform(1e-3, 1e4, 200)
    _, taken, _ = bind(MAG, {"m": "uJy"}, m=flux)
    np.testing.assert_allclose(taken, (flux * u.uJy).to_value(u.ABmag), atol=3e-6)
    assert pytest.approx((0 * u.ABmag).to_value(u.Jy), rel=1e-9) == AB_JANSKY


def test_what_has_no_value_is_nan(bind: Any) -> None:
    """And a row without a value that the model cannot do without is told."""
    column = input_column("m", "value", low=-9000, high=9000)
    values = np.array([17.0, np.nan, np.inf, -9999.0, 9999.0, -9000.0, 8999.0])
    _, taken, lacking = bind(column, m=values)
    missing = np.array([False, True, True, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(taken), missing)
    np.testing.assert_array_equal(lacking, missing)
    _, taken, lacking = bind(column | {"missing": "nan"}, m=values)
    np.testing.assert_array_equal(np.isnan(taken), missing)
    assert not lacking.any()


def test_light_that_is_none_has_no_magnitude(bind: Any) -> None:
    _, taken, lacking = bind(MAG, {"m": "nanomaggy"}, m=np.array([0.0, -1.0, -9999.0, np.nan, 1.0], np.float32))
    np.testing.assert_array_equal(np.isnan(taken), [True, True, True, True, False])
    np.testing.assert_array_equal(lacking, np.isnan(taken))


def test_range_is_of_the_columns_own_quantity(bind: Any) -> None:
    """A flux of 10^4 nanomaggies is a galaxy of 12.5 mag; what the graph takes is held against the range."""
    column = input_column("m", high=90)
    _, taken, _ = bind(column, {"m": "nanomaggy"}, m=np.array([1e4]))
    np.testing.assert_allclose(taken, [12.5])
    flux = input_column("m", "flux", unit="nanomaggy", system="AB", low=-9000, high=9000)
    _, taken, _ = bind(flux, m=np.array([1e4, 8e3]))
    np.testing.assert_array_equal(taken, [np.nan, 8e3])
    _, taken, _ = bind(flux, {"m": "uJy"}, m=np.array([3.6307805477 * number for number in (8e3, 1e4)]))
    np.testing.assert_allclose(taken, [8e3, np.nan], rtol=1e-6)
    _, taken, _ = bind(input_column("m", "value", unit="arcsec", high=100), {"m": "arcmin"}, m=np.array([1.0, 2.0]))
    np.testing.assert_allclose(taken, [60, np.nan])


@pytest.mark.parametrize(("unit", "factor"), [("mag", 1.0), ("mmag", 1e3)])
@pytest.mark.parametrize("column", [input_column("m", low=0, high=40), input_column("m", low=-90, high=90), MAG,
                                    input_column("m", "flux", unit="nanomaggy", system="AB")])  # fmt: skip
def test_sentinels_of_magnitudes(bind: Any, column: dict[str, Any], unit: str, factor: float) -> None:
    """Those of SDSS, SExtractor and LAMBDAR are none in any unit, also where a flux is wanted."""
    values = np.array([99.0, -99, -999, 999, -9999, 9999, 17.5 * factor, 91 * factor])
    _, taken, lacking = bind(column, {"m": unit}, m=values)
    assert lacking.tolist() == [True] * 6 + [False, True]
    np.testing.assert_allclose(taken[6], 17.5 if column["quantity"] == "mag" else 100, rtol=1e-6)


def test_sentinels_of_other_numbers(bind: Any) -> None:
    """Exactly these: a column without a range may hold larger ones."""
    values = np.array([-9999.0, 9999, 9998, 12000, -999, 99])
    for column in (input_column("m", "value"), input_column("m", "flux", unit="nanomaggy", system="AB")):
        _, taken, _ = bind(column, m=values)
        np.testing.assert_array_equal(taken, [np.nan, np.nan, *values[2:]])
    _, taken, _ = bind(input_column("m", "value", unit="arcsec"), {"m": "mas"}, m=values[:3])
    np.testing.assert_allclose(taken, [np.nan, np.nan, 9.998], rtol=1e-6)


def test_numbers_lie_between_low_and_high(bind: Any) -> None:
    """Held against what the graph takes; errors of 0 and -1 are none."""
    error = input_column("m", "value", unit="mag", low=0, high=90)
    _, taken, _ = bind(error, {"m": "mmag"}, m=np.array([-1.0, 0, 30, 99, 9e4]))
    np.testing.assert_allclose(taken, [np.nan, np.nan, 0.03, 0.099, np.nan], rtol=1e-6)
    _, taken, _ = bind(input_column("m", low=0, high=40), {"m": "nanomaggy"}, m=np.array([1e10, 1e4, 1e-8]))
    np.testing.assert_allclose(taken, [np.nan, 12.5, np.nan])
    redshift = input_column("m", "value", unit="", low=-0.01, high=5)
    _, taken, _ = bind(redshift, m=np.array([-1.0, -0.001, 0, 7, 17.8]))
    np.testing.assert_allclose(taken, [np.nan, -0.001, 0, np.nan, np.nan], rtol=1e-6)


def test_numbers_beyond_float32_are_missing(bind: Any) -> None:
    _, taken, lacking = bind(input_column("m", "value"), m=np.array([1e39, -1e300, 1.0]))
    np.testing.assert_array_equal(taken, [np.nan, np.nan, 1.0])
    assert lacking.tolist() == [True, True, False]


@pytest.mark.parametrize("kind", [">i2", ">i4", "<i8", "u1"])
def test_integers_and_their_null(bind: Any, tmp_path: Path, kind: str) -> None:
    values = np.array([1, 7, 99, 3], kind)
    path = tmp_path / "integers.fits"
    table = Table({"RA": np.zeros(4), "DEC": np.zeros(4), "m": values.astype(values.dtype.newbyteorder("="))})
    table.write(path)
    with fitsio.FITS(str(path), "rw") as file:
        file[1].write_key("TNULL3", 99)
    _, taken, lacking = bind.of_file(path, input_column("m", "value"))
    np.testing.assert_array_equal(taken, [1, 7, np.nan, 3])
    assert lacking.tolist() == [False, False, True, False]


def test_big_endian_floats(bind: Any) -> None:
    _, taken, _ = bind(MAG, m=np.array([17.5, 18.25], ">f8"))
    np.testing.assert_array_equal(taken, np.array([17.5, 18.25], np.float32))


def test_values_are_rounded_once(bind: Any) -> None:
    """float64 inside: a shift in float32 would lose a digit."""
    values = np.array([12.3456789])
    _, taken, _ = bind(input_column("m", system="Vega", ab_minus_vega=W1), {"m": "AB mag"}, m=values)
    assert taken[0] == np.float32(values[0] - W1)


ALIASED = MAG | {"aliases": [{"name": "second"}, {"name": "flux", "quantity": "flux", "unit": "nanomaggy"}]}


@pytest.mark.parametrize(
    ("names", "taken"),
    [(["flux", "second", "m"], "m"), (["flux", "second"], "second"), (["FLUX"], "FLUX"), (["M", "flux"], "M")],
)
def test_the_first_name_that_the_catalogue_has(bind: Any, names: list[str], taken: str) -> None:
    bound, values, _ = bind(ALIASED, **{name: np.array([20.0 + i]) for i, name in enumerate(names)})
    assert bound.bound[0].name == taken
    number = 20.0 + names.index(taken)
    expected = number if taken.lower() != "flux" else 22.5 - 2.5 * np.log10(number)
    np.testing.assert_allclose(values, [expected], rtol=1e-7)


def test_what_is_mapped_comes_first(bind: Any) -> None:
    bound, values, _ = bind(ALIASED, mapped={"M": "other"}, m=np.array([1.0]), Other=np.array([17.0]))
    assert values.tolist() == [17.0]
    assert bound.identity() == {"m": "Other [mag, AB]"}
    assert bound.changes() == ["m from Other [mag, AB]"]
    # Called as one of the aliases, it is what the card says of that.
    _, values, _ = bind(ALIASED, mapped={"m": "FLUX"}, m=np.array([1.0]), flux=np.array([100.0]))
    assert values.tolist() == [17.5]
    with pytest.raises(InputError, match="no column absent"):
        bind(ALIASED, mapped={"m": "absent"}, m=np.array([1.0]))


def test_only_changes_are_told(bind: Any) -> None:
    columns = [
        MAG,
        input_column("v", system="Vega", ab_minus_vega=0.5),
        input_column("z", "value", aliases=[{"name": "zz"}]),
    ]
    bound, taken, _ = bind(columns, {"M": "mag", "v": "AB mag"}, M=np.ones(2), v=np.ones(2), zz=np.ones(2))
    assert bound.changes() == ["v from v [AB mag]", "z from zz"]
    np.testing.assert_allclose(taken, [[1, 0.5, 1]] * 2)
    assert bound.identity() == {"m": "M [mag, AB]", "v": "v [AB mag]", "z": "zz"}


@pytest.mark.parametrize(
    ("column", "unit", "taken"),
    [
        (MAG, "who knows", "mag, AB"),
        *((MAG, unit, "mag, AB") for unit in ("MJY", "mjy", "Mjy")),  # mega or milli?
        *((MAG, unit, "mag, AB") for unit in ("mAB", "mag (AB, asinh)", "mag AB, extinction corrected")),
        (input_column("r", "flux", unit="nanomaggy", system="AB"), "AB", "nanomaggy, AB"),
        *((input_column("r", system="Vega"), unit, "mag, Vega") for unit in ("table", "Vegan", "stacked", "st. dev.")),
        (input_column("r", system="Vega"), "Jansky-ish", "mag, Vega"),
        (input_column("r", "flux", unit="uJy", system="AB"), "nanomaggies per something", "uJy, AB"),
        (input_column("r", "value", unit="arcsec"), "Bogen", "arcsec"),
        (input_column("r", "value", unit=""), "redshift", "a number without a unit"),
    ],
)
def test_a_unit_that_nobody_understands_is_told(bind: Any, column: dict[str, Any], unit: str, taken: str) -> None:
    """Also where the column is called and taken as the card says."""
    column = column | {"name": "r"}
    bound, values, _ = bind(column, {"r": unit}, r=np.array([17.25]))
    assert bound.changes() == [f"r from r (unit {unit!r} not understood; taken as {taken})"]
    assert values.tolist() == [17.25]
    for nothing in ("", "-", "none"):
        assert bind(column, {"r": nothing}, r=np.array([17.25]))[0].changes() == []


REDSHIFT = input_column("Z", "value", unit="", aliases=[{"name": "Z_SPEC"}])


@pytest.mark.parametrize("names", ["ugriz", "grz", "GRZ", "griZ"])
def test_a_band_is_no_redshift(bind: Any, names: str) -> None:
    """A photometric catalogue calls a magnitude `z` that others call their redshift."""
    magnitudes = {name: np.array([17.0]) for name in names}
    if names == "griZ":  # spelled otherwise than the bands
        assert bind(REDSHIFT, **magnitudes | {"Z": np.array([0.1])})[1] == np.float32(0.1)
        return
    with pytest.raises(
        InputError, match=r"needs column Z \(or Z_SPEC\); [zZ] beside g and r is the magnitude"
    ) as error:
        bind(REDSHIFT, **magnitudes)
    assert "--map Z=COLUMN" in error.value.hint
    bound, taken, _ = bind(REDSHIFT, **magnitudes, Z_SPEC=np.array([0.1]))
    assert (bound.bound[0].name, taken) == ("Z_SPEC", np.float32(0.1))
    bound, taken, _ = bind(REDSHIFT, mapped={"Z": "z"}, **magnitudes)
    assert (bound.bound[0].name.lower(), taken) == ("z", 17.0), "who names it knows"
    assert bind(input_column(names[-1]), **magnitudes)[1] == 17.0, "the magnitude of that name is meant"


def test_one_catalogue_column_may_serve_two(bind: Any) -> None:
    columns = [MAG, input_column("f", "flux", unit="nanomaggy", system="AB")]
    bound, taken, _ = bind(columns, {"m": "mag"}, mapped={"f": "m"}, m=np.array([17.5]))
    np.testing.assert_allclose(taken, [[17.5, 100.0]], rtol=1e-6)
    assert bound.needs == ("m",)


def test_columns_called_like_a_rows_own_fields(bind: Any, tmp_path: Path) -> None:
    path = tmp_path / "cat.csv"
    path.write_text("id,ra,dec\n7,1.5,2.5\n8,3.5,4.5\n")
    columns = [input_column("RA", "value", unit="deg"), input_column("x", "value", aliases=[{"name": "ID"}])]
    _, taken, _ = bind.of_file(path, columns)
    np.testing.assert_array_equal(taken, [[1.5, 7], [3.5, 8]])


@pytest.mark.parametrize(
    ("column", "unit", "words"),
    [
        (MAG, "arcsec", "column m is in arcsec, but .* takes m in magnitudes"),
        (MAG, "nanomaggies/arcsec^2", "nanomaggies/arcsec"),
        *(
            (MAG, unit, "column m is in .*, but .* takes m in magnitudes")
            for unit in ("counts", "ct", "ADU", "adu", "DN", "DN/s", "e-/s", "log(Jy)", "dex(Jy)", "STmag", "mag(ST)")
        ),
        *(
            (input_column("m", "value", unit=""), unit, "column m is in .*, but .* takes m as a number without a unit")
            for unit in ("mag", "km/s", "Angstrom", "mag(AB)", "pix")
        ),
        (input_column("m", "value", unit="arcsec"), "pix", "column m is in pix, but .* takes m in arcsec"),
        (input_column("m", "value", unit="mag"), "dex", "column m is in dex, but .* takes m in mag"),
        (MAG, "erg/s/cm2/Angstrom", "magnitudes"),
        (input_column("m", "flux", unit="uJy", system="AB"), "deg", "column m is in deg, .* in fluxes"),
        (input_column("m", "value", unit="arcsec"), "mag", "column m is in mag, but .* takes m in arcsec"),
        (MAG, "mag(Vega)", "column m is in mag.Vega. .Vega., its card does not tell"),
        (input_column("m", system="Vega"), "uJy", "its card does not tell how far that is from Vega"),
        *(
            (input_column("m", system="Vega", ab_minus_vega=W1), unit, "not understood but for AB; its card says Vega")
            for unit in ("mAB", "mag AB, extinction corrected", "mag (AB, asinh)", "m_AB, dereddened", "ABmag of 2010")
        ),
        (input_column("m", ab_minus_vega=W1), "mag, vega, aperture 3", "not understood but for Vega; its card says AB"),
        (MAG, "mag of AB and Vega", "not understood but for Vega; its card says AB"),
        (
            input_column("m", "flux", unit="nanomaggy", system="AB"),
            "Vega",
            "not understood but for Vega; its card says AB",
        ),
        *((MAG, unit, "takes m in magnitudes") for unit in ("ST", "mST")),
        *(
            (input_column("m", system=system, ab_minus_vega=W1), "uJy (Vega)", "which is AB by definition")
            for system in ("AB", "Vega")
        ),
        *(
            (input_column("m", "value", unit="arcsec"), unit, "takes m in arcsec")
            for unit in ("pixels", "pixel", "px", "Pixels", "PIX")
        ),
    ],
)
def test_a_unit_that_contradicts_is_refused(bind: Any, column: dict[str, Any], unit: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        bind(column, {"m": unit}, m=np.array([1.0]))
    assert "--map m=COLUMN" in error.value.hint


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([b"17.5", b"faint"]), "column m, which .* takes for m, holds text"),
        (np.ones((2, 5)), "no single number"),
        (np.array([True, False]), "holds yes or no, no numbers"),
    ],
)
def test_a_column_of_no_numbers_is_refused(bind: Any, values: NDArray[Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        bind(MAG, m=values)
    assert "--map m=COLUMN" in error.value.hint


def test_a_model_does_without_columns_that_may_be_missing(bind: Any) -> None:
    optional = input_column("w1", missing="nan", aliases=[{"name": "W1mag"}])
    bound, taken, lacking = bind(
        [input_column("here"), optional, input_column("there")], here=np.ones(2), there=np.ones(2)
    )
    assert bound.absent == ("w1",)
    np.testing.assert_array_equal(taken, [[1, np.nan, 1]] * 2)
    assert not lacking.any()
    assert bound.identity() == {"here": "here [mag, AB]", "w1": "", "there": "there [mag, AB]"}
    assert bind([input_column("here"), optional], W1mag=np.ones(1), here=np.ones(1))[0].absent == ()
    with pytest.raises(InputError, match=r"needs column there$"):
        bind([input_column("there"), optional], here=np.ones(1))
    with pytest.raises(InputError, match="needs column w1 "):  # nothing at all is left
        bind(optional, here=np.ones(1))
    with pytest.raises(InputError, match="no column W1"):
        bind([input_column("here"), optional], mapped={"w1": "W1"}, here=np.ones(1))


def test_all_that_is_absent_is_named(bind: Any) -> None:
    with pytest.raises(InputError) as error:
        bind([ALIASED, input_column("here"), input_column("w1")], here=np.ones(1))
    assert error.value.message.endswith("needs columns m (or second, flux), w1")
    assert error.value.hint == "where it is called otherwise, name it with --map m=COLUMN (there are RA, DEC, here)"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"name": "m", "quantity": "mag"}, "has a system"),
        ({"name": "m", "quantity": "flux", "unit": "nanomaggy"}, "has a system"),
        ({"name": "m", "quantity": "flux", "system": "AB"}, "whose unit is one of nanomaggy"),
        ({"name": "m", "quantity": "flux", "system": "Vega", "unit": "Jy"}, "AB by definition"),
        ({"name": "m", "quantity": "mag", "system": "AB", "unit": "Jy"}, "cannot be in Jy"),
        ({"name": "m", "quantity": "value", "system": "AB"}, "no photometric system"),
        ({"name": "m", "quantity": "value", "ab_minus_vega": 1.0}, "no ab_minus_vega"),
        (MAG | {"aliases": [{"name": "M"}]}, "differ in capitals only"),
        (MAG | {"aliases": [{"name": "f", "quantity": "flux"}]}, "whose unit is one of"),
        (MAG | {"aliases": [{"name": "f", "quantity": "value"}]}, "cannot become a mag"),
        (MAG | {"aliases": [{"name": "f", "system": "Vega"}]}, "ab_minus_vega is missing"),
        ({"name": "z", "quantity": "value", "aliases": [{"name": "f", "system": "Vega"}]}, "no photometric system"),
        (MAG | {"low": float("nan")}, "finite"),
        (MAG | {"low": 5.0, "high": 5.0}, "no number between"),
        (MAG | {"low": 90.0, "high": -90.0}, "no number between"),
        (MAG | {"high": float("inf")}, "finite"),
        (MAG | {"unit": ""}, "cannot be in"),
        (MAG | {"ab_minus_vega": float("inf")}, "finite"),
        (MAG | {"name": " m"}, "pattern"),
        (MAG | {"colour": 1}, "Extra inputs"),
        (MAG | {"limit": 90.0}, "Extra inputs"),
    ],
)  # fmt: skip
def test_columns_that_contradict_themselves_are_refused(column: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        InputColumn.model_validate(column)


def test_two_columns_of_one_name_are_refused(fields: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ValidationError, match="two catalogue columns have the same name"):
        card_with(fields, [MAG, MAG | {"name": "M"}])


def test_an_alias_is_as_the_column_where_it_says_nothing() -> None:
    column = InputColumn.model_validate(
        {"name": "f", "quantity": "flux", "unit": "uJy", "system": "AB",
         "aliases": [{"name": "g"}, {"name": "m", "quantity": "mag"}, {"name": "n", "unit": "nanomaggy"}]}
    )  # fmt: skip
    told = [(way.name, way.quantity, way.system, way.unit) for way in column.ways]
    assert told == [
        ("f", "flux", "AB", "uJy"), ("g", "flux", "AB", "uJy"), ("m", "mag", "AB", "mag"),
        ("n", "flux", "AB", "nanomaggy"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[mag]", ("mag", None, 1.0)), ("ABmag", ("mag", "AB", 1.0)), ("mag (Vega)", ("mag", "Vega", 1.0)),
        ("luptitudes", ("mag", None, 1.0)), ("nMgy", ("flux", None, 1.0)), ("nmgy", ("flux", None, 1.0)),
        ("AB nanomaggies", ("flux", "AB", 1.0)), ("nJy", ("flux", "AB", 1e-9 * 1e9 / 3630.780547701014)),
        ("", None), ("1", None), ("none", None), ("who knows", None), ("AB", None), ("Vega", None),
    ],
)  # fmt: skip
def test_units_of_photometry(text: str, expected: Any) -> None:
    found = photometric(text)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found[:2] == expected[:2]
        assert found.factor == pytest.approx(expected[2], rel=1e-12)


def test_factors_between_units() -> None:
    assert factor_between("arcmin", "arcsec") == pytest.approx(60)
    assert factor_between("", "arcsec") is factor_between("arcsec", None) is factor_between("what", "arcsec") is None
    with pytest.raises(Mismatch):
        factor_between("kpc", "arcsec")
