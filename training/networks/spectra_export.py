"""A network from images to latents as it is exported: from fluxes on the model's grid to the columns of the table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from galcli.training.networks.calibrated import Calibrated
from galcli.training.networks.flux import FluxPixels
from galcli.training.networks.xresnet import ConvNet

#: Members of a dropout ensemble.
PASSES = 32
_SEED = 20201009


class ExportedSpectra(nn.Module):
    """Normalisation, network, error bars, domain, and the scatter of a dropout ensemble in one module.

    Parameters
    ----------
    pixels : FluxPixels
    network : ConvNet
        Prepared for export.
    latents : int
        Outputs.
    """

    masks: Tensor

    def __init__(self, pixels: FluxPixels, network: ConvNet, latents: int) -> None:
        super().__init__()
        self.pixels, self.network = pixels, network
        width, rate = network.fc.in_features, network.dropout.p
        self.ensemble = rate > 0
        self.calibrated = Calibrated(width, latents, 1)
        # The same members for every galaxy and run: a prediction must not depend on chance.
        draw = torch.rand(PASSES, width, generator=torch.Generator().manual_seed(_SEED))
        self.register_buffer("masks", (draw >= rate).float() / max(1 - rate, 1e-6))

    def output_names(self) -> list[str]:
        """Names of what ``forward`` returns."""
        return ["latent", "latent_err", *(["latent_scatter"] if self.ensemble else []), "ood",
                "inner/maps", "inner/pooled"]  # fmt: skip

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> tuple[Tensor, ...]:
        """All outputs, in the order of ``output_names``.

        Parameters
        ----------
        pixels : Tensor (N, B, S, S)
            Nanomaggies per pixel; 0 where there is no data.
        valid : Tensor (N, 1, S, S)
        front : Tensor (N,), int64
        """
        pooled, maps = self.network.features(self.pixels(pixels, valid))
        error, distance = self.calibrated(pooled, front)
        outputs = [self.network.fc(pooled), error]
        if self.ensemble:
            outputs.append(self._scatter(pooled))
        return (*outputs, distance, maps, pooled)

    def _scatter(self, pooled: Tensor) -> Tensor:
        """Standard deviation of each output (N, K) over the members of the ensemble."""
        weight = (self.network.fc.weight.unsqueeze(1) * self.masks).flatten(0, 1)
        # Members lie side by side, so that their sums do not depend on where in a batch a row stands.
        members = torch.unflatten(pooled @ weight.t(), 1, (-1, PASSES))
        scatter: Tensor = (members - members.mean(2, keepdim=True)).square().mean(2).sqrt()
        return scatter
