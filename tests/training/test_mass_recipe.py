"""Networks for stellar mass from galaxies to the model file: data, exact resume, and what the graph says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from galcli.errors import InputError, ModelError, UsageError
from galcli.models import library
from galcli.models.session import Graph
from galcli.training.fit import STATE, Fit
from galcli.training.interpret.information import empirical_prior
from galcli.training.networks.mass import BINS
from galcli.training.recipes.mass import COLUMNS, METRICS, WEIGHTS, load_mass, train_mass
from galcli.training.recipes.mass_data import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    MassFeed,
    Source,
    batches,
    gather,
    with_gaps,
)
from galcli.training.recipes.mass_export import require_sight, train_and_export
from galcli.training.recipes.mass_graph import ExportedImages, Posterior
from galcli.training.recipes.mass_network import MassNetwork, Prepare, Prepared
from galcli.training.recipes.mass_plan import (
    GAPS,
    INFRARED,
    MAGNITUDES,
    OPTICAL,
    OPTIONAL,
    PRESETS,
    SETS,
    Inputs,
)
from galcli.training.recipes.mass_posterior import bins_of, centres, cumulative, quantile
from galcli.training.recipes.mass_scales import measure
from galcli.training.seeds import mix
from tests.survey import write_catalog, write_stamp
from tests.training.expected import expected

OBJECTS = 1500
Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mass")


@pytest.fixture(scope="module")
def source(root: Path) -> Source:
    return Source(root / "cache", 5, OBJECTS)


class Made(NamedTuple):
    """A model file, and what it says of the test galaxies."""

    path: Path
    columns: NDArray[np.float32]
    truth: NDArray[np.float32]
    says: Graph
    prior: Any


@pytest.fixture(scope="module")
def made(root: Path, source: Source) -> Made:
    parts = SETS["optical+ir"]
    path = train_and_export(root / "photometry", source, parts, contrastive=True, preset="quick", epochs=20.0)
    galaxies = gather(parts.both, 0, source)
    prior = empirical_prior(bins_of(galaxies.target[galaxies.rows(TRAIN)]))
    rows = galaxies.rows(TEST)
    columns, truth = galaxies.matrix(parts.both.needed)[rows], galaxies.target[rows]
    return Made(path, columns, truth, Graph(path.read_bytes(), "made", "cpu", 1), prior)


def inside(said: Arrays, truth: NDArray[np.float32]) -> float:
    """Part of the true masses between the quantiles that hold 68 %."""
    return float(np.mean((said["p16"] < truth) & (truth < said["p84"])))


def test_mock_galaxies_are_the_same_with_and_without_images(root: Path) -> None:
    few = Source(root / "few", 5, 80)
    bare, seen = gather(SETS["optical"].both, 0, few), gather(SETS["images"].both, 0, few)
    assert bare.stamps is None
    assert seen.stamps is not None
    assert seen.stamps.pixels.shape == (80, 5, 64, 64)
    np.testing.assert_array_equal(bare.target, seen.target)
    np.testing.assert_array_equal(bare.columns["petroMag_r"], seen.columns["petroMag_r"])
    np.testing.assert_array_equal(bare.part, seen.part)
    flux = np.nansum(seen.stamps.pixels[:, 2].astype(np.float64), (1, 2))
    magnitude = 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-3))
    assert np.corrcoef(magnitude, bare.columns["petroMag_r"])[0, 1] > 0.7, "images belong to the magnitudes"


def test_parts_are_disjoint_and_whole(source: Source) -> None:
    galaxies = gather(SETS["optical"].both, 0, source)
    sizes = [len(galaxies.rows(part)) for part in (TRAIN, VALIDATION, TEST)]
    assert sizes == [1200, 150, 150]
    assert not (galaxies.part == UNUSED).any()
    tiles = gather(SETS["optical"].both, 0, source, split="tile")
    assert 0.1 < np.mean(tiles.part != TRAIN) < 0.35


def test_galaxies_that_are_listed_twice_are_in_one_part(tmp_path: Path) -> None:
    draw, n = np.random.default_rng(3), 300
    ra, dec = draw.uniform(0, 360, n), draw.uniform(-60, 60, n)
    ra[n // 2 :], dec[n // 2 :] = ra[: n // 2], dec[: n // 2]  # spectra of the same galaxies
    columns = {"EBV": np.full(n, 0.02), "petroMag_r": draw.normal(17, 1, n), "MASS": draw.uniform(9, 11, n)}
    parts = []
    for name, place in (("twice", (ra, dec)), ("nowhere", (np.zeros(n), np.zeros(n)))):
        catalog = tmp_path / f"{name}.fits"
        write_catalog(catalog, OBJECT_ID=np.arange(n), RA=place[0], DEC=place[1], **columns)
        parts.append(
            gather(Inputs(("petroMag_r",)), 0, Source(tmp_path / "cache", 5, catalog=catalog, target="MASS")).part
        )
    twice, nowhere = parts
    np.testing.assert_array_equal(twice[: n // 2], twice[n // 2 :])
    np.testing.assert_array_equal(twice[: n // 2], nowhere[: n // 2])
    assert (nowhere[: n // 2] != nowhere[n // 2 :]).any()


def test_sentinels_and_absent_masses(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    n = 200
    columns = {name: draw.normal(17, 1, n).astype(np.float32) for name in (*OPTICAL, "EBV")}
    columns["petroMag_u"][3], columns["petroMagErr_z"][4] = -9999, np.nan
    mass = draw.uniform(8, 11, n).astype(np.float32)
    mass[:4] = -9999, np.nan, 5.0, 13.0
    write_catalog(tmp_path / "c.fits", OBJECT_ID=np.arange(n), RA=draw.uniform(0, 360, n), DEC=draw.uniform(-60, 60, n),
                  MASS=mass, **columns)  # fmt: skip
    given = Source(tmp_path / "cache", 5, catalog=tmp_path / "c.fits", target="MASS")
    galaxies = gather(SETS["optical"].both, 0, given)
    assert (galaxies.part[:4] == UNUSED).all()
    assert (galaxies.part[4:] != UNUSED).all()
    assert np.isnan(galaxies.columns["petroMag_u"][3])
    whole = galaxies.complete(SETS["optical"].both.needed)
    assert whole.part[4] == UNUSED
    assert (whole.part[5:] == galaxies.part[5:]).all()
    assert not galaxies.mock
    with pytest.raises(InputError, match="no galaxy of"):
        gather(SETS["optical"].both, 0, replace(given, target="petroMag_g"))
    with pytest.raises(InputError) as error:
        gather(SETS["optical+ir"].both, 0, given)
    assert "w1mpro" in error.value.message


def test_survey_images_come_with_their_columns(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    n = 12
    ids, ra, dec = np.arange(n), draw.uniform(10, 11, n), draw.uniform(0, 1, n)
    write_catalog(tmp_path / "c.fits", OBJECT_ID=ids, RA=ra, DEC=dec, EBV=np.linspace(0, 0.1, n),
                  lgm_tot_p50=draw.uniform(9, 11, n))  # fmt: skip
    pixels = draw.normal(0, 0.1, (n, 5, 70, 70)).astype(np.float32)
    pixels[5] = np.nan
    (tmp_path / "cutouts").mkdir()
    for row in range(n):
        write_stamp(tmp_path / "cutouts" / f"{row}.fits", pixels[row], ra[row], dec[row], "ugriz",
                    np.diag([-0.396, 0.396]) / 3600)  # fmt: skip
    galaxies = gather(SETS["images"].both, 0, Source(tmp_path / "cache", 5, catalog=tmp_path / "c.fits"))
    assert galaxies.stamps is not None
    seen = np.arange(n) != 5
    np.testing.assert_allclose(galaxies.columns["EBV"][seen], np.linspace(0, 0.1, n)[seen], rtol=1e-6)
    assert (galaxies.part == UNUSED).tolist() == [row == 5 for row in range(n)]
    factor = (0.396 / 0.262) ** 2  # of cutout servers that interpolate values
    np.testing.assert_allclose(galaxies.stamps.pixels[0, 1], factor * pixels[0, 1, 3:67, 3:67], rtol=2e-3, atol=1e-3)


def test_values_are_taken_away_as_often_as_asked(source: Source) -> None:
    galaxies, names = gather(SETS["optical+ir"].both, 0, source), SETS["optical+ir"].both.needed
    there = np.isfinite(galaxies.matrix(names)[galaxies.rows(TRAIN)]).mean(0)
    feed = MassFeed(galaxies, names, galaxies.rows(TRAIN), 1200, 1, 0.2)
    gone = torch.cat([torch.isnan(feed.batch(step).columns) for step in range(20)]).double().mean(0).numpy()
    for name, part, before in zip(names, gone, there, strict=True):
        groups = sum(name in group for group in GAPS)
        assert part == pytest.approx(1 - 0.8**groups * before, abs=0.015), name
    assert {name for name in names if name not in OPTIONAL} == {*MAGNITUDES, "EBV"}
    lacking = with_gaps(galaxies, names, 0.2).matrix(names)
    bare = np.isnan(lacking[:, [names.index(name) for name in INFRARED]]).all(1).mean()
    assert bare == pytest.approx(0.2, abs=0.04), "what surveys lack together goes together"
    plain = MassFeed(galaxies, names, galaxies.rows(TRAIN), 1200, 1)
    rows = plain.batch(0).rows
    np.testing.assert_array_equal(plain.batch(0).columns, galaxies.matrix(names)[rows])
    assert sorted(rows.tolist()) == galaxies.rows(TRAIN).tolist(), "an epoch is a permutation"
    assert not torch.equal(rows, plain.batch(1).rows)


def test_killed_and_resumed_trainings_end_in_the_same_bits(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Inputs(OPTICAL)
    whole = train_mass(tmp_path / "whole", source, inputs, kind="scl", preset="quick", epochs=2.0)
    step, count = Fit._step, 0

    def dying(self: Fit, *words: Any) -> float:
        nonlocal count
        count += 1
        if count == 25:
            self.settings = replace(self.settings)
            raise KeyboardInterrupt
        return step(self, *words)

    settings = {"kind": "scl", "preset": "quick", "epochs": 2.0}
    monkeypatch.setattr(Fit, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        train_mass(tmp_path / "killed", source, inputs, **settings)
    monkeypatch.setattr(Fit, "_step", step)
    resumed = train_mass(tmp_path / "killed", source, inputs, resume=True, **settings)
    assert resumed.read_bytes() == whole.read_bytes()


def test_trainings_refuse_what_contradicts(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target given without a catalogue"):
        gather(Inputs(OPTICAL), 0, replace(source, target="MASS"))
    with pytest.raises(UsageError, match="map given without a catalogue"):
        gather(Inputs(OPTICAL), 0, replace(source, mapped=(("EBV", "E"),)))
    with pytest.raises(UsageError, match="epochs"):
        train_mass(tmp_path / "a", source, Inputs(OPTICAL), epochs=1.0, minutes=1.0)
    with pytest.raises(InputError, match="left to learn from"):
        train_mass(tmp_path / "b", replace(source, objects=64), Inputs(OPTICAL))
    with pytest.raises(UsageError, match="normalised"):
        Inputs((), "gr", True) | Inputs((), "i")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises((ModelError, InputError)):
        load_mass(tmp_path / "c" / WEIGHTS)


def test_published_numbers_go_in_as_they_are(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "published", replace(PRESETS["published"], iterations=4))
    weights = train_mass(tmp_path / "out", source, Inputs(OPTICAL), preset="published")
    prepared, _, info = load_mass(weights)
    assert info["epochs"] * info["objects"] == 4 * 128
    columns = torch.tensor([[17.0] * 10 + [0.02]])
    assert torch.equal(prepared.prepare(None, None, columns)[1], columns)


def test_points_are_those_of_the_posterior(made: Made) -> None:
    said = made.says.run({"columns": made.columns})
    log = said["inner/log12"]
    p = np.exp(log.astype(np.float64))
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(said["mean"], p @ centres(), atol=1e-4)
    below = cumulative(log)
    for name, level in (("p16", 0.16), ("median", 0.5), ("p84", 0.84)):
        np.testing.assert_allclose(said[name], quantile(below, level), atol=2e-4)
    np.testing.assert_allclose(said["mode"], centres()[log.argmax(1)], atol=1e-5)
    np.testing.assert_allclose(said["pdf"], p, atol=1e-6)
    assert (said["p16"] < said["median"]).all()
    assert (said["median"] < said["p84"]).all()


def test_information_is_that_of_the_posteriors(made: Made) -> None:
    said = made.says.run({"columns": made.columns})
    for name, log in (("mi_x1", "inner/log1"), ("mi_x2", "inner/log2"), ("mi_x12", "inner/log12")):
        np.testing.assert_allclose(said[name], expected(said[log], made.prior), atol=1e-4)
    np.testing.assert_allclose(said["red"], np.minimum(said["mi_x1"], said["mi_x2"]), atol=1e-6)
    np.testing.assert_allclose(said["red"] + said["unq1"], said["mi_x1"], atol=1e-5)
    np.testing.assert_allclose(said["red"] + said["unq2"], said["mi_x2"], atol=1e-5)
    parts = said["red"] + said["unq1"] + said["unq2"] + said["syn"]
    np.testing.assert_allclose(parts, said["mi_x12"], atol=1e-5)
    assert not said["pair"].any()


def test_each_part_sees_its_own_columns_alone(made: Made) -> None:
    names = [column.name for column in library.find(made.path).card.columns]
    changed = made.columns.copy()
    changed[:, [names.index(name) for name in INFRARED]] += 0.3
    before, after = (made.says.run({"columns": columns}) for columns in (made.columns, changed))
    np.testing.assert_array_equal(before["inner/log1"], after["inner/log1"])
    assert (before["inner/log2"] != after["inner/log2"]).any(1).all()
    assert (before["inner/log12"] != after["inner/log12"]).any(1).all()


@pytest.mark.parametrize("group", GAPS, ids=" ".join)
def test_what_networks_learned_to_do_without_widens_the_posterior(made: Made, group: tuple[str, ...]) -> None:
    """It makes no galaxy odd, and the truth lies inside of the interval as often as before."""
    names = [column.name for column in library.find(made.path).card.columns]
    lacking = made.columns.copy()
    lacking[:, [names.index(name) for name in group]] = np.nan
    before, after = (made.says.run({"columns": columns}) for columns in (made.columns, lacking))
    assert (after["ood"] > 1).mean() < 0.05
    assert inside(after, made.truth) > 0.6
    if group == INFRARED:  # the others tell little that the rest does not
        assert (after["p84"] - after["p16"]).mean() > (before["p84"] - before["p16"]).mean()


def test_any_optional_values_may_be_missing(made: Made) -> None:
    """Alone or in any company, such as the error of an upper limit; networks learned of whole groups alone."""
    names = [column.name for column in library.find(made.path).card.columns]
    for name in sorted(OPTIONAL):
        lacking = made.columns.copy()
        lacking[:, names.index(name)] = np.nan
        assert inside(made.says.run({"columns": lacking}), made.truth) > 0.6, name
    draw, optional = np.random.default_rng(0), np.array([name in OPTIONAL for name in names])
    for part in (0.1, 0.3, 0.6):
        lacking = np.where((draw.random(made.columns.shape) < part) & optional, np.float32(np.nan), made.columns)
        assert inside(made.says.run({"columns": lacking}), made.truth) > 0.6, part


def test_rows_of_nothing_stay_finite(made: Made) -> None:
    said = made.says.run({"columns": np.full_like(made.columns, np.nan)})
    assert all(np.isfinite(values).all() for values in said.values())


def test_rows_do_not_depend_on_their_batch(made: Made) -> None:
    whole = made.says.run({"columns": made.columns[:64]})
    for size in (64, 16, 32):
        parts = [made.says.run({"columns": made.columns[first : first + size]}) for first in range(0, 64, size)]
        for name, values in whole.items():
            np.testing.assert_allclose(np.concatenate([part[name] for part in parts]), values, rtol=1e-5, atol=1e-5)


def test_card_tells_what_was_measured(made: Made) -> None:
    card = library.find(made.path).card
    assert card.name == "mass-photometry"
    assert not card.fronts
    assert card.training.mock
    assert [column.name for column in card.columns] == [*OPTICAL, *INFRARED, "EBV"]
    assert {column.missing for column in card.columns if column.name == "petroMag_r"} == {"null"}
    metrics = {metric.name: metric.value for metric in card.metrics}
    assert {metric.objects for metric in card.metrics} == {150}
    assert metrics["LOGM_MEAN rmse"] < metrics["LOGM_MEAN rmse of the mean"]
    total = sum(metrics[f"information {name}, pointwise minimum"] for name in ("R", "U1", "U2", "S"))
    assert total == pytest.approx(metrics["information I12"], abs=1e-5)
    assert sum(card.calibration["pit"]) == pytest.approx(1, abs=1e-3)
    assert {output.column for output in card.outputs if output.group} == {"LOGM_PDF"}
    assert next(output for output in card.outputs if output.column == "SCL_LATENT").shape == (8,)
    assert (made.path.parent / "both" / METRICS).exists()


def test_model_of_one_part_tells_no_parts(root: Path, source: Source) -> None:
    path = train_and_export(root / "one", source, SETS["optical"], preset="quick", epochs=1.0)
    columns = {output.column for output in library.find(path).card.outputs}
    assert "LOGM_MEAN" in columns
    assert not [name for name in columns if name.startswith(("MI_", "PID_", "SCL_"))]


def test_published_model_needs_every_value(root: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers go in as they are: no number can stand for a missing one."""
    monkeypatch.setitem(PRESETS, "published", replace(PRESETS["published"], iterations=4, objects=OBJECTS))
    path = train_and_export(root / "published", source, SETS["optical"], preset="published")
    assert {column.missing for column in library.find(path).card.columns} == {"null"}


