"""Facts about observation: depth, noise and its correlation, masks, surveys, determinism."""

import pytest
import torch

from galcli.training.mock import sky
from galcli.training.mock.instrument import (
    SURVEYS,
    Survey,
    draw_psf,
    noise_kernel,
    observe,
    stamps,
    surveys_of,
    white_sigma,
)
from galcli.training.mock.psf import round_psf
from galcli.training.mock.shapes import Grid, points
from galcli.training.mock.sky import background, draw_field, spoil


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blank(
    monkeypatch: pytest.MonkeyPatch, survey: str, pixscale: float, n: int = 6
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pure noise of a survey in units of its white-equivalent sigma, and the rms that `observe` states."""
    monkeypatch.setattr("galcli.training.mock.instrument.background", lambda sigma, *_: torch.zeros(1, 1, 1, 1))
    image, info = observe(torch.zeros(n, 2, 128, 128), "gr", pixscale, survey, seeded(), defects=False)
    white = info["white"]
    return image / white[:, :, None, None], info["sigma"] / white


@pytest.mark.parametrize(("survey", "pixscale"), [("legacy", 0.262), ("sdss", 0.396), ("sdss", 0.262), ("ps1", 0.4)])
def test_the_sky_has_the_stated_rms_and_the_depth_survives_resampling(
    monkeypatch: pytest.MonkeyPatch, survey: str, pixscale: float
) -> None:
    noise, stated = blank(monkeypatch, survey, pixscale)
    inside = noise[..., 8:-8, 8:-8]
    assert float(inside.std()) == pytest.approx(float(stated.mean()), rel=0.03)
    # On scales much larger than a pixel the noise is that of white pixels: sums over 16 x 16 have rms 16.
    boxes = torch.nn.functional.avg_pool2d(inside, 16) * 256.0
    assert float(boxes.std()) == pytest.approx(16.0, rel=0.12)


def test_resampling_to_a_finer_grid_correlates_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    def lag(noise: torch.Tensor) -> float:
        return float((noise[..., 1:] * noise[..., :-1]).mean() / (noise**2).mean())

    assert lag(blank(monkeypatch, "sdss", 0.396)[0]) == pytest.approx(0.0, abs=0.02)
    assert lag(blank(monkeypatch, "sdss", 0.262)[0]) > 0.4
    assert 0.0 < lag(blank(monkeypatch, "legacy", 0.262)[0]) < 0.2


def test_noise_kernels_conserve_flux() -> None:
    for survey in SURVEYS.values():
        for pixscale in (0.2, 0.262, 0.396, 0.6):
            kernel = noise_kernel(survey, pixscale, 100)
            ratio = 1.0 if kernel.shape[1] == 100 else pixscale / survey.pixscale
            # a flat sky of one per native pixel becomes one per native area of a stamp pixel
            torch.testing.assert_close(kernel.sum(1), torch.full((100,), ratio), rtol=1e-4, atol=1e-5)


def test_a_star_at_the_depth_is_a_five_sigma_detection() -> None:
    """Matched filter on pixels: flux error = sigma / sqrt(sum P^2)."""
    depth, pixscale = torch.tensor([[22.7]]), 0.396
    psf = round_psf(torch.tensor([[1.3]]))
    grid = Grid(65, pixscale, torch.device("cpu"))
    from galcli.training.mock.psf import transfer

    zero = torch.zeros(1, 1)
    star = torch.fft.irfft2(points(grid, zero, zero, torch.ones(1, 1, 1)) * transfer(psf, 65, pixscale), s=(65, 65))
    sigma = float(white_sigma(depth, psf, pixscale))
    flux = 10 ** (0.4 * (22.5 - 22.7))
    assert flux / (sigma / float((star**2).sum().sqrt())) == pytest.approx(5.0, rel=0.01)


def test_sdss_noise_is_that_of_real_frames() -> None:
    """An SDSS r frame has about 0.025 nanomaggies of noise per 0.396 arcsec pixel."""
    sigma = white_sigma(torch.tensor([[22.7]]), round_psf(torch.tensor([[1.3]])), 0.396)
    assert float(sigma) == pytest.approx(0.026, rel=0.15)


def test_bright_pixels_have_photon_noise() -> None:
    flat = torch.full((4, 1, 64, 64), 50.0)
    image, info = observe(flat, "r", 0.396, "sdss", seeded(), defects=False)
    assert float((image - 50.0).std()) > 5.0 * float(info["sigma"].mean())


def test_seeing_and_depth_scatter_around_the_survey() -> None:
    psf = draw_psf([SURVEYS["sdss"]] * 2000, "gri", seeded())
    median = psf.fwhm.median(0).values
    torch.testing.assert_close(median, torch.tensor([1.40, 1.30, 1.24]), rtol=0.02, atol=0.0)
    assert 0.07 < float(psf.fwhm[:, 1].log().std()) < 0.11


def test_surveys_by_name_by_object_and_mixed() -> None:
    assert {s.name for s in surveys_of("mixed", "grz", 60, seeded())} == {"legacy", "sdss", "ps1"}
    assert {s.name for s in surveys_of("mixed", "ugriz", 5, seeded())} == {"sdss"}
    assert [s.name for s in surveys_of(["ps1", "sdss"], "r", 2, seeded())] == ["ps1", "sdss"]
    mine = Survey("mine", 0.3, {"r": 25.0}, {"r": 0.7}, 0.0)
    assert surveys_of(mine, "r", 3, seeded()) == [mine] * 3


@pytest.mark.parametrize(
    ("survey", "bands", "message"),
    [
        ("legacy", "ugr", "not all of ugr"),
        ("mixed", "uy", "no survey"),
        ("hst", "r", "unknown survey hst"),
        (["sdss"], "r", "1 surveys"),
    ],
)
def test_impossible_surveys_are_refused(survey: str | list[str], bands: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        surveys_of(survey, bands, 2, seeded())


def test_masks_and_artefacts_come_at_their_rates() -> None:
    n = 20000
    image = torch.zeros(n, 1, 8, 8)
    masked, artefact = spoil(image, torch.ones(n, 1), seeded())
    assert 0.008 < float(masked.float().mean()) < 0.012
    assert 0.0012 < float(artefact.float().mean()) < 0.0029
    nan = image.isnan().flatten(1).any(1)
    assert bool((nan & ~masked).sum() == 0)
    assert 0.7 < float(nan.sum() / masked.sum()) < 0.95
    touched = (image.nan_to_num() != 0).flatten(1).any(1)
    assert bool((touched & ~artefact).sum() == 0)


def test_neighbour_counts_follow_area_and_depth() -> None:
    def count(side: float, depth: float) -> float:
        field = draw_field(400, "r", side, depth, seeded())
        return float((field.flux.flatten(1) > 0).float().sum(1).mean()) / 10.0  # ten Gaussians make one neighbour

    assert count(60.0, 23.5) == pytest.approx(20.0, rel=0.1)
    assert count(30.0, 23.5) == pytest.approx(5.0, rel=0.15)
    assert count(60.0, 22.5) == pytest.approx(20.0 * 10**-0.36, rel=0.1)


def test_background_is_small_except_in_a_few_stamps() -> None:
    level = background(torch.ones(3000, 3), 8, seeded()).abs().amax((1, 2, 3))
    assert float(level.median()) < 0.4
    assert 0.02 < float((level > 1.0).float().mean()) < 0.05


def test_neighbour_discs_have_the_moments_of_their_axis_ratio() -> None:
    one = torch.ones(1, 1)
    x, y, size, flux = sky._discs(0 * one, 0 * one, one, 0.4 * one, 0 * one, torch.ones(1, 1, 1))
    weight = flux[0, 0]
    assert float(weight.sum()) == pytest.approx(1.0, abs=1e-4)
    along, across = (float((weight * (p[0] ** 2 + size[0] ** 2)).sum()) for p in (y, x))
    assert across / along == pytest.approx(0.4**2, rel=0.01)


@pytest.fixture(scope="module")
def pop() -> dict[str, torch.Tensor]:
    from galcli.training.mock import population

    return population.draw(12, seeded())


def test_stamps_are_reproducible_and_complete(pop: dict[str, torch.Tensor]) -> None:
    first, info = stamps(pop, "gri", 48, 0.396, "mixed", seeded(5))
    again, _ = stamps(pop, "gri", 48, 0.396, "mixed", seeded(5))
    other, _ = stamps(pop, "gri", 48, 0.396, "mixed", seeded(6))
    assert first.shape == (12, 3, 48, 48)
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, again, rtol=0, atol=0, equal_nan=True)
    assert not torch.allclose(first.nan_to_num(), other.nan_to_num())
    assert {"fwhm", "depth", "sigma", "white", "masked", "artefact", "dx", "dy"} <= set(info)
    assert float(info["dx"].abs().max()) <= 0.198


def test_the_observed_flux_is_the_given_one_within_the_noise(pop: dict[str, torch.Tensor]) -> None:
    fluxes = torch.full((12, 3, 1), 1e6)  # so bright that noise and neighbours do not matter
    image, _ = stamps(pop, "r", 200, 0.6, "sdss", seeded(), fluxes=fluxes, defects=False)
    expected = 3e6 * (1.0 + pop["merger"] * pop["companion_flux"])
    assert float((image.sum((1, 2, 3)) / expected).median()) == pytest.approx(1.0, abs=0.03)
