"""Where the workers of a run stand: site profiles, small TOML files."""

from __future__ import annotations

import importlib.resources
import importlib.util
import shutil
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galcli.errors import DeviceError, UsageError
from galcli.predict.options import PredictOptions

#: Part of a job's time after which its workers take no more tiles, so that none is cut off by the end of the job.
DRAINED = 0.9
_SHIPPED = importlib.resources.files("galcli").joinpath("sites")


class Site(BaseModel):
    """A profile: what to ask of a batch system, and how many workers to start on what it gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Literal["local", "slurm"] = Field(description="who starts the workers: this machine, or SLURM")
    device: Literal["cpu", "cuda", "tensorrt"] = Field(default="cpu", description="on what the models run")
    jobs: int = Field(default=1, ge=1, description="jobs at a time")
    nodes: int = Field(default=1, ge=1, description="nodes of each job")
    workers_per_node: int | None = Field(default=None, ge=1, description="without it one per GPU, or one")
    gpus_per_node: int = Field(default=0, ge=0, description="each worker gets one of them for itself")
    threads: int = Field(default=0, ge=0, description="threads of a worker's models; 0: its part of the cores")
    walltime: str = Field(default="01:00:00", pattern="^[0-9]+:[0-5][0-9]:[0-5][0-9]$", description="of a job, H:MM:SS")
    partition: str | None = Field(default=None, description="as for sbatch")
    account: str | None = Field(default=None, description="as for sbatch")
    qos: str | None = Field(default=None, description="as for sbatch")
    constraint: str | None = Field(default=None, description="as for sbatch")
    exclusive: bool = Field(default=True, description="ask for nodes that no other job shares")
    scheduler_options: str = Field(default="", description="further lines of the job's script, such as #SBATCH --mem=0")
    worker_init: str = Field(default="", description="shell commands before a worker starts, such as module load")

    @property
    def workers(self) -> int:
        """Workers on a node."""
        return self.workers_per_node or self.gpus_per_node or 1

    @property
    def drain_seconds(self) -> int:
        """Seconds after which a job's workers take no more tiles."""
        hours, minutes, seconds = map(int, self.walltime.split(":"))
        return max(int(DRAINED * (3600 * hours + 60 * minutes + seconds)), 1)

    def describe(self) -> str:
        """One line for people."""
        jobs = f"{self.jobs} job{'s' * (self.jobs > 1)} of {self.nodes} node{'s' * (self.nodes > 1)}"
        return f"{self.provider}, {jobs} with {self.workers} worker{'s' * (self.workers > 1)} each"


def load_site(options: PredictOptions) -> Site | None:
    """The site of a run; what stands on the command line wins over the profile.

    Returns
    -------
    Site, or None
        None where no site is asked for.

    Raises
    ------
    UsageError
        If there is no such profile, or something in it is wrong.
    """
    if options.site is None:
        return None
    text, where = _read(options.site)
    try:
        given = tomllib.loads(text)
        chosen = {
            "device": options.device if options.device != "auto" else None,
            "workers_per_node": options.workers,
            "threads": options.threads or None,
        }
        site = Site.model_validate(given | {name: value for name, value in chosen.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is no TOML: {error}", 'lines of a profile look like: partition = "gpu"') from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the profile"
        known = ", ".join(Site.model_fields)
        raise UsageError(f"{where}: {name}: {first['msg']}", f"a profile may hold {known}") from error
    if site.gpus_per_node and site.workers > site.gpus_per_node:
        raise UsageError(
            f"{where}: {site.workers} workers share {site.gpus_per_node} GPUs",
            "each worker has a GPU of its own: let workers_per_node be at most gpus_per_node",
        )
    if site.device != "cpu" and not site.gpus_per_node:
        raise UsageError(f"{where}: device {site.device}, and no GPUs", "say how many a node has: gpus_per_node = 1")
    return site


def require_means(site: Site) -> None:
    """Refuse a site that nothing on this machine can start.

    Raises
    ------
    DeviceError
    """
    if importlib.util.find_spec("parsl") is None:
        raise DeviceError("--site needs Parsl, which is not installed", "pip install 'galcli[cluster]'")
    if site.provider == "slurm" and shutil.which("sbatch") is None:
        raise DeviceError(
            "there is no sbatch on this machine, by which SLURM is asked for workers",
            "give the command on a login node of the cluster; to try it out on this machine: --site local",
        )


def shipped() -> list[str]:
    """Names of the profiles that come with galcli."""
    return sorted(item.name.removesuffix(".toml") for item in _SHIPPED.iterdir() if item.name.endswith(".toml"))


def _read(name: str) -> tuple[str, str]:
    """Text of a profile, and its name for messages."""
    if name in shipped():
        return _SHIPPED.joinpath(f"{name}.toml").read_text(), f"site {name}"
    path = Path(name)
    try:
        return path.read_text(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(
            f"--site {name}: {reason}", f"give the path of a profile, or one of {', '.join(shipped())}"
        ) from error
