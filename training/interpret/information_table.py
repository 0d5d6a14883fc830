"""The tables of decomposed information: means of each pair by both rules, profiles, and single galaxies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galcli.tables.fits import TableHDU
from galcli.training.interpret.information import QUANTITIES
from galcli.training.interpret.information_numbers import MASS, RULES, Decomposed, Sample
from galcli.training.interpret.mass_table import MOST, Header, Table

_MEANING = {
    "I1": "information of the first input about the mass",
    "I2": "information of the second input about the mass",
    "I12": "information of both inputs about the mass",
    "R": "redundant part",
    "U1": "part that the first input tells beyond the redundant one",
    "U2": "part that the second input tells beyond the redundant one",
    "S": "part that only both together tell",
}


def information_hdus(found: Sequence[Decomposed], sample: Sample, header: Header) -> list[TableHDU]:
    """Everything that was measured.

    Parameters
    ----------
    found : sequence of Decomposed
    sample : Sample
    header : list of (str, object, str)
        Further cards.

    Returns
    -------
    list of TableHDU
        INFORMATION, one row per pair and rule; PROFILES, one row per pair, variable and bin; and GALAXIES, one row per
        test galaxy with one element per pair, unless it is very large.
    """
    tables = [_information(found, header), _profiles(found, header)]
    if 3 * 4 * len(found) * len(sample.rows) <= MOST:
        tables.append(_galaxies(found, sample, header))
    return tables


def _pairs(table: Table, found: Sequence[Decomposed]) -> None:
    """Which pair each row is of."""
    table.add("X1", [one.pair.names[0] for one in found], "first input", "A")
    table.add("X2", [one.pair.names[1] for one in found], "second input", "A")


def _information(found: Sequence[Decomposed], header: Header) -> TableHDU:
    table = Table()
    rows = [(one, rule) for one in found for rule in RULES]
    _pairs(table, [one for one, _ in rows])
    table.add(
        "RULE", [rule for _, rule in rows], "minimum in each galaxy (pointwise), or of the means (population)", "A"
    )
    for name in QUANTITIES:
        told = [one.rules[rule][name] for one, rule in rows]
        meaning = f"{_MEANING[name]}, mean of galaxies and seeds"
        table.add(name, [each.mean for each in told], meaning, scale="nat")
        table.add(f"{name}_ERR", [each.error for each in told], f"standard error of {name} over galaxies", scale="nat")
        table.add(f"{name}_SPREAD", [each.spread for each in told],
                  f"standard deviation of {name} over seeds", scale="nat")  # fmt: skip
    return table.hdu("INFORMATION", header)


def _profiles(found: Sequence[Decomposed], header: Header) -> TableHDU:
    table = Table()
    rows = [
        (one, name, bin_) for one in found for name, each in one.profiles.items() for bin_ in range(len(each.count))
    ]
    profiles = [(one.profiles[name], bin_) for one, name, bin_ in rows]
    _pairs(table, [one for one, _, _ in rows])
    table.add("VARIABLE", [name for _, name, _ in rows], f"{MASS}: log10 of the mass in Msun [dex]; or redshift", "A")
    table.add("LOW", [each.edges[bin_] for each, bin_ in profiles], "lower edge of the bin")
    table.add("HIGH", [each.edges[bin_ + 1] for each, bin_ in profiles], "upper edge of the bin")
    table.add("MIDDLE", [each.middle[bin_] for each, bin_ in profiles], "mean of the variable in the bin")
    table.add("COUNT", [each.count[bin_] for each, bin_ in profiles], "test galaxies in the bin", "i8")
    for name in QUANTITIES:
        meaning = f"{_MEANING[name]}, by the pointwise rule"
        table.add(name, [each.mean[name][bin_] for each, bin_ in profiles], meaning, scale="nat")
        table.add(f"{name}_ERR", [each.error[name][bin_] for each, bin_ in profiles],
                  f"standard error of {name} over galaxies", scale="nat")  # fmt: skip
    return table.hdu("PROFILES", header)


def _galaxies(found: Sequence[Decomposed], sample: Sample, header: Header) -> TableHDU:
    table = Table()
    table.add("ROW", sample.rows, "row of the sample, 0-based", "i8", ucd="meta.record")
    table.add(MASS, sample.variables[MASS], "true log10 of the mass in Msun", "f4", scale="dex", ucd="phys.mass")
    for name, values in sample.variables.items():
        if name != MASS:
            table.add(name, values, "redshift", "f4", ucd="src.redshift")
    each = np.stack([one.each for one in found], 2)
    for place, name in enumerate(("I1", "I2", "I12")):
        meaning = f"{_MEANING[name]}, mean of seeds, one element per pair in the order of INFORMATION"
        table.add(name, each[place], meaning, "f4", scale="nat")
    return table.hdu("GALAXIES", header)
