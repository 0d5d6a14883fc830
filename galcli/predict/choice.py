"""Which models a run has: those asked for, or every default one that cutouts and catalogue fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from galcli.cutouts.batch import CutoutSource
from galcli.cutouts.none import NoCutouts
from galcli.cutouts.resolve import FIELD, find_source
from galcli.errors import InputError, ModelError, NoCutoutsError, UsageError
from galcli.models import library
from galcli.models.card import Card
from galcli.models.columns import CatalogColumns, bind_columns
from galcli.models.fronts import choose_front
from galcli.models.library import ModelFile
from galcli.predict.feeding import backbone_file
from galcli.predict.options import PredictOptions
from galcli.sky.catalog import Catalog


@dataclass(frozen=True)
class Choice:
    """A model that works on cutouts or catalogue columns, and those that name it as their backbone.

    Attributes
    ----------
    model : ModelFile
    fed : tuple of ModelFile
        In the order in which they were asked for.
    front : int
        Index of the card's front that the run uses.
    wants : CatalogColumns or None
        The catalogue columns that it takes.
    """

    model: ModelFile
    fed: tuple[ModelFile, ...] = ()
    front: int = 0
    wants: CatalogColumns | None = None

    @property
    def sees(self) -> bool:
        """Whether it takes pixels."""
        return bool(self.model.card.fronts)


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


def find_cutouts(
    options: PredictOptions, catalog: Catalog, wanted: list[Choice], note: Callable[[str], None]
) -> tuple[CutoutSource, NoCutoutsError | None]:
    """The cutouts, where a model takes pixels; where none are found, default models of columns alone may do without.

    Returns
    -------
    source : CutoutSource
    why : NoCutoutsError or None
        What was looked for, where nothing was found.

    Raises
    ------
    InputError
        As `find_source` does.
    """
    if wanted and not any(one.sees for one in wanted):
        if options.cutouts is not None or options.bricks is not None:
            note("note: no model at work takes pixels: the cutouts are not looked at")
        return NoCutouts(), None
    try:
        source = find_source(
            catalog, options.cutouts, bands=options.bands, zeropoint=options.zeropoint, pixel_scale=options.pixel_scale,
            bricks=options.bricks, field=max((one.model.card.field for one in wanted), default=0.0) or FIELD, note=note,
        )  # fmt: skip
    except NoCutoutsError as error:
        if options.models or not any(_on_columns(one) for one in wanted):
            raise
        return NoCutouts(), error
    return source, None


def choose(
    options: PredictOptions, catalog: Catalog, source: CutoutSource, wanted: list[Choice],
    note: Callable[[str], None], why: NoCutoutsError | None = None,
) -> list[Choice]:  # fmt: skip
    """The models asked for (a misfit is an error), or every default model that fits, with their fronts and columns.

    Default models that need no pixels run only where there are no cutouts, ``why`` telling what was looked for.

    Raises
    ------
    InputError, ModelError, UsageError
        If a model that was asked for does not fit cutouts and catalogue, or no default model does.
    """
    _require_front(options, wanted)
    mapped = _mapped(options, wanted)
    asked = bool(options.models)
    if not asked:
        wanted = [one for one in wanted if _on_columns(one) == isinstance(source, NoCutouts)]
    chosen: list[Choice] = []
    misfits: list[str] = []
    lacking: list[str] = []
    for one in wanted:
        card = one.model.card
        if card.inputs:
            misfits.append(f"{one.model.name} is fed by another model, not by cutouts")
            if asked:
                hint = "use a model that works on pixels; it runs those that it feeds (see `galcli models list`)"
                raise ModelError(misfits[0], hint)
            continue
        told = misfits
        try:
            front = choose_front(card, source.kind, source.bands, source.survey, options.front) if one.sees else 0
            told = lacking
            wants = bind_columns(card, catalog, mapped) if card.columns else None
        except (InputError, UsageError) as error:
            if asked or any(column.name.upper() in mapped for column in card.columns):
                raise  # whoever names a column of a model wants that model
            told.append(error.message)
        else:
            chosen.append(replace(one, front=front, wants=wants))
    if not chosen:
        raise _nothing_fits(options, source, [*misfits, *lacking], why)
    for message in lacking:
        note(f"note: a default model is left out: {message}")
    if why is not None:
        names = ", ".join(one.model.name for one in chosen)
        note(f"note: {why.message}; so only models of catalogue columns run: {names}")
    return chosen


def _on_columns(one: Choice) -> bool:
    """Whether a model needs the catalogue and nothing else."""
    return bool(one.model.card.columns) and not one.sees


def _require_front(options: PredictOptions, wanted: list[Choice]) -> None:
    fronts = dict.fromkeys(front.name for one in wanted for front in one.model.card.fronts)
    if wanted and options.front is not None and options.front not in fronts:
        raise UsageError(f"no model has a front {options.front!r}", f"their fronts are {', '.join(fronts) or 'none'}")


def _mapped(options: PredictOptions, wanted: list[Choice]) -> dict[str, str]:
    """Catalogue columns that the user names, by the models' own names in capitals.

    Raises
    ------
    UsageError
        If no model has a column of that name, or one is named twice.
    """
    names = dict.fromkeys(column.name for one in wanted for column in one.model.card.columns)
    known = {name.upper() for name in names}
    mapped: dict[str, str] = {}
    for name, column in options.mapped:
        if name.upper() not in known:
            raise UsageError(
                f"--map {name}={column}: no model takes a column {name}", f"theirs are {', '.join(names) or 'none'}"
            )
        if mapped.setdefault(name.upper(), column) != column:
            raise UsageError(f"--map names two columns for {name}", "name one")
    return mapped


def _nothing_fits(
    options: PredictOptions, source: CutoutSource, misfits: list[str], why: NoCutoutsError | None
) -> InputError | ModelError:
    if not misfits:
        return ModelError(
            "no model is installed with this galcli", "name a model file with --model PATH, or install galcli again"
        )
    told = "; ".join(misfits)
    if why is not None:
        return NoCutoutsError(
            f"{why.message}; and without cutouts, {told}",
            f"{why.hint}, or where columns are called otherwise, name them with --map",
        )
    return InputError(
        f"no default model fits these cutouts ({source.describe()}): {told}",
        f"{'check --bands' if options.bands else 'give cutouts with these bands'}, "
        "or choose a model with --model (see `galcli models list`)",
    )


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
