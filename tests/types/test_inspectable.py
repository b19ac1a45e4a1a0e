"""What can be done with an answer: go on with it, look at its request, run it again."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.both import KEY
from support.fault_server import FaultServer, plain, sse

from kimikit import BadInput, Client, Kimi, Reply, local

CUT = sse(*text("One, two,"), chunk("length"), DONE)
REST = sse(*text(" three."), chunk("stop"), DONE)
USED = {"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}


@pytest.fixture
def server() -> Any:
    with FaultServer() as server:
        yield server


def test_an_answer_goes_on_from_its_text(server: FaultServer) -> None:
    server.play(CUT)
    server.play(REST)
    kimi = Kimi("vllm", base_url=server.url, model="m", temperature=0.5)
    kimi.set_price(input=1, output=2)
    cut = kimi.chat(
        "Count.", max_tokens=5, seed=3, system="Brief.", chat_template_kwargs={}
    )
    whole = cut.continue_(max_tokens=50)
    assert (whole.text, whole.finish_reason) == ("One, two, three.", "stop")
    first, second = (request.json for request in server.requests)
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][2] == {"role": "assistant", "content": "One, two,"}
    assert second["continue_final_message"] is True
    same = ["temperature", "seed", "model", "stream", "stream_options"]
    assert [second[name] for name in same] == [first[name] for name in same]
    assert (first["max_tokens"], second["max_tokens"]) == (5, 50)
    # What both took, and the whole in the ledger's total.
    rows = kimi.ledger.calls()
    assert whole.cost == sum(row.cost for row in rows) > 0
    assert whole.usage.completion_tokens == sum(
        row.usage.completion_tokens for row in rows
    )
    assert whole.duration_s > cut.duration_s
    assert whole.created == cut.created
    assert whole.request == cut.request


def test_where_no_answer_can_begin_with_a_text_a_turn_asks_on(
    server: FaultServer,
) -> None:
    server.play(CUT)
    server.play(sse(*text(" three,"), chunk("length", **USED), DONE))
    server.play(REST)
    kimi = Kimi("novita", base_url=server.url, api_key=KEY, model="m", max_tokens=5)
    whole = kimi.chat("Count.").continue_().continue_(temperature=0)
    assert whole.text == "One, two, three, three."
    roles = [
        [m["role"] for m in request.json["messages"]] for request in server.requests
    ]
    assert roles == [["user"], *[["user", "assistant", "user"]] * 2]
    assert server.requests[2].json["messages"][1]["content"] == "One, two, three,"
    assert server.requests[2].json["temperature"] == 0
    assert whole.usage.estimated  # as the first part is
    assert whole.cost is None  # unknown is never 0


def test_prefill_of_the_first_part_is_sent_once(server: FaultServer) -> None:
    server.play(CUT)
    server.play(REST)
    kimi = Kimi("moonshot", base_url=server.url, api_key=KEY, model="moonshot-v1-8k")
    whole = kimi.chat("Count.", prefill="Zero, ", max_tokens=5).continue_()
    assert whole.text == "Zero, One, two, three."
    last = {"role": "assistant", "content": "Zero, One, two,", "partial": True}
    assert server.requests[1].json["messages"] == [
        {"role": "user", "content": "Count."},
        last,
    ]


def test_a_client_alone_and_a_text_go_on_too(server: FaultServer) -> None:
    server.play(CUT)
    server.play(REST)
    with Client("together", base_url=server.url, api_key=KEY, model="m") as client:
        assert client.chat("Count.").continue_().text == "One, two, three."
        server.play(sse({"choices": [{"text": "b", "finish_reason": "length"}]}, DONE))
        server.play(sse({"choices": [{"text": "c", "finish_reason": "stop"}]}, DONE))
        assert client.complete("a", max_tokens=1).continue_().text == "bc"
    assert server.requests[3].json["prompt"] == "ab"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(text="all", finish_reason="stop"), r"ended by itself \(stop\)"),
        (Reply(text=" ", finish_reason="length"), "has no text.*larger max_tokens"),
        (Reply(text="a", partial=True), "not known how this answer was asked"),
    ],
)
def test_what_cannot_go_on_says_why(reply: Reply, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        reply.continue_()


def test_who_asks_again(server: FaultServer) -> None:
    server.play(CUT)
    kimi = Kimi("vllm", base_url=server.url, model="m")
    cut, other = kimi.chat("Count."), Kimi("together", api_key=KEY)
    with pytest.raises(BadInput, match="came from vllm, and this Kimi asks together"):
        cut.continue_(other)
    with pytest.raises(BadInput, match=r"no option 'max_token'.*max_tokens"):
        cut.continue_(max_token=3)
    del kimi
    gc.collect()
    with pytest.raises(
        BadInput, match=r"No open Kimi asks vllm.*Pass one: Kimi\('vllm'\)"
    ):
        cut.continue_()
    assert len(server.requests) == 1
    again = Kimi("vllm", base_url=server.url, model="m", max_tokens=9)
    server.play(REST)
    assert pickle.loads(pickle.dumps(cut)).continue_(again).text == "One, two, three."
    assert "max_tokens" not in server.requests[1].json  # as the first part was asked


def test_what_is_asked_again_has_its_secrets(server: FaultServer) -> None:
    kimi = Kimi(base_url=server.url, model="m")
    mine = {"vault": {"api_key": "hunter2hunter2"}, "style": "plain"}
    said = f"Is {KEY} a key?"
    server.play(CUT)
    server.play(REST)
    cut = kimi.chat(said, extra_body=mine, extra_headers={"x-api-key": "opensesame"})
    whole = cut.continue_()
    assert whole.request["vault"] == {"api_key": "***"}
    assert "hunter2" not in repr(vars(cut.sent)) + cut.curl() + cut.python()
    for request in server.requests:
        assert request.json["vault"] == mine["vault"]
        assert request.json["messages"][0]["content"] == said
        assert request.headers["x-api-key"] == "opensesame"
    # A copy from elsewhere has only what is shown: no stars are sent for a secret.
    for again in (pickle.loads(pickle.dumps(cut)).continue_, stored(kimi, cut).replay):
        with pytest.raises(BadInput, match=r"extra_body\['vault'\] held is not kept"):
            again(kimi)
        having = Kimi(base_url=server.url, model="m", extra_body=mine)
        server.play(REST)
        again(having)
        assert server.requests[-1].json["vault"] == mine["vault"]
        assert server.requests[-1].json["style"] == "plain"
    assert len(server.requests) == 4


def stored(kimi: Kimi, reply: Reply) -> Any:
    return next(r for r in kimi.ledger.calls() if r.reply.text == reply.text)


def test_a_request_never_shows_a_key(server: FaultServer) -> None:
    server.play(sse(*text("ok"), chunk("stop"), DONE))
    kimi = Kimi("together", base_url=server.url, api_key=KEY, model="m")
    reply = kimi.chat(
        f"Is {KEY} a key?",
        extra_headers={"x-api-key": "another-secret-1234567", "x-team": "blue"},
        extra_body={"auth": {"token": "third-secret-12345678"}},
    )
    assert reply.request["messages"] == [{"role": "user", "content": "Is *** a key?"}]
    twins = [copy.deepcopy(reply), pickle.loads(pickle.dumps(reply))]
    for each in [reply, *twins]:
        shown = f"{each.request} {each.curl()} {each.python()} {each!r}"
        assert "secret" not in shown
        assert each == reply
    assert "secret" not in str(pickle.dumps(reply))
    assert '"x-api-key: $X_API_KEY"' in reply.curl()
    assert "'x-api-key': os.environ['X_API_KEY'], 'x-team': 'blue'" in reply.python()
    assert Reply(text="by hand").request == {}
    with pytest.raises(BadInput, match="not known how this answer was asked"):
        Reply(text="by hand").curl()


def test_the_command_and_the_program_ask_the_same(
    server: FaultServer, tmp_path: Path
) -> None:
    server.play(
        plain({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    kimi = Kimi("mine", base_url=server.url, api_key=KEY, model="m")
    odd = "It's \"5\" $HOME `id` \\ \n\u2028 ? \U0001f600 '''"
    reply = kimi.chat(
        [{"role": "system", "content": odd}, {"role": "user", "content": odd}],
        temperature=0.1,
        stop=["\n"],
        extra_body={"own": [1]},
        extra_headers={"x-team": "it's"},
        stream=False,
    )
    assert 'KIMIKIT_API_KEY"' in reply.curl()
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    known |= {"HOME": str(tmp_path), "KIMIKIT_API_KEY": KEY}
    for command in (["sh", "-c", reply.curl()], [sys.executable, "-c", reply.python()]):
        done = subprocess.run(
            command, capture_output=True, text=True, env=known, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "ok" in done.stdout
    first, *again = server.requests
    assert len(again) == 2
    for one in again:
        assert one.json == first.json
        assert one.headers["authorization"] == f"Bearer {KEY}"
        assert one.headers["x-team"] == "it's"


ODD = "opensesame"
HEADERS = [
    {"AUTHORIZATION": f"Basic {ODD}"}, {"authorization": None}, {"x-empty": ""},
    {"x-odd": "it's \"q\" $HOME `id` \\ !x;"}, {"x'api-key": ODD}, {"x-tab": "a\tb"},
    {"x`id`-$HOME-token": ODD}, {"1-token": ODD}, {"X-Api-Key": ODD}, {"x.token": ODD},
    {"Content-Type": "application/json; charset=utf-8", "Accept": "text/x"},
    {"x-api-key": f"{ODD} 1", "x_api_key": f"{ODD} 2", "x.api.key": f"{ODD} 3"},
    {"kimikit-api-key": ODD}, {"path": KEY}, {"-": KEY, "_": f"Bearer {KEY}"},
]  # fmt: skip


@pytest.mark.parametrize("extra", HEADERS, ids=lambda extra: next(iter(extra)))
def test_a_command_sends_any_header_as_it_was_and_shows_none_that_is_secret(
    server: FaultServer, extra: dict[str, str | None]
) -> None:
    server.play(
        plain({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    kimi = Kimi("mine", base_url=server.url, api_key=KEY, model="m")
    reply = kimi.chat("Hi", extra_headers=extra, stream=False)
    command = reply.curl()
    assert ODD not in command + reply.python()
    assert command.lower().count("authorization: ") == 1
    names = [n for n in re.findall(r'\$(\w+)"', command) if n != "KIMIKIT_API_KEY"]
    assert re.findall(r"os\.environ\['(\w+)", reply.python())[1:] == names
    secret = [v for v in extra.values() if v and (ODD in v or KEY in v)]
    known = {"PATH": os.environ["PATH"], "KIMIKIT_API_KEY": KEY}
    known |= dict(zip(names, secret, strict=True))
    assert len(known) == 2 + len(secret), "each has a variable that is free"
    subprocess.run(["sh", "-c", command], env=known, check=True, capture_output=True)
    asked, again = server.requests
    ours = {"user-agent", "accept", "accept-encoding", "connection"}
    ours -= {name.lower() for name in extra}
    first, second = (
        {
            n: v
            for n, v in one.headers.items()
            if n not in ours and n != "content-length"
        }
        for one in (asked, again)
    )
    assert second == first
    assert again.json == asked.json


@pytest.mark.parametrize("path", ["{a,b}", "[1-3]", "[x", "ü`é'$HOME", "a%7Bb"])
def test_a_command_asks_the_one_address_that_was_asked(
    server: FaultServer, path: str
) -> None:
    server.play(
        plain({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    reply = Kimi(base_url=f"{server.url}/{path}", model="m").chat("Hi", stream=False)
    subprocess.run(["sh", "-c", reply.curl()], check=True, capture_output=True)
    asked, again = server.requests
    assert again.path == asked.path
    assert ("--globoff" in reply.curl()) == ("[" in path)


@pytest.mark.parametrize("size", [200_000, 70_000])
def test_a_command_sends_a_text_that_is_too_long_for_an_argument(
    server: FaultServer, size: int
) -> None:
    server.play(
        plain({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    said = "END\n'$HOME' é\n" * (size // 14)
    reply = Kimi("mine", base_url=server.url, model="m").chat(said, stream=False)
    command = reply.curl()
    subprocess.run(["sh"], input=command, text=True, check=True, capture_output=True)
    asked, again = server.requests
    assert again.json == asked.json


def test_a_program_goes_where_a_local_host_of_elsewhere_is(server: FaultServer) -> None:
    server.play(
        plain({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    kimi = Kimi("local", base_url=server.url, api_key=KEY, model="m")
    reply = kimi.chat("Hi", stream=False)
    assert f"base_url='{server.url}', api_key=os.environ[" in reply.python()
    assert "$KIMIKIT_API_KEY" in reply.curl()


def test_both_run_against_the_local_host(
    local_host: local.Running, tmp_path: Path
) -> None:
    kimi = Kimi("local", temperature=0)
    reply = kimi.chat("What is the capital of Germany?", max_tokens=12)
    known = {n: v for n, v in os.environ.items() if n != "KIMIKIT_API_KEY"}
    run = [sys.executable, "-c", reply.python()]
    done = subprocess.run(run, capture_output=True, text=True, env=known, check=True)
    assert done.stdout.strip() == reply.text
    done = subprocess.run(
        ["sh", "-c", reply.curl()],
        capture_output=True,
        text=True,
        env=known | {"PATH": "/usr/local/bin:/usr/bin:/bin"},  # as in another terminal
        check=True,
    )
    events = [
        line[6:] for line in done.stdout.splitlines() if line.startswith("data: {")
    ]
    pieces = [json.loads(one)["choices"] for one in events]
    said = "".join(c[0]["delta"].get("content") or "" for c in pieces if c)
    assert said == reply.text


def test_the_local_model_goes_on(local_host: local.Running) -> None:
    kimi = Kimi("local", temperature=0)
    cut = kimi.chat("What is the capital of Germany?", max_tokens=4)
    assert cut.finish_reason == "length"
    whole = cut.continue_(max_tokens=20)
    assert whole.text == "The capital of Germany is Berlin."
    assert whole.usage.completion_tokens > cut.usage.completion_tokens
    assert whole.cost == 0 == kimi.ledger.total().cost
