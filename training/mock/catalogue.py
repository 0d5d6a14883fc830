"""Columns of the mock survey's catalogue: what a survey would list, and beside it everything that made the galaxy."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galcli.training.mock import lines, photometry, sed

Population = dict[str, Tensor]
Array = npt.NDArray[Any]

MISSING = -9999.0
MASS_ERROR, SFR_ERROR = 0.05, 0.15  # dex, of the catalogued values
LINE_FLUX_UNIT = "10**(-17) erg s-1 cm-2"  # a FITS unit string

# Names of the lines in SkyServer's galSpecLine; the [O II] doublet is one line here.
LINE_COLUMNS = {
    "OII_3728": "oii_3728", "HD_4102": "h_delta", "HG_4341": "h_gamma", "HB_4861": "h_beta", "OIII_4959": "oiii_4959",
    "OIII_5007": "oiii_5007", "HEI_5876": "hei_5876", "OI_6300": "oi_6300", "NII_6548": "nii_6548",
    "HA_6563": "h_alpha", "NII_6584": "nii_6584", "SII_6717": "sii_6717", "SII_6731": "sii_6731",
}  # fmt: skip

# Unit (FITS; empty where FITS has none) and meaning of every generating parameter.
TRUTH: dict[str, tuple[str, str]] = {
    "z": ("", "redshift"),
    "logm": ("", "log10 stellar mass [Msun]"),
    "quiescent": ("", "not on the main sequence"),
    "log_sfr": ("", "log10 star-formation rate [Msun/yr]"),
    "dms": ("", "offset from the main sequence [dex]"),
    "oh": ("", "12+log(O/H), Tremonti scale"),
    "ebv": ("mag", "Galactic E(B-V)"),
    "a_v": ("mag", "attenuation A_V at this inclination"),
    "cos_i": ("", "cosine of the inclination"),
    "pa": ("rad", "position angle, east of north"),
    "kpc_arcsec": ("kpc arcsec-1", "proper kpc per arcsec"),
    "r50": ("arcsec", "half-light radius, face-on"),
    "re_bulge": ("arcsec", "effective radius of the bulge"),
    "n_bulge": ("", "Sersic index of the bulge"),
    "q_bulge": ("", "apparent axis ratio of the bulge"),
    "h_disc": ("arcsec", "scale length of the disc"),
    "thickness": ("", "intrinsic axis ratio of the disc"),
    "q_app": ("", "apparent axis ratio of the disc"),
    "bt": ("", "bulge fraction of the stellar mass"),
    "bulge_old": ("", "share of the old light in the bulge"),
    "n_arms": ("", "number of spiral arms"),
    "pitch": ("rad", "pitch angle of the arms"),
    "arm_contrast": ("", "contrast of the arms"),
    "arm_phase": ("rad", "phase of the arms"),
    "handedness": ("", "+1 or -1, sense of the arms"),
    "bar": ("", "share of the disc's old light in the bar"),
    "bar_length": ("arcsec", "half length of the bar"),
    "bar_angle": ("rad", "angle of the bar in the plane of the disc"),
    "n_knots": ("", "number of H II regions"),
    "knot_fraction": ("", "share of the young light in H II regions"),
    "dust_lane": ("", "strength of the dust lane when edge-on"),
    "lopsided": ("", "amplitude of the m = 1 mode"),
    "lopsided_angle": ("rad", "phase of the m = 1 mode"),
    "disturbance": ("", "strength of asymmetry and shells, 0 to 1"),
    "merger": ("", "has a merging companion"),
    "companion_dx": ("arcsec", "offset of the companion"),
    "companion_dy": ("arcsec", "offset of the companion"),
    "companion_flux": ("", "flux of the companion over that of the galaxy"),
    "companion_r50": ("arcsec", "half-light radius of the companion"),
    "companion_q": ("", "axis ratio of the companion"),
    "companion_pa": ("rad", "position angle of the companion"),
    "tidal": ("", "strength of tidal arms"),
    "galaxy10": ("", "class of Galaxy10 DECaLS"),
    "agn": ("", "share of the active nucleus in the H alpha of the fibre"),
    "f_old": ("", "share of the old population in dust-free rest-frame r"),
    "f_int": ("", "share of the intermediate population in dust-free rest-frame r"),
    "f_young": ("", "share of the young population in dust-free rest-frame r"),
    "young_central": ("", "share of the young light in the fibre"),
    "bulge_central": ("", "share of the bulge's light in the fibre"),
    "light_central": ("", "share of the light in the fibre"),
    "log_lr": ("", "log10 dust-free rest-frame r luminosity [Lsun]"),
    "r_intrinsic": ("mag", "r without dust, face-on"),
    "sigma_c": ("", "log10 stellar mass density inside 1 kpc [Msun kpc-2]"),
    "eps_nii": ("", "standard normal deviate of log [N II]/Ha"),
    "eps_oiii": ("", "standard normal deviate of log [O III]/Hb"),
}


class Column(NamedTuple):
    """One column: values (n,), FITS unit (may be empty), description."""

    values: Array
    unit: str
    description: str


def _numpy(tensor: Tensor) -> Array:
    """To a numpy array of a type that FITS knows: int16 for small integers, bool and float32 as they are."""
    array: Array = tensor.detach().cpu().numpy()
    return array.astype(np.int16) if array.dtype == np.int64 else array


def truth(pop: Population) -> dict[str, Column]:
    """`TRUE_*` columns of every generating parameter, and the true fluxes in ugrizy [nanomaggies, AB]."""
    columns = {f"TRUE_{key.upper()}": Column(_numpy(pop[key]), *TRUTH[key]) for key in pop}
    fluxes = _numpy(sed.component_fluxes(pop, "ugrizy").sum(1))
    for k, band in enumerate("ugrizy"):
        columns[f"TRUE_FLUX_{band.upper()}"] = Column(fluxes[:, k].copy(), "", f"true {band} flux [nanomaggy]")
    return columns


def _photometric(pop: Population, generator: torch.Generator) -> dict[str, Column]:
    measured = photometry.measure(pop, generator)
    per_band = {
        "petroMag": (measured.mag, "mag", "Petrosian magnitude, AB, not corrected for extinction"),
        "petroMagErr": (measured.mag_err, "mag", "its error"),
        "petroR50": (measured.r50, "arcsec", "radius of half the Petrosian light"),
        "petroR90": (measured.r90, "arcsec", "radius of 90 % of the Petrosian light"),
        "expAB": (measured.axis_ratio, "", "axis ratio of the exponential fit"),
        "Sersic_n": (measured.sersic_n, "", "Sersic index"),
    }
    columns = {}
    for name, (values, unit, meaning) in per_band.items():
        array = _numpy(values)
        for k, band in enumerate(photometry.BANDS):
            columns[f"{name}_{band}"] = Column(array[:, k].copy(), unit, f"{band}: {meaning}")
    columns["EBV"] = Column(_numpy(pop["ebv"]), "mag", "Galactic E(B-V)")
    wise, error = _numpy(measured.wise), _numpy(measured.wise_err)
    for k in range(3):
        columns[f"w{k + 1}mpro"] = Column(wise[:, k].copy(), "mag", f"WISE W{k + 1}, Vega")
    for k in range(2):
        columns[f"w{k + 1}sigmpro"] = Column(error[:, k].copy(), "mag", f"error of w{k + 1}mpro")
    return columns


def _spectroscopic(pop: Population, generator: torch.Generator) -> dict[str, Column]:
    flux, error = lines.observe(pop, generator)
    code = lines.classify(flux, error)

    def noisy(values: Tensor, sigma: float) -> Tensor:
        return values + sigma * torch.randn(values.shape, generator=generator, device=values.device)

    # As in MPA-JHU: abundances of star-forming galaxies with all four lines only. The label carries no extra noise.
    oh = torch.where(code == lines.STAR_FORMING, pop["oh"], MISSING)
    columns = {
        "lgm_tot_p50": Column(_numpy(noisy(pop["logm"], MASS_ERROR)), "", "log10 total stellar mass [Msun]"),
        "sfr_tot_p50": Column(_numpy(noisy(pop["log_sfr"], SFR_ERROR)), "", "log10 total SFR [Msun/yr]"),
        "oh_p50": Column(_numpy(oh), "", "12+log(O/H), Tremonti scale; -9999 without star-forming lines"),
        "bptclass": Column(_numpy(code), "", "-1 none, 1 SF, 2 low S/N SF, 3 composite, 4 AGN, 5 low S/N LINER"),
    }
    values, errors = _numpy(flux), _numpy(error)
    for k, line in enumerate(lines.NAMES):
        name = LINE_COLUMNS[line]
        columns[f"{name}_flux"] = Column(values[:, k].copy(), LINE_FLUX_UNIT, f"flux of {line}")
        columns[f"{name}_flux_err"] = Column(errors[:, k].copy(), LINE_FLUX_UNIT, f"error of the flux of {line}")
    return columns


def observe(pop: Population, generator: torch.Generator) -> dict[str, Column]:
    """All columns of a catalogue but TARGETID, RA and DEC.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        A population; see `population.draw`.
    generator : torch.Generator
        For the errors of measurement.

    Returns
    -------
    dict of Column
        Z, petroMag_u..petroMagErr_z, petroR50_*, petroR90_*, expAB_*, Sersic_n_*, EBV, w1mpro..w3mpro, w1sigmpro,
        w2sigmpro, lgm_tot_p50, sfr_tot_p50, oh_p50, bptclass, line fluxes and errors, galaxy10, TRUE_*.
    """
    columns = {"Z": Column(_numpy(pop["z"]), "", "spectroscopic redshift")}
    columns |= _photometric(pop, generator) | _spectroscopic(pop, generator)
    columns["galaxy10"] = Column(_numpy(pop["galaxy10"]), "", "class of Galaxy10 DECaLS, 0 to 9")
    return columns | truth(pop)
