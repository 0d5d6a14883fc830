"""The cutout services of the Legacy Surveys and of Pan-STARRS: what to ask them, and what a good answer is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.axes import cd_matrix
from galcli.cutouts.fits_image import Image, NoOverlapError, glance, parse_image
from galcli.cutouts.hdus import DAMAGE
from galcli.cutouts.header import Overrides, blue_to_red, native_scale
from galcli.cutouts.http import BadAnswerError, page_title
from galcli.errors import InputError, UsageError
from galcli.tables.checksum import add_sum
from galcli.tables.header import BLOCK, Card, pad, sealed_header

#: ``get(page, query)`` gives the body of an answer or raises BadAnswerError.
Get = Callable[[str, Mapping[str, object]], bytes]

_PS1_SCALE = 0.25  # arcsec per pixel, of all images
_PS1_BANDS = "grizy"
#: Relative difference between two pixel scales that are the same.
_SAME_SCALE = 1e-3


@dataclass(frozen=True)
class Wanted:
    """What the cutouts of a folder have in common.

    Attributes
    ----------
    survey : str
        ``legacy`` or ``panstarrs``.
    layer : str
        Layer of the Legacy Surveys' service; '' elsewhere.
    bands : tuple of str
        Blue to red.
    size : int
        Side in pixels.
    pixel_scale : float
        arcsec
    """

    survey: str
    layer: str
    bands: tuple[str, ...]
    size: int
    pixel_scale: float

    @property
    def max_bytes(self) -> int:
        """No good answer is longer: pixels of 8 bytes and a long header."""
        return 8 * len(self.bands) * self.size**2 + (1 << 20)


class Service(Protocol):
    """A cutout service. Implementations: `Legacy`, `PanStarrs`."""

    #: Where the service is, unless the user says otherwise.
    home: str
    wanted: Wanted

    def fetch(self, get: Get, ra: float, dec: float) -> bytes:
        """The FITS file of one position.

        Raises
        ------
        BadAnswerError
            If the service has none, or what it gave is not what was asked for.
        """
        ...


def make_service(
    survey: str, layer: str | None = None, bands: Sequence[str] | None = None, size: int | None = None,
    pixel_scale: float | None = None,
) -> Service:  # fmt: skip
    """A service with its usual settings where none are given.

    Parameters
    ----------
    survey : str
        ``legacy`` or ``panstarrs``.
    layer : str, optional
        Layer of the Legacy Surveys' service.
    bands : sequence of str, optional
        Names of the bands, in any order.
    size : int, optional
        Side in pixels.
    pixel_scale : float, optional
        arcsec; by default the grid on which the survey is made.

    Raises
    ------
    UsageError
        If the service cannot give that.
    InputError
        If a band is named twice.
    """
    if survey == "panstarrs":
        if layer is not None:
            raise UsageError("--layer belongs to --survey legacy", "leave out --layer")
        if pixel_scale not in (None, _PS1_SCALE):
            raise UsageError(f'Pan-STARRS gives {_PS1_SCALE}" per pixel only', "leave out --pixel-scale")
        foreign = [band for band in bands or () if band not in _PS1_BANDS]
        if foreign:
            raise UsageError(f"Pan-STARRS has no band {foreign[0]!r}", f"choose among {_PS1_BANDS}")
        return PanStarrs(Wanted(survey, "", _sorted(bands or _PS1_BANDS), size or 240, _PS1_SCALE))
    layer = layer or "ls-dr10"
    scale = pixel_scale or native_scale(layer.lower())
    if scale is None:
        raise UsageError(f"pixel scale of layer {layer!r} unknown", "give it in arcsec with --pixel-scale")
    usual = "gri" if layer.lower().startswith("sdss") else "grz"
    return Legacy(Wanted(survey, layer, _sorted(bands or usual), size or 144, scale))


def _sorted(bands: Sequence[str]) -> tuple[str, ...]:
    return tuple(bands[i] for i in blue_to_red(bands))


class Legacy:
    """``fits-cutout`` of the Legacy Surveys' sky viewer: one FITS file with all bands, kept as it comes."""

    home = "https://www.legacysurvey.org/viewer"

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted

    def fetch(self, get: Get, ra: float, dec: float) -> bytes:
        """See `Service`."""
        wanted = self.wanted
        query = {
            **_place(ra, dec), "layer": wanted.layer, "pixscale": wanted.pixel_scale, "size": wanted.size,
            "bands": "".join(wanted.bands),
        }  # fmt: skip
        data = get("fits-cutout", query)
        _parse(data, wanted, ra, dec, _UNIT_LATER)
        return data


