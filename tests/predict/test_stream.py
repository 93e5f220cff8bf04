"""Frames one after the other: the labels of `predict`, times by hand, frames that can't be read."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from small_networks import labels_of, trained_with

from maskwright.cli import main
from maskwright.errors import DataError
from maskwright.predict import files
from maskwright.predict.stream import frames_of, predict_stream
from maskwright.recipe.predict import PredictSpec, ThresholdSpec

SPEC = PredictSpec(tile=64)


def written(folder, count, size=(40, 50)):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"f{number:03d}.png")
    return folder


@pytest.mark.parametrize("size", [(40, 50), (100, 90)])
@pytest.mark.parametrize("never", [(), ("c1",)])
def test_labels_are_those_of_predict(tmp_path, size, never):
    frames, labels = written(tmp_path / "frames", 4, size), {}
    trained, chain = [trained_with(0.5, 2), trained_with(0.5, 2, seed=1)], [ThresholdSpec(value=0.4)]
    spec = SPEC.model_copy(update={"never": never})
    predict_stream(trained, frames_of(frames), spec, labels.__setitem__, chain=chain)
    named = files.named_images(frames)
    targets = {name: tmp_path / "out" / f"{name}.png" for name, _ in named}
    list(files.predict_to_files(files.source_of(trained, spec), named, targets, chain=chain))
    assert list(labels) == [name for name, _ in named]
    for name, label in labels_of(tmp_path / "out").items():
        assert np.array_equal(labels[name.removesuffix(".png")], label)


def test_times_by_hand(tmp_path):
    frames, ticks = written(tmp_path / "frames", 8), iter(range(100))
    # of each frame: network 1 tick, frame 3 ticks (start, before and after the network, end) of 1 ms
    found = predict_stream([trained_with()], frames_of(frames), SPEC, lambda *_: None, clock=lambda: next(ticks) / 1000)
    assert (found.frames, found.counted, found.skipped) == (8, 5, ())
    assert (found.median, found.p99, found.longest, found.network) == pytest.approx((3, 3, 3, 1))
    assert found.frames_per_second == pytest.approx(1000 / 3)


def test_the_99th_percentile_is_that_of_numpy(tmp_path):
    frames, now = written(tmp_path / "frames", 13, (32, 32)), [0.0]
    took = iter([9, 9, 9, *range(1, 11)])  # ms; three of warm-up, then 1..10

    def wait(name, label):
        now[0] += next(took) / 1000

    found = predict_stream([trained_with()], frames_of(frames), SPEC, wait, clock=lambda: now[0])
    assert (found.counted, found.median, found.longest) == (10, pytest.approx(5.5), pytest.approx(10))
    assert found.p99 == pytest.approx(9.91)  # 1 + 9 · .99


def test_frames_that_can_not_be_read_or_have_another_size_are_named(tmp_path):
    frames, labels = written(tmp_path / "frames", 5), {}
    (frames / "f001.png").write_bytes((frames / "f001.png").read_bytes()[:80])
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(frames / "f003.png")
    found = predict_stream([trained_with()], frames_of(frames), SPEC, labels.__setitem__)
    assert list(labels) == ["f000", "f002", "f004"]
    assert found.skipped == ("f001: is truncated or not an image", "f003: 9×7 after 50×40")
    for path in frames.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="frames that can be read"):
        predict_stream([trained_with()], frames_of(frames), SPEC, labels.__setitem__)


def test_a_video_file(tmp_path):
    video = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 32))
    if not video.isOpened():
        pytest.skip("this OpenCV writes no videos")
    for level in (20, 120, 220):
        video.write(np.full((32, 48, 3), (0, 0, level), np.uint8))  # BGR
    video.release()
    frames = [(name, read()) for name, read in frames_of(tmp_path / "a.avi")]
    assert [name for name, _ in frames] == ["000000", "000001", "000002"]
    for (_, pixels), level in zip(frames, (20, 120, 220), strict=True):
        assert np.abs(pixels.reshape(-1, 3).mean(0) - (level, 0, 0)).max() < 8  # red stays red
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="a video with frames"):
        list(frames_of(tmp_path / "b.mp4"))


def test_the_command(run_folder, tmp_path, capsys):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(5):
        Image.fromarray(np.full((40, 50), 50 * number, np.uint8)).save(frames / f"f{number}.png")
    words = ["predict", str(run_folder), str(frames), "--out", str(tmp_path / "out"), "--stream"]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert len(found["files"]) == found["latency"]["frames"] == 5
    assert found["latency"] == json.loads((tmp_path / "out" / "latency.json").read_text())
    assert "median" in err
    assert "99th percentile" in err
    assert main(["predict", str(run_folder), str(frames), "--out", str(tmp_path / "images")]) == 0
    capsys.readouterr()
    streamed, predicted = labels_of(tmp_path / "out"), labels_of(tmp_path / "images")
    assert all(np.array_equal(streamed[name], predicted[name]) for name in predicted)
    for wrong, said in ((words, "a new folder"), ([*words, "--overlays"], "--stream alone")):
        assert main(wrong) == 2
        assert said in " ".join(capsys.readouterr().err.split())
