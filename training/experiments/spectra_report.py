"""Table 1 of Wu & Peek (2020) as text and JSON, ours beside theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from galcli.training.experiments.spectra_claims import NOTEBOOK, PUBLISHED, PUBLISHED_EPOCHS, SIMPLE_DECONV, Scores
from galcli.training.experiments.statistics import CHANCE, Claim, Mean, mean_over_seeds
from galcli.training.networks.xresnet import build

_PAPER = "Wu & Peek (2020, arXiv:2009.12318), Table 1"
#: Why the verdict on the last claim is no judgement.
_EITHER = f"{SIMPLE_DECONV} is {PUBLISHED[SIMPLE_DECONV][0]} in the paper but {NOTEBOOK} in the authors' notebook"


def describe_sample(settings: dict[str, Any]) -> str:
    """Which galaxies the figures were measured on."""
    kind = "MOCK galaxies (simulated survey)" if settings["mock"] else f"galaxies of {settings['sample']}"
    return (
        f"{settings['held_out']:,} held-out {kind}, {settings['learned_from']:,} others learned from; "
        f"{settings['size']} px of {settings['pixel_scale']:g} arcsec, {'asinh' if settings['asinh'] else 'linear'} flux"
    )


def parameters(network: str, latents: int) -> int:
    """Trained numbers of a network."""
    return sum(weights.numel() for weights in build(network, n_out=latents).parameters())


def _means(scores: Scores) -> dict[tuple[str, int], Mean]:
    return {key: mean_over_seeds(scores.loss(*key)) for key in scores.metrics}


def as_text(settings: dict[str, Any], scores: Scores, claims: Sequence[Claim]) -> str:
    """The table, the order of the networks and the claims, in words.

    Parameters
    ----------
    settings : dict
        Of the experiment.
    scores : Scores
    claims : sequence of Claim

    Returns
    -------
    str
    """
    means = _means(scores)
    seeds = next(iter(means.values())).seeds
    lines = [
        _PAPER,
        f"on {describe_sample(settings)}",
        f"validation loss: RMSE over the {settings['latents']} latents; mean and standard error over {seeds} seeds",
        f"(of weights, order and noise; the galaxies are the same for all); batches of {settings['batch']}",
        "",
        *_rows(settings, scores, means),
        "",
        *_order(scores, means),
        *_useless(settings, means),
    ]
    for number, claim in enumerate(claims, 1):
        lines += ["", f"{number}. {claim.statement}: {claim.verdict}"]
        lines += [f"   {one.gain.text(4, sign=True)}  {one.name}: {verdict}"
                  for one, verdict in zip(claim.differences, claim.verdicts, strict=True)]  # fmt: skip
    lines += [
        f"   {_EITHER}: either order is a reproduction",
        "",
        "Positive differences speak for a claim; errors are those of the differences seed by seed.",
        "A claim holds with all of its comparisons and fails with any of them: by Student's t over the seeds, each with",
        f"a chance of {CHANCE:.0%} at most where nothing differs. Undecided: neither, or a single seed.",
        *_unlike(settings, scores),
    ]
    return "\n".join(lines) + "\n"


def _rows(settings: dict[str, Any], scores: Scores, means: dict[tuple[str, int], Mean]) -> Iterator[str]:
    heads = [text for own, other in zip(scores.epochs, PUBLISHED_EPOCHS, strict=True)
             for text in (f"{own} epochs", f"paper ({other})")]  # fmt: skip
    yield f"{'network':17}{'parameters':>11}" + "".join(f"{head:>16}" for head in heads)
    for network, published in PUBLISHED.items():
        cells = []
        for epochs, value in zip(scores.epochs, published, strict=True):
            mean = means.get((network, epochs))
            cells += [mean.text() if mean else "-", "-" if value is None else f"{value:.3f}"]
        count = f"{parameters(network, settings['latents']):,}"
        yield f"{network:17}{count:>11}" + "".join(f"{cell:>16}" for cell in cells)
    yield f"{'predict the mean':17}{'':>11}{settings['predict_the_mean']:>16.3f}{1:>16.3f}"


def _order(scores: Scores, means: dict[tuple[str, int], Mean]) -> Iterator[str]:
    """From the smallest loss to the largest, here and in the paper."""
    for column, epochs in enumerate(scores.epochs):
        known = {name: value for name, both in PUBLISHED.items() if (value := both[column]) is not None}
        paper = sorted(known, key=lambda name: known[name])
        own = sorted(paper, key=lambda name: means[name, epochs].value)
        same = "as in the paper" if own == paper else f"the paper's order is another: {' < '.join(paper)}"
        yield f"{epochs} epochs: {' < '.join(own)}; {same}"


def _useless(settings: dict[str, Any], means: dict[tuple[str, int], Mean]) -> Iterator[str]:
    """Networks that learned nothing: their place in the order means little."""
    for (network, epochs), mean in means.items():
        if mean.value >= settings["predict_the_mean"]:
            yield f"{network} is no better than predicting the mean after {epochs} epochs"


def _unlike(settings: dict[str, Any], scores: Scores) -> Iterator[str]:
    """What keeps the values from being compared with the published ones."""
    if settings["mock"] or scores.epochs != PUBLISHED_EPOCHS or settings["size"] != 224:
        yield "Galaxies, images or epochs are not those of the paper: compare orders, not values."


def as_json(settings: dict[str, Any], scores: Scores, claims: Sequence[Claim]) -> dict[str, Any]:
    """Everything the table was made from.

    Parameters
    ----------
    settings, scores, claims
        As for `as_text`.

    Returns
    -------
    dict
    """
    means = _means(scores)
    return {
        "experiment": "spectra-table1", "paper": _PAPER, "sample": describe_sample(settings), "settings": settings,
        "baseline": {"predict the mean": settings["predict_the_mean"]},
        "networks": [
            {
                "network": network, "epochs": epochs, "parameters": parameters(network, settings["latents"]),
                "rmse": asdict(means[network, epochs]), "published": _published(network, scores.epochs.index(epochs)),
                "runs": [
                    {
                        "seed": one["training"]["seed"], "rmse": one["curve"][-1]["rmse"],
                        "seconds": round(one["seconds"], 1), "curve": one["curve"],
                        "latents": {name: figures["rmse"] for name, figures in one["held_out"]["latents"].items()},
                    }
                    for one in runs
                ],
            }
            for (network, epochs), runs in scores.metrics.items()
        ],
        "claims": [
            {
                "claim": claim.statement, "verdict": claim.verdict,
                "differences": [{"name": one.name, "verdict": verdict} | asdict(one.gain)
                                for one, verdict in zip(claim.differences, claim.verdicts, strict=True)],
            }
            for claim in claims
        ],
    }  # fmt: skip


def _published(network: str, column: int) -> dict[str, Any]:
    found: dict[str, Any] = {"epochs": PUBLISHED_EPOCHS[column], "paper": PUBLISHED[network][column]}
    return found | ({"notebook": NOTEBOOK} if network == SIMPLE_DECONV else {})
