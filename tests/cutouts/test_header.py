"""What a header says about pixels: names, order, units, scale, orientation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from galcli.cutouts.axes import cd_matrix, find_scale, orientation
from galcli.cutouts.fits_image import find_center
from galcli.cutouts.header import (
    Overrides,
    band_name,
    blue_to_red,
    convention,
    find_bands,
    find_factor,
    split_bands,
)
from galcli.errors import InputError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("g", "g"), ("DECam_g", "g"), ("g.00000", "g"), ("z DECam SDSS c0004 9260.0 1520.0", "z"), ("HSC-I", "i"),
        ("sdss_r", "r"), ("W1", "W1"), ("VIS", "VIS"), ("NISP-Y", "Y"), ("weird", "weird"), (" r ", "r"),
    ],
)  # fmt: skip
def test_band_names(text: str, name: str) -> None:
    assert band_name(text) == name


@pytest.mark.parametrize(
    ("text", "bands"),
    [("grz", "grz"), ("g,r,z", "grz"), ("u g", "ug"), ("g", "g"), ("", ""), ("W1", ["W1"]), ("g,W1", ["g", "W1"])],
)
def test_band_lists(text: str, bands: Any) -> None:
    assert split_bands(text) == tuple(bands)


def test_order_is_blue_to_red() -> None:
    for order in itertools.permutations("ugrizy"):
        assert [order[i] for i in blue_to_red(order)] == list("ugrizy")
    assert blue_to_red(("r", "strange", "g")) == (0, 1, 2)
    with pytest.raises(InputError, match="repeat"):
        blue_to_red(("g", "g"))


def test_bands_are_named_or_refused() -> None:
    assert find_bands({"BAND0": "z", "BAND1": "g"}, 2) == ("z", "g")
    assert find_bands({"FILTER": "r DECam SDSS c0002 6415.0 1480.0"}, 1) == ("r",)
    assert find_bands({"BANDS": "grz"}, 2, Overrides(bands=("r", "z"))) == ("r", "z")
    assert find_bands({"BANDS": "grz"}, 3, Overrides(bands=("g", "r", "z"))) == ("g", "r", "z")
    for other in (("g", "r", "i"), ("z", "r", "g"), ("g", "r")):
        with pytest.raises(InputError, match="its bands are g, r, z, --bands says"):
            find_bands({"BANDS": "grz"}, 3, Overrides(bands=other))
    with pytest.raises(InputError, match="no bands"):
        find_bands({}, 3)
    with pytest.raises(InputError, match="3 band names"):
        find_bands({"BANDS": "grz"}, 2)


@pytest.mark.parametrize(
    ("cards", "factor"),
    [
        ({"BUNIT": "nanomaggy"}, 1), ({"BUNIT": "nanomaggies/pixel"}, 1), ({"BUNIT": "nmgy"}, 1),
        ({"BUNIT": "Jy"}, 1 / 3.631e-6),
        ({"BUNIT": "nJy / pix"}, 1 / 3631), ({"BUNIT": "uJy"}, 1 / 3.631), ({"MAGZERO": 22.5}, 1),
        ({"MAGZPT": 30.0}, 1e-3), ({"BUNIT": "mJy"}, 1e3 / 3.631), ({"BUNIT": "MJy/pixel"}, 1e12 / 3.631),
        ({"FLUXMAG0": 63095734448.0194}, 10 ** (0.4 * (22.5 - 27))), ({"BUNIT": "ADU", "MAGZERO": 27.5}, 0.01),
        ({"BUNIT": "nanomaggy", "MAGZERO": 22.5}, 1),
    ],
)  # fmt: skip
def test_units(cards: dict[str, Any], factor: float) -> None:
    assert find_factor(cards) == pytest.approx(factor, rel=1e-6)
    assert find_factor(cards, zeropoint=25.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "cards",
    [{}, {"BUNIT": "ADU"}, {"BUNIT": "electron/s"}, {"BUNIT": "nanomaggy", "MAGZERO": 25.0}, {"BUNIT": "MJy/sr"}],
)
def test_unknown_or_contradicting_units_are_refused(cards: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        find_factor(cards)


def test_legacy_layout_is_nanomaggies_scaled_by_the_pixel_area() -> None:
    def cards(scale: float, **extra: Any) -> dict[str, Any]:
        return {"SURVEY": "LegacySurvey", "BANDS": "grz", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN",
                "CD1_1": -scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale / 3600, **extra}  # fmt: skip

    assert convention(cards(0.262), 3).factor == 1.0
    assert convention(cards(0.1), 3).factor == pytest.approx((0.1 / 0.262) ** 2)
    assert convention(cards(0.1, BUNIT="nanomaggy"), 3).factor == pytest.approx((0.1 / 0.262) ** 2)
    # galcli's own files, and images on their own grid, conserve flux already.
    assert convention(cards(0.1, BUNIT="nanomaggy", ROWORDER="SOUTH"), 3).factor == 1.0
    own_grid = {key: value for key, value in cards(0.396, BUNIT="nanomaggy").items() if key != "SURVEY"}
    assert convention(own_grid, 3).factor == 1.0


@pytest.mark.parametrize(
    ("survey", "native"),
    [("LegacySurvey", 0.262), ("DECaLS", 0.262), ("ls-dr10", 0.262), ("BASS", 0.262), ("MzLS", 0.262), ("SDSS", 0.396),
     ("HSC", 0.168), ("unWISE", 2.75), ("GALEX", 1.5), ("KiDS", None), ("LSST", None), ("", None)],
)  # fmt: skip
def test_each_layer_of_the_server_has_its_own_grid(survey: str, native: float | None) -> None:
    def factor(**extra: Any) -> float:
        cards = {"SURVEY": survey, "BANDS": "r", "CTYPE1": "RA---TAN", "CD1_1": -0.2 / 3600, "CD2_2": 0.2 / 3600}
        return convention(cards | extra, 1).factor

    area = 1.0 if native is None else (0.2 / native) ** 2
    assert factor(BUNIT="nanomaggy") == pytest.approx(area)
    assert factor(MAGZERO=25.0) == pytest.approx(area / 10)
    if native in (0.262, 0.396):
        assert factor() == pytest.approx(area)
    else:  # other surveys do not count in nanomaggies
        with pytest.raises(InputError) as refusal:
            factor()
        assert "--zeropoint" in refusal.value.hint


def test_old_names_of_the_pc_matrix_are_read() -> None:
    """As Pan-STARRS writes it: both steps positive, and the sign in the matrix."""
    steps = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": 0.25 / 3600, "CDELT2": 0.25 / 3600}
    old = cd_matrix(steps | {"PC001001": -1.0, "PC001002": 0.1, "PC002001": 0.2, "PC002002": 1.0})
    new = cd_matrix(steps | {"PC1_1": -1.0, "PC1_2": 0.1, "PC2_1": 0.2, "PC2_2": 1.0})
    assert old is not None
    np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(old * 3600 / 0.25, [[-1, 0.1], [0.2, 1]])
    assert orientation(old) == (False, False, False)


@pytest.mark.parametrize("parity", [-1, 1])
@pytest.mark.parametrize("angle", [0.0, 3.8, 44.0, 46.0, 133.0, 201.0, 300.0])
def test_north_is_up_and_east_left_to_within_45_degrees(angle: float, parity: int) -> None:
    """What the header of a stack says of every image, also of those that are oblique on the sky."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = np.array([[parity * c, -s], [parity * s, c]])
    transpose, flip_rows, flip_columns = orientation(matrix)
    x, y = np.linalg.inv(matrix) @ np.eye(2)  # pixels towards east (first column) and north
    x, y = (y, x) if transpose else (x, y)
    (_, east_y), (north_x, _) = (x[0], y[0]), (x[1], y[1])
    east_x, north_y = (-x[0] if flip_columns else x[0]), (-y[1] if flip_rows else y[1])
    assert -east_x >= abs(east_y)
    assert north_y >= abs(north_x)


