"""Galaxy10 DECaLS classes, decided by what made the galaxy, not by what it looks like after noise."""

import math

import torch
from torch import Tensor

from galcli.training.mock import structure

Population = dict[str, Tensor]

DISTURBED, MERGING, ROUND, IN_BETWEEN, CIGAR, BARRED, TIGHT, LOOSE, EDGE_ON, EDGE_ON_BULGE = range(10)

DISTURBANCE = 0.5  # from here on a galaxy is called disturbed
EDGE_ON_AXIS_RATIO = 0.33  # apparent axis ratio of the disc, about 75 degrees of inclination
EDGE_ON_BULGE_LIGHT = 0.12  # share of the light from which a bulge shows on an edge-on disc
SMOOTH_BULGE_LIGHT = 0.75  # from here on the disc does not show
ROUND_AXIS_RATIO, CIGAR_AXIS_RATIO = 0.78, 0.42
VISIBLE_CONTRAST = 0.20  # of arms
VISIBLE_BAR = 0.10  # of the disc's old light
TIGHT_PITCH = math.radians(18.0)

# Where a class is plain to see, `agreed`: away from the limits above, and with nothing that tells of another class.
KNOT_LIGHT = 0.015  # share of knots of all light, below which a galaxy is smooth
DUST_LANE = 0.1  # below which no lane crosses an inclined disc
INCLINED, OPEN = 0.6, 0.45  # axis ratios of the disc: below the first lanes show, above the second arms do
EVEN, LOPSIDED = 0.15, 0.22  # lopsidedness of galaxies in order, and of disturbed ones
PLAIN_COMPANION, PLAIN_TIDE, NEAR = 0.25, 0.3, 25.0  # share of light; strength of tidal arms; arcsec
ROUNDER, ROUNDISH, LONGISH, LONGER = 0.82, 0.74, 0.48, 0.38  # axis ratios of round, in-between and cigar-shaped ones
PLAIN_CONTRAST, PLAIN_BAR, NO_BAR = 0.40, 0.15, 0.05
TIGHTER, LOOSER = math.radians(16.0), math.radians(20.0)
PLAIN_EDGE, NO_BULGE, PLAIN_BULGE = 0.28, 0.08, 0.20


def axis_ratio(pop: Population) -> Tensor:
    """Light-weighted apparent axis ratio of bulge and disc."""
    bulge = structure.bulge_light(pop)
    return bulge * pop["q_bulge"] + (1 - bulge) * pop["q_app"]


def galaxy10(pop: Population) -> Tensor:
    """Class 0-9 of each galaxy.

    Merging and disturbed first; then edge-on discs, with a bulge or without; then spirals (barred, tight, loose);
    what shows neither is smooth, by axis ratio. Smooth discs seen edge-on without a bulge are the cigars.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        Structural keys of a population; see `structure.draw`.

    Returns
    -------
    Tensor of int64, shape (n,)
    """
    bulge = structure.bulge_light(pop)
    q = axis_ratio(pop)
    label = torch.full_like(q, IN_BETWEEN).long()
    label[q > ROUND_AXIS_RATIO] = ROUND
    label[q < CIGAR_AXIS_RATIO] = CIGAR

    spiral = (pop["n_arms"] > 0) & (pop["arm_contrast"] > VISIBLE_CONTRAST)
    loose = pop["pitch"] > TIGHT_PITCH
    label[spiral & ~loose] = TIGHT
    label[spiral & loose] = LOOSE
    label[(spiral | ~pop["quiescent"]) & (pop["bar"] > VISIBLE_BAR)] = BARRED

    edge_on = (pop["q_app"] < EDGE_ON_AXIS_RATIO) & (bulge < SMOOTH_BULGE_LIGHT)
    label[edge_on & (bulge > EDGE_ON_BULGE_LIGHT)] = EDGE_ON_BULGE
    label[edge_on & (bulge <= EDGE_ON_BULGE_LIGHT) & ~pop["quiescent"]] = EDGE_ON
    label[edge_on & (bulge <= 0.35) & pop["quiescent"]] = CIGAR

    label[pop["disturbance"] > DISTURBANCE] = DISTURBED
    label[pop["merger"]] = MERGING
    return label


def agreed(pop: Population) -> Tensor:
    """Galaxies on whose class people would agree: Galaxy10 DECaLS holds no others.

    Parameters
    ----------
    pop : dict of Tensor, each (n,)
        As for `galaxy10`, with the class itself.

    Returns
    -------
    Tensor of bool, shape (n,)
    """
    bulge, q = structure.bulge_light(pop), axis_ratio(pop)
    lane = (pop["dust_lane"] > DUST_LANE) & (pop["q_app"] < INCLINED)
    marked = (pop["arm_contrast"] > VISIBLE_CONTRAST) | (pop["bar"] > NO_BAR) | lane
    smooth = ~marked & (pop["f_young"] * pop["knot_fraction"] < KNOT_LIGHT) & (pop["lopsided"] < EVEN)
    spiral = (pop["arm_contrast"] > PLAIN_CONTRAST) & (pop["q_app"] > OPEN)
    unbarred = spiral & (pop["bar"] < NO_BAR)
    edge_on = pop["q_app"] < PLAIN_EDGE
    near = torch.hypot(pop["companion_dx"], pop["companion_dy"]) < NEAR
    plain = {
        DISTURBED: pop["lopsided"] > LOPSIDED,
        MERGING: (pop["companion_flux"] > PLAIN_COMPANION) & (pop["tidal"] > PLAIN_TIDE) & near,
        ROUND: smooth & (q > ROUNDER),
        IN_BETWEEN: smooth & (q > LONGISH) & (q < ROUNDISH),
        CIGAR: smooth & (q < LONGER),
        BARRED: spiral & (pop["bar"] > PLAIN_BAR),
        TIGHT: unbarred & (pop["pitch"] < TIGHTER),
        LOOSE: unbarred & (pop["pitch"] > LOOSER),
        EDGE_ON: edge_on & (bulge < NO_BULGE),
        EDGE_ON_BULGE: edge_on & (bulge > PLAIN_BULGE),
    }
    return torch.stack([plain[number] for number in range(10)]).gather(0, pop["galaxy10"][None])[0]
