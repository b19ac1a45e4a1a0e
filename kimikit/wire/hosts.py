"""Find hosts' profiles: where requests go, what a host serves, what is odd there.

The profiles are data (``data/hosts.json``), each row with its source and its day.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kimikit.errors import BadInput, MissingKey, UnknownHost, nearest
from kimikit.json_values import plain
from kimikit.secrets import Key, Secret, hidden, redact
from kimikit.types import Host, HostModel
from kimikit.types.host import HostBatch
from kimikit.wire import stored_keys

TABLE = Path(__file__).parent.parent / "data" / "hosts.json"
LOCAL = "local"
PLAIN_ENDPOINTS = {
    "complete": "/completions",
    "embed": "/embeddings",
    "rerank": "/rerank",
    "image": "/images/generations",
    "speak": "/audio/speech",
    "transcribe": "/audio/transcriptions",
    "models": "/models",
    "files": "/files",
    "batches": "/batches",
}
"""Where an OpenAI-compatible host has what its profile does not tell."""

started: set[str] = set()
"""Addresses at which this process has found or started the user's local host."""


@functools.cache
def profiles() -> dict[str, Host]:
    """Return the known hosts by name, in the order in which one is chosen."""
    hosts = msgspec.json.decode(TABLE.read_bytes(), type=list[Host])
    return {host.name: host for host in hosts}


