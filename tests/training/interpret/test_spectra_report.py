"""The report of a model from images to spectra: its page, its table and its numbers say the same, and the truth."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest

from galcli.models import library
from galcli.training.recipes.vae_coder import open_coder
from galcli.training.spectra.files import read_spectra
from galcli.training.spectra.grid import wavelengths
from galcli.training.spectra.quality import breaks, line_widths
from tests.training.tiny_spectra import ADDS, IDLE, LATENTS, Tiny, make

Run = Callable[..., Any]
PICTURES = {"examples", "latents", "scatter", "properties", "ensemble", "filters", "response"}


@pytest.fixture(scope="module")
def report(galcli: Run, tiny_spectra: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the first 40 galaxies of the embedded sample."""
    out = tmp_path_factory.mktemp("report") / "out"
    galcli("explain", "spectra", "--model", tiny_spectra.model, "--examples", 2, "--limit", 40, "-o", out)
    return out


@pytest.fixture(scope="module")
def sample(galcli: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "s"
    galcli("sample", folder)
    return folder


def read(path: Path) -> Any:
    return fitsio.read(str(path), ext="COMPARISON")


def pictures_in(page: Path) -> dict[str, bytes]:
    found = re.findall(r'<img alt="(\w+)" src="data:image/png;base64,([^"]+)"', page.read_text())
    return {name: base64.b64decode(data) for name, data in found}


def test_page_holds_every_picture(report: Path) -> None:
    held = pictures_in(report / "index.html")
    assert held == {path.stem: path.read_bytes() for path in report.glob("*.png")}
    assert set(held) == PICTURES
    assert f"<td>latent {IDLE} (not used)</td>" in (report / "index.html").read_text()


def test_page_says_what_is_mock(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert text.count("MOCK galaxies and MOCK training.") == len(PICTURES), "each picture says it"
    assert re.search(r'class="warning">MOCK galaxies: .* MOCK training: ', text)
    assert "40 galaxies, 40 with a prediction" in text
    header = fitsio.read_header(str(report / "spectra-comparison.fits"), ext="COMPARISON")
    assert header["MOCK"]
    assert header["MMOCK"]


def test_numbers_are_those_of_the_table(report: Path) -> None:
    numbers, table = json.loads((report / "metrics.json").read_text()), read(report / "spectra-comparison.fits")
    residual = table["SPEC_LATENT"].astype(float) - table["LATENT_ENCODED"]
    assert len(numbers["latents"]) == LATENTS
    for number, one in enumerate(numbers["latents"]):
        mine = residual[:, number]
        assert one["objects"] == len(mine) == 40
        assert one["rmse"] == pytest.approx(np.sqrt(np.mean(mine**2)), rel=1e-6)
        assert one["bias"] == pytest.approx(mine.mean(), rel=1e-5, abs=1e-7)
        assert one["coverage"] == np.mean(np.abs(mine) <= table["SPEC_LATENT_ERR"][:, number])
    for name, truth in (("SPEC_EW_HA", "EW_HA_OBSERVED"), ("SPEC_D4000", "D4000_OBSERVED")):
        mine = (table[name].astype(float) - table[truth])[np.isfinite(table[truth])]
        assert numbers["properties"][name]["objects"] == len(mine) > 20
        assert numbers["properties"][name]["rmse"] == pytest.approx(np.sqrt(np.mean(mine**2)), rel=1e-5)
    assert numbers["sample"]["compared"] == 40
    assert numbers["sample"]["mock"]
    shown = re.search(r"<td>latent 0</td><td>40</td><td>([\d.]+)</td>", (report / "index.html").read_text())
    assert shown is not None
    assert float(shown[1]) == round(numbers["latents"][0]["rmse"], 3)


def test_observed_columns_are_those_of_the_galaxys_own_spectrum(report: Path, tiny_spectra: Tiny) -> None:
    """Found by identifier and encoded by hand; widths and breaks do not depend on how a spectrum is normalised."""
    path = Path(str(files("galcli.sample") / "spectra.fits"))
    spectra, _ = read_spectra([path])
    filled, _ = open_coder(tiny_spectra.folder).normalise(spectra)
    at = {name: row for row, name in enumerate(spectra.id)}
    raw = fitsio.read(str(path), ext="SPECTRA")
    needed = (wavelengths() > 3845) & (wavelengths() < 6655)
    whole = {name: row for row, name in enumerate(raw["TARGETID"]) if (raw["IVAR"][row, needed] > 0).all()}
    compared = 0
    for row in read(report / "spectra-comparison.fits"):
        used = tiny_spectra.vectors[:IDLE]
        latent = (filled[at[row["TARGETID"]]] - tiny_spectra.mean) @ used.T / np.square(used).sum(1)
        np.testing.assert_allclose(row["LATENT_ENCODED"][:IDLE], latent, atol=2e-3)
        if row["TARGETID"] in whole:
            flux = raw["FLUX"][whole[row["TARGETID"]]][None].astype(float)
            assert row["EW_HA_OBSERVED"] == pytest.approx(line_widths(flux)["HA"][0], rel=1e-3, abs=1e-3)
            assert row["D4000_OBSERVED"] == pytest.approx(breaks(flux)[0], rel=1e-4)
            compared += 1
    assert compared >= 5


def test_predictions_are_those_of_predict(
    report: Path, sample: Path, tiny_spectra: Tiny, galcli: Run, tmp_path: Path
) -> None:
    out = tmp_path / "p.fits"
    galcli(
        "predict", sample / "catalog.fits", "--model", tiny_spectra.model, "--with", "spectra", "--limit", 40, "-o", out
    )
    table, mine = fitsio.read(str(out), ext="PREDICTIONS"), read(report / "spectra-comparison.fits")
    for name in (
        "TARGETID",
        "SPEC_STATUS",
        "SPEC_LATENT",
        "SPEC_LATENT_ERR",
        "SPEC_LATENT_SCATTER",
        "SPEC_EW_HA",
        "SPEC_D4000",
    ):
        np.testing.assert_array_equal(mine[name], table[name], err_msg=name)
    np.testing.assert_allclose(mine["SPEC_EW_HA"], 20 + mine["SPEC_LATENT"] @ ADDS[:, 0], rtol=1e-5)


def test_without_spectra_the_page_says_so(sample: Path, tiny_spectra: Tiny, galcli: Run, tmp_path: Path) -> None:
    words = ("explain", "spectra", "--model", tiny_spectra.model, "--catalog", sample / "catalog.fits",
             "--examples", 1, "--limit", 6)  # fmt: skip
    galcli(*words, "-o", tmp_path / "out")
    page = tmp_path / "out" / "index.html"
    assert set(pictures_in(page)) == PICTURES - {"scatter", "properties", "ensemble"}
    assert "No observed spectra were given" in page.read_text()
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert numbers["sample"]["compared"] == 0
    assert "latents" not in numbers
    assert "LATENT_ENCODED" not in read(tmp_path / "out" / "spectra-comparison.fits").dtype.names


def test_what_is_left_out_is_said(sample: Path, tiny_spectra: Tiny, galcli: Run, tmp_path: Path) -> None:
    """Galaxies without cutouts and spectra that cannot be used."""
    rows, names = fitsio.read(str(sample / "catalog.fits"), ext="CATALOG")[:6], []
    with fitsio.FITS(str(tmp_path / "c.fits"), "rw") as file:
        rows["DEC"][:2] -= 1
        rows["TARGETID"][:2] += 1000
        file.write(rows, extname="CATALOG")
    for number in range(12):
        names.append(tmp_path / f"spec-{number}.fits")
        names[-1].write_bytes(b"no FITS file")
    words = [word for name in names for word in ("--spectra", name)]
    said = galcli("explain", "spectra", "-o", tmp_path / "out", "--catalog", tmp_path / "c.fits", "--cutouts",
                  sample / "cutouts", "--model", tiny_spectra.model, "--spectra", sample / "spectra.fits", *words).err  # fmt: skip
    assert "2 of 6 galaxies have no prediction" in said
    assert f"left out: {names[0]}: " in said
    assert said.count("left out: ") == 11
    assert "left out: 2 more" in said
    assert "4 of 4 predicted galaxies have one of" in said


def test_what_cannot_be_explained_is_refused(sample: Path, tiny_spectra: Tiny, galcli: Run, tmp_path: Path) -> None:
    words = ("explain", "spectra", "-o", tmp_path / "out", "--catalog", sample / "catalog.fits")
    other = make(tmp_path / "other", seed=4)
    wrong = galcli(*words, "--model", tiny_spectra.model, "--vae", other.folder, code=5)
    assert "another autoencoder" in wrong.error
    assert "--vae" in wrong.hint
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tiny_spectra.model, alone)
    lost = galcli(*words, "--model", alone / "spectra.onnx", "--vae", tmp_path, code=5)
    assert "--vae" in lost.hint
    assert "no output SPEC_LATENT" in galcli(*words, "--model", "sfnet-metallicity", code=5).error
    with fitsio.FITS(str(tmp_path / "far.fits"), "rw") as file:
        rows = fitsio.read(str(sample / "catalog.fits"), ext="CATALOG")[:3]
        rows["TARGETID"] += 1000
        rows["DEC"] -= 1
        file.write(rows, extname="CATALOG")
    far = galcli("explain", "spectra", "-o", tmp_path / "out", "--catalog", tmp_path / "far.fits", "--model",
                 tiny_spectra.model, "--cutouts", sample / "cutouts", "--spectra", sample / "spectra.fits", code=4)  # fmt: skip
    assert "no predicted galaxy" in far.error or "no galaxy got a prediction" in far.error
    assert not (tmp_path / "out").exists()


def test_nothing_but_reports_is_replaced(tiny_spectra: Tiny, galcli: Run, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    assert (
        "holds no report" in galcli("explain", "spectra", "--model", tiny_spectra.model, "-o", tmp_path, code=2).error
    )
    assert (tmp_path / "index.html").read_text() == "mine"
    assert "--catalog" in galcli("explain", "spectra", "--spectra", "x.fits", "-o", tmp_path / "o", code=2).hint


def test_the_coder_is_found_beside_the_model(tiny_spectra: Tiny) -> None:
    decoder = open_coder(tiny_spectra.folder).decoder
    assert library.find(tiny_spectra.model).card.chain[0].sha256 == decoder.sha256
