"""A conversation keeps every turn, stays legal, and knows what each branch cost."""

import contextlib
import json
import os
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.prompting import FakeClient, answer, last

from kimikit.errors import BadInput, ContextTooLong, StreamError, TimedOut
from kimikit.prompting import Conversation
from kimikit.types import Host, HostModel, ToolCall, Usage

POSIX = pytest.mark.skipif(os.name == "nt", reason="files of POSIX")


def echo(messages, params):
    return f"re: {last(messages)}"


def said(talk):
    return [message["content"] for message in talk.messages]


def test_turns_follow_each_other():
    client = FakeClient(echo)
    talk = Conversation(client, system="Be brief.", temperature=0.3)
    reply = talk.say("one")
    talk.say("two", temperature=0.9)
    assert reply.text == "re: one"
    assert said(talk) == ["Be brief.", "one", "re: one", "two", "re: two"]
    assert client.calls[1]["messages"] == talk.messages[:-1]
    assert [call["temperature"] for call in client.calls] == [0.3, 0.9]
    assert talk.usage == Usage(20, 4)
    assert talk.cost == Decimal("0.002")


def test_undo_takes_back_but_forgets_nothing():
    talk = Conversation(FakeClient(echo))
    for word in ("one", "two", "three"):
        talk.say(word)
    talk.undo(2)
    assert said(talk) == ["one", "re: one"]
    assert talk.cost == Decimal("0.003"), "what was paid stays paid"
    assert "three" in str(talk.tree())
    assert str(talk.tree()).count("set aside") == 2
    with pytest.raises(BadInput, match="2 turns"):
        talk.undo(2)


def test_an_edited_question_is_asked_again():
    talk = Conversation(FakeClient(echo), system="s")
    talk.say("one")
    talk.say("two")
    reply = talk.edit(1, "uno")
    assert reply.text == "re: uno"
    assert said(talk) == ["s", "uno", "re: uno"]
    assert "two" in str(talk.tree())


def test_an_edited_answer_is_gone_on_from_and_costs_nothing():
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    assert talk.edit(-1, "ONE") is None
    talk.say("two")
    assert said(talk) == ["one", "ONE", "two", "re: two"]
    assert talk.cost == Decimal("0.002")
    assert "edited" in str(talk.tree())


def test_the_system_message_can_be_edited():
    talk = Conversation(FakeClient(echo), system="s")
    talk.say("one")
    talk.edit(0, "t")
    assert said(talk) == ["t", "one", "re: one"]


def test_an_edit_that_fails_leaves_the_history_as_it_was():
    client = FakeClient(
        ["a", TimedOut("Silence.", "Try again."), answer("", partial=True)]
    )
    talk = Conversation(client)
    talk.say("one")
    with pytest.raises(TimedOut):
        talk.edit(0, "uno")
    assert said(talk) == ["one", "a"]
    talk.edit(0, "uno")
    assert said(talk) == ["one", "a"]
    with pytest.raises(BadInput, match="no message 2"):
        talk.edit(2, "x")


def test_forks_go_on_by_themselves():
    talk = Conversation(FakeClient(echo), system="s")
    talk.say("one")
    other = talk.fork("other")
    other.edit(0, "t")
    other.say("left")
    talk.say("right")
    assert said(other) == ["t", "one", "re: one", "left", "re: left"]
    assert said(talk) == ["s", "one", "re: one", "right", "re: right"]
    assert (talk.cost, other.cost) == (Decimal("0.002"), Decimal("0.001"))
    assert said(talk.branch("other")) == said(other)
    assert talk.fork().name == "branch 3"
    with pytest.raises(BadInput, match="There is a branch"):
        talk.fork("other")
    with pytest.raises(BadInput, match="Did you mean 'other'"):
        talk.branch("othr")


def test_the_tree_shows_branches_and_their_costs():
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    talk.fork("other").say("left <b>")
    talk.say("right")
    text = str(talk.tree())
    assert "main (this one)  2" in text
    assert "\u00a0\u00a0\u25142" in text, "only turns after a fork are indented"
    assert "all" in text
    assert "20 -> 4 tokens \u00b7 $0.0020" in text
    assert "\u2190\u00a0other" in text
    page = talk._repr_html_()
    assert "left &lt;b&gt;" in page
    assert "<b>" not in page
    assert "fake-1" in page
    line = "Conversation main · 2 turns · fake · fake-1 · 20 -> 4 tokens · $0.0020"
    assert repr(talk) == line


