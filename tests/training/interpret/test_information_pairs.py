"""Pairs of inputs: the published ones are those of the paper, and words name any other."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galcli.errors import InputError, UsageError
from galcli.training.interpret.information_pairs import (
    PUBLISHED,
    has_redshifts,
    networks,
    pairs_of,
    parse_pair,
)
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import BANDS, INFRARED, MORPHOLOGY, OPTICAL, REDSHIFT, Inputs
from galcli.training.recipes.mass_words import PHOTOMETRY
from tests.survey import write_catalog


def test_published_pairs_are_29() -> None:
    assert Counter(pair.group for pair in PUBLISHED) == {
        "sets of inputs": 5, "single bands of images": 5, "adjacent bands of images": 4, "single photometric bands": 8,
        "adjacent photometric bands": 7,
    }  # fmt: skip
    assert len({pair.name for pair in PUBLISHED}) == len(PUBLISHED) == 29
    images = Inputs((), BANDS)
    assert [(pair.first, pair.second) for pair in PUBLISHED[:5]] == [
        (Inputs(OPTICAL), Inputs((), BANDS, True)),
        (Inputs(OPTICAL), Inputs(MORPHOLOGY)),
        (Inputs(OPTICAL), Inputs(INFRARED)),
        (images, Inputs(INFRARED)),
        (images | Inputs(INFRARED), Inputs((REDSHIFT,))),
    ]


def test_bands_stand_against_all_others() -> None:
    bands = [(pair.first.bands, pair.second.bands) for pair in PUBLISHED[5:14]]
    assert bands == [("u", "griz"), ("g", "uriz"), ("r", "ugiz"), ("i", "ugrz"), ("z", "ugri"),
                     ("ug", "riz"), ("gr", "uiz"), ("ri", "ugz"), ("iz", "ugr")]  # fmt: skip
    order = list(PHOTOMETRY)
    assert order == ["u", "g", "r", "i", "z", "w1", "w2", "w3"]
    every = {name for columns in PHOTOMETRY.values() for name in columns}
    assert every == {*OPTICAL, *INFRARED}
    for number, pair in enumerate(PUBLISHED[14:]):
        start, width = (number, 1) if number < 8 else (number - 8, 2)
        chosen = {name for band in order[start : start + width] for name in PHOTOMETRY[band]}
        assert set(pair.first.columns) == chosen
        assert set(pair.second.columns) == every - chosen


def test_the_error_of_w3_is_left_out() -> None:
    assert PHOTOMETRY["w3"] == ("w3mpro",)
    assert PHOTOMETRY["w1"] == ("w1mpro", "w1sigmpro")


def test_networks_are_shared() -> None:
    """Of 3 * 29 networks, equal ones are one: all eight photometric bands come in 15 pairs."""
    shared = networks(PUBLISHED)
    assert len(shared) == 59
    assert sum(inputs.images for inputs in shared) == 23
    assert parse_pair("optical:infrared").both == parse_pair("phot[w2]:phot[ugrizw1w3]").both
    assert [inputs.images for inputs in shared] == sorted(inputs.images for inputs in shared), "images come last"


def test_order_of_words_makes_no_other_network() -> None:
    one, two = parse_pair("phot[w1u]+redshift:images[rg]"), parse_pair("z + phot[u]+phot[w1] : images[gr]")
    assert (one.first, one.second, one.both) == (two.first, two.second, two.both)
    assert one.second.bands == "gr"
    assert one.first.columns == ("petroMag_u", "petroMagErr_u", "w1mpro", "w1sigmpro", REDSHIFT)
    assert parse_pair("PETROMAG_G:shapes[g]").first.columns == ("petroMag_g",)
    assert parse_pair("redshift:shapes[iu]").second == Inputs((), "ui", True)


@pytest.mark.parametrize(("words", "message", "hint"), [
    ("optical", "no two inputs", "FIRST:SECOND"),
    ("optical:", "no two inputs", "FIRST:SECOND"),
    ("optical:infrared:redshift", "no two inputs", "FIRST:SECOND"),
    ("optical:optcal", "unknown input 'optcal'", "morphology"),
    ("optical:EBV", "unknown input", "images\\[gr\\]"),
    ("optical:lgm_tot_p50", "unknown input", "known"),
    ("optical:images[gx]", "unknown bands", "u, g, r, i, z"),
    ("optical:shapes[]", "unknown bands", "shapes\\[gr\\]"),
    ("optical:phot[w4]", "unknown bands", "w3"),
    ("phot[gr]:phot[rg]", "same inputs twice", "differ"),
    ("images:shapes[g]", "do not go together", "one of them"),
    ("images+shapes:optical", "do not go together", "one of them"),
])  # fmt: skip
def test_words_that_name_no_pair(words: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_pair(words)
    assert re.search(hint, raised.value.hint)


def test_pairs_are_asked_for_once(tmp_path: Path) -> None:
    source = Source(tmp_path, 0)
    several = pairs_of(["optical:infrared", "published", "phot[g]:redshift", "optical:infrared"], source)
    assert len(several) == 30
    assert several[0].name == "optical:infrared"
    assert several[-1].name == "phot[g]:redshift"


def test_columns_of_a_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "own.fits"
    names = {"logm": np.ones(3), "EBV": np.ones(3), "Colour": np.ones(3), "PETROMAG_U": np.ones(3)}
    write_catalog(path, RA=np.ones(3), DEC=np.ones(3), **names)
    source = Source(tmp_path, 0, catalog=path, target="LOGM")
    (pair,) = pairs_of(["colour:petromag_u"], source)
    assert pair.first.columns == ("Colour",)
    assert pair.second.columns == ("petroMag_u",)
    with pytest.raises(InputError, match="no column"):
        pairs_of(["colour:nothing"], source)
    for word in ("logm", "ebv"):
        with pytest.raises(UsageError, match="no input of its own"):
            pairs_of([f"colour:{word}"], source)


def test_columns_are_found_as_the_networks_find_them(tmp_path: Path) -> None:
    """By other names and from fluxes, without a word of the user; and by --map."""
    path, one = tmp_path / "own.fits", np.ones(3)
    write_catalog(path, {"R50": "pix"}, RA=one, DEC=one, lgm_tot_p50=one, Z_SPEC=one, petroFlux_u=one, petroFlux_r=one,
                  E_BV=one, BRIGHT=one, R50=one)  # fmt: skip
    source = Source(tmp_path, 0, catalog=path, mapped=(("petroMag_i", "BRIGHT"),))
    assert has_redshifts(source)
    for words, first, second in (
        ("petroMag_r:petroMag_u", "petroMag_r", "petroMag_u"), ("petromag_i:redshift", "petroMag_i", "Z"),
        ("petroFlux_u:Z_SPEC", "petroFlux_u", "Z"), ("petroFlux_u:zspec", "petroFlux_u", "Z"),
        ("petroMag_u:bright", "petroMag_u", "petroMag_i"),
    ):  # fmt: skip
        (pair,) = pairs_of([words], source)
        assert (pair.first.columns, pair.second.columns) == ((first,), (second,))
    with pytest.raises(UsageError, match="same inputs twice"):
        pairs_of(["redshift:Z_SPEC"], source)
    for word in ("EBV", "E_BV", "lgm_tot_p50"):
        with pytest.raises(UsageError, match="no input of its own"):
            pairs_of([f"petroMag_u:{word}"], source)
    with pytest.raises(InputError, match=r"needs column w1mpro \(or W1mag, FLUX_W1\)"):
        pairs_of(["petroMag_u:w1mpro"], source)
    with pytest.raises(InputError, match=r"column R50 is in pix, but .* takes petroR50_r in arcsec"):
        pairs_of(["petroMag_u:petroR50_r"], replace(source, mapped=(("petroR50_r", "R50"),)))


def test_a_band_is_no_redshift(tmp_path: Path) -> None:
    path, one = tmp_path / "own.fits", np.full(3, 17.0)
    bands = dict.fromkeys("ugriz", one)
    write_catalog(path, RA=one, DEC=one, lgm_tot_p50=one, **bands)
    source = Source(tmp_path, 0, catalog=path)
    assert not has_redshifts(source)
    with pytest.raises(InputError, match="z beside g and r is the magnitude of a band"):
        pairs_of(["g:Z"], source)
    assert has_redshifts(replace(source, mapped=(("Z", "i"),)))
    with pytest.raises(InputError, match="no column nowhere"):
        has_redshifts(replace(source, mapped=(("Z", "nowhere"),)))
