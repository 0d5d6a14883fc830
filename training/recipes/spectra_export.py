"""From trained weights to the model file ``spectra.onnx``: folded, rounded, proved, calibrated, measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.errors import ModelError
from galcli.models.card import Card
from galcli.models.session import Graph
from galcli.tables.atomic import atomic_write
from galcli.training import calibrate, checkpoint, export, proof
from galcli.training.data import take
from galcli.training.networks.flux import FluxPixels
from galcli.training.networks.spectra_export import ExportedSpectra
from galcli.training.networks.xresnet import build, prepare_for_export
from galcli.training.progress import say
from galcli.training.recipes import spectra_card
from galcli.training.recipes.spectra import train_spectra
from galcli.training.recipes.spectra_data import Observed, Source, gather
from galcli.training.recipes.spectra_merged import NAME as MERGED
from galcli.training.recipes.spectra_merged import write_merged
from galcli.training.recipes.spectra_plan import FRONT, PRESETS
from galcli.training.recipes.vae_coder import Coder
from galcli.training.seeds import mix
from galcli.training.sources import bands_of
from galcli.training.spectra.quality import Figure, figures, metrics

#: Mock galaxies drawn anew for calibration and metrics.
FRESH = 10_000
#: Training galaxies that fix the domain.
REFERENCE = 4_000
#: Galaxies of a survey held out at least.
LEAST = 20
#: Part of the unseen galaxies that calibrates the error bars; the metrics are measured on the others.
CALIBRATION = 1 / 2
_BATCH = 64

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class View:
    """Galaxies through which a model is measured."""

    observed: Observed
    rows: NDArray[np.int64]

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """Inputs of the graph, batch by batch."""
        for first in range(0, len(self.rows), _BATCH):
            pixels, valid, _ = take(self.observed.sample.stamps[-1], self.rows[first : first + _BATCH])
            yield {"pixels": pixels, "valid": valid, "front": torch.zeros(len(pixels), dtype=torch.int64)}

    @property
    def target(self) -> NDArray[np.float64]:
        """Latents of the spectra, (N, K)."""
        return self.observed.sample.target[self.rows].astype(np.float64)


@dataclass(frozen=True)
class Views:
    """Galaxies an export needs.

    Attributes
    ----------
    training, calibration, test : View
        The last two were never seen in training.
    name : str
        What the unseen sample is called in the card.
    """

    training: View
    calibration: View
    test: View
    name: str


def unseen(weights: Path, source: Source, coder: Coder, split: str, learned: Observed | None = None) -> Views:
    """Training galaxies, and two disjoint sets that the training never saw.

    Parameters
    ----------
    weights : Path
    source, coder, split
        As in the training.
    learned : Observed, optional
        What ``gather`` gave for it.
    """
    info = checkpoint.load_weights(weights)[1]
    plan = PRESETS[info["preset"]]
    last = replace(plan, stages=plan.stages[-1:])
    learned = learned or gather(last, source, coder, split)
    reference = View(learned, learned.sample.rows(-1, held=False)[:REFERENCE])
    if source.catalog is None:
        seed = mix(source.seed, 1)
        number = FRESH if source.objects is None else min(FRESH, max(256, source.objects // 2))
        fresh = gather(last, replace(source, seed=seed, objects=number), coder)
        rows, name = np.arange(number), f"unseen mock galaxies (seed {seed % 10**6})"
    else:
        fresh, rows = learned, learned.sample.rows(-1, held=True)
        rows, name = np.random.default_rng(source.seed).permutation(rows), f"held-out galaxies of {source.catalog.name}"
    count = round(CALIBRATION * len(rows))
    return Views(reference, View(fresh, rows[:count]), View(fresh, rows[count:]), name)


def export_spectra(weights: Path, views: Views, coder: Coder, out: Path) -> Card:
    """Write the model file of a trained network, beside it the autoencoder whose decoder it feeds, and both in one file.

    Parameters
    ----------
    weights : Path
        Of `train_spectra`.
    views : Views
    coder : Coder
        The autoencoder that the network learned from.
    out : Path
        Model file.

    Returns
    -------
    Card

    Raises
    ------
    ModelError
        If torch and onnxruntime differ, or the weights belong to another autoencoder.
    """
    module, info = _load(weights)
    if info["encoder"] != coder.encoder.sha256:
        raise ModelError(f"{weights} learned from another autoencoder than {coder.encoder.path}", "name it with --vae")
    probe = _probe(views.calibration)
    prepare_for_export(module.network)
    export.freeze(module, probe(2))
    draft = export.to_onnx(module, probe(2), module.output_names())
    say(f"rounded network: torch and onnxruntime differ by at most {proof.prove(module, draft, probe):.1e}")
    trained = measure(draft, views.training, ["inner/pooled"])
    held = measure(draft, views.calibration, ["inner/pooled", "latent"])
    domain, conformal = _calibrate(trained, held, views.calibration.target)
    module.calibrated.set(domain, conformal)
    graph = export.to_onnx(module, probe(2), module.output_names())
    error = proof.prove(module, graph, probe)
    test = measure(graph, views.test, ["latent", "latent_err", "ood"])
    found = {
        "metrics": list(_metrics(test, views, coder)),
        "calibration": {
            "method": conformal.method, "level": calibrate.LEVEL, "views": conformal.objects,
            "width_depends_on_object": [bool(local) for local in conformal.local],
            "domain_components": len(domain.std), "torch_onnxruntime_difference": float(f"{error:.3g}"),
            "residual_correlation": _correlation(held["latent"] - views.calibration.target),
        },
    }  # fmt: skip
    card = Card.model_validate(spectra_card.fields(info, coder.decoder.sha256) | found)
    export.save(graph, card, out)
    for one in (coder.decoder, coder.encoder):  # one is fed, the other explains what it is fed with
        beside = out.with_name(f"{one.name}.onnx")
        if beside.resolve() != one.path.resolve():
            atomic_write(beside, one.path.read_bytes())
    write_merged(graph, card, coder.decoder, out.with_name(f"{MERGED}.onnx"))
    say(f"model: {out} ({out.stat().st_size / 1e6:.1f} MB), feeds {coder.decoder.name}.onnx; both in {MERGED}.onnx")
    return card


def measure(model: onnx.ModelProto, view: View, names: list[str]) -> Values:
    """Outputs of a graph on a sample, through onnxruntime as in `galcli predict`."""
    graph = Graph(model.SerializeToString(deterministic=True), "exported graph", "cpu")
    parts = [graph.run({name: value.numpy() for name, value in batch.items()}, names) for batch in view.batches()]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _load(weights: Path) -> tuple[ExportedSpectra, dict[str, Any]]:
    state, info = checkpoint.load_weights(weights)
    try:
        network = build(info["network"], len(bands_of(FRONT)), info["latents"], info["dropout"])
        network.load_state_dict(state, strict=True)
        pixels = FluxPixels(info["mean"], info["std"], info["softening"])
        return ExportedSpectra(pixels, network, info["latents"]), info
    except KeyError as error:
        raise ModelError(f"{weights}: the weights do not say their {error}", "give a file of galcli train") from error
    except RuntimeError as error:
        raise ModelError(f"{weights}: not the weights of this network", "give a file of galcli train") from error


def _probe(view: View) -> proof.Sample:
    """Real images for the comparison of torch and onnxruntime."""
    batch = next(view.batches())

    def sample(count: int) -> dict[str, Tensor]:
        rows = torch.arange(count) % len(batch["front"])
        return {name: value[rows] for name, value in batch.items()}

    return sample


def _calibrate(
    trained: Values, held: Values, truth: NDArray[np.float64]
) -> tuple[calibrate.Domain, calibrate.Conformal]:
    pooled = held["inner/pooled"].astype(np.float64)
    front = np.zeros(len(pooled), np.int64)
    domain = calibrate.fit_domain(trained["inner/pooled"].astype(np.float64), pooled, front, 1)
    residual = held["latent"].astype(np.float64) - truth
    return domain, calibrate.fit_conformal(residual, domain.scores(pooled), front, 1)


def _correlation(residual: NDArray[np.float64]) -> list[list[float]]:
    """How the errors of the latents go together: out of their range, a decoded spectrum means nothing."""
    found = np.corrcoef(residual, rowvar=False).reshape(residual.shape[1], -1)
    return [[float(f"{value:.4f}") for value in row] for row in found]


def _metrics(test: Values, views: Views, coder: Coder) -> Iterable[dict[str, Any]]:
    """Figures of every latent and of the decoded spectra, on galaxies seen by neither training nor calibration."""
    common, count = {"sample": views.name, "front": FRONT}, len(views.test.rows)
    truth, latent, width = views.test.target, test["latent"].astype(np.float64), test["latent_err"]
    residual = latent - truth

    def latents() -> Iterator[tuple[str, float]]:
        yield "SPEC_LATENT rmse", float(np.sqrt(np.mean(residual**2)))
        yield "SPEC_LATENT rmse of the mean", float(np.sqrt(np.mean((truth - truth.mean(0)) ** 2)))
        for number in range(truth.shape[1]):
            one, name = residual[:, number], f"SPEC_LATENT[{number}]"
            yield f"{name} rmse", float(np.sqrt(np.mean(one**2)))
            yield f"{name} bias", float(one.mean())
            yield f"{name} sigma_mad", float(1.4826 * np.median(np.abs(one - np.median(one))))
            yield f"{name} coverage of the 68 % interval", calibrate.coverage(one, width[:, number])
        yield "inside the domain", float(np.mean(test["ood"] <= 1))

    yield from metrics((Figure(*named, None, count) for named in latents()), **common)
    observed, rows = views.test.observed, views.test.rows
    decoded = coder.decode(test["latent"])["flux"]
    yield from metrics(figures(decoded, observed.flux[rows], observed.good[rows]), **common)


def train_and_export(out: Path, source: Source, coder: Coder, *, split: str = "seed", **how: Any) -> Path:
    """Train a network and write its model file.

    Parameters
    ----------
    out, source, coder, split, **how
        As for `train_spectra`.

    Returns
    -------
    Path
        ``spectra.onnx`` in ``out``.

    Raises
    ------
    GalcliError
        As `train_spectra` and `export_spectra`.
    """
    weights = train_spectra(out, source, coder, split=split, least_held=LEAST if source.catalog else 0, **how)
    model = out / f"{spectra_card.NAME}.onnx"
    export_spectra(weights, unseen(weights, source, coder, split), coder, model)
    return model
