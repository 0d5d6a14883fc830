"""The axes of an image: what its header says about their system, direction and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Header = Mapping[str, Any]

#: Degrees of each unit of angle, by how its name begins.
_DEGREES = {"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600, "mas": 1 / 3.6e6, "rad": math.degrees(1)}


def cd_matrix(header: Header) -> NDArray[np.float64] | None:
    """CD matrix in degrees per pixel, longitude first, from CD, or from PC and CDELT.

    None when the header has none of them, or they are no angles.
    """
    matrix, units = _matrix_of_axes(header), _degrees_of_axes(header)
    if matrix is None or units is None:
        return None
    matrix = units[:, None] * matrix
    latitude_first = str(header.get("CTYPE1", "")).startswith(("DEC-", "GLAT", "ELAT"))
    return matrix[::-1] if latitude_first else matrix


def _degrees_of_axes(header: Header) -> NDArray[np.float64] | None:
    """Degrees of the unit of each axis, which is the degree unless the header says otherwise; None if it is no angle."""
    names = [str(header.get(key) or "deg").strip().lower() or "deg" for key in ("CUNIT1", "CUNIT2")]
    found = [next((size for unit, size in _DEGREES.items() if name.startswith(unit)), None) for name in names]
    return None if None in found else np.array(found, np.float64)


def _matrix_of_axes(header: Header) -> NDArray[np.float64] | None:
    """In the units and the order of the header's axes."""
    if header.get("CD1_1") is not None or header.get("CD1_2") is not None:
        values = [[header.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)]
        return np.array(values, np.float64)
    # Pan-STARRS writes PC001001, as was usual before the standard.
    turned = [[header.get(f"PC{i}_{j}", header.get(f"PC{i:03}{j:03}")) for j in (1, 2)] for i in (1, 2)]
    steps = [header.get(key) for key in ("CDELT1", "CDELT2")]
    # In the standard, beside PC1_1 a missing CDELT is 1.
    standard = any(header.get(f"PC{i}_{j}") is not None for i in (1, 2) for j in (1, 2))
    # Without a projection, these are no angles: many writers put CDELT = 1 there.
    if "-" not in str(header.get("CTYPE1", "")) or (None in steps and not standard):
        return None
    width, height = (1.0 if step is None else float(step) for step in steps)
    turn = np.array([[i == j if turned[i][j] is None else turned[i][j] for j in (0, 1)] for i in (0, 1)], np.float64)
    if header.get("CROTA2") is not None and turned[0][0] is None:
        angle = math.radians(float(header["CROTA2"]))
        ratio = height / width
        turn = np.array([[math.cos(angle), -math.sin(angle) * ratio], [math.sin(angle) / ratio, math.cos(angle)]])
    return np.diag([width, height]) @ turn


def is_equatorial(header: Header) -> bool:
    """Whether the axes of an image are right ascension and declination, in this order, of the system of catalogues.

    FK5 of 2000 and ICRS differ by some 0.01 arcsec, less than catalogues are worth: they are taken as one.
    """
    system = str(header.get("RADESYS") or header.get("RADECSYS") or "").strip()
    today = system == "ICRS" or float(header.get("EQUINOX") or 2000) == 2000
    return str(header.get("CTYPE1", "")).startswith("RA") and today and not system.startswith("FK4")


def is_plain_tan(header: Header) -> bool:
    """Whether an equatorial image is a gnomonic projection with its north pole up, and no more than that."""
    kinds = (header.get("CTYPE1"), header.get("CTYPE2"))
    bent = any(header.get(key) is not None for key in ("A_ORDER", "B_ORDER", "PV1_1", "PV2_1"))
    units = _degrees_of_axes(header)
    degrees = units is not None and bool((units == 1).all())
    pole = header.get("LONPOLE", 180 if float(header.get("CRVAL2", 0)) < 90 else 0)
    return kinds == ("RA---TAN", "DEC--TAN") and is_equatorial(header) and degrees and not bent and float(pole) == 180


def orientation(matrix: NDArray[np.float64] | None) -> tuple[bool, bool, bool]:
    """Whether to swap the axes, then to flip rows, then columns, so that north is up and east is left.

    Angles that are no multiple of 90 degrees stay as they are: a galaxy's position angle is arbitrary anyway.
    """
    if matrix is None:
        return False, False, False
    size = np.abs(matrix)
    transpose = bool(size[0, 1] + size[1, 0] > size[0, 0] + size[1, 1])
    turned = matrix[:, ::-1] if transpose else matrix
    return transpose, bool(turned[1, 1] < 0), bool(turned[0, 0] > 0)


def find_scale(header: Header, matrix: NDArray[np.float64] | None) -> float:
    """Pixel scale in arcsec; NaN when unknown."""
    if matrix is not None:
        area = abs(float(np.linalg.det(matrix)))
        if area > 0:
            return math.sqrt(area) * 3600
    for key in ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "PIXELSCL"):
        if isinstance(header.get(key), int | float) and float(header[key]) > 0:
            return float(header[key])
    return math.nan
