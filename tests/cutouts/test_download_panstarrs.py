"""Pan-STARRS: one image per band becomes one file in nanomaggies that the file source reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galcli.cutouts.batch import CutoutRequest
from galcli.cutouts.download import Tally, download
from galcli.cutouts.files import FileSource
from galcli.cutouts.lookup import list_folder
from galcli.cutouts.services import make_service
from galcli.progress import Lines
from galcli.sky.catalog import open_catalog
from tests import service as fake
from tests.cutouts.test_download import HASTY, problems
from tests.survey import write_catalog

RA, DEC = np.array([150.0, 10.25]), np.array([2.0, -10.5])
BAD = "150.0000000"
LIST, CUT = "/base/ps1filenames.py", "/base/fitscut.cgi"


Fetch = Callable[..., Tally]


@pytest.fixture
def fetch(service: fake.Service, tmp_path: Path) -> Fetch:
    def run(**how: Any) -> Tally:
        path = write_catalog(tmp_path / "catalog.fits", TARGETID=np.array([5, 6]), RA=RA, DEC=DEC)
        wanted = make_service("panstarrs", **{"size": 20} | how)
        with open_catalog(path) as catalog:
            return download(catalog, tmp_path / "cut", wanted, Lines(), url=service.url, manners=HASTY)

    return run


def answers(page: str, **changes: Any) -> fake.Misdeed:
    """A good answer; on one page, images with other cards."""

    def act(handler: fake.Handler, good: bytes) -> None:
        parts = urlsplit(handler.path)
        query = dict(parse_qsl(parts.query))
        if parts.path == LIST and page == LIST:
            good = changes.get("body") or fake.ps1_list(query, **changes)
        elif parts.path == CUT and f".stk.{page}." in query["red"]:
            good = changes.get("body") or fake.ps1_image(query, **changes)
        handler.give(good)

    return act


def test_bands_are_joined_in_nanomaggies(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch().fetched == 2
    request = CutoutRequest(np.array([5, 6]), RA, DEC, np.arange(2))
    source = FileSource(list_folder(tmp_path / "cut"), request)
    assert source.bands == tuple("grizy")
    (batch,) = source.read(request, 8)
    assert source.counters() == {"no_checksum": 0}
    np.testing.assert_allclose(batch.pixel_scale, 0.25, rtol=1e-9)  # type: ignore[union-attr]
    np.testing.assert_allclose(batch.center, 9.5, atol=1e-3)  # type: ignore[union-attr]
    for row, ra in enumerate(RA):
        for band, name in enumerate("grizy"):
            counts = fake.pixels(ra, 5, 20)[band].astype(np.float64) * 100
            # An object of m = 25 + 2.5 log10(t) gives one count; nanomaggies have their zero point at 22.5.
            zero = 25 + 2.5 * np.log10(fake.PS1_EXPOSURES[name])
            expected = counts * 10 ** ((22.5 - zero) / 2.5)
            np.testing.assert_allclose(batch.pixels[row, band], expected, rtol=1e-6)  # type: ignore[union-attr]


def test_file_is_good_fits_and_lies_where_its_images_lie(fetch: Fetch, tmp_path: Path) -> None:
    fetch(bands=("r", "g"))
    with fits.open(tmp_path / "cut/5.fits", checksum=True) as file:
        header = file[0].header
        assert (header["BANDS"], header["BUNIT"], header["EXPTIME1"]) == ("gr", "nanomaggy", 700.0)
        assert header["STACK1"].endswith(".stk.r.unconv.fits")
        assert file[0].data.shape == (2, 20, 20)
        ours = WCS(header, naxis=2)
    answer = fake.ps1_image({"ra": "150.0", "dec": "2.0", "size": "20", "red": "x.stk.g.x"})
    modern = re.sub(r"PC00(\d)00(\d)=", r"PC\1_\2   =", answer[:2880].decode())
    theirs = WCS(fits.Header.fromstring(modern))
    corners = np.array([[0, 0], [0, 19], [19, 0], [19, 19.0]])
    np.testing.assert_allclose(ours.all_pix2world(corners, 0), theirs.all_pix2world(corners, 0), atol=1e-9)
    assert ours.all_pix2world(corners, 0)[0, 0] > 150.0  # east is left


def test_one_list_and_one_image_per_band_and_row(fetch: Fetch, service: fake.Service) -> None:
    fetch(bands=("g", "i"))
    assert sorted(service.positions(LIST)) == ["10.2500000", "150.0000000"]
    assert len(service.positions(CUT)) == 4
    assert {query["filters"] for path, query in service.asked if path == LIST} == {"gi"}
    red = {query["red"] for path, query in service.asked if path == CUT}
    assert red == {f"/rings.v3/1234/056/rings.v3.skycell.1234.056.stk.{band}.unconv.fits" for band in "gi"}
    service.asked.clear()
    assert fetch(bands=("i", "g")).present == 2
    assert not service.asked


def test_asinh_scaled_images_become_linear(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    soften, offset = 50.0, 3.0
    counts = fake.pixels(150.0, 5, 20)[0] * 100
    scaled = (2.5 / np.log(10)) * np.arcsinh((counts - offset) / (2 * soften))
    service.misdeeds[BAD] = [answers("g", image=scaled.astype(np.float32), BSOFTEN=soften, BOFFSET=offset)]
    fetch()
    ours = fitsio.read(str(tmp_path / "cut/5.fits"))[0]
    np.testing.assert_allclose(ours, counts * 10 ** ((22.5 - 25) / 2.5) / 500.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("misdeed", "reason"),
    [
        (answers(LIST, leave_out="grizy"), "the survey does not cover this position"),
        (answers(LIST, leave_out="iy"), "no image in i, y here"),
        (answers(LIST, body=b"<html><title>Down</title>"), "a web page instead of a list of images: Down"),
        (answers(LIST, body=b"words"), "no list of images"),
        (answers(LIST, body=b"filter filename\ng\n"), "list of images is damaged"),
        (answers("r", EXPTIME=None), "the image in r has no EXPTIME"),
        (answers("r", EXPTIME=0.0), "the image in r has no EXPTIME"),
        (answers("z", CRPIX1=10.0), "the images in g and z have different pixel grids"),
        (answers("z", PC001002=0.01), "the images in g and z have different pixel grids"),
        (answers("g", image=np.ones((19, 20), np.float32)), "20 x 19 pixels instead of 20 x 20"),
        (answers("g", CDELT1=None, PIXSCALE=0.25), "the image in g does not say where it lies"),
        (answers("g", FILTER="r.00000"), "bands"),
        (answers("y", body=b"<html><title>Oops</title>"), "a web page instead of FITS: Oops"),
        (answers("y", image=np.full((20, 20), np.nan, np.float32)), "no pixel has data"),
    ],
)
def test_row_without_all_bands_fails(
    fetch: Fetch, service: fake.Service, tmp_path: Path, misdeed: fake.Misdeed, reason: str
) -> None:
    service.misdeeds[BAD] = [misdeed]
    assert (fetch().fetched, len(problems(tmp_path / "cut"))) == (1, 1)
    assert reason in problems(tmp_path / "cut")[0][2]
    assert not (tmp_path / "cut/5.fits").exists()
