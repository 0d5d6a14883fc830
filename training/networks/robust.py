"""Images brought to signal over noise, each by its own border: the input of autoencoders of cutouts (models.md 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from galcli.training.pixels import DISPLAY

#: Pixels along each edge from which sky and noise are measured.
BORDER = 4
#: Standard deviation of a normal distribution over its median absolute deviation.
NORMAL = 1.4826
#: Least noise of display images: they have 8 bits.
STEP = 1 / 255
_LARGE = 3e38


class RobustPixels(nn.Module):
    """asinh((x - sky) / noise) of every band; sky and noise are median and 1.4826 MAD of the border's pixels.

    Where the border does not vary, the noise is the scatter of the whole band about the sky, so that nothing is divided
    by 0. Pixels without data are sky.

    Parameters
    ----------
    fronts : sequence of str
        Names in the order of the ``front`` input.
    """

    least: Tensor

    def __init__(self, fronts: Sequence[str]) -> None:
        super().__init__()
        self.fronts = tuple(fronts)
        least = torch.tensor([STEP if name == DISPLAY else 0.0 for name in fronts])
        self.register_buffer("least", least, persistent=False)

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """Signal over noise (N, B, H, W), float32.

        Parameters
        ----------
        pixels : Tensor (N, B, H, W), float32
            Nanomaggies per pixel, or 0 to 1 for the display front; H and W above twice `BORDER`.
        valid : Tensor (N, 1, H, W), float32
            1 where there is data.
        front : Tensor (N,), int64
            Position in ``fronts``.
        """
        edge, known = _border(pixels), _border(valid) > 0.5
        sky = _median(edge, known)
        noise = NORMAL * _median((edge - sky).abs(), known)
        noise = torch.maximum(noise, self.least[front].reshape(-1, 1, 1))
        data = (valid > 0.5).to(pixels.dtype)
        about = (pixels - sky.unsqueeze(3)) * data
        count = data.flatten(2).sum(2, keepdim=True).clamp_min(1)
        scatter = (about.square().flatten(2).sum(2, keepdim=True) / count).sqrt()
        noise = torch.where(noise > 0, noise, torch.where(scatter > 0, scatter, 1.0))
        return torch.asinh(about / noise.unsqueeze(3))


def _border(maps: Tensor) -> Tensor:
    """Pixels along the edges, (N, C, L)."""
    inner = maps[:, :, BORDER:-BORDER]
    parts = (maps[:, :, :BORDER], maps[:, :, -BORDER:], inner[..., :BORDER], inner[..., -BORDER:])
    return torch.cat([part.flatten(2) for part in parts], 2)


def _median(values: Tensor, known: Tensor) -> Tensor:
    """Lower median (N, C, 1) of the known ones of values (N, C, L); 0 where none is."""
    count = known.sum(2, keepdim=True)  # (N, 1, 1)
    ordered = torch.where(known, values, _LARGE).sort(2).values
    place = ((count - 1) // 2).clamp(min=0).expand(-1, values.shape[1], -1)
    return torch.where(count > 0, ordered.gather(2, place), 0.0)
