"""Clients, sync and async, over one shared base; the only file that knows httpx."""

from __future__ import annotations

import contextlib
import functools
import itertools
import ssl
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx
import msgspec

from kimikit import errors
from kimikit.types import Reply, Wait
from kimikit.wire import endpoints, faults
from kimikit.wire.answer import Answer
from kimikit.wire.base import Base
from kimikit.wire.streams import AsyncStream, Stream

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]

LOOK_S = 5.0
"""What looking up the live models may take when one was not found."""

REDIRECTS = 5
"""Steps that a file of the web may be away from its address."""
IDLE_S = 60.0
"""How long an unused connection is kept for the next question."""

_S = TypeVar("_S", Stream, AsyncStream)
_T = TypeVar("_T")
_P = ParamSpec("_P")
_Plan = Generator[tuple[Any, ...], Any, _T]


class _Wire(Base[_S]):
    """When a request is sent again and what a failed connection means.

    What needs I/O is written once, as a plan: a generator that yields steps (send a
    request, read a body, sleep) and gets their results. The two clients differ only in
    how they take the steps.
    """

    lost = (httpx.HTTPError, httpx.StreamError)
    _http: Any

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

    def sending(
        self, answer: Answer, *, method: str = "POST", **content: Any
    ) -> _Plan[httpx.Response]:
        """Plan the sending of a call, tried again where that can help."""
        call = answer.call
        url = self.path(call.endpoint)
        if self._http.is_closed:
            raise errors.BadInput("The client is closed.", "Make a new one.")
        if method == "POST" and not content:
            content["content"] = msgspec.json.encode(call.body)
            content["headers"] = {"content-type": "application/json"}
        faults.log(f"> {method} {url} {call.body}", self.key.value)
        for attempt in itertools.count():
            cause = asked = wait = None
            try:
                request = self._http.build_request(method, url, **content)
                response: httpx.Response = yield "send", request
            except httpx.HTTPError as exc:
                cause, error = exc, self._failed(exc)
            else:
                faults.log(
                    f"< {response.status_code} {response.headers}", self.key.value
                )
                if response.is_success:
                    answer.headers = response.headers
                    return response
                said: bytes = b""
                with contextlib.suppress(*self.lost):
                    said = yield "read", response
                error = faults.status_error(
                    response.status_code,
                    response.headers,
                    said,
                    host=self.host,
                    sent=call.body,
                    secrets=(self.key.value,),
                )
                asked = faults.retry_after(response.headers, error.host_message)
            if attempt < self.retries:
                connecting = isinstance(cause, httpx.ConnectTimeout)
                wait = faults.pause(error, attempt, asked, again=connecting)
            if wait is None:
                if isinstance(error, errors.ModelNotFound):
                    faults.name_models(error, call.model, (yield from self._live()))
                raise error from cause
            if answer.watch is not None:
                answer.watch(Wait(wait, error.what, attempt + 1))
            yield "sleep", wait
        raise AssertionError

    def taking(self, kind: str, response: httpx.Response, *into: Any) -> _Plan[bytes]:
        """Plan to ``read`` a whole body, or to ``save`` it into a file."""
        try:
            said: bytes = yield kind, response, *into
        except self.lost as exc:
            raise self._failed(exc) from exc
        return said

    def _live(self) -> _Plan[list[str]]:
        """Plan a look at the models that the host serves now; it never fails."""
        try:
            request = self._http.build_request(
                "GET", self.path("models"), timeout=LOOK_S
            )
            response: httpx.Response = yield "send", request
            said: bytes = yield "read", response
            return endpoints.model_ids(said) if response.is_success else []
        except (*self.lost, errors.KimiError):
            return []

    def fetching(self, url: str) -> _Plan[bytes]:
        """Plan the download of a file of the web; empty if it cannot be had.

        It may lie anywhere, so the request is bare: it carries no key.
        """
        limits = httpx.Timeout(LOOK_S, read=60.0).as_dict()
        try:
            request = httpx.Request("GET", url, extensions={"timeout": limits})
            for _ in range(REDIRECTS):
                response: httpx.Response = yield "send", request
                said: bytes = yield "read", response
                if response.next_request is None:
                    return said if response.is_success else b""
                request = response.next_request
            return b""
        except (*self.lost, httpx.InvalidURL):
            return b""

    def _failed(self, exc: Exception) -> errors.HostError:
        where, limit = self.host.title or self.host.name, self.timeouts
        address = f"Check the network and the address: {self.host.base_url}."
        if isinstance(exc, httpx.ConnectTimeout):
            what = f"No connection to {where} within {limit['connect']:g} s."
            return errors.TimedOut(what, address, host=self.host.name)
        if isinstance(exc, httpx.TimeoutException):
            what = f"{where} was silent for too long."
            remedy = "Run it again, or allow more seconds with timeout=."
            return errors.TimedOut(what, remedy, host=self.host.name)
        said = faults.redact(str(exc), [self.key.value]) or type(exc).__name__
        what = f"The connection to {where} failed: {said}."
        return errors.ConnectionFailed(what, address, host=self.host.name)

    def broken(self, answer: Answer, exc: Exception) -> errors.HostError | None:
        """Say what a failed connection means here; ``None`` if it is just the end."""
        bare_end = isinstance(exc, httpx.RemoteProtocolError)
        if answer.complete or (bare_end and answer.begun):
            return None
        error = self._failed(exc)
        error.__cause__ = exc
        return answer.broken(error) if answer.begun else error

    def body(self, response: httpx.Response) -> Any:
        """Return the chunks of a response; unpacked only where the host packed them."""
        if "content-encoding" not in response.headers:
            return response.stream
        if isinstance(response.stream, httpx.AsyncByteStream):
            return response.aiter_bytes()
        return response.iter_bytes()


