"""The tables of dependence given a representation: all pairs and strata, the latents, and single galaxies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from galcli.tables.fits import TableHDU
from galcli.training.interpret.causal_numbers import ALL, MASS, Line, Result
from galcli.training.interpret.causal_seen import Sample
from galcli.training.interpret.causal_variables import NONE
from galcli.training.interpret.dependence import Dependence, Score
from galcli.training.interpret.mass_table import MOST, Header, Table
from galcli.training.recipes.mass_plan import REDSHIFT

Cell = tuple[str, str, Any, str]


def dependence_hdu(tested: Sequence[Result], header: Header) -> TableHDU:
    """DEPENDENCE: one row per query, condition and stratum."""
    rows = [_line(number, one, line) for number, one in enumerate(tested) for line in one.lines]
    return _table("DEPENDENCE", rows, header)


def latent_hdu(latents: Sequence[Dependence], header: Header) -> TableHDU:
    """LATENTS: one row per latent of s, tested as if it were a query."""
    rows = [
        [("LATENT", "i4", number, "number in SCL_LATENT, from 0"),
         ("GALAXIES", "i8", one.galaxies, "tested galaxies with a test"), *_scores(one)]
        for number, one in enumerate(latents)
    ]  # fmt: skip
    return _table("LATENTS", rows, header)


def galaxy_hdu(sample: Sample, tested: Sequence[Result], header: Header) -> TableHDU | None:
    """GALAXIES: one row per tested galaxy, vectors with one element per pair in the order of PAIR; None: too large."""
    if 5 * 4 * len(tested) * len(sample.tested) > MOST:
        return None
    table = Table()
    table.add("ROW", sample.tested, "row of the sample, 0-based", "i8", ucd="meta.record")
    mass = sample.galaxies.target[sample.tested]
    table.add(MASS, mass, "log10 of the mass in Msun", "f4", scale="dex", ucd="phys.mass")
    if sample.redshift is not None:
        table.add(REDSHIFT, sample.redshift, "redshift", "f4", ucd="src.redshift")
    each = ", one element per pair in the order of PAIR in DEPENDENCE"
    for name, values, meaning in (
        ("R", [one.tests.r for one in tested], "Pearson's r of query and mass among the neighbours"),
        (
            "R_PERM",
            [one.tests.r_permuted[:, 0] for one in tested],
            "the same with masses permuted among the neighbours",
        ),
        ("EFF", [one.tests.efficiency for one in tested], "predictive efficiency among the neighbours"),
        ("EFF_PERM", [one.tests.efficiency_permuted[:, 0] for one in tested], "the same with masses permuted"),
    ):
        table.add(name, np.stack(values, 1), meaning + each, "f4")
    members = np.stack([one.tests.members for one in tested], 1)
    table.add("MEMBERS", members, "neighbours with all values" + each, "i4", null=-1)
    return table.hdu("GALAXIES", header)


def rows_of(table: TableHDU) -> list[dict[str, Any]]:
    """Rows of a table as JSON has them: None where a number is none."""
    names = [column.name for column in table.columns]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in zip(*(table.data[name] for name in names), strict=True)
    ]


def _line(number: int, one: Result, line: Line) -> list[Cell]:
    against, stratum = line.comparison, line.stratum
    whole = stratum.variable == ALL
    return [
        ("PAIR", "i4", number, "number of query and condition: their element in the vectors of GALAXIES"),
        ("QUERY", "A", one.query.name, "query variable q"),
        ("CONDITION", "A", NONE if one.condition is None else one.condition.name, "condition c, beside s"),
        ("STRATUM", "A", stratum.variable, f"{ALL} galaxies, or variable of the bin"),
        ("LOW", "f8", stratum.low, "lower edge of the bin"),
        ("HIGH", "f8", stratum.high, "upper edge of the bin"),
        ("GALAXIES", "i8", against.galaxies, "tested galaxies with a test"),
        ("MEMBERS", "f8", line.members, "mean number of neighbours with all values"),
        ("R_MEDIAN", "f8", line.r_median, "median of r over galaxies"),
        ("R_ABS", "f8", against.median_r, "median of |r|"),
        ("R_ABS_PERM", "f8", against.median_r_permuted, "median of |r| with masses permuted in each neighbourhood"),
        ("R_SPREAD", "f8", against.spread_ratio, "standard deviation of r over that of the permuted ones"),
        ("KS", "f8", against.ks, "Kolmogorov-Smirnov statistic of r and permuted r"),
        ("KS_P", "f8", against.ks_p, "its probability as if neighbourhoods did not overlap: far too small, a rank only"),
        ("EFF_PERM", "f8", against.efficiency - against.efficiency_excess,
         "mean efficiency with masses permuted in each neighbourhood"),
        *_scores(line.dependence),
        ("R2_PADJ", "f8", one.p_r if whole else np.nan, "R2_P corrected for all pairs (Benjamini and Hochberg)"),
        ("EFF_PADJ", "f8", one.p_efficiency if whole else np.nan, "EFF_P corrected for all pairs"),
    ]  # fmt: skip


def _scores(one: Dependence) -> list[Cell]:
    return [*_score("R2", "r squared", one.r), *_score("EFF", "predictive efficiency", one.efficiency)]


def _score(name: str, meaning: str, one: Score) -> list[Cell]:
    return [
        (name, "f8", one.statistic, f"mean {meaning} over galaxies"),
        (f"{name}_NULL", "f8", one.null_mean, "mean of the same with masses permuted, for all neighbourhoods alike"),
        (f"{name}_NULL_STD", "f8", one.null_spread, "standard deviation of the same"),
        (f"{name}_Z", "f8", one.z, f"({name} - {name}_NULL) / {name}_NULL_STD"),
        (f"{name}_P", "f8", one.p, f"(1 + permutations that reach {name}) / (1 + permutations)"),
    ]


def _table(name: str, rows: Iterable[list[Cell]], header: Header) -> TableHDU:
    """A table out of rows that all have the same columns."""
    table = Table()
    for cells in zip(*rows, strict=True):
        title, dtype, _, meaning = cells[0]
        table.add(title, [value for _, _, value, _ in cells], meaning, dtype, null=-1 if dtype[0] == "i" else None)
    return table.hdu(name, header)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii")
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
