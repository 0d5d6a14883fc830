"""Plots of dependence: what axes hold."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from galcli.progress import Lines
from galcli.training.interpret import causal_figures as figures
from galcli.training.interpret.causal_numbers import LEVEL, Result, measure
from galcli.training.interpret.causal_seen import Looking, find_model, see
from galcli.training.interpret.causal_variables import Choice, choose_variables
from galcli.training.recipes.mass_data import Source
from tests.training.interpret.made_causal import table, write_identity, write_table


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Result], Choice]:
    root = tmp_path_factory.mktemp("drawn")
    model = write_identity(root / "identity.onnx")
    catalog = write_table(root / "drawn.fits", **table(600, 3))
    choice = choose_variables(("Q1", "C3", "Q4"), ("C3", "C4"), ("Q1", "Q4", "C3", "C4", "Z"))
    source = Source(root, 0, catalog=catalog)
    sample = see(find_model(str(model)), choice, source, Looking(30, device="cpu", threads=1), ["Z"], Lines())
    return measure(sample, 30, 1, Lines()), choice


def test_matrix_has_each_pair_in_its_place(tested: tuple[list[Result], Choice]) -> None:
    found, choice = tested
    figure = Figure()
    figures.matrix_figure(found, choice, figure)
    median, square, efficiency = (axes for axes in figure.axes if axes.images)
    values = {(one.query.name, figures.word_of(one.condition)): one for one in found}
    assert len(values) == 8, "C3 is not its own condition"
    for axes, value, p in (
        (median, lambda one: one.whole.r_median, None),
        (square, lambda one: one.whole.dependence.r.statistic - one.whole.dependence.r.null_mean, "p_r"),
        (efficiency, lambda one: one.whole.dependence.efficiency.statistic - one.whole.dependence.efficiency.null_mean,
         "p_efficiency"),
    ):  # fmt: skip
        queries = [label.get_text() for label in median.get_yticklabels()]
        conditions = [label.get_text() for label in axes.get_xticklabels()]
        assert queries == ["Q1", "C3", "Q4"]
        assert conditions == ["none", "C3", "C4"]
        cells = np.ma.filled(axes.images[0].get_array(), np.nan)
        rings = set(zip(*axes.lines[0].get_data(), strict=True))
        for row, query in enumerate(queries):
            for column, condition in enumerate(conditions):
                one = values.get((query, condition))
                if one is None:
                    assert np.isnan(cells[row, column])
                else:
                    assert cells[row, column] == pytest.approx(value(one))
                ringed = one is not None and p is not None and getattr(one, p) <= LEVEL
                assert ((column, row) in rings) == ringed
    assert (0, 0) in set(zip(*square.lines[0].get_data(), strict=True)), "Q1 depends"


def rows_of(tested: tuple[list[Result], Choice]) -> list[list[Result | None]]:
    pairs = {(one.query, one.condition): one for one in tested[0]}
    return [[pairs.get((query, condition)) for condition in tested[1].conditions] for query in tested[1].queries]


def test_histograms_hold_all_galaxies(tested: tuple[list[Result], Choice]) -> None:
    figure, rows = Figure(), rows_of(tested)
    figures.histograms_figure(rows, figure)
    panels = np.array(figure.axes).reshape(3, 3)
    assert not panels[1, 1].axison, "C3 given itself"
    one = rows[0][2]
    assert one is not None
    assert panels[0, 2].get_title() == "Q1\ngiven s, C4"
    heights, edges = np.histogram(one.tests.r, np.linspace(-1, 1, 51), density=True)
    outline = panels[0, 2].patches[-1].get_xy()
    assert outline[:, 1].max() == pytest.approx(heights.max())
    assert edges[heights.argmax()] == pytest.approx(outline[outline[:, 1].argmax(), 0])
    assert [text.get_text() for text in figure.legends[0].texts] == ["mass permuted", "galaxies"]


def test_strata_have_their_lines(tested: tuple[list[Result], Choice]) -> None:
    figure, rows = Figure(), rows_of(tested)
    figures.strata_figure(rows, figure)
    panels = np.array(figure.axes).reshape(3, 2)
    assert [axes.get_xlabel() for axes in panels[-1]] == ["log M* [Msun]", "redshift"]
    one = rows[2][1]
    assert one is not None
    for variable, axes in zip(("LOGM", "Z"), panels[2], strict=True):
        lines = [line for line in one.lines if line.stratum.variable == variable]
        assert len(lines) == 4
        drawn = axes.containers[1].lines[0]
        assert axes.containers[1].get_label() == "given s, C3"
        scores = [line.dependence.r for line in lines]
        np.testing.assert_allclose(drawn.get_ydata(orig=False), [each.statistic - each.null_mean for each in scores])
        for x, line in zip(drawn.get_xdata(orig=False), lines, strict=True):
            assert line.stratum.low < x < line.stratum.high
    # the same colour for a condition everywhere, also where another one is missing
    colours = {
        (container.get_label(), container.lines[0].get_color()) for axes in panels.flat for container in axes.containers
    }
    assert len(colours) == 3