def _waiting(
    plan: Callable[Concatenate[Any, _P], _Plan[_T]],
) -> Callable[Concatenate[Client, _P], _T]:
    @functools.wraps(plan)
    def method(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self.drive(plan(self, *args, **kwargs))

    return method


def _awaiting(
    plan: Callable[Concatenate[Any, _P], _Plan[_T]],
) -> Callable[Concatenate[AsyncClient, _P], Awaitable[_T]]:
    @functools.wraps(plan)
    async def method(self: AsyncClient, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.drive(plan(self, *args, **kwargs))

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
        try:
            with stream:
                for _ in stream:
                    pass
        except KeyboardInterrupt:
            pass  # the reply says that it is partial
        return stream.reply

    embed = _waiting(endpoints.embed)
    rerank = _waiting(endpoints.rerank)
    image = _waiting(endpoints.image)
    speak = _waiting(endpoints.speak)
    transcribe = _waiting(endpoints.transcribe)
    models = _waiting(endpoints.models)
    balance = _waiting(endpoints.balance)
    count_tokens = _waiting(endpoints.count_tokens)

    def fetch(self, url: str) -> bytes:
        """Return a file of the web, fetched without a key; empty if that fails."""
        return self.drive(self.fetching(url))

    def ask(self, answer: Answer) -> httpx.Response:
        """Send the request of ``answer``; return the open response."""
        return self.drive(self.sending(answer))

    def drive(self, plan: _Plan[_T]) -> _T:
        """Take the steps of ``plan``; return its value."""
        result: Any = None
        failed: BaseException | None = None
        while True:
            try:
                kind, *what = plan.throw(failed) if failed else plan.send(result)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            result = failed = None
            try:
                if kind == "send":
                    result = self._http.send(what[0], stream=True)
                elif kind == "read":
                    result = what[0].read()
                elif kind == "save":
                    for chunk in what[0].iter_bytes():
                        what[1].write(chunk)
                else:
                    time.sleep(what[0])
            except BaseException as exc:
                failed = exc  # the plan decides, or lets it pass


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

    embed = _awaiting(endpoints.embed)
    rerank = _awaiting(endpoints.rerank)
    image = _awaiting(endpoints.image)
    speak = _awaiting(endpoints.speak)
    transcribe = _awaiting(endpoints.transcribe)
    models = _awaiting(endpoints.models)
    balance = _awaiting(endpoints.balance)
    count_tokens = _awaiting(endpoints.count_tokens)

    async def fetch(self, url: str) -> bytes:
        """Return a file of the web, fetched without a key; see ``Client.fetch``."""
        return await self.drive(self.fetching(url))

    async def ask(self, answer: Answer) -> httpx.Response:
        """Send the request of ``answer``; return the open response."""
        return await self.drive(self.sending(answer))

    async def drive(self, plan: _Plan[_T]) -> _T:
        """Take the steps of ``plan``; return its value."""
        import asyncio  # loaded by now; at the top, it would slow every import

        result: Any = None
        failed: BaseException | None = None
        while True:
            try:
                kind, *what = plan.throw(failed) if failed else plan.send(result)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            result = failed = None
            try:
                if kind == "send":
                    result = await self._http.send(what[0], stream=True)
                elif kind == "read":
                    result = await what[0].aread()
                elif kind == "save":
                    async for chunk in what[0].aiter_bytes():
                        what[1].write(chunk)
                else:
                    await asyncio.sleep(what[0])
            except BaseException as exc:
                failed = exc  # the plan decides, or lets it pass
