"""All recorded answers: shapes of ``usage`` (1d) here, the others beside."""

from __future__ import annotations

from support.anomalies import ODD, STREAMS
from support.answers import DONE, STOP, USED, Case, chunk, in_choice, text, usage, used
from support.calls import TOOLS

USAGES = (
    Case(
        "1d Moonshot puts usage into the last choice",
        (*text("a"), in_choice(used(cached_tokens=8)), DONE),
        {"usage": usage(8, 11, 8)},
    ),
    Case(
        "1d Moonshot with include_usage sends it in the choice and on top: once",
        (
            *text("a"),
            in_choice(used(cached_tokens=8)),
            {"choices": [], "usage": used(cached_tokens=8)},
            DONE,
        ),
        {"usage": usage(8, 11, 8)},
    ),
    Case(
        "1d OpenAI's details of cached and reasoning tokens",
        (
            *text("a"),
            chunk("stop"),
            {
                "choices": [],
                "usage": used(
                    prompt_tokens_details={"cached_tokens": 6},
                    completion_tokens_details={"reasoning_tokens": 9},
                ),
            },
            DONE,
        ),
        {"usage": usage(8, 11, 6, 9)},
    ),
    Case(
        "1d DeepSeek's prompt_cache_hit_tokens",
        (
            *text("a"),
            {**chunk("stop"), "usage": used(prompt_cache_hit_tokens=5)},
            DONE,
        ),
        {"usage": usage(8, 11, 5)},
    ),
    Case(
        "1d OpenRouter repeats the finish and carries usage with its cost",
        (
            *text("a"),
            chunk("stop", content=""),
            {
                **chunk("stop", content=""),
                "usage": used(cost=0.00023492, is_byok=False, cost_details={"x": None}),
            },
            DONE,
        ),
        {"usage": usage(8, 11, cost_usd="0.00023492"), "cost": "0.00023492"},
    ),
    Case(
        "1d OpenRouter with a key of one's own adds what the upstream takes",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": used(
                    cost=0.5, is_byok=True, cost_details={"upstream_inference_cost": 2}
                ),
            },
            DONE,
        ),
        {"cost": "2.5"},
    ),
    Case(
        "1d Groq sends the same usage three times: once",
        (
            *text("a"),
            {**chunk("stop"), "x_groq": {"id": "r", "usage": USED}, "usage": USED},
            {"choices": [], "usage": {**USED, "queue_time": 0.1, "prompt_time": 0.2}},
            DONE,
        ),
        {"usage": usage(8, 11)},
    ),
    Case(
        "1d Together and vLLM end with empty choices and usage",
        (*text("a"), chunk("stop"), {"choices": [], "usage": USED}, DONE),
        {"usage": usage(8, 11), "text": "a"},
    ),
    Case(
        "1d usage null on every chunk",
        (
            *({**c, "usage": None} for c in text("a", "b")),
            chunk("stop"),
            {"choices": [], "usage": USED},
            DONE,
        ),
        {"usage": usage(8, 11), "text": "ab"},
    ),
    Case(
        "1d usage that grows on every chunk counts once",
        (
            {**chunk(content="a"), "usage": {**USED, "completion_tokens": 1}},
            {**chunk(content="b"), "usage": {**USED, "completion_tokens": 2}},
            {**chunk("stop"), "usage": {**USED, "completion_tokens": 2}},
            DONE,
        ),
        {"usage": usage(8, 2), "text": "ab"},
    ),
    Case(
        "1d more reasoning than answer (Baseten) is clamped",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": used(completion_tokens_details={"reasoning_tokens": 99}),
            },
            DONE,
        ),
        {"usage": usage(8, 11, 0, 11)},
    ),
    Case(
        "1d odd values in usage do no harm",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": {
                    "prompt_tokens": 8.0,
                    "completion_tokens": 11,
                    "total_tokens": True,
                    "cached_tokens": "many",
                    "prompt_tokens_details": None,
                    "completion_tokens_details": [],
                    "cost": {"no": "number"},
                },
            },
            DONE,
        ),
        {"usage": usage(8, 11), "cost": None},
    ),
    Case(
        "1d only a total",
        (*text("a few words"), {**chunk("stop"), "usage": {"total_tokens": 19}}, DONE),
        {"usage": {"estimated": True, "prompt_tokens": 16, "completion_tokens": 3}},
    ),
    Case(
        "1d a total and a prompt",
        (
            *text("a"),
            {**chunk("stop"), "usage": {"prompt_tokens": 8, "total_tokens": 19}},
            DONE,
        ),
        {"usage": usage(8, 11)},
    ),
    Case(
        "1d the answer's tokens alone",
        (
            *text("a"),
            {**chunk("stop"), "usage": {"completion_tokens": 11, "total_tokens": 3}},
            DONE,
        ),
        {"usage": {"completion_tokens": 11}},
    ),
    Case(
        "1d no usage at all is estimated and marked",
        (*text("four"), *STOP),
        {"usage": {"estimated": True, "completion_tokens": 2}, "text": "four"},
    ),
)


ALL = (*USAGES, *TOOLS, *STREAMS, *ODD)
