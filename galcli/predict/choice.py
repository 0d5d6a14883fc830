"""Which models a run has: those asked for, or every default one that the cutouts fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from galcli.cutouts.batch import CutoutSource
from galcli.errors import InputError, ModelError, UsageError
from galcli.models import library
from galcli.models.card import Card
from galcli.models.fronts import choose_front
from galcli.models.library import ModelFile
from galcli.predict.feeding import backbone_file
from galcli.predict.options import PredictOptions


@dataclass(frozen=True)
class Choice:
    """A model that works on cutouts, and those that name it as their backbone.

    Attributes
    ----------
    model : ModelFile
    fed : tuple of ModelFile
        In the order in which they were asked for.
    front : int
        Index of the card's front that the run uses.
    """

    model: ModelFile
    fed: tuple[ModelFile, ...] = ()
    front: int = 0


def asked_model(name: str, precision: str) -> ModelFile:
    """A model that the user names, in the precision asked for.

    A model with a backbone has no int8 twin: it and its backbone stay as they are beside int8.

    Raises
    ------
    ModelError
        As `library.find` does.
    """
    if precision == "int8":
        model = library.find(name)
        if model.card.backbone is not None:
            return model
    return library.find(name, precision)


def candidates(options: PredictOptions) -> list[Choice]:
    """The models asked for or, where none is, the default ones; each backbone once, where its name or need comes first.

    Raises
    ------
    ModelError
        If a model or its backbone cannot be found.
    """
    named = [asked_model(name, options.precision) for name in options.models]
    models = named or library.default_models(options.precision)
    on_pixels = [model for model in models if model.card.backbone is None]
    found: list[Choice] = []
    brought: set[str] = set()  # backbones that are there before they are asked for themselves
    for model in models:
        link = model.card.backbone
        if link is None:
            if model.sha256 not in brought:
                found.append(Choice(model))
            brought.discard(model.sha256)
            continue
        backbone = backbone_file(model, link, on_pixels)
        place = next((i for i, one in enumerate(found) if one.model.sha256 == backbone.sha256), len(found))
        if place == len(found):
            found.append(Choice(backbone))
            brought.add(backbone.sha256)
        found[place] = replace(found[place], fed=(*found[place].fed, model))
    return found


def choose(options: PredictOptions, source: CutoutSource, wanted: list[Choice]) -> list[Choice]:
    """The models asked for (a misfit is an error), or every default model that fits, with their fronts.

    Raises
    ------
    InputError, ModelError, UsageError
        If a model that was asked for does not fit the cutouts, or no default model does.
    """
    asked = bool(options.models)
    fronts = dict.fromkeys(front.name for one in wanted for front in one.model.card.fronts)
    if fronts and options.front is not None and options.front not in fronts:
        raise UsageError(f"no model has a front {options.front!r}", f"their fronts are {', '.join(fronts)}")
    chosen, misfits = [], []
    for one in wanted:
        card = one.model.card
        if card.columns or card.inputs:
            misfits.append(
                f"{one.model.name} wants catalogue columns, which this version does not feed" if card.columns else
                f"{one.model.name} is fed by another model, not by cutouts"
            )  # fmt: skip
            continue
        try:
            front = choose_front(card, source.kind, source.bands, source.survey, options.front)
        except (InputError, UsageError) as error:
            if asked:
                raise
            misfits.append(error.message)
        else:
            chosen.append(replace(one, front=front))
    if asked and misfits:
        raise ModelError(
            misfits[0], "use a model that works on pixels; it runs those that it feeds (see `galcli models list`)"
        )
    if not chosen and not misfits:
        raise ModelError(
            "no model is installed with this galcli", "name a model file with --model PATH, or install galcli again"
        )
    if not chosen:
        raise InputError(
            f"no default model fits these cutouts ({source.describe()}): " + "; ".join(misfits),
            f"{'check --bands' if options.bands else 'give cutouts with these bands'}, "
            "or choose a model with --model (see `galcli models list`)",
        )
    return chosen


def without_blind(chosen: list[Choice], source: CutoutSource, note: Callable[[str], None]) -> list[Choice]:
    """Default models that the cutouts are large enough for; all of them where none is."""
    seeing = [one for one in chosen if not _blindness(one.model.card, source)]
    if not seeing:
        return told_of_blind(chosen, source, note)
    for one in chosen:
        if why := _blindness(one.model.card, source):
            note(f"note: without {one.model.name}, which {why}")
    return seeing


def told_of_blind(chosen: list[Choice], source: CutoutSource, note: Callable[[str], None]) -> list[Choice]:
    """The models asked for; those that the cutouts are too small for are named."""
    for one in chosen:
        if why := _blindness(one.model.card, source):
            note(f"note: {one.model.name} {why}: rows with so small ones get no prediction")
    return chosen


def _blindness(card: Card, source: CutoutSource) -> str:
    """Why the first cutouts are too small for a model; '' where they are not, and where it is unknown."""
    if card.least_side is not None and source.side < card.least_side:
        return f"takes no cutouts below {card.least_side} px; the first cutouts have {source.side} px"
    # Pixels at the edge count where half of them is covered.
    shown = min(1.0, (source.field + (card.pixel_scale or 0)) / card.field) ** 2 if card.field else 1.0
    if shown < 1 - card.max_masked:
        return f"sees {card.field:.3g} arcsec; the first cutouts show {source.field:.3g} arcsec"
    return ""


def tell_of_float32(chosen: Sequence[Choice], note: Callable[[str], None]) -> None:
    """Name the models that stay in float32 although int8 was asked for."""
    whole = [one.model.name for one in chosen if one.model.card.precision != "int8" and not one.fed]
    whole += [model.name for one in chosen for model in one.fed]
    if whole:
        note(f"note: computed in float32, for want of an int8 twin: {', '.join(whole)}")
    for one in chosen:
        if one.fed:
            names = ", ".join(model.name for model in one.fed)
            note(f"note: computed in float32, as the backbone of {names}: {one.model.name}")
