"""Take bytes in, give deltas and a reply out, and tell observers; no I/O is here."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

import msgspec

from kimikit import errors
from kimikit.secrets import forget_locals, redact
from kimikit.types import Call, Delta, Observer, Pricer, Reply, Usage, Watch
from kimikit.wire import faults, options, replies
from kimikit.wire.chunks import Folder, read_objects
from kimikit.wire.coerce import mend
from kimikit.wire.observers import tell_closed
from kimikit.wire.recorder import Replayed
from kimikit.wire.reports import read_report
from kimikit.wire.sse import BOM, Decoder
from kimikit.wire.unpack import BadPacking, Unpacker, is_packed, unpacker
from kimikit.wire.usage import at_least, estimate_prompt
from kimikit.wire.weigh import weigh

PROGRESS_S = 0.2
"""Seconds between the estimates that observers get while an answer streams."""
LOOK_CHARS = 128
"""Characters of an answer after which observers look at it in between, for a limit."""
FINISH_S = 10.0
"""Seconds to wait, after the finish of an answer, for its usage and its end."""


MOST_BYTES = 512 * 2**20
"""Bytes of an answer in one piece beyond which nobody can want it."""
NAME_LIMIT = 200
"""Characters of a model's name, an id or a reason that are kept of a host's words."""


class Request(NamedTuple):
    """What is sent, as no observer sees it.

    Attributes:
        body: The JSON of the request.
        headers: Its own headers.
        timeouts: Its patience: ``connect``, ``first_byte`` and ``gap``.
        keys: What must not show: the key, and secrets in body and headers.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    timeouts: dict[str, float]
    keys: tuple[str, ...]


