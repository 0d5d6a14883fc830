"""What all peers are given: one survey, as a file per object and as one stack, and two models."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import onnx
import torch
from torch import Tensor, nn

from galcli.cutouts.stack_write import write_stack
from galcli.models.card import Card
from galcli.sky import healpix
from galcli.training.export import save, to_onnx
from galcli.training.networks.resnet import ResNet18
from galcli.training.quantise import measure_ranges, quantise
from tests.average import card, write_average
from tests.benchmarks.survey import BANDS, SCALE, noise

SIDE, OUTPUTS = 144, 3


@dataclass(frozen=True)
class PeerSurvey:
    """Files of a survey.

    Attributes
    ----------
    catalog : Path
        TARGETID, RA, DEC, and FILE, the name of the object's file.
    one : Path
        The same with the first object only.
    files : Path
        Folder of a FITS file per object.
    stack : Path
        The same cutouts in one file, in the same order.
    """

    catalog: Path
    one: Path
    files: Path
    stack: Path


def write_survey(folder: Path, objects: int) -> PeerSurvey:
    """Write objects all over the sky, listed along it as by brick, with cutouts of ``SIDE`` pixels in three bands."""
    survey = PeerSurvey(folder / "catalog.fits", folder / "one.fits", folder / "files", folder / "stack.fits")
    survey.files.mkdir(parents=True)
    ra, dec = healpix.center(20, np.sort(np.random.default_rng(0).integers(0, 12 << 40, objects)))
    ids = np.arange(objects) + 10**9
    pixels = noise(objects, SIDE, seed=0)
    cards = [
        {"name": "BANDS", "value": BANDS},
        {"name": "BUNIT", "value": "nanomaggy"},
        {"name": "PIXSCALE", "value": SCALE},
    ]
    for number, cutout in zip(ids, pixels, strict=True):
        fitsio.write(survey.files / f"{number}.fits", cutout, header=cards)
    write_stack(survey.stack, ids, ra, dec, pixels, BANDS, SCALE)
    columns = [ids, ra, dec, np.array([f"{number}.fits" for number in ids], "S")]
    for path, rows in ((survey.catalog, slice(None)), (survey.one, slice(1))):
        fitsio.write(path, [column[rows] for column in columns], names=["TARGETID", "RA", "DEC", "FILE"])
    return survey


class _Network(nn.Module):
    """ResNet-18 behind the inputs that every model file has."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ResNet18(OUTPUTS)

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """(N, OUTPUTS) from pixels (N, 3, H, W); the network knows no mask and one colour mapping."""
        del valid, front
        out: Tensor = self.network(pixels)
        return out


def write_models(folder: Path) -> tuple[Path, Path]:
    """A ResNet-18 with random weights, also as ``resnet18.safetensors`` with torchvision's names, and an average."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network, path = _Network().eval(), folder / "resnet18.onnx"
    save_file(network.network.state_dict(), path.with_suffix(".safetensors"))
    example = {
        "pixels": torch.zeros(2, 3, SIDE, SIDE),
        "valid": torch.ones(2, 1, SIDE, SIDE),
        "front": torch.zeros(2, dtype=torch.int64),
    }
    output = {
        "tensor": "out", "column": "NET_OUT", "dtype": "f4", "shape": [OUTPUTS], "description": "of random weights",
    }  # fmt: skip
    described = card(SIDE, SCALE, name="resnet18", prefix="NET", outputs=[output], description="ResNet-18, untrained")
    graph = to_onnx(network, example, ["out"])
    save(graph, Card(**described), path)
    _write_twin(graph, described, path)
    return path, write_average(folder / "average.onnx", size=SIDE)


def _write_twin(graph: onnx.ModelProto, described: dict[str, Any], path: Path) -> None:
    """The int8 twin of the network."""
    feeds = {
        "pixels": noise(64, SIDE, seed=1),
        "valid": np.ones((64, 1, SIDE, SIDE), np.float32),
        "front": np.zeros(64, np.int64),
    }
    twin = quantise(graph, measure_ranges(graph, [feeds]))
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    save(twin, Card(**described, precision="int8", twin_of=whole), twin_of(path))


def twin_of(model: Path) -> Path:
    """Where the int8 twin of a model lies."""
    return model.with_name(f"{model.stem}-int8.onnx")
