"""``galcli train vae``: six numbers that describe a galaxy's spectrum (models.md 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from galcli.errors import UsageError
from galcli.training import checkpoint
from galcli.training.devices import pick_device
from galcli.training.fit import STATE, require_new
from galcli.training.networks.vae import SpectrumVAE, loss_of
from galcli.training.plateau import PlateauFit, Settings
from galcli.training.progress import say
from galcli.training.recipes import vae_data, vae_export
from galcli.training.recipes.vae_data import Sample

WEIGHTS, METRICS = "weights.safetensors", "metrics.json"


@dataclass(frozen=True)
class Preset:
    """How to train.

    Attributes
    ----------
    latents : int
        L of the autoencoder.
    components : int or None
        Principal components of the latents that are the numbers of a spectrum; None: the latents themselves.
    mmd_weight, alpha : float
        lambda and alpha of the loss.
    epochs : int
        At most.
    mock_objects : int
        Spectra of the mock set, where no files are given.
    """

    latents: int = 6
    components: int | None = None
    mmd_weight: float = 100.0
    alpha: float = 0.9
    epochs: int = 200
    mock_objects: int = 60_000


PRESETS = {
    "l6": Preset(),
    # What the authors of the images' network used (models.md 3.2): ten latents, of which six principal components were
    # predicted; the plain divergence (alpha = 0). Their lambda is not told, but for a search from 1 to 10^5.
    "published": Preset(latents=10, components=6, mmd_weight=1e3, alpha=0.0),
    "quick": Preset(epochs=12, mock_objects=6_000),
}


def train_vae(
    out: Path, *, spectra: Sequence[str | Path] = (), preset: str = "l6", seed: int = 256, resume: bool = False,
    objects: int | None = None, device: str = "auto",
) -> Path:  # fmt: skip
    """Train the autoencoder and export encoder and decoder.

    Parameters
    ----------
    out : Path
        Folder for the state, the weights, the metrics and the two model files.
    spectra : sequence of str or Path
        Files of SDSS, DESI or the mock survey, their folders, globs; none: mock spectra are drawn.
    preset : str
        Key of ``PRESETS``.
    seed : int
        Of the mock survey, the split, the weights and every epoch.
    resume : bool
        Go on from the state in ``out``.
    objects : int, optional
        Mock spectra, or spectra of files at most; without it the preset's number, or all.
    device : 'auto', 'cpu' or 'cuda'

    Returns
    -------
    Path
        The decoder, beside which lies the encoder.

    Raises
    ------
    UsageError
        For an unknown preset.
    InputError
        If too few spectra can be used, or they leave out wavelengths.
    Interrupted
        After a signal; ``resume`` goes on.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}", f"known: {', '.join(PRESETS)}")
    plan = PRESETS[preset]
    if not resume:
        require_new(out)
    elif not (out / STATE).exists():
        say(f"{out} holds no training to go on with: it begins")
    if not spectra:
        say("no spectra given: training on the mock survey")
    sample = vae_data.gather(spectra, objects if spectra else objects or plan.mock_objects, seed)
    good, believed = sample.spectra.good.mean(), sample.spectra.believed.mean()
    say(
        f"{len(sample.spectra)} spectra, {good:.0%} of the grid with data, {believed:.0%} with errors that are believed"
    )
    torch.manual_seed(seed)
    module = SpectrumVAE(plan.latents)
    where = pick_device(device)
    identity = {
        "preset": preset, "plan": asdict(plan), "seed": seed, "data": sample.name, "objects": len(sample.spectra),
        "digest": sample.digest,
    }  # fmt: skip
    fit = _fit(module.to(where), sample, plan, Settings(epochs=plan.epochs, seed=seed, identity=identity), out)
    progress = fit.run(resume)
    say(f"{progress.epoch} epochs in {progress.seconds / 60:.1f} min, held-out loss {progress.best:.1f} per spectrum")
    facts = identity | {
        "recipe": "vae", "mock": sample.mock, "epochs": progress.epoch, "learned": len(sample.rows(held=False)),
    }  # fmt: skip
    module = module.cpu().eval()
    checkpoint.save(out / WEIGHTS, module.state_dict(), facts)
    decoder, metrics = vae_export.export_vae(module, sample, plan.components, facts, out)
    # Equal trainings give equal models: the time stands in no other file.
    told = facts | {"seconds": round(progress.seconds, 1)}
    checkpoint.write_json(out / METRICS, {"training": told, "metrics": metrics, "curve": progress.curve})
    return decoder


def _fit(module: SpectrumVAE, sample: Sample, plan: Preset, settings: Settings, out: Path) -> PlateauFit:
    device = next(module.parameters()).device
    x = torch.from_numpy(sample.filled - sample.mean)
    weight = torch.from_numpy(sample.weight)

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        return loss_of(module, x[rows].to(device), weight[rows].to(device), plan.mmd_weight, plan.alpha, random)

    learned, held = (torch.from_numpy(sample.rows(held)) for held in (False, True))
    return PlateauFit(module, loss, learned, held, settings, out)
