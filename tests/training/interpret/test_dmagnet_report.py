"""The report of a DMAGNet: page, pictures and numbers say the same as predict, and stopped dreams go on."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from galcli.errors import Interrupted, ModelError
from galcli.models.card import Card
from galcli.predict.classes import confusion, scores
from galcli.predict.options import PredictOptions
from galcli.progress import Lines
from galcli.tables.status import ModelStatus
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret import dmagnet_dream_figures as figures
from galcli.training.interpret import dmagnet_dreams as dreams
from galcli.training.interpret.dmagnet_dreams import Asked
from galcli.training.interpret.dmagnet_report import Asked as Wanted
from galcli.training.interpret.dmagnet_report import write_report
from galcli.training.interpret.dmagnet_seen import PER_CLASS, judge, look_at
from galcli.training.interpret.dream import DreamSettings, valid_range
from galcli.training.interpret.predictions import seen_images
from galcli.training.interpret.twin import Twin, read_twin
from galcli.training.networks.dmagnet import DMAGNet
from galcli.training.pixels import FRONTS, VIEWERS, Pixels
from galcli.training.recipes import dmagnet_card
from tests.training.interpret.counted_dreams import count_dreams
from tests.training.tiny_dmagnet import MEAN, PIXEL_SCALE, SIZE, STD, make

Run = Callable[..., Any]
PICTURES = {"examples", "kernels", "confusion", "reliability"}
#: Galaxies of the sample that are looked at.
LIMIT = 30
SIZES = (32, 40)
ASKED = Asked(("stem", "dma1"), None, DreamSettings(SIZES, steps=2, jitter=3, max_size=40))
TOLD = np.diag(np.arange(1, 11)).tolist()


def card(**calibration: Any) -> Card:
    info = {
        "data": None, "mock": True, "objects": 5, "seed": 0, "epochs": 1.0, "preset": "none", "fronts": list(FRONTS),
        "size": SIZE, "pixel_scale": PIXEL_SCALE, "mean": MEAN, "std": STD, "label_column": "galaxy10",
    }  # fmt: skip
    metrics = [{"name": name, "value": value, "sample": "moon galaxies", "objects": 55, "front": "flux:grz"}
               for name, value in (("MORPH_CLASS accuracy", 0.625), ("MORPH_CLASS macro F1", 0.5),
                                   ("MORPH_PROB calibration error", 0.125))]  # fmt: skip
    return Card.model_validate(dmagnet_card.fields(info, FRONTS) | {"calibration": calibration, "metrics": metrics})


def balance(sample: Path) -> Callable[[Pixels, DMAGNet], None]:
    """Make all classes about equally frequent among the galaxies of the sample."""
    stacks = [fitsio.read(str(path), ext="PIXELS") for path in sorted(sample.parent.rglob("Npix=*.fits"))]
    bands = np.concatenate(stacks).reshape(-1, 6, 256, 256)[:, [1, 2, 4]]
    flux = 16 * functional.interpolate(torch.from_numpy(bands.astype(np.float32)), (SIZE, SIZE), mode="area")

    def change(pixels: Pixels, network: DMAGNet) -> None:
        network.eval()
        with torch.no_grad():
            logits = network(pixels(flux, torch.ones_like(flux[:, :1]), torch.ones(len(flux), dtype=torch.int64)))
            network.head.fc.weight.div_(logits.std(0)[:, None])
            network.head.fc.bias.sub_(logits.mean(0)).div_(logits.std(0))

    return change


@pytest.fixture(scope="module")
def sample(galcli: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "s"
    galcli("sample", folder)
    return folder / "catalog.fits"


@pytest.fixture(scope="module")
def model(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "dmagnet.onnx"
    told = {"rows": "true class", "columns": "MORPH_CLASS", "names": list(NAMES), "flux:grz": TOLD}
    make(path, card(confusion=told), len(NAMES), balance(sample))
    return path


@pytest.fixture(scope="module")
def twin(model: Path) -> Twin:
    return read_twin(model)


def report_with_dreams(out: Path, model: Path, sample: Path, asked: Asked = ASKED) -> Path:
    options = PredictOptions((sample,), out / "p.fits", limit=LIMIT)
    return write_report(out, options, Wanted(str(model), "thirty galaxies", None, asked), Lines())


@pytest.fixture(scope="module")
def report(model: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with dreams, never interrupted."""
    out = tmp_path_factory.mktemp("report") / "out"
    report_with_dreams(out, model, sample)
    return out


