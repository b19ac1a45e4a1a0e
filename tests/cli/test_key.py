"""Keys in the keyring: kept, used and forgotten, and never shown."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from support.both import KEY

from kimikit import Kimi, MissingKey
from kimikit.cli import main
from kimikit.errors import KimiError


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring in memory under the library's three functions."""
    kept: dict[tuple[str, str], str] = {}
    library = SimpleNamespace(
        __spec__=SimpleNamespace(name="keyring"),
        get_password=lambda service, user: kept.get((service, user)),
        set_password=lambda service, user, key: kept.__setitem__((service, user), key),
        delete_password=lambda service, user: kept.pop((service, user)),
    )
    monkeypatch.setitem(sys.modules, "keyring", library)
    return kept


def test_a_key_is_kept_used_and_forgotten(
    ring: dict[tuple[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f" {KEY} \n"))
    assert main(["key", "set", "together"]) == 0
    assert ring == {("kimikit", "together"): KEY}
    kimi = Kimi("together")
    assert kimi.key_state == f"...{KEY[-4:]} (the system's keyring)"
    monkeypatch.setenv("TOGETHER_API_KEY", "sk-from-the-environment-1234")
    assert Kimi("together").key_state == "...1234 (TOGETHER_API_KEY)"
    monkeypatch.delenv("TOGETHER_API_KEY")
    assert main(["key", "remove", "together"]) == 0
    with pytest.raises(MissingKey):
        Kimi("together")
    assert main(["key", "remove", "together"]) == 1
    told = capsys.readouterr()
    assert "Kimi('together') uses it" in told.out
    assert "holds no key of together" in told.err
    assert KEY not in told.out + told.err


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (["set", "together"], "\n", "No key was given"),
        (["set", "vllm"], "x\n", "vllm needs no key"),
        (["set", "togehter"], "x\n", "Did you mean 'together'"),
    ],
)
def test_what_is_no_key_is_refused(
    words: list[str],
    given: str,
    said: str,
    ring: dict[tuple[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert main(["key", *words]) == 1
    assert said in capsys.readouterr().err
    assert ring == {}


def test_a_keyring_that_fails_is_as_none(
    ring: dict[tuple[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: str) -> None:
        raise RuntimeError("locked")

    for name in ("get_password", "set_password"):
        monkeypatch.setattr(sys.modules["keyring"], name, fail)
    with pytest.raises(MissingKey):
        Kimi("together")
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY))
    assert main(["key", "set", "together"]) == 1
    told = capsys.readouterr().err
    assert "keyring refuses (RuntimeError)" in told
    assert "TOGETHER_API_KEY" in told


def test_without_the_library_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY))
    assert main(["key", "set", "together"]) == 1
    assert "pip install keyring" in capsys.readouterr().err


def test_a_missing_key_says_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingKey) as caught:
        Kimi("together")
    error: KimiError = caught.value
    for way in (
        "Kimi('together', api_key=getpass())",
        "TOGETHER_API_KEY",
        "kimikit key set together",
    ):
        assert way in error.remedy
