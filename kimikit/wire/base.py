"""Hold what both clients share without I/O: a host, a key, defaults, how one asks."""

from __future__ import annotations

import time
import uuid
import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

import msgspec

from kimikit import errors, secrets
from kimikit.json_values import check_count, plain
from kimikit.key_shapes import keys_in_address
from kimikit.params import (
    NOT_OF_A_TEXT,
    ChatParams,
    CompletionParams,
    takes_chat_params,
)
from kimikit.secrets import Key
from kimikit.types import Call, Host, Observer, Pricer, Reply, Watch
from kimikit.types.pickling import Handle
from kimikit.types.sent import Again, Sent
from kimikit.wire import hosts, options, requests
from kimikit.wire.answer import Answer, Request
from kimikit.wire.coerce import as_object
from kimikit.wire.keys import is_elsewhere
from kimikit.wire.recorder import Asked, Recorder, everywhere
from kimikit.wire.streams import AsyncStream, Stream

MODELS_NAMED = 10
"""Models that are named where one must be chosen."""

FREE = ("models", "balance", "count_tokens", "files", "batches")
"""Endpoints that cost nothing, so no observer is told of them."""

_S = TypeVar("_S", Stream, AsyncStream)


class Base(Handle, Generic[_S]):
    """A client of one host.

    Args:
        host: A profile's name or a ``Host``; see ``hosts.resolve`` for none.
        api_key: The key, instead of the one in the profile's environment variable.
        base_url: Another address; alone, or with a name that no profile has, it makes
            a profile of its own.
        max_retries: Tries after the first, for errors that pass.
        transport: An httpx transport: the one test seam.
        observers: Who is told of every call.
        pricer: What knows the price of a call.
        recorder: What stands between the client and the network.
        **defaults: Parameters of every call, which a call's own replace; ``timeout``
            may be a dict of ``connect``, ``first_byte`` and ``gap``.

    Attributes:
        host: The host in use, with the model; holds no key.
        defaults: What every call is asked with, unless it says otherwise.
        pricer: What knows the price of a call, if anything was given.
        asker: Returns what asks this host again, for ``reply.continue_()``.

    Raises:
        UnknownHost: If no profile has this name and no ``base_url`` is given.
        MissingKey: If the host needs a key and there is none.
        BadInput: If another argument is impossible.
    """

    _stream: type[_S]
    _blocks = False  # whether a call returns when its answer is there
    host: Host
    key: Key
    headers: dict[str, str | None]
    defaults: dict[str, Any]
    _transport: Any

    @takes_chat_params()
    def __init__(
        self,
        host: str | Host | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        max_retries: int = 2,
        transport: Any = None,
        observers: Sequence[Observer] = (),
        pricer: Pricer | None = None,
        recorder: Recorder | None = None,
        **defaults: Unpack[ChatParams],
    ) -> None:
        # Wrapped before anything can fail: a traceback shows what is local here.
        api_key, host = Key.of(api_key), secrets.hidden(host)
        base_url = hosts.hidden_address(base_url)
        headers = options.headers(defaults.pop("extra_headers", None))
        given: dict[str, Any] = dict(defaults)
        model, timeout = given.pop("model", None), given.pop("timeout", None)
        self.host: Host = hosts.resolve(host, base_url=base_url, model=model)
        if not self.host.base_url:
            raise errors.BadInput(
                f"The host {self.host.name!r} has no address of its own.",
                "Use kimikit.Kimi(), which starts it, or run 'kimikit serve' and pass "
                "the base_url= and api_key= that it prints.",
            )
        self.key: Key = (
            hosts.key_of(self.host) if api_key is None else api_key
        ).check()
        self.timeouts: dict[str, float] = options.timeouts(timeout)
        self.headers = headers
        check_count("max_retries", max_retries, 0)
        self.retries: int = max_retries
        self._observers = tuple(observers)
        self.pricer = pricer
        self.recorder: Recorder | None = recorder or next(iter(everywhere), None)
        options.check_extra(given)
        # ``None`` leaves out what is sent else, but for these, where it is the default.
        for name in ("temperature", "max_tokens", "max_completion_tokens"):
            if given.get(name, ...) is None:
                del given[name]
        self.defaults = options.plain_params(given)
        requests.check_params(self.defaults, self.host, self.host.model)
        own = weakref.WeakMethod(self._ask_again) if self._blocks else None
        self.asker: Again | None = own
        self._elsewhere = is_elsewhere(self.host)
        secrets.in_use(self.secrets_in_use)
        self._transport = transport
        self._open()

    def _ask_again(
        self,
        asked: Any,
        *,
        of: Sent,
        join: Callable[[Reply], Reply] | None = None,
        show: bool | None = None,
        **params: Unpack[CompletionParams],
    ) -> Reply:
        """Ask as another answer ``of`` this host was asked; nothing is shown."""
        asks = getattr(self, of.endpoint)
        reply: Reply = asks(asked, **params)
        return join(reply) if join else reply

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host.name!r}, model={self.host.model!r})"

    @abstractmethod
    def _open(self) -> None:
        """Make connections of this process's own."""

    @property
    def secrets_in_use(self) -> frozenset[Key]:
        """The key, and what every request holds in headers and body that hides."""
        # Written out: mypy does not follow the circle of imports here.
        headers: dict[str, str] = options.sent_headers(self.headers)
        found: list[str] = [
            *secrets.secrets_in(headers),
            *secrets.secrets_in(self.defaults),
            *keys_in_address(self.host.base_url),
        ]
        return frozenset((self.key, *map(Key, found)))

    @takes_chat_params()
    def stream(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: Mapping[str, Any] | None = None,
        **params: Unpack[ChatParams],
    ) -> _S:
        """Ask, and get the answer step by step; it is sent when the first is taken.

        Args:
            messages: A question, a dict, a ``Message``, or a list of them.
            watch: A live view, called with each ``Delta`` and each ``Wait``.
            meta: What observers shall remember with the call; never sent.
            **params: One that is ``None`` is left out, a default too.

        Raises:
            BadInput: If the request is impossible; nothing was sent then.
        """
        answer = self.prepared(messages, watch=watch, meta=meta, **params)
        return self._stream(self, answer)

    def prepared(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Answer:
        """Return the call of a chat, checked and not sent; arguments as of ``stream``.

        Raises:
            BadInput: If the request is impossible.
        """
        asked = options.joined(self.defaults, params)
        system, image = asked.pop("system", None), asked.pop("image", None)
        if "system" not in params and requests.begins_with_system(messages):
            system = None  # a default gives way to what the messages say
        subject = {
            "messages": requests.as_messages(messages, system=system, image=image),
            "tools": requests.tool_schemas(asked.pop("tools", None)),
        }
        return self._asked("chat", subject, asked, watch=watch, meta=meta)

    def _completion(
        self,
        prompt: str,
        *,
        watch: Watch | None = None,
        meta: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> _S:
        subject = {"prompt": requests.as_text("prompt", prompt)}
        of_a_chat = dict.fromkeys(NOT_OF_A_TEXT)
        asked = options.joined({**self.defaults, **of_a_chat}, params)
        answer = self._asked("complete", subject, asked, watch=watch, meta=meta)
        return self._stream(self, answer)

    def _asked(
        self,
        endpoint: str,
        subject: dict[str, Any],
        asked: dict[str, Any],
        *,
        watch: Watch | None,
        meta: Mapping[str, Any] | None,
    ) -> Answer:
        own, params = options.options(asked)
        model = plain(params.pop("model", None), "model") or self.host.model
        model = model or self._only_model()
        if not isinstance(model, str) or not model.strip():
            raise errors.BadInput(
                f"No model is named for {self.host.name}.",
                "Pass model=, one of the ids that kimi.models() lists.",
            )
        body = requests.build(
            subject,
            host=self.host,
            model=model,
            stream=params.pop("stream", True) is not False,
            params=options.plain_params(params),
        )
        prefill = params.get("prefill") or ""
        answer = self.answer(endpoint, body, watch, meta, own, prefill)
        call, keys = answer.call, answer.sent.keys
        call.sent = Sent.of(
            call.body,
            self.host,
            endpoint=endpoint,
            headers=secrets.masked(answer.sent.headers),
            has_key=bool(self.key),
            elsewhere=self._elsewhere,
            prefill=prefill,
            mask=lambda text: secrets.redact(text, *keys),
            again=self.asker,
            real=body,
            own={"extra_headers": dict(own.headers), "timeout": own.timeout},
        )
        return answer

    def _only_model(self) -> str:
        """Return the one model that the host lists, and ask it from now on.

        Raises:
            BadInput: If it lists none, or several: then it names them.
            AuthenticationFailed: If the key is wrong, as it would be for the question.
        """
        if not self._blocks or "models" not in self.host.endpoints:
            return ""
        try:
            listed = [*getattr(self, "models")()]  # noqa: B009 - a blocking client's
        except (errors.StatusError, errors.NotRecorded) as exc:
            # A key that may ask and not list, as OpenAI makes them, is refused by 403.
            if isinstance(exc, errors.AuthenticationFailed) and exc.status != 403:
                raise
            return ""
        where = self.host.title or self.host.name
        if not listed:
            raise errors.BadInput(
                f"{where} lists no model.", "Load one there, or pass model=."
            )
        if len(listed) > 1:
            shown = ", ".join(listed[:MODELS_NAMED])
            rest = len(listed) - MODELS_NAMED
            more = f" and {rest} more, which kimi.models() lists" if rest > 0 else ""
            raise errors.BadInput(
                f"{where} has {len(listed)} models and none is chosen: {shown}{more}.",
                "Choose one with model=.",
            )
        self.host = msgspec.structs.replace(self.host, model=listed[0])
        return str(listed[0])

    def path(self, endpoint: str) -> str:
        """Return the URL of ``endpoint``.

        Raises:
            NotSupported: If this host is not known to have it.
        """
        paths = {"chat": "/chat/completions", **self.host.endpoints}
        if endpoint not in paths:
            raise errors.NotSupported(
                f"{self.host.title or self.host.name} is not known for {endpoint}.",
                f"Hosts that do: {hosts.having(endpoint, lambda h: h.endpoints)}.",
            )
        return self.host.base_url + paths[endpoint]

    def described(self, request: Any) -> Asked:
        """Return an httpx request as a recorder takes it."""
        url: Any = request.url
        sent: Any = request.headers
        where = str(url)
        if where.startswith(self.host.base_url):
            where = where[len(self.host.base_url) :]
        else:  # a picture: its URL names the address that was looked up
            where = f"{url.scheme}://{sent['host']}{url.raw_path.decode()}"
        return Asked(
            host=self.host.without_key(),
            method=request.method,
            where=where,
            body=request.content,
            kind=sent.get("content-type", ""),
            keys=(
                self.key,
                *map(Key, secrets.secrets_in(dict(sent))),
                *map(Key, secrets.secrets_in(as_object(request.content), apart=_WORDS)),
            ),
        )

    def answer(
        self,
        endpoint: str,
        body: dict[str, Any],
        watch: Watch | None = None,
        meta: Mapping[str, Any] | None = None,
        own: options.Options = options.NONE,
        prefill: str = "",
    ) -> Answer:
        """Return a call, not sent yet; it is observed and priced unless it is free.

        Raises:
            NotSupported: If this host is not known to have the endpoint.
        """
        self.path(endpoint)
        sent: dict[str, str] = options.sent_headers(self.headers, own.headers)
        kept: list[str] = secrets.secrets_in(sent)
        kept += secrets.secrets_in(body, apart=_WORDS)
        secrets.in_use(kept)
        call = Call(
            id=uuid.uuid4().hex,
            endpoint=endpoint,
            host=self.host,
            model=str(body.get("model", "")),
            body=secrets.masked(body) if kept else body,
            created=time.time(),
            meta=dict(meta or {}),
            prefill=prefill,
        )
        limits = options.timeouts(own.timeout, self.timeouts)
        return Answer(
            call,
            Request(body, sent, limits, (self.key, *map(Key, kept))),
            observers=() if endpoint in FREE else self._observers,
            pricer=self.pricer,
            watch=watch,
        )


_WORDS = frozenset({"messages", "prompt", "input", "documents", "query"})
"""Fields of a body that hold what a person wrote, and no secret by its name."""
