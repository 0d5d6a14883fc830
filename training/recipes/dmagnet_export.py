"""From trained weights to the model file ``dmagnet.onnx``: folded, rounded, proved, calibrated, measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, ModelError
from galcli.models.card import Card
from galcli.predict.classes import confusion, scores
from galcli.training import calibrate, checkpoint, export, proof
from galcli.training.classification import calibration_error, fit_temperature
from galcli.training.galaxy10 import NAMES
from galcli.training.networks.dmagnet import DMAGNet
from galcli.training.networks.dmagnet_export import OUTPUTS, ExportedDMAGNet
from galcli.training.pixels import DISPLAY, FRONTS, Pixels
from galcli.training.progress import say
from galcli.training.recipes import dmagnet_card
from galcli.training.recipes.dmagnet import check, train_dmagnet
from galcli.training.recipes.dmagnet_data import Labelled, Source, gather, unseen
from galcli.training.recipes.dmagnet_plan import PRESETS
from galcli.training.seeds import mix
from galcli.training.views import Batches, Samples, Values, measure, rounded, varied, views

#: Mock galaxies drawn anew for metrics; half as many others calibrate.
FRESH = 8_000
#: Training galaxies that fix the domain.
REFERENCE = 4_000
#: Galaxies below which nothing can be measured or calibrated.
LEAST = 30


def train_and_export(out: Path, source: Source, **how: Any) -> Path:
    """Train DMAGNet and write its model file.

    Parameters
    ----------
    out, source, **how
        As for `train_dmagnet`.

    Returns
    -------
    Path
        ``dmagnet.onnx`` in ``out``.

    Raises
    ------
    GalcliError
        As `train_dmagnet` and `export_dmagnet`.
    """
    check(out, source, **how)
    labelled = gather(PRESETS[how.get("preset", "default")], source)
    if source.name is not None and len(labelled.test) < LEAST:
        raise InputError(f"{len(labelled.test)} galaxies are left to measure the network on, fewer than {LEAST}",
                         "give more galaxies with classes")  # fmt: skip
    weights = train_dmagnet(out, source, labelled=labelled, **how)
    model = out / f"{dmagnet_card.NAME}.onnx"
    export_dmagnet(weights, views_of(weights, source, labelled), model, source.label_column)
    return model


@dataclass(frozen=True)
class Views:
    """Galaxies an export needs.

    Attributes
    ----------
    plain : Samples
        Training galaxies as the network learned from them, others as surveys show them.
    held : callable
        The calibrating galaxies, shown as those of the training are: what varied there is inside the domain.
    """

    plain: Samples
    held: Batches


def views_of(weights: Path, source: Source, labelled: Labelled) -> Views:
    """Training galaxies, and two disjoint sets that the training never saw, as the network's fronts show them.

    Parameters
    ----------
    weights : Path
    source, labelled
        As in the training.
    """
    info = checkpoint.load_weights(weights)[1]
    number = FRESH if source.objects is None else min(FRESH, max(256, source.objects // 2))
    plan, learned = PRESETS[info["preset"]], labelled.sample
    other = unseen(plan, source, labelled, number)
    fronts = offered(info["fronts"])
    through = partial(views, servers=plan.servers, fronts=fronts)
    shown = partial(varied, looks=plan.looks, seed=mix(source.seed, 2), fronts=fronts)
    # At random, since surveys may be sorted by class.
    reference = np.random.default_rng(source.seed).permutation(learned.rows(-1, held=False))[:REFERENCE]
    plain = Samples(
        partial(shown, learned.stamps[-1], reference, learned.target),
        partial(through, other.stamps, other.calibration, other.target),
        partial(through, other.stamps, other.rows, other.target),
        other.name,
    )
    return Views(plain, partial(shown, other.stamps, other.calibration, other.target))


def export_dmagnet(weights: Path, seen: Views, out: Path, label_column: str) -> Card:
    """Write the model file of a trained DMAGNet.

    Parameters
    ----------
    weights : Path
        Safetensors file of the training.
    seen : Views
    out : Path
        Model file.
    label_column : str
        Catalogue column of the class, for `galcli evaluate`.

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If torch and onnxruntime differ, or the weights are no DMAGNet's.
    """
    module, info = _load(weights)
    fronts, samples = len(module.pixels.fronts), seen.plain
    probe = samples.probe(fronts)
    export.freeze(module, probe(2))
    draft = export.to_onnx(module, probe(2), OUTPUTS)
    say(f"rounded network: torch and onnxruntime differ by at most {proof.prove(module, draft, probe):.1e}")
    trained = measure(draft, samples.training, ["inner/pooled"])
    unlike = measure(draft, seen.held, ["inner/pooled"])
    held = measure(draft, samples.calibration, ["inner/logits"])
    say(f"measured {len(trained['front'])} training and {len(held['front'])} held-out views")
    domain = calibrate.fit_domain(
        trained["inner/pooled"].astype(np.float64), unlike["inner/pooled"].astype(np.float64), unlike["front"], fronts
    )
    temperature = temperatures(held, fronts)
    module.calibrate(temperature, domain)
    graph = export.to_onnx(module, probe(2), OUTPUTS)
    error = proof.prove(module, graph, probe)
    test = measure(graph, samples.test, ["class", "prob", "ood", "inner/logits"])
    names = module.pixels.fronts
    found = {
        "metrics": list(_metrics(test, names, samples.name)),
        "calibration": {
            "method": "temperature", "temperature": dict(zip(names, map(rounded, temperature), strict=True)),
            "views": len(held["front"]), "domain_components": len(domain.std),
            "torch_onnxruntime_difference": rounded(error),
            "confusion": {"rows": "true class", "columns": "MORPH_CLASS", "names": list(NAMES)}
            | {front: confusion(*_classes(test, test["front"] == number), len(NAMES)).tolist()
               for number, front in enumerate(names)},
        },
    }  # fmt: skip
    card = Card.model_validate(dmagnet_card.fields(info | {"label_column": label_column}, module.pixels.fronts) | found)
    export.save(graph, card, out)
    say(f"model: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return card


def offered(learned: Sequence[str]) -> tuple[str, ...]:
    """Fronts of the model file of a network that learned through those.

    One of display images takes fluxes too: the graph draws them as the viewer does, and what was calibrated on display
    images holds for them.
    """
    return FRONTS if tuple(learned) == (DISPLAY,) else tuple(learned)


def _load(weights: Path) -> tuple[ExportedDMAGNet, dict[str, Any]]:
    state, info = checkpoint.load_weights(weights)
    try:
        if tuple(info["classes"]) != NAMES:
            raise ModelError(f"{weights}: its classes are not those of Galaxy10", "give a file of galcli train dmagnet")
        network = DMAGNet(len(NAMES))
        network.load_state_dict(state, strict=True)
        pixels = Pixels(offered(info["fronts"]), info["mean"], info["std"], info["pixel_scale"])
        return ExportedDMAGNet(pixels, network, info["size"], info["pixel_scale"]), info
    except KeyError as error:
        raise ModelError(f"{weights}: the weights do not say their {error}", "give a file of galcli train") from error
    except RuntimeError as error:
        raise ModelError(f"{weights}: not the weights of a DMAGNet", "give a file of galcli train dmagnet") from error


def _classes(values: Values, rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and predicted classes of some rows."""
    return values["target"][rows, 0].astype(np.int64), values["inner/logits"][rows].argmax(1)


