"""The magics in a real IPython kernel, with a fake session that notes what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.kernel import Kernel, running_kernel
from support.streamed import reply

from kimikit.errors import BadInput
from kimikit.notebook import magics
from kimikit.notebook.magics import fill

SETUP = """
import sys
from types import SimpleNamespace
from kimikit.notebook.magics import register
from support.streamed import reply
made, asked = [], []
class Fake:
    ledger = 'all costs'
    def __init__(self, host=None):
        made.append(host)
        self.host = SimpleNamespace(name=host or 'local')
    def chat(self, prompt, **params):
        asked.append(('chat', prompt, params))
        return reply('answer to ' + prompt)
    def sweep(self, prompt, **params):
        asked.append(('sweep', prompt, params))
        return 'a sweep'
    def run(self, prompt, tools, **params):
        asked.append(('run', prompt, [t.__name__ for t in tools], params))
        return 'a run'
register(get_ipython(), Fake)
topic = 'bees'
def f(): pass
def g(): pass
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        assert kernel.run(SETUP).outputs() == []
        yield kernel


def asked(kernel: Kernel, cell: str) -> Any:
    ran = kernel.run(cell, value="asked[-1]")
    assert ran.of("error") == [], ran.of("error")
    return eval(ran.result.replace("dict[str, typing.Any]", "dict"))


def failure(kernel: Kernel, cell: str) -> str:
    (error,) = kernel.run(cell).of("error")
    return f"{error['ename']}: {error['evalue']}"


def test_a_cell_is_a_prompt_and_nothing_is_made_before(kernel: Kernel) -> None:
    assert kernel.run("1", value="made").result == "[]"
    assert asked(kernel, "%%kimi\nSay {topic}.") == ("chat", "Say bees.", {})
    assert kernel.run("1", value="made").result == "[None]"


def test_options_are_parameters(kernel: Kernel) -> None:
    cell = '%%kimi -T 0.6 -m k2 --host novita -S "Like {topic}." --max-tokens 9\nHi'
    _, prompt, params = asked(kernel, cell)
    assert prompt == "Hi"
    assert params == {
        "temperature": 0.6,
        "model": "k2",
        "system": "Like bees.",
        "max_tokens": 9,
    }
    assert kernel.run("1", value="made[-1]").result == "'novita'"


def test_several_temperatures_are_a_sweep_and_tools_a_run(kernel: Kernel) -> None:
    kind, _, params = asked(kernel, "%%kimi -T 0.2,0.6,1 -n 5\nHi")
    assert (kind, params) == ("sweep", {"temperature": [0.2, 0.6, 1.0], "repeats": 5})
    kind, _, params = asked(kernel, "%%kimi -m a,b\nHi")
    assert (kind, params) == ("sweep", {"model": ["a", "b"], "repeats": 1})
    assert asked(kernel, "%%kimi -n 0\nHi")[0] == "sweep"  # which refuses it
    assert asked(kernel, "%%kimi --tools f,g\nHi")[2] == ["f", "g"]


def test_into_keeps_the_result_and_shows_no_value(kernel: Kernel) -> None:
    ran = kernel.run("%%kimi --into answers --json\nHi", value="answers.text")
    assert ran.result == "'answer to Hi'"
    assert ran.of("execute_result") == []
    assert failure(kernel, "%%kimi --into 3x\nHi").startswith("BadInput")


def test_cells_are_filled_in_by_number(kernel: Kernel) -> None:
    kernel.run("6 * 7", value="None")
    number = int(kernel.run("1", value="len(In) - 1").result) - 1
    kernel.run("1 / 0")
    _, prompt, _ = asked(
        kernel, f"%%kimi\n{{In[{number}]}} is {{Out[{number}]}}; {{Err[{number + 2}]}}"
    )
    assert prompt == "6 * 7 is 42; ZeroDivisionError: division by zero"
    assert "There is no Err[999]" in failure(kernel, "%%kimi\n{Err[999]}")
    assert "There is no In[999]" in failure(kernel, "%%kimi\n{In[999]}")


def test_an_unknown_name_sends_nothing_and_says_what_is_near(kernel: Kernel) -> None:
    before = kernel.run("1", value="len(asked)").result
    said = failure(kernel, "%%kimi\nSay {topik}.")
    assert "{topik} is no variable of this notebook. Did you mean 'topic'?" in said
    assert "exclude each other" in failure(kernel, "%%kimi -n 3 --tools f\nHi")
    (usage,) = kernel.run("%%kimi -T warm\nHi").of("stream")
    assert "'warm' is not like 0.2,0.6,1" in usage["text"]
    assert kernel.run("1", value="len(asked)").result == before


def test_the_users_own_kimi_is_used(kernel: Kernel) -> None:
    kernel.run("kimi = Fake('together'); made.clear()")
    kernel.run("%%kimi\nHi")
    kernel.run("%%kimi --host together\nHi")
    assert kernel.run("1", value="made").result == "[]"
    kernel.run("del kimi")