class Answer:
    """What a stream is made of, whoever pulls its bytes; entered while it runs.

    Attributes:
        call: The request, as it may be shown and stored.
        sent: The request as it is sent.
        tries: How often it was sent again.
        watch: The live view.
        logs: Whether what goes over the wire is shown.
        headers: Those of the host's last response.
        replayed: What it comes from, if it was recorded.
        ended: Whether nothing more is wanted from the connection.
        patience: Seconds that the connection may be silent now.
    """

    def __init__(
        self,
        call: Call,
        sent: Request | None = None,
        *,
        observers: Iterable[Observer] = (),
        pricer: Pricer | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.call = call
        self.sent = sent or Request(call.body, {}, options.timeouts(None), ())
        self.tries = 0
        self.watch = watch
        self.observers = observers
        self._told: list[Observer] = []
        self._pricer = pricer
        self.logs = faults.logs()
        self._start = time.perf_counter()
        self._next_progress = self._start + PROGRESS_S
        self._unseen, self._guess = 0, Usage(estimated=True)
        self._weights: dict[tuple[int, int], tuple[int, float]] = {}
        self._first_token_s: float | None = None
        self._duration_s: float | None = None
        self._shown = False
        self._watched = True
        self._stopped = False
        self._final: Reply | None = None
        self._untouched = False
        self.begin({})
        call.arrived = self._arrived

    def begin(
        self, headers: Mapping[str, str], replayed: Replayed | None = None
    ) -> None:
        """Expect a response with these headers; what came before it is no answer."""
        self.headers = headers
        self.replayed = replayed
        self.call.replayed = replayed.label if replayed else ""
        self.patience = self.sent.timeouts["first_byte"]
        self._unpack: Unpacker | None = unpacker(headers)
        if self._untouched:
            return
        self.ended, self._untouched = False, True
        self._decoder = Decoder()
        self._folder = Folder(self.call)
        self._streams: bool | None = None  # not known until the first bytes
        self._body = bytearray()
        self._whole: dict[str, Any] | None = None

    def _passed(self) -> float:
        """Return the seconds from sending till now; a recorded answer's are its own."""
        if self.replayed is not None:
            return self.replayed.elapsed_s
        return time.perf_counter() - self._start

    def __enter__(self) -> Self:
        """Tell the observers; one that refuses ends the call before it is sent."""
        for observer in self.observers:
            try:
                observer.opened(self.call)
            except BaseException as exc:
                self._close(exc)
                raise
            self._told.append(observer)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._close(error)
        forget_locals(error, "kimikit.wire")

    def feed(self, data: bytes) -> list[Delta]:
        """Take bytes of the answer, cut anywhere; return the steps they make."""
        self._untouched = False
        if self._unpack is not None:
            data = self._unpack.feed(data)
        if not self._streams:
            data = self._sniff(data)
        events = self._decoder.feed(data)
        if self.logs:
            for event in events:
                faults.log(f"< {faults.decode(event)}", *self.sent.keys)
        deltas = self._folder.feed(events)
        if deltas:
            if self._watched:
                self._show(deltas)
            if deltas[-1].finish_reason and self.complete:
                self.patience = FINISH_S
        if self._decoder.done or self._folder.error:
            self.ended = True
        return deltas

    def _sniff(self, data: bytes) -> bytes:
        """Keep a body that is no event stream whole: plain JSON, or a page of HTML."""
        self._body += data
        if len(self._body) > MOST_BYTES:
            raise BadPacking(f"more than {MOST_BYTES:,} bytes in one piece")
        if self._streams is None:
            if self._body == b"\x1f":
                return b""  # whether it is packed, the next byte says
            if is_packed(self._body[:2]) and self._unpack is None:
                # It is packed and no header says so.
                self._unpack = Unpacker("gzip")
                packed, self._body = bytes(self._body), bytearray()
                return self._sniff(self._unpack.feed(packed))
            start = self._body.removeprefix(BOM).lstrip()
            if start.startswith((b"{", b"<", b"[")):
                self._streams = False
            elif not BOM.startswith(start):
                self._streams = True
                self.patience = self.sent.timeouts["gap"]
                return bytes(self._body)
        return b""

    def take(self, found: Any) -> None:
        """Take the JSON of an endpoint that answers in one piece."""
        self._untouched = False
        made = ("data", "results", "embedding", "embeddings")
        told = found.items() if isinstance(found, dict) else ()
        self._whole = kept = mend({k: v for k, v in told if k not in made})
        self._folder.take(kept)
        self._shown = True

    def finish(self) -> list[Delta]:
        """Note that no more bytes come; return the last steps."""
        self._untouched = False
        if self._streams:
            deltas = self._folder.feed(self._decoder.finish())
        else:
            found = read_objects(bytes(self._body).removeprefix(BOM))
            self._whole = mend(found[0]) if found else None
            deltas = [step for value in found for step in self._folder.take(value)]
        deltas += self._folder.finish()
        if deltas:
            self._show(deltas, last=True)
        return deltas

    @property
    def begun(self) -> bool:
        """Whether anything of the answer was shown, so that it is not redone."""
        return self._shown

    @property
    def complete(self) -> bool:
        """Whether every choice has its finish; what follows is at most the usage."""
        return all(choice.finish_reason for choice in self._folder.choices.values())

    def _show(self, deltas: list[Delta], *, last: bool = False) -> None:
        now = time.perf_counter()
        self._shown = True
        self._watched = self.watch is not None or bool(self._told)
        if self._first_token_s is None and self._streams:
            self._first_token_s = self._passed()
        if self.watch is not None:
            for delta in deltas:
                self.watch(delta)
        if last or not self._told:
            return  # observers are told of the end in a moment
        for delta in deltas:
            self._unseen += len(delta.text) + len(delta.reasoning)
            if delta.calls:
                self._unseen += sum(len(part.arguments) for part in delta.calls)
        timely = now > self._next_progress
        if timely or self._unseen >= LOOK_CHARS:
            self._unseen = 0
            if timely:
                self._next_progress = now + PROGRESS_S
                self._guess = self._so_far()
            for observer in self._told:
                observer.progressed(self.call, self._guess)

    def _arrived(self) -> list[bytes | bytearray]:
        """Return the bytes of the answer so far, and of its calls."""
        pieces: list[bytes | bytearray] = []
        for choice in self._folder.choices.values():
            pieces += choice.pieces()
        return pieces

    def _so_far(self) -> Usage:
        """Return the usage so far, from what is new in each piece: this is linear."""
        for index, choice in self._folder.choices.items():
            for place, piece in enumerate(choice.pieces()):
                seen, weight = self._weights.get((index, place), (0, 0.0))
                if len(piece) > seen:
                    new = piece[seen:].decode("utf-8", "ignore")
                    self._weights[index, place] = len(piece), weight + weigh(new)
        tokens = math.ceil(sum(weight for _, weight in self._weights.values()))
        return Usage(self._prompt_tokens, tokens, estimated=True)

    def lost(self, error: errors.HostError) -> None:
        """Tell observers of a request that was sent, and is going to be sent again."""
        for observer in self._told:
            tell = getattr(observer, "lost", None)
            if tell is not None:
                try:
                    tell(self.call, error)
                except errors.BudgetExceeded:
                    raise
                except Exception as exc:
                    errors.warn(f"{observer!r} failed: {exc}")

    def check(self) -> None:
        """Raise what the host reported inside its answer, or that it gave none."""
        folder, said = self._folder, self._decoder.error
        reported = folder.error
        if said:
            (reported, *_) = read_objects(said) or [{"error": faults.decode(said)}]
        if reported is not None:
            cause = self.refused(read_report(reported).code, reported)
            raise self.broken(cause) if self._shown else cause
        if self._shown:
            return
        if not folder.answered:
            odd = self._whole or folder.odd
            if odd is not None:
                raise self.refused(200, odd)
            body = self._decoder.stray if self._streams else self._body
            raise self.no_answer(body)
        if self._streams and not self._decoder.done:
            raise self._silent("broke off before its first token")

    def refused(self, status: int, body: bytes | dict[str, Any]) -> errors.StatusError:
        """Return the error of what the host sent in place of an answer."""
        keys = self.sent.keys
        return faults.status_error(status, self.headers, body, self.call, *keys)

    def no_answer(self, body: bytes | bytearray) -> errors.HostError:
        """Return the error of a success that is no answer, such as a page of HTML."""
        if body.strip():
            return self.refused(200, bytes(body))
        return self._silent("ended without an answer")

    def _silent(self, how: str) -> errors.ConnectionFailed:
        host = self.call.host
        return errors.ConnectionFailed(
            f"{host.title or host.name} {how}.",
            f"Run it again, or check the address: base_url is {host.base_url}.",
            status=200,
            host=host.name,
            request_id=faults.request_id(self.headers, *self.sent.keys),
        )

    def broken(self, cause: errors.HostError) -> errors.StreamError:
        """Return ``cause`` as the error of a stream that had begun, with its reply."""
        error = errors.StreamError(
            f"The stream broke off. {cause.what}",
            f"What had arrived is in this error's .reply. {cause.remedy}",
            reply=self.reply,
            status=cause.status,
            host=cause.host,
            request_id=cause.request_id,
            host_message=cause.host_message,
            body=cause.body,
        )
        error.__cause__ = cause
        return error

    def _close(self, error: BaseException | None) -> None:
        """Fix the reply and tell the observers that it is over."""
        # Stop, a cancelled task and a stream that is left are no ``Exception``.
        self._stopped = error is not None and not isinstance(error, Exception)
        self._duration_s = self._passed()
        self._folder.finish()
        self._final = reply = self._reply()
        if isinstance(error, errors.StreamError) or (
            isinstance(error, errors.BudgetExceeded) and self.begun
        ):
            error.reply = reply
        failed = None if self._stopped else error
        kept = reply if self.begun or failed is None else None
        tell_closed(self._told, self.call, kept, failed)

    @property
    def reply(self) -> Reply:
        """The reply so far, or the final one."""
        return self._final or self._reply()

    def _reply(self) -> Reply:
        folder, call = self._folder, self.call
        over = self._duration_s is not None
        done = self._decoder.done and not self._decoder.error and not folder.error
        whole = self._whole is not None
        made = [
            replies.of_choice(choice, folder, ended=done or whole)
            for choice in folder.in_order()
        ]
        main = made[0]
        usage = folder.tally.total(call.body)
        cut = over and not (self._stopped or done or whole)
        told = usage and usage.prompt_tokens and usage.completion_tokens
        if usage is None or (over and not told) or cut:
            usage = at_least(usage, self._estimate(), split=folder.tally.only_total)
        reason = main.finish_reason
        main = msgspec.structs.replace(
            main,
            finish_reason=self._name(reason) or None,
            model=self._name(folder.head.get("model")) or call.model,
            id=self._name(folder.head.get("id")),
            usage=usage,
            first_token_s=self._first_token_s,
            duration_s=self._duration_s or self._passed(),
            partial=self._stopped,
            truncated=replies.broke_off(reason, cut=cut),
            alternatives=tuple(made[1:]),
            raw=self._whole or replies.raw(made, folder),
        )
        notes = replies.notes(main, folder, whole=whole) if over else ()
        return msgspec.structs.replace(
            main, notes=tuple(notes), cost=replies.cost(main, call, self._pricer)
        )

    def _name(self, said: object) -> str:
        """Return a short word of the host as it may be shown and stored."""
        text = said if isinstance(said, str) else "" if said is None else str(said)
        return redact(text[: 2 * NAME_LIMIT], *self.sent.keys)[:NAME_LIMIT]

    @functools.cached_property
    def _prompt_tokens(self) -> int:
        return estimate_prompt(self.call.body)

    def _estimate(self) -> Usage:
        choices = self._folder.choices.values()
        reasoning = math.ceil(sum(weigh(c.reasoning.decode()) for c in choices))
        answer = math.ceil(
            sum(weigh(c.text.decode()) + c.calls.tokens() for c in choices)
        )
        return Usage(
            self._prompt_tokens, answer + reasoning, 0, reasoning, estimated=True
        )
