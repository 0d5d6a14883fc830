import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from galcli.cli.experiment import command
from galcli.errors import IdentityError, InputError, ModelError
from galcli.training import cache
from galcli.training.experiments import spectra_table1 as table1
from galcli.training.experiments.spectra_claims import PUBLISHED, Scores, claims
from galcli.training.experiments.spectra_report import as_text
from galcli.training.networks.xresnet import NETWORKS
from galcli.training.recipes import spectra_plan
from galcli.training.recipes.spectra_data import Source
from galcli.training.recipes.spectra_plan import Preset
from galcli.training.recipes.stages import Stage
from tests.training.band_coder import BandCoder

TINY = Preset((Stage(32, 1.75, 1.0),), batch=16, asinh=False, d4=0.5, rotation=0.75, mock_objects=40)
SETTINGS = {"mock": True, "sample": "mock", "held_out": 256, "learned_from": 1024, "size": 32, "pixel_scale": 1.75,
            "batch": 128, "asinh": False, "latents": 6, "predict_the_mean": 0.987}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The experiment at its smallest: its folder, what it printed, and the arguments of the command."""
    folder = tmp_path_factory.mktemp("table1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK", 48)
        patch.setitem(spectra_plan.PRESETS, "tiny", TINY)
        patch.setitem(table1.PLANS, "quick", table1.Plan("tiny", (1, 2), 2))
        patch.setattr(table1, "_processes", lambda device, runs: 1)  # another process would not know of these patches
        for name in (
            "xresnet18-hybrid",
            "xresnet18-deconv",
            "xresnet18",
        ):  # the small ones in their place: seconds each
            small = NETWORKS["simple-deconv" if name != "xresnet18" else "simple-cnn"]
            patch.setitem(NETWORKS, name, small._replace(lr=NETWORKS[name].lr))
        patch.setattr(table1, "open_coder", lambda vae: BandCoder())
        words = ["spectra-table1", "-o", str(folder / "out"), "--device", "cpu"]
        yield folder / "out", run(words), words
    table1._given.cache_clear()


def run(words):
    return CliRunner().invoke(command, words, catch_exceptions=False).stdout


def test_every_cell_of_the_table_is_there(done):
    out, printed, _ = done
    text = (out / "table.txt").read_text()
    assert text == printed
    assert "MOCK galaxies" in text
    result = json.loads((out / "result.json").read_text())
    assert "MOCK" in result["sample"]
    cells = {(one["network"], one["epochs"]): one for one in result["networks"]}
    assert set(cells) == {(name, 1) for name in PUBLISHED} | {(name, 2) for name in PUBLISHED if "xres" in name}
    for (network, epochs), one in cells.items():
        assert [each["seed"] for each in one["runs"]] == [0, 1]
        assert all(len(each["curve"]) == epochs for each in one["runs"])
        values = [each["rmse"] for each in one["runs"]]
        assert one["rmse"]["value"] == pytest.approx(np.mean(values))
        assert one["rmse"]["error"] == pytest.approx(abs(values[1] - values[0]) / 2)
        assert values[0] != values[1]
        assert f"{one['parameters']:,}" in text
        assert f"{one['rmse']['value']:.3f} ± {one['rmse']['error']:.3f}" in text, network
    assert [claim["verdict"] for claim in result["claims"]].count("holds") == text.count(": holds\n") - sum(
        one["verdict"] == "holds" for claim in result["claims"] for one in claim["differences"]
    )
    with Image.open(out / "table1.png") as image:
        assert image.size[0] > 1000


def test_all_learn_from_the_same_galaxies(done):
    metrics = [json.loads(path.read_text()) for path in done[0].glob("*/metrics.json")]
    assert len(metrics) == 16
    assert len({json.dumps(one["training"]["samples"]) for one in metrics}) == 1
    assert {one["held_out"]["latents"]["SPEC_LATENT[0]"]["objects"] for one in metrics} == {8}


def test_the_baseline_is_measured(done):
    out = done[0]
    settings = json.loads((out / "settings.json").read_text())
    _, observed = table1._given("tiny", Source(out / "cache", table1.SURVEY_SEED), None)
    sample = observed.sample
    learned, held = sample.target[~sample.held], sample.target[sample.held]
    assert settings["predict_the_mean"] == pytest.approx(np.sqrt(np.mean((held - learned.mean(0)) ** 2)), abs=1e-4)


def test_finished_trainings_are_not_repeated_and_seeds_can_be_added(done, monkeypatch):
    out, _, words = done
    text, result = (out / "table.txt").read_text(), (out / "result.json").read_bytes()
    trained = []
    monkeypatch.setattr(table1, "train", lambda one: trained.append(one.name) or "")
    assert run([*words, "--resume"]) == text
    assert trained == []
    assert (out / "result.json").read_bytes() == result
    with pytest.raises(InputError, match="cannot be read"):  # nothing was really trained
        run([*words, "--resume", "--seeds", "3"])
    assert len(trained) == 8
    assert all("seed 2" in name for name in trained)
    # A folder that is gone is trained again, alone.
    trained.clear()
    shutil.move(out / "simple-cnn-1-0", out / "kept")
    with pytest.raises(InputError, match="simple-cnn-1-0"):
        run([*words, "--resume"])
    assert trained == ["simple-cnn, 1 epochs, seed 0"]
    shutil.move(out / "kept", out / "simple-cnn-1-0")


def test_too_few_galaxies_are_told_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(table1, "run_all", lambda *_: pytest.fail("a training began"))
    with pytest.raises(
        InputError, match="8 galaxies with spectra and pixels to learn from, 2 held out; a batch has 16"
    ):
        table1.spectra_table1(tmp_path / "out", Source(tmp_path / "cache", table1.SURVEY_SEED, 10))


def test_another_experiment_is_refused_in_the_same_folder(done):
    words = done[2]
    with pytest.raises(InputError, match="already holds an experiment"):
        run(words)
    with pytest.raises(IdentityError, match="learned_from: 32 -> 26"):
        table1.spectra_table1(done[0], Source(done[0] / "cache", table1.SURVEY_SEED, 32), resume=True)


def test_damaged_trainings_name_themselves_and_the_way_out(done, tmp_path):
    out, _, words = done
    one = out / "simple-cnn-1-1"
    shutil.copytree(one, tmp_path / "kept")
    (one / "metrics.json").write_text('{"curve": [')
    with pytest.raises(InputError, match="simple-cnn-1-1") as caught:
        run([*words, "--resume"])
    assert f"remove {one}" in caught.value.hint
    (one / "weights.safetensors").unlink()
    state = one / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ModelError, match="simple-cnn, 1 epochs, seed 1") as caught:
        run([*words, "--resume"])
    assert f"remove {one}" in caught.value.hint
    shutil.rmtree(one)
    text = (out / "table.txt").read_text()
    run([*words, "--resume"])
    assert (out / "table.txt").read_text() == text
    assert (
        json.loads((one / "metrics.json").read_text())["curve"]
        == json.loads((tmp_path / "kept/metrics.json").read_text())["curve"]
    )


def scores(**losses):
    """Scores of two or more seeds; name_epochs = losses by seed; others as published."""
    table = {(name, 10): [short] * 3 for name, (short, _) in PUBLISHED.items()}
    table |= {(name, 50): [long] * 3 for name, (_, long) in PUBLISHED.items() if long is not None}
    for key, values in losses.items():
        name, epochs = key.rsplit("_", 1)
        table[name.replace("_", "-"), int(epochs)] = values
    return Scores.of(
        (10, 50),
        (
            (name, epochs, {"curve": [{"rmse": 1.0}, {"rmse": value}]})
            for (name, epochs), values in table.items()
            for value in values
        ),
    )


def test_the_published_table_bears_out_every_claim():
    found = claims(scores())
    assert [claim.verdict for claim in found] == ["holds"] * 5
    text = as_text(SETTINGS, scores(), found)
    assert text.count("as in the paper") == 2
    assert "another" not in text
    assert "no better" not in text


def test_claims_fail_and_stay_undecided_by_their_error():
    hybrid = scores(xresnet18_hybrid_10=[0.735, 0.745, 0.74])  # batch norm is better by 0.014 +- 0.003
    assert [claim.verdict for claim in claims(hybrid)] == ["fails", "holds", "holds", "holds", "holds"]
    text = as_text(SETTINGS, hybrid, claims(hybrid))
    assert "1. the hybrid is better than batch norm: fails\n   -0.0140 ± 0.0029" in text
    assert "10 epochs: xresnet18 < xresnet18-deconv < xresnet18-hybrid" in text
    assert "the paper's order is another: xresnet18-hybrid < xresnet18 <" in text
    near = scores(xresnet18_hybrid_10=[0.70, 0.76, 0.715])
    assert claims(near)[0].verdict == "undecided"
    notebook = scores(simple_deconv_10=[0.82, 0.83, 0.82])
    assert [claim.verdict for claim in claims(notebook)] == ["holds", "holds", "holds", "holds", "fails"]
    assert "0.8236 in the authors' notebook: either order" in as_text(SETTINGS, notebook, claims(notebook))
    useless = scores(xresnet18_deconv_50=[2.6, 2.7, 2.8])
    assert "xresnet18-deconv is no better than predicting the mean after 50 epochs" in as_text(
        SETTINGS, useless, claims(useless)
    )
    sound = scores(xresnet18_deconv_50=[0.705, 0.71, 0.715])
    assert [claim.verdict for claim in claims(sound)][3] == "fails"
