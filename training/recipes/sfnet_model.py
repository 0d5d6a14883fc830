"""From trained SFNet weights to a model file: rounded, proved, calibrated, measured (models.md 1.6 and 1.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import LinearSVC

from galcli.errors import InputError, ModelError
from galcli.models.card import Card
from galcli.training import calibrate, checkpoint, export, proof
from galcli.training.mock import lines
from galcli.training.networks.resnet import WIDTH
from galcli.training.networks.sfnet import SFNet
from galcli.training.networks.sfnet_export import RATIOS, ExportedSFNet
from galcli.training.pixels import Pixels
from galcli.training.recipes import sfnet_card
from galcli.training.recipes.fronts import fronts
from galcli.training.recipes.sfnet_card import KINDS, Kind
from galcli.training.views import Samples, Values, measure, rounded

VERSION = "1"
CITATION = "Wu 2025, ApJ 980, 183 (arXiv:2501.00089)"
#: Galaxies of each class below which no AGN classifier is fitted.
MIN_CLASS = 10


def export_sfnet(weights: Path, samples: Samples, out: Path, say: Callable[[str], None] = print) -> Card:
    """Write the model file of a trained SFNet.

    Parameters
    ----------
    weights : Path
        Safetensors file of the training.
    samples : Samples
    out : Path
        Model file.
    say : callable
        Takes lines for the user.

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If torch and onnxruntime differ, or the weights do not say how they were trained.
    InputError
        If too few galaxies are AGN or star-forming (lines).
    """
    module, kind, info = _load(weights)
    probe = samples.probe(len(module.pixels.fronts))
    export.freeze(module, probe(2))
    draft = export.to_onnx(module, probe(2), module.output_names())
    final = finish(module, kind, draft, samples, probe, lambda graph: graph, say)
    card = Card.model_validate(_fields(module, kind, info) | final.fields)
    export.save(final.graph, card, out)
    say(f"model: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return card


@dataclass(frozen=True)
class Final:
    """A graph that is ready to be saved.

    Attributes
    ----------
    graph : onnx.ModelProto
    fields : dict
        What the card says of calibration and quality.
    test : dict of str to ndarray
        Outputs on the test sample.
    """

    graph: onnx.ModelProto
    fields: dict[str, Any]
    test: Values


def finish(
    module: ExportedSFNet, kind: Kind, draft: onnx.ModelProto, samples: Samples, probe: proof.Sample,
    store: Callable[[onnx.ModelProto], onnx.ModelProto], say: Callable[[str], None],
) -> Final:  # fmt: skip
    """Calibrate a frozen module on the very numbers that are stored, and measure it.

    Parameters
    ----------
    module : ExportedSFNet
        Takes over the calibration.
    kind : Kind
    draft : onnx.ModelProto
        The module as torch exports it now.
    samples : Samples
    probe : callable
        Of `Samples.probe`.
    store : callable
        Makes the graph that is saved from the one that torch exports.
    say : callable
        Takes lines for the user.
    """
    error = proof.prove(module, draft, probe)
    say(f"rounded network: torch and onnxruntime differ by at most {error:.1e}")
    stored = store(draft)
    trained = measure(stored, samples.training, ["inner/pooled", "idx", "act"])
    held = measure(stored, samples.calibration, ["inner/pooled", "idx", *tensors(kind)])
    say(f"measured {len(trained['front'])} training and {len(held['front'])} held-out views")
    _set_features(module, trained)
    domain, conformal = _calibrate(module, kind, trained, held)
    module.calibrated.set(domain, conformal)
    calibrated = export.to_onnx(module, probe(2), module.output_names())
    error, graph = proof.prove(module, calibrated, probe), store(calibrated)
    names = [*tensors(kind), *(quantity.error for quantity in kind.quantities), "ood", "idx"]
    test = measure(graph, samples.test, names + (["is_agn"] if module.lines else []))
    fields = {
        "tables": [_features(module, kind, held)],
        "metrics": list(_metrics(module, kind, test, samples.name)),
        "calibration": _calibration(kind, conformal, domain, held, test, error),
    }
    return Final(graph, fields, test)


def bpt_class(log_nii_ha: NDArray[Any], log_oiii_hb: NDArray[Any]) -> NDArray[np.int64]:
    """Class in the diagram of Baldwin, Phillips & Terlevich (1981), with the codes of MPA-JHU.

    Returns
    -------
    ndarray (N,)
        1 star-forming (below Kauffmann et al. 2003), 3 composite, 4 AGN (above Kewley et al. 2001), -1 unknown.
    """
    result: NDArray[np.int64] = lines.bpt_class(torch.as_tensor(log_nii_ha), torch.as_tensor(log_oiii_hb)).numpy()
    return result


def _load(weights: Path) -> tuple[ExportedSFNet, Kind, dict[str, Any]]:
    state, info = checkpoint.load_weights(weights)
    try:
        network = SFNet(info["n_out"], info["k"])
        network.load_state_dict(state, strict=True)
        pixels = Pixels(info["fronts"], info["mean"], info["std"])
        module = ExportedSFNet(pixels, network, info["size"], info["pixel_scale"])
        return module, KINDS[info["target"]], info
    except KeyError as error:
        raise ModelError(f"{weights}: the weights do not say their {error}", "give a file of galcli train") from error
    except RuntimeError as error:
        raise ModelError(f"{weights}: not the weights of an SFNet", "give a file of galcli train") from error


def tensors(kind: Kind) -> list[str]:
    """Output tensors of the predicted quantities."""
    return [quantity.tensor for quantity in kind.quantities]


def truth_of(values: Values, kind: Kind) -> NDArray[np.float64]:
    """True values (N, T) of all quantities: the targets, and their differences for line ratios."""
    target = values["target"]
    ratios = [target[:, first] - target[:, second] for first, second in RATIOS] if kind.prefix == "SFL" else []
    return np.column_stack([target, *ratios])


def predicted_of(values: Values, kind: Kind) -> NDArray[np.float64]:
    """Predicted values (N, T) of all quantities."""
    return np.column_stack([values[name] for name in tensors(kind)]).astype(np.float64)


def _active(idx: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which features (N, 512) passed the bottleneck."""
    active = np.zeros((len(idx), WIDTH + 1), np.bool_)
    np.put_along_axis(active, idx.astype(np.int64) % (WIDTH + 1), True, axis=1)  # -1 falls on the extra column
    return active[:, :WIDTH]


