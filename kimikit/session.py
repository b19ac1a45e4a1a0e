"""``Kimi``: the one object of a notebook. It wires the rooms together and delegates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from kimikit import sweeps
from kimikit.connection import Connection, why
from kimikit.errors import BadInput
from kimikit.handle import Handle
from kimikit.money import estimates, tokens, views
from kimikit.money.budget import Budget, Budgets
from kimikit.money.ledger import Ledger, tag
from kimikit.notebook.screen import View, arm
from kimikit.params import (
    ChatParams,
    GridParams,
    takes_chat_params,
)
from kimikit.sweeps.grid import NOT_IN_A_GRID
from kimikit.tools import offered
from kimikit.tools import run as tools_run
from kimikit.types import Host, Reply
from kimikit.wire import Client, Stream, hosts
from kimikit.wire.secrets import Key

if TYPE_CHECKING:
    import httpx

    from kimikit import prompting, tools
    from kimikit.notebook.playground import Playground
    from kimikit.notebook.race_view import Race
    from kimikit.prompting.lab import Pattern
    from kimikit.sweeps.values import Embed, Metric
    from kimikit.tools.task import Approve, Ask

KEYLESS = (
    "No key in the environment: the local stand-in answers, a small model, not Kimi. "
    "To ask Kimi, set a key such as TOGETHER_API_KEY and make a new Kimi()."
)


class Kimi(Handle):
    """A client, a ledger and the views, for one host.

    Args:
        host: A profile's name, such as ``together``. Without one: ``KIMIKIT_HOST``,
            else the first profile whose key variable is set, else the local stand-in.
        api_key: The key; without one the profile's environment variable is read.
        base_url: Another address; alone it makes a profile of its own.
        max_retries: Tries after the first, for errors that pass.
        ledger: A ``Ledger``, or the path of its file.
        show: ``True`` or ``False`` forces or forbids the display of answers.
        transport: An httpx transport: the one test seam.
        remote_images: Whether answers may load pictures from the web, whose servers
            then learn of it; else they are links.
        budget: US dollars that this object may spend at most.
        **defaults: For every call, unless it says otherwise. Without ``model`` it is
            K2 Instruct where the host still serves it, else the host's newest Kimi;
            without ``temperature`` the model card's.

    Attributes:
        ledger: What all calls have cost, today and ever.
        why: Why this host was chosen, a sentence.

    Raises:
        UnknownHost: If no profile has this name.
        MissingKey: If the host needs a key and there is none.
        LocalHostError: If the local stand-in is needed and cannot be started.

    Example:
        >>> kimi = Kimi("local", max_tokens=50)
        >>> kimi.chat("What is the capital of Germany?", temperature=0).text
        'The capital of Germany is Berlin.'
    """

    @takes_chat_params()
    def __init__(
        self,
        host: str | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        max_retries: int = 2,
        ledger: Ledger | str | Path | None = None,
        show: bool | None = None,
        remote_images: bool = False,
        transport: httpx.BaseTransport | None = None,
        budget: Decimal | float | None = None,
        **defaults: Unpack[ChatParams],
    ) -> None:
        # Wrapped before anything can fail: a traceback shows what is local here.
        api_key = Key.of(api_key)
        model = defaults.pop("model", None)
        profile = hosts.resolve(host, base_url=base_url, model=model)
        if not isinstance(ledger, Ledger | str | Path | None):
            raise BadInput(
                f"ledger is of type {type(ledger).__name__}.",
                "Pass a Ledger, or the path of its file.",
            )
        self.ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        always = () if budget is None else (Budget(budget),)
        self._show = show
        self._images = remote_images
        arm()
        options: dict[str, Any] = {
            "max_retries": max_retries,
            "transport": transport,
            "observers": (Budgets(self.ledger, always),),
            "pricer": self.ledger.prices,
            **defaults,
        }
        self._connection = Connection(
            profile, api_key, options, embedded=base_url is None
        )
        self.ledger.secrets.update(self._connection.secrets)
        self.why = why(host, base_url, profile)
        if self._connection.embedded and host is None:
            print(KEYLESS)  # noqa: T201 - a stand-in must not pass for Kimi

    @property
    def client(self) -> Client:
        """The wire alone, connected; the local host is started again if it ended.

        Example:
            >>> kimi.client
            Client('local', model='smollm2-135m-instruct')
        """
        return self._connection.client

    @property
    def host(self) -> Host:
        """The host in use; holds no key.

        Example:
            >>> kimi.host.name, kimi.host.model
            ('local', 'smollm2-135m-instruct')
        """
        return self._connection.host

    @property
    def key_state(self) -> str:
        """Whether there is a key, with all but its end masked.

        Example:
            >>> kimi.key_state
            '... (made for this run)'
        """
        return self._connection.key_state

    def openai_kwargs(self) -> dict[str, str]:
        """Return ``base_url`` and ``api_key`` for another SDK of the same host.

        The key is a text whose repr hides it, so that a cell's value never shows it.

        Example:
            >>> from openai import OpenAI
            >>> with OpenAI(**kimi.openai_kwargs()) as client:
            ...     client.models.list().data[0].id
            'smollm2-135m-instruct'
        """
        return {"base_url": self.client.host.base_url, "api_key": self._connection.key}

    def close(self) -> None:
        """Close all connections; it also happens when the object is collected.

        Example:
            >>> kimi.close()
            >>> kimi.chat("Hello")
            Traceback (most recent call last):
            kimikit.errors.BadInput: The client is closed. Make a new one.
        """
        self._connection.close()

    def __repr__(self) -> str:
        return f"Kimi({self.host.name!r}, model={self.host.model!r})"

    # Asking.

    @takes_chat_params()
    def chat(
        self,
        messages: Any,
        *,
        into: Any = None,
        retries: int = 2,
        schema: Literal["auto", "host", "prompt"] = "auto",
        show: bool | None = None,
        **params: Unpack[ChatParams],
    ) -> Reply:
        """Ask, watch the answer stream into the cell, and get it as a value.

        Stop (the kernel's interrupt) keeps what arrived: the reply is ``partial``.

        Args:
            messages: A string, a dict, a ``Message``, or a list of them.
            into: A type (dataclass, TypedDict, msgspec Struct, pydantic model, or a
                hint such as ``list[str]``) that the answer must fit: ``reply.parsed``.
            retries: How often an answer that does not fit ``into`` goes back.
            schema: Whether the host, the prompt or both hold the answer to ``into``.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: For this call; see ``run`` to have ``tools`` called.

        Returns:
            The ``Reply``; as a cell's last value it shows its footer line.

        Raises:
            BadInput: If an argument is wrong; nothing was sent then.
            InvalidAnswer: If no answer fits ``into``, told its error twice.
            HostError: If the host, or the way to it, fails.

        Example:
            >>> reply = kimi.chat("What is the capital of Germany?", temperature=0)
            >>> reply.text
            'The capital of Germany is Berlin.'
            >>> kimi.chat("Is the sky blue?", into=bool).parsed
            True
        """
        if into is not None:
            from kimikit import prompting

            return prompting.structured(
                self,
                messages,
                into,
                retries=retries,
                schema=schema,
                show=show,
                **params,
            )
        if "tools" in params:
            params["tools"] = offered(params["tools"])
        with self._view(show) as view:
            reply = self.client.chat(messages, watch=view, **params)
            view.finish(reply)
        return reply

    @takes_chat_params()
    def stream(self, messages: Any, **params: Unpack[ChatParams]) -> Stream:
        """Ask, and take the answer step by step; see ``Client.stream``.

        The steps are yours to show: ``for delta in stream: print(delta, end="")``.

        Args:
            messages: As for ``chat``.
            **params: For this call.

        Example:
            >>> for delta in kimi.stream("What is the capital of Germany?"):
            ...     print(delta, end="", flush=True)
            The capital of Germany is Berlin.
        """
        if "tools" in params:
            params["tools"] = offered(params["tools"])
        return self.client.stream(messages, **params)

    @takes_chat_params(hidden=("system",))
    def conversation(
        self,
        system: str | None = None,
        *,
        context: int | None = None,
        overflow: Literal["trim", "summarise"] = "trim",
        count: Callable[[str], int] | None = None,
        **params: Any,
    ) -> prompting.Conversation:
        """Begin a conversation: ``.say()``, ``.fork()``, ``.undo()``, ``.tree()``.

        Args:
            system: The system message.
            context: The window in tokens; without it, what is known of the model.
            overflow: What to do when the window fills: leave the oldest turns out, or
                have the model sum them up.
            count: Counts the tokens of a text; without it they are estimated.
            **params: For every question.

        Example:
            >>> talk = kimi.conversation(system="You answer briefly.")
            >>> talk.say("What is the capital of Germany?").text
            'The capital of Germany is Berlin.'
            >>> [message["role"] for message in talk.messages]
            ['system', 'user', 'assistant']
        """
        from kimikit import prompting

        own: dict[str, Any] = {"context": context, "overflow": overflow, "count": count}
        return prompting.Conversation(self, system=system, **own, **params)

    @takes_chat_params(hidden=("tools",))
    def run(
        self,
        goal: Any,
        tools: Any,
        *,
        max_steps: int = 10,
        max_seconds: float = 300,
        max_cost: Decimal | float | None = None,
        approve: bool | Approve | None = None,
        ask: Ask | None = None,
        tool_timeout_s: float = 60,
        show: bool | None = None,
        **params: Any,
    ) -> tools.Run:
        """Let the model work on a goal with tools until it answers or a limit ends it.

        Args:
            goal: A question, messages, or an earlier ``Run`` to go on from.
            tools: Functions, tools, or collections of them.
            max_steps: Answers with calls before the last one is asked for.
            max_seconds: Wall time, looked at between steps; also bounds each tool.
            max_cost: US dollars, looked at after each answer.
            approve: ``True`` asks before every call, a callable is asked instead,
                ``False`` never asks; else only tools marked ``confirm`` are.
            ask: How a person is asked, given the call and its tool.
            tool_timeout_s: Seconds that one call may take.
            show: ``True`` or ``False`` forces or forbids the live trace.
            **params: For every call.

        Returns:
            The ``Run``: ``.reply .steps .messages .cost .stop_reason .timeline()``.

        Example:
            >>> def population(city: str) -> int:
            ...     "Number of people who live in a city."
            ...     return {"Lagos": 15_000_000, "Paris": 2_100_000}[city]
            >>> run = kimi.run("What is the population of Paris?", [population])
            >>> run.steps[0].results[0].value
            2100000
        """
        from kimikit.notebook.approval import ask as by_buttons
        from kimikit.notebook.trace_view import trace_view

        with trace_view(self._show if show is None else show) as view:
            return tools_run(
                self.client,
                goal,
                tools,
                max_steps=max_steps,
                max_seconds=max_seconds,
                max_cost=max_cost,
                approve=approve,
                ask=ask or by_buttons,
                tool_timeout_s=tool_timeout_s,
                watch=view,
                **params,
            )

    # Comparing.

    @takes_chat_params(hidden=NOT_IN_A_GRID)
    def sweep(
        self,
        prompt: Any,
        *,
        repeats: int = 5,
        host: str | Sequence[str | None] | None = None,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        dry_run: bool = False,
        metrics: Mapping[str, Metric] | None = None,
        embed: Embed | None = None,
        concurrency: int | None = None,
        rpm: float | None = None,
        on_fixed: Literal["raise", "omit"] = "raise",
        progress: bool | Callable[[sweeps.Progress], None] = True,
        fresh: bool = False,
        order_seed: int | None = None,
        **grid: Unpack[GridParams],
    ) -> sweeps.Sweep:
        """Ask at every point of a grid, several times, and measure how answers differ.

        Any parameter given a list is an axis, ``host`` too.

        Args:
            prompt: A text or a conversation; a list or a dict of named ones is an axis.
            repeats: Answers per point, each asked by itself.
            host: Other hosts to ask, by their names.
            name: Makes the sweep resumable: asked again, only missing answers are
                bought.
            max_cost: US dollars. A sweep likely to cost more is refused, and none goes
                on when the next call would likely pass it.
            dry_run: Return only the plan: calls, cost and minutes.
            metrics: Judgements of one answer, ``fn(reply)`` or ``fn(reply, params)``,
                true or false or a number.
            embed: From texts to vectors, for figures of meaning; the local host uses
                its own.
            concurrency: Calls at once per host; 8, or fewer where hosts serve few.
            rpm: Requests per minute and host; a host that says its limit is believed.
            on_fixed: At a host that pins a parameter: ``raise``, or ``omit`` it, which
                makes one point of many.
            progress: One line of progress, or a function that is given it.
            fresh: Start a named sweep over.
            order_seed: Seed of the shuffled order; ``seed=`` goes to the model.
            **grid: One value, or a list of values, which is an axis.

        Returns:
            The ``Sweep``; a cell shows its table.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> [(point["temperature"], point["n"]) for point in sweep.summary()]
            [(0, 2), (1, 2)]
        """
        if self._connection.embedded and embed is None:
            embed = self._embed
        given: dict[str, Any] = {**grid, **({} if host is None else {"host": host})}
        return sweeps.sweep(
            self._connection.async_client,
            prompt,
            repeats=repeats,
            name=name,
            max_cost=max_cost,
            dry_run=dry_run,
            metrics=metrics,
            embed=embed,
            concurrency=concurrency,
            rpm=rpm,
            on_fixed=on_fixed,
            progress=progress,
            fresh=fresh,
            order_seed=order_seed,
            store=self.ledger,
            estimate=self._bill,
            **given,
        )

    def _bill(self, host: str, model: str, params: Any, prompt: Any) -> Any:
        """Price one call as it will be sent, the defaults of this object included."""
        asked = {**self.client.defaults, **params}
        return self.ledger.bill(host, model, asked, prompt)

    def _embed(self, texts: list[str]) -> Any:
        return self.client.embed(texts).vectors

    @takes_chat_params()
    def race(
        self,
        prompt: Any,
        hosts: Any,
        *,
        show: bool | None = None,
        **params: Unpack[ChatParams],
    ) -> Race:
        """Ask several hosts or models at once, in live columns.

        Args:
            prompt: A text or messages.
            hosts: Names of hosts, or by label the ``host``, ``model`` and parameters
                of each column: ``{"cold": {"temperature": 0}, "warm": {...}}``.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: Parameters of every call.

        Returns:
            The ``Race``: replies and errors by column, shown as a table.

        Example:
            >>> lanes = {"cold": {"temperature": 0}, "warm": {"temperature": 1}}
            >>> list(kimi.race("Name a colour.", lanes).replies)
            ['cold', 'warm']
        """
        from kimikit.notebook.race_view import columns, race

        lanes = {
            label: self._lane(**{"host": None, **params, **own}, messages=prompt)
            for label, own in columns(hosts).items()
        }
        return race(lanes, show=self._show if show is None else show)

    def playground(self) -> Playground:
        """Return an app: prompt, sliders, Run and Stop, live answer, running cost.

        Example:
            >>> app = kimi.playground()  # a cell that ends in it shows it
        """
        from kimikit.notebook.playground import Playground

        return Playground(self, self._lane)

    def _lane(self, host: str | None, messages: Any, **params: Any) -> Any:
        from kimikit.notebook.lanes import Lane

        return Lane(partial(self._connection.async_client, host), messages, **params)

    @takes_chat_params(hidden=("tools", "n"))
    def lab(
        self,
        task: prompting.Task,
        patterns: Mapping[str, Pattern] | None = None,
        *,
        name: str | None = None,
        concurrency: int = 4,
        progress: bool = True,
        **params: Any,
    ) -> prompting.Lab:
        """Ask one labelled set in several ways and compare; see ``prompting.lab``.

        Args:
            task: The labelled set.
            patterns: Ways to ask by name, the baseline first.
            name: Makes it resumable: what was paid for is not asked again.
            concurrency: How many questions are asked at once.
            progress: Whether to show a bar.
            **params: The same for every pattern.

        Example:
            >>> from kimikit.prompting import PATTERNS, Task
            >>> rows = (("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"))
            >>> task = Task(instruction="Name the city.", rows=rows)
            >>> found = kimi.lab(task, {"bare": PATTERNS["zero-shot"]}, progress=False)
            >>> [(point["pattern"], point["n"]) for point in found.summary()]
            [('bare', 2)]
        """
        from kimikit import prompting

        return prompting.lab(
            self.client,
            task,
            patterns,
            store=self.ledger,
            name=name,
            concurrency=concurrency,
            progress=progress,
            **params,
        )

    # What it costs and looks like.

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
        model: str | None = None,
    ) -> None:
        """Set the price of a model of this host, for this object.

        Args:
            input: US dollars per million prompt tokens.
            output: US dollars per million tokens of the answer.
            cached_input: The same for prompt tokens from the cache, if they differ.
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

    def _view(self, show: bool | None) -> View:  # noqa: FBT001 - as in chat(show=)
        from kimikit.notebook.stream_view import answer_view

        costs = self.ledger
        return answer_view(
            self._show if show is None else show,
            total=lambda: costs.session_total(costs.session).cost,
            at_most=lambda _: costs.calls(1, session=costs.session)[0].at_most,
            images=self._images,
        )
