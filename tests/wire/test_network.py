"""Proxies, certificates, addresses and redirects: they work, or are named."""

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from support.answers import DONE, chunk, text
from support.both import KEY, Both
from support.fault_server import FaultServer, event, plain, sse
from support.tls import certificate, serving

from kimikit import errors
from kimikit.wire import Client, hosts, network

GOOD = sse(*text("ok"), chunk("stop"), DONE)
STREAM = b"".join(map(event, (*text("ok"), chunk("stop"), DONE)))
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 9
SECRET = "sk-SeCrEtKeY0123456789abcdef"
FAR = "https://api.example.test/v1"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("http", "https", "all", "no")
    for name in [f"{n}_proxy" for n in names] + ["SSL_CERT_FILE", "SSL_CERT_DIR"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate(tmp_path)


# Proxies.


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:7890/", "socks5://127.0.0.1:7890/"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:7890", "socks5://127.0.0.1:7890"),
        ("https_proxy", "socks5h://u:p@h:1", "socks5h://u:p@h:1"),
        ("https_proxy", "proxy.test:3128", "http://proxy.test:3128"),
        ("HTTPS_PROXY", "https://proxy.test", "https://proxy.test"),
        ("HTTP_PROXY", "http://proxy.test", None),
    ],
)
def test_each_proxy_of_the_environment_makes_a_client(
    name: str, value: str, want: str | None, monkeypatch: pytest.MonkeyPatch, both: Both
) -> None:
    monkeypatch.setenv(name, value)
    assert network.proxy_for(FAR) == want
    assert both.use(FAR, _nothing if both.kind == "sync" else _nothing_async) == "made"


def _nothing(client: Any) -> str:
    return "made"


async def _nothing_async(client: Any) -> str:
    return "made"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "socks4://h:1"), ("ALL_PROXY", "ftp://h"),
        ("https_proxy", "http://h:port"), ("HTTPS_PROXY", "http://"),
        ("HTTPS_PROXY", f"quic://u:{SECRET}@h"),
    ],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(errors.BadInput, match=name) as caught:
        Client(base_url=FAR, api_key="k", model="m")
    assert SECRET not in str(caught.value)
    assert "unset it" in caught.value.remedy
    Client(base_url="http://127.0.0.1:9/v1", api_key="k", model="m").close()


@pytest.mark.parametrize(
    ("exceptions", "url", "direct"),
    [
        ("localhost,fd07:b51a:cc66:f0::/64", FAR, False),
        ("localhost,::1,[::1]", FAR, False),
        ("fd07:b51a:cc66:f0::/64", "https://[fd07:b51a:cc66:f0::1]/v1", True),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("192.168.1.5", "https://192.168.1.5/v1", True),
        ("[fd07::1]:443", "https://[fd07::1]:443/v1", True),
        ("example.test", FAR, True),
        (".example.test", FAR, True),
        ("*.example.test", FAR, True),
        ("ample.test", FAR, False),
        ("api.example.test:8443", FAR, False),
        ("API.EXAMPLE.TEST", FAR, True),
        ("*", FAR, True),
        ("a b,,/64,[,::", FAR, False),
    ],
)
def test_no_proxy(
    exceptions: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert (network.proxy_for(url) is None) is direct
    Client(base_url=url, api_key="k", model="m").close()


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost", "LOCALHOST"]
)
def test_no_proxy_leads_to_this_machine(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://nonsense")
    assert network.proxy_for(f"http://{host}:8000/v1") is None


# Certificates.


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_gone_are_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/no/such/cacert.pem")
    with pytest.raises(errors.BadInput, match=name):
        Client(base_url=FAR, api_key="k", model="m")
    Client(base_url="http://127.0.0.1:9/v1", api_key="k", model="m").close()


def test_https_on_localhost_by_its_own_authority(
    pem: Path, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(pem, STREAM, "text/event-stream") as url:
        with pytest.raises(errors.ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
            both.chat(f"{url}/v1", client={"max_retries": 0})
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        assert both.chat(f"{url}/v1").text == "ok"


def test_a_file_that_holds_no_certificates_is_named(
    pem: Path, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem.with_name("text").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem.with_name("text")))
    with (
        serving(pem, b"", "x") as url,
        pytest.raises(errors.BadInput, match="SSL_CERT_FILE"),
    ):
        both.chat(f"{url}/v1", client={"max_retries": 0})


def test_a_picture_at_https_of_a_host_at_http(
    pem: Path, server: FaultServer, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setattr(network, "public_address", lambda host: "127.0.0.1")
    with serving(pem, PNG, "image/png") as url:
        server.play(plain({"data": [{"url": f"{url}/p.png"}]}))
        picture = both.call(server.url, "image", "A fox.", model="flux")
    assert picture.data == PNG


# Addresses.


def test_an_address_of_azures_ends_in_models(server: FaultServer, both: Both) -> None:
    server.play(GOOD)
    both.chat(server.url.removesuffix("/v1") + "/models")
    assert server.requests[0].path == "/models/chat/completions"


@pytest.mark.parametrize(
    "around",
    [
        "{} ",
        "{}\n",
        " {}",
        "{}/",
        "\t{}/chat/completions",
        "{}/models",
        "{}/embeddings/",
    ],
)
def test_an_address_is_trimmed(around: str, server: FaultServer, both: Both) -> None:
    server.play(GOOD)
    assert both.chat(around.format(server.url)).text == "ok"
    assert server.requests[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:abc/v1", "http://[::1/v1", "http://h:0/v1", "http://h:99999/v1",
     "http://a b/v1", "http://a\nb/v1", "http:///v1", "localhost:8000", "", 5,
     f"https://h:{SECRET}/v1", f"https://user:{SECRET}@h/v1", f"https://:{SECRET}@h/v1",
     f"https://{SECRET}@h/v1", f"h/v1?key={SECRET}", f"user:{SECRET}@h/v1", SECRET,
     f"https://h/v1?key={SECRET}", f"https://h/v1#{SECRET}", "http://\u00e4..b/v1"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_and_no_key_in_it_shown(url: Any) -> None:
    with pytest.raises(errors.BadInput, match="base_url") as caught:
        Client(base_url=url, api_key="k", model="m").chat("hi")
    assert SECRET not in str(caught.value)


def test_a_key_as_the_name_of_a_host() -> None:
    with pytest.raises(errors.UnknownHost, match="looks like a key") as caught:
        hosts.resolve(SECRET)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://API.moonshot.cn/v1", "moonshot-cn"),
        ("https://api.moonshot.ai:443/v2", "moonshot"),
        ("https://api.groq.com.evil.test/v1", "api.groq.com.evil.test"),
        ("http://api.groq.com/v1", "api.groq.com"),
        ("http://localhost:8000/v1", "localhost:8000"),
        ("https://api.groq.com:8443/v1", "api.groq.com:8443"),
    ],
)
def test_a_known_host_by_its_address_has_its_rules(url: str, name: str) -> None:
    host = hosts.resolve(base_url=url, model="x")
    assert (host.name, host.base_url) == (name, url)
    profile = hosts.profiles().get(name)
    assert host.quirks == (profile.quirks if profile else ())
    named = hosts.resolve("mine", base_url=url, model="x")
    assert (named.name, named.quirks) == ("mine", host.quirks)


# Redirects.


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_site_is_followed(
    status: int, server: FaultServer, both: Both
) -> None:
    server.play(plain(b"", status, "location: /v1/chat/completions/"))
    server.play(GOOD)
    assert both.chat(server.url).text == "ok"
    first, second = server.requests
    assert second.path == "/v1/chat/completions/"
    assert second.json == first.json
    assert second.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (308, "https://elsewhere.test/v1/chat/completions"),
        (307, "http://127.0.0.1:1/v1/chat/completions"),
        (301, "/v2/chat/completions"),
        (301, "/v2/chat/completions/?a=b"),
        (301, "https://h.test/models/chat/completions"),
        (303, "../v2"),
        (302, "https://h.test/login"),
        (307, "ftp://x/"),
    ],
)
def test_another_redirect_is_named_and_not_followed(
    status: int, location: str, server: FaultServer, both: Both
) -> None:
    server.play(plain(b"", status, f"location: {location}"))
    with pytest.raises(errors.HostError) as caught:
        both.chat(server.url, client={"max_retries": 0})
    assert len(server.requests) == 1
    place = urljoin(f"{server.url}/", location)
    assert place in str(caught.value)
    advice = f"base_url={place.partition('/chat/completions')[0]!r}"
    assert (advice in caught.value.remedy) is place.startswith("http")


