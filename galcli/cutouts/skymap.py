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

from galcli.cutouts.axes import cd_matrix, is_equatorial, is_plain_tan
from galcli.cutouts.hdus import Cards
from galcli.cutouts.header import Convention
from galcli.cutouts.match import unit_vectors

Floats = NDArray[np.float64]

_WCS_CARD = re.compile(
    r"(WCSAXES|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)[12]|CROTA2|(CD|PC)[12]_[12]|PC00[12]00[12]|PV[12]_\d+"
    r"|(A|B|AP|BP)_(ORDER|\d+_\d+)|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX)$"
)
_WORD_CARD = re.compile(r"(CTYPE|CUNIT|RADESYS|RADECSYS)")
#: Distortions of NOAO in WAT cards, which no library reads.
_UNREADABLE = ("TNX", "ZPX")
#: Part of a footprint's radius that is added to it.
_MARGIN = 0.02


class Projection:
    """Positions on the sky and pixels of an image as it stands in its file.

    Parameters
    ----------
    cards : dict
        FITS cards with a celestial WCS.

    Attributes
    ----------
    cards : dict
        Those that describe the projection.

    Raises
    ------
    ValueError
        If the cards describe no positions on the sky, or hold no numbers where they must.
    """

    def __init__(self, cards: Cards) -> None:
        # Very many maps may be held: their cards share their names.
        wanted = {sys.intern(key): value for key, value in cards.items() if _WCS_CARD.match(key) and value is not None}
        self.cards: Cards = {
            key: str(value) if _WORD_CARD.match(key) else float(value) for key, value in wanted.items()
        }
        if "-" not in str(cards.get("CTYPE1", "")) or cd_matrix(cards) is None or cards.get("CRVAL1") is None:
            raise ValueError("the image has no position on the sky")
        kind = str(cards["CTYPE1"])
        if kind.endswith(_UNREADABLE):
            raise ValueError(f"the distortions of its projection {kind} cannot be read")
        if kind.endswith("-TAN") and "A_ORDER" in self.cards:  # as astropy takes it, but without many words
            self.cards |= {key: f"{cards[key]}-SIP" for key in ("CTYPE1", "CTYPE2")}

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Pixels (x, y), counted from 0, of positions in degrees; NaN where there is none."""
        from astropy.wcs import NoConvergence

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of positions that no pixel has
                x, y = self._wcs.all_world2pix(*self._to_axes(ra, dec), 0)
        except NoConvergence as error:  # far outside a distorted image
            places = error.best_solution.copy()
            for lost in (error.divergent, error.slow_conv):
                if lost is not None:
                    places[lost] = np.nan
            x, y = places.T.reshape(2, *np.shape(ra))
        return np.asarray(x, np.float64), np.asarray(y, np.float64)

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Positions (ra, dec) in degrees of pixels."""
        axes = self._wcs.all_pix2world(x, y, 0)
        if is_equatorial(self.cards):
            ra, dec = axes
        else:
            from astropy.coordinates import SkyCoord

            place = SkyCoord(axes[self._wcs.wcs.lng], axes[self._wcs.wcs.lat], unit="deg", frame=self._frame).icrs
            ra, dec = place.ra.deg, place.dec.deg
        return np.asarray(ra, np.float64), np.asarray(dec, np.float64)

    def _to_axes(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Positions in the image's own system, in the order of its axes."""
        if is_equatorial(self.cards):
            return ra, dec
        from astropy.coordinates import SkyCoord

        place = SkyCoord(ra, dec, unit="deg").transform_to(self._frame).spherical
        return (place.lon.deg, place.lat.deg) if self._wcs.wcs.lng == 0 else (place.lat.deg, place.lon.deg)

    @property
    def _frame(self) -> Any:
        from astropy.wcs.utils import wcs_to_celestial_frame

        return wcs_to_celestial_frame(self._wcs)

    @property
    def _wcs(self) -> Any:
        return _wcs_of(tuple(self.cards.items()))


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
        As `Projection`.
    """

    def __init__(self, cards: Cards, shape: tuple[int, int], rule: Convention) -> None:
        self._projection = Projection(cards)
        self._rule = rule
        self._file_shape = shape
        self.shape: tuple[int, int] = (shape[1], shape[0]) if rule.transpose else shape

    @cached_property
    def key(self) -> Hashable:
        """Equal for images on the same pixel grid."""
        grid = tuple(sorted(self._projection.cards.items()))
        return grid, self._file_shape, self._rule.transpose, self._rule.flip_rows, self._rule.flip_columns

    @cached_property
    def footprint(self) -> tuple[Floats, float]:
        """A cap that holds the image: unit vector of its middle (3,) and radius in degrees."""
        height, width = self._file_shape
        y, x = (axis.ravel() for axis in np.mgrid[-0.5 : height - 0.5 : 3j, -0.5 : width - 0.5 : 3j])
        plain = is_plain_tan(self._projection.cards)
        points = self._gnomonic(x, y) if plain else unit_vectors(*self._projection.to_sky(x, y))
        middle = points[len(points) // 2]
        radius = np.degrees(np.arccos(np.clip(points @ middle, -1, 1))).max()
        return middle, float(radius * (1 + _MARGIN))

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Pixels (x, y), counted from 0, of positions in degrees; NaN where there is none."""
        rule = self._rule
        x, y = self._projection.to_pixel(ra, dec)
        x, y = (y, x) if rule.transpose else (x, y)
        x = self.shape[1] - 1 - x if rule.flip_columns else x
        y = self.shape[0] - 1 - y if rule.flip_rows else y
        return x, y

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Positions (ra, dec) in degrees of pixels of the settled image."""
        rule = self._rule
        x = self.shape[1] - 1 - x if rule.flip_columns else x
        y = self.shape[0] - 1 - y if rule.flip_rows else y
        return self._projection.to_sky(*((y, x) if rule.transpose else (x, y)))

    def scale_at(self, x: Floats, y: Floats) -> Floats:
        """Pixel scale in arcsec at pixels (N,): the square root of the area of each."""
        corner, right, above = (
            unit_vectors(*self.to_sky(x + i, y + j)) for i, j in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5))
        )
        area = np.linalg.norm(np.cross(right - corner, above - corner), axis=1)
        return np.asarray(np.degrees(np.sqrt(area)) * 3600, np.float64)

    @cached_property
    def finest(self) -> float:
        """Smallest pixel scale in arcsec, in the middle and the corners."""
        height, width = self.shape
        x = np.array([(width - 1) / 2, 0.0, width - 1, 0.0, width - 1])
        y = np.array([(height - 1) / 2, 0.0, 0.0, height - 1, height - 1])
        return float(self.scale_at(x, y).min())

    def _gnomonic(self, x: Floats, y: Floats) -> Floats:
        """Unit vectors (N, 3) of pixels of the file, without the libraries that are slow for very many images."""
        cards = self._projection.cards
        matrix = cd_matrix(cards)
        assert matrix is not None
        offset = np.stack([x - (float(cards["CRPIX1"]) - 1), y - (float(cards["CRPIX2"]) - 1)])
        east, north = np.radians(matrix @ offset)
        lon, lat = np.radians(float(cards["CRVAL1"])), np.radians(float(cards["CRVAL2"]))
        pole = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        to_east = np.array([-np.sin(lon), np.cos(lon), 0.0])
        points: Floats = pole + np.outer(east, to_east) + np.outer(north, np.cross(pole, to_east))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return points


@lru_cache(maxsize=256)
def _wcs_of(cards: tuple[tuple[str, Any], ...]) -> Any:
    """The astropy WCS of some cards; the bands of a brick share theirs."""
    from astropy.io.fits import Header
    from astropy.utils.exceptions import AstropyWarning
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # what astropy mends in the cards of other surveys
        return WCS(Header(dict(cards)), naxis=2)
