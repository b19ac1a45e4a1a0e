"""What all tests share: a clean environment, and one local host on real models."""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import itertools
import os
import pkgutil
import re
import signal
import sys
import threading
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from support import without_iri  # noqa: F401 - no schema here has an IRI

if TYPE_CHECKING:
    # A worker counts lines from its session's start on, which is after this file.
    from support.lab import Lab

    from kimikit import local

COVERAGE = pytest.StashKey["_Coverage"]()
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}


class _PatientSys:
    """``sys`` as ``threading`` uses it, with a ``settrace`` that tries again.

    Under coverage every new thread calls it. Python 3.11 refuses that while another
    thread is about it ("while another trace function is being installed"), and the
    thread ends before it has run anything, so that who waits for its result waits
    for ever.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    @staticmethod
    def settrace(function: Any) -> None:
        for _ in range(1_000):
            try:
                return sys.settrace(function)
            except RuntimeError:
                time.sleep(0)
        return sys.settrace(function)


if sys.version_info < (3, 12):
    threading._sys = _PatientSys()  # type: ignore[attr-defined]


# No test may fail because the machine is busy, nor in CI by a draw of its own. A test whose
# faults are rarer than 1 in 50 draws asks for more itself; `make fuzz` draws 1,000 new ones.
settings.register_profile(
    "any speed",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.register_profile(
    "thorough", settings.get_profile("any speed"), max_examples=1_000, derandomize=False
)
settings.load_profile("any speed")

# pytest-cov asks for two reports, its table and the sum alone, and coverage would read
# all modules for each of them, which takes 4 s.
if "coverage.control" in sys.modules:
    Coverage: Any = sys.modules["coverage.control"].Coverage
    Coverage._get_file_reporter = functools.cache(Coverage._get_file_reporter)

# Thousands of tests are made while all files are read, and none of them is garbage: to
# look for it again and again takes a third of that time.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and no more among the tests and the libraries."""
    gc.freeze()
    gc.enable()


