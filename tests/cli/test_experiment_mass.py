"""`galcli experiment mass-*`: its galaxies are named as `galcli explain mass` names them."""

from __future__ import annotations

import pytest

from galcli.cli.experiment import command
from galcli.cli.explain import mass

#: Where galaxies come from and how they are read.
GALAXIES = ("catalog", "cutouts", "target", "mapped", "bands", "zeropoint", "pixel_scale", "hdu", "id_column", "ra_column", "dec_column")  # fmt: skip


@pytest.mark.parametrize("name", ["mass-synergy", "mass-infrared", "mass-bands", "mass-all"])
def test_galaxies_are_named_as_by_explain_mass(name: str) -> None:
    ours, theirs = ({one.name: one for one in each.params} for each in (command.commands[name], mass))  # type: ignore[attr-defined]
    for option in GALAXIES:
        assert ours[option].to_info_dict() == theirs[option].to_info_dict()


def test_experiments_on_made_data_take_no_catalogue() -> None:
    assert "catalog" not in {one.name for one in command.commands["sae-rotation"].params}  # type: ignore[attr-defined]
