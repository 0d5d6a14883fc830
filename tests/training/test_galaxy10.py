"""Galaxy10: classes, the published split, and files of its layout."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from galcli.errors import InputError
from galcli.training import cache, galaxy10_file
from galcli.training.galaxy10 import COUNTS, NAMES, check_labels, split
from galcli.training.galaxy10_file import Galaxy10
from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.recipes.dmagnet_data import Source, gather
from galcli.training.recipes.dmagnet_plan import Preset
from galcli.training.recipes.stages import Stage
from tests.training.made_galaxy10 import SIZE, content, disc, write

#: Test galaxies of each class in the paper's tables, once their rows have the right names (models.md 5.1).
SUPPORT = (195, 334, 476, 365, 60, 368, 330, 473, 256, 337)
LABELS = np.repeat(np.arange(10), COUNTS)


def quiet(line: str) -> None:
    del line


def test_the_published_split() -> None:
    assert len(NAMES) == len(COUNTS) == 10
    assert sum(COUNTS) == 17_736
    parts = split(np.random.default_rng(0).permutation(LABELS), 256)
    assert [len(rows) for rows in (parts.training, parts.validation, parts.test)] == [11_487, 1_276, 3_194]
    assert len(parts.unused) == 1_779
    together = np.concatenate([parts.training, parts.validation, parts.test, parts.unused])
    assert len(np.unique(together)) == 17_736


def test_every_class_is_tested_as_often_as_published() -> None:
    assert tuple(np.bincount(LABELS[split(LABELS, 1).test])) == SUPPORT


def test_the_split_is_that_of_its_seed() -> None:
    one, same, other = (split(LABELS, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.test, same.test)
    np.testing.assert_array_equal(one.training, same.training)
    assert not np.array_equal(one.test, other.test)


def test_galaxies_without_class_are_in_no_part() -> None:
    labels = LABELS.copy()
    labels[::7] = -1
    parts = split(labels, 0, kept=1.0)
    together = np.concatenate([parts.training, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.flatnonzero(labels >= 0))


def test_labels_are_whole_numbers_below_ten() -> None:
    assert check_labels(np.array([0, 9, -1, np.nan, -9999, 3]), "x").tolist() == [0, 9, -1, -1, -1, 3]
    for wrong in (10, 3.5, np.inf):
        with pytest.raises(InputError, match=r"x: 1 labels are no class, the first .* in row 2"):
            check_labels(np.array([0.0, 1.0, wrong]), "x")
    with pytest.raises(InputError, match="no row has a label"):
        check_labels(np.array([-1, -1]), "x")


def test_images_become_display_stamps_south_up_blue_first(tmp_path: Path) -> None:
    data = content([0, 1, 2])
    data["images"][:] = 0
    data["images"][1, 2, 3] = [250, 100, 50]  # red, green, blue; third row from the north
    file = Galaxy10(write(tmp_path / "g.h5", data), verify=False, say=quiet)
    stamps = file.stamps(tmp_path / "cache", SIZE, 0.262, quiet)
    assert stamps.front.tolist() == [FRONTS.index(DISPLAY)] * 3
    np.testing.assert_array_equal(stamps.labels["galaxy10"], [0, 1, 2])
    where = np.argwhere(stamps.pixels[1] > 0)
    assert where.tolist() == [[band, SIZE - 1 - 2, 3] for band in range(3)]
    np.testing.assert_allclose(stamps.pixels[1, :, SIZE - 3, 3] * 255, [50, 100, 250], atol=0.1)


def test_each_image_has_its_own_pixel_scale(tmp_path: Path) -> None:
    """A galaxy of 8 pixels of 0.262 arcsec is one of 4 pixels of 0.524."""
    data = content([0, 0])
    data["images"] = np.stack([255 * disc(8), 255 * disc(4)])[..., None].repeat(3, 3).astype(np.uint8)
    data["pxscale"] = np.array([0.262, 0.524])
    file = Galaxy10(write(tmp_path / "g.h5", data), verify=False, say=quiet)
    stamps = file.stamps(tmp_path / "cache", 24, 0.524, quiet)
    one, other = stamps.pixels.astype(np.float32)
    np.testing.assert_allclose(one, other, atol=0.02)
    assert one[0, 12, 12] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scale", [np.nan, 0.0, -0.262, np.inf, 0.01, 10.0])
def test_images_whose_pixel_scale_is_of_no_use_are_left_out(tmp_path: Path, scale: float) -> None:
    """They have no label; the others have the pixels and labels that they have without them."""
    data = content([0, 1, 2, 3])
    good = Galaxy10(write(tmp_path / "good.h5", data), verify=False, say=quiet)
    expected = good.stamps(tmp_path / "cache", 24, 0.524, quiet)
    data["pxscale"][[1, 3]] = scale
    data["ans"] = np.array([0, 1, 2, -1])  # what has no label is not left out once more
    said: list[str] = []
    path = write(tmp_path / "bad.h5", data)
    for attempt in ("made", "kept"):
        stamps = Galaxy10(path, verify=False, say=quiet).stamps(tmp_path / "cache", 24, 0.524, said.append)
        np.testing.assert_array_equal(stamps.labels["galaxy10"], [0, np.nan, 2, np.nan], err_msg=attempt)
        np.testing.assert_array_equal(stamps.pixels[[0, 2]], expected.pixels[[0, 2]])
        assert said[-1] == (
            f"{path}: 1 labelled images are left out, whose pixel scale (pxscale) cannot be used: "
            f"the first is row 1 with {scale:g} arcsec"
        )


def test_images_beyond_the_first_chunk_and_reading_are_left_out_by_their_own_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", 5)
    monkeypatch.setattr(galaxy10_file, "_READ", 2)
    data = content([row % 10 for row in range(12)], 16)
    bad = [3, 5, 9, 11]
    data["pxscale"][bad] = 0
    file = Galaxy10(write(tmp_path / "g.h5", data), verify=False, say=quiet)
    labels = file.stamps(tmp_path / "cache", 8, 0.524, quiet).labels["galaxy10"]
    assert np.flatnonzero(np.isnan(labels)).tolist() == bad


def test_nothing_is_said_where_every_image_serves(tmp_path: Path) -> None:
    said: list[str] = []
    file = Galaxy10(write(tmp_path / "g.h5", content([0, 1]) | {"ans": np.array([1, -1])}), False, quiet)
    file.stamps(tmp_path / "cache", 24, 0.524, said.append)
    assert not [line for line in said if "left out" in line]


def test_images_without_a_scale_are_in_no_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of five images of each class one is unusable: it is neither learned nor tested, nor does it count."""
    data = content([label for label in range(10) for _ in range(5)], 16)
    bad = np.arange(0, 50, 5)
    data["pxscale"][bad] = [np.nan, 0, -1, np.inf, 0.01, 50, np.nan, 0, -1, 3]
    path = write(tmp_path / "g.h5", data)
    plan = Preset((Stage(8, 1.048, 1.0, 0.5), Stage(16, 0.524, 1.0, 0.5)))
    source = Source(tmp_path / "cache", 5, galaxy10=path, verify=False)
    for taken in (source, replace(source, objects=20)):
        labelled = gather(plan, taken)
        sample = labelled.sample
        parts = [sample.rows(0, False), sample.rows(0, True), labelled.test, labelled.unused]
        assert not np.isin(np.concatenate(parts), bad).any()
        assert len(np.unique(np.concatenate(parts))) == (taken.objects or 40)
    assert "10 labelled images are left out" in capfd.readouterr().err
    write(path, data | {"pxscale": np.zeros(50)})
    with pytest.raises(InputError, match="none of the 50 galaxies with classes has pixels"):
        gather(plan, source)


