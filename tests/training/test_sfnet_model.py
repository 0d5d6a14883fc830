import numpy as np
import onnx
import pytest
import torch
from astropy.io.votable.ucd import check_ucd

from galcli.errors import InputError, ModelError
from galcli.models import library
from galcli.models.session import Session
from galcli.training import checkpoint
from galcli.training.data import Stamps
from galcli.training.networks.resnet import cell_centers
from galcli.training.networks.sfnet import SFNet
from galcli.training.networks.sfnet_export import ExportedSFNet
from galcli.training.pixels import FRONTS, Pixels
from galcli.training.recipes.sfnet_model import bpt_class, export_sfnet
from galcli.training.views import Samples, measure, views
from tests.training.tiny_sfnet import ALIVE, SIZE, batches, network


@pytest.fixture(scope="module")
def predicted(tiny_sfnet):
    model = library.find(tiny_sfnet[0])
    session = Session(model, "cpu")
    batch = batches(1 if model.card.prefix == "SFZ" else 4, 64, 9)()[0]
    feeds = {"pixels": batch.pixels.numpy(), "valid": batch.valid.numpy(), "front": batch.front.numpy()}
    found = session.run(feeds)
    return model.card, {output.column: found[output.tensor] for output in model.card.outputs}, found


def table_of(card):
    (table,) = card.tables
    return {column.name: np.array(column.values) for column in table.columns}


def test_prediction_is_recomputable_from_the_row(predicted):
    card, row, _ = predicted
    table, prefix = table_of(card), card.prefix
    idx, act = row[f"{prefix}_IDX"], row[f"{prefix}_ACT"]
    names = [name.removeprefix("WEIGHT_") for name in table if name.startswith("WEIGHT_")]
    assert names[0] in ("Z_GAS", "LOG_NII_6584")
    for name in names:
        weight, largest = table[f"WEIGHT_{name}"][idx], table["ACT_MAX"][idx]
        total = table[f"BIAS_{name}"][0] + (weight * largest * act * (idx >= 0)).sum(axis=1)
        np.testing.assert_allclose(row[name], total, atol=1e-4)
    assert (idx < 0).any()  # otherwise the test would not see the padding


def test_padding_and_order_of_the_features(predicted):
    card, row, found = predicted
    idx, act = row[f"{card.prefix}_IDX"], row[f"{card.prefix}_ACT"]
    raw = act * table_of(card)["ACT_MAX"][idx]
    assert idx.dtype == np.int16
    assert (np.diff(raw, axis=1) <= 0).all()
    assert (act[idx < 0] == 0).all()
    assert (act[idx >= 0] > 0).all()
    for name in ("DX", "DY"):
        offset = row[f"{card.prefix}_{name}"]
        assert np.array_equal(np.isnan(offset), idx < 0)
    np.testing.assert_allclose(found["inner/layer4"].mean(axis=(2, 3)), found["inner/pooled"], atol=1e-6)


def test_offsets_point_at_the_maps_peak(predicted):
    card, row, found = predicted
    maps, idx = found["inner/layer4"], row[f"{card.prefix}_IDX"]
    centers = np.array(cell_centers(SIZE))
    for number in range(len(idx)):
        for place in np.flatnonzero(idx[number] >= 0):
            cell = np.unravel_index(maps[number, idx[number, place]].argmax(), maps.shape[2:])
            east = -(centers[cell[1]] - (SIZE - 1) / 2) * 0.262
            north = (centers[cell[0]] - (SIZE - 1) / 2) * 0.262
            assert row[f"{card.prefix}_DX"][number, place] == pytest.approx(east, abs=1e-5)
            assert row[f"{card.prefix}_DY"][number, place] == pytest.approx(north, abs=1e-5)


def test_east_is_at_small_x_and_north_at_large_y():
    module = ExportedSFNet(Pixels(FRONTS, [0.0] * 3, [1.0] * 3), SFNet(1), 144, 0.262)
    east, north = module.east.view(5, 5), module.north.view(5, 5)
    assert east[0, 0] == pytest.approx(71.5 * 0.262)
    assert east[0, 4] == pytest.approx(-(128 - 71.5) * 0.262)
    assert north[0, 0] == pytest.approx(-71.5 * 0.262)
    assert north[4, 0] == pytest.approx((128 - 71.5) * 0.262)


def test_lines_follow_from_each_other(predicted):
    card, row, _ = predicted
    if card.prefix == "SFZ":
        return
    np.testing.assert_allclose(row["LOG_NII_HA"], row["LOG_NII_6584"] - row["LOG_HA_6564"], atol=1e-6)
    np.testing.assert_allclose(row["LOG_OIII_HB"], row["LOG_OIII_5007"] - row["LOG_HB_4861"], atol=1e-6)
    assert np.array_equal(row["IS_AGN"], row["AGN_SCORE"] > 0)
    assert row["IS_AGN"].dtype == bool


