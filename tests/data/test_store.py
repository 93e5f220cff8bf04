"""The probability store: what is written is read back within float16, also by windows."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.data import store as module
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError


def probabilities(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(channels), (height, width)).transpose(2, 0, 1).astype("f4")


def test_the_error_is_that_of_half_precision(tmp_path):
    store, written = ProbabilityStore(tmp_path), probabilities(60, 70)
    store.write("train/a", written)
    read = store.read("train/a")
    assert read.dtype == np.float32
    assert np.abs(read - written).max() <= 0.00025
    low = written < 0.01
    assert low.any()
    assert np.abs(read - written)[low].max() <= 0.000004
    assert "train/a" in store
    assert "train/b" not in store


def test_maps_larger_than_a_block_and_their_windows(tmp_path):
    store, written = ProbabilityStore(tmp_path), probabilities(530, 1030, 2)
    store.write("a", written)
    whole = store.read("a")
    assert np.abs(whole - written).max() <= 0.00025
    for top, left, height, width in ((0, 0, 530, 1030), (510, 500, 5, 530), (0, 1024, 1, 6), (511, 511, 2, 2)):
        window = store.read("a", (top, left, height, width))
        assert np.array_equal(window, whole[:, top : top + height, left : left + width])


@given(st.data())
def test_every_window_of_every_size(tmp_path_factory, data):
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    store = ProbabilityStore(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 7)
        store.write("a", probabilities(height, width))
        whole = store.read("a")
        assert np.array_equal(store.read("a", (top, left, h, w)), whole[:, top : top + h, left : left + w])


def test_a_map_is_readable_by_numpy_alone(tmp_path):
    ProbabilityStore(tmp_path).write("a", probabilities(5, 6))
    with np.load(tmp_path / "a.npz") as file:
        assert file["shape"].tolist() == [3, 5, 6]
        assert file["0_0"].shape == (3, 5, 6)


@pytest.mark.parametrize("damage", ["no zip", "half", "flipped", "no member"])
def test_a_damaged_map_names_its_file(tmp_path, damage):
    store = ProbabilityStore(tmp_path)
    store.write("a", np.random.default_rng(0).random((2, 30, 40), np.float32))
    whole = store.path("a").read_bytes()
    if damage == "no member":
        np.savez(store.path("a"), shape=np.array([2, 30, 40]))
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 9]) + whole[middle + 9 :]
        store.path("a").write_bytes({"no zip": b"nothing", "half": whole[:middle], "flipped": flipped}[damage])
    with pytest.raises(DataError, match=r"a\.npz(.|\n)*--redo"):
        store.read("a")


def test_a_missing_map_names_its_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.npz"):
        ProbabilityStore(tmp_path).read("a")


def test_the_forecast_is_of_the_right_size(tmp_path):
    """Smooth maps, as networks give them, take no more than what is forecast; noise no more than twice."""
    store = ProbabilityStore(tmp_path)
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    store.write("smooth", np.stack([np.tile(ramp, (256, 1)), np.tile(1 - ramp, (256, 1))]))
    store.write("noise", probabilities(256, 256, 2))
    forecast = store.forecast([(2, 256, 256)])
    assert store.path("smooth").stat().st_size <= forecast
    assert store.path("noise").stat().st_size <= 2 * forecast


def test_no_two_threads_parse_a_header_at_once(tmp_path, monkeypatch):
    """CPython up to 3.11.8 and 3.12.1 fails now and then where they do (gh-106905)."""
    store, parsing, together = ProbabilityStore(tmp_path), threading.Semaphore(1), []
    values = np.full((2, 3, 5), 0.5, np.float32)
    store.write("a", values)
    whole = np.lib.format.read_array

    def alone(*arguments, **options):
        if not parsing.acquire(blocking=False):
            together.append(arguments)
            return whole(*arguments, **options)
        time.sleep(0.002)
        try:
            return whole(*arguments, **options)
        finally:
            parsing.release()

    monkeypatch.setattr(np.lib.format, "read_array", alone)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(store.read, ["a"] * 20))
    assert not together
    assert all((one == values).all() for one in found)
