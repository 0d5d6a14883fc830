import dataclasses
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from PIL import Image

from galcli.cli.train import command
from galcli.cutouts.stack_write import write_stack
from galcli.errors import IdentityError, InputError, UsageError
from galcli.models import library
from galcli.training import cache, checkpoint, regression, sources
from galcli.training.data import take
from galcli.training.fit import STATE
from galcli.training.networks.sfnet import SFNet
from galcli.training.pixels import FRONTS
from galcli.training.recipes import sfnet, sfnet_export, sfnet_plan
from galcli.training.recipes.fronts import fronts_of
from galcli.training.recipes.sfnet_data import Source, gather, recall
from galcli.training.recipes.sfnet_plan import PRESETS, TARGETS, Preset, Stage
from galcli.training.survey import Reading

TINY = Preset((Stage(32, 1.18, 1.0, 0.5), Stage(40, 0.95, 0.5, 0.5, 0.5)), batch=8, lr=1e-3, mock_objects=96)


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK", 48)
        patch.setattr(regression, "NORMALISE", 200)
        patch.setitem(sfnet_plan.PRESETS, "tiny", TINY)
        yield


def labels(**columns):
    return {name: np.array(values, np.float32) for name, values in columns.items()}


def test_selection_of_metallicities():
    found = TARGETS["metallicity"].select(labels(
        oh_p50=[8.9, -9999, 8.5, 8.5, np.nan], lgm_tot_p50=[10, 10, -1, 10, 10], sfr_tot_p50=[0, 0, 0, -99, 0]
    ))  # fmt: skip
    assert found.tolist() == [True, False, False, False, False]
    assert TARGETS["metallicity"].select(labels(oh_p50=[8.9, -9999, np.nan])).tolist() == [True, False, False]


def test_selection_and_values_of_lines():
    lines = ("nii_6584", "h_alpha", "oiii_5007", "h_beta")
    columns = {f"{line}_flux": [10.0, 10.0, 2e5, -5.0, 100.0] for line in lines}
    columns |= {f"{line}_flux_err": [1.0, 1.0, 1.0, 1.0, 1.0] for line in lines}
    columns["h_beta_flux_err"] = [1.0, 4.0, 1.0, 1.0, np.nan]
    target = TARGETS["lines"]
    assert target.select(labels(**columns)).tolist() == [True, False, False, False, False]
    assert target.values(labels(**columns))[0] == pytest.approx([1, 1, 1, 1])
    bare = {name: values for name, values in columns.items() if name.endswith("_flux")}
    assert target.select(labels(**bare)).tolist() == [True, True, False, False, True]


def test_every_preset_ends_on_the_grid_of_the_published_networks():
    for preset in PRESETS.values():
        if preset is not TINY:
            assert (preset.stages[-1].size, preset.stages[-1].pixel_scale) == (144, 0.262)
            assert all(abs(stage.size * stage.pixel_scale - 37.7) < 0.1 for stage in preset.stages)
    published = PRESETS["published"]
    assert (published.batch, published.lr, published.schedule, published.d4) == (64, 0.1, "one_cycle", 0.5)
    assert published.stages[0].epochs == 20


def test_mock_galaxies_are_the_same_at_every_size(tmp_path):
    sample = gather(TARGETS["metallicity"], TINY, Source(tmp_path, 3), "seed")
    large, small = sample.stamps
    assert (len(large), len(small)) == (96, 48)
    for name, values in small.labels.items():
        np.testing.assert_array_equal(values, large.labels[name][:48])
    np.testing.assert_array_equal(small.front, large.front[:48])
    assert set(large.front) == {0, 1}
    # the same field: light per galaxy agrees but for noise, neighbours and seeing
    light = [np.nansum(stamps.pixels[:48].astype(np.float64), axis=(2, 3)).sum(1) for stamps in (large, small)]
    ratio = np.median(light[1] / light[0])
    assert ratio == pytest.approx(1, abs=0.1)