def _set_features(module: ExportedSFNet, trained: Values) -> None:
    """Maxima of the activations and, for lines, the AGN classifier, from the training sample."""
    pooled = trained["inner/pooled"]
    act_max = pooled.max(axis=0)
    act_max[act_max <= 0] = 1
    weight, bias = np.zeros(WIDTH), 0.0
    if module.lines:
        label = _bpt(trained["target"])
        used = (label == 1) | (label == 4)
        if min((label == 1).sum(), (label == 4).sum()) < MIN_CLASS:
            raise InputError(
                f"fewer than {MIN_CLASS} training galaxies are AGN or star-forming", "give more galaxies with all lines"
            )
        active = np.where(_active(trained["idx"]), pooled, 0) / act_max
        svm = LinearSVC(random_state=0).fit(active[used], label[used] == 4)
        weight, bias = svm.coef_[0] / act_max, float(svm.intercept_[0])
    module.set_features(torch.from_numpy(act_max), torch.from_numpy(weight), bias)


def _bpt(target: NDArray[np.float64]) -> NDArray[np.int64]:
    return bpt_class(*(target[:, first] - target[:, second] for first, second in RATIOS))


def _calibrate(
    module: ExportedSFNet, kind: Kind, trained: Values, held: Values
) -> tuple[calibrate.Domain, calibrate.Conformal]:
    fronts = len(module.pixels.fronts)
    pooled = held["inner/pooled"].astype(np.float64)
    domain = calibrate.fit_domain(trained["inner/pooled"].astype(np.float64), pooled, held["front"], fronts)
    residual = predicted_of(held, kind) - truth_of(held, kind)
    return domain, calibrate.fit_conformal(residual, domain.scores(pooled), held["front"], fronts)


