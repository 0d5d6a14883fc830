"""Files of spectra: known answers, whatever their layout; what cannot be used costs only itself and says why."""

from __future__ import annotations

import gzip
import signal
import threading
import time
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest

from galcli.errors import InputError, Interrupted
from galcli.training import progress
from galcli.training.spectra.files import Problem, read_spectra
from galcli.training.spectra.grid import Spectra, wavelengths
from tests.training.spectra.made_files import (
    LOGLAM,
    SAMPLE,
    Z,
    about,
    only,
    sdss_columns,
    write_desi,
    write_redrock,
    write_sdss,
)


def refused(path: Path) -> str:
    """The one reason why nothing in a folder with one good file and this one is used but the good one."""
    good = write_sdss(path.with_name("good.fits"))
    spectra, problems = read_spectra([good, path])
    assert spectra.name == (str(good),)
    [problem] = problems
    assert problem.path.startswith(str(path))
    assert "\n" not in problem.reason
    assert len(problem.reason) < 200
    return problem.reason


def check_plain(spectra: Spectra) -> None:
    """Flux 10 with error 0.5 per pixel of 1e-4 dex, at redshift Z."""
    inside = spectra.good[0]
    assert inside[5:-5].all()
    np.testing.assert_allclose(spectra.flux[0, inside], 10 * (1 + Z), rtol=1e-6)
    np.testing.assert_array_equal(spectra.believed, spectra.good)
    pixels = np.median(spectra.ivar[0, inside]) * (1 + Z) ** 2 / 4
    assert 3.9 < pixels < 4.9  # 0.00039 dex hold 3.9 pixels, and those at the borders count for two points
    for value, dtype in zip((spectra.flux, spectra.z, spectra.id), "fdq", strict=True):
        assert value.dtype == np.dtype(dtype)  # native byte order


@pytest.mark.parametrize("extension", ["SPECOBJ", "SPALL"])
@pytest.mark.parametrize("capitals", [False, True])
def test_sdss_layouts(tmp_path: Path, extension: str, capitals: bool) -> None:
    columns = {key.upper() if capitals else key: value for key, value in sdss_columns().items()}
    target = about()
    if capitals:
        target |= {"RA": target.pop("PLUG_RA"), "DEC": target.pop("PLUG_DEC"), "CLASS": np.array(["GALAXY  "])}
    spectra = only(write_sdss(tmp_path / "any.fits", columns, target, ("coadd" if capitals else "COADD", extension)))
    check_plain(spectra)
    assert (spectra.ra[0], spectra.dec[0], spectra.id[0]) == (150, 2, 299489676975171584)
    assert spectra.z[0] == np.float32(Z)


@pytest.mark.parametrize(
    ("value", "known"),
    [("12", 12), (np.int64(7), 7), ("10000000000000000000", -1), ("", -1), ("0", -1), (2.9948967e17, -1), ("1e5", -1)],
)
def test_identifiers_are_exact_or_none(tmp_path: Path, value: Any, known: int) -> None:
    assert only(write_sdss(tmp_path / "a.fits", target=about(SPECOBJID=value))).id[0] == known
    assert only(write_sdss(tmp_path / "b.fits", target=about() | {"SPECOBJID": None})).id[0] == -1


