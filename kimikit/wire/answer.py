"""One answer on its way: bytes in, deltas and a reply out, observers told. No I/O."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kimikit import errors
from kimikit.types import Call, Delta, Observer, Pricer, Reply, Usage, Watch
from kimikit.wire import faults, replies
from kimikit.wire.chunks import Folder, read_objects
from kimikit.wire.requests import offered
from kimikit.wire.sse import BOM, Decoder
from kimikit.wire.usage import estimate_prompt

PROGRESS_S = 0.2
"""Seconds between the estimates that observers get while an answer streams."""
FINISH_S = 10.0
"""Seconds to wait, after the finish of an answer, for its usage and its end."""

_SPACE = b" \t\r\n"


class Answer:
    """What a stream is made of, whoever pulls its bytes.

    Attributes:
        call: The request.
        ended: Whether nothing more is wanted from the connection.
        stopped: Whether the user stopped it.
        headers: Those of the host's response, once it has come.
        patience: Seconds that the connection may be silent now.
        watch: The live view.
    """

    def __init__(
        self,
        call: Call,
        *,
        observers: Iterable[Observer] = (),
        pricer: Pricer | None = None,
        watch: Watch | None = None,
        secrets: Iterable[str] = (),
        patience: tuple[float, float] = (600.0, 300.0),
    ) -> None:
        self.call = call
        self.ended = False
        self.stopped = False
        self.headers: Mapping[str, str] = {}
        self.first_token_s: float | None = None
        self._observers = tuple(observers)
        self._told: list[Observer] = []
        self._pricer = pricer
        self.watch = watch
        self._shown = False
        self._watched = True
        self.patience, self._gap_s = patience
        self._secrets = tuple(secrets)
        self._decoder = Decoder()
        messages = call.body.get("messages") or [{}]
        self._folder = Folder(
            offered=offered(call.body),
            many=(call.body.get("n") or 1) > 1,
            lead=call.endpoint == "chat" and messages[-1].get("role") != "assistant",
        )
        self._start = time.perf_counter()
        self._duration_s: float | None = None
        self._next_progress = self._start + PROGRESS_S
        self._prompt_tokens = 0
        self._body: list[bytes] | None = []
        self._is_whole = False
        self._whole: dict[str, Any] | None = None
        self._logs = faults.logs()
        self._finished = False
        self._final: Reply | None = None

    def open(self) -> None:
        """Tell the observers; one that refuses ends the call before it is sent."""
        for observer in self._observers:
            try:
                observer.opened(self.call)
            except BaseException as exc:
                self.close(exc)
                raise
            self._told.append(observer)

    def feed(self, data: bytes) -> list[Delta]:
        """Take bytes of the answer, cut anywhere; return the steps they make."""
        if self._body is not None:
            data = self._sniff(data)
            if not data:
                return []
        events = self._decoder.feed(data)
        if self._logs:
            for event in events:
                faults.log(f"< {event.decode('utf-8', 'replace')}", *self._secrets)
        deltas = self._folder.feed(events)
        if deltas:
            if self._watched:
                self._show(deltas)
            if deltas[-1].finish_reason and self.complete:
                self.patience = FINISH_S
        if self._decoder.done or self._folder.error:
            self.ended = True
        return deltas

    def take(self, found: Any) -> None:
        """Take the JSON of an endpoint that answers in one piece."""
        if isinstance(found, dict):
            kept = {k: v for k, v in found.items() if k not in ("data", "results")}
            self._whole = kept
            self._folder.take(kept)
        self._finished = self._shown = True

    def _sniff(self, data: bytes) -> bytes:
        """Keep a body that is no event stream whole: plain JSON, or a page of HTML."""
        assert self._body is not None
        self._body.append(data)
        if self._is_whole:
            return b""
        said = b"".join(self._body)
        start = said.removeprefix(BOM).lstrip(_SPACE)
        self._is_whole = start[:1] in (b"{", b"<", b"[")
        if self._is_whole or BOM.startswith(start):
            self._body = [start or said.lstrip(_SPACE)]
            return b""
        self._body = None
        self.patience = self._gap_s
        return said

    @property
    def begun(self) -> bool:
        """Whether anything of the answer itself has arrived."""
        return self._shown or bool(self._folder.head or self._folder.tally.raw)

    @property
    def complete(self) -> bool:
        """Whether every choice has its finish; what follows is at most the usage."""
        return all(choice.finish_reason for choice in self._folder.choices.values())

    def finish(self) -> list[Delta]:
        """Note that no more bytes come; return the last steps."""
        deltas = []
        if self._body is not None:
            found = read_objects(b"".join(self._body).removeprefix(BOM))
            self._whole = found[0] if found else None
            for value in found:
                deltas += self._folder.take(value)
        else:
            deltas += self._folder.feed(self._decoder.finish())
        deltas += self._folder.finish()
        self._finished = True
        if deltas:
            self._show(deltas)
        return deltas

    def _show(self, deltas: list[Delta]) -> None:
        now = time.perf_counter()
        self._shown = True
        self._watched = self.watch is not None or bool(self._told)
        if self.first_token_s is None and self._body is None:
            self.first_token_s = now - self._start
        if self.watch is not None:
            for delta in deltas:
                self.watch(delta)
        if now > self._next_progress and self._told:
            self._next_progress = now + PROGRESS_S
            usage = self._estimate()
            for observer in self._told:
                observer.progressed(self.call, usage)

    def failure(self) -> errors.HostError | None:
        """Return what the host reported inside its answer, if it did."""
        reported = self._folder.error
        if self._decoder.error:
            said = self._decoder.error
            found = read_objects(said) or [{"error": said.decode("utf-8", "replace")}]
            reported = found[0]
        if reported is None:
            return self._no_answer() if self._finished else None
        cause = faults.status_error(
            faults.read_report(reported).code,
            self.headers,
            reported,
            host=self.call.host,
            sent=self.call.body,
            secrets=self._secrets,
        )
        return cause if self._body is not None else self.broken(cause)

    def _no_answer(self) -> errors.HostError | None:
        """Tell what is no completion at all, such as a page of HTML, from one."""
        if self.begun:
            return None
        host = self.call.host
        body = self._decoder.stray if self._body is None else b"".join(self._body)
        said = faults.read_report(body).message if body.strip() else ""
        said = faults.redact(said, self._secrets)
        what = f"{host.title or host.name} ended without an answer."
        if said:
            what = f"{host.title or host.name} sent something else: {said!r:.200}."
        return (errors.StatusError if said else errors.ConnectionFailed)(
            what,
            f"Run it again, or check the address: base_url is {host.base_url}.",
            status=200,
            host=host.name,
            request_id=faults.request_id(self.headers),
            host_message=said,
            body=faults.redact(body.decode("utf-8", "replace"), self._secrets),
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

    def close(self, error: BaseException | None = None) -> None:
        """Fix the reply and tell the observers that it is over, once."""
        if self._final is not None:
            return
        self._duration_s = time.perf_counter() - self._start
        if not self._finished:
            self._folder.finish()
        self._final = self._reply()
        begun = self.begun
        if isinstance(error, errors.StreamError) or (
            isinstance(error, errors.BudgetExceeded) and begun
        ):
            error.reply = self._final
        failed = error is not None and not self.stopped
        for observer in self._told:
            try:
                observer.closed(
                    self.call,
                    self._final if begun or not failed else None,
                    error if failed else None,
                )
            except Exception as exc:
                # The answer is paid for and must not be lost with its record.
                warnings.warn(f"{observer!r} failed: {exc}", RuntimeWarning, 2)

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
            replies.of_choice(choice, call, ended=done or whole)
            for choice in folder.in_order()
        ]
        main = made[0]
        usage = folder.tally.total() or self._estimate()
        cut = over and not (self.stopped or done or whole)
        truncated = cut and main.finish_reason in (None, "error")
        main = msgspec.structs.replace(
            main,
            model=str(folder.head.get("model") or call.model),
            id=str(folder.head.get("id") or ""),
            usage=usage,
            first_token_s=self.first_token_s,
            duration_s=self._duration_s or time.perf_counter() - self._start,
            partial=self.stopped,
            truncated=truncated,
            alternatives=tuple(made[1:]),
            raw=self._whole or replies.raw(made, folder),
        )
        notes = replies.notes(main, folder, call, whole=whole) if over else ()
        return msgspec.structs.replace(
            main, notes=tuple(notes), cost=replies.cost(main, call, self._pricer)
        )

    def _estimate(self) -> Usage:
        self._prompt_tokens = self._prompt_tokens or estimate_prompt(self.call.body)
        choices = self._folder.choices.values()
        reasoning = math.ceil(sum(c.reasoning.tokens() for c in choices))
        answer = math.ceil(sum(c.text.tokens() + c.calls.tokens() for c in choices))
        return Usage(
            self._prompt_tokens, answer + reasoning, 0, reasoning, estimated=True
        )
