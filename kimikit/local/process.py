"""Find, start, check and stop the one local host that all kernels of a user share.

A running host is known by its port file, in a folder that only the user can open.
Who finds none that answers starts one, under a lock. Each model, and each version of
this code, has a host and a port file of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import platformdirs

from kimikit.errors import LocalHostError
from kimikit.local import models, trust
from kimikit.version import __version__

START_TIMEOUT_S = 60.0
"""How long a start may take before it counts as failed; a download is not counted."""

_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02
_LOG_LINES = 12

# The host needs this room alone: a bare package in the place of kimikit keeps the
# client, the views and all they import out of its start.
_START = (
    "import sys, types; bare = types.ModuleType('kimikit'); "
    "bare.__path__ = [sys.argv[1]]; sys.modules['kimikit'] = bare; "
    "from kimikit.local import server; server.run_shared()"
)


class _Child(subprocess.Popen[bytes]):
    """A host that this process started, and that may live longer on purpose.

    So it is no leak to warn of if it runs on when this process ends.
    """

    def __del__(self) -> None:
        self.poll()


_children: dict[int, _Child] = {}
# Kept so that those that end are reaped, and none is collected while it runs.


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
    """Return the path of the port file; a pull names another, as a release does."""
    files = Path(__file__).parent.glob("*.py")
    changed = max(file.stat().st_mtime_ns for file in files)
    what = f"{__version__} {changed} {models.chat_model().path}"
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    return runtime_folder() / f"host-{name}.json"


def write_port_file(path: Path, host: Running) -> None:
    """Write a port file in one step, readable by the user alone."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        part.write(msgspec.json.encode(host))
    os.replace(part.name, path)


def read_port_file(path: Path) -> Running | None:
    """Return what a port file says, ``None`` if there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None


_MOST_BYTES = 2**24
"""Bytes of an answer on loopback that are read."""


def get_json(url: str, path: str, api_key: str) -> Any:
    """Return what a server on loopback answers; no proxy is asked."""
    timeout = trust.LOOK_TIMEOUT_S
    server = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    with contextlib.closing(server):
        server.request("GET", path, headers={"Authorization": f"Bearer {api_key}"})
        return json.loads(server.getresponse().read(_MOST_BYTES))


def _answers(host: Running) -> bool:
    return trust.is_known(host.base_url, host.api_key, host.pid)


def _found() -> Running | None:
    """Return the host that the port file names if it answers."""
    host = read_port_file(port_file())
    return host if host and _answers(host) else None


def ensure() -> Running:
    """Return the user's local host, fetching its models and starting it if need be.

    Cheap when it runs already (one request on loopback), so ask each time: a host
    that was long idle has ended, and the next one has another port and key.

    Raises:
        LocalHostError: If models cannot be had or the host does not start.
        MissingDependency: If the extra ``local`` is not installed.
    """
    if found := _found():
        return found
    models.fetch()
    from filelock import FileLock, Timeout

    try:
        with FileLock(runtime_folder() / "host.lock", timeout=START_TIMEOUT_S):
            return _found() or _start()
    except Timeout as exc:
        raise LocalHostError(
            "Another process has been starting the local host for "
            f"{START_TIMEOUT_S:g} s.",
            "Wait for it and try again, or call kimikit.local.stop() first.",
        ) from exc


def _start() -> Running:
    """Start a host and wait until it answers."""
    folder = runtime_folder()
    port_file().unlink(missing_ok=True)
    log = folder / "host.log"
    env = trust.environment(
        KIMIKIT_CACHE=str(models.cache_folder()),  # it runs in another folder,
        KIMIKIT_RUNTIME=str(folder),  # where relative paths mean other ones
        KIMIKIT_LOCAL_MODEL=str(models.chat_model().path),
    )
    with open(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
        child = _Child(
            [sys.executable, "-P", "-c", _START, str(Path(__file__).parents[1])],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupted kernel does not take it along
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    _children[child.pid] = child
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and child.poll() is None:
        if found := _found():
            return found
        time.sleep(_POLL_S)
    ended = child.poll()
    child.kill()
    child.wait()
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    how = f"ended with code {ended}"
    if ended is None:
        how = f"took over {START_TIMEOUT_S:g} s"
    said = "\n".join(["Its log ends:", *lines, ""]) if lines else "It logged nothing."
    raise LocalHostError(
        f"The local host did not start: it {how}. {said}",
        f"See {log}, or run kimikit serve to watch it start.",
    )


def stop() -> bool:
    """End the user's local host and wait until it has gone.

    Returns:
        Whether one was running.

    Raises:
        LocalHostError: If it does not end.
    """
    host = _found()
    if host is None:
        return False
    os.kill(host.pid, signal.SIGTERM)
    child = _children.get(host.pid)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while _answers(host) or (child and child.poll() is None):
        if time.monotonic() > deadline:
            raise LocalHostError(
                f"The local host (process {host.pid}) does not end.",
                "End that process by hand.",
            )
        time.sleep(_POLL_S)
    port_file().unlink(missing_ok=True)
    return True


def status() -> dict[str, Any]:
    """Return what is cached and what runs; starts and fetches nothing.

    Returns:
        ``running`` (the host, ``None`` where nothing runs), ``models`` (by id whether
        each that is fetched is cached) and ``cache_folder``.
    """
    return {
        "running": _found(),
        "models": {each.id: models.is_cached(each) for each in models.fetched()},
        "cache_folder": models.cache_folder(),
    }
