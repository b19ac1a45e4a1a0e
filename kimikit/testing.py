"""Test your own code by answers from a recording, with no key and no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kimikit.errors import needed

if TYPE_CHECKING:
    from kimikit.session import Kimi


def replay(path: str | Path, *, cycle: bool = False) -> Callable[[], Kimi]:
    """Return a pytest fixture: a new ``Kimi`` for each test that answers from a file.

    Args:
        path: The recording, or the script.
        cycle: Whether answers begin again where a question is asked more often than it
            was recorded.

    Raises:
        MissingDependency: If pytest is not installed.

    Example:
        >>> from kimikit.testing import replay
        >>> kimi_fixture = replay("lesson.kimi")  # in a test file: kimi = replay(...)
    """
    with needed("pytest", "kimikit.testing"):
        import pytest

    @pytest.fixture
    def kimi() -> Kimi:
        """Return a Kimi that answers from a recording."""
        from kimikit.session import Kimi

        return Kimi("replay", path=path, speed=None, cycle=cycle, show=False)

    return kimi
