"""Set and show what a session spends: budgets, prices, tokens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import Decimal
from functools import partial
from typing import Any

from kimikit.money import estimates, tokens, views
from kimikit.money.budget import Budget
from kimikit.money.ledger import tag
from kimikit.session.connection import Session
from kimikit.tools import offered


class Spending(Session):
    """Limits, prices and counts."""

    def budget(
        self,
        usd: Decimal | float | str | None = None,
        tokens: int | None = None,
        *,
        allow_unpriced: bool = False,
    ) -> Budget:
        """Limit what the calls inside a ``with`` block may take together.

        Args:
            usd: US dollars at most.
            tokens: Prompt and answer tokens at most.
            allow_unpriced: Let models through whose price is unknown.

        Example:
            >>> with kimi.budget(tokens=100):
            ...     kimi.chat("Tell a long story.", max_tokens=1000)
            Traceback (most recent call last):
            kimikit.errors.BudgetExceeded: ...
        """
        return Budget(usd, tokens, allow_unpriced=allow_unpriced)

    def tag(self, name: str) -> AbstractContextManager[None]:
        """Mark the calls inside a ``with`` block, to find and total them later.

        Example:
            >>> with kimi.tag("colours"):
            ...     reply = kimi.chat("Name a colour.")
            >>> kimi.ledger.calls()[0].tag
            'colours'
        """
        return tag(name)

    def set_price(
        self,
        *,
        input: Decimal | float | str,
        output: Decimal | float | str,
        cached_input: Decimal | float | str | None = None,
        cache_write: Decimal | float | str | None = None,
        cache_write_1h: Decimal | float | str | None = None,
        model: str | None = None,
    ) -> None:
        """Set the price of a model of this host, for this object.

        Args:
            input: US dollars per million prompt tokens.
            output: US dollars per million tokens of the answer.
            cached_input: The same for prompt tokens from the cache, if they differ.
            cache_write: The same for those put into the cache, if they differ.
            cache_write_1h: The same for those to be kept for an hour, if they differ.
            model: The model, if it is another than the one in use.

        Example:
            >>> kimi.set_price(input=0.60, output=2.50)
            >>> kimi.chat("Name a colour.").cost > 0
            True
        """
        self.ledger.prices.set(
            self.host.name,
            model or self.host.model,
            input=input,
            output=output,
            cached_input=cached_input,
            cache_write=cache_write,
            cache_write_1h=cache_write_1h,
        )

    def count_tokens(self, messages: Any, tools: Any = None) -> estimates.TokenCount:
        """Count the tokens of a chat: exact for Kimi K2 with its tokenizer, else ``~``.

        Args:
            messages: As for ``chat``.
            tools: The tools offered with them.

        Example:
            >>> kimi.count_tokens("Code a hacker news clone")
            ~...
        """
        known = "count_tokens" in self.host.endpoints
        return tokens.count_tokens(
            messages,
            offered(tools),
            model=self.host.model,
            fetch=None if self.host.stand_in else self.client.fetch,
            remote=self.client.count_tokens if known else None,
            samples=partial(self.ledger.samples, self.host.model),
            of_host=partial(self.ledger.samples, self.host.model, self.host.name),
        )

    def fits(
        self, messages: Any, max_tokens: int = 1024, *, context: int | None = None
    ) -> tokens.Fit:
        """Tell whether a chat and its answer fit into the model's context window.

        Args:
            messages: As for ``chat``.
            max_tokens: Tokens to keep for the answer.
            context: The window; without it, what is known of the model, or what the
                host itself says in its list of models.

        Raises:
            BadInput: If no window is known.

        Example:
            >>> bool(kimi.fits("Code a hacker news clone"))
            True
        """
        window = context or self._connection.context_tokens()
        return tokens.fits(self.count_tokens(messages), max_tokens, window)

    def meter(self) -> Any:
        """Return a widget that shows what is being spent while calls run.

        Example:
            >>> meter = kimi.meter()  # a cell that ends in it shows it
        """
        return views.meter(self.ledger)
