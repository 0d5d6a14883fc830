"""The same ResNet-18 on the same cutouts through other programs, all on all cores, in one time window, in turns.

Zoobot and Hyrax run where an environment that holds them is named: ``--peers-python PATH``, once for each.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from galcli.models import library
from tests.benchmarks.measure import Result
from tests.benchmarks.peers_loss import losses
from tests.benchmarks.peers_sides import Job, Side, Usage, galcli, installed_peers, plain_script, watch
from tests.benchmarks.peers_survey import PeerSurvey, write_models, write_survey

OBJECTS, LOSS_OBJECTS, REPEATS = 4096, 1000, 3
SHIPPED = "sfnet-metallicity"
#: Goals: how many times as fast galcli is with the network, at float32 and at int8.
GOALS = {"plain script": (1.0, 2.5), "zoobot": (1.6, 5.0), "hyrax engine": (1.25, 4.0)}
FEED_GOAL = 4.0

#: Side -> what its runs cost.
Costs = dict[str, list[Usage]]


def run(folder: Path, pythons: Sequence[Path] = ()) -> list[Result]:
    """Measure galcli and whatever else is there."""
    survey = write_survey(folder / "survey", OBJECTS)
    resnet, average = write_models(folder)
    peers, absent = installed_peers(pythons)
    sides = [galcli(), plain_script(), *peers]
    results = [Result(f"peers: {name}", 0, "absent", facts={"hint": "--peers-python"}) for name in absent]
    results += _start(sides, survey, resnet, folder)
    results += _network(sides, survey, resnet, folder)
    results += _feed(sides, survey, average, folder)
    results += _shipped(survey, folder)
    few = write_survey(folder / "few", LOSS_OBJECTS)
    return results + losses(sides, few, resnet, average, folder)
