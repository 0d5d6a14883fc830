"""Display images: colour mappings, field of view and JPEG, as image servers make them.

Channels run blue to red, values in [0, 1], row 0 = south.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from galcli.training import pixels
from galcli.training.viewer import VIEWERS

#: Part of the display images with Lupton's mapping; the others have the Legacy viewer's.
LUPTON = 0.7


def viewer_rgb(images: Tensor, front: str, pixscale: float) -> Tensor:
    """Map fluxes to colours as the Legacy viewer does (its public code; models.md 0.4).

    u_b = s_b f_b + m, v_b = max(0, u_b), I = mean v (1e-6 where 0), F = asinh(Q I) / sqrt(Q), colour = u F / I.

    Parameters
    ----------
    images : Tensor
        (n, 3, H, W) nanomaggies per pixel of the layer's bands, flux-conserved on a grid of `pixscale`.
    front : str
        ``flux:gri`` (SDSS layer) or ``flux:grz`` (DECaLS layer).
    pixscale : float
        Arcsec per pixel.

    Returns
    -------
    Tensor
        (n, 3, H, W) in [0, 1], blue to red; missing pixels count as zero flux.
    """
    viewer = VIEWERS[front]
    return pixels.viewer_rgb(torch.nan_to_num(images) * viewer.brightness(pixscale), viewer.scales, viewer.m)


def lupton_rgb(images: Tensor, scales: Tensor, q: Tensor, stretch: Tensor, keep: Tensor) -> Tensor:
    """Map fluxes to colours by the asinh of the mean (Lupton et al. 2004, PASP 116, 133, eqs. 2-4).

    Parameters
    ----------
    images : Tensor
        (n, 3, H, W) nanomaggies per pixel.
    scales : Tensor
        (n, 3) multiplier of each band.
    q, stretch : Tensor
        (n,) softening, and the scaled flux per pixel where the mapping leaves the linear range.
    keep : Tensor
        (n,) bool: scale over-bright pixels down, so that they keep their colour; otherwise they burn out to white.

    Returns
    -------
    Tensor
        (n, 3, H, W) in [0, 1].
    """
    x = torch.nan_to_num(images) * scales[:, :, None, None]
    mean = x.mean(1, keepdim=True).clamp(min=1e-9)
    q, stretch = q[:, None, None, None], stretch[:, None, None, None]
    colour = (x * (torch.asinh(q * mean / stretch) / (q * mean))).clamp(min=0.0)
    top = colour.amax(1, keepdim=True).clamp(min=1.0)
    return (colour / torch.where(keep[:, None, None, None], top, torch.ones_like(top))).clamp_(max=1.0)


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Pass images through JPEG, which leaves its blocks and its colour smear.

    Parameters
    ----------
    images : Tensor
        (n, 3, H, W) in [0, 1], blue to red.
    quality : Tensor
        (n,) JPEG quality.

    Returns
    -------
    Tensor
        (n, 3, H, W) float32 multiples of 1/255, on the device of `images`.
    """
    # JPEG wants red first, and its chroma is computed from that order; north is up in files
    bytes_in = (images.flip(1).flip(2) * 255.0).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    out = np.empty_like(bytes_in)
    for row, (picture, level) in enumerate(zip(bytes_in, quality.tolist(), strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "JPEG", quality=int(level))
        with Image.open(buffer) as image:
            out[row] = np.asarray(image)
    return torch.from_numpy(out).permute(0, 3, 1, 2).flip(1).flip(2).to(images.device, torch.float32) / 255.0


def field_of_view(images: Tensor, pixscale: float, view: Tensor, size: int) -> Tensor:
    """Cut or enlarge each image to its own field of view; values are interpolated as image servers do.

    Parameters
    ----------
    images : Tensor
        (n, C, H, W).
    pixscale : float
        Arcsec per pixel of `images`.
    view : Tensor
        (n,) side of the field wanted, arcsec; beyond the stamp the sky is 0.
    size : int
        Pixels of the result.

    Returns
    -------
    Tensor
        (n, C, size, size); averaged 2 x 2 where pixels get coarser, so that noise does not alias.
    """
    side = images.shape[-1] * pixscale
    fine = 2 if float(view.max()) / size > 1.2 * pixscale else 1
    axis = ((torch.arange(size * fine, device=images.device) + 0.5) / (size * fine) * 2.0 - 1.0)[None]
    axis = axis * (view.to(images.device)[:, None] / side)
    n, m = axis.shape
    where = torch.stack([axis[:, None, :].expand(n, m, m), axis[:, :, None].expand(n, m, m)], -1)
    mode = "bilinear" if fine > 1 else "bicubic"
    out = torch.nn.functional.grid_sample(
        torch.nan_to_num(images), where, mode=mode, padding_mode="zeros", align_corners=False
    )
    return torch.nn.functional.avg_pool2d(out, 2) if fine > 1 else out


def select(images: Tensor, bands: str, wanted: str) -> Tensor:
    """Pick bands out of (n, B, H, W).

    Raises
    ------
    ValueError
        If one is missing.
    """
    if not set(wanted) <= set(bands):
        message = f"bands {wanted} wanted, images have {bands}"
        raise ValueError(message)
    return images[:, [bands.index(band) for band in wanted]]


def r90(pop: Mapping[str, Tensor]) -> Tensor:
    """Approximate Petrosian R90, (n,) arcsec: 2.3 half-light radii of a disc, 3.3 of a bulge."""
    return pop["r50"] * (2.3 + pop["bt"])


def draw_view(pop: Mapping[str, Tensor], fixed: float, generator: torch.Generator) -> Tensor:
    """Draw fields of view, (n,) arcsec: half fixed on the sky, half 4 to 12 times R90, most of these near 5."""
    u = torch.rand(2, len(pop["r50"]), generator=generator, device=generator.device)
    return torch.where(u[0] < 0.5, fixed, (4.0 + 8.0 * u[1] ** 2) * r90(pop))


def to_rgb(
    images: Tensor,
    bands: str,
    front: str,
    pixscale: float,
    generator: torch.Generator | None = None,
    quality: tuple[int, int] | None = None,
) -> Tensor:
    """Turn stamps into display images.

    Parameters
    ----------
    images : Tensor
        (n, B, H, W) nanomaggies per pixel.
    bands : str
        Names of the B bands.
    front : str
        ``flux:gri`` or ``flux:grz`` for the viewer's mapping; ``display`` for Lupton's with random Q, stretch,
        brightness and colour balance, out of gri (or grz where there is no i).
    pixscale : float
        Arcsec per pixel.
    generator : torch.Generator, optional
        Needed by ``display`` and `quality`.
    quality : (int, int), optional
        Range of JPEG qualities; no JPEG without it.

    Returns
    -------
    Tensor
        (n, 3, H, W) float32 in [0, 1], blue to red.

    Raises
    ------
    ValueError
        If the bands do not fit, or randomness is wanted without a generator.
    """
    if generator is None and (front == "display" or quality is not None):
        raise ValueError("random mappings and JPEG qualities need a generator")
    if front == "display":
        assert generator is not None
        out = _random_lupton(images, bands, pixscale, generator)
    else:
        out = viewer_rgb(select(images, bands, "".join(VIEWERS[front].bands)), front, pixscale)
    if quality is not None:
        low, high = quality
        levels = torch.randint(low, high + 1, (len(images),), generator=generator, device=images.device)
        out = jpeg(out, levels)
    return out


def _random_lupton(images: Tensor, bands: str, pixscale: float, generator: torch.Generator) -> Tensor:
    """Lupton's mapping around the settings of public image servers."""
    front = "flux:gri" if set("gri") <= set(bands) else "flux:grz"
    viewer = VIEWERS[front]
    u = torch.rand(len(images), 8, generator=generator, device=generator.device).to(images.device)
    # Fitted by eye to SkyServer's gri cutouts and to Galaxy Zoo DECaLS' grz cutouts
    base, middle, faded = ((1.3, 1.0, 0.83), 0.65, 0.0) if front == "flux:gri" else ((1.6, 1.0, 0.65), 0.06, 0.5)
    keep = u[:, 7] < (0.6 if faded == 0.0 else 0.2)
    balance = torch.tensor(base, device=images.device) * (0.9 + 0.2 * u[:, :3])
    q, stretch = 3.5 + 6.0 * u[:, 4], middle * torch.exp(1.2 * (u[:, 5] - 0.5))
    scaled = torch.nan_to_num(select(images, bands, "".join(viewer.bands))) * viewer.brightness(pixscale)
    floor = (0.01 + faded * 0.1 * u[:, 3]) * stretch
    rgb = lupton_rgb(scaled + floor[:, None, None, None], balance, q, stretch, keep)
    grey = rgb.mean(1, keepdim=True)
    return (grey + (1.0 - faded * u[:, 6, None, None, None]) * (rgb - grey)).clamp(0.0, 1.0)


def display(
    images: Tensor,
    pop: Mapping[str, Tensor],
    bands: str,
    pixscale: float,
    size: int,
    generator: torch.Generator,
) -> Tensor:
    """Make images as they come from public image servers: random field of view, mapping and JPEG quality.

    Parameters
    ----------
    images : Tensor
        (n, B, H, W) nanomaggies per pixel.
    pop : mapping of Tensor
        Population, for the galaxies' sizes.
    bands : str
        Names of the B bands, with gri or grz among them.
    pixscale : float
        Arcsec per pixel.
    size : int
        Pixels of the result.
    generator : torch.Generator

    Returns
    -------
    Tensor
        (n, 3, size, size) float32 in [0, 1], blue to red, row 0 = south.
    """
    side = images.shape[-1] * pixscale
    view = draw_view(pop, side, generator).clamp(0.25 * side, side)
    front = "flux:gri" if set("gri") <= set(bands) else "flux:grz"
    view = view.to(images.device)
    # Servers resample the flux images or the finished colours; values per native pixel are kept either way.
    near = field_of_view(images, pixscale, view, size)
    lupton = torch.rand(len(images), generator=generator, device=generator.device).to(images.device) < LUPTON
    levels = torch.randint(70, 96, (len(images),), generator=generator, device=generator.device)
    colours = near.new_empty(len(images), 3, size, size)
    colours[lupton] = to_rgb(near[lupton], bands, "display", pixscale, generator)
    colours[~lupton] = to_rgb(near[~lupton], bands, front, pixscale)
    return jpeg(colours, levels)
