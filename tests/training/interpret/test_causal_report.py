"""The report on dependence, on tables that say what depends on what."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from galcli.errors import InputError, ModelError, UsageError
from galcli.models import library
from galcli.progress import Lines
from galcli.training.data import Stamps
from galcli.training.interpret import causal_graph, causal_report, causal_seen, causal_words
from galcli.training.interpret.causal_graph import Discovered, Link
from galcli.training.interpret.causal_numbers import LEVEL, adjust, permutations_for
from galcli.training.interpret.causal_report import Asked, write_report
from galcli.training.interpret.causal_seen import Looking, Sample, find_model, see
from galcli.training.interpret.causal_variables import Choice, Variable, choose_variables
from galcli.training.interpret.dependence import Dependence, Score
from galcli.training.interpret.pages import Pages
from galcli.training.recipes.mass_data import TEST, TRAIN, UNUSED, Galaxies, Source, gather
from galcli.training.recipes.mass_plan import BANDS, FRONT, Inputs
from tests.tiny_models import card_of, output, write_columns
from tests.training.interpret.made_causal import LATENTS, SENTINEL, table, write_identity, write_table
from tests.training.interpret.test_dmagnet_report import headings, numbers_of, pictures_in

COUNT, K, PERMUTATIONS, SEEDS = 2000, 60, 199, 3
DEPENDENT = (("Q1", "none"), ("Q1", "C1"), ("Q4", "C4"))
INDEPENDENT = (("Q2", "none"), ("Q2", "C2"), ("Q3", "C3"), ("Q4", "none"))
QUERIES, CONDITIONS = ("Q1", "Q2", "Q3", "Q4"), ("C1", "C2", "C3", "C4")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("causal")


@pytest.fixture(scope="module")
def model(root: Path) -> Path:
    return write_identity(root / "identity.onnx")


def asked(model: Path, catalog: Path, **more: Any) -> Asked:
    given = {"queries": QUERIES, "conditions": CONDITIONS, "neighbours": K, "permutations": PERMUTATIONS,
             "graph": False, "threads": 1, "device": "cpu"}  # fmt: skip
    return Asked(str(model), Source(catalog.parent / "cache", 0, catalog=catalog), **(given | more))


@pytest.fixture(scope="module")
def reports(root: Path, model: Path) -> list[Path]:
    """Of planted galaxies of several seeds."""
    found = []
    for seed in range(SEEDS):
        catalog = write_table(root / f"planted-{seed}.fits", **table(COUNT, seed))
        found.append(root / f"report-{seed}")
        with pytest.MonkeyPatch.context() as patch:
            if seed:  # numbers are enough
                patch.setattr(Pages, "draw", lambda *_: None)
            write_report(found[-1], asked(model, catalog, seed=seed), Lines())
    return found


def whole(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Lines over all galaxies by query and condition."""
    lines = numbers_of(folder)["dependence"]
    return {(one["QUERY"], one["CONDITION"]): one for one in lines if one["STRATUM"] == "all"}


def test_dependent_pairs_are_told_from_independent_ones(reports: list[Path]) -> None:
    truth, r, efficiency = [], [], []
    for lines in map(whole, reports):
        assert len(lines) == len(QUERIES) * (1 + len(CONDITIONS))
        for pairs, dependent in ((DEPENDENT, True), (INDEPENDENT, False)):
            for pair in pairs:
                truth.append(dependent)
                r.append(lines[pair]["R2_Z"])
                efficiency.append(lines[pair]["EFF_Z"])
                if dependent:
                    assert lines[pair]["R2_PADJ"] <= LEVEL
    assert roc_auc_score(truth, r) >= 0.95
    assert roc_auc_score(truth, efficiency) >= 0.95
    for lines in map(whole, reports):
        assert lines["Q1", "none"]["R_MEDIAN"] > 0.1
        assert lines["Q4", "C4"]["R_MEDIAN"] < -0.1
        assert abs(lines["Q2", "none"]["R_MEDIAN"]) < 0.05


