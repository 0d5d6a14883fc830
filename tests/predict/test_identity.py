"""What is said of two runs that differ."""

from __future__ import annotations

import pytest

from galcli.predict.identity import difference, flatten


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        (["A", "B", "C"], ["A", "C", "D"], "x: -B +D"),
        (["A", "B"], ["B", "A"], 'x: ["A", "B"] -> ["B", "A"]'),
        ("[arcsec] size", "[deg] size", "x: [arcsec] size -> [deg] size"),
        ("[", "[]", "x: [ -> []"),
        (5, 6, "x: 5 -> 6"),
        (
            "0123456789abcdef" * 4,
            "fedcba9876543210" * 4,
            "x: 0123456789abcdef...89abcdef -> fedcba9876543210...76543210",
        ),
    ],
)
def test_difference_is_one_line_each(before: object, now: object, line: str) -> None:
    assert difference(flatten({"x": before, "y": 1}), flatten({"x": now, "y": 1})) == [line]


def test_what_came_and_what_went() -> None:
    assert difference(flatten({"a": {"b": 1}}), flatten({"a": {"c": 2}})) == [
        "a.b: 1 -> (absent)",
        "a.c: (absent) -> 2",
    ]
