"""Galaxies in the representation of a network for stellar mass, and who is near to whom in it (models.md 2.3, 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.errors import InputError, ModelError
from galcli.models import library
from galcli.models.card import Card
from galcli.models.library import ModelFile
from galcli.models.session import Session
from galcli.progress import Progress
from galcli.training.interpret.causal_variables import Choice, Variable
from galcli.training.interpret.dependence import CELL
from galcli.training.interpret.neighbours import Rows, nearest
from galcli.training.recipes.mass_columns import KNOWN, bind
from galcli.training.recipes.mass_data import TEST, TRAIN, Galaxies, Source, batches, gather
from galcli.training.recipes.mass_plan import BANDS, FRONT, GRID, REDSHIFT, SETS, Inputs
from galcli.training.recipes.mass_words import opened, spell

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]
#: The output that is the representation s.
LATENT = "scl_latent"
#: Mock galaxies by default, of columns alone and with images, and a seed of theirs that no network is trained with by
#: default.
OBJECTS, IMAGES, SEED = 20_000, 5_000, 8
_BATCH = 256


@dataclass(frozen=True)
class Sample:
    """Galaxies of two kinds: the pool, among which neighbours are found, and those that are tested.

    Attributes
    ----------
    model : ModelFile
    galaxies : Galaxies
    choice : Choice
    pool : ndarray (T,), int64
        Rows of the galaxies, those of the training part.
    tested : ndarray (N,), int64
        Rows of the test part, perhaps with those of the pool.
    s : ndarray (T, m), float32
        Representation of the pool; NaN where an input that the network needs is missing.
    near : ndarray (N, k), int64
        Places in the pool, from near to far; -1 where there are fewer (`neighbours.nearest`).
    learned : {'pool', 'perhaps', 'none'}
        Which of them the network has learned from: the pool, nobody knows how many, or none.
    """

    model: ModelFile
    galaxies: Galaxies
    choice: Choice
    pool: Rows
    tested: Rows
    s: Singles
    near: Rows
    learned: Literal["pool", "perhaps", "none"]

    @property
    def mass(self) -> Doubles:
        """log10 of the masses (T,) of the pool."""
        return self.galaxies.target[self.pool].astype(np.float64)

    def pooled(self, variable: Variable) -> Doubles:
        """Values (T,) of a variable of the pool."""
        return variable.of(self.galaxies.columns)[self.pool]

    @property
    def redshift(self) -> Singles | None:
        """Redshifts (N,) of the tested galaxies, where any is known."""
        known = self.galaxies.columns.get(REDSHIFT)
        return None if known is None or not np.isfinite(known[self.tested]).any() else known[self.tested]

    @property
    def fewest(self) -> int:
        """Neighbours of the galaxy that has fewest; galaxies without a representation have none and do not count."""
        found = (self.near >= 0).sum(1)
        return int(found[found > 0].min(initial=self.near.shape[1]))


@dataclass(frozen=True)
class Looking:
    """How galaxies are looked at.

    Attributes
    ----------
    neighbours : int
        k.
    everyone : bool
        Galaxies of the pool are tested too, as published.
    include_self : bool
        And each of them is its own nearest neighbour, as published.
    device : str
    threads : int
        0: all cores.
    """

    neighbours: int = 100
    everyone: bool = False
    include_self: bool = False
    device: str = "auto"
    threads: int = 0


def find_model(name: str) -> ModelFile:
    """A model with a representation that catalogue columns or mass images give.

    Raises
    ------
    ModelError
        With the command that trains one.
    """
    model = library.find(name)
    card = model.card
    if not any(output.tensor == LATENT for output in card.outputs):
        raise ModelError(
            f"{model.path}: it has no representation of the contrastive stage (output {LATENT})",
            f"train one with `galcli train mass --inputs {_words_for(card)} --contrastive`",
        )
    if not card.columns or (card.fronts and (card.fronts[0].name != FRONT or card.size != (GRID[0], GRID[0]))):
        raise ModelError(
            f"{model.path}: its inputs are not those of `galcli train mass`",
            "give a model file of `galcli train mass --contrastive`",
        )
    return model


def see(
    model: ModelFile, choice: Choice, source: Source, looking: Looking, extra: Sequence[str], progress: Progress
) -> Sample:
    """Gather the galaxies, let the network tell their representation, and find their neighbours.

    Parameters
    ----------
    model : ModelFile
        As ``find_model`` gives it.
    choice : Choice
    source : Source
    looking : Looking
    extra : sequence of str
        Further columns that are read.
    progress : Progress

    Raises
    ------
    InputError
        If the survey cannot be used, or too few galaxies have a representation.
    Interrupted
        After a signal.
    """
    names = tuple(column.name for column in model.card.columns)
    absent = _absent(model.card, source, progress)
    read = tuple(name for name in dict.fromkeys([*names, *choice.columns, *extra]) if name not in absent)
    images = bool(model.card.fronts)
    galaxies = gather(Inputs(read, BANDS if images else ""), IMAGES if images else OBJECTS, source)
    nothing = dict.fromkeys(absent, np.full(len(galaxies), np.nan, np.float32))
    galaxies = replace(galaxies, columns=galaxies.columns | nothing)
    pool, tested = galaxies.rows(TRAIN), galaxies.rows(TEST)
    if looking.everyone:
        tested = np.sort(np.concatenate([pool, tested]))
    rows = np.union1d(pool, tested)
    s = np.full((len(galaxies), _width(model.card)), np.nan, np.float32)
    s[rows] = _latents(model, galaxies, rows, looking, progress)
    usable = int(np.isfinite(s[pool]).all(1).sum())
    if usable < 2 * CELL or not np.isfinite(s[tested]).all(1).any():
        raise InputError(
            f"{usable} of {len(pool)} galaxies of {galaxies.name} to compare with have the inputs of {model.card.name}",
            f"give more galaxies with {', '.join(names)} and a mass",
        )
    itself = None
    if looking.everyone and not looking.include_self:
        place = np.full(len(galaxies), -1, np.int64)
        place[pool] = np.arange(len(pool))
        itself = place[tested]
    near = nearest(s[tested], s[pool], looking.neighbours, itself)
    return Sample(model, galaxies, choice, pool, tested, s[pool], near, _learned(model.card, galaxies, names, source))


def _absent(card: Card, source: Source, progress: Progress) -> tuple[str, ...]:
    """Columns that the catalogue lacks and the network, by its card, does without."""
    if source.catalog is None:
        return ()
    names = tuple(column.name for column in card.columns)
    optional = {column.name for column in card.columns if column.missing == "nan"}
    with opened(source) as catalog:
        bound = bind(catalog, names, source.mapped, optional)
    if absence := bound.absence(card.name):
        progress.note(absence)
    return bound.absent


def _latents(model: ModelFile, galaxies: Galaxies, rows: Rows, looking: Looking, progress: Progress) -> Singles:
    """Representation (n, m) of some rows, NaN where an input that may not be missing is."""
    session = Session(model, looking.device, threads=looking.threads)
    names = tuple(column.name for column in model.card.columns)
    needed = [number for number, column in enumerate(model.card.columns) if column.missing == "null"]
    parts = []
    progress.start(len(rows), 0)
    for batch in batches(galaxies, names, rows, _BATCH):
        interrupts.check()
        feeds = {"columns": batch.columns.numpy()}
        if model.card.fronts:
            feeds |= {"pixels": batch.pixels.numpy(), "valid": batch.valid.numpy(), "front": batch.front.numpy()}
        s = session.run(feeds, [LATENT])[LATENT].astype(np.float32)
        s[~np.isfinite(feeds["columns"][:, needed]).all(1)] = np.nan
        parts.append(s)
        progress.advance(len(s))
    progress.finish()
    return np.concatenate(parts)


def _width(card: Card) -> int:
    return next(output.shape[0] for output in card.outputs if output.tensor == LATENT)


def _learned(
    card: Card, galaxies: Galaxies, names: tuple[str, ...], source: Source
) -> Literal["pool", "perhaps", "none"]:  # fmt: skip
    """Which galaxies the network has learned from, as far as its card tells."""
    if card.training.details.get("learned") == galaxies.digest(names):
        return "pool"
    if galaxies.mock and card.training.mock and source.catalog is None:
        return "perhaps" if card.training.seed == source.seed else "none"  # another split of galaxies of the same seed
    return "perhaps" if card.training.data == galaxies.name else "none"


def _words_for(card: Card) -> str:
    """Words for the inputs of a card as ``galcli train mass`` takes them; for others those of the shipped model."""
    columns = tuple(column.name for column in card.columns)
    for word, parts in SETS.items():
        if parts.both.needed == columns and parts.both.images == bool(card.fronts):
            return word
    told = card.training.details.get("inputs")
    if told is None:
        return "optical+ir"
    inputs = Inputs(tuple(told["columns"]), told["bands"], told["normalised"])
    survey = "" if set(inputs.columns) <= set(KNOWN) else f" --catalog {card.training.data}"
    return f"{spell(inputs)}{survey}"
