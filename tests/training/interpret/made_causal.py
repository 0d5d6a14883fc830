"""A model file whose representation is its inputs, and catalogues of planted galaxies for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper

from galcli.training.mock import planted
from tests.survey import write_catalog
from tests.tiny_models import NO_PIXELS, card_of, input_column, output, save

LATENTS = ("P1", "P2", "P3", "P4")
#: The mass from the planted target, so that it stays within what masses may be.
MIDDLE, SCALE = 9.25, 0.4
SENTINEL = -9999.0


def write_identity(path: Path, columns: Sequence[str] = LATENTS, missing: str = "null", **more: Any) -> Path:
    """The representation is the columns as they are, 0 where one is missing."""
    nodes = [
        helper.make_node("IsNaN", ["columns"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "columns"], ["scl_latent"]),
    ]
    wide = len(columns)
    told = [output("scl_latent", "SCL_LATENT", shape=(wide,))]
    card = card_of(path.stem, "IDT", told, **NO_PIXELS | {
        "columns": [input_column(name, "value", low=-9000.0, high=9000.0, missing=missing) for name in columns]} | more)  # fmt: skip
    tensors = {"scl_latent": (TensorProto.FLOAT, [wide])}
    return save(path, nodes, tensors, {"zero": np.array(0, np.float32)}, card)


def table(count: int, seed: int) -> dict[str, np.ndarray]:
    """Planted galaxies with masses, redshifts and positions."""
    drawn = planted.table(count, torch.Generator().manual_seed(seed))
    found = {name: values.numpy() for name, values in drawn.items()}
    found["lgm_tot_p50"] = MIDDLE + SCALE * found.pop("Y")
    random = np.random.default_rng(seed)
    found["EBV"], found["Z"] = random.uniform(0.01, 0.1, count), random.uniform(0.02, 0.3, count)
    found["RA"], found["DEC"] = random.uniform(0, 360, count), random.uniform(-60, 60, count)
    return found


def write_table(path: Path, **columns: np.ndarray) -> Path:
    """A catalogue of them."""
    return write_catalog(path, OBJECT_ID=np.arange(len(columns["RA"])) + 10, **columns)
