"""Define a request: a frozen value that holds all that changes the answer."""

from __future__ import annotations

from typing import Any

import msgspec

from kimikit.runner.costs import Bill


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request to be asked by a runner.

    Attributes:
        messages: What to ask, in any form that ``chat`` takes.
        params: Parameters of the call.
        host: The name that the runner's ``client_for`` makes a client of.
        model: The model that will answer.
        key: What a paid answer is found again by, empty where it is not.
        meta: What the ledger shall remember with the call.
        bill: What it will cost, likely and at most, for ``max_cost``.
        endpoint: What is asked; only a batch asks others than ``chat``.
    """

    messages: Any
    params: dict[str, Any] = {}
    host: str | None = None
    model: str = ""
    key: str = ""
    meta: dict[str, Any] = {}
    bill: Bill = (None, None)
    endpoint: str = "chat"
