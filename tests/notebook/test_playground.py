"""The playground without a browser: what it asks, shows, keeps and writes as code."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import ipywidgets
import pytest
from support.fault_server import DONE, HOLD, FaultServer, chunk, event, head, plain, sse
from support.files import TakesFiles
from support.streamed import piece

from kimikit.notebook.ballot import scores
from kimikit.notebook.controls import Echo
from kimikit.notebook.dials import Wrong
from kimikit.notebook.playground import Playground
from kimikit.wire import AsyncClient, hosts

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


class Session(TakesFiles):
    """As much of a session as the playground asks for."""

    host = hosts.resolve("together")

    def sweep(self, prompt: str, **grid: Any) -> str:
        assert grid.pop("dry_run")
        return f"{prompt}: {len(grid['temperature']) * grid['repeats']} calls"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def app(server: FaultServer) -> Playground:
    at: dict[str, Any] = {"base_url": server.url, "api_key": "k", "max_retries": 0}
    app = Playground(Session(), partial(AsyncClient, **at))
    app.form.prompt.value = "How do bees tell?"
    return app


def answer(text: str) -> bytes:
    return sse(piece(text), piece("", "stop"), DONE)


def thought(text: str) -> dict[str, Any]:
    delta = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
    return {"model": "kimi-k2", "choices": [delta]}


def shown(app: Playground, kind: str = "text/plain") -> str:
    outputs = [app.output, *(box.children[2] for box in app._answers.children)]
    data = [output["data"] for each in outputs for output in each.outputs]
    return "\n".join(bundle.get(kind, "") for bundle in data)


def add(app: Playground, name: str, data: bytes) -> None:
    file = {"name": name, "type": "", "size": len(data), "content": memoryview(data)}
    file["last_modified"] = datetime.datetime.now(datetime.UTC)
    app.form.files.value = (*app.form.files.value, file)


def ask(app: Playground) -> None:
    app.run_button.click()
    app.wait()


def test_fields_are_the_request(app: Playground, server: FaultServer) -> None:
    server.play(answer("They **dance**."))
    [column] = app.form.columns
    column.system.value = "Be brief."
    column.temperature.value, column.top_p.value = 0.3, 0.9
    column.max_tokens.value, column.seed.value = 64, "7"
    column.more.value = "stop=['END', '!'], presence_penalty=0.5"
    add(app, "bees.png", PNG)
    add(app, "notes.txt", "Waggle.".encode("utf-8-sig"))
    ask(app)
    sent = server.requests[-1].json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    picture, notes, text = sent["messages"][1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert notes["text"] == '<file name="notes.txt">\nWaggle.\n</file>'
    assert text["text"] == "How do bees tell?"
    assert (sent["temperature"], sent["top_p"]) == (0.3, 0.9)
    assert (sent["max_tokens"], sent["seed"]) == (64, 7)
    assert (sent["stop"], sent["presence_penalty"]) == (["END", "!"], 0.5)
    assert sent["model"] == Session.host.model
    assert shown(app).splitlines()[0] == "They **dance**."
    assert app.replies[0].text == "They **dance**."
    assert "done" in app.status.value
    assert "They **dance**." in app._said.value
    assert (app.run_button.disabled, app.stop_button.disabled) == (False, True)
    assert "file=['bees.png', 'notes.txt']" in app.code()
    app.sweep_button.click()
    assert "file=[['bees.png', 'notes.txt']]" in shown(app)


def test_columns_ask_each_their_own(app: Playground, server: FaultServer) -> None:
    server.play(answer("One."))
    form = app.form
    form.columns[0].temperature.value = 0.2
    form.count.value, form.samples.value = 3, 2
    assert [c.temperature.value for c in form.columns] == [0.2] * 3, "like the last one"
    form.columns[1].temperature.value = 1.2
    form.columns[2].host.value = "novita"
    ask(app)
    heats = sorted(request.json["temperature"] for request in server.requests)
    assert heats == [0.2, 0.2, 0.2, 0.2, 1.2, 1.2]
    heads = [box.children[0].value for box in app._answers.children]
    assert [">A · host together" in head for head in heads] == [True, False, False] * 2
    assert "temperature 1.2" in heads[1]
    assert "sample 2" in heads[5]
    assert shown(app).count("One.") == 6
    assert {row[2] for row in app.rows()} == {"together", "novita"}


def test_reasoning_is_folded_and_stays_open(
    app: Playground, server: FaultServer
) -> None:
    server.play(sse(thought("Hmm <b>"), piece("So."), piece("", "stop"), DONE))
    ask(app)
    [box] = app._answers.children
    pane = box.children[1]
    assert pane.layout.display is None
    assert pane.selected_index is None, "folded"
    assert pane.titles[0].startswith("thinking: ")
    assert pane.children[0].value == "<pre>Hmm &lt;b&gt;</pre>"
    assert "<details><summary>thinking" in app._static()["text/html"]


def test_stop_keeps_what_arrived(app: Playground, server: FaultServer) -> None:
    server.play(head(), chunk(event(piece("Half an ans"))), HOLD)
    arrived = threading.Event()
    app.run()
    app.run()
    output = app._answers.children[0].children[2]
    output.observe(lambda _: "Half" in str(output.outputs) and arrived.set())
    if "Half" in str(output.outputs):
        arrived.set()
    assert arrived.wait(5)
    app.stop_button.click()
    app.wait(1)
    assert len(server.requests) == 1, "a second Run waits for the first"
    assert app.replies[0].partial
    assert app.replies[0].text == "Half an ans"
    assert server.left.wait(10)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seed", "many", "seed is &#x27;many&#x27;. Give a whole number."),
        ("more", "stop=", "is no list of parameters"),
        ("more", "open('x')", "is no list of parameters"),
        ("more", "stop=open('x')", "is no list of parameters"),
        ("more", "temperatur=1", "Did you mean &#x27;temperature&#x27;"),
        ("more", "model='x'", "model has a field of its own"),
        ("more", "min_p=" + "(" * 3000, "is no list of parameters"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    app: Playground, server: FaultServer, field: str, value: str, said: str
) -> None:
    [column] = app.form.columns
    getattr(column, field).value = value
    ask(app)
    assert server.requests == []
    assert said in column._notes[field].value
    assert 'role="alert"' in column._notes[field].value
    assert column._rest.selected_index == 0, "the field is in sight"
    getattr(column, field).value = ""
    server.play(answer("Yes."))
    ask(app)
    assert column._notes[field].value == ""


def test_what_a_host_refuses_is_said_beside_its_field(
    app: Playground, server: FaultServer
) -> None:
    server.play(
        plain({"error": {"message": "no such model", "code": "model_not_found"}}, 404)
    )
    ask(app)
    assert "ModelNotFound" in shown(app, "text/html")
    assert "no such model" in app.form.columns[0]._notes["model"].value
    assert app.replies == []
    server.scripts.clear()
    pinned = "invalid temperature: only 1 is allowed for this model"
    server.play(plain({"error": {"message": pinned}}, 400))
    ask(app)
    notes = app.form.columns[0]._notes
    assert notes["model"].value == ""
    assert "temperature" in notes["temperature"].value


def test_an_empty_prompt_files_and_a_lone_blind_column_are_refused(
    app: Playground, server: FaultServer
) -> None:
    form = app.form
    form.prompt.value = " "
    ask(app)
    assert "The prompt is empty." in form._notes["prompt"].value
    form.prompt.value, form.blind.value = "Hi", True
    ask(app)
    assert "Set two or more" in form._notes["blind"].value
    form.blind.value = False
    add(app, "x.bin", b"\x80\x81")
    ask(app)
    assert "reads no such file as x.bin" in form._notes["files"].value
    assert server.requests == []
    assert "file=['x.bin']" in app.code()
    form.prompt.value = ""
    with pytest.raises(Wrong):
        app.code()


def test_a_blind_vote_names_nobody_before_it(
    app: Playground, server: FaultServer
) -> None:
    server.play(answer("One."))
    form = app.form
    form.count.value, form.samples.value, form.blind.value = 2, 2, True
    form.columns[1].system.value = "Sing."
    for already in range(3):
        ask(app)
        kept = app._static()["text/html"]
        assert "Answer 4" in kept
        seen = shown(app, "text/html") + app.status.value + ("" if already else kept)
        assert "kimi-k2" not in seen, "who answered"
        [box] = app._ballot.children
        for row in box.children:
            best = [n for n, slot in app._now.slots.items() if n[0] == "B"]
            labels = {app._now.slots[name].label for name in best}
            row.children[
                next(
                    i for i, b in enumerate(row.children) if b.description[:8] in labels
                )
            ].click()
        assert app._ballot.children == ()
        assert "kimi-k2" in shown(app, "text/html")
    assert "6 of 6" in shown(app)
    assert "6 blind votes; Bradley-Terry" in shown(app)
    form.columns[0].temperature.value = 1.1
    ask(app)
    for row in app._ballot.children[0].children:
        row.children[-1].click()
    assert "1 of 2" in shown(app), "votes on other settings are of others"


def test_a_failed_answer_ends_the_blindness(
    app: Playground, server: FaultServer
) -> None:
    server.play(answer("One."))
    server.play(plain({"error": {"message": "no such model"}}, 404))
    app.form.count.value, app.form.blind.value = 2, True
    ask(app)
    assert app._ballot.children == ()
    assert "ModelNotFound" in shown(app, "text/html")
    assert scores([], {})[0].endswith(
        "0 blind votes; Bradley-Terry scores with 95 % intervals"
    )


def test_history_opens_an_answer_with_its_settings(
    app: Playground, server: FaultServer
) -> None:
    server.play(answer("First."))
    app.form.columns[0].seed.value = "1"
    add(app, "notes.txt", b"Waggle.")
    ask(app)
    server.scripts.clear()
    server.play(answer("Second."))
    app.form.prompt.value, app.form.files.value = "And wasps?", ()
    app.form.count.value = 2
    app.form.columns[1].host.value = "novita"
    ask(app)
    assert [name for name, _ in app.history.options] == [
        f"2: {app._asked[1].at} · And wasps? (A, B)",
        f"1: {app._asked[0].at} · How do bees tell? (A)",
    ]
    app.history.value = 0
    assert (app.form.prompt.value, len(app.form.columns)) == ("How do bees tell?", 1)
    assert app.form.columns[0].seed.value == "1"
    assert [file["name"] for file in app.form.files.value] == ["notes.txt"]
    assert "First." in shown(app)
    app.history.value = 1
    assert [c.host.value for c in app.form.columns] == ["together", "novita"]
    assert app.form.columns[1].model.value in app.form.columns[1].model.options
    assert "Second." in shown(app)


def test_it_writes_itself_as_code(app: Playground) -> None:
    code = "kimi.chat(\n    'How do bees tell?',\n    temperature=0.6,\n"
    assert app.code().startswith(code)
    compile(app.code(), "cell", "exec")
    app.code_button.click()
    assert app.code() in shown(app)
    app.sweep_button.click()
    assert "temperature=[0.0, 0.3, 0.6, 0.9, 1.2]" in shown(app)
    assert shown(app).endswith("How do bees tell?: 25 calls")
    app.form.columns[0].host.value = "novita"
    assert app.code().startswith("Kimi('novita').chat(")
    app.sweep_button.click()
    assert "host='novita'" in shown(app)
    assert "calls" not in shown(app), "another host's price is not known here"


def test_columns_as_code_are_a_race_and_as_sweep_their_difference(
    app: Playground,
) -> None:
    app.form.count.value, app.form.samples.value = 2, 3
    app.form.columns[1].temperature.value = 1.0
    assert app.code() == (
        "[kimi.race(\n    'How do bees tell?',\n    hosts={'A': {'temperature': 0.6}, "
        f"'B': {{'temperature': 1.0}}}},\n    max_tokens=512,\n    model={Session.host.model!r},"
        "\n) for _ in range(3)]"
    )
    app.sweep_button.click()
    assert "temperature=[0.6, 1.0],\n    repeats=5" in shown(app)
    app.form.columns[1].host.value = "novita"
    app.sweep_button.click()
    made = shown(app)
    compile(made, "cell", "exec")
    assert made.startswith("{\n    'together': kimi.sweep(")
    assert "host='novita'" in made, "a model is of its host"


def test_the_static_copy_is_inert_and_complete(
    app: Playground, server: FaultServer
) -> None:
    server.play(answer("<script>pwn()</script> **fine**"))
    app.form.prompt.value = "<img src=x onerror=pwn()>"
    ask(app)
    kept = app._static()["text/html"]
    assert "<script" not in kept
    assert "<img" not in kept
    assert "&lt;script&gt;pwn()" in kept
    assert "20 tokens" in kept
    assert "history: 1" in kept


class Uploads(Session):
    """A session whose host takes a file only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def _with_files(self, prompt: Any, file: Any, model: Any, host: Any) -> Any:
        if file is not None:
            self.begun.set()
            assert self.go.wait(60)
        return super()._with_files(prompt, file, model, host)


