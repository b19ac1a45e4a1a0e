"""Write files whole or not at all, and refuse paths that no file can have."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from kimikit import html
from kimikit.errors import BadInput

_NAME_SHOWN = 100


def path_of(path: str | os.PathLike[str]) -> Path:
    """Return a path that a file can have, whatever name it was made of.

    Raises:
        BadInput: If it is none, is too long, or goes in a circle.
    """
    absent = FileNotFoundError, NotADirectoryError, PermissionError
    try:
        found = Path(path).expanduser()
        with contextlib.suppress(*absent):
            found.stat()
    except (OSError, ValueError, TypeError, RuntimeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise BadInput(
            f"{html.cut(repr(path), _NAME_SHOWN)} is no path of a file: {why}.",
            "Give a shorter or plainer one, as text.",
        ) from exc
    return found


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a file to write, whole or not at all: it takes the place of ``path``.

    Where a link leads, and who may read what was there, stay. A device or a pipe, such
    as ``/dev/stdout``, is written to.

    Raises:
        BadInput: If the file cannot be written; a full disk leaves what was there.
    """
    target = path_of(path)
    try:
        if not target.name:
            raise IsADirectoryError(f"{target} is a folder")
        target = target.resolve()
        old = target.exists()
        if old and not (target.is_file() and os.access(target.parent, os.W_OK)):
            yield target
            return
        if old and not os.access(target, os.W_OK):
            raise PermissionError("it may only be read")
        with taking_place(target) as fresh:
            if old:
                shutil.copymode(target, fresh)
            yield fresh
    except (OSError, UnicodeEncodeError) as exc:  # pyarrow takes no odd bytes in names
        raise BadInput(
            f"The file {target} cannot be written: {exc}.", "Give another path."
        ) from exc


@contextlib.contextmanager
def taking_place(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """Make an empty file beside another, whose place it takes once it is written.

    No other thread or process has the same, and after an error it is gone.
    """
    name = target.name.encode("utf-8", "ignore")[:200].decode("utf-8", "ignore")
    fresh = target.with_name(f".{name}.{os.urandom(6).hex()}")
    fresh.touch(mode, exist_ok=False)
    try:
        yield fresh
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