def test_no_galaxy_is_both_learnt_from_and_held_out(tmp_path):
    sample = gather(TARGETS["lines"], TINY, Source(tmp_path, 3), "seed")
    learnt = set().union(*(sample.rows(stage, held=False) for stage in (0, 1)))
    held = set().union(*(sample.rows(stage, held=True) for stage in (0, 1)))
    assert not learnt & held
    assert len(learnt | held) == sample.usable.sum()
    assert np.isfinite(sample.target[sample.usable]).all()


def test_training_on_the_mock_survey(tmp_path):
    path = sfnet.train("metallicity", out=tmp_path / "a", preset="tiny", cache=tmp_path / "cache", seed=3)
    state, info = checkpoint.load_weights(path)
    SFNet(1).load_state_dict(state, strict=True)
    assert info["fronts"] == list(FRONTS)
    assert (info["size"], info["pixel_scale"], info["k"], info["mock"]) == (40, 0.95, 4, True)
    assert len(info["mean"]) == len(info["std"]) == 3
    metrics = json.loads((tmp_path / "a/metrics.json").read_text())
    assert set(metrics["held_out"]["fronts"]) == set(FRONTS)
    assert metrics["held_out"]["fronts"]["display"]["Z_GAS"]["objects"] > 0
    assert metrics["curve"][-1]["step"] == metrics["step"]
    assert metrics["training"]["objects"] > 40
    lines = sfnet.train(
        "lines", out=tmp_path / "b", preset="tiny", cache=tmp_path / "cache", seed=3, init=path, minutes=0.02
    )
    state, later = checkpoint.load_weights(lines)
    assert state["fc.weight"].shape == (4, 512)
    told = {name: info[name] for name in ("target", "preset", "objects", "epochs", "seed", "seconds", "mock")}
    assert later["init"] == {"file": "weights.safetensors"} | told
    assert later["epochs"] != info["epochs"]
    assert len(list((tmp_path / "cache").iterdir())) == 2  # both targets learn from the same stamps
    steps = checkpoint.load(tmp_path / "b" / STATE)[1]["steps"]
    again = sfnet.train(
        "lines", out=tmp_path / "b", preset="tiny", cache=tmp_path / "cache", seed=3, init=path, minutes=0.02,
        resume=True,
    )  # fmt: skip
    assert again == lines
    assert checkpoint.load(tmp_path / "b" / STATE)[1]["steps"] == steps


def test_a_stream_depends_on_its_step_alone_and_shows_no_galaxy_twice():
    one, other = (sfnet._streamed(TARGETS["lines"], TINY.stages[0], TINY, 5, "cpu") for _ in range(2))
    batches = [one.batch(step) for step in range(12)]  # two chunks
    for step in (7, 0):
        for name, value in vars(other.batch(step)).items():
            assert value.equal(getattr(batches[step], name)), name
    assert len({tuple(row.tolist()) for batch in batches for row in batch.target}) == 96


def test_training_on_a_stream(tmp_path):
    path = sfnet.train("lines", out=tmp_path, preset="tiny", seed=3, objects=48, stream=96)
    info = checkpoint.load_weights(path)[1]
    assert (info["stream"], info["objects"], info["epochs"]) == (96, 96, 1)
    with pytest.raises(UsageError, match="only mock galaxies"):
        sfnet.train("metallicity", out=tmp_path / "x", preset="tiny", stream=96, **labelled(tmp_path))


def test_published_runs_see_the_viewer_in_eight_bits(tmp_path):
    plan = dataclasses.replace(PRESETS["published"], stages=(Stage(32, 1.18, 1.0),), batch=8, mock_objects=96)
    sample = gather(TARGETS["metallicity"], plan, Source(tmp_path, 3), "seed")
    batch = sfnet._feed(sample, 0, plan, 3).batch(0)
    assert (batch.front == FRONTS.index("display")).all()
    np.testing.assert_allclose(batch.pixels * 255, (batch.pixels * 255).round(), atol=1e-4)
    assert set(sample.stamps[0].front) == {FRONTS.index("flux:gri")}
    assert fronts_of(sample, plan.display) == ("display",)
    assert fronts_of(sample, 0.5) == ("flux:gri", "display")
    assert fronts_of(sample, 0) == ("flux:gri",)


