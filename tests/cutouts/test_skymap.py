from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from galcli.cutouts.fits_image import find_center
from galcli.cutouts.header import convention
from galcli.cutouts.match import unit_vectors
from galcli.cutouts.skymap import Projection, SkyMap
from tests.cutouts.sky_images import header

CASES = {
    "tan": {},
    "pole": {"dec": 89.9},
    "wrapped": {"ra": 0.001},
    "turned": {"turn": 90},
    "oblique": {"turn": 33, "dec": -60},
    "tpv": {"projection": "TPV", "PV1_1": 1.007, "PV2_1": 1.005, "CRPIX1": -6000.0, "CRPIX2": -5000.0},
    "sin": {"projection": "SIN"},
    "far": {"CRPIX1": -30000.0},
    "strongly distorted": {"PV1_1": 1.05, "PV2_1": 1.02, "PV1_4": 0.3, "CRPIX1": -3000.0},
}


def sky_of(**how: object) -> tuple[SkyMap, WCS]:
    head = header((90, 120), **how)
    cards = dict(head)
    return SkyMap(cards, (90, 120), convention(cards, 1)), WCS(head)


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(case: str) -> None:
    sky, _ = sky_of(**CASES[case])
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-5, 90, (2, 50))
    again = sky.to_pixel(*sky.to_sky(x, y))
    np.testing.assert_allclose(again, [x, y], atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_footprint_holds_every_pixel_and_little_more(case: str) -> None:
    sky, wcs = sky_of(**CASES[case])
    y, x = np.mgrid[-0.5:89.6:1, -0.5:119.6:1]
    points = unit_vectors(*wcs.all_pix2world(x.ravel(), y.ravel(), 0))
    center, radius = sky.footprint
    distance = np.degrees(np.arccos(np.clip(points @ center, -1, 1)))
    assert distance.max() <= radius
    assert radius < 1.1 * distance.max() + 0.05


def test_scale_is_the_root_of_the_area() -> None:
    sky, wcs = sky_of(turn=20)
    assert sky.scale_at(np.array([60.0]), np.array([45.0]))[0] == pytest.approx(0.262, rel=1e-6)
    x, y = np.array([59.5, 60.5, 59.5]), np.array([44.5, 44.5, 45.5])
    corners = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
    sides = [corners[0].separation(corners[k]).arcsec for k in (1, 2)]
    assert sky.scale_at(np.array([60.0]), np.array([45.0]))[0] == pytest.approx(np.sqrt(sides[0] * sides[1]), rel=1e-4)


def test_galactic_images() -> None:
    place = SkyCoord(150.0, 2.0, unit="deg").galactic
    head = header((90, 120))
    head["CTYPE1"], head["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    head["CRVAL1"], head["CRVAL2"] = place.l.deg, place.b.deg
    cards = dict(head)
    sky = SkyMap(cards, (90, 120), convention(cards, 1))
    x, y = sky.to_pixel(np.array([150.0]), np.array([2.0]))
    np.testing.assert_allclose([x[0], y[0]], [59.5, 44.5], atol=1e-6)
    np.testing.assert_allclose(np.ravel(sky.to_sky(x, y)), [150.0, 2.0], atol=1e-9)
    center, radius = sky.footprint
    assert unit_vectors(np.array([150.0]), np.array([2.0]))[0] @ center > np.cos(np.radians(1e-6))
    assert radius < 0.01


def of_degrees(**matrix: float) -> dict[str, Any]:
    """Cards of another system of axes, or other ones for their directions."""
    return {f"CD{i}_{j}": None for i in (1, 2) for j in (1, 2)} | matrix


STEP = 0.262 / 3600
SYSTEMS: dict[str, dict[str, Any]] = {
    "galactic": {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 236.0, "CRVAL2": 42.0},
    "B1950": {"EQUINOX": 1950.0},
    "FK5 of 1975": {"RADESYS": "FK5", "EQUINOX": 1975.0},
    "declination first": {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.0, "CRVAL2": 150.0, "CD1_2": 2e-5},
    "Pan-STARRS": of_degrees(CDELT1=STEP, CDELT2=STEP, PC001001=-0.8, PC001002=0.6, PC002001=0.6, PC002002=0.8),
    "north at the bottom": {"LONPOLE": 0.0, "CRPIX1": -500.0},
    "at the pole": {"CRVAL2": 90.0, "CRPIX1": -500.0},
    "distorted without saying so": {"A_ORDER": 2, "A_2_0": 3e-4, "B_ORDER": 0},
    "distorted": {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "A_2_0": 3e-4, "B_ORDER": 0},
}


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")  # of the PC cards of Pan-STARRS
@pytest.mark.parametrize("system", SYSTEMS)
def test_systems_of_axes_are_those_of_astropy(system: str) -> None:
    cards = dict(header((90, 120))) | SYSTEMS[system]
    cards = {key: value for key, value in cards.items() if value is not None}
    y, x = np.mgrid[:90:10, :120:10].astype(float)
    place = WCS(fits.Header(cards)).pixel_to_world(x, y).icrs
    ra, dec = place.ra.deg, place.dec.deg
    projection = Projection(cards)
    np.testing.assert_allclose(projection.to_sky(x, y), [ra, dec], atol=1e-9)
    np.testing.assert_allclose(projection.to_pixel(ra, dec), [x, y], atol=1e-3)
    rule = convention(cards, 1)
    # Cutouts of one object each find their object by the same cards.
    found = find_center(cards, ra[3, 5], dec[3, 5], (90, 120))
    np.testing.assert_allclose(found, [50, 30], atol=1e-3)
    center, radius = SkyMap(cards, (90, 120), rule).footprint
    points = unit_vectors(ra.ravel(), dec.ravel())
    assert np.degrees(np.arccos((points @ center).min())) <= radius
    # Settled images have north up and east left, as far as right angles go.
    sky = SkyMap(cards, (90, 120), rule)
    here, right, above = (SkyCoord(*sky.to_sky(40.0 + i, 40.0 + j), unit="deg") for i, j in ((0, 0), (1, 0), (0, 1)))
    if system not in ("galactic", "north at the bottom", "at the pole"):
        assert here.spherical_offsets_to(right)[0] < 0 < here.spherical_offsets_to(above)[1]


@pytest.mark.parametrize("kind", ["TNX", "ZPX"])
def test_distortions_that_cannot_be_read_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"RA---{kind} cannot be read"):
        Projection(dict(header(projection=kind)))


def test_places_far_outside_a_distorted_image_have_no_pixel() -> None:
    strong = {"A_ORDER": 3, "B_ORDER": 3, "A_3_0": 1e-5, "B_0_3": 2e-5, "A_2_0": 1e-4}
    cards = dict(header(100)) | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"} | strong
    x, y = Projection(cards).to_pixel(np.array([150.0, 150.5, 270.0]), np.array([2.0, 2.3, -2.0]))
    assert np.isfinite(x).tolist() == np.isfinite(y).tolist() == [True, False, False]


def test_grids_are_equal_only_if_all_of_them_is() -> None:
    same, _ = sky_of(turn=20)
    assert sky_of(turn=20)[0].key == same.key
    assert sky_of(turn=21)[0].key != same.key
    assert sky_of(turn=20, CRPIX1=1.0)[0].key != same.key


@pytest.mark.parametrize("garbage", [{"CTYPE2": 0}, {"CTYPE2": "RA---TAN"}, {"EQUINOX": 3.0, "RADESYS": "9"}])
def test_systems_that_are_none_are_refused(garbage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Projection(dict(header()) | garbage).to_sky(np.zeros(1), np.zeros(1))


def test_image_without_a_position_is_refused() -> None:
    cards = dict(header())
    del cards["CTYPE1"]
    with pytest.raises(ValueError, match="no position"):
        SkyMap(cards, (10, 10), convention(cards, 1))
