"""Decide when a request is sent again: after faults that pass and have cost nothing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kimikit import errors
from kimikit.secrets import redact
from kimikit.types import Wait
from kimikit.wire import endpoints, faults, network, options
from kimikit.wire.answer import Answer
from kimikit.wire.bodies import REDIRECTS, Bodies
from kimikit.wire.recorder import REPLAYED
from kimikit.wire.streams import AsyncStream, Stream
from kimikit.wire.unpack import BadPacking

LOOK_S = 5.0
"""What looking up the live models may take when one was not found."""
ERROR_BYTES = 2**20
"""Bytes of an error's body that are read."""

_S = TypeVar("_S", Stream, AsyncStream)
_T = TypeVar("_T")


class Tries(Bodies[_S]):
    """Trying again, for both clients.

    Attributes:
        retries: Tries after the first.
        unsent: What shows that a request did not reach the host.
        cut: What shows that a body ended early.
        silent: What shows that the host sent nothing for too long.
    """

    unsent: type[Exception]
    cut: type[Exception]
    silent: type[Exception]
    sending: Callable[..., Awaitable[Any]]
    _http: Any
    _sleep: Callable[[float], Awaitable[None]]

    async def _sent(self, request: Any, answer: Answer) -> Any:
        """Send a request once; return the open response of a success."""
        if answer.tries:
            answer.begin({})  # nothing of what came before is an answer
        for _ in range(REDIRECTS):
            response = await self._named(self._send(request), answer)
            answer.begin(response.headers, response.extensions.get(REPLAYED))
            status = response.status_code
            if answer.logs:
                faults.log(f"< {status} {response.headers}", *answer.sent.keys)
            if response.is_success:
                return response
            said, following = b"", response.next_request
            with contextlib.suppress(errors.HostError):
                said = await self.read(response, most=ERROR_BYTES)
            if following is None or not network.same_site(request, following):
                break
            request = following
        raise answer.refused(status, said)

    async def _named(self, step: Awaitable[_T], answer: Answer | None = None) -> _T:
        """Take a step; what fails on the way to the host becomes an error of ours."""
        try:
            return await step
        except self.lost as exc:
            raise self._failed(exc, answer) from exc
        except BaseException as exc:
            # The frames of other libraries hold the key: no traceback shows them.
            raise exc.with_traceback(None)  # noqa: B904 - it is the same one

    async def again(self, error: errors.HostError, answer: Answer) -> None:
        """Wait for another try, or raise the error if none can help."""
        answer.tries += 1
        wait = self._wait(error, answer)
        if wait is None:
            if isinstance(error, errors.ModelNotFound):
                faults.name_models(error, answer.call.model, await self._live())
            raise error
        answer.lost(error)
        if answer.watch is not None:
            answer.watch(wait)
        await self._sleep(self._pause(wait.seconds, answer))

    def _pause(self, seconds: float, answer: Answer) -> float:
        """Return the wait before another try; a recorded host need not be spared."""
        if answer.replayed is None:
            return seconds
        speed = answer.replayed.speed
        return seconds / speed if speed else 0.0

    async def whole(self, answer: Answer, **content: Any) -> bytes:
        """Return the whole body of an answer in one piece."""
        while True:
            response = await self.sending(answer, **content)
            file = io.BytesIO()
            try:
                await self.save(response, file, answer)
                if file.tell():
                    return file.getvalue()
                raise answer.no_answer(b"")
            except errors.HostError as error:
                if file.tell():
                    raise  # it was made and paid for
                await self.again(error, answer)

    def _wait(self, error: errors.HostError, answer: Answer) -> Wait | None:
        """Return the pause before the next try, if one is right and left."""
        unpackable = isinstance(error.__cause__, BadPacking)
        if answer.tries > self.retries or unpackable:
            return None
        asked = faults.retry_after(answer.headers, error.host_message)
        unsent = isinstance(error.__cause__, self.unsent)
        seconds = faults.pause(error, answer.tries - 1, asked, again=unsent)
        return None if seconds is None else Wait(seconds, error.what, answer.tries)

    async def _live(self) -> list[str]:
        """Look at the models that the host serves now; this never fails."""
        if "models" not in self.host.endpoints:
            return []
        url = self.path("models")
        headers = options.sent_headers(self.headers)
        request = self._http.build_request("GET", url, headers=headers, timeout=LOOK_S)
        with contextlib.suppress(errors.KimiError, *self.lost):
            response = await self._send(request)
            said = await self.read(response)
            if response.is_success:
                return [redact(name, self.key) for name in endpoints.model_ids(said)]
        return []

    async def settle(self, answer: Answer, exc: Exception | None) -> bool:
        """Judge an answer whose bytes have ended; say whether it is to be sent again.

        Raises:
            HostError: If it is none, and another try cannot help or would pay twice.
        """
        try:
            if exc is not None:
                self.check_end(answer, exc)
            answer.check()
        except errors.HostError as error:
            if answer.begun:
                raise
            await self.again(error, answer)
            return True
        return False

    def check_end(self, answer: Answer, exc: Exception) -> None:
        """Raise what a failed connection means here, unless it is just the end."""
        bare_end = isinstance(exc, self.cut)
        if answer.begun and (answer.complete or bare_end):
            return
        error = self._failed(exc, answer)
        error.__cause__ = exc
        raise answer.broken(error) if answer.begun else error

    def _failed(self, exc: Exception, answer: Answer | None) -> errors.HostError:
        """Return a failure of the network as an error, without its frames."""
        link: BaseException | None = exc
        while link is not None:
            link.__traceback__, link = None, link.__cause__ or link.__context__
        timeouts = self.timeouts if answer is None else answer.sent.timeouts
        keys = (self.key,) if answer is None else answer.sent.keys
        where, connect = self.host.title or self.host.name, timeouts["connect"]
        here = network.is_loopback(urlsplit(self.host.base_url).hostname or "")
        check = (
            "Start the server there, or correct" if here else "Check the network and"
        )
        remedy = f"{check} the address: {self.host.base_url}."
        remedy = network.proxy_remedy(self.host.base_url) or remedy
        kind: type[errors.HostError] = errors.TimedOut
        if isinstance(exc, self.unsent):
            what = f"No connection to {where} within {connect:g} s."
        elif isinstance(exc, self.silent):
            what = f"{where} was silent for too long."
            remedy = "Run it again, or allow more seconds with timeout=."
        elif isinstance(exc, BadPacking):
            what, kind = f"{where} sent {exc}.", errors.ConnectionFailed
        else:
            said = redact(str(exc), *keys) or type(exc).__name__
            what = f"The connection to {where} failed: {said.rstrip('.')}."
            kind = errors.ConnectionFailed
        return kind(what, remedy, host=self.host.name)
