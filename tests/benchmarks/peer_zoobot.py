"""Zoobot's ``predict_on_catalog``, as its documentation says; runs in the Python that it is installed in.

``python peer_zoobot.py CATALOG CUTOUTS MODEL OUT``: the torch network of MODEL.safetensors, or the mean of each band
where there is no such file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from astropy.table import Table
from safetensors.torch import load_file
from torchvision.models import resnet18
from torchvision.transforms.v2 import Compose
from zoobot.pytorch.predictions import predict_on_catalog

BATCH = 64


class Network(lightning.LightningModule):
    """ResNet-18, or the mean of each band."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.network = None
        if weights.exists():
            state = load_file(weights)
            self.network = resnet18(num_classes=len(state["fc.bias"]))
            self.network.load_state_dict(state)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        """Predict a batch of images (N, 3, H, W)."""
        return batch["image"].mean(dim=(2, 3)) if self.network is None else self.network(batch["image"])


def cube(image: torch.Tensor) -> torch.Tensor:
    """Its FITS reader takes all files for single images: what it adds in front of the bands is dropped."""
    return image[0]


def main() -> None:
    """Predict every object of the catalogue."""
    catalog, cutouts, model, out = map(Path, sys.argv[1:])
    names = Table.read(catalog)["TARGETID"].tolist()
    rows = pd.DataFrame({"id_str": map(str, names), "file_loc": [f"{cutouts}/{name}.fits" for name in names]})
    predict_on_catalog.predict(
        rows,
        Network(model.with_suffix(".safetensors")),
        save_loc=str(out),
        label_cols=["PREDICTION_0", "PREDICTION_1", "PREDICTION_2"],
        inference_transform=Compose([cube]),
        datamodule_kwargs={"batch_size": BATCH, "num_workers": len(os.sched_getaffinity(0))},
        trainer_kwargs={
            "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
