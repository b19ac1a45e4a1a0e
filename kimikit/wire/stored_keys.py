"""Keep keys in the system's keyring, where the library of that name is there."""

from __future__ import annotations

import importlib.util
from typing import Any

from kimikit.errors import BadInput, needed
from kimikit.secrets import Key
from kimikit.types import Host

SERVICE = "kimikit"
"""The name under which a keyring lists our keys; the user name is the host's."""


def get(host: Host) -> Key:
    """Return the key of a host, empty for none; a keyring that fails has none."""
    if importlib.util.find_spec("keyring") is None:
        return Key("")
    try:
        return Key(_keyring().get_password(SERVICE, host.name))
    except Exception:  # locked, or no service behind it: each system has its own errors
        return Key("")


def put(host: Host, key: Key) -> None:
    """Keep the key of a host.

    Raises:
        MissingDependency: If keyring is not installed.
        BadInput: If the system has no keyring, or refuses.
    """
    ring = _keyring()
    try:
        ring.set_password(SERVICE, host.name, key.value)
    except Exception as exc:
        raise _refused(exc, host) from None  # a traceback's frames hold the key


def remove(host: Host) -> None:
    """Forget the key of a host.

    Raises:
        MissingDependency: If keyring is not installed.
        BadInput: If there is none, or the system refuses.
    """
    ring = _keyring()
    if not get(host):
        raise BadInput(
            f"The keyring holds no key of {host.name}.",
            f"kimikit key set {host.name} keeps one.",
        )
    try:
        ring.delete_password(SERVICE, host.name)
    except Exception as exc:
        raise _refused(exc, host) from None


def _keyring() -> Any:
    with needed("keyring", "Keeping a key"):
        import keyring
    return keyring


def _refused(error: Exception, host: Host) -> BadInput:
    return BadInput(
        f"The system's keyring refuses ({type(error).__name__}).",
        f"Unlock it, or set {host.key_variable or 'a variable'} in the environment.",
    )
