"""A parameter of a type that no host takes is refused before anything is sent."""

from typing import Any

import numpy as np
import pytest
from support.both import Both
from support.fault_server import FaultServer, plain

from kimikit.errors import BadInput

GOOD = plain({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("stop", 5, "Pass text or a list of texts."),
        ("stop", ["a", 1], "Pass text or a list of texts."),
        ("seed", 1.5, "Pass a whole number."),
        ("seed", "7", "Pass a whole number."),
        ("top_k", True, "Pass a whole number."),
        ("presence_penalty", "0.5", "Pass a number."),
        ("user", 5, "Pass text."),
        ("response_format", "json", "Pass a dict."),
        ("logit_bias", [1, 2], "Pass a dict."),
        ("parallel_tool_calls", "no", "Pass True or False."),
        ("logprobs", "yes", "Pass True or False or a whole number."),
        ("modalities", "text", "Pass a list of texts."),
    ],
)
def test_other_types_are_refused(
    name: str, value: Any, advice: str, server: FaultServer, both: Both
) -> None:
    server.play(GOOD)
    with pytest.raises(BadInput) as refused:
        both.chat(server.url, **{name: value})
    assert str(refused.value).startswith(f"{name} is ")
    assert str(refused.value).endswith(advice)
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", ("a", "b")),
        ("stop", np.str_("a")),
        ("seed", np.int64(-1)),
        ("presence_penalty", 1),
        ("logprobs", 5),
        ("logit_bias", {50: -100}),
        ("user", None),
    ],
)
def test_what_hosts_take_goes_out(
    name: str, value: Any, server: FaultServer, both: Both
) -> None:
    server.play(GOOD)
    assert both.chat(server.url, stream=False, **{name: value}).text == "ok"
    assert (name in server.requests[0].json) == (value is not None)
