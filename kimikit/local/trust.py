"""Guard what others on this machine could take or feign: keys, ports, variables."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import socket
import time
from urllib.parse import urlsplit

import msgspec

LOOK_TIMEOUT_S = 5.0
"""How long a server on loopback may take to say how it is."""

_HEALTH_BYTES = 4096
NONCE, PROOF = "x-kimikit-nonce", "x-kimikit-proof"
"""Headers by which client and host prove to each other that they know the key."""

_PLAIN_NAMES = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TE?MP|TMPDIR|NETRC|PATHEXT|COMSPEC"
    "|USERNAME|USERPROFILE|SYSTEMROOT|SYSTEMDRIVE|WINDIR|APPDATA|LOCALAPPDATA"
    "|PROGRAMDATA|PROGRAMFILES|VIRTUAL_ENV|LD_LIBRARY_PATH|DYLD_[A-Z_]+"
    "|DBUS_SESSION_BUS_ADDRESS|(?:HTTPS?|ALL|NO|FTP)_PROXY|(?:REQUESTS|CURL)_CA_BUNDLE"
    "|(?:LC|XDG|SSL|PIP|PYTHON|KIMIKIT|CONDA|COVERAGE|OMP|OPENBLAS|MKL|GGML|LLAMA|CUDA"
    "|RUST)_?[A-Z0-9_]*",
    re.IGNORECASE,
)
_SECRET_NAMES = re.compile(
    "KEY(?!RING)|TOKEN(?!IZER)|SECRET|PASSW|CREDENTIAL", re.IGNORECASE
)


class _Health(msgspec.Struct):
    pid: int
    proof: str


def environment(**more: str) -> dict[str, str]:
    """Return the variables that a child needs, and no key of any provider."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if _PLAIN_NAMES.fullmatch(name)
        and (name.upper().startswith("PIP_") or not _SECRET_NAMES.search(name))
    }
    return kept | more


def proof(api_key: str, who: str, nonce: str) -> str:
    """Return what shows that ``who`` knows the key, without telling it."""
    return hmac.new(api_key.encode(), f"{who} {nonce}".encode(), "sha256").hexdigest()


def is_known(base_url: str, api_key: str, pid: int) -> bool:
    """Say whether the process that holds the key answers there.

    A port is anybody's once its process has died. So each side proves that it knows
    the key, and the key itself is sent to none that has not.
    """
    nonce = secrets.token_hex(16)
    url = urlsplit(base_url)
    lines = [
        "GET /health HTTP/1.1",
        f"Host: {url.netloc}",
        f"{NONCE}: {nonce}",
        f"{PROOF}: {proof(api_key, 'client', nonce)}",
        "Connection: close",
    ]
    request = "\r\n".join([*lines, "", ""]).encode()
    try:
        body = _exchange(url.hostname or "", url.port or 0, request)
        said = msgspec.json.decode(body, type=_Health)
    except (OSError, ValueError, msgspec.MsgspecError):
        return False
    expected = proof(api_key, "host", nonce)
    return said.pid == pid and hmac.compare_digest(
        said.proof.encode(), expected.encode()
    )


def _exchange(address: str, port: int, request: bytes) -> bytes:
    """Return the body of an answer, which may be anybody's: bounded in all ways."""
    deadline = time.monotonic() + LOOK_TIMEOUT_S
    answer = bytearray()
    with socket.create_connection((address, port), LOOK_TIMEOUT_S) as connection:
        connection.sendall(request)
        while (left := deadline - time.monotonic()) > 0 and len(answer) < _HEALTH_BYTES:
            connection.settimeout(left)
            if not (data := connection.recv(_HEALTH_BYTES)):
                break
            answer += data
    return bytes(answer.partition(b"\r\n\r\n")[2])
