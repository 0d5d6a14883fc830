"""What is told of codes: which concepts, how strongly, where and over what extent."""

import math

import numpy as np
import torch
from torch import nn

from galcli.models.session import Graph
from galcli.training.export import to_onnx
from galcli.training.networks.concepts import strength, strongest, summed


def offsets(length: int) -> torch.Tensor:
    return torch.arange(length) - (length - 1) / 2


def test_concepts_are_told_with_strength_place_and_extent() -> None:
    z = torch.zeros(2, 5, 9, 11)
    z[0, 3, 4, 5] = 2.0  # the middle
    z[0, 1, 4, 3], z[0, 1, 4, 7] = 1.0, 1.0  # two cells on either side of it
    z[1, 4, 0, 10] = 3.0
    found = strongest(z, 3, -offsets(11), offsets(9))
    assert found.number.tolist() == [[3, 1, -1], [4, -1, -1]]
    assert found.active.tolist() == [2, 1]
    torch.testing.assert_close(found.strength[0, :2], torch.tensor([2.0, math.sqrt(2)]) / math.sqrt(99))
    assert not found.strength[1, 1:].any()
    torch.testing.assert_close(found.dx[:, 0], torch.tensor([0.0, -5.0]))
    torch.testing.assert_close(found.dy[:, 0], torch.tensor([0.0, -4.0]))
    torch.testing.assert_close(found.size[0, :2], torch.tensor([0.0, 2.0]))
    for values in (found.dx, found.dy, found.size):
        assert values.isnan().tolist() == [[False, False, True], [False, True, True]]


def test_centroids_weigh_cells_by_energy() -> None:
    z = torch.zeros(1, 1, 3, 3)
    z[0, 0, 1, 0], z[0, 0, 1, 2] = 1.0, 2.0
    found = strongest(z, 1, offsets(3), offsets(3))
    torch.testing.assert_close(found.dx, torch.tensor([[(-1 + 4) / 5]]))


class _Sums(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [summed(x, 3), strength(x)]


def test_sums_do_not_depend_on_the_batch() -> None:
    """Rows of 75 numbers begin anywhere in a register; onnxruntime would else add them in another order in each place."""
    x = torch.rand(7, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(summed(x, 3), x.sum((1, 2, 3)))
    torch.testing.assert_close(strength(x), x.square().mean((2, 3)).sqrt())
    graph = Graph(to_onnx(_Sums(), {"x": x[:2]}, ("sum", "strength")).SerializeToString(), "sums", "cpu")
    together = graph.run({"x": x.numpy()})
    for row in range(len(x)):
        alone = graph.run({"x": x[row : row + 1].numpy().copy()})
        for name, values in together.items():
            assert np.array_equal(values[row : row + 1], alone[name])
