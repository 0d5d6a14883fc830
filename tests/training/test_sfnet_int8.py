"""Int8 twins of SFNet: rebuilt from the file, calibrated and measured on their own outputs."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from galcli.errors import ModelError
from galcli.models import library
from galcli.models.session import Session
from galcli.training import proof
from galcli.training.pixels import FRONTS
from galcli.training.recipes import sfnet_int8


@pytest.fixture(scope="module")
def made(tiny_sfnet, tmp_path_factory):
    """Model file, card of its twin, the samples of both."""
    path, _, _, given = tiny_sfnet
    path = Path(shutil.copy(path, tmp_path_factory.mktemp("int8")))
    return path, sfnet_int8.export_int8(path, given, lambda _: None), given


def feeds_of(batch):
    return {"pixels": batch.pixels.numpy(), "valid": batch.valid.numpy(), "front": batch.front.numpy()}


def test_module_is_rebuilt_from_its_file(made):
    path, _, given = made
    model = library.find(path)
    module, kind = sfnet_int8.rebuild(model)
    assert kind.name == model.card.name
    batch = given.test()[0]
    with torch.no_grad():
        ours = module(batch.pixels, batch.valid, batch.front)
    file = Session(model, "cpu").run(feeds_of(batch))
    names = [name for name in module.output_names() if "_err" not in name and name != "ood"]
    for name, value in zip(module.output_names(), ours, strict=True):
        if name in names:
            assert proof.difference(file[name], value.numpy()) <= proof.TOLERANCE, name
    assert {"idx", "act", "dx", "dy", "inner/pooled"} < set(names)


def test_twin_is_found_and_says_whose_it_is(made):
    path, card, _ = made
    twin = library.find(path, "int8")
    model = library.find(path)
    assert twin.card == card
    assert (card.precision, card.twin_of) == ("int8", model.sha256)
    assert card.outputs == model.card.outputs
    assert card.training == model.card.training
    assert twin.size < 0.6 * model.size


def test_twin_is_near_its_model(made):
    path, _, given = made
    batch = given.test()[0]
    full = Session(library.find(path), "cpu").run(feeds_of(batch))
    twin = Session(library.find(path, "int8"), "cpu").run(feeds_of(batch))
    tensor = "z_gas_0" if "z_gas_0" in full else "log_flux_0"
    assert np.abs(full[tensor] - twin[tensor]).max() > 0
    assert np.corrcoef(full[tensor], twin[tensor])[0, 1] > 0.99
    assert (full["idx"][:, 0] == twin["idx"][:, 0]).mean() > 0.9


def _error_bars(path, card, given):
    """First error bar of model and twin (2, N) on the test sample, and the front of each."""
    tensor = next(output.tensor for output in card.outputs if output.column == f"{card.outputs[0].column}_ERR")
    batches = list(given.test())
    sessions = [Session(library.find(path, precision), "cpu") for precision in ("fp32", "int8")]
    bars = [np.concatenate([one.run(feeds_of(batch), [tensor])[tensor] for batch in batches]) for one in sessions]
    return bars, np.array(FRONTS)[np.concatenate([batch.front.numpy() for batch in batches])]


def test_metrics_are_the_twins_own(made):
    path, card, given = made
    bars, seen = _error_bars(path, card, given)
    metrics = {(metric.name, metric.front): metric for metric in card.metrics}
    before = {(metric.name, metric.front): metric for metric in library.find(path).card.metrics}
    assert set(before) < set(metrics)
    assert all(metrics[key].objects == metric.objects for key, metric in before.items())
    assert any(metrics[key].value != metric.value for key, metric in before.items())
    column = card.outputs[0].column
    for front in FRONTS:
        ratio = metrics[f"{column} rmse over float32", front]
        own = [found[f"{column} rmse", front].value for found in (metrics, before)]
        assert ratio.value == pytest.approx(own[0] / own[1], rel=1e-3)
        assert ratio.objects == 60
        assert 0.8 < metrics["first feature as in float32", front].value <= 1
        factor = metrics[f"{column} error bar within a factor of float32 (68 %)", front].value
        change = np.abs(np.log(bars[1][seen == front] / bars[0][seen == front]))
        assert np.log(factor) == pytest.approx(np.quantile(change, 0.68), rel=1e-3, abs=1e-4)
    assert metrics["speed over float32", None].value > 0


def test_error_bars_and_domain_are_measured_on_the_twin(made):
    path, card, given = made
    twin = Session(library.find(path, "int8"), "cpu")
    ood = np.concatenate([twin.run(feeds_of(batch), ["ood"])["ood"] for batch in given.calibration()])
    front = np.concatenate([batch.front.numpy() for batch in given.calibration()])
    for number in range(len(FRONTS)):
        assert (ood[front == number] <= 1 + 1e-5).mean() >= 0.98  # the threshold is a quantile of these very distances
    assert card.calibration["views"] == 200


def test_difference_from_torch_is_told_of_the_graph_that_torch_was_compared_with(made):
    path, card, _ = made
    before = library.find(path).card.calibration
    assert set(before) - set(card.calibration) == {"torch_onnxruntime_difference"}


def test_files_that_have_no_twin(made, tmp_path):
    path, _, given = made
    with pytest.raises(ModelError, match="this is an int8 model"):
        sfnet_int8.export_int8(library.twin_path(path), given, lambda _: None)
    model = library.find(path)
    other = dataclasses.replace(model, card=model.card.model_copy(update={"name": "other"}))
    with pytest.raises(ModelError, match="not an SFNet"):
        sfnet_int8.rebuild(other)


def test_rebuilt_network_that_says_something_else_is_refused(made, monkeypatch):
    path, _, given = made
    rebuild = sfnet_int8.rebuild

    def wrong(model):
        module, kind = rebuild(model)
        with torch.no_grad():
            module.network.fc.bias += 0.01
        return module, kind

    monkeypatch.setattr(sfnet_int8, "rebuild", wrong)
    with pytest.raises(ModelError, match="rebuilt network differs"):
        sfnet_int8.export_int8(path, given, lambda _: None)
