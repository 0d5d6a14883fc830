from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from galcli.cutouts.lookup import FileList, Template, kind_of, list_glob, parse_iau, stem_of
from galcli.errors import InputError


def names_of(paths: list[str | None]) -> list[str | None]:
    return [Path(path).name if path else None for path in paths]


def test_kinds_and_stems() -> None:
    assert [kind_of(name) for name in ("a.FITS", "a.fits.gz", "a.jpeg", "a.PNG", "a.txt", "fits")] == [
        "flux", "flux", "display", "display", None, None,
    ]  # fmt: skip
    assert [stem_of(name) for name in ("x/y/7.fits.fz", "7.JPG", "J1.2+3.4.png", "7")] == ["7", "7", "J1.2+3.4", "7"]


def test_iau_names() -> None:
    ra, dec = parse_iau("prefix_J003750.30+172259.0_x") or (0, 0)
    assert ra == pytest.approx(15 * (37 / 60 + 50.30 / 3600), abs=1e-9)
    assert dec == pytest.approx(17 + 22 / 60 + 59 / 3600, abs=1e-9)
    assert (parse_iau("J001655.18-002739.1") or (0, 0))[1] == pytest.approx(-(27 / 60 + 39.1 / 3600))
    assert parse_iau("J0037+1722") is None


def test_order_of_endings_and_ways(ask: Any) -> None:
    names = [
        "7.png",
        "7.jpg",
        "7.fits.gz",
        "8.fits.fz",
        "J003750.30+172259.0.fits",
        "ten.fits",
        "J003750.30+172259.0.png",
    ]
    files = FileList(names, Path("/d"), "FILE")
    ra, dec = parse_iau(names[4]) or (0, 0)
    request = ask(
        [7, 8, 9, 10, 11],
        [ra, ra, ra + 1.9 / 3600, ra + 2.6 / 3600, ra + 90],
        [dec] * 5,
        FILE=[b"", b"", b"", b"old/place/ten.jpg  ", b"none.fits"],
    )
    # An identifier beats a position, which beats a name in the catalogue.
    assert names_of(files.find(request, "flux")) == ["7.fits.gz", "8.fits.fz", names[4], "ten.fits", None]
    assert names_of(files.find(request, "display")) == ["7.jpg", names[6], names[6], None, None]


def test_text_ids(ask: Any) -> None:
    files = FileList(["a b.fits", "007.fits"], Path("/d"))
    assert names_of(files.find(ask([b"a b  ", b"007", b"7"]), "flux")) == ["a b.fits", "007.fits", None]
    assert names_of(files.find(ask([7]), "flux")) == [None]  # 007 is another name


def test_templates(tmp_path: Path, ask: Any) -> None:
    (tmp_path / "f1").mkdir()
    (tmp_path / "f1/9.fits").touch()
    template = Template(f"{tmp_path}/{{FIELD}}/{{id}}.fits", {"FIELD": "field"})
    assert template.needs == ("field",)
    request = ask([9, 8], field=[b"f1 ", b"f1 "])
    assert names_of(template.find(request, "flux")) == ["9.fits", None]
    assert template.find(request, "display") == [None, None]


def test_glob(tmp_path: Path, ask: Any) -> None:
    for name in ("x/1.fits", "y/2.fits", "y/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_glob(f"{tmp_path}/*/*").find(ask([1, 2, 3]), "flux")
    assert found == [str(tmp_path / "x/1.fits"), str(tmp_path / "y/2.fits"), None]
    with pytest.raises(InputError, match="no image file matches"):
        list_glob(f"{tmp_path}/*.fits")
