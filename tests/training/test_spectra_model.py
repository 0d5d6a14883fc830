"""From a training to ``spectra.onnx`` and through `galcli predict`: what the card says is so; faults of the pixels."""

import shutil

import fitsio
import numpy as np
import onnx
import pytest
import torch

from galcli.cutouts.stack_write import write_stack
from galcli.errors import InputError, ModelError
from galcli.models import library
from galcli.models.session import Session
from galcli.predict.options import PredictOptions
from galcli.predict.run import predict
from galcli.progress import Lines
from galcli.tables.status import ModelStatus, RowStatus
from galcli.training import checkpoint
from galcli.training.recipes import spectra_export, spectra_plan
from galcli.training.recipes.spectra import WEIGHTS, train_spectra
from galcli.training.recipes.spectra_data import Source
from galcli.training.recipes.spectra_export import export_spectra, unseen
from galcli.training.recipes.stages import Stage
from galcli.training.recipes.vae_coder import open_coder
from galcli.training.spectra.measure import LINES, EquivalentWidth

SIZE = 48
PRESET = spectra_plan.Preset((Stage(24, 2.0, 1.0, 0.5), Stage(SIZE, 1.0, 1.0, 0.5)), batch=32)


@pytest.fixture(scope="module")
def made(tiny_spectra, tmp_path_factory):
    """Model of a short training, the views it was measured on, and its autoencoder."""
    folder = tmp_path_factory.mktemp("model")
    coder = open_coder(tiny_spectra.folder)
    source = Source(folder / "cache", 5, 256)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spectra_plan.PRESETS, "quick", PRESET)
        weights = train_spectra(folder, source, coder, network="simple-deconv", preset="quick", dropout=0.2)
        views = unseen(weights, source, coder, "seed")
    card = export_spectra(weights, views, coder, folder / "spectra.onnx")
    return folder / "spectra.onnx", card, views, coder


def values_of(view, model):
    session = Session(library.find(model), "cpu")
    parts = [session.run({key: value.numpy() for key, value in batch.items()}) for batch in view.batches()]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def figures_of(card):
    return {metric.name: metric.value for metric in card.metrics}


def test_card_tells_where_it_comes_from_and_whom_it_feeds(made):
    path, card, _, coder = made
    assert library.find(path).card == card
    assert card.training.mock
    assert card.training.details["network"] == "simple-deconv"
    assert card.training.epochs == pytest.approx(2, abs=0.3)
    assert card.chain[0].sha256 == library.find(path.with_name("spectra-vae-decoder.onnx")).sha256
    assert card.chain[0].group == "spectra"
    assert (path.with_name("spectra-vae-encoder.onnx")).read_bytes() == coder.encoder.path.read_bytes()
    assert card.size == (SIZE, SIZE)
    assert card.fronts[0].bands == ("g", "r", "i", "z", "y")


def test_metrics_are_those_of_unseen_galaxies(made):
    path, card, views, coder = made
    found, figures = values_of(views.test, path), figures_of(card)
    residual = found["latent"].astype(float) - views.test.target
    assert figures["SPEC_LATENT rmse"] == pytest.approx(np.sqrt((residual**2).mean()), rel=1e-4)
    for number in range(6):
        one = residual[:, number]
        assert figures[f"SPEC_LATENT[{number}] rmse"] == pytest.approx(np.sqrt((one**2).mean()), rel=1e-4)
        inside = np.abs(one) <= found["latent_err"][:, number]
        assert figures[f"SPEC_LATENT[{number}] coverage of the 68 % interval"] == pytest.approx(inside.mean(), abs=1e-4)
        assert 0.45 < inside.mean() < 0.9
    decoded = coder.decode(found["latent"])["flux"]
    truth = views.test.observed.flux[views.test.rows]
    ratio = np.abs(decoded / truth - 1)
    assert figures["SPEC_FLUX median relative residual"] == pytest.approx(np.median(ratio), rel=1e-3)
    assert figures["SPEC_FLUX 90 % relative residual"] == pytest.approx(np.percentile(ratio, 90), rel=1e-3)
    width = EquivalentWidth(LINES["HA"])
    off = (width(torch.from_numpy(decoded)) - width(torch.from_numpy(truth))).numpy()
    assert figures["SPEC_EW_HA bias"] == pytest.approx(off.mean(), rel=1e-3)
    assert {metric.sample for metric in card.metrics} == {views.name}
    assert "unseen mock galaxies" in views.name
    seen = {tuple(row) for row in views.training.observed.sample.target.astype(float).tolist()}
    assert not seen & {tuple(row) for row in views.test.target.tolist()}


def test_no_whitening_and_no_batch_norm_reaches_the_graph(made):
    operators = {node.op_type for node in onnx.load(made[0]).graph.node}
    assert not operators & {"BatchNormalization", "Mish", "Einsum", "If", "Loop"}
    names = [entry.name for entry in onnx.load(made[0]).graph.initializer]
    assert not any("running" in name or "delta" in name for name in names)


def test_rows_do_not_depend_on_their_batch(made):
    path, _, views, _ = made
    session = Session(library.find(path), "cpu")
    feeds = {key: value.numpy() for key, value in next(views.test.batches()).items()}
    whole = session.run(feeds)
    for size in (1, 3, 16):
        part = session.run({key: value[:size] for key, value in feeds.items()})
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][:size], err_msg=name)


