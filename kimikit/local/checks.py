"""What requests may hold, and the error a client gets for anything else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.responses import Response

from kimikit.local.models import VECTORS_ID

MAX_ANSWERS = 16
"""The highest ``n`` of a request."""

VECTOR_SIZES = (64, 128, 256)
"""Lengths to which WordLlama was trained to be cut (Matryoshka)."""


class Refused(Exception):
    """A request is refused with an error in OpenAI's form."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        error = {"message": message, "type": kind, "param": param, "code": code}
        self.response = as_json({"error": error}, status)


def usage(read: int, made: int) -> dict[str, int]:
    """Return the tokens of a prompt and its answers as OpenAI counts them."""
    counted = {"prompt_tokens": read, "completion_tokens": made}
    return counted | {"total_tokens": read + made}


def as_json(value: Any, status: int = 200) -> Response:
    """Return ``value`` as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class Part(msgspec.Struct):
    """A part of a message's content."""

    type: str
    text: str = ""


class Named(msgspec.Struct):
    """A function by its name, with the arguments of a call or none."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: str = "{}"


class Called(msgspec.Struct):
    """A tool call in the history."""

    id: str
    function: Named


class Message(msgspec.Struct):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Function(msgspec.Struct):
    """A function that is offered."""

    name: Annotated[str, Meta(pattern=r"^[\w.-]{1,64}$")]
    description: str = ""
    parameters: dict[str, Any] | None = None


class Offered(msgspec.Struct):
    """An entry of ``tools``."""

    type: Literal["function"]
    function: Function


class NamedChoice(msgspec.Struct):
    """A ``tool_choice`` that names the function to call."""

    type: Literal["function"]
    function: Named


class StreamOptions(msgspec.Struct):
    """What else a stream is to hold."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The form that an answer is to have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class Sampling(msgspec.Struct):
    """What chat and completions share."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_ANSWERS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None


class ChatRequest(Sampling, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Offered] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None


class CompletionRequest(Sampling, kw_only=True):
    """``POST /v1/completions``; the prompt is one text, or its token ids."""

    prompt: str | list[int]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class EmbeddingRequest(msgspec.Struct):
    """``POST /v1/embeddings``."""

    input: str | Annotated[list[str], Meta(min_length=1, max_length=2048)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


class RerankRequest(msgspec.Struct):
    """``POST /v1/rerank``, as Together has it."""

    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1)]
    model: str | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None


T = TypeVar("T", ChatRequest, CompletionRequest, EmbeddingRequest, RerankRequest)


def parse(raw: bytes, kind: type[T], chat_id: str) -> T:
    """Return the request in ``raw``, checked.

    Args:
        raw: The body as it came.
        kind: What it should be.
        chat_id: The id of the chat model; the other known one is of embeddings.

    Raises:
        Refused: If it is anything else.
    """
    try:
        asked = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        what, _, place = str(exc).partition(" - at `")
        param = place.rstrip("`").removeprefix("$.") or None
        where = f" at {param}" if param else ""
        raise Refused(f"{what}{where}.", param=param) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Refused(f"The request is not JSON: {exc}.") from exc
    if asked.model not in (None, chat_id, VECTORS_ID):
        raise unknown_model(str(asked.model), chat_id)
    if isinstance(asked, Sampling) and asked.model == VECTORS_ID:
        raise Refused(f"{VECTORS_ID} only embeds; ask {chat_id}.", param="model")
    if isinstance(asked, ChatRequest):
        _check_chat(asked)
    elif isinstance(asked, CompletionRequest):
        if not asked.prompt:
            raise Refused("The prompt is empty.", param="prompt")
    elif isinstance(asked, EmbeddingRequest):
        if asked.dimensions not in (None, *VECTOR_SIZES):
            msg = f"dimensions must be one of {VECTOR_SIZES}."
            raise Refused(msg, param="dimensions")
        if "" in ([asked.input] if isinstance(asked.input, str) else asked.input):
            raise Refused("An empty text has no embedding.", param="input")
    return asked


def unknown_model(given: str, chat_id: str) -> Refused:
    """Return the error for a model that is not here, with those that are."""
    msg = f"The model {given!r} is not here; there are {chat_id} and {VECTORS_ID}."
    return Refused(msg, status=404, param="model", code="model_not_found")


def _check_chat(asked: ChatRequest) -> None:
    for index, message in enumerate(asked.messages):
        place = f"messages[{index}]"
        if message.content is None and message.role != "assistant":
            msg = f"A {message.role} message needs content, at {place}."
            raise Refused(msg, param=f"{place}.content")
        for part in message.content if isinstance(message.content, list) else ():
            if part.type != "text":
                msg = f"The local model reads text alone, not {part.type}, at {place}."
                raise Refused(msg, param=f"{place}.content")
    names = [tool.function.name for tool in asked.tools or ()]
    if len(set(names)) < len(names):
        raise Refused("Two tools have the same name.", param="tools")
    choice = asked.tool_choice
    if not names and choice not in (None, "none", "auto"):
        raise Refused(
            "tool_choice asks for a call, but no tools are offered.",
            param="tool_choice",
        )
    if isinstance(choice, NamedChoice) and choice.function.name not in names:
        msg = f"tool_choice names {choice.function.name!r}, which is not in tools."
        raise Refused(msg, param="tool_choice")
    form = asked.response_format
    if form and form.type == "json_schema" and "schema" not in (form.json_schema or {}):
        msg = "response_format json_schema needs json_schema.schema."
        raise Refused(msg, param="response_format")
