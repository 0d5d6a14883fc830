"""Figures of a dictionary of concepts, on codes made by hand."""

import numpy as np
import torch

from galcli.training.recipes.sae_measure import concept_table, correlations, coverage, metrics, probe, redundancy


def strengths(n: int = 600, p: int = 12, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.gamma(2.0, 1.0, (n, p)) * (draw.random((n, p)) < 0.7)


def test_coverage_counts_the_strongest_concepts() -> None:
    strength = np.zeros((4, 5))
    strength[:, 2], strength[:, 0], strength[:, 4] = 3.0, 1.0, 0.1
    assert coverage(strength) == 1 + (9 / 10.01 < 0.9)
    assert coverage(np.ones((3, 10))) == 9


def test_redundancy_is_the_mean_largest_cosine_of_concepts_in_use() -> None:
    atoms = torch.eye(4)
    atoms[3] = torch.tensor([-1.0, 0, 0, 0])
    alive = np.array([True, True, True, False])
    assert redundancy(atoms, alive) == 0.0
    assert abs(redundancy(atoms, np.ones(4, bool)) - 0.5) < 1e-6
    assert redundancy(atoms, np.array([True, False, False, False])) == 0.0


def test_a_probe_finds_what_is_there_and_nothing_else() -> None:
    strength = strengths()
    draw = np.random.default_rng(1)
    signal = strength @ draw.normal(size=strength.shape[1])
    assert probe(strength, signal) > 0.999
    assert probe(strength, draw.normal(size=len(strength))) < 0.05
    half = signal + draw.normal(0, signal.std(), len(signal))
    assert 0.4 < probe(strength, half) < 0.6
    classes = (strength[:, 0] > 0).astype(float)
    assert probe(strength, classes, classes=True) > 0.3
    assert abs(probe(strength, draw.integers(0, 3, len(strength)).astype(float), classes=True)) < 0.1
    assert probe(strength, np.ones(len(strength)), classes=True) == 0.0
    assert probe(np.zeros_like(strength), signal) == 0.0


def test_correlations_are_those_of_numpy_and_zero_of_idle_concepts() -> None:
    strength = strengths()
    strength[:, 3] = 0
    values = strength[:, 0] + 0.1 * strength[:, 1]
    known = [np.corrcoef(strength[:, k], values)[0, 1] if k != 3 else 0.0 for k in range(12)]
    np.testing.assert_allclose(correlations(strength, values), known, atol=1e-12)


def test_unknown_labels_are_left_out() -> None:
    strength = strengths()
    mass = (10 + strength[:, 0]).astype(np.float32)
    mass[::2] = np.nan
    said = {"inner/strength": strength, "fvu": np.full(600, 0.25), "l0": (strength > 0).sum(1)}
    found = {
        one["name"]: one
        for one in metrics(said, {"LOGM": mass, "Z_GAS": np.full(600, np.nan, np.float32)}, "made", None)
    }
    assert found["LOGM R2 of a linear probe"]["objects"] == 300
    assert found["LOGM R2 of a linear probe"]["value"] > 0.99
    assert "Z_GAS R2 of a linear probe" not in found
    assert found["SAE_FVU mean"]["value"] == 0.25
    table = {column["name"]: column["values"] for column in concept_table(strength, {"LOGM": mass})}
    assert table["R_LOGM"][0] > 0.99
    np.testing.assert_allclose(table["ACTIVE"], (strength > 0).mean(0), rtol=1e-3)
