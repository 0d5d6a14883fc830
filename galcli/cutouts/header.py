"""Pixel conventions: what a FITS header says about bands, units, scale, orientation and centre, settled once.

Whatever a survey writes, what leaves ``galcli.cutouts`` is nanomaggies per pixel, bands blue to red, row 0 = south,
east at small x. A file whose units cannot be known is refused; nothing is guessed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.axes import Header, cd_matrix, find_scale, orientation
from galcli.errors import InputError

#: Central wavelengths in nm, for the order blue to red only.
WAVELENGTH = {
    "FUV": 153, "NUV": 227, "u": 355, "g": 475, "r": 622, "i": 763, "VIS": 720, "z": 905, "y": 1000, "Y": 1020,
    "J": 1250, "H": 1650, "K": 2200, "Ks": 2150, "W1": 3368, "W2": 4618, "W3": 12082, "W4": 22194,
    "blue": 450, "green": 550, "red": 650,
}  # fmt: skip

#: How SURVEY begins in files of the Legacy Surveys' cutout server -> the pixel grid in arcsec on which it makes that
#: layer; other scales are interpolated from it.
NATIVE_SCALES = {
    **dict.fromkeys(("legacy", "ls-", "ls_", "decals", "mzls", "bass"), 0.262),
    "sdss": 0.396, "hsc": 0.168, "galex": 1.5, "unwise": 2.75,
}  # fmt: skip
#: Layers whose unit is not the nanomaggy (AB), and where zero is a value.
_OTHER_UNITS = ("hsc", "galex", "unwise")

#: Nanomaggies per BUNIT; 1 nanomaggy = 3.631e-6 Jy (AB).
UNITS = {"nanomaggy": 1.0, "maggy": 1e9, "jy": 1 / 3.631e-6, "mjy": 1e-3 / 3.631e-6, "ujy": 1e-6 / 3.631e-6,
         "njy": 1e-9 / 3.631e-6, "megajy": 1e6 / 3.631e-6}  # fmt: skip
_UNIT_NAMES = {
    "nanomaggies": "nanomaggy", "nanomaggys": "nanomaggy", "nmgy": "nanomaggy", "nmaggy": "nanomaggy",
    "maggies": "maggy", "mgy": "maggy", "jansky": "jy", "microjy": "ujy", "µjy": "ujy", "nanojy": "njy",
    "microjansky": "ujy", "nanojansky": "njy",
}  # fmt: skip
_ZEROPOINT_CARDS = ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPOINT", "ZEROPNT", "ZPT", "PHOTZP")
#: Filters whose name hides their band: MOSAIC-3 and 90prime.
_FILTERS = {"zd": "z", "bokr": "r", "bokg": "g"}
#: Cards that name the band of a single plane, the most telling first.
_BAND_CARDS = ("BAND", "PHOTBAND", "FILTER", "FILTNAM1", "FPA.FILTER", "FPA.FILTERID")
_BAND = re.compile(r"(?:.*[ ._:-])?([ugrizyYJHK]|Ks|W[1-4]|VIS|NUV|FUV)(?:[ ._:-].*)?$")


def band_name(text: str) -> str:
    """Short name of a band: ``g`` for ``DECam_g``, ``g.00000`` or ``g DECam SDSS c0001 4720.0 1520.0``."""
    word = text.strip()
    if word in WAVELENGTH:
        return word
    known = _FILTERS.get(word.split(" ")[0])
    if known is not None:
        return known
    match = re.match(r"([ugrizyY])[ .]", word) or _BAND.match(word) or _BAND.match(word.lower())
    return match.group(1) if match else word


@lru_cache(maxsize=256)
def split_bands(text: str) -> tuple[str, ...]:
    """Names in a BANDS card: ``grz`` or ``g,r,W1``."""
    words = [word for word in re.split(r"[,;\s]+", text.strip()) if word]
    if len(words) > 1:
        return tuple(band_name(word) for word in words)
    single = words[0] if words else ""
    if (single in WAVELENGTH and len(single) > 1) or re.fullmatch(r"[A-Za-z]+", single) is None:
        return (band_name(single),) if single else ()
    return tuple(single)


def blue_to_red(bands: Sequence[str]) -> tuple[int, ...]:
    """Positions of the bands in the order blue to red; unknown names keep their place in the file.

    Raises
    ------
    InputError
        If a band occurs twice.
    """
    if len(set(bands)) != len(bands):
        raise InputError(f"band names repeat: {', '.join(bands)}", "name each band once with --bands")
    if any(band not in WAVELENGTH for band in bands):
        return tuple(range(len(bands)))
    return tuple(sorted(range(len(bands)), key=lambda i: WAVELENGTH[bands[i]]))


@dataclass(frozen=True)
class Overrides:
    """What the user says about the pixels; beats every header card.

    Attributes
    ----------
    bands : tuple of str or None
        Names of the planes in the order of the file.
    zeropoint : float or None
        AB magnitude of one count per pixel.
    pixel_scale : float or None
        arcsec per pixel.
    """

    bands: tuple[str, ...] | None = None
    zeropoint: float | None = None
    pixel_scale: float | None = None


NO_OVERRIDES = Overrides()


@dataclass(frozen=True)
class Convention:
    """How the planes of one image become those of a batch.

    Attributes
    ----------
    bands : tuple of str
        Blue to red.
    order : tuple of int
        Plane of the file for each of ``bands``.
    factor : float
        Nanomaggies per pixel of one count.
    softening : tuple of float or None
        (BSOFTEN, BOFFSET) of an asinh-scaled image.
    zero_is_blank : bool
        Exactly zero means no data.
    transpose, flip_rows, flip_columns : bool
        The image is turned by a right angle; then, row 0 is north; east is at large x.
    pixel_scale : float
        arcsec; NaN when the header does not say.
    survey : str
        Lower case, '' when unknown.
    """

    bands: tuple[str, ...]
    order: tuple[int, ...]
    factor: float
    softening: tuple[float, float] | None
    zero_is_blank: bool
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    pixel_scale: float
    survey: str

    @property
    def reordered(self) -> bool:
        """Whether the planes of the file are not in the order blue to red."""
        return self.order != tuple(range(len(self.order)))

    @np.errstate(over="ignore")  # what float32 cannot hold is infinite, and so no data
    def settle(self, raw: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Copy planes to where they belong: byte order, orientation, band order and units in one go.

        Parameters
        ----------
        raw : ndarray (..., B, H, W)
            As in the file, of any number type and byte order.
        out : ndarray (..., B, H, W), float32
            (..., B, W, H) if the axes are swapped.
        """
        source = raw.swapaxes(-1, -2) if self.transpose else raw
        source = source[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        if self.reordered:
            for band, plane in enumerate(self.order):
                np.copyto(out[..., band, :, :], source[..., plane, :, :], casting="unsafe")
        else:
            np.copyto(out, source, casting="unsafe")
        self._to_flux(out)

    @np.errstate(over="ignore")
    def apply_flux(self, pixels: NDArray[np.float32]) -> None:
        """Turn counts into nanomaggies, in place.

        Parameters
        ----------
        pixels : ndarray, float32
            Of any shape.
        """
        self._to_flux(pixels)

    def _to_flux(self, pixels: NDArray[np.float32]) -> None:
        if self.softening is not None:
            soften, offset = self.softening
            values = pixels.astype(np.float64)
            # Magnier et al. 2020 (ApJS 251, 3), eq. 4: stack pixels are asinh magnitudes of the flux.
            pixels[...] = offset + 2 * soften * np.sinh(values * (math.log(10) / 2.5))
        if self.zero_is_blank and (blank := pixels == 0).any():
            pixels[blank] = np.nan
        if self.factor != 1.0:
            pixels *= np.float32(self.factor)


def find_bands(header: Header, planes: int, overrides: Overrides = NO_OVERRIDES) -> tuple[str, ...]:
    """Names of the planes in the order of the file.

    Raises
    ------
    InputError
        If they are not given, not as many as planes, or the user names other ones than the file.
    """
    stated = _stated_bands(header, planes)
    bands = stated if overrides.bands is None else overrides.bands
    if bands != stated and len(stated) == planes:
        raise InputError(
            f"the file says that its bands are {', '.join(stated)}, --bands says {', '.join(bands)}",
            "leave out --bands, or correct the BANDS card of the files",
        )
    if not bands:
        raise InputError(f"the header names no bands for {planes} planes", "name them in file order: --bands grz")
    if len(bands) != planes:
        raise InputError(
            f"{len(bands)} band names ({','.join(bands)}) for {planes} planes", "name each plane with --bands"
        )
    return bands


def _stated_bands(header: Header, planes: int) -> tuple[str, ...]:
    if str(header.get("BANDS") or "").strip():
        return split_bands(str(header["BANDS"]))
    listed = list(itertools.takewhile(lambda i: header.get(f"BAND{i}") is not None, itertools.count()))
    # Coadds list the bands of their whole brick in each band's file.
    if listed and (len(listed) == planes or planes > 1):
        return tuple(band_name(str(header[f"BAND{i}"])) for i in listed[:planes])
    single = next((header[key] for key in _BAND_CARDS if header.get(key)), "")
    return (band_name(str(single)),) if planes == 1 and single else ()


def find_factor(header: Header, zeropoint: float | None = None, *, legacy: bool = False) -> float:
    """Nanomaggies of one count.

    Parameters
    ----------
    header : mapping
    zeropoint : float, optional
        AB magnitude of one count, from the user.
    legacy : bool
        The file has the Legacy Survey layout, whose unit is the nanomaggy though no card says so.

    Raises
    ------
    InputError
        If no card gives the unit, or two disagree.
    """
    if zeropoint is not None:
        return float(10 ** (0.4 * (22.5 - zeropoint)))
    unit = str(header.get("BUNIT") or "").strip()
    known_case = re.sub(r"^MJy", "megajy", unit)  # elsewhere case is a matter of taste; here it is a factor of 10^9
    name = re.sub(r"(/| per )?(pix|pixel|px)$", "", known_case.lower().replace("pixel-1", "pixel")).strip(" /")
    by_unit = UNITS.get(_UNIT_NAMES.get(name, name))
    by_zeropoint = _by_zeropoint(header)
    if not unit and header.get("NMGY") is not None and header.get("NMGYIVAR") is not None:
        by_unit = 1.0  # a calibrated frame of SDSS; NMGY is what one of its counts was
    if by_unit is not None and by_zeropoint is not None and abs(by_unit / by_zeropoint - 1) > 1e-3:
        raise InputError(f"BUNIT {unit!r} and the zero point disagree", "settle the unit with --zeropoint")
    factor = by_unit if by_unit is not None else by_zeropoint
    if factor is None and legacy and not unit:
        factor = 1.0
    if factor is None:
        found = f"BUNIT is {unit!r}" if unit else "no BUNIT, MAGZERO or FLUXMAG0 card"
        raise InputError(f"unit of the pixels unknown: {found}", "give the AB magnitude of one count with --zeropoint")
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"zero point gives the impossible factor {factor}", "settle it with --zeropoint")
    return factor


