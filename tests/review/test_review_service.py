"""The page's server: who is answered, what is served, and what a hostile run folder or request can't do."""

import io
import json
import re

import numpy as np
import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from make_copies import half, picture
from make_review import ODD, place_of, reply, reviewed
from maskwright.artifacts import write_table
from maskwright.cli import main
from maskwright.review import Desk, Item, build_queue, build_review

TOKEN = "0123456789abcdef"
HERE = "http://127.0.0.1:8765"


@pytest.fixture
def client(desk):
    return TestClient(build_review(desk), base_url=HERE)


def image_of(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_the_page_and_its_parts(client):
    page = client.get("/")
    assert page.status_code == 200
    parts = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
    assert len(parts) == 5
    for part in parts:
        answer = client.get(f"/{part}")
        assert answer.status_code == 200
        assert "http:" not in answer.text.replace("http://www.w3.org", "") and "https:" not in answer.text
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", client.get("/static/review.js").text
    )


def test_headers_forbid_everything_from_elsewhere(client):
    for path in ("/", "/api/state", "/static/view.js", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_an_item_from_the_queue_to_the_log(client, desk):
    place = client.get("/api/next", params={"by": "Anna"}).json()["place"]
    item = client.get(f"/api/item/{place}", params={"by": "Anna"}).json()
    assert item["kind"] == "conflict"
    shown = [client.get(f"/api/label/{place}/{which}").headers["x-label-digest"] for which in (0, 1)]
    said = {"item": item["key"], "answer": "a", "by": "Anna", "shown": shown}
    assert client.post("/api/decide", json=said | {"shown": []}).status_code == 422  # nobody saw what they take
    answer = client.post("/api/decide", json=said)
    assert answer.status_code == 200
    assert client.get("/api/state", params={"by": "Anna"}).json()["mine"] == 1
    assert client.get(f"/api/item/{place}", params={"by": "Anna"}).json()["mine"] == "a"
    assert client.get(f"/api/item/{place}", params={"by": "Ben"}).json()["others"] == 1
    client.post("/api/decide", json=said | {"answer": "b", "by": "Ben"})
    rows = client.get("/api/agreement").json()["rows"]
    assert [(r["kind"], r["items"], r["share"], r["kappa"]) for r in rows] == [("", 1, 0, 0), ("conflict", 1, 0, 0)]
    assert client.post("/api/undo", json={"by": "Anna"}).json() == {"place": place}
    assert client.post("/api/undo", json={"by": "Anna"}).json() == {"place": None}


def test_pictures_are_scaled_and_labels_are_positions(client, desk):
    place = place_of(desk, "suspect")
    assert image_of(client.get(f"/api/image/{place}/0?side=32")).shape == (24, 32, 3)
    near = image_of(client.get(f"/api/image/{place}/0")).astype(int) - picture(3)
    assert abs(near).mean() < 6  # a JPEG of it
    assert np.array_equal(image_of(client.get(f"/api/label/{place}/0")), half(16))
    assert np.array_equal(image_of(client.get(f"/api/label/{place}/1")), half(24))


def test_pictures_tell_nothing_else_of_their_files(desk, client):
    item = next(item for item in desk.items if item.kind == "outlier")
    path = desk.run.path(item.image)
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe, 1970-01-01"
    Image.fromarray(picture(9)).save(path, exif=exif)
    assert b"Jane" in path.read_bytes()
    assert b"Jane" not in client.get(f"/api/image/{desk.items.index(item)}/0").content
    Image.fromarray(picture(109)).save(path)  # as the other tests have it


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8765"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1@evil.example"},
        {"Host": "["},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "file://127.0.0.1:8765"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_requests_of_others_are_refused(client, headers):
    answer = client.get("/api/item/0", headers=headers)
    assert answer.status_code == 403
    assert "images/" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/api/state", headers={"Host": host}).status_code == 200


def test_an_answer_must_be_json_of_this_page(client, desk):
    body = reply(desk, 0, "a").model_dump_json()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert client.post("/api/decide", content=body, headers={"Content-Type": kind}).status_code == 403
    refused = {"Content-Type": "application/json", "Origin": "http://evil.example"}
    assert client.post("/api/decide", content=body, headers=refused).status_code == 403
    own = {"Content-Type": "application/json; charset=utf-8", "Origin": HERE}
    assert client.post("/api/decide", content=body, headers=own).status_code == 200
    assert client.get("/api/decide").status_code == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"item": 3}', b"[" * 100_000])
def test_bodies_that_are_no_answer(client, body):
    for path in ("/api/decide", "/api/undo"):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert "expected an answer" in answer.json()["error"]