def test_card_tells_everything(tiny_sfnet):
    path, card, lines, _ = tiny_sfnet
    assert library.find(path).card == card
    columns = [output.column for output in card.outputs]
    if card.prefix == "SFZ":
        assert columns == ["Z_GAS", "Z_GAS_ERR", "SFZ_IDX", "SFZ_ACT", "SFZ_DX", "SFZ_DY", "SFZ_OOD"]
    else:
        lines_ = ["LOG_NII_6584", "LOG_HA_6564", "LOG_OIII_5007", "LOG_HB_4861", "LOG_NII_HA", "LOG_OIII_HB"]
        errors = [name for line in lines_ for name in (line, f"{line}_ERR")]
        tail = ["AGN_SCORE", "IS_AGN", "SFL_IDX", "SFL_ACT", "SFL_DX", "SFL_DY", "SFL_OOD"]
        assert columns == errors + tail
    assert card.training.mock
    assert card.domain.column == f"{card.prefix}_OOD"
    assert [front.name for front in card.fronts] == list(FRONTS)
    assert all(check_ucd(output.ucd, check_controlled_vocabulary=True) for output in card.outputs)
    assert all(output.description for output in card.outputs)
    assert any("differ by at most" in line for line in lines)
    table = table_of(card)
    assert (table["FREQ_POST"] <= table["FREQ_PRE"]).all()
    assert (table["FREQ_PRE"][ALIVE:] == 0).all()
    assert (table["ACT_MAX"][ALIVE:] == 1).all()


def test_metrics_and_coverage_belong_to_each_front(tiny_sfnet):
    card = tiny_sfnet[1]
    names = {output.column for output in card.outputs if f"{output.column}_ERR" in str(card.outputs)}
    assert {metric.front for metric in card.metrics} == set(FRONTS)
    covered = [metric for metric in card.metrics if "coverage" in metric.name]
    assert {metric.name.split()[0] for metric in covered} <= names
    for metric in covered:
        assert metric.value == pytest.approx(0.68, abs=0.15)  # 60 objects per front
        assert metric.objects == 60
    assert card.calibration["method"] == "cross-conformal"
    inside = [metric.value for metric in card.metrics if metric.name == "inside the domain"]
    assert min(inside) > 0.9
    if card.prefix == "SFZ":
        rmse = [metric.value for metric in card.metrics if metric.name == "Z_GAS rmse"]
        assert rmse == pytest.approx([0.1] * 3, abs=0.03)


def test_error_bars_and_domain_of_a_known_noise(predicted):
    card, row, _ = predicted
    if card.prefix == "SFZ":
        assert np.median(row["Z_GAS_ERR"]) == pytest.approx(0.1, abs=0.04)
    assert (row[f"{card.prefix}_OOD"] > 0).all()


def test_odd_images_are_out_of_domain(tiny_sfnet):
    model = library.find(tiny_sfnet[0])
    noise = np.random.default_rng(0).uniform(0, 1, (6, 3, SIZE, SIZE)).astype(np.float32)
    feeds = {"pixels": noise, "valid": np.ones((6, 1, SIZE, SIZE), np.float32), "front": np.full(6, 2)}
    ood = Session(model, "cpu").run(feeds, ["ood"])["ood"]
    assert np.median(ood) > 1


def test_half_of_the_size(tiny_sfnet):
    assert tiny_sfnet[0].stat().st_size < 11_200_000 * 2.1


def test_bpt_classes():
    x = np.array([-1.0, -0.5, 0.0, 0.3, 0.6, -0.2, np.nan])
    y = np.array([0.0, 0.0, 0.8, 1.0, 0.0, -0.2, 0.0])
    assert bpt_class(x, y).tolist() == [1, 1, 4, 4, 4, 3, -1]


def test_weights_without_their_story(tmp_path):
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, network(1).state_dict(), {})
    nothing = Samples(list, list, list, "none")
    with pytest.raises(ModelError, match="do not say"):
        export_sfnet(path, nothing, tmp_path / "x.onnx", lambda _: None)


def test_views_show_each_stamp_through_its_front_and_as_display():
    draw = np.random.default_rng(0)
    stamps = Stamps(
        draw.normal(0.1, 0.01, (7, 3, SIZE, SIZE)).astype(np.float16), np.array([0, 1, 1, 0, 1, 0, 0]), {}, 0.262, "s"
    )
    target = np.arange(7, dtype=np.float32)[:, None]
    seen = [(int(row), int(front)) for batch in views(stamps, np.arange(1, 7), target, batch_size=2)
            for row, front in zip(batch.rows, batch.front, strict=True)]  # fmt: skip
    own = [(row, int(stamps.front[row])) for row in range(1, 7)]
    assert sorted(seen) == sorted(own + [(row, 2) for row in range(1, 7)])
    fronts = ("flux:grz", "display")
    places = [(int(row), fronts[front]) for batch in views(stamps, np.arange(7), target, fronts=fronts)
              for row, front in zip(batch.rows, batch.front, strict=True)]  # fmt: skip
    assert sorted(places) == sorted([(row, "flux:grz") for row in (1, 2, 4)] + [(row, "display") for row in range(7)])
    for batch in views(stamps, np.arange(7), target):
        assert torch.equal(batch.target[:, 0], batch.rows.float())


def test_empty_sample(tiny_sfnet):
    with pytest.raises(InputError, match="empty"):
        measure(onnx.load(tiny_sfnet[0]), list, ["ood"])
