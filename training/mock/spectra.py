"""Optical spectra through a 3 arcsec fibre on the 1000-point rest-frame grid (Portillo et al. 2020).

The same three populations and the same line fluxes as in `sed` and `lines`, so that a spectrum integrates to the
fibre's light and each line to its catalogued flux. Galactic extinction is taken as corrected.

Rest-frame convention: F(lambda) = (1 + z) f_obs(lambda (1 + z)), so that a line's integral is its observed flux.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from galcli.training.mock import lines, sed, templates
from galcli.training.mock.cosmology import C_KMS, nanomaggies_per_sun
from galcli.training.mock.draws import Draws
from galcli.training.spectra.grid import DLOGLAM, LOGLAM0, POINTS

Population = dict[str, Tensor]

OBSERVED_RANGE = (3800.0, 9200.0)  # Angstrom, SDSS-I spectrograph
INSTRUMENT_KMS = 69.0  # its dispersion
SNR_RANGE = (5.0, 50.0)
NMGY_TO_FLAM = 1.08855e7  # 1 nanomaggy = this / lambda^2 [1e-17 erg/s/cm2/A]
LINE_WINDOW = 6  # pixels each side, > 5 sigma of the broadest line


class Spectra(NamedTuple):
    """Spectra on the rest-frame grid.

    Attributes
    ----------
    flux : Tensor, shape (n, 1000)
        Measured [1e-17 erg/s/cm2/Angstrom]; 0 where the spectrograph does not reach.
    ivar : Tensor, shape (n, 1000)
        Inverse variance; 0 where the spectrograph does not reach.
    model : Tensor, shape (n, 1000)
        Without noise and gaps.
    snr : Tensor, shape (n,)
        Signal to noise per pixel near 6200 Angstrom (rest frame).
    """

    flux: Tensor
    ivar: Tensor
    model: Tensor
    snr: Tensor


def grid(device: torch.device | str = "cpu") -> Tensor:
    """Rest-frame wavelengths [Angstrom], 10^(3.53 + 0.00039 j), shape (1000,), float64."""
    index = torch.arange(POINTS, dtype=torch.float64, device=device)
    return 10 ** (LOGLAM0 + DLOGLAM * index)


@lru_cache(maxsize=8)
def _edges(device: str) -> Tensor:
    index = torch.arange(POINTS + 1, dtype=torch.float64, device=device) - 0.5
    return 10 ** (LOGLAM0 + DLOGLAM * index)


@lru_cache(maxsize=8)
def _library(device: str) -> Tensor:
    """Log of f_lambda of the templates on the grid over their mean rest r f_nu, shape (3, 2, 1000)."""
    wave = grid("cpu")
    rows = [torch.stack([templates.spectrum(wave, p, metal) for metal in (0.0, 1.0)]) for p in range(3)]
    ratio = torch.stack(rows) / sed.rest_r_normalisation("cpu")[..., None]
    return ratio.log().float().to(device)


def fibre_fractions(pop: Population) -> Tensor:
    """Share of the old, intermediate and young light inside the fibre, shape (n, 3)."""
    disc = pop["young_central"]
    old = pop["bulge_old"] * pop["bulge_central"] + (1 - pop["bulge_old"]) * disc
    return torch.stack([old, disc, disc], 1)


def stars(pop: Population) -> Tensor:
    """Starlight in the fibre on the rest-frame grid [1e-17 erg/s/cm2/A], shape (n, 1000)."""
    device = str(pop["z"].device)
    library, wave = _library(device), grid(device).float()
    metal = sed.metal_weight(pop["oh"])[:, None]
    light = torch.stack([pop["f_old"], pop["f_int"], pop["f_young"]], 1) * fibre_fractions(pop)
    light = light * (10 ** pop["log_lr"] * nanomaggies_per_sun(pop["z"]) * NMGY_TO_FLAM)[:, None]
    optical_depth = 0.4 * torch.log(wave.new_tensor(10.0)) * (wave / 5500.0) ** sed.DUST_SLOPE
    total = torch.zeros(len(metal), POINTS, device=device)
    for p, share in enumerate(sed.DUST_SHARE):
        log_flux = library[p, 0] + metal * (library[p, 1] - library[p, 0])
        total += light[:, p, None] * torch.exp(log_flux - share * pop["a_v"][:, None] * optical_depth)
    return total


def gas(pop: Population) -> Tensor:
    """Emission lines in the fibre on the rest-frame grid [1e-17 erg/s/cm2/A], integrated over each pixel."""
    device = str(pop["z"].device)
    flux, edges = lines.fibre_fluxes(pop), _edges(device)
    dispersion = 10 ** (1.85 + 0.25 * (pop["logm"] - 10))  # km/s, of the gas
    relative = torch.sqrt(dispersion**2 + INSTRUMENT_KMS**2) / C_KMS
    total = torch.zeros(len(flux), POINTS, device=device)
    for k, centre in enumerate(lines.LINES.values()):
        pixel = int(torch.searchsorted(edges, centre)) - 1
        low, high = max(pixel - LINE_WINDOW, 0), min(pixel + LINE_WINDOW + 1, POINTS)
        window = edges[low : high + 1]
        scaled = ((window - centre) / centre).float()[None, :] / (relative * 2**0.5)[:, None]
        share = torch.erf(scaled).diff(dim=1) / 2
        total[:, low:high] += flux[:, k, None] * share / window.diff().float()
    return total


def _noise_shape(observed: Tensor) -> Tensor:
    """Relative noise of the spectrograph against observed wavelength: poor in the far blue, sky lines in the red."""
    blue = 1.0 + 2.2 * torch.exp(-(observed - 3800.0).clamp_min(0) / 350.0)
    sky = 0.9 * torch.sigmoid((observed - 7300.0) / 150.0) * (torch.sin(observed / 17.0) ** 8)
    lamp = 1.2 * torch.exp(-0.5 * ((observed - 5578.9) / 6.0) ** 2)
    return blue + sky + lamp


def observe(pop: Population, generator: torch.Generator) -> Spectra:
    """Spectra with noise and with the gaps of a spectrograph that covers 3800-9200 Angstrom.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        A population; see `population.draw`.
    generator : torch.Generator

    Returns
    -------
    Spectra
    """
    starlight = stars(pop)
    model = starlight + gas(pop)
    d = Draws(len(model), generator)
    wave = grid(model.device).float()
    reference = starlight[:, (wave > 6000) & (wave < 6300)].mean(1)
    snr = (14.0 * (reference / 12.0) ** 0.6 * 10 ** d.normal(0, 0.08)).clamp(*SNR_RANGE)
    observed = wave * (1 + pop["z"][:, None])
    shape = _noise_shape(observed)
    shape = shape / shape[:, (wave > 6000) & (wave < 6300)].mean(1, keepdim=True)
    sigma = (reference / snr)[:, None] * shape * torch.sqrt(0.5 + 0.5 * (model / reference[:, None]).clamp_min(0))
    noise = torch.randn(model.shape, generator=generator, device=model.device)
    covered = (observed > OBSERVED_RANGE[0]) & (observed < OBSERVED_RANGE[1])
    zero = torch.zeros_like(model)
    return Spectra(torch.where(covered, model + sigma * noise, zero), torch.where(covered, sigma**-2, zero), model, snr)
