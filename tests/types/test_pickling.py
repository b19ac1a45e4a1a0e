"""Public values can be copied and pickled, or say what to do instead."""

import copy
import pickle
from typing import Any

import httpx
import pytest

from kimikit import Kimi, errors, tool
from kimikit.errors import BadInput, KimiError
from kimikit.prompting import Conversation, Task, brief, map_reduce, vote
from kimikit.types import Reply


@tool
def double(x: int) -> int:
    """Double a number."""
    return 2 * x


def good(reply: Any) -> bool:
    return True


@pytest.fixture
def kimi(tmp_path):
    def answer(request: httpx.Request) -> httpx.Response:
        message = {"role": "assistant", "content": "blue [1]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice]})

    transport = httpx.MockTransport(answer)
    path = tmp_path / "ledger.sqlite3"
    return Kimi("mine", base_url="http://own.test/v1", api_key="secret-key-of-mine",
                model="m", ledger=path, show=False, transport=transport)  # fmt: skip


def values(kimi: Kimi) -> dict[str, Any]:
    quiet: dict[str, Any] = {"progress": False}
    talk = kimi.conversation()
    talk.say("q")
    sweep = kimi.sweep("q", temperature=[0, 1], repeats=2, **quiet,
                       metrics={"good": lambda r: True, "named": good},
                       embed=lambda texts: [[1.0]] * len(texts))  # fmt: skip
    task = Task(instruction="Name it.", rows=(("a", "blue"), ("b", "red")))
    made = brief(["The pump failed."], "What?")
    return {
        "reply": kimi.chat("q"), "sweep": sweep, "trial": sweep.trials[0],
        "page": sweep.compare(), "verdict": sweep.verdict, "told": sweep.recommended,
        "tree": talk.tree(), "brief": made, "report": made.ask(kimi.client),
        "digest": map_reduce(kimi.client, ["a"], "q", **quiet),
        "vote": vote(kimi.client, "q", 3, **quiet), "task": task, "tool": double,
        "lab": kimi.lab(task, **quiet), "host": kimi.host, "run": kimi.run("q", [double]),
        "count": kimi.count_tokens("q"), "call": kimi.ledger.calls()[0],
        "race": kimi.race("q", {"a": {"temperature": 0}}),
    }  # fmt: skip


@pytest.mark.parametrize(
    "twin_of",
    [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))],
)
def test_every_value_can_be_copied_and_pickled(kimi, twin_of):
    for name, value in values(kimi).items():
        twin = twin_of(value)
        assert type(twin) is type(value), name
        assert repr(twin) == repr(value), name


def test_a_sweep_keeps_its_scores_without_its_functions(kimi):
    sweep = values(kimi)["sweep"]
    twin = pickle.loads(pickle.dumps(sweep))
    assert twin.scores == sweep.scores == {"good": [True] * 4, "named": [True] * 4}
    assert twin.metrics == {"good": None, "named": good}
    assert twin.embed is None
    assert twin.summary()[0]["n"] == sweep.summary()[0]["n"]
    deep = copy.deepcopy(sweep)
    assert deep.scores == sweep.scores
    assert deep.embed is sweep.embed


@pytest.mark.parametrize("of", [copy.copy, copy.deepcopy])
def test_a_copied_kimi_answers_and_shares_its_ledger(kimi, of):
    for thing in (kimi, [kimi], {"nested": [kimi]}):
        twin = of(thing)
        while not isinstance(twin, Kimi):
            twin = next(iter(twin.values())) if isinstance(twin, dict) else twin[0]
        assert twin.chat("q").text == "blue [1]"
        assert twin.ledger is kimi.ledger
    assert of(kimi.client).chat("q").text == "blue [1]"


def test_what_holds_a_key_is_not_pickled_and_says_what_to_do(kimi):
    talk = kimi.conversation()
    for held in (kimi, kimi.client, talk, {"a": [kimi]}):
        with pytest.raises(BadInput, match="not pickled") as caught:
            pickle.dumps(held)
        assert caught.value.remedy
        assert "secret-key-of-mine" not in str(caught.value)


def test_a_ledger_is_its_file(kimi):
    kimi.set_price(input=1, output=2)
    kimi.chat("q")
    data = pickle.dumps(kimi.ledger)
    assert b"secret-key-of-mine" not in data
    twin = pickle.loads(data)
    assert len(twin.calls()) == 1
    assert twin.prices.lookup("mine", "m", 0) == kimi.ledger.prices.lookup(
        "mine", "m", 0
    )
    twin.close()


def test_a_copied_conversation_goes_its_own_way(kimi):
    talk = kimi.conversation()
    talk.say("one")
    twin = copy.deepcopy(talk)
    twin.say("two")
    assert (len(talk.messages), len(twin.messages)) == (2, 4)
    assert isinstance(twin, Conversation)
    assert len(talk.tree().turns) == 1


KINDS = [
    kind for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, KimiError)
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_itself_in_another_process(kind):
    try:
        error = kind("It broke.", "Mend it.")
    except TypeError:
        error = kind("It broke.", "Mend it.", reply=Reply(text="half"))
    error.add_note("a note")
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.__dict__ == error.__dict__
