"""Spectra from files of surveys, recognised by what they hold; what cannot be used is told, and costs only itself."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galcli import interrupts
from galcli.errors import InputError
from galcli.training.progress import track
from galcli.training.spectra import desi, gridded, sdss
from galcli.training.spectra.grid import Spectra, concatenate
from galcli.training.spectra.hdus import SpectrumFile, opened
from galcli.training.spectra.target import require_coverage, to_grid

#: What is looked for in folders.
_NAMES = ("spec-*", "coadd-*", "spectra")
_SUFFIXES = (".fits", ".fits.gz", ".fits.fz")
#: Problems that are told one by one.
_TOLD = 10
_HINT = "name SDSS spec-*.fits or DESI coadd-*.fits (with redrock-*.fits beside them), or a folder with such files"


@dataclass(frozen=True)
class Problem:
    """A file, or a row of one, that is not used.

    Attributes
    ----------
    path : str
        The file, and the row where it is about one.
    reason : str
        Why, in one line.
    """

    path: str
    reason: str


def read_spectra(paths: Sequence[str | Path]) -> tuple[Spectra, list[Problem]]:
    """Read spectra onto the rest-frame grid.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders (searched with all folders inside for ``spec-*.fits``, ``coadd-*.fits`` and ``spectra.fits``,
        packed or not) or globs.

    Returns
    -------
    Spectra
        In the order of the paths; within a folder or glob in order of names. A file is read once, whatever names it
        is given by.
    list of Problem
        What is not used: damaged files, stars, uncertain redshifts, too little of the grid covered.

    Raises
    ------
    InputError
        If a path does not exist, or nothing at all can be used.
    OutputError
        For want of open files or memory.
    Interrupted
        By a signal.
    """
    found: list[Spectra] = []
    problems: list[Problem] = []
    files = _once_each(paths)
    with interrupts.graceful():  # raised where it comes, Ctrl-C is lost in what closes a file
        for path in track(files, "files of spectra", lambda _: 1):
            for result in _read(path):
                interrupts.check()
                if isinstance(result, Problem):
                    problems.append(result)
                else:
                    found.append(result)
        interrupts.check()
    if not found:
        first = problems[0]
        raise InputError(f"no usable spectrum, {len(problems)} problems; first: {first.path}: {first.reason}", _HINT)
    return concatenate(found), problems


def tell(problems: Sequence[Problem], say: Callable[[str], None]) -> None:
    """Say what is not used and why; of many, the first ten."""
    for problem in problems[:_TOLD]:
        say(f"left out: {problem.path}: {problem.reason}")
    if len(problems) > _TOLD:
        say(f"left out: {len(problems) - _TOLD} more")


def _once_each(paths: Sequence[str | Path]) -> list[Path]:
    """The files that paths stand for, by the first name that each is given by."""
    files: dict[str, Path] = {}
    for text in paths:
        for path in _listed(text):
            files.setdefault(os.path.realpath(path), path)
    return list(files.values())


def _listed(text: str | Path) -> list[Path]:
    """The files that a path stands for."""
    path = Path(text)
    if path.is_dir():
        files = {file for name in _NAMES for suffix in _SUFFIXES for file in path.rglob(name + suffix)}
    elif path.exists():
        return [path]
    else:
        files = {Path(name) for name in glob.glob(str(text), recursive=True)}  # noqa: PTH207 - absolute ones too
    if not files:
        wrong = "holds no files of spectra" if path.is_dir() else "does not exist"
        raise InputError(f"{text} {wrong}", _HINT)
    return sorted(files)


def _read(path: Path) -> Iterator[Spectra | Problem]:
    """Spectra and problems of a file, row after row."""
    try:
        with opened(path) as file:
            yield from _rows(file, path)
    except InputError as error:
        yield Problem(str(path), error.message)


def _rows(file: SpectrumFile, path: Path) -> Iterator[Spectra | Problem]:
    known = file.names
    if gridded.recognises(known):
        yield from _covering(gridded.read(file, path))
        return
    survey = next((survey for survey in (sdss, desi) if survey.recognises(known)), None)
    if survey is None:
        held = ", ".join([name for name in known if name][:5]) or "none"
        raise InputError(f"no extension COADD (SDSS), B_WAVELENGTH (DESI) or SPECTRA (galcli); it has {held}", _HINT)
    for target in survey.read_targets(file, path):
        try:
            yield to_grid(target)
        except InputError as error:
            yield Problem(target.name, error.message)


def _covering(spectra: Spectra) -> Iterator[Spectra | Problem]:
    """Those that cover enough of the grid, as one set, after the problems of the others."""
    enough = []
    for row, points in enumerate(np.count_nonzero(spectra.good, axis=1).tolist()):
        try:
            require_coverage(points)
            enough.append(row)
        except InputError as error:
            yield Problem(spectra.name[row], error.message)
    if enough:
        yield spectra.take(np.array(enough))
