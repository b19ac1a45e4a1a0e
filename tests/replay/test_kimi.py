"""A session replays what it recorded: all verbs, costs, budgets, the environment."""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.answers import DONE, chunk, text
from support.fault_server import END, HOLD, FaultServer, Pause, event, head, plain, sse
from support.fault_server import chunk as http_chunk

from kimikit import BudgetExceeded, Kimi, NotRecorded
from kimikit.errors import BadInput
from kimikit.money.ledger import Ledger
from kimikit.prompting import PATTERNS, Task, map_reduce, vote
from kimikit.replay import RecordingFile

pytestmark = pytest.mark.usefixtures("local_host")

USED = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
PAID = sse(*text("Hello"), {**chunk("stop"), "usage": USED}, DONE)


def again(path: Path, **options: Any) -> Kimi:
    return Kimi("replay", path=path, speed=None, show=False, **options)


def timeless(view: str) -> str:
    """Return a view without what a clock wrote, and without its origin."""
    view = view.replace(" · replayed, recorded ", " ")
    return re.sub(r"\d+(\.\d+)? s\b|\d+ tokens/s|[\d-]{10}|\s+", " ", view)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TASK = Task(
    instruction="Answer with the number only.",
    rows=(("2 + 2", 4), ("1 + 8", 9)),
    shots=(("1 + 1", 2), ("3 + 2", 5)),
)

QUICK = {name: PATTERNS[name] for name in ("few-shot", "structured")}

DOES = {
    "chat": lambda kimi: kimi.chat("What is the capital of Germany?").text,
    "stream": lambda kimi: list(kimi.stream("Tell a story.", seed=1)),
    "run": lambda kimi: [
        m.get("content") for m in kimi.run("What is 2 + 3?", [add]).messages
    ],
    "sweep": lambda kimi: sorted(
        (t.params["temperature"], t.reply.text)
        for t in kimi.sweep(
            "Name a colour.", temperature=[0, 1.5], repeats=3, progress=False
        ).trials
    ),
    "figures": lambda kimi: [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in kimi.sweep(
            "Name a colour.", temperature=[0, 1.5], repeats=3, progress=False
        ).summary()
    ],
    "vote": lambda kimi: sorted(
        vote(kimi, "Is 2 + 2 4 or 5?", 3, temperature=1).counts
    ),
    "lab": lambda kimi: [
        {name: row[name] for name in ("accuracy", "tokens", "cost")}
        for row in kimi.lab(TASK, QUICK, max_tokens=12, progress=False).summary()
    ],
    "map": lambda kimi: [reply.text for reply in kimi.map(["Name a tree.", "A pet?"])],
    "map by batch": lambda kimi: [
        reply.text
        for reply in kimi.map(["A tree?", "A pet?"], name="m", via="batch").wait()
    ],
    "sweep by batch": lambda kimi: sorted(
        (t.params["temperature"], t.reply.text)
        for t in kimi.sweep(
            "Name a colour.", temperature=[0, 1.5], repeats=2, name="s", via="batch"
        )
        .wait()
        .trials
    ),
    "lab by batch": lambda kimi: [
        {name: row[name] for name in ("accuracy", "tokens", "cost")}
        for row in kimi.lab(
            TASK, QUICK, max_tokens=12, name="l", progress=False, via="batch"
        )
        .wait()
        .summary()
    ],
    "map_reduce by batch": lambda kimi: [
        reply.text
        for reply in map_reduce(
            kimi,
            ["It rained.", "A pump failed."],
            "What failed?",
            name="d",
            via="batch",
            max_tokens=8,
        )
        .wait()
        .merged
    ],
    "race": lambda kimi: {
        name: reply.text
        for name, reply in kimi.race(
            "Name a colour.",
            hosts={"cold": {"temperature": 0}, "warm": {"temperature": 1.2, "seed": 4}},
        ).replies.items()
    },
    "conversation": lambda kimi: _talk(kimi),
    "embed": lambda kimi: [list(v) for v in kimi.embed(["dog", "oak"])],
    "embed by batch": lambda kimi: [
        list(v) for v in kimi.embed(["dog", "oak"], name="e", via="batch").wait()
    ],
    "rerank": lambda kimi: [hit.text for hit in kimi.rerank("a pet", ["oak", "dog"])],
    "models": lambda kimi: list(kimi.models()),
    "complete": lambda kimi: kimi.complete("The capital of France is").text,
    "into": lambda kimi: (
        kimi.chat("Is the sky blue?", into=bool, temperature=0, max_tokens=60).parsed
    ),
}


