"""Check what requests hold, and refuse anything else with OpenAI's kind of error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kimikit.local.models import VECTORS_ID

MAX_ANSWERS = 16
"""The highest ``n`` of a request."""

MAX_COMPLETIONS = 128
"""The most answers to all the prompts of a request."""

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
    """A message of a chat; a function of old is a tool whose id is its name."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None
    function_call: Named | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.function_call is not None:
            called = Called(self.function_call.name, self.function_call)
            self.tool_calls = [*(self.tool_calls or ()), called]
        if self.role == "function":
            self.role, self.tool_call_id = "tool", self.name
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


class NamedChoice(msgspec.Struct, tag_field="type", tag="function"):
    """A ``tool_choice`` that names the function to call."""

    function: Named


class AllowedTool(msgspec.Struct):
    """An entry of ``allowed_tools``: the function under its name, or its name alone."""

    type: Literal["function"]
    function: Named | None = None
    name: str | None = None


class Allowed(msgspec.Struct):
    """The tools of those offered that may be called."""

    tools: Annotated[list[AllowedTool], Meta(min_length=1)]
    mode: Literal["auto", "required"] = "auto"


class AllowedChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """A ``tool_choice`` that leaves a choice among some of the tools."""

    allowed_tools: Allowed


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
    stop: Filled | list[Filled] | None = None  # an empty one stops at once
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None

    def refuse(self, **given: object) -> None:
        """Refuse what is not served here: to ignore it would be a wrong answer."""
        for name, value in given.items():
            if value:
                msg = f"The local host does not serve {name}; leave it out."
                raise Refused(msg, param=name, code="unsupported_parameter")


class ChatRequest(Sampling, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Offered] | None = None
    tool_choice: (
        Literal["auto", "none", "required"] | NamedChoice | AllowedChoice | None
    ) = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: Literal["auto", "none"] | Named | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        modes = [mode for mode in self.modalities or () if mode != "text"]
        self.refuse(
            modalities=modes,
            audio=self.audio,
            web_search_options=self.web_search_options is not None,
        )
        self._take_functions()
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise Refused("Two tools have the same name.", param="tools")
        if isinstance(self.tool_choice, AllowedChoice):
            self._allow(self.tool_choice.allowed_tools, names)
        choice = self.tool_choice
        if not names and choice not in (None, "none", "auto"):
            msg = "tool_choice asks for a call, but no tools are offered."
            raise Refused(msg, param="tool_choice")
        if isinstance(choice, NamedChoice) and choice.function.name not in names:
            msg = f"tool_choice names {choice.function.name!r}, which is not in tools."
            raise Refused(msg, param="tool_choice")

    def _take_functions(self) -> None:
        """Take ``functions`` of old as the tools that they are."""
        if not self.functions:
            if self.function_call not in (None, "none", "auto"):
                msg = "function_call names a function, but none are offered."
                raise Refused(msg, param="function_call")
            return
        if self.tools or self.tool_choice:
            raise Refused("Give tools or functions, not both.", param="functions")
        self.tools = [Offered("function", function) for function in self.functions]
        self.parallel_tool_calls = False
        choice = self.function_call
        if isinstance(choice, Named):
            self.tool_choice = NamedChoice(choice)
        else:
            self.tool_choice = choice

    def _allow(self, allowed: Allowed, names: list[str]) -> None:
        """Leave only the tools that may be called."""
        wanted = {t.function.name if t.function else t.name for t in allowed.tools}
        for name in wanted:
            if name not in names:
                msg = f"tool_choice allows {name!r}, which is not in tools."
                raise Refused(msg, param="tool_choice")
        self.tools = [t for t in self.tools or () if t.function.name in wanted]
        self.tool_choice = allowed.mode


class CompletionRequest(Sampling, kw_only=True):
    """``POST /v1/completions``; a prompt is a text or its token ids, one or several."""

    prompt: Filled | Annotated[list[Filled | int | list[int]], Meta(min_length=1)]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    def __post_init__(self) -> None:
        self.refuse(
            suffix=self.suffix, best_of=self.best_of not in (None, 1, self.n or 1)
        )
        if self.echo and self.logprobs is not None:
            msg = "There are no logprobs of an echoed prompt here; leave one out."
            raise Refused(msg, param="echo")
        kinds = set(map(type, self.prompt)) if isinstance(self.prompt, list) else {str}
        if len(kinds) > 1 or [] in list(self.prompt):
            msg = "prompt is a text, a list of texts, or token ids of one or several."
            raise Refused(msg, param="prompt")
        if len(self.prompts) * (self.n or 1) > MAX_COMPLETIONS:
            msg = f"Prompts times n is at most {MAX_COMPLETIONS}; ask in several calls."
            raise Refused(msg, param="prompt")

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, each a text or its token ids."""
        given: Any = self.prompt
        alone = isinstance(given, str) or isinstance(given[0], int)
        return [given] if alone else given


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
    """``POST /v1/rerank``, as Together has it: documents are texts or objects."""

    query: Filled
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1)]
    rank_fields: list[str] | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None

    @property
    def texts(self) -> list[str]:
        """What is ranked: the fields that are named, ``text``, or all of a document."""
        return [
            document if isinstance(document, str) else self._text(document)
            for document in self.documents
        ]

    def _text(self, document: dict[str, Any]) -> str:
        fields = self.rank_fields or (["text"] if "text" in document else [*document])
        values = [document[name] for name in fields if name in document]
        if not values:
            msg = f"A document has none of the fields {fields}."
            raise Refused(msg, param="rank_fields")
        return "\n".join(
            each if isinstance(each, str) else msgspec.json.encode(each).decode()
            for each in values
        )


def unknown_model(name: str | None, chat_id: str) -> Refused:
    """Return the answer to who asks for a model that is not here."""
    msg = f"The model {name!r} is not here; there are {chat_id} and {VECTORS_ID}."
    return Refused(msg, status=404, param="model", code="model_not_found")


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
        raise unknown_model(asked.model, chat_id)
    if isinstance(asked, Sampling) and asked.model == VECTORS_ID:
        raise Refused(f"{VECTORS_ID} only embeds; ask {chat_id}.", param="model")
    return asked
