"""Galaxies whose columns tell known amounts of information about a mass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from galcli.training.interpret.information_runs import Training, informed
from galcli.training.mock import planted
from galcli.training.mock.planted import MIDDLE, SCALE
from galcli.training.recipes.mass_data import TEST, TRAIN, VALIDATION, Galaxies, Source
from galcli.training.recipes.mass_plan import EXTINCTION, MASSES

VALIDATED = 256


def galaxies_of(table: dict[str, Tensor], learned: int) -> Galaxies:
    """Galaxies with all columns of a table but Y, which becomes the mass; the last ones are tested.

    E(B-V), which every network sees, is the same for all.
    """
    mass = (MIDDLE + SCALE * table["Y"]).float().numpy()
    assert MASSES[0] < mass.min()
    assert mass.max() < MASSES[1]
    part = np.full(len(mass), TEST, np.int8)
    part[:learned], part[learned : learned + VALIDATED] = TRAIN, VALIDATION
    columns = {name: values.float().numpy() for name, values in table.items() if name != "Y"}
    columns[EXTINCTION] = np.zeros(len(mass), np.float32)
    return Galaxies(columns, mass, part, None, True, "planted galaxies")


def planted_galaxies(learned: int, tested: int, seed: int = 77) -> Galaxies:
    """Galaxies of the planted table."""
    table = planted.table(learned + VALIDATED + tested, torch.Generator().manual_seed(seed))
    return galaxies_of({name: table[name] for name in ("P1", "P2", "P3", "P4", "P5", "P6", "Y")}, learned)


def gaussian_galaxies(learned: int, tested: int, seed: int = 3) -> Galaxies:
    """Galaxies with Y = X1 + 0.5 X2 + noise, all standard normal."""
    draw = torch.randn(3, learned + VALIDATED + tested, generator=torch.Generator().manual_seed(seed))
    return galaxies_of({"X1": draw[0], "X2": draw[1], "Y": draw[0] + 0.5 * draw[1] + draw[2]}, learned)


def training_of(folder: Path, epochs: float, rate: float = 2e-3, batch: int = 128, processes: int = 1) -> Training:
    """Few steps over many galaxies, each seen about once: nothing is learned by heart."""
    plan = replace(informed("quick"), batch=(batch, 64), lr=(rate, rate))
    return Training(folder, Source(folder, 0), "quick", plan, epochs, "cpu", processes)
