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
