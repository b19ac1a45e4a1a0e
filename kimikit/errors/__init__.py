"""Find here every error that kimikit raises, under one root.

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

from kimikit.errors.base import (
    BadInput,
    BadTool,
    BudgetExceeded,
    InvalidAnswer,
    KimiError,
    KimiWarning,
    LocalHostError,
    MissingDependency,
    MissingKey,
    NotRecorded,
    NotSupported,
    UnknownHost,
    nearest,
    needed,
    warn,
)
from kimikit.errors.hosts import (
    BODY_LIMIT,
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    EndpointNotServed,
    FixedTemperature,
    HostError,
    ModelNotFound,
    NoBalance,
    Overloaded,
    RateLimited,
    StatusError,
    StreamError,
    TimedOut,
)

__all__ = [
    "BODY_LIMIT",
    "AuthenticationFailed",
    "BadInput",
    "BadRequest",
    "BadTool",
    "BudgetExceeded",
    "ConnectionFailed",
    "ContentFiltered",
    "ContextTooLong",
    "EndpointNotServed",
    "FixedTemperature",
    "HostError",
    "InvalidAnswer",
    "KimiError",
    "KimiWarning",
    "LocalHostError",
    "MissingDependency",
    "MissingKey",
    "ModelNotFound",
    "NoBalance",
    "NotRecorded",
    "NotSupported",
    "Overloaded",
    "RateLimited",
    "StatusError",
    "StreamError",
    "TimedOut",
    "UnknownHost",
    "nearest",
    "needed",
    "warn",
]
