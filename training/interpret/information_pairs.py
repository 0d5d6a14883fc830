"""Pairs of inputs whose information about the mass is told apart: the published ones, and any that words name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from galcli.training.recipes.mass_columns import words as words_of
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import BANDS, REDSHIFT, Inputs
from galcli.training.recipes.mass_words import (
    PHOTOMETRY,
    Find,
    finding,
    mock_column,
    not_two,
    opened,
    ordered,
    parse_parts,
)

#: The word for all published pairs.
PUBLISHED_WORD = "published"


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
        return ordered(self.first | self.second)

    @property
    def parts(self) -> dict[str, Inputs]:
        """The three inputs, by what they are called."""
        return {self.names[0]: self.first, self.names[1]: self.second, "+".join(self.names): self.both}


def parse_pair(words: str, find: Find = mock_column, group: str = "") -> Pair:
    """A pair such as ``optical+redshift:images[gr]``.

    Parameters
    ----------
    words : str
        Two sides about a colon, as ``parse_parts`` reads them.
    find : callable
        Of ``mass_words.finding``.
    group : str

    Raises
    ------
    UsageError
        As ``parse_parts``.
    """
    parts = parse_parts(words, find)
    if parts.second is None:
        raise not_two(words)
    first, second = parts.names
    return Pair((first, second), parts.first, parts.second, group)


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
    found: dict[tuple[Inputs, Inputs], Pair] = {}
    with finding(source) as find:
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
    with opened(source) as catalog:
        return REDSHIFT in words_of(catalog, source.mapped, source.target)


def networks(pairs: Sequence[Pair]) -> dict[Inputs, str]:
    """Inputs of all networks that pairs need, each once, by the words that name them first; small ones first."""
    found: dict[Inputs, str] = {}
    for pair in pairs:
        for name, inputs in pair.parts.items():
            found.setdefault(inputs, name)
    return dict(sorted(found.items(), key=lambda item: (item[0].images, len(item[0].columns))))


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
    return tuple(parse_pair(words, group=group) for group, several in groups.items() for words in several)


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
