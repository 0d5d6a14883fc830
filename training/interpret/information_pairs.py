"""Pairs of inputs whose information about the mass is told apart: the published ones, and any that words name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from galcli.errors import UsageError
from galcli.sky.catalog import Catalog, open_catalog
from galcli.training.recipes.mass_columns import KNOWN, bind
from galcli.training.recipes.mass_columns import words as words_of
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import BANDS, EXTINCTION, INFRARED, MORPHOLOGY, OPTICAL, REDSHIFT, TARGET, Inputs
from galcli.training.survey import Reading

#: Words for sets of inputs.
GROUPS: dict[str, Inputs] = {
    "optical": Inputs(OPTICAL),
    "infrared": Inputs(INFRARED),
    "morphology": Inputs(MORPHOLOGY),
    "redshift": Inputs((REDSHIFT,)),
    "images": Inputs((), BANDS),
    "shapes": Inputs((), BANDS, True),
}
#: Photometric bands, blue to red: their magnitudes with the errors that are used.
PHOTOMETRY: dict[str, tuple[str, ...]] = {
    band: (f"petroMag_{band}", f"petroMagErr_{band}") for band in BANDS
} | {
    band: tuple(name for name in INFRARED if name.startswith(band)) for band in ("w1", "w2", "w3")
}  # fmt: skip
#: The word for all published pairs.
PUBLISHED_WORD = "published"
_BANDED = re.compile(r"(images|shapes|phot)\[(.*)\]")


@dataclass(frozen=True)
class Pair:
    """Two inputs.

    Attributes
    ----------
    names : (str, str)
        Words for them.
    first, second : Inputs
        Columns in one order however they are named, so that equal inputs share a network.
    group : str
        Of the published pairs; '': of none.
    """

    names: tuple[str, str]
    first: Inputs
    second: Inputs
    group: str = ""

    @property
    def name(self) -> str:
        """Both words."""
        return ":".join(self.names)

    @property
    def both(self) -> Inputs:
        """All inputs."""
        return _ordered(self.first | self.second)

    @property
    def parts(self) -> dict[str, Inputs]:
        """The three inputs, by what they are called."""
        return {self.names[0]: self.first, self.names[1]: self.second, "+".join(self.names): self.both}


def parse_pair(words: str, find: Callable[[str], str] | None = None, group: str = "") -> Pair:
    """A pair such as ``optical+redshift:images[gr]``.

    Parameters
    ----------
    words : str
        Two sides about a colon, each of a word, or of several joined by plus signs: `GROUPS`, catalogue columns,
        ``images[gr]``, ``shapes[g]`` (of normalised images) and ``phot[zw1]``.
    find : callable, optional
        Gives the catalogue's spelling of a column, or raises; without it columns are those of the mock survey.
    group : str

    Raises
    ------
    UsageError
        Naming the known words; or for images as they are together with normalised ones.
    """
    sides = [side.strip() for side in words.split(":")]
    if len(sides) != 2 or not all(sides):
        raise UsageError(f"{words!r} names no two inputs", "write them as FIRST:SECOND, such as optical:infrared")
    first, second = (_side(side, find or _of_the_mock) for side in sides)
    pair = Pair((sides[0], sides[1]), first, second, group)
    if first == second:
        raise UsageError(f"{words!r} names the same inputs twice", "name two that differ")
    _ = pair.both  # refuses what does not go together
    return pair


def pairs_of(words: Iterable[str], source: Source) -> tuple[Pair, ...]:
    """Pairs by words, each once; ``published`` stands for all of `PUBLISHED`.

    Parameters
    ----------
    words : iterable of str
    source : Source
        Its catalogue, if any, says which columns there are.

    Raises
    ------
    UsageError
        As ``parse_pair``.
    InputError
        If the catalogue cannot be read, or has no such column.
    """
    with contextlib.ExitStack() as stack:
        find = None
        if source.catalog is not None:
            find = _of_catalogue(stack.enter_context(_opened(source.catalog, source.reading)), source)
        found: dict[tuple[Inputs, Inputs], Pair] = {}
        for word in words:
            for pair in PUBLISHED if word == PUBLISHED_WORD else (parse_pair(word, find),):
                found.setdefault((pair.first, pair.second), pair)
    return tuple(found.values())


def has_redshifts(source: Source) -> bool:
    """Whether redshifts can be read, be they an input or not.

    Raises
    ------
    InputError
        If the catalogue cannot be read, or lacks a column that the user names.
    """
    if source.catalog is None:
        return True
    with _opened(source.catalog, source.reading) as catalog:
        return REDSHIFT in words_of(catalog, source.mapped, source.target)


def networks(pairs: Sequence[Pair]) -> dict[Inputs, str]:
    """Inputs of all networks that pairs need, each once, by the words that name them first; small ones first."""
    found: dict[Inputs, str] = {}
    for pair in pairs:
        for name, inputs in pair.parts.items():
            found.setdefault(inputs, name)
    return dict(sorted(found.items(), key=lambda item: (item[0].images, len(item[0].columns))))


def _opened(path: Path, how: Reading) -> contextlib.closing[Catalog]:
    return contextlib.closing(open_catalog(path, how.hdu, how.id_column, how.ra_column, how.dec_column))


def _side(words: str, find: Callable[[str], str]) -> Inputs:
    inputs = Inputs()
    for word in words.split("+"):
        inputs = inputs | _one(word.strip(), find)
    return _ordered(inputs)


def _one(word: str, find: Callable[[str], str]) -> Inputs:
    if word in GROUPS:
        return GROUPS[word]
    banded = _BANDED.fullmatch(word)
    if banded is None:
        return Inputs((_spelled(find(word)),))
    kind, bands = banded.groups()
    if kind == "phot":
        named = re.findall("|".join(PHOTOMETRY), bands)
        if not bands or "".join(named) != bands:
            raise UsageError(f"{word!r} names unknown bands", f"photometry has {', '.join(PHOTOMETRY)}: phot[zw1]")
        return Inputs(tuple(column for band in named for column in PHOTOMETRY[band]))
    if not bands or set(bands) - set(BANDS):
        raise UsageError(f"{word!r} names unknown bands", f"images have {', '.join(BANDS)}: {kind}[gr]")
    return Inputs((), "".join(band for band in BANDS if band in bands), kind == "shapes")


def _spelled(column: str) -> str:
    """A column as this house writes it, where it is a known one."""
    return next((name for name in KNOWN if name.lower() == column.lower()), column)


def _of_the_mock(word: str) -> str:
    column = _spelled(word)
    if column not in KNOWN or column in (TARGET, EXTINCTION):
        told = [
            *GROUPS,
            "images[gr]",
            "shapes[g]",
            "phot[zw1]",
            *(name for name in KNOWN if name not in (TARGET, EXTINCTION)),
        ]
        raise UsageError(f"unknown input {word!r}", f"known: {', '.join(told)}")
    return column


def _of_catalogue(catalog: Catalog, source: Source) -> Callable[[str], str]:
    """Finds columns of a catalogue but for the mass itself, and the extinction that every network sees."""
    known = {word.lower(): name for word, name in words_of(catalog, source.mapped, source.target).items()}

    def find(word: str) -> str:
        column = known.get(word.lower())
        if column == EXTINCTION or word.lower() == source.target.lower():
            raise UsageError(
                f"{word!r} is no input of its own", "the mass is what is estimated; every network sees E(B-V)"
            )
        if column is None and _spelled(word) in KNOWN:
            bind(catalog, (_spelled(word),), source.mapped)  # tells what it was looked for as, or what is wrong with it
        return catalog.find(word) if column is None else column

    return find


def _ordered(inputs: Inputs) -> Inputs:
    """Columns in the order of `KNOWN`, others after them."""
    place = {name: number for number, name in enumerate(KNOWN)}
    columns = sorted(dict.fromkeys(inputs.columns), key=lambda name: (place.get(name, len(place)), name))
    return Inputs(tuple(columns), inputs.bands, inputs.normalised)


def _published() -> tuple[Pair, ...]:
    groups: dict[str, list[str]] = {
        "sets of inputs": [
            "optical:shapes", "optical:morphology", "optical:infrared", "images:infrared", "images+infrared:redshift",
        ],
        "single bands of images": _against_others("images", list(BANDS), 1),
        "adjacent bands of images": _against_others("images", list(BANDS), 2),
        "single photometric bands": _against_others("phot", list(PHOTOMETRY), 1),
        "adjacent photometric bands": _against_others("phot", list(PHOTOMETRY), 2),
    }  # fmt: skip
    return tuple(parse_pair(words, None, group) for group, several in groups.items() for words in several)


def _against_others(kind: str, bands: list[str], width: int) -> list[str]:
    """Each run of some bands against all others."""
    found = []
    for start in range(len(bands) - width + 1):
        chosen = bands[start : start + width]
        others = [band for band in bands if band not in chosen]
        found.append(f"{kind}[{''.join(chosen)}]:{kind}[{''.join(others)}]")
    return found


#: The 29 pairs of models.md 2.5.
PUBLISHED: tuple[Pair, ...] = _published()