@pytest.mark.slow
def test_model_of_images_takes_both(root: Path) -> None:
    few = Source(root / "few", 5, 80)
    parts = SETS["photometry+images"]
    path = train_and_export(root / "images", few, parts, preset="quick", epochs=0.1)
    card = library.find(path).card
    assert card.name == "mass"
    assert (card.size, card.pixel_scale) == ((64, 64), 0.396)
    galaxies = gather(parts.both, 0, few)
    batch = next(iter(batches(galaxies, parts.both.needed, np.arange(6), 6)))
    feeds = {"pixels": batch.pixels, "valid": batch.valid, "front": batch.front, "columns": batch.columns}
    graph = Graph(path.read_bytes(), "made", "cpu", 1)
    said = graph.run({name: value.numpy() for name, value in feeds.items()})
    assert all(np.isfinite(values).all() for values in said.values())
    brighter = {name: value.numpy().copy() for name, value in feeds.items()}
    brighter["pixels"] *= 2
    brighter["columns"][:, :5] -= np.float32(2.5 * np.log10(2))  # twice the flux, and so equal normalised images
    again = graph.run(brighter)
    np.testing.assert_allclose(again["inner/log2"], said["inner/log2"], atol=1e-3)
    assert (again["inner/log1"] != said["inner/log1"]).any()
    both, first = (load_mass(root / "images" / name / WEIGHTS)[0].network for name in ("both", "first"))
    assert not (root / "images/both" / COLUMNS).exists(), "the columns' own network is there already"
    assert both.base is not None
    for name, value in first.state_dict().items():
        assert torch.equal(both.base.state_dict()[name], value), name


