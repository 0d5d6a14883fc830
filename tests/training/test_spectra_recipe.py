import contextlib
import dataclasses
import json

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table

from galcli.errors import InputError, Interrupted, UsageError
from galcli.sample import unpack
from galcli.training import cache, checkpoint, fit, regression
from galcli.training.data import take
from galcli.training.fit import STATE
from galcli.training.mock.survey import MockOptions, write_survey
from galcli.training.networks.flux import FluxPixels
from galcli.training.recipes import spectra, spectra_data, spectra_plan
from galcli.training.recipes.spectra_data import Source, gather
from galcli.training.recipes.spectra_plan import PRESETS, Preset
from galcli.training.recipes.stages import Stage
from galcli.training.seeds import mix
from galcli.training.sources import EVERY, mock_chunk, mock_population
from galcli.training.spectra.files import read_spectra
from galcli.training.spectra.mock import mock_spectra, observe_spectra
from tests.training.band_coder import BandCoder

TINY = Preset((Stage(32, 1.0, 1.0, 0.5), Stage(64, 0.5, 1.0, 0.5)), batch=8, mock_objects=48)
SIMPLE = {"network": "simple-deconv", "preset": "tiny", "device": "cpu"}


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK", 48)
        patch.setattr(regression, "NORMALISE", 200)
        patch.setitem(spectra_plan.PRESETS, "tiny", TINY)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("mock") / "cache", 3)


def test_published_preset():
    plan = PRESETS["published"]
    assert plan.stages == (Stage(224, 0.25, 50.0),)
    assert (plan.batch, plan.asinh, plan.d4, plan.rotation) == (128, False, 0.5, 0.75)
    for name in ("default", "published", "quick", "coarse"):
        assert all(stage.size * stage.pixel_scale == 56 for stage in PRESETS[name].stages), "the published field"


def test_coarse_stamps_are_binned_ones_and_keep_the_flux(source):
    coarse, fine = gather(TINY, source, BandCoder()).sample.stamps
    assert (coarse.size, coarse.pixel_scale, fine.size, fine.pixel_scale) == (32, 1.0, 64, 0.5)
    binned = fine.pixels.astype(np.float64).reshape(48, 5, 32, 2, 32, 2).sum((3, 5))
    np.testing.assert_allclose(coarse.pixels, binned, rtol=2e-3, atol=2e-3)
    # Networks see surface brightness of the last stage's pixels, whatever the stage.
    bright = [take(stamps, np.arange(48))[0].mean((2, 3)) for stamps in (coarse, fine)]
    torch.testing.assert_close(bright[0], bright[1], rtol=2e-2, atol=1e-3)


def test_latents_belong_to_the_galaxies_in_the_images(source):
    coder = BandCoder()
    observed = gather(TINY, source, coder)
    spectra_, truth = mock_spectra(48, source.seed)
    filled, norm = coder.normalise(spectra_)
    np.testing.assert_array_equal(observed.sample.target, coder.encode(filled))
    np.testing.assert_allclose(observed.flux, truth / norm[:, None], rtol=1e-6)
    # Red spectra belong to red galaxies: slope of the spectrum against g - i of the image.
    pixels = take(observed.sample.stamps[1], np.arange(48))[0][:, :, 24:40, 24:40].sum((2, 3)).numpy()
    colour, slope = (
        pixels[:, 2] / pixels[:, 0].clip(1e-3),
        observed.flux[:, 600:].mean(1) / observed.flux[:, :300].mean(1),
    )
    order = [np.argsort(np.argsort(values)) for values in (colour, slope)]
    assert np.corrcoef(order)[0, 1] > 0.5


