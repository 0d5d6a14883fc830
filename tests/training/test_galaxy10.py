"""Galaxy10: classes, the published split, and files of its layout."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from galcli.errors import InputError
from galcli.training import galaxy10_file
from galcli.training.galaxy10 import COUNTS, NAMES, check_labels, split
from galcli.training.galaxy10_file import Galaxy10
from galcli.training.pixels import DISPLAY, FRONTS
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
        ({"images": np.uint8(0)}, "not square 8-bit colour images"),
        ({"ra": np.float64(3)}, "ra do not have one value for each of 2 images"),
        ({"ans": np.array([0, 1, 2])}, "ans do not have one value for each of 2 images"),
        ({"ans": np.array([0, 10])}, "1 labels are no class, the first 10 in row 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    data = {name: values for name, values in (content([0, 1]) | change).items() if values is not None}
    with pytest.raises(InputError, match=message):
        Galaxy10(write(tmp_path / "g.h5", data), verify=False, say=quiet)


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "g.h5", content([0, 1]))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="is no readable HDF5 file"):
        Galaxy10(path, verify=False, say=quiet)
    with pytest.raises(InputError, match="is no file"):
        Galaxy10(tmp_path / "none.h5", verify=False, say=quiet)


def test_unreadable_images_are_told_as_a_damaged_file(tmp_path: Path) -> None:
    data = content([0, 1])
    path = tmp_path / "g.h5"
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            packed = {"chunks": (1, SIZE, SIZE, 3), "compression": "gzip"} if name == "images" else {}
            file.create_dataset(name, data=values, **packed)
        offset = file["images"].id.get_chunk_info(1).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 64] = bytes(64)
    path.write_bytes(damaged)
    file = Galaxy10(path, verify=False, say=quiet)
    with pytest.raises(InputError, match="images 0 to 1 cannot be read"):
        file.stamps(tmp_path / "cache", SIZE, 0.262, quiet)


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
