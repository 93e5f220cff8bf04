"""The stream of images: each once a turn, the same from every entry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maskwright.data.sampling import StreamSampler


def stream(images, length, seed, epochs):
    sampler = StreamSampler(images, length, seed)
    draws = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        part = list(sampler)
        assert len(part) == len(sampler) == length
        draws += part
    return draws


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 5))
def test_every_image_comes_once_before_any_comes_twice(images, length, seed):
    draws = stream(images, length, seed, 4)
    assert [n for n, _ in draws] == list(range(4 * length))
    rows = [row for _, row in draws]
    for start in range(0, len(rows) - images + 1, images):
        assert sorted(rows[start : start + images]) == list(range(images))


@given(st.integers(1, 12), st.integers(0, 5))
def test_the_stream_does_not_depend_on_where_epochs_end(images, seed):
    assert stream(images, 6, seed, 4) == stream(images, 8, seed, 3) == stream(images, 24, seed, 1)


def test_an_epoch_can_be_entered_directly_and_twice():
    sampler = StreamSampler(5, 7, 1)
    sampler.set_epoch(3)
    assert list(sampler) == list(sampler) == stream(5, 7, 1, 4)[21:]


def test_turns_and_seeds_have_orders_of_their_own():
    rows = [row for _, row in stream(50, 100, 0, 1)]
    assert rows[:50] != rows[50:]
    assert rows != [row for _, row in stream(50, 100, 1, 1)]
