"""What the cards of the spectra's encoder and decoder say: columns, the wavelength grid, what fills gaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.training.spectra.gaps import Filler
from galcli.training.spectra.grid import DLOGLAM, LOGLAM0, POINTS, wavelengths
from galcli.training.spectra.sdss import SIGMA_MIN

ENCODER, DECODER = "spectra-vae-encoder", "spectra-vae-decoder"
VERSION = "1"
CITATION = "Portillo et al. 2020, AJ 160, 45 (arXiv:2002.10464); Wu & Peek 2020 (arXiv:2009.12318)"
_GRID = "SPEC_GRID"


def common(facts: dict[str, Any]) -> dict[str, Any]:
    """Fields that both cards share.

    Parameters
    ----------
    facts : dict
        Of the training, as stored with its weights.
    """
    told = ("mock", "learned", "seed", "epochs", "preset", "data")
    training = {
        "data": facts["data"], "mock": facts["mock"], "objects": facts["learned"], "seed": facts["seed"],
        "epochs": facts["epochs"], "preset": facts["preset"],
        "details": {name: value for name, value in facts.items() if name not in told},
    }  # fmt: skip
    return {"version": VERSION, "system": "spectra", "licence": "BSD-3-Clause", "citation": CITATION,
            "training": training}  # fmt: skip


def decoder_fields(latents: int) -> dict[str, Any]:
    """Name, inputs, columns, domain and wavelength table of the decoder."""
    prefix = "SPECVAE"
    return {
        "name": DECODER, "description": "Spectrum of a galaxy from six numbers", "prefix": prefix,
        "inputs": [_latent_input(latents)],
        "outputs": [
            {"tensor": "flux", "column": "SPEC_FLUX", "dtype": "f4", "shape": (POINTS,), "ucd": "phot.flux.density",
             "description": f"rest-frame flux density over its norm (root of the sum of squares); wavelengths in {_GRID}",
             "header": grid_cards()},
            {"tensor": "ew_ha", "column": "SPEC_EW_HA", "dtype": "f4", "unit": "Angstrom",
             "ucd": "spect.line.eqWidth;em.line.Halpha",
             "description": "equivalent width of H alpha in SPEC_FLUX, positive in emission, rest frame"},
            {"tensor": "d4000", "column": "SPEC_D4000", "dtype": "f4", "ucd": "spect.index;spect.continuum",
             "description": "4000 Angstrom break in SPEC_FLUX (4000-4100 over 3850-3950 Angstrom, f_nu)"},
            {"tensor": "ood", "column": f"{prefix}_OOD", "dtype": "f4", "ucd": "stat.param",
             "description": "distance from the training sample; 99 % of similar galaxies lie below 1"},
        ],
        "domain": {"column": f"{prefix}_OOD"},
        "tables": [{"name": _GRID, "description": "wavelength of each element of SPEC_FLUX", "columns": [_wave()]}],
    }  # fmt: skip


def encoder_fields(latents: int, filler: Filler) -> dict[str, Any]:
    """Name, inputs, columns and the table that fills gaps of the encoder."""
    shape = {"dtype": "f4", "unit": None}
    columns = [
        _wave(),
        shape | {"name": "MEAN", "description": "mean spectrum that gaps are filled with", "values": short(filler.mean)},
        shape | {"name": "VECTORS", "description": "eigenvectors that gaps are filled with, orthonormal",
                 "values": [short(row) for row in filler.vectors.T]},
    ]  # fmt: skip
    rule = f"least squares where there is data; errors of SDSS below {SIGMA_MIN} [1e-17 erg/s/cm2/Angstrom] are not believed"
    return {
        "name": ENCODER, "description": "Six numbers that describe the spectrum of a galaxy", "prefix": "SPECENC",
        "inputs": [{"name": "spectrum", "dtype": "f4", "shape": (POINTS,),
                    "description": f"rest-frame flux density on the wavelengths of {_GRID}, gaps filled, norm 1"}],
        "outputs": [
            {"tensor": "latent", "column": "SPEC_LATENT", "dtype": "f4", "shape": (latents,), "ucd": "stat.param",
             "description": latent_description()},
        ],
        "tables": [{"name": _GRID, "description": f"grid of the spectra and what fills their gaps: {rule}",
                    "columns": columns}],
    }  # fmt: skip


def latent_description() -> str:
    """What ``SPEC_LATENT`` is."""
    return "numbers that describe the spectrum: mean 0, variance 1 (less where idle) over the training spectra"


def grid_cards() -> list[dict[str, Any]]:
    """The wavelength grid as header cards: by its two numbers, and as the WCS of the column (WAVE-LOG)."""
    first = 10**LOGLAM0
    return [
        {"keyword": "LOGLAM0", "value": LOGLAM0, "comment": "log10 wavelength/Angstrom of the first element"},
        {"keyword": "DLOGLAM", "value": DLOGLAM, "comment": "step of log10 wavelength; rest frame, vacuum"},
        {"keyword": "1CTYP#", "value": "WAVE-LOG", "comment": "vacuum wavelength, logarithmic"},
        {"keyword": "1CUNI#", "value": "Angstrom", "comment": "unit of 1CRVL, 1CDLT"},
        {"keyword": "1CRPX#", "value": 1.0, "comment": "element of the reference wavelength"},
        {"keyword": "1CRVL#", "value": first, "comment": "its wavelength"},
        {"keyword": "1CDLT#", "value": first * DLOGLAM * math.log(10), "comment": "step at that wavelength"},
    ]


def filler_of(table: Any) -> Filler:
    """What fills gaps, out of the encoder's card.

    Parameters
    ----------
    table : galcli.models.card.Table
        Table ``SPEC_GRID`` of the encoder.
    """
    columns = {column.name: np.array(column.values, np.float64) for column in table.columns}
    return Filler(columns["MEAN"], columns["VECTORS"].T)


def _latent_input(latents: int) -> dict[str, Any]:
    return {"name": "latent", "dtype": "f4", "shape": (latents,), "description": latent_description()}


def _wave() -> dict[str, Any]:
    return {"name": "WAVELENGTH", "dtype": "f8", "unit": "Angstrom", "description": "rest-frame vacuum wavelength",
            "values": [float(f"{value:.10g}") for value in wavelengths()]}  # fmt: skip


def short(values: NDArray[np.floating]) -> list[float]:
    """The shortest decimal numbers that give the same float32."""
    return [float(str(value)) for value in values.astype(np.float32)]
