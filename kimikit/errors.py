"""Every error kimikit raises, under one root.

Each message has two parts: what happened, then what to do about it. ``str(error)``
is both, the remedy last; ``error.what`` and ``error.remedy`` are the parts.

::

    KimiError
    ├── BadInput (ValueError)            refused before anything was sent
    │   ├── UnknownHost
    │   ├── MissingKey
    │   ├── NotSupported                 this host has no such endpoint or parameter
    │   └── BadTool                      a tool that no host would accept
    ├── MissingDependency (ImportError)  an optional package is not installed
    ├── BudgetExceeded                   a budget refused or stopped a call
    ├── LocalHostError                   the local model could not be fetched or run
    ├── InvalidAnswer                    the answer does not fit ``into=``
    └── HostError                        the host, or the way to it, failed
        ├── ConnectionFailed
        ├── TimedOut
        ├── StreamError                  after a stream had begun; has ``.reply``
        └── StatusError                  an answer with an error status
            ├── AuthenticationFailed
            ├── NoBalance
            ├── ModelNotFound            has ``.available``
            ├── RateLimited              has ``.retry_after_s``
            ├── Overloaded
            ├── EndpointNotServed        also ``NotSupported``: 501, not tried again
            └── BadRequest
                ├── FixedTemperature     has ``.allowed``
                ├── ContextTooLong
                └── ContentFiltered
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kimikit import html

if TYPE_CHECKING:
    from kimikit.types import Reply

BODY_LIMIT = 2000
"""Characters of a host's raw answer that an error keeps."""