def resolve(
    name: str | Host | None = None,
    *,
    base_url: str | None = None,
    model: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Host:
    """Choose a host, and the model to use there.

    Args:
        name: A profile's name, or a ``Host``, which is taken as it is. Without one,
            ``KIMIKIT_HOST``, else the first profile whose key variable is set, else
            ``local``.
        base_url: Replaces the profile's address; alone, or with a name that no profile
            has, it makes a profile of its own, with the rules of the known host that
            has this address.
        model: A model id, instead of K2 Instruct or the host's newest Kimi.
        env: The environment, if it is not this process's.

    Returns:
        The host; ``local`` has no ``base_url`` until its server runs.

    Raises:
        UnknownHost: If no profile has this name and no ``base_url`` is given.
        BadInput: If ``base_url`` is not an HTTP address.
    """
    if base_url is not None:
        base_url = _checked(hidden_address(base_url))
    name = hidden(name)  # which may be a key that was meant as one
    model = plain(model, "model")  # an enumeration's member stands for its value
    name = plain(name, "host") if isinstance(name, str) else name
    known, chosen = profiles(), name
    if name is None and base_url is None:
        # No local name for the environment: a traceback would show all its keys.
        chosen = (os.environ if env is None else env).get("KIMIKIT_HOST")
    own = "" if isinstance(chosen, Host | Secret) else str(chosen or "").strip()
    if isinstance(chosen, Secret):
        raise _is_a_key(chosen)
    host = chosen if isinstance(chosen, Host) else known.get(own.lower())
    if host is None and base_url:
        twin = _at(base_url) or Host(
            name=urlsplit(base_url).netloc,
            base_url=base_url,
            endpoints=PLAIN_ENDPOINTS,
            batch=HostBatch(endpoints=("chat", "embed")),
        )
        host = msgspec.structs.replace(twin, name=own or twin.name)
    elif host is None and own:
        raise _unknown(own[:80], known)
    elif host is None:
        host = known[_first_with_key(os.environ if env is None else env)]
    if isinstance(chosen, Host) and host.base_url and not base_url:
        base_url = _checked(hidden_address(host.base_url))
    if base_url is None and not isinstance(chosen, Host):
        base_url = _running_address(host.name)
    host = msgspec.structs.replace(host, base_url=base_url or host.base_url)
    return msgspec.structs.replace(host, model=model or host.model or newest(host))


def _unknown(name: str, known: Iterable[str]) -> UnknownHost:
    if "/" in name or "kimi" in name.lower():
        return UnknownHost(
            f"No host is called {name!r}; it looks like a model.",
            "Pass it as model= (in a race: models=), and as host one of "
            f"{', '.join(known)}, or base_url= for any other.",
        )
    return UnknownHost(
        f"No host is called {name!r}.{nearest(name, known)}",
        f"Use one of {', '.join(known)}, or pass base_url= for any other.",
    )


def _is_a_key(name: Secret) -> UnknownHost:
    return UnknownHost(
        f"No host is called {redact(name.value.strip())!r}; it looks like a key.",
        "Pass the key as api_key=, or set the host's environment variable.",
    )


def _at(base_url: str) -> Host | None:
    """Return the known host of an address on the web, whatever its path."""
    address = urlsplit(base_url.lower())
    for host in profiles().values():
        own = urlsplit(host.base_url)
        if (own.scheme, own.hostname) == ("https", address.hostname):
            same = address.scheme == "https" and address.port in (None, 443)
            return host if same else None
    return None


def newest(host: Host) -> str:
    """Return the id of the Kimi to use on ``host`` when none is named."""
    served = [m for m in host.models if m.state == "served"]
    listed = served or [m for m in host.models if m.state == "unknown"]
    instruct = [m for m in listed if m.family.startswith("kimi-k2-instruct")]
    # K2 Instruct itself before its update of September 2025, which sorts after it.
    first = min(instruct, key=lambda m: m.family, default=next(iter(listed), None))
    return first.id if first else ""


def model_facts(host: Host, model: str) -> HostModel:
    """Return what is known of ``model`` on ``host``; only its name when nothing is.

    A family's recommended temperature is the model card's, so it holds for a served
    name of one's own that still says what it is.
    """
    for known in host.models:
        if known.id.lower() == model.lower():
            return known
    name = model.lower()
    if "kimi" in name and "k2" in name and "instruct" in name:
        return HostModel(id=model, family="kimi-k2-instruct", temperature=0.6)
    return HostModel(id=model)


def key_of(host: Host) -> Key:
    """Return the key of ``host``, empty where none is needed.

    It is taken from the environment, else from the system's keyring.

    Raises:
        MissingKey: If the host needs a key and its variable is not set.
    """
    key = Key(os.environ.get(host.key_variable))
    if host.key_variable and not key:
        key = stored_keys.get(host)
    if host.key_variable and not key:
        raise MissingKey(
            f"The host {host.name!r} needs a key and {host.key_variable} is not set.",
            f"Make one at {host.key_url}. Then set {host.key_variable}, or type it in: "
            f"from getpass import getpass; Kimi({host.name!r}, api_key=getpass()), or "
            f"keep it in the system's keyring: kimikit key set {host.name}.",
        )
    return key


def having(what: str, within: Callable[[Host], Collection[str]]) -> str:
    """Return the names of the known hosts that have something, for a remedy."""
    return ", ".join(n for n, host in profiles().items() if what in within(host))


def _first_with_key(env: Mapping[str, str]) -> str:
    keyed = (n for n, h in profiles().items() if env.get(h.key_variable, "").strip())
    return next(keyed, LOCAL)


def hidden_address(base_url: Any) -> Any:
    """Return an address as a text that hides, if it may hold more than an address."""
    if not isinstance(base_url, str) or re.fullmatch(
        r"https?://[\w.-]+(?::\d{1,5})?(?:/[\w./~-]{0,200})?", base_url.strip(), re.A
    ):
        return base_url
    return Secret(base_url)


def _checked(base_url: str) -> str:
    """Return an address without what is added to it here."""
    try:
        return _read_address(base_url)
    except BadInput as exc:
        raise exc.with_traceback(None)  # noqa: B904 - frames show what is local


def _read_address(base_url: str) -> str:
    text = str.__str__(base_url).strip() if isinstance(base_url, str) else ""
    try:
        parts = urlsplit(text)
        fits = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        text.encode()
        name = parts.hostname or ""
        name.encode("idna")
        if not name.isascii() or name.startswith("xn--"):
            import idna  # httpx reads names by it, some of which Python's own takes

            idna.decode(idna.encode(name))
        fits = fits and parts.port != 0 and not re.search(r"[\s\x00-\x1f\x7f]", text)
    except ValueError:  # a bracket that is not closed, a port or name that is none
        fits = False
    if not fits:
        raise BadInput(
            f"base_url is {_shown(base_url)}, which is not an HTTP address.",
            "Pass one such as 'http://localhost:8000/v1'.",
        )
    if "@" in parts.netloc or re.search("[?#]", text):
        raise BadInput(
            f"base_url for {parts.hostname} holds more than an address.",
            "Pass the address alone, and the key as api_key=.",
        )
    return trimmed(text)


def trimmed(address: str) -> str:
    """Return an address without an endpoint's path and slashes at its end.

    Azure's own addresses end in /models.
    """
    return re.sub(
        r"(?:/(?:chat/completions)?|(?:(?<=/v\d)|(?<=/openai))"
        r"/(?:completions|models|embeddings))/*$",
        "",
        address,
    )


def _shown(base_url: object) -> str:
    """Return what was given as an address, without what may be a key in it."""
    if not isinstance(base_url, str):
        return f"of type {type(base_url).__name__}"
    text = re.sub(r"[?#].*", "", base_url.strip()[:500], flags=re.S)
    text = re.sub(r"[^/]*@", "***@", text)
    text = re.sub(r":(?!//)(?!\d{1,5}(?:/|\Z))[^/\]]*(?=/|\Z)", ":***", text)
    if re.fullmatch(r"[\w-]{16,}", text) and re.search(r"\d", text):
        text = "***"
    return repr(redact(text)[:80])


_OLLAMA = re.compile(r"(?:(https?)://)?([\w.-]+)(?::(\d{1,5}))?/*")


def _running_address(host: str) -> str | None:
    """Return the address of a server on this machine, ``None`` where nothing is set.

    Ollama reads ``OLLAMA_HOST`` (its FAQ), llama.cpp ``LLAMA_ARG_HOST`` and
    ``LLAMA_ARG_PORT`` (its server's README).

    Args:
        host: A host's name.
    """
    if host == "ollama" and (given := os.environ.get("OLLAMA_HOST", "").strip()):
        found = _OLLAMA.fullmatch(given)
        if found is None:
            return None
        usual = {"http": "80", "https": "443", None: "11434"}[found[1]]
        where = _reachable(found[2])
        return f"{found[1] or 'http'}://{where}:{found[3] or usual}/v1"
    if host == "llamacpp":
        port = os.environ.get("LLAMA_ARG_PORT", "").strip()
        where = os.environ.get("LLAMA_ARG_HOST", "").strip()
        if (port or where) and re.fullmatch(r"\d{0,5}", port):
            return f"http://{_reachable(where or 'localhost')}:{port or 8080}/v1"
    return None


def _reachable(name: str) -> str:
    """Return the name of a machine; a server that listens everywhere is here."""
    return "127.0.0.1" if name == "0.0.0.0" else name