def test_cost_and_host_lines(kernel: Kernel) -> None:
    assert "all costs" in str(kernel.run("%kimi_cost").outputs())
    assert "Did you mean 'together'?" in failure(kernel, "%kimi_host togetherr")
    kernel.run("%kimi_host moonshot")
    kernel.run("%%kimi\nHi")
    assert kernel.run("1", value="made[-1]").result == "'moonshot'"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("%%kimi --host toge", "together"),
        ("%%kimi --host moonshot -m kimi-k2-07", "kimi-k2-0711-preview"),
        ("%%kimi --temp", "--temperature"),
        ("%kimi_host nov", "novita"),
    ],
)
def test_hosts_models_and_options_are_completed(
    kernel: Kernel, code: str, expected: str
) -> None:
    kernel.client.complete(code, len(code))
    matches = kernel.client.get_shell_msg(timeout=300)["content"]["matches"]
    assert expected in matches


def test_braces_can_be_written_and_replies_are_their_text() -> None:
    names = {"x": 1.234, "r": reply("said so"), "d": {"a": [7]}}
    assert fill("{{x}} is {x:.1f}, {r}, {d[a][0]}", names) == "{x} is 1.2, said so, 7"
    for wrong in ("{", "}", "{x.nothing}", "{}"):
        with pytest.raises(BadInput, match=r"brace|variable"):
            fill(wrong, names)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r"-S C:\temp", ["-S", r"C:\temp"]),
        (r'-S "C:\my temp\new" --into x', ["-S", r"C:\my temp\new", "--into", "x"]),
        (r"-S 'C:\my temp'", ["-S", r"C:\my temp"]),
        (r"-S \\server\share\\x", ["-S", r"\\server\share\\x"]),
        (r"--tools a\b -m=c\d", ["--tools", r"a\b", r"-m=c\d"]),
        ("-S a\\", ["-S", "a\\"]),
        (r'-S "C:\temp\" -n 2', ["-S", "C:\\temp\\", "-n", "2"]),
        (r'-S "Say \"hi\" in \frac{1}"', ["-S", r'Say "hi" in \frac{1}']),
        (r"-S 'It\'s'", ["-S", "It's"]),
        (r"-S It\'s", ["-S", "It's"]),
        ('-S "It\'s" # \'a "b"\'', ["-S", "It's", "#", 'a "b"']),
        ("-S ''", ["-S", ""]),
    ],
)
def test_a_backslash_stands_for_itself(line: str, words: list[str]) -> None:
    assert magics._words(line) == words


def test_a_path_reaches_the_system_message(kernel: Kernel) -> None:
    found = asked(kernel, "%%kimi -S C:\\temp\nHi")
    assert found == ("chat", "Hi", {"system": "C:\\temp"})


@pytest.mark.parametrize(
    ("line", "mark", "other"),
    [
        ("-S You're a poet", "'", '"'),
        ('-S "You are', '"', "'"),
        ("--into x -S 'a' 'b", "'", '"'),
    ],
)
def test_a_quote_without_its_end_is_named(line: str, mark: str, other: str) -> None:
    with pytest.raises(BadInput, match="without its end") as caught:
        magics._words(line)
    assert f"has a {mark} without" in caught.value.what
    assert f"-S {other}...{other}" in caught.value.remedy
    assert magics._words(f"-S {other}You{mark}re a poet{other}") is not None


def test_a_quote_without_its_end_is_a_usage_error_in_a_notebook(kernel: Kernel) -> None:
    ran = kernel.run("%%kimi -S You're a poet\nHi")
    (error,) = ran.of("error")
    assert error["ename"] == "BadInput"
    assert not any("shlex" in line for line in error["traceback"])


@pytest.mark.parametrize("cell", ["%%kimi --help", "%%kimi", "%%kimi -h\nHi", "%kimi"])
def test_help_describes_the_cell_magic(kernel: Kernel, cell: str) -> None:
    before = kernel.run("1", value="len(asked)").result
    said = "".join(part["text"] for part in kernel.run(cell).of("stream"))
    assert said.splitlines()[2].startswith("  %%kimi [-T TEMPERATURE]")
    assert "--show-request" in said
    assert kernel.run("1", value="len(asked)").result == before


def test_the_docstring_describes_it_too(kernel: Kernel) -> None:
    magic = "get_ipython().magics_manager.magics['cell']['kimi']"
    ran = kernel.run("1", value=f"{magic}.__doc__")
    assert "%%kimi [-T TEMPERATURE]" in str(ran.result)


def test_what_was_sent_is_shown(kernel: Kernel) -> None:
    cell = "%%kimi --show-request --into kept\nSay {topic}."
    (shown,) = kernel.run(cell).of("display_data")
    assert shown["data"]["text/plain"].startswith("{")
    assert "<details open><summary>request</summary>" in shown["data"]["text/html"]