_WHOLE = {"kernel", "lab", "chromium", "archives", "collected", "own"}
"""Fixtures that take seconds to make."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it at the end.

    Of files alike, that is the one with more tests. In a file, browser tests come last:
    Playwright keeps an event loop running in this thread until the file's end.
    """
    whole = {item.path for item in items if _WHOLE & set(_fixtures(item))}
    tests = Counter(item.path for item in items)
    first: dict[Path, int] = {}
    for item in items:
        first[item.path] = min(_rank(item, whole), first.get(item.path, 3))
    order = {
        path: n
        for n, path in enumerate(sorted(first, key=lambda p: (first[p], -tests[p])))
    }
    items.sort(key=lambda i: (order[i.path], _in_browser(i)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all files that open JupyterLab to one worker: it starts in 15 s of CPU."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneLab(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "JupyterLab" if "_lab." in file or "_lab_" in file else file

    return OneLab(config, log)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text by its length: workers must agree on a name, and people read it."""
    long = isinstance(val, str | bytes) and len(val) > 200
    return f"{argname} of {len(val)}" if long else None


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _in_browser(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


def _rank(item: pytest.Item, whole: set[Path]) -> int:
    """Return 0 for what takes longest, 3 for what takes no time at all."""
    if item.get_closest_marker("notebook") or item.get_closest_marker("archives"):
        return 0
    if item.path in whole:
        return 1
    return 2 if "local_host" in _fixtures(item) else 3


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what ends by an interrupt where the shell has turned interrupts off.

    ``pytest &`` in a script does so for the run and all its children: such a test would
    wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        source = inspect.getsource(item.function) if hasattr(item, "function") else ""
        if re.search(
            r"interrupt_main|press_stop|SIGINT|kill -INT|(?<![.\w])interrupt\b", source
        ):
            pytest.skip("SIGINT is ignored here, as in `pytest &` of a script")


TICK_S, BORED_S, CASE_S = 0.02, 0.08, 0.016
"""How often coverage is asked whether it sees something for the first time; the seconds of
one test's work without anything new after which it looks at that test no more; and what
each case counts for at least."""


class _Coverage:
    """Coverage of this process, which looks on as long as it sees something new.

    What it looks at takes twice as long, and most of it is what others have run before.
    So what it counts is the least that is covered.
    """

    def __init__(self, looks: Any) -> None:
        self._looks, self._found = looks, 0
        self._test, self._asked_s = "", 0.0
        self._bored_s: defaultdict[str, float] = defaultdict(float)
        self.look_away()

    def look(self, test: str) -> None:
        self._finds()  # what threads of the test before have shown
        self._test, self._asked_s = test, time.process_time() - CASE_S
        if self._bored_s[test] >= BORED_S:
            return
        signal.signal(signal.SIGVTALRM, self._tick)
        signal.siginterrupt(signal.SIGVTALRM, False)
        signal.setitimer(signal.ITIMER_VIRTUAL, TICK_S, TICK_S)
        threading.settrace(self._looks)
        sys.settrace(self._looks)

    def look_away(self) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _finds(self) -> bool:
        """Return whether it has seen anything new since it was asked last."""
        before = self._found
        self._found = sum(map(len, list(self._looks.__self__.data.values())))
        return self._found > before

    def _tick(self, *_: object) -> None:
        self.ask()
        if self._bored_s[self._test] >= BORED_S:
            self.look_away()

    def ask(self) -> None:
        """Note whether the test's work since the last time has shown anything new."""
        now_s = time.process_time()
        bored_s = self._bored_s[self._test] + now_s - self._asked_s
        self._bored_s[self._test] = 0 if self._finds() else bored_s
        self._asked_s = now_s


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Show coverage each module of kimikit, and after that nothing but tests."""
    looks = threading.gettrace()  # begins to look at the thread that calls it
    if getattr(looks, "__module__", "") == "coverage.collector":
        import kimikit

        for module in pkgutil.walk_packages(kimikit.__path__, "kimikit."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        session.config.stash[COVERAGE] = _Coverage(looks)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let coverage look at the cases of a test while they show it something new."""
    coverage = item.config.stash.get(COVERAGE, None)
    if coverage is None:
        return (yield)
    coverage.look(item.nodeid.partition("[")[0])
    try:
        return (yield)
    finally:
        coverage.look_away()
        coverage.ask()


def _is_foreign(name: str) -> bool:
    upper = name.upper()
    if upper.startswith("KIMIKIT_"):
        return upper not in ("KIMIKIT_CACHE", "KIMIKIT_RUNTIME")
    return upper.endswith("_API_KEY") or upper == "HF_TOKEN" or upper in _PROXIES


@pytest.fixture(scope="session")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths of ledgers: a folder for each of thousands of tests takes seconds to make."""
    folder = tmp_path_factory.mktemp("ledgers")
    return (folder / f"{number}.db" for number in itertools.count())


@pytest.fixture(autouse=True)
def clean_environment(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    ledgers: Iterator[Path],
) -> None:
    """Keep the user's keys, proxies and ledger out of every test."""
    path = next(ledgers)
    if "tmp_path" in request.fixturenames:
        path = request.getfixturevalue("tmp_path") / "ledger.db"
    for name in list(os.environ):
        if _is_foreign(name):
            monkeypatch.delenv(name)
    # A child under coverage starts in twice the time. What children alone run is the
    # local host, the command line, and kernels, which begin before a test does.
    if not {"local", "cli", "session"} & {*request.path.parts}:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("KIMIKIT_LEDGER", str(path))


@pytest.fixture(autouse=True)
def no_unexpected_warning(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that made kimikit warn: warnings are errors here, and it logs those."""
    from kimikit.errors import KimiWarning

    warnings.simplefilter("error", KimiWarning)
    yield
    logged = [r for r in caplog.get_records("call") if r.funcName == "warn"]
    assert [r.getMessage() for r in logged if r.module == "errors"] == []


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a failed try be followed by the next one at once, where no host says when."""
    from kimikit.wire import faults

    monkeypatch.setattr(faults, "FIRST_WAIT_S", 0.001)


@pytest.fixture(scope="session")
def local_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Running]:
    """A local host of the test run's own, on the machine's model cache."""
    from kimikit import local

    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            # pip needs the proxy if the models have to be fetched.
            if _is_foreign(name) and name.upper() not in _PROXIES:
                patch.delenv(name)
        patch.setenv("KIMIKIT_RUNTIME", str(tmp_path_factory.mktemp("runtime")))
        running = local.ensure()
        yield running
        local.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, one for this worker."""
    from support.lab import event_loop, running_chromium  # most tests need none

    with running_chromium() as browser, event_loop(None):
        yield browser


@pytest.fixture(scope="module")
def chromium(browser: Any) -> Iterator[Any]:
    """That Chromium, for a file: others get this thread's event loop back."""
    from support.lab import event_loop

    with event_loop(browser._loop):
        yield browser


@pytest.fixture(scope="session")
def lab_page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab of this worker's own, on a page of Chromium."""
    from support.lab import Lab, event_loop, running_server

    with running_server(tmp_path_factory.mktemp("lab")) as server:
        with event_loop(browser._loop):
            made = Lab(*server, browser)
        yield made


@pytest.fixture(scope="module")
def lab(chromium: Any, lab_page: Lab) -> Lab:
    """That JupyterLab, for a file."""
    return lab_page