def test_an_unpriced_turn_makes_the_cost_unknown():
    talk = Conversation(FakeClient(echo, cost=None))
    assert talk.cost == 0
    talk.say("one")
    assert talk.cost is None
    assert "unpriced" in repr(talk)


def test_a_stopped_answer_stays_and_the_history_is_legal():
    call = ToolCall("functions.f:0", "f")
    client = FakeClient([answer("half an", partial=True, tool_calls=(call,)), "b"])
    talk = Conversation(client)
    assert talk.say("one").partial
    talk.say("two")
    assert said(talk) == ["one", "half an", "two", "b"]
    assert "tool_calls" not in talk.messages[1]
    assert "stopped" in str(talk.tree())


@pytest.mark.parametrize(
    "failure",
    [
        answer("", partial=True),
        answer("", truncated=True),
        answer(""),
        StreamError("Broken.", "Again.", reply=answer("half")),
    ],
)
def test_an_answer_that_failed_is_paid_but_in_no_history(failure):
    talk = Conversation(FakeClient([failure, "b"]))
    with contextlib.suppress(StreamError):
        talk.say("one")
    assert talk.messages == []
    assert talk.cost == Decimal("0.001")
    assert "failed" in str(talk.tree())
    talk.say("one")
    assert said(talk) == ["one", "b"]


def test_a_truncated_answer_with_text_stays_marked():
    talk = Conversation(FakeClient([answer("half", truncated=True)]))
    talk.say("one")
    assert said(talk) == ["one", "half"]
    assert "cut off" in str(talk.tree())


def test_tool_calls_and_results_stay_in_pairs():
    call = ToolCall("functions.f:0", "f", '{"x": 1}')
    client = FakeClient([answer("", tool_calls=(call,)), "It is 2.", "Fine."])
    talk = Conversation(client)
    talk.say("What is f(1)?")
    assert talk.messages[-1]["role"] == "user", (
        "a call without results is not legal yet"
    )
    talk.say([{"role": "tool", "tool_call_id": call.id, "content": "2"}])
    assert [m["role"] for m in client.calls[1]["messages"]] == [
        "user", "assistant", "tool",
    ]  # fmt: skip
    assert "calls f" in str(talk.tree())
    talk.undo()
    talk.say("Never mind.")
    assert [m["role"] for m in client.calls[2]["messages"]] == ["user", "user"]


def test_pictures_are_named_in_the_tree():
    talk = Conversation(FakeClient(["A cat."]))
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {}}]
    talk.say([{"role": "user", "content": parts}])
    assert "What? [image]" in str(talk.tree())


def test_a_full_window_leaves_out_the_oldest_and_says_so(capsys):
    client = FakeClient(lambda messages, params: "word " * 40)
    talk = Conversation(client, context=600, max_tokens=200)
    replies = [talk.say(f"question {i} " + "x" * 160) for i in range(6)]
    assert replies[3].notes == ()
    assert replies[4].notes == (
        "The window of 600 tokens is full: the oldest 2 turns were left out.",
    )
    sent = client.calls[4]["messages"]
    assert sent[0]["content"].startswith("question 2")
    assert client.calls[5]["messages"][0] == sent[0], "the prefix stays for the cache"
    assert len(talk.messages) == 12, "the history itself is whole"
    assert capsys.readouterr().out == f"{replies[4].notes[0]}\n", (
        "once, where it is cut"
    )
    assert "2 left out" in str(talk.tree())


def test_a_silent_conversation_cuts_in_silence(capsys):
    client = FakeClient(lambda messages, params: "word " * 40)
    talk = Conversation(client, context=300, max_tokens=100, show=False)
    assert [talk.say("x" * 200).notes for _ in range(3)][-1]
    assert capsys.readouterr().out == ""


def test_the_window_is_the_models_own():
    host = Host(
        name="h", base_url="http://x", model="m", models=(HostModel("m", context=300),)
    )
    client = FakeClient(lambda messages, params: "word " * 40)
    client.host = host
    talk = Conversation(client)
    notes = [talk.say("x" * 200).notes for _ in range(3)]
    assert notes[-1]
    assert "300 tokens" in notes[-1][0]


