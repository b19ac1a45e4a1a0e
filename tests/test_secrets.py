"""Secrets in whatever is passed: hidden on entry, and in nothing that is kept."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import CLOSE, FaultServer, plain, sse
from support.work import seconds

from kimikit import Conversation, Kimi, errors
from kimikit.errors import BadInput, KimiError
from kimikit.key_shapes import is_key
from kimikit.prompting import vote
from kimikit.secrets import (
    Key,
    Secret,
    cut,
    encoded,
    hidden,
    in_use,
    masked,
    names_secret,
    redact,
    secrets_in,
    stripped,
)
from kimikit.tools import tool

SECRET = "tok-5ecretSecretSecret42"
HEADERS = {"X-Api-Key": SECRET}
SHAPES: dict[str, Any] = {
    "a dict": {"api_key": SECRET},
    "in a list": {"tools": [{"type": "mcp", "headers": {"Authorization": SECRET}}]},
    "in a tuple": ({"a": ({"password": SECRET},)},),
    "a list of it": {"api_keys": [SECRET, "other-secret-000000001"]},
    "by its neighbour": {"headers": [{"name": "X-Auth-Token", "value": SECRET}]},
    "deep": json.loads('{"a":' * 90 + json.dumps({"token": SECRET}) + "}" * 90),
}


@pytest.fixture
def server():
    with FaultServer() as running:
        yield running


@pytest.mark.parametrize("name", SHAPES)
def test_each_form_is_hidden_and_sent(name: str) -> None:
    given = SHAPES[name]
    found = hidden(given)
    assert SECRET not in repr(found) + repr(masked(given)) + repr(stripped(given))
    assert SECRET in secrets_in(given)
    assert json.loads(encoded(found)) == json.loads(json.dumps(given))
    assert SECRET not in repr(encoded(found))


def test_bytes_and_addresses_and_shapes_hide() -> None:
    given = {
        "password": b"hunter2",
        "url": "https://me:hunter2@x.test/a",
        "k": "sk-" + "a1" * 9,
    }
    shown = repr(hidden(given))
    assert "hunter2" not in shown
    assert "a1a1" not in shown
    assert redact("at https://me:hunter2@x.test/a") == "at https://***@x.test/a"
    assert redact("git clone ssh://git@x.test/a") == "git clone ssh://git@x.test/a"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("x-amz-security-token", True), ("hf_token", True), ("private_key", True),
        ("passphrase", True), ("Ocp-Apim-Subscription-Key", True), ("pad_token", False),
        ("next_page_token", False), ("max_tokens", False), ("keyboard", False),
        ("token_ids", False), ("monkey", False), ("x.api.key", True), ("x~token", True),
        ("x-$HOME-token", True), ("1-token", True), ("API key", True),
        ("the next token", False), ("stop.token", False),
    ],
)  # fmt: skip
def test_names(name: str, is_one: bool) -> None:
    assert names_secret(name) is is_one


ASTRAY = {
    "openai": "sk-proj-" + "Ab3" * 14, "novita": "sk_" + "aZ9" * 14,
    "together": "8f" * 32, "new together": "tgp_v1_" + "aB3-" * 10,
    "a token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXRoaXM",
}  # fmt: skip


@pytest.mark.parametrize("key", ASTRAY.values(), ids=ASTRAY)
def test_a_key_in_the_place_of_something_else_is_told_nowhere(key: str) -> None:
    """People paste it as a model, a host, a temperature: nothing is sent or shown."""
    wrong: list[Callable[[Kimi], Any]] = [
        lambda k: k.chat("q", model=key),
        lambda k: k.sweep("q", model=[key, "b"], repeats=1, progress=False),
        lambda k: k.map(["q"], model=key, progress=False),
        lambda k: k.race("q", models=[key, "b"]),
        lambda k: k.chat("q", temperature=key),
        lambda k: k.chat("q", timeout=key),
        lambda k: k.chat("q", image=key),
        lambda k: k.chat("q", **{key: 1}),
        lambda k: k.budget(usd=key),
        lambda k: k.verify(checks=[key]),
        lambda k: k.frontier(key, temperature=[0.5]),
        lambda k: Kimi(key),
        lambda k: Kimi(f"together/{key}"),
        lambda k: Kimi("together", api_key="k" * 20, model=key),
    ]
    with FaultServer() as server:
        kimi = Kimi(base_url=server.url, api_key="k" * 20, model="m", show=False)
        for act in wrong:
            with pytest.raises(KimiError) as caught:
                act(kimi)
            assert key not in f"{caught.value!r} {caught.value} {caught.value.args}"
        assert not server.requests
        kimi.close()


def test_sums_of_files_and_names_of_models_are_no_keys() -> None:
    digest = "9c" * 32
    assert digest in str(BadInput(f"The file has the sum {digest}.", "Fetch it again."))
    for name in ("moonshotai/Kimi-K2-Instruct", "sk-learn", "accounts/fireworks/k2p6"):
        assert not is_key(name)


def test_a_tools_parameter_is_no_secret() -> None:
    @tool
    def sign_in(user: str, password: str) -> str:
        """Sign in."""
        return user + password

    assert masked({"tools": [sign_in.schema]}) == {"tools": [sign_in.schema]}
    assert secrets_in({"tools": [sign_in.schema]}) == []


def test_a_secret_is_no_value_of_a_pickle() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("x"))
    assert isinstance(Key("x"), Secret)


def made(server: FaultServer, tmp_path: Any, **more: Any) -> Kimi:
    told = sse(*text(f"you sent {SECRET}"), chunk("stop"), DONE)
    server.play(told)
    return Kimi(
        base_url=server.url, api_key="k" * 20, model="m", show=False, max_retries=0,
        ledger=tmp_path / "l.sqlite3", **more,
    )  # fmt: skip


def everything(found: Any, tmp_path: Any) -> dict[str, bytes]:
    """All that is shown, pickled and written of a result."""
    pages = {
        "repr": repr(found),
        "html": getattr(found, "_repr_html_", str)(),
        "markdown": getattr(found, "to_markdown", str)(),
        "json": getattr(found, "to_json", str)(),
    }
    out = {name: page.encode() for name, page in pages.items()}
    out["pickle"] = pickle.dumps(found)
    for path in tmp_path.iterdir():
        out[path.name] = path.read_bytes()
    return out


WORK: dict[str, Any] = {
    "chat": lambda k, **p: k.chat("q", **p),
    "run": lambda k, **p: k.run("q", [], **p),
    "sweep": lambda k, **p: k.sweep("q", temperature=[0, 1], repeats=1, progress=False, name="s", **p),
    "axis": lambda k, **p: k.sweep(
        "q", repeats=1, progress=False, name="s",
        extra_body=[{"api_key": SECRET}, {"api_key": SECRET + "2"}], extra_headers=p["extra_headers"],
    ),
    "vote": lambda k, **p: vote(k, "q", n=2, **p),
}  # fmt: skip


@pytest.mark.parametrize("name", WORK)
def test_nothing_that_is_kept_holds_a_secret(
    name: str, server: FaultServer, tmp_path: Any
) -> None:
    """Though the host echoes it in every answer."""
    kimi = made(server, tmp_path)
    body = {"plugins": [{"id": "web", "auth": {"token": SECRET}}]}
    found = WORK[name](kimi, extra_headers=HEADERS, extra_body=body)
    assert server.requests[0].headers["x-api-key"] == SECRET, "it was sent"
    kimi.close()
    kimi.ledger.close()
    held = [
        n for n, page in everything(found, tmp_path).items() if SECRET.encode() in page
    ]
    assert held == []
    assert pickle.loads(pickle.dumps(found)) is not None


def test_a_saved_conversation_holds_none_and_goes_on(
    server: FaultServer, tmp_path: Any
) -> None:
    kimi = made(server, tmp_path)
    body = {"plugins": [{"id": "web", "api_key": SECRET}], "top_k": 3}
    talk = kimi.conversation(extra_headers={**HEADERS, "X-Title": "t"}, extra_body=body)
    talk.say(f"mine is {SECRET}")
    talk.save(tmp_path / "talk.json")
    assert SECRET not in (tmp_path / "talk.json").read_text()
    again = Conversation.load(tmp_path / "talk.json", kimi)
    assert SECRET not in repr(again._branch.params), again._branch.params
    again.say("go on")
    assert len(server.requests) == 2
    request = server.requests[-1]
    assert request.json["plugins"] == [{"id": "web"}], "stars are not sent as a key"
    assert "x-api-key" not in request.headers
    assert request.headers["x-title"] == "t"
    kimi.close()
    kimi.ledger.close()


def test_a_recording_holds_none(server: FaultServer, tmp_path: Any) -> None:
    kimi = made(server, tmp_path, record=tmp_path / "r.kimi")
    asked: Any = {
        "extra_body": {"plugins": [{"api_key": SECRET}]},
        "extra_headers": HEADERS,
    }
    first = kimi.chat("q", **asked)
    assert SECRET in first.text
    kimi.close()
    kimi.ledger.close()
    from kimikit.replay import RecordingFile

    ((_, question, answer),) = RecordingFile(tmp_path / "r.kimi").rows()
    assert SECRET not in question.body
    assert SECRET.encode() not in b"".join(data for _, data in answer.pieces)
    replay = Kimi("replay", path=tmp_path / "r.kimi", speed=None, show=False)
    assert replay.chat("q", **asked).text == "you sent " + "*" * len(SECRET)


@pytest.mark.parametrize("key", ["sk-SeCrEt0123456789abcdef", "9f86d081" * 5])
def test_a_key_in_the_path_of_an_address_is_read_from_a_variable(
    key: str, server: FaultServer, tmp_path: Any
) -> None:
    said = {"error": {"message": f"no route for /{key}/v1"}}
    server.play(sse(*text("hi"), chunk("stop"), DONE))
    server.play(plain(said, 400))
    url = server.url.replace("/v1", f"/a_b/{key}/v1")
    options: Any = {"base_url": url, "api_key": "k" * 20, "model": "m", "show": False}
    path = tmp_path / "r.kimi"
    kimi = Kimi("mine", record=path, ledger=tmp_path / "l.sqlite3", **options)
    reply = kimi.chat("it's")
    with pytest.raises(errors.BadRequest) as caught:
        kimi.chat("again")
    assert key in server.requests[0].path
    travelled = pickle.loads(pickle.dumps(reply))
    kimi.close()
    kimi.ledger.close()
    shown = [repr(kimi.host), str(caught.value), reply.curl(), reply.python()]
    shown += [pickle.dumps(reply).decode("latin-1"), travelled.curl()]
    files = [each.read_bytes().decode("latin-1") for each in tmp_path.iterdir()]
    assert [each for each in shown + files if key in each] == []
    assert '/a_b/"$KIMIKIT_ADDRESS_KEY"/v1/chat/completions' in reply.curl()
    assert travelled.curl() == reply.curl()
    assert "base_url='http://127" in reply.python()
    known = Kimi("replay", path=path, speed=None, show=False)
    assert known.chat("it's").text == "hi"
    command = ["bash", "-c", reply.curl()]
    asked = {"KIMIKIT_API_KEY": "k" * 20, "KIMIKIT_ADDRESS_KEY": key}
    server.play(plain({}))
    subprocess.run(command, env={**os.environ, **asked}, capture_output=True)
    assert server.requests[-1].path == server.requests[0].path
    with pytest.MonkeyPatch.context() as patch:
        for name, value in asked.items():
            patch.setenv(name, value)
        server.play(sse(*text("hi"), chunk("stop"), DONE))
        exec(reply.python(), {})
    assert server.requests[-1].path == server.requests[0].path


def locals_of(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                for name, value in frame.f_locals.items():
                    with contextlib.suppress(AttributeError):  # of what is half made
                        found.append(f"{frame.f_code.co_qualname} {name} {value!r}")
        error = error.__cause__ or error.__context__
    return found


def fails(_: Any) -> None:
    raise ZeroDivisionError


CALLS: dict[str, Any] = {
    "a bad parameter": lambda k, **p: k.chat("q", temperature=9, **p),
    "a bad body": lambda k, **p: k.chat(
        "q", extra_body={"api_key": SECRET, "x": {1, 2}}
    ),
    "a misspelt option": lambda k, **p: k.chat("q", temprature=1, **p),
    "a view that fails": lambda k, **p: k.client.chat("q", watch=fails, **p),
    "an embedding": lambda k, **p: k.embed(5, **p),
    "a sweep": lambda k, **p: k.sweep("q", seed=[1], repeats=0, **p),
    "a run": lambda k, **p: k.run("q", [5], **p),
    "a conversation": lambda k, **p: k.conversation(**p).say("q", temperature="x"),
    "a host that ends": lambda k, **p: k.chat("q", **p),
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="names of frames")
@pytest.mark.parametrize("name", CALLS)
def test_no_traceback_shows_one(name: str, server: FaultServer, tmp_path: Any) -> None:
    kimi = made(server, tmp_path)
    server.scripts.clear()
    server.play(sse(*text("hi"), chunk("stop"), DONE))
    if name == "a host that ends":
        server.scripts.clear()
        server.play(CLOSE)
    body = {"plugins": [{"api_key": SECRET, "url": f"https://a:{SECRET}@h.test/"}]}
    with pytest.raises((errors.KimiError, ZeroDivisionError)) as caught:
        CALLS[name](kimi, extra_headers=HEADERS, extra_body=body)
    shown = [*locals_of(caught.value), *traceback.format_exception(caught.value)]
    assert [line for line in shown if SECRET in line] == []
    kimi.close()
    kimi.ledger.close()


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": f"https://user:{SECRET}@h.test/v1"}, {"base_url": f"https://{SECRET}@h.test"},
        {"base_url": f"https://h.test/v1?key={SECRET}"}, {"base_url": f"h.test/v1?key={SECRET}"},
        {"base_url": f"https://h.test:{SECRET}/v1"}, {"host": f"sk-{SECRET}"},
    ],
)  # fmt: skip
def test_what_is_pasted_in_the_wrong_place_hides(given: dict[str, str]) -> None:
    with pytest.raises(errors.KimiError) as caught:
        Kimi(**given, model="m")  # type: ignore[arg-type]
    shown = [*locals_of(caught.value), str(caught.value), caught.value._repr_html_()]
    assert [line for line in shown if SECRET in line] == []


def test_a_host_of_ones_own_is_checked_as_an_address_is() -> None:
    from kimikit import Host

    with pytest.raises(errors.BadInput, match="more than an address"):
        Kimi(Host(name="x", base_url=f"https://{SECRET}@h.test/v1"), model="m")  # type: ignore[arg-type]


def test_what_may_be_a_word_is_not_cut_out_of_answers() -> None:
    in_use(["not-needed", "placeholder-for-a-key", "x1"])
    said = "A placeholder-for-a-key is not-needed x1."
    assert cut(said) == said
    in_use([SECRET])
    assert cut({"a": [said, SECRET]}) == {"a": [said, "***"]}


@pytest.mark.parametrize(
    "part", ["://", "://a:", "https://aaaaaaaaaaaaaaaaaaaa:", "sk-a", "Bearer "]
)
def test_the_search_is_linear(part: str) -> None:
    def work(size: int) -> float:
        data = part * (size // len(part))
        return min(seconds(redact, data) for _ in range(3))

    assert work(200_000) < 6 * work(100_000) + 0.05


def test_a_command_for_a_shell_holds_nothing_that_a_terminal_acts_on(
    server: FaultServer, tmp_path: Any
) -> None:
    kimi = made(server, tmp_path)
    reply = kimi.chat("\x9b31m \u202e \x1b]0;x\x07 é", extra_headers=HEADERS)
    for command in (reply.curl(), reply.python()):
        assert not [c for c in command if not c.isprintable() and c != "\n"]
        assert SECRET not in command
    kimi.close()
    kimi.ledger.close()
