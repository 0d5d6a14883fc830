"""The autoencoder of spectra and its loss: known answers."""

import math

import numpy as np
import pytest
import torch

from galcli.training.networks.vae import Encoded, SpectrumVAE, info_vae_loss, kl, loss_of, mmd
from galcli.training.networks.vae_export import ExportedDecoder, ExportedEncoder, fit_domain, standardise


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("latents", "parameters"), [(6, 1_223_090), (10, 1_224_418)])
def test_published_numbers_of_parameters(latents, parameters):
    assert sum(p.numel() for p in SpectrumVAE(latents).parameters()) == parameters


def test_divergence_of_the_prior_from_itself_is_0():
    zero = torch.zeros(7, 6)
    assert kl(Encoded(zero, zero)).item() == 0


def test_divergence_is_that_of_gaussians():
    mean, log_variance = torch.tensor([[0.7, -1.2]]), torch.tensor([[0.3, -0.5]])
    unit = torch.distributions.Normal(0.0, 1.0)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(normal, unit).sum()
    assert kl(Encoded(mean, log_variance)).item() == pytest.approx(float(expected), rel=1e-6)


def test_discrepancy_of_a_set_with_itself_is_0_and_of_two_points_is_known():
    draws = seeded(50, 6)
    assert float(mmd(draws, draws)) == pytest.approx(0, abs=1e-15)
    a, b = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]])
    assert float(mmd(a, b)) == pytest.approx(2 - 2 * math.exp(-2.5))  # mean over dimensions: (1 + 4) / 2


def test_discrepancy_tells_a_shifted_sample():
    near, far = mmd(seeded(400, 6), seeded(400, 6, seed=1)), mmd(seeded(400, 6), seeded(400, 6, seed=1) + 1)
    assert float(near) < 0.01 < 0.1 < float(far)


def test_loss_is_the_formula():
    x, decoded = seeded(3, 8), seeded(3, 8, seed=1)
    weight = seeded(3, 8, seed=2).square()
    encoded = Encoded(seeded(3, 2, seed=3), seeded(3, 2, seed=4))
    z, prior = seeded(3, 2, seed=5), seeded(200, 2, seed=6)
    misfit = sum(0.5 * weight[i, j] * (x[i, j] - decoded[i, j]) ** 2 for i in range(3) for j in range(8))
    for alpha in (0.0, 0.4):
        expected = misfit + (1 - alpha) * kl(encoded) + (50 + alpha - 1) * mmd(prior, z) * 3 * 2
        found = info_vae_loss(x, weight, decoded, encoded, z, prior, 50.0, alpha)
        assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_pixels_of_weight_0_have_no_gradient():
    module = SpectrumVAE(2, points=12)
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(1))
    weight = torch.ones(5, 12)
    weight[:, 4:7] = 0

    def grown(changed):
        module.zero_grad()
        encoded = module.encode(x)
        decoded = module.decode(encoded.mean)
        target = x.clone()
        target[:, 4:7] += changed
        info_vae_loss(target, weight, decoded, encoded, encoded.mean, torch.zeros(200, 2), 10.0, 0.0).backward()
        return [parameter.grad.clone() for parameter in module.parameters()]

    still, moved = grown(0.0), grown(1e3)
    assert all(a.equal(b) for a, b in zip(still, moved, strict=True))
    assert module.decoder[-1].bias.grad[4:7].abs().max() == 0
    assert module.decoder[-1].bias.grad[:4].abs().min() > 0