def test_page_says_it(reports: list[Path]) -> None:
    page = reports[0] / "index.html"
    text, held = page.read_text(), pictures_in(page)
    assert set(held) == {"matrix", "histograms", "strata"} == {path.stem for path in reports[0].glob("*.png")}
    assert "MOCK galaxies" not in text
    assert "Q1 depends on the mass given s" in text
    assert "Q2: no dependence found given s" in text
    assert text.count("cause") == 1, "only with its caveat"
    assert "dependence alone does not show what causes what" in text
    assert headings(page)[0] == "How to read this page"
    assert "It was not asked for." in text
    assert "Each has 60 neighbours" in text
    assert f"With {PERMUTATIONS} permutations no p is below {1 / (1 + PERMUTATIONS):.2g}" in text
    # 20 pairs and two scores of each: at most 0.05 * rank / 40 is significant
    assert (
        "where fewer than 4 scores reach that, none is significant. With --permutations 799 one would be enough" in text
    )
    assert adjust([1 / 800] + [1.0] * 39)[0] <= LEVEL < adjust([1 / 799] + [1.0] * 39)[0]
    assert "may run through c, or through what c stands for" in text
    assert numbers_of(reports[0])["sample"]["learned"] == "none"


def test_table_and_numbers_are_the_same(reports: list[Path], root: Path) -> None:
    numbers, path = numbers_of(reports[0]), str(reports[0] / "causal.fits")
    for name, kind in (("DEPENDENCE", "dependence"), ("LATENTS", "latents")):
        read, told = fitsio.read(path, ext=name), numbers[kind]
        assert len(read) == len(told)
        assert set(read.dtype.names) == set(told[0])
        for row, line in zip(read, told, strict=True):
            for column, value in line.items():
                found = row[column]
                if isinstance(value, str):
                    assert str(found).strip() == value
                elif value is None:
                    assert np.isnan(found)
                else:
                    assert found == value
    galaxies, header = fitsio.read(path, ext="GALAXIES", header=True)
    assert header["POOL"] == numbers["sample"]["pool"] == 0.8 * COUNT
    assert len(galaxies) == header["OBJECTS"] == numbers["sample"]["tested"] == 0.1 * COUNT
    made = table(COUNT, 0)
    np.testing.assert_allclose(galaxies["LOGM"], made["lgm_tot_p50"][galaxies["ROW"]], rtol=1e-6)
    np.testing.assert_allclose(galaxies["Z"], made["Z"][galaxies["ROW"]], rtol=1e-6)
    lines = [one for one in numbers["dependence"] if one["STRATUM"] == "all"]
    assert [one["PAIR"] for one in lines] == list(range(len(lines)))
    for column, values in (("R_MEDIAN", np.median(galaxies["R"], 0)), ("R2", np.square(galaxies["R"]).mean(0)),
                           ("EFF", galaxies["EFF"].mean(0)), ("R_ABS_PERM", np.median(np.abs(galaxies["R_PERM"]), 0)),
                           ("MEMBERS", galaxies["MEMBERS"].mean(0))):  # fmt: skip
        np.testing.assert_allclose(values, [one[column] for one in lines], rtol=1e-4, err_msg=column)
    strata = {(one["STRATUM"], one["LOW"]) for one in numbers["dependence"]}
    assert {name for name, _ in strata} == {"all", "LOGM", "Z"}
    for name in ("LOGM", "Z"):
        parts = [one for one in numbers["dependence"] if one["STRATUM"] == name and one["PAIR"] == 0]
        assert sum(one["GALAXIES"] for one in parts) == len(galaxies)
        assert all(one["R2_PADJ"] is None for one in parts)


