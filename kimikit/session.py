"""``Kimi``: the one object of a notebook. It wires the rooms together and delegates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimikit import sweeps
from kimikit.connection import Connection, why
from kimikit.errors import BadInput
from kimikit.handle import Handle
from kimikit.money import estimates, tokens, views
from kimikit.money.budget import Budget, Budgets
from kimikit.money.ledger import Ledger, tag
from kimikit.notebook.screen import View, arm
from kimikit.tools import offered
from kimikit.tools import run as tools_run
from kimikit.types import Host, Reply
from kimikit.wire import Client, Stream, hosts, results
from kimikit.wire.secrets import Key

if TYPE_CHECKING:
    import httpx

    from kimikit import prompting, tools
    from kimikit.notebook.playground import Playground
    from kimikit.notebook.race_view import Race

KEYLESS = (
    "No key in the environment: the local stand-in answers, a small model, not Kimi. "
    "To ask Kimi, set a key such as TOGETHER_API_KEY and make a new Kimi()."
)


class Kimi(Handle):
    """A client, a ledger and the views, for one host.

    Args:
        host: A profile's name, such as ``together``. Without one: ``KIMIKIT_HOST``,
            else the first profile whose key variable is set, else the local stand-in.
        model: A model id; without one K2 Instruct where the host still serves it,
            else the host's newest Kimi.
        api_key: The key; without one the profile's environment variable is read.
        base_url: Another address; alone it makes a profile of its own.
        temperature: Default of every call; without one the model card's.
        max_tokens: Default limit of every answer.
        timeout: Seconds of silence to bear, instead of each phase's default.
        max_retries: Tries after the first, for errors that pass.
        extra_headers: HTTP headers of every request; a call takes them too.
        ledger: A ``Ledger``, or the path of its file.
        show: ``True`` or ``False`` forces or forbids the display of answers.
        transport: An httpx transport: the one test seam.
        remote_images: Whether answers may load pictures from the web, whose servers
            then learn of it; else they are links.
        budget: US dollars that this object may spend at most.
        **defaults: Further parameters of every call, such as ``top_p``.

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

    def __init__(
        self,
        host: str | None = None,
        *,
        model: str | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float | None = None,
        max_retries: int = 2,
        extra_headers: Mapping[str, Any] | None = None,
        ledger: Ledger | str | Path | None = None,
        show: bool | None = None,
        remote_images: bool = False,
        transport: httpx.BaseTransport | None = None,
        budget: Decimal | float | None = None,
        **defaults: Any,
    ) -> None:
        # Wrapped before anything can fail: a traceback shows what is local here.
        api_key = Key.of(api_key)
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
            "temperature": temperature,
            "max_tokens": max_tokens,
            "timeout": timeout,
            "max_retries": max_retries,
            "extra_headers": extra_headers,
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

    def chat(
        self,
        messages: Any,
        *,
        tools: Any = None,
        into: Any = None,
        show: bool | None = None,
        **params: Any,
    ) -> Reply:
        """Ask, watch the answer stream into the cell, and get it as a value.

        Stop (the kernel's interrupt) keeps what arrived: the reply is ``partial``.

        Args:
            messages: A string, a dict, a ``Message``, or a list of them.
            tools: Functions and tools that the model may ask to have called; see
                ``run`` to have that done.
            into: A type (dataclass, TypedDict, msgspec Struct, pydantic model, or a
                hint such as ``list[str]``) that the answer must fit: ``reply.parsed``.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: ``system``, ``image``, ``stream=False`` for one plain JSON answer,
                and any parameter of the API such as ``temperature`` or ``seed``.

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
                self, messages, into, tools=tools, show=show, **params
            )
        client, some = self.client, offered(tools)
        with self._view(show) as view:
            reply = client.chat(messages, tools=some, watch=view, **params)
            view.finish(reply)
        return reply

    def stream(self, messages: Any, *, tools: Any = None, **params: Any) -> Stream:
        """Ask, and take the answer step by step; see ``Client.stream``.

        The steps are yours to show: ``for delta in stream: print(delta, end="")``.

        Example:
            >>> for delta in kimi.stream("What is the capital of Germany?"):
            ...     print(delta, end="", flush=True)
            The capital of Germany is Berlin.
        """
        return self.client.stream(messages, tools=offered(tools), **params)

    def conversation(
        self, system: str | None = None, **options: Any
    ) -> prompting.Conversation:
        """Begin a conversation: ``.say()``, ``.fork()``, ``.undo()``, ``.tree()``.

        Example:
            >>> talk = kimi.conversation(system="You answer briefly.")
            >>> talk.say("What is the capital of Germany?").text
            'The capital of Germany is Berlin.'
            >>> [message["role"] for message in talk.messages]
            ['system', 'user', 'assistant']
        """
        from kimikit import prompting

        return prompting.Conversation(self, system=system, **options)

    def run(
        self, goal: Any, tools: Any, *, show: bool | None = None, **options: Any
    ) -> tools.Run:
        """Let the model work on a goal with tools until it answers or a limit ends it.

        Args:
            goal: A question, messages, or an earlier ``Run`` to go on from.
            tools: Functions, tools, or collections of them.
            show: ``True`` or ``False`` forces or forbids the live trace.
            **options: ``max_steps``, ``max_seconds``, ``max_cost``, ``approve`` and the
                rest of ``tools.run``, and parameters of the calls.

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
        from kimikit.notebook.approval import ask
        from kimikit.notebook.trace_view import trace_view

        options.setdefault("ask", ask)
        with trace_view(self._show if show is None else show) as view:
            return tools_run(self.client, goal, tools, watch=view, **options)

    # Comparing.

    def sweep(self, prompt: Any, **grid: Any) -> sweeps.Sweep:
        """Ask at every point of a grid, several times, and measure how answers differ.

        Args:
            prompt: A text or a conversation; a list or a dict of named ones is an axis.
            **grid: Any parameter given a list is an axis; ``repeats``, ``name``,
                ``dry_run``, ``max_cost`` and the rest as for ``sweeps.sweep``.
                ``embed`` compares meanings; the local host uses its own.

        Returns:
            The ``Sweep``; a cell shows its table.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> [(point["temperature"], point["n"]) for point in sweep.summary()]
            [(0, 2), (1, 2)]
        """
        if self._connection.embedded:
            grid.setdefault("embed", lambda texts: self.client.embed(texts).vectors)
        return sweeps.sweep(
            self._connection.async_client,
            prompt,
            store=self.ledger,
            estimate=self._bill,
            **grid,
        )

    def _bill(self, host: str, model: str, params: Any, prompt: Any) -> Any:
        """Price one call as it will be sent, the defaults of this object included."""
        asked = {**self.client.defaults, **params}
        return self.ledger.bill(host, model, asked, prompt)

    def race(
        self, prompt: Any, hosts: Any, *, show: bool | None = None, **params: Any
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

    def lab(self, task: Any, patterns: Any = None, **options: Any) -> prompting.Lab:
        """Ask one labelled set in several ways and compare; see ``prompting.lab``.

        Example:
            >>> from kimikit.prompting import PATTERNS, Task
            >>> rows = (("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"))
            >>> task = Task(instruction="Name the city.", rows=rows)
            >>> found = kimi.lab(task, {"bare": PATTERNS["zero-shot"]}, progress=False)
            >>> [(point["pattern"], point["n"]) for point in found.summary()]
            [('bare', 2)]
        """
        from kimikit import prompting

        return prompting.lab(self.client, task, patterns, store=self.ledger, **options)

    # The other endpoints; a host that lacks one says who has it.

    def complete(self, prompt: str, **params: Any) -> Reply:
        """Go on from a text; ``safety_model=`` and the API's parameters are taken.

        Example:
            >>> kimi.complete("The capital of France is", max_tokens=2).text
            ' Paris...'
        """
        return self.client.complete(prompt, **params)

    def embed(self, texts: Any, **params: Any) -> results.Embeddings:
        """Return a vector for each text.

        Example:
            >>> vectors = kimi.embed(["dog", "puppy", "oak"])
            >>> len(vectors), len(vectors[0])
            (3, 256)
        """
        return self.client.embed(texts, **params)

    def rerank(self, query: str, documents: Any, **params: Any) -> results.Ranking:
        """Sort documents by how well they fit a query.

        Example:
            >>> kimi.rerank("a pet", ["An oak tree.", "A young dog."])[0].text
            'A young dog.'
        """
        return self.client.rerank(query, documents, **params)

    def image(self, prompt: str, **params: Any) -> results.Picture:
        """Have a picture made; a cell shows it.

        Example:
            >>> picture = kimi.image("A fox in snow.", model="FLUX.1-schnell")
            >>> picture.save("fox.png").name
            'fox.png'
        """
        return self.client.image(prompt, **params)

    def speak(
        self, text: str, path: str | Path = "speech.mp3", **params: Any
    ) -> results.Speech:
        """Have a text spoken into a file; a cell shows a player.

        Example:
            >>> said = kimi.speak("Good morning.", "morning.mp3", model="sonic")
            >>> said.path.name
            'morning.mp3'
        """
        return self.client.speak(text, path, **params)

    def transcribe(self, audio: Any, **params: Any) -> results.Transcript:
        """Have speech written down.

        Example:
            >>> kimi.transcribe("morning.mp3", model="openai/whisper-large-v3").text
            'Good morning.'
        """
        return self.client.transcribe(audio, **params)

    def models(self) -> results.Models:
        """List the models that the host serves now.

        Example:
            >>> kimi.host.model in kimi.models()
            True
        """
        return self.client.models()

    def balance(self) -> results.Balance:
        """Tell what is left on the account.

        Example:
            >>> kimi.balance().available
            Decimal('49.58')
        """
        return self.client.balance()

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