def test_the_published_file_is_known_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "Galaxy10_DECals.h5", content([0, 1]))
    with pytest.raises(InputError, match=r"is not the published Galaxy10_DECals.h5 \(its SHA-256 is ") as error:
        Galaxy10(path, verify=True, say=quiet)
    assert "--no-verify" in str(error.value.hint)
    monkeypatch.setattr(galaxy10_file, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert Galaxy10(path, verify=True, say=quiet).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ans": None}, "has no dataset ans"),
        ({"images": np.zeros((2, 48, 48), np.uint8)}, r"uint8 of shape \(2, 48, 48\), not square 8-bit colour images"),
        ({"images": np.zeros((2, 48, 40, 3), np.uint8)}, "not square 8-bit colour images"),
        ({"images": np.zeros((2, 48, 48, 3), np.float32)}, "are float32"),
        ({"images": np.zeros((2, 48, 48, 1), np.uint8)}, "not square 8-bit colour images"),
        ({"images": np.zeros((2, 48, 48, 4), np.uint8)}, "not square 8-bit colour images"),
        ({"images": np.zeros((2, 48, 48, 3), np.int8)}, "are int8"),
        ({"images": np.zeros((2, 48, 48, 3), ">u2")}, "are >u2"),
        ({"images": np.zeros((2, 0, 0, 3), np.uint8)}, "not square 8-bit colour images"),
        ({"images": np.full((2, 48, 48, 3), b"a")}, r"are \|S1"),
        ({"images": np.uint8(0)}, "not square 8-bit colour images"),
        ({"images": h5py.Empty(np.uint8)}, "has no dataset images"),
        ({"ans": h5py.Empty("f8"), "ra": None}, "has no dataset ans, ra"),
        ({"ra": np.float64(3)}, "ra do not have one value for each of 2 images"),
        ({"ans": np.array([0, 1, 2])}, "ans do not have one value for each of 2 images"),
        ({"ans": np.eye(10)[:2]}, "ans do not have one value for each of 2 images"),
        ({"dec": np.zeros(1), "pxscale": np.zeros(3)}, "dec, pxscale do not have one value for each of 2 images"),
        ({"ans": ["0", "1"]}, r"ans \(object\) must hold numbers"),
        ({"ans": np.array([b"0", b"1"])}, r"ans \(\|S1\) must hold numbers"),
        ({"pxscale": ["0.262", "north"]}, r"pxscale \(object\) must hold numbers"),
        ({"ra": np.zeros(2, complex), "dec": np.zeros(2, bool)}, r"ra \(complex128\), dec \(bool\) must hold numbers"),
        ({"ra": np.zeros(2, [("deg", "f8")])}, r"ra \(.*deg.*\) must hold numbers"),
        ({"ans": np.array([0, 10])}, "1 labels are no class, the first 10 in row 1"),
        ({"ans": np.array([0.5, 1])}, "1 labels are no class, the first 0.5 in row 0"),
        ({"ans": np.array([np.inf, 1])}, "1 labels are no class, the first inf in row 0"),
        ({"ans": np.array([np.nan, -1])}, "no row has a label"),
        ({name: values[:0] for name, values in content([0]).items()}, "no row has a label"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    data = {name: values for name, values in (content([0, 1]) | change).items() if values is not None}
    path = write(tmp_path / "g.h5", data)
    with pytest.raises(InputError, match=message) as error:
        Galaxy10(path, verify=False, say=quiet)
    assert str(path) in error.value.message
    assert error.value.hint


def test_numbers_of_any_type_will_do(tmp_path: Path) -> None:
    data = content([0, 9])
    plain = Galaxy10(write(tmp_path / "plain.h5", data), verify=False, say=quiet)
    types = {"ans": ">f4", "ra": ">f8", "dec": np.longdouble, "pxscale": np.float64}
    data |= {name: data[name].astype(dtype) for name, dtype in types.items()}
    data["ans"][0] = np.nan
    data["ra"][1] = np.nan
    file = Galaxy10(write(tmp_path / "other.h5", data), verify=False, say=quiet)
    assert file.labels.tolist() == [-1, 9]
    assert file.healpix.tolist() == [plain.healpix[0], -1]


def test_missing_and_truncated_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "g.h5", content([0, 1]))
    whole = path.read_bytes()
    for size in (0, 100, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"g\.h5 is no readable HDF5 file"):
            Galaxy10(path, verify=False, say=quiet)
    for none in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(InputError, match="is no file"):
            Galaxy10(none, verify=False, say=quiet)


def test_a_file_that_the_disk_does_not_give_is_named() -> None:
    with pytest.raises(InputError, match=r"^/proc/self/mem: its content cannot be read: .*Input/output error"):
        Galaxy10(Path("/proc/self/mem"), verify=True, say=quiet)


def damaged(path: Path, name: str) -> Path:
    """A file of two images; the last chunk of one dataset is overwritten."""
    with h5py.File(path, "w") as file:
        for key, values in content([0, 1]).items():
            file.create_dataset(key, data=values, chunks=(1, *values.shape[1:]), compression="gzip")
        place = file[name].id.get_chunk_info(1)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(raw)
    return path


def test_unreadable_images_are_told_as_a_damaged_file(tmp_path: Path) -> None:
    file = Galaxy10(damaged(tmp_path / "g.h5", "images"), verify=False, say=quiet)
    with pytest.raises(InputError, match=r"g\.h5: its images 0 to 1 cannot be read") as error:
        file.stamps(tmp_path / "cache", SIZE, 0.262, quiet)
    assert error.value.hint == "download it again"


@pytest.mark.parametrize("name", ["ans", "ra", "dec", "pxscale"])
def test_unreadable_columns_are_told_as_a_damaged_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"g\.h5: its dataset {name} cannot be read") as error:
        Galaxy10(damaged(tmp_path / "g.h5", name), verify=False, say=quiet)
    assert error.value.hint == "download it again"