def test_redirects_in_a_ring_end(server: FaultServer, both: Both) -> None:
    server.play(plain(b"", 307, "location: /v1/chat/completions"))
    with pytest.raises(errors.StatusError, match="points to"):
        both.chat(server.url)
    assert len(server.requests) == 5


# Files that answers point to.


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{other}/p", "http://localhost:{other}/p", "http://[::1]:{other}/p",
     "http://0.0.0.0:{other}/p", "http://169.254.169.254/latest", "http://10.0.0.1/p",
     "file:///etc/passwd", "gopher://x", "http://[::1", "http://a\0b/", "//x", ""],
)  # fmt: skip
def test_nothing_is_fetched_that_only_this_machine_reaches(
    url: str, server: FaultServer, both: Both
) -> None:
    with FaultServer() as other:
        other.play(plain(PNG, kind="image/png"))
        port = other.url.rpartition(":")[2].removesuffix("/v1")
        server.play(plain({"data": [{"url": url.format(other=port)}]}))
        picture = both.call(server.url, "image", "x", model="e")
        assert picture.data == b""
        assert other.requests == []


def test_no_redirect_leads_there_either(server: FaultServer, both: Both) -> None:
    with FaultServer() as other:
        other.play(plain(PNG, kind="image/png"))
        server.play(plain({"data": [{"url": f"{server.url}/moved"}]}))
        server.play(plain(b"", 302, f"location: {other.url}/p"))
        assert both.call(server.url, "image", "x", model="e").data == b""
        assert other.requests == []


def test_only_pictures_are_kept(server: FaultServer, both: Both) -> None:
    server.play(plain({"data": [{"url": f"{server.url}/p"}]}))
    server.play(plain(b"<html>admin</html>", kind="image/png"))
    picture = both.call(server.url, "image", "x", model="e")
    assert (picture.data, picture.media_type) == (b"", "")


def test_threads_share_the_loading_of_certificates(
    pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    found: list[int] = []
    trust = network.trust(str(pem), None)
    threads = [
        threading.Thread(target=lambda: found.append(len(trust.get_ca_certs())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8
    assert json.dumps(trust.cert_store_stats())


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_a_proxy_that_is_not_there_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://user:opensesame@127.0.0.1:9")
    with (
        Client(base_url="http://far.invalid/v1", model="m", max_retries=0) as client,
        pytest.raises(
            errors.ConnectionFailed, match=f"the proxy that {variable} names"
        ) as refused,
    ):
        client.chat("Hi")
    assert "opensesame" not in str(refused.value)


@pytest.mark.parametrize("end", ["?", "#", "/?"])
def test_an_address_ends_in_no_mark_that_hides_what_follows(end: str) -> None:
    with pytest.raises(errors.BadInput, match="more than an address"):
        Client(base_url=f"http://127.0.0.1:9/v1{end}", model="m")