@pytest.mark.parametrize(("name", "known"), [("target", "metallicity"), ("preset", "quick")])
def test_unknown_names(tmp_path, name, known):
    with pytest.raises(UsageError, match="nothing") as caught:
        sfnet.train(**{"out": tmp_path / "x", name: "nothing"})
    assert known in caught.value.hint


ROWS = 60


def survey(folder):
    """A catalogue with labels (some missing) and a stack of g r z cutouts in which row i has the flux i."""
    draw = np.random.default_rng(2)
    ra, dec = draw.uniform(0, 360, ROWS), np.degrees(np.arcsin(draw.uniform(-1, 1, ROWS)))
    oh = draw.normal(8.8, 0.2, ROWS).astype(np.float32)
    oh[::10] = -9999
    columns = {"TARGETID": np.arange(ROWS) + 1000, "RA": ra, "DEC": dec, "my_oh": oh, "empty": np.full(ROWS, np.nan)}
    table = Table(columns)
    table.write(folder / "survey.fits")
    pixels = draw.normal(0, 0.01, (ROWS, 3, 64, 64)).astype(np.float32)
    pixels[:, :, 31:33, 31:33] += np.arange(ROWS, dtype=np.float32)[:, None, None, None]
    pixels[7] = np.nan
    (folder / "cutouts").mkdir()
    write_stack(folder / "cutouts/all.fits", table["TARGETID"].data, ra, dec, pixels, "grz", 0.6, "legacy")
    return folder / "survey.fits"


def labelled(folder):
    """Arguments of a training on that survey."""
    return {"catalog": survey(folder), "cutouts": folder / "cutouts/all.fits", "label_columns": ["my_oh"]}


def test_training_on_a_survey(tmp_path):
    catalog = survey(tmp_path)
    stack = tmp_path / "cutouts/all.fits"
    source = Source(tmp_path / "cache", 1, None, catalog, stack, ("my_oh",))
    sample = gather(TARGETS["metallicity"], TINY, source, "tile")
    assert not sample.mock
    first = sample.stamps[0]
    assert len(first) == ROWS - 6
    rows = [row for row in range(ROWS) if row % 10]
    assert sample.usable.tolist() == [row != 7 for row in rows]  # labelled, but without pixels
    pixels, _, front = take(first, np.arange(len(first)))
    assert (front == FRONTS.index("flux:grz")).all()
    light = pixels.sum((1, 2, 3)).numpy() / first.brightness / 12
    for row, flux, usable in zip(rows, light, sample.usable, strict=True):
        assert flux == pytest.approx(row if usable else 0, abs=0.5)
    tile = first.healpix[sample.usable] >> 50
    held = sample.held[sample.usable]
    assert not set(tile[held]) & set(tile[~held])
    path = sfnet.train(
        "metallicity", out=tmp_path / "out", preset="tiny", split="tile", catalog=catalog, cutouts=stack,
        label_columns=["my_oh"],
    )  # fmt: skip
    assert checkpoint.load_weights(path)[1]["mock"] is False


@pytest.fixture(scope="module")
def learned(small, tmp_path_factory):
    """A model file of a training on that survey, and the arguments of the training."""
    folder = tmp_path_factory.mktemp("learned")
    known = labelled(folder)
    return sfnet_export.train_and_export("metallicity", out=folder / "out", preset="tiny", **known), known


def test_the_card_claims_only_the_fronts_of_the_training_set(learned):
    seen, known = learned
    card = library.find(seen).card
    assert card.training.data == Path(known["catalog"]).name
    assert [front.name for front in card.fronts] == ["flux:grz", "display"]
    assert {metric.front for metric in card.metrics} == {"flux:grz", "display"}
    assert card.training.details["seconds"] > 0
    fronts = json.loads((seen.parent / "metrics.json").read_text())["held_out"]["fronts"]
    assert set(fronts) == {"flux:grz", "display"}


