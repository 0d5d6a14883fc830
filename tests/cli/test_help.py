"""Every command is listed, helps, and starts at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import galcli.cli
from galcli.cli import COMMANDS, cli
from tests.launcher import ROOT

Run = Callable[..., Any]

#: Libraries that no help text needs.
HEAVY = ("numpy", "astropy", "torch", "onnxruntime", "fitsio", "healpy", "pandas", "pydantic", "PIL", "rich")


def commands() -> list[list[str]]:
    """Every command and subcommand."""
    found: list[list[str]] = []

    def collect(group: click.Group, words: list[str]) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            found.append([*words, name])
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                collect(command, found[-1])

    collect(cli, [])
    return found


def test_every_command_module_is_listed() -> None:
    modules = {path.stem for path in Path(galcli.cli.__file__).parent.glob("*.py")}
    with_command = {name for name in modules if "\ndef command(" in (ROOT / f"galcli/cli/{name}.py").read_text()}
    assert with_command == set(COMMANDS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_and_option_has_help(galcli: Run, words: list[str]) -> None:
    text = galcli(*words, "--help").out
    assert text.startswith("Usage: galcli " + words[0])
    command: Any = cli
    for word in words:
        command = command.get_command(click.Context(command), word)
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.opts[0] not in ("--seed", "--device"):
            assert parameter.help, (words, parameter.name)
    assert galcli(*words, "-h").out == text


def test_general_help_lists_every_command(galcli: Run) -> None:
    text = galcli("--help").out
    for name, words in COMMANDS.items():
        assert f"  {name} " in text
        assert words.split()[0] in text
    assert galcli("--version").out.startswith("galcli, version ")


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    missing = [name for name in COMMANDS if f"galcli {name}" not in text]
    assert not missing


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, json\nfrom galcli.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr


def test_help_is_there_at_once() -> None:
    """The benchmark asks for 0.3 s on a quiet machine; the best of five says that nothing slow was added."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "galcli", "--help"], capture_output=True, cwd=ROOT, check=True)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.6


def test_a_run_never_imports_torch(shared_survey: Any, tmp_path: Path) -> None:
    words = shared_survey.predict(out=tmp_path / "p.fits")
    code = (
        "import sys\nfrom galcli.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print([name for name in ('torch', 'galcli.training', 'onnx', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("wrong", ["predcit", "models lst", "stat", "evalute"])
def test_unknown_command_is_refused_with_a_suggestion(galcli: Run, wrong: str) -> None:
    words = wrong.split()
    result = galcli(*words, code=2)
    assert words[-1] in result.error
    if len(words) == 1:
        assert "Did you mean" in result.error


def test_nothing_at_all_shows_the_help(galcli_process: Run) -> None:
    done = subprocess.run([sys.executable, "-m", "galcli"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode in (0, 2)
    assert "Commands" in done.stdout + done.stderr
    assert "error:" not in done.stderr