def test_one_file_holds_both_models(made):
    path, card, views, coder = made
    merged = library.find(path.with_name("spectra-merged.onnx"))
    feeds = {key: value.numpy() for key, value in next(views.test.batches()).items()}
    found, chained = Session(merged, "cpu").run(feeds), Session(library.find(path), "cpu").run(feeds)
    decoded = {f"decoder/{name}": values for name, values in coder.decode(chained["latent"]).items()}
    for name, values in (chained | decoded).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    columns = [output.column for output in merged.card.outputs]
    assert columns == [output.column for output in (*card.outputs, *coder.decoder.card.outputs)]
    assert not merged.card.chain
    assert merged.card.tables[0].name == "SPEC_GRID"


def test_weights_of_another_autoencoder_are_refused(made, tmp_path):
    path, _, views, coder = made
    state, info = checkpoint.load_weights(path.with_name(WEIGHTS))
    checkpoint.save(tmp_path / WEIGHTS, state, info | {"encoder": "0" * 64})
    with pytest.raises(ModelError, match="learned from another autoencoder"):
        export_spectra(tmp_path / WEIGHTS, views, coder, tmp_path / "spectra.onnx")
    checkpoint.save(tmp_path / WEIGHTS, state, {name: info[name] for name in info if name != "softening"})
    with pytest.raises(ModelError, match="do not say their 'softening'"):
        spectra_export._load(tmp_path / WEIGHTS)


def survey(folder, bands="grizy", spoil=None):
    """Catalogue and a stack of eight galaxies, of which ``spoil`` changes the pixels."""
    pixels = np.random.default_rng(2).normal(0, 0.02, (8, len(bands), SIZE, SIZE)).astype(np.float32)
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    pixels += (
        np.exp(-np.hypot(x, y) / 3).astype(np.float32) * np.linspace(1, 3, 8, dtype=np.float32)[:, None, None, None]
    )
    if spoil:
        spoil(pixels)
    ids, ra, dec = np.arange(8), np.linspace(10, 10.5, 8), np.zeros(8)
    folder.mkdir(parents=True, exist_ok=True)
    write_stack(folder / "stack.fits", ids, ra, dec, pixels, tuple(bands), 1.0)
    fitsio.write(folder / "catalog.fits", {"TARGETID": ids, "RA": ra, "DEC": dec}, clobber=True)
    return folder


def predicted(folder, model):
    out = folder / "out.fits"
    out.unlink(missing_ok=True)
    shutil.rmtree(folder / "out.fits.run", ignore_errors=True)
    options = PredictOptions(
        (folder / "catalog.fits",), out=out, cutouts=str(folder / "stack.fits"), models=(str(model),),
        groups=("spectra",), device="cpu", max_fail=100.0,
    )  # fmt: skip
    predict(options, Lines())
    return fitsio.read(out, ext="PREDICTIONS")


def test_prediction_is_the_chain_of_both_models(made, tmp_path):
    path, _, _, coder = made
    table = predicted(survey(tmp_path), path)
    back = coder.decode(np.ascontiguousarray(table["SPEC_LATENT"].astype(np.float32)))
    np.testing.assert_allclose(table["SPEC_FLUX"], back["flux"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(table["SPEC_EW_HA"], back["ew_ha"], rtol=1e-4)
    np.testing.assert_allclose(table["SPEC_D4000"], back["d4000"], rtol=1e-4)
    assert (table["SPEC_LATENT_ERR"] > 0).all()
    assert (table["SPEC_LATENT_SCATTER"] > 0).all()
    assert (table["STATUS"] == 0).all()


def test_pixels_without_data(made, tmp_path):
    """A few are filled and the row keeps its values; many null it; neighbours stay the same to the last bit."""

    def spoil(pixels):
        pixels[2, :, :4] = np.nan  # 8 % of the field
        pixels[3, 4, :, :30] = np.nan  # y alone: a pixel that lacks a band has no data
        pixels[5] = np.nan

    clean, holed = (predicted(survey(tmp_path / name, spoil=how), made[0]) for name, how in (("a", None), ("b", spoil)))
    kept = [0, 1, 4, 6, 7]
    for name in clean.dtype.names:
        np.testing.assert_array_equal(clean[name][kept], holed[name][kept], err_msg=name)
    assert np.isfinite(holed["SPEC_FLUX"][2]).all()
    assert (holed["SPEC_LATENT"][2] != clean["SPEC_LATENT"][2]).any()
    assert holed["SPEC_STATUS"][3] & ModelStatus.MASKED
    for row in (3, 5):
        assert np.isnan(holed["SPEC_LATENT"][row]).all()
        assert np.isnan(holed["SPEC_FLUX"][row]).all()
        assert np.isnan(holed["SPEC_EW_HA"][row])
        assert holed["SPECVAE_STATUS"][row] != 0
        assert holed["STATUS"][row] & RowStatus.NO_PREDICTION


def test_cutouts_without_y_are_refused(made, tmp_path):
    with pytest.raises(InputError, match="flux:grizy lacks y"):
        predicted(survey(tmp_path, bands="griz"), made[0])


def test_row_whose_y_is_missing_is_flagged(made, tmp_path):
    def spoil(pixels):
        pixels[1, 4] = np.nan

    table = predicted(survey(tmp_path, spoil=spoil), made[0])
    assert table["SPEC_STATUS"][1] & (ModelStatus.MISSING_BAND | ModelStatus.MASKED)
    assert np.isnan(table["SPEC_LATENT"][1]).all()
    assert np.isfinite(table["SPEC_LATENT"][[0, 2, 3, 4, 5, 6, 7]]).all()
