"""Galaxies of a flux-limited survey: mass, type, redshift, star formation, metallicity, active nuclei, structure.

Galaxies are placed uniformly in comoving volume and then cut on the dust-free, face-on r magnitude. Proposals are drawn
inside an envelope (the redshift to which the brightest galaxy of that mass could be seen), which gives the same survey
as a draw over the whole volume at a small part of its cost.
"""

from functools import lru_cache

import torch
from torch import Tensor

from galcli.training.galaxy10 import COUNTS
from galcli.training.mock import classes, cosmology, sed, structure
from galcli.training.mock.draws import Draws
from galcli.training.mock.interpolate import interp

Population = dict[str, Tensor]

LOGM_RANGE = (8.5, 11.6)
Z_RANGE = (0.01, 0.2)
R_LIMIT = 17.8  # dust-free, face-on
# Volume mass function, double Schechter of Baldry et al. (2012): log10 M*, (phi, alpha) twice [1e-3 Mpc^-3 dex^-1].
MASS_FUNCTION = (10.66, 3.96, -0.35, 0.79, -1.47)
MS_SCATTER, QUIESCENT_OFFSET, QUIESCENT_SCATTER = 0.3, -1.5, 0.5
OH_SCATTER = 0.06
OH_SFR, OH_DENSITY, OH_DISTURBANCE = -0.15, 0.30, -0.25  # dex per dex, per dex, per unit of disturbance
CALM = 0.06  # disturbance of an ordinary galaxy, the zero point of its effect on metallicity
OH_RANGE = (7.9, 9.3)
RATIO_CORRELATION = -0.6  # between the deviates of log [N II]/Ha and log [O III]/Hb at fixed metallicity

# Mass to light in r [Msun / Lsun,r]: 10 Gyr; 0.1-2 Gyr. The young light is 2.6e9 Lsun,r per Msun/yr (100 Myr).
ML_OLD, ML_OLD_SLOPE, ML_INTERMEDIATE, YOUNG_PER_SFR = 2.4, 0.10, 0.62, 2.6e9
INTERMEDIATE_YEARS = 2.0e9
K_BOUND = 0.15  # dex: no galaxy is brighter than its rest-frame r by more than this factor at z < 0.2
GALAXY10_R, GALAXY10_R50 = 17.0, 2.5  # Galaxy10 holds bright (mag), large (arcsec) galaxies only


def mass_function(logm: Tensor) -> Tensor:
    """Number density of galaxies [1e-3 Mpc^-3 dex^-1] (Baldry et al. 2012)."""
    break_mass, phi1, alpha1, phi2, alpha2 = MASS_FUNCTION
    x = 10 ** (logm - break_mass)
    return torch.exp(-x) * (phi1 * x ** (alpha1 + 1) + phi2 * x ** (alpha2 + 1))


def main_sequence(logm: Tensor) -> Tensor:
    """log10 SFR [Msun/yr] of the main sequence (Renzini & Peng 2015)."""
    return 0.76 * logm - 7.64


def mass_metallicity(logm: Tensor) -> Tensor:
    """12 + log(O/H) at a stellar mass (Tremonti et al. 2004, eq. 3)."""
    return -1.492 + 1.847 * logm - 0.08026 * logm**2


def light(logm: Tensor, log_sfr: Tensor, log_past: Tensor) -> Population:
    """Light of the three populations from mass, present and past (0.1-2 Gyr) star-formation rate.

    Returns
    -------
    dict of Tensor
        log_lr [log10 Lsun,r], f_old, f_int, f_young, old_mass (fraction of the mass older than 2 Gyr).
    """
    mass = 10**logm
    recent = torch.minimum(INTERMEDIATE_YEARS * 10**log_past, 0.5 * mass)
    old = (mass - recent) / (ML_OLD * 10 ** (ML_OLD_SLOPE * (logm - 10.6)))
    intermediate, young = recent / ML_INTERMEDIATE, YOUNG_PER_SFR * 10**log_sfr
    total = old + intermediate + young
    fractions = {"f_old": old / total, "f_int": intermediate / total, "f_young": young / total}
    return {"log_lr": total.log10(), "old_mass": 1 - recent / mass, **fractions}


