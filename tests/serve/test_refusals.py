"""What the workbench refuses: one sentence each, with the status that says whose fault it is."""

import io
import struct
import zlib

import pytest
from PIL import Image
from served_colors import HOST, asked, write_colors

from episodes.errors import Mistake, UnknownName
from fsl_explain import Encoder
from fsl_explain.serve.access import Access, access_for
from fsl_explain.serve.frame import Frame
from fsl_explain.serve.uploads import Uploads
from retrieval_explain import MemoryBank
from retrieval_explain.serve.app import create_app

TOKEN = "a-token-that-is-long"


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return MemoryBank.build(Encoder.named("conv4net"), write_colors(tmp_path_factory.mktemp("refused") / "images"))


@pytest.fixture(scope="module")
def page(bank):
    return asked(create_app(bank, Encoder.named("conv4net")))


def app_with(bank, tmp_path, **access):
    return create_app(bank, Encoder.named("conv4net"), frame=Frame(Uploads(tmp_path), Access(**access)))


def sentence(answer, status):
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]
    assert said[0].isupper()
    assert said.endswith(".") or said.startswith("Unknown")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "", "[::1", "10.0.0.1", "a@b:c"])
def test_another_name_for_this_machine_is_no_way_in(page, host):
    said = sentence(page.get("/api/session", headers={"Host": host}), 400)
    assert "not one of the server's" in said


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:1", "[::1]:8765", "LOCALHOST"])
def test_own_names_are(page, host):
    assert page.get("/api/session", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": HOST},
    ],
)
def test_another_site_s_page_changes_nothing(page, headers):
    for path in ("/api/uploads", "/api/banks/0/labels", "/api/banks/0/removed"):
        assert "another site" in sentence(page.post(path, content=b"{}", headers=headers), 403)


def test_every_answer_keeps_the_browser_to_this_server(page):
    for path in ("/", "/api/session", "/api/none", "/assets/none.js", "/api/banks/0/images/4/picture"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_pages_that_load_from_elsewhere_are_not_there(page, path):
    assert page.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../frame.py",
        "/assets/..%2fframe.py",
        "/assets/%2e%2e%2fframe.py",
        "/assets/..%5cframe.py",
        "/assets/%00",
        "/assets/.",
        "/assets//etc/passwd",
        "/api/uploads/..%2f..%2fetc%2fpasswd",
        "/api/uploads/" + "0" * 32,
        "/api/banks/0/images/..%2f1/picture",
    ],
)
def test_no_path_of_the_client_leads_anywhere(page, path):
    answer = page.get(path)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text


