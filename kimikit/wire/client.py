"""Clients, sync and async, over one shared base; the only file that knows httpx."""

from __future__ import annotations

import contextlib
import functools
import os
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, cast

import httpx
import msgspec

from kimikit import errors
from kimikit.params import (
    ChatParams,
    CompletionParams,
    takes_chat_params,
    takes_completion_params,
)
from kimikit.types import Reply, Watch
from kimikit.wire import endpoints, faults, network
from kimikit.wire.answer import Answer
from kimikit.wire.base import Base
from kimikit.wire.bodies import REDIRECTS
from kimikit.wire.secrets import redact
from kimikit.wire.streams import AsyncStream, Stream, at_once, running_loop
from kimikit.wire.tries import ERROR_BYTES, Tries
from kimikit.wire.unpack import BadPacking

__all__ = ["AsyncClient", "AsyncStream", "Client", "Stream"]

IDLE_S = 60.0
"""How long an unused connection is kept for the next question."""

_S = TypeVar("_S", Stream, AsyncStream)
_T = TypeVar("_T")
_P = ParamSpec("_P")


class _Wire(Tries, Base[_S]):
    """When a request is sent again and what a failed connection means.

    All I/O is written once, as coroutines over steps that each client takes in its own
    way. Those of ``Client`` block, so its coroutines never wait: see ``at_once``.
    """

    lost = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, BadPacking)
    unsent, cut = httpx.ConnectTimeout, httpx.RemoteProtocolError
    _http: Any
    _send: Callable[..., Awaitable[httpx.Response]]
    _sleep: Callable[[float], Awaitable[None]]
    _transport: Any = None
    _closed = False
    _pid = 0

    def _connect(self, transport: Any) -> None:
        self._transport = transport
        self._open()

    def _open(self) -> None:
        """Make connections of this process's own."""
        self._pid = os.getpid()

    def _settings(self, url: str = "") -> dict[str, Any]:
        """Return what an httpx client is made with; for another ``url``, no key."""
        headers = {"user-agent": "kimikit", "accept-encoding": "gzip, deflate"}
        if self.key and not url:
            headers["authorization"] = f"Bearer {self.key.value}"
        url = url or self.host.base_url
        if url.startswith("https:"):
            network.check_certificates()
        settings: dict[str, Any] = {
            "headers": headers,
            "timeout": _limits(self.timeouts),
            "limits": httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S),
            "transport": self._transport,
            "verify": network.trust(*map(os.environ.get, network.CERTIFICATES)),
            "trust_env": False,  # what it says is read in network.py
        }
        if self._transport is None:
            settings["proxy"] = self._proxy(url)
        return settings

    def _proxy(self, url: str) -> httpx.Proxy | None:
        named = network.proxy_for(url)
        try:
            return None if named is None else httpx.Proxy(named)
        except (ValueError, httpx.InvalidURL) as exc:
            raise errors.BadInput(
                "The proxy that the environment names for this host is no address.",
                "Correct or unset HTTPS_PROXY, HTTP_PROXY and ALL_PROXY.",
            ) from exc

    async def sending(self, answer: Answer, **content: Any) -> httpx.Response:
        """Send a call, again where that can help; return the open response."""
        if self._closed:
            raise errors.BadInput("The client is closed.", "Make a new one.")
        call, sent, headers = answer.call, answer.sent, dict(answer.sent.headers)
        url = self.path(call.endpoint)
        if sent.body and not content:
            content["content"] = msgspec.json.encode(sent.body)
            headers.setdefault("content-type", "application/json")
        method = "POST" if sent.body else "GET"
        limits = _limits(sent.timeouts)
        http = self._http
        while True:
            faults.log(f"> {method} {url} {call.body}", *sent.keys)
            request = http.build_request(
                method, url, headers=headers, timeout=limits, **content
            )
            try:
                return await self._sent(request, answer)
            except errors.HostError as error:
                await self.again(error, answer)

    async def _sent(self, request: httpx.Request, answer: Answer) -> httpx.Response:
        """Send a request once; return the open response of a success."""
        answer.begin({})
        for _ in range(REDIRECTS):
            response = await self._named(self._send(request), answer)
            answer.begin(response.headers)
            status = response.status_code
            faults.log(f"< {status} {response.headers}", *answer.sent.keys)
            if response.is_success:
                return response
            said, following = b"", response.next_request
            with contextlib.suppress(errors.HostError):
                said = await self.read(response, most=ERROR_BYTES)
            if following is None or not network.same_site(request, following, status):
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

    def _failed(self, exc: Exception, answer: Answer | None) -> errors.HostError:
        """Return a failure of the network as an error, without its frames."""
        link: BaseException | None = exc
        while link is not None:
            link.__traceback__, link = None, link.__cause__ or link.__context__
        timeouts = self.timeouts if answer is None else answer.sent.timeouts
        keys = (self.key,) if answer is None else answer.sent.keys
        where, connect = self.host.title or self.host.name, timeouts["connect"]
        remedy = f"Check the network and the address: {self.host.base_url}."
        kind: type[errors.HostError] = errors.TimedOut
        if isinstance(exc, httpx.ConnectTimeout):
            what = f"No connection to {where} within {connect:g} s."
        elif isinstance(exc, httpx.TimeoutException):
            what = f"{where} was silent for too long."
            remedy = "Run it again, or allow more seconds with timeout=."
        elif isinstance(exc, BadPacking):
            what, kind = f"{where} sent {exc}.", errors.ConnectionFailed
        else:
            said = redact(str(exc), *keys) or type(exc).__name__
            what = f"The connection to {where} failed: {said.rstrip('.')}."
            kind = errors.ConnectionFailed
        return kind(what, remedy, host=self.host.name)