def temperatures(held: Values, fronts: int) -> list[float]:
    """Temperature of each front; that of all views together where there are too few, and 1 where these are.

    Parameters
    ----------
    held : dict of str to ndarray
        ``inner/logits`` (N, C), ``front`` (N,) and ``target`` (N, 1) of the calibrating views.
    fronts : int
        How many there are.
    """
    count = len(held["front"])
    if count < LEAST:
        say(f"{count} views are too few to calibrate probabilities with: they are those of the network")
        return [1.0] * fronts
    each = [held["front"] == number for number in range(fronts)]
    used = [rows if rows.sum() >= calibrate.FEW else np.ones(count, np.bool_) for rows in each]
    return [fit_temperature(held["inner/logits"][rows], _classes(held, rows)[0]) for rows in used]


def _metrics(test: Values, fronts: tuple[str, ...], sample: str) -> Iterable[dict[str, Any]]:
    """Figures through every front, on galaxies seen by neither training nor calibration."""
    for number, front in enumerate(fronts):
        rows = test["front"] == number
        if not rows.any():
            continue
        common = {"sample": sample, "objects": int(rows.sum()), "front": front}
        truth, said = _classes(test, rows)
        one = scores(confusion(truth, said, len(NAMES)))
        logits = test["inner/logits"][rows].astype(np.float64)
        plain = np.exp(logits - logits.max(1, keepdims=True))
        for name, value in (
            ("MORPH_CLASS accuracy", one.accuracy),
            ("MORPH_CLASS macro precision", one.macro[0]), ("MORPH_CLASS macro recall", one.macro[1]),
            ("MORPH_CLASS macro F1", one.macro[2]), ("MORPH_CLASS weighted F1", one.weighted[2]),
            ("MORPH_PROB calibration error", calibration_error(test["prob"][rows], truth)),
            ("MORPH_PROB calibration error before temperature",
             calibration_error(plain / plain.sum(1, keepdims=True), truth)),
            ("inside the domain", float(np.mean(test["ood"][rows] <= 1))),
        ):  # fmt: skip
            yield common | {"name": name, "value": rounded(value)}
        for name, f1, support in zip(NAMES, one.f1, one.support, strict=True):
            yield common | {"name": f"MORPH_CLASS F1 {name}", "value": rounded(float(f1)), "objects": int(support)}