CUT = LOGLAM < 3.70
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no flux": ({"flux": None}, {}, "extension COADD has no column FLUX"),
    "no ivar": ({"ivar": None}, {}, "extension COADD has no column IVAR"),
    "no z": ({}, {"Z": None}, "extension 2 has no column Z"),
    "no ra": ({}, {"PLUG_RA": None}, "extension 2 has no column PLUG_RA or RA"),
    "text flux": ({"flux": np.full(4300, "x")}, {}, "column FLUX does not hold one number per row"),
    "2-D flux": ({"flux": np.ones((4300, 2))}, {}, "column FLUX does not hold one number per row"),
    "mask": ({"and_mask": np.zeros(4300)}, {}, "column AND_MASK does not hold one whole number per row"),
    "ivar 0": ({"ivar": np.zeros(4300)}, {}, "no data on the grid: all pixels are masked"),
    "masked": ({"and_mask": np.full(4300, 1 << 24, "i4")}, {}, "no data on the grid: all pixels are masked"),
    "NaN": ({"flux": np.full(4300, np.nan)}, {}, "no data on the grid: all pixels are masked"),
    "dark": ({"flux": np.full(4300, -10.0)}, {}, "shows no light: its median flux is -11"),
    "short": ({key: value[CUT] for key, value in sdss_columns().items()}, {}, "covers 33% of the grid, 60% are"),
    "linear": ({"loglam": 10**LOGLAM}, {}, "wavelengths do not ascend"),
    "metres": ({"loglam": LOGLAM - 10}, {}, "are not in Angstrom"),
    "descending": ({"loglam": LOGLAM[::-1].copy()}, {}, "wavelengths do not ascend"),
    "NaN loglam": ({"loglam": np.full(4300, np.nan)}, {}, "wavelengths do not ascend"),
    "one pixel": ({key: value[:1] for key, value in sdss_columns().items()}, {}, "wavelengths do not ascend"),
    "no rows": ({key: value[:0] for key, value in sdss_columns().items()}, {}, "extension COADD has no rows"),
    "warning": ({}, {"ZWARNING": np.array([4])}, "redshift is not sure: ZWARNING = 4"),
    "warnings": ({}, {"ZWARNING": np.array([20])}, "redshift is not sure: ZWARNING = 4"),  # 16 is let pass
    "star": ({}, {"CLASS": np.array(["STAR  "])}, "is STAR, not GALAXY or QSO"),
    "NaN z": ({}, {"Z": np.array([np.nan])}, "redshift is nan"),
    "z < 0": ({}, {"Z": np.array([-0.001])}, "redshift is -0.001"),
    "z = 9": ({}, {"Z": np.array([9.0])}, "no data on the grid"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_sdss_faults(tmp_path: Path, fault: str) -> None:
    coadd, target, reason = FAULTS[fault]
    path = write_sdss(tmp_path / "bad.fits", sdss_columns(**coadd), about() | target)
    assert reason in refused(path)


def test_many_outliers_are_no_fault_of_the_redshift(tmp_path: Path) -> None:
    assert only(write_sdss(tmp_path / "a.fits", target=about(ZWARNING=16))).z[0] == np.float32(Z)


def test_extensions_of_another_kind(tmp_path: Path) -> None:
    renamed = write_sdss(tmp_path / "a.fits", names=("SPECTRUM", "SPECOBJ"))
    assert refused(renamed) == (
        "no extension COADD (SDSS), B_WAVELENGTH (DESI) or SPECTRA (galcli); it has SPECTRUM, SPECOBJ"
    )
    fitsio.write(str(tmp_path / "b.fits"), np.ones((4, 4)), extname="COADD")
    assert "extension COADD is an image, not a table" in refused(tmp_path / "b.fits")
    fitsio.write(str(tmp_path / "c.fits"), sdss_columns(), extname="COADD")
    assert refused(tmp_path / "c.fits") == "no extension 2"
    (tmp_path / "d.fits").write_text("no FITS at all")
    assert refused(tmp_path / "d.fits").startswith("truncated or damaged: ")


@pytest.mark.parametrize("packed", [False, True])
def test_truncated_files(tmp_path: Path, packed: bool) -> None:
    whole = write_sdss(tmp_path / "whole.fits").read_bytes()
    plain = only(tmp_path / "whole.fits")
    whole = gzip.compress(whole) if packed else whole
    path = tmp_path / ("cut.fits.gz" if packed else "cut.fits")
    reasons = set()
    for size in [0, 10, 2880, 3000, *range(5000, len(whole), max(len(whole) // 25, 1)), len(whole) - 1]:
        path.write_bytes(whole[:size])
        spectra, problems = read_spectra([tmp_path / "whole.fits", path])
        assert len(spectra) + len(problems) == 2
        reasons |= {problem.reason.partition(":")[0] for problem in problems}
        if len(spectra) == 2:  # only what comes after the data needed is missing
            np.testing.assert_array_equal(spectra.flux[1], plain.flux[0])
            assert spectra.z[1] == plain.z[0]
    assert "truncated or damaged" in reasons


def test_a_lying_header_allocates_nothing(tmp_path: Path) -> None:
    whole = write_sdss(tmp_path / "a.fits").read_bytes()
    lie = whole.replace(b"NAXIS2  =                 4300", b"NAXIS2  =       99999999999999", 1)
    assert lie != whole
    (tmp_path / "bad.fits").write_bytes(lie)
    assert refused(tmp_path / "bad.fits") == "truncated or damaged: file is shorter than its header says"


def test_desi_redshifts_by_identifier(tmp_path: Path) -> None:
    write_desi(tmp_path / "coadd-main-1.fits", [30, 10, 40, 20], [3, 1, 4, 2])
    warned = np.array([0, 0, 4])
    write_redrock(tmp_path / "redrock-main-1.fits", [10, 20, 30], [0.1, 0.2, 0.3], ZWARN=warned)
    spectra, problems = read_spectra([tmp_path])
    path = tmp_path / "coadd-main-1.fits"
    assert problems == [
        Problem(f"{path} row 0", "redshift is not sure: ZWARNING = 4"),
        Problem(f"{path} row 2", "redshift is nan"),
    ]
    assert spectra.id.tolist() == [10, 20]
    assert spectra.z.tolist() == [0.1, 0.2]
    assert spectra.name == (f"{path} row 1", f"{path} row 3")
    np.testing.assert_allclose(spectra.ra, [40 / 3, 20])
    np.testing.assert_allclose(spectra.dec, -spectra.ra)
    for row in range(2):
        good = spectra.good[row]
        np.testing.assert_allclose(spectra.flux[row, good], (row + 1) * (1 + spectra.z[row]), rtol=1e-6)
        both = (wavelengths() > 5770 / (1 + spectra.z[row])) & (wavelengths() < 5790 / (1 + spectra.z[row]))
        blue = (wavelengths() > 5700 / (1 + spectra.z[row])) & (wavelengths() < 5750 / (1 + spectra.z[row]))
        assert spectra.ivar[row, both].mean() == pytest.approx(2 * spectra.ivar[row, blue].mean(), rel=0.1)


@pytest.mark.parametrize(("word", "extension"), [("redrock", "REDSHIFTS"), ("zbest", "ZBEST")])
@pytest.mark.parametrize("arms", [None, {"BRZ": (3600, 9824)}])
def test_desi_layouts(tmp_path: Path, word: str, extension: str, arms: Any) -> None:
    path = tmp_path / "coadd-x-y-2.fits"
    write_desi(path, [5], [7], **({"arms": arms} if arms else {}), order=">")
    write_redrock(tmp_path / f"{word}-x-y-2.fits", [5], [0.25], extension)
    spectra = only(path)
    np.testing.assert_allclose(spectra.flux[spectra.good], 7 * 1.25, rtol=1e-6)
    assert np.mean(spectra.good) > 0.9


@pytest.mark.parametrize("suffix", [".fits.gz", ".fits.fz"])
def test_desi_packed(tmp_path: Path, suffix: str) -> None:
    plain = write_desi(tmp_path / "coadd-a.fits", [5], [7])
    redshifts = write_redrock(tmp_path / "redrock-a.fits", [5], [0.25])
    expected = only(plain)
    if suffix == ".fits.gz":
        (tmp_path / "p").mkdir()
        for path in (plain, redshifts):
            (tmp_path / "p" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    else:
        fpack(plain, tmp_path / "p" / f"{plain.name}.fz")
        (tmp_path / "p" / redshifts.name).write_bytes(redshifts.read_bytes())
    spectra = only(tmp_path / "p")
    np.testing.assert_array_equal(spectra.flux, expected.flux)
    np.testing.assert_array_equal(spectra.ivar, expected.ivar)


def fpack(plain: Path, packed: Path) -> None:
    """Compress the images of a file without loss."""
    packed.parent.mkdir()
    with fitsio.FITS(str(plain)) as file, fitsio.FITS(str(packed), "rw") as out:
        out.write(None)
        for hdu in list(file)[1:]:
            how = {} if hdu.get_exttype() == "BINARY_TBL" else {"compress": "GZIP_2", "qlevel": 0}
            out.write(hdu.read(), extname=hdu.get_extname(), **how)


def test_desi_faults(tmp_path: Path) -> None:
    path = write_desi(tmp_path / "coadd-a.fits", [5], [7])
    assert refused(path) == "no redshifts beside it (redrock-a.fits)"
    redshifts = write_redrock(tmp_path / "redrock-a.fits", [5], [0.1], "OTHER")
    assert refused(path) == "redrock-a.fits: no extension REDSHIFTS"
    write_redrock(redshifts, [5], [0.1])
    redshifts.write_bytes(redshifts.read_bytes()[:-2880])
    assert refused(path).startswith("redrock-a.fits: truncated or damaged")
    write_redrock(redshifts, [5], [0.1], SPECTYPE=np.array(["STAR"]))
    assert refused(path) == "is STAR, not GALAXY or QSO"
    write_redrock(redshifts, [5], [0.1])
    with fitsio.FITS(str(path), "rw") as file:
        file["R_FLUX"].write_key("EXTNAME", "OTHER")
    assert refused(path) == "no extension R_FLUX"
    write_desi(path, [5], [7])
    with fitsio.FITS(str(path), "rw") as file:
        file["FIBERMAP"].append({"TARGETID": np.array([6]), "TARGET_RA": np.ones(1), "TARGET_DEC": np.ones(1)})
    assert "B_MASK and FIBERMAP differ in shape" in refused(path)


@pytest.mark.parametrize("name", ["coadd-a.fits", "redrock-a.fits", "spec-a.fits"])
@pytest.mark.parametrize("packed", [False, True])
def test_sums_are_verified(tmp_path: Path, name: str, packed: bool) -> None:
    """One bit of an extension that is read; files with no sums, and extensions that are not read, are let pass."""
    files = [write_sdss(tmp_path / "spec-a.fits"), write_desi(tmp_path / "coadd-a.fits", [5], [7])]
    files.append(write_redrock(tmp_path / "redrock-a.fits", [5], [0.25]))
    for path in files:
        with fitsio.FITS(str(path), "rw") as file:
            file.write(np.ones(1000, "i4"), extname="OTHER")
            for hdu in file:
                hdu.write_checksum()
    assert len(only(tmp_path)) == 2
    with fitsio.FITS(str(tmp_path / name)) as file:
        at = {hdu.get_extname(): hdu.get_offsets()["data_start"] for hdu in list(file)[1:]}
    whole = (tmp_path / name).read_bytes()
    for extension, start in at.items():
        data = bytearray(whole)
        data[start + 4] ^= 1
        (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
        spectra, problems = read_spectra([tmp_path])
        reasons = [problem.reason.removeprefix("redrock-a.fits: ") for problem in problems]
        damage = "truncated or damaged: checksum of the data does not match"
        assert reasons == ([] if extension == "OTHER" else [damage]), extension
        assert len(spectra) + len(problems) == 2


def test_sky_fibres(tmp_path: Path) -> None:
    path = write_desi(tmp_path / "coadd-a.fits", [5, 6], [7, 7])
    write_redrock(tmp_path / "redrock-a.fits", [6, 5], [0.1, 0.1], SPECTYPE=np.array(["QSO", "GALAXY"]))
    assert only(path).id.tolist() == [5, 6]
    with fitsio.FITS(str(path), "rw") as file:
        file["FIBERMAP"].insert_column("OBJTYPE", np.array(["TGT", "SKY"]))
    spectra, problems = read_spectra([path])
    assert spectra.id.tolist() == [5]
    assert problems == [Problem(f"{path} row 1", "is SKY, not GALAXY or QSO")]


def test_faulty_fibres_and_redshifts(tmp_path: Path) -> None:
    path = write_desi(tmp_path / "coadd-a.fits", [5, 6, 7, 8], [7, 7, 7, 7])
    changed = {"ZWARN": np.array([0, 0, 1 << 9, 0]), "SPECTYPE": np.array(["GALAXY", "QSO", "GALAXY", "STAR"])}
    write_redrock(tmp_path / "redrock-a.fits", [5, 6, 7, 8], [0.1, 0.1, 0.1, 0.1], **changed)
    others = [
        Problem(f"{path} row 2", "redshift is not sure: ZWARNING = 512"),
        Problem(f"{path} row 3", "is STAR, not GALAXY or QSO"),
    ]
    assert read_spectra([path])[1] == others
    with fitsio.FITS(str(path), "rw") as file:
        file["FIBERMAP"].insert_column("COADD_FIBERSTATUS", np.array([0, 1 << 16, 0, 0], "i4"))
    spectra, problems = read_spectra([path])
    assert spectra.id.tolist() == [5]
    assert problems == [Problem(f"{path} row 1", "fibre was faulty: status = 65536"), *others]


def test_packed_tables_are_refused(tmp_path: Path) -> None:
    path = write_sdss(tmp_path / "a.fits")
    with fitsio.FITS(str(path), "rw") as file:
        file["COADD"].write_key("ZTABLE", True)
    assert refused(path) == "extension COADD is a table packed with fpack"


def test_damage_never_ends_the_process(tmp_path: Path) -> None:
    """Bytes of headers and data are changed at random; the values that are left are finite."""
    random = np.random.default_rng(0)
    whole = write_sdss(tmp_path / "whole.fits").read_bytes()
    header = np.flatnonzero(np.frombuffer(whole, "S80") == b"END".ljust(80)) * 80
    for count in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(whole) if count % 2 else header[1], random.choice([1, 3, 20])):
            data[at] = random.choice(list(b"019 ABEFX=T-'/\xff"))
        (tmp_path / "bad.fits").write_bytes(data)
        spectra, problems = read_spectra([tmp_path / "whole.fits", tmp_path / "bad.fits"])
        assert len(spectra) + len(problems) == 2
        assert all("\n" not in problem.reason for problem in problems)
        assert np.isfinite(spectra.flux).all()
        assert np.isfinite(spectra.ivar).all()


def test_reading_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    path = write_sdss(tmp_path / "spec-0.fits")
    for number in range(1, 3):
        (tmp_path / f"spec-{number}.fits").write_bytes(path.read_bytes())
    only(tmp_path)
    assert capsys.readouterr().err.splitlines()[-1] == "files of spectra: 3 of 3"


def test_reading_is_interrupted(tmp_path: Path) -> None:
    path = write_sdss(tmp_path / "a.fits")
    many = [tmp_path / f"{number}.fits" for number in range(10_000)]
    for copy in many:
        copy.hardlink_to(path)
    begun = time.monotonic()
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(Interrupted):
        read_spectra(many)
    assert time.monotonic() - begun < 5


def test_spectra_on_the_grid_already(tmp_path: Path) -> None:
    spectra = only(SAMPLE)
    table = fitsio.read(str(SAMPLE / "spectra.fits"), ext="SPECTRA")
    np.testing.assert_array_equal(spectra.flux, table["FLUX"])
    np.testing.assert_array_equal(spectra.ivar, table["IVAR"])
    np.testing.assert_array_equal(spectra.id, table["TARGETID"])
    np.testing.assert_array_equal(spectra.believed, (spectra.ivar > 0) & (spectra.ivar <= 16))
    assert np.isnan(spectra.z).all()
    table["IVAR"][0, 500:] = 0
    for shift, reason in ((1, "covers"), (1.001, "its wavelengths are not the grid's")):
        with fitsio.FITS(str(tmp_path / "bad.fits"), "rw", clobber=True) as file:
            file.write(table[:1], extname="SPECTRA")
            file.write({"WAVE": wavelengths() * shift}, extname="WAVELENGTH")
        assert reason in refused(tmp_path / "bad.fits")


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    first = write_sdss(inner / "spec-1.fits")
    second = tmp_path / "spec-0 [x].fits.gz"
    second.write_bytes(gzip.compress(first.read_bytes()))
    write_sdss(inner / "other.fits")
    assert only(tmp_path).name == (str(first), str(second))
    assert only(tmp_path, second, first).name == (str(first), str(second))  # once each
    assert only(second, tmp_path / "**/spec-?.fits").name == (str(second), str(first))
    (tmp_path / "link").symlink_to(inner)
    (inner / "spec-2.fits").symlink_to(second)
    monkeypatch.chdir(inner)
    again = [Path("spec-1.fits"), tmp_path / "link", inner / ".." / "b", Path(), first, tmp_path / "a/b/*-1.fits"]
    assert only(*again).name == ("spec-1.fits", str(tmp_path / "link/spec-2.fits"))  # by the names given first
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_spectra([first, tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no files of spectra"):
        read_spectra([tmp_path / "empty"])
    bad = write_sdss(tmp_path / "bad.fits", target=about(CLASS="STAR"))
    with pytest.raises(InputError, match=r"no usable spectrum, 1 problems; first: .*bad.fits: is STAR") as error:
        read_spectra([bad])
    assert error.value.hint
