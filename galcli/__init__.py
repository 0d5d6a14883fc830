"""galcli: physics of galaxies from survey images, streamed tile by tile into FITS tables."""

from __future__ import annotations

__version__ = "0.1.0"
