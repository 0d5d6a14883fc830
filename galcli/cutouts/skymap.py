"""Where an image lies on the sky, and which pixel a position falls on."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Hashable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.hdus import Cards
from galcli.cutouts.header import Convention, cd_matrix
from galcli.cutouts.match import unit_vectors

Floats = NDArray[np.float64]

_WCS_CARD = re.compile(
    r"(WCSAXES|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)[12]|CROTA2|(CD|PC)[12]_[12]|PV[12]_\d+|(A|B|AP|BP)_(ORDER|\d+_\d+)"
    r"|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX)$"
)
_WORD_CARD = re.compile(r"(CTYPE|CUNIT|RADESYS|RADECSYS)")
#: Projections whose distortions are small: their footprint follows from the linear part, with a margin.
_NEARLY_TAN = ("RA---TAN", "RA---TPV", "RA---TAN-SIP")
_MARGIN = 0.02


class SkyMap:
    """Positions on the sky and pixels of an image whose orientation is settled.

    Parameters
    ----------
    cards : dict
        FITS cards with a celestial WCS.
    shape : tuple of int
        (H, W) as in the file.
    rule : Convention
        Orientation of the settled image.

    Raises
    ------
    ValueError
        If the cards describe no positions on the sky, or hold no numbers where they must.
    """

    def __init__(self, cards: Cards, shape: tuple[int, int], rule: Convention) -> None:
        # Very many maps may be held: their cards share their names.
        wanted = {sys.intern(key): value for key, value in cards.items() if _WCS_CARD.match(key) and value is not None}
        self._cards = {key: value if _WORD_CARD.match(key) else float(value) for key, value in wanted.items()}
        self._rule = rule
        self._file_shape = shape
        self.shape: tuple[int, int] = (shape[1], shape[0]) if rule.transpose else shape
        if "-" not in str(cards.get("CTYPE1", "")) or cd_matrix(cards) is None or cards.get("CRVAL1") is None:
            raise ValueError("the image has no position on the sky")

    @cached_property
    def key(self) -> Hashable:
        """Equal for images on the same pixel grid."""
        grid = tuple(sorted((key, value) for key, value in self._cards.items()))
        return grid, self._file_shape, self._rule.transpose, self._rule.flip_rows, self._rule.flip_columns

    @cached_property
    def footprint(self) -> tuple[Floats, float]:
        """A cap that holds the image: unit vector of its middle (3,) and radius in degrees."""
        height, width = self._file_shape
        x = np.array([(width - 1) / 2, -0.5, width - 0.5, -0.5, width - 0.5])
        y = np.array([(height - 1) / 2, -0.5, -0.5, height - 0.5, height - 0.5])
        if self._cards.get("CTYPE1") in _NEARLY_TAN:
            points, far = self._gnomonic(x, y)
            margin = _MARGIN * far
        else:
            points, margin = unit_vectors(*self._file_to_sky(x, y)), 0.0
        radius = np.degrees(np.arccos(np.clip(points[1:] @ points[0], -1, 1))).max()
        return points[0], float(radius * (1 + _MARGIN) + margin)

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Pixels (x, y), counted from 0, of positions in degrees; NaN where there is none."""
        if self._equatorial:
            x, y = self._wcs.all_world2pix(ra, dec, 0, quiet=True)
        else:
            from astropy.coordinates import SkyCoord
            from astropy.wcs.utils import skycoord_to_pixel

            x, y = skycoord_to_pixel(SkyCoord(ra, dec, unit="deg"), self._wcs)
        return self._settled(np.asarray(x, np.float64), np.asarray(y, np.float64))

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Positions (ra, dec) in degrees of pixels of the settled image."""
        rule = self._rule
        x = self.shape[1] - 1 - x if rule.flip_columns else x
        y = self.shape[0] - 1 - y if rule.flip_rows else y
        return self._file_to_sky(*((y, x) if rule.transpose else (x, y)))

    def scale_at(self, x: Floats, y: Floats) -> Floats:
        """Pixel scale in arcsec at pixels (N,): the square root of the area of each."""
        corner, right, above = (
            unit_vectors(*self.to_sky(x + i, y + j)) for i, j in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5))
        )
        area = np.linalg.norm(np.cross(right - corner, above - corner), axis=1)
        return np.asarray(np.degrees(np.sqrt(area)) * 3600, np.float64)

    @property
    def _wcs(self) -> Any:
        return _wcs_of(tuple(self._cards.items()))

    @cached_property
    def _equatorial(self) -> bool:
        # FK5 and ICRS differ by some 0.01 arcsec, less than catalogues are worth: taken as one, as they are everywhere.
        old = str(self._cards.get("RADESYS", self._cards.get("RADECSYS", ""))).strip().startswith("FK4")
        return str(self._cards["CTYPE1"]).startswith("RA") and not old

    def _file_to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        if self._equatorial:
            ra, dec = self._wcs.all_pix2world(x, y, 0)
            return np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        from astropy.wcs.utils import pixel_to_skycoord

        place = pixel_to_skycoord(x, y, self._wcs).icrs
        return np.asarray(place.ra.deg, np.float64), np.asarray(place.dec.deg, np.float64)

    def _settled(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        rule = self._rule
        x, y = (y, x) if rule.transpose else (x, y)
        x = self.shape[1] - 1 - x if rule.flip_columns else x
        y = self.shape[0] - 1 - y if rule.flip_rows else y
        return x, y

    def _gnomonic(self, x: Floats, y: Floats) -> tuple[Floats, float]:
        """Unit vectors (N, 3) of pixels of the file, and their largest distance from the reference point in degrees.

        By the linear part of the WCS, as if the projection were gnomonic.
        """
        matrix = cd_matrix(self._cards)
        assert matrix is not None
        offset = np.stack([x - (float(self._cards["CRPIX1"]) - 1), y - (float(self._cards["CRPIX2"]) - 1)])
        east, north = np.radians(matrix @ offset)
        lon, lat = np.radians(float(self._cards["CRVAL1"])), np.radians(float(self._cards["CRVAL2"]))
        pole = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        to_east = np.array([-np.sin(lon), np.cos(lon), 0.0])
        points = pole + np.outer(east, to_east) + np.outer(north, np.cross(pole, to_east))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return points, float(np.degrees(np.hypot(east, north)).max())


@lru_cache(maxsize=256)
def _wcs_of(cards: tuple[tuple[str, Any], ...]) -> Any:
    """The astropy WCS of some cards; the bands of a brick share theirs."""
    from astropy.io.fits import Header
    from astropy.utils.exceptions import AstropyWarning
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # what astropy mends in the cards of other surveys
        return WCS(Header(dict(cards)), naxis=2)
