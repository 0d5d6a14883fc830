"""What the cards of SFNet models say: columns, the table of features, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.training.recipes.sfnet_plan import MAX_FLUX, MIN_SNR, TARGETS

_LOG_FLUX = "dex(1e-17 erg s-1 cm-2)"


@dataclass(frozen=True)
class Quantity:
    """A predicted quantity: ``tensor`` and ``tensor_err`` of the graph and its two columns."""

    column: str
    tensor: str
    scale: str
    ucd: str
    description: str

    @property
    def error(self) -> str:
        """Name of the tensor that holds the error bar."""
        name, _, number = self.tensor.rpartition("_")
        return f"{name}_err_{number}"


@dataclass(frozen=True)
class Kind:
    """What differs between the metallicity and the line model.

    Attributes
    ----------
    name, prefix, description : str
        As in the card.
    quantities : tuple of Quantity
        The network's own outputs first, then what follows from them.
    """

    name: str
    prefix: str
    description: str
    quantities: tuple[Quantity, ...]


_INTENSITY = "spect.line.intensity"
KINDS = {
    "metallicity": Kind(
        "sfnet-metallicity", "SFZ", "Gas-phase metallicity from an image, as a sum of four named features",
        (Quantity("Z_GAS", "z_gas_0", "dex", "phys.abund.Z", "gas-phase metallicity 12+log(O/H)"),),
    ),
    "lines": Kind(
        "sfnet-lines", "SFL", "Emission-line fluxes and AGN score from an image, as sums of four named features",
        (
            Quantity("LOG_NII_6584", "log_flux_0", _LOG_FLUX, _INTENSITY, "log10 flux of [N II] 6584"),
            Quantity("LOG_HA_6564", "log_flux_1", _LOG_FLUX, f"{_INTENSITY};em.line.Halpha", "log10 flux of H alpha"),
            Quantity("LOG_OIII_5007", "log_flux_2", _LOG_FLUX, f"{_INTENSITY};em.line.OIII",
                     "log10 flux of [O III] 5007"),
            Quantity("LOG_HB_4861", "log_flux_3", _LOG_FLUX, f"{_INTENSITY};em.line.Hbeta", "log10 flux of H beta"),
            Quantity("LOG_NII_HA", "log_ratio_0", "dex", f"{_INTENSITY};arith.ratio", "log10 [N II] 6584 / H alpha"),
            Quantity("LOG_OIII_HB", "log_ratio_1", "dex", f"{_INTENSITY};arith.ratio", "log10 [O III] 5007 / H beta"),
        ),
    ),
}  # fmt: skip


def outputs(kind: Kind, k: int) -> list[dict[str, Any]]:
    """Columns of the card."""
    columns: list[dict[str, Any]] = []
    for quantity in kind.quantities:
        common = {"dtype": "f4", "scale": quantity.scale}
        columns.append(
            common | {"tensor": quantity.tensor, "column": quantity.column, "ucd": quantity.ucd,
                      "description": quantity.description}
        )  # fmt: skip
        columns.append(
            common | {"tensor": quantity.error, "column": f"{quantity.column}_ERR", "ucd": f"stat.error;{quantity.ucd}",
                      "description": f"half-width of the 68 % interval of {quantity.column}"}
        )  # fmt: skip
    if kind.prefix == "SFL":
        columns += [
            {"tensor": "agn_score", "column": "AGN_SCORE", "dtype": "f4", "ucd": "src.class",
             "description": "decision value of the linear AGN classifier"},
            {"tensor": "is_agn", "column": "IS_AGN", "dtype": "b1", "ucd": "meta.code;src.class",
             "description": "AGN_SCORE > 0"},
        ]  # fmt: skip
    prefix, features = kind.prefix, f"{kind.prefix}_FEATURES"
    vector = {"dtype": "f4", "shape": (k,)}
    offset = vector | {"unit": "arcsec", "sky_offset": True}
    return [
        *columns,
        {"tensor": "idx", "column": f"{prefix}_IDX", "dtype": "i2", "shape": (k,), "null": -1, "ucd": "meta.code",
         "description": f"active features by descending activation: rows of {features}"},
        vector | {"tensor": "act", "column": f"{prefix}_ACT", "ucd": "stat.value",
                  "description": f"activation over its training maximum (ACT_MAX of {features})"},
        offset | {"tensor": "dx", "column": f"{prefix}_DX", "ucd": "pos.eq.ra;arith.diff",
                  "description": "where the feature peaks: offset to the east"},
        offset | {"tensor": "dy", "column": f"{prefix}_DY", "ucd": "pos.eq.dec;arith.diff",
                  "description": "where the feature peaks: offset to the north"},
        {"tensor": "ood", "column": f"{prefix}_OOD", "dtype": "f4", "ucd": "stat.param",
         "description": "distance from the training sample; 99 % of similar galaxies lie below 1"},
    ]  # fmt: skip


def labels(target: str, given: Sequence[str]) -> list[dict[str, Any]]:
    """Catalogue columns that hold the truth, with the cuts of the training, for `galcli evaluate`.

    Parameters
    ----------
    target : str
        Key of ``TARGETS``.
    given : sequence of str
        Columns named by the user in place of the target's own; empty: its own.
    """
    chosen = TARGETS[target]
    columns = tuple(given) or chosen.labels
    if target == "metallicity":
        return [{"output": chosen.outputs[0], "column": columns[0], "minimum": 0.0}]
    fluxes, errors = columns[: chosen.required], columns[chosen.required :]
    told = [{"error": error, "min_snr": MIN_SNR} for error in errors] or [{"minimum": 0.0}] * len(fluxes)
    return [
        {"output": output, "column": flux, "transform": "log10", "maximum": MAX_FLUX} | cut
        for output, flux, cut in zip(chosen.outputs, fluxes, told, strict=True)
    ]


def features(
    kind: Kind, weights: dict[str, tuple[NDArray[np.float32], float]], act_max: NDArray[np.float32],
    frequencies: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> dict[str, Any]:  # fmt: skip
    """The table from which a reader recomputes each prediction.

    Parameters
    ----------
    kind : Kind
    weights : dict of str to (ndarray (512,), float)
        Column name to weight per raw activation and bias, as rounded for the graph.
    act_max : ndarray (512,)
    frequencies : two ndarrays (512,)
        Part of the held-out galaxies in which a feature is active, before and after the top-k bottleneck.
    """
    prefix, first = kind.prefix, next(iter(weights))
    count = len(act_max)
    columns: list[dict[str, Any]] = [
        {"name": "FEATURE", "dtype": "i2", "description": f"feature number, as in {prefix}_IDX; equal to the row",
         "values": list(range(count))}
    ]  # fmt: skip
    for name, (weight, bias) in weights.items():
        columns += [
            {"name": f"WEIGHT_{name}", "dtype": "f4", "description": f"weight of the raw activation in {name}",
             "values": _short(weight)},
            {"name": f"BIAS_{name}", "dtype": "f4", "description": f"constant of {name}, the same in each row",
             "values": _short(np.full(count, bias, np.float32))},
        ]  # fmt: skip
    columns += [
        {"name": "ACT_MAX", "dtype": "f4", "values": _short(act_max),
         "description": "largest activation in training; 1 where the feature was never active"},
        {"name": "FREQ_PRE", "dtype": "f4", "values": _short(frequencies[0]),
         "description": "part of held-out galaxies with a positive activation before the bottleneck"},
        {"name": "FREQ_POST", "dtype": "f4", "values": _short(frequencies[1]),
         "description": f"part of held-out galaxies with the feature in {prefix}_IDX"},
    ]  # fmt: skip
    formula = (
        f"{first} = BIAS_{first}[0] + sum over j with {prefix}_IDX[j] >= 0 of "
        f"WEIGHT_{first}[{prefix}_IDX[j]] * ACT_MAX[{prefix}_IDX[j]] * {prefix}_ACT[j]"
    )
    more = "; likewise the other WEIGHT columns" if len(weights) > 1 else ""
    return {"name": f"{prefix}_FEATURES", "description": formula + more, "columns": columns}


def _short(values: NDArray[Any]) -> list[float]:
    """The shortest decimal numbers that give the same float32."""
    return [float(str(value)) for value in values.astype(np.float32)]
