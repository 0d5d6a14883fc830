"""Odd images among good ones: what morphology learns from, and what the shipped model says of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray
from PIL import Image

from galcli.errors import InputError
from galcli.tables.status import NULL_BITS, ModelStatus, RowStatus
from galcli.training.galaxy10 import NAMES
from galcli.training.recipes.dmagnet_data import Labelled, Source, gather
from galcli.training.recipes.dmagnet_plan import Preset
from galcli.training.recipes.stages import Stage
from tests.cutouts.test_display import write_png16
from tests.survey import read_predictions, write_catalog
from tests.training.made_galaxy10 import content

SIDE = 96
PLAN = Preset((Stage(32, 1.048, 1.0, 0.5), Stage(64, 0.524, 1.0, 0.5)), batch=8)
MISSING = int(RowStatus.MISSING_CUTOUT | RowStatus.NO_PREDICTION)
CORRUPT = int(RowStatus.CORRUPT_CUTOUT | RowStatus.NO_PREDICTION)
CONSTANT = int(RowStatus.CONSTANT | RowStatus.NO_PREDICTION)
UNPREDICTED = int(RowStatus.NO_PREDICTION)
Colour = NDArray[np.uint8]
#: Writes an image (H, W, 3) under a path without ending.
Save = Callable[[Path, Colour], Any]


def alpha(image: Colour) -> Colour:
    """Transparency, which says nothing about light: opaque in the middle only."""
    y, x = np.indices(image.shape[:2])
    return np.where(np.hypot(x - SIDE / 2, y - SIDE / 2) < 20, 255, 0).astype(np.uint8)


def as_palette(image: Colour) -> Image.Image:
    return Image.fromarray(image).quantize(256)


def grey(image: Colour) -> Colour:
    """The same light in every channel."""
    return image[..., :1].repeat(3, axis=2)


def grey_palette(image: Colour) -> Image.Image:
    picture = Image.fromarray(image[..., 0]).convert("P")
    assert picture.mode == "P"
    return picture


def truncated(ending: str) -> Save:
    def save(path: Path, image: Colour) -> None:
        whole = path.with_suffix(ending)
        Image.fromarray(image).save(whole)
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])

    return save


def saved(change: Callable[[Colour], Any], ending: str = ".png") -> Save:
    def save(path: Path, image: Colour) -> None:
        made = change(image)
        picture = made if isinstance(made, Image.Image) else Image.fromarray(made)
        picture.save(path.with_suffix(ending))

    return save


#: Images that are odd but show a galaxy in colour.
READABLE: dict[str, Save] = {
    "as it is": saved(lambda image: image),
    "JPEG": saved(lambda image: image, ".jpg"),
    "RGBA": saved(lambda image: np.dstack([image, alpha(image)])),
    "16-bit": lambda path, image: write_png16(path.with_suffix(".png"), image.astype(np.uint16) * 257),
    "palette": saved(as_palette),
    "20 px": saved(lambda image: image[38:58, 38:58]),
    "wide": saved(lambda image: image[20:76]),
    "tall": saved(lambda image: image[:, 30:66]),
    "CMYK": saved(lambda image: Image.fromarray(image).convert("CMYK"), ".jpg"),
    "grey as RGB": saved(grey),
    "grey as RGBA": saved(lambda image: np.dstack([grey(image), alpha(image)])),
    "grey as palette": saved(grey_palette),
    "grey as 16-bit": lambda path, image: write_png16(path.with_suffix(".png"), grey(image).astype(np.uint16) * 257),
}
#: Images of which nothing can be said, with their STATUS.
UNUSABLE: dict[str, tuple[Save, int]] = {
    "L": (saved(lambda image: image[..., 0]), CORRUPT),
    "L as JPEG": (saved(lambda image: image[..., 0], ".jpg"), CORRUPT),
    "LA": (saved(lambda image: np.dstack([image[..., 0], alpha(image)])), CORRUPT),
    "16-bit grey": (saved(lambda image: image[..., 0].astype(np.uint16) * 257), CORRUPT),
    "truncated PNG": (truncated(".png"), CORRUPT),
    "truncated JPEG": (truncated(".jpg"), CORRUPT),
    "no image": (lambda path, image: path.with_suffix(".jpg").write_bytes(b"<html>"), CORRUPT),
    "none": (lambda path, image: None, MISSING),
    "black": (saved(np.zeros_like), CONSTANT),
    "one colour": (saved(lambda image: np.full_like(image, [200, 100, 50])), CONSTANT),
    "one pixel": (saved(lambda image: image[:1, :1]), CONSTANT),
    "red alone": (saved(lambda image: image * np.array([1, 0, 0], np.uint8)), UNPREDICTED),
}  # fmt: skip
#: Those that show the same light and so must come out the same.
SAME = (("as it is", "RGBA", "16-bit"), ("grey as RGB", "grey as RGBA", "grey as palette", "grey as 16-bit"))


@dataclass(frozen=True)
class Folder:
    """A catalogue with classes and a folder of images; rows are named after what they are."""

    catalog: Path
    cutouts: Path
    names: tuple[str, ...]

    def rows(self, *names: str) -> NDArray[np.int64]:
        """Rows in the order of their names."""
        return np.array([self.names.index(name) for name in names], np.int64)

    @property
    def good(self) -> NDArray[np.int64]:
        return self.rows(*(name for name in self.names if name.startswith("good")))


def make(root: Path, *, odd: bool) -> Folder:
    """Three good images of each class; where asked for, odd images of one galaxy between them."""
    good = content([label for label in range(10) for _ in range(3)], SIDE)["images"]
    galaxy = content([5], SIDE)["images"][0]
    strange = READABLE | {name: save for name, (save, _) in UNUSABLE.items()}
    entries: list[tuple[str, int, Save, Colour]] = []
    for number, (image, name) in enumerate(zip_longest(good, strange if odd else ())):
        entries.append((f"good {number}", number // 3, READABLE["JPEG" if number % 2 else "as it is"], image))
        if name is not None:
            entries.append((name, number % 10, strange[name], galaxy))
    names, classes, saves, images = zip(*entries, strict=True)
    (root / "images").mkdir(parents=True)
    for name, save, image in zip(names, saves, images, strict=True):
        save(root / "images" / name.replace(" ", "-"), image)
    where = np.array([float(name[5:]) if name.startswith("good") else 50.0 for name in names])
    identifiers = np.array([name.replace(" ", "-") for name in names], "S20")
    catalog = write_catalog(
        root / "catalog.fits", ID=identifiers, RA=where, DEC=where / 2, KIND=np.array(classes, "i2")
    )
    return Folder(catalog, root / "images", names)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make(tmp_path_factory.mktemp("mixed") / "survey", odd=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make(tmp_path_factory.mktemp("alone") / "survey", odd=False)


def gathered(folder: Folder, cache: Path) -> Labelled:
    source = Source(cache, 5, catalog=folder.catalog, cutouts=folder.cutouts, label_column="KIND")
    return gather(PLAN, source)


def test_only_images_that_show_a_galaxy_in_colour_are_learned(
    mixed: Folder, alone: Folder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labelled = gathered(mixed, tmp_path / "cache")
    assert f"{30 + len(READABLE)} of {len(mixed.names)} galaxies with classes have pixels" in capfd.readouterr().err
    sample = labelled.sample
    parts = [sample.rows(0, held=False), sample.rows(0, held=True), labelled.test]
    expected = np.sort(np.concatenate([mixed.good, mixed.rows(*READABLE)]))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), expected)
    assert min(map(len, parts)) > 0
    assert not len(labelled.unused)
    assert (sample.target[mixed.rows(*UNUSABLE)] == -1).all()
    good = gathered(alone, tmp_path / "cache").sample
    assert sample.target[mixed.good, 0].tolist() == good.target[:, 0].tolist() == [n // 3 for n in range(30)]
    for stage, stamps in enumerate(sample.stamps):
        np.testing.assert_array_equal(stamps.pixels[mixed.good], good.stamps[stage].pixels)
        assert np.isfinite(stamps.pixels[expected]).all()  # wherever the image is small or not square
        assert np.isnan(stamps.labels["galaxy10"][mixed.rows(*UNUSABLE)]).all()
        for same in SAME:
            first, *others = stamps.pixels[mixed.rows(*same)]
            for other in others:
                np.testing.assert_array_equal(other, first)


def test_nothing_is_learned_from_images_without_light(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (SIDE, SIDE)).save(folder / f"{name}.png")
    catalog = write_catalog(
        tmp_path / "c.fits", ID=np.array([b"a", b"b"]), RA=np.zeros(2), DEC=np.zeros(2), KIND=np.arange(2)
    )
    with pytest.raises(InputError, match="none of the 2 galaxies with classes has pixels"):
        gathered(Folder(catalog, folder, ("a", "b")), tmp_path / "cache")


@pytest.fixture(scope="module")
def predicted(mixed: Folder, galcli: Any) -> NDArray[Any]:
    """What the shipped model says of all of them."""
    return predictions(mixed, galcli)


def predictions(folder: Folder, galcli: Any) -> NDArray[Any]:
    out = folder.catalog.with_name("predictions.fits")
    galcli("predict", folder.catalog, "--cutouts", folder.cutouts, "--model", "dmagnet", "--max-fail", 100,
           "--threads", 1, "--device", "cpu", "-o", out)  # fmt: skip
    galcli("validate", out)
    return read_predictions(out)


def test_every_image_of_a_galaxy_in_colour_gets_a_class(mixed: Folder, predicted: NDArray[Any]) -> None:
    found = predicted[np.concatenate([mixed.good, mixed.rows(*READABLE)])]
    assert not found["STATUS"].any()
    assert not (found["MORPH_STATUS"] & int(NULL_BITS)).any()
    probability = found["MORPH_PROB"].astype(np.float64)
    assert probability.shape[1] == len(NAMES)
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(probability.argmax(1), found["MORPH_CLASS"])
    assert [NAMES[number] for number in found["MORPH_CLASS"]] == [label.strip() for label in found["MORPH_LABEL"]]
    for column in ("MORPH_ENTROPY", "MORPH_RF", "MORPH_OOD"):
        assert np.isfinite(found[column]).all()
    assert len(np.unique(found["MORPH_PROB"][: len(mixed.good)], axis=0)) == len(mixed.good)


@pytest.mark.parametrize("what", UNUSABLE)
def test_other_images_get_none_and_the_reason(mixed: Folder, predicted: NDArray[Any], what: str) -> None:
    found = predicted[mixed.rows(what)[0]]
    assert (found["STATUS"], found["MORPH_STATUS"]) == (UNUSABLE[what][1], ModelStatus.MISSING_BAND)
    assert found["MORPH_CLASS"] == -1
    assert found["MORPH_LABEL"].strip() == ""
    for column in ("MORPH_PROB", "MORPH_ENTROPY", "MORPH_ATT_DX", "MORPH_ATT_DY", "MORPH_RF", "MORPH_OOD"):
        assert np.isnan(found[column]).all()


def test_the_reasons_are_listed(mixed: Folder, predicted: NDArray[Any]) -> None:
    table = mixed.catalog.with_name("predictions.fits.problems.csv")
    with table.open(newline="") as file:
        reasons = {int(row["row"]): row["reason"] for row in csv.DictReader(file)}
    assert sorted(reasons) == np.flatnonzero(predicted["STATUS"]).tolist()
    for name, mode in (("L", "L"), ("L as JPEG", "L"), ("LA", "LA"), ("16-bit grey", "I;16")):
        assert f"not a colour image (mode {mode})" in reasons[int(mixed.rows(name)[0])]


def test_no_image_changes_what_is_said_of_another(
    mixed: Folder, alone: Folder, predicted: NDArray[Any], galcli: Any
) -> None:
    good = predictions(alone, galcli)
    assert predicted[mixed.good].tobytes() == good.tobytes()


@pytest.mark.parametrize("same", SAME, ids=lambda same: same[0])
def test_the_same_light_gets_the_same_numbers(mixed: Folder, predicted: NDArray[Any], same: tuple[str, ...]) -> None:
    """Whatever holds it; transparency is no light. A galaxy in grey has three channels: grey files have no colour."""
    columns = [name for name in predicted.dtype.names or () if name.startswith("MORPH_")]
    first, *others = (repack_fields(predicted[columns])[row].tobytes() for row in mixed.rows(*same))
    assert others == [first] * (len(same) - 1)
    assert first != repack_fields(predicted[columns])[mixed.rows("tall")[0]].tobytes()