def test_a_stream_depends_on_seed_and_step_and_has_the_latents_of_its_galaxies():
    coder, stage = BandCoder(), TINY.stages[0]
    one, other = (spectra._streamed(stage, TINY, coder, 5, "cpu") for _ in range(2))
    batches = [one.batch(step) for step in range(8)]  # two chunks of 48
    for step in (7, 0):
        for name, value in vars(other.batch(step)).items():
            assert value.equal(getattr(batches[step], name)), name
    assert len({tuple(row.tolist()) for batch in batches for row in batch.target}) == 64
    # The first chunk, drawn again as its images are and as its spectra are.
    seed = mix(5, 0)
    pixels, _, shapes = mock_chunk(48, seed, 32, 1.0, spectra.FRONTS, EVERY, order=spectra.FRONTS)

    galaxies, known = mock_population(48, mix(seed, 0), EVERY)
    np.testing.assert_array_equal(known, shapes)
    latents = coder.encode(coder.normalise(observe_spectra(galaxies, seed)[0])[0])
    light = pixels.half().float().sum((2, 3)) * (1.0 / 0.5) ** -2  # to pixels of the last stage
    for batch in batches[:6]:
        rows = batch.rows.numpy()
        np.testing.assert_array_equal(batch.target.numpy(), latents[rows])
        torch.testing.assert_close(batch.pixels.sum((2, 3)), light[rows], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("softening", [None, [0.1, 0.2]])
def test_pixels_without_data_are_zero_flux(softening):
    pixels = torch.tensor([[[[1.0, float("nan")]], [[3.0, 4.0]]]])
    seen = FluxPixels([0.5, 1.0], [2.0, 4.0], softening)(pixels, torch.tensor([[[[1.0, 0.0]]]]))
    flux = torch.tensor([[[[1.0, 0.0]], [[3.0, 0.0]]]])
    if softening:
        flux = torch.asinh(flux / torch.tensor(softening).view(1, 2, 1, 1))
    center, width = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1), torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(seen, (flux - center) / width)


class Stop:
    """Stands in for a signal at a step."""

    def __init__(self, step):
        self.left = step

    def is_set(self):
        self.left -= 1
        return self.left < 0


def test_resuming_after_an_interruption_gives_the_same_bits(source, tmp_path, monkeypatch):

    coder = BandCoder()
    observed = gather(TINY, source, coder)
    how = SIMPLE | {"observed": observed, "epochs": 4.0}
    whole = spectra.train_spectra(tmp_path / "whole", source, coder, **how)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "stop_requests", lambda: contextlib.nullcontext(Stop(9)))
        with pytest.raises(Interrupted):
            spectra.train_spectra(tmp_path / "cut", source, coder, **how)
    assert 0 < checkpoint.load(tmp_path / "cut" / STATE)[1]["history"]["step"] < 16
    again = spectra.train_spectra(tmp_path / "cut", source, coder, resume=True, **how)
    assert again.read_bytes() == whole.read_bytes()
    curves = [json.loads((path.parent / "metrics.json").read_text())["curve"] for path in (whole, again)]
    assert curves[0] == curves[1]
    with pytest.raises(InputError, match="another training"):
        spectra.train_spectra(tmp_path / "cut", source, coder, resume=True, **(how | {"dropout": 0.5}))


@pytest.mark.parametrize("changed", ["target", "stamps"])
def test_training_does_not_go_on_with_other_galaxies(source, tmp_path, changed):
    coder = BandCoder()
    observed = gather(TINY, source, coder)
    spectra.train_spectra(tmp_path / "out", source, coder, observed=observed, **SIMPLE)
    sample = observed.sample
    if changed == "target":
        other = dataclasses.replace(sample, target=sample.target[::-1].copy())
    else:
        other = dataclasses.replace(sample, stamps=[dataclasses.replace(one, key="other") for one in sample.stamps])
    with pytest.raises(InputError, match="another training"):
        spectra.train_spectra(
            tmp_path / "out", source, coder, resume=True, observed=dataclasses.replace(observed, sample=other), **SIMPLE
        )


def test_a_part_of_an_epoch_is_a_step_at_least(source, tmp_path):
    path = spectra.train_spectra(tmp_path / "out", source, BandCoder(), epochs=0.01, **SIMPLE)
    assert checkpoint.load_weights(path)[1]["epochs"] > 0


def test_one_length_is_enough(source, tmp_path):
    for other in ({"minutes": 1.0}, {"stream": 128}):
        with pytest.raises(UsageError, match="epochs are given beside"):
            spectra.train_spectra(tmp_path / "out", source, BandCoder(), epochs=1.0, **other, **SIMPLE)


@pytest.mark.parametrize(("split", "hint"), [("seed", "more galaxies"), ("tile", "patches of sky")])
def test_too_few_held_out_galaxies_are_told_before_the_training(source, tmp_path, split, hint):
    with pytest.raises(InputError, match="fewer than the 1000") as caught:
        spectra.train_spectra(tmp_path / "out", source, BandCoder(), split=split, least_held=1000, **SIMPLE)
    assert hint in caught.value.hint


