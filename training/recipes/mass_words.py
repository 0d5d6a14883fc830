"""Words for what the stellar mass is estimated from: groups, columns of a catalogue, and bands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from galcli.errors import UsageError
from galcli.sky.catalog import Catalog, open_catalog
from galcli.training.recipes.mass_columns import KNOWN, bind, words
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import (
    BANDS,
    EXTINCTION,
    INFRARED,
    MORPHOLOGY,
    OPTICAL,
    REDSHIFT,
    SETS,
    TARGET,
    Inputs,
    Parts,
)

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
_BANDED = re.compile(r"(images|shapes|phot)\[(.*)\]")
#: Gives the spelling of a column, or raises.
Find = Callable[[str], str]


def parts_of(told: str, source: Source) -> Parts:
    """Inputs of a model: a published set (`SETS`), or any by words.

    Parameters
    ----------
    told : str
        As ``parse_parts`` reads them.
    source : Source
        Its catalogue, if any, says which columns there are.

    Raises
    ------
    UsageError
        As ``parse_parts``.
    InputError
        If the catalogue cannot be read, or has no such column.
    """
    if told in SETS:
        return SETS[told]
    with finding(source) as find:
        return parse_parts(told, find)


def parse_parts(told: str, find: Find) -> Parts:
    """Inputs such as ``optical+redshift``, or two such as ``optical+redshift:images[gr]``.

    Parameters
    ----------
    told : str
        A side, or two about a colon; each is a word, or several joined by plus signs: `GROUPS`, catalogue columns,
        ``images[gr]``, ``shapes[g]`` (of normalised images) and ``phot[zw1]``.
    find : callable
        Of ``finding``.

    Returns
    -------
    Parts
        Columns in one order however they are named, so that equal inputs share a network.

    Raises
    ------
    UsageError
        Naming the known words; or for images as they are together with normalised ones.
    """
    names = tuple(side.strip() for side in told.split(":"))
    if len(names) > 2 or (len(names) == 2 and not all(names)):
        raise not_two(told)
    first, *rest = (_side(name, find) for name in names)
    parts = Parts(first, rest[0] if rest else None, names)
    if first in rest:
        raise UsageError(f"{told!r} names the same inputs twice", "name two that differ")
    _ = parts.both  # refuses what does not go together
    return parts


def not_two(told: str) -> UsageError:
    """What is said of words that name no two inputs."""
    return UsageError(f"{told!r} names no two inputs", "write them as FIRST:SECOND, such as optical:infrared")


def spell(inputs: Inputs) -> str:
    """Words that ``parse_parts`` reads as some inputs."""
    images = f"{'shapes' if inputs.normalised else 'images'}[{inputs.bands}]"
    return "+".join([*inputs.columns, *([images] if inputs.images else [])])


def ordered(inputs: Inputs) -> Inputs:
    """Columns in the order of `KNOWN`, others after them."""
    place = {name: number for number, name in enumerate(KNOWN)}
    columns = sorted(dict.fromkeys(inputs.columns), key=lambda name: (place.get(name, len(place)), name))
    return Inputs(tuple(columns), inputs.bands, inputs.normalised)


@contextlib.contextmanager
def finding(source: Source) -> Iterator[Find]:
    """Finds columns of a source, of the mock survey where it has no catalogue.

    Raises
    ------
    InputError
        If the catalogue cannot be read, or lacks a column that the user names.
    """
    if source.catalog is None:
        yield mock_column
        return
    with opened(source) as catalog:
        yield _of_catalogue(catalog, source)


def opened(source: Source) -> contextlib.closing[Catalog]:
    """The catalogue of a source that has one."""
    how = source.reading
    assert source.catalog is not None
    return contextlib.closing(open_catalog(source.catalog, how.hdu, how.id_column, how.ra_column, how.dec_column))


def mock_column(word: str) -> str:
    """Spelling of a column of the mock survey.

    Raises
    ------
    UsageError
        Naming the known words.
    """
    column = _spelled(word)
    known = [name for name in KNOWN if name not in (TARGET, EXTINCTION)]
    if column not in known:
        told = [*GROUPS, "images[gr]", "shapes[g]", "phot[zw1]", *known]
        raise UsageError(f"unknown input {word!r}", f"known: {', '.join(told)}")
    return column


def _of_catalogue(catalog: Catalog, source: Source) -> Find:
    """Finds columns of a catalogue but for the mass itself, and the extinction that every network sees."""
    known = {word.lower(): name for word, name in words(catalog, source.mapped, source.target).items()}

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


def _side(told: str, find: Find) -> Inputs:
    inputs = Inputs()
    for word in told.split("+"):
        inputs = inputs | _one(word.strip(), find)
    return ordered(inputs)


def _one(word: str, find: Find) -> Inputs:
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
