"""Host profiles: where requests go, what a host serves, what is odd about it.

The profiles are data (``data/hosts.json``), each row with its source and its day.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from kimikit.errors import BadInput, MissingKey, UnknownHost, nearest
from kimikit.types import Host, HostModel

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
}
"""Where an OpenAI-compatible host has what its profile does not tell."""


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
    env: Mapping[str, str] = os.environ,
) -> Host:
    """Choose a host, and the model to use there.

    Args:
        name: A profile's name, or a ``Host``, which is taken as it is. Without one,
            ``KIMIKIT_HOST``, else the first profile whose key variable is set, else
            ``local``.
        base_url: Replaces the profile's address; alone, or with a name that no profile
            has, it makes a profile of its own.
        model: A model id; without one, K2 Instruct where the host still serves it,
            else its newest served Kimi.
        env: The environment.

    Returns:
        The host; ``local`` has no ``base_url`` until its server runs.

    Raises:
        UnknownHost: If no profile has this name and no ``base_url`` is given.
        BadInput: If ``base_url`` is not an HTTP address.
    """
    if base_url is not None:
        base_url = _checked(base_url)
    known, name = profiles(), name or (None if base_url else env.get("KIMIKIT_HOST"))
    host = name if isinstance(name, Host) else known.get(str(name).strip().lower())
    if host is None and base_url:
        own = str(name or "").strip() or urlsplit(base_url).netloc
        host = Host(name=own, base_url=base_url, endpoints=PLAIN_ENDPOINTS)
    elif host is None and name:
        raise UnknownHost(
            f"No host is called {name!r}.{nearest(str(name), known)}",
            f"Use one of {', '.join(known)}, or pass base_url= for any other.",
        )
    elif host is None:
        host = known[_first_with_key(env)]
    host = msgspec.structs.replace(host, base_url=base_url or host.base_url)
    return msgspec.structs.replace(host, model=model or host.model or newest(host))


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


def key_of(host: Host) -> str:
    """Return the key of ``host`` from the environment, empty where none is needed.

    Raises:
        MissingKey: If the host needs a key and its variable is not set.
    """
    key = os.environ.get(host.key_variable, "").strip()
    if host.key_variable and not key:
        raise MissingKey(
            f"The host {host.name!r} needs a key and {host.key_variable} is not set.",
            f"Make one at {host.key_url} and set {host.key_variable}, or api_key=.",
        )
    return key


def having(endpoint: str) -> list[str]:
    """Return the names of hosts known to have ``endpoint``."""
    return [name for name, host in profiles().items() if endpoint in host.endpoints]


def _first_with_key(env: Mapping[str, str]) -> str:
    keyed = (n for n, h in profiles().items() if env.get(h.key_variable, "").strip())
    return next(keyed, LOCAL)


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url) if isinstance(base_url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(
            f"base_url is {base_url!r}, which is not an HTTP address.",
            "Pass one such as 'http://localhost:8000/v1'.",
        )
    if parts.username or parts.query or parts.fragment:
        raise BadInput(
            f"base_url for {parts.hostname} holds more than an address.",
            "Pass the address alone, and the key as api_key=.",
        )
    return re.sub(r"/(chat/completions)?/*$", "", base_url)
