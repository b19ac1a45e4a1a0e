"""Define the errors that a host makes, or the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kimikit.errors.base import KimiError, NotSupported

if TYPE_CHECKING:
    from kimikit.types import Reply

BODY_LIMIT = 2000
"""Characters of a host's raw answer that an error keeps."""


class HostError(KimiError):
    """The host, or the way to it, failed.

    Attributes:
        status: HTTP status, or ``None`` where none was received.
        host: Name of the host profile.
        request_id: The host's own id of the request, to quote to its support.
        host_message: The host's own words, also when nested in its answer.
        body: The raw answer, keys redacted, at most ``BODY_LIMIT`` characters.

    Example:
        >>> try:
        ...     kimi.chat("Hello", model="kimi-k9")
        ... except HostError as error:
        ...     print(error.status, error.host)
        404 local
    """

    def __init__(
        self,
        what: str,
        remedy: str,
        *,
        status: int | None = None,
        host: str = "",
        request_id: str | None = None,
        host_message: str = "",
        body: str = "",
    ) -> None:
        super().__init__(what, remedy)
        self.status = status
        self.host = host
        self.request_id = request_id
        self.host_message = host_message
        self.body = body[:BODY_LIMIT]


class ConnectionFailed(HostError):
    """No connection could be made, or it broke before the answer began."""


class TimedOut(HostError):
    """The host was silent for longer than the phase allows."""


class StreamError(HostError):
    """A stream that had begun broke off or carried an error.

    Attributes:
        reply: What had arrived: text, reasoning, finished calls, estimated usage.

    Example:
        >>> try:
        ...     kimi.chat("Tell a story.")
        ... except StreamError as error:
        ...     print(error.reply.text)
        Once upon
    """

    reply: Reply

    def __init__(self, what: str, remedy: str, *, reply: Reply, **details: Any) -> None:
        super().__init__(what, remedy, **details)
        self.reply = reply


class StatusError(HostError):
    """The host answered with an error status.

    Example:
        >>> try:
        ...     kimi.chat("Hello", model="kimi-k9")
        ... except StatusError as error:
        ...     print(error.host_message)
        The model 'kimi-k9' is not here; there are smollm2-135m-instruct and ...
    """


class AuthenticationFailed(StatusError):
    """The key is wrong, revoked, or made for another region."""


class NoBalance(StatusError):
    """The account's balance or quota is used up; retrying cannot help."""


class ModelNotFound(StatusError):
    """The model is retired, unknown, or not open to this key.

    Attributes:
        available: Kimi model ids that this host serves now, as far as it told.

    Example:
        >>> try:
        ...     kimi.chat("Hello", model="kimi-k9")
        ... except ModelNotFound as error:
        ...     print(error.available)
        ('smollm2-135m-instruct', ...)
    """

    def __init__(
        self, what: str, remedy: str, *, available: Sequence[str] = (), **details: Any
    ) -> None:
        super().__init__(what, remedy, **details)
        self.available = tuple(available)


class RateLimited(StatusError):
    """Too many requests or tokens for this key.

    Attributes:
        retry_after_s: The wait the host asked for, in seconds, if it named one.

    Example:
        >>> try:
        ...     kimi.chat("Hello")
        ... except RateLimited as error:
        ...     print(error.retry_after_s)
        20.0
    """

    def __init__(
        self,
        what: str,
        remedy: str,
        *,
        retry_after_s: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(what, remedy, **details)
        self.retry_after_s = retry_after_s


class Overloaded(StatusError):
    """The host has no capacity just now (5xx, ``engine_overloaded_error``)."""


class EndpointNotServed(StatusError, NotSupported):
    """The server knows the endpoint and does not serve it (501)."""


class BadRequest(StatusError):
    """The host refused the request as it was written."""


class FixedTemperature(BadRequest):
    """The host pins this model's temperature (or another sampling parameter).

    Attributes:
        allowed: The one value that the host insists on, if it said so.
        parameter: Which parameter is pinned, ``temperature`` unless said otherwise.

    Example:
        >>> try:
        ...     kimi.chat("Hello", temperature=0)
        ... except FixedTemperature as error:
        ...     print(error.allowed)
        1.0
    """

    def __init__(
        self,
        what: str,
        remedy: str,
        *,
        allowed: float | None = None,
        parameter: str = "temperature",
        **details: Any,
    ) -> None:
        super().__init__(what, remedy, **details)
        self.allowed = allowed
        self.parameter = parameter


class ContextTooLong(BadRequest):
    """Prompt and ``max_tokens`` together exceed the model's context window."""


class ContentFiltered(BadRequest):
    """The host's content filter refused the prompt."""
