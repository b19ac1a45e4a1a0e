"""One local host for all kernels of a user: found, started, checked and stopped.

A running host is known by its port file, in a folder that only the user can open.
Who finds none that answers starts one, under a lock.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import platformdirs

from kimikit.errors import LocalHostError, MissingDependency
from kimikit.local import models
from kimikit.version import __version__

START_TIMEOUT_S = 60.0
"""How long a start may take before it counts as failed."""

HEALTH_TIMEOUT_S = 5.0
"""How long a host may take to say that it is well."""

_POLL_S = 0.02
_LOG_LINES = 12
_PACKAGES = ("xllamacpp", "needle_rs", "wordllama", "starlette", "uvicorn", "filelock")
_PACKAGE_FOLDER = Path(__file__).parent.parent

# The host needs this room alone: a bare package in the place of kimikit keeps the
# client, the views and all they import out of its start.
_START = (
    "import sys, types; bare = types.ModuleType('kimikit'); "
    "bare.__path__ = [sys.argv[1]]; sys.modules['kimikit'] = bare; "
    "from kimikit.local import server; server.run_shared()"
)

_children: list[subprocess.Popen[bytes]] = []
# Kept so that ended ones are reaped, and none is collected while it runs.


class Running(msgspec.Struct, frozen=True):
    """A local host that answers.

    Attributes:
        base_url: What an OpenAI client takes, ``/v1`` included.
        api_key: The key it asks for.
        model: Id of its chat model.
        pid: Its process.
    """

    base_url: str
    api_key: str
    model: str
    pid: int

    def __repr__(self) -> str:
        return f"Running({self.base_url}, model={self.model!r}, pid={self.pid})"


class PortFile(msgspec.Struct, frozen=True):
    """What the port file holds: the host, its code's version and its weights."""

    running: Running
    version: str
    weights: str


def version() -> str:
    """Return the version of this code, which a pull changes as a release does."""
    files = Path(__file__).parent.glob("*.py")
    return f"{__version__}+{max(file.stat().st_mtime_ns for file in files)}"