def test_softening_is_undone() -> None:
    """asinh magnitudes of Pan-STARRS stacks: encode by the definition, decode, compare."""
    flux = np.array([-30.0, -0.1, 0.0, 0.5, 12.0, 1e5])
    soften, offset = 3.7, 0.2
    counts = (2.5 / np.log(10)) * np.arcsinh((flux - offset) / (2 * soften))
    cards = {"BANDS": "r", "BUNIT": "nanomaggy", "BSOFTEN": soften, "BOFFSET": offset}
    pixels = counts.astype(np.float32)
    convention(cards, 1).apply_flux(pixels)
    np.testing.assert_allclose(pixels, flux, rtol=2e-6, atol=1e-5)
    untouched = counts.astype(np.float32)
    convention({"BANDS": "r", "BUNIT": "nanomaggy", "BSOFTEN": soften}, 1).apply_flux(untouched)
    np.testing.assert_array_equal(untouched, counts.astype(np.float32))


def test_pixel_scale() -> None:
    angle = np.radians(33)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.25 / 3600
    cards = {f"CD{i + 1}_{j + 1}": turn[i, j] for i in range(2) for j in range(2)}
    assert find_scale({}, cd_matrix(cards)) == pytest.approx(0.25)
    cdelt = {"CTYPE1": "RA---TAN", "CDELT1": -0.396 / 3600, "CDELT2": 0.396 / 3600}
    assert find_scale({}, cd_matrix(cdelt)) == pytest.approx(0.396)
    assert cd_matrix({"CDELT1": 1.0, "CDELT2": 1.0}) is None  # no projection: no angle
    assert find_scale({"PIXSCALE": 0.3}, None) == 0.3
    assert np.isnan(find_scale({}, None))


