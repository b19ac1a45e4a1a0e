"""What is known of hosts and their wire, each fact with the tests that hold us to it.

The ids are those of the list of facts that this package began with: 1c are quirks of
parameters, 1d shapes of ``usage``, 1e bodies of errors, T pitfalls of tool calls, S
anomalies of streams. A test's id must hold the words given here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = [
    "tests/wire",
    *(f"tests/tools/test_{name}.py" for name in ("loop", "schema")),
    "tests/evals/test_tool_score.py",
    *(f"tests/sweeps/test_{name}.py" for name in ("asking", "hosts", "quota")),
    "tests/runner/test_limits.py",
]
FACTS = {
    "1c recommended temperatures": ("1c_the_default_temperature_is_the_model_cards",),
    "1c ranges of temperature and n": ("1c range is", "1c n is at most", "1c no n at"),
    "1c Moonshot pins temperature, top_p, n and penalties": (
        "1c temperature is pinned", "1c top_p is", "1c n is pinned", "1c penalties are",
        "Moonshot: temperature pinned", "test_other_pins", "test_a_range_is_no_pin",
    ),
    "1c even the allowed value was refused": ("1c_kimi_for_coding_refuses",),
    "1c thinking and effort": (
        "1c effort and thinking", "1c effort none", "1c K3 always", "1c K2.5 has no keep",
    ),
    "1c reasoning_content goes back with calls": ("1c_reasoning_goes_back",),
    "1c no empty content beside calls": ("1c_no_blank_content",),
    "1c tool_choice": ("1c K2 refuses", "1c K3 ignores", "required without tools"),
    "1c max_tokens is shared with reasoning": ("1c all tokens went", "1c_max_completion"),
    "1c partial mode": ("1c_partial_mode",),
    "1c $schema in JSON schemas": ("1c_schema_marks",),
    "1c seed, top_k, logprobs": ("1c seed", "1c top_k", "1c logprobs"),
    "1c prompt_cache_key is off": ("test_defaults_and_parameters",),
    "1c at most 128 tools": ("test_bad_tools",),
    "1c tools in a system message": ("1c_k3_takes_tools",),
    "1c no pictures from the net": ("1c no pictures", "test_what_moonshot_takes"),
    "1c endpoints of Moonshot": ("test_models", "test_balance", "test_count_tokens"),
    "1c rate tiers need pacing": (
        "test_requests_a_minute_are_held", "test_the_limits_that_a_host_names",
    ),
    "1c forms of a wait": (
        "test_the_wait_a_host_asks_for", "test_waits_as_dates", "503 is the platform",
    ),
    "1d": (
        "1d Moonshot puts", "1d Moonshot with include_usage", "1d OpenAI",
        "1d DeepSeek", "1d OpenRouter repeats", "1d Groq", "1d Together and vLLM",
        "1d usage null", "1d usage that grows", "1d more reasoning than answer",
    ),
    "1e Moonshot": (
        "Moonshot: bad key", "Moonshot: quota", "Moonshot: no balance, 403",
        "Moonshot: rate limit", "Moonshot: overloaded", "Moonshot: content filter",
        "Moonshot: model retired", "engine_overloaded", "test_regions_are_told_apart",
    ),
    "1e Groq": ("Groq: a call that fits no tool", "Groq: unknown message field"),
    "1e OpenRouter": ("OpenRouter: the cause is nested", "OpenRouter: no such model"),
    "1e Together": ("Together: model not serverless", "Together: dynamic limit"),
    "1e vLLM": ("vLLM: its own envelope", "vLLM: no such model"),
    "1e FastAPI": ("FastAPI: detail", "FastAPI: text detail"),
    "1e gateways": ("gateway: a page of HTML", "gateway: success false"),
    "T1": (
        "T1 native", "T1 an id without functions", "T1 an empty id", "T1 a missing id",
        "T1 an id and an empty name repeated", "test_t1_history", "test_t1_elsewhere",
    ),
    "T2": (
        "T2 K2 markers", "T2 markers split", "T2 the singular", "T2 no section",
        "T2 a section never closed", "T2 the end-of-turn", "T2 an OpenAI id",
        "T2 markers inside the arguments", "T2 only the tail", "T2 structured calls win",
        "T2 a name that was not offered", "T2 a name with hyphens", "T2 prose that",
        "T2 markers in a code fence", "T2 markers in the reasoning",
    ),
    "T3": ("T3 K3 markers in the content", "T3 K3 markers around", "T3 a narrated"),
    "T4": (
        "T4 stop with calls", "T4 no finish", "T4 tool_calls with none", "T4 an empty",
        "T4 a finish reason of", "finish_reason error",
    ),
    "T5": (
        'T5 arguments "', "T5 arguments null", "T5 arguments as an object",
        "T5 raw control", "T5 arguments as a list", "T5 arguments quoted twice",
        "T5 a brace too many", "T5 broken quotes", "S2 Groq: event error",
    ),
    "T6": (
        "T6 index missing", "T6 index null", "T6 index from 1 and with gaps",
        "T6 an index reused by a call", "T6 the id before the name", "T6 Groq",
        "T6 the name repeated", "T6 empty tool_calls", "T6 an empty role",
        "T6 arguments that parse early", "T6 parallel calls out of order",
    ),
    "T7": ("test_t7_answers", "two answers to a call", "a call without answer"),
    "T8": (
        "test_schemas_of_others_are_put_into_words_that_hosts_take",
        "test_type_has_its_schema", "test_what_has_no_schema_is_refused",
    ),
    "T9": (
        "test_a_model_that_always_calls_is_ended_by_each_limit",
        "test_the_same_call_is_run_twice", "test_an_empty_answer_is_asked_again_once",
        "T9 only thinking",
    ),
    "T10": ("test_triggers_and_schemas_are_counted", "test_what_counts_as_schema_valid"),
    "S1": ("S1 comments", "S8 JSON after blanks"),
    "S2": (
        "S2 OpenRouter", "S2 with empty choices", "S2 an error alone", "S2 Groq",
        "S2 silent emptiness",
    ),
    "S3": (
        "S3 the body ends", "S3 the connection ends", "S3 inside an event",
        "test_s3_a_finish_then_silence", "test_reset_keeps_the_text",
    ),
    "S4": (
        "S4 bytes after", "test_s4_an_end_marker", "T4 no finish", "S4 two finish",
        "S4 content after", "S4 no end marker",
    ),
    "S5": ("S5 a role alone", "S5 empty choices", "S5 a chunk with a leading blank"),
    "S6": (
        "S6 reasoning_content", "S6 reasoning and reasoning_details", "S6 think tags",
        "S6 reasoning_content and reasoning_details at once", "S6 thinking without",
        "S6 reasoning after", "S6 think tags split",
    ),
    "S7": (
        "S7 U+2028", "S7 characters of four bytes", "S7 CRLF", "S7 bare CR",
        "S7 a byte order", "S7 data without", "S7 data on several", "S7 no blank line",
        "test_one_byte_at_a_time", "test_cut_anywhere",
    ),
    "S8": (
        "S8 one JSON answer", "S8 a page of HTML", "test_s8_gzip",
        "test_retry_after_is_shown", "test_a_wait_is_honoured_with_jitter_and_a_cap",
    ),
    "S9": ("test_s9_silence", "test_s9_comments", "test_s9_the_first_byte"),
}  # fmt: skip


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest) -> str:
    """The ids of all tests of the rooms that meet the wire.

    Where all tests are run, a worker has them; they are collected where it has not.
    """
    items = request.session.items
    places = [ROOT / place for place in PLACES]
    wanted = {
        p
        for place in places
        for p in ([place], place.glob("test_*.py"))[place.is_dir()]
    }
    if wanted <= {item.path for item in items} and not request.config.option.keyword:
        ids = "\n".join(item.nodeid for item in items)
        return ids.encode().decode("unicode-escape", "replace")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *PLACES]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.encode().decode("unicode-escape", "replace")


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_has_its_tests(fact: str, collected: str) -> None:
    assert [words for words in FACTS[fact] if words not in collected] == []