@pytest.mark.parametrize("stop", [True, False])
def test_stop_is_heard_while_files_are_sent(server: FaultServer, stop: bool) -> None:
    server.play(answer("They dance."))
    session = Uploads()
    at: dict[str, Any] = {"base_url": server.url, "api_key": "k", "max_retries": 0}
    app = Playground(session, partial(AsyncClient, **at))
    app.form.prompt.value = "How do bees tell?"
    add(app, "notes.txt", b"Waggle.")
    app.run_button.click()
    assert session.begun.wait(60)
    assert "sending the files" in app.status.value
    assert app.run_button.disabled
    if stop:
        app.stop_button.click()
        assert not app.run_button.disabled
        assert "stopped before anything was asked" in app.status.value
        app.form.files.value = ()
        ask(app)  # at once, whatever the upload does
    session.go.set()
    app.wait()
    assert "They dance." in shown(app)
    assert len(server.requests) == 1
    assert ("Waggle." in str(server.requests[0].json)) != stop


def test_a_click_waits_until_each_field_has_sent_what_it_holds() -> None:
    fields = ipywidgets.Text(), ipywidgets.Textarea()
    echo, seen = Echo(*fields, live=True), []
    echo.then(lambda: seen.append(fields[0].value))
    for answer in (True, False):  # first the one that was under way at the click
        for field in fields:
            assert seen == []
            field.description_allow_html = answer
            fields[0].value += "x"
    assert seen == ["xxx"]
    echo.then(lambda: seen.append("again"))
    fields[1].description_allow_html = True
    assert seen == ["xxx"]
    fields[0].description_allow_html = True
    assert seen == ["xxx", "again"]


def test_a_click_in_code_acts_at_once() -> None:
    seen: list[int] = []
    Echo(ipywidgets.Text()).then(lambda: seen.append(1))
    assert seen == [1]
