"""Record and replay, between the clients and the network."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from kimikit.errors import KimiError, warn
from kimikit.replay.file import RecordingFile
from kimikit.replay.masks import mask_of, masked_answer
from kimikit.replay.questions import Question, name_of, priced_models, question
from kimikit.replay.script import Script
from kimikit.secrets import redact
from kimikit.types import Host, Price
from kimikit.wire.recorder import STOPPED, Asked, Exchange, Recorded, Replayed

_HEADERS = re.compile(
    r"content-(?:type|encoding|length)|location|retry-after.*|.*ratelimit.*"
    r"|(?:x-)?request-id|x-trace-id|cf-ray|x-together-file-id"
)
"""Headers that change what a client does or says."""

PriceAt = Callable[[str, str, float], Price | None]


class Kept(NamedTuple):
    """A question and its answer as a recording holds them, without keys.

    Attributes:
        question: What was asked.
        answer: What came of it.
        host: Who was asked.
        models: What may price it.
    """

    question: Question
    answer: Recorded
    host: Host
    models: list[str]


Source = RecordingFile | Script
"""Where answers come from; both have the same methods."""


class Tape:
    """A recorder: replays what its source has, records into its file what is new.

    Args:
        source: What is replayed, if anything.
        file: What is recorded into; without one, the network is never asked.
        speed: 1 replays as fast as it was, 2 twice as fast, ``None`` at once.
        cycle: Whether answers begin again when a question is asked more often than
            they were recorded.

    Attributes:
        offline: Whether the network is never asked.
        price: Finds the price of the day, where anything does.
    """

    def __init__(
        self,
        source: Source | None = None,
        file: RecordingFile | None = None,
        *,
        speed: float | None = 1.0,
        cycle: bool = False,
    ) -> None:
        self.source = source
        self.file = file
        self.speed = speed
        self.offline = file is None
        self._cycle = cycle
        self.price: PriceAt | None = None
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def asked(self, asked: Asked) -> Exchange | Replayed:
        """Take a request: answer it from the source, or record what comes of it.

        Raises:
            NotRecorded: If it has no answer and the network is not to be asked.
        """
        made = question(asked)
        if self.source is not None:
            answer = self._found(made, self.source)
            if answer is not None:
                return Replayed(answer, self.source.label(answer), self.speed)
        return _Recording(self, made, asked)

    def _found(self, asked: Question, source: Source) -> Recorded | None:
        with self._lock:
            number = self._asked[asked.key]
            self._asked[asked.key] += 1
        # What failed or was stopped is worth another try where one can be had.
        answer = source.find(asked, number, good=not self.offline)
        if answer is not None or not self.offline:
            return answer
        times = source.count(asked)
        if times and self._cycle:
            return source.find(asked, number % times, good=False)
        raise source.missing(asked, times)

    def host(self, name: str | None) -> Host | None:
        """Return a recorded host by its name; without one, the first that answered."""
        known = [] if self.source is None else self.source.hosts()
        found = (host for host in known if name in (None, name_of(host)))
        return next(found, None)

    def keep(self, asked: Asked, made: Question, answer: Recorded) -> None:
        """Write an answer down; whatever happens to the file, it is not lost."""
        self._add(lambda: [_kept(asked, made, answer)])

    def take(self, kept: Iterable[Kept]) -> None:
        """Write down what a ``Carrier`` brought."""
        self._add(lambda: kept)

    def _add(self, kept: Callable[[], Iterable[Kept]]) -> None:
        if self.file is None:
            return
        try:
            for made, answer, host, models in kept():
                self.file.add(made, answer, host, self._prices(host, models, answer))
        except Exception as exc:
            why = exc.what if isinstance(exc, KimiError) else redact(str(exc))
            warn(
                f"An answer could not be recorded in {self.file.path.name}: {why} "
                "Free some space or record into another file; the answer is kept."
            )

    def _prices(
        self, host: Host, models: list[str], answer: Recorded
    ) -> dict[str, Price]:
        """Return the prices of the day of an answer, of what may price it."""
        if self.price is None:
            return {}
        found = [(m, self.price(host.name, m, answer.created)) for m in models]
        return {model: price for model, price in found if price is not None}


class Carrier:
    """A recorder on a worker: what it kept goes back to who asked, without keys."""

    offline = False
    speed = None

    def __init__(self) -> None:
        self._kept: list[Kept] = []

    def asked(self, asked: Asked) -> Exchange:
        """Take a request, and keep what comes of it."""
        return _Recording(self, question(asked), asked)

    def keep(self, asked: Asked, made: Question, answer: Recorded) -> None:
        """Keep an answer until it is taken."""
        self._kept.append(_kept(asked, made, answer))

    def taken(self) -> list[Kept]:
        """Return what was kept since this was called last."""
        kept, self._kept = self._kept, []
        return kept


def _kept(asked: Asked, made: Question, answer: Recorded) -> Kept:
    mask = mask_of(*asked.keys)
    headers, pieces, failed = masked_answer(answer.headers, answer.pieces, mask)
    good = answer.good and not failed
    return Kept(
        msgspec.structs.replace(made, sent=b""),
        msgspec.structs.replace(answer, headers=headers, pieces=pieces, good=good),
        asked.host,
        priced_models(asked.body, answer.pieces),
    )


class _Recording:
    """A request that goes to its host, and what comes of it."""

    def __init__(self, tape: Tape | Carrier, made: Question, asked: Asked) -> None:
        self._tape = tape
        self._made = made
        self._asked = asked
        self._created = time.time()
        self._start = time.perf_counter()
        self._head_s = 0.0
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._pieces: list[tuple[float, bytes]] = []
        self._over = False

    def _passed(self) -> float:
        return time.perf_counter() - self._start

    def began(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Note the head of the answer."""
        self._status, self._head_s = status, self._passed()
        kept = [(n.lower(), v) for n, v in headers if _HEADERS.fullmatch(n.lower())]
        keys = self._asked.keys
        self._headers = [(name, redact(value, *keys)) for name, value in kept]

    def took(self, data: bytes) -> None:
        """Note a piece of its body."""
        self._pieces.append((self._passed(), data))

    def ended(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """Note its end, once: with an error, or left by the client before it came."""
        if self._over:
            return
        self._over = True
        failure = self._failure(error, left=left)
        answer = Recorded(
            created=self._created,
            status=self._status,
            headers=self._headers,
            head_s=self._head_s,
            pieces=self._pieces,
            failure=failure,
            failure_s=self._passed() if failure else 0.0,
            good=failure is None and 200 <= self._status < 300,
        )
        self._tape.keep(self._asked, self._made, answer)

    def _failure(
        self, error: BaseException | None, *, left: bool
    ) -> tuple[str, str] | None:
        # A client leaves a stream that is over, to have its connection back.
        if left and not self._complete():
            return STOPPED, ""
        if error is None:
            return None
        stops = KeyboardInterrupt, asyncio.CancelledError, GeneratorExit
        if isinstance(error, stops):
            return STOPPED, ""
        return type(error).__name__, redact(str(error), *self._asked.keys)

    def _complete(self) -> bool:
        if not self._pieces:
            return False
        tail = b"".join(data for _, data in self._pieces[-8:])
        if b"[DONE]" in tail[-200:]:
            return True
        length = dict(self._headers).get("content-length", "")
        return length.isdigit() and sum(len(d) for _, d in self._pieces) >= int(length)