class PanStarrs:
    """``ps1filenames.py`` and ``fitscut.cgi`` of STScI: one stack image per band, put together in nanomaggies.

    Waters et al. 2020 (ApJS 251, 4): the AB zero point of a stack is 25 + 2.5 log10 of its exposure time.
    """

    home = "https://ps1images.stsci.edu/cgi-bin"

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted

    def fetch(self, get: Get, ra: float, dec: float) -> bytes:
        """See `Service`."""
        bands = self.wanted.bands
        query = {**_place(ra, dec), "filters": "".join(bands), "type": "stack"}
        names = _file_names(get("ps1filenames.py", query))
        missing = [band for band in bands if band not in names]
        if missing:
            raise BadAnswerError(
                f"Pan-STARRS has no image in {', '.join(missing)} here"
                if names
                else "the survey does not cover this position"
            )
        planes: list[NDArray[np.float32]] = []
        headers: list[dict[str, Any]] = []
        for band in bands:
            query = {**_place(ra, dec), "size": self.wanted.size, "format": "fits", "red": names[band]}
            plane, cards = self._plane(get("fitscut.cgi", query), band, ra, dec)
            if headers and not _same_grid(headers[0], cards):
                raise BadAnswerError(f"the images in {bands[0]} and {band} have different pixel grids")
            planes.append(plane)
            headers.append(cards)
        return _joined(np.stack(planes), headers, bands, [names[band] for band in bands])

    def _plane(self, data: bytes, band: str, ra: float, dec: float) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Nanomaggies (H, W) of one band, and its header."""
        wanted = dataclasses.replace(self.wanted, bands=(band,))
        image, cards = _parse(data, wanted, ra, dec, Overrides(bands=(band,), zeropoint=22.5))
        exposure = cards.get("EXPTIME")
        if not isinstance(exposure, int | float) or not (math.isfinite(exposure) and exposure > 0):
            raise BadAnswerError(f"the image in {band} has no EXPTIME, so its zero point is unknown")
        if cd_matrix(cards) is None or any(cards.get(key) is None for key in _PLACE):
            raise BadAnswerError(f"the image in {band} does not say where it lies")
        pixels = image.raw[0].astype(np.float32)
        image.rule.apply_flux(pixels)  # undoes the asinh scaling, if there is one
        pixels *= np.float32(10 ** (0.4 * (22.5 - (25 + 2.5 * math.log10(exposure)))))
        return pixels, cards


def is_there(path: Path, wanted: Wanted, ra: float, dec: float) -> bool:
    """Whether a file holds the cutout of a position, whole and as wanted; only its header is read.

    Raises
    ------
    BadAnswerError
        If it is whole, but shows another place.
    """
    try:
        image = glance(path, ra, dec, _UNIT_LATER)
        _require(image, wanted)
    except NoOverlapError:
        raise BadAnswerError(
            f"{path.name} shows another place: the identifier repeats, or a position changed"
        ) from None
    except (InputError, BadAnswerError, *DAMAGE):
        return False
    return True


#: Some layers do not say their unit; whoever reads the cutouts has to.
_UNIT_LATER = Overrides(zeropoint=22.5)


def _parse(data: bytes, wanted: Wanted, ra: float, dec: float, overrides: Overrides) -> tuple[Image, dict[str, Any]]:
    """The image in an answer and its header, or why it is no good."""
    if not data:
        raise BadAnswerError("empty answer")
    if not data.startswith(b"SIMPLE  ="):
        title = page_title(data)
        raise BadAnswerError(f"a web page instead of FITS: {title}" if title else "the answer is not FITS")
    try:
        image, cards = parse_image(data, ra, dec, overrides)
    except NoOverlapError as error:
        raise BadAnswerError(str(error)) from error
    except InputError as error:
        raise BadAnswerError(error.message) from error
    except DAMAGE as error:
        raise BadAnswerError(f"damaged FITS: {error}") from error
    if len(data) % BLOCK:  # of a gzipped answer that was cut, urllib3 says nothing
        raise BadAnswerError("damaged FITS: its last block is cut")
    _require(image, wanted)
    if not (np.isfinite(image.raw) & (image.raw != 0)).any():
        raise BadAnswerError("no pixel has data: the survey does not cover this position")
    return image, cards


def _require(image: Image, wanted: Wanted) -> None:
    """Raise `BadAnswerError` unless bands, size and scale are those asked for."""
    if image.rule.bands != wanted.bands:
        raise BadAnswerError(f"bands {','.join(image.rule.bands)} instead of {','.join(wanted.bands)}")
    height, width = image.shape[1:]
    if (height, width) != (wanted.size, wanted.size):
        raise BadAnswerError(f"{width} x {height} pixels instead of {wanted.size} x {wanted.size}")
    if not abs(image.rule.pixel_scale / wanted.pixel_scale - 1) < _SAME_SCALE:
        raise BadAnswerError(f'{image.rule.pixel_scale:.4g}" per pixel instead of {wanted.pixel_scale:g}"')


def _place(ra: float, dec: float) -> dict[str, object]:
    """A position as the services read it: to 0.4 milliarcseconds."""
    return {"ra": f"{ra % 360:.7f}", "dec": f"{dec:.7f}"}


def _file_names(answer: bytes) -> dict[str, str]:
    """Band -> name of its stack, from the table of ``ps1filenames.py``."""
    lines = [line.split() for line in answer.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines or not {"filter", "filename"} <= set(lines[0]):
        title = page_title(answer)
        raise BadAnswerError(f"a web page instead of a list of images: {title}" if title else "no list of images")
    if any(len(line) != len(lines[0]) for line in lines):
        raise BadAnswerError("the list of images is damaged")
    band, name = lines[0].index("filter"), lines[0].index("filename")
    return {line[band]: line[name] for line in reversed(lines[1:])}  # of several the first counts


_PLACE = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")


def _same_grid(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two images lie pixel on pixel; they have a scale, so a matrix."""
    first, second = cd_matrix(one), cd_matrix(other)
    assert first is not None
    assert second is not None
    return all(one.get(key) == other.get(key) for key in _PLACE) and np.allclose(first, second, rtol=1e-6, atol=1e-12)