def test_a_full_window_can_be_summed_up_and_is_paid_for():
    def reply(messages, params):
        return "SUM" if "Summarise" in last(messages) else "word " * 40

    client = FakeClient(reply)
    talk = Conversation(client, context=600, overflow="summarise", max_tokens=200)
    replies = [talk.say(f"question {i} " + "x" * 160) for i in range(5)]
    assert (
        "2 turns were summed up (10 -> 1 tokens \u00b7 $0.0010)" in replies[4].notes[0]
    )
    summing, asked = client.calls[4], client.calls[5]
    assert [m["content"][:10] for m in summing["messages"][::2]] == [
        "question 0", "question 1", "Summarise ",
    ]  # fmt: skip
    assert asked["messages"][0]["content"].endswith("SUM")
    assert asked["messages"][1]["content"].startswith("question 2")
    assert talk.cost == Decimal("0.006")
    assert "2 summed up" in str(talk.tree())
    talk.say("next")
    assert client.calls[6]["messages"][0]["content"].endswith("SUM"), "it is made once"


def test_a_summary_that_fails_falls_back_to_leaving_out():
    def reply(messages, params):
        stopped = "Summarise" in last(messages)
        return answer("", partial=True) if stopped else "word " * 40

    talk = Conversation(
        FakeClient(reply), context=600, overflow="summarise", max_tokens=200
    )
    replies = [talk.say(f"question {i} " + "x" * 160) for i in range(5)]
    assert "left out" in replies[4].notes[0]


def test_a_refusal_teaches_the_window():
    def reply(messages, params):
        if len(messages) > 3:
            return ContextTooLong("Too long.", "Shorten it.", status=400)
        return "word " * 20

    talk = Conversation(FakeClient(reply))
    talk.say("one " * 20)
    talk.say("two " * 20)
    third = talk.say("three " * 20)
    assert "left out" in third.notes[0]


def test_a_question_too_long_by_itself_is_the_hosts_error():
    client = FakeClient(
        lambda m, p: ContextTooLong("Too long.", "Shorten it.", status=400)
    )
    with pytest.raises(ContextTooLong):
        Conversation(client).say("x")


def test_it_survives_saving(tmp_path):
    path = tmp_path / "talk.json"
    talk = Conversation(FakeClient(echo), system="s", temperature=0.2)
    talk.say("one")
    other = talk.fork("other")
    other.say("two")
    other.save(path)
    client = FakeClient(echo)
    again = Conversation.load(path, client)
    assert again.name == "other"
    assert again.messages == other.messages
    assert (again.cost, again.usage) == (other.cost, other.usage)
    assert str(again.tree()) == str(other.tree())
    again.branch("main").say("three")
    assert client.calls[0]["temperature"] == 0.2
    assert [p.name for p in tmp_path.iterdir()] == ["talk.json"]


def test_a_parameter_that_is_no_json_is_refused_on_saving(tmp_path):
    talk = Conversation(FakeClient(echo), tools=[object()])
    with pytest.raises(BadInput, match="cannot be saved"):
        talk.save(tmp_path / "talk.json")
    assert list(tmp_path.iterdir()) == []


BRANCH = {"system": None, "params": {}}
LOOP = {"turns": [{"id": 0, "parent": 0}], "branches": {"main": BRANCH}}
BEYOND = {"turns": [], "branches": {"main": {**BRANCH, "head": 3}}}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "no json",
        "{}",
        json.dumps(LOOP),
        json.dumps(BEYOND),
        json.dumps({"turns": [], "branches": {}}),
        '{"turns": [{"id": 0, "answer": {"a": ' + "[" * 90_000,
    ],
)
def test_a_file_that_holds_no_conversation_is_refused(tmp_path, content):
    path = tmp_path / "talk.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=r"no conversation|no branch"):
        Conversation.load(path, FakeClient(echo))


@pytest.mark.parametrize(
    "change",
    [
        {"asked": []},
        {"asked": [{"content": "no role"}]},
        {"asked": [{"role": "user", "content": 5}]},
        {"answer": {}},
        {"answer": {"role": "assistant", "tool_calls": [{"id": [], "function": {}}]}},
        {"id": 7},
        {"cost": "NaN"},
        {"cost": "-1"},
        {"parent": 0},
    ],
)
def test_a_strangers_turns_are_turns(tmp_path, change):
    talk, path = Conversation(FakeClient(echo)), tmp_path / "talk.json"
    talk.say("Hello")
    talk.save(path)
    book = json.loads(path.read_text())
    book["turns"][0] |= change
    path.write_text(json.dumps(book))
    with pytest.raises(BadInput, match="no conversation"):
        Conversation.load(path, FakeClient(echo))


@pytest.mark.parametrize("question", ["", [], None, 3, [{"content": "no role"}]])
def test_nothing_is_sent_for_bad_input(question):
    client = FakeClient(echo)
    with pytest.raises(BadInput):
        Conversation(client).say(question)
    assert client.calls == []
    with pytest.raises(BadInput, match="overflow='drop'"):
        Conversation(client, overflow="drop")


