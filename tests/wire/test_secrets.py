"""Keys never show: not by a repr, a traceback, a pickle, or in a host's words."""

import contextlib
import copy
import json
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import DONE, chunk, text
from support.both import KEY, Both
from support.fault_server import CLOSE, FaultServer, plain, sse
from support.work import seconds

from kimikit import Kimi, errors
from kimikit.secrets import Key, masked, names_secret, redact, without
from kimikit.wire import Client

SECRET = "sk-SeCrEtKeY0123456789abcdef"
STOP = (chunk("stop"), DONE)


def test_a_key_is_text_that_hides() -> None:
    key = Key(f" {SECRET}\n")
    assert key == SECRET
    assert isinstance(key, str)
    assert key.value == SECRET
    assert "SeCrEt" not in repr(key) + repr({"api_key": key}) + repr([key])
    assert copy.deepcopy({"a": key})["a"] is key
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    assert json.dumps(key) == f'"{SECRET}"', "what is sent has it"
    with pytest.raises(errors.BadInput, match="type int"):
        Key.of(5)


def _locals(error: BaseException | None) -> Iterator[str]:
    """Yield what a verbose traceback shows of kimikit and all that it calls."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        frame = error.__traceback__
        while frame is not None:
            code = frame.tb_frame.f_code
            if "/tests/" not in code.co_filename:
                for name, value in frame.tb_frame.f_locals.items():
                    with contextlib.suppress(AttributeError):  # of half-made objects
                        yield f"{code.co_filename} {code.co_name} {name} {value!r}"
            frame = frame.tb_next
        error = error.__cause__ or error.__context__


CALLS: dict[str, Any] = {
    "a broken connection": lambda c: c.chat("hi"),
    "a broken embedding": lambda c: c.embed("x", model="e"),
    "a bad parameter": lambda c: c.chat("hi", temperature=9),
    "an endpoint that is not there": lambda c: c.balance(),
    "a view that fails": lambda c: c.chat("hi", watch=lambda step: 1 / 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_traceback_has_the_key(name: str, server: FaultServer, both: Both) -> None:
    server.play(CLOSE)
    if name == "a view that fails":
        server.scripts[0] = (sse(*text("a"), *STOP),)
    settings = {"api_key": SECRET, "max_retries": 0}
    with pytest.raises((errors.KimiError, ZeroDivisionError)) as caught:
        both.use(server.url, CALLS[name], **settings)
    shown = [*_locals(caught.value), *traceback.format_exception(caught.value)]
    assert not [each for each in shown if "SeCrEt" in each]


BAD_KEY = {"error": {"message": f"Incorrect key: Bearer {SECRET}", "code": SECRET}}
ECHOES: dict[str, tuple[object, ...]] = {
    "an error": (plain(BAD_KEY, 401),),
    "a page": (
        plain(f"<title>Bearer {SECRET}</title>".encode(), 500, kind="text/html"),
    ),
    "a page in place of an answer": (
        plain(f"<html>{SECRET}".encode(), kind="text/html"),
    ),
    "JSON that is none": (plain(f'{{"{SECRET}'.encode()),),
    "JSON as deep as an attack": (
        plain(f'{{"a": "{SECRET}", "b": {"[" * 90_000}'.encode()),
    ),
    "bytes that are no text": (plain(b"\xff{" + SECRET.encode()),),
    "an error within a stream": (sse(*text("a"), BAD_KEY),),
    "a stream that breaks": (sse(*text(f"a {SECRET}"))[:-40], CLOSE),
}


@pytest.mark.parametrize("ask", ["chat", "embed", "failing view"])
@pytest.mark.parametrize("name", ECHOES)
def test_no_traceback_has_a_key_that_a_host_repeats(
    name: str, ask: str, server: FaultServer, both: Both
) -> None:
    def use(client: Any) -> Any:
        if ask == "embed":
            return client.embed("x", model="e")
        view = (lambda step: 1 / 0) if ask == "failing view" else None
        return client.chat("x", watch=view)

    server.play(*ECHOES[name])
    with pytest.raises((errors.KimiError, ZeroDivisionError)) as caught:
        both.use(server.url, use, api_key=SECRET, max_retries=0)
    assert not [each for each in _locals(caught.value) if "SeCrEt" in each]


@pytest.mark.parametrize(
    "options", [{"timeout": "x"}, {"temperature": 9}, {"ledger": 5}, {"base_url": 3}]
)
def test_no_traceback_of_a_bad_option_has_the_key(options: dict[str, Any]) -> None:
    given = {
        "base_url": "http://127.0.0.1:9/v1",
        "model": "m",
        "show": False,
        **options,
    }
    with pytest.raises(errors.BadInput) as caught:
        Kimi(api_key=SECRET, **given)
    frames = [f for f in _locals(caught.value) if "SeCrEt" in f]
    assert not frames


def test_no_environment_in_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", SECRET)
    with pytest.raises(errors.UnknownHost) as caught:
        Kimi("togehter")
    assert not [each for each in _locals(caught.value) if "SeCrEt" in each]


def test_a_session_shows_no_key(server: FaultServer) -> None:
    kimi = Kimi(base_url=server.url, api_key=SECRET, model="m", show=False)
    known = kimi.openai_kwargs()
    shown = [kimi, kimi.client, kimi.host, kimi.ledger, kimi.ledger.secrets, known]
    shown += [vars(kimi), vars(kimi.client), vars(kimi._connection)]
    shown += [kimi.client._http.headers]
    assert not [each for each in map(repr, shown) if "SeCrEt" in each]
    assert known["api_key"] == SECRET
    kimi.close()
    kimi.ledger.close()


def test_a_hosts_words_hold_no_key(server: FaultServer, both: Both) -> None:
    """It echoes the key in every place where a word of its own is kept."""
    odd = {**chunk(SECRET, content="a"), "id": SECRET, "model": f"m {SECRET}"}
    server.play(sse(odd, DONE))
    reply = both.chat(server.url, client={"api_key": SECRET})
    words = [reply.finish_reason, reply.id, reply.model, repr(reply), *reply.notes]
    assert not [word for word in words if "SeCrEt" in word]
    server.scripts[0] = (plain({"data": [{"id": f"kimi-{SECRET}"}]}),)
    models = both.call(server.url, "models", client={"api_key": SECRET})
    assert "SeCrEt" not in repr(models) + models._repr_html_()


def test_an_error_holds_no_key_in_any_part(server: FaultServer, both: Both) -> None:
    echo = {"error": {"message": f"bad {SECRET}", "type": SECRET, "code": SECRET}}
    server.play(plain(echo, 401, f"x-request-id: {SECRET}"))
    with pytest.raises(errors.AuthenticationFailed) as caught:
        both.chat(server.url, client={"api_key": SECRET, "max_retries": 0})
    parts = [str(v) for v in vars(caught.value).values()]
    assert not [part for part in parts if "SeCrEt" in part]


def test_what_goes_back_to_the_caller_is_not_cut(
    server: FaultServer, both: Both
) -> None:
    said = f"Use risk-adjusted-performance, {SECRET} and sk-proj-abcdefgh12345678."
    server.play(sse(*text(said), *STOP))
    assert both.chat(server.url).text == said


@pytest.mark.parametrize(
    "said",
    [
        "Use risk-adjusted-performance and https://x.test/task-management-software",
        "A key looks like sk-proj-abcdefgh1234567890 or Bearer abcdefgh12345678.",
        "<img src='data:image/png;base64," + "A" * 3000 + "'>",
    ],
)
def test_answers_found_again_are_as_they_came(
    said: str, server: FaultServer, tmp_path: Any
) -> None:
    server.play(sse(*text(said), *STOP))
    for _ in range(2):
        kimi = Kimi(
            base_url=server.url, api_key=KEY, model="m", show=False,
            ledger=tmp_path / "l.sqlite3",
        )  # fmt: skip
        sweep = kimi.sweep("q", temperature=[0.1], repeats=1, name="n", progress=False)
        assert {reply.text for reply in sweep.replies} == {said}
        kimi.close()
        kimi.ledger.close()
    assert len(server.requests) == 1, "the second came from the ledger"


@pytest.mark.parametrize(
    "word",
    [
        "risk-adjusted-performance-2026", "task-management-software-v10000000",
        "sk-learn-compatible-estimators", "disk-0123456789abcdef0123", "Bearer of news",
        "Basic usage", "https://x/desk-1234567890123456",
    ],
)  # fmt: skip
def test_words_are_no_keys(word: str) -> None:
    assert redact(word) == word


@pytest.mark.parametrize(
    "key",
    [
        SECRET, "sk-proj-abcdefgh12345678", "gsk_abcdefgh1234567890", "hf_abcdefgh12345678",
        "Bearer abc.def-123", "BEARER abcdef123", "sk-or-v1-0123456789abcdef", "sk-ab***yz",
        "tgp_v1_abcdefgh123456789",
    ],
)  # fmt: skip
def test_shapes_of_keys_are_found_at_the_beginning_of_a_word(key: str) -> None:
    for around in ("{}", "key: {}.", '"{}"', "({})", "a={}&b", "x {}\ny"):
        shown = redact(around.format(key))
        assert key.split()[-1] not in shown
        assert "***" in shown


@pytest.mark.parametrize("dummy", ["x", "EMPTY", "none", "test", "sk-1234"])
def test_a_short_dummy_key_is_not_cut_out_of_words(
    dummy: str, server: FaultServer, both: Both
) -> None:
    said = f"The example at index 3 is {dummy}: attest, nonetheless."
    server.play(plain({"error": {"message": said}}, 400))
    with pytest.raises(errors.BadRequest) as caught:
        both.chat(server.url, client={"api_key": dummy})
    assert caught.value.host_message == said


def test_a_longer_dummy_is_a_whole_word() -> None:
    assert without("local-test, local-tests", ["local-test"]) == "***, local-tests"
    assert without(f"kimi-{SECRET}x", [SECRET]) == "kimi-***x"


@given(st.text(), st.text(min_size=1))
def test_no_text_breaks_it(said: str, key: str) -> None:
    assert isinstance(redact(said, key), str)


@pytest.mark.parametrize(
    "part", ["sk-", "Bearer ", "Bearer a", "Basic  ", "sk-1", "sk-*"]
)
def test_hostile_text_is_searched_in_linear_steps(part: str) -> None:
    """Twice the text is no more than some four times the work, measured in calls."""

    def work(size: int) -> float:
        data = part * (size // len(part))
        return min(seconds(redact, data) for _ in range(3))

    assert work(400_000) < 10 * work(200_000) + 0.1


def test_fields_that_are_secret_are_masked() -> None:
    body = {"api_key": "a", "max_tokens": 5, "x": {"Password": "b", "key": "c"}}
    assert masked(body) == {
        "api_key": "***", "max_tokens": 5, "x": {"Password": "***", "key": "***"},
    }  # fmt: skip
    assert not [
        n for n in ("max_tokens", "prompt_cache_key", "keyboard") if names_secret(n)
    ]


def test_the_client_keeps_its_key_off_other_addresses(
    server: FaultServer,
) -> None:
    with Client(base_url=server.url, api_key=SECRET, model="m") as client:
        server.play(plain(b"x"))
        client.fetch(f"{server.url}/file")
    assert "authorization" not in server.requests[0].headers
