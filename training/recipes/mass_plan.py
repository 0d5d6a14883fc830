"""What the stellar mass is estimated from, and how the networks are trained (models.md 2.1 to 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from galcli.errors import UsageError
from galcli.training.optim import OptimizerName, ScheduleName

#: Image bands, the one front of images, and the grid: pixels along a side and arcsec per pixel (25.3 arcsec).
BANDS = "ugriz"
FRONT = "flux:ugriz"
GRID = (64, 0.396)
#: Columns of SDSS, MPA-JHU and AllWISE. The errors of W3 are left out, as published.
MAGNITUDES = tuple(f"petroMag_{band}" for band in BANDS)
INFRARED = ("w1mpro", "w2mpro", "w3mpro", "w1sigmpro", "w2sigmpro")
ERRORS = tuple(f"petroMagErr_{band}" for band in BANDS)
OPTICAL = (*MAGNITUDES, *ERRORS)
EXTINCTION, REDSHIFT, TARGET = "EBV", "Z", "lgm_tot_p50"
MORPHOLOGY = tuple(
    f"{name}_{band}" for name in ("Sersic_n", "expAB", "petroR50", "petroR90") for band in BANDS
)  # fmt: skip
#: Columns that surveys lack together: networks learn to do without each of these groups, and without several at once. A
#: value that is missing otherwise takes with it the last group that it is of (``ClosedGaps``).
GAPS = (INFRARED, ("w1mpro", "w1sigmpro"), ("w2mpro", "w2sigmpro"), ("w3mpro",), ("w1sigmpro", "w2sigmpro"), ERRORS)
#: What a network can do without.
OPTIONAL = frozenset(name for group in GAPS for name in group)
#: Values of this size or larger mean none.
NONE_FROM = 9000.0
#: Range of log10 masses that are learned from; the authors' cuts in magnitude and redshift are the catalogue's to make.
MASSES = (6.0, 12.5)


@dataclass(frozen=True)
class Inputs:
    """What a network sees beside E(B-V).

    Attributes
    ----------
    columns : tuple of str
        Catalogue columns.
    bands : str
        Bands of images; '': none.
    normalised : bool
        Images are divided by the flux of the galaxy, band by band: they tell shapes alone.
    """

    columns: tuple[str, ...] = ()
    bands: str = ""
    normalised: bool = False

    @property
    def images(self) -> bool:
        """Whether there are any."""
        return bool(self.bands)

    @property
    def seen(self) -> tuple[str, ...]:
        """Columns that the network sees."""
        return (*self.columns, EXTINCTION)

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that are read: those seen, and the magnitudes that images are divided by."""
        divisors = tuple(f"petroMag_{band}" for band in self.bands) if self.normalised else ()
        return tuple(dict.fromkeys(self.seen + divisors))

    def __or__(self, other: Inputs) -> Inputs:
        """Both together.

        Raises
        ------
        UsageError
            If one has images as they are and the other normalised ones.
        """
        if self.images and other.images and self.normalised != other.normalised:
            raise UsageError("images as they are and normalised ones do not go together", "choose one of them")
        bands = "".join(band for band in BANDS if band in self.bands + other.bands)
        columns = tuple(dict.fromkeys(self.columns + other.columns))
        return Inputs(columns, bands, self.normalised or other.normalised)


@dataclass(frozen=True)
class Parts:
    """Inputs of a model file: one part, or two whose information is told apart.

    Attributes
    ----------
    first : Inputs
    second : Inputs or None
    names : tuple of str
        What the parts are called.
    """

    first: Inputs
    second: Inputs | None
    names: tuple[str, ...]

    @property
    def both(self) -> Inputs:
        """All inputs."""
        return self.first if self.second is None else self.first | self.second


_IMAGES = Inputs((), BANDS)
#: Published sets of inputs, and that of the shipped model `mass`: photometry and, since that tells the flux, normalised
#: images.
SETS: dict[str, Parts] = {
    "optical": Parts(Inputs(OPTICAL), None, ("optical",)),
    "optical+ir": Parts(Inputs(OPTICAL), Inputs(INFRARED), ("optical", "infrared")),
    "images": Parts(_IMAGES, None, ("images",)),
    "images+ir": Parts(_IMAGES, Inputs(INFRARED), ("images", "infrared")),
    "images+ir+z": Parts(Inputs(INFRARED, BANDS), Inputs((REDSHIFT,)), ("images+infrared", "redshift")),
    "photometry+images": Parts(Inputs(OPTICAL + INFRARED), Inputs((), BANDS, True), ("photometry", "images")),
}

Kind = Literal["mi", "scl"]
#: Latents that tell the mass (m) and all others (e) of the contrastive stage, by whether there are images.
LATENTS = {False: (8, 8), True: (16, 512)}


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    objects : int
        Galaxies of the mock set, where no catalogue is given: of columns alone, and with images.
    images : int
    batch : tuple of (int, int)
        Galaxies per step, of columns alone, and with images.
    contrastive : int
        The same of the contrastive stage, in pairs.
    epochs : tuple of (float, float)
        Passes over them: of columns alone, and with images.
    lr : tuple of (float, float)
        Largest learning rate of both.
    schedule, optimizer, weight_decay
        As in ``fit.Settings``.
    published : bool
        Numbers go in as they are, rows with missing ones are left out, networks begin by Glorot with biases of 0.1, and
        the last weights are kept. Else numbers have stored zero means and unit variances, networks begin so that signals
        keep their size, and the epoch is kept whose validation galaxies had the most probable masses.
    iterations : int or None
        Steps, instead of epochs.
    blank : float
        Part of the galaxies from which, in training and in calibration, a group of `GAPS` is taken; each group by itself.
    """

    objects: int
    images: int
    batch: tuple[int, int] = (128, 16)
    contrastive: int = 64
    epochs: tuple[float, float] = (60.0, 3.0)
    lr: tuple[float, float] = (1e-3, 3e-4)
    schedule: ScheduleName = "warm_cosine"
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 1e-2
    published: bool = False
    iterations: int | None = None
    blank: float = 0.1

    def length(self, images: bool) -> float:
        """Passes over the galaxies."""
        return self.epochs[images]

    def base(self, inputs: Inputs) -> Inputs | None:
        """Columns whose network comes first, and is corrected by what images tell beside them; None: there is none."""
        return Inputs(inputs.columns) if inputs.images and inputs.columns and not self.published else None

    def told(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


PRESETS = {
    "default": Preset(65_536, 40_960),
    "published": Preset(393_219, 393_219, (128, 128), lr=(1e-4, 1e-4), schedule="third", optimizer="adam",
                        weight_decay=0.0, published=True, iterations=180_000, blank=0.0),
    "quick": Preset(8_192, 1_024, epochs=(12.0, 2.0)),
}  # fmt: skip