def test_images_beside_columns_begin_with_the_columns_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Their network stays as it was trained; a training that is stopped in it goes on to the same bits."""
    few, inputs = Source(root / "few", 5, 80), Inputs(("petroMag_r",), "gr")
    weights = train_mass(tmp_path / "whole", few, inputs, preset="quick", epochs=2.0)
    network, alone = load_mass(weights)[0].network, load_mass(tmp_path / "whole" / COLUMNS / WEIGHTS)
    assert alone[1] == Inputs(("petroMag_r",))
    assert network.base is not None
    for name, value in alone[0].network.state_dict().items():
        assert torch.equal(network.base.state_dict()[name], value), name

    step, left = Fit._step, 0

    def dying(self: Fit, *words: Any) -> float:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return step(self, *words)

    monkeypatch.setattr(Fit, "_step", dying)
    stopped = {"preset": "quick", "epochs": 2.0, "resume": True}
    for steps in (1, 3):  # in the network of the columns, which takes two steps, and in that of both
        left = steps
        with pytest.raises(KeyboardInterrupt):
            train_mass(tmp_path / "killed", few, inputs, **stopped)
        assert (tmp_path / "killed" / STATE).exists() == (steps == 3)
    monkeypatch.setattr(Fit, "_step", step)
    with pytest.raises(InputError, match="already holds a training"):
        train_mass(tmp_path / "killed", few, inputs, preset="quick", epochs=2.0)
    assert train_mass(tmp_path / "killed", few, inputs, **stopped).read_bytes() == weights.read_bytes()
    others = {"given": gather(inputs, 0, replace(few, seed=6)), "base": tmp_path / "whole" / COLUMNS / WEIGHTS}
    with pytest.raises(ModelError, match="learned from other galaxies"):
        train_mass(tmp_path / "others", few, inputs, preset="quick", **others)


def test_networks_that_do_not_see_their_images_are_not_exported(root: Path) -> None:
    few, inputs = Source(root / "few", 5, 80), Inputs(("petroMag_r",), "gr")
    galaxies = gather(inputs, 0, few)
    prepared = Prepared(Prepare(inputs, inputs.needed, measure(galaxies, inputs, False)), MassNetwork(inputs, "mi"))
    module = ExportedImages(Posterior(prepared), [], [0.0] * BINS).eval()
    batch = next(iter(batches(galaxies, inputs.needed, np.arange(4), 4)))
    feeds = {"pixels": batch.pixels, "valid": batch.valid, "front": batch.front, "columns": batch.columns}
    require_sight(module, feeds)
    torch.nn.init.constant_(prepared.network.encoder.dense.bias, -1e6)
    with pytest.raises(ModelError, match="a layer of their network has died"):
        require_sight(module, feeds)


def test_seeds_of_weights_and_galaxies_are_two(source: Source, tmp_path: Path) -> None:
    """Other weights of the same galaxies, for the spread over seeds."""
    given = gather(Inputs(OPTICAL), 0, source)
    first, second, third = (
        train_mass(tmp_path / name, source, Inputs(OPTICAL), preset="quick", epochs=0.5, given=given, seed=seed)
        for name, seed in (("a", 1), ("b", 2), ("c", 1))
    )
    assert first.read_bytes() == third.read_bytes()
    assert first.read_bytes() != second.read_bytes()
    assert mix(1, 1) != mix(2, 1)


def test_columns_are_found_and_converted_as_in_predict(tmp_path: Path) -> None:
    """By other names, by the user's own, and from fluxes; a model must learn from what it will be fed with."""
    draw = np.random.default_rng(0)
    n = 100
    columns = {name: draw.normal(17, 1, n) for name in OPTICAL if name not in ("petroMag_g", "petroMag_i")}
    flux = draw.uniform(10, 100, n)
    flux[7] = -1.0
    write_catalog(tmp_path / "c.fits", OBJECT_ID=np.arange(n), RA=draw.uniform(0, 360, n), DEC=draw.uniform(-60, 60, n),
                  lgm_tot_p50=draw.uniform(9, 11, n), petroFlux_g=flux, MY_I=columns["petroMag_r"] + 1,
                  E_BV=np.full(n, 0.02), **columns)  # fmt: skip
    mapped = (("petroMag_i", "MY_I"),)
    galaxies = gather(Inputs(OPTICAL), 0, Source(tmp_path / "cache", 5, catalog=tmp_path / "c.fits", mapped=mapped))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(galaxies.columns["petroMag_g"], 22.5 - 2.5 * np.log10(flux), rtol=1e-6)
    assert np.isnan(galaxies.columns["petroMag_g"]).nonzero()[0].tolist() == [7]
    np.testing.assert_allclose(galaxies.columns["petroMag_i"], columns["petroMag_r"] + 1, rtol=1e-6)
    np.testing.assert_allclose(galaxies.columns["EBV"], 0.02, rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "taken"),
    [("", True), ("dex", True), ("dex(solMass)", True), ("log(Msun)", True), ("solMass", False), ("1e10 Msun", False),
     ("mag", False)],
)  # fmt: skip
def test_masses_are_logarithms(tmp_path: Path, unit: str, taken: bool, capsys: pytest.CaptureFixture[str]) -> None:
    n = 100
    mass = np.where(np.arange(n) < 7, -9999, np.linspace(9, 11, n))
    write_catalog(tmp_path / "c.fits", {"MASS": unit}, OBJECT_ID=np.arange(n), RA=np.linspace(0, 300, n), DEC=np.zeros(n),
                  EBV=np.zeros(n), MASS=mass)  # fmt: skip
    given = Source(tmp_path / "cache", 5, catalog=tmp_path / "c.fits", target="MASS")
    if taken:
        assert (gather(Inputs(), 0, given).part == UNUSED).sum() == 7
        assert "7 of 100 galaxies have no mass in MASS between 6 and 12.5" in capsys.readouterr().err
    else:
        with pytest.raises(InputError, match="but masses are learned as log10"):
            gather(Inputs(), 0, given)


def test_one_mass_is_estimated_from_another(tmp_path: Path) -> None:
    """The column that is the target elsewhere is a column like others where another is asked for."""
    draw = np.random.default_rng(3)
    n = 100
    write_catalog(tmp_path / "c.fits", OBJECT_ID=np.arange(n), RA=draw.uniform(0, 360, n), DEC=draw.uniform(-60, 60, n),
                  EBV=np.zeros(n), lgm_tot_p50=np.full(n, 9.0), MASS=np.linspace(9, 11, n))  # fmt: skip
    source = Source(tmp_path / "cache", 5, catalog=tmp_path / "c.fits", target="MASS")
    galaxies = gather(Inputs(("lgm_tot_p50",)), 0, source)
    np.testing.assert_allclose(galaxies.target, np.linspace(9, 11, n), rtol=1e-6)
    np.testing.assert_array_equal(galaxies.columns["lgm_tot_p50"], 9.0)
