"""From a trained autoencoder to two model files: encoder and decoder, rounded, proved and measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galcli.models.card import Card
from galcli.models.session import Graph
from galcli.training import export, proof
from galcli.training.networks.vae import SpectrumVAE
from galcli.training.networks.vae_export import ExportedDecoder, ExportedEncoder, fit_domain, standardise
from galcli.training.progress import say
from galcli.training.recipes import vae_card
from galcli.training.recipes.vae_data import Sample, prepared
from galcli.training.seeds import mix
from galcli.training.spectra.grid import Floats
from galcli.training.spectra.mock import mock_spectra
from galcli.training.spectra.quality import Figure, figures, metrics

#: Mock spectra drawn anew for the metrics.
FRESH = 5_000


def export_vae(
    vae: SpectrumVAE, sample: Sample, components: int | None, facts: dict[str, Any], out: Path
) -> tuple[Path, list[dict[str, Any]]]:
    """Write ``spectra-vae-encoder.onnx`` and ``spectra-vae-decoder.onnx``.

    Parameters
    ----------
    vae : SpectrumVAE
        Trained, on the CPU; its weights are rounded.
    sample : Sample
        What it learned from.
    components : int or None
        See `standardise`.
    facts : dict
        Of the training, for the cards.
    out : Path
        Folder.

    Returns
    -------
    decoder : Path
    metrics : list of dict
        Of both cards.

    Raises
    ------
    ModelError
        If torch and onnxruntime differ.
    """
    unseen, tested = _unseen(sample, facts["seed"])
    export.freeze(vae.encoder, {"input": torch.from_numpy(sample.filled[:2] - sample.mean)})
    latents = _latents(vae, sample, held=False)
    standard = standardise(latents, components)
    mean, held = sample.mean.astype(np.float64), standard.numbers(_latents(vae, sample, held=True))
    domain = fit_domain(standard.numbers(latents), held, _norms(vae, standard.latents(held), mean))
    encoder, decoder = ExportedEncoder(vae, standard, mean), ExportedDecoder(vae, standard, mean, domain)
    probe = torch.from_numpy(sample.filled[sample.rows(held=True)[:16]])
    encoding = _graph(encoder, "spectrum", probe, ["latent"])
    with torch.no_grad():
        latent = encoder.eval()(probe)
    decoding = _graph(decoder, "latent", latent, ["flux", "ew_ha", "d4000", "ood"])
    found = metrics(_quality(encoding, decoding, unseen, tested), sample=unseen.name)
    shared = vae_card.common(facts) | {"metrics": found}
    count = len(standard.std)
    encoder_card = vae_card.encoder_fields(count, sample.filler) | shared
    for graph, fields in ((encoding, encoder_card), (decoding, vae_card.decoder_fields(count) | shared)):
        path = out / f"{fields['name']}.onnx"
        export.save(graph, Card.model_validate(fields), path)
        say(f"model: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return out / f"{vae_card.DECODER}.onnx", found


def _latents(vae: SpectrumVAE, sample: Sample, held: bool) -> Floats:
    """Latent means (N, L) of the training or held-out spectra."""
    with torch.no_grad():
        parts = [
            vae.encode(torch.from_numpy(sample.filled[rows] - sample.mean)).mean
            for rows in np.array_split(sample.rows(held), 16)
        ]
    return torch.cat(parts).numpy().astype(np.float64)


def _norms(vae: SpectrumVAE, latents: Floats, mean: Floats) -> Floats:
    """Norms (N,) of the spectra that latents (N, L) are decoded to."""
    with torch.no_grad():
        flux = vae.decoder(torch.from_numpy(latents.astype(np.float32))).numpy()
    return np.asarray(np.linalg.norm(flux + mean, axis=1))


def _graph(module: nn.Module, name: str, values: Tensor, outputs: list[str]) -> onnx.ModelProto:
    """A frozen module as a proved graph with one input."""
    export.freeze(module, {name: values[:2]})
    graph = export.to_onnx(module, {name: values[:2]}, outputs)
    proof.prove(module, graph, lambda count: {name: values[torch.arange(count) % len(values)]})
    return graph


def _unseen(sample: Sample, seed: int) -> tuple[Sample, NDArray[np.int64]]:
    """Spectra for the metrics and their rows: new mock ones, or those held out."""
    if not sample.mock:
        name = f"held-out spectra of {sample.name} (they also ended the training)"
        return replace(sample, name=name), sample.rows(held=True)
    number = min(FRESH, max(256, len(sample.spectra) // 2))
    fresh = mix(seed, 1)
    spectra, truth = mock_spectra(number, fresh)
    name = f"unseen mock spectra (seed {fresh % 10**6})"
    return prepared(spectra, truth, fresh, name, mock=True, filler=sample.filler), np.arange(number)


def _quality(
    encoding: onnx.ModelProto, decoding: onnx.ModelProto, sample: Sample, rows: NDArray[np.int64]
) -> Iterator[Figure]:
    """How well spectra come back out of their six numbers."""
    encoder, decoder = (Graph(graph.SerializeToString(), "exported graph", "cpu") for graph in (encoding, decoding))
    latent = encoder.run({"spectrum": sample.filled[rows]})["latent"]
    flux = decoder.run({"latent": latent})["flux"]
    if sample.truth is not None:
        yield from figures(flux, sample.truth[rows])
    else:
        yield from figures(flux, sample.filled[rows], sample.spectra.good[rows])
    weight = sample.weight[rows].astype(np.float64)
    used = np.maximum((weight > 0).sum(1), 1)
    chi2 = (weight * (flux - sample.filled[rows]) ** 2).sum(1) / used
    yield Figure("weighted squared residual per pixel, median", float(np.median(chi2)), None, len(rows))
