"""A network for stellar mass with what comes before it: from columns and fluxes to the posterior (models.md 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from galcli.training.networks.inception import ImageDecoder, ImageEncoder
from galcli.training.networks.mass import Estimator, PhotometryDecoder, PhotometryEncoder, initialise
from galcli.training.networks.mass_inputs import ClosedGaps, MassPixels, StandardColumns
from galcli.training.recipes.mass_plan import BANDS, GAPS, LATENTS, Inputs, Kind


@dataclass(frozen=True)
class Scales:
    """What the inputs are brought to zero mean and unit variance with; measured on training galaxies.

    Attributes
    ----------
    columns : list of (float, float)
        Mean and standard deviation of each column that the network sees.
    pixels : dict of str to list of float
        Arguments of ``MassPixels``; empty without images.
    """

    columns: list[tuple[float, float]]
    pixels: dict[str, list[float]]

    @classmethod
    def of(cls, told: dict[str, Any]) -> Scales:
        """From its JSON-able form."""
        return cls([(mean, std) for mean, std in told["columns"]], told["pixels"])

    def told(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"columns": [list(pair) for pair in self.columns], "pixels": self.pixels}


class Prepare(nn.Module):
    """Columns and fluxes as the networks take them.

    Parameters
    ----------
    inputs : Inputs
    names : tuple of str
        Columns in the order in which they come.
    scales : Scales
    """

    seen: Tensor
    divisors: Tensor
    bands: Tensor

    def __init__(self, inputs: Inputs, names: tuple[str, ...], scales: Scales) -> None:
        super().__init__()
        self.gaps = ClosedGaps(inputs.seen, GAPS)
        self.columns = StandardColumns(*zip(*scales.columns, strict=True))
        self.pixels = MassPixels(**scales.pixels) if inputs.images else None
        places = {
            "seen": [names.index(name) for name in inputs.seen],
            "divisors": [names.index(f"petroMag_{band}") for band in inputs.bands] if inputs.normalised else [],
            "bands": [BANDS.index(band) for band in inputs.bands],
        }
        for name, values in places.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)

    def forward(self, pixels: Tensor, valid: Tensor, columns: Tensor) -> tuple[Tensor | None, Tensor]:
        """Images (N, bands, 64, 64), if any, and numbers (N, seen).

        Parameters
        ----------
        pixels : Tensor (N, 5, 64, 64)
            Nanomaggies per pixel.
        valid : Tensor (N, 1, 64, 64)
        columns : Tensor (N, K)
            NaN is a missing value.
        """
        numbers = self.columns(self.gaps(columns[:, self.seen]))
        if self.pixels is None:
            return None, numbers
        magnitudes = columns[:, self.divisors] if self.pixels.normalised else None
        return self.pixels(pixels[:, self.bands], valid, magnitudes), numbers


class MassNetwork(nn.Module):
    """Encoder and estimator; of the contrastive stage also the decoder.

    Parameters
    ----------
    inputs : Inputs
    kind : 'mi' or 'scl'
        Of the latents, 'mi' has only those that tell the mass.
    corrects : bool
        Its logits are added to those of a network of the columns alone, which does not learn any more: images come to what
        columns tell, and do not have to tell it anew.
    """

    def __init__(self, inputs: Inputs, kind: Kind, corrects: bool = False) -> None:
        super().__init__()
        tell, others = LATENTS[inputs.images]
        latents, numbers = tell + (others if kind == "scl" else 0), len(inputs.seen)
        self.decoder: nn.Module | None = None
        if inputs.images:
            self.encoder: ImageEncoder | PhotometryEncoder = ImageEncoder(len(inputs.bands), numbers, latents)
            if kind == "scl":
                self.decoder = ImageDecoder(latents, len(inputs.bands))
        else:
            self.encoder = PhotometryEncoder(numbers, latents)
            if kind == "scl":
                self.decoder = PhotometryDecoder(latents, len(inputs.columns))
        self.estimator = Estimator(tell, inputs.images)
        self.images = inputs.images
        self.base = MassNetwork(Inputs(inputs.columns), kind).requires_grad_(False) if corrects else None
        initialise(self)

    def features(self, images: Tensor | None, numbers: Tensor) -> Tensor:
        """What the latents are read from, (N, C)."""
        if images is None:
            assert isinstance(self.encoder, PhotometryEncoder)
            return self.encoder.features(numbers)
        assert isinstance(self.encoder, ImageEncoder)
        return self.encoder.features(images, numbers)

    def encode(self, images: Tensor | None, numbers: Tensor) -> Tensor:
        """Latents (N, m + e)."""
        latents: Tensor = self.encoder.latents(self.features(images, numbers))
        return latents

    def logits(self, latents: Tensor, numbers: Tensor) -> Tensor:
        """Logits (N, 520) of latents (N, m + e) and of the numbers (N, seen) that they were read from."""
        logits: Tensor = self.estimator(latents)
        if self.base is None:
            return logits
        known: Tensor = self.base(None, numbers)[0]
        return known + logits

    def forward(self, images: Tensor | None, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 520) and the latents that tell the mass (N, m)."""
        latents = self.encode(images, numbers)
        return self.logits(latents, numbers), latents[:, : self.estimator.latents]


class Prepared(nn.Module):
    """`Prepare` and `MassNetwork` in one module: what is trained and stored.

    Parameters
    ----------
    prepare : Prepare
    network : MassNetwork
    """

    def __init__(self, prepare: Prepare, network: MassNetwork) -> None:
        super().__init__()
        self.prepare, self.network = prepare, network

    def forward(self, pixels: Tensor, valid: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 520) and the latents that tell the mass (N, m); arguments as for `Prepare`."""
        found: tuple[Tensor, Tensor] = self.network(*self.prepare(pixels, valid, columns))
        return found
