"""``galcli train vae`` end to end on few spectra: the models it writes, resume, refusals."""

import json
import os
import shutil
import signal
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from galcli.cli.train import command
from galcli.errors import InputError, Interrupted, ModelError
from galcli.models import library
from galcli.training import checkpoint, export
from galcli.training.networks.vae import SpectrumVAE
from galcli.training.networks.vae_export import LEAST, fit_domain
from galcli.training.progress import Reporter
from galcli.training.recipes import vae, vae_card, vae_data
from galcli.training.recipes.vae_coder import open_coder
from galcli.training.spectra import grid
from galcli.training.spectra.mock import mock_spectra


@pytest.fixture(scope="module", params=["quick", "published"])
def trained(request, tmp_path_factory):
    """Folder of a finished training, and its preset."""
    out = tmp_path_factory.mktemp("vae") / request.param
    changed = vae.Preset(**{**vars(vae.PRESETS[request.param]), "epochs": 40})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vae.PRESETS, request.param, changed)
        vae.train_vae(out, preset=request.param, objects=400, seed=3)
    return out, changed


@pytest.fixture(scope="module")
def spectra():
    return mock_spectra(60, 8)


def test_both_models_say_what_they_are(trained):
    folder, preset = trained
    coder = open_coder(folder)
    for model in (coder.encoder, coder.decoder):
        assert model.card.training.mock
        assert model.card.training.objects == 300  # three quarters of the spectra
        assert model.card.metrics
        assert {metric.sample.split(" (")[0] for metric in model.card.metrics} == {"unseen mock spectra"}
    assert coder.latents == preset.components or preset.latents == 6
    assert [tensor.shape for tensor in coder.encoder.card.inputs] == [(1000,)]


def test_decoder_and_encoder_are_the_trained_network(trained, spectra):
    folder, preset = trained
    coder = open_coder(folder)
    state, facts = checkpoint.load_weights(folder / vae.WEIGHTS)
    network = SpectrumVAE(preset.latents)
    network.load_state_dict(state)
    sample = vae_data.gather((), 400, facts["seed"])
    filled, _ = coder.normalise(spectra[0])
    with torch.no_grad():
        latents = network.encode(torch.from_numpy(filled - sample.mean)).mean.numpy()
        learned = network.encode(torch.from_numpy(sample.filled[sample.rows(held=False)] - sample.mean)).mean.numpy()
    numbers = coder.encode(filled)
    rest = latents - learned.mean(0)
    if preset.components is None:
        expected = rest / learned.std(0)
    else:  # principal components: directions of unit variance that the others are uncorrelated with
        variance, axes = np.linalg.eigh(np.cov(learned, rowvar=False))
        std = np.maximum(np.sqrt(variance), LEAST * np.sqrt(variance.max()))
        expected = (rest @ axes / std)[:, ::-1][:, : preset.components]
        expected *= np.sign((expected * numbers).sum(0))  # whose sign is free
    np.testing.assert_allclose(numbers, expected, atol=0.02)  # weights are stored as float16
    back = coder.decode(numbers)
    assert back["flux"].shape == (60, 1000)
    assert np.corrcoef(back["flux"].mean(0), filled.mean(0))[0, 1] > 0.9


def test_gaps_are_filled_as_in_the_training(trained, spectra):
    """What the encoder's card tells is enough to prepare a spectrum."""
    folder, _ = trained
    sample = vae_data.gather((), 400, 3)
    filler = open_coder(folder).filler
    np.testing.assert_array_equal(filler.mean.astype(np.float32), sample.filler.mean.astype(np.float32))
    expected, _ = sample.filler.fill(spectra[0].flux, spectra[0].good)
    np.testing.assert_allclose(filler.fill(spectra[0].flux, spectra[0].good)[0], expected, atol=1e-5)


def test_wavelengths_stand_in_the_card_twice_and_agree(trained):
    card = open_coder(trained[0]).decoder.card
    cards = {one.keyword: one.value for one in card.outputs[0].header}
    told = 10 ** (cards["LOGLAM0"] + cards["DLOGLAM"] * np.arange(1000))
    offset = cards["1CDLT#"] * (np.arange(1, 1001) - cards["1CRPX#"])
    np.testing.assert_allclose(cards["1CRVL#"] * np.exp(offset / cards["1CRVL#"]), told, rtol=1e-12)
    np.testing.assert_allclose(card.tables[0].columns[0].values, told, rtol=1e-9)
    np.testing.assert_allclose(told[[0, -1]], [3388.4, 8310.2], atol=0.05)


