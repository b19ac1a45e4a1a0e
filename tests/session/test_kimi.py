"""``Kimi`` from outside: what a newcomer types first, on the real local host."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import kimikit
from kimikit import Client, Kimi, local
from kimikit.errors import KimiWarning
from kimikit.money.ledger import Ledger

pytestmark = pytest.mark.usefixtures("local_host")


@pytest.fixture
def kimi():
    return Kimi("local", max_tokens=8)


def test_without_a_key_the_stand_in_answers_and_says_so(capsys):
    kimi = Kimi()
    assert "not Kimi" in capsys.readouterr().out
    reply = kimi.chat("Say hello.", max_tokens=8)
    assert reply.stand_in
    assert repr(reply).endswith("local stand-in, not Kimi")
    assert "local stand-in, not Kimi" in reply._repr_html_()


def test_a_named_host_is_not_explained(capsys):
    Kimi("local")
    assert capsys.readouterr().out == ""


def test_chat_returns_values(kimi):
    reply = kimi.chat("Name a colour.")
    assert reply.text
    assert reply.finish_reason in ("stop", "length")
    assert 0 < reply.usage.completion_tokens <= 8
    assert reply.usage.prompt_tokens > 0
    assert 0 < reply.first_token_s <= reply.duration_s
    assert reply.model == "smollm2-135m-instruct"
    assert reply.host == "local"


def test_an_answer_is_printed_on_demand_and_not_in_a_pipe(kimi, capsys):
    kimi.chat("Say hello.")
    assert capsys.readouterr().out == ""
    reply = kimi.chat("Say hello.", show=True)
    shown = capsys.readouterr().out
    assert reply.text.strip() in shown
    assert "local stand-in, not Kimi" in shown


def test_one_plain_answer_instead_of_a_stream(kimi):
    reply = kimi.chat("Say hello.", stream=False)
    assert reply.text
    assert reply.usage.completion_tokens


def test_a_stream_gives_its_steps(kimi):
    with kimi.stream("Count to three.") as stream:
        text = "".join(str(delta) for delta in stream)
    assert text == stream.reply.text
    assert len(text) > 0


def test_every_call_is_a_row_of_the_ledger(kimi, tmp_path):
    reply = kimi.chat("Name a colour.")
    (row,) = kimi.ledger.calls()
    assert (row.host, row.model) == ("local", reply.model)
    assert row.usage == reply.usage
    again = Ledger(tmp_path / "ledger.db")
    assert [r.id for r in again.calls()] == [row.id], "another kernel sees it too"


def test_what_openai_needs_works_elsewhere(kimi):
    with Client(**kimi.openai_kwargs(), model=kimi.host.model) as client:
        assert client.chat("Say hello.", max_tokens=4).text


def test_the_local_host_is_started_again_when_it_ended(monkeypatch, tmp_path):
    """In a runtime folder of its own: other tests share the one that runs."""
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path / "runtime"))
    kimi = Kimi("local")
    kimi.chat("Say hello.", max_tokens=2)
    local.stop()
    try:
        assert kimi.chat("Say hello.", max_tokens=2, temperature=0).text
    finally:
        local.stop()


def test_the_end_of_a_with_block_closes_it():
    with Kimi(base_url="http://127.0.0.1:9/v1", model="m") as kimi:
        assert kimi.host.model == "m"
    with pytest.raises(kimikit.BadInput, match="closed"):
        kimi.chat("Hello")


def test_a_host_is_chosen_by_its_key(monkeypatch, capsys):
    monkeypatch.setenv("NOVITA_API_KEY", "sk-not-a-real-key")
    kimi = Kimi()
    assert kimi.host.name == "novita"
    assert kimi.host.model == "moonshotai/kimi-k2-instruct"
    assert "NOVITA_API_KEY is set" in kimi.why
    assert "real-key" not in repr(kimi) + kimi.why + repr(kimi.host)
    assert capsys.readouterr().out == ""


def test_the_environment_names_a_host(monkeypatch):
    monkeypatch.setenv("KIMIKIT_HOST", "local")
    monkeypatch.setenv("TOGETHER_API_KEY", "sk-not-a-real-key")
    assert Kimi().host.name == "local"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Kimi("togehter"), kimikit.UnknownHost, "'together'"),
        (lambda: Kimi("together"), kimikit.MissingKey, "TOGETHER_API_KEY"),
        (lambda: Kimi(base_url="nonsense"), kimikit.BadInput, "base_url"),
        (lambda: Kimi("local").chat(""), kimikit.BadInput, "empty"),
        (lambda: Kimi("local").chat([]), kimikit.BadInput, "messages"),
        (lambda: Kimi("local").chat(42), kimikit.BadInput, "messages"),
        (lambda: Kimi("local").chat("a", temperature=-1), kimikit.BadInput, "temper"),
        (
            lambda: Kimi(base_url="http://127.0.0.1:9/v1", model="m", max_retries=0).chat("a"),
            kimikit.ConnectionFailed,
            "127.0.0.1:9",
        ),
    ],
)  # fmt: skip
def test_errors_end_with_what_to_do(make, error, says):
    with pytest.raises(error, match=says) as caught:
        make()
    assert isinstance(caught.value, kimikit.KimiError)
    assert caught.value.remedy.rstrip().endswith((".", "?"))
    assert str(caught.value).endswith(caught.value.remedy)


def test_nothing_refused_is_in_the_ledger(kimi):
    with pytest.raises(kimikit.BadInput):
        kimi.chat("")
    assert kimi.ledger.calls() == []


def test_a_reply_survives_as_json(kimi):
    reply = kimi.chat("Say hello.")
    assert msgspec.json.decode(msgspec.json.encode(reply), type=kimikit.Reply) == reply


def test_usage_adds_up():
    one = kimikit.Usage(10, 5, cached_tokens=4, cost_usd=Decimal("0.1"))
    two = kimikit.Usage(1, 2)
    assert sum([one, two]) == kimikit.Usage(11, 7, 4, 0, Decimal("0.1"))


def test_doctor_finds_everything_well():
    diagnosis = kimikit.doctor()
    assert diagnosis.ok, diagnosis
    assert "one live call" in repr(diagnosis)
    assert "<table>" in diagnosis._repr_html_()


@pytest.mark.parametrize("where", ["folder", "in no folder"])
def test_doctor_tells_of_a_ledger_that_cannot_be_written(tmp_path, monkeypatch, where):
    path = tmp_path if where == "folder" else Path("/proc/none/ledger")
    monkeypatch.setenv("KIMIKIT_LEDGER", str(path))
    with pytest.warns(KimiWarning, match="cannot be written"):
        found = kimikit.doctor(live=False)
    (check,) = [each for each in found.checks if each.name == "ledger"]
    assert not check.ok
    assert "Point KIMIKIT_LEDGER at" in check.detail


def test_doctor_names_a_missing_key_instead_of_raising():
    diagnosis = kimikit.doctor("together")
    assert not diagnosis.ok
    assert "TOGETHER_API_KEY" in repr(diagnosis)


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "kimikit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_command_asks_and_streams():
    done = run_command("ask", "Say", "hello.", "--host", "local", "--max-tokens", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "local stand-in, not Kimi" in done.stderr, "the answer alone goes to a pipe"
    assert "local stand-in, not Kimi" not in done.stdout


def test_the_command_shows_usage_and_errors():
    assert run_command("usage").returncode == 0
    done = run_command("ask", "hello", "--host", "togehter")
    assert done.returncode == 1
    assert "togehter" in done.stderr
    assert "Traceback" not in done.stderr
