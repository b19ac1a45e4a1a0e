"""Define the base of all errors, and those that no host is to blame for."""

from __future__ import annotations

import contextlib
import copyreg
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kimikit import html
from kimikit.errors.extras import pip_install
from kimikit.key_shapes import hide_quoted

if TYPE_CHECKING:
    from kimikit.types import Reply


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

    def __init_subclass__(cls) -> None:
        # Where users import them from, which tracebacks show.
        if cls.__module__.startswith("kimikit.errors."):
            cls.__module__ = "kimikit.errors"

    def __init__(self, what: str, remedy: str) -> None:
        # A host's words and a model's reach every terminal by these two, and keys that
        # were passed as something else.
        self.what = html.cut(hide_quoted(html.clean(what)))
        self.remedy = html.cut(hide_quoted(html.clean(remedy)))
        super().__init__(self.what, self.remedy)
        self.run: Any = None

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"

    def __reduce__(self) -> Any:
        # As made, without calling __init__, whose keywords differ from kind to kind.
        made = copyreg.__newobj__  # type: ignore[attr-defined]
        return made, (type(self), *self.args), dict(self.__dict__)

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
        return [html.filled(line, 100, indent=4) for line in lines]


KimiError.__module__ = "kimikit.errors"


class KimiWarning(UserWarning):
    """Something works less well than it should, and what to do about it."""

    __module__ = "kimikit.errors"


def warn(message: str, stacklevel: int = 2) -> None:
    """Warn; where the user's project makes warnings errors, log the message instead.

    What warns has better things to do than to fail: an answer to return, a row to keep.

    Args:
        message: What works less well, and what to do about it.
        stacklevel: Whose line to name, as in ``warnings.warn``.
    """
    # A host, a server or a file chose some of its words.
    message = html.cut(html.clean(message))
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
        Install it with: pip install ...pandas...
    """

    @classmethod
    def of(
        cls, package: str, purpose: str, extra: str | None = None
    ) -> MissingDependency:
        """Say which package is missing, what for, and how to install it."""
        return cls(
            f"{purpose} needs the package {package}, which is not installed.",
            f"Install it with: {pip_install(package, extra)}.",
        )


@contextlib.contextmanager
def needed(package: str, purpose: str, extra: str | None = None) -> Iterator[None]:
    """Say how to install a package if what is imported inside is not there.

    Raises:
        MissingDependency: If it is not.
    """
    try:
        yield
    except ImportError as exc:
        raise MissingDependency.of(package, purpose, extra) from exc


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

    reply: Reply | None = None


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
