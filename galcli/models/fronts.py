"""Choosing how pixels enter a model: once per run and model, from what the source declares."""

from __future__ import annotations

from galcli.errors import InputError, UsageError
from galcli.models.card import Card, Front


def choose_front(card: Card, kind: str, bands: tuple[str, ...], survey: str = "", override: str | None = None) -> int:
    """Pick the front of a model that fits a cutout source.

    A front that names the source's survey comes first, then the first in the card's order whose kind and bands fit.

    Parameters
    ----------
    card : Card
    kind : {'flux', 'display'}
        Kind of the source's pixels.
    bands : tuple of str
        Bands the source declares.
    survey : str
        Survey the source declares, lower case; '' where it names none. ``legacysurvey`` is a ``legacy`` survey.
    override : str, optional
        Name of the front the user wants.

    Returns
    -------
    int
        Position of the front in the card, which is the value of the graph's ``front`` input.

    Raises
    ------
    UsageError
        If the model has no front of the name given.
    InputError
        If no front (or not the one given) fits the source.
    """
    names = [front.name for front in card.fronts]
    if override is not None:
        if override not in names:
            raise UsageError(f"{card.name} has no front {override!r}", f"it has {', '.join(names) or 'none'}")
        if not _fits(card.fronts[names.index(override)], kind, bands):
            raise _refusal(card, [override], kind, bands)
        return names.index(override)
    fitting = [number for number, front in enumerate(card.fronts) if _fits(front, kind, bands)]
    if not fitting:
        raise _refusal(card, names, kind, bands)
    return next((number for number in fitting if _prefers(card.fronts[number], survey)), fitting[0])


def _fits(front: Front, kind: str, bands: tuple[str, ...]) -> bool:
    return front.kind == kind and set(front.bands) <= set(bands)


def _prefers(front: Front, survey: str) -> bool:
    return any(survey.lower().startswith(name) for name in front.surveys)


def _refusal(card: Card, names: list[str], kind: str, bands: tuple[str, ...]) -> InputError:
    lacking = [
        (front.name, [band for band in front.bands if band not in bands])
        for front in card.fronts
        if front.name in names and front.kind == kind
    ]
    nearest = min(lacking, key=lambda entry: len(entry[1]), default=None)
    return InputError(
        f"{card.name} needs {' or '.join(names) or 'no pixels'}; the cutouts are {kind} in {', '.join(bands)}"
        + (f"; {nearest[0]} lacks {', '.join(nearest[1])}" if nearest else ""),
        "give cutouts with the bands of the model, or choose another one (see `galcli models list`)",
    )
