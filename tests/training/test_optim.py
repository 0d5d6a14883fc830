import math

import pytest
import torch
from torch import nn

from galcli.training.optim import BIASES, flat_cos, one_cycle, ranger, relative_adamw, set_rate
from galcli.training.regression import rmse


def ranger_by_hand(theta, gradients, rates, beta1s, decay):
    """The update of models.md 0.1 for one number."""
    beta2, eps = 0.99, 1e-6
    m = v = 0.0
    slow, infinity = theta, 2 / (1 - beta2) - 1
    for t, (gradient, lr, beta1) in enumerate(zip(gradients, rates, beta1s, strict=True), start=1):
        theta *= 1 - lr * decay
        g = gradient(theta / (1 - lr * decay))
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        rho = infinity - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * infinity / ((infinity - 4) * (infinity - 2) * rho))
            theta -= lr * r * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
        else:
            theta -= lr * m / (1 - beta1**t)
        if t % 6 == 0:
            slow += 0.5 * (theta - slow)
            theta = slow
    return theta


@pytest.mark.parametrize("cycled", [False, True])
def test_ranger_by_hand(cycled):
    steps = 50
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, 2.0)
    schedule = one_cycle(0.05) if cycled else lambda step, total: (0.05, 0.95)
    hyper = [schedule(step, steps) for step in range(steps)]
    # d/dtheta of 0.5 (theta - c)^2 for a target that moves
    targets = [math.sin(step) for step in range(steps)]
    optimizer = ranger(module, 0.05)
    for (lr, beta1), target in zip(hyper, targets, strict=True):
        set_rate(optimizer, lr, beta1)
        optimizer.zero_grad()
        (0.5 * (module.weight - target) ** 2).sum().backward()
        optimizer.step()
    gradients = [lambda theta, c=target: theta - c for target in targets]
    expected = ranger_by_hand(2.0, gradients, [h[0] for h in hyper], [h[1] for h in hyper], 0.01)
    assert module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_the_first_five_steps_have_no_adaptive_denominator():
    # rho <= 5 for t <= 5: a gradient a thousand times larger moves a thousand times as far
    moves = []
    for size in (1.0, 1000.0):
        module = nn.Linear(1, 1, bias=False).double()
        nn.init.zeros_(module.weight)
        optimizer = ranger(module, 1e-3, weight_decay=0.0)
        for _ in range(5):
            optimizer.zero_grad()
            (size * module.weight).sum().backward()
            optimizer.step()
        moves.append(module.weight.item())
    assert moves[1] == pytest.approx(1000 * moves[0])


def test_norms_and_biases_are_not_decayed():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    decay = {id(p): group["weight_decay"] for group in ranger(module, 0.1).param_groups for p in group["params"]}
    expected = {"0.weight": 0.01, "0.bias": 0, "1.weight": 0, "1.bias": 0, "2.weight": 0.01, "2.bias": 0}
    assert {name: decay[id(p)] for name, p in module.named_parameters()} == expected


@pytest.mark.parametrize(
    ("step", "lr", "beta1"),
    [
        (0, 0.004, 0.95),
        (125, (0.004 + 0.1) / 2, 0.90),
        (250, 0.1, 0.85),
        (625, (0.1 + 1e-6) / 2, 0.90),
        (1000, 1e-6, 0.95),
    ],
)
def test_one_cycle(step, lr, beta1):
    assert one_cycle(0.1)(step, 1000) == pytest.approx((lr, beta1), rel=1e-9)


def test_one_cycle_at_a_sixth_of_the_way_up():
    s = (1 + math.cos(math.pi * (1 - 1 / 3))) / 2
    lr, beta1 = one_cycle(0.1)(1, 12)
    assert lr == pytest.approx(0.004 + 0.096 * s, rel=1e-12)
    assert beta1 == pytest.approx(0.95 - 0.10 * s, rel=1e-12)


@pytest.mark.parametrize(("step", "lr"), [(0, 0.1), (749, 0.1), (750, 0.1), (875, (0.1 + 1e-6) / 2), (1000, 1e-6)])
def test_flat_cos(step, lr):
    assert flat_cos(0.1)(step, 1000) == pytest.approx((lr, 0.95), rel=1e-9)


def test_rmse_is_joint_and_has_a_gradient_at_zero():
    y = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    target = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert rmse(y, target).item() == pytest.approx(math.sqrt(13 / 4))
    y.requires_grad_()
    rmse(y, y.detach()).backward()
    assert y.grad.isfinite().all()


def test_relative_rates_move_weights_by_the_same_part_of_their_scatter() -> None:
    module = nn.Module()
    module.large, module.small = nn.Parameter(torch.randn(20, 30)), nn.Parameter(1e-3 * torch.randn(20, 30))
    module.bias = nn.Parameter(torch.zeros(30, 1, 1))
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimizer = relative_adamw(module, 0.1, 0.0)
    set_rate(optimizer, 0.01, 0.9)
    sum(value.sum() for value in module.parameters()).backward()
    optimizer.step()
    moved = {name: (value - before[name]).abs().mean() for name, value in module.named_parameters()}
    for name in ("large", "small"):
        torch.testing.assert_close(moved[name], 0.01 * before[name].square().mean().sqrt(), rtol=1e-3, atol=0)
    torch.testing.assert_close(moved["bias"], torch.tensor(0.01 * BIASES), rtol=1e-3, atol=0)
