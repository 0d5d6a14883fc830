"""Shape of a galaxy: sizes, bulge and disc, inclination, dust, spiral arms, bar, knots, mergers and disturbance."""

import torch
from torch import Tensor

from galcli.training.mock.draws import Draws
from galcli.training.mock.interpolate import disc_growth, disc_radius, sersic_growth, sersic_radius

Population = dict[str, Tensor]

FIBRE_RADIUS = 1.5  # arcsec, SDSS spectrograph
SIZE_SCATTER = 0.15  # dex, of the half-light radius at fixed mass
# Shen et al. measured circular apertures on discs of all inclinations, which shrink as sqrt(b/a); ours is face-on.
FACE_ON = 1.33
MERGERS, DISTURBED = 0.035, 0.05  # fractions of the survey
# Median log10 of the mass density inside 1 kpc against log M*, star forming and quiescent (value at 10.5, slope), as
# `_bulge_and_sizes` gives it: the zero point of the metallicity's dependence on central density.
SIGMA_C_RELATION = ((9.049, 0.905), (9.399, 0.575))


def half_light_radius(logm: Tensor, quiescent: Tensor) -> Tensor:
    """Median half-light radius [kpc] of Shen et al. (2003), late types eq. 18 and early types eq. 17.

    The quiescent relation flattens below 10^9.7 Msun, where early types are dwarf-like discs, not scaled-down
    ellipticals.
    """
    mass = 10 ** logm.double()
    late = 0.10 * mass**0.14 * (1 + mass / 3.98e10) ** (0.39 - 0.14)
    early = 2.88e-6 * mass.clamp_min(10**9.7) ** 0.56
    return torch.where(quiescent, early, late).float()


def draw(core: Population, generator: torch.Generator) -> Population:
    """Draw the structure of every galaxy.

    Parameters
    ----------
    core : dict of Tensor, each (n,)
        logm, quiescent, log_sfr, dms, kpc_arcsec, f_old, f_int, f_young, old_mass (fraction of the mass that is old).
    generator : torch.Generator

    Returns
    -------
    dict of Tensor, each (n,)
        The structural keys of a population (lengths in arcsec, angles in radian).
    """
    d = Draws(len(core["logm"]), generator)
    s: Population = {}
    _bulge_and_sizes(core, s, d)
    _orientation(s, d)
    _dust(core, s, d)
    _spiral(core, s, d)
    _bar(core, s, d)
    _knots(core, s, d)
    _disturbance(core, s, d)
    _fibre(core, s)
    return s


def _fibre(core: Population, s: Population) -> None:
    """Shares of the young light (a disc) and of all light that a 3 arcsec fibre on the centre takes."""
    disc = disc_growth(FIBRE_RADIUS / (s["h_disc"] * s["q_app"].sqrt())).clamp(0.005, 1)
    bulge = sersic_growth(FIBRE_RADIUS / (s["re_bulge"] * s["q_bulge"].sqrt()), s["n_bulge"])
    weight = core["f_old"] * s["bulge_old"]
    s["young_central"], s["bulge_central"] = disc, bulge
    s["light_central"] = weight * bulge + (1 - weight) * disc


def bulge_light(pop: Population) -> Tensor:
    """Fraction of the dust-free r light that sits in the bulge."""
    return pop["f_old"] * pop["bulge_old"]


