"""Traversals, sentences, choice of examples and first filters, on what is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from galcli.models import library
from galcli.training.interpret import spectra_figures, spectra_numbers
from galcli.training.interpret.report import Report
from galcli.training.interpret.stem import Stem, read_stem
from galcli.training.recipes.vae_coder import open_coder
from galcli.training.spectra.grid import wavelengths
from tests.training.tiny_spectra import ADDS, AT_ZERO, IDLE, LATENTS, Tiny


def test_traversal_of_a_linear_decoder(tiny_spectra: Tiny) -> None:
    moved = spectra_numbers.traverse(open_coder(tiny_spectra.folder))
    assert moved.flux.shape == (LATENTS, 25, 1000)
    assert (moved.values[0], moved.values[12], moved.values[-1]) == (-3, 0, 3)
    for number in range(LATENTS):
        expected = tiny_spectra.mean + moved.values[:, None] * tiny_spectra.vectors[number]
        np.testing.assert_allclose(moved.flux[number], expected, atol=1e-6)
        np.testing.assert_allclose(moved.ew_ha[number], AT_ZERO[0] + moved.values * ADDS[number, 0], rtol=1e-5)
        np.testing.assert_allclose(moved.d4000[number], AT_ZERO[1] + moved.values * ADDS[number, 1], rtol=1e-5)
    assert moved.change[IDLE] == 0
    assert (np.delete(moved.change, IDLE) > 1e-3).all()


def whole(moved: spectra_numbers.Traversal) -> spectra_numbers.Traversal:
    """The same from end to end."""
    return replace(moved, inside=np.ones_like(moved.inside))


def test_sentences_come_from_the_numbers(tiny_spectra: Tiny) -> None:
    moved = whole(spectra_numbers.traverse(open_coder(tiny_spectra.folder)))
    found = {"EW(Hα)": 0.2, "D4000": -0.91, "log [O III]/Hβ": None, "the slope of the continuum": 0.5}
    text = spectra_numbers.sentence(0, found, moved)
    assert text.startswith("Latent 0 follows D4000 (−0.91) and the slope of the continuum (+0.50).")
    assert "EW(Hα) goes from −4.0 to +44.0 Å and D4000 from 1.50 to 1.50" in text
    assert "does not use it" in spectra_numbers.sentence(IDLE, found, moved)
    assert "none of the four" in spectra_numbers.sentence(1, {"D4000": 0.29}, moved)


def test_traversals_end_where_the_decoder_knows_no_galaxy(tiny_spectra: Tiny) -> None:
    moved = spectra_numbers.traverse(open_coder(tiny_spectra.folder))
    norm = np.linalg.norm(tiny_spectra.mean + moved.values[:, None, None] * tiny_spectra.vectors, axis=2).T
    dark = moved.flux.min(2) * 1000**0.5 < -0.05 * norm
    inside = (np.abs(norm / norm[:, [12]] - 1) <= 0.1) & ~dark  # of a line through 0: no step comes back
    assert dark.any()
    assert 0 < np.count_nonzero(~inside) < 75
    np.testing.assert_array_equal(moved.inside, inside)
    moved = whole(moved)
    cut = replace(moved, inside=np.abs(moved.values) <= np.array([[1.5], [3], [3], [3], [3], [0]]))
    assert cut.ends(0) == (6, 18)
    text = spectra_numbers.sentence(0, {"D4000": 0.9}, cut)
    assert "From −1.5 to +1.5, EW(Hα) goes from +8.0 to +32.0 Å" in text
    assert cut.change[0] == pytest.approx(moved.change[0] / 2, rel=0.1)
    np.testing.assert_array_equal(cut.change[1:5], moved.change[1:5])
    figure = Figure()
    spectra_figures.traversal_figure(cut, figure)
    assert [len(axes.lines) for axes in figure.axes[:18:3]] == [7, 13, 13, 13, 13, 1]


def test_correlations_find_what_follows_what() -> None:
    """Spectra of which one latent sets the slope and the other nothing."""
    draw = np.random.default_rng(5)
    latent = draw.normal(size=(60, 3)).astype(np.float32)
    latent[:, 2] = 1
    flux = (wavelengths() / 5000) ** latent[:, :1]
    found = spectra_numbers.correlations(latent, flux.astype(np.float32))
    slope = spectra_numbers.properties(flux.astype(np.float32))["the slope of the continuum"]
    np.testing.assert_allclose(slope, latent[:, 0], atol=5e-3)
    assert found[0]["the slope of the continuum"] == pytest.approx(1, abs=1e-3)
    assert abs(found[1]["the slope of the continuum"] or 1) < 0.4
    assert found[2]["the slope of the continuum"] is None, "a constant follows nothing"
    assert found[0]["log [O III]/Hβ"] is None, "there are no lines"


def test_examples_cover_the_range_and_depend_on_the_seed_alone() -> None:
    order = np.random.default_rng(1).permutation(90)
    given: Any = SimpleNamespace(
        observed=None, predicted=np.arange(90) + 10, column=lambda name: {"SPEC_D4000": order / 90}[name]
    )
    rows = spectra_figures.choose(given, 6, seed=2)
    assert [int(order[row - 10] // 15) for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows == spectra_figures.choose(given, 6, seed=2)
    assert rows != spectra_figures.choose(given, 6, seed=3)
    assert len(spectra_figures.choose(given, 200, seed=2)) == 90


def test_stem_is_the_folded_first_convolution(tiny_spectra: Tiny) -> None:
    stem = read_stem(library.find(tiny_spectra.model))
    assert stem.bands == ("g", "r", "i", "z", "y")
    norm = np.square(tiny_spectra.filters).sum((1, 2, 3))
    assert (np.diff(np.square(stem.weights).sum((1, 2, 3))) <= 0).all()
    np.testing.assert_allclose(
        stem.weights, tiny_spectra.filters[np.argsort(-norm, kind="stable")], rtol=2e-3, atol=1e-4
    )


def test_index_and_response_of_known_filters() -> None:
    bright = np.full((3, 3), -0.25)
    bright[1, 1] = 2
    flat, edge, delta = np.full((3, 3), 1 / 9), np.tile([-1.0, 0, 1], (3, 1)), np.zeros((3, 3))
    delta[1, 1] = 1
    stem = Stem(np.stack([bright, -bright, flat, edge, np.zeros((3, 3))])[:, None], ("g",))
    np.testing.assert_allclose(stem.index, [1, -1, 0, 0, 0], atol=1e-12)
    frequency, amplitude = Stem(delta[None, None], ("g",)).response()
    assert (frequency[0], frequency[-1]) == (0, 0.5)
    np.testing.assert_allclose(amplitude, 1)
    _, amplitude = Stem(flat[None, None], ("g",)).response()
    assert amplitude[0, [0, -1]] == pytest.approx([1, 1 / 3])


def test_text_of_a_report_is_no_markup(tmp_path: Any) -> None:
    page = Report("a <b>")
    page.text("x < y & z", warning=True)
    page.table(("n",), [("<td>",)])
    text = page.write(tmp_path / "index.html").read_text()
    assert "<h1>a &lt;b&gt;</h1>" in text
    assert '<p class="warning">x &lt; y &amp; z</p>' in text
    assert "<td>&lt;td&gt;</td>" in text
