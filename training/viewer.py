"""The colour mapping of the Legacy Surveys viewer, for pictures: numpy alone.

`galcli.training.pixels` holds the same mapping in torch, which is exported with the networks; both take their
constants from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Softening of the viewer mapping.
Q = 20.0
#: Pixel scale [arcsec] for which the viewer's constants are meant.
VIEWER_PIXEL_SCALE = 0.262


@dataclass(frozen=True)
class Viewer:
    """Constants of one layer of the Legacy Surveys viewer (models.md 0.4).

    Attributes
    ----------
    bands : tuple of str
        Bands blue to red.
    scales : tuple of float
        Factor per band.
    m : float
        Pedestal added to every scaled band.
    flux_scale : float
        Factor on flux-conserved nanomaggies per (0.262 arcsec) pixel before the mapping.
    """

    bands: tuple[str, str, str]
    scales: tuple[float, float, float]
    m: float
    flux_scale: float = 1.0

    def brightness(self, pixel_scale: float) -> float:
        """Factor on nanomaggies per pixel of another scale [arcsec], before the mapping."""
        return self.flux_scale * (VIEWER_PIXEL_SCALE / pixel_scale) ** 2

    @property
    def sky(self) -> float:
        """Display value of blank sky."""
        return math.asinh(Q * self.m) / math.sqrt(Q)


#: Mapping of each flux front. The viewer's SDSS layer interpolates *values* from 0.396 to 0.262 arcsec, so
#: flux-conserved pixels are multiplied by the ratio of pixel areas (models.md 8f).
VIEWERS = {
    "flux:gri": Viewer(("g", "r", "i"), (2.5, 1.5, 1.0), 0.02, (0.396 / VIEWER_PIXEL_SCALE) ** 2),
    "flux:grz": Viewer(("g", "r", "z"), (6.0, 3.4, 2.2), 0.03),
}


def colour_image(pixels: NDArray[np.float32], front: str, pixel_scale: float) -> NDArray[np.float32]:
    """Make a colour image as the viewer does.

    Parameters
    ----------
    pixels : ndarray (3, H, W), float32
        Nanomaggies per pixel, blue to red; 0 to 1 for the front ``display``. NaN counts as blank sky.
    front : str
        Key of ``VIEWERS``, or ``display``.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    ndarray (H, W, 3), float32
        Red, green, blue from 0 to 1, as matplotlib shows them; row 0 as in ``pixels``.
    """
    values = np.nan_to_num(np.moveaxis(pixels, 0, -1))
    viewer = VIEWERS.get(front)
    if viewer is not None:
        brightness = viewer.brightness(pixel_scale)
        u = values * (brightness * np.array(viewer.scales, np.float32)) + np.float32(viewer.m)
        intensity = u.clip(min=0).mean(axis=-1, keepdims=True)
        intensity[intensity == 0] = 1e-6
        values = u * (np.arcsinh(Q * intensity) / (math.sqrt(Q) * intensity))
    image: NDArray[np.float32] = np.ascontiguousarray(values[..., ::-1].clip(0, 1), np.float32)
    return image
