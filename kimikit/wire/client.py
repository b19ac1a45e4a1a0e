"""Talk to one host, sync or async; nothing but this module knows httpx's clients."""

from __future__ import annotations

import contextlib
import functools
import os
import weakref
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
)
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, cast

import httpx

from kimikit import errors
from kimikit.params import (
    ChatParams,
    CompletionParams,
    hides,
    takes_chat_params,
    takes_completion_params,
)
from kimikit.secrets import encoded
from kimikit.types import Reply, Watch
from kimikit.wire import endpoints, faults, network
from kimikit.wire.answer import Answer
from kimikit.wire.base import Base
from kimikit.wire.batches import AsyncBatches, Batches
from kimikit.wire.blocking import blocking, sleep
from kimikit.wire.files import AsyncFiles, Files
from kimikit.wire.recorder import Recorder, Seam
from kimikit.wire.streams import AsyncStream, Stream, in_asyncio, running_loop, wait
from kimikit.wire.tries import Tries
from kimikit.wire.unpack import BadPacking

IDLE_S = 60.0
"""How long an unused connection is kept for the next question."""

_S = TypeVar("_S", Stream, AsyncStream)
_T = TypeVar("_T")
_P = ParamSpec("_P")


class _Wire(Tries[_S]):
    """When a request is sent again and what a failed connection means.

    All I/O is written once, as coroutines over steps that each client takes in its own
    way. Those of ``Client`` block, so its coroutines never wait: see ``at_once``.
    """

    lost = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, BadPacking)
    unsent, cut = httpx.ConnectTimeout, httpx.RemoteProtocolError
    silent = httpx.TimeoutException
    _http: Any
    _made: Any
    _pool: Callable[[], Any]
    _network: type[httpx.HTTPTransport | httpx.AsyncHTTPTransport]
    _send: Callable[..., Awaitable[httpx.Response]]
    _sleep: Callable[[float], Awaitable[None]]
    _closed = False
    _url = staticmethod(functools.lru_cache(64)(httpx.URL))  # slow, and always the same
    _pid = 0

    def _open(self) -> None:
        """Make connections of this process's own."""
        if self._pid:
            _INHERITED.append(self._made)
        self._made = self._pool()
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
            settings["proxy"] = network.proxy(url, httpx.Proxy, httpx.InvalidURL)
            if not settings["proxy"] and not self._blocks and in_asyncio():
                settings["transport"] = _connections(settings["verify"])
        if self.recorder is not None:
            settings["transport"] = self._seam(settings, self.recorder)
        return settings

    def _seam(self, settings: dict[str, Any], recorder: Recorder) -> Seam:
        """Return a transport that asks the recorder before the network."""
        way = {name: settings[name] for name in ("verify", "limits", "trust_env")}
        proxy = settings.pop("proxy", None)
        below = settings["transport"] or self._network(**way, proxy=proxy)
        return Seam(
            recorder, below, describe=self.described, make=_response, error=_error
        )

    async def sending(
        self, answer: Answer, *, method: str = "", below: str = "", **content: Any
    ) -> httpx.Response:
        """Send a call, again where that can help; return the open response."""
        if self._closed:
            raise errors.BadInput("The client is closed.", "Make a new one.")
        call, sent, headers = answer.call, answer.sent, dict(answer.sent.headers)
        url = self._url(self.path(call.endpoint) + below)
        if sent.body and not content:
            content["content"] = encoded(sent.body)
            headers.setdefault("content-type", "application/json")
        method = method or ("POST" if sent.body else "GET")
        content |= {"headers": headers, "timeout": _limits(sent.timeouts)}
        while True:
            if answer.logs:
                faults.log(f"> {method} {url} {call.body}", *sent.keys)
            request = self._http.build_request(method, url, **content)
            try:
                return cast(httpx.Response, await self._sent(request, answer))
            except errors.HostError as error:
                await self.again(error, answer)


_INHERITED: list[Any] = []
"""Connections of a parent process: closing one here would end it there too."""


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that another object gives and closes."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self.close, self.aclose = given.close, given.aclose  # type: ignore[method-assign]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._given)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._given)


def _response(status: int, headers: Any, body: Any, extensions: Any) -> httpx.Response:
    return httpx.Response(
        status, headers=headers, stream=_Body(body), extensions=extensions
    )


def _error(name: str, said: str) -> Exception:
    kind = getattr(httpx, name, None)
    known = isinstance(kind, type) and issubclass(kind, httpx.TransportError)
    return cast("type[Exception]", kind if known else httpx.NetworkError)(said)


def _connections(trust: network.Trust) -> Any:
    from kimikit.wire.sockets import Connections  # it loads asyncio

    return Connections(verify=trust, idle_s=IDLE_S, make=_response, error=_error)


def _limits(timeouts: dict[str, float]) -> httpx.Timeout:
    return httpx.Timeout(timeouts["first_byte"], connect=timeouts["connect"], pool=None)


def _blocking(
    plan: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Any, _P], _T]:
    return hides(blocking(plan))


class Client(_Wire[Stream]):
    """A client of one host."""

    __doc__ = f"""{Base.__doc__}
    Example:
        >>> known = dict(kimi.openai_kwargs(), model=kimi.host.model)
        >>> with Client(**known, temperature=0) as client:
        ...     client.chat("What is the capital of Germany?").text
        'The capital of Germany is Berlin.'
    """
    _stream, _blocks = Stream, True
    _network = httpx.HTTPTransport
    _made: httpx.Client

    def _pool(self) -> httpx.Client:
        return httpx.Client(**self._settings())

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
    files = property(Files, doc="Its files; see ``kimi.uploads()``.")
    batches = property(Batches, doc="Its batches; see ``kimi.map(via='batch')``.")

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

    _sleep = staticmethod(sleep)


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
    _network = httpx.AsyncHTTPTransport
    _made: weakref.WeakKeyDictionary[Any, httpx.AsyncClient]

    def _pool(self) -> weakref.WeakKeyDictionary[Any, httpx.AsyncClient]:
        self._settings()  # refuses what is wrong in the environment
        return weakref.WeakKeyDictionary()

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

    embed = hides(endpoints.embed)
    rerank = hides(endpoints.rerank)
    image = hides(endpoints.image)
    speak = hides(endpoints.speak)
    transcribe = hides(endpoints.transcribe)
    models = endpoints.models
    balance = endpoints.balance
    count_tokens = endpoints.count_tokens
    fetch = _Wire.fetching
    files = property(AsyncFiles, doc="Its files.")
    batches = property(AsyncBatches, doc="Its batches.")

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

    _sleep = staticmethod(wait)
