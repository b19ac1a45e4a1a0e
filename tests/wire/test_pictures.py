"""A picture is fetched from the public web or from the host itself, and nowhere else."""

import base64
from urllib.parse import urlsplit

import pytest
from support.both import Both
from support.fault_server import FaultServer, plain

from kimikit.wire import network
from kimikit.wire.media import image_kind

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)
SECRET = b'{"SecretAccessKey": "inside only"}'


@pytest.fixture
def other():
    with FaultServer() as made:
        yield made


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_another_server_of_this_machine_is_not_asked(
    name: str, server: FaultServer, other: FaultServer, both: Both
) -> None:
    url = f"http://{name}:{urlsplit(other.url).port}/latest/meta-data"
    server.play(plain({"data": [{"url": url}]}))
    made = both.call(server.url, "image", "a fox", model="i")
    assert (made.data, made.url) == (b"", url)
    assert other.requests == []


def test_the_host_cannot_send_us_there_either(
    server: FaultServer, other: FaultServer, both: Both
) -> None:
    server.play(plain({"data": [{"url": server.url.replace("/v1", "/a.png")}]}))
    server.play(plain(b"", 302, f"location: {other.url}/latest"))
    assert both.call(server.url, "image", "a fox", model="i").data == b""
    assert other.requests == []


@pytest.mark.parametrize("text", [SECRET, b"<svg onload=x>", b"RIFF\x24\0\0\0WAVEfmt "])
def test_what_is_no_picture_is_not_kept(
    text: bytes, server: FaultServer, both: Both
) -> None:
    url = server.url.replace("/v1", "/latest/meta-data")
    server.play(plain({"data": [{"url": url}]}))
    server.play(plain(text, kind="image/png"))
    made = both.call(server.url, "image", "a fox", model="i")
    assert (made.data, made.media_type, made.url) == (b"", "", url)
    assert "data:" not in made._repr_html_()


def test_what_came_in_the_answer_is_no_picture_either(
    server: FaultServer, both: Both
) -> None:
    server.play(plain({"data": [{"b64_json": base64.b64encode(SECRET).decode()}]}))
    assert both.call(server.url, "image", "a fox", model="i").data == b""


def test_the_address_that_was_looked_at_is_the_one_that_is_asked(
    server: FaultServer, other: FaultServer, both: Both, monkeypatch
) -> None:
    """A name may stand for a public address first, and for this machine a moment later."""
    port = urlsplit(other.url).port
    asked: list[str] = []

    def looked_up(host: str) -> str:
        asked.append(host)
        return "127.0.0.1"

    monkeypatch.setattr(network, "public_address", looked_up)
    monkeypatch.setattr(network, "proxy_for", lambda url: None)
    server.play(plain({"data": [{"url": f"http://pictures.invalid:{port}/a"}]}))
    other.play(plain(b"", 302, "location: /moved.png"))
    other.play(plain(PNG, kind="image/png"))
    assert both.call(server.url, "image", "a fox", model="i").data == PNG
    assert asked == ["pictures.invalid"] * 2
    assert [r.path for r in other.requests] == ["/a", "/moved.png"]
    assert {r.headers["host"] for r in other.requests} == {f"pictures.invalid:{port}"}
    assert not [r for r in other.requests if "authorization" in r.headers]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "0.0.0.0", "::1",
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "224.0.0.1", "255.255.255.255", "nowhere.invalid", "", "a" * 300, "\ud800",
    ],
)  # fmt: skip
def test_what_is_not_public_has_no_address(host: str) -> None:
    assert network.public_address(host) == ""


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_has_one(host: str) -> None:
    assert network.public_address(host)


def test_pictures_are_known_by_their_content() -> None:
    assert image_kind(PNG) == "image/png"
    assert image_kind(b"RIFF\x24\0\0\0WEBPVP8 ") == "image/webp"
    assert image_kind(b"RIFF\x24\0\0\0WAVEfmt ") == ""
