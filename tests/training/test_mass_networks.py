"""Networks for stellar mass: sizes as published, padding, missing values, and the contrastive loss at known points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.networks.inception import ImageDecoder, ImageEncoder, Inception, mean_of_four
from galcli.training.networks.mass import BIAS, BINS, Estimator, PhotometryDecoder, PhotometryEncoder, bin_of, centres
from galcli.training.networks.mass_inputs import LOWEST_KNOWN, MISSING, ClosedGaps, MassPixels, StandardColumns
from galcli.training.recipes.mass_contrastive import consistency, contrast, contrastive_loss
from galcli.training.recipes.mass_network import MassNetwork
from galcli.training.recipes.mass_plan import BANDS, ERRORS, GAPS, INFRARED, OPTICAL, SETS, Inputs


def size(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_sizes_are_those_of_the_authors() -> None:
    assert size(PhotometryEncoder(11, 8), Estimator(8, images=False)) == 384_528
    assert size(ImageEncoder(5, 1, 16), Estimator(16, images=True)) == 6_007_000
    assert size(ImageDecoder(528, 5)) == 603_269
    assert size(MassNetwork(SETS["optical"].both, "mi")) == 384_528, "five magnitudes, their errors, E(B-V)"
    assert size(MassNetwork(SETS["images"].both, "mi")) == 6_007_000


def test_sets_are_those_of_the_authors() -> None:
    seen = {name: (parts.both.seen, parts.both.bands) for name, parts in SETS.items()}
    assert seen["optical"] == ((*OPTICAL, "EBV"), "")
    assert seen["optical+ir"] == ((*OPTICAL, *INFRARED, "EBV"), "")
    assert seen["images"] == (("EBV",), BANDS)
    assert seen["images+ir"] == ((*INFRARED, "EBV"), BANDS)
    assert seen["images+ir+z"] == ((*INFRARED, "Z", "EBV"), BANDS)


def test_networks_begin_as_published() -> None:
    network = MassNetwork(Inputs(OPTICAL), "scl")
    for part in network.modules():
        if isinstance(part, nn.Linear):
            assert torch.equal(part.bias, torch.full_like(part.bias, BIAS))
            bound = math.sqrt(6 / (part.in_features + part.out_features))
            assert 0.9 * bound < float(part.weight.detach().abs().max()) <= bound * (1 + 1e-6)  # single precision


def test_only_latents_that_tell_the_mass_reach_the_estimator() -> None:
    network = MassNetwork(Inputs(OPTICAL), "scl")
    latents = torch.randn(4, 16)
    logits = network.estimator(latents)
    latents[:, 8:] += 1
    assert torch.equal(network.estimator(latents), logits)
    latents[:, 0] += 1
    assert not torch.equal(network.estimator(latents), logits)


def test_images_correct_what_columns_tell() -> None:
    network = MassNetwork(Inputs(INFRARED, "gr"), "mi", corrects=True)
    assert network.base is not None
    assert not any(parameter.requires_grad for parameter in network.base.parameters())
    assert size(network) == size(MassNetwork(Inputs(INFRARED, "gr"), "mi"), MassNetwork(Inputs(INFRARED), "mi"))
    images, numbers = torch.randn(3, 2, 64, 64), torch.randn(3, 6)
    logits = network(images, numbers)[0]
    torch.testing.assert_close(
        logits - network.base(None, numbers)[0], network.estimator(network.encode(images, numbers))
    )
    nn.init.zeros_(network.estimator.last.weight)
    nn.init.zeros_(network.estimator.last.bias)
    assert torch.equal(network(images, numbers)[0], network.base(None, numbers)[0])


def test_means_of_four_do_not_count_what_is_beyond_the_edge() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    expected = [[2.0, 3.0, 3.5], [5.0, 6.0, 6.5], [6.5, 7.5, 8.0]]
    assert mean_of_four(x)[0, 0].tolist() == expected
    wide = torch.randn(2, 3, 5, 7)
    padded = (functional.pad(one, (0, 1, 0, 1)) for one in (wide, torch.ones_like(wide)))
    total, count = (functional.avg_pool2d(one, 2, 1) for one in padded)
    torch.testing.assert_close(mean_of_four(wide), total / count)


def test_inception_branches_stand_in_order() -> None:
    """With biases alone each branch is constant: 5 x 5, 3 x 3, mean, plain."""
    block = Inception(3)
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    for value, part in enumerate((block.conv5, block.conv3, block.before_mean, block.plain), 1):
        nn.init.constant_(part.bias, value)
    maps = block(torch.zeros(1, 3, 4, 4))
    assert maps.shape == (1, 522, 4, 4)
    assert [maps[0, :, 0, 0].tolist().count(value) for value in (1, 2, 3, 4)] == [156, 156, 101, 109]


def test_decoders_give_what_encoders_take() -> None:
    assert PhotometryDecoder(16, 10)(torch.randn(3, 16)).shape == (3, 10)
    assert ImageDecoder(20, 5)(torch.randn(2, 20)).shape == (2, 5, 64, 64)
    assert ImageEncoder(5, 2, 7)(torch.randn(2, 5, 64, 64), torch.randn(2, 2)).shape == (2, 7)


def test_bins_hold_their_masses() -> None:
    assert bin_of(torch.tensor([5.0, 6.0, 6.0124, 6.0126, 12.499, 13.0])).tolist() == [0, 0, 0, 1, BINS - 1, BINS - 1]
    assert torch.equal(bin_of(centres()), torch.arange(BINS))
    assert centres()[0] == pytest.approx(6.00625)
    assert centres()[-1] == pytest.approx(12.49375)


def test_missing_columns_are_far_from_measured_ones() -> None:
    scaled = StandardColumns([20.0, 17.0], [2.0, 1.0])(torch.tensor([[21.0, torch.nan], [9.0, 8.0]]))
    assert scaled.tolist() == [[0.5, MISSING], [LOWEST_KNOWN, LOWEST_KNOWN]], (
        "even the brightest galaxy of all is there"
    )
    assert LOWEST_KNOWN - MISSING > 2


@pytest.mark.parametrize(
    ("missing", "closed"),
    [
        ((), ()),
        (("w3mpro",), ("w3mpro",)),
        (("w2sigmpro",), ("w1sigmpro", "w2sigmpro")),
        (("w1mpro",), ("w1mpro", "w1sigmpro")),
        (("w1mpro", "w1sigmpro"), ("w1mpro", "w1sigmpro")),
        (("w1mpro", "w2sigmpro"), ("w1mpro", "w1sigmpro", "w2sigmpro")),
        (("petroMag_r",), ("petroMag_r",)),
        (("EBV", "petroMagErr_g"), ("EBV", *ERRORS)),
        (INFRARED[:3], INFRARED),
    ],
)
def test_gaps_are_closed_to_groups(missing: tuple[str, ...], closed: tuple[str, ...]) -> None:
    names = (*OPTICAL, *INFRARED, "EBV")
    columns = torch.rand(3, len(names))
    columns[1, [names.index(name) for name in missing]] = torch.nan
    found = ClosedGaps(names, GAPS)(columns)
    assert {name for name, gone in zip(names, found[1].isnan(), strict=True) if gone} == set(closed)
    known = ~found.isnan()
    assert torch.equal(found[known], columns[known])
    assert not found[[0, 2]].isnan().any()
    assert torch.equal(ClosedGaps(("Z",), GAPS)(columns[:, :1]), columns[:, :1])


def test_magnitudes_beside_images_keep_their_digits_in_mixed_precision() -> None:
    """In bfloat16, 17.83 would be 17.875."""
    encoder, seen = ImageEncoder(5, 1, 16), []
    for part in (encoder.stem, encoder.extras):
        nn.init.zeros_(part.bias)
    nn.init.zeros_(encoder.stem.weight)
    nn.init.ones_(encoder.extras.weight)
    encoder.second.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        encoder(torch.zeros(1, 5, 64, 64), torch.tensor([[17.83]]))
    assert torch.equal(seen[0], torch.full((1, 96, 64, 64), 17.83))


def test_pixels_are_mapped_as_published() -> None:
    """The sign of x times ln(1 + |x|); parts of the flux where images are normalised, and 0 where there is no data."""
    pixels = torch.tensor([math.e - 1, 1 - math.e, 0.0, 5.0]).reshape(1, 1, 2, 2).repeat(1, 2, 1, 1)
    valid = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    plain = MassPixels([1.0, 1.0], [0.0, 1.0], [1.0, 2.0])
    torch.testing.assert_close(plain(pixels, valid)[0, 0].flatten(), torch.tensor([1.0, -1.0, 0.0, 0.0]))
    torch.testing.assert_close(plain(pixels, valid)[0, 1].flatten(), torch.tensor([0.0, -1.0, -0.5, -0.5]))
    normalised = MassPixels([1.0, 1.0], [0.0, 0.0], [1.0, 1.0], least=[10.0, 50.0])
    magnitudes = torch.tensor([[17.5, 20.0]])  # 100 and 10 nanomaggies; the second is below the least
    found = normalised(pixels, valid, magnitudes)[0, :, 0, 0]
    np.testing.assert_allclose(found, np.log1p((math.e - 1) / np.array([100, 50])), rtol=1e-6)
    missing = normalised(pixels, valid, torch.full((1, 2), math.nan))[0, :, 0, 0]
    np.testing.assert_allclose(missing, np.log1p((math.e - 1) / np.array([10, 50])), rtol=1e-6)


def test_contrast_at_known_points() -> None:
    same, far = torch.ones(8, 4), torch.full((8, 4), 1e6)
    assert float(contrast([(same, same)], same, far)) == pytest.approx(0, abs=1e-6)
    assert float(contrast([(same, same)], same, same)) == pytest.approx(math.log(2), abs=1e-5)
    near = float(contrast([(same, same + 1)], same, same + 3))  # P = exp(-1), N = exp(-3)
    assert near == pytest.approx(-math.log(math.exp(-1) / (math.exp(-1) + math.exp(-3))), abs=1e-5)


def test_consistency_draws_either_posterior_to_the_other() -> None:
    first, second = torch.randn(6, BINS, requires_grad=True), torch.randn(6, BINS, requires_grad=True)
    value = consistency(first, second)
    p, q = first.softmax(1), second.softmax(1)
    torch.testing.assert_close(value, -(p * q.log()).sum(1).mean() - (q * p.log()).sum(1).mean())
    value.backward()
    # Of each term only the posterior inside of the logarithm learns: the gradient of logits is q - p.
    torch.testing.assert_close(first.grad, ((p - q) / 6).detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("images", [False, True])
def test_contrastive_loss_is_the_sum_of_its_parts(images: bool) -> None:
    """By hand, term by term, as models.md 2.3 writes them for the two galaxies of each pair."""
    torch.manual_seed(1)
    network = MassNetwork(Inputs(() if images else OPTICAL, "gr" if images else ""), "scl")
    numbers = torch.randn(4, 1 if images else 11)
    x: Tensor = torch.randn(4, 2, 64, 64) if images else numbers[:, :10]
    turned, bins = (x.flip(3) if images else None), torch.tensor([3, 100, 200, 519])

    def passed(one: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = (one, numbers) if images else (None, torch.cat([one, numbers[:, 10:]], 1))
        latents = network.encode(*seen)
        assert network.decoder is not None
        return network.decoder(latents), network.estimator(latents), latents[:, : network.estimator.latents]

    first = passed(x)
    others = [(x, passed(first[0]))] + ([(turned, passed(turned))] if turned is not None else [])
    total = torch.zeros(())
    for half in (slice(0, 2), slice(2, 4)):
        made = functional.mse_loss(first[0][half], x[half])
        total = total + functional.cross_entropy(first[1][half], bins[half])
        total = total + functional.cross_entropy(others[0][1][1][half], bins[half])
        for wanted, (again, logits, _) in others:
            made = made + functional.mse_loss(again[half], wanted[half])
            total = total + consistency(first[1][half], logits[half])
        total = total + (100 if images else 1) * made
    total = total + contrast([(first[2], one[2]) for _, one in others], first[2][:2], first[2][2:])
    found = contrastive_loss(network, x if images else None, turned, numbers, bins)
    torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-4)
