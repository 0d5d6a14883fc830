"""What the card of a network from images to spectra says."""

from __future__ import annotations

from typing import Any

from galcli.training.recipes.spectra_data import fronts
from galcli.training.recipes.vae_card import CITATION, DECODER, VERSION, latent_description

NAME, PREFIX, GROUP = "spectra", "SPEC", "spectra"


def fields(info: dict[str, Any], decoder_sha256: str) -> dict[str, Any]:
    """The card but for metrics and calibration.

    Parameters
    ----------
    info : dict
        What the weights tell of their training.
    decoder_sha256 : str
        Of the decoder that is fed.
    """
    told = ("data", "mock", "objects", "seed", "epochs", "preset", "latents", "size", "pixel_scale", "recipe")
    training = {
        "data": info["data"] or "mock survey", "mock": info["mock"], "objects": info["objects"], "seed": info["seed"],
        "epochs": round(info["epochs"], 2), "preset": info["preset"],
        "details": {name: value for name, value in info.items() if name not in told},
    }  # fmt: skip
    return {
        "name": NAME, "version": VERSION, "system": "spectra", "prefix": PREFIX,
        "description": "Six numbers that describe a galaxy's optical spectrum, from its image; "
        f"with --with {GROUP} the spectrum itself",
        "fronts": fronts(), "size": (info["size"], info["size"]), "pixel_scale": info["pixel_scale"],
        "outputs": outputs(info["latents"], info["dropout"]), "training": training,
        "chain": [{"name": DECODER, "sha256": decoder_sha256, "bindings": {"latent": "latent"}, "group": GROUP}],
        "domain": {"column": f"{PREFIX}_OOD"}, "licence": "BSD-3-Clause", "citation": CITATION,
    }  # fmt: skip


def outputs(latents: int, dropout: float) -> list[dict[str, Any]]:
    """Columns of the card."""
    vector = {"dtype": "f4", "shape": (latents,)}
    scatter = vector | {
        "tensor": "latent_scatter", "column": "SPEC_LATENT_SCATTER", "ucd": "stat.stdev;stat.param",
        "description": "scatter of SPEC_LATENT in an ensemble of dropout networks",
    }  # fmt: skip
    return [
        vector | {"tensor": "latent", "column": "SPEC_LATENT", "ucd": "stat.param",
                  "description": latent_description()},
        vector | {"tensor": "latent_err", "column": "SPEC_LATENT_ERR", "ucd": "stat.error;stat.param",
                  "description": "half-width of the 68 % interval of SPEC_LATENT"},
        *([scatter] if dropout else []),
        {"tensor": "ood", "column": "SPEC_OOD", "dtype": "f4", "ucd": "stat.param",
         "description": "distance from the training sample; 99 % of similar galaxies lie below 1"},
    ]  # fmt: skip
