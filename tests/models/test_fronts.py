import pytest

from galcli.errors import InputError, UsageError
from galcli.models.fronts import choose_front


@pytest.mark.parametrize(
    ("kind", "bands", "survey", "front"),
    [
        ("flux", ("g", "r", "i"), "", 0),
        ("flux", ("g", "r", "z"), "", 1),
        ("flux", ("u", "g", "r", "i", "z", "y"), "", 0),
        ("flux", ("g", "r", "i", "z"), "legacysurvey", 1),
        ("flux", ("g", "r", "i", "z"), "LEGACY", 1),
        ("flux", ("g", "r", "i", "z"), "sdss", 0),
        ("flux", ("g", "r", "z"), "sdss", 1),  # the survey's own front does not fit
        ("display", ("blue", "green", "red"), "sdss", 2),
    ],
)
def test_front_follows_survey_then_bands(card, kind, bands, survey, front):
    assert choose_front(card(), kind, bands, survey) == front


def test_nothing_fits(card):
    with pytest.raises(InputError) as caught:
        choose_front(card(), "flux", ("r", "i"))
    assert "flux:gri or flux:grz or display" in caught.value.message
    assert "r, i" in caught.value.message
    with pytest.raises(InputError):
        choose_front(card(fronts=[{"name": "flux:gri", "bands": ["g", "r", "i"]}]), "display", ("blue", "green", "red"))


@pytest.mark.parametrize(
    ("bands", "missing"),
    [
        (("g", "z"), "flux:grz lacks r"),
        (("g", "i"), "flux:gri lacks r"),
        (("u",), "flux:gri lacks g, r, i"),
    ],
)
def test_the_band_that_the_nearest_front_lacks_is_named(card, bands, missing):
    with pytest.raises(InputError) as caught:
        choose_front(card(), "flux", bands)
    assert caught.value.message.endswith(f"the cutouts are flux in {', '.join(bands)}; {missing}")
    assert "--bands" not in caught.value.hint  # the files say their bands, and cannot be contradicted
    with pytest.raises(InputError, match="flux:grz lacks z"):
        choose_front(card(), "flux", ("g", "r", "i"), override="flux:grz")


def test_override(card):
    bands = ("g", "r", "i", "z")
    assert choose_front(card(), "flux", bands, "sdss", override="flux:grz") == 1
    with pytest.raises(UsageError, match="no front"):
        choose_front(card(), "flux", bands, override="flux:ugr")
    with pytest.raises(InputError, match="display"):
        choose_front(card(), "flux", bands, override="display")