@pytest.mark.parametrize(("unit", "degrees"), [
    ("arcsec", 1 / 3600), ("arcmin", 1 / 60), ("rad", 180 / np.pi), ("mas", 1 / 3.6e6), ("", 1),
])  # fmt: skip
def test_units_of_the_axes(unit: str, degrees: float) -> None:
    """The scale, and where an object lies, as astropy has it."""
    step = 0.25 / 3600 / degrees
    cards: dict[str, Any] = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0 / degrees, "CRVAL2": 2.0 / degrees,
        "CRPIX1": 10.0, "CRPIX2": 20.0, "CUNIT1": unit, "CUNIT2": unit,
    }  # fmt: skip
    for turn in ({"CD1_1": -step, "CD2_2": step}, {"CDELT1": -step, "CDELT2": step}, {"PC1_1": -step, "PC2_2": step}):
        assert find_scale({}, cd_matrix(cards | turn)) == pytest.approx(0.25)
        ra, dec = WCS(cards | turn).all_pix2world(30.0, 14.0, 0)
        np.testing.assert_allclose(find_center(cards | turn, float(ra), float(dec), (60, 60)), (30, 14), atol=1e-3)


def test_each_axis_has_its_own_unit() -> None:
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "arcsec", "CDELT1": -0.5, "CDELT2": 0.5 / 3600}
    np.testing.assert_allclose(cd_matrix(cards), np.diag([-0.5, 0.5]) / 3600)
    assert cd_matrix(cards | {"CUNIT2": "pixel"}) is None
    np.testing.assert_array_equal(cd_matrix(cards | {"CUNIT2": "DEGREES"}), cd_matrix(cards))


def test_pc_without_cdelt_is_all_there_is_to_say() -> None:
    """The standard's CDELT is 1 where the card is missing; a step alone, or no projection, says nothing."""
    turn = {"PC1_1": -1e-4, "PC2_2": 2e-4}
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    np.testing.assert_allclose(cd_matrix(cards | turn), WCS(cards | turn).pixel_scale_matrix)
    np.testing.assert_allclose(cd_matrix(cards | turn | {"CDELT1": 3.0}), np.diag([-3e-4, 2e-4]))
    assert cd_matrix(cards) is None
    assert cd_matrix(cards | {"CDELT1": 1e-4}) is None
    assert cd_matrix(cards | {"PC001001": -1e-4, "PC002002": 1e-4}) is None  # older than the standard
    assert cd_matrix(turn) is None


def wcs_cards(rng: np.random.Generator, kind: str = "TAN") -> dict[str, Any]:
    scale, angle = rng.uniform(0.1, 1.0) / 3600, rng.uniform(0, 2 * np.pi)
    parity = rng.choice([-1, 1])
    turn = scale * np.array([[parity * np.cos(angle), -np.sin(angle)], [parity * np.sin(angle), np.cos(angle)]])
    return {
        "NAXIS": 2, "CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": float(rng.uniform(0, 360)), "CRVAL2": float(rng.choice([rng.uniform(-89, 89), 89.99, -89.99])),
        "CRPIX1": float(rng.uniform(-500, 900)), "CRPIX2": float(rng.uniform(-500, 900)),
        **{f"CD{i + 1}_{j + 1}": float(turn[i, j]) for i in range(2) for j in range(2)},
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["TAN", "SIN", "ZEA"])
def test_object_position_agrees_with_astropy(rng: np.random.Generator, kind: str) -> None:
    for _ in range(60):
        cards = wcs_cards(rng, kind)
        wcs = WCS(cards)
        expected = rng.uniform(0, 400, 2)
        ra, dec = wcs.all_pix2world(*expected, 0)
        np.testing.assert_allclose(find_center(cards, float(ra), float(dec), (400, 400)), expected, atol=1e-3)


def test_galactic_axes_are_not_taken_for_equatorial_ones() -> None:
    sky = SkyCoord(10.0, 0.0, unit="deg")
    cards: dict[str, Any] = {
        "NAXIS": 2, "CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRPIX1": 11.0, "CRPIX2": 21.0, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4,
        "CRVAL1": float(sky.galactic.l.deg), "CRVAL2": float(sky.galactic.b.deg),
    }  # fmt: skip
    np.testing.assert_allclose(find_center(cards, 10.0, 0.0, (40, 40)), (10, 20), atol=1e-6)
