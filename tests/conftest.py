"""What all tests share: a clean environment, and one local host on real models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kimikit import local

if TYPE_CHECKING:
    from support.lab import Lab

_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put browser tests last: Playwright keeps an event loop running in this thread."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def _is_foreign(name: str) -> bool:
    upper = name.upper()
    if upper.startswith("KIMIKIT_"):
        return upper not in ("KIMIKIT_CACHE", "KIMIKIT_RUNTIME")
    return upper.endswith("_API_KEY") or upper == "HF_TOKEN" or upper in _PROXIES


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's keys, proxies and ledger out of every test."""
    for name in list(os.environ):
        if _is_foreign(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KIMIKIT_LEDGER", str(tmp_path / "ledger.db"))


@pytest.fixture(scope="session")
def local_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Running]:
    """A local host of the test run's own, on the machine's model cache."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            # pip needs the proxy if the models have to be fetched.
            if _is_foreign(name) and name.upper() not in _PROXIES:
                patch.delenv(name)
        patch.setenv("KIMIKIT_RUNTIME", str(tmp_path_factory.mktemp("runtime")))
        running = local.ensure()
        yield running
        local.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium."""
    from support.lab import running_chromium  # most tests need none

    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def lab(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab of the test run's own."""
    from support.lab import running_lab

    with running_lab(tmp_path_factory.mktemp("lab"), chromium) as lab:
        yield lab
