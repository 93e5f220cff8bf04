"""The parts of training: rates, averages, batches, the table of curves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from maskwright.recipe.optimise import CosineSpec
from maskwright.recipe.train import TrainSpec
from maskwright.train.optimizer import parameter_groups
from maskwright.train.schedules import rate
from maskwright.train.teacher import Teacher


@given(st.integers(2, 500), st.floats(0, 0.9))
@example(2, 0.75)
def test_the_rate_rises_once_then_falls_to_nothing(steps, warmup):
    rates = [rate(CosineSpec(), step, steps=steps, warmup=warmup) for step in range(steps + 1)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(1)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[0] > 0  # the first step learns, too
    assert peak <= max(1, math.ceil(warmup * steps))


def test_the_rate_worked_by_hand():
    # 10 steps, 2 of warm-up: 1/2, 1, then (1 + cos(π·s/8))/2 with s = step − 2
    rates = [rate(CosineSpec(), step, steps=10, warmup=0.2) for step in (0, 1, 2, 4, 6, 10)]
    assert rates == pytest.approx([0.5, 1, 1, (1 + math.cos(math.pi / 4)) / 2, 0.5, 0])


def test_only_weights_decay():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    network[2].weight.requires_grad_(False)
    decaying, plain = parameter_groups(network, TrainSpec(weight_decay=0.1))
    assert (decaying["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [p.ndim for p in decaying["params"]] == [4]
    assert all(p.ndim == 1 for p in plain["params"])
    assert len(plain["params"]) == 4  # three biases and the norm's weight


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def step(net):
    with torch.no_grad():
        for value in net.state_dict().values():
            value.add_(1)


def test_momentum_one_freezes():
    net = network()
    average = Teacher(net, 1.0, ramp="shipping")
    before = {k: v.clone() for k, v in average.network.state_dict().items()}
    for _ in range(3):
        step(net)
        average.update(net)
    after = average.network.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if v.is_floating_point())


def test_momentum_zero_copies_buffers_and_counters_too():
    net = network()
    average = Teacher(net, 0.0, ramp="shipping")
    step(net)
    average.update(net)
    assert all(torch.equal(average.network.state_dict()[k], v) for k, v in net.state_dict().items())


def test_the_mean_of_weights_starts_where_it_is_told():
    net = network()
    average = Teacher(net, 0.99, ramp="shipping", mean_from=2)
    seen = []
    for update in range(6):
        step(net)
        average.update(net)
        seen.append({k: v.clone() for k, v in net.state_dict().items()})
        of = seen[2:] or seen[-1:]  # until then the network itself, then the mean of all since
        for key, value in average.network.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, torch.stack([state[key] for state in of]).mean(0)), update


def test_the_average_is_that_of_the_formula():
    net, momentum = network(), 0.5
    average = Teacher(net, momentum, ramp="shipping")
    expected = net[0].weight.detach().clone()
    for count in range(12):
        step(net)
        average.update(net)
        share = min(momentum, (1 + count) / (10 + count))
        expected = share * expected + (1 - share) * net[0].weight.detach()
    assert torch.allclose(average.network[0].weight, expected, atol=1e-6)


def test_an_average_resumes():
    net = network()
    average = Teacher(net, 0.9, ramp="shipping")
    for _ in range(4):
        step(net)
        average.update(net)
    resumed = Teacher(network(), 0.9, ramp="shipping")
    resumed.load_state_dict(average.state_dict())
    for one in (average, resumed):
        one.update(net)
    pairs = zip(average.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_average_follows_a_network_that_was_moved_or_exchanged():
    net = network()
    average = Teacher(net, 0.0, ramp="shipping")
    average.update(net)
    holder = nn.ModuleList([net, average]).to(torch.float64)  # replaces buffers
    step(net)
    holder[1].update(net)
    assert all(torch.equal(average.network.state_dict()[k], v) for k, v in net.state_dict().items())
    other = network().to(torch.float64)
    average.update(other)
    assert all(torch.equal(average.network.state_dict()[k], v) for k, v in other.state_dict().items())
    assert not [name for name in average.state_dict() if "_of" in name]


def test_an_average_never_trains():
    net = network()
    average = Teacher(net, 0.9, ramp="shipping")
    assert not average.train().network.training
    assert not any(p.requires_grad for p in average.parameters())
    assert net.training
    assert net[0].weight.requires_grad
