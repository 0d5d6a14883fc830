"""What the card of a model for stellar mass says."""

from __future__ import annotations

from typing import Any

from galcli.training.networks.mass import BINS, LOWEST, STEP
from galcli.training.recipes.mass_plan import (
    BANDS,
    ERRORS,
    EXTINCTION,
    FRONT,
    GRID,
    MAGNITUDES,
    MORPHOLOGY,
    OPTIONAL,
    REDSHIFT,
    SETS,
    TARGET,
    Parts,
)

VERSION, PREFIX = "1", "MASS"
#: Group of the posterior in all its bins.
PDF = "pdf"
CITATION = "Lin et al. 2025, A&A, arXiv:2509.23901; built by galcli"
#: What galaxies have lies between these; an end and what lies beyond it is none. An error of 0 was not estimated
#: (SExtractor without noise), a negative one failed (-1000 and -9999 of SDSS).
_MAGNITUDE, _ERROR = {"low": 0.0, "high": 40.0}, {"unit": "mag", "low": 0.0, "high": 90.0}
_VALUES: dict[str, dict[str, Any]] = {
    EXTINCTION: {"unit": "mag", "low": -0.1, "high": 90.0},
    REDSHIFT: {"unit": "", "low": -0.01, "high": 10.0},
    TARGET: {"low": 0.0, "high": 20.0},
    **dict.fromkeys((*ERRORS, "w1sigmpro", "w2sigmpro"), _ERROR),
    **{name: {"unit": "arcsec", "low": 0.0, "high": 9000.0} if name.startswith("petroR") else
             {"unit": "", "low": 0.0, "high": 90.0} for name in MORPHOLOGY},
}  # fmt: skip
_ALIASES = {
    EXTINCTION: ("E(B-V)", "E_BV", "EBV_SFD"), REDSHIFT: ("Z_SPEC", "zspec", "redshift"),
    "w1sigmpro": ("e_W1mag",), "w2sigmpro": ("e_W2mag",),
}  # fmt: skip
#: m_AB - m_Vega of WISE (Jarrett et al. 2011, ApJ 735, 112).
_WISE = {"w1mpro": 2.699, "w2mpro": 3.339, "w3mpro": 5.174}
_SURVEYS = ("sdss",)
#: Names of the shipped models, by their published sets of inputs.
_SHIPPED = {"photometry+images": "mass", "optical+ir": "mass-photometry"}
#: Bytes of PID_PAIR, unless the names of the parts need more.
_PAIR = 24


def name_of(parts: Parts) -> str:
    """Name of the model: that of a published set of inputs, or of any columns, or of any inputs with images."""
    for word, published in SETS.items():
        if parts == published:
            return _SHIPPED.get(word, f"mass-{word.replace('+', '-')}")
    return "mass-custom" if parts.both.images else "mass-columns"


def front() -> dict[str, Any]:
    """The front of images."""
    return {"name": FRONT, "bands": tuple(BANDS), "surveys": _SURVEYS}


def column(name: str, optional: bool = False) -> dict[str, Any]:
    """How the card describes a catalogue column.

    Redshifts, Sersic indices and axis ratios have no unit: a column ``z`` in mag or km/s is refused. A column that no
    network knows is taken as it is.

    Parameters
    ----------
    name : str
    optional : bool
        Whether the network learned to do without it.
    """
    common = {"name": name, "missing": "nan" if optional else "null"}
    if name in MAGNITUDES:
        flux = {"quantity": "flux", "unit": "nanomaggy"}
        aliases = [flux | {"name": f"petroFlux_{name[-1]}"}, flux | {"name": f"FLUX_{name[-1].upper()}"}]
        return common | _MAGNITUDE | {"quantity": "mag", "system": "AB", "unit": "mag", "aliases": aliases}
    if name in _WISE:
        flux = {"name": f"FLUX_W{name[1]}", "quantity": "flux", "system": "AB", "unit": "nanomaggy"}
        return common | _MAGNITUDE | {
            "quantity": "mag", "system": "Vega", "unit": "mag", "ab_minus_vega": _WISE[name],
            "aliases": [{"name": f"W{name[1]}mag"}, flux],
        }  # fmt: skip
    aliases = [{"name": alias} for alias in _ALIASES.get(name, ())]
    return common | {"quantity": "value", "aliases": aliases} | _VALUES.get(name, {})