def _fields(module: ExportedSFNet, kind: Kind, info: dict[str, Any]) -> dict[str, Any]:
    told = ("recipe", "target", "preset", "seed", "objects", "epochs", "mock", "data", "label_columns")
    details = {name: value for name, value in info.items() if name not in told and name not in ("mean", "std")}
    if isinstance(details.get("init"), str):  # an old training's; where it lay is nobody's business
        details["init"] = Path(details["init"]).name
    training = {
        "data": info.get("data") or ("mock survey" if info["mock"] else "survey given by the user"),
        "mock": info["mock"], "objects": info["objects"], "seed": info["seed"], "epochs": round(info["epochs"], 2),
        "preset": info["preset"], "labels": sfnet_card.labels(info["target"], info.get("label_columns", ())),
        "details": details | {"normalisation_mean": info["mean"], "normalisation_std": info["std"]},
    }  # fmt: skip
    return {
        "name": kind.name, "version": VERSION, "system": "sfnet", "description": kind.description,
        "prefix": kind.prefix, "fronts": fronts(module.pixels.fronts),
        "size": (info["size"], info["size"]), "pixel_scale": info["pixel_scale"],
        "outputs": sfnet_card.outputs(kind, info["k"]), "training": training,
        "domain": {"column": f"{kind.prefix}_OOD"}, "licence": "BSD-3-Clause", "citation": CITATION,
    }  # fmt: skip


def _features(module: ExportedSFNet, kind: Kind, held: Values) -> dict[str, Any]:
    head = module.network.fc
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    columns = [quantity.column for quantity in kind.quantities[: module.n_out]]
    weights = {name: (weight[number], float(bias[number])) for number, name in enumerate(columns)}
    if module.lines:
        weights["AGN_SCORE"] = module.agn_weight.numpy(), float(module.agn_bias)
    frequencies = (held["inner/pooled"] > 0).mean(axis=0), _active(held["idx"]).mean(axis=0)
    return sfnet_card.features(kind, weights, module.act_max.numpy(), frequencies)


def _metrics(module: ExportedSFNet, kind: Kind, test: Values, sample: str) -> Iterable[dict[str, Any]]:
    """Figures of every quantity through every front, on galaxies seen by neither training nor calibration."""
    predicted, truth = predicted_of(test, kind), truth_of(test, kind)
    for number, front in enumerate(module.pixels.fronts):
        rows = test["front"] == number
        if not rows.any():
            continue
        common = {"sample": sample, "objects": int(rows.sum()), "front": front}
        for column, quantity in enumerate(kind.quantities):
            residual = predicted[rows, column] - truth[rows, column]
            width = test[quantity.error][rows]
            deviation = np.abs(residual - np.median(residual))
            for name, value, unit in (
                ("rmse", np.sqrt(np.mean(residual**2)), "dex"),
                ("bias", residual.mean(), "dex"),
                ("sigma_mad", 1.4826 * np.median(deviation), "dex"),
                ("median error bar", np.median(width), "dex"),
                ("coverage of the 68 % interval", calibrate.coverage(residual, width), None),
            ):
                yield common | {"name": f"{quantity.column} {name}", "value": rounded(value), "unit": unit}
        yield common | {"name": "inside the domain", "value": rounded(np.mean(test["ood"][rows] <= 1))}
        if module.lines:
            label = _bpt(test["target"])[rows]
            used = (label == 1) | (label == 4)
            agn, said = label[used] == 4, test["is_agn"][rows][used]
            for name, value in (("accuracy", accuracy_score(agn, said)), ("F1", f1_score(agn, said, zero_division=0))):
                yield common | {"name": f"IS_AGN {name}", "value": rounded(value), "objects": int(used.sum())}


def _calibration(
    kind: Kind, conformal: calibrate.Conformal, domain: calibrate.Domain, held: Values, test: Values, error: float
) -> dict[str, Any]:
    predicted, truth = predicted_of(test, kind), truth_of(test, kind)
    bias = {}
    for number, quantity in enumerate(kind.quantities):
        residual = predicted[:, number] - truth[:, number]
        by = {"truth": truth[:, number], "prediction": predicted[:, number]}
        bias[quantity.column] = {name: calibrate.bias_by_bin(residual, values) for name, values in by.items()}
    return {
        "method": conformal.method, "level": calibrate.LEVEL, "views": len(held["front"]),
        "width_depends_on_object": {
            quantity.column: bool(local) for quantity, local in zip(kind.quantities, conformal.local, strict=True)
        },
        "domain_components": len(domain.std), "bias_by_bin": bias, "torch_onnxruntime_difference": rounded(error),
    }  # fmt: skip
