"""Embed many texts by a host's batch API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kimikit.display.footer import total_cost, total_usage
from kimikit.runner.client import WorkOptions, runner_over
from kimikit.runner.limits import AT_ONCE
from kimikit.runner.many import ask_all
from kimikit.runner.requests import Request
from kimikit.runner.rounds import done_by
from kimikit.types import Reply
from kimikit.wire import keys
from kimikit.wire.endpoints import texts_of, vectors_of
from kimikit.wire.results import Embeddings


def batch_embeddings(
    client: Any,
    texts: Any,
    params: dict[str, Any],
    *,
    name: str | None,
    max_cost: Any,
    poll_s: float | None,
) -> Any:
    """Return the job that embeds texts, each by a request of its own.

    Raises:
        BadInput: If there are none, or one is no text; nothing is sent then.
        NotSupported: If the host does not embed in batches.
        BudgetExceeded: If ``max_cost`` or a budget refuses it.
    """
    listed = texts_of([texts] if isinstance(texts, str) else texts)
    asked = keys.without_patience(params)

    def run(options: WorkOptions) -> Embeddings:
        runner, clients = runner_over({None: client}, "embed", options)
        host, prefix = clients[None].host, runner.cache.prefix
        requests = [
            Request(
                messages=text,
                params=params,
                key=prefix + keys.request_key(host, ["embed", text, asked]),
                endpoint="embed",
            )
            for text in listed
        ]
        return _together(listed, ask_all(runner, requests, failed=runner.failed))

    options = WorkOptions(AT_ONCE, name, None, max_cost)
    return done_by("batch", poll_s, {None: client}, "embed", options, run)


def _together(texts: Sequence[str], came: Sequence[Any]) -> Embeddings:
    """Return the vectors in answers, each packed in one, and what all took."""
    each_once = dict(zip(texts, came, strict=True))  # a text is paid for once
    replies = [each for each in each_once.values() if isinstance(each, Reply)]
    vectors = [
        vectors_of(each.raw, 1)[0] if isinstance(each, Reply) else [] for each in came
    ]
    why = next((str(each) for each in came if isinstance(each, Exception)), "")
    whole = msgspec.structs.replace(
        replies[-1] if replies else Reply(),
        usage=total_usage(replies),
        cost=total_cost(replies),
        notes=(why,) if why else (),
        raw={},
    )
    return Embeddings(vectors=vectors, reply=whole)
