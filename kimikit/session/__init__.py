"""Hold a notebook's one object, ``Kimi``, which joins the packages and delegates.

Enter at ``Kimi``. Its verbs stand by what they do: ``comparing`` (sweep, map, race),
``evaluating`` (lab, judge, frontier), ``verifying`` (verify, same_model), ``spending``,
``endpoints`` and ``answers``; ``connection`` is the way to a host.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from kimikit.display.cell import arm
from kimikit.errors import BadInput
from kimikit.money.budget import Budget, Budgets
from kimikit.money.ledger import Ledger
from kimikit.params import (
    OF_A_VIEW,
    ChatParams,
    RunParams,
    TalkParams,
    takes_chat_params,
)
from kimikit.secrets import Key, hidden
from kimikit.session.answers import Answers, refuse_many
from kimikit.session.connection import (
    Connection,
    ledger_of,
    profile_of,
    recorder_of,
    why,
)
from kimikit.session.endpoints import Endpoints
from kimikit.session.evaluating import Evaluating
from kimikit.session.spending import Spending
from kimikit.session.verifying import Verifying
from kimikit.tools import offered
from kimikit.tools import run as tools_run
from kimikit.types import Reply
from kimikit.types.pickling import Handle
from kimikit.wire import Stream
from kimikit.wire.hosts import hidden_address

if TYPE_CHECKING:
    import httpx

    from kimikit import prompting, tools
    from kimikit.tools.task import Approve, Ask

KEYLESS = (
    "No key in the environment: the local stand-in answers, a small model, not Kimi. "
    "To ask Kimi, set a key such as TOGETHER_API_KEY and make a new Kimi()."
)


class Kimi(Evaluating, Verifying, Spending, Endpoints, Answers, Handle):
    """A client, a ledger and the views, for one host.

    Args:
        host: A profile's name, such as ``together``, or ``replay``. Without one:
            ``KIMIKIT_HOST``, else the first profile whose key variable is set, else
            the local stand-in.
        api_key: The key; without one the profile's environment variable is read.
        base_url: Another address; alone it makes a profile of its own.
        max_retries: Tries after the first, for errors that pass.
        ledger: A ``Ledger``, or the path of its file.
        show: ``True`` or ``False`` forces or forbids the display of answers.
        transport: An httpx transport: the one test seam.
        remote_images: Whether answers may load pictures from the web, whose servers
            then learn of it; else they are links.
        budget: US dollars that this object may spend at most.
        record: A file to record every answer into, as it streams, without keys.
        replay: Whether to replay what ``record`` has, and ask only what is new.
        path: The recording, or the script, that the host ``replay`` answers from.
        speed: How fast it does: 1 as it was, ``None`` at once.
        cycle: Whether its answers begin again where a question is asked more often
            than it was recorded.
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
        record: str | Path | None = None,
        replay: bool = False,
        path: str | Path | None = None,
        speed: float | None = 1.0,
        cycle: bool = False,
        **defaults: Unpack[ChatParams],
    ) -> None:
        # Wrapped before anything can fail: a traceback shows what is local here.
        api_key, host = Key.of(api_key), hidden(host)
        base_url = hidden_address(base_url)
        model = defaults.pop("model", None)
        recorder = recorder_of(
            host, record=record, replay=replay, path=path, speed=speed, cycle=cycle
        )
        profile = profile_of(recorder, host, base_url=base_url, model=model)
        if not isinstance(ledger, Ledger | str | Path | None):
            raise BadInput(
                f"ledger is of type {type(ledger).__name__}.",
                "Pass a Ledger, or the path of its file.",
            )
        replays = recorder is not None and recorder.offline
        self.ledger = ledger_of(recorder, ledger)
        always = () if budget is None else (Budget(budget),)
        self._show = show
        self._images = remote_images
        arm()
        options: dict[str, Any] = {
            "max_retries": max_retries,
            "transport": transport,
            "observers": (Budgets(self.ledger, always, replays=replays),),
            "pricer": self.ledger.prices,
            "recorder": recorder,
            **defaults,
        }
        self._connection = Connection(
            profile, api_key, options, embedded=base_url is None and not replays
        )
        again = weakref.WeakMethod(self._ask_again)
        self._connection.continued_by(again)
        self.ledger.secrets.update(self._connection.client.secrets_in_use)
        self.ledger.askers[profile.name] = again
        self.why = why(host, base_url, profile, recorder)
        if self._connection.embedded and host is None:
            with contextlib.suppress(Exception):  # a stand-in must not pass for Kimi
                print(KEYLESS)  # noqa: T201

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

    def record(
        self, path: str | Path, *, replay: bool = False
    ) -> AbstractContextManager[None]:
        """Record what is answered inside a ``with`` block, to replay it to anybody.

        Args:
            path: The file; answers are added to one that is there.
            replay: Whether to replay what it has, and ask only what is new.

        Example:
            >>> with kimi.record("lesson.kimi"):
            ...     first = kimi.chat("Say hello.", max_tokens=8, temperature=0)
            >>> replay = Kimi("replay", path="lesson.kimi")
            >>> again = replay.chat("Say hello.", max_tokens=8, temperature=0)
            >>> again.text == first.text
            True
        """
        recorder = recorder_of(self.host.name, record=path, replay=replay)
        return self._connection.through(recorder, self.ledger)

    def __repr__(self) -> str:
        return f"Kimi({self.host.name!r}, model={self.host.model!r})"

    # Asking.

    @takes_chat_params()
    def chat(
        self,
        messages: Any,
        *,
        file: Any = None,
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
            file: What to ask about: the path or bytes of a text, a PDF, a picture or
                a video, or a list of them.
            into: A type (dataclass, TypedDict, msgspec Struct, pydantic model, or a
                hint such as ``list[str]``) that the answer must fit: ``reply.parsed``.
            retries: How often an answer that does not fit ``into`` goes back.
            schema: Whether the host, the prompt or both hold the answer to ``into``.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: For this call; see ``run`` to have ``tools`` called.

        Returns:
            The ``Reply``; in a later cell it shows the answer and its footer.

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
        refuse_many(messages)
        messages = self._with_files(messages, file, params.get("model"))
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
    def stream(
        self, messages: Any, *, file: Any = None, **params: Unpack[ChatParams]
    ) -> Stream:
        """Ask, and take the answer step by step; see ``Client.stream``.

        The steps are yours to show: ``for delta in stream: print(delta, end="")``.

        Args:
            messages: As for ``chat``.
            file: As for ``chat``.
            **params: For this call.

        Example:
            >>> for delta in kimi.stream("What is the capital of Germany?"):
            ...     print(delta, end="", flush=True)
            The capital of Germany is Berlin.
        """
        if "tools" in params:
            params["tools"] = offered(params["tools"])
        asked = self._with_files(messages, file, params.get("model"))
        return self.client.stream(asked, **params)

    @takes_chat_params(hidden=("system",), also=OF_A_VIEW)
    def conversation(
        self,
        system: str | None = None,
        *,
        context: int | None = None,
        overflow: Literal["trim", "summarise"] = "trim",
        count: Callable[[str], int] | None = None,
        **params: Unpack[TalkParams],
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
        file: Any = None,
        max_steps: int = 10,
        max_seconds: float = 300,
        max_cost: Decimal | float | None = None,
        approve: bool | Approve | None = None,
        ask: Ask | None = None,
        tool_timeout_s: float = 60,
        show: bool | None = None,
        **params: Unpack[RunParams],
    ) -> tools.Run:
        """Let the model work on a goal with tools until it answers or a limit ends it.

        Args:
            goal: A question, messages, or an earlier ``Run`` to go on from.
            tools: Functions, tools, or collections of them.
            file: Files to work on, as for ``chat``; with an earlier ``Run`` none.
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

        goal = self._with_files(goal, file, params.get("model"))
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