def _talk(kimi: Kimi) -> list[Any]:
    talk = kimi.conversation("You answer briefly.")
    talk.say("What is the capital of Germany?")
    talk.say("And of France?")
    return talk.messages


@pytest.mark.parametrize("verb", DOES)
def test_a_verb_is_the_same_without_its_host(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMIKIT_BATCH_POLL_S", "0.1")
    path = tmp_path / "x.kimi"
    live = Kimi("local", record=path, show=False, max_tokens=4)
    first = DOES[verb](live)
    live.close()
    assert DOES[verb](again(path, max_tokens=4)) == first


def test_the_footer_says_that_it_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "x.kimi"
    first = Kimi("local", show=False, max_tokens=4)
    with first.record(path):
        first.chat("Hello")
    first.chat("This is not recorded")
    reply = again(path, max_tokens=4).chat("Hello")
    assert re.search(r"not Kimi · replayed, recorded \d{4}-\d\d-\d\d$", repr(reply))
    with pytest.raises(NotRecorded, match=r"\[-Hello-\]"):
        again(path, max_tokens=4).chat("This is not recorded")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.play(PAID)
        yield running


def priced(server: FaultServer, **options: Any) -> Kimi:
    kimi = Kimi("mine", base_url=server.url, api_key="k", model="m", **options)
    kimi.set_price(input=1, output=10)
    return kimi


def test_a_cost_is_what_it_was_and_no_budget_counts_it(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.kimi"
    live = priced(server, record=path, show=False)
    paid = live.chat("hi")
    assert paid.cost is not None
    monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.0001")
    replay = again(path)
    with replay.budget(usd=1) as budget:
        reply = replay.chat("hi")
    assert reply.cost == paid.cost
    assert budget.spent.usd == 0
    assert str(replay.ledger.total().cost) == str(paid.cost)
    assert "replayed" in repr(replay.ledger)
    assert live.ledger.total().calls == 1, "the user's own has only what was paid"


@pytest.mark.parametrize("way", ["of a call", "default"])
def test_a_dearer_tier_costs_and_is_held_in_a_replay_as_it_was(
    server: FaultServer, tmp_path: Path, way: str
) -> None:
    path, tier = tmp_path / "x.kimi", {"service_tier": "priority"}
    options, asked = ({}, tier) if way == "of a call" else (tier, {})
    live = priced(server, record=path, show=False, **options)
    live.set_price(model="m (priority)", input=2, output=30)
    paid = live.chat("hi", max_tokens=100, **asked)
    replay = again(path, **options)
    with replay.budget(usd=1):
        reply = replay.chat("hi", max_tokens=100, **asked)
    assert reply.cost == paid.cost is not None


@pytest.mark.parametrize("model", ["m", "big-2026", "auto"])
def test_a_fallback_costs_and_is_held_in_a_replay_as_it_was(
    server: FaultServer, tmp_path: Path, model: str
) -> None:
    path = tmp_path / "x.kimi"
    said = {"role": "assistant", "content": "x"}
    used = {"prompt_tokens": 10, "completion_tokens": 20}
    answer = {"choices": [{"message": said, "finish_reason": "stop"}], "usage": used}
    server.scripts.clear()
    server.play(plain({**answer, "model": model}))
    more = {} if model == "auto" else {"extra_body": {"models": ["m", "big"]}}
    live = priced(server, record=path, show=False)
    live.set_price(model="big", input=2, output=30)
    live.set_price(model="auto", input=5, output=60)
    asked = {"max_tokens": 100, "stream": False, "model": "m", **more}
    if model == "auto":  # the host chooses, and says so
        asked["model"] = "choose"
    paid = live.chat("hi", **asked)
    replay = again(path)
    with replay.budget(usd=1, allow_unpriced=model == "auto"):
        reply = replay.chat("hi", **asked)
    assert reply.cost == paid.cost is not None


def test_a_limit_ends_a_replay_where_it_ended_the_original(
    server: FaultServer, tmp_path: Path
) -> None:
    def ask(kimi: Kimi) -> tuple[int, str]:
        asked = 0
        with kimi.budget(tokens=5000) as budget, contextlib.suppress(BudgetExceeded):
            for asked in range(10):  # noqa: B007
                kimi.chat("hi", max_tokens=150)
        return asked, repr(budget)

    path = tmp_path / "x.kimi"
    first = ask(priced(server, record=path, show=False))
    assert 1 < first[0] < 9
    assert ask(again(path)) == first


def test_what_is_recorded_is_replayed_and_what_is_new_is_added(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "x.kimi"
    server.scripts.clear()
    server.play(head(), http_chunk(event(chunk(content="Hel"))), END)  # no finish
    server.play(PAID)
    options = {"record": path, "replay": True, "show": False}
    priced(server, **options).chat("hi")
    kimi = priced(server, **options)
    assert kimi.chat("hi").text == "Hello", "a cut answer is asked for again"
    kept = priced(server, ledger=Ledger(tmp_path / "other.db"), **options)
    reply = kept.chat("hi")
    assert (reply.text, len(server.requests)) == ("Hello", 2)
    assert "replayed" in reply.footer()
    assert reply.cost is not None
    assert reply.cost > 0
    assert kept.ledger.total().cost == 0, "nothing was paid"
    assert kept.chat("hi").replayed == "", "a second repeat is new"
    assert len(server.requests) == 3


def test_repeats_end_or_go_round(server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "x.kimi"
    server.scripts.clear()
    for said in ("one", "two"):
        server.play(sse(*text(said), chunk("stop"), DONE))
    live = priced(server, record=path, show=False)
    assert [live.chat("hi").text for _ in range(2)] == ["one", "two"]
    replay = again(path)
    assert [replay.chat("hi").text for _ in range(2)] == ["one", "two"]
    with pytest.raises(NotRecorded, match=r"2 times.*cycle=True"):
        replay.chat("hi")
    round_ = again(path, cycle=True)
    said = [round_.chat("hi").text for _ in range(5)]
    assert said == ["one", "two", "one", "two", "one"]


@pytest.mark.parametrize("verb", ["sweep", "map"])
def test_repeats_that_came_in_another_order_are_replayed_in_their_own(
    server: FaultServer, tmp_path: Path, verb: str
) -> None:
    path, options = tmp_path / "x.kimi", {"temperature": 1, "progress": False}
    server.scripts.clear()
    for n in range(6):
        end = sse(*text(f"{n}"), chunk("stop"), DONE)
        server.play(Pause(0.3 - 0.05 * n), end)

    def said(kimi: Kimi) -> list[str]:
        if verb == "map":
            return kimi.map(["hi"] * 6, **options).texts
        return [t.reply.text for t in kimi.sweep("hi", repeats=6, **options).trials]

    first = said(priced(server, record=path, show=False))
    assert said(again(path)) == first


@pytest.mark.parametrize("verb", ["chat", "map", "sweep"])
def test_a_recorded_wait_is_not_waited_for(
    server: FaultServer, tmp_path: Path, verb: str
) -> None:
    paced = {"temperature": 0.5, "concurrency": 1, "progress": False}

    def ask(kimi: Kimi) -> list[str]:
        if verb == "chat":
            return [kimi.chat("hi", temperature=0.5).text]
        if verb == "map":
            return kimi.map(["hi", "ho"], **paced).texts
        sweep = kimi.sweep("hi", repeats=2, **paced)
        return [trial.reply.text for trial in sweep.trials]

    said = ask(priced(server, record=tmp_path / "x.kimi", show=False))
    source = RecordingFile(tmp_path / "x.kimi")
    new = RecordingFile(tmp_path / "new.kimi", new=True)
    wait = [("retry-after", "30"), ("content-type", "application/json")]
    for _, question, answer in source.rows():
        first = msgspec.structs.replace(
            answer, status=429, headers=wait, good=False, created=answer.created - 1e-5
        )
        new.add_all([(question, first), (question, answer)], {}, {})
    (host,) = source.hosts()
    new.add_all([], {host.name: host}, {})
    start = time.monotonic()
    assert ask(again(tmp_path / "new.kimi")) == said
    assert time.monotonic() - start < 20


def test_a_stopped_sweep_has_the_same_answers(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "x.kimi"
    server.scripts.clear()
    for said in ("one", "two"):
        server.play(sse(*text(said), chunk("stop"), DONE))
    server.play(head(), http_chunk(event(chunk(content="thr"))), HOLD)

    def stop_at_the_third() -> None:
        while len(server.requests) < 3:
            server.left.wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    def said(kimi: Kimi) -> list[str]:
        sweep = kimi.sweep(
            "hi", temperature=0.5, repeats=4, concurrency=1, progress=False
        )
        assert len(sweep.trials) == 2
        return sorted(trial.reply.text for trial in sweep)

    live = priced(server, record=path, show=False)
    hand = threading.Thread(target=stop_at_the_third)
    hand.start()
    first = said(live)
    hand.join()
    assert said(again(path)) == first == ["one", "two"]


def test_the_environment_names_a_recording(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "x.kimi")
    monkeypatch.setenv("KIMIKIT_RECORD", path)
    monkeypatch.setenv("KIMIKIT_RECORDED_BY", "Ada")
    assert priced(server, show=False).chat("hi").text == "Hello"
    monkeypatch.delenv("KIMIKIT_RECORD")
    monkeypatch.setenv("KIMIKIT_REPLAY", path)
    monkeypatch.setenv("KIMIKIT_REPLAY_SPEED", "none")
    kimi = Kimi(show=False)
    assert (kimi.host.name, kimi.host.model) == ("mine", "m")
    assert kimi.chat("hi").replayed.startswith("replayed")
    assert "replayed from x.kimi" in kimi.why
    with pytest.raises(NotRecorded, match="once"):
        Kimi(show=False).chat("hi")
    assert Kimi("together", show=False).host.name == "together", "no key is needed"
    with pytest.raises(NotRecorded, match="host"):
        Kimi("together", show=False).chat("hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["KIMIKIT_REPLAY", "KIMIKIT_RECORD"])
def test_an_environment_that_names_no_recording_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "none" / "x.kimi"))
    with pytest.raises(BadInput, match=f"{name}=.* is set: .*x.kimi"):
        Kimi("mine", base_url="http://127.0.0.1:9/v1", api_key="k", model="m")


@pytest.mark.parametrize("where", ["", "none/x.kimi"])
def test_a_recording_in_no_folder_is_told_so(tmp_path: Path, where: str) -> None:
    with pytest.raises(BadInput, match="folder"):
        Kimi("together", api_key="k", record=tmp_path / where)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no path": ({"host": "replay"}, "needs a recording"),
    "no such file": ({"host": "replay", "path": "none.kimi"}, "no recording"),
    "speed": ({"host": "replay", "path": "x", "speed": 0}, "speed is 0"),
    "replay alone": ({"host": "local", "replay": True}, "replay=True needs"),
    "path alone": ({"host": "local", "path": "x"}, "belongs to the host"),
    "both": ({"host": "replay", "record": "x"}, "asks nobody"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_go_together_is_refused(name: str) -> None:
    options, words = WRONG[name]
    with pytest.raises(BadInput, match=words):
        Kimi(**options)
