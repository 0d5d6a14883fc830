"""Dreams of a DMAGNet: their files, what is taken from them, and how it is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from galcli.errors import UsageError
from galcli.models.library import ModelFile
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.dmagnet_dream_figures import CENTRE, centres_figure, centres_size, gather, spectra_figure
from galcli.training.interpret.dmagnet_dreams import Asked, Wish, dream_all
from galcli.training.interpret.dream import Dream, DreamSettings, resized, valid_range
from galcli.training.interpret.pages import DPI
from galcli.training.interpret.radial import ratio
from galcli.training.interpret.twin import Twin
from galcli.training.networks.dmagnet import LAYERS
from galcli.training.pixels import FRONTS, Pixels
from tests.training.interpret.counted_dreams import count_dreams
from tests.training.tiny_dmagnet import MEAN, PIXEL_SCALE, SIZE, STD, network

SIZES = (32, 40)
ASKED = Asked(("stem", "dma1"), None, DreamSettings(SIZES, steps=2, jitter=3, max_size=40))


@pytest.fixture(scope="module")
def twin() -> Twin:
    """A network that comes from no file: dreams ask for nothing else."""
    pixels = Pixels(FRONTS, MEAN, STD, PIXEL_SCALE)
    file = ModelFile("random", Path("random.onnx"), "1" * 64, 0, card=None)  # type: ignore[arg-type]
    return Twin(network(len(NAMES), pixels).eval().requires_grad_(False), pixels, file, 0.0)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(5)) - 0.5


def images_of(folder: Path, twin: Twin, image: torch.Tensor, asked: Asked) -> dict[Wish, Any]:
    return {wish: made.images[SIZES[0]] for wish, made in
            dream_all(folder, twin, valid_range(twin.pixels), {3: image}, asked)}  # fmt: skip


def test_dreams_of_other_models_galaxies_or_settings_are_not_used(
    twin: Twin, image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = count_dreams(monkeypatch)
    one = replace(ASKED, layers=("stem",))
    plain = images_of(tmp_path, twin, image, one)[Wish(3, "stem")]
    for number, (other, changed, wanted) in enumerate([
        (replace(twin, file=replace(twin.file, sha256="0" * 64)), image, one),
        (twin, image + 0.01, one),
        (twin, image, replace(one, channel=2)),
        (twin, image, replace(one, settings=replace(one.settings, seed=1))),
        (twin, image, replace(one, settings=replace(one.settings, rate=0.03))),
        (twin, image, replace(one, settings=replace(one.settings, steps=3))),
        (twin, image, replace(one, settings=replace(one.settings, max_size=32))),
    ]):  # fmt: skip
        images_of(tmp_path, twin, image, one)
        assert len(begun) == 1 + 2 * number, "found again"
        images_of(tmp_path, other, changed, wanted)
        assert len(begun) == 2 + 2 * number, "dreamt anew"
        assert np.array_equal(images_of(tmp_path, twin, image, one)[Wish(3, "stem")], plain)


def test_damaged_dream_is_dreamt_anew(
    twin: Twin, image: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = count_dreams(monkeypatch)
    first = images_of(tmp_path, twin, image, ASKED)
    (path,) = tmp_path.glob("*-stem.safetensors")
    assert path.name == "in-between-round-smooth-stem.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    again = images_of(tmp_path, twin, image, ASKED)
    assert len(begun) == 3
    assert all(np.array_equal(again[wish], first[wish]) for wish in first)


def test_logit_of_the_class_grows(twin: Twin, image: torch.Tensor, tmp_path: Path) -> None:
    asked = Asked(settings=DreamSettings((SIZE,), steps=4, jitter=0), logit=True)
    ((wish, made),) = dream_all(tmp_path, twin, valid_range(twin.pixels), {3: image}, asked)
    assert wish == Wish(3, "class")
    with torch.no_grad():
        before = resized(image, SIZE, valid_range(twin.pixels))
        logits = [twin.network(one[None])[0, 3].item() for one in (before, torch.from_numpy(made.images[SIZE]))]
    assert logits[1] > logits[0]
    assert np.isfinite(ratio(made.images[SIZE], before.numpy()).power).all()


def test_the_logit_is_no_layer(twin: Twin) -> None:
    assert Asked(logit=True).targets == ("class",)
    assert Asked().targets == LAYERS
    Asked(logit=True).require_possible(twin)
    with pytest.raises(UsageError, match="unknown layer 'class'"):
        Asked(("lam", "class"), 5).require_possible(twin)
    with pytest.raises(UsageError, match="no layer is named"):
        Asked(()).require_possible(twin)


@pytest.fixture
def made(twin: Twin) -> dict[Wish, Dream]:
    """Images as dreams have them, larger than the page shows; row 0 is south and brighter."""
    low, high = (bound.numpy() for bound in valid_range(twin.pixels))
    draw, size = np.random.default_rng(7), CENTRE + 75
    found = {}
    for wish in (Wish(2, "stem"), Wish(2, "lam"), Wish(9, "stem"), Wish(9, "lam")):
        display = draw.random((3, size, size), np.float32) * np.linspace(1, 0.2, size, dtype=np.float32)[:, None]
        found[wish] = Dream(
            {SIZE: np.zeros((3, SIZE, SIZE), np.float32) + low, size: low + display * (high - low)},
            {SIZE: np.ones((2, 3)), size: np.ones((2, 3))},
        )
    return found


def test_dreams_are_written_in_full_and_shown_pixel_by_pixel(
    made: dict[Wish, Dream], twin: Twin, image: torch.Tensor, tmp_path: Path
) -> None:
    bounds, inputs = valid_range(twin.pixels), {2: image, 9: -image}
    low, high = (bound.numpy() for bound in bounds)
    found = gather(made.items(), inputs, bounds, tmp_path / "full", "MOCK.")
    figure = Figure(figsize=centres_size(found, ("stem", "lam")))
    centres_figure(found, ("stem", "lam"), figure)
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[::-1, :, :3]  # row 0 is at the bottom, as in the dreams
    for wish, dream in made.items():
        size = CENTRE + 75
        display = np.moveaxis((dream.images[size] - low) / (high - low), 0, -1)[..., ::-1]
        with Image.open(found.files[wish]) as picture:
            assert picture.size == (size, size)
            assert picture.text["Description"] == f"{NAMES[wish.number]}, {wish.target}. MOCK."
            assert abs(np.asarray(picture)[::-1] / 255 - display).max() < 1 / 255
        first = 75 // 2
        centre = display[first : first + CENTRE, first : first + CENTRE]
        assert abs(found.centres[wish] / 255 - centre).max() < 1 / 255
        places = np.lib.stride_tricks.sliding_window_view(drawn[..., 0], (1, CENTRE))[:, :, 0]
        same = np.argwhere((places == found.centres[wish][0, :, 0]).all(-1))
        assert len(same) == 1, "a line of the centre stands in the picture as it is"
        y, x = same[0]
        assert np.array_equal(drawn[y : y + CENTRE, x : x + CENTRE], found.centres[wish])
        assert np.array_equal(
            found.ratios[wish, size].power,
            ratio(dream.images[size], resized(inputs[wish.number], size, bounds).numpy()).power,
        )
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == [
        "edge-on-with-bulge-lam.png", "edge-on-with-bulge-stem.png", "round-smooth-lam.png", "round-smooth-stem.png",
    ]  # fmt: skip


def test_spectra_have_a_line_for_every_class_and_target() -> None:
    one = {
        "frequency": [0.1, 0.5],
        "median": [4.0, 2.0],
        "classes": {name: [2.0, number + 1] for number, name in enumerate(NAMES)},
    }
    targets = (*LAYERS, "class")
    figure = Figure()
    spectra_figure({target: {"256": one, "512": one} for target in targets}, 128, figure)
    panels = np.array(figure.axes).reshape(2, 6)
    assert [axes.get_title() for axes in panels[0]] == list(targets)
    for axes in panels.flat:
        lines = {line.get_label(): line for line in axes.lines}
        assert set(NAMES) | {"median"} <= set(lines)
        assert len({lines[name].get_color() for name in NAMES}) == len(NAMES)
        assert lines[NAMES[9]].get_ydata()[1] == 10
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*NAMES, "median"]
