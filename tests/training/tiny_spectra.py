"""A model from images to spectra and its autoencoder, made in a second: random filters, and principal components."""

from __future__ import annotations

import copy
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import nn

from galcli.models.card import Card
from galcli.training import export
from galcli.training.networks.deconvolution import fold
from galcli.training.networks.flux import FluxPixels
from galcli.training.networks.spectra_export import ExportedSpectra
from galcli.training.networks.xresnet import build, prepare_for_export
from galcli.training.recipes import spectra_card, vae_card
from galcli.training.spectra.files import read_spectra
from galcli.training.spectra.gaps import Filler
from tests.tiny_models import NO_PIXELS, save, sha256

SIZE, LATENTS, IDLE = 48, 6, 5
#: EW_HA and D4000 are linear in the latents: what they are at 0, and what each latent adds.
AT_ZERO = (20.0, 1.5)
ADDS = np.array([[8.0, 0.0], [0.0, -0.1], [-2.0, 0.05], [0, 0], [0, 0], [0, 0]], np.float32)
#: Latents of this length are at the border of the decoder's domain.
REACH = 20.0
_FACTS = {"data": "mock survey", "mock": True, "learned": 112, "seed": 1, "epochs": 1.0, "preset": "tiny"}


class Tiny(NamedTuple):
    """Model file, the folder that holds it with its autoencoder, its first filters, and what decodes."""

    model: Path
    folder: Path
    filters: np.ndarray
    mean: np.ndarray
    vectors: np.ndarray


def make(folder: Path, seed: int = 3) -> Tiny:
    """Write encoder, decoder and model."""
    folder.mkdir(parents=True, exist_ok=True)
    mean, vectors = _autoencoder(folder, seed)
    return Tiny(*_model(folder, seed), mean, vectors)


def _autoencoder(folder, seed):
    """Principal components of the embedded sample's spectra; the last latent is not used."""
    spectra, _ = read_spectra([Path(str(files("galcli.sample") / "spectra.fits"))])
    whole = np.where(spectra.good, spectra.flux, np.median(spectra.flux, axis=1, keepdims=True)).astype(np.float64)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    mean = whole.mean(0)
    size, directions = np.linalg.svd(whole - mean, full_matrices=False)[1:]
    sigma = size[:LATENTS] / len(whole) ** 0.5 * (1 + 1e-3 * seed)  # another seed is another autoencoder
    vectors = directions[:LATENTS] * sigma[:, None]
    back = directions[:LATENTS].T / sigma
    vectors[IDLE] = 0
    single = {name: value.astype(np.float32) for name, value in (("mean", mean), ("v", vectors), ("b", back))}
    common = vae_card.common(_FACTS) | NO_PIXELS
    nodes = [
        helper.make_node("Sub", ["spectrum", "mean"], ["rest"]),
        helper.make_node("MatMul", ["rest", "b"], ["latent"]),
    ]
    card = vae_card.encoder_fields(LATENTS, Filler(mean, directions[:10])) | common
    save(folder / f"{vae_card.ENCODER}.onnx", nodes, {"latent": (TensorProto.FLOAT, [LATENTS])},
         {name: single[name] for name in ("mean", "b")}, card)  # fmt: skip
    nodes = [helper.make_node("Gemm", ["latent", "v", "mean"], ["flux"])]
    constants = {name: single[name] for name in ("mean", "v")}
    for column, name in enumerate(("ew_ha", "d4000")):
        nodes += [helper.make_node("Gemm", ["latent", f"{name}_adds", f"{name}_zero"], [f"{name}_2d"]),
                  helper.make_node("Squeeze", [f"{name}_2d", "axis"], [name])]  # fmt: skip
        constants |= {f"{name}_adds": ADDS[:, [column]], f"{name}_zero": np.array([AT_ZERO[column]], np.float32)}
    nodes += [helper.make_node("ReduceL2", ["latent", "axis"], ["length"], keepdims=0),
              helper.make_node("Div", ["length", "reach"], ["ood"])]  # fmt: skip
    constants |= {"axis": np.array([1]), "reach": np.array(REACH, np.float32)}
    scalars = ("ew_ha", "d4000", "ood")
    tensors = {"flux": (TensorProto.FLOAT, [1000])} | {name: (TensorProto.FLOAT, []) for name in scalars}
    save(folder / f"{vae_card.DECODER}.onnx", nodes, tensors, constants, vae_card.decoder_fields(LATENTS) | common)
    return mean, vectors


def _model(folder, seed):
    """A small network whose whitening has seen some noise, and its first filters, folded by hand."""
    torch.manual_seed(seed)
    network = build("simple-deconv", 5, LATENTS, dropout=0.2)
    with torch.no_grad():
        for _ in range(4):
            network.train()(torch.randn(8, 5, SIZE, SIZE).cumsum(3) * 0.2)
        network.fc.weight.mul_(0.02)
    folded = copy.deepcopy(network).eval()
    fold(folded)
    first = next(layer for layer in folded.modules() if isinstance(layer, nn.Conv2d))
    filters = first.weight.detach().half().double().numpy()
    module = ExportedSpectra(FluxPixels([0.1] * 5, [0.5] * 5, [0.05] * 5), network, LATENTS)
    prepare_for_export(module.network)
    example = {"pixels": torch.rand(2, 5, SIZE, SIZE), "valid": torch.ones(2, 1, SIZE, SIZE),
               "front": torch.zeros(2, dtype=torch.int64)}  # fmt: skip
    export.freeze(module, example)
    info = {"data": None, "mock": True, "objects": 112, "seed": seed, "epochs": 1.0, "preset": "tiny",
            "latents": LATENTS, "size": SIZE, "pixel_scale": 1.0, "dropout": 0.2}  # fmt: skip
    card = spectra_card.fields(info, sha256(folder / f"{vae_card.DECODER}.onnx"))
    path = folder / f"{spectra_card.NAME}.onnx"
    export.save(export.to_onnx(module, example, module.output_names()), Card.model_validate(card), path)
    return path, folder, filters