@lru_cache(maxsize=8)
def _envelope(device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Masses, the cumulative number of proposals, and the largest redshift at which each mass can pass the cut."""
    logm = torch.linspace(*LOGM_RANGE, 4001, dtype=torch.float64)
    top = main_sequence(logm) + 3 * MS_SCATTER
    brightest = light(logm, top, top + 1)["log_lr"] + K_BOUND
    limit = 10 ** (0.2 * (R_LIMIT - cosmology.SUN_R + 2.5 * brightest + 5)) / 1e6  # luminosity distance, Mpc
    z_max = cosmology.redshift_at_luminosity_distance(limit).clamp(*Z_RANGE)
    volume = cosmology.comoving_distance(z_max) ** 3 - cosmology.comoving_distance(z_max.new_tensor(Z_RANGE[0])) ** 3
    number = (mass_function(logm) * volume).cumsum(0)
    return logm.float().to(device), (number / number[-1]).float().to(device), z_max.float().to(device)


def _propose(n: int, generator: torch.Generator) -> Population:
    """Mass, type, star formation and redshift of n proposals, thinned to those that can pass the cut."""
    d = Draws(n, generator)
    logm_grid, number, z_grid = _envelope(str(generator.device))
    logm = interp(d.uniform(), number, logm_grid)
    quiescent = d.chance(torch.sigmoid((logm - 10.6) / 0.3))
    dms = torch.where(quiescent, d.normal(QUIESCENT_OFFSET, QUIESCENT_SCATTER), d.normal(0, MS_SCATTER))
    log_sfr = main_sequence(logm) + dms
    # Star formation over the last 2 Gyr varies less than that of today, which makes colour and SFR two things.
    past = torch.where(quiescent, 0.6 * dms + d.normal(-0.1, 0.25), 0.6 * dms + d.normal(0, 0.15))
    core = {"logm": logm, "quiescent": quiescent, "dms": dms, "log_sfr": log_sfr}
    core |= light(logm, log_sfr, main_sequence(logm) + past)
    near, far = (cosmology.comoving_distance(z) for z in (logm.new_tensor(Z_RANGE[0]), interp(logm, logm_grid, z_grid)))
    core["z"] = cosmology.redshift_at((near**3 + d.uniform() * (far**3 - near**3)) ** (1 / 3))
    bright = sed.magnitudes(10 ** (core["log_lr"] + K_BOUND) * cosmology.nanomaggies_per_sun(core["z"])) < R_LIMIT
    return {key: value[bright] for key, value in core.items()}


def _complete(core: Population, generator: torch.Generator) -> Population:
    """Add metallicity, nucleus, foreground and structure, and cut on the intrinsic r magnitude."""
    d = Draws(len(core["logm"]), generator)
    core["kpc_arcsec"] = cosmology.kpc_per_arcsec(core["z"])
    pop = core | structure.draw(core, generator)
    del pop["old_mass"]
    oh = mass_metallicity(pop["logm"]) + OH_SFR * pop["dms"].clamp(-0.9, 0.9) + d.normal(0, OH_SCATTER)
    # Scatter about the mass-metallicity relation shrinks with mass (Tremonti et al. 2004, table 3).
    shape = OH_DENSITY * structure.density_offset(pop, pop["sigma_c"]) + OH_DISTURBANCE * (pop["disturbance"] - CALM)
    oh = oh + shape * (1 + 0.5 * (10.3 - pop["logm"])).clamp(0.7, 1.8)
    pop["oh"] = oh.clamp(*OH_RANGE)
    # A higher ionisation parameter raises [O III] and lowers [N II]: the scatter runs along the sequence.
    pop["eps_nii"] = d.normal()
    pop["eps_oiii"] = RATIO_CORRELATION * pop["eps_nii"] + (1 - RATIO_CORRELATION**2) ** 0.5 * d.normal()
    # Nuclei live in bulges of massive galaxies (Kauffmann et al. 2003).
    hosts = 0.75 * torch.sigmoid((pop["logm"] - 10.55) / 0.22) * (pop["bt"] / 0.25).clamp(0, 1)
    # Weak nuclei are the common ones: uniform in the logarithm of their share, so that the BPT wing is filled evenly.
    pop["agn"] = 0.02 * 45 ** d.uniform() * d.chance(hosts)
    pop["ebv"] = (0.03 * 10 ** d.normal(0, 0.25)).clamp(0.005, 0.2)
    pop["r_intrinsic"] = sed.magnitudes(sed.component_fluxes(pop, ["r"], dust=False).sum((1, 2)))
    bright = pop["r_intrinsic"] < R_LIMIT
    return {key: value[bright] for key, value in pop.items()}


def _batch(n: int, generator: torch.Generator) -> Population:
    """Roughly n galaxies of the survey with their classes."""
    pop = _complete(_propose(n, generator), generator)
    pop["galaxy10"] = classes.galaxy10(pop)
    return pop


def _join(parts: list[Population]) -> Population:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def draw(n: int, generator: torch.Generator, balance: str | None = None) -> Population:
    """Draw n galaxies that pass the cut.

    Parameters
    ----------
    n : int
        Number of galaxies.
    generator : torch.Generator
        All randomness; its device is that of the result. The same state gives the same galaxies.
    balance : str, optional
        "galaxy10" gives the classes the frequencies of Galaxy10 DECaLS, out of bright and large galaxies whose
        class is plain to see (`classes.agreed`).

    Returns
    -------
    dict of Tensor, each (n,)
        z, logm [log10 Msun], quiescent, log_sfr [log10 Msun/yr], dms [dex], oh (12+log(O/H)), ebv, a_v [mag],
        log_lr [log10 Lsun,r], r_intrinsic [mag], f_old, f_int, f_young, agn, eps_nii, eps_oiii, kpc_arcsec, galaxy10
        and the keys of `structure.draw`. float32 unless they count or decide.

    Raises
    ------
    ValueError
        For an unknown `balance`.
    """
    if balance not in (None, "galaxy10"):
        message = f"balance must be None or 'galaxy10', not {balance!r}"
        raise ValueError(message)
    size = min(max(8 * n, 4096), 400_000)
    parts: list[Population] = []
    if balance is None:
        while sum(len(part["z"]) for part in parts) < n:
            parts.append(_batch(size, generator))
        return {key: value[:n] for key, value in _join(parts).items()}
    wanted = _quotas(n, generator)
    while True:
        batch = _batch(size, generator)
        large = (batch["r_intrinsic"] < GALAXY10_R) & (batch["r50"] > GALAXY10_R50)
        rows = torch.nonzero(large & classes.agreed(batch))[:, 0]
        label = batch["galaxy10"][rows]
        for k in range(10):
            chosen = rows[label == k][: int(wanted[k])]
            wanted[k] -= len(chosen)
            parts.append({key: value[chosen] for key, value in batch.items()})
        if not wanted.any():
            break
    pop = _join(parts)
    order = torch.randperm(n, generator=generator, device=generator.device)
    return {key: value[order] for key, value in pop.items()}


def _quotas(n: int, generator: torch.Generator) -> Tensor:
    """Galaxies of each class, (10,): the shares of Galaxy10 rounded down, the remainder drawn."""
    share = torch.tensor(COUNTS, device=generator.device) / sum(COUNTS)
    quota = (share * n).floor().long()
    rest = n - int(quota.sum())
    if rest:
        extra = torch.multinomial(share, rest, replacement=True, generator=generator)
        quota += torch.bincount(extra, minlength=10)
    return quota
