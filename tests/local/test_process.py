"""One host for all kernels: started once, replaced when dead, ended when idle."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from kimikit import local
from kimikit.cli import main
from kimikit.errors import BadInput, LocalHostError, MissingDependency
from kimikit.local import models, process


@pytest.fixture
def runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> Iterator[Path]:
    """A runtime folder of the test's own; what it starts is ended."""
    folder = tmp_path / "runtime"
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(folder))
    yield folder
    monkeypatch.delenv("KIMIKIT_LOCAL_MODEL", raising=False)
    local.stop()


def says_hello(running: local.Running) -> bool:
    with openai.OpenAI(
        base_url=running.base_url, api_key=running.api_key, max_retries=0
    ) as client:
        reply = client.chat.completions.create(
            model=running.model,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=2,
        )
    return bool(reply.choices[0].message.content)


def wait_until_gone(running: local.Running) -> None:
    process._children[running.pid].wait(60)


def test_two_kernels_that_start_at_once_share_one_host(runtime: Path) -> None:
    code = "from kimikit import local; print(local.ensure().pid)"
    kernels = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    pids = {int(kernel.communicate()[0]) for kernel in kernels}
    assert pids == {local.ensure().pid}
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert stat.S_IMODE(process.port_file().stat().st_mode) == 0o600
    assert local.ensure().api_key not in repr(local.ensure())
    assert local.stop()
    assert not process.port_file().exists()
    assert not local.stop()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat model that nobody hashes, for tests that start none."""
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(file))


@pytest.mark.usefixtures("tiny")
def test_a_port_file_that_is_not_true_is_not_believed(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> None:
    path = process.port_file()
    process.write_port_file(path, local_host)
    true = json.loads(path.read_text())
    started = local_host.base_url
    monkeypatch.setattr(process, "_start", lambda: started)
    assert local.ensure() == local_host  # the file is right until it is changed
    changes = {"pid": 1}, {"api_key": "other"}, {"base_url": "http://x:1/v1"}
    for wrong in [*(json.dumps(true | change) for change in changes), "{"]:
        path.write_text(wrong)
        assert local.ensure() is started, wrong
    assert local.status()["running"] is None


def test_another_version_of_the_code_is_not_asked(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> None:
    process.write_port_file(process.port_file(), local_host)
    monkeypatch.setattr(process, "__version__", "0")
    assert local.status()["running"] is None


def test_another_model_gets_a_host_of_its_own_and_idle_hosts_end(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMIKIT_LOCAL_IDLE_S", "2")
    other = tmp_path / "Other-Model.gguf"
    other.symlink_to(models.CHAT.path)
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(other))
    running = local.ensure()
    assert running.model == "other-model"
    answered = process.get_json(running.base_url, "/v1/models", running.api_key)
    assert answered["data"][0]["id"] == "other-model"
    wait_until_gone(running)
    assert not process.port_file().exists()


def test_a_host_that_cannot_start_says_why(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(broken))
    with pytest.raises(LocalHostError, match=r"cannot load .*broken\.gguf") as caught:
        local.ensure()
    assert "ended with code 1" in caught.value.what
    assert "host.log" in caught.value.remedy


def test_a_start_that_takes_too_long_is_ended(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_S", 0.05)
    with pytest.raises(LocalHostError, match=r"took over 0\.05 s"):
        local.ensure()
    assert local.status()["running"] is None


def test_waiting_for_another_start_has_an_end(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(process, "START_TIMEOUT_S", 0.1)
    runtime.mkdir()
    with (
        FileLock(runtime / "host.lock"),
        pytest.raises(LocalHostError, match="Another process"),
    ):
        local.ensure()


def test_status_tells_and_starts_nothing(
    runtime: Path, local_host: local.Running
) -> None:
    status = local.status()
    assert status["running"] is None
    assert status["models"] == {"smollm2-135m-instruct": True, "needle-3": True}
    assert not process.port_file().exists()


def test_a_runtime_folder_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(file))
    with pytest.raises(LocalHostError, match="runtime folder") as caught:
        local.ensure()
    assert "KIMIKIT_RUNTIME" in caught.value.remedy


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX owners")
def test_a_runtime_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(LocalHostError, match="another user"):
        local.status()


def test_without_the_extra_the_install_line_is_given(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = models.importlib.util.find_spec
    monkeypatch.setattr(
        models.importlib.util,
        "find_spec",
        lambda name: None if name == "xllamacpp" else find(name),
    )
    with pytest.raises(MissingDependency, match=r"pip install .*xllamacpp"):
        local.ensure()


@pytest.mark.usefixtures("tiny")
def test_a_port_that_is_taken_is_a_clear_error(
    local_host: local.Running, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalHostError, match=f"port {port}"):
            local.serve(port=port)
        assert main(["serve", "--port", str(port)]) == 1
        assert "Give another port" in capsys.readouterr().err
    with pytest.raises(LocalHostError, match="port 99999"):
        local.serve(port=99999)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("key", ["schlüssel", "a\nb"])
def test_a_key_that_no_client_can_send_is_refused(key: str) -> None:
    with pytest.raises(BadInput, match="cannot be sent"):
        local.serve(api_key=key)


@pytest.mark.parametrize("stream", [True, False])
def test_in_the_foreground_it_prints_what_a_client_needs(
    local_host: local.Running, stream: bool
) -> None:
    command = [sys.executable, "-m", "kimikit", "serve", "--api-key", "mine"]
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as host,
        socket.socket() as busy,
    ):
        assert host.stdout is not None
        assert host.stderr is not None
        stuck = threading.Timer(60, host.kill)
        stuck.start()
        printed = [host.stdout.readline() for _ in range(4)]
        stuck.cancel()
        base_url = printed[1].split("=")[1].strip()
        assert "not Kimi" in printed[0]
        assert printed[2].split() == ["api_key", "=", "mine"]
        assert says_hello(local.Running(base_url, "mine", local_host.model, host.pid))
        story = {
            "messages": [{"role": "user", "content": "Write a long story."}],
            "max_tokens": 4000,
            "stream": stream,
            "ignore_eos": True,
        }
        body = json.dumps(story)
        busy.connect(("127.0.0.1", urlsplit(base_url).port))
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            "Host: x",
            "Authorization: Bearer mine",
            f"Content-Length: {len(body)}",
        ]
        busy.sendall("\r\n".join([*lines, "", body]).encode())
        if stream:
            busy.recv(1)
        host.send_signal(signal.SIGINT)
        assert host.wait(20) == 0
        assert host.stderr.read() == ""


def test_a_llama_that_does_not_tell_its_window_serves_all_the_same(
    local_host: local.Running,
) -> None:
    code = (
        "from kimikit.local import engine, models; ask = engine.get_json;"
        "engine.get_json = lambda *of: ask(*of) and {};"
        "print(engine.Engine(models.chat_model()).context_tokens)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.split()[-1] == "None"
