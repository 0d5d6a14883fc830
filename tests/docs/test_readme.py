"""The README is true: its commands and snippets run, its tables are those of the code, its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from galcli import errors
from galcli.cli import COMMANDS, cli
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.bpt import bpt_figure
from galcli.training.interpret.gallery import gallery_figure
from galcli.training.recipes import vae_data
from galcli.training.spectra.measure import HALF_WINDOW, LINES
from tests.docs import render

ROOT = render.README.parent
TEXT = render.README.read_text(encoding="utf-8")
#: Fenced blocks: note before it, language, content.
BLOCKS = re.findall(r"(?:<!-- (not run)[^>]*-->\n)?^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_numbers_of_the_spectra_are_those_of_the_code() -> None:
    line, text = LINES["HA"], " ".join(TEXT.split())
    ranges = " to ".join(f"{low:.0f}-{high:.0f}" for low, high in (line.blue, line.red))
    assert (
        f"within {HALF_WINDOW:.0f} Angstrom of H alpha (without [N II]) over a straight continuum from {ranges}" in text
    )
    assert f"at z <= {vae_data.Z_RANGE[1]}, at least {vae_data.FEWEST} of them" in text
    assert f"every wavelength of the grid {vae_data.FEWEST_AT_WAVELENGTH} times" in text


def galcli_lines(block: str) -> list[list[str]]:
    """Words after ``galcli`` of each command of a block."""
    lines = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    return [words[1:] for words in lines if words[:1] == ["galcli"]]


COMMAND_LINES = [words for _, language, block in BLOCKS if language == "bash" for words in galcli_lines(block)]


@pytest.fixture(scope="module")
def folder(galcli: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README was followed from its first line to its last."""
    path = tmp_path_factory.mktemp("readme")
    with contextlib.chdir(path):
        for note, language, block in BLOCKS:
            if note:
                continue
            if language == "python":
                run_snippet(block)
            for words in galcli_lines(block) if language == "bash" else []:
                galcli(*words)
    return path


def run_snippet(code: str) -> None:
    """Run Python from the README; where it recomputes a prediction the sum must be right."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), names)
    assert printed.getvalue().strip()
    if "z_gas" in names:
        assert np.isclose(names["z_gas"], names["row"]["Z_GAS"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["predictions.fits", "mine.fits", "big.fits", "survey/catalog.fits"])
def test_commands_and_snippets_run_in_their_order(folder: Path, name: str) -> None:
    assert (folder / name).exists()


def test_pictures_show_the_sample(folder: Path) -> None:
    predictions, catalog = folder / "predictions.fits", folder / "sample" / "catalog.fits"
    measured, predicted = bpt_figure(predictions, catalog).axes[:2]
    assert predicted.get_xlim() == measured.get_xlim() == (-1.55, 0.55)
    count = [sum(len(points.get_offsets()) for points in axes.collections) for axes in (measured, predicted)]
    assert 30 < count[0] < count[1] <= 112 + 10  # not all have measured lines; some artists belong to the error bar
    for prefix in ("SFZ", "SFL"):
        panels = [axes for axes in gallery_figure(predictions, catalog, prefix=prefix).axes if axes.images]
        assert len(panels) >= 18, "two features with nine galaxies each"


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_every_command_line_has_options_that_exist(words: list[str]) -> None:
    command: click.Command = cli
    context, rest = click.Context(cli, **cli.context_settings), list(words)
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, rest[0]
        command, rest = found, rest[1:]
    with command.make_context(words[0], rest, parent=context):
        pass


def test_every_command_is_shown() -> None:
    shown = {words[0] for words in COMMAND_LINES}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(render.PARTS) - {"metrics"}))
def test_tables_are_those_of_the_code(name: str) -> None:
    assert render.part(TEXT, name) == render.PARTS[name](), "run: python -m tests.docs.render"


def test_metrics_are_those_of_the_cards() -> None:
    assert render.part(TEXT, "metrics") == render.metrics(), "run: python -m tests.docs.render"


def test_every_exit_code_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d+) \| [a-z]", TEXT, re.MULTILINE)}
    known = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert explained == known | {0}


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake (\w+)", "\n".join(re.findall(r"`make \w+`|^make \w+", TEXT, re.MULTILINE))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/decisions.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


def test_the_classes_are_those_of_galaxy10() -> None:
    listed = re.sub(r"\s+", " ", TEXT)
    for number, name in enumerate(NAMES):
        assert f"{number} {name}" in listed
