"""The service over real sockets: right answers, clear refusals, nothing lost."""

from __future__ import annotations

import http.client
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from make_export import MAKING, without
from maskwright.cli import main
from maskwright.data.categories import to_ids
from maskwright.data.images import read_image
from maskwright.errors import UsageError
from maskwright.export.runner import Runner
from maskwright.export.service import Limits, build_service
from serving import serving

LIMITS = Limits(bytes=100_000, pixels=30_000, waiting=40, seconds=5)


@pytest.fixture(scope="module")
def runner(export):
    return Runner(export, threads=1)


@pytest.fixture(scope="module")
def port(runner):
    with serving(build_service(runner, LIMITS)) as found:
        yield found


def ask(port, path="/predict", body=None, headers=None, method="POST"):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer


def health(port):
    return json.loads(ask(port, "/health", method="GET")[1])


def form_of(*files, boundary="b0undary", end=True):
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        + (f'; filename="{name}.png"\r\nContent-Type: image/png'.encode() if is_file else b"")
        + b"\r\n\r\n"
        + data
        + b"\r\n"
        for name, data, is_file in files
    ]
    body = b"".join(parts) + (f"--{boundary}--\r\n".encode() if end else b"")
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


@pytest.mark.parametrize("name", ["a.png", "wide.png", "dot.png", "deep/gray.jpg", "deep/bits.tif"])
def test_an_image_is_answered_with_its_labels(name, port, runner, images):
    status, body, answer = ask(port, body=(images / name).read_bytes())
    assert (status, answer.headers["Content-Type"]) == (200, "image/png")
    expected = to_ids(runner.label(read_image(images / name)), runner.categories)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(body))), expected)


def test_forms_of_the_answer(port, images):
    data = (images / "a.png").read_bytes()
    plain = ask(port, body=data)[1]
    body, headers = form_of(("note", b"hello", False), ("image", data, True))
    assert ask(port, body=body, headers=headers)[1] == plain
    coco = ask(port, "/predict?format=coco", data)[1]
    assert ask(port, body=data, headers={"Accept": "text/html, application/json;q=0.9"})[1] == coco
    assert ask(port, "/predict?format=png", data, {"Accept": "application/json"})[1] == plain
    assert json.loads(coco)["size"] == [40, 50]
    assert json.loads(ask(port, "/predict?format=panoptic", data)[1])["segments_info"]


