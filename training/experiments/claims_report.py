"""What experiments found about the claims of a paper, as JSON, as text and as rows of one table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from galcli.training.experiments.criteria import StandIn, criterion
from galcli.training.experiments.statistics import CHANCE, Claim

#: Papers, by the first word of an experiment's name.
PAPERS = {
    "sae": "Tolooshams et al., Mechanistic Interpretability with Sparse Autoencoder Neural Operators (arXiv:2509.03738)",
    "mass": "Lin et al., Interpreting the estimation of stellar mass from galaxy images (arXiv:2509.23901)",
}
#: Entries of a list that are told one by one.
_LISTED = 8


def paper_of(experiment: str) -> str:
    """The paper whose claims an experiment is about."""
    return PAPERS[experiment.partition("-")[0]]


def as_json(
    name: str, title: str, sample: str, settings: Mapping[str, Any], full: Mapping[str, Any],
    seeds: Sequence[Mapping[str, Any]], claims: Sequence[Claim],
) -> dict[str, Any]:  # fmt: skip
    """All that is known of a finished experiment.

    Parameters
    ----------
    name, title, sample : str
        Of the experiment.
    settings : mapping
        Preset and plan.
    full : mapping
        Plan of the full size.
    seeds : sequence of mapping
        ``seed``, ``device``, ``seconds``.
    claims : sequence of Claim

    Returns
    -------
    dict
    """
    return {
        "experiment": name, "title": title, "paper": paper_of(name), "sample": sample, "preset": settings["preset"],
        "run": what_was_run(settings["plan"], full), "plan": settings["plan"],
        "seeds": [{key: one[key] for key in ("seed", "device", "seconds")} for one in seeds],
        "claims": [
            {
                "claim": claim.statement, "verdict": claim.verdict, "stand_in": isinstance(claim, StandIn),
                "criteria": [
                    {"name": one.name, "criterion": asked, "figure": found, "verdict": verdict, "gain": asdict(one.gain)}
                    for one, verdict in zip(claim.differences, claim.verdicts, strict=True)
                    for asked, found in [criterion(one)]
                ],
            }
            for claim in claims
        ],
    }  # fmt: skip


def what_was_run(plan: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    """Sizes in words, with the full ones where they differ; of long lists their lengths."""

    def tell(value: Any) -> str:
        if not isinstance(value, list | tuple):
            return str(value)
        return "/".join(map(tell, value)) if len(value) <= _LISTED else str(len(value))

    return ", ".join(
        f"{key.replace('_', ' ')} {tell(value)}" + (f" (full: {tell(full[key])})" if full[key] != value else "")
        for key, value in plan.items()
    )


def as_text(result: Mapping[str, Any]) -> str:
    """The claims and what became of them, in words.

    Parameters
    ----------
    result : mapping
        Of `as_json`.
    """
    seconds = [one["seconds"] for one in result["seeds"]]
    lines = [
        f"{result['experiment']}: {result['title']}",
        result["paper"],
        f"on {result['sample']}",
        f"{result['preset']}: {result['run']}",
        f"{len(seconds)} seeds, each {statistics.median(seconds):.0f} s on one {_device(result)}",
    ]
    for number, claim in enumerate(result["claims"], 1):
        lines += ["", f"{number}. {claim['claim']}: {_verdict(claim)}"]
        lines += [
            f"   {one['name']} {one['criterion']}: {one['figure']}: {one['verdict']}" for one in claim["criteria"]
        ]
    lines += [
        "",
        "Figures are means over the seeds with the standard error of the mean. A claim holds with all of its criteria",
        f"and fails with any of them: by Student's t over the seeds, each with a chance of {CHANCE:.0%} at most where the",
        "truth is at the bound. Undecided: neither, or a single seed.",
    ]
    return "\n".join(lines) + "\n"


def _device(result: Mapping[str, Any]) -> str:
    return "GPU" if result["seeds"][0]["device"] == "cuda" else "core"


def as_rows(result: Mapping[str, Any]) -> list[str]:
    """Rows of the Markdown table of all experiments, one per claim; see `HEAD`."""
    rows = []
    for number, claim in enumerate(result["claims"]):
        asked = "<br>".join(f"{one['name']} {one['criterion']}" for one in claim["criteria"])
        found = "<br>".join(one["figure"] for one in claim["criteria"])
        rows.append(row("" if number else result["experiment"], claim["claim"], asked, found, _verdict(claim)))
    return rows


def _verdict(claim: Mapping[str, Any]) -> str:
    """The verdict, with the word that it is none on the paper's claim where that is so."""
    return f"{claim['verdict']} (stand-in for the paper's claim)" if claim["stand_in"] else str(claim["verdict"])


def as_line(result: Mapping[str, Any]) -> str:
    """What was run, and how long it took, as an item of a Markdown list."""
    seconds = [one["seconds"] for one in result["seeds"]]
    return (
        f"- {result['experiment']}: {result['preset']}, {len(seconds)} seeds, {sum(seconds):.0f} s on one "
        f"{_device(result)}; {result['sample']}; {result['run']}"
    )


def row(*cells: str) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


HEAD = [
    row("experiment", "claim", "criterion", "our figure", "verdict"),
    "|---|---|---|---|---|",
]
