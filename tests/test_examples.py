"""Each public name has an example in its docstring, and each example runs for real."""

import base64
import doctest
import importlib
import inspect
import pkgutil
import warnings

import pytest
from support.answers import text
from support.fault_server import FaultServer, plain, sse

import kimikit
from kimikit import Kimi

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)
BALANCE = {"available_balance": 49.58, "voucher_balance": 46.5, "cash_balance": 3.08}
PLAYED = {
    "kimikit.session.endpoints.Endpoints.image": plain(
        {"data": [{"b64_json": base64.b64encode(PNG).decode()}]}
    ),
    "kimikit.session.endpoints.Endpoints.speak": plain(b"ID3 sound", kind="audio/mpeg"),
    "kimikit.session.endpoints.Endpoints.transcribe": plain(
        {"text": " Good morning.", "language": "en"}
    ),
    "kimikit.session.endpoints.Endpoints.balance": plain(
        {"code": 0, "status": True, "data": BALANCE}
    ),
    "kimikit.errors.StreamError": sse(
        *text("Once upon"), {"error": {"message": "overloaded"}}
    ),
    "kimikit.errors.RateLimited": plain(
        {"error": {"message": "request reached max RPM: 3"}}, 429, "retry-after: 20"
    ),
    "kimikit.errors.FixedTemperature": plain(
        {"error": {"message": "invalid temperature: only 1 is allowed"}}, 400
    ),
}
"""What the local host lacks is asked of a host that plays one answer over HTTP."""

SHOWS_WORDS = (
    "kimikit.evals.judging",
    "kimikit.evals.lab",
    "kimikit.evals.vote",
    "kimikit.prompting.conversation",
    "kimikit.prompting.structured",
    "kimikit.session.Kimi.",
    "kimikit.session.comparing.Comparing.map",
    "kimikit.tools.steps",
    "kimikit.tools.values",
    "kimikit.types",
)
"""What shows words of an answer. Elsewhere four tokens are answer enough, and quicker."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
HARDLY_MODULES = {"kimikit.__main__"}  # it starts a program


def examples():
    """Return every docstring of the package that holds an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = {i.name for i in pkgutil.walk_packages(kimikit.__path__, "kimikit.")}
    found = []
    for name in sorted({"kimikit", *names} - HARDLY_MODULES):
        module = importlib.import_module(name)
        known = {**vars(module), **{n: getattr(kimikit, n) for n in kimikit.__all__}}
        found += [one for one in finder.find(module, globs=known) if one.examples]
    return {one.name: one for one in found}


EXAMPLES = examples()


@pytest.fixture
def kimi(request, local_host, tmp_path):
    """A session on the local host, or on one that plays what that host lacks."""
    answer = PLAYED.get(request.param)
    if answer is None:
        tokens = 16 if request.param.startswith(SHOWS_WORDS) else 4
        yield Kimi("local", max_tokens=tokens, temperature=0)
        return
    host = "moonshot" if "balance" in request.param else None
    with FaultServer() as server:
        server.play(answer)
        made = {"base_url": server.url, "api_key": "sk-none", "model": "m"}
        yield Kimi(host, **made, max_retries=0)


@pytest.mark.parametrize(
    ("name", "kimi"), [(n, n) for n in EXAMPLES], ids=list(EXAMPLES), indirect=["kimi"]
)
def test_the_example_runs(name, kimi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "morning.mp3").write_bytes(b"ID3 sound")
    test, said = EXAMPLES[name], []
    test.globs = {**test.globs, "kimi": kimi, "client": kimi.client}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as in a project that makes warnings errors
        result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
    assert result.attempted == len(test.examples)


def has_example(thing):
    return ">>> " in (inspect.getdoc(thing) or "")


def test_each_public_name_has_an_example():
    """An error with nothing of its own shares the one of its base."""
    lacking = []
    for name in kimikit.__all__:
        thing = getattr(kimikit, name) if name != "__version__" else kimikit
        plain_error = (
            inspect.isclass(thing)
            and issubclass(thing, kimikit.KimiError)
            and "Attributes:" not in (thing.__doc__ or "")
        )
        shared = set(thing.__mro__) - {kimikit.KimiError} if plain_error else ()
        if not any(map(has_example, [thing, *shared])):
            lacking.append(name)
    assert lacking == []


def test_each_public_method_of_kimi_has_an_example():
    public = [name for name in dir(Kimi) if not name.startswith("_")]
    methods = {name: getattr(Kimi, name) for name in public}
    assert {"chat", "sweep", "run", "close"} <= methods.keys()
    assert [name for name, method in methods.items() if not has_example(method)] == []
