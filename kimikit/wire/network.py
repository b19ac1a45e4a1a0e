"""Find the way out of this machine: proxies and certificates.

httpx reads the environment too, but one entry that it does not understand (``socks:``,
a network in ``NO_PROXY``, a file of certificates that is gone) makes it fail as a whole
and unnamed, and it takes either all of the environment or none of it.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kimikit.errors import BadInput

_Proxy = TypeVar("_Proxy")

_SCHEMES = {
    "http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5h",
    "socks": "socks5",  # what VPN clients write
}  # fmt: skip
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def proxy_for(url: str) -> str | None:
    """Return the proxy that leads to ``url``, with a scheme; ``None`` for none.

    Raises:
        BadInput: If the environment names one that cannot be used.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None  # no proxy leads to this machine
    value = _named(url)
    exceptions = urllib.request.getproxies().get("no", "")
    if not value or _bypassed(host, parts.port, exceptions):
        return None
    scheme, mark, rest = value.partition("://")
    scheme, rest = (scheme.lower(), rest) if mark else ("http", value)
    wrong = scheme not in _SCHEMES
    with contextlib.suppress(ValueError):
        made = f"{_SCHEMES.get(scheme, 'http')}://{rest}"
        wrong = wrong or not urlsplit(made).hostname or urlsplit(made).port == 0
        if not wrong:
            return made
    raise BadInput(
        f"{_variable(parts.scheme, value)} names a proxy that cannot be used: "
        f"{scheme[:20]}://...",
        "Set it to an address such as http://127.0.0.1:7890 or socks5://127.0.0.1:1080,"
        " or unset it.",
    )


def proxy(
    url: str, make: Callable[[str], _Proxy], refusal: type[Exception]
) -> _Proxy | None:
    """Return the proxy that leads to ``url`` as an HTTP library has it.

    Args:
        url: Where the request goes.
        make: Makes the library's proxy of an address.
        refusal: What the library raises where that is no address.

    Raises:
        BadInput: If the environment names one that cannot be used.
    """
    named = proxy_for(url)
    try:
        return None if named is None else make(named)
    except (ValueError, refusal) as exc:
        raise BadInput(
            "The proxy that the environment names for this host is no address.",
            "Correct or unset HTTPS_PROXY, HTTP_PROXY and ALL_PROXY.",
        ) from exc


def proxy_remedy(url: str) -> str:
    """Return what to do where no connection came about by a proxy; empty for none.

    Args:
        url: Where the request went.
    """
    with contextlib.suppress(BadInput):
        if proxy_for(url) is not None:
            where = _variable(urlsplit(url).scheme, _named(url))
            return f"Check the proxy that {where} names, and the address: {url}."
    return ""


def _named(url: str) -> str:
    """Return the proxy that the environment names for an address, if it names one."""
    known = urllib.request.getproxies()
    return (known.get(urlsplit(url).scheme) or known.get("all") or "").strip()


def _variable(scheme: str, value: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme}_PROXY".upper(), "all_proxy", "ALL_PROXY")
    found = (name for name in names if os.environ.get(name, "").strip() == value)
    return next(found, "The system's settings")


def _bypassed(host: str, port: int | None, exceptions: str) -> bool:
    """Say whether ``NO_PROXY`` has a host: by name, domain, address or network."""
    host = host.rstrip(".").lower()
    address = _address(host)
    for entry in exceptions.lower().replace(" ", ",").split(","):
        entry = entry.partition("://")[2] or entry
        if entry == "*":
            return True
        name, own_port = _split(entry)
        if not name or (own_port and own_port != str(port or "")):
            continue
        if address is not None:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(name, strict=False):
                    return True
            continue
        domain = name.removeprefix("*").lstrip(".")
        if domain and (host == domain or host.endswith(f".{domain}")):
            return True
    return False


def _split(entry: str) -> tuple[str, str]:
    """Return an entry's name or network and its port; IPv6 has colons of its own."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name + (rest if rest.startswith("/") else ""), rest.lstrip(":/")
    name, _, port = entry.partition(":")
    return (entry, "") if ":" in port or "/" in entry else (name, port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def public_address(host: str) -> str:
    """Return an address of a host on the public internet; empty if it is not there.

    A picture's address comes from a host's answer: what it names must not be a machine
    that only this one can reach. The request goes to the address that was looked at,
    since a name may stand for another one a moment later.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ""
    addresses = [_address(str(entry[4][0])) for entry in found]
    public = bool(addresses) and all(a is not None and _is_public(a) for a in addresses)
    # Those of IPv4 first: not every machine has a way to the others.
    first = min(addresses, key=lambda a: a.version if a else 0, default=None)
    return str(first) if public else ""


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Also looks through the forms of IPv6 that carry an address of IPv4."""
    inner: Any = None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        inner = inner or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return _is_public(inner)
    return address.is_global and not address.is_multicast


def check_certificates() -> None:
    """Check what the environment says of certificates.

    Raises:
        BadInput: If it names a file or folder that is not there.
    """
    for name in CERTIFICATES:
        path = os.environ.get(name)
        if path and not os.path.exists(path):
            raise BadInput(
                f"{name} names {path!r}, which is not there.",
                f"Set {name} to a file of certificates that exists, or unset it.",
            )


class Trust(ssl.SSLContext):
    """A TLS context that loads its certificates when the first peer must show one.

    Loading them takes longer than a call to this machine, which needs none.
    """

    _loaded = False

    def __new__(cls) -> Trust:
        """Make a context that verifies, and trusts nobody yet."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def _load(self) -> None:
        if self._loaded:
            return
        check_certificates()
        file, folder = map(os.environ.get, CERTIFICATES)
        if not file and not folder:
            import certifi  # comes with httpx

            file = certifi.where()
        try:
            self.load_verify_locations(file or None, folder or None)
        except (ssl.SSLError, OSError) as exc:
            raise BadInput(
                f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {exc}.",
                "Set it to a file of certificates in PEM form, or unset it.",
            ) from exc
        self._loaded = True

    def wrap_socket(self, *args: Any, **kwargs: Any) -> Any:
        """Begin TLS on a socket."""
        self._load()
        return super().wrap_socket(*args, **kwargs)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> Any:
        """Begin TLS in memory, as event loops do."""
        self._load()
        return super().wrap_bio(*args, **kwargs)

    def get_ca_certs(self, *args: Any, **kwargs: Any) -> Any:
        """Return the authorities that are trusted."""
        self._load()
        return super().get_ca_certs(*args, **kwargs)

    def cert_store_stats(self) -> dict[str, int]:
        """Count them."""
        self._load()
        return super().cert_store_stats()


@functools.cache
def trust(file: str | None, folder: str | None) -> Trust:
    """Return the context for these settings; all clients share it, and its loading."""
    return Trust()


def same_site(request: Any, following: Any) -> bool:
    """Say whether a redirect stays on the site and asks the same question."""
    if following.method != request.method:
        return False
    old, new = request.url, following.url
    if old.host != new.host:
        return False
    if old.scheme == new.scheme:
        return bool(old.port == new.port)
    return (old.scheme, new.scheme) == ("http", "https")