@pytest.fixture(scope="module")
def predicted(galcli: Run, model: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What predict says of the same galaxies."""
    out = tmp_path_factory.mktemp("predicted") / "p.fits"
    galcli("predict", sample, "--model", model, "--columns", "GALAXY10", "--limit", LIMIT, "-o", out)
    return fitsio.read(str(out), ext="PREDICTIONS")


def numbers_of(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())


def pictures_in(page: Path) -> dict[str, bytes]:
    found = re.findall(r'<img alt="([\w-]+)" src="data:image/png;base64,([^"]+)"', page.read_text())
    return {name: base64.b64decode(data) for name, data in found}


def contents(folder: Path) -> dict[str, str]:
    """File -> SHA-256: pytest takes minutes to tell how two long files differ."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def headings(page: Path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text())


def test_page_has_every_part_and_needs_no_other_file(report: Path) -> None:
    page = report / "index.html"
    held = pictures_in(page)
    assert (
        set(held)
        == {path.stem for path in report.glob("*.png")}
        == PICTURES | {"dreams-32", "dreams-40", "traces", "spectra"}
    )
    assert all((report / f"{name}.png").read_bytes() == data for name, data in held.items())
    assert headings(page) == ["What the network looks at", "How large its kernels are", "How often it is right",
                              "What the network dreams of"]  # fmt: skip
    text = page.read_text()
    assert not re.findall(r"src=(?!\"data:)|https?:|url\(|@import", text)
    assert text.count("MOCK galaxies and MOCK training.") == len(held), "each picture says it"
    assert text.count("thirty galaxies") >= len(held), "each caption names the sample"
    assert re.search(r'class="warning">MOCK galaxies: .* MOCK training: ', text)


def test_figures_are_those_of_predict(report: Path, predicted: Any) -> None:
    numbers = numbers_of(report)
    truth, chosen = (predicted[name].astype(np.int64) for name in ("GALAXY10", "MORPH_CLASS"))
    matrix = confusion(truth, chosen, 10)
    quality = numbers["quality"]
    assert quality["confusion"] == matrix.tolist()
    assert quality["accuracy"] == np.mean(truth == chosen)
    assert quality["macro_f1"] == scores(matrix).macro[2]
    assert quality["objects"] == LIMIT
    weighed = sum(abs(one["accuracy"] - one["confidence"]) * one["objects"] for one in quality["reliability"])
    assert quality["calibration_error"] == pytest.approx(weighed / LIMIT)
    assert [one["predicted"] for one in numbers["classes"].values()] == np.bincount(chosen, minlength=10).tolist()
    assert numbers["quality_of_the_card"]["confusion"] == TOLD
    assert numbers["sample"]["front"] == "flux:grz"


def test_looks_are_those_of_predict(report: Path, predicted: Any) -> None:
    """The network in torch sees the same galaxy as the model file: same shares, same centroid."""
    numbers, chosen = numbers_of(report), predicted["MORPH_CLASS"]
    assert len(numbers["kernels"]["classes"]) == len(np.unique(chosen)) >= 4
    for name, one in numbers["kernels"]["classes"].items():
        mine = predicted["MORPH_RF"][chosen == NAMES.index(name)].astype(float)
        assert one["objects"] == len(mine) < PER_CLASS
        np.testing.assert_allclose(one["mean"][2], mine.mean(0), atol=1e-4)
        np.testing.assert_allclose(one["scatter"][2], mine.std(0), atol=1e-4)
        np.testing.assert_allclose(np.sum(one["mean"], axis=1), 1, atol=1e-5)
    for one in numbers["examples"]:
        east, north = one["centroid_east_north_arcsec"]
        assert east == pytest.approx(predicted["MORPH_ATT_DX"][one["row"]], abs=5e-3)
        assert north == pytest.approx(predicted["MORPH_ATT_DY"][one["row"]], abs=5e-3)
        assert one["probability"] == predicted["MORPH_PROB"][one["row"], NAMES.index(one["class"])]
        assert one["truth"] == NAMES[predicted["GALAXY10"][one["row"]]]
    for number in np.unique(chosen):
        rows = [one["row"] for one in numbers["examples"] if one["class"] == NAMES[number]]
        mine = np.where(chosen == number, predicted["MORPH_PROB"][:, number], 0)
        assert rows == np.argsort(-mine, kind="stable")[: min(2, (chosen == number).sum())].tolist()


def absent_in(predicted: Any) -> list[str]:
    found = [name for number, name in enumerate(NAMES) if number not in predicted["MORPH_CLASS"]]
    assert found, "the sample is small enough for that"
    return found


def test_classes_that_nobody_is_predicted_as_are_named(report: Path, predicted: Any) -> None:
    text = (report / "index.html").read_text()
    assert all(
        name in re.findall(r"is predicted as (.*?): left out of the next two", text)[0] for name in absent_in(predicted)
    )


def test_dreams_of_every_class_begin_with_the_galaxy_nearest_to_it(report: Path, predicted: Any) -> None:
    truth, chosen, probability = (predicted[name] for name in ("GALAXY10", "MORPH_CLASS", "MORPH_PROB"))
    begun = numbers_of(report)["dreams"]["inputs"]
    assert list(begun) == list(NAMES)
    for number, one in enumerate(begun.values()):
        right, said = truth == number, chosen == number
        among, why = next((rows, why) for rows, why in ((right & said, "predicted"), (said, "predicted"), (right, "labelled"),
                                                        (right | True, "likeliest")) if rows.any())  # fmt: skip
        assert one["why"] == why
        assert one["row"] == np.where(among, probability[:, number], -1).argmax()
        assert one["probability"] == probability[one["row"], number]
        assert one["predicted"] == NAMES[chosen[one["row"]]]
        assert one["truth"] == NAMES[truth[one["row"]]]
    strangers = {name for name, one in begun.items() if one["why"] != "predicted"}
    assert strangers == set(absent_in(predicted))
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", (report / "index.html").read_text()):
        if re.search(r"Dreams at \d+ px", caption):
            assert {name for name in NAMES if f"{name} (" in caption} == strangers


def test_numbers_of_the_dreams_are_those_of_the_files(report: Path, twin: Twin) -> None:
    told = numbers_of(report)["dreams"]
    assert told["sizes"] == list(SIZES)
    files = sorted((report / "dreams").iterdir())
    assert len(files) == 2 * len(told["inputs"])
    tensors, _ = dreams.checkpoint.load(files[0])
    slug, _, layer = files[0].stem.rpartition("-")
    name = next(name for name in NAMES if name.lower().replace(" ", "-") == slug)
    for size in SIZES:
        assert told["traces"][name][layer][str(size)] == tensors[f"trace/{size}"].tolist()
        assert tensors[f"image/{size}"].shape == (3, size, size)
        one = told["ratios"][layer][str(size)]
        assert len(one["frequency"]) == size // 2
        assert list(one["classes"]) == list(NAMES)
        np.testing.assert_allclose(one["median"], np.median(list(one["classes"].values()), 0), rtol=1e-4)
        assert len(np.unique(np.round(list(one["classes"].values()), 3), axis=0)) > 3, "each class has its own"


def test_each_dream_is_a_picture_in_full_that_the_page_leads_to(report: Path, twin: Twin) -> None:
    links = re.findall(r'href="([^"]+)">(.*?)<', (report / "index.html").read_text())
    assert sorted(path for path, _ in links) == sorted(
        str(path.relative_to(report)) for path in (report / "dream-images").iterdir()
    )
    assert len(links) == 2 * len(NAMES)
    assert {text for _, text in links} == {"40 px"}
    low, high = (bound.numpy() for bound in valid_range(twin.pixels))
    for path, _ in links:
        tensors, _ = dreams.checkpoint.load(report / "dreams" / f"{Path(path).stem}.safetensors")
        display = (tensors["image/40"].float().numpy() - low) / (high - low)
        with Image.open(report / path) as picture:
            assert (picture.size, picture.mode) == ((40, 40), "RGB")
            assert "MOCK galaxies" in picture.text["Description"]
            shown = np.asarray(picture)[::-1, :, ::-1] / 255  # north is up, blue last
        assert abs(np.moveaxis(shown, -1, 0) - display).max() < 1 / 255


@pytest.mark.slow
def test_stopped_dreams_go_on_and_end_alike(
    report: Path, model: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes, out = len(list((report / "dreams").iterdir())), tmp_path / "out"
    begun = count_dreams(monkeypatch, stop_at=4)
    with pytest.raises(Interrupted, match=f"3 of {wishes} dreams were finished and are kept") as caught:
        report_with_dreams(out, model, sample)
    assert "same command again" in caught.value.hint
    assert len(begun) == 4
    assert len(list((out / "dreams").iterdir())) == 3
    assert set(pictures_in(out / "index.html")) == PICTURES, "the page is there without the dreams"
    report_with_dreams(out, model, sample)
    assert len(begun) == 4 + wishes - 3, "what was finished is not dreamt twice"
    assert contents(out) == contents(report)


def test_without_labels_the_card_speaks(galcli: Run, model: Path, sample: Path, tmp_path: Path) -> None:
    rows = fitsio.read(str(sample), ext="CATALOG")[:6]
    rows["GALAXY10"] = -1
    with fitsio.FITS(str(tmp_path / "c.fits"), "rw") as file:
        file.write(rows, extname="CATALOG")
    words = ("explain", "dmagnet", "--model", model, "--catalog", tmp_path / "c.fits", "--cutouts",
             sample.parent / "cutouts")  # fmt: skip
    galcli(*words, "-o", tmp_path / "out")
    text, numbers = (tmp_path / "out" / "index.html").read_text(), numbers_of(tmp_path / "out")
    assert set(pictures_in(tmp_path / "out" / "index.html")) == PICTURES - {"reliability"}
    assert "No galaxy of this sample has a label." in text
    assert "measured on moon galaxies through the front flux:grz" in text
    assert re.search(r"<td>moon galaxies \(card\)</td><td>55</td><td>0.625</td><td>0.500</td><td>0.125</td>", text)
    assert numbers["quality"] is None
    assert numbers["sample"]["label_column"] is None
    assert "truth" not in numbers["examples"][0]
    assert text.count("MOCK training.") == 3, "the table does not say that its galaxies are mock"
    wrong = galcli(*words, "-o", tmp_path / "none", "--label-column", "nonsense", code=4)
    assert "nonsense" in wrong.error
    foreign = galcli(*words, "-o", tmp_path / "none", "--label-column", "PETROMAG_R", code=4)
    assert "labels are no class" in foreign.error
    assert not (tmp_path / "none").exists()


def test_card_that_says_nothing(model: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = read_twin(model)
    silent = replace(silent, file=replace(silent.file, card=card()))
    monkeypatch.setattr("galcli.training.interpret.dmagnet_report.read_twin", lambda name: silent)
    path = catalogue(tmp_path / "c.fits", sample, 3)
    options = PredictOptions((path,), tmp_path / "p.fits", str(sample.parent / "cutouts"))
    page = write_report(tmp_path / "out", options, Wanted(str(model), "three", None), Lines())
    assert "card tells no confusion matrix either" in page.read_text()
    assert set(pictures_in(page)) == {"examples", "kernels"}


def test_other_models_are_refused(galcli: Run, model: Path, tmp_path: Path, twin: Twin, sample: Path) -> None:
    wrong = galcli("explain", "dmagnet", "--model", "sfnet-metallicity", "-o", tmp_path / "o", code=5)
    assert "not a DMAGNet" in wrong.error
    assert "galcli train dmagnet" in wrong.hint
    assert not (tmp_path / "o").exists()
    outputs = tuple(output for output in twin.card.outputs if output.column != "MORPH_LABEL")
    odd = replace(twin, file=replace(twin.file, card=twin.card.model_copy(update={"outputs": outputs})))
    with pytest.raises(ModelError, match="not those of Galaxy10"):
        judge(PredictOptions((sample,), tmp_path / "p.fits"), odd, None, Lines())


def catalogue(path: Path, sample: Path, rows: int) -> Path:
    """The first galaxies of the sample, without what is known of them."""
    with fitsio.FITS(str(path), "rw") as file:
        file.write(fitsio.read(str(sample), ext="CATALOG", columns=["TARGETID", "RA", "DEC"])[:rows], extname="CATALOG")
    return path


def test_images_that_do_not_fill_the_field_are_seen_as_predicted(
    galcli: Run, model: Path, twin: Twin, sample: Path, tmp_path: Path
) -> None:
    """Where a display image has no data, the graph sees blank sky, and so does the report."""
    path, draw = catalogue(tmp_path / "c.fits", sample, 4), np.random.default_rng(3)
    (tmp_path / "stamps").mkdir()
    for number in fitsio.read(str(path), columns="TARGETID", ext="CATALOG"):
        noise = draw.integers(0, 160, (SIZE - 6, SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "stamps" / f"{number}.png")
    galcli("predict", path, "--cutouts", tmp_path / "stamps", "--pixel-scale", PIXEL_SCALE, "--model", model,
           "-o", tmp_path / "said.fits")  # fmt: skip
    said = fitsio.read(str(tmp_path / "said.fits"), ext="PREDICTIONS")
    assert (said["MORPH_STATUS"] & ModelStatus.EDGE).all()
    options = PredictOptions((path,), tmp_path / "p.fits", str(tmp_path / "stamps"), pixel_scale=PIXEL_SCALE)
    verdicts = judge(options, twin, None, Lines())
    looks = look_at(verdicts, options, twin)
    assert verdicts.front == "display"
    assert looks.rows.tolist() == [0, 1, 2, 3]
    with torch.no_grad():
        seen = twin.network.trace(looks.inputs)
    np.testing.assert_allclose(seen.logits.softmax(1), said["MORPH_PROB"], atol=1e-4)
    np.testing.assert_allclose(looks.shares[:, 2], said["MORPH_RF"], atol=1e-4)
    for edge in (looks.images[:, :3], looks.images[:, -3:]):
        np.testing.assert_allclose(edge, VIEWERS["flux:gri"].sky, rtol=1e-5)
    images = seen_images(verdicts.table, "MORPH", options, [0, 3])
    np.testing.assert_allclose([images[0], images[3]], looks.images[[0, 3]], atol=1e-6)


def test_three_galaxies_dream_of_all_classes(
    model: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "THUMB", 24)
    monkeypatch.setattr(figures, "CENTRE", 24)
    path = catalogue(tmp_path / "c.fits", sample, 3)
    options = PredictOptions((path,), tmp_path / "p.fits", str(sample.parent / "cutouts"))
    asked = Asked(("stem",), None, DreamSettings((32,), steps=1))
    page = write_report(tmp_path / "out", options, Wanted(str(model), "three", None, asked), Lines())
    begun = numbers_of(tmp_path / "out")["dreams"]["inputs"]
    assert list(begun) == list(NAMES)
    assert {one["why"] for one in begun.values()} == {"predicted", "likeliest"}
    with Image.open(io.BytesIO(pictures_in(page)["dreams-centres"])) as picture:
        assert 10 * 24 < picture.height < 400, "ten lines, pixel by pixel"
    assert "The centres of the dreams at 32 px" in page.read_text()


@pytest.mark.parametrize(("words", "said"), [
    (("--dream", "--max-size", 200), "allow at least 256 px"),
    (("--max-size", 512), "add --dream"),
    (("--class",), "add --dream"),
    (("--dream", "--class", "--channel", 1), "leave out"),
    (("--label-column", "x"), "--catalog"),
])  # fmt: skip
def test_senseless_options_are_refused_at_once(galcli: Run, tmp_path: Path, words: tuple[Any, ...], said: str) -> None:
    refused = galcli("explain", "dmagnet", "--model", "no-such-model", *words, "-o", tmp_path / "o", code=2)
    assert said in refused.hint
    assert not (tmp_path / "o").exists()


def test_layers_that_are_not_there_are_refused(galcli: Run, model: Path, tmp_path: Path) -> None:
    words = ("explain", "dmagnet", "--model", model, "--dream", "-o", tmp_path / "o")
    assert "unknown layer 'dma4'" in galcli(*words, "--layers", "stem,dma4", code=2).error
    assert "unknown layer 'class'" in galcli(*words, "--layers", "lam,class", "--channel", 5, code=2).error
    assert "0 to 63" in galcli(*words, "--layers", "lam,stem", "--channel", 64, code=2).hint
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "index.html").write_text("mine")
    assert "holds no report" in galcli(*words, code=2).error
    assert (tmp_path / "o" / "index.html").read_text() == "mine"