def _joined(
    pixels: NDArray[np.float32], headers: list[dict[str, Any]], bands: Sequence[str], names: Sequence[str]
) -> bytes:
    """One FITS file of all bands, in nanomaggies, with the position of the first."""
    matrix = cd_matrix(headers[0])
    assert matrix is not None
    cards: list[Card] = [("SIMPLE", True, "FITS"), ("BITPIX", -32, ""), ("NAXIS", 3, "")]
    cards += [(f"NAXIS{i}", length, "") for i, length in enumerate(reversed(pixels.shape), start=1)]
    cards += [
        ("SURVEY", "Pan-STARRS", "stacks of data release 2, cut by fitscut"),
        ("BANDS", "".join(bands), "blue to red"),
        ("BUNIT", "nanomaggy", "flux per pixel, AB zero point 22.5 mag"),
        *((key, headers[0][key], "") for key in _PLACE),
        *((f"CD{i + 1}_{j + 1}", float(matrix[i, j]), "[deg]") for i in (0, 1) for j in (0, 1)),
    ]
    for number, (band, name, header) in enumerate(zip(bands, names, headers, strict=True)):
        cards.append((f"EXPTIME{number}", float(header["EXPTIME"]), f"[s] of {band}"))
        cards.append((f"STACK{number}", name, ""))
    data = pad(pixels.astype(">f4").tobytes())
    return sealed_header(cards, add_sum(data)) + data
