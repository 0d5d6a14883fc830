"""`galcli train dmagnet`: every source of galaxies, resume, refusals, and the model file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from PIL import Image
from torch import nn

from galcli.errors import IdentityError, InputError, Interrupted, ModelError, UsageError
from galcli.models import library
from galcli.training import cache, checkpoint, fit, image_task, regression
from galcli.training.galaxy10 import NAMES
from galcli.training.mock.survey import MockOptions, write_survey
from galcli.training.networks import morphology
from galcli.training.pixels import FRONTS
from galcli.training.recipes import dmagnet, dmagnet_export, dmagnet_plan
from galcli.training.recipes.dmagnet import train_dmagnet
from galcli.training.recipes.dmagnet_data import Source, gather, unseen
from galcli.training.recipes.dmagnet_plan import PRESETS, Preset
from galcli.training.recipes.stages import Stage
from galcli.training.survey import Reading
from tests.training.made_galaxy10 import content, write

TINY = Preset((Stage(32, 1.048, 1.0, 0.5), Stage(64, 0.524, 1.0, 0.5)), batch=8, mock_objects=96)
ONE = {"network": "tiny", "preset": "tiny", "device": "cpu"}
#: Sorted by class, as the published file is.
LABELS = [label for label in range(10) for _ in range(10)]


def tiny(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(32, classes),
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK", 48)
        patch.setattr(regression, "NORMALISE", 100)
        patch.setattr(image_task, "EVALUATE", 16)
        patch.setitem(dmagnet_plan.PRESETS, "tiny", TINY)
        patch.setitem(morphology.NETWORKS, "tiny", tiny)
        yield


@pytest.fixture(scope="module")
def galaxy10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("galaxy10") / "Galaxy10_DECals.h5", content(LABELS) | {"pxscale": np.full(100, 0.7)}
    )


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("mock") / "cache", 3)


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def test_presets_show_the_published_field() -> None:
    plan = PRESETS["published"]
    assert plan.stages == (Stage(256, 0.262, 80.0),)
    assert (plan.batch, plan.lr, plan.weight_decay, plan.display) == (64, 3e-4, 0.05, 1.0)
    assert not plan.looks.servers
    assert (plan.variety.turn, plan.variety.contrast, plan.variety.zoom) == (180, 0.1, 1)
    for name in ("default", "published", "quick", "finetune"):
        assert all(stage.size * stage.pixel_scale == pytest.approx(67.072) for stage in PRESETS[name].stages)


def test_the_whole_path_from_galaxy10_to_predictions(
    galaxy10: Path, tmp_path: Path, galcli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published network learns from a file, is exported, and predicts FITS and JPEG cutouts."""
    monkeypatch.setitem(PRESETS, "quick", TINY)
    monkeypatch.setattr(dmagnet_export, "LEAST", 10)
    monkeypatch.setattr(dmagnet, "LEAST_EPOCH", 1)
    out = tmp_path / "out"
    said = galcli(
        "train", "dmagnet", "--galaxy10", galaxy10, "--no-verify", "--preset", "quick", "--epochs", 6, "-o", out
    )
    assert f"model: {out / 'dmagnet.onnx'}" in said.out
    card = library.find(out / "dmagnet.onnx").card
    assert card.training.data == "Galaxy10_DECals.h5"
    assert not card.training.mock
    assert [front.name for front in card.fronts] == list(FRONTS)  # fluxes are drawn as display images
    assert card.training.details["fronts"] == ["display"]
    assert len(set(card.calibration["temperature"].values())) == 1
    assert {metric.front for metric in card.metrics} == {"display"}
    label = next(output for output in card.outputs if output.column == "MORPH_LABEL")
    assert label.labels == NAMES
    assert next(table for table in card.tables if table.name == "MORPH_CLASSES").columns[1].values == list(NAMES)
    assert card.training.objects == 63
    assert card.calibration["views"] == 10
    matrix = np.array(card.calibration["confusion"]["display"])
    tested = next(metric for metric in card.metrics if metric.name == "MORPH_CLASS macro F1")
    assert matrix.sum() == tested.objects == 20
    assert tested.sample == "test galaxies of Galaxy10_DECals.h5"
    names = {metric.name for metric in card.metrics}
    assert {"MORPH_CLASS accuracy", "MORPH_PROB calibration error", "MORPH_CLASS weighted F1"} < names
    assert "MORPH_PROB calibration error before temperature" in names
    assert {f"MORPH_CLASS F1 {name}" for name in NAMES} < names
    # Predictions of JPEGs, and what their columns say of each other.
    folder = tmp_path / "jpeg"
    folder.mkdir()
    with h5py.File(galaxy10) as file:
        for row in range(0, 100, 25):
            Image.fromarray(file["images"][row]).save(folder / f"{row}.jpg", quality=95)
    Table({"id": np.arange(0, 100, 25), "ra": np.arange(4.0), "dec": np.arange(4.0)}).write(tmp_path / "four.fits")
    words = ("predict", tmp_path / "four.fits", "--cutouts", folder, "--model", out / "dmagnet.onnx", "--threads", 1)
    galcli(*words, "-o", tmp_path / "p.fits")
    table = Table.read(tmp_path / "p.fits", hdu="PREDICTIONS", character_as_bytes=False)
    prob = np.array(table["MORPH_PROB"], np.float64)
    np.testing.assert_allclose(prob.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(prob.argmax(1), table["MORPH_CLASS"])
    assert [NAMES[number] for number in table["MORPH_CLASS"]] == list(table["MORPH_LABEL"])
    np.testing.assert_allclose(table["MORPH_ENTROPY"], -(prob * np.log(prob)).sum(1), atol=1e-5)
    np.testing.assert_allclose(np.array(table["MORPH_RF"]).sum(1), 1, atol=1e-5)
    assert np.isnan(np.ma.filled(table["MORPH_ATT_DX"], np.nan)).all()  # nobody knows the scale of these
    galcli(*words, "--pixel-scale", 0.7, "-o", tmp_path / "scaled.fits")
    offset = Table.read(tmp_path / "scaled.fits", hdu="PREDICTIONS")["MORPH_ATT_DX"]
    assert np.isfinite(np.ma.filled(offset, np.nan)).all()
    galcli("mock", tmp_path / "sky", "-n", 3, "--seed", 1, "--no-spectra")
    galcli("predict", tmp_path / "sky/catalog.fits", "--model", out / "dmagnet.onnx", "-o", tmp_path / "flux.fits")
    fluxes = Table.read(tmp_path / "flux.fits", hdu="PREDICTIONS")
    assert (np.array(fluxes["MORPH_CLASS"]) >= 0).all()
    np.testing.assert_allclose(np.array(fluxes["MORPH_PROB"]).sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(("views", "calibrated"), [(12, False), (60, True)])
def test_few_galaxies_do_not_sharpen_probabilities(views: int, calibrated: bool) -> None:
    """Twelve galaxies that are all classified rightly would say that the network is never wrong."""
    truth = np.arange(views) % 10
    held = {"inner/logits": np.eye(10)[truth] * 2.0, "front": np.zeros(views, int), "target": truth[:, None]}
    found = dmagnet_export.temperatures(held, 3)
    assert (found == [1.0] * 3) is not calibrated


def test_small_surveys_are_validated_on_all_and_not_after_every_pass(
    galaxy10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dmagnet, "GLANCE", 2)
    monkeypatch.setattr(dmagnet, "LEAST_EPOCH", 200)
    source = Source(tmp_path, 5, galaxy10=galaxy10, verify=False)
    tasks = []
    kept = dmagnet.Classification
    monkeypatch.setattr(dmagnet, "Classification", lambda *a, **k: tasks.append(kept(*a, **k)) or tasks[-1])
    train_dmagnet(tmp_path / "out", source, **ONE, epochs=10)
    assert tasks[0].glance == 7  # all that are held out
    # Passes of 7 steps; at least 25 steps are 4 passes; and at the end of the stage.
    assert [entry["epoch"] for entry in metrics(tmp_path / "out")["curve"]] == [4.0, 5.0] * 2


def test_the_parts_of_a_file_are_disjoint(galaxy10: Path, tmp_path: Path) -> None:
    """Of ten galaxies of a class nine are kept and two of these tested; of the other 70 seven validate."""
    labelled = gather(TINY, Source(tmp_path, 5, galaxy10=galaxy10, verify=False))
    sample = labelled.sample
    parts = [sample.rows(0, held=False), sample.rows(0, held=True), labelled.test]
    assert [len(part) for part in parts] == [63, 7, 20]
    assert len(np.unique(np.concatenate(parts))) == 90
    assert np.bincount(sample.target[labelled.test, 0].astype(int)).tolist() == [2] * 10
    coarse, fine = sample.stamps
    assert coarse.pixels.shape == (100, 3, 32, 32)
    inner = fine.pixels[:, :, 16:48, 16:48].astype(np.float32)
    means = inner.reshape(100, 3, 16, 2, 16, 2).mean((3, 5))
    np.testing.assert_allclose(coarse.pixels[:, :, 8:24, 8:24], means, atol=2e-3)


def test_small_sets_are_passed_more_often(galaxy10: Path, mock: Source, tmp_path: Path) -> None:
    """Ninety images or a mock set: as many are seen, whatever the set; epochs say it otherwise."""
    own = Source(tmp_path, 5, galaxy10=galaxy10, verify=False)
    seen = {}
    for name, source, how in (("mock", mock, {}), ("file", own, {}), ("epochs", own, {"epochs": 4.0})):
        train_dmagnet(tmp_path / name, source, **ONE, **how)
        seen[name] = metrics(tmp_path / name)
    steps = {name: one["step"] for name, one in seen.items()}
    assert steps == {"mock": 2 * 11, "file": 2 * round(7 * 96 / 70), "epochs": 2 * 14}
    assert seen["epochs"]["training"]["epochs"] == pytest.approx(8 * 28 / 63)


def test_the_mock_survey_is_learned_and_unseen_galaxies_are_new(mock: Source, tmp_path: Path) -> None:
    labelled = gather(TINY, mock)
    sample = labelled.sample
    assert sample.mock
    assert len(labelled.test) == 0
    assert [len(sample.rows(0, held=held)) for held in (False, True)] == [91, 5]
    assert set(np.unique(sample.target)) <= set(range(10))
    assert sample.stamps[0].labels["r50"].min() >= TINY.smallest
    other = unseen(TINY, mock, labelled, 48)
    assert other.name.startswith("unseen mock galaxies of plain class, R50 > 3.5 arcsec (seed ")
    assert len(other.rows) == 48
    mine = sample.stamps[-1].pixels[:48].astype(np.float32)
    assert not np.array_equal(np.nan_to_num(mine), np.nan_to_num(other.stamps.pixels.astype(np.float32)))
    train_dmagnet(tmp_path, mock, **ONE)
    assert metrics(tmp_path)["training"]["data"] is None
    assert metrics(tmp_path)["training"]["fronts"] == list(FRONTS)
    assert set(metrics(tmp_path)["held_out"]["fronts"]) == set(FRONTS)


def test_resuming_after_an_interruption_gives_the_same_bits(mock: Source, tmp_path: Path, monkeypatch: Any) -> None:
    whole = checkpoint.load(train_dmagnet(tmp_path / "whole", mock, **ONE, average=0.9))[0]

    class Stop:
        def __init__(self) -> None:
            self.left = 15

        def is_set(self) -> bool:
            self.left -= 1
            return self.left < 0

    class Requests:
        def __enter__(self) -> Stop:
            return Stop()

        def __exit__(self, *_: object) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(fit, "stop_requests", Requests)
        with pytest.raises(Interrupted):
            train_dmagnet(tmp_path / "part", mock, **ONE, average=0.9)
    resumed = checkpoint.load(train_dmagnet(tmp_path / "part", mock, **ONE, average=0.9, resume=True))[0]
    assert all(value.equal(resumed[name]) for name, value in whole.items())
    with pytest.raises(IdentityError, match="class_weights"):
        train_dmagnet(tmp_path / "part", mock, **ONE, average=0.9, class_weights=True, resume=True)


def survey(folder: Path, labels: list[Any], dtype: str = "i2") -> Path:
    """A mock survey whose classes are replaced."""
    catalog = write_survey(folder, MockOptions(len(labels), 4, size=64, pixel_scale=0.55, spectra=False))
    table = Table(fits.getdata(catalog, 1))
    table["kind"] = np.array(labels, dtype)
    table.write(folder / "labelled.fits")
    return folder / "labelled.fits"


def test_any_catalogue_with_classes_is_learned(tmp_path: Path, capfd: Any) -> None:
    labels = [0, 1, 2, 3, 4, 5, 6, 7, 8, -1] * 10
    path = survey(tmp_path, labels)
    source = Source(tmp_path / "cache", 5, catalog=path, cutouts=tmp_path / "cutouts", label_column="kind")
    labelled = gather(TINY, source)
    assert "no training galaxy is Edge-on with Bulge: the network will not know that class" in capfd.readouterr().err
    usable = labelled.sample.usable.copy()
    usable[labelled.test] = True
    assert len(labelled.sample.stamps[0]) == 90
    assert usable.all()  # none is left out, as the published split leaves some
    assert np.bincount(labelled.sample.target[:, 0].astype(int)).tolist() == [10] * 9
    train_dmagnet(tmp_path / "out", source, **ONE, class_weights=True)
    assert metrics(tmp_path / "out")["training"]["data"] == "labelled.fits"
    assert metrics(tmp_path / "out")["training"]["fronts"] == ["flux:grz", "display"]


@pytest.mark.parametrize(
    ("labels", "dtype", "message"),
    [
        ([0, 1, 2, 10] * 3, "i2", r"column kind: 3 labels are no class, the first 10 in row 3"),
        ([0.5, 1, 2] * 4, "f4", r"4 labels are no class, the first 0\.5 in row 0"),
        ([-1] * 12, "i2", "no row has a label"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: list[Any], dtype: str, message: str) -> None:
    path = survey(tmp_path, labels, dtype)
    source = Source(tmp_path / "cache", 5, catalog=path, cutouts=tmp_path / "cutouts", label_column="kind")
    with pytest.raises(InputError, match=message):
        gather(TINY, source)


def test_too_few_galaxies_are_refused(galaxy10: Path, tmp_path: Path) -> None:
    few = Source(tmp_path, 5, objects=8, galaxy10=galaxy10, verify=False)
    with pytest.raises(InputError, match="fewer than a batch of 8"):
        train_dmagnet(tmp_path / "out", few, **ONE)
    with pytest.raises(InputError, match="galaxies are left to measure the network on, fewer than"):
        dmagnet_export.train_and_export(tmp_path / "out", few, preset="tiny")


@pytest.mark.parametrize(
    ("source", "how", "message"),
    [
        ({}, {"network": "vgg"}, "unknown network 'vgg'"),
        ({}, {"preset": "slow"}, "unknown preset 'slow'"),
        ({"galaxy10": Path("x.h5")}, {"stream": 64}, "only mock galaxies can be streamed"),
        ({"galaxy10": Path("x.h5"), "catalog": Path("x.fits")}, {}, "two surveys are given"),
        ({}, {"epochs": 1.0, "minutes": 1.0}, "epochs are given beside a time or a stream"),
        ({"reading": Reading(hdu=1)}, {}, "hdu given without a catalogue"),
        ({"cutouts": "stamps", "label_column": "kind"}, {}, "cutouts, label column given without a catalogue"),
        ({"galaxy10": Path("x.h5"), "cutouts": "stamps"}, {}, "cutouts given without a catalogue"),
        ({"verify": False}, {}, "no file is given whose verification could be left out"),
    ],
)
def test_contradictions_are_refused_before_any_galaxy_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], how: dict[str, Any], message: str
) -> None:
    monkeypatch.delattr(dmagnet, "gather")
    monkeypatch.delattr(dmagnet_export, "gather")
    for train in (train_dmagnet, dmagnet_export.train_and_export):
        with pytest.raises(UsageError, match=message):
            train(tmp_path / "out", Source(tmp_path, 1, **source), **ONE | how)


def test_a_training_is_not_overwritten(mock: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_dmagnet(tmp_path, mock, **ONE)
    monkeypatch.delattr(dmagnet_export, "gather")
    with pytest.raises(InputError, match="already holds a training"):
        dmagnet_export.train_and_export(tmp_path, mock, preset="tiny")


def test_the_mock_survey_is_announced(mock: Source, capfd: Any) -> None:
    gather(TINY, mock)
    assert "no survey given: mock galaxies are made" in capfd.readouterr().err


def test_sorted_surveys_are_drawn_from_at_random(galaxy10: Path, tmp_path: Path) -> None:
    source = Source(tmp_path / "cache", 5, galaxy10=galaxy10, verify=False)
    few = gather(TINY, replace(source, objects=60))
    learned = few.sample.target[few.sample.rows(0, held=False), 0]
    assert len(np.unique(learned)) >= 9
    assert len(learned) < 45
    labelled = gather(TINY, source)
    weights = train_dmagnet(tmp_path / "out", source, **ONE, labelled=labelled)
    seen = dmagnet_export.views_of(weights, source, labelled)
    classes = {name: [int(row) for batch in batches() for row in batch.target[:, 0]]
               for name, batches in (("domain", seen.plain.training), ("held", seen.held),
                                     ("calibration", seen.plain.calibration), ("test", seen.plain.test))}  # fmt: skip
    assert np.unique(classes["domain"][:32]).size > 5
    assert sorted(classes["test"]) == sorted([*range(10)] * 2)  # all of them are tested
    assert (
        sorted(classes["calibration"]) == sorted(classes["held"]) == list(range(10))
    )  # those that the split leaves out


def test_a_stream_shows_each_galaxy_once_in_its_class(mock: Source) -> None:
    stream = dmagnet._streamed(0, TINY, 7, "cpu")
    batches = [stream.batch(step) for step in range(6)]
    assert all(batch.pixels.shape == (8, 3, 32, 32) for batch in batches)
    assert {int(value) for batch in batches for value in batch.target[:, 0]} <= set(range(10))
    assert len(torch.unique(torch.cat([batch.rows for batch in batches]))) == 48


def test_other_weights_are_not_exported(mock: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmagnet_export, "FRESH", 48)
    weights = train_dmagnet(tmp_path, mock, **ONE)
    seen = dmagnet_export.views_of(weights, mock, gather(TINY, mock))
    with pytest.raises(ModelError, match="not the weights of a DMAGNet"):
        dmagnet_export.export_dmagnet(weights, seen, tmp_path / "x.onnx", "galaxy10")


def test_a_training_goes_on_from_earlier_weights(mock: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "finetune", replace(TINY, stages=TINY.stages[-1:], lr=1e-6, goes_on=True))
    torch.manual_seed(mock.seed)
    initial = tiny(10).state_dict()
    earlier = train_dmagnet(tmp_path / "earlier", mock, **ONE)
    before = checkpoint.load_weights(earlier)[0]
    later = train_dmagnet(tmp_path / "later", mock, **ONE | {"preset": "finetune", "init": earlier})
    after, info = checkpoint.load_weights(later)
    for name in ("0.weight", "6.weight", "6.bias"):  # at this rate they hardly move
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=5e-5)
        assert not torch.allclose(before[name], initial[name], rtol=0, atol=5e-4)
    assert not torch.equal(after["1.running_mean"], before["1.running_mean"])  # it did learn
    scales = [json.loads((tmp_path / name / "normalisation.json").read_text()) for name in ("later", "earlier")]
    for key in ("mean", "std"):  # what the weights are used to
        assert scales[0][key] == pytest.approx(scales[1][key], rel=1e-6)
    told = info["init"]
    assert (told["file"], told["preset"], told["network"], told["mock"]) == (
        "weights.safetensors",
        "tiny",
        "tiny",
        True,
    )
    assert told["objects"] == info["objects"]


def test_initial_weights_that_cannot_serve(mock: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="goes on from an earlier training"):
        train_dmagnet(tmp_path / "a", mock, **ONE | {"preset": "finetune"})
    with pytest.raises(ModelError, match="no-such"):
        train_dmagnet(tmp_path / "a", mock, **ONE | {"init": tmp_path / "no-such.safetensors"})
    checkpoint.save(tmp_path / "other.safetensors", {"0.weight": torch.zeros(3)}, {"target": "lines"})
    with pytest.raises(ModelError, match="does not fit the network"):
        train_dmagnet(tmp_path / "a", mock, **ONE | {"init": tmp_path / "other.safetensors"})
    assert not (tmp_path / "a").exists()


def test_initial_weights_that_know_the_galaxies_held_out(galaxy10: Path, tmp_path: Path) -> None:
    source = Source(tmp_path, 5, galaxy10=galaxy10, verify=False)
    weights = train_dmagnet(tmp_path / "a", source, **ONE, epochs=2)
    with pytest.raises(UsageError, match="split by the seed 5, so it knows galaxies held out now"):
        train_dmagnet(tmp_path / "b", replace(source, seed=6), **ONE, epochs=2, init=weights)
    train_dmagnet(tmp_path / "b", source, **ONE, epochs=2, init=weights)
