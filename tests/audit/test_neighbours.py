"""Near pairs against a double loop and a comparison of all with all; fields against the pigeonhole principle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from maskwright.audit import neighbours
from maskwright.audit.neighbours import Field, choose_fields, near_pair_blocks, near_pairs


def loop_pairs(table, radius):
    rows = []
    for i in range(len(table)):
        for j in range(i + 1, len(table)):
            bits, transform = min(((int(table[i, 0]) ^ int(table[j, t])).bit_count(), t) for t in range(8))
            if bits <= radius:
                rows.append((i, j, transform, bits))
    return np.array(rows, np.int64).reshape(-1, 4)


def crowded_table(n, seed):
    """Hashes within a few bits of three centres, so that many pairs are near."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, (3, 1), np.uint64)[rng.integers(0, 3, n)]
    flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (n, 8, 4)).astype(np.uint64), axis=2)
    return centres ^ flips


@given(st.integers(0, 12), st.integers(0, 64), st.integers(0, 999))
def test_near_pairs_equal_the_double_loop(n, radius, seed):
    table = crowded_table(n, seed)
    assert_array_equal(near_pairs(table, radius), loop_pairs(table, radius))


def test_near_pairs_over_several_tiles():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2**63, (2500, 8), np.uint64)
    # planted: (first, second, transform, bits); on both sides of borders between tiles
    planted = [(3, 2400, 2, 0), (1023, 1024, 7, 5), (1500, 1501, 0, 6), (2047, 2048, 4, 1)]
    for i, j, transform, bits in planted:
        table[j, transform] = table[i, 0] ^ np.uint64(2**bits - 1)
    assert_array_equal(near_pairs(table, 6), planted)
    assert_array_equal(near_pairs(table, 5), [row for row in planted if row[3] <= 5])


def planted_table(n, seed, even=0.5):
    """Hashes at random, each bit 1 with probability `even`; half of the images near an earlier one, turned."""
    rng = np.random.default_rng(seed)
    bits = rng.random((n, 8, 64)) < even
    table = np.packbits(bits, axis=2).view(">u8")[..., 0].astype(np.uint64)
    copies = np.arange(n // 2, n)
    flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (len(copies), 7)).astype(np.uint64), axis=1)
    table[copies, rng.integers(0, 8, len(copies))] = table[rng.integers(0, n // 2, len(copies)), 0] ^ flips
    return table


def by_fields(table, radius, fields):
    pairs = np.concatenate([np.empty((0, 4), int), *neighbours._by_fields(table, radius, fields)])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


@pytest.mark.parametrize("even", [0.5, 0.1])
@pytest.mark.parametrize("radius", [0, 1, 3, 6, 9])
def test_every_choice_of_fields_finds_what_comparing_all_finds(radius, even):
    table = planted_table(700, radius, even)
    expected = loop_free_pairs(table, radius)
    chosen = {choose_fields(n, radius) for n in (1500, 10_000, 200_000)}
    assert all(chosen)
    for fields in chosen:
        assert_array_equal(by_fields(table, radius, fields), expected)


def loop_free_pairs(table, radius):
    """All distances at once; the nearest transform is the first of the smallest."""
    bits = np.bitwise_count(table[:, None, :1] ^ table[None])
    near = np.argwhere(np.triu(bits.min(axis=2) <= radius, 1))
    i, j = near.T
    return np.column_stack([i, j, bits[i, j].argmin(axis=1), bits[i, j].min(axis=1)])


@given(st.integers(2, 60), st.integers(0, 999))
def test_crowded_buckets_and_pairs_that_several_fields_find(n, seed):
    table = crowded_table(n, seed)
    fields = (Field(0, 10, 1), Field(10, 9, 1), Field(30, 8, 1), Field(40, 20, 2))
    assert_array_equal(by_fields(table, 8, fields), loop_free_pairs(table, 8))


def test_small_blocks_and_chunks_change_nothing(monkeypatch):
    table = planted_table(300, 5)
    table[50:90] = table[50]  # a bucket with more entries than a chunk holds
    expected = by_fields(table, 6, choose_fields(10_000, 6))
    monkeypatch.setattr(neighbours, "_ROWS", 7)
    monkeypatch.setattr(neighbours, "_CHUNK", 5)
    assert_array_equal(by_fields(table, 6, choose_fields(10_000, 6)), expected)
    assert_array_equal(expected, loop_free_pairs(table, 6))


@given(st.integers(0, 3_000_000), st.integers(0, 64))
def test_chosen_fields_miss_nothing(n, radius):
    fields = choose_fields(n, radius)
    # beyond every tolerance a pair differs in the sum of (tolerance + 1) bits at least
    assert not fields or sum(field.tolerance + 1 for field in fields) > radius
    ends = [0, *(field.shift + field.width for field in fields)]
    assert all(field.shift >= end for field, end in zip(fields, ends, strict=False))
    assert ends[-1] <= 64


def test_what_is_compared_depends_on_the_number_of_images_and_the_radius():
    assert choose_fields(20, 6) == ()
    assert choose_fields(5000, 40) == ()
    assert len(choose_fields(1_000_000, 6)) >= 2


def test_blocks_hold_each_pair_once():
    table = planted_table(3000, 1)
    assert choose_fields(3000, 7)
    blocks = np.concatenate(list(near_pair_blocks(table, 7)))
    assert len(blocks) >= 1500  # copies, of which at most 7 bits were flipped
    assert len(np.unique(blocks[:, :2], axis=0)) == len(blocks)


def test_no_images_no_pairs():
    assert near_pairs(np.empty((0, 8), np.uint64), 6).shape == (0, 4)
    assert near_pairs(np.zeros((1, 8), np.uint64), 64).shape == (0, 4)


def test_dealing_the_bits_anew_changes_no_distance_and_spreads_the_even_ones():
    rng = np.random.default_rng(0)
    bits = rng.random((500, 8, 64)) < np.r_[np.full(32, 0.5), np.full(32, 0.01)]  # the first half of the bits tells
    table = np.packbits(bits, axis=2).view(">u8")[..., 0].astype(np.uint64)
    fields = (Field(0, 16, 1), Field(16, 16, 0))
    dealt = neighbours._dealt(table, fields)
    assert_array_equal(np.bitwise_count(dealt[:100] ^ dealt[100:200]), np.bitwise_count(table[:100] ^ table[100:200]))
    assert_array_equal(np.bitwise_count(dealt), np.bitwise_count(table))
    for field in fields:
        assert len(np.unique(neighbours._values(dealt, field))) > 3000  # of 4000 hashes at random, 2^16 values
