"""What a call will likely cost, and at most, before it is made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kimikit.money.estimates import ceiling, estimate
from kimikit.money.ledger import Ledger
from kimikit.types import Usage

LIKELY_TOKENS = 300
"""Answer tokens taken as likely for a model that the ledger does not know yet."""


def bill(
    ledger: Ledger, host: str, model: str, params: Mapping[str, Any], prompt: Any
) -> tuple[Decimal | None, Decimal | None]:
    """Return the likely and the highest cost of one call in US dollars.

    Likely is the mean answer that the ledger has seen of this model, highest is
    ``max_tokens`` or, without it, the model's longest answer.

    Args:
        ledger: Whose calls and prices are looked at.
        host: Name of the host profile.
        model: The model's id there.
        params: Parameters of the call, such as ``max_tokens`` and ``system``.
        prompt: A text, or messages.

    Returns:
        Two costs; ``None`` where no price or no limit is known.
    """
    now = time.time()
    price = ledger.prices.lookup(host, model, now)
    if price is None:
        return None, None
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if system := params.get("system"):
        turns = [{"role": "system", "content": system}, *turns]
    body = {**params, "messages": turns}
    most = ceiling("chat", body, ledger.prices.longest(host, model, now))
    seen = ledger.total(by="model").get(model)
    answer = LIKELY_TOKENS
    if seen is not None and seen.calls:
        answer = round(seen.usage.completion_tokens / seen.calls)
    if most.completion_tokens is not None:
        answer = min(answer, most.completion_tokens)
    return price.cost(Usage(estimate(body).tokens, answer)), most.cost(price)
