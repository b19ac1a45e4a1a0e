"""Record what hosts answer, and replay it to anybody, with no key and no network.

Enter at ``tape``, which stands between the clients and the network. ``file`` is a
recording, ``script`` one that a person wrote; ``masks`` keeps keys out, ``untrusted``
checks what came from others, ``questions`` finds the recorded answer to a request.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from kimikit.display.footer import SCRIPTED
from kimikit.errors import BadInput
from kimikit.json_values import is_number
from kimikit.money.ledger import Ledger
from kimikit.money.prices import PriceBook
from kimikit.paths import path_of
from kimikit.replay.file import RecordingFile
from kimikit.replay.script import SCRIPT, Script, is_database
from kimikit.replay.tape import Source, Tape
from kimikit.types import Host, Price
from kimikit.wire import hosts
from kimikit.wire.recorder import everywhere

__all__ = ["REPLAY", "RecordingFile", "Script", "Tape", "opened", "tape"]

REPLAY = "replay"
"""The name of the host that answers from a recording."""
REPLAY_FILE, RECORD_FILE = "KIMIKIT_REPLAY", "KIMIKIT_RECORD"
SPEED, BY = "KIMIKIT_REPLAY_SPEED", "KIMIKIT_RECORDED_BY"

PathLike = str | os.PathLike[str]


def opened(path: PathLike) -> Source:
    """Return a recording, or a script that was written by hand, to replay.

    Raises:
        BadInput: If it is neither.
    """
    found = path_of(path)
    if found.is_file() and not is_database(found):
        return Script(found)
    return RecordingFile(found)


def tape(
    host: object,
    *,
    record: PathLike | None = None,
    replay: bool = False,
    path: PathLike | None = None,
    speed: float | None = 1.0,
    cycle: bool = False,
) -> Tape | None:
    """Return the recorder that a ``Kimi`` is made with, ``None`` for none.

    Args:
        host: The host as it was named.
        record: The file to record into.
        replay: Whether to replay what that file has, and ask only what is new.
        path: The recording or the script to replay, for the host ``replay``.
        speed: How fast, ``None`` for at once.
        cycle: Whether to begin again where a question is asked too often.

    Raises:
        BadInput: If these do not go together, or the file is no recording.
    """
    _check(host, record, path, speed, replay=replay)
    if host == REPLAY:
        source = path or os.environ.get(REPLAY_FILE)
        if not source:
            raise BadInput(
                "The host 'replay' needs a recording.",
                f"Pass path='lesson.kimi', or set {REPLAY_FILE}.",
            )
        return Tape(opened(source), speed=speed, cycle=cycle)
    if record is not None:
        file = _recorder(record)
        return Tape(file if replay else None, file, speed=speed, cycle=cycle)
    everywhere[:] = _of_environment()
    found = next(iter(everywhere), None)
    return found if isinstance(found, Tape) else None


def _check(
    host: object,
    record: PathLike | None,
    path: PathLike | None,
    speed: Any,
    *,
    replay: bool,
) -> None:
    if speed is not None and not (is_number(speed) and speed > 0):
        raise BadInput(
            f"speed is {speed!r:.80}.", "Pass a number above 0, or None for at once."
        )
    if record is not None and host == REPLAY:
        raise BadInput(
            "The host 'replay' asks nobody, so there is nothing to record.",
            "Name the host to ask, such as Kimi('together', record=..., replay=True).",
        )
    if replay and record is None:
        raise BadInput(
            "replay=True needs the file that is replayed and added to.",
            "Pass record='lesson.kimi' too, or use Kimi('replay', path=...).",
        )
    if path is not None and host != REPLAY:
        raise BadInput(
            "path= belongs to the host 'replay'.",
            "Use Kimi('replay', path=...), or record=... to record.",
        )


def _recorder(path: PathLike) -> RecordingFile:
    file = RecordingFile(path, new=True)
    if by := os.environ.get(BY, "").strip():
        file.note(f"Recorded by {by[:200]}.")
    return file


def _of_environment() -> list[Tape]:
    """Return the recorder that the environment names for the whole process."""
    played, kept = os.environ.get(REPLAY_FILE, ""), os.environ.get(RECORD_FILE, "")
    return [found] if (found := _named(played, kept)) else []


@functools.lru_cache(4)
def _named(played: str, kept: str) -> Tape | None:
    """Return a recorder, the same for all of a process: it counts what is repeated."""
    try:
        if played:
            return Tape(opened(played), speed=_speed())
        return Tape(None, _recorder(kept)) if kept else None
    except BadInput as exc:
        named = f"{REPLAY_FILE}={played}" if played else f"{RECORD_FILE}={kept}"
        raise BadInput(f"{named} is set: {exc.what}", exc.remedy) from exc


def _speed() -> float | None:
    given = os.environ.get(SPEED, "").strip().lower()
    if given in ("", "none"):
        return None if given else 1.0
    try:
        speed = float(given)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise BadInput(
            f"{SPEED} is {given[:40]!r}.", "Set a number above 0, or none for at once."
        )
    return speed


def profile(
    tape: Tape, host: str | Host | None, *, base_url: str | None, model: str | None
) -> Host:
    """Return the host that a replay stands for: as it was recorded, if it was.

    Raises:
        UnknownHost: If it was not recorded and no profile has its name.
        BadInput: If nothing was recorded.
    """
    if isinstance(host, Host) or base_url is not None:
        named = None if host == REPLAY else host
        return hosts.resolve(named, base_url=base_url, model=model)
    name = None if host in (None, REPLAY, "") else str(host)
    found = tape.host(name)
    if found is None and name in (None, hosts.LOCAL):
        found = tape.host(None)  # what would be asked without a key
        if found is None:
            raise BadInput(
                "The recording is empty, or the hosts in it cannot be read.",
                "Record something first, or get it again from where it came.",
            )
    if found is None:
        return hosts.resolve(name, model=model)
    return msgspec.structs.replace(found, model=model or found.model)


_UNPAID = Price(Decimal(0), Decimal(0), source="a script costs nothing")


class RecordedPrices(PriceBook):
    """Prices of the days on which a recording was made."""

    def __init__(self, known: Mapping[tuple[str, str], Price]) -> None:
        super().__init__()
        self._recorded = dict(known)

    def lookup(self, host: str, model: str, at: float) -> Price | None:
        """Return the price of then, else that of Unix time ``at``; a script's is 0."""
        if host == SCRIPT:
            return _UNPAID
        own = self._recorded.get((host, model.lower()))
        return own or super().lookup(host, model, at)


_LEDGERS: weakref.WeakKeyDictionary[Tape, Ledger] = weakref.WeakKeyDictionary()


def ledger_of(tape: Tape) -> Ledger:
    """Return the ledger of a replay: what it would have cost, apart from what did."""
    if tape not in _LEDGERS:
        known = {} if tape.source is None else tape.source.prices()
        written = isinstance(tape.source, Script)
        origin = SCRIPTED if written else "replayed, paid for when recorded"
        folder = tempfile.mkdtemp(prefix="kimikit-")
        file = Path(folder, "replay.sqlite3")
        ledger = Ledger(file, store="full", prices=RecordedPrices(known))
        ledger.origin = origin
        weakref.finalize(ledger, shutil.rmtree, folder, ignore_errors=True)
        _LEDGERS[tape] = ledger
    return _LEDGERS[tape]
