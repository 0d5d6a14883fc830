"""The axes of an image: what its header says about their system, direction and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Header = Mapping[str, Any]


def cd_matrix(header: Header) -> NDArray[np.float64] | None:
    """CD matrix in degrees per pixel, longitude first, from CD or CDELT and PC; None when the header has neither."""
    matrix = _matrix_of_axes(header)
    latitude_first = str(header.get("CTYPE1", "")).startswith(("DEC-", "GLAT", "ELAT"))
    return matrix[::-1] if matrix is not None and latitude_first else matrix


def _matrix_of_axes(header: Header) -> NDArray[np.float64] | None:
    """Rows in the order of the header's axes."""
    if header.get("CD1_1") is not None or header.get("CD1_2") is not None:
        values = [[header.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)]
        return np.array(values, np.float64)
    # Without a projection, CDELT is no angle: many writers put 1 there.
    if header.get("CDELT1") is None or header.get("CDELT2") is None or "-" not in str(header.get("CTYPE1", "")):
        return None
    # Pan-STARRS writes PC001001, as was usual before the standard.
    turn = np.array(
        [[header.get(f"PC{i}_{j}", header.get(f"PC{i:03}{j:03}", float(i == j))) for j in (1, 2)] for i in (1, 2)],
        np.float64,
    )
    if header.get("CROTA2") is not None and header.get("PC1_1", header.get("PC001001")) is None:
        angle = math.radians(float(header["CROTA2"]))
        ratio = float(header["CDELT2"]) / float(header["CDELT1"])
        turn = np.array([[math.cos(angle), -math.sin(angle) * ratio], [math.sin(angle) / ratio, math.cos(angle)]])
    return np.diag([float(header["CDELT1"]), float(header["CDELT2"])]) @ turn


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
    degrees = str(header.get("CUNIT1") or "deg").strip().startswith("deg")
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
