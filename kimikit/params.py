"""List what a chat takes, once for editors, for Tab in a notebook, and for the check.

A misspelt option is refused before anything is sent: a host would ignore it, and the
answer would be paid for. The list is written without ``from __future__ import
annotations``, so that its documentation can be read at run time.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    ParamSpec,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    get_args,
)

from kimikit.errors import BadInput, nearest
from kimikit.secrets import hidden, names_secret

_P = ParamSpec("_P")
_R = TypeVar("_R")

Image = Any
"""A path, bytes, a URL, or several of these."""


class _System(TypedDict, total=False):
    system: Annotated[str | None, "A system message to begin with."]


class _Tools(TypedDict, total=False):
    tools: Annotated[Any, "Functions and tools that the model may ask to have called."]


class _N(TypedDict, total=False):
    n: Annotated[int | None, "How many answers to one request."]


class _Store(TypedDict, total=False):
    store: Annotated[bool | None, "Whether the host may keep the answer."]


class _Watched(TypedDict, total=False):
    watch: Callable[[Any], None] | None
    meta: dict[str, Any] | None


class _Viewed(_Watched, total=False):
    into: Any
    retries: int
    schema: str
    show: bool | None


class _Call(TypedDict, total=False):
    """What any call takes."""

    image: Annotated[Image, "A picture, or a list of them: a path, bytes or a URL."]
    prefill: Annotated[str | None, "Beginning of the answer, to be gone on from."]
    model: Annotated[str | None, "A model id, instead of the host's."]
    temperature: Annotated[float | None, "How random the choice of tokens is; from 0."]
    top_p: Annotated[float | None, "Share of probability that tokens are drawn from."]
    top_k: Annotated[int | None, "How many tokens are drawn from."]
    min_p: Annotated[float | None, "Least probability, relative to the likeliest."]
    max_tokens: Annotated[int | None, "Tokens of the answer at most, thinking too."]
    max_completion_tokens: Annotated[int | None, "The newer name of ``max_tokens``."]
    min_tokens: Annotated[int | None, "Tokens of the answer at least (vLLM)."]
    seed: Annotated[int | None, "Seed of the sampler, where the host has one."]
    stop: Annotated[str | Sequence[str] | None, "Texts at which the answer ends."]
    tool_choice: Annotated[Any, "``auto``, ``none``, ``required``, or one tool's name."]
    parallel_tool_calls: Annotated[bool | None, "Whether an answer may hold many."]
    response_format: Annotated[Mapping[str, Any] | None, "JSON mode or a JSON Schema."]
    reasoning_effort: Annotated[str | None, "Thinking: low, high, max; on, off."]
    thinking: Annotated[Mapping[str, Any] | None, "Moonshot's switch of thinking."]
    reasoning: Annotated[Mapping[str, Any] | None, "OpenRouter's switch of thinking."]
    logprobs: Annotated[bool | int | None, "Whether to return log probabilities."]
    top_logprobs: Annotated[int | None, "Alternatives per token."]
    logit_bias: Annotated[Mapping[str, float] | None, "Bias of single tokens, by id."]
    presence_penalty: Annotated[float | None, "Penalty of tokens that occurred."]
    frequency_penalty: Annotated[float | None, "Penalty of tokens by their count."]
    repetition_penalty: Annotated[float | None, "Factor against repetition (vLLM)."]
    ignore_eos: Annotated[bool | None, "Whether to go on past the end (vLLM)."]
    chat_template_kwargs: Annotated[Mapping[str, Any] | None, "For the chat template."]
    prompt_cache_key: Annotated[str | None, "Which prompt cache to use."]
    cache_ttl: Annotated[str | None, "How long the prompt is cached: ``5m``, ``1h``."]
    provider: Annotated[Mapping[str, Any] | None, "OpenRouter's choice of upstreams."]
    models: Annotated[Sequence[str] | None, "OpenRouter's models to fall back on."]
    transforms: Annotated[Sequence[str] | None, "OpenRouter's changes of the prompt."]
    modalities: Annotated[Sequence[str] | None, "Kinds of output, such as ``text``."]
    prediction: Annotated[Mapping[str, Any] | None, "Text that the answer may repeat."]
    service_tier: Annotated[str | None, "Priority and price class of the host."]
    metadata: Annotated[Mapping[str, str] | None, "Labels that the host keeps."]
    user: Annotated[str | None, "An id of your own user, for the host's checks."]
    safety_identifier: Annotated[str | None, "The newer name of ``user``."]
    safety_model: Annotated[str | None, "Together's moderation model."]
    verbosity: Annotated[str | None, "How long answers are: low, medium, high."]
    web_search_options: Annotated[Mapping[str, Any] | None, "The host's web search."]
    stream: Annotated[bool | None, "``False`` asks for one plain JSON answer."]
    stream_options: Annotated[Mapping[str, Any] | None, "``None`` leaves it out."]
    timeout: Annotated[Any, "Seconds of silence to bear in this call."]
    extra_headers: Annotated[Mapping[str, str] | None, "HTTP headers of this call."]
    extra_body: Annotated[Mapping[str, Any] | None, "What only this host knows."]


class ChatParams(_System, _Call, _Tools, _N, _Store, total=False):
    """Everything that a chat takes beside its messages; ``None`` leaves a key out."""


class RunParams(_System, _Call, _N, _Store, total=False):
    """What a run with tools takes for each of its calls."""


class ScoreParams(_System, _Call, total=False):
    """What a score of tool calls takes for each of them."""


class LabParams(ScoreParams, _Watched, total=False):
    """What a comparison of patterns, or the notes on parts, take for each call."""


class VoteParams(LabParams, _Tools, total=False):
    """What a vote takes for each of its answers."""


class SayParams(ChatParams, _Viewed, total=False):
    """What a question of a conversation takes, which ``Kimi.chat`` is handed."""


class TalkParams(_Call, _Tools, _N, _Store, _Viewed, total=False):
    """What a conversation takes for all its questions."""


class CompletionParams(ChatParams, total=False):
    """What the completion of a text takes."""

    suffix: Annotated[str | None, "What shall come after it, where a host takes it."]
    echo: Annotated[bool | None, "Whether the answer begins with the prompt."]
    best_of: Annotated[int | None, "From how many answers the host chooses."]


_V = TypeVar("_V")
_Axis: TypeAlias = _V | Sequence[_V]


class GridParams(TypedDict, total=False):
    """``ChatParams`` in a sweep: a value, or a list of values, which is an axis."""

    system: _Axis[str | None]
    image: Any
    prefill: _Axis[str | None]
    tools: Any
    model: _Axis[str | None]
    temperature: _Axis[float | None]
    top_p: _Axis[float | None]
    top_k: _Axis[int | None]
    min_p: _Axis[float | None]
    max_tokens: _Axis[int | None]
    max_completion_tokens: _Axis[int | None]
    min_tokens: _Axis[int | None]
    seed: _Axis[int | None]
    stop: Any
    n: _Axis[int | None]
    tool_choice: Any
    parallel_tool_calls: _Axis[bool | None]
    response_format: _Axis[Mapping[str, Any] | None]
    reasoning_effort: _Axis[str | None]
    thinking: _Axis[Mapping[str, Any] | None]
    reasoning: _Axis[Mapping[str, Any] | None]
    logprobs: _Axis[bool | int | None]
    top_logprobs: _Axis[int | None]
    logit_bias: _Axis[Mapping[str, float] | None]
    presence_penalty: _Axis[float | None]
    frequency_penalty: _Axis[float | None]
    repetition_penalty: _Axis[float | None]
    ignore_eos: _Axis[bool | None]
    chat_template_kwargs: _Axis[Mapping[str, Any] | None]
    prompt_cache_key: _Axis[str | None]
    cache_ttl: _Axis[str | None]
    provider: _Axis[Mapping[str, Any] | None]
    models: Any
    transforms: Any
    modalities: Any
    prediction: _Axis[Mapping[str, Any] | None]
    service_tier: _Axis[str | None]
    store: _Axis[bool | None]
    metadata: _Axis[Mapping[str, str] | None]
    user: _Axis[str | None]
    safety_identifier: _Axis[str | None]
    safety_model: _Axis[str | None]
    verbosity: _Axis[str | None]
    web_search_options: _Axis[Mapping[str, Any] | None]
    stream: _Axis[bool | None]
    stream_options: _Axis[Mapping[str, Any] | None]
    timeout: Any
    extra_headers: _Axis[Mapping[str, str] | None]
    extra_body: _Axis[Mapping[str, Any] | None]


_ELSEWHERE = {
    "api_key": "Make a client with it: Kimi(api_key=...).",
    "base_url": "Make a client of that address: Kimi(base_url=...).",
    "api_base": "Make a client of that address: Kimi(base_url=...).",
    "max_retries": "Set it when the client is made: Kimi(max_retries=...).",
    "default_headers": "Pass extra_headers={...}, to a call or to Kimi(...).",
    "headers": "Pass extra_headers={...}, to a call or to Kimi(...).",
    "organization": "Pass extra_headers={'OpenAI-Organization': ...}.",
    "project": "Pass extra_headers={'OpenAI-Project': ...}.",
    "extra_query": "Leave it out: what a gateway wants can stand in extra_headers=.",
    "default_query": "Leave it out: what a gateway wants can stand in extra_headers=.",
    "http_client": "Pass transport= when the client is made.",
}
"""Options of other clients that would land in the body, keys included."""

_OF_VERBS = {
    **dict.fromkeys(("repeats", "results"), "kimi.sweep"),
    **dict.fromkeys(("name", "via", "max_cost"), "kimi.sweep and kimi.map"),
    "template": "kimi.map",
    "max_steps": "kimi.run",
    "patterns": "kimi.lab",
}
"""Options that only some verbs have."""

OF_A_VIEW = frozenset({"into", "retries", "schema", "show", "watch", "meta"})
"""What ``Kimi.chat`` takes besides, which other verbs hand on to it."""

_MAY_HIDE = frozenset(
    {
        "extra_headers",
        "extra_body",
        "tools",
        "metadata",
        "provider",
        "web_search_options",
        "chat_template_kwargs",
    }
)
"""Parameters in which there may be secrets."""

NOT_OF_A_TEXT = frozenset({"system", "image", "prefill", "tools", "tool_choice"})
"""Parameters of a chat that the completion of a text cannot have."""

COMPLETION: Mapping[str, str] = {
    name: get_args(kind)[1] for name, kind in CompletionParams.__annotations__.items()
}
"""Each parameter of a chat or a completion with its line of documentation."""

CHAT = ChatParams.__annotations__.keys()
"""The parameters of a chat."""


def refuse_elsewhere(given: Iterable[str]) -> None:
    """Refuse options of other clients: in the body of a request a key would leak."""
    for name in given:
        if name in _ELSEWHERE:
            raise BadInput(f"{name}= is no option of a call.", _ELSEWHERE[name])


def hide(given: dict[str, Any]) -> None:
    """Make each secret among keywords a text that hides, before anything can fail.

    A traceback shows what is local wherever it passes.
    """
    for name in given:
        if name in _MAY_HIDE or names_secret(name):
            given[name] = hidden(given[name], name)


def hides(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Hide the secrets among the keywords of a method that checks them elsewhere."""

    @functools.wraps(method)
    def hiding(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        hide(kwargs)
        return method(*args, **kwargs)

    return hiding


def refuse_unknown(
    given: Iterable[str], own: Collection[str], *, taken: Collection[str] = CHAT
) -> None:
    """Refuse keywords that nothing takes.

    Args:
        given: The keywords of a call.
        own: The keywords that the called method names itself.
        taken: The parameters that it hands on.

    Raises:
        BadInput: Naming the nearest keyword that there is.
    """
    for name in given:
        if name in taken or name in own or name.startswith("extra_body."):
            continue
        refuse_elsewhere([name])
        if verb := _OF_VERBS.get(name):
            raise BadInput(f"There is no option {name!r} here.", f"Use it with {verb}.")
        meant = nearest(name, [*own, *taken])
        spell = "Mend its name; or, if" if meant else "If"
        raise BadInput(
            f"There is no option {name!r}.{meant}",
            f"{spell} only this host knows it, pass extra_body={{{name!r}: ...}}.",
        )


def takes_chat_params(
    *,
    hidden: Collection[str] = (),
    also: Collection[str] = (),
    of: Collection[str] = CHAT,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Give a method with ``**params`` the signature and check of a chat's parameters.

    Tab and Shift+Tab in Jupyter read the signature; what neither the method nor a chat
    takes is refused before the method runs.

    Args:
        hidden: Parameters of a chat that this method cannot take.
        also: Keywords that it hands on to a client, who may know them.
        of: The parameters, if they are others than a chat's.
    """
    # In their order for the signature, and found at once: each call of a sweep looks.
    taken = dict.fromkeys(name for name in of if name not in hidden)

    def fill(method: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(method)
        every = signature.parameters.values()
        named = [p for p in every if p.kind != p.VAR_KEYWORD]
        rest = next(p.name for p in every if p.kind == p.VAR_KEYWORD)
        own = {p.name for p in named if p.kind != p.POSITIONAL_ONLY} | {*also}
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
            for name in taken
            if name not in own
        ]

        checked = _checking(method, own, taken)
        checked.__signature__ = signature.replace(parameters=[*named, *more])
        checked.__doc__ = _documented(method.__doc__, rest, [p.name for p in more])
        return cast(Callable[_P, _R], checked)

    return fill


def _checking(method: Any, own: Collection[str], taken: Collection[str]) -> Any:
    """Return a method that refuses what it does not take before it begins."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            hide(kwargs)
            refuse_unknown(kwargs, own, taken=taken)
            try:
                return await method(*args, **kwargs)
            finally:
                kwargs.clear()
                args = ()

    else:

        @functools.wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            hide(kwargs)
            refuse_unknown(kwargs, own, taken=taken)
            try:
                return method(*args, **kwargs)
            finally:
                # A traceback shows what is local, and a key may be among it.
                kwargs.clear()
                args = ()

    return checked


def _documented(doc: str | None, rest: str, names: Sequence[str]) -> str | None:
    """Put a line for each parameter in the place of the docstring's ``**rest``."""
    lines = (doc or "").splitlines()
    for index, line in enumerate(lines):
        if line.strip().startswith(f"**{rest}:"):
            indent = line[: len(line) - len(line.lstrip())]
            lines[index:index] = [
                f"{indent}{name}: {COMPLETION[name]}" for name in names
            ]
            lines[index + len(names)] = line.replace(f"**{rest}:", "All these:")
            return "\n".join(lines)
    return doc


takes_completion_params = functools.partial(
    takes_chat_params, hidden=NOT_OF_A_TEXT, of=COMPLETION
)
"""The same for a method that completes a text."""
