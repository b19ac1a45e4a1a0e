"""The playground without a browser: what it asks, shows, keeps and writes as code."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from support.fault_server import DONE, HOLD, FaultServer, chunk, event, head, plain, sse
from support.streamed import piece

from kimikit.notebook.playground import Playground
from kimikit.wire import AsyncClient, hosts


class Session:
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
    app.prompt.value = "How do bees tell?"
    return app


def answer(text: str) -> bytes:
    return sse(piece(text), piece("", "stop"), DONE)


def shown(app: Playground, kind: str = "text/plain") -> str:
    data = [output["data"] for output in app.output.outputs]
    return "\n".join(bundle.get(kind, "") for bundle in data)


def test_dials_are_the_request(app: Playground, server: FaultServer) -> None:
    server.play(answer("They **dance**."))
    app.system.value = "Be brief."
    app.temperature.value, app.top_p.value = 0.3, 0.9
    app.max_tokens.value, app.seed.value = 64, "7"
    app.run_button.click()
    app.wait()
    sent = server.requests[-1].json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (sent["temperature"], sent["top_p"]) == (0.3, 0.9)
    assert (sent["max_tokens"], sent["seed"]) == (64, 7)
    assert sent["model"] == Session.host.model
    assert shown(app).splitlines()[0] == "They **dance**."
    assert "history: 1" in shown(app, "text/html")
    assert app.replies[0].text == "They **dance**."
    assert (app.run_button.disabled, app.stop_button.disabled) == (False, True)


def test_stop_keeps_what_arrived(app: Playground, server: FaultServer) -> None:
    server.play(head(), chunk(event(piece("Half an ans"))), HOLD)
    arrived = threading.Event()
    app.output.observe(lambda _: "Half" in str(app.output.outputs) and arrived.set())
    app.run()
    app.run()
    assert arrived.wait(5)
    app.stop_button.click()
    app.wait(1)
    assert len(server.requests) == 1, "a second Run waits for the first"
    assert app.replies[0].partial
    assert app.replies[0].text == "Half an ans"
    assert server.left.wait(10)


def test_errors_are_shown_inside(app: Playground, server: FaultServer) -> None:
    server.play(plain({"error": {"message": "no such model"}}, 404))
    app.run_button.click()
    app.wait()
    assert "ModelNotFound" in shown(app, "text/html")
    assert app.replies == []
    app.seed.value = "many"
    app.run_button.click()
    assert "invalid literal" in shown(app)


def test_samples_are_asked_apart(app: Playground, server: FaultServer) -> None:
    server.play(answer("One."))
    app.samples.value = 3
    app.run()
    app.wait()
    assert len(server.requests) == 3
    assert "**sample 3**\n\nOne." in shown(app, "text/markdown")
    assert "for _ in range(3)" in app.code()


def test_it_writes_itself_as_code(app: Playground) -> None:
    code = "kimi.chat(\n    'How do bees tell?',\n    temperature=0.6,\n"
    assert app.code().startswith(code)
    compile(app.code(), "cell", "exec")
    app.code_button.click()
    assert app.code() in shown(app)
    app.sweep_button.click()
    assert "temperature=[0.0, 0.3, 0.6, 0.9, 1.2]" in shown(app)
    assert shown(app).endswith("How do bees tell?: 25 calls")
    app.host.value = "novita"
    assert app.code().startswith("Kimi('novita').chat(")
    assert app.model.value in app.model.options
    app.sweep_button.click()
    assert "calls" not in shown(app), "another host's price is not known here"


def test_the_static_copy_is_inert_and_complete(
    app: Playground, server: FaultServer
) -> None:
    server.play(answer("<script>pwn()</script> **fine**"))
    app.prompt.value = "<img src=x onerror=pwn()>"
    app.run()
    app.wait()
    kept = app._static()["text/html"]
    assert "<script" not in kept
    assert "<img" not in kept
    assert "&lt;script&gt;pwn()" in kept
    assert "20 tokens" in kept
