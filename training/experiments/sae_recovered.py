"""What the courses of recovery say: criteria of models.md 4.3, row 1, and their picture; row 2 has the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from galcli.training.experiments.criteria import at_least
from galcli.training.experiments.sae_curves import COLOURS, curves, level
from galcli.training.experiments.sae_descent import Course, atoms_in_data
from galcli.training.experiments.sae_synthetic import coherence, crossing, rounded
from galcli.training.experiments.statistics import Claim, compare
from galcli.training.networks.sae import SAE

#: What is asked of the mean best cosine: how near, to count steps, and at the end.
NEAR, RIGHT = 0.95, 0.99


def told(course: Course, model: SAE) -> dict[str, Any]:
    """A course, whose figures are coherences where codes are inferred, for JSON; and that in the data at its end."""
    in_data = coherence(atoms_in_data(model).flatten(1))
    return {
        "found": rounded(course.found),
        "coherence": rounded(course.figures),
        "coherence_in_data": rounded([in_data])[0],
    }


def recovery_claims(results: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[Claim]:
    """Atoms are found; the lifted model is faster, and its atoms less coherent, in the lifted space and in the data's.

    Parameters
    ----------
    results : sequence of mapping
        Their ``models`` hold what `told` makes, by name.
    titles : mapping
        Titles of at least the models ``plain`` and ``lifted``.
    """

    def ends(name: str, key: str) -> list[float]:
        return [one["models"][name][key][-1] for one in results]

    def in_data(name: str) -> list[float]:
        return [one["models"][name]["coherence_in_data"] for one in results]

    pairs = f"mean |cosine| of pairs of atoms, {titles['plain']} - lifted,"
    plain, lifted = titles["plain"], titles["lifted"]
    steps = {name: [crossing(one["models"][name]["found"], NEAR) for one in results] for name in ("plain", "lifted")}
    return [
        Claim(
            f"{plain} and {lifted} find the true atoms",
            tuple(at_least(f"mean best cosine, {titles[name]},", ends(name, "found"), RIGHT) for name in steps),
        ),
        Claim(
            f"{lifted} comes to a mean best cosine of {NEAR} in fewer steps",
            (compare(f"steps of {plain} - steps of {lifted}", steps["lifted"], steps["plain"]),),
        ),
        Claim(
            f"atoms of {lifted} are less coherent in the lifted space",
            (compare(pairs, ends("lifted", "coherence"), ends("plain", "coherence")),),
        ),
        Claim(
            f"atoms of {lifted} are less coherent as they add to the data (P D)",
            (compare(pairs, in_data("lifted"), in_data("plain")),),
        ),
    ]


def draw_recovery(figure: Figure, results: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> None:
    """Cosines and coherence against steps."""
    left, right = figure.subplots(1, 2)
    for (name, title), colour, style in zip(titles.items(), COLOURS, ("-", "-", "--"), strict=False):
        for axes, key in ((left, "found"), (right, "coherence")):
            rows = [one["models"][name][key] for one in results]
            curves(axes, range(len(rows[0])), rows, colour, title, style)
    for value in (NEAR, RIGHT):
        level(left, value, str(value))
    left.set(
        xlabel="step",
        ylabel="mean best cosine of the true atoms",
        title="how well atoms are found; shade: range of the seeds",
    )
    right.set(
        xlabel="step",
        ylabel="mean |cosine| of pairs of atoms",
        title="coherence where codes are inferred (lifted space)",
    )
    left.legend(loc="center right")
