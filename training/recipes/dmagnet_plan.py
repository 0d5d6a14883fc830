"""How networks of galaxy morphology are trained (models.md 5.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from galcli.training.data import Looks
from galcli.training.randomise import Variety
from galcli.training.recipes.stages import Stage

#: Turns of any angle and display images as they are, as published.
PUBLISHED = Variety(turn=180.0, zoom=1.0, blur=0.0, noise=0.0, gain=0.0, colour=0.0, background=0.0, neighbours=0.0)


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    stages : tuple of Stage
        One after the other under one schedule; the last one is the grid of the model, the others whole multiples of
        its pixel scale. Their epochs are those of the mock set; smaller sets are passed more often, so that as many
        images are seen.
    batch, lr, weight_decay
        Objects per step; largest learning rate; decoupled decay.
    display : float
        Part of the flux stamps seen as display images.
    servers : bool
        Those come as image servers make them (else by the viewer's own mapping in 8 bits).
    variety : Variety
        Domain randomisation.
    mock_objects : int
        Galaxies of the mock set, where no catalogue is given.
    smallest : float
        Least half-light radius [arcsec] of mock galaxies: smaller ones do not show their class on this grid.
    goes_on : bool
        It starts from the weights of an earlier training.
    """

    stages: tuple[Stage, ...]
    batch: int = 64
    lr: float = 3e-4
    weight_decay: float = 0.05
    display: float = 1 / 3
    servers: bool = True
    variety: Variety = field(default_factory=Variety)
    mock_objects: int = 81_920
    smallest: float = 3.5
    goes_on: bool = False

    @property
    def looks(self) -> Looks:
        """How galaxies are shown in training."""
        return Looks(display=self.display, servers=self.servers, variety=self.variety)


#: The published field of view, 67 arcsec, at half the resolution: four times as many galaxies in the same time.
FINAL = (128, 0.524)

PRESETS = {
    "default": Preset((Stage(64, 1.048, 2.1, 0.4), Stage(*FINAL, 2.05, 0.6))),
    "finetune": Preset((Stage(*FINAL, 2.05),), lr=1.5e-4, goes_on=True),
    # As the authors trained on Galaxy10 (11,487 galaxies), as far as their paper tells: it names neither epochs nor
    # optimiser, rate or batch, which are ours.
    "published": Preset(
        (Stage(256, 0.262, 80.0),), display=1.0, servers=False, variety=PUBLISHED, mock_objects=12_763, smallest=0.0
    ),
    "quick": Preset((Stage(64, 1.048, 4.0),), mock_objects=6_144),
}
