"""Where servers on this machine listen, by the variables that they read themselves."""

from __future__ import annotations

import os
import re

_OLLAMA = re.compile(r"(?:(https?)://)?([\w.-]+)(?::(\d{1,5}))?/*")


def address(host: str) -> str | None:
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
