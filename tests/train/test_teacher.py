"""The moving average against a slow plain one, its ramps, and networks from elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import maskwright
from maskwright.errors import UsageError
from maskwright.train.teacher import Teacher


class Counting(nn.Module):
    """A network with a parameter, a floating buffer and one of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3))
        self.register_buffer("running", torch.randn(4))
        self.register_buffer("seen", torch.tensor(0))

    def change(self) -> None:
        with torch.no_grad():
            self.weight += torch.randn(2, 3)
            self.running += torch.randn(4)
            self.seen += 3


def plain(states, momentum, ramp, every):
    """The average of a list of states, in float64, element by element; states[0] is what it is made from."""
    average = [float(value) for value in states[0]]
    for t, state in enumerate(states[1:]):
        if t % every:
            continue
        stays = {
            "none": momentum if t > 0 or momentum == 1 else 0.0,
            "inverse": min(momentum, 1 - 1 / (t // every + 1)),
            "shipping": min(momentum, (1 + t // every) / (10 + t // every)),
        }[ramp]
        average = [stays * a + (1 - stays) * float(s) for a, s in zip(average, state, strict=True)]
    return np.array(average)


@pytest.mark.parametrize("ramp", ["none", "inverse", "shipping"])
@pytest.mark.parametrize("every", [1, 4])
def test_the_average_is_that_of_a_plain_loop(ramp, every):
    torch.manual_seed(0)
    network = Counting()
    teacher, states = Teacher(network, 0.8, ramp=ramp, every=every), []
    for _ in range(11):
        states.append(torch.cat([network.weight.flatten(), network.running]).tolist())
        network.change()
        teacher.update(network)
    states.append(torch.cat([network.weight.flatten(), network.running]).tolist())
    found = torch.cat([teacher.network.weight.flatten(), teacher.network.running]).detach().numpy()
    np.testing.assert_allclose(found, plain(states, 0.8, ramp, every), rtol=1e-5, atol=1e-6)
    assert int(teacher.network.seen) == (33 if every == 1 else 27)  # copied at updates 1 … 11, or 1, 5 and 9


def test_ramps_have_their_published_values():
    """UniMatch V2 (it → min(1 − 1/(it + 1), .996)) and what is shipped ((1 + t) / (10 + t))."""
    inverse = Teacher(nn.Conv2d(1, 1, 1), 0.996, ramp="inverse")
    assert [inverse.stays(t) for t in (0, 1, 9, 249, 5000)] == pytest.approx([0, 0.5, 0.9, 0.996, 0.996])
    shipping = Teacher(nn.Conv2d(1, 1, 1), 0.99, ramp="shipping")
    assert [shipping.stays(t) for t in (0, 8, 10_000)] == pytest.approx([0.1, 0.5, 0.99])
    none = Teacher(nn.Conv2d(1, 1, 1), 0.99)
    assert [none.stays(t) for t in (0, 1, 9)] == [0.0, 0.99, 0.99]


@pytest.mark.parametrize("ramp", ["none", "inverse"])
def test_the_first_update_is_a_copy_bit_for_bit(ramp):
    network = Counting()
    teacher = Teacher(network, 0.9, ramp=ramp)
    network.change()
    teacher.update(network)
    assert torch.equal(teacher.network.weight, network.weight)


def test_momentum_one_freezes_and_zero_copies():
    network = Counting()
    frozen, copied = Teacher(network, 1.0), Teacher(network, 0.0)
    before = network.weight.detach().clone()
    for _ in range(3):
        network.change()
        frozen.update(network)
        copied.update(network)
    assert torch.equal(frozen.network.weight, before)
    assert torch.equal(copied.network.weight, network.weight)


def test_it_goes_on_from_its_state():
    torch.manual_seed(0)
    network = Counting()
    whole, cut = Teacher(network, 0.9, ramp="inverse"), Teacher(network, 0.9, ramp="inverse")
    for i in range(8):
        network.change()
        whole.update(network)
        cut.update(network)
        if i == 4:
            state = cut.state_dict()
            cut = Teacher(Counting(), 0.9, ramp="inverse")
            cut.load_state_dict(state)
    assert torch.equal(whole.network.weight, cut.network.weight)


def test_probabilities_come_without_a_graph_and_in_evaluation_mode():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5), nn.BatchNorm2d(4))
    teacher = Teacher(network).train()
    images = torch.randn(2, 3, 5, 7)
    found = teacher(images)
    assert not found.requires_grad
    assert torch.equal(found, teacher(images))
    torch.testing.assert_close(found.sum(1), torch.ones(2, 5, 7))
    torch.testing.assert_close(found, network.eval()(images).softmax(1))
    assert network.training is False
    assert not any(p.requires_grad for p in teacher.parameters())


class Wrapped(nn.Module):
    """A network that returns its logits in something."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Conv2d(1, 2, 1), wrap

    def forward(self, images):
        return self.wrap(self.layer(images))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: logits,
        lambda logits: [logits, None],
        lambda logits: (logits,),
        lambda logits: {"out": logits, "aux": None},
        lambda logits: SimpleNamespace(logits=logits),
    ],
)
def test_networks_from_elsewhere(wrap):
    network = Wrapped(wrap)
    images = torch.randn(2, 1, 3, 4)
    torch.testing.assert_close(maskwright.Teacher(network)(images), network.layer(images).softmax(1))


def test_what_can_not_be_read_is_said():
    with pytest.raises(UsageError, match="read="):
        Teacher(Wrapped(lambda logits: "logits"))(torch.zeros(1, 1, 2, 2))
    read = Teacher(Wrapped(lambda logits: {"seg": logits}), read=lambda outputs: outputs["seg"])
    assert read(torch.zeros(1, 1, 2, 2)).shape == (1, 2, 2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"momentum": 1.5}, "momentum from 0 to 1"), ({"ramp": "slow"}, "'slow'"), ({"every": 0}, "at least 1")],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UsageError, match=message):
        Teacher(nn.Conv2d(1, 1, 1), **options)


def test_a_student_whose_weights_were_exchanged_is_followed():
    student = nn.Conv2d(1, 2, 1)
    teacher = Teacher(student, 0.5, ramp="none")
    teacher.update(student)
    student.load_state_dict({k: torch.full_like(v, 3.0) for k, v in student.state_dict().items()}, assign=True)
    teacher.update(student)
    with torch.no_grad():
        student.weight.fill_(7.0)
    before = teacher.network.weight.clone()
    teacher.update(student)
    torch.testing.assert_close(teacher.network.weight, (before + 7.0) / 2)


class Sharing(nn.Module):
    """A network of which two modules are one, with a buffer that isn't saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = self.first
        self.register_buffer("level", torch.zeros(()), persistent=False)


def test_shared_parameters_move_once_and_buffers_that_are_not_saved_move_too():
    student = Sharing()
    teacher = Teacher(student, 0.9)
    teacher.update(student)
    before = student.first.weight.detach().clone()
    with torch.no_grad():
        student.first.weight += 1
        student.level += 1
    teacher.update(student)
    torch.testing.assert_close(teacher.network.second.weight.detach(), before + 0.1)
    assert float(teacher.network.level) == pytest.approx(0.1)


def test_parts_that_are_exchanged_are_followed():
    student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    teacher = Teacher(student, 0.5)
    teacher.update(student)
    student[1] = nn.Linear(2, 2)
    student[0].weight.data = torch.full((2, 2), 7.0)
    for _ in range(30):
        teacher.update(student)
    for own, other in zip(teacher.network.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(own, other.detach())


def test_an_inverse_ramp_of_rare_updates_is_the_plain_mean_of_their_states():
    student = nn.Conv2d(1, 1, 1, bias=False)
    teacher = Teacher(student, 0.999, ramp="inverse", every=10)
    for value in range(30):
        with torch.no_grad():
            student.weight.fill_(float(value))
        teacher.update(student)
    assert teacher.network.weight.item() == pytest.approx((0 + 10 + 20) / 3)


def test_a_mean_of_every_third_state_has_equal_shares():
    student = nn.Conv2d(1, 1, 1, bias=False)
    teacher = Teacher(student, 0.9, every=3, mean_from=0)
    for value in range(9):
        with torch.no_grad():
            student.weight.fill_(float(value))
        teacher.update(student)
    assert teacher.network.weight.item() == pytest.approx((0 + 3 + 6) / 3)


def test_wrappers_of_the_student_may_come_and_go():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 2, 1)
    teacher = Teacher(network, 0)
    with torch.no_grad():
        network.weight += 1
    teacher.update(nn.DataParallel(network))
    assert torch.equal(teacher.network.weight, network.weight)
    wrapped = Teacher(nn.DataParallel(network), 0)
    with torch.no_grad():
        network.weight += 1
    wrapped.update(network)
    assert torch.equal(wrapped.network.module.weight, network.weight)


def test_networks_that_can_t_be_followed_are_said():
    spectral = torch.nn.utils.spectral_norm(nn.Conv2d(3, 2, 1))
    spectral(torch.zeros(1, 3, 4, 4))
    with pytest.raises(UsageError, match=r"parametrizations"):
        Teacher(spectral)
    with pytest.raises(UsageError, match=r"one without weight"):
        Teacher(nn.Conv2d(3, 2, 1)).update(nn.ReLU())
    with pytest.raises(UsageError, match="read="):
        Teacher(nn.Identity(), read=None).read([])
    teacher = Teacher(nn.ReLU())
    teacher.update(nn.ReLU())
    assert int(teacher.updates) == 1