def test_noise_of_a_loss_comes_from_its_generator():
    module, x, weight = SpectrumVAE(3), torch.rand(4, 1000), torch.ones(4, 1000)
    found = [loss_of(module, x, weight, 1e3, 0.0, torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("components", [None, 6])
def test_numbers_have_unit_variance_and_lead_back_to_their_latents(components):
    latents = (seeded(500, 10) @ seeded(10, 10, seed=1)).numpy() + 3
    latents = latents if components else latents[:, :6]
    standard = standardise(latents, components)
    numbers = (latents - standard.center) @ standard.forward
    np.testing.assert_allclose(numbers.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(numbers.std(0), 1, rtol=1e-10)
    back = numbers @ standard.inverse + standard.center
    on_plane = (latents - standard.center) @ standard.axes.T @ standard.axes + standard.center
    np.testing.assert_allclose(back, on_plane, atol=1e-10)
    # On the plane of the components, forward and inverse undo each other.
    np.testing.assert_allclose(standard.inverse @ standard.forward, np.eye(6), atol=1e-10)
    if components:
        np.testing.assert_allclose(np.corrcoef(numbers, rowvar=False), np.eye(6), atol=1e-8)


def test_idle_latent_is_not_stretched_to_unit_variance():
    latents = seeded(500, 6).numpy() * np.array([2.0, 1, 1, 1, 1, 1e-3])
    standard = standardise(latents, None)
    np.testing.assert_allclose(standard.std[:5], latents.std(0)[:5])
    assert standard.std[5] == pytest.approx(0.05 * latents.std(0)[0])


def test_exported_decoder_undoes_what_the_encoder_standardised():
    torch.manual_seed(2)
    vae = SpectrumVAE(10)
    spectra = torch.rand(40, 1000, generator=torch.Generator().manual_seed(3)) * 0.01 + 0.03
    mean = spectra.mean(0).double().numpy()
    with torch.no_grad():
        latents = vae.encode(spectra - torch.from_numpy(mean).float()).mean
        standard = standardise(latents.double().numpy(), 6)
        numbers = ExportedEncoder(vae, standard, mean)(spectra)
        domain = fit_domain(numbers.double().numpy(), numbers.double().numpy(), np.linspace(0.9, 1.2, 40))
        flux, width, ratio, distance = ExportedDecoder(vae, standard, mean, domain)(numbers)
        axes, center = torch.tensor(standard.axes).float(), torch.tensor(standard.center).float()
        expected = vae.decode((latents - center) @ axes.T @ axes + center) + torch.from_numpy(mean).float()
    torch.testing.assert_close(flux, expected, rtol=1e-4, atol=1e-5)
    assert flux.shape == (40, 1000)
    assert width.shape == ratio.shape == distance.shape == (40,)
    exact = domain.distance(numbers.double().numpy(), np.linalg.norm(flux.double().numpy(), axis=1))
    np.testing.assert_allclose(distance.numpy(), exact, rtol=1e-5)


def test_domain_is_the_mahalanobis_distance_over_that_of_held_out_spectra():
    mix = seeded(6, 6, seed=1).numpy()
    numbers, held = seeded(4000, 6).numpy() @ mix, seeded(4000, 6, seed=2).numpy() @ mix
    numbers -= numbers.mean(0)
    inverse = np.linalg.inv(np.cov(numbers, rowvar=False, bias=True))
    distance, limit = (np.sqrt(np.einsum("nk,kl,nl->n", rows, inverse, rows)) for rows in (numbers, held))
    found = fit_domain(numbers, held, np.ones(4000)).distance(numbers, np.ones(4000))
    np.testing.assert_allclose(found, distance / np.sort(limit)[3960], rtol=1e-10)  # (n + 1) 99 %, up


def test_spectra_that_lose_their_norm_leave_the_domain():
    numbers, norm = seeded(4000, 6).numpy(), np.exp(0.03 * seeded(4000, 1, seed=3).numpy()[:, 0])
    domain = fit_domain(numbers - numbers.mean(0), numbers, norm)
    assert np.mean(domain.distance(numbers, norm) <= 1) == pytest.approx(0.99, abs=1e-3)
    middle = np.zeros((4, 6))
    found = domain.distance(middle, np.array([1.0, 1.05, 0.7, 1.5]))
    np.testing.assert_array_equal(found > 1, [False, False, True, True])
    assert (domain.distance(6 * np.eye(6), np.ones(6)) > 1).all()


def test_rounding_errors_of_an_idle_number_stay_in_the_domain():
    numbers = seeded(2000, 3).numpy() * np.array([1, 1, 1e-9])
    matrix = fit_domain(numbers, numbers, np.ones(2000)).matrix
    limit = np.sqrt(-2 * np.log(0.01))  # of two unit Gaussians
    assert np.linalg.norm(np.array([0, 0, 1e-3]) @ matrix) == pytest.approx(1 / limit, rel=0.05)