def bomb(height, width):
    """A PNG of a few bytes whose header promises much."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def pages(count):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((count, 40, 50), np.uint8), compression="zlib")
    return buffer.getvalue()


PNG = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)).save(PNG, "PNG")
JPEG = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)).save(JPEG, "JPEG")
WHOLE, PHOTO = PNG.getvalue(), JPEG.getvalue()


@pytest.mark.parametrize(
    ("path", "request_of", "status", "said"),
    [
        ("", (b"", {}), 422, "got an empty body"),
        ("", (b"hello there", {}), 415, "expected a PNG, JPEG or TIFF"),
        ("", (b"GIF89a" + bytes(100), {}), 415, "expected a PNG, JPEG or TIFF"),
        ("", (WHOLE[:200], {}), 422, "truncated or not an image"),
        ("", (PHOTO[:-200], {}), 422, "truncated or not an image"),
        ("", (PHOTO[:200], {}), 422, "truncated or not an image"),
        ("", (b"\x89PNG\r\n\x1a\n", {}), 422, "expected a readable image"),
        ("", (b"II*\x00" + bytes(50), {}), 422, "expected a readable image"),
        ("", (WHOLE + bytes(100_000), {}), 413, "at most 100,000 bytes"),
        ("", (WHOLE + bytes(400_000), {}), 413, "at most 100,000 bytes"),
        ("", (bomb(100_000, 100_000), {}), 413, "100000 × 100000"),
        ("", (bomb(301, 100), {}), 413, "at most 30,000 pixels, got 301 × 100"),
        ("", (pages(100), {}), 413, "at most 120,000 values, got 200,000 in all pages"),
        ("?format=gif", (WHOLE, {}), 422, "a format among png, coco, panoptic, got gif"),
        ("", form_of(("a", WHOLE, True), ("b", WHOLE, True)), 422, "one file"),
        ("", form_of(("a", WHOLE, False)), 422, "a form with one file, got 0"),
        ("", (b"--x", {"Content-Type": "multipart/form-data"}), 422, "a whole form with one file"),
        ("", form_of(("a", b"text", True)), 415, "expected a PNG, JPEG or TIFF"),
        ("", form_of(("a", WHOLE[:300], True)), 422, "truncated or not an image"),
    ],
)
def test_refusals_say_what_was_expected_and_the_service_lives_on(path, request_of, status, said, port):
    body, headers = request_of
    found, text, answer = ask(port, f"/predict{path}", body, headers)
    message = json.loads(text)["error"]
    assert (found, answer.headers["Content-Type"]) == (status, "application/json")
    assert said in message
    assert "/tmp" not in message
    assert ask(port, body=WHOLE)[0] == 200


def test_other_paths_and_methods(port):
    assert ask(port, "/nowhere", method="GET")[0] == 404
    assert ask(port, "/predict", method="GET")[0] == 405


def test_a_request_that_is_cut_off_leaves_nothing_behind(port):
    before = health(port)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + WHOLE[:500])
    for _ in range(200):
        if (after := health(port))["inside"] == 0 and after["refused"] == before["refused"] + 5:
            break
        time.sleep(0.02)
    assert after["inside"] == 0
    assert after["refused"] == before["refused"] + 5
    assert ask(port, body=WHOLE)[0] == 200


class Held:
    """A runner that answers when it is let go, for tests of the queue."""

    def __init__(self, runner):
        self.categories, self.runs_in = runner.categories, "nothing"
        self.manifest = SimpleNamespace(made="now")
        self.gate, self.at_once, self.most = threading.Event(), 0, 0
        self.lock = threading.Lock()

    def label(self, image):
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.gate.wait(30)
        with self.lock:
            self.at_once -= 1
        return np.zeros(image.shape[:2], np.uint8)


def test_more_than_may_wait_are_sent_away_and_those_that_wait_are_served(runner):
    held = Held(runner)
    with serving(build_service(held, Limits(running=2, waiting=3))) as port, ThreadPoolExecutor(5) as clients:
        waiting = [clients.submit(ask, port, "/predict", WHOLE) for _ in range(5)]
        while health(port)["inside"] < 5:
            time.sleep(0.01)
        status, body, answer = ask(port, body=WHOLE)
        assert (status, answer.headers["Retry-After"]) == (503, "1")
        assert "at most 5 requests at a time" in json.loads(body)["error"]
        while held.at_once < 2:
            time.sleep(0.01)
        held.gate.set()
        assert [w.result()[0] for w in waiting] == [200] * 5
        assert held.most == 2
        assert ask(port, body=WHOLE)[0] == 200


def test_a_request_that_never_ends_is_given_up(runner):
    with (
        serving(build_service(runner, Limits(seconds=0.2))) as port,
        socket.create_connection(("127.0.0.1", port)) as raw,
    ):
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n")
        raw.settimeout(20)
        assert b" 408 " in raw.recv(4096).split(b"\r\n")[0]


def test_twenty_clients_at_once_get_their_own_answers(port, runner, images):
    paths = sorted(images.rglob("*.*"))
    expected = {p: to_ids(runner.label(read_image(p)), runner.categories) for p in paths}

    def client(number):
        right = 0
        for k in range(6):
            path = paths[(number + k) % len(paths)]
            status, body, _ = ask(port, body=path.read_bytes())
            assert status == 200
            right += np.array_equal(np.asarray(Image.open(io.BytesIO(body))), expected[path])
        return right

    before = health(port)["answered"]
    with ThreadPoolExecutor(20) as clients:
        assert sum(clients.map(client, range(20))) == 120
    assert health(port)["answered"] == before + 120


def test_an_error_of_ours_is_answered_too(runner, capsys):
    held = Held(runner)
    held.label = lambda image: 1 / 0
    with serving(build_service(held, LIMITS)) as port:
        status, body, _ = ask(port, body=WHOLE)
        assert status == 500
        assert "failed on this image" in json.loads(body)["error"]
        assert health(port)["inside"] == 0


def test_the_command_serves_without_torch_and_ends_cleanly(export, images):
    words = ["serve", str(export), "--port", "0", "--threads", "1"]
    program = [sys.executable, "-c", without(MAKING), *words]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        assert (found := re.search(r"http://127\.0\.0\.1:(\d+) ", line)), line
        for _ in range(200):
            try:
                assert ask(int(found[1]), body=(images / "a.png").read_bytes())[0] == 200
                break
            except ConnectionError:
                time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr.read().strip() == "ended"


def test_a_taken_port_and_wrong_limits_are_said(export, capsys):
    for port in ("99999", "-1"):
        assert main(["serve", str(export), f"--port={port}"]) == 2
        assert f"a port from 0 to 65535, got {port}" in capsys.readouterr().err
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        assert main(["serve", str(export), "--port", str(taken.getsockname()[1])]) == 2
    assert "--port" in capsys.readouterr().err
    assert main(["serve", str(export), "--running", "0"]) == 2
    assert main(["serve", str(export), "--port", "0", "--check"]) == 0
    assert "POST /predict" in capsys.readouterr().err


def test_missing_packages_name_the_extra(runner, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(UsageError, match=r"maskwright\[serve\]"):
        build_service(runner)
