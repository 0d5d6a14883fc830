"""SFNet as it is exported: from pixels on the model's grid to the columns of the table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from galcli.training.networks.calibrated import Calibrated
from galcli.training.networks.resnet import WIDTH, cell_centers
from galcli.training.networks.sfnet import SFNet
from galcli.training.pixels import Pixels

#: Differences of line outputs that become columns of their own: [N II] - Halpha, [O III] - Hbeta.
RATIOS = ((0, 1), (2, 3))


class ExportedSFNet(nn.Module):
    """Pixels, network, error bars, domain and sparse activations in one module.

    Parameters
    ----------
    pixels : Pixels
        Colour mapping and normalisation.
    network : SFNet
        One output (metallicity), or four (lines, in the order of models.md 1.6).
    size : int
        Pixels along a side of the model's grid.
    pixel_scale : float
        Arcsec per pixel of the grid.
    """

    act_max: Tensor
    agn_weight: Tensor
    agn_bias: Tensor
    east: Tensor
    north: Tensor

    def __init__(self, pixels: Pixels, network: SFNet, size: int, pixel_scale: float) -> None:
        super().__init__()
        self.pixels, self.network = pixels, network
        self.n_out = network.fc.out_features
        self.lines = self.n_out > 1
        self.calibrated = Calibrated(WIDTH, self.n_out + (len(RATIOS) if self.lines else 0), len(pixels.fronts))
        self.set_features(torch.ones(WIDTH), torch.zeros(WIDTH), 0.0)
        # Rows go north from the south, columns go west: east is at small x.
        offset = (torch.tensor(cell_centers(size)) - (size - 1) / 2) * pixel_scale
        north, east = torch.meshgrid(offset, -offset, indexing="ij")
        self.register_buffer("north", north.flatten())
        self.register_buffer("east", east.flatten())

    def set_features(self, act_max: Tensor, agn_weight: Tensor, agn_bias: float) -> None:
        """Take over what was measured on the training sample.

        Parameters
        ----------
        act_max : Tensor (512,)
            Largest activation of each feature; 1 where it was never active.
        agn_weight : Tensor (512,)
            Weight of each (raw) activation in the AGN score.
        agn_bias : float
        """
        self.register_buffer("act_max", act_max.float())
        self.register_buffer("agn_weight", agn_weight.float())
        self.register_buffer("agn_bias", torch.tensor(agn_bias, dtype=torch.float32))

    def output_names(self) -> list[str]:
        """Names of what ``forward`` returns."""
        values = ["log_flux", "log_ratio"] if self.lines else ["z_gas"]
        parts = [name for value in values for name in (value, f"{value}_err")]
        return [
            *(f"{name}_{number}" for name in parts for number in range(self._width(name))),
            *(["agn_score", "is_agn"] if self.lines else []),
            "idx", "act", "dx", "dy", "ood", "inner/layer4", "inner/pooled",
        ]  # fmt: skip

    def _width(self, name: str) -> int:
        return len(RATIOS) if name.startswith("log_ratio") else self.n_out

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> tuple[Tensor, ...]:
        """All outputs, in the order of ``output_names``.

        Parameters
        ----------
        pixels : Tensor (N, 3, S, S)
            0 where there is no data.
        valid : Tensor (N, 1, S, S)
        front : Tensor (N,), int64
        """
        seen = self.network.explain(self.pixels(pixels, valid, front))
        error, distance = self.calibrated(seen.pooled, front)
        values = [*seen.y.unbind(1)]
        outputs = [*values, *error[:, : self.n_out].unbind(1)]
        # Padding entries (index -1) look up feature and cell 0; their results are replaced below.
        silent = seen.idx < 0
        index, cell = seen.idx.clamp(min=0), seen.cell.clamp(min=0)
        if self.lines:
            outputs += [values[first] - values[second] for first, second in RATIOS]
            outputs += [*error[:, self.n_out :].unbind(1)]
            score = (seen.values * self.agn_weight[index]).sum(1) + self.agn_bias
            outputs += [score, score > 0]
        nowhere = torch.full_like(seen.values, torch.nan)
        outputs += [
            seen.idx.to(torch.int16),
            torch.where(silent, torch.zeros_like(seen.values), seen.values / self.act_max[index]),
            torch.where(silent, nowhere, self.east[cell]),
            torch.where(silent, nowhere, self.north[cell]),
            distance, seen.maps, seen.pooled,
        ]  # fmt: skip
        return tuple(outputs)
