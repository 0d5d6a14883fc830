"""Emission lines: luminosities, fluxes through the fibre, errors, and classes on the BPT plane.

H alpha follows the star-formation rate (Kennicutt 1998 for a Chabrier IMF), the ratios follow the gas metallicity on
the Tremonti et al. (2004) scale, and an active nucleus adds light of its own ratios. Fluxes are corrected for Galactic
extinction, as those of MPA-JHU are.
"""

import torch
from torch import Tensor

from galcli.training.mock.cosmology import luminosity_distance, nanomaggies_per_sun
from galcli.training.mock.interpolate import interp

Population = dict[str, Tensor]

# Name: vacuum wavelength [Angstrom]. [O II] is the blended doublet.
LINES = {
    "OII_3728": 3728.5,
    "HD_4102": 4102.9,
    "HG_4341": 4341.7,
    "HB_4861": 4862.7,
    "OIII_4959": 4960.3,
    "OIII_5007": 5008.2,
    "HEI_5876": 5877.2,
    "OI_6300": 6302.0,
    "NII_6548": 6549.9,
    "HA_6563": 6564.6,
    "NII_6584": 6585.3,
    "SII_6717": 6718.3,
    "SII_6731": 6732.7,
}
NAMES = tuple(LINES)
HB, OIII, HA, NII = (NAMES.index(name) for name in ("HB_4861", "OIII_5007", "HA_6563", "NII_6584"))

# Ratios of star-forming regions against 12+log(O/H) on the Tremonti scale. The first two are the spec of the survey;
# [O II]/Hb and ([S II]6717+6731)/Ha follow the SDSS star-forming sequence.
OH_NODES = (8.2, 8.5, 8.8, 9.0, 9.2)
LOG_NII_HA = (-1.35, -1.05, -0.70, -0.47, -0.35)
LOG_OIII_HB = (0.60, 0.42, 0.05, -0.32, -0.62)
LOG_OII_HB = (0.45, 0.50, 0.35, 0.10, -0.20)
LOG_SII_HA = (-0.65, -0.52, -0.48, -0.55, -0.65)
RATIO_SCATTER = 0.08  # dex, of [N II]/Ha and [O III]/Hb
AGN_LOG_NII_HA, AGN_LOG_OIII_HB = 0.0, 0.8  # where a pure active nucleus lies on the BPT plane
AGN_SCATTER = 0.17  # dex

BALMER = 2.86  # Ha/Hb, case B at 10^4 K
NEBULAR_EXCESS = 0.44  # stars see this fraction of the attenuation of the gas (Calzetti et al. 2000)
NEBULAR_SLOPE = -1.3  # A(lambda) ~ lambda^-1.3 around H II regions (Wild et al. 2011)
CONTINUUM_EW = 0.25  # Angstrom, error of a line from the stars beneath it
MIN_SNR = 3.0  # lines below this are no labels
MIN_SNR_HA = 2.0  # MPA-JHU: "low S/N star forming" needs this in H alpha alone

UNCLASSIFIABLE, STAR_FORMING, LOW_SNR_STAR_FORMING, COMPOSITE, AGN, LOW_SNR_LINER = -1, 1, 2, 3, 4, 5


def wavelengths(device: torch.device | str = "cpu") -> Tensor:
    """Vacuum wavelengths [Angstrom] of `LINES`, shape (13,)."""
    return torch.tensor(list(LINES.values()), device=device)


def _at_metallicity(oh: Tensor, nodes: tuple[float, ...]) -> Tensor:
    return interp(oh, oh.new_tensor(OH_NODES), oh.new_tensor(nodes))


