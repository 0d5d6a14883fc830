import math

import pytest

from galcli.training.experiments.statistics import Claim, Mean, all_of, compare, mean_over_seeds


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
    assert gain.verdict == "holds"
    assert compare("", [0.62, 0.72, 0.82], [0.6, 0.7, 0.8]).gain.verdict == "fails"
    with pytest.raises(ValueError, match="argument 2"):
        compare("", [0.6, 0.7], [0.6])


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [(0.3, 0.2, "holds"), (-0.3, 0.2, "fails"), (0.2, 0.2, "undecided"), (-0.1, 0.2, "undecided"), (9.0, None, "undecided")],
)  # fmt: skip
def test_a_difference_counts_beyond_its_error(value, error, verdict):
    assert Mean(value, error, 3).verdict == verdict


def test_a_claim_needs_all_of_its_comparisons():
    assert all_of(["holds", "holds"]) == "holds"
    assert all_of(["holds", "undecided"]) == "undecided"
    assert all_of(["undecided", "fails", "holds"]) == "fails"
    both = (compare("", [1.0, 1.0], [2.0, 2.0]), compare("", [1.0, 1.5], [1.2, 1.2]))
    assert Claim("", both[:1]).verdict == "holds"
    assert Claim("", both).verdict == "undecided"
