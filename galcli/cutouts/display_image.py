"""One display image (JPEG, PNG): from bytes to channels blue, green, red in 0 to 1."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from galcli.cutouts.header import Convention

#: Largest image accepted, pixels: far above any cutout, far below what fills the memory.
MAX_PIXELS = 1 << 26

#: What damaged or hostile images raise.
DAMAGE = (OSError, EOFError, ValueError, TypeError, SyntaxError, struct.error, Image.DecompressionBombError,
          Image.DecompressionBombWarning)  # fmt: skip

_COLOUR = ("RGB", "RGBA", "P", "YCbCr", "CMYK")


def read_display(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as it stands in the file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    ndarray (3, H, W), uint8
        Channels red, green, blue; row 0 = north, as display images are.

    Raises
    ------
    ValueError
        If the image is grey or too large.
    OSError, EOFError, TypeError, SyntaxError
        If it is damaged.
    """
    with Image.open(path, formats=("JPEG", "PNG")) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are no cutout")
        if image.mode not in _COLOUR:
            raise ValueError(f"not a colour image (mode {image.mode})")
        image.load()
        # Transparency says nothing about flux: dropped, not blended into a background.
        opaque = image.convert("RGBA") if image.mode == "P" else image
        colour: Any = np.asarray(opaque if opaque.mode == "RGB" else opaque.convert("RGB"))
    return np.ascontiguousarray(colour.transpose(2, 0, 1))


def display_convention(pixel_scale: float) -> Convention:
    """Channels blue to red, row 0 = south, values in 0 to 1; no scale unless the user knows one."""
    return Convention(
        bands=("blue", "green", "red"),
        order=(2, 1, 0),
        factor=1 / 255,
        softening=None,
        zero_is_blank=False,
        transpose=False,
        flip_rows=True,
        flip_columns=False,
        pixel_scale=pixel_scale,
        survey="",
    )