def _bulge_and_sizes(core: Population, s: Population, d: Draws) -> None:
    """Bulge fraction, Sersic index, and radii that give the whole galaxy the half-light radius of Shen et al."""
    logm, quiescent = core["logm"], core["quiescent"]
    # Star formers: bulges grow with mass, a quarter of the small ones has none.
    late = (0.05 + 0.30 * torch.sigmoid((logm - 10.6) / 0.35)) * 10 ** d.normal(0, 0.30)
    late = torch.where(d.chance(0.35 * torch.sigmoid((10.3 - logm) / 0.3)), torch.zeros_like(late), late)
    # Quiescent: discs of all bulge fractions (S0), and ellipticals that take over at high mass.
    elliptical = d.chance(0.15 + 0.60 * torch.sigmoid((logm - 10.8) / 0.3))
    lenticular = (0.10 + 0.45 * torch.sigmoid((logm - 10.2) / 0.4) + d.normal(0, 0.12)).clamp(0.03, 0.75)
    early = torch.where(elliptical, d.uniform(0.80, 1.0), lenticular)
    bt = torch.where(quiescent, early, late.clamp(0, 0.7))
    s["bt"] = torch.minimum(bt, 0.98 * core["old_mass"])
    s["bulge_old"] = (s["bt"] / core["old_mass"]).clamp(0, 0.98)
    s["n_bulge"] = (1.9 + 2.3 * s["bt"] + d.normal(0, 0.4)).clamp(2, 5)

    light = (core["f_old"] * s["bulge_old"]).clamp(1e-4, 0.995)
    radius = half_light_radius(logm, quiescent) * 10 ** d.normal(0, SIZE_SCATTER)
    s["r50"] = radius * FACE_ON ** (1 - light) / core["kpc_arcsec"]
    # Share of the bulge's light inside R50: a small bulge lies deep inside it, a dominant bulge makes R50 itself.
    inside = (0.5 + (0.46 + d.normal(0, 0.012)) * (1 - light) ** 1.2).clamp(0.5, 0.99)
    s["re_bulge"] = s["r50"] / sersic_radius(inside, s["n_bulge"])
    s["h_disc"] = s["r50"] / disc_radius(((0.5 - light * inside) / (1 - light)).clamp(0.02, 0.98))

    kpc = 1.0 / core["kpc_arcsec"]  # 1 kpc in arcsec
    central = s["bt"] * sersic_growth(kpc / s["re_bulge"], s["n_bulge"])
    central = central + (1 - s["bt"]) * disc_growth(kpc / s["h_disc"])
    s["sigma_c"] = logm + (central / torch.pi).log10()


def density_offset(core: Population, sigma_c: Tensor) -> Tensor:
    """Central surface density relative to that of galaxies of the same mass and type [dex]."""
    (late0, late1), (early0, early1) = SIGMA_C_RELATION
    x = core["logm"] - 10.5
    return sigma_c - torch.where(core["quiescent"], early0 + early1 * x, late0 + late1 * x)


def _orientation(s: Population, d: Draws) -> None:
    """Random viewing direction: cos(i) and position angle uniform, axis ratios of oblate disc and bulge."""
    s["cos_i"], s["pa"] = d.uniform(), d.uniform(0, torch.pi)
    s["thickness"] = d.uniform(0.15, 0.25)
    s["q_app"] = projected(s["thickness"], s["cos_i"])
    s["q_bulge"] = projected(d.uniform(0.50, 0.92), s["cos_i"])


def projected(thickness: Tensor, cos_i: Tensor) -> Tensor:
    """Apparent axis ratio of an oblate spheroid of intrinsic axis ratio `thickness`."""
    return torch.sqrt(cos_i**2 + thickness**2 * (1 - cos_i**2))


def _dust(core: Population, s: Population, d: Draws) -> None:
    """Attenuation: grows with mass (Garn & Best 2010, through the Balmer decrement) and with inclination."""
    nebular = (0.75 + 0.55 * (core["logm"] - 10)).clamp(0.12, 1.8) * 10 ** d.normal(0, 0.17)
    face_on = 0.44 * nebular * (0.7 + 0.3 * (core["dms"].clamp(-0.6, 0.6) / 0.3 + 1)).clamp(0.4, 1.6)
    face_on = torch.where(core["quiescent"], 0.06 * 10 ** d.normal(0, 0.25), face_on)
    s["a_v"] = (face_on * (1 - 1.3 * (1 - s["bt"]) * s["q_app"].log10())).clamp_max(2.5)
    s["dust_lane"] = (face_on / 0.5 * d.uniform(0.4, 1.2)).clamp(0, 1)
    s["dust_lane"] = torch.where(face_on < 0.1, torch.zeros_like(face_on), s["dust_lane"])


