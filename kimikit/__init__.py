"""Explore Kimi K2 and its successors in a notebook; enter at ``Kimi``.

Example:
    >>> import kimikit
    >>> kimikit.__version__
    '1...'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimikit.errors import (
    AuthenticationFailed,
    BadInput,
    BadRequest,
    BadTool,
    BudgetExceeded,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    FixedTemperature,
    HostError,
    InvalidAnswer,
    KimiError,
    LocalHostError,
    MissingDependency,
    MissingKey,
    ModelNotFound,
    NoBalance,
    NotRecorded,
    NotSupported,
    Overloaded,
    RateLimited,
    StatusError,
    StreamError,
    TimedOut,
    UnknownHost,
)
from kimikit.session import Kimi
from kimikit.sweeps import Sweep, Trial
from kimikit.tools import Run, Step, Tool, tool
from kimikit.types import Delta, Host, Message, Price, Reply, ToolCall, Usage
from kimikit.version import __version__
from kimikit.wire import AsyncClient, Client

if TYPE_CHECKING:
    from kimikit.cli import doctor

    # From their own modules: from a package, mypy takes a module of the same name.
    from kimikit.evals.tool_score import score_tool_calls
    from kimikit.evals.vote import vote
    from kimikit.prompting import Conversation, brief
    from kimikit.prompting.few_shot import few_shot
    from kimikit.prompting.map_reduce import map_reduce
    from kimikit.sweeps.side_by_side import diff

__all__ = [
    "AsyncClient",
    "AuthenticationFailed",
    "BadInput",
    "BadRequest",
    "BadTool",
    "BudgetExceeded",
    "Client",
    "ConnectionFailed",
    "ContentFiltered",
    "ContextTooLong",
    "Conversation",
    "Delta",
    "FixedTemperature",
    "Host",
    "HostError",
    "InvalidAnswer",
    "Kimi",
    "KimiError",
    "LocalHostError",
    "Message",
    "MissingDependency",
    "MissingKey",
    "ModelNotFound",
    "NoBalance",
    "NotRecorded",
    "NotSupported",
    "Overloaded",
    "Price",
    "RateLimited",
    "Reply",
    "Run",
    "StatusError",
    "Step",
    "StreamError",
    "Sweep",
    "TimedOut",
    "Tool",
    "ToolCall",
    "Trial",
    "UnknownHost",
    "Usage",
    "__version__",
    "brief",
    "diff",
    "doctor",
    "few_shot",
    "load_ipython_extension",
    "map_reduce",
    "score_tool_calls",
    "tool",
    "vote",
]

_LATER = {
    "kimikit.cli": ("doctor",),
    "kimikit.evals": ("score_tool_calls", "vote"),
    "kimikit.prompting": ("Conversation", "brief", "few_shot", "map_reduce"),
    "kimikit.sweeps.side_by_side": ("diff",),
}
"""Modules that a chat does not need: each is loaded when one of its names is used."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a public name of ``_LATER``, once."""
        for module, names in _LATER.items():
            if name in names:
                from importlib import import_module

                value = globals()[name] = getattr(import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """Add ``%%kimi``, ``%kimi_cost`` and ``%kimi_host``: ``%load_ext kimikit``.

    Example:
        >>> from IPython.core.interactiveshell import InteractiveShell
        >>> shell = InteractiveShell()  # in a notebook: %load_ext kimikit
        >>> load_ipython_extension(shell)
        >>> sorted(shell.magics_manager.magics["cell"].keys() & {"kimi"})
        ['kimi']
    """
    from kimikit.notebook.magics import register

    register(shell, Kimi)