def test_damage_anywhere_is_a_refusal_or_does_no_harm(tmp_path: Path) -> None:
    """Bytes overwritten all over a small file: never another kind of error."""
    data = content([0, 1], 4)
    path = write(tmp_path / "g.h5", data)
    whole, draw = path.read_bytes(), np.random.default_rng(7)
    refused: list[str] = []
    for number in range(300):
        damage = bytearray(whole)
        for place in draw.integers(0, len(whole), 8):
            damage[place] = draw.integers(256)
        path.write_bytes(damage)
        try:
            file = Galaxy10(path, verify=False, say=quiet)
            if number % 20 == 0:
                file.stamps(tmp_path / f"cache{number}", 4, 0.262, quiet)
        except InputError as error:
            refused.append(error.message)
    assert 30 < len(refused) < 300
    assert all(str(path) in message for message in refused)


def test_what_a_user_sees_of_an_odd_file(tmp_path: Path, galcli: Any) -> None:
    path = write(tmp_path / "g.h5", content([0, 1]) | {"ans": ["spiral", "round"]})
    for file, message in ((path, "ans (object) must hold numbers"),
                          (damaged(tmp_path / "d.h5", "ans"), "its dataset ans cannot be read: ")):  # fmt: skip
        result = galcli("train", "dmagnet", "--galaxy10", file, "--no-verify", "-o", tmp_path / "out", code=4)
        assert f"{file}: {message}" in result.error


def test_a_group_is_no_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "g.h5", {name: values for name, values in content([0]).items() if name != "images"})
    with h5py.File(path, "a") as file:
        file.create_group("images")
    with pytest.raises(InputError, match="has no dataset images"):
        Galaxy10(path, verify=False, say=quiet)


def test_a_verified_file_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy goes on with the trainings of the first."""
    paths = [write(tmp_path / name, content([0, 1])) for name in ("one.h5", "other.h5")]
    paths[1].write_bytes(paths[0].read_bytes())
    monkeypatch.setattr(galaxy10_file, "SHA256", hashlib.sha256(paths[0].read_bytes()).hexdigest())
    keys = [Galaxy10(path, True, quiet).stamps(tmp_path / "cache", 24, 0.524, quiet).key for path in paths]
    assert keys[0] == keys[1]
    assert Galaxy10(paths[1], False, quiet).stamps(tmp_path / "cache", 24, 0.524, quiet).key != keys[0]
