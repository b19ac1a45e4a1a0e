"""Pictures and other parts of messages stay, and count as what they are."""

import base64
import copy
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.prompting import FakeClient

from kimikit.errors import BadInput
from kimikit.prompting import Conversation
from kimikit.types import Message, Reply

OLD = Path(__file__).parent.parent / "data"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def said(messages, params):
    return f"answer {len(messages)}"


@pytest.fixture
def client():
    return FakeClient(said)


@pytest.fixture
def chart(tmp_path):
    path = tmp_path / "chart.png"
    path.write_bytes(PNG)
    return path


def kinds(message):
    content = message["content"]
    return [part["type"] for part in content] if isinstance(content, list) else "text"


@pytest.mark.parametrize("several", [False, True])
def test_a_picture_stays_in_the_history_through_every_verb(client, chart, several):
    talk = Conversation(client, system="s")
    image = [str(chart), PNG] if several else chart
    shown = ["text"] + ["image_url"] * (1 + several)
    talk.say("What colour?", image=image)
    chart.unlink()  # what was shown is what was shown then
    talk.say("Are you sure?")
    assert kinds(talk.messages[1]) == kinds(client.calls[1]["messages"][1]) == shown
    assert "image" not in client.calls[0]
    assert kinds(talk.fork().messages[1]) == shown
    talk.edit(1, "Which colours?")
    assert kinds(talk.messages[1]) == shown
    assert talk.messages[1]["content"][0]["text"] == "Which colours?"
    talk.say("And now?")
    talk.undo()
    assert kinds(talk.messages[1]) == shown
    assert copy.deepcopy(talk.messages) == talk.messages


def test_an_edit_may_give_another_picture(client, chart):
    talk = Conversation(client)
    talk.say("What?", image=[PNG, PNG])
    talk.edit(0, "What is this?", image=chart)
    assert kinds(talk.messages[0]) == ["text", "image_url"]


def test_an_edit_keeps_parts_in_their_order_and_answers_keep_theirs(client):
    picture = {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    text = {"type": "text", "text": "Compare."}
    talk = Conversation(client)
    talk.say([{"role": "user", "content": [picture, text, sound]}])
    talk.edit(0, "Compare both.")
    assert kinds(talk.messages[0]) == ["image_url", "text", "input_audio"]
    assert talk.messages[0]["content"][1]["text"] == "Compare both."


def test_a_saved_conversation_has_its_pictures(client, chart, tmp_path):
    talk = Conversation(client, temperature=np.float32(0.3))
    talk.say("What colour?", image=str(chart))
    talk.save(tmp_path / "talk.json")
    again = Conversation.load(tmp_path / "talk.json", client)
    assert again.messages == talk.messages
    again.say("Sure?")
    assert client.calls[-1]["temperature"] == 0.3


def test_a_picture_needs_a_question(client, chart):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = Conversation(client)
    with pytest.raises(BadInput, match="image="):
        talk.say([{"role": "assistant", "tool_calls": [call]}], image=chart)
    with pytest.raises(BadInput, match="cannot be read"):
        talk.say("What?", image="none.png")
    assert client.calls == []


BIG = base64.b64encode(random.Random(7).randbytes(600_000)).decode()
URL = f"data:image/png;base64,{BIG}"
PARTS = {
    "picture": {"type": "image_url", "image_url": {"url": URL}},
    "sound": {"type": "input_audio", "input_audio": {"data": BIG, "format": "wav"}},
    "video": {"type": "video_url", "video_url": {"url": URL}},
    "file": {"type": "file", "file": {"filename": "a.pdf", "file_data": URL}},
    "other": {"type": "document", "source": {"type": "base64", "data": BIG}},
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_bytes_sent_as_letters_do_not_crowd_the_history_out(client, part):
    counted = []

    def count(text):
        counted.append(len(text))
        return len(text) // 4

    talk = Conversation(client, context=128_000, count=count)
    talk.say("My name is Ann.")
    text = {"type": "text", "text": "What is this?"}
    talk.say([{"role": "user", "content": [text, part]}])
    assert len(client.calls[-1]["messages"]) == 3
    assert max(counted) < 100


def test_a_picture_in_a_tools_result_counts_as_one_too(client):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = Conversation(client, context=64_000)
    talk.say("Draw it.")
    talk.say([
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [PARTS["picture"]]},
    ])  # fmt: skip
    assert len(client.calls[-1]["messages"]) == 4


@pytest.mark.parametrize("text", ["x" * 40_000, "word " * 8000, URL])
def test_text_counts_as_text_whatever_it_is_made_of(client, text):
    talk = Conversation(client, context=8_000)
    talk.say("one")
    talk.say(text)
    assert "left out" in str(talk.tree())


def test_many_pictures_fill_a_window_too(client):
    talk = Conversation(client, context=8_000)
    for _ in range(12):
        talk.say([{"role": "user", "content": [PARTS["picture"]]}])
    assert "left out" in str(talk.tree())
    assert "[image]" in str(talk.tree())


@pytest.mark.parametrize(
    "message", [3, None, [], "", {"content": "x"}, {"role": "user", "content": b"x"},
                {"role": "user", "content": float("nan")}],
)  # fmt: skip
def test_what_is_no_message_is_refused(client, message):
    with pytest.raises(BadInput):
        Conversation(client).say(message)
    assert client.calls == []


def test_a_message_and_a_reply_are_messages(client):
    talk = Conversation(client)
    talk.say([Message("user", "Hi"), Reply(text="Hello"), "How are you?"])
    assert [m["role"] for m in talk.messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_a_conversation_that_0_3_0_saved_goes_on(client, tmp_path):
    path = shutil.copy(OLD / "conversation_0_3_0.json", tmp_path)
    talk = Conversation.load(path, client)
    assert [m["content"] for m in talk.messages][:2] == [
        "Be brief.", "What colour is the sea?",
    ]  # fmt: skip
    other = talk.branch("other")
    assert kinds(other.messages[3]) == ["text"]
    other.say("Sure?")
    assert client.calls[-1]["temperature"] == 0.3
    talk.save(path)
    assert json.loads(Path(path).read_text())["branches"].keys() == {"main", "other"}