def fields(info: dict[str, Any], parts: Parts, contrastive: int) -> dict[str, Any]:
    """The card but for metrics and calibration.

    Parameters
    ----------
    info : dict
        What the weights from all inputs tell of their training.
    parts : Parts
    contrastive : int
        Latents of the contrastive stage; 0: none.
    """
    told = ("data", "mock", "objects", "seed", "epochs", "preset", "recipe")
    training = {
        "data": info["data"] or "mock survey", "mock": info["mock"], "objects": info["objects"], "seed": info["seed"],
        "epochs": round(info["epochs"], 2), "preset": info["preset"],
        "labels": ({"output": "LOGM_MEAN", "column": info["target"]},),
        "details": {name: value for name, value in info.items() if name not in told},
    }  # fmt: skip
    inputs, seen = parts.both, " and ".join(parts.names)
    pixels = {"fronts": [front()], "size": (GRID[0], GRID[0]), "pixel_scale": GRID[1]} if inputs.images else {}
    return pixels | {
        "name": name_of(parts), "version": VERSION, "system": "mass", "prefix": PREFIX,
        "description": f"Stellar mass from {seen}: posterior, and what each of them tells",
        "columns": [column(name, name in OPTIONAL and not info["plan"]["published"]) for name in inputs.needed],
        "outputs": outputs(parts, contrastive),
        "training": training, "domain": {"column": f"{PREFIX}_OOD"}, "licence": "BSD-3-Clause", "citation": CITATION,
    }  # fmt: skip


def outputs(parts: Parts, contrastive: int) -> list[dict[str, Any]]:
    """Columns of the card."""
    mass = {"dtype": "f4", "scale": "dex(Msun)", "ucd": "phys.mass"}
    nat = {"dtype": "f4", "scale": "nat", "ucd": "stat.param"}
    found: list[dict[str, Any]] = [
        mass | {"tensor": "mean", "column": "LOGM_MEAN", "description": "mean of the posterior of log10 stellar mass"},
        mass | {"tensor": "err", "column": "LOGM_MEAN_ERR", "ucd": "stat.error;phys.mass",
                "description": "half-width of the 68 % interval of LOGM_MEAN"},
        mass | {"tensor": "mode", "column": "LOGM_MODE", "description": "most probable bin of the posterior"},
        mass | {"tensor": "median", "column": "LOGM_MEDIAN", "description": "median of the posterior"},
        mass | {"tensor": "p16", "column": "LOGM_P16", "description": "16 % of the posterior lies below"},
        mass | {"tensor": "p84", "column": "LOGM_P84", "description": "84 % of the posterior lies below"},
        {"tensor": "pdf", "column": "LOGM_PDF", "dtype": "f4", "shape": (BINS,), "group": PDF, "ucd": "stat.probability",
         "description": f"probability in {BINS} bins of {STEP} dex from {LOWEST}"},
    ]  # fmt: skip
    if parts.second is not None:
        words = {
            "mi_x1": ("MI_X1", "expected information about the mass from X1, the first of PID_PAIR"),
            "mi_x2": ("MI_X2", "expected information about the mass from X2, the second of PID_PAIR"),
            "mi_x12": ("MI_X12", "expected information about the mass from X1 and X2 together"),
            "red": ("PID_RED", "redundant part of MI_X12: told by X1 as by X2"),
            "unq1": ("PID_UNQ1", "unique part of MI_X12: told by X1 alone"),
            "unq2": ("PID_UNQ2", "unique part of MI_X12: told by X2 alone"),
            "syn": ("PID_SYN", "synergistic part of MI_X12: beyond what the better of X1 and X2 tells"),
        }
        found += [nat | {"tensor": tensor, "column": name, "description": meaning}
                  for tensor, (name, meaning) in words.items()]  # fmt: skip
        pair = "|".join(parts.names)
        found.append({"tensor": "pair", "column": "PID_PAIR", "dtype": f"A{max(_PAIR, len(pair))}", "labels": (pair,),
                      "ucd": "meta.note", "description": "inputs whose information is told apart: X1 and X2"})  # fmt: skip
    found.append({"tensor": "ood", "column": f"{PREFIX}_OOD", "dtype": "f4", "ucd": "stat.param",
                  "description": "distance from the training sample; 99 % of similar galaxies lie below 1"})  # fmt: skip
    if contrastive:
        found.append({"tensor": "scl_latent", "column": "SCL_LATENT", "dtype": "f4", "shape": (contrastive,),
                      "ucd": "stat.param", "description": "representation that was contrasted to tell the mass; causal tests look for neighbours in it"})  # fmt: skip
    return found
