"""What a chat takes: one list, for editors, for Tab in a notebook, and for the check.

A misspelt option is refused before anything is sent: a host would ignore it, and the
answer would be paid for. The list is written without ``from __future__ import
annotations``, so that its documentation can be read at run time.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, ParamSpec, TypedDict, TypeVar, get_args

from kimikit.errors import BadInput, nearest

_P = ParamSpec("_P")
_R = TypeVar("_R")

Image = Any
"""A path, bytes, a URL, or several of these."""


class ChatParams(TypedDict, total=False):
    """Everything that a chat takes beside its messages; ``None`` leaves a key out."""

    system: Annotated[str | None, "A system message to begin with."]
    image: Annotated[Image, "A picture, or a list of them: a path, bytes or a URL."]
    tools: Annotated[Any, "Functions and tools that the model may ask to have called."]
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
    n: Annotated[int | None, "How many answers to one request."]
    tool_choice: Annotated[Any, "``auto``, ``none``, ``required``, or one tool's name."]
    parallel_tool_calls: Annotated[bool | None, "Whether an answer may hold many."]
    response_format: Annotated[Mapping[str, Any] | None, "JSON mode or a JSON Schema."]
    reasoning_effort: Annotated[str | None, "How long it thinks: low, high, max."]
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
    provider: Annotated[Mapping[str, Any] | None, "OpenRouter's choice of upstreams."]
    models: Annotated[Sequence[str] | None, "OpenRouter's models to fall back on."]
    transforms: Annotated[Sequence[str] | None, "OpenRouter's changes of the prompt."]
    modalities: Annotated[Sequence[str] | None, "Kinds of output, such as ``text``."]
    prediction: Annotated[Mapping[str, Any] | None, "Text that the answer may repeat."]
    service_tier: Annotated[str | None, "Priority and price class of the host."]
    store: Annotated[bool | None, "Whether the host may keep the answer."]
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


CHAT: Mapping[str, str] = {
    name: get_args(kind)[1] for name, kind in ChatParams.__annotations__.items()
}
"""Each parameter of a chat with its line of documentation."""


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
        raise BadInput(
            f"There is no option {name!r}.{nearest(name, [*own, *taken])}",
            f"If only this host knows it, pass extra_body={{{name!r}: ...}}.",
        )


def takes_chat_params(
    *, hidden: Collection[str] = ()
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Give a method with ``**params`` the signature and check of a chat's parameters.

    Tab and Shift+Tab in Jupyter read the signature; what neither the method nor a chat
    takes is refused before the method runs.

    Args:
        hidden: Parameters of a chat that this method cannot take.
    """
    taken = [name for name in CHAT if name not in hidden]

    def fill(method: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(method)
        named = [p for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD]
        own = {p.name for p in named if p.kind != p.POSITIONAL_ONLY}
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
            for name in taken
            if name not in own
        ]

        @functools.wraps(method)
        def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            refuse_unknown(kwargs, own, taken=taken)
            return method(*args, **kwargs)

        checked.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*named, *more]
        )
        checked.__doc__ = _documented(method.__doc__, [p.name for p in more])
        return checked

    return fill


def _documented(doc: str | None, names: Sequence[str]) -> str | None:
    """Put a line for each parameter in the place of the docstring's ``**params``."""
    lines = (doc or "").splitlines()
    for index, line in enumerate(lines):
        if line.strip().startswith("**params:"):
            indent = line[: len(line) - len(line.lstrip())]
            lines[index : index + 1] = [f"{indent}{n}: {CHAT[n]}" for n in names]
            return "\n".join(lines)
    return doc
