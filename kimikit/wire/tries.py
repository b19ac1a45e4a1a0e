"""When a request is sent again: what passes, and has shown and cost nothing."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

from kimikit import errors
from kimikit.types import Wait
from kimikit.wire import endpoints, faults, options
from kimikit.wire.answer import Answer
from kimikit.wire.bodies import Bodies
from kimikit.wire.secrets import Key, redact
from kimikit.wire.unpack import BadPacking

LOOK_S = 5.0
"""What looking up the live models may take when one was not found."""
ERROR_BYTES = 2**20
"""Bytes of an error's body that are read."""


class Tries(Bodies):
    """Trying again, for both clients.

    Attributes:
        retries: Tries after the first.
        unsent: What shows that a request did not reach the host.
        cut: What shows that a body ended early.
    """

    key: Key
    headers: dict[str, str | None]
    retries: int
    unsent: type[Exception]
    cut: type[Exception]
    path: Callable[[str], str]
    sending: Callable[..., Awaitable[Any]]
    _http: Any
    _sleep: Callable[[float], Awaitable[None]]
    _failed: Callable[..., errors.HostError]

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
        await self._sleep(wait.seconds)

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
        try:
            response = await self._send(request)
            said = await self.read(response)
        except self.lost:
            return []
        except errors.KimiError:
            return []
        if not response.is_success:
            return []
        return [redact(name, self.key) for name in endpoints.model_ids(said)]

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
