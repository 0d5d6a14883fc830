"""Training and exporting sparse autoencoders, in small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from galcli.errors import InputError, Interrupted, ModelError, UsageError
from galcli.models import library
from galcli.models.session import Session
from galcli.training import checkpoint, export
from galcli.training.data import Batch
from galcli.training.networks.robust import RobustPixels
from galcli.training.networks.sae_export import OUTPUTS, ExportedImages, patches
from galcli.training.networks.sparsity import energy, level
from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.recipes import sae, sae_export
from galcli.training.recipes.sae import Asked, Material, material, train_sae
from galcli.training.recipes.sae_data import LOOKS, Cutouts, Galaxies, Source, held_images, seen
from galcli.training.recipes.sae_export import cell_offsets, export_sae
from galcli.training.recipes.sae_features import MapFeed, open_layer
from galcli.training.recipes.sae_network import Prepared, Scaled
from galcli.training.recipes.sae_plan import PRESETS, design
from galcli.training.recipes.sae_task import NESTED, Reconstruction, UnitNorm, nested, revival, unexplained
from tests.tiny_models import write_corners

OBJECTS = 208


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def source(cache: Path) -> Source:
    return Source(cache, 5, OBJECTS)


@pytest.fixture(scope="module")
def images(source: Source) -> Material:
    return material(Asked(), PRESETS["quick"], source)


@pytest.fixture(scope="module")
def maps(source: Source) -> Material:
    return material(Asked("features:sfnet-metallicity", "mlp"), PRESETS["quick"], source)


@pytest.fixture(scope="module")
def fno(images: Material, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fno")
    weights = train_sae(out, source, Asked(), preset="quick", epochs=2, given=images)
    return export_sae(weights, images, out)


@pytest.fixture(scope="module")
def vectors(maps: Material, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectors")
    asked = Asked("features:sfnet-metallicity", "mlp", concepts=64, active=4)
    weights = train_sae(out, source, asked, preset="quick", epochs=20, given=maps)
    return export_sae(weights, maps, out)


def small(batch: Batch, side: int = 40) -> Batch:
    return seen(batch, side, 1)


def test_the_card_says_what_is_predicted_and_how_well(fno: Path) -> None:
    card = library.find(fno).card
    assert (card.name, card.size, card.least_side) == ("sae-fno", None, 33)
    assert [front.name for front in card.fronts] == list(FRONTS)
    assert card.training.mock
    figures = {(metric.name, metric.front): metric for metric in card.metrics}
    assert 0 < figures["SAE_FVU mean", "flux:gri"].value < 1
    assert 0 <= figures["dead fraction", DISPLAY].value <= 1
    assert "redundancy: mean largest cosine between atoms" in {metric.name for metric in card.metrics}
    assert card.domain is not None
    assert card.domain.column == "SAE_FVU"
    assert len(card.tables[0].columns[0].values) == 64


def test_one_file_runs_at_any_resolution(fno: Path, images: Material) -> None:
    session = Session(library.find(fno), "cpu")
    batch = next(iter(held_images(images.galaxies, 0)))
    told = {}
    for side, factor in ((144, 1), (144, 2), (64, 1), (33, 1)):
        part = seen(batch, side, factor)
        feeds = {"pixels": part.pixels.numpy(), "valid": part.valid.numpy(), "front": part.front.numpy()}
        said = session.run(feeds, ["idx", "energy", "fvu", "l0", "dx"])
        assert (said["l0"] <= 8).all()
        assert np.isfinite(said["energy"]).all()
        assert (np.diff(said["energy"], axis=1) <= 0).all()
        told[side, factor] = said["idx"]
    # The same scene on a grid twice as coarse holds the same concepts.
    shared = [len(set(one) & set(other)) for one, other in zip(told[144, 1], told[144, 2], strict=True)]
    assert np.mean(shared) > 5


def test_codes_of_vectors_have_k_concepts_per_cell(vectors: Path, maps: Material) -> None:
    model = library.find(vectors)
    assert model.card.backbone is not None
    assert model.card.backbone.sha256 == library.find("sfnet-metallicity").sha256
    values = maps.maps.values[:6].astype(np.float32)  # type: ignore[union-attr]
    said = Session(model, "cpu").run({"maps": values}, ["inner/codes", "fvu", "idx", "l0"])
    assert ((said["inner/codes"] > 0).sum(1) <= 4).all()
    assert (said["fvu"] < 1).all()
    assert (said["l0"] == (said["inner/codes"] > 0).any((2, 3)).sum(1)).all()
    alone = Session(model, "cpu").run({"maps": values[:1]}, ["fvu", "idx"])
    assert alone["fvu"].tobytes() == said["fvu"][:1].tobytes()


def test_an_interrupted_training_ends_in_the_same_bits(
    maps: Material, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked("features:sfnet-metallicity", "mlp", concepts=32, active=2, nested=True)
    how = {"preset": "quick", "epochs": 4, "given": maps}
    whole = train_sae(tmp_path / "whole", source, asked, **how)
    made, batch = 0, MapFeed.batch

    def failing(self: MapFeed, step: int) -> Batch:
        nonlocal made
        made += 1
        if made == 4:
            raise Interrupted("stopped", "go on")
        return batch(self, step)

    monkeypatch.setattr(sae, "LEAST_EPOCH", 1)  # a state after every epoch
    with monkeypatch.context() as patch:
        patch.setattr(MapFeed, "batch", failing)
        with pytest.raises(Interrupted):
            train_sae(tmp_path / "parts", source, asked, **how)
    parts = train_sae(tmp_path / "parts", source, asked, resume=True, **how)
    one, other = (checkpoint.load_weights(path)[0] for path in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_atoms_keep_norm_one_through_a_training(fno: Path) -> None:
    state, info = checkpoint.load_weights(fno.with_name("weights.safetensors"))
    module = Prepared(torch.nn.Identity(), design("fno", 3))
    module.load_state_dict({name: value for name, value in state.items() if not name.startswith("front")})
    torch.testing.assert_close(module.sae.dictionary.norms(), torch.ones(64), atol=1e-5, rtol=0)
    assert info["nested"] is False
    metrics = json.loads(fno.with_name("metrics.json").read_text())
    assert metrics["held_out"]["fvu"] < 1


def test_looks_keep_the_flux_of_what_they_show(images: Material) -> None:
    batch = next(iter(held_images(images.galaxies, 0)))
    coarse = seen(batch, 144, 2)
    flux = batch.front != FRONTS.index(DISPLAY)
    torch.testing.assert_close(coarse.pixels[flux].sum((2, 3)), batch.pixels[flux].sum((2, 3)), rtol=1e-3, atol=1e-2)
    assert seen(batch, 96, 1).pixels.shape[2:] == (96, 96)
    assert torch.equal(seen(batch, 96, 1).pixels[..., 48, 48], batch.pixels[..., 72, 72])
    gone = replace(batch, valid=batch.valid.clone())
    gone.valid[:, :, 10, 10] = 0
    assert not seen(gone, 144, 2).valid[:, :, 5, 5].any()
    assert seen(gone, 144, 2).valid[:, :, 5, 6].all()


def test_batches_come_in_many_sizes_and_depend_on_the_step_alone(images: Material) -> None:
    feed = Cutouts.of(images.galaxies, 16, 3)
    sizes = {feed.batch(step).pixels.shape[2] for step in range(20)}
    assert sizes == {side // factor for side, factor in LOOKS}
    again = Cutouts.of(images.galaxies, 16, 3).batch(7)
    assert torch.equal(again.pixels, feed.batch(7).pixels)


def test_held_out_galaxies_are_not_learned_from(images: Material) -> None:
    galaxies: Galaxies = images.galaxies
    assert not set(galaxies.rows) & set(galaxies.held)
    rows = {int(row) for batch in held_images(galaxies, 0) for row in batch.rows}
    assert rows == set(galaxies.held.tolist())


@pytest.mark.parametrize("kind", ["mlp", "cnn", "fno"])
@pytest.mark.parametrize("sparsity", ["topk", "batchtopk", "jumprelu", "l1"])
def test_every_kind_learns_with_every_sparsity(kind: str, sparsity: str, images: Material) -> None:
    torch.manual_seed(0)
    lift = 0 if kind == "cnn" and sparsity != "l1" else None
    made = design(kind, 3, concepts=16, active=4, lift=lift, sparsity=sparsity)  # type: ignore[arg-type]
    module = Prepared(images.front(), made)
    batch = small(Cutouts.of(images.galaxies, 12, 0).batch(0))
    feed = _Same(batch)
    sae.begin(module, feed, 1, 4)
    task, norm = Reconstruction(lambda whole: [batch]), UnitNorm()
    optimizer = torch.optim.Adam(module.parameters(), 2e-4)
    first = None
    for _ in range(12):
        optimizer.zero_grad()
        loss = task.loss(module, batch)
        first = first if first is not None else float(loss.detach())
        loss.backward()
        norm.on_gradients(module)
        optimizer.step()
        norm.on_weights(module)
    assert float(loss.detach()) < first
    module.eval()
    with torch.no_grad():
        figures = task.validate(module, 0, final=True)
        codes = module(batch.pixels, batch.valid, batch.front)[1].codes
    assert np.isfinite(figures["fvu"])
    if sparsity in ("topk", "batchtopk"):
        assert figures["l0"] <= {"topk": 4, "batchtopk": 6}[sparsity]
    if sparsity == "jumprelu":  # thresholds begin where 4 of 16 pass
        assert 0.15 < float((codes != 0).float().mean()) < 0.35


class _Same:
    def __init__(self, batch: Batch) -> None:
        self.one = batch
        self.steps_per_epoch = 1

    def batch(self, step: int) -> Batch:
        return self.one


def test_codes_begin_at_the_scale_that_reconstructs_best(images: Material) -> None:
    torch.manual_seed(0)
    module = Prepared(images.front(), design("fno", 3, concepts=32))
    batch = small(Cutouts.of(images.galaxies, 12, 0).batch(0))
    before = {name: value.clone() for name, value in module.sae.encoder.sparsity.state_dict().items()}
    sae.begin(module, _Same(batch), 1, 8)
    after = module.sae.encoder.sparsity.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    x, coded = module.train()(batch.pixels, batch.valid, batch.front)
    left = unexplained(x, coded.data)
    assert left < 1
    for factor in (0.9, 1.1):
        assert unexplained(x, coded.data * factor + (1 - factor) * module.sae.offset) > left
    torch.testing.assert_close(module.sae.offset.flatten(), x.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_a_nested_dictionary_ends_in_the_whole_one() -> None:
    torch.manual_seed(0)
    module = Prepared(torch.nn.Identity(), design("mlp", 12, 5, concepts=32, active=8))
    x = torch.randn(4, 12, 5, 5)
    coded = module.sae(x)
    made = list(nested(module.sae, coded.codes))
    assert len(made) == len(NESTED)
    torch.testing.assert_close(made[-1], coded.data)
    first = torch.zeros_like(coded.codes)
    first[:, :2] = coded.codes[:, :2]
    torch.testing.assert_close(made[0], module.sae.decode(first))


def test_dead_concepts_learn_what_is_left_over_and_living_ones_do_not() -> None:
    torch.manual_seed(0)
    module = Prepared(torch.nn.Identity(), design("mlp", 12, 5, concepts=32, active=4))
    x = torch.randn(4, 12, 5, 5)
    coded = module.sae(x)
    dead = torch.zeros(32, dtype=torch.bool)
    dead[5:9] = True
    revival(module.sae, x, coded, dead).backward()
    moved = module.sae.dictionary.weight.grad.abs().sum(1) > 0
    assert moved[dead].any()
    assert not moved[~dead].any()


def test_a_concept_is_dead_after_so_many_objects() -> None:
    torch.manual_seed(0)
    module = Prepared(Scaled(1.0), design("mlp", 12, 5, concepts=32, active=1)).train()
    with torch.no_grad():
        module.sae.encoder.bias[7] = -1e3
        module.sae.encoder.bias[3] = 1e3
    none = torch.zeros(6)
    for _ in range(3):
        module(torch.randn(6, 12, 5, 5), none, none)
    assert module.idle[7] == 3 * 6 * 25
    assert module.idle[3] == 0
    module.eval()(torch.randn(6, 12, 5, 5), none, none)
    assert module.idle[7] == 3 * 6 * 25


def test_every_shipped_model_of_images_alone_gives_maps_to_learn_from() -> None:
    models = [model for model in library.shipped() if model.card.fronts and model.card.size and not model.card.columns]
    shapes = {model.name: open_layer(model.name).shape for model in models}
    assert {name: shape[0] for name, shape in shapes.items()} == {
        "sfnet-metallicity": 512, "sfnet-lines": 512, "spectra": 512, "dmagnet": 1024,
    }  # fmt: skip
    for model in models:
        cell_offsets(model.card.size[0], shapes[model.name][1], model.card.pixel_scale)


def test_layers_are_named_as_the_model_gives_them(tmp_path: Path) -> None:
    layer = open_layer("sfnet-metallicity")
    assert (layer.name, layer.shape) == ("layer4", (512, 5, 5))
    with pytest.raises(ModelError, match="no inner maps"):
        open_layer(str(write_corners(tmp_path / "corners.onnx")))
    with pytest.raises(UsageError, match="layer3") as error:
        open_layer("sfnet-metallicity:layer3")
    assert "layer4" in error.value.hint


def test_cells_lie_where_a_resnet_looks() -> None:
    assert cell_offsets(144, 5, 0.5) == [(32 * cell - 71.5) * 0.5 for cell in range(5)]
    assert cell_offsets(128, 4, 1.0) == [32 * cell - 63.5 for cell in range(4)]
    with pytest.raises(sae_export.ModelError):
        cell_offsets(144, 7, 1.0)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("pictures"), "neither images nor inner maps"),
        (Asked("features:"), "neither images nor inner maps"),
        (Asked(lift=0, sparsity="l1"), "means nothing in a lifted space"),
        (Asked(concepts=4), "8 active concepts of 4"),
        (Asked(lift=2), "cannot be lifted to 2"),
        (Asked(penalty=1.0), "has no penalty"),
    ],
)
def test_what_contradicts_itself_is_refused(asked: Asked, words: str, source: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        train_sae(tmp_path, source, asked)


def test_too_few_galaxies_are_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are left to learn from"):
        train_sae(tmp_path, Source(cache, 5, 70), Asked(), preset="quick")


def test_codes_of_images_are_learned_as_they_are_exported(images: Material) -> None:
    module = Prepared(RobustPixels(FRONTS), design("fno", 3)).train()
    batch = next(iter(held_images(images.galaxies, 0)))
    learned = module(batch.pixels, batch.valid, batch.front)[1].codes
    exported = module.eval()(batch.pixels, batch.valid, batch.front)[1].codes
    assert torch.equal(learned, exported)
    cells = (exported > 0).sum((2, 3))[(exported > 0).any(3).any(2)]
    assert len(cells.unique()) > 1  # thresholds decide, not counts


def test_domain_sparsity_is_exported_as_thresholds(fno: Path, images: Material) -> None:
    session = Session(library.find(fno), "cpu")
    batch = next(iter(held_images(images.galaxies, 0)))
    feeds = {"pixels": batch.pixels.numpy(), "valid": batch.valid.numpy(), "front": batch.front.numpy()}
    said = session.run(feeds, ["inner/codes", "inner/before"])
    codes, before = (torch.from_numpy(said[name]) for name in ("inner/codes", "inner/before"))
    on, used = codes > 0, energy(codes) > 0
    # What is kept is what was given above the threshold, which is in units of the map's level.
    assert torch.equal(codes[on], before[on])
    given = before.relu()[used]
    least = torch.stack([values[values > 0].min() for values in codes[used]])
    assert torch.equal(codes[used] > 0, given >= least[:, None, None])
    left_out = (given * (codes[used] == 0)).amax((1, 2))
    unit = level(before.relu())[used]
    concept = used.nonzero()[:, 1]
    for one in concept.unique():
        here = concept == one
        assert (left_out / unit)[here].max() <= (least / unit)[here].min()
    part = on.float().mean((2, 3))[used]
    assert 0.001 < part.mean() < 0.01


@pytest.mark.parametrize("kind", ["mlp", "cnn", "fno"])
@pytest.mark.parametrize("lift", [None, 0])
def test_every_kind_is_exported_for_any_size(kind: str, lift: int | None) -> None:
    torch.manual_seed(0)
    made = design(kind, 3, concepts=16, active=4, lift=lift)  # type: ignore[arg-type]
    module = Prepared(RobustPixels(FRONTS), made).eval()
    exported = ExportedImages(module.front, module.sae, torch.zeros(made.tokens), 4, made.patch).eval()

    def images_of(count: int, height: int = 50, width: int = 67) -> dict[str, torch.Tensor]:
        pixels = torch.randn(count, 3, height, width)
        return {"pixels": pixels, "valid": torch.ones(count, 1, height, width), "front": torch.arange(count) % 3}

    graph = export.to_onnx(exported, images_of(2), OUTPUTS, least_side=33)
    assert sae_export.prove(exported, graph, images_of) < 1e-5
    assert sae_export.prove(exported, graph, lambda count: images_of(count, 40, 33)) < 1e-5


def test_patches_are_those_of_the_middle() -> None:
    x = torch.arange(2 * 3 * 19 * 17, dtype=torch.float32).reshape(2, 3, 19, 17)
    known = torch.nn.functional.pixel_unshuffle(x[:, :, 1:17, :16], 8)
    assert torch.equal(patches(x, 8), known)