def relative_fluxes(
    log_nii_ha: Tensor, log_oiii_hb: Tensor, log_oii_hb: Tensor, log_sii_ha: Tensor, log_oi_ha: Tensor
) -> Tensor:
    """Unattenuated fluxes of all `LINES` relative to H alpha, shape (n, 13)."""
    one = torch.ones_like(log_nii_ha)
    hb = one / BALMER
    nii, oiii, oii, sii = 10**log_nii_ha, 10**log_oiii_hb * hb, 10**log_oii_hb * hb, 10**log_sii_ha
    columns = (
        oii, 0.259 * hb, 0.468 * hb, hb, oiii / 2.98, oiii, 0.12 * hb, 10**log_oi_ha, nii / 3.05, one, nii,
        0.574 * sii, 0.426 * sii,
    )  # fmt: skip
    return torch.stack(columns, dim=-1)


def star_forming_ratios(oh: Tensor, eps_nii: Tensor, eps_oiii: Tensor) -> tuple[Tensor, Tensor]:
    """Log [N II]/Ha and log [O III]/Hb of star-forming gas, with their scatter, shapes (n,).

    The scatter is that of the ionisation parameter: `population` draws the two deviates anticorrelated.
    """
    nii = _at_metallicity(oh, LOG_NII_HA) + RATIO_SCATTER * eps_nii
    return nii, _at_metallicity(oh, LOG_OIII_HB) + RATIO_SCATTER * eps_oiii


def attenuation(pop: Population) -> Tensor:
    """Attenuation of each line inside the galaxy [mag], shape (n, 13)."""
    shape = (wavelengths(pop["z"].device) / 5500.0) ** NEBULAR_SLOPE
    return (pop["a_v"] / NEBULAR_EXCESS)[:, None] * shape


def star_forming_luminosities(pop: Population) -> Tensor:
    """Unattenuated luminosities [erg/s, divided by 1e40] of the star-forming gas of the whole galaxy, (n, 13)."""
    oh = pop["oh"]
    nii, oiii = star_forming_ratios(oh, pop["eps_nii"], pop["eps_oiii"])
    oii, sii = _at_metallicity(oh, LOG_OII_HB), _at_metallicity(oh, LOG_SII_HA)
    relative = relative_fluxes(nii, oiii, oii, sii, torch.full_like(oh, -1.5))
    return 10 ** (pop["log_sfr"] + 41.27 - 40)[:, None] * relative


def per_luminosity(z: Tensor) -> Tensor:
    """Flux [1e-17 erg/s/cm2] of a line of luminosity 1e40 erg/s at redshift z."""
    distance = luminosity_distance(z) * 3.0857  # 1e24 cm
    return 1e40 / 1e48 / 1e-17 / (4 * torch.pi * distance**2)


def total_fluxes(pop: Population) -> Tensor:
    """Attenuated fluxes of the star-forming gas of the whole galaxy [1e-17 erg/s/cm2], shape (n, 13)."""
    seen = star_forming_luminosities(pop) * 10 ** (-0.4 * attenuation(pop))
    return seen * per_luminosity(pop["z"])[:, None]


def fibre_fluxes(pop: Population) -> Tensor:
    """True line fluxes through the 3 arcsec fibre, active nucleus included.

    `agn` is the fraction of the H alpha photons in the fibre that the nucleus makes.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        A population; see `population.draw`.

    Returns
    -------
    Tensor, shape (n, 13)
        Fluxes of `LINES` [1e-17 erg/s/cm2], attenuated inside the galaxy, without Galactic extinction.
    """
    gas = star_forming_luminosities(pop) * pop["young_central"][:, None]
    share = pop["agn"].clamp(0, 0.95)
    one = torch.ones_like(share)
    nucleus = relative_fluxes(
        AGN_LOG_NII_HA + AGN_SCATTER * pop["eps_nii"],
        AGN_LOG_OIII_HB + AGN_SCATTER * pop["eps_oiii"],
        0.5 * one,
        -0.25 * one,
        -0.8 * one,
    )
    gas = gas + (gas[:, HA] * share / (1 - share))[:, None] * nucleus
    return gas * 10 ** (-0.4 * attenuation(pop)) * per_luminosity(pop["z"])[:, None]


