"""Clients, sync and async, over one shared base; the only file that knows httpx."""

from __future__ import annotations

import contextlib
import functools
import io
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar

import httpx
import msgspec

from kimikit import errors
from kimikit.types import Reply, Wait
from kimikit.wire import endpoints, faults
from kimikit.wire.answer import Answer
from kimikit.wire.base import Base
from kimikit.wire.streams import AsyncStream, Stream, at_once

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]

LOOK_S = 5.0
"""What looking up the live models may take when one was not found."""
IDLE_S = 60.0
"""How long an unused connection is kept for the next question."""

_S = TypeVar("_S", Stream, AsyncStream)
_T = TypeVar("_T")
_P = ParamSpec("_P")


class _Wire(Base[_S]):
    """When a request is sent again and what a failed connection means.

    All I/O is written once, as coroutines over three steps that each client takes in
    its own way. Those of ``Client`` block, so its coroutines never wait: ``at_once``
    runs them to their end.
    """

    lost = (httpx.HTTPError, httpx.StreamError)
    _http: Any
    _send: Callable[..., Awaitable[httpx.Response]]
    _save: Callable[[httpx.Response, BinaryIO], Awaitable[None]]
    _sleep: Callable[[float], Awaitable[None]]

    def _settings(self, transport: Any) -> dict[str, Any]:
        headers = {"user-agent": "kimikit"}
        if self.key.value:
            headers["authorization"] = f"Bearer {self.key.value}"
        first, connect = self.timeouts["first_byte"], self.timeouts["connect"]
        settings: dict[str, Any] = {
            "headers": headers,
            "timeout": httpx.Timeout(first, connect=connect, pool=None),
            "limits": httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S),
            "transport": transport,
        }
        if self.host.base_url.startswith("http://"):
            # Loading certificates takes longer than a call to this machine; a context
            # without any refuses every TLS peer, so nothing is weakened.
            settings["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if httpx.URL(self.host.base_url).host in ("localhost", "127.0.0.1", "::1"):
            settings["trust_env"] = False  # no proxy leads to this machine
        return settings

    async def sending(self, answer: Answer, **content: Any) -> httpx.Response:
        """Send a call, again where that can help; return the open response."""
        call = answer.call
        url = self.path(call.endpoint)
        if self._http.is_closed:
            raise errors.BadInput("The client is closed.", "Make a new one.")
        if call.body and not content:
            content["content"] = msgspec.json.encode(call.body)
            content["headers"] = {"content-type": "application/json"}
        method = "POST" if call.body else "GET"
        request = self._http.build_request(method, url, **content)
        tries = 0
        while True:
            faults.log(f"> {method} {url} {call.body}", self.key.value)
            try:
                return await self._sent(request, answer)
            except errors.HostError as error:
                tries += 1
                wait = self._wait(error, answer, tries)
                if wait is None:
                    if isinstance(error, errors.ModelNotFound):
                        faults.name_models(error, call.model, await self._live())
                    raise
            if answer.watch is not None:
                answer.watch(wait)
            await self._sleep(wait.seconds)

    async def _sent(self, request: httpx.Request, answer: Answer) -> httpx.Response:
        """Send a request once; return the open response of a success."""
        answer.headers = {}
        response = await self._named(self._send(request))
        answer.headers = response.headers
        faults.log(f"< {response.status_code} {response.headers}", self.key.value)
        if response.is_success:
            return response
        said = b""
        with contextlib.suppress(errors.HostError):
            said = await self.read(response)
        raise answer.refused(response.status_code, said)

    def _wait(self, error: errors.HostError, answer: Answer, tries: int) -> Wait | None:
        """Return the pause before the next try, if one is right and left."""
        if tries > self.retries:
            return None
        asked = faults.retry_after(answer.headers, error.host_message)
        unsent = isinstance(error.__cause__, httpx.ConnectTimeout)
        seconds = faults.pause(error, tries - 1, asked, again=unsent)
        return None if seconds is None else Wait(seconds, error.what, tries)

    async def _live(self) -> list[str]:
        """Look at the models that the host serves now; this never fails."""
        if "models" not in self.host.endpoints:
            return []
        url = self.path("models")
        request = self._http.build_request("GET", url, timeout=LOOK_S)
        return endpoints.model_ids(await self._found(request))

    async def fetching(self, url: str) -> bytes:
        """Return a file of the web; empty if it cannot be had.

        It may lie anywhere, so the request is bare: it carries no key.
        """
        limits = httpx.Timeout(LOOK_S, read=60.0).as_dict()
        try:
            request = httpx.Request("GET", url, extensions={"timeout": limits})
        except httpx.InvalidURL:
            return b""
        return await self._found(request)

    async def _found(self, request: httpx.Request) -> bytes:
        try:
            response = await self._send(request, follow_redirects=True)
            said = await self.read(response)
        except (*self.lost, errors.HostError):
            return b""
        return said if response.is_success else b""

    async def read(self, response: httpx.Response) -> bytes:
        """Return a whole body."""
        said = io.BytesIO()
        await self.save(response, said)
        return said.getvalue()

    async def save(self, response: httpx.Response, file: BinaryIO) -> None:
        """Write a whole body into ``file``."""
        await self._named(self._save(response, file))

    async def _named(self, step: Awaitable[_T]) -> _T:
        """Take a step; what fails on the way to the host becomes an error of ours."""
        try:
            return await step
        except self.lost as exc:
            raise self._failed(exc) from exc

    def _failed(self, exc: Exception) -> errors.HostError:
        where, connect = self.host.title or self.host.name, self.timeouts["connect"]
        remedy = f"Check the network and the address: {self.host.base_url}."
        kind: type[errors.HostError] = errors.TimedOut
        if isinstance(exc, httpx.ConnectTimeout):
            what = f"No connection to {where} within {connect:g} s."
        elif isinstance(exc, httpx.TimeoutException):
            what = f"{where} was silent for too long."
            remedy = "Run it again, or allow more seconds with timeout=."
        else:
            said = faults.redact(str(exc), self.key.value) or type(exc).__name__
            what = f"The connection to {where} failed: {said.rstrip('.')}."
            kind = errors.ConnectionFailed
        return kind(what, remedy, host=self.host.name)

    def check_end(self, answer: Answer, exc: Exception) -> None:
        """Raise what a failed connection means here, unless it is just the end."""
        bare_end = isinstance(exc, httpx.RemoteProtocolError)
        if answer.complete or (bare_end and answer.begun):
            return
        error = self._failed(exc)
        error.__cause__ = exc
        raise answer.broken(error) if answer.begun else error

    def body(self, response: httpx.Response) -> Any:
        """Return the chunks of a response; unpacked only where the host packed them."""
        if "content-encoding" not in response.headers:
            return response.stream
        if isinstance(response.stream, httpx.AsyncByteStream):
            return response.aiter_bytes()
        return response.iter_bytes()


def _blocking(
    plan: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Client, _P], _T]:
    @functools.wraps(plan)
    def method(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return at_once(plan(self, *args, **kwargs))

    return method


class Client(_Wire[Stream]):
    """A client of one host."""

    __doc__ = f"""{Base.__doc__}
    Example:
        >>> known = dict(kimi.openai_kwargs(), model=kimi.host.model)
        >>> with Client(**known, temperature=0) as client:
        ...     client.chat("What is the capital of Germany?").text
        'The capital of Germany is Berlin.'
    """
    _stream = Stream

    def _connect(self, transport: Any) -> None:
        self._http = httpx.Client(**self._settings(transport))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def chat(self, messages: Any, **options: Any) -> Reply:
        """Ask and wait for the whole answer; arguments as of ``stream``.

        An interrupt (the notebook's Stop) closes the connection and returns what had
        arrived, as a ``partial`` reply.
        """
        return self._whole(self.stream(messages, **options))

    def complete(self, prompt: str, **options: Any) -> Reply:
        """Continue ``prompt`` as plain text; Together takes a ``safety_model`` too."""
        return self._whole(self._completion(prompt, **options))

    def _whole(self, stream: Stream) -> Reply:
        # A stopped reply says itself that it is partial.
        with contextlib.suppress(KeyboardInterrupt), stream:
            for _ in stream:
                pass
        return stream.reply

    embed = _blocking(endpoints.embed)
    rerank = _blocking(endpoints.rerank)
    image = _blocking(endpoints.image)
    speak = _blocking(endpoints.speak)
    transcribe = _blocking(endpoints.transcribe)
    models = _blocking(endpoints.models)
    balance = _blocking(endpoints.balance)
    count_tokens = _blocking(endpoints.count_tokens)
    fetch = _blocking(_Wire.fetching)

    async def _send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response: httpx.Response = self._http.send(request, stream=True, **options)
        return response

    async def _save(self, response: httpx.Response, file: BinaryIO) -> None:
        for chunk in response.iter_bytes():
            file.write(chunk)

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - no event loop runs this


class AsyncClient(_Wire[AsyncStream]):
    """The same client, to be awaited."""

    __doc__ = f"""{Base.__doc__}
    Example:
        >>> known = dict(kimi.openai_kwargs(), model=kimi.host.model)
        >>> async def ask(question):
        ...     async with AsyncClient(**known, temperature=0) as client:
        ...         return await client.chat(question)
        >>> import asyncio  # in a notebook: await ask(...)
        >>> asyncio.run(ask("What is the capital of Germany?")).text
        'The capital of Germany is Berlin.'
    """
    _stream = AsyncStream

    def _connect(self, transport: Any) -> None:
        self._http = httpx.AsyncClient(**self._settings(transport))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def chat(self, messages: Any, **options: Any) -> Reply:
        """Ask and wait for the whole answer; arguments as of ``stream``."""
        return await self._whole(self.stream(messages, **options))

    async def complete(self, prompt: str, **options: Any) -> Reply:
        """Continue ``prompt`` as plain text; Together takes a ``safety_model`` too."""
        return await self._whole(self._completion(prompt, **options))

    async def _whole(self, stream: AsyncStream) -> Reply:
        async with stream:
            async for _ in stream:
                pass
        return stream.reply

    embed = endpoints.embed
    rerank = endpoints.rerank
    image = endpoints.image
    speak = endpoints.speak
    transcribe = endpoints.transcribe
    models = endpoints.models
    balance = endpoints.balance
    count_tokens = endpoints.count_tokens
    fetch = _Wire.fetching

    async def _send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response: httpx.Response
        response = await self._http.send(request, stream=True, **options)
        return response

    async def _save(self, response: httpx.Response, file: BinaryIO) -> None:
        async for chunk in response.aiter_bytes():
            file.write(chunk)

    async def _sleep(self, seconds: float) -> None:
        import asyncio  # loaded by now; at the top, it would slow every import

        await asyncio.sleep(seconds)