def test_galaxies_without_usable_pixels_are_no_sample(source, tmp_path, monkeypatch):
    class Blind(spectra_data.SurveyStamps):
        def stamps(self, *words):
            stamps = super().stamps(*words)
            return dataclasses.replace(stamps, labels={name: np.full(len(stamps), np.nan) for name in stamps.labels})

    catalog = unpack(tmp_path / "sample")
    given = dataclasses.replace(source, catalog=catalog, spectra=(catalog.with_name("spectra.fits"),))
    monkeypatch.setattr(spectra_data, "SurveyStamps", Blind)
    with pytest.raises(InputError, match=r"none of the \d+ galaxies with spectra has pixels"):
        gather(TINY, given, BandCoder())


def test_what_makes_no_sense_is_refused(source, tmp_path):
    coder, out = BandCoder(), tmp_path / "out"
    with pytest.raises(UsageError, match="unknown network 'resnet'") as caught:
        spectra.train_spectra(out, source, coder, network="resnet")
    assert "xresnet18-hybrid" in caught.value.hint
    with pytest.raises(UsageError, match="unknown preset"):
        spectra.train_spectra(out, source, coder, preset="nothing")
    for given in ({"catalog": tmp_path / "c.fits"}, {"spectra": ("s.fits",)}):
        with pytest.raises(UsageError, match="given together"):
            gather(TINY, dataclasses.replace(source, **given), coder)
    with pytest.raises(InputError, match="fewer than a batch of 8"):
        spectra.train_spectra(out, dataclasses.replace(source, objects=8), coder, **SIMPLE)
    assert not out.exists()


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A mock survey on disk, read as a real one."""
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, MockOptions(number=40, seed=2, bands="grizy", size=64, pixel_scale=0.5, survey="ps1"))
    return folder


def shuffled(path, out):
    """The same spectra in another order."""

    order = np.random.default_rng(0).permutation(40)
    with fits.open(path) as file:
        for hdu in file:
            if hdu.data is not None and len(hdu.data) == 40:
                hdu.data = hdu.data[order]
        file.writeto(out)
    return order


def test_training_on_a_survey_finds_the_spectrum_of_each_row(survey, tmp_path):
    coder = BandCoder()
    real = Source(tmp_path / "cache", 3, None, survey / "catalog.fits", survey / "cutouts", (survey / "spectra.fits",))
    observed = gather(TINY, real, coder)
    shuffled(survey / "spectra.fits", tmp_path / "shuffled.fits")
    again = gather(TINY, dataclasses.replace(real, spectra=(tmp_path / "shuffled.fits",)), coder)
    np.testing.assert_array_equal(observed.sample.target, again.sample.target)
    np.testing.assert_array_equal(observed.flux, again.flux)
    ids = Table.read(survey / "catalog.fits")["TARGETID"].data
    known, _ = read_spectra((tmp_path / "shuffled.fits",))
    row_of = {int(number): row for row, number in enumerate(known.id)}
    own = coder.encode(coder.normalise(known.take(np.array([row_of[int(number)] for number in ids])))[0])
    np.testing.assert_array_equal(observed.sample.target, own)
    assert len(np.unique(own, axis=0)) == 40
    path = spectra.train_spectra(tmp_path / "out", real, coder, observed=observed, **SIMPLE)
    info = checkpoint.load_weights(path)[1]
    assert (info["data"], info["mock"], info["objects"]) == ("catalog.fits", True, 32)
    with pytest.raises(UsageError, match="only mock galaxies"):
        spectra.train_spectra(tmp_path / "x", real, coder, stream=96, observed=observed, **SIMPLE)


def test_rows_without_a_spectrum_are_left_out(survey, tmp_path):
    coder = BandCoder()
    table = Table.read(survey / "catalog.fits")
    table["TARGETID"][::2] += 1_000_000
    table["DEC"][::2] = -table["DEC"][::2] / 2
    for name, rows, expected in (("half", slice(None), 20), ("none", slice(None, None, 2), None)):
        table[rows].write(tmp_path / f"{name}.fits")
        source = Source(
            tmp_path / "cache", 3, None, tmp_path / f"{name}.fits", survey / "cutouts", (survey / "spectra.fits",)
        )
        if expected:
            assert len(gather(TINY, source, coder).sample.target) == expected
        else:
            with pytest.raises(InputError, match=r"no row of .* has a spectrum"):
                gather(TINY, source, coder)