def test_a_name_of_an_upload_leads_to_no_other_file(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    uploads = Uploads(tmp_path / "uploads")
    (tmp_path / "uploads").mkdir()
    for name in ("../secret", str(tmp_path / "secret"), "uploads/../../secret"):
        with pytest.raises(UnknownName, match="not kept any more"):
            uploads.read(name)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(bank, tmp_path):
    page = asked(app_with(bank, tmp_path, most_bytes=1000))
    assert "at most 0.001 MB" in sentence(page.post("/api/uploads", content=b"x" * 1001), 413)

    def endless():
        for _ in range(100):
            yield b"x" * 100

    assert "at most 0.001 MB" in sentence(page.post("/api/uploads", content=endless()), 413)
    assert not list(tmp_path.iterdir())


def bomb(width, height):
    """Return a PNG of a few kilobytes that says it has so many pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(30_000, 30_000), (9_000, 5_000)])
def test_a_decompression_bomb_is_refused(page, size):
    assert page.post("/api/uploads", content=bomb(*size)).status_code in (413, 415)


def test_an_image_of_too_many_pixels_is_refused_and_not_kept(bank, tmp_path, monkeypatch):
    monkeypatch.setattr("fsl_explain.serve.uploads.MOST_PIXELS", 399)
    written = io.BytesIO()
    Image.new("RGB", (20, 20)).save(written, "PNG")
    said = sentence(asked(app_with(bank, tmp_path)).post("/api/uploads", content=written.getvalue()), 413)
    assert "pixels; make the image smaller" in said
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.4",
        b"\x89PNG\r\n\x1a\n",
        bytes(1000),
    ],
)
def test_what_is_no_image_is_refused(page, body):
    said = sentence(page.post("/api/uploads", content=body), 415)
    assert "/" not in said  # no path of the machine


def test_of_a_polyglot_only_the_pixels_are_kept(page):
    written = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(written, "PNG")
    body = written.getvalue() + b"<script>alert('x')</script>"
    answer = page.post("/api/uploads", content=body)
    assert answer.status_code == 200  # taken as the picture that it also is
    shown = page.get(f"/api/uploads/{answer.json()['query'].removeprefix('upload:')}")
    assert shown.headers["content-type"] == "image/webp"
    assert b"script" not in shown.content


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("search", {"query": "image:0:99"}, 404),
        ("search", {"query": "image:9:1"}, 404),
        ("search", {"query": "image:0:" + "9" * 400}, 404),
        ("search", {"query": "../../etc/passwd"}, 404),
        ("search", {"query": "image:0:1", "k": 10**9}, 400),
        ("search", {"query": "image:0:1", "k": 0}, 400),
        ("search", {"query": "image:0:1", "k": "many"}, 400),
        ("search", {"query": "image:0:1", "box": "1,2,3"}, 400),
        ("search", {"query": "image:0:1", "box": "nan,0,10,10"}, 400),
        ("search", {"query": "image:0:1", "box": "0,0,1e9,1e9"}, 400),
        ("search", {"query": "image:0:1", "class": ["none"]}, 404),
        ("search", {"query": "image:0:1", "class": ["red"] * 501}, 400),
        ("search", {"query": "text:a red bird"}, 400),
        ("search", {"query": "image:0:1", "rule": "none"}, 404),
        ("search", {"query": "image:0:1", "temperature": -1}, 400),
        ("search", {}, 400),
        ("why", {"query": "image:0:1", "id": 99}, 404),
        ("why", {"query": "image:0:1", "id": 2, "method": "none"}, 404),
        ("why", {"query": "image:0:1", "id": 2, "method": "chefer"}, 404),
        ("why", {"query": "image:0:1", "id": 2, "detail": 99}, 404),
        ("why", {"query": "image:0:1", "id": 2, "biases": "none"}, 404),
        ("why", {"query": "image:0:1", "id": 2, "against": "2"}, 400),
        ("why", {"query": "image:0:1", "id": 2, "against": "x"}, 404),
        ("why-not", {"query": "image:0:1", "expected": "id:99"}, 404),
        ("why-not", {"query": "image:0:1", "expected": "path:/etc/passwd"}, 400),
        ("votes", {"query": "image:0:1", "rule": "nearest-neighbor"}, 400),
        ("images", {"limit": 10**6}, 400),
        ("images", {"offset": -1}, 400),
        ("images", {"class": "none"}, 404),
        ("images/4/picture", {"width": 10**6}, 400),
        ("images/99/picture", {}, 404),
        ("audit", {"top": 10**6}, 200),  # said in the stream
    ],
)
def test_each_wrong_question_has_one_sentence(page, path, parameters, status):
    answer = page.get(f"/api/banks/0/{path}", params=parameters)
    if status == 200:
        assert "expected 1 to 200" in answer.text.splitlines()[-1].lower()
    else:
        sentence(answer, status)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"query": "image:0:1", "cells": [[99, 0]]}, 400),
        ({"query": "image:0:1", "cells": [], "grid": [10**6, 10**6]}, 400),
        ({"query": "image:0:1", "cells": [[0, 0]] * 20_000}, 400),
        ({"query": "image:0:1", "cells": [], "watch": list(range(60))}, 400),
        ({"query": "image:0:1", "cells": [], "unknown": 1}, 400),
        ({"query": "image:0:1"}, 400),
    ],
)
def test_a_wrong_brush_has_one_sentence(page, given, status):
    sentence(page.post("/api/banks/0/removed", json=given), status)


def test_names_with_markup_are_sent_as_they_are_and_never_as_html(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    bank = MemoryBank.from_embeddings(
        [[1.0] * 64, [0.5] * 64], ["a", name], paths=["/images/a.png", f"/images/{name}.png"]
    )
    page = asked(create_app(bank, Encoder.named("conv4net")))
    answer = page.get("/api/banks/0/images")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["images"][1]["label"] == name


def test_a_token_opens_once_and_is_kept_out_of_the_address(bank, tmp_path):
    page = asked(app_with(bank, tmp_path, token=TOKEN), follow_redirects=False)
    assert "token" in sentence(page.get("/api/session"), 401)
    assert "token" in sentence(page.get("/?token=another-token-entirely"), 401)
    answer = page.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert page.get("/api/session").status_code == 200
    fresh = asked(app_with(bank, tmp_path, token=TOKEN))
    assert fresh.get("/api/session", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert "token" in sentence(fresh.post(f"/api/uploads?token={TOKEN}", content=b"x"), 401)


def test_a_public_address_needs_a_token():
    with pytest.raises(Mistake, match=r"expected a token, because 0\.0\.0\.0 can be reached by other machines"):
        access_for("0.0.0.0", None)
    with pytest.raises(Mistake, match="at least 16"):
        access_for("0.0.0.0", "short")
    assert access_for("0.0.0.0", TOKEN).is_own("192.168.0.7:8765")
    assert not access_for("0.0.0.0", TOKEN).is_own("evil.example")
    assert access_for("0.0.0.0", TOKEN, ("bench.example",)).is_own("bench.example")


@pytest.mark.parametrize("many", [{"names": ["a", "b"]}, {"made_by": ["a", "b"]}])
def test_an_app_has_one_name_and_one_call_for_each_bank(bank, many):
    with pytest.raises(Mistake, match=r"for each of 1 banks, but got 2; give as many, or none"):
        create_app(bank, Encoder.named("conv4net"), **many)
