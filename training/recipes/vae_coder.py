"""Spectra to latents and back: the two model files of the autoencoder, through onnxruntime as in predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import ModelError
from galcli.models import library
from galcli.models.library import ModelFile
from galcli.models.session import Session
from galcli.training.recipes.vae_card import DECODER, ENCODER, filler_of
from galcli.training.spectra.gaps import Filler, fill_in_parts
from galcli.training.spectra.grid import Floats, Spectra

_BATCH = 2048


@dataclass(frozen=True)
class Coder:
    """The pair of models that describes spectra by a few numbers.

    Attributes
    ----------
    encoder, decoder : ModelFile
    """

    encoder: ModelFile
    decoder: ModelFile

    @property
    def filler(self) -> Filler:
        """What fills the gaps of spectra before they are encoded."""
        return filler_of(self.encoder.card.tables[0])

    @property
    def latents(self) -> int:
        """How many numbers describe a spectrum."""
        return int(self.decoder.card.inputs[0].shape[0])

    def normalise(self, spectra: Spectra) -> tuple[NDArray[np.float32], Floats]:
        """Gap-filled spectra of unit norm (N, 1000), and what they were divided by (N,)."""
        return fill_in_parts(self.filler, spectra.flux, spectra.good)

    def encode(self, filled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents (N, K) of normalised, gap-filled spectra (N, 1000)."""
        return _run(self.encoder, "spectrum", filled)["latent"]

    def decode(self, latent: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """``flux`` (N, 1000), ``ew_ha``, ``d4000`` and ``ood`` (N,) of latents (N, K)."""
        return _run(self.decoder, "latent", latent)


def open_coder(folder: Path | None = None) -> Coder:
    """Find the two models.

    Parameters
    ----------
    folder : Path, optional
        Of a ``galcli train vae``; the shipped ones without it.

    Raises
    ------
    ModelError
        If they are missing, damaged, or not of one training.
    """
    names = [name if folder is None else folder / f"{name}.onnx" for name in (ENCODER, DECODER)]
    try:
        coder = Coder(*map(library.find, names))
    except ModelError as error:
        raise ModelError(error.message, "name the folder of a `galcli train vae` with --vae") from error
    trainings = [model.card.training for model in (coder.encoder, coder.decoder)]
    if trainings[0] != trainings[1]:
        raise ModelError(
            f"{coder.encoder.path} and {coder.decoder.path} are not of one training", "run `galcli train vae` again"
        )
    return coder


def _run(model: ModelFile, name: str, values: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    session = Session(model, device="cpu")
    parts = [session.run({name: values[first : first + _BATCH]}) for first in range(0, len(values), _BATCH)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