def _spiral(core: Population, s: Population, d: Draws) -> None:
    """Logarithmic arms: tighter with larger bulges, stronger with more star formation."""
    logm, quiescent = core["logm"], core["quiescent"]
    has = torch.where(quiescent, 0.10 * (s["bt"] < 0.5), 0.92 * torch.sigmoid((logm - 9.35) / 0.25))
    kind = d.uniform()
    arms = 2 + (kind > 0.60).long() + (kind > 0.82).long()
    s["n_arms"] = torch.where(d.chance(has), arms, torch.zeros_like(arms))
    degrees = (25.0 - 32.0 * s["bt"] + d.normal(0, 6.0)).clamp(5, 35)
    s["pitch"] = torch.deg2rad(degrees)
    contrast = 0.55 + 0.20 * core["dms"].clamp(-1.5, 1) / 0.3 * 0.6 + d.normal(0, 0.10)
    s["arm_contrast"] = contrast.clamp(0.08, 0.95) * (s["n_arms"] > 0)
    s["arm_phase"] = d.uniform(0, 2 * torch.pi)
    s["handedness"] = torch.where(d.chance(0.5), 1.0, -1.0)


def _bar(core: Population, s: Population, d: Draws) -> None:
    """Bars: in 40 % of spirals, a quarter of lenticulars and few dwarfs."""
    spiral = s["n_arms"] > 0
    rate = torch.where(spiral, 0.40, torch.where(core["quiescent"] & (s["bt"] < 0.6), 0.20, 0.06))
    barred = d.chance(rate)
    s["bar"] = d.uniform(0.10, 0.40) * barred
    s["bar_length"] = d.uniform(0.30, 0.70) * s["r50"]
    s["bar_angle"] = d.uniform(0, torch.pi)


def _knots(core: Population, s: Population, d: Draws) -> None:
    """H II regions: their number grows with the star-formation rate, their share of young light with its excess."""
    sfr = 10 ** core["log_sfr"]
    count = d.poisson((9 * sfr.clamp_max(30) ** 0.5).clamp_max(40)).clamp_max(40)
    s["n_knots"] = count.long()
    share = (0.22 + 0.10 * core["dms"].clamp(-0.6, 0.9) / 0.3 + d.normal(0, 0.07)).clamp(0.03, 0.6)
    s["knot_fraction"] = share * (count > 0)


def _disturbance(core: Population, s: Population, d: Draws) -> None:
    """Asymmetry, shells, companions and tidal arms."""
    s["merger"] = d.chance(MERGERS)
    strong = d.chance(DISTURBED)
    calm = 0.06 * d.normal().abs() * (1 + torch.sigmoid((9.5 - core["logm"]) / 0.3))
    disturbance = torch.where(strong, d.uniform(0.5, 1.0), calm.clamp_max(0.45))
    s["disturbance"] = torch.where(s["merger"], d.uniform(0.2, 0.9), disturbance)
    lopsided = 0.07 * d.normal().abs() * (1 + torch.sigmoid((9.6 - core["logm"]) / 0.3)) + 0.3 * s["disturbance"]
    s["lopsided"] = (lopsided * torch.where(core["quiescent"], 0.5, 1.0)).clamp(0, 0.5)
    s["lopsided_angle"] = d.uniform(0, 2 * torch.pi)

    distance, angle = s["r50"] * d.uniform(1.2, 4.0) + 1.5, d.uniform(0, 2 * torch.pi)
    s["companion_dx"], s["companion_dy"] = distance * angle.cos(), distance * angle.sin()
    ratio = 10 ** d.uniform(-1, 0)
    s["companion_flux"] = ratio * s["merger"]
    s["companion_r50"] = s["r50"] * ratio**0.4 * 10 ** d.normal(0, 0.1)
    s["companion_q"], s["companion_pa"] = d.uniform(0.35, 1), d.uniform(0, torch.pi)
    s["tidal"] = d.uniform(0.2, 1) * s["merger"] + 0.4 * s["disturbance"] * strong * ~s["merger"]
