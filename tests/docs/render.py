"""The parts of the README that are made from code: ``python -m tests.docs.render`` writes them anew."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from enum import IntFlag
from pathlib import Path

from galcli.cli import COMMANDS
from galcli.models import library
from galcli.models.card import Card, Metric, Output
from galcli.models.library import ModelFile
from galcli.predict.sites import Site
from galcli.tables.columns import Column, column_models, dictionary, other_shapes
from galcli.tables.status import MODEL_STATUS_MEANING, ROW_STATUS_MEANING
from tests.docs import large as large_survey

README = Path(__file__).parents[2] / "README.md"
#: numpy letters -> words.
TYPES = {"b1": "bool", "i2": "int16", "i4": "int32", "i8": "int64", "f4": "float32", "f8": "float64"}


#: Figures that stand beside the error of an output without error bar: metric -> its name.
_BESIDE = {"sigma_mad": "sigma_MAD", "bias": "bias"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def columns() -> str:
    """Columns of the output table; those of error bars and model status only once."""
    rows = []
    for name, column in dictionary().items():
        if name.endswith("_ERR"):
            continue
        title = f"`{name}`, `{name}_ERR`" if f"{name}_ERR" in dictionary() else f"`{name}`"
        rows.append((title, _type(column), column.unit or column.scale or "", _writers(name),
                     re.sub(r", 0 = good: .*", "", column.description)))  # fmt: skip
    return table(("column", "type", "unit", "from", "meaning"), rows)


def _writers(name: str) -> str:
    """The models that write a column, with its shape where it is another one."""
    own = dictionary()[name].shape
    others = [
        model + (f" ([{', '.join(map(str, shape))}])" if shape != own else "")
        for model, shape in other_shapes()[name].items()
    ]
    return ", ".join([column_models()[name] or "every table", *others])


def _type(column: Column) -> str:
    kind = f"text[{column.dtype[1:]}]" if column.dtype[0] == "A" else TYPES[column.dtype]
    return kind + "".join(f"[{n}]" for n in column.shape)


def status() -> str:
    """Bits of STATUS and <PREFIX>_STATUS."""
    parts: list[tuple[str, dict[IntFlag, str]]] = [
        ("`STATUS`", dict(ROW_STATUS_MEANING)), ("`SFZ_STATUS` and its like", dict(MODEL_STATUS_MEANING)),
    ]  # fmt: skip
    rows = [(where, str(bit.value), str(bit.name), text) for where, bits in parts for bit, text in bits.items()]
    return table(("column", "bit", "name", "meaning"), rows)


def profile() -> str:
    """What a site profile may hold."""
    rows = []
    for name, field in Site.model_fields.items():
        default = "" if field.is_required() or field.default in (None, "") else f"`{json.dumps(field.default)}`"
        rows.append((f"`{name}`", default, field.description or ""))
    return table(("in a profile", "default", "meaning"), rows)


def commands() -> str:
    """Every command in one line."""
    return table(("command", "what it does"), [(f"`galcli {name}`", text) for name, text in COMMANDS.items()])


def metrics() -> str:
    """How good the shipped models are, from their cards."""
    twins = {twin.name: twin for twin in library.shipped("int8")}
    parts = []
    for model in library.shipped():
        parts += [_metrics(model), *([_twin(twins[model.name])] if model.name in twins else [])]
    return "\n\n".join(filter(None, parts))


def _metrics(model: ModelFile) -> str:
    """Figures of what a model writes itself or through the models that it feeds; '' without any."""
    card = model.card
    if card.system == "mass":
        return _listed(model, card.metrics)
    fronts = [front.name for front in card.fronts] or [None]
    cards = [card, *(library.find(link.name).card for link in card.chain)]
    outputs = [output for one in cards for output in one.outputs]
    names = [name for output in outputs for name in (output.column, *(f"{output.column}[{k}]" for k in _few(output)))]
    rows = [(f"`{name}`", *cells) for name in names if any(cells := [_cell(card, name, front) for front in fronts])]
    if not rows:
        return _dictionary(model) if card.system == "sae" else ""
    training = card.training
    classes = any(output.labels for output in outputs)
    meaning = "" if classes else ": root mean square error, and in brackets how many lie within their error bar"
    text = (
        f"**{card.name}** {card.version}, {model.size / 1e6:.3g} MB. Learned from: {training.data}, "
        f"{training.length}. Measured on {card.metrics[0].sample}{meaning}."
    )
    heads = [_head(card.metrics, front, "spectra") for front in fronts]
    return f"{text}\n\n{table(('output', *heads), rows)}"


def _head(metrics: Sequence[Metric], front: str | None, without: str) -> str:
    """A front, and how many objects its figures are from."""
    counts = [metric.objects for metric in metrics if metric.front == front]
    number = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return f"`{front}`, {number} galaxies" if front else f"{number} {without}"


def _dictionary(model: ModelFile) -> str:
    """How good and how sparse a sparse autoencoder is."""
    card = model.card
    measured = [metric for metric in card.metrics if metric.name != "redundancy: mean largest cosine between atoms"]
    (same,) = (metric.value for metric in card.metrics if metric not in measured)
    return _listed(model, measured, f" The mean largest cosine between two of its atoms is {same:.2f}.")


def _listed(model: ModelFile, measured: Sequence[Metric], more: str = "") -> str:
    """All figures of a model."""
    card = model.card
    fronts = list(dict.fromkeys(metric.front for metric in measured))
    found = {(one.name, one.front): f"{one.value:.3g} {one.unit or ''}".strip() for one in measured}
    rows = [(name, *(found[name, front] for front in fronts)) for name in dict.fromkeys(one.name for one in measured)]
    heads = [_head(measured, front, "galaxies") for front in fronts]
    text = (
        f"**{card.name}** {card.version}, {model.size / 1e6:.3g} MB. Learned from: {card.training.data}, "
        f"{card.training.length}. Measured on {card.metrics[0].sample}.{more}"
    )
    return f"{text}\n\n{table(('figure', *heads), rows)}"


def _few(output: Output) -> range:
    """Elements that are measured one by one."""
    return range(output.shape[0] if output.shape and output.shape[0] < 20 else 0)


def _cell(card: Card, name: str, front: str | None) -> str:
    """What a card tells of an output through a front; '' where it tells nothing."""
    found = {metric.name.removeprefix(f"{name} "): metric for metric in card.metrics if metric.front == front}
    rmse, inside = found.get("rmse"), found.get("coverage of the 68 % interval")
    if rmse:
        # What has no error bar has outliers that nothing announces: the typical error beside that of all.
        others = [f"{text} {found[key].value:.3f}" for key, text in _BESIDE.items() if key in found]
        within = f" ({100 * inside.value:.0f} %)" if inside else f" ({', '.join(others)})" if others else ""
        return f"{rmse.value:.3f} {rmse.unit or ''}".strip() + within
    if "macro F1" in found:
        return f"accuracy {found['accuracy'].value:.3f}, macro F1 {found['macro F1'].value:.3f}"
    if "calibration error" in found:
        before = found["calibration error before temperature"].value
        return f"calibration error {found['calibration error'].value:.3f} ({before:.3f} before its temperature)"
    if "accuracy" in found:
        return f"accuracy {found['accuracy'].value:.2f}, F1 {found['F1'].value:.2f}"
    if "median relative residual" in found:
        median, most = (100 * found[f"{part} relative residual"].value for part in ("median", "90 %"))
        return f"within {median:.1f} % (half of the pixels), {most:.1f} % (90 % of them)"
    return ""


def _twin(twin: ModelFile) -> str:
    """What int8 gains and costs."""
    card = twin.card

    def found(name: str, front: str | None) -> list[float]:
        return [metric.value for metric in card.metrics if metric.name.endswith(name) and metric.front == front]

    fronts = [front.name for front in card.fronts]
    (speed,) = found("speed over float32", None)
    worst = [f"{max(found('rmse over float32', front)):.3f}" for front in fronts]
    same = [f"{100 * found('first feature as in float32', front)[0]:.1f} %" for front in fronts]
    rows = [("error over that of float32", *worst), ("first feature unchanged", *same)]
    text = f"With `--precision int8`: {twin.size / 1e6:.0f} MB, {speed:.1f} times as fast."
    return f"{text}\n\n{table(('int8', *(f'`{front}`' for front in fronts)), rows)}"


def large() -> str:
    """A survey of 10^9 galaxies: hours and bytes."""
    head = ("cores", "a model, float32", "int8", "reading plain stacks", "reading Rice stacks")
    return f"{table(head, large_survey.times())}\n\n{table(('on disk', 'size'), large_survey.sizes())}"


PARTS: dict[str, Callable[[], str]] = {
    "columns": columns, "profile": profile, "status": status, "commands": commands, "metrics": metrics, "large": large,
}  # fmt: skip


def part(text: str, name: str) -> str:
    """What stands between the markers of a part."""
    found = re.search(rf"<!-- begin {name} -->\n(.*?)\n?<!-- end {name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no markers for {name}")
    return found.group(1)


def render(text: str) -> str:
    """The README with every part made anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, rest = text.split(begin, 1)
        text = f"{head}{begin}\n{make()}\n{end}{rest.split(end, 1)[1]}"
    return text


if __name__ == "__main__":
    README.write_text(render(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)
