"""``galcli explain mass --causal``: what depends on the mass beyond what a network sees, on one page (models.md 2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galcli import interrupts
from galcli.errors import InputError, UsageError
from galcli.progress import Progress
from galcli.tables.fits import TableHDU, write_table
from galcli.training.interpret import causal_figures as figures
from galcli.training.interpret import causal_graph as graphs
from galcli.training.interpret import causal_words as words
from galcli.training.interpret.causal_graph import Discovered
from galcli.training.interpret.causal_numbers import (
    LEVEL,
    MASS,
    Result,
    excess,
    measure,
    measure_latents,
    permutations_for,
)
from galcli.training.interpret.causal_seen import Looking, Sample, find_model, see
from galcli.training.interpret.causal_table import dependence_hdu, galaxy_hdu, latent_hdu, rows_of
from galcli.training.interpret.causal_variables import Variable, choose_variables, known_columns
from galcli.training.interpret.dependence import Dependence
from galcli.training.interpret.pages import Pages, mock_words, require_replaceable
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import REDSHIFT

TABLE = "causal.fits"
#: Queries shown in detail, and conditions beside none.
_SHOWN, _GIVEN = 4, 3
#: Permutations at least, where nobody says how many.
PERMUTATIONS = 500


@dataclass(frozen=True)
class Asked:
    """What a report is asked for.

    Attributes
    ----------
    model : str
        Name or path; trained with its contrastive stage.
    source : Source
        Where the galaxies come from; without a number, ``causal_seen.OBJECTS`` mock ones, ``IMAGES`` with images. The seed of mock galaxies
        should be another than that of the training, such as ``causal_seen.SEED``.
    queries, conditions : tuple of str
        Columns, or ratios and differences of two; empty: `causal_variables.QUERIES` and `CONDITIONS`.
    neighbours : int
        k.
    permutations : int, optional
        Shared by all neighbourhoods; p is never below 1 / (1 + permutations). Without it `PERMUTATIONS`, or as many as a
        single significant pair needs among all of them.
    everyone : bool
        Also test the galaxies among which neighbours are found, as published.
    include_self : bool
        And let each of them be its own neighbour, as published.
    graph : bool or None
        Draw the graph of causal-learn; None: where that is installed.
    seed : int
        Of permutations, and of the galaxies of the graph.
    device : str
    threads : int
        Of the network; 0: all cores.
    """

    model: str
    source: Source
    queries: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    neighbours: int = 100
    permutations: int | None = None
    everyone: bool = False
    include_self: bool = False
    graph: bool | None = None
    seed: int = 256
    device: str = "auto"
    threads: int = 0

    @property
    def looking(self) -> Looking:
        """How galaxies are looked at."""
        return Looking(self.neighbours, self.everyone, self.include_self, self.device, self.threads)


@dataclass(frozen=True)
class Measured:
    """Everything that was measured.

    Attributes
    ----------
    sample : Sample
    permutations : int
    tested : list of Result
    latents : list of Dependence
    graph : Discovered or None
    without_graph : str
        Why there is none.
    """

    sample: Sample
    permutations: int
    tested: list[Result]
    latents: list[Dependence]
    graph: Discovered | None
    without_graph: str

    @property
    def shown(self) -> list[list[Result | None]]:
        """Pairs of the queries that depend most on the mass given s alone, and conditions of them."""
        pairs = {(one.query, one.condition): one for one in self.tested}
        alone = [one for one in self.tested if one.condition is None]
        z = np.nan_to_num([one.whole.dependence.r.z for one in alone], nan=-np.inf)
        queries = [alone[place].query for place in np.argsort(-z, kind="stable")[:_SHOWN]]
        conditions = self.sample.choice.conditions[: 1 + _GIVEN]
        return [[pairs.get((query, condition)) for condition in conditions] for query in queries]


def write_report(folder: Path, asked: Asked, progress: Progress) -> Path:
    """Look, test, draw and write.

    Parameters
    ----------
    folder : Path
        For the page, its pictures, ``metrics.json`` and ``causal.fits``; an earlier report is replaced.
    asked : Asked
    progress : Progress

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UsageError
        If the folder holds something else than a report, for an unknown variable, or for a graph without causal-learn.
    ModelError
        If the model has no representation.
    InputError
        If the galaxies cannot be used.
    Interrupted
        After a signal.
    OutputError
        If the disk refuses.
    """
    require_replaceable(folder)
    if asked.include_self and not asked.everyone:
        raise UsageError("only galaxies of the pool can be their own neighbours", "test these galaxies too (everyone)")
    if asked.graph:
        graphs.require()
    model = find_model(asked.model)
    columns = known_columns(asked.source)
    choice = choose_variables(asked.queries, asked.conditions, columns)
    permutations = asked.permutations or max(PERMUTATIONS, permutations_for(len(choice.pairs)))
    with interrupts.graceful():
        sample = see(model, choice, asked.source, asked.looking, [REDSHIFT] if REDSHIFT in columns else [], progress)
        progress.note(
            f"{len(choice.pairs)} pairs of query and condition are tested, with {permutations:,} permutations"
        )
        tested = measure(sample, permutations, asked.seed, progress)
        latents = measure_latents(sample, permutations, asked.seed)
    measured = Measured(sample, permutations, tested, latents, *_discover(sample, asked, progress))
    progress.note("pictures are drawn")
    return _write(folder, measured, asked)


def _discover(sample: Sample, asked: Asked, progress: Progress) -> tuple[Discovered | None, str]:
    """The graph of mass, redshift and queries, or why there is none."""
    if asked.graph is False:
        return None, "It was not asked for."
    if not graphs.available():
        return None, f"causal-learn is not installed; {graphs.HINT} gets it."
    progress.note("the graph of causal-learn is looked for")
    columns = sample.galaxies.columns
    variables = [*([Variable(REDSHIFT, (REDSHIFT,))] if REDSHIFT in columns else []), *sample.choice.queries]
    named = {one.name: one.of(columns)[sample.tested] for one in variables}
    values = {MASS: sample.galaxies.target[sample.tested].astype(np.float64)} | named
    try:
        return graphs.discover(np.stack(list(values.values()), 1), list(values), asked.seed), ""
    except InputError as error:
        if asked.graph:
            raise
        return None, f"There is none: {error.message}."


def _write(folder: Path, measured: Measured, asked: Asked) -> Path:
    sample, card = measured.sample, measured.sample.model.card
    header = [
        ("MOCK", sample.galaxies.mock, "T: simulated galaxies"),
        ("MMOCK", card.training.mock, "T: the model was trained on a mock survey only"),
        ("OBJECTS", len(sample.tested), "galaxies that are tested"),
        ("POOL", len(sample.pool), "galaxies among which neighbours are found"),
        ("NEIGHB", asked.neighbours, "neighbours asked for"),
        ("PERMUT", measured.permutations, "permutations shared by all neighbourhoods"),
    ]
    tables = [dependence_hdu(measured.tested, header), latent_hdu(measured.latents, header)]
    numbers = _numbers(measured, asked, tables)
    pages = Pages(folder, f"Model {card.name} {card.version}: what the mass depends on beyond its inputs",
                  mock_words(sample.galaxies.mock, card.training.mock))  # fmt: skip
    pages.write(numbers)  # so that the folder is known as a report, should drawing be stopped
    _head(pages, measured, asked)
    galaxies = galaxy_hdu(sample, measured.tested, header)
    _matrix(pages, measured, galaxies is not None)
    _detail(pages, measured)
    _latents(pages, measured)
    _graph(pages, measured)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / TABLE, [*tables, *([] if galaxies is None else [galaxies])])
    return pages.write(numbers)


def _numbers(measured: Measured, asked: Asked, tables: list[TableHDU]) -> dict[str, Any]:
    sample, model, graph = measured.sample, measured.sample.model, measured.graph
    return {
        "model": {"name": model.card.name, "version": model.card.version, "sha256": model.sha256,
                  "mock": model.card.training.mock},
        "sample": {"name": sample.galaxies.name, "mock": sample.galaxies.mock, "galaxies": len(sample.galaxies),
                   "pool": len(sample.pool), "tested": len(sample.tested), "learned": sample.learned,
                   "with_representation": int((sample.near >= 0).any(1).sum()), "fewest_neighbours": sample.fewest},
        "settings": {"neighbours": asked.neighbours, "permutations": measured.permutations, "everyone": asked.everyone,
                     "include_self": asked.include_self, "seed": asked.seed, "level": LEVEL},
        "absent": list(sample.choice.absent),
        "dependence": rows_of(tables[0]),
        "latents": rows_of(tables[1]),
        "graph": None if graph is None else {
            "variables": list(graph.names), "links": [graph.told(link) for link in graph.links],
            "galaxies": graph.galaxies, "level": graphs.ALPHA},
        "without_graph": measured.without_graph,
    }  # fmt: skip


def _head(pages: Pages, measured: Measured, asked: Asked) -> None:
    for text in words.sample(measured.sample, asked.neighbours):
        pages.report.text(text)
    pages.report.heading("How to read this page")
    pages.report.points(words.READING)


def _matrix(pages: Pages, measured: Measured, each: bool) -> None:
    """What depends on the mass; ``each``: the table holds single galaxies too."""
    tested, choice, report = measured.tested, measured.sample.choice, pages.report
    report.heading("What depends on the mass")
    report.points(
        words.findings(tested, measured.latents, [column.name for column in measured.sample.model.card.columns])
    )
    pages.draw("matrix", (5.6 + 1.9 * len(choice.conditions), 2.8 + 0.34 * len(choice.queries)),
               "Each query (rows) and the mass, given the representation s and perhaps a condition (columns): median of "
               "Pearson's r over the galaxies' neighbourhoods, and what the means of its square and of the predictive "
               "efficiency have above those of permuted masses (colours by their square root). Rings: significant after "
               "correction for all pairs. Grey: no test.",
               lambda figure: figures.matrix_figure(tested, choice, figure))  # fmt: skip
    report.text(words.significance(tested, measured.sample, measured.permutations))
    report.table(words.HEADS, words.lines(tested))
    held = "these and the strata (HDU DEPENDENCE)"
    held += ", and each galaxy (HDU GALAXIES)" if each else "; single galaxies would be too many"
    report.text(f"{words.TABLE_TEXT} {TABLE} holds {held}.")


def _detail(pages: Pages, measured: Measured) -> None:
    rows = measured.shown
    pages.report.heading("Galaxy by galaxy")
    pages.draw("histograms", (3.1 * len(rows[0]) + 0.6, 1.0 + 1.75 * len(rows)),
               "Pearson's r of query and mass in the neighbourhood of each galaxy, beside that with masses permuted inside of "
               "it: the queries with the strongest dependence given s alone, and what conditions make of it.",
               lambda figure: figures.histograms_figure(rows, figure))  # fmt: skip
    variables = {line.stratum.variable for line in measured.tested[0].lines[1:]}
    pages.draw("strata", (5.2 * len(variables), 1.2 + 2.1 * len(rows)),
               "The same queries in bins of mass and redshift with equal numbers of galaxies: what the mean of r squared has "
               "above its null; bars: standard deviation of the null. Lines stand beside each other within a bin.",
               lambda figure: figures.strata_figure(rows, figure))  # fmt: skip


def _latents(pages: Pages, measured: Measured) -> None:
    report = pages.report
    report.heading("How much of s is left inside of neighbourhoods")
    report.text(words.width(measured.latents))
    report.table(
        ("latent of s", "mean r squared", "null", "above it", "z"),
        [(str(number), *(words.number(value) for value in (one.r.statistic, one.r.null_mean, excess(one.r))),
          words.z_of(one.r.z)) for number, one in enumerate(measured.latents)],
    )  # fmt: skip


def _graph(pages: Pages, measured: Measured) -> None:
    report, graph = pages.report, measured.graph
    report.heading("An independent look: PC with a kernel test")
    if graph is None:
        report.text(f"This page can hold the graph that causal-learn finds. {measured.without_graph}")
        return
    report.text(words.graph(graph))
    pages.draw("graph", (13.0, 6.2),
               f"Left: graph of {graph.galaxies} of the tested galaxies by PC with KCI at the level {graphs.ALPHA:g}; colour: "
               "the mass and its lines. Right: what each query has with the mass given s, from the null (stroke) to what was "
               "measured (disc, full where significant), in the colour of the mass where the graph joins the two.",
               lambda figure: figures.graph_figure(graph, measured.tested, figure))  # fmt: skip
    report.table(("query", "line with the mass in the graph", "given s"), words.beside(graph, measured.tested))