def _made_again(
    kind: type[KimiError], args: tuple[Any, ...], state: dict[str, Any]
) -> KimiError:
    """Return an error as it was before it was pickled or copied."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class KimiError(Exception):
    """Base of all errors of this package.

    Attributes:
        what: What happened, a sentence or two.
        remedy: What to do next, a sentence.
        run: The ``Run`` that it ended, to look at and to go on from, or ``None``.

    Example:
        >>> try:
        ...     kimi.chat("Hello", temperature=9)
        ... except KimiError as error:
        ...     print(error.remedy)
        On the local stand-in it is a number from 0 to 2.
    """

    def __init__(self, what: str, remedy: str) -> None:
        # A host's words and a model's reach every terminal by these two.
        self.what = html.clean(what)
        self.remedy = html.clean(remedy)
        super().__init__(self.what, self.remedy)
        self.run: Any = None

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"

    def __reduce__(self) -> Any:
        # As made, without calling __init__, whose keywords differ from kind to kind.
        return _made_again, (type(self), self.args, dict(self.__dict__))

    def _repr_html_(self) -> str:
        return html.notice(type(self).__name__, self.what, self.remedy)

    def _render_traceback_(self) -> list[str]:
        """Show the remedy first, then where in the user's cell it happened.

        IPython calls this instead of printing its own long traceback; see
        ``InteractiveShell.showtraceback``.
        """
        lines = [f"→ {self.remedy}", f"  {type(self).__name__}: {self.what}"]
        frame = self.__traceback__
        while frame is not None:
            name = frame.tb_frame.f_code.co_filename
            if "ipykernel_" in name or name.startswith("<ipython"):
                lines.append(f"  in this cell, line {frame.tb_lineno}")
                break
            frame = frame.tb_next
        notes = getattr(self, "__notes__", ())
        lines += [f"  {html.clean(str(note))}" for note in notes]
        return [
            "\n".join(textwrap.wrap(line, 100, subsequent_indent="    ")) or line
            for line in lines
        ]


class KimiWarning(UserWarning):
    """Something works less well than it should, and what to do about it."""


def warn(message: str, stacklevel: int = 2) -> None:
    """Warn; where the user's project makes warnings errors, log the message instead.

    What warns has better things to do than to fail: an answer to return, a row to keep.

    Args:
        message: What works less well, and what to do about it.
        stacklevel: Whose line to name, as in ``warnings.warn``.
    """
    try:
        warnings.warn(message, KimiWarning, stacklevel + 1)
    except Warning:
        import logging

        logging.getLogger("kimikit").warning(message)


class BadInput(KimiError, ValueError):
    """An argument was refused before anything was sent or paid for.

    Example:
        >>> kimi.chat("")
        Traceback (most recent call last):
        kimikit.errors.BadInput: ...
    """


class UnknownHost(BadInput):
    """No host profile has this name.

    Example:
        >>> Kimi("togehter")
        Traceback (most recent call last):
        kimikit.errors.UnknownHost: ... Did you mean 'together'? ...
    """


class MissingKey(BadInput):
    """A host that needs a key was named and none was given.

    Example:
        >>> Kimi("together")
        Traceback (most recent call last):
        kimikit.errors.MissingKey: ...TOGETHER_API_KEY...
    """


class NotSupported(BadInput):
    """The host is known not to have the endpoint or to refuse the parameter.

    Example:
        >>> kimi.image("A fox in snow.")
        Traceback (most recent call last):
        kimikit.errors.NotSupported: ...
    """


class BadTool(BadInput):
    """A function or schema that cannot become a tool.

    Example:
        >>> tool(len)
        Traceback (most recent call last):
        kimikit.errors.BadTool: ...
    """


class MissingDependency(KimiError, ImportError):
    """An optional package is needed and not installed.

    Example:
        >>> print(MissingDependency.of("pandas", "to_pandas()", "pandas").remedy)
        Install it with: pip install 'kimikit[pandas]'.
    """

    @classmethod
    def of(
        cls, package: str, purpose: str, extra: str | None = None
    ) -> MissingDependency:
        """Say which package is missing, what for, and how to install it."""
        pip = f"pip install 'kimikit[{extra}]'" if extra else f"pip install {package}"
        return cls(
            f"{purpose} needs the package {package}, which is not installed.",
            f"Install it with: {pip}.",
        )


class BudgetExceeded(KimiError):
    """A budget refused a call, or stopped one that had begun.

    Attributes:
        reply: The answer so far when a running stream was stopped, else ``None``.

    Example:
        >>> try:
        ...     with kimi.budget(tokens=100):
        ...         kimi.chat("Tell a long story.", max_tokens=1000)
        ... except BudgetExceeded as error:
        ...     print(error.remedy)
        Raise the limit (tokens=...), or ask for less with max_tokens.
    """

    def __init__(self, what: str, remedy: str, *, reply: Reply | None = None) -> None:
        super().__init__(what, remedy)
        self.reply = reply


class LocalHostError(KimiError):
    """The local model could not be fetched, checked, started or reached.

    Example:
        >>> try:
        ...     kimi = Kimi("local")
        ... except LocalHostError as error:
        ...     print(error.remedy)  # nothing here: it could be started
    """


class NotRecorded(KimiError):
    """A recording has no answer to a question, or none left.

    Attributes:
        nearest: The body of the nearest question that it has, as JSON.

    Example:
        >>> with kimi.record("new.kimi"):
        ...     reply = kimi.chat("What is old?")
        >>> try:
        ...     Kimi("replay", path="new.kimi").chat("What is new?")
        ... except NotRecorded as error:
        ...     print(error)
        new.kimi does not have this question. The nearest that it has differs in: ...
    """

    def __init__(self, what: str, remedy: str, *, nearest: str = "") -> None:
        super().__init__(what, remedy)
        self.nearest = nearest


class InvalidAnswer(KimiError):
    """The model's answer could not be made to fit the requested type.

    Attributes:
        reply: The last answer, as it came.

    Example:
        >>> try:
        ...     kimi.chat("Tell a long story.", into=list[str], max_tokens=8)
        ... except InvalidAnswer as error:
        ...     print(error.remedy, error.reply.finish_reason)
        Raise max_tokens: the answer was cut off. length
    """

    def __init__(self, what: str, remedy: str, *, reply: Reply) -> None:
        super().__init__(what, remedy)
        self.reply = reply


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


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.5) -> str:
    """Return `` Did you mean X?`` for the closest of ``names``, or an empty string.

    Args:
        name: What was written.
        names: What may have been meant.
        cutoff: How alike two must be, 1 for equal, as ``difflib`` measures it.
    """
    import difflib  # only who mistyped waits for it

    match = difflib.get_close_matches(str(name), list(names), n=1, cutoff=cutoff)
    return f" Did you mean {match[0]!r}?" if match else ""