def continuum(pop: Population) -> Tensor:
    """Continuum of the fibre near 6200 A, roughly [1e-17 erg/s/cm2/A], (n,); the exact one is in `spectra`."""
    seen = 10 ** (pop["log_lr"] - 0.4 * 0.92 * pop["a_v"]) * pop["light_central"]
    return seen * nanomaggies_per_sun(pop["z"]) * 0.2855  # f_lambda of 1 nanomaggy at 6175 A


def observe(pop: Population, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Measured line fluxes and their errors at the depth of SDSS spectra.

    Returns
    -------
    flux, error : Tensor, shape (n, 13)
        [1e-17 erg/s/cm2]. A measured flux can be negative.
    """
    true = fibre_fluxes(pop)
    noise = torch.randn(true.shape, generator=generator, device=true.device)
    quality = torch.randn(len(true), 1, generator=generator, device=true.device)
    # Sky and read noise of the plate (worse in the blue), photon noise of the line, 1.5 % of flux calibration.
    floor = 2.2 * (wavelengths(true.device) / 6500.0) ** -0.5 * 10 ** (0.10 * quality)
    # Imperfect subtraction of the stars leaves 0.25 A of equivalent width.
    stars = CONTINUUM_EW * continuum(pop)[:, None]
    error = torch.sqrt(floor**2 + 0.06 * true + (0.015 * true) ** 2 + stars**2)
    return true + error * noise, error


def kauffmann(log_nii_ha: Tensor) -> Tensor:
    """Log [O III]/Hb of the empirical curve of Kauffmann et al. (2003); -inf right of its asymptote."""
    x = log_nii_ha - 0.05
    return torch.where(x < 0, 0.61 / x.clamp(max=-1e-6) + 1.3, -torch.inf)


def kewley(log_nii_ha: Tensor) -> Tensor:
    """Log [O III]/Hb of the maximum-starburst curve of Kewley et al. (2001); -inf right of its asymptote."""
    x = log_nii_ha - 0.47
    return torch.where(x < 0, 0.61 / x.clamp(max=-1e-6) + 1.19, -torch.inf)


def bpt_ratios(flux: Tensor) -> tuple[Tensor, Tensor]:
    """Log [N II]/Ha and log [O III]/Hb of fluxes (n, 13); NaN where a flux is not positive."""
    log = torch.where(flux > 0, flux, torch.nan).log10()
    return log[:, NII] - log[:, HA], log[:, OIII] - log[:, HB]


def bpt_class(log_nii_ha: Tensor, log_oiii_hb: Tensor) -> Tensor:
    """Class of line ratios: `STAR_FORMING`, `COMPOSITE` or `AGN`; `UNCLASSIFIABLE` where a ratio is not finite."""
    code = torch.full_like(log_nii_ha, STAR_FORMING).long()
    code[log_oiii_hb > kauffmann(log_nii_ha)] = COMPOSITE
    code[log_oiii_hb > kewley(log_nii_ha)] = AGN
    code[~(log_nii_ha.isfinite() & log_oiii_hb.isfinite())] = UNCLASSIFIABLE
    return code


def classify(flux: Tensor, error: Tensor) -> Tensor:
    """BPT classes coded as in MPA-JHU (Brinchmann et al. 2004).

    -1 unclassifiable, 1 star forming, 2 low-S/N star forming, 3 composite, 4 AGN, 5 low-S/N LINER.

    Parameters
    ----------
    flux, error : Tensor, shape (n, 13)
        From `observe`.

    Returns
    -------
    Tensor of int64, shape (n,)
    """
    snr = flux / error
    x, y = bpt_ratios(flux)
    good = (snr[:, [HB, OIII, HA, NII]] > MIN_SNR).all(1)
    code = torch.full_like(x, UNCLASSIFIABLE).long()
    code[snr[:, HA] > MIN_SNR_HA] = LOW_SNR_STAR_FORMING
    code[(snr[:, HA] > MIN_SNR) & (snr[:, NII] > MIN_SNR) & (x > -0.222)] = LOW_SNR_LINER  # [N II]/Ha > 0.6
    return torch.where(good, bpt_class(x, y), code)
