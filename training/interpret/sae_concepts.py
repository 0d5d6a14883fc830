"""What is shown of a concept: galaxies in which it is strong, where it is active on the mean, what it adds to the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.progress import Progress
from galcli.training.interpret.sae_atoms import Decoder
from galcli.training.interpret.sae_frames import Picture, mean_map
from galcli.training.interpret.sae_seen import Look, Sample, View

Singles = NDArray[np.float32]

#: Strongest galaxies that are shown, and galaxies over which maps are averaged at most.
STRONGEST, AVERAGED = 9, 64


@dataclass(frozen=True)
class Shown:
    """A concept in detail.

    Attributes
    ----------
    concept : int
    examples : list of Look
        The galaxies in which it is strongest, strongest first.
    mean : Picture
        Mean of its maps over galaxies in which it is active.
    averaged : int
        How many these are: all of them, or `AVERAGED` drawn evenly over the catalogue.
    kernel : ndarray (C, h, w), float32
        What it adds to the data, of norm 1; row 0 = south. A vector of channels where h = w = 1.
    bands : tuple of str
        Names of the C bands of images; none for inner maps.
    unit : str
        Of the frames.
    """

    concept: int
    examples: list[Look]
    mean: Picture
    averaged: int
    kernel: Singles
    bands: tuple[str, ...]
    unit: str


def show(
    view: View, sample: Sample, decoder: Decoder, concepts: Sequence[int], progress: Progress
) -> list[Shown]:  # fmt: skip
    """Look at galaxies that tell what concepts are about.

    Parameters
    ----------
    view : View
    sample : Sample
    decoder : Decoder
    concepts : sequence of int
        Each active in some galaxy.
    progress : Progress
        Counts the galaxies that are looked at.

    Raises
    ------
    InputError
        If the cutouts are gone since they were predicted.
    """
    strongest = {concept: _strongest(sample, concept) for concept in concepts}
    averaged = {concept: _spread(sample, concept) for concept in concepts}
    wanted = sorted({place for places in (*strongest.values(), *averaged.values()) for place in places})
    kept: dict[int, dict[int, Look]] = {concept: {} for concept in concepts}
    maps: dict[int, list[Picture]] = {concept: [] for concept in concepts}
    progress.note(f"{len(wanted):,} galaxies of {len(concepts)} concepts are looked at again")
    progress.start(len(wanted), 0)
    for look in view.look(sample, wanted, concepts, decoder.patch):
        progress.advance(1)
        for concept in concepts:
            own = look.maps[concept]
            if look.place in strongest[concept]:
                kept[concept][look.place] = replace(look, maps={concept: own})
            if look.place in averaged[concept] and look.scaled == sample.scaled:
                maps[concept].append(own)
    progress.finish()
    kernels = decoder.kernels(concepts) if concepts else np.zeros((0, 1, 1, 1), np.float32)
    kernels /= np.maximum(np.sqrt((kernels**2).sum((1, 2, 3), keepdims=True)), 1e-12)
    found = []
    for concept, kernel in zip(concepts, kernels, strict=True):
        if not maps[concept]:
            raise InputError(f"the galaxies of concept {concept} cannot be read again", "start the command again")
        examples = [kept[concept][place] for place in strongest[concept] if place in kept[concept]]
        unit = "arcsec" if sample.scaled else "px"
        found.append(Shown(concept, examples, mean_map(maps[concept]), len(maps[concept]), kernel, _bands(view), unit))
    return found


def _bands(view: View) -> tuple[str, ...]:
    """Bands of the data that are decoded; none of inner maps."""
    if not view.card.native:
        return ()
    return next(front.bands for front in view.card.fronts if front.name == view.front)


def _strongest(sample: Sample, concept: int) -> list[int]:
    """Places of the galaxies in which it is strongest."""
    values = sample.strength[:, concept]
    order = np.argsort(-values, kind="stable")[:STRONGEST]
    return [int(place) for place in order if values[place] > 0]


def _spread(sample: Sample, concept: int) -> set[int]:
    """Places of galaxies in which it is active, evenly over the catalogue."""
    where = np.flatnonzero(sample.strength[:, concept] > 0)
    if sample.scaled:
        known = where[np.isfinite(sample.said["dx"][where]).any(1)]
        where = known if len(known) else where
    return {
        int(place)
        for place in where[np.unique(np.linspace(0, len(where) - 1, min(AVERAGED, len(where))).round().astype(int))]
    }