def test_more_than_can_be_sent_is_said_to_be_too_much(client):
    answer = client.post("/api/decide", content=b" " * (9 << 20), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "too much was drawn" in answer.json()["error"]


def test_every_request_needs_the_token(desk):
    with TestClient(build_review(desk, token=TOKEN), base_url="http://10.0.0.7:8765") as client:
        for path in ("/", "/static/review.js", "/api/state", "/api/image/0/0", "/nowhere"):
            assert client.get(path).status_code == 403
            assert client.get(path, params={"token": TOKEN + "x"}).status_code == 403
            assert client.get(path, headers={"Cookie": f"maskwright_review_80={TOKEN[:-1]}"}).status_code == 403
        assert client.post("/api/undo", json={"by": "Anna"}).status_code == 403
        assert client.get("/api/state", headers={"X-Review-Token": TOKEN}).status_code == 200
        opened = client.get("/", params={"token": TOKEN})
        assert opened.status_code == 200
        assert "HttpOnly; SameSite=Strict" in opened.headers["set-cookie"]
        assert TOKEN not in opened.text
        assert client.get("/api/state").status_code == 200  # by the cookie
        assert client.get("/api/state", headers={"Origin": "http://evil.example"}).status_code == 403


def test_cookies_of_other_servers_of_the_machine_change_nothing(desk):
    """An odd one, one of another review on another port, and the right one."""
    with TestClient(build_review(desk, token=TOKEN), base_url="http://localhost:8765") as client:
        others = "odd cookie; x=[1,2]; maskwright_review_8766=wrong"
        right = {"Cookie": f"{others}; maskwright_review_8765={TOKEN}"}
        assert client.get("/api/state", headers=right).status_code == 200
        assert client.get("/api/state", headers={"Cookie": others}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../service.py",
        "/static/..%2fservice.py",
        "/static/%2e%2e/service.py",
        "/static/review.html",
        "/static//etc/passwd",
        "/api/image/0/../../../etc/passwd",
        "/api/image/-1/0",
        "/api/image/0/7",
        "/api/image/999999/0",
        "/api/label/0/9",
        "/api/item/" + "9" * 5000,
        "/api/image/0/" + "9" * 5000,
        "/decisions.jsonl",
    ],
)
def test_no_address_leads_to_a_file(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text and "import" not in answer.text


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "@/../../secret.png", "a\0b.png"])
def test_an_index_that_points_outside_shows_nothing(folder, name):
    Image.fromarray(picture(1)).save(folder.root.parent / "secret.png")
    table = pl.read_parquet(folder.index)
    first = table["image"][0]
    write_table(folder.index, table.with_columns(pl.col("image").replace(first, name)))
    run = reviewed(folder)
    desk = Desk(run, [Item("outlier", name)])
    with TestClient(build_review(desk), base_url=HERE) as client:
        answer = client.get("/api/image/0/0")
        assert answer.status_code == 422
        assert "a file in the data folder" in answer.json()["error"]


def test_names_that_are_markup_stay_text(client, desk):
    item = client.get(f"/api/item/{place_of(desk, 'uncertain', ODD)}")
    assert item.json()["names"] == [ODD]
    assert item.headers["content-type"].startswith("application/json")
    assert "<b>" not in client.get("/").text


def test_a_run_folder_with_a_name_of_markup(folder):
    moved = folder.root.rename(folder.root.with_name("<script>alert(1)<"))
    from maskwright.review import Reviewed

    run = Reviewed.of(moved)
    page = TestClient(build_review(Desk(run, build_queue(run)[:1])), base_url=HERE).get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_missing_files_are_said_and_the_server_lives_on(desk, client):
    place = place_of(desk, "disagreement")
    (desk.run.folder.root / desk.items[place].suggestions[0].file).unlink()
    answer = client.get(f"/api/label/{place}/0")
    assert answer.status_code == 422
    assert client.get("/api/state").status_code == 200
    hidden = TestClient(build_review(Desk(desk.run, desk.items, anonymous=True)), base_url=HERE)
    assert hidden.get(f"/api/label/{place}/0").json() == {"error": "a file of this item can't be read"}


def test_a_name_is_the_same_however_it_is_spaced(client, desk):
    desk.decide(reply(desk, 0, "a", by="Anna\u00a0 Lind"))
    for typed in ("Anna Lind", " Anna  Lind", "Anna\u00a0Lind"):
        assert client.get("/api/state", params={"by": typed}).json()["mine"] == 1
        assert client.get("/api/item/0", params={"by": typed}).json()["mine"] == "a"


def test_many_items_are_not_loaded_together(desk):
    """Fifty thousand items: one is described, one is next, without the others."""
    many = [Item("outlier", desk.run.index.images[n % 5], score=n, region=(n, 0, n + 1, 1)) for n in range(50_000)]
    client = TestClient(build_review(Desk(desk.run, many)), base_url=HERE)
    assert client.get("/api/state").json()["total"] == 50_000
    assert client.get("/api/next?by=Anna").json() == {"place": 0}
    assert client.get("/api/item/49999").json()["place"] == 49_999
    assert len(client.get("/api/item/49999").content) < 2000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "an address of this machine alone"),
        (["--host", "example.org"], "an address of this machine alone"),
        (["--token", "short"], "16 or more"),
        (["--token", "a; Path=/; Domain=x.y"], "16 or more"),
        (["--token", "0123456789abcdef", "--no-token"], "a token, or none"),
        (["--most", "0"], "at least one item"),
        (["--port", "70000"], "a port"),
    ],
)
def test_options_that_are_refused(folder, words, said, capsys):
    assert main(["review", str(folder.root), *words]) == 2
    assert said in capsys.readouterr().err


def test_the_command_says_what_there_is(folder, capsys):
    assert main(["review", str(folder.root), "--port", "0", "--check", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["total"] > 5
    assert re.search(r"open http://127.0.0.1:\d+/\?token=[\w-]{32}  ", err)  # others are on this machine, too
    assert main(["review", str(folder.root), "--port", "0", "--check", "--no-token"]) == 0
    assert "token" not in capsys.readouterr().err
    assert main(["review", str(folder.root), "--agreement"]) == 0
    assert "no two reviewers" in capsys.readouterr().err
