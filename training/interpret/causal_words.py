"""What the page on dependence says in words (models.md 2.4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from galcli.training.interpret.causal_figures import word_of
from galcli.training.interpret.causal_graph import ALPHA, Discovered
from galcli.training.interpret.causal_numbers import LEVEL, MASS, Result, excess, permutations_for
from galcli.training.interpret.causal_seen import Sample
from galcli.training.interpret.dependence import Dependence, Score

READING = (
    (
        "The network was trained so that its representation s tells of the mass all that its inputs X tell. Galaxies of "
        "nearly the same s are alike in what X tells of their mass: among them, every path from a query q to the mass that "
        "passes through X is closed."
    ),
    (
        "Dependence of q and the mass that survives among them means that X misses information on the mass that q has, or "
        "that the network did not learn all that X tells. Which of q and the mass acts on the other, or what else acts on "
        "both, no number on this page tells: dependence alone does not show what causes what."
    ),
    (
        "Where none is found any more given a condition c, the open path may run through c, or through what c stands for; or "
        "what is left is too weak for these galaxies to show. The published example: the axis ratio in r as q, the redshift "
        "as c."
    ),
    (
        "Where it appears only given c, c may depend on both q and the mass, which ties them together where c is held fixed; "
        "or the inputs tell more of the mass once c is known, and s, learned without c, does not hold that."
    ),
    (
        "r squared sees straight dependence of either sign; the predictive efficiency, the part of the variance of the mass "
        "that a quadratic in q explains, sees bent dependence too, at the price of more noise. A condition is taken off "
        "mass and query by quadratic fits in each neighbourhood."
    ),
)
HEADS = ("query", "given s and", "galaxies", "median r", "r squared", "above its null", "z", "p, corrected",
         "efficiency", "above its null", "z", "p, corrected")  # fmt: skip
#: z from which dependence on a latent is beyond chance, also as the largest of many latents.
_SURELY = 4.0
#: Share of galaxies with the same extreme value that is told, in columns of this many values or more.
_OFTEN, _CLASSES = 0.02, 20
TABLE_TEXT = (
    "Mean of r squared and of the predictive efficiency over galaxies; the null: masses permuted among galaxies of nearly "
    "the same s and c, once for all neighbourhoods."
)


def sample(seen: Sample, neighbours: int) -> Iterator[str]:
    """Which galaxies are tested, and among which they have neighbours."""
    galaxies, card, k = seen.galaxies, seen.model.card, seen.near.shape[1]
    learned = {
        "pool": "It learned from those of the pool, and not from the others.",
        "perhaps": "It may have learned from some of them: the galaxies of its training come from the same source.",
        "none": "It learned from none of them, as far as its card tells.",
    }[seen.learned]
    yield (
        f"Model {card.name} {card.version} (SHA-256 {seen.model.sha256[:12]}), representation of {seen.s.shape[1]} latents. "
        f"Galaxies: {galaxies.name}, {len(galaxies):,}, of which {len(seen.pool):,} are the pool of neighbours and "
        f"{len(seen.tested):,} are tested{_others(seen)}. {learned}"
    )
    without = int((seen.near < 0).all(1).sum())
    few = (
        f"Asked for were {neighbours} neighbours of each; the pool has fewer: {seen.fewest}."
        if seen.fewest < neighbours
        else f"Each has {k} neighbours, those of the smallest mean squared difference in s."
    )
    lacking = (
        f" {without:,} lack an input that the network needs, and so have no neighbours and no test." if without else ""
    )
    absent = (
        f" The catalogue lacks columns for: {', '.join(seen.choice.absent)}." if seen.choice.absent else ""
    )  # fmt: skip
    yield few + lacking + absent
    if often := list(_often_extreme(seen)):
        yield f"{'; '.join(often)}: if that stands for no value, leave it out of the catalogue."


def _often_extreme(seen: Sample) -> Iterator[str]:
    """Variables whose least or largest value many galaxies share, as they do where it means that there is none."""
    for name in seen.choice.columns:
        column = seen.galaxies.columns[name]
        values = column[np.isfinite(column)]
        if len(np.unique(values)) < _CLASSES:
            continue
        for extreme in (values.min(), values.max()):
            share = float((column == extreme).mean())
            if share > _OFTEN:
                yield f"{name} is exactly {extreme:g} in {share:.0%} of the galaxies"


def _others(seen: Sample) -> str:
    """Galaxies of neither kind: those on which trainings from this source would decide when learning is done, and more."""
    others = len(seen.galaxies) - len(np.union1d(seen.pool, seen.tested))
    return f"; {others:,} are neither (validation part of the same split, or no mass in range)" if others else ""


def significance(tested: Sequence[Result], seen: Sample, permutations: int) -> str:
    """How many pairs are significant, and how fine p is."""
    known = [one for one in tested if math.isfinite(one.p_r)]
    finest, enough = 1 / (1 + permutations), permutations_for(len(known))
    text = (
        f"{sum(one.depends for one in known)} of {len(known)} pairs are significant. Both scores of all pairs are corrected "
        f"together (Benjamini and Hochberg 1995): of those below {LEVEL:g}, at most {LEVEL:.0%} are expected to be false. "
        "Corrected p say whether something is there, z how surely, and what stands above the null how much. With "
        f"{permutations:,} permutations no p is below {finest:.2g}"
    )
    floor = math.ceil(finest * 2 * len(known) / LEVEL)
    text += (
        f"; where fewer than {floor} scores reach that, none is significant. With --permutations {enough} one would be enough."
        if floor > 1
        else "."
    )
    if without := [one for one in tested if not one.whole.dependence.galaxies]:
        named = ", ".join(f"{one.query.name} given {word_of(one.condition)}" for one in without)
        text += f" Without a test, since too few neighbours have values or these are all equal: {named}."
    few = [one for one in known if one.whole.members < 0.5 * (seen.near >= 0).sum(1).max(initial=0)]
    if few:
        text += f" Less than half of the neighbours have all values of: {', '.join(sorted({one.query.name for one in few}))}."
    return text


def findings(
    tested: Sequence[Result], latents: Sequence[Dependence], inputs: Sequence[str]
) -> Iterator[str]:  # fmt: skip
    """A line per query; `inputs` are the columns that the network sees."""
    left = max((excess(one.r) for one in latents if one.r.z > _SURELY), default=0.0)
    if left > 0:
        yield (
            f"Inside of neighbourhoods the mass still depends on s itself, by up to {number(left)} above the null: a query "
            "with no more than that may owe it to s."
        )
    for query in dict.fromkeys(one.query for one in tested):
        alone, *given = (one for one in tested if one.query == query)
        score = alone.whole.dependence.r
        if not alone.whole.dependence.galaxies:
            yield f"{query.name}: no test."
        elif alone.depends:
            yield f"{query.name} {_depends(alone, left, set(query.columns) <= set(inputs))}.{_given(given, score)}"
        else:
            later = [word_of(one.condition) for one in given if one.depends]
            text = f"{query.name}: no dependence found given s (z {z_of(score.z)})"
            yield text + (f"; but given {_and(later)} too." if later else ".")


def _depends(alone: Result, left: float, seen: bool) -> str:
    """How a query depends on the mass given s alone, and what may lie behind it."""
    whole = alone.whole.dependence
    text = (
        f"depends on the mass given s: median r {_signed(alone.whole.r_median)}, mean r squared "
        f"{number(whole.r.statistic)}, {number(excess(whole.r))} above its null (z {z_of(whole.r.z)})"
    )
    if alone.p_r > LEVEL:
        text += f"; its efficiency is {number(excess(whole.efficiency))} above its null (z {z_of(whole.efficiency.z)})"
    if seen:
        text += "; the network sees it, so that it did not learn all, or neighbourhoods are too wide"
    elif excess(whole.r) <= left:
        text += "; no more than what a latent of s itself has left, so that it may be that"
    return text


def _given(given: Sequence[Result], alone: Score) -> str:
    """What conditions make of a dependence."""
    parts = []
    for one in given:
        if not one.whole.dependence.galaxies:
            continue
        share = excess(one.whole.dependence.r) / excess(alone) if excess(alone) > 0 else math.nan
        told = "none is found" if not one.depends else _share(share)
        parts.append(f"given {word_of(one.condition)} too, {told}")
    text = "; ".join(parts)
    return f" {text[0].upper()}{text[1:]}." if parts else ""


def _share(share: float) -> str:
    """How large a dependence is, as a part or a multiple of another."""
    if not share > 0:
        return "it is still there"
    return f"it is {share:.0%} of that" if share < 2 else f"it is {share:.0f} times that"


def lines(tested: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """The table of the page."""
    for one in tested:
        whole = one.whole.dependence
        scores = ((whole.r, one.p_r), (whole.efficiency, one.p_efficiency))
        told = [(number(each.statistic), number(excess(each)), z_of(each.z), _p(p)) for each, p in scores]
        yield (
            one.query.name,
            word_of(one.condition),
            f"{whole.galaxies:,}",
            _signed(one.whole.r_median),
            *told[0],
            *told[1],
        )


def width(latents: Sequence[Dependence]) -> str:
    """The check of wide neighbourhoods."""
    known = [one for one in latents if math.isfinite(one.r.z)]
    text = (
        "Neighbourhoods have a width: dependence of the mass on s that is left inside of them shows as dependence on any q "
        "that depends on s. Each latent of s, tested as if it were a query, tells how much is left"
    )
    if not known:
        return f"{text}; none could be tested."
    most = max(known, key=lambda one: excess(one.r))
    place = list(latents).index(most)
    return (
        f"{text}: most in latent {place}, {number(excess(most.r))} above its null (z {z_of(most.r.z)}). A query with no more "
        "than that may owe it to s. More galaxies, or fewer neighbours, make neighbourhoods narrower."
    )


def graph(found: Discovered) -> str:
    """What the graph is, and is not."""
    return (
        f"PC looks at {found.galaxies} galaxies and {len(found.names)} variables alone, without the network: a line "
        f"joins two variables that no set of the others makes independent (KCI at the level {ALPHA:g}). Arrows are what such "
        "sets can direct; they hold only if nothing unseen acts on two of the variables and if all tests are right, and with "
        "so few galaxies many weak lines are missed. Two heads: tests contradict each other, or something unseen is behind "
        "both. The tests of this page ask something else, dependence given s and so given all inputs of the network, and so "
        "the two need not agree: a query that the inputs tell has its line in the graph and yet nothing left given s."
    )


def beside(found: Discovered, tested: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Each query in the graph and in the tests."""
    for one in tested:
        if one.condition is not None:
            continue
        link = found.between(one.query.name, MASS)
        line = found.told(link) if link else "none" if one.query.name in found.names else "not looked at"
        told = "depends" if one.depends else "no dependence found"
        yield one.query.name, line, f"{told} (z {z_of(one.whole.dependence.r.z)})"


def number(value: float) -> str:
    """A statistic between 0 and 1."""
    return "" if not math.isfinite(value) else f"{value:.4f}".replace("-", "\u2212")


def z_of(value: float) -> str:
    """A z."""
    return "" if not math.isfinite(value) else f"{value:.1f}".replace("-", "\u2212")


def _p(value: float) -> str:
    return "" if not math.isfinite(value) else f"{value:.2g}"


def _signed(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:+.3f}".replace("-", "\u2212")


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
