"""The command line: one thin file per command, loaded when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any, NoReturn

import click

from galcli import __version__
from galcli.errors import GalcliError, OutputError

#: Command -> what it does (shown by --help without importing the command).
COMMANDS = {
    "sample": "Unpack the embedded sample survey: catalogue, cutouts and spectra.",
    "predict": "Predict the physics of every galaxy of a catalogue into a FITS table or a HATS folder.",
    "plan": "Show tiles, rows, expected time and memory before anything runs.",
    "status": "Show the progress of a run from its folder.",
    "merge": "Join the finished tiles of a run into one table or HATS folder.",
    "validate": "Check tables, tiles, runs, HATS folders and stacks of cutouts, also against a catalogue.",
    "doctor": "Check the installation: versions, devices, models, disk.",
    "models": "List, show and verify model files.",
    "cutouts": "Cut, pack and download cutouts.",
    "evaluate": "Measure a model on a labelled catalogue, through the same runtime as predict.",
    "explain": "Show on an HTML page with plots what a model does, beside observed data.",
    "mock": "Write a mock survey of any size, with known truth.",
    "train": "Train a model and export it.",
    "experiment": "Repeat a table or figure of the papers, on mock or real data.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of a first session."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"galcli.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command when the name is unknown."""
        import difflib

        name = click.utils.make_str(args[0])
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from COMMANDS alone."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="galcli")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Galaxy properties from survey images.

    Streams a catalogue and its cutouts, HEALPix tile by tile, through networks and writes the predictions to a FITS
    table: one row per galaxy, with errors, flags and provenance. Start with `galcli sample sample` and
    `galcli predict sample/catalog.fits`.
    """
    del debug


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the documented code (see galcli.errors)."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    if debug:
        logging.basicConfig()
        logging.getLogger("galcli").setLevel(logging.DEBUG)
    try:
        # --debug may stand anywhere, also after the command.
        result: Any = cli.main(
            args=[word for word in given if word != "--debug"], prog_name="galcli", standalone_mode=False
        )
    except Exception as error:
        if debug and not isinstance(error, click.ClickException | click.Abort | BrokenPipeError):
            raise
        _leave(_explain(error))
    except KeyboardInterrupt:
        _leave(_explain(click.Abort()))
    _leave(result if isinstance(result, int) else 0)


def _explain(error: Exception) -> int:
    """Say in one line what is wrong and in one how to fix it; returns the exit code."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        click.echo(str(error), err=True)
        return 2
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "galcli"
        _say("error: ", error.format_message(), f"see `{path} --help`")
        return error.exit_code
    if isinstance(error, click.Abort):
        click.echo("stopped", err=True)
        return 130
    if isinstance(error, BrokenPipeError):
        return 0  # the reader of our output, such as `head`, has seen enough
    if isinstance(error, GalcliError):
        _say("error: ", error.message, error.hint)
        return error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _say("error: ", f"{where}{error.strerror or error}", "check the path, its permissions and the disk")
        return OutputError.exit_code
    # A bug: one line for people, all of it with --debug.
    _say("bug: ", f"{type(error).__name__}: {error}", "run again with --debug and report the traceback")
    return 1


def _say(kind: str, message: str, hint: str) -> None:
    click.echo(kind + " ".join(message.split()), err=True)
    if hint:
        click.echo("hint:  " + " ".join(hint.split()), err=True)


def _leave(code: int) -> NoReturn:
    """Exit, without a complaint about a reader of our output that is gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
