"""Images that hold many objects: what a file offers, learnt from its headers alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galcli.cutouts.hdus import Cards, headers, holds_pixels
from galcli.cutouts.header import Convention, Overrides, convention
from galcli.cutouts.skymap import SkyMap

#: Cards of the primary header that hold for the images after it.
_INHERITED = (
    "BAND", "FILTER", "PHOTBAND", "FILTNAM1", "BUNIT", "FLUXMAG0", "MAGZERO", "MAGZPT", "MAGZP", "ZEROPOINT", "ZEROPNT",
    "ZPT", "PHOTZP", "FPA.ZP", "FPA.FILTER", "FPA.FILTERID", "EXPTIME", "SURVEY", "BSOFTEN", "BOFFSET", "NMGY", "NMGYIVAR",
    "LEGPIPEV", "IMTYPE",
)  # fmt: skip
#: EXTNAMEs of weight maps, and of other maps that are no images.
_WEIGHTS = ("WGT", "WEIGHT", "WHT", "WT", "INVVAR", "IVAR", "VARIANCE", "VAR")
_OTHER_MAPS = ("MSK", "MASK", "MASKBITS", "DQ", "NEXP", "ERR", "PSF")
#: Part of an image's file name -> the same part of its weight map's: Legacy Surveys, NOIRLab, unWISE, Pan-STARRS.
_WEIGHT_NAMES = (("image", "invvar"), ("ooi", "oow"), ("-img-", "-invvar-"), (".unconv.fits", ".unconv.wt.fits"))
#: Parts of the names of files that hold no images, where their headers do not say so.
_NO_IMAGES = ("invvar", "_oow_", "_ood_", ".unconv.wt.", ".unconv.mask.", "-nexp-")


@dataclass(frozen=True)
class Plane:
    """An HDU of a file."""

    path: str
    hdu: int


@dataclass(frozen=True, eq=False)
class CoaddImage:
    """One image with its bands and its place on the sky.

    Attributes
    ----------
    plane : Plane
    rule : Convention
    shape : tuple of int
        (B, H, W) as in the file.
    sky : SkyMap
    weight : Plane or None
        Map that is 0 or NaN where the image has no data.
    tile : tuple of int, or None
        (h, w) of the parts that are compressed one by one; None if the pixels are not compressed.
    """

    plane: Plane
    rule: Convention
    shape: tuple[int, int, int]
    sky: SkyMap
    weight: Plane | None
    tile: tuple[int, int] | None

    @property
    def path(self) -> str:
        """The file."""
        return self.plane.path


def is_image_name(path: str) -> bool:
    """Whether a file may hold an image, by its name: not a weight or mask map."""
    name = os.path.basename(path)  # noqa: PTH119 - called for each of very many files
    return not any(part in name for part in _NO_IMAGES)


def images_of(path: str, overrides: Overrides) -> Iterator[CoaddImage]:
    """The images of a file that lie on the sky.

    Parameters
    ----------
    path : str
        Plain, tile-compressed, gzipped or bzipped FITS.
    overrides : Overrides

    Yields
    ------
    CoaddImage

    Raises
    ------
    InputError
        If bands or units of an image cannot be known.
    OSError, EOFError, TypeError, ValueError, KeyError, zlib.error
        If the file is damaged.
    """
    found = headers(path)
    inherited = {key: found[0][key] for key in _INHERITED if found[0].get(key) is not None}
    beside = _weight_beside(path)
    numbers = [number for number, own in enumerate(found) if _is_image(inherited | own)]
    weights = _weights_within(found, numbers)
    for number in numbers:
        cards = inherited | found[number]
        shape = _shape(cards)
        weight = weights.get(number)
        rule = convention(cards, shape[0], overrides)
        sky = SkyMap(cards, shape[1:], rule)
        if not np.isfinite(sky.footprint[1]):
            raise ValueError("the image has no position on the sky")
        yield CoaddImage(
            Plane(path, number), rule, shape, sky,
            Plane(path, weight) if weight is not None else Plane(beside, number) if beside else None,
            (int(cards.get("ZTILE2", 1)), int(cards.get("ZTILE1", shape[2]))) if cards.get("ZIMAGE") else None,
        )  # fmt: skip


def _is_image(cards: Cards) -> bool:
    """Whether an HDU is an image on the sky that can be used."""
    if not holds_pixels(cards) or "-" not in str(cards.get("CTYPE1", "")):
        return False
    return _name(cards) not in (*_WEIGHTS, *_OTHER_MAPS) and len(_sizes(cards)) in (2, 3) and 0 not in _sizes(cards)


def _name(cards: Cards) -> str:
    return str(cards.get("EXTNAME", "")).strip().upper()


def _sizes(cards: Cards) -> tuple[int, ...]:
    """Shape of an image as numpy counts, without leading axes of one pixel beyond the third."""
    prefix = "Z" if cards.get("ZIMAGE") else ""
    sizes = [int(cards[f"{prefix}NAXIS{i}"]) for i in range(int(cards[f"{prefix}NAXIS"]), 0, -1)]
    while len(sizes) > 3 and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)


def _shape(cards: Cards) -> tuple[int, int, int]:
    """(B, H, W) of an image."""
    *bands, height, width = _sizes(cards)
    return (bands[0] if bands else 1, height, width)


def _weights_within(found: list[Cards], images: list[int]) -> dict[int, int]:
    """The weight map of each image in their common file: as many as images belong to them in turn.

    Otherwise a map belongs to the image that it follows.
    """
    weights = [
        number
        for number, cards in enumerate(found)
        if _name(cards) in _WEIGHTS or str(cards.get("IMAGETYP", "")).strip().upper() == "INVVAR"
    ]
    if len(weights) == len(images):
        return dict(zip(images, weights, strict=True))
    before = {weight: max((image for image in images if image < weight), default=None) for weight in weights}
    return {image: weight for weight, image in reversed(before.items()) if image is not None}


def _weight_beside(path: str) -> str:
    """The file of weight maps that goes with a file of images, by its name; '' if there is none."""
    place = Path(path)
    for image, weight in _WEIGHT_NAMES:
        name = place.name.replace(image, weight)
        for other in (name, f"{name}.gz", name.removesuffix(".gz")) if name != place.name else ():
            beside = place.with_name(other)
            if beside.is_file():
                return str(beside)
    return ""