def _by_zeropoint(header: Header) -> float | None:
    """Nanomaggies of one count, from the cards that tell a zero point."""
    if header.get("FLUXMAG0"):
        return 1e9 / float(header["FLUXMAG0"])
    card = next((key for key in _ZEROPOINT_CARDS if header.get(key) is not None), None)
    if card is not None:
        return float(10 ** (0.4 * (22.5 - float(header[card]))))
    if header.get("FPA.ZP") is not None and header.get("EXPTIME") is not None:
        # Pan-STARRS: counts of the whole exposure, zero point for one second.
        return float(10 ** (0.4 * (22.5 - float(header["FPA.ZP"]))) / float(header["EXPTIME"]))
    return None


def find_survey(header: Header) -> str:
    """Lower-case survey card, '' when there is none."""
    return str(header.get("SURVEY") or "").strip().lower()


def native_scale(survey: str) -> float | None:
    """Pixel grid in arcsec of a layer of the Legacy Surveys' cutout server; None for surveys that it is not known for."""
    return next((scale for name, scale in NATIVE_SCALES.items() if survey.startswith(name)), None)


def convention(header: Header, planes: int, overrides: Overrides = NO_OVERRIDES) -> Convention:
    """Settle everything a header says about an image.

    Parameters
    ----------
    header : mapping
        FITS cards.
    planes : int
        Number of bands in the file.
    overrides : Overrides

    Returns
    -------
    Convention

    Raises
    ------
    InputError
        If bands or units cannot be known.
    """
    bands = find_bands(header, planes, overrides)
    order = blue_to_red(bands)
    matrix = cd_matrix(header)
    scale = find_scale(header, matrix)
    survey = find_survey(header)
    own_stack = header.get("ROWORDER") is not None
    served = bool(header.get("BANDS")) and matrix is not None and not own_stack
    native = native_scale(survey) if served else None
    legacy = native is not None and not survey.startswith(_OTHER_UNITS)
    factor = find_factor(header, overrides.zeropoint, legacy=legacy)
    if native is not None:
        # The cutout server interpolates values without conserving flux: one value per native pixel area.
        factor *= 1.0 if abs(scale / native - 1) < 1e-3 else (scale / native) ** 2
    softening = None
    if header.get("BSOFTEN") is not None and header.get("BOFFSET") is not None:
        softening = (float(header["BSOFTEN"]), float(header["BOFFSET"]))
    transpose, flip_rows, flip_columns = orientation(matrix)
    north_first = str(header.get("ROWORDER") or "").strip().upper() in ("NORTH", "TOP-DOWN")
    return Convention(
        bands=tuple(bands[i] for i in order),
        order=order,
        factor=factor,
        softening=softening,
        zero_is_blank=legacy or header.get("LEGPIPEV") is not None,
        transpose=transpose,
        flip_rows=flip_rows if matrix is not None else north_first,
        flip_columns=flip_columns,
        pixel_scale=overrides.pixel_scale if overrides.pixel_scale is not None else scale,
        survey=survey,
    )