def test_decoder_runs_in_any_onnxruntime(trained):
    session = onnxruntime.InferenceSession(str(trained[0] / f"{vae_card.DECODER}.onnx"))
    flux, width, ratio, distance = session.run(None, {"latent": np.zeros((2, 6), np.float32)})
    assert flux.shape == (2, 1000)
    assert distance[0] == distance[1] < 1
    assert width[0] == width[1]
    assert 1 < ratio[0] < 3


def test_decoder_tells_latents_unlike_those_of_its_training(trained):
    coder = open_coder(trained[0])
    assert coder.decoder.card.domain.column == "SPECVAE_OOD"
    sample = vae_data.gather((), 400, 3)
    learned, held = (coder.encode(sample.filled[sample.rows(part)]) for part in (False, True))
    far = 5 * np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
    near, kept, decoded = coder.decode(learned)["ood"], coder.decode(held), coder.decode(far)
    found = decoded["ood"]
    assert np.mean(near <= 1) > 0.95  # two limits from 100 held-out spectra
    assert np.mean(found > 1) > 0.98
    norms = [np.linalg.norm(one["flux"].astype(np.float64), axis=1) for one in (kept, decoded)]
    domain = fit_domain(learned.astype(np.float64), held.astype(np.float64), norms[0])
    np.testing.assert_allclose(found, domain.distance(far.astype(np.float64), norms[1]), rtol=1e-2)
    for size in (1, 5, 16):
        for rows, whole in ((far, found), (learned, near)):  # ruled by the one distance and by the other
            parts = [coder.decode(rows[first : first + size])["ood"] for first in range(0, len(rows), size)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_stopped_and_resumed_training_gives_the_same_files(trained, tmp_path, monkeypatch, capsys):
    folder, preset = trained
    if preset.components:
        pytest.skip("one preset is enough")
    again = tmp_path / "again"
    monkeypatch.setitem(vae.PRESETS, folder.name, preset)
    train = partial(vae.train_vae, again, preset=folder.name, objects=400, seed=3, resume=True)
    step = Reporter.step

    def stop(self, number, *told):
        step(self, number, *told)
        if number == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reporter, "step", stop)
    with pytest.raises(Interrupted, match="after epoch 8"):
        train()
    monkeypatch.setattr(Reporter, "step", step)
    assert f"{again} holds no training to go on with: it begins" in capsys.readouterr().err.replace("\n", " ")
    train()
    for name in (f"{vae_card.ENCODER}.onnx", f"{vae_card.DECODER}.onnx", vae.WEIGHTS):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert "seconds" in json.loads((again / vae.METRICS).read_text())["training"]


def test_models_of_two_trainings_are_no_pair(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "mixed")
    path = tmp_path / "mixed" / f"{vae_card.DECODER}.onnx"
    card = library.find(path).card
    other = card.model_copy(update={"training": card.training.model_copy(update={"seed": 99})})
    export.save(onnx.load(path), other, path)
    with pytest.raises(ModelError, match="are not of one training"):
        open_coder(tmp_path / "mixed")
    with pytest.raises(ModelError, match=r"spectra-vae-encoder\.onnx"):
        open_coder(tmp_path)


def test_weights_of_pixels_follow_their_errors(spectra):
    observed, _ = spectra
    norm = np.linalg.norm(observed.flux, axis=1).astype(np.float64)
    weight = grid.weights(observed, norm)
    assert (weight[~observed.good] == 0).all()
    row, pixel = np.argwhere(weight > 0)[100]
    variance = 1 / observed.ivar[row, pixel].astype(np.float64) / norm[row] ** 2
    assert weight[row, pixel] == pytest.approx(1 / (variance + 5e-7), rel=1e-5)
    assert weight.max() < 2e6


def test_too_few_spectra_are_refused(tmp_path, monkeypatch):
    few = mock_spectra(10, 1)[0]
    monkeypatch.setattr(vae_data, "read_spectra", lambda paths: (few, []))
    with pytest.raises(InputError, match=r"10 of 10 spectra can be used.* needs 64 galaxies at least"):
        vae.train_vae(tmp_path / "out", spectra=["somewhere"])


@pytest.mark.parametrize("words", ["sfnet --target lines", "vae", "spectra"])
def test_a_file_is_no_folder_and_that_is_told_at_once(tmp_path, words):
    path = tmp_path / "file"
    path.write_text("precious")
    result = CliRunner().invoke(command, [*words.split(), "-o", str(path)])
    assert result.exit_code == 2
    assert "is a file" in result.output
    assert path.read_text() == "precious"


def test_command_refuses_another_training_in_its_folder(trained):
    folder, _ = trained
    result = CliRunner().invoke(command, ["vae", "-o", str(folder), "--preset", "quick"])
    assert isinstance(result.exception, InputError)
    assert "already holds a training" in str(result.exception)
