"""A small SFNet with random weights, images for it, and its model file."""

import numpy as np
import torch

from galcli.training import checkpoint
from galcli.training.data import Batch
from galcli.training.networks.sfnet import SFNet
from galcli.training.pixels import FRONTS, Pixels
from galcli.training.recipes.sfnet_model import export_sfnet
from galcli.training.views import Samples

SIZE, ALIVE = 64, 6


def network(n_out):
    """Random weights in which all but six features are dead, as training leaves them, and some images use fewer."""
    torch.manual_seed(n_out)
    net = SFNet(n_out, k=4)
    with torch.no_grad():
        last = net.layer4
        for norm in (last[0].bn2, last[0].downsample[1], last[1].bn2):
            norm.weight[ALIVE:] = 0
            norm.bias[ALIVE:] = 0
            norm.bias[:ALIVE] = -0.6
        net.fc.bias.fill_(8.7 if n_out == 1 else 1.0)
        net.fc.weight[:, :ALIVE] = torch.randn(n_out, ALIVE)
    return net


def images(count, seed):
    """Blobs of random place, size and colour on noise."""
    draw = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE))
    place, width = draw.uniform(8, SIZE - 8, (2, count, 1, 1)), draw.uniform(2, 12, (count, 1, 1))
    blob = np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2) / width**2)
    colour = draw.uniform(0, 0.4, (count, 3, 1, 1))
    return (blob[:, None] * colour + draw.normal(0, 0.01, (count, 3, SIZE, SIZE))).astype(np.float32)


def batches(n_out, count, seed):
    """A sample whose truth is what the network says in float32, plus noise of 0.1."""
    net = network(n_out).eval()
    pixels = Pixels(FRONTS, [0.2] * 3, [0.2] * 3)
    flux, valid, front = (
        torch.from_numpy(images(count, seed)),
        torch.ones(count, 1, SIZE, SIZE),
        torch.arange(count) % 3,
    )
    valid[::5, :, :6] = 0
    flux = flux * valid
    with torch.no_grad():
        truth = net(pixels(flux, valid, front))
    random = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(truth.shape, generator=random)
    if n_out == 4:  # line ratios on both sides of the classes' border
        noise[:, 0] -= 0.3 + truth[:, 0] - truth[:, 1] - torch.randn(count, generator=random) * 0.5
    whole = Batch(flux, valid, front, truth + noise, torch.arange(count))
    parts = zip(*(value.split(64) for value in vars(whole).values()), strict=True)
    made = [Batch(*part) for part in parts]
    return lambda: made


def samples(n_out):
    """What an export needs."""
    return Samples(batches(n_out, 120, 1), batches(n_out, 200, 2), batches(n_out, 180, 3), "blobs")


def exported(target, given, folder):
    """A model file, its card, and what was said."""
    n_out = given.test()[0].target.shape[1]
    weights = folder / f"{target}.safetensors"
    info = {
        "recipe": "sfnet", "target": target, "n_out": n_out, "k": 4, "fronts": list(FRONTS), "mean": [0.2] * 3,
        "std": [0.2] * 3, "size": SIZE, "pixel_scale": 0.262, "preset": "quick", "seed": 1, "objects": 10,
        "epochs": 1.0, "mock": True, "d4": 1.0,
    }  # fmt: skip
    checkpoint.save(weights, network(n_out).state_dict(), info)
    path = folder / f"{target}.onnx"
    lines = []
    return path, export_sfnet(weights, given, path, lines.append), lines
