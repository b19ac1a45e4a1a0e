"""The local host as the OpenAI and Together SDKs meet it, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
import together
from support.weather import BOTH, PARIS, TOOL

from kimikit import local

CLOCK: Any = {"type": "function", "function": {"name": "now", "description": "Time."}}
HELLO: Any = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module", params=["openai", "together"])
def client(request: pytest.FixtureRequest, local_host: local.Running) -> Any:
    kind = openai.OpenAI if request.param == "openai" else together.Together
    with kind(base_url=local_host.base_url, api_key=local_host.api_key) as made:
        yield made


@pytest.fixture(scope="module")
def sdk(local_host: local.Running) -> Any:
    with openai.OpenAI(
        base_url=local_host.base_url, api_key=local_host.api_key
    ) as made:
        yield made


def test_a_chat_has_text_usage_and_names_its_model(
    client: Any, local_host: local.Running
) -> None:
    reply = client.chat.completions.create(
        model=local_host.model, messages=HELLO, max_tokens=12, temperature=0.2
    )
    assert reply.choices[0].message.content.strip()
    assert reply.model == local_host.model == "smollm2-135m-instruct"
    assert reply.usage.prompt_tokens > 5
    assert 0 < reply.usage.completion_tokens <= 12


def test_a_stream_arrives_in_pieces_and_ends_with_its_usage(
    client: Any, local_host: local.Running
) -> None:
    stream = client.chat.completions.create(
        model=local_host.model,
        messages=HELLO,
        max_tokens=8,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True, "stream_options": {"include_usage": True}},
    )
    chunks = list(stream)
    pieces = [c.choices[0].delta.content for c in chunks if c.choices]
    assert len([piece for piece in pieces if piece]) >= 4
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 8


def test_a_tool_is_called_and_the_answer_uses_its_results(
    client: Any, local_host: local.Running
) -> None:
    reply = client.chat.completions.create(
        model=local_host.model, messages=BOTH, tools=[TOOL]
    )
    choice = reply.choices[0]
    calls = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert reply.usage.completion_tokens > 10
    assert [call.id for call in calls] == [
        "functions.get_weather:0",
        "functions.get_weather:1",
    ]
    cities = [json.loads(call.function.arguments)["city"] for call in calls]
    assert cities == ["Lagos", "Paris"]
    weather = {"Lagos": 31, "Paris": 12}
    results = [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": json.dumps({"temperature": weather[city], "unit": "celsius"}),
        }
        for call, city in zip(calls, cities, strict=True)
    ]
    history = [*BOTH, choice.message.model_dump(exclude_none=True), *results]
    answer = client.chat.completions.create(
        model=local_host.model, messages=history, tools=[TOOL]
    )
    said = answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert "Lagos" in said
    assert "31" in said


def test_embeddings_put_like_with_like(client: Any) -> None:
    answer = client.embeddings.create(
        model="wordllama-l2-supercat-256",
        input=["a cat", "a kitten", "the stock market"],
    )
    cat, kitten, market = (item.embedding for item in answer.data)
    assert len(cat) == 256

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert dot(cat, cat) == pytest.approx(1, abs=1e-5)
    assert dot(cat, kitten) > dot(cat, market)


def test_rerank_finds_the_llama(local_host: local.Running) -> None:
    with together.Together(
        base_url=local_host.base_url, api_key=local_host.api_key
    ) as client:
        answer = client.rerank.create(
            model="wordllama-l2-supercat-256",
            query="What animals can I find near Peru?",
            documents=[
                "The giant panda is a bear species endemic to China.",
                "The llama is a domesticated South American camelid, widely used as "
                "a meat and pack animal by Andean cultures.",
                "The wild Bactrian camel is endemic to Northwest China.",
            ],
            top_n=2,
        )
    assert len(answer.results) == 2
    assert answer.results[0].index == 1
    assert "llama" in answer.results[0].document.text
    assert answer.results[0].relevance_score > answer.results[1].relevance_score


def test_embeddings_can_be_shorter_and_plain(sdk: Any) -> None:
    def vector(**options: Any) -> list[float]:
        answer = sdk.embeddings.create(
            model="wordllama-l2-supercat-256", input="a cat", **options
        )
        assert answer.usage.prompt_tokens == 2
        return answer.data[0].embedding

    whole = vector(encoding_format="float")
    assert vector() == pytest.approx(whole, abs=1e-6)
    short = vector(dimensions=64)
    assert len(short) == 64
    assert sum(x * x for x in short) == pytest.approx(1, abs=1e-5)


def test_models_are_listed(sdk: Any, local_host: local.Running) -> None:
    chat, vectors = sdk.models.list()
    assert chat.id == local_host.model
    assert vectors.id == "wordllama-l2-supercat-256"
    assert (chat.owned_by, chat.context_length) == ("kimikit-local", 8192)


def test_completions_continue_a_text(sdk: Any, local_host: local.Running) -> None:
    answer = sdk.completions.create(
        model=local_host.model,
        prompt="One, two, three, four,",
        max_tokens=3,
        temperature=0,
    )
    assert "five" in answer.choices[0].text
    stream = sdk.completions.create(
        model=local_host.model, prompt="One,", max_tokens=4, stream=True
    )
    assert len([c for c in stream if c.choices and c.choices[0].text]) >= 3


def test_a_seed_repeats_and_n_gives_different_answers_once_counted(
    sdk: Any, local_host: local.Running
) -> None:
    def ask(**options: Any) -> Any:
        return sdk.chat.completions.create(
            model=local_host.model,
            messages=[{"role": "user", "content": "Tell me a story."}],
            max_tokens=8,
            temperature=1,
            **options,
        )

    def text(choice: Any) -> str:
        return choice.message.content

    assert text(ask(seed=7).choices[0]) == text(ask(seed=7).choices[0])
    three = ask(seed=7, n=3, extra_body={"ignore_eos": True})
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert len({text(choice) for choice in three.choices}) > 1
    assert three.usage.completion_tokens == 24
    assert three.usage.total_tokens == three.usage.prompt_tokens + 24


def test_several_answers_stream_side_by_side(
    sdk: Any, local_host: local.Running
) -> None:
    stream = sdk.chat.completions.create(
        model=local_host.model,
        messages=HELLO,
        max_tokens=6,
        n=6,  # more than there are slots
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    assert [bool(chunk.usage) for chunk in chunks].index(True) == len(chunks) - 1
    assert chunks[-1].usage.completion_tokens == 36
    ends = {
        choice.index: choice.finish_reason
        for chunk in chunks
        for choice in chunk.choices
        if choice.finish_reason
    }
    assert ends == dict.fromkeys(range(6), "length")


def test_stop_logprobs_and_schemas_are_obeyed(
    sdk: Any, local_host: local.Running
) -> None:
    def ask(text: str, **options: Any) -> Any:
        return sdk.chat.completions.create(
            model=local_host.model,
            messages=[{"role": "user", "content": text}],
            temperature=0,
            **options,
        ).choices[0]

    count = "Count: 1, 2, 3, 4, 5, 6, 7, 8"
    assert "5" not in ask(count, stop=["5"], max_tokens=40).message.content
    scored = ask("Hi", max_tokens=3, logprobs=True, top_logprobs=2)
    assert len(scored.logprobs.content) == 3
    assert all(len(token.top_logprobs) == 2 for token in scored.logprobs.content)
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}},
        "required": ["colour"],
    }
    form = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema},
    }
    shaped = ask("Name a colour.", response_format=form, max_tokens=40)
    assert json.loads(shaped.message.content)["colour"] in ("red", "green")
    free = ask("Name a colour.", response_format={"type": "json_object"}, max_tokens=9)
    assert free.message.content.startswith("{")


def test_streamed_calls_come_whole_then_their_finish_and_usage(
    sdk: Any, local_host: local.Running
) -> None:
    stream = sdk.chat.completions.create(
        model=local_host.model,
        messages=BOTH,
        tools=[TOOL],
        parallel_tool_calls=False,
        stream=True,
        stream_options={"include_usage": True},
    )
    calls, finish, usage = list(stream)
    assert calls.choices[0].delta.role == "assistant"
    call = calls.choices[0].delta.tool_calls[0]
    assert (call.index, call.id) == (0, "functions.get_weather:0")
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Lagos"}
    assert finish.choices[0].finish_reason == "tool_calls"
    assert usage.usage.total_tokens > usage.usage.prompt_tokens > 0


def test_chatter_and_none_get_words_not_calls(
    sdk: Any, local_host: local.Running
) -> None:
    for options in ({"messages": HELLO}, {"messages": BOTH, "tool_choice": "none"}):
        choice = sdk.chat.completions.create(
            model=local_host.model, tools=[TOOL], max_tokens=8, **options
        ).choices[0]
        assert choice.message.tool_calls is None
        assert choice.message.content


def test_required_and_named_force_a_call(sdk: Any, local_host: local.Running) -> None:
    def call(text: str, choice: Any, tools: Any) -> Any:
        message = (
            sdk.chat.completions.create(
                model=local_host.model,
                messages=[{"role": "user", "content": text}],
                tools=tools,
                tool_choice=choice,
            )
            .choices[0]
            .message
        )
        return message.tool_calls[0].function

    named = {"type": "function", "function": {"name": "now"}}
    forced = call("Write a poem about rain.", named, [TOOL, CLOCK])
    assert (forced.name, json.loads(forced.arguments)) == ("now", {})
    # Needle abstains here, so SmolLM2 fills the arguments in under their grammar.
    filled = call("Write a poem about rain.", "required", [TOOL])
    assert filled.name == "get_weather"
    assert isinstance(json.loads(filled.arguments)["city"], str)


def test_ids_count_over_the_conversation_and_old_results_stay_readable(
    sdk: Any, local_host: local.Running
) -> None:
    history: Any = [
        {"role": "developer", "content": "Be brief."},
        *BOTH,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "functions.get_weather:0",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": "not json"},
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "functions.get_weather:0",
            "content": "Error: no data",
        },
    ]
    failed = sdk.chat.completions.create(
        model=local_host.model, messages=history, max_tokens=40
    )
    assert "error" in failed.choices[0].message.content.lower()
    history += [
        {"role": "assistant", "content": "I do not know."},
        {"role": "user", "content": [{"type": "text", "text": BOTH[0]["content"]}]},
    ]
    again = sdk.chat.completions.create(
        model=local_host.model, messages=history, tools=[TOOL]
    )
    assert again.choices[0].message.tool_calls[0].id == "functions.get_weather:1"
    spoken = sdk.chat.completions.create(
        model=local_host.model, messages=history, max_tokens=4
    )
    assert spoken.choices[0].message.content


def test_of_many_tools_the_nearest_are_read(
    sdk: Any, local_host: local.Running
) -> None:
    def other(name: str, about: str) -> Any:
        function = {"name": name, "description": about}
        return {"type": "function", "function": function}

    many = [
        other("send", "Send an email."),
        other("play", "Play a song."),
        other("buy", "Buy shares."),
        other("lock", "Lock the door."),
        other("alarm", "Set an alarm."),
        TOOL,
    ]
    choice = sdk.chat.completions.create(
        model=local_host.model,
        messages=PARIS,
        tools=many,
        tool_choice="required",  # so its confidence need not be found
    ).choices[0]
    assert choice.message.tool_calls[0].function.name == "get_weather"
