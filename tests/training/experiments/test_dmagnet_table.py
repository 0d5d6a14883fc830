import contextlib
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from galcli.cli import cli
from galcli.errors import IdentityError, InputError, Interrupted, ModelError, UsageError
from galcli.training import cache, fit
from galcli.training.classification import Classification, confusion, scores
from galcli.training.experiments import dmagnet_measure, dmagnet_published
from galcli.training.experiments import dmagnet_table as table
from galcli.training.experiments.dmagnet_measure import multiply_adds, paces
from galcli.training.experiments.dmagnet_published import CONFUSION, ROWS, corrected, published
from galcli.training.fit import STATE
from galcli.training.galaxy10 import COUNTS, NAMES, split
from galcli.training.networks.morphology import NETWORKS
from galcli.training.pixels import FRONTS
from galcli.training.recipes import dmagnet_plan
from galcli.training.recipes.dmagnet_data import Source, Unseen, gather, unseen
from galcli.training.recipes.dmagnet_plan import PRESETS, Preset
from galcli.training.recipes.stages import Stage
from galcli.training.survey import Reading
from tests.training import made_galaxy10
from tests.training.experiments.dmagnet_tables import check_agreement, lines_of

TINY = Preset((Stage(32, 2.096, 1.0),), batch=8, mock_objects=64)
FRESH = 40


