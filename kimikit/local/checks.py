"""What requests may hold, and the error a client gets for anything else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kimikit.local.models import VECTORS_ID

MAX_ANSWERS = 16
"""The highest ``n`` of a request."""

VECTOR_SIZES = (64, 128, 256)
"""Lengths to which WordLlama was trained to be cut (Matryoshka)."""


Filled = Annotated[str, Meta(min_length=1)]


class Refused(Exception):
    """A request is refused, for a reason in OpenAI's form.

    Attributes:
        status: The answer's status.
        body: The answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": param, "code": code}
        self.status = status
        self.body = {"error": error}


def usage(read: int, made: int) -> dict[str, int]:
    """Return the tokens of a prompt and its answers as OpenAI counts them."""
    counted = {"prompt_tokens": read, "completion_tokens": made}
    return counted | {"total_tokens": read + made}


class Part(msgspec.Struct):
    """A part of a message's content."""

    type: str
    text: str = ""

    def __post_init__(self) -> None:
        if self.type != "text":
            raise ValueError(f"The local model reads text alone, not {self.type}")


class Named(msgspec.Struct):
    """A function by its name, with the arguments of a call or none."""

    name: Filled
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

    def __post_init__(self) -> None:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"A {self.role} message needs content")

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

    def __post_init__(self) -> None:
        if self.type == "json_schema" and "schema" not in (self.json_schema or {}):
            raise ValueError("A json_schema needs json_schema.schema")


class Asked(msgspec.Struct, kw_only=True):
    """What all requests share."""

    model: str | None = None


class Sampling(Asked, kw_only=True):
    """What chat and completions share."""

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

    def __post_init__(self) -> None:
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise Refused("Two tools have the same name.", param="tools")
        choice = self.tool_choice
        if not names and choice not in (None, "none", "auto"):
            msg = "tool_choice asks for a call, but no tools are offered."
            raise Refused(msg, param="tool_choice")
        if isinstance(choice, NamedChoice) and choice.function.name not in names:
            msg = f"tool_choice names {choice.function.name!r}, which is not in tools."
            raise Refused(msg, param="tool_choice")


class CompletionRequest(Sampling, kw_only=True):
    """``POST /v1/completions``; the prompt is one text, or its token ids."""

    prompt: Filled | Annotated[list[int], Meta(min_length=1)]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class EmbeddingRequest(Asked, kw_only=True):
    """``POST /v1/embeddings``."""

    input: Filled | Annotated[list[Filled], Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if self.dimensions not in (None, *VECTOR_SIZES):
            msg = f"dimensions must be one of {VECTOR_SIZES}."
            raise Refused(msg, param="dimensions")


class RerankRequest(Asked, kw_only=True):
    """``POST /v1/rerank``, as Together has it."""

    query: Filled
    documents: Annotated[list[str], Meta(min_length=1)]
    top_n: Annotated[int, Meta(ge=1)] | None = None


def parse(raw: bytes, kind: type[Asked], chat_id: str) -> Asked:
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
        msg = f"The model {asked.model!r} is not here; there are {chat_id} and "
        msg += f"{VECTORS_ID}."
        raise Refused(msg, status=404, param="model", code="model_not_found")
    if isinstance(asked, Sampling) and asked.model == VECTORS_ID:
        raise Refused(f"{VECTORS_ID} only embeds; ask {chat_id}.", param="model")
    return asked
