"""Facts about noiseless renders: flux, place, orientation, colour, determinism."""

import math

import pytest
import torch

from galcli.training.mock import details
from galcli.training.mock.psf import BETAS, Psf, round_psf, transfer
from galcli.training.mock.render import fast_side, render
from galcli.training.mock.shapes import Grid, blobs, points, sersic
from galcli.training.mock.sky import Field

Population = dict[str, torch.Tensor]


def galaxies(n: int, **given: float) -> Population:
    """Plain, smooth, face-on discs with a bulge, unless told otherwise."""
    values = {
        "z": 0.05, "f_old": 0.5, "f_int": 0.2, "f_young": 0.3, "bulge_old": 0.3, "bt": 0.3, "cos_i": 1.0, "pa": 0.0,
        "kpc_arcsec": 1.0, "r50": 3.0, "re_bulge": 1.0, "n_bulge": 3.0, "q_bulge": 0.8, "h_disc": 2.0, "a_v": 0.4,
        "thickness": 0.2, "pitch": 0.35, "arm_contrast": 0.0, "arm_phase": 0.0, "handedness": 1.0, "bar": 0.0,
        "bar_length": 1.5, "bar_angle": 0.0, "knot_fraction": 0.0, "dust_lane": 0.0, "lopsided": 0.0,
        "lopsided_angle": 0.0, "disturbance": 0.0, "companion_dx": 0.0, "companion_dy": 0.0, "companion_flux": 0.0,
        "companion_r50": 1.0, "companion_q": 1.0, "companion_pa": 0.0, "tidal": 0.0, **given,
    }  # fmt: skip
    pop = {key: torch.full((n,), float(value)) for key, value in values.items()}
    for key in ("n_arms", "n_knots"):
        pop[key] = torch.full((n,), int(given.get(key, 0)), dtype=torch.int64)
    pop["merger"] = torch.full((n,), bool(given.get("merger", False)))
    return pop


def lively(n: int) -> Population:
    """Discs with everything that could leak flux."""
    return galaxies(
        n, n_arms=2, arm_contrast=0.9, bar=0.3, knot_fraction=0.4, n_knots=30, dust_lane=1.0, cos_i=0.25, pa=0.7,
        lopsided=0.4, lopsided_angle=1.0, disturbance=0.8,
    )  # fmt: skip


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def offsets(image: torch.Tensor, pixscale: float) -> tuple[float, float]:
    """Flux-weighted mean offset of one image to the east and to the north, arcsec."""
    axis = (torch.arange(image.shape[-1]) - 0.5 * (image.shape[-1] - 1)) * pixscale
    total = image.sum()
    return float(-(image.sum(0) * axis).sum() / total), float((image.sum(1) * axis).sum() / total)


def moments(image: torch.Tensor) -> torch.Tensor:
    """Second moments (east-east, east-north, north-north) of one image, pixels^2."""
    axis = torch.arange(image.shape[-1]) - 0.5 * (image.shape[-1] - 1)
    east, north, total = -axis[None, :], axis[:, None], image.sum()
    return torch.stack([(image * east**2).sum(), (image * east * north).sum(), (image * north**2).sum()]) / total


