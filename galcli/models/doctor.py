"""What is good and what is wrong with an installation."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from galcli import __version__
from galcli.errors import GalcliError
from galcli.models import library, runtime, session

#: Libraries whose versions matter in a bug report.
LIBRARIES = ("numpy", "astropy", "fitsio", "healpy", "pandas", "pillow", "pydantic", "click", "rich")
TRAINING = ("torch", "lightning-fabric", "pytorch-optimizer", "torchmetrics", "scikit-learn", "onnx", "safetensors")


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes
    ----------
    verdict : 'good', 'note' or 'bad'
    what : str
    hint : str
        What to do, where something is to be done.
    """

    verdict: Literal["good", "note", "bad"]
    what: str
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def examine() -> list[Finding]:
    """Look at Python, libraries, onnxruntime and its devices, the shipped models and the disk."""
    findings = [Finding("good", f"galcli {__version__}, Python {platform.python_version()}, {platform.platform()}")]
    findings.append(_libraries())
    findings += _runtime()
    findings += _models()
    findings += [_training(), _cluster()]
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    findings.append(Finding("good" if free > 1 else "note", f"{free:.1f} GB free in {Path.cwd()}"))
    return findings


def installed(distribution: str) -> str | None:
    """Version of an installed distribution, None where it is absent."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libraries() -> Finding:
    versions = {name: installed(name) for name in LIBRARIES}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Finding("bad", f"missing: {', '.join(missing)}", "install galcli again with pip")
    return Finding("good", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _runtime() -> list[Finding]:
    plain, gpu = installed("onnxruntime"), installed("onnxruntime-gpu")
    findings = []
    if plain and gpu:
        findings.append(
            Finding(
                "bad",
                f"onnxruntime {plain} and onnxruntime-gpu {gpu} are both installed and overwrite each other's files",
                f"{sys.executable} -m pip uninstall -y onnxruntime onnxruntime-gpu; {sys.executable} -m pip install galcli",
            )
        )
    try:
        loaded = runtime.version()
    except ImportError as error:
        return [*findings, Finding("bad", f"onnxruntime cannot be loaded: {error}", "install galcli again with pip")]
    findings.append(Finding("good", f"onnxruntime{'-gpu' if gpu else ''} {loaded}"))
    for device in ("cuda", "tensorrt"):
        try:
            session.open_resampler(device)
        except GalcliError as error:
            findings.append(Finding("note", error.message, error.hint))
        else:
            findings.append(Finding("good", f"{device} works"))
    try:
        session.open_resampler("cpu")
    except GalcliError as error:
        findings.append(Finding("bad", f"the CPU does not work: {error.message}", error.hint))
    else:
        findings.append(Finding("good", "cpu works"))
    return findings


def _models() -> list[Finding]:
    try:
        problems = library.verify()
    except GalcliError as error:
        return [Finding("bad", error.message, error.hint)]
    if not problems:
        return [Finding("note", "no model is shipped with this installation", "train one, or give --model PATH")]
    return [
        Finding("bad", f"model {name}: {problem}", "install galcli again") if problem
        else Finding("good", f"model {name}: SHA-256, card and graph fit")
        for name, problem in problems.items()
    ]  # fmt: skip


def _training() -> Finding:
    versions = {name: installed(name) for name in TRAINING}
    if all(versions.values()):
        return Finding("good", "training: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    missing = ", ".join(name for name, version in versions.items() if version is None)
    return Finding(
        "note", f"galcli train and mock are not available (missing: {missing})", "pip install 'galcli[train]'"
    )


def _cluster() -> Finding:
    parsl = installed("parsl")
    if parsl is None:
        return Finding(
            "note", "galcli predict --site is not available (missing: parsl)", "pip install 'galcli[cluster]'"
        )
    batch = "sbatch is here" if shutil.which("sbatch") else "no sbatch on this machine, so no --site slurm from here"
    return Finding("good", f"cluster: parsl {parsl}; {batch}")
