"""How sparse autoencoders are built and trained (models.md 4.4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from galcli.errors import UsageError

Kind = Literal["mlp", "cnn", "fno"]
SparsityName = Literal["topk", "batchtopk", "jumprelu", "l1"]
#: What a kind is called in the paper.
TITLES: dict[str, str] = {"mlp": "SAE-MLP", "cnn": "SAE-CNN", "fno": "SAE-FNO"}


@dataclass(frozen=True)
class Design:
    """A sparse autoencoder.

    Attributes
    ----------
    kind : str
        Key of `TITLES`.
    channels : int
        Of the data.
    concepts : int
        p.
    active : int
        K: concepts per object, or per cell of a vector autoencoder.
    part : float
        rho: part of a map in which a concept may be active.
    extent : int
        fno: largest mode M; cnn: side of the kernels in cells; mlp: side of the patches in px, 1 for vectors of cells.
    sparsity : str
        topk, batchtopk, jumprelu or l1.
    penalty : float
        Of jumprelu and l1.
    lift : int
        Channels that data are lifted to; 0: none.
    """

    kind: Kind
    channels: int
    concepts: int
    active: int
    part: float
    extent: int
    sparsity: SparsityName = "topk"
    penalty: float = 0.0
    lift: int = 0

    @property
    def width(self) -> int:
        """Channels that the dictionary sees."""
        return self.lift or self.tokens

    @property
    def patch(self) -> int:
        """Side of the patches that become one cell, in px."""
        return self.extent if self.kind == "mlp" else 1

    @property
    def tokens(self) -> int:
        """Channels of a cell."""
        return self.channels * self.patch**2

    @property
    def listed(self) -> int:
        """Concepts listed per object: K where the sparsity is topk, else twice that; of vectors more may be active."""
        per_object = self.active if self.sparsity == "topk" else 2 * self.active
        return min(self.concepts, per_object)

    def told(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


#: Concepts, K, rho and extent for images of three bands. With rho = 0.1, as in models.md, an image of 144 px has a code for
#: every fourth of its pixels, and concepts become points of light; with 0.002 they are stars, discs and their directions.
_IMAGES = {"mlp": (512, 16, 1.0, 16), "cnn": (64, 8, 0.01, 11), "fno": (64, 8, 0.002, 16)}
#: Concepts per channel, K, rho and extent for inner maps; modes no more than the maps hold.
_FEATURES = {"mlp": (8, 32, 1.0, 1), "cnn": (2, 32, 1.0, 3), "fno": (2, 32, 1.0, 16)}
#: Weight of the penalties. How many concepts they leave depends on the data, and is told by the card (SAE_L0).
_PENALTIES: dict[str, float] = {"topk": 0.0, "batchtopk": 0.0, "jumprelu": 1e-2, "l1": 1e-1}


def design(
    kind: Kind, channels: int, side: int | None = None, *, concepts: int | None = None, active: int | None = None,
    lift: int | None = None, sparsity: SparsityName = "topk", penalty: float | None = None,
) -> Design:  # fmt: skip
    """The default autoencoder of a kind, changed where asked for.

    Parameters
    ----------
    kind, sparsity
        As in `Design`.
    channels : int
        Of the data.
    side : int, optional
        Cells along the shorter side of inner maps; None: images, of any size.
    concepts, active, penalty : optional
        Instead of the defaults.
    lift : int, optional
        Channels to lift to; 0: twice as many as there are.

    Raises
    ------
    UsageError
        If the numbers contradict each other.
    """
    known, per_cell, part, extent = (_IMAGES if side is None else _FEATURES)[kind]
    count = concepts or (known if side is None else known * channels)
    if kind == "fno" and side is not None:
        extent = min(extent, (side - 1) // 2)
    made = Design(kind, channels, count, active or per_cell, part, extent, sparsity,
                  _PENALTIES[sparsity] if penalty is None else penalty)  # fmt: skip
    if sparsity != "topk":
        made = replace(made, part=1.0)
    if lift is not None:
        made = replace(made, lift=lift or 2 * made.tokens)
    _require(made, penalty)
    return made


def _require(made: Design, penalty: float | None) -> None:
    if made.lift and made.sparsity == "l1":
        raise UsageError(
            "the penalty l1 means nothing in a lifted space: the way back can grow while codes shrink",
            "leave out --lift, or choose another sparsity",
        )
    if made.active > made.concepts:
        raise UsageError(f"{made.active} active concepts of {made.concepts}", "lower --active, or raise --concepts")
    if made.lift and made.lift < made.tokens:
        raise UsageError(f"data of {made.tokens} channels cannot be lifted to {made.lift}", "raise --lift")
    if penalty is not None and made.sparsity not in ("jumprelu", "l1"):
        raise UsageError(
            f"the sparsity {made.sparsity} has no penalty", "leave out --penalty, or choose l1 or jumprelu"
        )


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    objects : int
        Galaxies of the mock set, where no catalogue is given.
    epochs : float
        Passes over them.
    batch : int
        Images per step.
    tokens : int
        Cells per step of an autoencoder of vectors.
    lr, weight_decay
        Largest learning rate, in units of the scatter of the weights (0.02 is 1e-3 for vectors of 512 numbers, the rate of
        models.md 4.4, with which dictionaries of large kernels hardly move); decoupled decay.
    """

    objects: int
    epochs: float
    batch: int = 32
    tokens: int = 8192
    lr: float = 0.05
    weight_decay: float = 0.0

    def images(self, cells: int) -> int:
        """Images per step, where a vector autoencoder has that many cells per image (0: it is none)."""
        return max(1, self.tokens // cells) if cells else self.batch


PRESETS = {
    "default": Preset(20_480, 10.0),
    "published": Preset(51_200, 20.0, batch=256, lr=0.02),
    "quick": Preset(1_024, 4.0),
}
#: Grid of the stamps that autoencoders of images learn from, as it is and coarser or cropped: size in px, arcsec per px.
GRID = (144, 0.262)
#: Side of the crop and how many pixels become one: what sizes and fields an autoencoder of images is shown.
LOOKS = ((144, 1), (96, 1), (64, 1), (144, 2), (128, 2))
