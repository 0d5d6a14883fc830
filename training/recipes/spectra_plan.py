"""How the networks from images to spectra are trained (models.md 3.1, 3.3 and 3.5)."""

from __future__ import annotations

from dataclasses import dataclass

from galcli.training.data import Looks
from galcli.training.recipes.stages import Stage

#: The one way pixels come in: fluxes of five bands.
FRONT = "flux:grizy"
FRONTS = (FRONT,)
#: Seed of the published split.
SPLIT_SEED = 12345


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    stages : tuple of Stage
        One after the other under one schedule; the last one is the grid of the model, the others whole multiples
        of its pixel scale.
    batch : int
    asinh : bool
        Fluxes are compressed; else they stay linear, as published.
    d4, rotation : float
        Probability of a symmetry of the square, and of a turn by up to 10 degrees.
    mock_objects : int
        Galaxies of the mock set, where no catalogue is given.
    """

    stages: tuple[Stage, ...]
    batch: int = 128
    asinh: bool = True
    d4: float = 1.0
    rotation: float = 0.0
    mock_objects: int = 65_536

    @property
    def looks(self) -> Looks:
        """How galaxies are shown in training."""
        return Looks(self.d4, display=0.0, rotation=self.rotation)


PRESETS = {
    # The published field of view at half the resolution: the seeing of ground-based surveys is still sampled, and
    # four times as many galaxies are learned from (and predicted) in the same time.
    "default": Preset((Stage(56, 1.0, 8.0, 0.5), Stage(112, 0.5, 3.0, 0.5))),
    "published": Preset((Stage(224, 0.25, 50.0),), asinh=False, d4=0.5, rotation=0.75),
    "quick": Preset((Stage(56, 1.0, 5.0),), batch=64, mock_objects=4_096),
    # For comparisons of networks that take minutes: published turns and mirrors. Linear fluxes, of which few bright
    # pixels rule a batch, need more steps than that.
    "coarse": Preset((Stage(32, 1.75, 10.0),), batch=128, d4=0.5, rotation=0.75, mock_objects=1_024),
}