_INHERITED: list[Any] = []
"""Connections of a parent process: closing one here would end it there too."""


def _limits(timeouts: dict[str, float]) -> httpx.Timeout:
    first, connect = timeouts["first_byte"], timeouts["connect"]
    return httpx.Timeout(first, connect=connect, pool=None)


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
    _made: httpx.Client

    def _open(self) -> None:
        if self._pid:
            _INHERITED.append(self._made)
        self._made = httpx.Client(**self._settings())
        super()._open()

    @property
    def _http(self) -> httpx.Client:
        """The connections; in a forked child, not those of its parent."""
        if self._pid != os.getpid():
            self._open()
        return self._made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._pid == os.getpid():
            self._made.close()

    @takes_chat_params()
    def chat(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: Mapping[str, Any] | None = None,
        **params: Unpack[ChatParams],
    ) -> Reply:
        """Ask and wait for the whole answer; arguments as of ``stream``.

        An interrupt (the notebook's Stop) closes the connection and returns what had
        arrived, as a ``partial`` reply.
        """
        return self._whole(self.stream(messages, watch=watch, meta=meta, **params))

    @takes_completion_params()
    def complete(
        self,
        prompt: str,
        *,
        watch: Watch | None = None,
        **params: Unpack[CompletionParams],
    ) -> Reply:
        """Continue ``prompt`` as plain text; Together takes a ``safety_model`` too."""
        return self._whole(self._completion(prompt, watch=watch, **params))

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

    async def _send(
        self, request: httpx.Request, *, http: httpx.Client | None = None
    ) -> httpx.Response:
        return (http or self._http).send(request, stream=True)

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        # Not iter_raw(): what a transport had read already has no second one.
        for data in cast(httpx.SyncByteStream, response.stream):
            yield data

    @contextlib.asynccontextmanager
    async def _closing(self, response: httpx.Response) -> AsyncIterator[None]:
        with contextlib.closing(response):
            yield

    @contextlib.asynccontextmanager
    async def _bare(self, url: str) -> AsyncIterator[httpx.Client]:
        if self._transport is not None:
            yield self._http
            return
        with httpx.Client(**self._settings(url)) as http:
            yield http

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
    _made: weakref.WeakKeyDictionary[Any, httpx.AsyncClient]

    def _open(self) -> None:
        if self._pid:
            _INHERITED.append(self._made)
        self._made = weakref.WeakKeyDictionary()
        self._settings()  # refuses what is wrong in the environment
        super()._open()

    @property
    def _http(self) -> httpx.AsyncClient:
        """The connections of this event loop: none can be used in another."""
        if self._pid != os.getpid():
            self._open()
        loop = running_loop()
        if loop not in self._made:
            for other in [o for o in self._made if getattr(o, "is_closed", bool)()]:
                del self._made[other]
            self._made[loop] = httpx.AsyncClient(**self._settings())
        return self._made[loop]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections of this event loop, and use no others."""
        self._closed = True
        if self._pid == os.getpid() and (http := self._made.pop(running_loop(), None)):
            await http.aclose()

    @takes_chat_params()
    async def chat(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: Mapping[str, Any] | None = None,
        **params: Unpack[ChatParams],
    ) -> Reply:
        """Ask and wait for the whole answer; arguments as of ``stream``."""
        return await self._whole(
            self.stream(messages, watch=watch, meta=meta, **params)
        )

    @takes_completion_params()
    async def complete(
        self,
        prompt: str,
        *,
        watch: Watch | None = None,
        **params: Unpack[CompletionParams],
    ) -> Reply:
        """Continue ``prompt`` as plain text; Together takes a ``safety_model`` too."""
        return await self._whole(self._completion(prompt, watch=watch, **params))

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

    async def _send(
        self, request: httpx.Request, *, http: httpx.AsyncClient | None = None
    ) -> httpx.Response:
        return await (http or self._http).send(request, stream=True)

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        async for data in cast(httpx.AsyncByteStream, response.stream):
            yield data

    @contextlib.asynccontextmanager
    async def _closing(self, response: httpx.Response) -> AsyncIterator[None]:
        async with contextlib.aclosing(response):
            yield

    @contextlib.asynccontextmanager
    async def _bare(self, url: str) -> AsyncIterator[httpx.AsyncClient]:
        if self._transport is not None:
            yield self._http
            return
        async with httpx.AsyncClient(**self._settings(url)) as http:
            yield http

    async def _sleep(self, seconds: float) -> None:
        import asyncio  # as in _loop

        await asyncio.sleep(seconds)
