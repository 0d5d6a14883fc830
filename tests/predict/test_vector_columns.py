"""A chained model that writes a spectrum per row: header cards of its column, in every layout, and memory."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galcli.models.card import CARD_KEY
from galcli.predict import merge
from galcli.predict.engine import TILE_COPIES, TILE_ROWS, tile_gb
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.tables.columns import Column
from tests.survey import Survey, make_survey, raw_rows, read_predictions
from tests.tiny_models import DLOGLAM, LOGLAM0, spectrum_basis, write_decoder

Run = Callable[..., Any]
POINTS = 1000
WAVELENGTHS = 10 ** (LOGLAM0 + DLOGLAM * np.arange(POINTS))


def predict(survey: Survey, *more: object, models: tuple[object, ...] = (), out: Path | None = None) -> list[str]:
    chosen = models or (survey.root / "latents.onnx",)
    words = ["predict", survey.catalog, "-o", out or survey.out, "--threads", 1, "--device", "cpu", "--with", "spectra"]
    return [str(word) for word in [*words, *more, *(part for model in chosen for part in ("--model", model))]]


@pytest.fixture
def spectra(survey: Survey) -> Survey:
    """The survey, with a model of latents and its decoder in place of the averaging one."""
    write_decoder(survey.root)
    return survey


def spoken(path: Path, name: str = "SPEC_FLUX") -> tuple[Any, int]:
    """Header of the predictions, and the number of a column in it."""
    with fits.open(path) as hdus:
        header = hdus["PREDICTIONS"].header.copy()
        return header, hdus["PREDICTIONS"].columns.names.index(name) + 1


def test_spectra_come_with_their_wavelengths(spectra: Survey, galcli: Run) -> None:
    galcli(*predict(spectra, "--keep-tiles"))
    rows = read_predictions(spectra.out)
    np.testing.assert_allclose(rows["SPEC_FLUX"], spectra.means[:, :1] * spectrum_basis(POINTS), rtol=1e-6)
    header, n = spoken(spectra.out)
    assert (header["LOGLAM0"], header["DLOGLAM"]) == (LOGLAM0, DLOGLAM)
    grid = header["LOGLAM0"] + header["DLOGLAM"] * np.arange(POINTS)
    np.testing.assert_allclose(10**grid, WAVELENGTHS, rtol=1e-12)
    # FITS standard 4.0, 8.4.1: lambda = lambda_r exp(w / lambda_r), w counted from the reference pixel
    assert (header[f"1CTYP{n}"], header[f"1CUNI{n}"]) == ("WAVE-LOG", "Angstrom")
    reference = header[f"1CRVL{n}"]
    w = header[f"1CDLT{n}"] * (np.arange(1, POINTS + 1) - header[f"1CRPX{n}"])
    np.testing.assert_allclose(reference * np.exp(w / reference), WAVELENGTHS, rtol=1e-12)
    for tile in RunPaths(spectra.out).root.glob("Norder=*/**/*.fits"):
        header_of_tile, number = spoken(tile)
        assert number == n
        brought = [card.image for card in header.cards if card.comment == "of the spectra"]
        assert len(brought) == 7
        assert brought == [card.image for card in header_of_tile.cards if card.comment == "of the spectra"]
    galcli("validate", spectra.out)
    galcli("validate", RunPaths(spectra.out).root)


def test_wcslib_finds_the_wavelengths(spectra: Survey, galcli: Run) -> None:
    galcli(*predict(spectra))
    header, n = spoken(spectra.out)
    wcs = WCS(header, keysel=["binary"], colsel=[n])
    metres = wcs.wcs_pix2world(np.arange(POINTS, dtype=float)[:, None], 0)[:, 0]
    np.testing.assert_allclose(metres * 1e10, WAVELENGTHS, rtol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = Table.read(spectra.out, hdu=1)
    assert table["SPEC_FLUX"].shape == (48, POINTS)


def test_cards_come_with_the_column_only(spectra: Survey, galcli: Run) -> None:
    words = [word for word in predict(spectra) if word not in ("--with", "spectra")]
    galcli(*words)
    with fits.open(spectra.out) as hdus:
        assert not {"LOGLAM0", "DLOGLAM"} & set(hdus["PREDICTIONS"].header)
        assert not [key for key in hdus["PREDICTIONS"].header if key.startswith("1C")]


def test_renamed_column_has_the_cards_under_its_own_number(spectra: Survey, galcli: Run) -> None:
    twin = write_decoder(spectra.root, name="twin")
    galcli(*predict(spectra, models=(spectra.root / "latents.onnx", twin)))
    header, first = spoken(spectra.out)
    _, second = spoken(spectra.out, "SPEC_FLUX_2")
    assert first < second
    for key in ("1CTYP", "1CUNI", "1CRPX", "1CRVL", "1CDLT"):
        assert header[f"{key}{first}"] == header[f"{key}{second}"]
    assert header.count("LOGLAM0") == 1
    galcli("validate", spectra.out)


def test_models_that_contradict_each_other_are_refused_before_any_work(spectra: Survey, galcli: Run) -> None:
    other = write_decoder(spectra.root, name="other", loglam0=3.6)
    result = galcli(*predict(spectra, models=(spectra.root / "latents.onnx", other)), code=6)
    assert "LOGLAM0: 3.53 for column SPEC_FLUX, 3.6 for SPEC_FLUX_2" in result.error
    assert "two tables" in result.hint
    assert not RunPaths(spectra.out).root.exists()


@pytest.mark.parametrize(("key", "value"), [("LOGLAM0", 3.6), ("1CTYP{n}", "WAVE")])
def test_validate_notices_other_cards(spectra: Survey, galcli: Run, key: str, value: Any) -> None:
    galcli(*predict(spectra))
    key = key.format(n=spoken(spectra.out)[1])
    with fits.open(spectra.out, mode="update", checksum=True) as hdus:
        hdus["PREDICTIONS"].header[key] = value
    said = galcli("validate", spectra.out, code=4)
    assert f"header card {key}, which belongs to column SPEC_FLUX, is {value}" in said.out + said.err
    with fits.open(spectra.out, mode="update", checksum=True) as hdus:
        del hdus["PREDICTIONS"].header[key]
    said = galcli("validate", spectra.out, code=4)
    assert "is absent" in said.out + said.err


def test_parquet_has_the_cards_in_the_metadata_of_the_field(spectra: Survey, galcli: Run) -> None:
    out = spectra.root / "hats"
    galcli(*predict(spectra, "--layout", "hats", out=out))
    header, _ = spoken(out / "galcli.fits")
    assert header["LOGLAM0"] == LOGLAM0
    for path in [*out.glob("dataset/Norder=*/**/*.parquet"), out / "dataset" / "_common_metadata"]:
        said = pq.read_schema(path).field("SPEC_FLUX").metadata
        assert said[b"1CTYP"] == b"WAVE-LOG"
        assert float(said[b"LOGLAM0"]) == LOGLAM0
        assert float(said[b"1CDLT"]) == header["1CDLT" + str(spoken(out / "galcli.fits")[1])]
        assert b"LOGLAM0" not in (pq.read_schema(path).field("SPEC_FIRST").metadata or {})
    galcli("validate", out)
    galcli(*predict(spectra, "--layout", "hats-fits", out=spectra.root / "leaves"))
    for leaf in (spectra.root / "leaves").glob("dataset/Norder=*/**/*.fits"):
        assert spoken(leaf)[0]["LOGLAM0"] == LOGLAM0
    galcli("validate", spectra.root / "leaves")


def test_shards_and_merge_give_the_same_bytes(spectra: Survey, galcli: Run) -> None:
    galcli(*predict(spectra, "--order", 3))
    whole = spectra.out.read_bytes()
    spectra.out.unlink()
    for number in range(2):
        galcli(*predict(spectra, "--order", 3, "--shard", f"{number}/2"))
    galcli("merge", RunPaths(spectra.out).root)
    assert spectra.out.read_bytes() == whole


def test_plan_on_disk_keeps_the_cards(spectra: Survey, galcli: Run) -> None:
    galcli(*predict(spectra, "--keep-tiles"))
    columns = {column.name: column for column in load_plan(RunPaths(spectra.out)).table.columns}
    assert ("LOGLAM0", LOGLAM0, "of the spectra") in columns["SPEC_FLUX"].header
    assert columns["SPEC_FIRST"].header == ()
    assert len({*columns.values()}) == len(columns)  # they can be hashed, so no list is among the tuples


def test_decoder_of_a_file_is_known_by_its_bytes(spectra: Survey, galcli: Run) -> None:
    """A decoder with another header is another model."""
    decoder = spectra.root / "latents-decoder.onnx"
    kept = decoder.with_suffix(".kept")
    shutil.copy(decoder, kept)
    model = onnx.load(decoder)
    card = json.loads(model.metadata_props[0].value)
    card["outputs"][0]["header"][0]["value"] = 3.6
    onnx.helper.set_model_props(model, {CARD_KEY: json.dumps(card)})
    onnx.save(model, decoder)
    assert "another version" in galcli(*predict(spectra), code=5).error
    kept.replace(decoder)
    galcli(*predict(spectra))


# --- memory -------------------------------------------------------------------------------------------------------------


def test_windows_that_memory_would_not_hold_are_cut_again(
    tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = make_survey(tmp_path / "s", 200)
    write_decoder(survey.root)
    galcli(*predict(survey, "--order", 2))
    whole = raw_rows(survey.out)
    sizes: list[int] = []
    window = merge._window
    monkeypatch.setattr(merge, "_window", lambda *given: (sizes.append(given[2]), window(*given))[1])
    monkeypatch.setattr(merge, "WINDOW_BYTES", 1)
    monkeypatch.setattr(merge, "MAX_WINDOWS", 3)
    monkeypatch.setattr(merge, "MAX_WINDOW_BYTES", 10 * 4100)  # ten rows at most
    galcli(*predict(survey, "--order", 2, "--overwrite"))
    np.testing.assert_array_equal(raw_rows(survey.out), whole)
    assert sum(sizes) == 200
    assert max(sizes) <= 10  # 67 in the first pass, 23 in the second, 8 in the third
    assert not RunPaths(survey.out).root.exists()


def test_rows_wider_than_a_window_stand_alone(spectra: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    galcli(*predict(spectra))
    whole = spectra.out.read_bytes()
    monkeypatch.setattr(merge, "WINDOW_BYTES", 1)
    monkeypatch.setattr(merge, "MAX_WINDOW_BYTES", 1)
    galcli(*predict(spectra, "--overwrite"))
    assert spectra.out.read_bytes() == whole


def test_leaves_of_wide_rows_hold_fewer(spectra: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {}
    for most in (10**9, 10 * 4100):
        monkeypatch.setattr("galcli.predict.hats.LEAF_BYTES", most)
        out = spectra.root / f"hats-{most}"
        galcli(*predict(spectra, "--layout", "hats", "--order", 5, out=out))
        rows[most] = [pq.read_metadata(leaf).num_rows for leaf in out.glob("dataset/Norder=*/**/*.parquet")]
        assert sum(rows[most]) == 48
    assert max(rows[10**9]) > 10 >= max(rows[10 * 4100])


def test_forecast_counts_the_width(spectra: Survey, galcli: Run) -> None:
    words = [word for word in predict(spectra, "--json") if word not in ("-o", str(spectra.out))]
    expected = json.loads(galcli("plan", *words[1:]).out)
    galcli(*predict(spectra))
    assert expected["output_mb"] == pytest.approx(spectra.out.stat().st_size / 1e6, rel=0.2)
    assert expected["output_mb"] > 48 * 4 * POINTS / 1e6
    assert expected["models"] == ["latents", "latents-decoder"]


def test_max_memory_counts_the_width(spectra: Survey, galcli: Run) -> None:
    column = Column("SPEC_FLUX", "f4", (POINTS,))
    assert tile_gb(TILE_ROWS, [column]) == pytest.approx(TILE_COPIES * 4096 * 4000 / 1e9)
    wide = galcli(*predict(spectra, "--max-memory", 0.1), code=2).hint
    narrow = galcli(*[w for w in predict(spectra, "--max-memory", 0.1) if w not in ("--with", "spectra")], code=2).hint
    least = [float(hint.split("at least ")[1].split()[0]) for hint in (wide, narrow)]
    assert least[0] - least[1] == pytest.approx(tile_gb(TILE_ROWS, [column]), abs=0.011)