def require_packages() -> None:
    """Raise ``MissingDependency`` if the extra ``local`` is not installed whole."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingDependency.of(package, "The local model", "local")


def runtime_folder() -> Path:
    """Return the folder of the port file, made if need be, closed to others.

    Raises:
        LocalHostError: If it cannot be made or belongs to someone else.
    """
    given = os.environ.get("KIMIKIT_RUNTIME")
    try:
        if given:
            folder = Path(given).expanduser().absolute()
        else:
            with warnings.catch_warnings():  # its fallback without XDG will do
                warnings.simplefilter("ignore")
                folder = platformdirs.user_runtime_path("kimikit", appauthor=False)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            raise PermissionError(13, f"{folder} belongs to another user")
        folder.chmod(0o700)
    except OSError as exc:
        raise LocalHostError(
            f"The local host cannot use its runtime folder: {exc}.",
            "Set KIMIKIT_RUNTIME to a folder of your own.",
        ) from exc
    return folder


def port_file() -> Path:
    """Return the path of the port file."""
    return runtime_folder() / "host.json"


def write_port_file(content: PortFile) -> None:
    """Write the port file in one step, readable by the user alone."""
    path = port_file()
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(content))
    os.replace(part, path)


def read_port_file() -> PortFile | None:
    """Return what the port file says, ``None`` if there is none that can be read."""
    try:
        return msgspec.json.decode(port_file().read_bytes(), type=PortFile)
    except (OSError, msgspec.MsgspecError):
        return None


def _is_well(host: Running) -> bool:
    """Return whether the host answers, and is the process that it should be."""
    address = urlsplit(host.base_url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=HEALTH_TIMEOUT_S
    )
    try:
        headers = {"Authorization": f"Bearer {host.api_key}"}
        connection.request("GET", "/health", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status == 200 and json.loads(body)["pid"] == host.pid
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _usable(model: models.ChatModel) -> Running | None:
    """Return the host if it answers and is of this version and model."""
    entry = read_port_file()
    if entry is None or (entry.version, entry.weights) != (version(), str(model.path)):
        return None
    return entry.running if _is_well(entry.running) else None


def ensure(*, timeout_s: float = START_TIMEOUT_S, progress: bool = True) -> Running:
    """Return the user's local host, fetching its models and starting it if need be.

    Cheap when it runs already (one request on loopback), so ask each time: a host
    that was long idle has ended, and the next one has another port and key.

    Args:
        timeout_s: Seconds that the start may take; downloads are not counted.
        progress: Whether to show a bar while models are fetched.

    Raises:
        LocalHostError: If models cannot be had or the host does not start.
        MissingDependency: If the extra ``local`` is not installed.
    """
    model = models.chat_model()
    if found := _usable(model):
        return found
    require_packages()
    from filelock import FileLock, Timeout

    models.fetch(progress=progress)
    lock = FileLock(runtime_folder() / "host.lock", timeout=timeout_s)
    try:
        with lock:
            return _usable(model) or _start(model, timeout_s)
    except Timeout as exc:
        raise LocalHostError(
            f"Another process has been starting the local host for {timeout_s:g} s.",
            "Wait for it and try again, or call kimikit.local.stop() first.",
        ) from exc


def _start(model: models.ChatModel, timeout_s: float) -> Running:
    """Start a host and wait until it answers."""
    folder = runtime_folder()
    port_file().unlink(missing_ok=True)
    _children[:] = [child for child in _children if child.poll() is None]
    log = folder / "host.log"
    env = os.environ | {
        "KIMIKIT_CACHE": str(models.cache_folder()),  # it runs in another folder,
        "KIMIKIT_RUNTIME": str(folder),  # where relative paths mean other ones
    }
    if os.environ.get("KIMIKIT_LOCAL_MODEL"):
        env["KIMIKIT_LOCAL_MODEL"] = str(model.path)
    with open(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(_PACKAGE_FOLDER)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupted kernel does not take it along
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    _children.append(child)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and child.poll() is None:
        if found := _usable(model):
            return found
        time.sleep(_POLL_S)
    ended = child.poll()
    child.kill()
    child.wait()
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    how = f"took over {timeout_s:g} s" if ended is None else f"ended with code {ended}"
    said = "\n".join(["Its log ends:", *lines, ""]) if lines else "It logged nothing."
    raise LocalHostError(
        f"The local host did not start: it {how}. {said}",
        f"See {log}, or run kimikit serve to watch it start.",
    )


def stop(*, timeout_s: float = 10.0) -> bool:
    """End the user's local host and wait until it has gone.

    Args:
        timeout_s: Seconds to wait for it.

    Returns:
        Whether one was running.

    Raises:
        LocalHostError: If it does not end.
    """
    entry = read_port_file()
    if entry is None or not _is_well(entry.running):
        port_file().unlink(missing_ok=True)
        return False
    pid = entry.running.pid
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ours = any(each.pid == pid and each.poll() is None for each in _children)
        if not ours and not _is_well(entry.running):
            port_file().unlink(missing_ok=True)
            return True
        time.sleep(_POLL_S)
    raise LocalHostError(
        f"The local host (process {pid}) does not end.", "End that process by hand."
    )


def status() -> dict[str, Any]:
    """Return what is cached and what runs; starts and fetches nothing.

    Returns:
        ``running``, ``base_url``, ``model``, ``pid`` (``None`` where nothing runs),
        ``models`` (a dict for each: ``id``, ``use``, ``path``, ``cached``),
        ``cache_folder`` and ``runtime_folder``.
    """
    entry = read_port_file()
    host = entry.running if entry and _is_well(entry.running) else None
    chat = models.chat_model()
    own = chat.path != models.CHAT.path  # chat_model() has looked at it already
    has_vectors = importlib.util.find_spec("wordllama") is not None
    rows = (
        (chat.id, "chat", chat.path, own or models.is_cached(models.CHAT)),
        (
            models.CALLS.id,
            "tool calls",
            models.CALLS.path,
            models.is_cached(models.CALLS),
        ),
        (models.VECTORS_ID, "embeddings, rerank", "package wordllama", has_vectors),
    )
    return {
        "running": host is not None,
        "base_url": host.base_url if host else None,
        "model": host.model if host else chat.id,
        "pid": host.pid if host else None,
        "models": [
            {"id": name, "use": use, "path": str(path), "cached": cached}
            for name, use, path, cached in rows
        ],
        "cache_folder": str(models.cache_folder()),
        "runtime_folder": str(runtime_folder()),
    }
