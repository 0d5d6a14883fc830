"""Light of a galaxy in bands: three populations, emission lines, attenuation, redshift, Galactic reddening.

The templates are integrated over the band passes at each redshift, so that the k-correction is an integral, not a fit.
The integrals are tabulated once per device over (population, metallicity, A_V, z, band) and looked up trilinearly.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from galcli.training.mock import lines, templates
from galcli.training.mock.cosmology import luminosity_distance, nanomaggies_per_sun
from galcli.training.mock.interpolate import position

Population = dict[str, Tensor]

# Effective wavelength and full width at half maximum [Angstrom] (SDSS ugriz, PS1 y, WISE).
BANDS = {
    "u": (3560.0, 600.0),
    "g": (4700.0, 1380.0),
    "r": (6175.0, 1380.0),
    "i": (7490.0, 1500.0),
    "z": (8940.0, 1350.0),
    "y": (9620.0, 830.0),
    "W1": (33526.0, 6600.0),
    "W2": (46028.0, 10400.0),
    "W3": (115608.0, 88000.0),
}
# Galactic A(band) / E(B-V): Stoughton et al. (2002) for SDSS, Schlafly & Finkbeiner (2011) y, Yuan et al. (2013) WISE.
GALACTIC = {
    "u": 5.155, "g": 3.793, "r": 2.751, "i": 2.086, "z": 1.479, "y": 1.09, "W1": 0.18, "W2": 0.16, "W3": 0.0,
}  # fmt: skip
VEGA_OFFSET = {"W1": 2.699, "W2": 3.339, "W3": 5.174}  # AB = Vega + offset (Jarrett et al. 2011)

DUST_SLOPE = -0.7  # A(lambda) ~ lambda^-0.7 for stars (Charlot & Fall 2000)
DUST_SHARE = (0.8, 1.0, 1.3)  # old, intermediate and young stars see this much of a_v
OH_RANGE = (8.2, 9.2)  # gas 12+log(O/H) of the metal-poor and the metal-rich templates
AV_GRID = (0.0, 6.0, 13)
Z_GRID = (0.0, 0.30, 61)


def transmission(band: str, wave: Tensor) -> Tensor:
    """Photon response of a band at observed wavelengths [Angstrom]: a top hat with soft edges, 0..1."""
    centre, width = BANDS[band]
    edge = 0.035 * width
    return torch.sigmoid((wave - centre + width / 2) / edge) * torch.sigmoid((centre + width / 2 - wave) / edge)


@lru_cache(maxsize=8)
def _norm(device: str) -> Tensor:
    """Integral of T dlambda / lambda for each band of `BANDS`, shape (9,)."""
    wave = templates.wavelength(device)
    step = wave.log().diff().mean()
    return torch.stack([transmission(band, wave).sum() * step for band in BANDS])


@lru_cache(maxsize=8)
def rest_r_normalisation(device: str) -> Tensor:
    """Mean f_nu (f_lambda lambda^2 over the r band at z = 0) of each template, shape (3, 2), float64."""
    wave = templates.wavelength(device)
    weight = transmission("r", wave) * wave**2
    norm = _norm(device)[list(BANDS).index("r")]
    return (templates.library(device) * weight).sum(-1) * wave.log().diff().mean() / norm


@lru_cache(maxsize=8)
def _table(device: str) -> Tensor:
    """log10 of (band flux / rest r flux) of the templates, shape (3, 2, A_V, z, 9).

    The argument is the mean f_nu in the observed band of the redshifted, attenuated template, in units of its
    dust-free rest-frame r, before the division by the squared luminosity distance.
    """
    wave = templates.wavelength("cpu")
    step = wave.log().diff().mean()
    redshift = torch.linspace(*Z_GRID[:2], Z_GRID[2], dtype=torch.float64)
    a_v = torch.linspace(*AV_GRID[:2], AV_GRID[2], dtype=torch.float64)
    observed = wave[None, :] * (1 + redshift[:, None])
    # f_lambda,obs = L_lambda / (1 + z), lambda_obs^2 = lambda^2 (1 + z)^2: together (1 + z) lambda^2
    weight = torch.stack([transmission(band, observed) for band in BANDS], 1)
    weight = weight * (wave**2 * (1 + redshift[:, None]))[:, None, :] * step / _norm("cpu")[None, :, None]
    library = templates.library("cpu") / rest_r_normalisation("cpu")[..., None]
    dust = 10 ** (-0.4 * a_v[:, None] * (wave / 5500.0) ** DUST_SLOPE)
    rows = [torch.einsum("mk,ak,zbk->mazb", library[p], dust, weight) for p in range(3)]
    return torch.stack(rows).log10().float().to(device)


def metal_weight(oh: Tensor) -> Tensor:
    """Weight of the metal-rich template (0..1) at a gas metallicity."""
    return ((oh - OH_RANGE[0]) / (OH_RANGE[1] - OH_RANGE[0])).clamp(0, 1)


def band_ratios(oh: Tensor, a_v: Tensor, z: Tensor, bands: Sequence[str]) -> Tensor:
    """Observed band flux over dust-free rest r flux of each population at 10 pc, shape (n, 3, B).

    Parameters
    ----------
    oh, a_v, z : Tensor, shape (n,)
        Gas metallicity, attenuation of the intermediate population [mag], redshift.
    bands : sequence of str
        Names out of `BANDS`.
    """
    table = _table(str(z.device))[..., [list(BANDS).index(band) for band in bands]]
    metal = metal_weight(oh)[:, None]
    j, wz = position(z, *Z_GRID)
    wz = wz[:, None]
    columns = []
    for p, share in enumerate(DUST_SHARE):
        i, wa = position(a_v * share, *AV_GRID)
        wa = wa[:, None]
        at_a = [
            (table[p, m, i, j] * (1 - wz) + table[p, m, i, j + 1] * wz) * (1 - wa)
            + (table[p, m, i + 1, j] * (1 - wz) + table[p, m, i + 1, j + 1] * wz) * wa
            for m in (0, 1)
        ]
        columns.append(at_a[0] * (1 - metal) + at_a[1] * metal)
    return 10 ** torch.stack(columns, 1)


def line_response(z: Tensor, bands: Sequence[str]) -> Tensor:
    """Nanomaggies in each band of a line of 1e-17 erg/s/cm2, shape (n, 13, B)."""
    observed = lines.wavelengths(z.device) * (1 + z[:, None])
    norm = _norm(str(z.device)).to(z.dtype)
    columns = []
    for band in bands:
        # <f_nu> = F lambda T(lambda) / (c int T dlambda/lambda); 1 nanomaggy = 3.631e-29 erg/s/cm2/Hz
        scale = 1e-17 / 2.99792458e18 / 3.631e-29 / norm[list(BANDS).index(band)]
        columns.append(observed * transmission(band, observed) * scale)
    return torch.stack(columns, -1)


def component_fluxes(pop: Population, bands: Sequence[str], dust: bool = True) -> Tensor:
    """Fluxes of the old, intermediate and young components in bands.

    Attenuated by `a_v` inside the galaxy and reddened by `ebv`; the young component carries the emission lines of the
    star-forming gas. A merger's companion is not included.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        A population; see `population.draw`.
    bands : sequence of str
        Out of u, g, r, i, z, y, W1, W2, W3.
    dust : bool
        False leaves out internal attenuation, Galactic reddening and lines (the flux that the survey is cut on).

    Returns
    -------
    Tensor, shape (n, 3, B), float32
        Nanomaggies (AB).
    """
    z, a_v = pop["z"], pop["a_v"] if dust else torch.zeros_like(pop["z"])
    fractions = torch.stack([pop["f_old"], pop["f_int"], pop["f_young"]], 1)
    light = fractions * (10 ** pop["log_lr"] * nanomaggies_per_sun(z))[:, None]
    flux = light[..., None] * band_ratios(pop["oh"], a_v, z, bands)
    if not dust:
        return flux
    emission = (lines.total_fluxes(pop)[..., None] * line_response(z, bands)).sum(1)
    if "W3" in bands:  # warm dust: log SFR = 0.889 log L(12 micron) - 7.76 (Cluver et al. 2017)
        log_l12 = (pop["log_sfr"] + 7.76) / 0.889
        nu_sun = 3.828e33 / (2.998e18 / BANDS["W3"][0]) / (4 * torch.pi * (3.0857e19) ** 2) / 3.631e-29
        distance = luminosity_distance(z) * 1e5
        emission[:, list(bands).index("W3")] += 10**log_l12 * nu_sun / distance**2
    flux[:, 2] += emission
    reddening = z.new_tensor([GALACTIC[band] for band in bands])
    return flux * 10 ** (-0.4 * pop["ebv"][:, None, None] * reddening)


def magnitudes(flux: Tensor, floor: float = 1e-6) -> Tensor:
    """AB magnitudes of nanomaggies."""
    return 22.5 - 2.5 * flux.clamp_min(floor).log10()


def wise_vega(pop: Population) -> Tensor:
    """True W1, W2, W3 magnitudes (Vega), shape (n, 3)."""
    names = tuple(VEGA_OFFSET)
    total = magnitudes(component_fluxes(pop, names).sum(1))
    return total - total.new_tensor([VEGA_OFFSET[name] for name in names])
