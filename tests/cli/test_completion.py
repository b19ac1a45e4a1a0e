"""Completion: what a real shell offers after each word."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from kimikit.cli import main, parser
from kimikit.cli.completion import script


def offered(line: str) -> set[str]:
    """Return what bash offers for the last word of a line."""
    words = line.split(" ")
    code = (
        f"{script('bash', parser())}\nCOMP_WORDS=({' '.join(f'{w!r}' for w in words)})\n"
        f'COMP_CWORD={len(words) - 1}; _kimikit; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_options_and_hosts() -> None:
    assert {"ask", "doctor", "completion", "recording"} <= offered("kimikit ")
    assert offered("kimikit doc") == {"doctor"}
    assert offered("kimikit ask --ho") == {"--host"}
    assert offered("kimikit ask --host tog") == {"together"}
    assert offered("kimikit recording sh") == {"show"}
    assert "--to" in offered("kimikit recording trim x --")
    assert offered("kimikit completion ") == {"bash", "zsh", "fish", "-h", "--help"}


def test_the_other_shells_get_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    zsh = capsys.readouterr().out
    assert zsh.startswith("autoload -U +X bashcompinit")
    assert script("bash", parser()) in zsh
    assert main(["completion", "fish"]) == 0
    fish = capsys.readouterr().out.splitlines()
    assert any("-a ask -d 'stream one answer" in line for line in fish)
    assert any("-l host" in line and "together" in line for line in fish)
    assert all(line.startswith("complete -c kimikit ") for line in fish)
    assert all(shlex.split(line) for line in fish)  # every quote has its end