def test_p_are_corrected_together(reports: list[Path]) -> None:
    lines = list(whole(reports[0]).values())
    p = np.array([one["R2_P"] for one in lines] + [one["EFF_P"] for one in lines])
    found = np.array([one["R2_PADJ"] for one in lines] + [one["EFF_PADJ"] for one in lines])
    order, count = np.argsort(p), len(p)
    by_hand = np.minimum.accumulate((p[order] * count / np.arange(1, count + 1))[::-1])[::-1]
    np.testing.assert_allclose(found[order], by_hand.clip(max=1), rtol=1e-12)
    known = adjust([0.01, math.nan, 0.02])
    assert known[::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(known[1])
    assert all(map(math.isnan, adjust([math.nan])))


@pytest.fixture(scope="module")
def holes(root: Path) -> Path:
    """Planted galaxies some of whose values are sentinels; a constant, and what is constant on one side of P1."""
    made = table(1200, 5)
    random = np.random.default_rng(5)
    made["HOLES"] = np.where(random.random(1200) < 0.3, SENTINEL, made["Q1"])
    made["RARE"] = np.where(np.arange(1200) % 60 == 0, made["Q1"], np.nan)
    made["NEVER"] = np.full(1200, SENTINEL)
    made["SAME"] = np.full(1200, 4.0)
    made["STEPS"] = np.where(made["P1"] > 0, made["Q1"], 0.0)
    made["DOUBLE"] = 2 * made["Q1"]
    made["ZERO"] = np.zeros(1200)
    made["P2"] = np.where(random.random(1200) < 0.1, SENTINEL, made["P2"])
    made["lgm_tot_p50"][:7] = SENTINEL
    return write_table(root / "holes.fits", **made)


@pytest.fixture(scope="module")
def sparse(root: Path, model: Path, holes: Path) -> Path:
    queries = ("HOLES", "RARE", "NEVER", "SAME", "STEPS", "Q1/DOUBLE", "Q1-DOUBLE", "Q1/ZERO", "Q1")
    folder = root / "sparse"
    write_report(folder, asked(model, holes, queries=queries, conditions=("HOLES",), neighbours=40), Lines())
    return folder


def test_missing_values_are_missing(sparse: Path) -> None:
    lines, numbers = whole(sparse), numbers_of(sparse)
    sample = numbers["sample"]
    assert sample["galaxies"] == 1200
    assert sample["pool"] + sample["tested"] < 1200 - 7 - 100, "no mass, no part; the rest is validation"
    assert 0.8 < sample["with_representation"] / sample["tested"] < 0.97
    complete, part = lines["Q1", "none"], lines["HOLES", "none"]
    assert complete["MEMBERS"] == pytest.approx(40 * sample["with_representation"] / sample["tested"])
    assert part["MEMBERS"] / complete["MEMBERS"] == pytest.approx(0.7, abs=0.03)
    assert part["R_MEDIAN"] == pytest.approx(complete["R_MEDIAN"], abs=0.08)
    assert part["GALAXIES"] == complete["GALAXIES"] == sample["with_representation"]
    for name in ("RARE", "NEVER", "SAME", "Q1/DOUBLE", "Q1/ZERO"):
        line = lines[name, "none"]
        assert line["GALAXIES"] == 0, name
        assert line["R_MEDIAN"] is line["R2"] is line["R2_Z"] is line["R2_PADJ"] is None
    assert lines["Q1-DOUBLE", "none"]["R_MEDIAN"] == pytest.approx(-complete["R_MEDIAN"], abs=1e-5)
    assert 0.3 < lines["STEPS", "none"]["GALAXIES"] / complete["GALAXIES"] < 0.9, "none where it is constant"
    assert lines["STEPS", "none"]["R_MEDIAN"] > 0
    assert ("HOLES", "HOLES") not in lines
    text = (sparse / "index.html").read_text()
    assert "NEVER: no test." in text
    assert "lack an input that the network needs" in text
    assert "Less than half of the neighbours" not in text
    rows = fitsio.read(str(sparse / "causal.fits"), ext="GALAXIES")
    assert np.isnan(rows["R"][:, list(lines).index(("SAME", "none"))]).all()
    made = fitsio.read(str(sparse.parent / "holes.fits"), columns=["P2", "lgm_tot_p50"])[rows["ROW"]]
    assert (made["lgm_tot_p50"] > 0).all()
    np.testing.assert_array_equal(rows["MEMBERS"][:, -1] == 0, made["P2"] == SENTINEL)


def test_fewer_galaxies_than_neighbours(root: Path, model: Path) -> None:
    catalog = write_table(root / "few.fits", **table(60, 1))
    folder = root / "few"
    write_report(folder, asked(model, catalog, neighbours=100, queries=("Q1",), conditions=("none",)), Lines())
    numbers = numbers_of(folder)
    assert numbers["sample"]["fewest_neighbours"] == numbers["sample"]["pool"] == 48
    assert whole(folder)["Q1", "none"]["MEMBERS"] == 48
    assert "Asked for were 100 neighbours of each; the pool has fewer: 48." in (folder / "index.html").read_text()


def seen(model: Path, catalog: Path, **how: Any) -> Sample:
    choice = choose_variables(("Q1",), ("none",), ("Q1",))
    source = Source(catalog.parent, 0, catalog=catalog)
    return see(find_model(str(model)), choice, source, Looking(20, device="cpu", threads=1, **how), [], Lines())


def test_what_chance_leaves_in_latents_is_not_told() -> None:
    for z, told in ((3.0, False), (6.0, True)):
        score = Score(0.012, 0.01, 0.002 / z, z, 0.002)
        found = list(causal_words.findings([], [Dependence(100, score, score)] * 8, []))
        assert any("still depends on s itself, by up to 0.0020" in text for text in found) == told


def test_one_pair_can_be_significant_among_all() -> None:
    for pairs in (1, 20, 41):
        enough = permutations_for(pairs)
        for permutations, significant in ((enough, True), (enough - 1, False)):
            p = adjust([1 / (1 + permutations)] + [1.0] * (2 * pairs - 1))
            assert (p[0] <= LEVEL) == significant


def test_values_that_many_galaxies_share_at_an_end_are_told(root: Path, model: Path) -> None:
    """They may mean that there is none; classes are no such values."""
    columns = table(300, 5)
    columns["Q1"][::10] = -1e3
    columns["Q2"] = np.arange(300) % 3
    sample = seen(model, write_table(root / "ends.fits", **columns))
    *_, told = causal_words.sample(sample, 20)
    assert (
        told
        == "Q1 is exactly -1000 in 10% of the galaxies: if that stands for no value, leave it out of the catalogue."
    )
    classes = dataclasses.replace(sample, choice=choose_variables(("Q2",), ("none",), ("Q2",)))
    classes.galaxies.columns["Q2"] = columns["Q2"]
    assert not any("exactly" in text for text in causal_words.sample(classes, 20))
    first, *_ = causal_words.sample(sample, 20)
    assert f"{len(sample.galaxies) - len(sample.pool) - len(sample.tested)} are neither" in first


def test_galaxies_of_the_pool_leave_themselves_out(root: Path, model: Path) -> None:
    catalog = write_table(root / "pool.fits", **table(300, 2))
    plain = seen(model, catalog)
    assert not set(plain.pool) & set(plain.tested)
    assert (plain.galaxies.part[plain.pool] == TRAIN).all()
    assert (plain.galaxies.part[plain.tested] == TEST).all()
    every = seen(model, catalog, everyone=True)
    assert set(every.tested) == set(plain.pool) | set(plain.tested)
    itself = every.pool[every.near] == every.tested[:, None]
    assert not itself.any()
    published = seen(model, catalog, everyone=True, include_self=True)
    inside = np.isin(published.tested, published.pool)
    np.testing.assert_array_equal(published.pool[published.near[:, 0]] == published.tested, inside)
    s, tested = every.galaxies.matrix(LATENTS), every.tested[3]
    distance = np.square(s[every.pool] - s[tested]).sum(1)
    distance[every.pool == tested] = np.inf
    np.testing.assert_array_equal(every.near[3], np.argsort(distance)[:20])
    with pytest.raises(UsageError, match="their own neighbours"):
        write_report(root / "not", asked(model, catalog, include_self=True), Lines())


def test_missing_values_that_the_network_takes_are_no_gap(root: Path, holes: Path) -> None:
    taken = seen(write_identity(root / "taking.onnx", missing="nan"), holes)
    assert np.isfinite(taken.s).all()
    assert (taken.near >= 0).all()


def test_columns_that_the_network_does_without_need_not_be_there(
    root: Path, holes: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    """As `predict` takes them: absent is the same as missing everywhere, and told."""
    names = (*LATENTS, "w1mpro")
    model = write_identity(root / "without.onnx", names, missing="nan")
    sample = seen(model, holes)
    assert "note: no column for w1mpro; without does without (where one is called otherwise: --map w1mpro=COLUMN)" in (
        capsys.readouterr().err
    )
    assert np.isnan(sample.galaxies.columns["w1mpro"]).all()
    np.testing.assert_array_equal(sample.s[:, -1], 0)
    np.testing.assert_array_equal(sample.near, seen(write_identity(root / "taking.onnx", missing="nan"), holes).near)
    with pytest.raises(InputError, match="needs column w1mpro"):
        seen(write_identity(root / "needing.onnx", names), holes)
    source = Source(holes.parent, 0, catalog=holes, mapped=(("w1mpro", "nowhere"),))
    with pytest.raises(InputError, match="no column nowhere"):
        see(find_model(str(model)), choose_variables(("Q1",), (), ("Q1",)), source, Looking(20), [], Lines())


def test_page_says_what_the_network_has_learned_from(root: Path, holes: Path) -> None:
    galaxies = gather(Inputs(LATENTS), 0, Source(root, 0, catalog=holes))
    model = write_identity(root / "learned.onnx")
    training = json.loads(library.find(model).card.model_dump_json())["training"]
    for details, data, answer in (({"learned": galaxies.digest(LATENTS)}, "x", "pool"), ({}, galaxies.name, "perhaps"),
                                  ({"learned": "other"}, "x", "none")):  # fmt: skip
        card = {"training": training | {"details": details, "data": data}}
        assert seen(write_identity(root / "learned.onnx", **card), holes).learned == answer


def test_models_without_a_representation_are_refused(root: Path, model: Path) -> None:
    plain = write_columns(root / "plain.onnx", [{"name": name, "quantity": "value"} for name in ("P1", "P2")])
    with pytest.raises(ModelError, match="no representation") as found:
        find_model(str(plain))
    assert found.value.hint == "train one with `galcli train mass --inputs optical+ir --contrastive`"
    few = write_table(root / "none.fits", **table(40, 1) | {"P1": np.full(40, SENTINEL)})
    with pytest.raises(InputError, match="0 of 32 galaxies") as told:
        seen(model, few)
    assert "P1, P2, P3, P4" in told.value.hint


def test_graph_without_its_library(root: Path, model: Path, holes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal_graph, "available", lambda: False)
    wanted = asked(model, holes, queries=("Q1",), conditions=("none",), neighbours=20, permutations=5)
    with pytest.raises(UsageError, match="causal-learn") as found:
        write_report(root / "nograph", dataclasses.replace(wanted, graph=True), Lines())
    assert "galcli[causal]" in found.value.hint
    write_report(root / "nograph", dataclasses.replace(wanted, graph=None), Lines())
    assert "pip install 'galcli[causal]'" in (root / "nograph" / "index.html").read_text().replace("&#x27;", "'")
    assert numbers_of(root / "nograph")["graph"] is None


def test_graph_is_set_beside_the_tests(root: Path, model: Path, holes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def discover(values: np.ndarray, names: list[str], seed: int) -> Discovered:
        given.update(values=values, names=names, seed=seed)
        return Discovered(tuple(names), (Link(0, 2, "->"),), 50)

    monkeypatch.setattr(causal_graph, "available", lambda: True)
    monkeypatch.setattr(causal_graph, "discover", discover)
    folder = root / "graph"
    write_report(folder, asked(model, holes, queries=("Q1", "Q2"), conditions=("none",), graph=True), Lines())
    assert given["names"] == ["LOGM", "Z", "Q1", "Q2"]
    rows = fitsio.read(str(folder / "causal.fits"), ext="GALAXIES")
    np.testing.assert_allclose(given["values"][:, 0], rows["LOGM"], rtol=1e-6)
    np.testing.assert_allclose(given["values"][:, 1], rows["Z"], rtol=1e-6)
    assert numbers_of(folder)["graph"]["links"] == ["LOGM -> Q1"]
    assert "graph" in pictures_in(folder / "index.html")
    text = (folder / "index.html").read_text()
    assert "<td>Q1</td><td>LOGM -&gt; Q1</td><td>depends (z" in text
    assert "<td>Q2</td><td>none</td><td>no dependence found (z" in text


def test_mock_survey_is_the_default(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("petroMag_g", "petroMag_r", "petroMag_i", "EBV")
    model = write_identity(root / "mock.onnx", columns, missing="nan")
    monkeypatch.setattr(causal_report, "measure_latents", lambda *_: [])
    folder = root / "mock"
    wanted = Asked(
        str(model), Source(root / "cache", 8, 1000), (), ("none",), 30, 5, graph=False, device="cpu", threads=1
    )
    write_report(folder, wanted, Lines())
    numbers, text = numbers_of(folder), (folder / "index.html").read_text()
    assert numbers["sample"]["galaxies"] == 1000
    assert numbers["absent"] == []
    assert len(whole(folder)) == 11
    assert text.count("MOCK galaxies") >= 1 + len(pictures_in(folder / "index.html"))
    assert fitsio.read_header(str(folder / "causal.fits"), ext="DEPENDENCE")["MOCK"]
    assert whole(folder)["Z", "none"]["R_MEDIAN"] > 0.3, "the same fluxes from farther away are more mass"


def test_images_reach_the_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The representation of each galaxy is made of its own pixels and columns."""
    draw, count = np.random.default_rng(0), 300
    pixels = draw.normal(1, 1, (count, 5, 64, 64)).astype(np.float16)
    columns = {name: draw.normal(size=count).astype(np.float32) for name in ("a", "EBV")}
    columns["a"][4] = np.nan
    part = np.where(np.arange(count) % 5 == 0, TEST, TRAIN).astype(np.int8)
    part[7] = UNUSED
    stamps = Stamps(pixels, np.zeros(count, np.int64), {}, 0.396, "made", model_scale=0.396)
    galaxies = Galaxies(columns, draw.normal(9, 1, count).astype(np.float32), part, stamps, True, "made")
    monkeypatch.setattr(causal_seen, "gather", lambda *_: galaxies)
    model = write_pixels(root / "pixels.onnx")
    choice = Choice((Variable("a", ("a",)),), (None,))
    sample = see(find_model(str(model)), choice, Source(root, 0), Looking(5, device="cpu", threads=1), [], Lines())
    means = np.column_stack([pixels.astype(np.float64).mean((2, 3)), columns["a"]])[sample.pool]
    np.testing.assert_allclose(sample.s, np.where(np.isnan(means[:, -1:]), np.nan, means), atol=1e-4)
    assert np.isnan(sample.s).any(1).sum() == 1
    assert 7 not in sample.pool


def write_pixels(path: Path) -> Path:
    """The mean of each band and a column as a representation."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["pixels", "plane"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["columns", "first"], ["a"], axis=1),
        helper.make_node("Concat", ["mean", "a"], ["scl_latent"], axis=1),
    ]
    card = card_of(
        path.stem, "PIX", [output("scl_latent", "SCL_LATENT", shape=(6,))], size=64, pixel_scale=0.396,
        fronts=[{"name": FRONT, "bands": list(BANDS)}],
        columns=[{"name": "a", "quantity": "value"}, {"name": "EBV", "quantity": "value"}],
    )  # fmt: skip
    info = helper.make_tensor_value_info
    inputs = [info("pixels", TensorProto.FLOAT, ["N", 5, 64, 64]), info("valid", TensorProto.FLOAT, ["N", 1, 64, 64]),
              info("front", TensorProto.INT64, ["N"]), info("columns", TensorProto.FLOAT, ["N", 2])]  # fmt: skip
    held = [numpy_helper.from_array(np.array([2, 3]), "plane"), numpy_helper.from_array(np.array([0]), "first")]
    graph = helper.make_graph(nodes, "pixels", inputs, [info("scl_latent", TensorProto.FLOAT, ["N", 6])], held)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(found, {"galcli.card": json.dumps(card)})
    onnx.save(found, path)
    return path
