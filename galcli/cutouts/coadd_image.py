"""Images that hold many objects: what a file offers, learnt from its headers alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galcli.cutouts.hdus import Cards, headers, holds_pixels, packing
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
    packed : bool
        The whole file is gzipped or bzipped, so that it can only be read as a whole.
    compressed : bool
        Its pixels must be decoded.
    """

    plane: Plane
    rule: Convention
    shape: tuple[int, int, int]
    sky: SkyMap
    weight: Plane | None
    packed: bool
    compressed: bool

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
    packed = bool(packing(path))
    for number, own in enumerate(found):
        cards = {**inherited, **own}
        shape = _image_shape(cards)
        if shape is None or str(cards.get("EXTNAME", "")).strip().upper() in (*_WEIGHTS, *_OTHER_MAPS):
            continue
        weight = _weight_within(found, number, shape)
        rule = convention(cards, shape[0], overrides)
        sky = SkyMap(cards, shape[1:], rule)
        if not np.isfinite(sky.footprint[1]):
            raise ValueError("the image has no position on the sky")
        yield CoaddImage(
            Plane(path, number), rule, shape, sky,
            Plane(path, weight) if weight is not None else Plane(beside, number) if beside else None,
            packed, packed or bool(cards.get("ZIMAGE")),
        )  # fmt: skip


def _image_shape(cards: Cards) -> tuple[int, int, int] | None:
    """(B, H, W) of an image on the sky; None for everything else."""
    if not holds_pixels(cards) or "-" not in str(cards.get("CTYPE1", "")):
        return None
    prefix = "Z" if cards.get("ZIMAGE") else ""
    sizes = [int(cards[f"{prefix}NAXIS{i}"]) for i in range(int(cards[f"{prefix}NAXIS"]), 0, -1)]
    while len(sizes) > 3 and sizes[0] == 1:
        sizes.pop(0)
    if len(sizes) not in (2, 3) or 0 in sizes:
        return None
    return (sizes[0] if len(sizes) == 3 else 1, sizes[-2], sizes[-1])


def _weight_within(found: list[Cards], image: int, shape: tuple[int, int, int]) -> int | None:
    """The weight map that follows an image in its own file."""
    for number in range(image + 1, len(found)):
        cards = found[number]
        name = str(cards.get("EXTNAME", "")).strip().upper()
        kind = str(cards.get("IMAGETYP", "")).strip().upper()
        if name in _WEIGHTS or kind == "INVVAR":
            prefix = "Z" if cards.get("ZIMAGE") else ""
            same = cards.get(f"{prefix}NAXIS1") == shape[2] and cards.get(f"{prefix}NAXIS2") == shape[1]
            return number if same else None
    return None


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