def test_a_survey_is_read_as_told(tmp_path):
    catalog = survey(tmp_path)
    table = Table.read(catalog)
    table.rename_columns(["TARGETID", "RA", "DEC"], ["name", "x", "y"])
    table.write(catalog, overwrite=True)
    (tmp_path / "plain").mkdir()
    for row in range(ROWS):
        pixels = np.zeros((3, 64, 64), np.float32)
        pixels[:, 31:33, 31:33] = row
        fits.writeto(tmp_path / f"plain/{row + 1000}.fits", pixels)
    reading = Reading(1, "name", "x", "y", tuple("grz"), 20.0, 0.6)
    source = Source(tmp_path / "cache", 1, None, catalog, tmp_path / "plain", ("my_oh",), reading)
    first = gather(TARGETS["metallicity"], TINY, source, "tile").stamps[0]
    pixels, _, front = take(first, np.arange(len(first)))
    assert (front == FRONTS.index("flux:grz")).all()
    light = pixels.sum((1, 2, 3)).numpy() / first.brightness / 12
    np.testing.assert_allclose(light, [10 * row for row in range(ROWS) if row % 10], rtol=0.05)
    with pytest.raises(UsageError, match="zeropoint"):
        sfnet.train("metallicity", out=tmp_path / "x", preset="tiny", reading=Reading(zeropoint=20.0))


