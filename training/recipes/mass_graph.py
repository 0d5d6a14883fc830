"""Networks for stellar mass as they are exported: three posteriors, and what each tells that the others do not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.networks.calibrated import LANES, Calibrated
from galcli.training.networks.mass import BINS, LOWEST, STEP, centres
from galcli.training.networks.mass_inputs import MISSING
from galcli.training.recipes.mass_network import Prepared

#: Log posterior of the idle bins that fill registers, in which nothing is.
_NOTHING = -1e4
#: Quantiles of the columns LOGM_P16, LOGM_MEDIAN and LOGM_P84.
QUANTILES = (0.16, 0.5, 0.84)


class Posterior(nn.Module):
    """Log posterior of one network, at a temperature that makes it honest.

    Parameters
    ----------
    prepared : Prepared
    """

    temperature: Tensor

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self.prepared = prepared
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, images: Tensor | None, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Log posterior (N, 528; the last eight bins are empty) and features (N, C)."""
        network = self.prepared.network
        features = network.features(images, numbers)
        logits = network.logits(network.encoder.latents(features), numbers) / self.temperature
        idle = -BINS % LANES  # sums over bins that fill registers do not depend on where in a batch a row stands
        return functional.pad(logits, (0, idle), value=_NOTHING).log_softmax(1), features


class Quantile(nn.Module):
    """log M* below which a part of the probability lies; linear inside of a bin."""

    edges: Tensor

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, below: Tensor) -> Tensor:
        """Quantile (N,) of cumulative probabilities (N, B) at the upper edges of the bins."""
        place = (below < self.level).sum(1, keepdim=True).clamp(max=BINS - 1)  # the bin that holds the level
        high = below.gather(1, place)
        low = torch.where(place > 0, below.gather(1, (place - 1).clamp(min=0)), torch.zeros_like(high))
        inside = ((self.level - low) / (high - low).clamp(min=1e-30)).clamp(0, 1)
        return (LOWEST + STEP * (place.to(below.dtype) + inside))[:, 0]


class ExportedMass(nn.Module):
    """Posterior from all inputs, its points and intervals, and the expected information of the parts.

    Parameters
    ----------
    both : Posterior
        From all inputs.
    parts : sequence of Posterior
        From the two parts of the inputs; none where there is one.
    prior : sequence of 520 floats
        Log of the part of the training galaxies in each bin.
    representation : Prepared, optional
        Network of the contrastive stage, whose latents are given too.
    """

    prior: Tensor
    middle: Tensor

    def __init__(
        self, both: Posterior, parts: Sequence[Posterior], prior: Sequence[float],
        representation: Prepared | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.both, self.parts, self.representation = both, nn.ModuleList(parts), representation
        idle = -BINS % LANES
        self.register_buffer("prior", torch.tensor([*prior, *[0.0] * idle], dtype=torch.float32))
        self.register_buffer("middle", torch.cat([centres().float(), torch.zeros(idle)]))
        self.quantiles = nn.ModuleList(Quantile(level) for level in QUANTILES)
        network = both.prepared.network
        width = network.encoder.latents.in_features + both.prepared.prepare.columns.mean.numel()
        self.calibrated = Calibrated(width, 1, 1)

    def output_names(self) -> list[str]:
        """Names of what ``forward`` returns."""
        told = ["mi_x1", "mi_x2", "mi_x12", "red", "unq1", "unq2", "syn", "pair", "inner/log1", "inner/log2"]
        latent = ["scl_latent"] if self.representation is not None else []
        return ["mean", "err", "mode", "p16", "median", "p84", "pdf", "ood", "inner/features", "inner/log12",
                *(told if self.parts else []), *latent]  # fmt: skip

    def said(self, pixels: Tensor | None, valid: Tensor | None, front: Tensor, columns: Tensor) -> tuple[Tensor, ...]:
        """All outputs, in the order of ``output_names``."""
        images, numbers = self.both.prepared.prepare(pixels, valid, columns)
        log, features = self.both(images, numbers)
        there = torch.where(numbers == MISSING, torch.zeros_like(numbers), numbers)
        features = torch.cat([there, features], 1)  # lacking what it learned to do without makes no galaxy odd
        error, distance = self.calibrated(features, front)
        p = log.exp()
        below = p[:, :BINS].cumsum(1)
        low, median, high = (quantile(below) for quantile in self.quantiles)
        outputs = [(p * self.middle).sum(1), error[:, 0], self.middle[log.argmax(1)], low, median, high, p[:, :BINS],
                   distance, features, log[:, :BINS]]  # fmt: skip
        if self.parts:
            first, second = (self._log(part, pixels, valid, columns) for part in self.parts)
            outputs += [*self._information(first, second, log), first[:, :BINS], second[:, :BINS]]
        if self.representation is not None:
            outputs.append(self.representation(pixels, valid, columns)[1])
        return tuple(outputs)

    def _log(self, part: nn.Module, pixels: Tensor | None, valid: Tensor | None, columns: Tensor) -> Tensor:
        """Log posterior of a part of the inputs."""
        assert isinstance(part, Posterior)
        log: Tensor = part(*part.prepared.prepare(pixels, valid, columns))[0]
        return log

    def _information(self, first: Tensor, second: Tensor, both: Tensor) -> list[Tensor]:
        """Expected information of log posteriors [nat], its parts, and the number of the pair."""
        one, two, union = ((log.exp() * (log - self.prior)).sum(1) for log in (first, second, both))
        least, most = torch.minimum(one, two), torch.maximum(one, two)
        pair = torch.zeros_like(one, dtype=torch.int64)
        return [one, two, union, least, one - least, two - least, union - most, pair]


class ExportedColumns(ExportedMass):
    """`ExportedMass` of catalogue columns alone."""

    def forward(self, columns: Tensor) -> tuple[Tensor, ...]:
        """All outputs of columns (N, K), NaN where there is no value."""
        return self.said(None, None, torch.zeros_like(columns[:, 0], dtype=torch.int64), columns)


class ExportedImages(ExportedMass):
    """`ExportedMass` of images and columns."""

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor, columns: Tensor) -> tuple[Tensor, ...]:
        """All outputs.

        Parameters
        ----------
        pixels : Tensor (N, 5, 64, 64)
            Nanomaggies per pixel; 0 where there is no data.
        valid : Tensor (N, 1, 64, 64)
        front : Tensor (N,), int64
            There is one.
        columns : Tensor (N, K)
        """
        return self.said(pixels, valid, front, columns)
