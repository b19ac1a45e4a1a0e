"""Ask hosts whether they are what they say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kimikit.errors import BadInput, KimiError
from kimikit.session.connection import Session, with_model

if TYPE_CHECKING:
    from kimikit.sweeps.values import Embed
    from kimikit.types import ChatClient
    from kimikit.verify.asking import Facts
    from kimikit.verify.same import SameModel


class Verifying(Session):
    """The verbs that judge hosts."""

    def verify(
        self,
        hosts: Any = None,
        *,
        checks: Iterable[str] | None = None,
        cases: Iterable[Mapping[str, Any]] | None = None,
        context_tokens: int = 16_000,
        model: str | None = None,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        dry_run: bool = False,
        concurrency: int = 4,
        progress: bool = True,
    ) -> Any:
        """Ask hosts all that shows whether they are what they say, with the evidence.

        Whether each answers with the model it names; obeys temperature, top_p, seed, n,
        stop, max_tokens, logprobs, response_format and tool_choice; counts tokens as
        Kimi does, also in streams; takes its own tool ids back; triggers and shapes
        tool calls as the K2 Vendor Verifier measures; keeps thoughts beside calls;
        holds long prompts; streams evenly; and how fast it is.

        Args:
            hosts: Names, clients or ``Kimi`` objects, or a named dict; or this host.
            checks: Names of checks, all if left out.
            cases: Labelled cases of tool calls, 40 of our own if left out.
            context_tokens: Length of the longest prompts, where the window has it.
            model: The model to ask for, instead of each host's own.
            name: Makes it resumable: what was paid for is not asked again.
            max_cost: US dollars; what likely costs more is refused, or ends before.
            dry_run: Return only the plan: calls and cost.
            concurrency: Checks at once per host.
            progress: Whether to show a bar.

        Returns:
            The ``Verification``: a table, ``.faults``, ``.plot()``, ``.to_json()`` and
            ``.badge()``. With ``dry_run`` the ``VerifyPlan``.

        Raises:
            BadInput: If an argument is wrong; nothing was asked then.
            BudgetExceeded: If ``max_cost`` refuses it.
            KimiError: If no host answers at all.

        Example:
            >>> found = kimi.verify(checks=["max_tokens"], progress=False)
            >>> found.faults
            {'local': []}
        """
        from kimikit.runner import WorkOptions
        from kimikit.verify import run

        asked = run.checks_of(checks, cases, context_tokens)
        wanted = {name for names, _ in asked for name in names}
        clients, facts = self._known(hosts, model, wanted)
        if dry_run:
            return run.plan(clients, facts, asked, self.ledger)
        options = WorkOptions(concurrency, name, self.ledger, max_cost)
        return run.verify(clients, facts, asked, options, progress=progress)

    def same_model(
        self,
        host_a: Any,
        host_b: Any,
        prompts: Sequence[str] | None = None,
        *,
        repeats: int = 8,
        temperature: float | None = None,
        max_tokens: int = 24,
        logprobs: bool | None = None,
        embed: Embed | None = None,
        model: str | None = None,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        concurrency: int = 4,
        progress: bool = True,
    ) -> SameModel:
        """Ask two hosts the same and test whether their answers differ.

        Compared are wording, first word, meaning, log probabilities where both give
        them, and prompt tokens. Of pairs with one model one in twenty is told apart.

        Args:
            host_a: The name of a host, a client or a ``Kimi`` object.
            host_b: The other one.
            prompts: What to ask, eight open questions of our own if left out.
            repeats: Answers of each host to each prompt.
            temperature: Of all answers; what a host pins, else 0.7.
            max_tokens: Length of the answers.
            logprobs: Whether to ask for log probabilities; else where both have them.
            embed: From texts to vectors; the local host uses its own.
            model: The model to ask for, instead of each host's own.
            name: Makes it resumable: what was paid for is not asked again.
            max_cost: US dollars that are not passed: no more is asked then.
            concurrency: Answers at once per host.
            progress: Whether to show a bar.

        Returns:
            The ``SameModel``: ``.different``, ``.sentence`` and a table.

        Raises:
            BadInput: If an argument is wrong; nothing was asked then.
            KimiError: If a host does not answer. What came is its ``same_model``.

        Example:
            >>> found = kimi.same_model("local", "local", ["Name a colour."],
            ...                         repeats=4, max_tokens=4)
            >>> print(found.sentence)
            local and local (2) are not told apart, which does not prove ...
        """
        from kimikit.runner import WorkOptions
        from kimikit.verify import same

        asked = same.prompts_of(prompts, repeats)
        clients, facts = self._known([host_a, host_b], model)
        return same.same_model(
            clients,
            facts,
            asked,
            WorkOptions(concurrency, name, self.ledger, max_cost),
            repeats=repeats,
            params=same.params_of(facts, temperature, max_tokens, logprobs=logprobs),
            embed=embed or self._own_embed,
            progress=progress,
        )

    def _known(
        self, hosts: Any, model: str | None, wanted: Iterable[str] = ()
    ) -> tuple[dict[str, ChatClient], dict[str, Facts]]:
        """Return hosts by what each is called, and what is known of them."""
        clients = self._clients(hosts)
        return clients, {
            label: self._facts(label, client, model, wanted)
            for label, client in clients.items()
        }

    def _clients(self, hosts: Any) -> dict[str, ChatClient]:
        """Return the clients to ask, by what each is called."""
        from kimikit.display.renderable import by_label

        if hosts is None:
            return {self.host.name: self.client}
        if isinstance(hosts, str) or callable(getattr(hosts, "chat", None)):
            hosts = [hosts]
        named: Iterable[tuple[str | None, Any]]
        if isinstance(hosts, Mapping):
            named = hosts.items()
        elif isinstance(hosts, Iterable):
            named = ((None, each) for each in hosts)
        else:
            named = ()
        clients = [(given, self._client_of(each)) for given, each in named]
        found = by_label(
            (
                str(given or getattr(getattr(client, "host", None), "name", "host")),
                client,
            )
            for given, client in clients
        )
        if not found:
            raise BadInput(
                f"hosts is {hosts!r:.60}, which names none.",
                "Give names such as 'together', clients, or a dict of them.",
            )
        return found

    def _client_of(self, host: Any) -> ChatClient:
        from kimikit.runner.client import wire_of

        if isinstance(host, str) or host is None:
            return self._connection.client_of(host)
        client: ChatClient = wire_of(host)
        if not callable(getattr(client, "chat", None)):
            raise BadInput(
                f"A host is of type {type(host).__name__}.",
                "Give a name such as 'together', a Client or a Kimi object.",
            )
        return client

    def _facts(
        self, label: str, client: Any, model: str | None, wanted: Iterable[str]
    ) -> Facts:
        """Return what is known of a host before it is asked."""
        from kimikit.money.tokens import encoder
        from kimikit.verify.asking import Facts
        from kimikit.wire.hosts import model_facts

        host = getattr(client, "host", None)
        if host is None:
            return Facts(label=label, model=model or "", window=0)
        model = model or client.defaults.get("model") or host.model
        model = str(model or with_model(client).model)
        window = model_facts(host, model).context
        if not window and "context" in wanted and "models" in host.endpoints:
            with contextlib.suppress(KimiError):
                window = client.models().context(model)
        kimi = "kimi" in model.lower() and not host.stand_in
        needs = kimi and "prompt tokens" in wanted
        encode = encoder(client.fetch) if needs else None
        return Facts(label=label, model=model, host=host, window=window, encode=encode)