def tiny(width):
    """Makes a network that looks at 4x4 patches."""
    return lambda classes: nn.Sequential(
        nn.Conv2d(3, width, 4, 4), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * width, classes),
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK", 64)
        patch.setattr(table, "FRESH", FRESH)
        patch.setattr(dmagnet_measure, "ROUNDS", 1)
        patch.setitem(dmagnet_plan.PRESETS, "quick", TINY)
        for width, name in enumerate(NETWORKS, 2):
            patch.setitem(NETWORKS, name, tiny(width))
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The experiment at its smallest: its folder, what it printed, and the words of the command."""
    out = tmp_path_factory.mktemp("dmagnet") / "out"
    words = ["dmagnet-table", "-o", str(out), "--device", "cpu"]
    return out, run(words), words


def run(words):
    return CliRunner().invoke(cli, ["experiment", *words], catch_exceptions=False).stdout


def timeless(text):
    """A table without what another run measures anew: the speeds."""
    return [line for line in text.splitlines() if " min " not in line]


# What the paper printed.


def test_the_published_table_is_that_of_its_matrix():
    found = scores(np.array(CONFUSION))
    for number, row in enumerate(ROWS):
        figures = found.precision[number], found.recall[number], found.f1[number]
        assert tuple(round(float(value), 2) for value in figures) == (row.precision, row.recall, row.f1), row.label
        assert found.support[number] == row.support
    assert np.trace(CONFUSION) == 2763
    assert np.sum(CONFUSION) == 3194
    assert found.accuracy == 2763 / 3194
    assert found.macro[2] == pytest.approx(0.8511, abs=5e-5)
    assert round(found.accuracy, 2) == dmagnet_published.ACCURACY
    assert tuple(round(value, 2) for value in found.macro) == dmagnet_published.MACRO
    assert tuple(round(value, 2) for value in found.weighted) == dmagnet_published.WEIGHTED


def test_the_rows_of_the_paper_carry_the_names_of_other_classes():
    parts = split(np.repeat(np.arange(10), COUNTS), seed=0)
    sizes = np.bincount(np.repeat(np.arange(10), COUNTS)[parts.test], minlength=10)
    assert (len(parts.training), len(parts.validation), len(parts.test)) == (
        dmagnet_published.TRAINING, dmagnet_published.VALIDATION, dmagnet_published.TEST,
    )  # fmt: skip
    assert len(set(sizes)) == 10, "a support tells its class"
    assert [row.true for row in ROWS] == [NAMES[list(sizes).index(row.support)] for row in ROWS]
    # Printed are Galaxy10's names in Galaxy10's order ...
    assert [row.label.replace("-shaped", " Shaped") for row in ROWS] == list(NAMES)
    assert [row.support for row in ROWS] != list(sizes)
    assert all(row.true != row.label.replace("-shaped", " Shaped") for row in ROWS)
    # ... but the supports come in the alphabetical order of folders.
    folders = [row.true for row in ROWS if row.true != "In-between Round Smooth"]
    assert folders == sorted(folders)
    assert [row.true for row in ROWS].index("In-between Round Smooth") == folders.index("Round Smooth") + 1


def test_corrected_figures_stand_under_their_class():
    matrix, found = corrected(), published()
    parts = split(np.repeat(np.arange(10), COUNTS), seed=0)
    np.testing.assert_array_equal(matrix.sum(1), np.bincount(np.repeat(np.arange(10), COUNTS)[parts.test]))
    for row in ROWS:
        number = NAMES.index(row.true)
        assert round(float(found.f1[number]), 2) == row.f1
    barred, loose = NAMES.index("Barred Spiral"), NAMES.index("Unbarred Loose Spiral")
    assert (matrix[barred, loose], matrix[loose, barred]) == (23, 22), "the paper's largest confusion"


# The experiment.


def test_every_number_is_there_and_says_that_it_is_mock(done):
    out, printed, _ = done
    assert (out / "table.txt").read_text() == printed
    result = json.loads((out / "result.json").read_text())
    assert result["mock"] is True
    for text in (printed, result["sample"] + result["caveats"]):
        assert f"MOCK: {FRESH} unseen mock galaxies" in text
        assert "cannot be held one to one against the published ones" in text
    assert [one["network"] for one in result["networks"]] == list(NETWORKS)
    for width, one in enumerate(result["networks"], 2):
        assert one["parameters"] == 48 * width + width + 2 * width + 40 * width + 10
        assert one["multiply_adds"] == 64 * 48 * width + 40 * width
        assert one["flops"] == 2 * one["multiply_adds"]
        assert one["images_per_second"] > 0
        assert [run["images"] for run in one["trainings"]] == [56]
        shown = one["fronts"]["display"]
        assert shown["objects"] == FRESH
        assert sum(one["fronts"][front]["objects"] for front in ("flux:gri", "flux:grz")) == FRESH
    check_agreement(printed, result)
    assert result["published"]["accuracy"] == 2763 / 3194
    assert result["published"]["printed_as"]["Barred Spiral"] == "Disturbed"
    lines = {line[:24].strip(): line for line in lines_of(printed, "Metrics")[2:12]}
    assert list(lines) == list(NAMES)
    assert lines["Barred Spiral"].split()[2:5] == ["0.86", "0.85", "0.85"]
    assert "Disturbed (368)" in printed
    with Image.open(out / "table.png") as image:
        assert image.size[0] > 1000


def test_all_learn_from_the_same_galaxies_and_are_measured_on_others(done):
    out = done[0]
    metrics = [json.loads((out / f"{name}-256" / "metrics.json").read_text()) for name in NETWORKS]
    for key in ("samples", "stamps", "learned", "seed", "plan"):
        assert len({json.dumps(one["training"][key]) for one in metrics}) == 1
    source = Source(out / "cache", 256)
    labelled = gather(TINY, source)
    test = unseen(TINY, source, labelled, FRESH)
    learned = {stamp.tobytes() for stamp in labelled.sample.stamps[-1].pixels}
    assert learned.isdisjoint(stamp.tobytes() for stamp in test.stamps.pixels)


def test_measured_as_the_training_validates(done, monkeypatch):
    out = done[0]
    source = Source(out / "cache", 256)
    labelled = gather(TINY, source)
    training = table.Training(out / "resnet18-256", "resnet18", "quick", source, labelled, None, "cpu")
    module, pixels = training.trained()
    sample = labelled.sample
    rows = np.arange(64)  # one batch, so that the display images are drawn alike
    shown = []
    for servers in (True, False):
        monkeypatch.setitem(PRESETS, "quick", dataclasses.replace(TINY, servers=servers))
        task = Classification(
            pixels, sample.stamps, [rows], sample.target, NAMES, fronts=FRONTS, seed=3, servers=servers
        )  # fmt: skip
        with torch.no_grad():
            task.validate(module.eval(), 0, final=True)
        found = training.classified(Unseen(sample.stamps[0], sample.target, rows, rows[:0], ""), 3, torch.device("cpu"))
        assert list(found) == list(FRONTS)
        for front, seen in found.items():
            assert seen.confusion.tolist() == task.metrics[front]["confusion"]
            assert len(np.unique(np.nonzero(seen.confusion)[1])) > 1, "not always the same class"
        shown.append(found["display"])
    assert shown[0].calibration_error != shown[1].calibration_error, "other display images"


def test_finished_trainings_are_not_repeated(done, monkeypatch):
    out, printed, words = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/weights.safetensors")}
    assert len(before) == 3
    trained = []
    monkeypatch.setattr(table.Training, "train", lambda one: trained.append(one.name) or "")
    assert timeless(run([*words, "--resume"])) == timeless(printed)
    assert trained == []
    shutil.move(out / "convnext-256", out / "kept")
    try:
        with pytest.raises(ModelError, match="weights"):  # nothing was really trained
            run([*words, "--resume"])
    finally:
        shutil.move(out / "kept", out / "convnext-256")
    assert trained == ["convnext, seed 256"]
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/weights.safetensors")} == before


class Stop:
    """Stands in for a signal at a step."""

    def __init__(self, step):
        self.left = step

    def is_set(self):
        self.left -= 1
        return self.left < 0


def test_a_stopped_experiment_goes_on_and_ends_the_same(done, tmp_path, monkeypatch):
    words = ["dmagnet-table", "-o", str(tmp_path / "out"), "--device", "cpu", "--cache", str(done[0] / "cache")]
    stop = Stop(16)  # asked about twice per step; a training has 7
    with monkeypatch.context() as patch:
        patch.setattr(fit, "stop_requests", lambda: contextlib.nullcontext(stop))
        with pytest.raises(Interrupted):
            run(words)
    assert (tmp_path / "out/dmagnet-256/weights.safetensors").exists()
    assert (tmp_path / "out/resnet18-256" / STATE).exists()
    assert not (tmp_path / "out/resnet18-256/weights.safetensors").exists()
    assert not (tmp_path / "out/table.txt").exists()
    assert timeless(run([*words, "--resume"])) == timeless(done[1])


def test_more_seeds_may_be_added_and_tell_what_is_chance(done, tmp_path):
    out, printed, _ = done
    assert "one training each: how much of a difference is chance, --seeds tells" in printed
    words = ["dmagnet-table", "-o", str(tmp_path / "out"), "--device", "cpu", "--resume", "--seeds", "3"]
    shutil.copytree(out, tmp_path / "out")
    before = (tmp_path / "out/dmagnet-256/weights.safetensors").stat().st_mtime_ns
    text = run(words)
    assert (tmp_path / "out/dmagnet-256/weights.safetensors").stat().st_mtime_ns == before
    result = json.loads((tmp_path / "out/result.json").read_text())
    check_agreement(text, result)
    for network in result["networks"]:
        assert [one["seed"] for one in network["trainings"]] == [256, 257, 258]
        assert len({json.dumps(one["fronts"]["display"]) for one in network["trainings"]}) == 3
        fronts = network["fronts"]
        assert fronts["display"]["objects"] == FRESH  # galaxies, not galaxies times trainings
        assert fronts["flux:gri"]["objects"] + fronts["flux:grz"]["objects"] == FRESH
    learned = [json.loads((tmp_path / f"out/dmagnet-{seed}/metrics.json").read_text()) for seed in (256, 258)]
    assert learned[0]["training"]["learned"] == learned[1]["training"]["learned"]  # the galaxies are the same
    assert learned[0]["curve"][-1]["train_loss"] != learned[1]["curve"][-1]["train_loss"]


def test_another_experiment_is_refused_in_the_same_folder(done):
    out, _, words = done
    with pytest.raises(InputError, match="already holds an experiment"):
        run(words)
    with pytest.raises(IdentityError, match=r"another experiment .*seed: 256 -> 5"):
        run([*words, "--resume", "--seed", "5"])
    with pytest.raises(IdentityError, match="another experiment"):
        table.dmagnet_table(out, Source(out / "cache", 256, 60), resume=True)


def test_damaged_trainings_name_themselves_and_the_way_out(done, tmp_path):
    out, _, words = done
    shutil.copytree(out, tmp_path / "out")
    words = ["dmagnet-table", "-o", str(tmp_path / "out"), "--device", "cpu", "--resume"]
    one = tmp_path / "out/resnet18-256"
    for name in ("weights.safetensors", STATE):
        path = one / name
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ModelError, match=name) as caught:
            run(words)
        assert f"remove {one}" in caught.value.hint
        path.unlink()
    run(words)  # without weights and state it is trained anew


def test_what_cannot_be_is_told_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "run_all", lambda *_: pytest.fail("a training began"))
    source = Source(tmp_path / "cache", 256)
    with pytest.raises(UsageError, match="unknown preset 'long'"):
        table.dmagnet_table(tmp_path / "out", source, preset="long")
    with pytest.raises(UsageError, match="pixel_scale given without a catalogue"):
        table.dmagnet_table(tmp_path / "out", dataclasses.replace(source, reading=Reading(pixel_scale=1.0)))
    with pytest.raises(InputError, match="5 galaxies with classes and pixels to learn from, 0 to validate"):
        table.dmagnet_table(tmp_path / "out", dataclasses.replace(source, objects=5))
    assert not (tmp_path / "out").exists()


def test_galaxy10_is_measured_on_its_test_galaxies(tmp_path):
    data = made_galaxy10.content(list(range(10)) * 6)
    data["pxscale"][:] = 0.524  # a quarter of the grid's; far finer ones are left out
    made_galaxy10.write(tmp_path / "galaxies.h5", data)
    words = [
        "dmagnet-table",
        "-o",
        str(tmp_path / "out"),
        "--galaxy10",
        str(tmp_path / "galaxies.h5"),
        "--device",
        "cpu",
    ]
    with pytest.raises(InputError, match="not the published"):
        run(words)
    printed = run([*words, "--no-verify"])
    assert "10 test galaxies of galaxies.h5; 36 others learned from" in printed  # 5 of 6 are kept, of these 1 is tested
    assert "10 galaxies are tested, not the 3,194 of the paper" in printed
    assert "MOCK" not in printed
    assert json.loads((tmp_path / "out/result.json").read_text())["mock"] is False


# How it is measured.


def test_arithmetic_of_known_layers():
    convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert multiply_adds(convolution, 16) == 8 * 8 * 8 * 3 * 9
    assert multiply_adds(nn.Conv2d(3, 6, 3, padding=1, groups=3), 8) == 8 * 8 * 6 * 9
    assert multiply_adds(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5)), 4) == 3 * 16 * 5


def test_networks_take_turns():
    order = []

    class Noted(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            assert not self.training
            assert x.shape == (4, 3, 8, 8)
            order.append(self.name)
            return x

    found = paces({"a": Noted("a"), "b": Noted("b")}, 8, 4, torch.device("cpu"))
    assert order == ["a", "b"] * 2  # one round warms up
    assert set(found) == {"a", "b"}


def test_confusion_counts_rows_as_truth():
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]
