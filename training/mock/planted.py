"""A table with known answers for the information and causal methods.

The target is Y = S + 0.8 P3 + 0.9 P5 P6 + 0.5 noise, where P1 and P2 are two noisy copies of S (redundant), P3 is the
only trace of its part (unique), P4 is nothing, and P5, P6 tell something only together (synergy). All P are standard
normal. Every conditional density of Y is a Gaussian or a Gaussian scale mixture, so that the information is a mean over
exact log densities: `TRUTH` holds that of 10^7 samples (standard errors below 6e-4 nat).

Rules of decomposition, both from I1, I2, I12 (nat): *pointwise* R = mean of min(i1, i2) over the objects, *population*
R = min(I1, I2) (minimum mutual information, Barrett 2015). Then U1 = I1 - R, U2 = I2 - R, S = I12 - max over the same
level: mean of max(i1, i2), or max(I1, I2).

As a catalogue of galaxies the table has positions, E(B-V) that tells nothing, and a mass that is Y in other units.

Pairs (Q, C) with Y: 1 dependent with or without C; 2 independent of both; 3 independent given C only (Q - C - Y is a
chain); 4 independent, but dependent given C (C is a collider).
"""

from functools import lru_cache
from math import log, pi, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galcli.tables.columns import Column
from galcli.tables.fits import TableHDU
from galcli.tables.header import Card
from galcli.training.mock.interpolate import interp

COPY_NOISE = 0.4  # of P1 and P2 about S, before they are scaled to unit variance
LINEAR, PRODUCT, NOISE = 0.8, 0.9, 0.5
Y_VARIANCE = 1 + LINEAR**2 + PRODUCT**2 + NOISE**2
PAIRS = (("P1", "P2"), ("P1", "P3"), ("P3", "P4"), ("P5", "P6"))
QUANTITIES = ("I1", "I2", "I12", "R_POINT", "U1_POINT", "U2_POINT", "S_POINT", "R_POP", "U1_POP", "U2_POP", "S_POP")

Q_DIRECT, Q_FROM_C, COLLIDER_NOISE = 0.6, 0.7, 0.5
#: log10 of the mass = MIDDLE + SCALE * Y: of 10^5 rows all lie between 6 and 12.5, where masses are learned from.
MIDDLE, SCALE = 9.25, 0.25
#: E(B-V) lies between 0 and this [mag].
REDDEST = 0.1

# monte_carlo(10_000_000, seed 20240601), by `python -m galcli.training.mock.planted`
TRUTH: dict[tuple[str, str], tuple[float, ...]] = {
    ("P1", "P2"): (0.2006, 0.2005, 0.2195, 0.0780, 0.1226, 0.1225, -0.1035, 0.2005, 0.0001, 0.0000, 0.0189),
    ("P1", "P3"): (0.2006, 0.1400, 0.4449, -0.0995, 0.3001, 0.2395, 0.0048, 0.1400, 0.0605, 0.0000, 0.2444),
    ("P3", "P4"): (0.1400, 0.0000, 0.1400, -0.1145, 0.2545, 0.1145, -0.1145, 0.0000, 0.1400, 0.0000, 0.0000),
    ("P5", "P6"): (0.0273, 0.0271, 0.1748, -0.0505, 0.0778, 0.0777, 0.0699, 0.0271, 0.0001, 0.0000, 0.1475),
}