class Talks(RuleBasedStateMachine):
    """Whatever is done, histories stay legal and the branches add up."""

    def __init__(self):
        super().__init__()
        self.outcomes = []
        talk = Conversation(FakeClient(lambda m, p: self.outcomes.pop()), context=400)
        self.talks = [talk]

    @rule(
        i=st.integers(0, 5),
        outcome=st.sampled_from(["ok", "stopped", "empty", "broken", "calls"]),
    )
    def say(self, i, outcome):
        talk = self.talks[i % len(self.talks)]
        call = ToolCall("functions.f:0", "f")
        reply = {
            "ok": answer("fine " * 30),
            "stopped": answer("half", partial=True, tool_calls=(call,)),
            "empty": answer(""),
            "broken": StreamError("Broken.", "Again.", reply=answer("ha")),
            "calls": answer("", tool_calls=(call,)),
        }[outcome]
        self.outcomes.append(reply)
        with contextlib.suppress(StreamError):
            talk.say("question")

    @rule(i=st.integers(0, 5))
    def fork(self, i):
        if len(self.talks) < 5:
            self.talks.append(self.talks[i % len(self.talks)].fork())

    @rule(i=st.integers(0, 5), n=st.integers(1, 3))
    def undo(self, i, n):
        talk = self.talks[i % len(self.talks)]
        with contextlib.suppress(BadInput):
            talk.undo(n)

    @invariant()
    def histories_are_legal(self):
        for talk in self.talks:
            for message in talk.messages:
                assert message.get("content") or message.get("tool_calls")
            open_calls = [m for m in talk.messages if m.get("tool_calls")]
            assert open_calls == [], "no results were ever given"

    @invariant()
    def costs_add_up(self):
        tree = self.talks[0].tree()
        assert sum(t.cost for t in self.talks) == sum(turn.cost for turn in tree.turns)


TestTalks = Talks.TestCase
TestTalks.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


ODD = {
    "undo 1.5": lambda talk: talk.undo(1.5), "undo x": lambda talk: talk.undo("x"),
    "undo True": lambda talk: talk.undo(True), "edit x": lambda talk: talk.edit("x", "a"),
    "edit 1.0": lambda talk: talk.edit(1.0, "a"), "no text": lambda talk: talk.edit(0, None),
    "fork 5": lambda talk: talk.fork(5), "branch [1]": lambda talk: talk.branch([1]),
    "branch 5": lambda talk: talk.branch(5), "save ''": lambda talk: talk.save(""),
    "system": lambda talk: Conversation(None, system=5),
    "context x": lambda talk: Conversation(None, context="x"),
    "context 0": lambda talk: Conversation(None, context=0),
    "count": lambda talk: Conversation(None, count=5),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_is_of_another_type_is_refused_and_changes_nothing(odd):
    client = FakeClient(echo)
    talk = Conversation(client)
    talk.say("one")
    before, turns = talk.messages, len(talk.tree().turns)
    with pytest.raises(BadInput):
        odd(talk)
    assert (talk.messages, len(talk.tree().turns)) == (before, turns)
    assert len(client.calls) == 1


@POSIX
def test_a_file_that_is_saved_again_stays_where_and_what_it_was(tmp_path):
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    kept, link = tmp_path / "kept.json", tmp_path / "link.json"
    kept.touch(0o600)
    link.symlink_to(kept)
    talk.save(link)
    assert link.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert Conversation.load(kept, FakeClient(echo)).messages == talk.messages
    assert sorted(tmp_path.iterdir()) == [kept, link]


@POSIX
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    os.mkfifo(pipe := tmp_path / "pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    talk.save(pipe)
    assert json.loads(os.read(reader, 100_000))["current"] == "main"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_disk_that_refuses_leaves_the_file_and_nothing_beside_it(tmp_path):
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    folder = tmp_path / "talk.json"
    folder.mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        talk.save(folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("branches", [{}, {"other": {"system": None, "params": {}}}])
def test_a_file_without_the_branch_that_it_names_is_refused(tmp_path, branches):
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    talk.save(path := tmp_path / "talk.json")
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"branches": branches}))
    with pytest.raises(BadInput, match="it has no branch 'main'"):
        Conversation.load(path, FakeClient(echo))


def test_a_file_that_an_editor_gave_a_mark_is_read(tmp_path):
    talk = Conversation(FakeClient(echo))
    talk.say("one")
    talk.save(path := tmp_path / "talk.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Conversation.load(path, FakeClient(echo)).messages == talk.messages
