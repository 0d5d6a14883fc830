"""What the exported DMAGNet adds to the network: classes, calibrated probabilities, directions on the sky."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from galcli.training.networks.dmagnet import Trace
from galcli.training.networks.dmagnet_export import OUTPUTS, ExportedDMAGNet
from galcli.training.pixels import FRONTS, Pixels

SIZE, SCALE = 128, 0.5


class Scripted(nn.Module):
    """Answers as told, whatever the image."""

    def __init__(self, logits: Tensor, attention: Tensor) -> None:
        super().__init__()
        self.logits, self.attention = logits, attention

    def trace(self, x: Tensor) -> Trace:
        count = len(x)
        shares = [torch.full((count, 3), 1 / 3), torch.full((count, 3), 1 / 3), torch.tensor([[0.2, 0.3, 0.5]] * count)]
        maps = self.attention[:, None].expand(count, 1024, 4, 4)
        return Trace(self.logits, torch.zeros(count, 128), self.attention, self.attention, shares, maps)


def run(logits: Tensor, attention: Tensor, temperature: list[float] | None = None) -> dict[str, Tensor]:
    module = ExportedDMAGNet(Pixels(FRONTS, [0.1] * 3, [0.2] * 3, SCALE), Scripted(logits, attention), SIZE, SCALE)
    if temperature:
        module.calibrate(temperature)
    count = len(logits)
    seen = module(torch.zeros(count, 3, SIZE, SIZE), torch.ones(count, 1, SIZE, SIZE), torch.arange(count) % 3)
    return dict(zip(OUTPUTS, seen, strict=True))


def test_the_temperature_is_that_of_the_front_and_keeps_the_class() -> None:
    logits, even = torch.tensor([[3.0, 1.0, 0.0]]).repeat(3, 1), torch.full((3, 4, 4), 1 / 16)
    found = run(logits, even, [1.0, 2.0, 0.5])
    for row, temperature in enumerate((1.0, 2.0, 0.5)):
        torch.testing.assert_close(found["prob"][row], (logits[row] / temperature).softmax(0))
    assert found["class"].tolist() == [0, 0, 0]
    assert found["class"].dtype == torch.int16
    expected = -(found["prob"] * found["prob"].log()).sum(1)
    torch.testing.assert_close(found["entropy"], expected)
    torch.testing.assert_close(found["rf"][0], torch.tensor([0.2, 0.3, 0.5]))


def test_certainty_and_ignorance() -> None:
    even = torch.full((2, 4, 4), 1 / 16)
    found = run(torch.tensor([[200.0] + [0.0] * 9, [0.0] * 10]), even)
    torch.testing.assert_close(found["entropy"], torch.tensor([0.0, 10.0]).clamp(min=1).log())


def test_attention_points_to_the_sky() -> None:
    """Rows go north from the south, columns west from the east; cell i looks at pixel 32 i."""
    attention = torch.zeros(3, 4, 4)
    attention[0, 3, 2] = 1
    attention[1, 2, 0] = 1
    attention[2] = 1 / 16
    found = run(torch.zeros(3, 10), attention)
    middle = (SIZE - 1) / 2
    east = torch.tensor([middle - 64, middle - 0, middle - 48]) * SCALE
    north = torch.tensor([96 - middle, 64 - middle, 48 - middle]) * SCALE
    torch.testing.assert_close(found["att_dx"], east)
    torch.testing.assert_close(found["att_dy"], north)
    assert torch.equal(found["inner/maps"][:, 7], attention)
