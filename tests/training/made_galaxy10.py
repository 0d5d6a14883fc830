"""Small files in the layout of Galaxy10_DECals.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

SIZE = 48


def disc(radius: float, size: int = SIZE) -> np.ndarray[Any, Any]:
    """A round galaxy of a radius [px]: 0 to 1, (size, size)."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    return np.exp(-((x**2 + y**2) / (2 * radius**2)))


def content(labels: list[int], size: int = SIZE) -> dict[str, Any]:
    """Datasets: galaxies whose size tells their class."""
    draw = np.random.default_rng(3)
    n = len(labels)
    light = np.stack([disc(2 + label, size) for label in labels])[..., None] * [0.9, 0.6, 0.3]
    noisy = 255 * light + draw.normal(10, 3, (n, size, size, 3))
    return {
        "images": noisy.clip(0, 255).astype(np.uint8), "ans": np.array(labels, np.uint8),
        "ra": draw.uniform(0, 360, n), "dec": draw.uniform(-20, 30, n), "redshift": draw.uniform(0, 0.1, n),
        "pxscale": np.full(n, 0.262),
    }  # fmt: skip


def write(path: Path, datasets: dict[str, Any]) -> Path:
    """Write them."""
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path
