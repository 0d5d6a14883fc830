"""Spectra that a model predicts from images beside those that were observed."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, ModelError
from galcli.models import library
from galcli.models.library import ModelFile
from galcli.predict.options import PredictOptions
from galcli.predict.run import predict
from galcli.progress import Progress, Quiet
from galcli.sky.catalog import open_catalog
from galcli.tables.status import ModelStatus
from galcli.training.interpret.predictions import Predictions, read_predictions
from galcli.training.recipes.spectra_card import GROUP
from galcli.training.recipes.vae_card import DECODER, ENCODER
from galcli.training.recipes.vae_coder import Coder, open_coder
from galcli.training.spectra.files import read_spectra, tell
from galcli.training.spectra.grid import Floats
from galcli.training.spectra.match import match_spectra
from galcli.training.spectra.quality import breaks, covers_break, covers_line, line_widths

Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]

#: Columns without which there is nothing to explain.
NEEDED = ("SPEC_LATENT", "SPEC_LATENT_ERR")


@dataclass(frozen=True)
class Observed:
    """Observed spectra of predicted galaxies.

    Attributes
    ----------
    rows : ndarray (M,), int64
        Rows of the table.
    flux : ndarray (M, 1000), float32
        Gaps filled, sum of squares 1.
    good : ndarray (M, 1000), bool
        Where there are data.
    latent : ndarray (M, K), float32
        What the encoder makes of them.
    decoded : ndarray (M, 1000), float32
        What the decoder makes of these.
    ew_ha, d4000 : ndarray (M,), float64
        Measured on ``flux`` [Angstrom; ratio]; NaN where data are missing.
    """

    rows: NDArray[np.int64]
    flux: Singles
    good: Bools
    latent: Singles
    decoded: Singles
    ew_ha: Floats
    d4000: Floats


@dataclass(frozen=True)
class Comparison:
    """Predictions for a catalogue, and the spectra that there are.

    Attributes
    ----------
    model : ModelFile
    coder : Coder
    options : PredictOptions
        How the catalogue was predicted.
    table : Predictions
    id_name : str or None
        Identifier among the columns of the table; None: rows have only numbers.
    predicted : ndarray (P,), int64
        Rows with a prediction.
    ood : ndarray (N,), bool
        Rows unlike the training sample.
    mock : bool
        Whether the galaxies are simulated.
    observed : Observed or None
    notes : tuple of str
        What was left out.
    """

    model: ModelFile
    coder: Coder
    options: PredictOptions
    table: Predictions
    id_name: str | None
    predicted: NDArray[np.int64]
    ood: Bools
    mock: bool
    observed: Observed | None
    notes: tuple[str, ...] = ()

    def column(self, name: str, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """A predicted column in the rows given, or in all with a prediction."""
        values: NDArray[Any] = self.table.columns[name][self.predicted if rows is None else rows]
        return values

    @property
    def has_scatter(self) -> bool:
        """Whether the model tells the scatter of a dropout ensemble."""
        return "SPEC_LATENT_SCATTER" in self.table.columns


def find_models(model: str, precision: str, vae: Path | None) -> tuple[ModelFile, Coder]:
    """The model and the autoencoder that its latents belong to.

    Parameters
    ----------
    model : str
        Name or path.
    precision : str
        As ``--precision`` of predict.
    vae : Path, optional
        Folder of encoder and decoder; without it those beside the model, else the shipped ones.

    Raises
    ------
    ModelError
        If one of them is missing, or they do not belong together.
    """
    file = library.find(model, precision)
    lacking = [name for name in NEEDED if name not in {output.column for output in file.card.outputs}]
    if lacking:
        raise ModelError(f"{file.name} has no output {lacking[0]}", "give a model of `galcli train spectra`")
    link = next((link for link in file.card.chain if link.group == GROUP), None)
    if link is None:
        raise ModelError(f"{file.name} feeds no decoder of spectra", "give a model of `galcli train spectra`")
    beside = file.path.parent
    if vae is None and all((beside / f"{name}.onnx").is_file() for name in (ENCODER, DECODER)):
        vae = beside
    try:
        coder = open_coder(vae)
    except ModelError as error:
        where = "" if vae else f"beside {file.path} lies no autoencoder, and "
        raise ModelError(where + error.message, "name the folder of encoder and decoder with --vae") from error
    if coder.decoder.sha256 != link.sha256:
        raise ModelError(
            f"{file.name} learned the latents of another autoencoder than {coder.decoder.path}",
            "name the folder of the one that it learned from with --vae",
        )
    return file, coder


def compare(
    options: PredictOptions, model: ModelFile, coder: Coder, spectra: Sequence[str | Path], progress: Progress
) -> Comparison:
    """Predict a catalogue through the runtime of predict, and match spectra to its rows.

    Parameters
    ----------
    options : PredictOptions
        ``models``, ``out`` and ``groups`` are set here.
    model, coder
        Of `find_models`.
    spectra : sequence of str or Path
        Files of spectra, folders, globs; none: nothing is observed.
    progress : Progress

    Raises
    ------
    InputError
        If no galaxy has a prediction, or none of these has a spectrum.
    """
    with tempfile.TemporaryDirectory(prefix="galcli-explain-") as folder:
        out = Path(folder) / "predictions.fits"
        options = dataclasses.replace(options, models=(str(model.path),), out=out, groups=(GROUP,))
        predict(options, Quiet(progress))
        table = read_predictions(out)
    prefix = model.card.prefix
    predicted = np.flatnonzero(table.good(prefix))
    where = ", ".join(map(str, options.catalogs))
    if not len(predicted):
        raise InputError(
            f"{where}: no galaxy got a prediction", "see the reasons with `galcli predict`, given the same options"
        )
    if len(predicted) < (count := len(table.columns["STATUS"])):
        progress.note(f"{count - len(predicted):,} of {count:,} galaxies have no prediction")
    # The decoder's status holds its own doubts and those about the image.
    status = table.columns[f"{coder.decoder.card.prefix}_STATUS"]
    ood = ((status | table.columns[f"{prefix}_STATUS"]) & int(ModelStatus.OUT_OF_DOMAIN)) != 0
    with open_catalog(
        options.catalogs, options.hdu, options.id_column, options.ra_column, options.dec_column
    ) as catalog:
        id_name, mock = catalog.id_name, catalog.mock
    found = Comparison(model, coder, options, table, id_name, predicted, ood, mock, None)
    if not spectra:
        return found
    observed, notes = _observed(found, spectra, where, progress.note)
    return dataclasses.replace(found, observed=observed, notes=notes)


def _observed(
    found: Comparison, paths: Sequence[str | Path], where: str, note: Callable[[str], None]
) -> tuple[Observed, tuple[str, ...]]:
    spectra, problems = read_spectra(paths)
    columns = found.table.columns
    ids = None if found.id_name is None else columns[found.id_name.upper()]
    matched = match_spectra(ids, columns["RA"], columns["DEC"], spectra)
    rows = found.predicted[matched[found.predicted] >= 0]
    tell(problems, note)
    note(f"{len(rows):,} of {len(found.predicted):,} predicted galaxies have one of {len(spectra):,} spectra")
    if not len(rows):
        raise InputError(
            f"no predicted galaxy of {where} has a spectrum: neither identifiers nor positions within 1 arcsec agree",
            "check --id-column, --ra-column and --dec-column, or leave out --spectra",
        )
    own = spectra.take(matched[rows])
    flux, _ = found.coder.normalise(own)
    latent = found.coder.encode(flux)
    ew_ha = np.where(covers_line(own.good, "HA"), line_widths(flux)["HA"], np.nan)
    d4000 = np.where(covers_break(own.good), breaks(flux), np.nan)
    notes = [f"{len(problems):,} spectra were not usable"] if problems else []
    return (
        Observed(rows, flux, own.good, latent, found.coder.decode(latent)["flux"], ew_ha, d4000),
        tuple(notes),
    )