@pytest.mark.parametrize("pixscale", [0.262, 0.396])
@pytest.mark.parametrize("blurred", [False, True])
def test_flux_is_conserved_whatever_the_structure(pixscale: float, blurred: bool) -> None:
    pop = lively(3)
    pop["cos_i"] = torch.tensor([0.03, 0.3, 1.0])
    fluxes = torch.rand(3, 3, 2, generator=seeded())
    psf = torch.tensor([[1.3, 1.1]]).repeat(3, 1) if blurred else None
    image = render(pop, fluxes, "gr", pixscale, 360, seeded(), psf)
    assert image.shape == (3, 2, 360, 360)
    torch.testing.assert_close(image.sum((2, 3)), fluxes.sum(1), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("n", [0.7, 2.0, 4.0, 5.0])
@pytest.mark.parametrize("re", [0.15, 0.8, 3.0])
def test_cuspy_profiles_hold_their_flux_inside_apertures(n: float, re: float) -> None:
    """Half of the light of a Sersic profile lies inside its half-light radius (for the wide one, on the grid)."""
    grid = Grid(401, 0.3, torch.device("cpu"))
    one = torch.ones(1)
    image = sersic(grid, re * one, n * one, one, 0.0 * one, 0.0 * one, 0.0 * one)[0]
    radius = torch.hypot(grid.north[:, None], grid.east[None])
    if re == 3.0:
        assert float(image[radius < re].sum()) == pytest.approx(0.5, abs=0.01)
    # light outside 60 arcsec: none for the small ones, a few per cent for the widest de Vaucouleurs wings
    assert float(image[radius < 60.0].sum()) == pytest.approx(1.0, abs=1e-3 if re < 3.0 and n < 5.0 else 0.08)


def test_a_merger_adds_its_companion() -> None:
    pop = galaxies(1, merger=True, companion_dx=8.0, companion_dy=-3.0, companion_flux=0.5, tidal=0.0)
    fluxes = torch.ones(1, 3, 1)
    image = render(pop, fluxes, "r", 0.4, 300, seeded())
    assert float(image.sum()) == pytest.approx(3.0 * 1.5, rel=1e-3)
    alone = render(galaxies(1), fluxes, "r", 0.4, 300, seeded())
    east, north = offsets((image - alone)[0, 0], 0.4)
    assert (east, north) == (pytest.approx(8.0, abs=0.1), pytest.approx(-3.0, abs=0.1))


@pytest.mark.parametrize("size", [96, 97])
def test_the_galaxy_sits_on_the_centre_or_at_its_offset(size: int) -> None:
    fluxes = torch.tensor([[1.0], [0.0], [0.0]]).expand(2, 3, 1)  # old light has no random texture
    offset = torch.tensor([[0.0, 0.0], [0.7, -0.3]])
    psf = torch.full((2, 1), 1.2)
    image = render(galaxies(2, h_disc=1.0, re_bulge=0.5), fluxes, "r", 0.4, size, seeded(), psf, offset=offset)
    for row in range(2):
        assert offsets(image[row, 0], 0.4) == pytest.approx(offset[row].tolist(), abs=0.02)


def test_position_angle_runs_from_north_to_east_and_east_is_at_small_columns() -> None:
    pop = galaxies(1, cos_i=0.2, pa=math.radians(30.0), bulge_old=0.0, f_young=0.0)
    image = render(pop, torch.tensor([[[1.0], [0.0], [0.0]]]), "r", 0.4, 151, seeded())[0, 0]
    ee, en, nn = moments(image).tolist()
    assert math.degrees(0.5 * math.atan2(2.0 * en, nn - ee)) == pytest.approx(30.0, abs=0.5)
    # 30 degrees east of north: bright in the north-east (high rows, low columns), faint in the north-west
    assert float(image[90:, :60].sum()) > 5.0 * float(image[90:, 91:].sum())


def test_inclination_sets_the_axis_ratio() -> None:
    pop = galaxies(1, cos_i=0.5, bulge_old=0.0, h_disc=4.0)
    pop["f_young"][:] = 0.0
    image = render(pop, torch.tensor([[[1.0], [0.0], [0.0]]]), "r", 0.4, 301, seeded())[0, 0]
    ee, _, nn = moments(image).tolist()
    assert math.sqrt(ee / nn) == pytest.approx(math.sqrt(0.25 + 0.04 * 0.75), abs=0.02)


def test_two_arms_look_the_same_after_half_a_turn_and_lopsidedness_does_not() -> None:
    old = torch.tensor([[[1.0], [0.0], [0.0]]])
    for changes, symmetric in (({"n_arms": 2, "arm_contrast": 0.9}, True), ({"lopsided": 0.4}, False)):
        pop = galaxies(1, f_young=0.0, **changes)
        image = render(pop, old, "r", 0.3, 121, seeded(), torch.full((1, 1), 1.0))[0, 0]
        change = float((image - image.flip(0).flip(1)).abs().sum() / image.sum())
        assert (change < 0.12) == symmetric


def test_the_lopsided_side_is_the_brighter_one() -> None:
    pop = galaxies(1, lopsided=0.4, lopsided_angle=0.0, pa=math.radians(90.0), bulge_old=0.0)
    image = render(pop, torch.tensor([[[1.0], [0.0], [0.0]]]), "r", 0.4, 151, seeded())[0, 0]
    east, north = offsets(image, 0.4)
    assert east > 0.3
    assert north == pytest.approx(0.0, abs=0.02)


def test_arms_are_bluer_than_the_disc_between_them() -> None:
    pop = galaxies(1, n_arms=2, arm_contrast=0.9, bulge_old=0.2, a_v=0.0)
    # in the first band young light dominates, in the second old light
    fluxes = torch.tensor([[[0.2, 1.0], [0.2, 0.5], [1.0, 0.3]]])
    image = render(pop, fluxes, "gr", 0.3, 101, seeded(), torch.full((1, 2), 0.9))[0]
    grid = Grid(101, 0.3, torch.device("cpu"))
    ring = (torch.hypot(grid.north[:, None], grid.east[None]) - 4.0).abs() < 0.5
    light, colour = image.sum(0)[ring], (image[0] / image[1])[ring]
    bright = light > light.quantile(0.8)
    assert float(colour[bright].mean()) > 1.15 * float(colour[~bright].mean())


def test_a_dust_lane_reddens_the_midplane_of_an_edge_on_disc() -> None:
    old = torch.tensor([[[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]])
    for strength in (0.0, 1.0):
        pop = galaxies(1, cos_i=0.02, dust_lane=strength, bulge_old=0.0, h_disc=6.0)
        image = render(pop, old, "gz", 0.3, 161, seeded(), torch.full((1, 2), 0.9))[0]
        plane, above = (float(image[0, :, c].sum() / image[1, :, c].sum()) for c in (80, 90))
        assert (plane < 0.85 * above) == (strength > 0.0)


def test_the_same_seed_gives_the_same_images_and_another_does_not() -> None:
    pop, fluxes = lively(4), torch.ones(4, 3, 1)
    first, again, other = (render(pop, fluxes, "r", 0.4, 64, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_how_the_batch_is_cut_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pop, fluxes = lively(5), torch.ones(5, 3, 2)
    psf = torch.full((5, 2), 1.2)
    whole = render(pop, fluxes, "gr", 0.4, 64, seeded(), psf)
    monkeypatch.setattr("galcli.training.mock.render.CHUNK", 1)
    single = render(pop, fluxes, "gr", 0.4, 64, seeded(), psf)
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-6)


def test_neighbours_do_not_change_the_galaxy() -> None:
    pop, fluxes = lively(1), torch.ones(1, 3, 1)
    one, three = torch.ones(1, 1), torch.ones(1, 1, 1)
    field = Field(10 * one, 5 * one, 0.5 * one, 4.0 * three, -8.0 * one, 6.0 * one, 7.0 * three)
    psf = torch.full((1, 1), 1.2)
    plain = render(pop, fluxes, "r", 0.4, 200, seeded(), psf)
    extra = (render(pop, fluxes, "r", 0.4, 200, seeded(), psf, field) - plain)[0, 0]
    assert float(extra.sum()) == pytest.approx(11.0, rel=2e-3)
    assert offsets(extra, 0.4) == pytest.approx(((10 * 4 - 8 * 7) / 11, (5 * 4 + 6 * 7) / 11), abs=0.03)


@pytest.mark.parametrize("beta", BETAS)
def test_a_star_has_the_full_width_at_half_maximum_it_was_given(beta: float) -> None:
    psf = round_psf(torch.tensor([[1.4]]), beta)
    grid = Grid(257, 0.1, torch.device("cpu"))
    zero, one = torch.zeros(1, 1), torch.ones(1, 1, 1)
    star = torch.fft.irfft2(points(grid, zero, zero, one) * transfer(psf, 257, 0.1), s=(257, 257))[0, 0]
    assert float(star.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(star[128, 128 + 7]) == pytest.approx(0.5 * float(star[128, 128]), rel=0.01)
    # The analytic noise-equivalent area is 1 / sum P^2.
    area = 0.01 / float((star**2).sum())
    assert area == pytest.approx(float(psf.noise_area()[0, 0]), rel=0.01)


def test_an_elliptical_psf_is_stretched_along_the_columns_axis() -> None:
    psf = Psf(torch.tensor([[1.4]]), torch.tensor([1]), torch.tensor([0.2]), torch.zeros(1))
    grid = Grid(101, 0.2, torch.device("cpu"))
    zero, one = torch.zeros(1, 1), torch.ones(1, 1, 1)
    star = torch.fft.irfft2(points(grid, zero, zero, one) * transfer(psf, 101, 0.2), s=(101, 101))[0, 0]
    assert float(star[50, 54]) > 1.1 * float(star[54, 50])


def test_blobs_are_integrated_over_pixels() -> None:
    grid = Grid(21, 1.0, torch.device("cpu"))
    tiny = blobs(grid, torch.tensor([[-3.0]]), torch.tensor([[2.0]]), torch.tensor([[0.01]]), torch.tensor([[5.0]]))
    assert float(tiny[0, 12, 13]) == pytest.approx(5.0)  # 3 arcsec west, 2 arcsec north of the centre (10, 10)
    assert float(tiny.sum()) == pytest.approx(5.0)


def test_knots_and_tails_hold_the_flux_they_should() -> None:
    pop = lively(4)
    pop["merger"][:2] = True
    pop["tidal"][:2] = 0.5
    random = details.draw(pop, seeded())
    torch.testing.assert_close(random.knot_flux.sum(1), torch.ones(4))
    torch.testing.assert_close(random.tail_flux.sum(1), torch.tensor([0.175, 0.175, 0.144, 0.144]))
    assert bool((random.knot_flux[:, 30:] == 0).all())
    texture = random.texture[..., :-1]
    torch.testing.assert_close(texture.mean((1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert torch.equal(random.texture[..., 0], random.texture[..., -1])


def test_fast_side_keeps_the_parity() -> None:
    assert [fast_side(side) for side in (112, 113, 272, 97)] == [112, 125, 280, 105]
