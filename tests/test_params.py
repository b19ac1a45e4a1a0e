"""What a chat takes: one list, shown by editors and checked before anything is sent."""

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kimikit
from kimikit import AsyncClient, BadInput, Client, Kimi, errors, prompting, vote
from kimikit.evals.tool_score import score_tool_calls
from kimikit.params import CHAT, COMPLETION, ChatParams, GridParams, refuse_unknown

KNOWN = {"base_url": "http://127.0.0.1:9/v1", "api_key": "k12345678", "model": "m"}


@pytest.fixture
def kimi():
    """A session at an address where nobody listens: what is sent fails otherwise."""
    return Kimi(**KNOWN, max_retries=0, show=False)


def test_each_parameter_has_a_line_of_documentation():
    assert all(line.endswith(".") and len(line) > 10 for line in COMPLETION.values())


def test_a_sweep_knows_the_parameters_of_a_chat():
    assert GridParams.__annotations__.keys() == ChatParams.__annotations__.keys()


@pytest.mark.parametrize(
    "method",
    [
        "chat",
        "stream",
        "run",
        "sweep",
        "map",
        "race",
        "lab",
        "conversation",
        "complete",
    ],
)
def test_tab_and_shift_tab_show_every_parameter(method):
    shown = inspect.signature(getattr(Kimi, method))
    assert {"temperature", "max_tokens", "extra_body"} <= set(shown.parameters)
    kinds = {each.kind for each in shown.parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    doc = inspect.getdoc(getattr(Kimi, method))
    for name in list(shown.parameters)[1:]:
        assert f"{name}: " in doc


def test_a_new_session_shows_them_too():
    assert {"temperature", "system", "budget"} <= set(
        inspect.signature(Kimi).parameters
    )


def test_tab_in_ipython_offers_them(kimi):
    from IPython.core.completer import IPCompleter, provisionalcompleter

    completer = IPCompleter(namespace={"kimi": kimi}, global_namespace={})
    with provisionalcompleter():
        typed = 'kimi.chat("q", max_t'
        found = {each.text for each in completer.completions(typed, len(typed))}
    assert "max_tokens=" in found


@pytest.mark.parametrize(
    ("call", "wrong", "meant"),
    [
        (lambda k, **kw: k.chat("q", **kw), "sytem", "system"),
        (lambda k, **kw: k.chat("q", **kw), "retires", "retries"),
        (lambda k, **kw: k.stream("q", **kw), "temperatur", "temperature"),
        (lambda k, **kw: k.sweep("q", temperature=[0, 1], **kw), "repeat", "repeats"),
        (lambda k, **kw: k.sweep("q", **kw), "max_costs", "max_cost"),
        (lambda k, **kw: k.sweep("q", **kw), "metric", "metrics"),
        (lambda k, **kw: k.map(["q"], **kw), "templat", "template"),
        (lambda k, **kw: k.run("q", [], **kw), "max_step", "max_steps"),
        (lambda k, **kw: k.race("q", ["together"], **kw), "max_token", "max_tokens"),
        (lambda k, **kw: k.complete("q", **kw), "sufix", "suffix"),
        (lambda k, **kw: k.conversation(**kw), "contxt", "context"),
        (lambda k, **kw: k.client.chat("q", **kw), "sead", "seed"),
        (lambda k, **kw: vote(k, "q", **kw), "extrac", "extract"),
        (
            lambda k, **kw: prompting.map_reduce(k, "d", "q", **kw),
            "part_token",
            "part_",
        ),
        (lambda k, **kw: score_tool_calls({"k": k}, **kw), "concurency", "concurrency"),
        (lambda k, **kw: Kimi(**KNOWN, **kw), "temprature", "temperature"),
        (lambda k, **kw: Client(**KNOWN, **kw), "max_retry", "max_retries"),
    ],
)
def test_what_is_misspelt_is_refused_before_anything_is_sent(kimi, call, wrong, meant):
    with pytest.raises(BadInput, match=f"'{wrong}'.*Did you mean '{meant}"):
        call(kimi, **{wrong: 1})
    assert kimi.ledger.calls() == []


def test_a_conversation_hands_on_what_a_chat_takes(kimi):
    talk = kimi.conversation("Be brief.", show=False, temperature=0, max_tokens=30)
    with pytest.raises(errors.ConnectionFailed):  # nobody listens: it was sent
        talk.say("Hello", into=int, retries=0)


def test_an_awaited_client_refuses_it_too():
    async def ask():
        async with AsyncClient(**KNOWN) as client:
            await client.chat("q", sytem="x")

    with pytest.raises(BadInput, match="'sytem'"):
        asyncio.run(ask())


@pytest.mark.parametrize("name", ["api_key", "base_url", "max_retries", "http_client"])
def test_options_of_other_clients_say_where_they_belong(kimi, name):
    with pytest.raises(BadInput) as caught:
        kimi.chat("q", **{name: "secret-1"})
    assert "secret-1" not in str(caught.value)
    assert "extra_body" not in caught.value.remedy


@given(st.text(max_size=40).filter(lambda s: not s.startswith("extra_body.")))
def test_any_other_name_is_refused(name):
    if name in CHAT or name in ("own", "other"):
        refuse_unknown([name], ["own", "other"])
    else:
        with pytest.raises(BadInput):
            refuse_unknown([name], ["own", "other"])


def users_calls():
    """Return the example's lines that a checker must refuse, and its text."""
    path = Path(__file__).parent / "support" / "users_calls.py"
    lines = path.read_text().splitlines()
    return path, [n for n, line in enumerate(lines, 1) if line.endswith("# refused")]


def checked(*command, cwd):
    """Run a type checker in an empty folder, so that no settings of ours apply."""
    # Where kimikit is installed, other libraries lie beside it, and mypy refuses some.
    (cwd / "path").mkdir()
    package = Path(kimikit.__file__).parent
    (cwd / "path" / "kimikit").symlink_to(package, target_is_directory=True)
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, "MYPYPATH": str(cwd / "path")},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_mypy_checks_users_calls(tmp_path):
    path, refused = users_calls()
    # Only the users' calls matter here, and other libraries take half of the time.
    alone = [
        "--no-site-packages",
        "--ignore-missing-imports",
        "--follow-imports=silent",
    ]
    here = ["--cache-dir", str(tmp_path), *alone, str(path)]
    said = checked("mypy", *here, cwd=tmp_path)
    found = re.findall(r"users_calls\.py:(\d+).*error:", said)
    assert [int(line) for line in found] == refused, said


def test_pyright_checks_users_calls(tmp_path):
    path, refused = users_calls()
    (tmp_path / path.name).write_text(path.read_text())
    root = str(Path(kimikit.__file__).parents[1])
    how = {"typeCheckingMode": "standard", "extraPaths": [root]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(how))
    said = checked("basedpyright", "--outputjson", path.name, cwd=tmp_path)
    found = [
        one["range"]["start"]["line"] + 1
        for one in json.loads(said)["generalDiagnostics"]
        if one["severity"] == "error"
    ]
    assert found == refused, said


@pytest.mark.parametrize(
    ("verb", "option", "where"),
    [("map", "results", "kimi.sweep"), ("chat", "max_steps", "kimi.run")],
)
def test_an_option_of_another_verb_is_refused_with_its_name(verb, option, where):
    kimi = Kimi("together", api_key="k" * 20)
    with pytest.raises(BadInput, match=rf"{option}.*Use it with {where}\.") as refused:
        getattr(kimi, verb)(["q"] if verb == "map" else "q", **{option: 3})
    assert "extra_body" not in str(refused.value)
