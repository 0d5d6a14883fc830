import math

import numpy as np
import pytest

from galcli.training.experiments.spectra_claims import PUBLISHED, Scores, claims
from galcli.training.experiments.statistics import CHANCE, Claim, Mean, compare, mean_over_seeds


def test_standard_error_of_known_values():
    mean = mean_over_seeds([1.0, 2.0, 3.0, 4.0])
    assert mean.value == 2.5
    assert mean.error == pytest.approx(math.sqrt(5 / 3) / 2)
    assert mean.text(2) == "2.50 ± 0.65"
    assert mean_over_seeds([0.5]) == Mean(0.5, None, 1)
    assert mean_over_seeds([0.5]).text() == "0.500"


def test_differences_are_paired_over_seeds():
    # Seeds scatter by 0.1, but the second is always worse by 0.02.
    gain = compare("", [0.6, 0.7, 0.8], [0.62, 0.72, 0.82]).gain
    assert gain.value == pytest.approx(0.02)
    assert gain.error == pytest.approx(0, abs=1e-12)
    assert gain.verdict() == "holds"
    assert compare("", [0.62, 0.72, 0.82], [0.6, 0.7, 0.8]).gain.verdict() == "fails"
    assert compare("", [0.6, 0.7, 0.8], [0.6, 0.7, 0.8]).gain.verdict() == "undecided"
    with pytest.raises(ValueError, match="argument 2"):
        compare("", [0.6, 0.7], [0.6])


@pytest.mark.parametrize(
    ("value", "error", "seeds", "comparisons", "verdict"),
    [
        # Tables of Student's t: one-sided 5 % with 1, 2 and 9 degrees of freedom, and 2.5 % with 2.
        (6.32, 1.0, 2, 1, "holds"), (6.31, 1.0, 2, 1, "undecided"), (2.921, 1.0, 3, 1, "holds"),
        (2.919, 1.0, 3, 1, "undecided"), (2.921, 1.0, 3, 2, "holds"), (-2.921, 1.0, 3, 1, "fails"),
        (-4.302, 1.0, 3, 2, "undecided"), (-4.304, 1.0, 3, 2, "fails"), (1.834, 1.0, 10, 1, "holds"),
        (9.0, None, 1, 1, "undecided"),
    ],
)  # fmt: skip
def test_a_difference_counts_beyond_students_t(value, error, seeds, comparisons, verdict):
    assert Mean(value, error, seeds).verdict(comparisons) == verdict


def test_a_claim_needs_all_of_its_comparisons():
    right = compare("", [1.0, 1.0, 1.0], [2.0, 2.0, 2.1])
    doubtful = compare("", [1.0, 1.5, 1.0], [1.2, 1.2, 1.2])
    wrong = compare("", [2.0, 2.0, 2.1], [1.0, 1.0, 1.0])
    assert Claim("", (right, right)).verdict == "holds"
    assert Claim("", (right, doubtful)).verdict == "undecided"
    both = Claim("", (doubtful, wrong, right))
    assert (both.verdict, both.verdicts) == ("fails", ("undecided", "fails", "holds"))


@pytest.mark.parametrize("seeds", [2, 3])
def test_nothing_follows_from_chance(seeds):
    """Where networks differ by nothing but their seeds, claims neither hold nor fail but for one in ten."""
    rng, repeats, cells = np.random.default_rng(0), 1000, [(name, n) for name in PUBLISHED for n in (10, 50)]
    found = []
    for _ in range(repeats):
        losses = {cell: rng.normal(0.7, 0.01, seeds) for cell in cells}
        trainings = ((*cell, {"curve": [{"rmse": loss}]}) for cell in cells for loss in losses[cell])
        found.append([claim.verdict for claim in claims(Scores.of((10, 50), trainings))])
    holds, fails = ((np.array(found) == verdict).mean(axis=0) for verdict in ("holds", "fails"))
    assert (holds + fails < 0.12).all()
    assert holds[-1] + fails[-1] == pytest.approx(2 * CHANCE, abs=0.03)  # a single comparison takes it all
