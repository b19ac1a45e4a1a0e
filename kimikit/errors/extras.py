"""Say how the packages of an extra are installed, also without an index."""

from __future__ import annotations

import shlex


def pip_install(package: str, extra: str | None = None) -> str:
    """Return the command that installs a package, and all that its extra names.

    Args:
        package: What is missing.
        extra: The extra of kimikit that brings it, if one does.

    Example:
        >>> pip_install("keyring")
        'pip install keyring'
        >>> pip_install("pandas", "pandas")
        "pip install 'pandas>=..."
    """
    wanted = [each for each in _requirements(extra) if each] if extra else []
    return " ".join(["pip install", *map(shlex.quote, wanted or [package])])


def _requirements(extra: str) -> list[str]:
    """Return what kimikit's own metadata name for an extra, each with its bound."""
    from importlib import metadata  # slow to import

    try:
        lines = metadata.requires("kimikit") or []
    except metadata.PackageNotFoundError:  # a folder that is only on the path
        return []
    pairs = (line.partition(";")[::2] for line in lines)
    marks = (f"extra == '{extra}'", f'extra == "{extra}"')
    return [name.strip() for name, marker in pairs if marker.strip() in marks]
