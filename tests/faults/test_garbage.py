"""Garbage on every option of every command: a documented exit code and two lines, never a traceback."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galcli.cli import cli, main
from galcli.errors import UsageError
from galcli.training.experiments import experiment
from tests.conftest import Result, check_ending, run_main
from tests.faults.counts import EXAMPLES
from tests.survey import Survey

Record = Callable[..., None]

EXPECTED = (0, 2, 3, 4, 5, 6)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
#: What people and scripts mistype, beside any text.
TYPED = st.sampled_from(
    ["", " ", "-1", "0", "1e400", "nan", "-inf", "9" * 40, "/", "..", "/dev/null", "/dev/full", "~", "a,b", ",", "{id}",
     "{", "*", "[", "auto", "None", "true", "é", "x.fits", "--help", "-", "%s", "$HOME", "a=b", "0/1", "1/0", "g,r,z"]
)  # fmt: skip


def leaves(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, as click knows them."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, *path, name)


COMMANDS = dict(leaves(cli))
OPTIONS = [
    (path, option.opts[-1], option.is_flag)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option) and option.name != "help"
]


def cheap(path: tuple[str, ...], survey: Survey, folder: Path) -> list[str]:
    """Arguments with which a command has little to do, so that the garbage decides how it ends."""
    words = {
        ("predict",): [survey.catalog, "--model", survey.model, "--limit", 2, "--threads", 1, "--overwrite"],
        ("plan",): [survey.catalog, "--model", survey.model, "--limit", 2, "--threads", 1],
        ("evaluate",): [survey.model, "--catalog", survey.catalog, "--limit", 2, "--threads", 1],
        ("status",): [folder / "none.fits"], ("merge",): [folder / "none.run"], ("validate",): [folder / "none.fits"],
        ("sample",): [folder / "sample"], ("mock",): [folder / "mock", "-n", 1, "--size", 16, "--no-spectra"],
        ("models", "show"): [survey.model], ("models", "verify"): [survey.model],
        ("train", "sfnet"): ["--catalog", survey.catalog, "-o", folder / "trained"],
        ("train", "vae"): ["--spectra", survey.catalog, "-o", folder / "vae"],  # which holds no spectra
        ("train", "spectra"): ["--vae", folder, "-o", folder / "spectra"],
        ("train", "dmagnet"): ["--catalog", survey.catalog, "-o", folder / "dmagnet"],  # which has no classes
        ("explain", "dmagnet"): ["--model", survey.model, "-o", folder / "morphology"],
        ("train", "sae"): ["--catalog", folder / "none.fits", "-o", folder / "sae"],
        ("explain", "sae"): ["--model", survey.model, "-o", folder / "concepts"],
        ("train", "mass"): ["--catalog", survey.catalog, "-o", folder / "mass"],  # which has no masses
        ("explain", "mass"): ["--causal", "--model", survey.model, "-o", folder / "causes"],
        ("experiment", "dmagnet-table"): ["--catalog", survey.catalog, "-o", folder / "classes"],
        ("explain", "spectra"): ["--model", survey.model, "-o", folder / "report"],
        ("experiment", "spectra-table1"): ["--vae", folder, "-o", folder / "table"],
    }  # fmt: skip
    return [*path, *map(str, words.get(path, []))]


def check(words: list[str], folder: Path) -> None:
    """Run a command in a folder of its own."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as stop:
            code = stop.code or 0
    assert code in EXPECTED, (words, code, err.getvalue())
    check_ending(Result(int(code), out.getvalue(), err.getvalue()), int(code))


@pytest.fixture(autouse=True)
def no_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments that need no data end where their trainings would begin."""

    def refuse(*_: object) -> None:
        raise UsageError("not trained here", "it would take minutes")

    monkeypatch.setattr(experiment, "run_all", refuse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("garbage")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("path", "option", "flag"), OPTIONS, ids=[f"{' '.join(p)} {o}" for p, o, _ in OPTIONS])
def test_garbage_after_every_option(
    shared_survey: Survey, folder: Path, path: tuple[str, ...], option: str, flag: bool, record_fault: Record
) -> None:
    tried = []

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    @given(value=st.one_of(TYPED, TEXT))
    def garbage(value: str) -> None:
        tried.append(value)
        check([*cheap(path, shared_survey, folder), f"{option}={value}"], folder)

    if flag:
        check([*cheap(path, shared_survey, folder), f"{option}=x"], folder)
        tried.append("x")
    else:
        garbage()
    record_fault(len(tried))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_garbage_as_arguments(shared_survey: Survey, folder: Path, path: tuple[str, ...], record_fault: Record) -> None:
    """Options in any order and number, words that are none."""
    tried = []
    known = st.sampled_from(
        [option.opts[-1] for option in COMMANDS[path].params if isinstance(option, click.Option)] or [""]
    )

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    @given(words=st.lists(st.one_of(known, TYPED, TEXT), min_size=1, max_size=5))
    def garbage(words: list[str]) -> None:
        tried.append(words)
        check([*cheap(path, shared_survey, folder), *words], folder)

    garbage()
    record_fault(len(tried))


def test_unknown_command_and_option_come_with_a_suggestion() -> None:
    assert "Did you mean" in run_main(["predcit"], 2).err
    for path, option, _ in OPTIONS:
        if len(option) > 6:
            refused = run_main([*path, option[:-1] + "x"], 2)
            assert option in refused.err or "No such option" in refused.err


def test_every_option_is_tried() -> None:
    assert len(OPTIONS) > 60
    assert {path[0] for path in COMMANDS} == set(cli.list_commands(click.Context(cli)))
