"""The graph of PC: marks of a matrix, what is drawn of them, and what causal-learn finds of a known one."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from galcli.errors import InputError, UsageError
from galcli.training.interpret import causal_graph
from galcli.training.interpret.causal_figures import draw_graph
from galcli.training.interpret.causal_graph import FEWEST, GALAXIES, Discovered, Link, discover, links_of
from galcli.training.interpret.style import PREDICTED

#: a -> b, b -- c, c <-> LOGM, LOGM -> a; e alone.
MATRIX = np.array([[0, -1, 0, 1, 0], [1, 0, -1, 0, 0], [0, -1, 0, 1, 0], [-1, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
NAMES = ("a", "b", "c", "LOGM", "e")


def test_marks_are_links() -> None:
    links = links_of(MATRIX)
    assert set(links) == {Link(0, 1, "->"), Link(1, 2, "--"), Link(2, 3, "<->"), Link(3, 0, "->")}
    found = Discovered(NAMES, links, 10)
    assert {found.told(link) for link in links} == {"a -> b", "b -- c", "c <-> LOGM", "LOGM -> a"}
    assert found.between("a", "LOGM") == found.between("LOGM", "a") == Link(3, 0, "->")
    assert found.between("b", "LOGM") is None
    assert found.between("unknown", "LOGM") is None
    turned = np.array([4, 2, 0, 1, 3])  # the same graph, variables in another order
    again = Discovered(tuple(np.array(NAMES)[turned].tolist()), links_of(MATRIX[np.ix_(turned, turned)]), 10)
    assert {frozenset(again.told(link).split()) for link in again.links} == {
        frozenset(found.told(link).split()) for link in links
    }
    assert {again.told(link) for link in again.links if link.kind == "->"} == {"a -> b", "LOGM -> a"}


def test_drawing_has_each_line_with_its_heads() -> None:
    axes = Figure().subplots()
    found = Discovered(NAMES, links_of(MATRIX), 10)
    draw_graph(found, axes)
    assert [text.get_text() for text in axes.texts] == list(NAMES)
    at = axes.collections[0].get_offsets()
    np.testing.assert_allclose(at[3], [0, 1], atol=1e-12, err_msg="the mass is on top")
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(found.links)
    for link, arrow in zip(found.links, arrows, strict=True):
        style = type(arrow.get_arrowstyle()).__name__
        assert style == {"->": "CurveFilledB", "--": "Curve", "<->": "CurveFilledAB"}[link.kind]
        ends = arrow._posA_posB  # other ends are those after shrinking
        np.testing.assert_allclose(ends, [at[link.first], at[link.second]])
        assert (arrow.get_edgecolor() == to_rgba(PREDICTED)) == (3 in (link.first, link.second))


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal_graph, "available", lambda: False)
    with pytest.raises(UsageError, match="causal-learn") as found:
        causal_graph.require()
    assert found.value.hint == "pip install 'galcli[causal]'"


def test_too_few_galaxies_make_no_graph() -> None:
    values = np.random.default_rng(0).normal(size=(FEWEST - 1, 3))
    with pytest.raises(InputError, match=f"{FEWEST - 1} galaxies have all of a, b, c"):
        discover(values, ("a", "b", "c"), 0)


def test_collider_is_found() -> None:
    """A -> LOGM <- B, and C apart; one variable is constant, and one next to never known."""
    pytest.importorskip("causallearn")
    random = np.random.default_rng(1)
    a, b, c = random.normal(size=(3, 2 * GALAXIES))
    mass = a + b + 0.3 * random.normal(size=len(a))
    constant, rare = np.full(len(a), 2.0), np.where(np.arange(len(a)) < 9, 1.0, np.nan)
    a[5] = np.nan
    values = np.stack([mass, a, b, c, constant, rare], 1)
    found = discover(values, ("LOGM", "A", "B", "C", "same", "rare"), 3)
    assert found.galaxies == GALAXIES
    assert found.names == ("LOGM", "A", "B", "C")
    assert {found.told(link) for link in found.links} == {"A -> LOGM", "B -> LOGM"}
