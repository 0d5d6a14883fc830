"""Site profiles, and runs whose workers a site starts."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.errors import UsageError
from galcli.predict.executors import SiteCrew, _parsl_executor
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.sites import Site, load_site, shipped
from galcli.predict.worker import Assignment
from tests.survey import Survey
from tests.traps import GONE, Trap, running

Run = Callable[..., Any]


def load(site: str | Path, **changes: Any) -> Site:
    found = load_site(PredictOptions((Path("c.fits"),), Path("p.fits"), site=str(site), **changes))
    assert found is not None
    return found


def write(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_shipped_profiles_are_valid(name: str) -> None:
    assert name in shipped()
    assert load(name).provider == name


def test_command_line_wins_over_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path, 'provider = "local"\nworkers_per_node = 2\nthreads = 3\n')
    assert (load(path).workers, load(path).threads, load(path).device) == (2, 3, "cpu")
    changed = load(path, workers=5, threads=7, device="cpu")
    assert (changed.workers, changed.threads) == (5, 7)


def test_each_gpu_has_a_worker() -> None:
    assert load("slurm").workers == load("slurm").gpus_per_node == 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('provider = "cloud"', "provider"),
        ("", "provider"),
        ('provider = "local"\nnodse = 2', "nodse"),
        ('provider = "local"\nnodes = 0', "nodes"),
        ('provider = "local"\nworkers_per_node = "two"', "workers_per_node"),
        ('provider = "slurm"\nwalltime = "2h"', "walltime"),
        ('provider = "local"\ndevice = "cuda"', "gpus_per_node"),
        ('provider = "local"\ngpus_per_node = 2\nworkers_per_node = 3', "workers_per_node"),
        ("provider = local", "TOML"),
        ("\x00", "TOML"),
    ],
)
def test_wrong_profile_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load(write(tmp_path, text))
    assert named in refusal.value.message + refusal.value.hint
    assert "my.toml" in refusal.value.message
    assert refusal.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ["--site", "nowhere"],
        ["--site", "."],
        ["--site", "local", "--shard", "0/2"],
        ["--site", "slurm", "--device", "cuda:0"],
        ["--device", "cuda:0,0"],
        ["--device", "cuda:0,1", "--workers", "1"],
        ["--device", "cpu:0,1"],
        ["--device", "cuda:0,"],
        ["--workers", "0"],
    ],
    ids=" ".join,
)
def test_what_contradicts_itself_is_a_usage_error(shared_survey: Survey, galcli: Run, words: list[str]) -> None:
    galcli(*shared_survey.predict(*words), code=2)
    assert not RunPaths(shared_survey.out).root.exists()


def test_dry_run_looks_at_the_profile_and_needs_no_gpu_here(survey: Survey, galcli: Run, tmp_path: Path) -> None:
    words = [word for word in survey.predict("--dry-run") if word not in ("--device", "cpu")]
    site = write(tmp_path, 'provider = "slurm"\ndevice = "cuda"\ngpus_per_node = 4\n')
    assert "not at the site" in galcli(*words, "--site", site, "--precision", "fp16").out
    assert not RunPaths(survey.out).root.exists()
    galcli(*words, "--site", write(tmp_path, 'provider = "slurm"\njobs = "many"\n'), code=2)


def test_folder_that_parsl_cannot_work_in_is_refused(shared_survey: Survey, galcli: Run, tmp_path: Path) -> None:
    result = galcli(*shared_survey.predict("--site", "local", out=tmp_path / "with blanks.fits"), code=6)
    assert "blanks" in result.error


def test_parsl_is_asked_for_what_the_profile_says() -> None:
    site = Site(
        provider="local",
        device="cuda",
        jobs=3,
        nodes=2,
        gpus_per_node=4,
        workers_per_node=4,
        worker_init="module load x",
    )
    asked = _parsl_executor(site)
    assert asked.available_accelerators == ["0", "1", "2", "3"]
    assert asked.workers_per_node == 4
    assert asked.encrypted
    assert asked.provider.max_blocks == asked.provider.init_blocks == 3
    assert asked.provider.nodes_per_block == 2
    assert asked.provider.worker_init == "module load x"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_site_that_is_closed_leaves_no_file_open(tmp_path: Path) -> None:
    def opened() -> list[str]:
        names = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        return [name for name in names if name.startswith(str(tmp_path))]

    folder, options = tmp_path / "site", PredictOptions((tmp_path / "c.fits",), tmp_path / "p.fits")
    crew = SiteCrew(load("local"), Assignment(options, str(tmp_path), 2), folder)
    before = opened()
    crew.close()
    assert any("parsl.log" in name for name in before)
    assert not opened()
    assert not folder.exists()


def test_plan_for_gpus_is_made_without_one_and_held_against_the_workers(survey: Survey, tmp_path: Path) -> None:
    """The driver, on a login node, has no GPU; nor have these workers, which say so."""
    site = write(tmp_path, 'provider = "local"\ndevice = "cuda"\ngpus_per_node = 2\n')
    words = [word for word in survey.predict("--order", 3, "--site", site) if word not in ("--device", "cpu")]
    with running(words, Trap.set(tmp_path / "trap", "libcuda.so", GONE)) as process:
        code, err = process.end()
    assert code == 5, err
    assert " on CUDA, " in err
    assert "error: device cuda:0 cannot be used" in err
    assert "hint:" in err
    assert "Traceback" not in err
    [model] = json.loads(RunPaths(survey.out).record.read_text())["identity"]["models"]
    assert model["provider"] == "CUDAExecutionProvider"


#: A batch system of one machine: sbatch runs the script at once, scancel kills it, squeue knows whether it lives.
_SLURM = {
    "sbatch": 'cp "$1" {log}/script; setsid bash "$1" > {log}/out 2>&1 & echo "Submitted batch job $!" | tee -a {log}/jobs',
    "squeue": 'job=${{!#}}; kill -0 "$job" 2> /dev/null && echo "$job R"; true',
    "sacct": "exit 1",
    "scancel": 'for job; do kill -- "-$job"; done; echo "$@" > {log}/cancelled',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a made-up SLURM notes what it was asked for."""
    commands, log = tmp_path / "bin", tmp_path / "log"
    commands.mkdir()
    log.mkdir()
    for name, text in _SLURM.items():
        path = commands / name
        path.write_text(f"#!{shutil.which('bash')}\n{text.format(log=log)}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return log


def test_run_through_slurm(survey: Survey, reference: bytes, slurm: Path, tmp_path: Path) -> None:
    site = write(
        tmp_path,
        'provider = "slurm"\npartition = "gpu"\naccount = "m1234"\nworkers_per_node = 2\nwalltime = "0:30:00"\n'
        'scheduler_options = "#SBATCH --mem=0"\nworker_init = "export GALCLI_WORKER_INIT=done"\n',
    )
    with running(survey.predict("--order", 3, "--site", site)) as process:
        code, err = process.end()
        assert code == 0, err
        assert not process.processes()
    assert survey.out.read_bytes() == reference
    script = (slurm / "script").read_text()
    for line in ("--partition=gpu", "--account=m1234", "--time=30", "--nodes=1", "--exclusive", "--mem=0"):
        assert f"#SBATCH {line}" in script
    assert script.index("GALCLI_WORKER_INIT") < script.index("process_worker_pool")
    assert "--drain_period=1620" in script
    assert (slurm / "cancelled").exists()
    assert {path.name for path in survey.root.iterdir()} == {
        "catalog.fits",
        "cutouts",
        "average.onnx",
        "predictions.fits",
    }


#: A first job that dies with all that runs in it as soon as the folder holds a tile; the others are as ever.
_DYING = """
if mkdir {log}/first 2> /dev/null; then
    (until compgen -G "{run}/Norder=*/Dir=*/*.fits"; do sleep 0.05; done; kill -KILL -- "-$!") > /dev/null 2>&1 &
fi
"""


@pytest.mark.slow  # a minute of silence, after which a node counts as lost
def test_job_that_ends_before_the_run_is_followed_by_another(
    survey: Survey, reference: bytes, slurm: Path, tmp_path: Path
) -> None:
    """Its time is over, or its node is lost: the next is asked for, and makes the tiles that were in work."""
    sbatch = tmp_path / "bin/sbatch"
    sbatch.write_text(sbatch.read_text() + _DYING.format(log=slurm, run=RunPaths(survey.out).root))
    site = write(tmp_path, 'provider = "slurm"\nworkers_per_node = 1\n')
    with running(survey.predict("--order", 3, "--site", site)) as process:
        code, err = process.end()
        assert code == 0, err
        assert not process.processes()
    assert survey.out.read_bytes() == reference
    assert (slurm / "first").exists()
    assert len((slurm / "jobs").read_text().splitlines()) == 2


def test_site_that_starts_nothing_ends_the_run(survey: Survey, tmp_path: Path) -> None:
    """The job ends without a worker: a module that is not there, a wrong environment."""
    site = write(tmp_path, 'provider = "local"\nworker_init = "exit 1"\n')
    with running(survey.predict("--order", 3, "--site", site)) as process:
        code, err = process.end()
        assert code == 5, err
        assert "error: the site gives no workers" in err
        assert list(RunPaths(survey.out).site.rglob("*.sh.err")), "what the job said is kept"
        assert "Traceback" not in err
        assert not process.processes()


def test_missing_parsl_is_said_before_there_is_anything_of_a_run(survey: Survey, galcli: Run, monkeypatch: Any) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "parsl" else find(name))
    result = galcli(*survey.predict("--site", "local"), code=5)
    assert "Parsl" in result.error
    assert "galcli[cluster]" in result.hint
    assert not RunPaths(survey.out).root.exists()


def test_missing_slurm_is_said_before_there_is_anything_of_a_run(survey: Survey, galcli: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(survey.root))
    words = [word for word in survey.predict("--site", "slurm") if word not in ("--device", "cpu")]
    result = galcli(*words, code=5)
    assert "sbatch" in result.error
    assert "login node" in result.hint
    assert not RunPaths(survey.out).root.exists()