def test_the_command_passes_on_how_a_survey_is_read(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(sfnet_export, "train_and_export", lambda **given: asked.update(given) or tmp_path)
    words = "--hdu 2 --id-column n --ra-column x --dec-column y --bands g,r,z --zeropoint 20 --pixel-scale 0.6"
    done = CliRunner().invoke(command, ["sfnet", "--catalog", str(tmp_path), *words.split()], catch_exceptions=False)
    assert done.exit_code == 0
    assert asked["reading"] == Reading(2, "n", "x", "y", ("g", "r", "z"), 20.0, 0.6)
    assert not {"hdu", "bands", "zeropoint"} & set(asked)


def test_training_does_not_go_on_with_other_labels(tmp_path):
    known = labelled(tmp_path)
    sfnet.train("metallicity", out=tmp_path / "out", preset="tiny", **known)
    table = Table.read(known["catalog"])
    table["my_oh"] += 0.01 * (table["my_oh"] > 0)
    table.write(known["catalog"], overwrite=True)
    with pytest.raises(IdentityError, match="learned"):
        sfnet.train("metallicity", out=tmp_path / "out", preset="tiny", resume=True, **known)


def test_training_on_display_images(tmp_path):
    catalog = survey(tmp_path)
    (tmp_path / "jpg").mkdir()
    for row in range(ROWS):
        image = np.full((50, 50, 3), 20, np.uint8)
        image[20:30, 20:30] = 20 + 3 * row
        Image.fromarray(image).save(tmp_path / f"jpg/{row + 1000}.jpg", quality=95)
    source = Source(tmp_path / "cache", 1, None, catalog, tmp_path / "jpg", ("my_oh",))
    sample = gather(TARGETS["metallicity"], TINY, source, "seed")
    pixels, _, front = take(sample.stamps[0], np.arange(len(sample.usable)))
    assert (front == FRONTS.index("display")).all()
    assert sample.usable.all()
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert pixels[-1, 0, 16, 16].item() == pytest.approx((20 + 3 * 59) / 255, abs=0.02)


def test_label_columns_that_do_not_fit(tmp_path):
    catalog = survey(tmp_path)
    with pytest.raises(UsageError, match="1 or 3 columns, not 2"):
        gather(TARGETS["metallicity"], TINY, Source(tmp_path, 1, None, catalog, None, ("my_oh", "RA")), "seed")
    with pytest.raises(InputError, match="oh_p50"):
        gather(TARGETS["metallicity"], TINY, Source(tmp_path, 1, None, catalog), "seed")
    with pytest.raises(InputError, match="none of its 60 rows"):
        gather(TARGETS["metallicity"], TINY, Source(tmp_path, 1, None, catalog, None, ("empty",)), "seed")


def test_too_few_galaxies(tmp_path):
    plan = dataclasses.replace(TINY, batch=64)
    sample = gather(TARGETS["metallicity"], plan, Source(tmp_path, 3, 48), "seed")
    with pytest.raises(InputError, match="fewer than a batch of 64"):
        sfnet._feed(sample, 0, plan, 0)


def test_whole_tiles_of_the_mock_survey_are_held_out(tmp_path):
    sample = gather(TARGETS["metallicity"], TINY, Source(tmp_path, 3, 96), "tile")
    large, small = sample.stamps
    np.testing.assert_array_equal(small.healpix, large.healpix[:48])
    assert len(np.unique(large.healpix)) == 96
    tile, held = large.healpix[sample.usable] >> 50, sample.held[sample.usable]
    assert 0 < held.sum() < len(held)
    assert not set(tile[held]) & set(tile[~held])


def test_two_trainings_do_not_make_the_same_stamps(tmp_path):
    recipe = cache.Recipe("shared", 2 * cache.CHUNK, 4, 1.0, ("a",), {})
    made, said, started = [], [], threading.Event()

    def make(chunk, rows):
        made.append(chunk)
        started.set()
        time.sleep(0.2)
        return cache.Chunk(
            np.full((rows, 3, 4, 4), chunk, np.float32), np.zeros(rows, np.int8), np.full((rows, 1), chunk, np.float32),
            np.zeros(rows, np.int64),
        )  # fmt: skip

    first = threading.Thread(target=cache.build, args=(tmp_path, recipe, make, said.append))
    first.start()
    started.wait()
    stamps = cache.build(tmp_path, recipe, make, said.append)
    first.join()
    assert made == [0, 1]
    assert any("waiting" in line for line in said)
    assert stamps.labels["a"].tolist() == [0.0] * cache.CHUNK + [1.0] * cache.CHUNK


def test_population_is_large_enough_and_repeatable():
    names = TARGETS["metallicity"].labels

    def few(found):
        return sfnet_plan.TARGETS["metallicity"].select(found) & (found["oh_p50"] > 9)

    one, values = sources.mock_population(20, 5, sources.Choice(names, few))
    assert values.shape == (20, 3)
    assert (values[:, 0] > 9).all()
    np.testing.assert_array_equal(values, sources.mock_population(20, 5, sources.Choice(names, few))[1])
    assert all(len(column) == 20 for column in one.values())


def test_recalled_galaxies_are_those_of_the_training(tmp_path):
    for split in ("seed", "tile"):
        source = Source(tmp_path, 3)
        whole = gather(TARGETS["metallicity"], TINY, source, split)
        again = recall(TARGETS["metallicity"], TINY, source, split, 40)
        for name in ("held", "target", "usable"):
            np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
        (stamps,) = again.stamps
        assert len(stamps) == 40
        np.testing.assert_array_equal(stamps.pixels, whole.stamps[1].pixels[:40])
        np.testing.assert_array_equal(again.rows(0, held=False), [row for row in whole.rows(1, held=False) if row < 40])


@pytest.mark.slow
def test_twin_of_a_file_is_that_of_its_training(tmp_path):
    model = sfnet_export.train_and_export("metallicity", out=tmp_path / "out", preset="tiny", seed=3, objects=96)
    first = library.find(model, "int8")
    again = sfnet_export.export_twin(model, cache=tmp_path / "out/cache")
    assert again == first.path
    one, two = first.card.model_dump(), library.find(model, "int8").card.model_dump()
    for card in (one, two):
        card["metrics"] = [metric for metric in card["metrics"] if "speed" not in metric["name"]]
    assert one == two


def test_twin_needs_the_survey_of_the_training(learned):
    model, known = learned
    with pytest.raises(UsageError, match="learned from"):
        sfnet_export.export_twin(model)
    with pytest.raises(InputError, match="but the model learned from"):
        sfnet_export.export_twin(model, **known, objects=40)
    library.twin_path(model).unlink()
    assert sfnet_export.export_twin(model, **known).exists()