def table(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the planted table.

    Parameters
    ----------
    n : int
        Rows.
    generator : torch.Generator

    Returns
    -------
    dict of Tensor, each (n,), float64
        P1..P6, Y, Q1..Q4, C1..C4.
    """

    def normal() -> Tensor:
        return torch.randn(n, generator=generator, device=generator.device, dtype=torch.float64)

    shared = normal()
    scale = sqrt(1 + COPY_NOISE**2)
    t = {"P1": (shared + COPY_NOISE * normal()) / scale, "P2": (shared + COPY_NOISE * normal()) / scale}
    t |= {name: normal() for name in ("P3", "P4", "P5", "P6")}
    t["Y"] = shared + LINEAR * t["P3"] + PRODUCT * t["P5"] * t["P6"] + NOISE * normal()
    unit = t["Y"] / sqrt(Y_VARIANCE)
    t["Q1"], t["C1"] = Q_DIRECT * unit + sqrt(1 - Q_DIRECT**2) * normal(), normal()
    t["Q2"], t["C2"] = normal(), normal()
    t["C3"] = (t["P3"] + t["P1"]) / sqrt(2)
    t["Q3"] = Q_FROM_C * t["C3"] + sqrt(1 - Q_FROM_C**2) * normal()
    t["Q4"] = normal()
    t["C4"] = unit + t["Q4"] + COLLIDER_NOISE * normal()
    return t


def catalogue(n: int, generator: torch.Generator, cards: list[Card]) -> TableHDU:
    """Draw the planted table as a catalogue of galaxies.

    Parameters
    ----------
    n : int
        Rows.
    generator : torch.Generator
    cards : list of (key, value, comment)
        Header cards.

    Returns
    -------
    TableHDU
        PLANTED: RA, DEC (over the whole sky), EBV and LGM_TOT_P50, then the columns of ``table``.
    """
    drawn = table(n, generator)
    place = torch.rand(3, n, generator=generator, device=generator.device, dtype=torch.float64)
    mass = f"Y on the scale of log10 masses, {MIDDLE} + {SCALE} Y: information about it is that about Y"
    galaxies = (
        (Column("RA", "f8", unit="deg", ucd="pos.eq.ra;meta.main", description="right ascension"), 360 * place[0]),
        (Column("DEC", "f8", unit="deg", ucd="pos.eq.dec;meta.main", description="declination"),
         (2 * place[1] - 1).asin().rad2deg()),
        (Column("EBV", "f8", unit="mag", description="E(B-V), independent of all others"), REDDEST * place[2]),
        (Column("LGM_TOT_P50", "f8", scale="dex(Msun)", description=mass), MIDDLE + SCALE * drawn["Y"]),
        *((Column(name, "f8", description=f"planted variable {name}"), values) for name, values in drawn.items()),
    )  # fmt: skip
    columns = [column for column, _ in galaxies]
    return TableHDU("PLANTED", columns, {column.name: values.cpu().numpy() for column, values in galaxies}, cards)


def correlations() -> dict[str, tuple[float, float]]:
    """Correlation of each Q with Y, and the partial correlation given its C, in closed form."""
    y = sqrt(Y_VARIANCE)
    r_c3 = (LINEAR + 1 / sqrt(1 + COPY_NOISE**2)) / sqrt(2) / y
    r_c4 = 1 / sqrt(2 + COLLIDER_NOISE**2)
    return {
        "Q1": (Q_DIRECT, Q_DIRECT),
        "Q2": (0.0, 0.0),
        "Q3": (Q_FROM_C * r_c3, 0.0),
        "Q4": (0.0, -(r_c4**2) / (1 - r_c4**2)),
    }


@lru_cache(maxsize=32)
def _mixture(variance: float, device: str) -> tuple[Tensor, Tensor]:
    """Grid of |residual| and log density of N(0, variance) + PRODUCT * (product of two normals), by quadrature."""
    node = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    weight = torch.exp(-0.5 * node**2)
    weight = weight / weight.sum()
    residual = torch.linspace(0, 30, 3001, dtype=torch.float64)
    total = variance + (PRODUCT * node) ** 2
    density = (weight / total.sqrt() * torch.exp(-0.5 * residual[:, None] ** 2 / total)).sum(1) / sqrt(2 * pi)
    return residual.to(device), density.log().to(device)


def _log_mixture(residual: Tensor, variance: float) -> Tensor:
    return interp(residual.abs(), *_mixture(variance, str(residual.device)))


def _log_normal(residual: Tensor, variance: Tensor | float) -> Tensor:
    variance = torch.as_tensor(variance, dtype=residual.dtype, device=residual.device)
    return -0.5 * (residual**2 / variance + variance.log() + log(2 * pi))


def log_density(t: dict[str, Tensor], given: tuple[str, ...]) -> Tensor:
    """Exact log density of Y given some of the columns [nat], shape (n,).

    Raises
    ------
    ValueError
        For P5 or P6 together with P1..P4, whose density is not needed.
    """
    rest = Y_VARIANCE - PRODUCT**2
    seen = set(given)
    if seen & {"P5", "P6"}:
        if seen & {"P1", "P2", "P3"}:
            message = f"no closed density given {given}"
            raise ValueError(message)
        if {"P5", "P6"} <= seen:
            return _log_normal(t["Y"] - PRODUCT * t["P5"] * t["P6"], rest)
        known = t["P5"] if "P5" in seen else t["P6"]
        return _log_normal(t["Y"], rest + (PRODUCT * known) ** 2)
    mean = torch.zeros_like(t["Y"])
    copies = [t[name] * sqrt(1 + COPY_NOISE**2) for name in ("P1", "P2") if name in seen]
    if copies:  # posterior of S: prior precision 1, each copy adds 1 / COPY_NOISE^2
        precision = 1 + len(copies) / COPY_NOISE**2
        mean = mean + sum(copies) / COPY_NOISE**2 / precision
        rest += 1 / precision - 1
    if "P3" in seen:
        mean = mean + LINEAR * t["P3"]
        rest -= LINEAR**2
    return _log_mixture(t["Y"] - mean, rest)


def rules(means: tuple[float, float, float, float, float]) -> tuple[float, ...]:
    """`QUANTITIES` from the means over the objects of i1, i2, i12, min(i1, i2) and max(i1, i2) [nat]."""
    a, b, union, low, high = means
    least = min(a, b)
    return a, b, union, low, a - low, b - low, union - high, least, a - least, b - least, union - max(a, b)


def monte_carlo(n: int, generator: torch.Generator, chunk: int = 1_000_000) -> dict[tuple[str, str], tuple[float, ...]]:
    """Information and its decomposition for each of `PAIRS` over n samples.

    Returns
    -------
    dict
        Pair of column names -> values of `QUANTITIES` [nat].
    """
    sums = {pair: torch.zeros(5, dtype=torch.float64) for pair in PAIRS}
    for start in range(0, n, chunk):
        t = table(min(chunk, n - start), generator)
        base = log_density(t, ())
        for pair in PAIRS:
            i1, i2, i12 = (log_density(t, given) - base for given in (pair[:1], pair[1:], pair))
            parts = (i1, i2, i12, torch.minimum(i1, i2), torch.maximum(i1, i2))
            sums[pair] += torch.stack([part.sum() for part in parts]).cpu()
    return {pair: rules((s[0], s[1], s[2], s[3], s[4])) for pair, s in ((p, (t / n).tolist()) for p, t in sums.items())}


def answers(cards: list[Card]) -> list[TableHDU]:
    """Tables of the known answers: `TRUTH` and `correlations`.

    Parameters
    ----------
    cards : list of (key, value, comment)
        Header cards for both tables.

    Returns
    -------
    list of TableHDU
        INFORMATION (one row per pair of columns: X1, X2 and `QUANTITIES`, nat) and DEPENDENCE (one row per Q: Q, C,
        R with Y, and R_GIVEN_C).
    """
    pairs = list(TRUTH)
    values = np.array([TRUTH[pair] for pair in pairs])
    data: dict[str, np.ndarray[Any, Any]] = {f"X{k + 1}": np.array([p[k] for p in pairs], "S2") for k in (0, 1)}
    columns = [Column(name, "A2", description="column of PLANTED") for name in data]
    for k, name in enumerate(QUANTITIES):
        columns.append(Column(name, "f8", scale="nat", description=f"{name} of X1, X2 about Y, 10^7 samples"))
        data[name] = values[:, k].copy()
    known = correlations()
    dependence: dict[str, np.ndarray[Any, Any]] = {
        "Q": np.array(list(known), "S2"),
        "C": np.array([name.replace("Q", "C") for name in known], "S2"),
        "R": np.array([plain for plain, _ in known.values()]),
        "R_GIVEN_C": np.array([partial for _, partial in known.values()]),
    }
    meaning = (
        Column("Q", "A2", description="column of PLANTED"),
        Column("C", "A2", description="its condition"),
        Column("R", "f8", description="correlation of Q and Y"),
        Column("R_GIVEN_C", "f8", description="partial correlation of Q and Y given C"),
    )
    return [TableHDU("INFORMATION", columns, data, cards), TableHDU("DEPENDENCE", list(meaning), dependence, cards)]


if __name__ == "__main__":
    for key, row in monte_carlo(10_000_000, torch.Generator().manual_seed(20240601)).items():
        print(f"    {key}: ({', '.join(f'{value:.4f}' for value in row)}),")  # paste into TRUTH
