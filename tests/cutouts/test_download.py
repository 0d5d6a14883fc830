"""Downloads that go well: what is asked, what is kept, what is not asked for again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest

from galcli import __version__, interrupts
from galcli.cutouts.batch import CutoutRequest
from galcli.cutouts.download import Tally, download, file_name
from galcli.cutouts.files import FileSource
from galcli.cutouts.http import Manners
from galcli.cutouts.lookup import iau_name, list_folder, parse_iau
from galcli.cutouts.services import make_service
from galcli.errors import IdentityError, InputError, Interrupted, UsageError
from galcli.progress import Lines
from galcli.sky.catalog import open_catalog
from tests import service as fake
from tests.survey import write_catalog

#: No waiting in tests that do not measure it.
HASTY = Manners(rate=1e4, timeout=5, backoff=0.001)
RA = np.array([150.0, 10.25, 200.5, 33.125, 75.0])
DEC = np.array([2.0, -10.5, 45.25, 0.0, 60.125])


Fetch = Callable[..., Tally]


@pytest.fixture
def fetch(service: fake.Service, tmp_path: Path) -> Fetch:
    """Download for a catalogue made of columns into ``tmp_path/cut``."""

    def run(survey: str = "legacy", manners: Manners = HASTY, **how: Any) -> Tally:
        asked = {"size": 16, **{key: how.pop(key) for key in ("layer", "bands", "size", "pixel_scale") if key in how}}
        limit, url, folder = how.pop("limit", None), how.pop("url", service.url), how.pop("folder", tmp_path / "cut")
        columns = how or {"TARGETID": np.arange(len(RA)) + 71, "RA": RA, "DEC": DEC}
        path = write_catalog(tmp_path / "catalog.fits", **columns)
        with open_catalog(path) as catalog:
            return download(
                catalog, folder, make_service(survey, **asked), Lines(), url=url, manners=manners, limit=limit
            )

    return run


def problems(folder: Path) -> list[tuple[int, str, str]]:
    """What the list of problems says."""
    path = folder / "problems.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [(int(entry["row"]), entry["id"], entry["reason"]) for entry in csv.DictReader(file)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_row_gets_the_file_of_its_position(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    tally = fetch()
    assert (tally.rows, tally.fetched, tally.present, tally.failed) == (5, 5, 0, 0)
    assert names(tmp_path / "cut") == [*(f"{number}.fits" for number in range(71, 76)), "download.json"]
    for number, ra in enumerate(RA, start=71):
        np.testing.assert_array_equal(fitsio.read(str(tmp_path / f"cut/{number}.fits")), fake.pixels(ra, 3, 16))
    path, query = next((path, query) for path, query in service.asked if float(query["ra"]) == RA[0])
    assert path == "/base/fits-cutout"
    assert {key: query[key] for key in ("layer", "bands", "size")} == {"layer": "ls-dr10", "bands": "grz", "size": "16"}
    assert (float(query["dec"]), float(query["pixscale"])) == (2.0, 0.262)
    assert service.agents == {f"galcli/{__version__}"}


@pytest.mark.parametrize(
    ("layer", "bands", "scale"), [("ls-dr9", "grz", 0.262), ("sdss", "gri", 0.396), ("unwise-neo7", "grz", 2.75)]
)
def test_layers_have_their_own_scale(fetch: Fetch, service: fake.Service, layer: str, bands: str, scale: float) -> None:
    assert fetch(layer=layer).fetched == 5
    assert {(query["bands"], float(query["pixscale"])) for _, query in service.asked} == {(bands, scale)}


def test_one_band_and_another_order_of_bands(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    assert fetch(bands=("r",)).fetched == 5
    assert fetch(bands=("z", "g"), folder=tmp_path / "two").fetched == 5
    assert {query["bands"] for _, query in service.asked} == {"r", "gz"}


def test_requests_come_in_the_order_of_the_catalogue(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    ra = np.random.default_rng(1).permutation(np.arange(40, dtype=np.float64) + 0.5)
    fetch(manners=Manners(jobs=1, rate=1e4), RA=ra, DEC=ra * 0)
    assert [float(position) for position in service.positions()] == ra.tolist()
    assert names(tmp_path / "cut")[:2] == ["0.fits", "1.fits"]  # without identifiers, rows have numbers


def test_only_what_is_missing_or_damaged_is_fetched_again(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    fetch()
    before = {path.name: path.read_bytes() for path in (tmp_path / "cut").glob("*.fits")}
    (tmp_path / "cut/73.fits").unlink()
    (tmp_path / "cut/74.fits").write_bytes(before["74.fits"][:4000])
    (tmp_path / "cut/75.fits").write_bytes(b"")
    service.asked.clear()
    tally = fetch()
    assert (tally.fetched, tally.present) == (3, 2)
    assert sorted(map(float, service.positions())) == sorted(RA[2:])
    assert {path.name: path.read_bytes() for path in (tmp_path / "cut").glob("*.fits")} == before
    service.asked.clear()
    assert fetch().present == 5
    assert not service.asked


def test_limit(fetch: Fetch, service: fake.Service) -> None:
    assert fetch(limit=2).rows == 2
    assert sorted(map(float, service.positions())) == [10.25, 150.0]
    assert fetch(limit=100).present == 2


def test_repeated_identifiers_are_fetched_once(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    ids, ra = np.array([7, 8, 7, 7]), np.array([150.0, 10.0, 150.0, 33.0])
    tally = fetch(TARGETID=ids, RA=ra, DEC=np.zeros(4))
    assert (tally.fetched, tally.present, tally.failed) == (2, 1, 1)
    assert len(service.asked) == 2
    assert [(row, name) for row, name, _ in problems(tmp_path / "cut")] == [(3, "7")]
    assert "another place" in problems(tmp_path / "cut")[0][2]


def test_rows_that_are_nowhere_are_listed(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    ra, dec = np.array([np.nan, 150.0, 400.0, 10.0, -20.0]), np.array([0.0, 2.0, 0.0, 91.0, 3.0])
    tally = fetch(TARGETID=np.arange(5), RA=ra, DEC=dec)
    assert (tally.fetched, tally.failed) == (2, 3)
    assert [row for row, _, _ in problems(tmp_path / "cut")] == [0, 2, 3]
    assert sorted(map(float, service.positions())) == [150.0, 340.0]


STRANGE = [
    b"a/b", b"..", b"../../evil", b"/etc/passwd", b"", b".hidden", b"back\\slash", b"x" * 251,
    b"with space", b"per%cent {id}", b"x.fits", b"download.json", b"-o",
]  # fmt: skip


def test_identifiers_that_are_no_file_names(fetch: Fetch, tmp_path: Path) -> None:
    """Nothing leaves the folder, and each row finds its own cutout again."""
    n = len(STRANGE)
    ids, ra, dec = np.array(STRANGE, "S255"), np.arange(n) * 20.0 + 1 / 3, np.linspace(-80, 80, n) + 0.01
    outside = set(tmp_path.rglob("*"))
    tally = fetch(OBJECT_ID=ids, RA=ra, DEC=dec)
    assert tally.fetched == n, problems(tmp_path / "cut")
    written = set(tmp_path.rglob("*")) - outside
    assert {path.parent for path in written} == {tmp_path / "cut", tmp_path}
    assert {path.name for path in written if path.parent == tmp_path} <= {"cut", "catalog.fits"}
    assert (tmp_path / "cut/with space.fits").exists()
    request = CutoutRequest(np.array(STRANGE, "S255"), ra, dec, np.arange(n) + 10**6)
    source = FileSource(list_folder(tmp_path / "cut"), request)
    seen = {}
    for batch in source.read(request, 4):
        seen |= {row: batch.pixels[k] for k, row in enumerate(batch.index.tolist())}  # type: ignore[union-attr]
    for row in range(n):
        np.testing.assert_array_equal(seen[row], fake.pixels(round(ra[row], 7), 3, 16))


def test_iau_names_come_back() -> None:
    rng = np.random.default_rng(3)
    places = [*zip(rng.uniform(0, 360, 300), rng.uniform(-89, 89, 300), strict=True), (0.0, -1e-5), (360.0, 90.0)]
    for ra, dec in places:
        found = parse_iau(iau_name(ra, dec))
        assert found is not None
        assert abs(found[0] - ra % 360) * 3600 < 0.1501
        assert abs(found[1] - dec) * 3600 < 0.1001
    assert iau_name(9.459584, 17.383056) == "J003750.30+172259.0"
    assert file_name("..", 9.459584, 17.383056) == "J003750.30+172259.0.fits"


@pytest.mark.parametrize(
    ("change", "word"), [({"size": 32}, "size 16, now 32"), ({"layer": "ls-dr9"}, "layer"), ({"bands": "gr"}, "bands"),
                         ({"pixel_scale": 0.5}, "pixel_scale"), ({"survey": "panstarrs"}, "survey")],
)  # fmt: skip
def test_another_kind_of_cutout_is_refused(fetch: Fetch, service: fake.Service, change: Any, word: str) -> None:
    fetch()
    service.asked.clear()
    with pytest.raises(IdentityError, match=word):
        fetch(**change)
    assert not service.asked


def test_folder_with_other_files_is_refused(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/71.fits").write_bytes(b"mine")
    with pytest.raises(InputError, match="not downloaded"):
        fetch()
    assert not service.asked
    assert names(tmp_path / "cut") == ["71.fits"]


@pytest.mark.parametrize("text", [b"", b"[1, 2]", b"{", b"\xff"])
def test_damaged_settings_are_refused(fetch: Fetch, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/download.json").write_bytes(text)
    with pytest.raises(InputError):
        fetch()


def test_what_a_killed_download_left_is_removed(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/.71.fits.123-0123abcd.tmp").write_bytes(b"SIMPLE")
    fetch()
    assert len(names(tmp_path / "cut")) == 6


def test_settings_are_kept_readable(fetch: Fetch, tmp_path: Path) -> None:
    fetch()
    assert json.loads((tmp_path / "cut/download.json").read_text()) == {
        "survey": "legacy", "layer": "ls-dr10", "bands": ["g", "r", "z"], "size": 16, "pixel_scale": 0.262,
    }  # fmt: skip


def test_list_of_problems_is_that_of_the_last_run(fetch: Fetch, service: fake.Service, tmp_path: Path) -> None:
    service.misdeeds["10.2500000"] = [fake.says(404), None]
    assert fetch().failed == 1
    assert problems(tmp_path / "cut") == [(1, "72", "404 Not Found")]
    assert fetch().failed == 0
    assert not (tmp_path / "cut/problems.csv").exists()


def test_stopped_download_goes_on(fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        if len(list((tmp_path / "cut").glob("*.fits"))) == 3:
            raise Interrupted("stopped", "again")

    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "check", check)
        with pytest.raises(Interrupted):
            fetch(manners=Manners(jobs=1, rate=1e4))
    there = {path.name for path in (tmp_path / "cut").glob("*.fits")}
    assert len(there) == 3
    tally = fetch()
    assert (tally.fetched, tally.present) == (2, 3)


def test_empty_catalogue(fetch: Fetch) -> None:
    assert fetch(RA=np.zeros(0), DEC=np.zeros(0)).done == 0


@pytest.mark.parametrize(
    "how",
    [{"survey": "panstarrs", "layer": "x"}, {"survey": "panstarrs", "pixel_scale": 0.5},
     {"survey": "panstarrs", "bands": "gru"}, {"survey": "legacy", "layer": "des"}],
)  # fmt: skip
def test_what_no_service_gives_is_refused(how: Any) -> None:
    with pytest.raises(UsageError):
        make_service(**how)


@pytest.mark.parametrize("url", ["ftp://example.org", "file:///etc", "example.org", "http://", "http://x:port"])
def test_only_web_addresses(fetch: Fetch, url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="URL"):
        fetch(url=url)
    assert not (tmp_path / "cut").exists()
