"""What a model's Python code reaches: nothing, or with real=True what is said."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.scripts import Scripted, call, calls

from kimikit import cli
from kimikit.errors import BadInput, MissingDependency
from kimikit.tools import real_python, samples, sandbox
from kimikit.tools.loop import run
from kimikit.types import Reply

POSIX = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")


def wait_for(state, seconds=5):
    deadline = time.monotonic() + seconds
    while not state() and time.monotonic() < deadline:
        time.sleep(0.02)
    return state()


@pytest.fixture(scope="module")
def python():
    return samples.python(seconds=4, memory_mb=256)


@pytest.fixture(scope="module")
def real():
    return samples.python(seconds=20, memory_mb=2048, real=True)


@pytest.fixture(params=["sandbox", "real"])
def either(request, python, real):
    return python if request.param == "sandbox" else real


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("1 + 1", "2"),
        ("print('a')\nx = 3\nx", "a\n3"),
        ("x = 3; x  # the last", "3"),
        ("('é',\n 2)", "('é', 2)"),
        ("x = 5\r\nx\r\n", "5"),
        ("x = 3", "[no output]"),
        ("", "[no output]"),
        ("# nothing", "[no output]"),
        ("if True:\n    1", "[no output]"),
        ("None", "[no output]"),
        ("import json, re, math, datetime; json.dumps([1, 3])", "'[1, 3]'"),
        ("from collections import Counter\nCounter('aab')['a']", "2"),
        ("print('é')", "é"),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(15)", "610"),
    ],
)
def test_code_runs_and_its_last_value_is_told(either, code, output):
    assert either(code) == output


def test_errors_are_told_with_the_line_in_the_code(either):
    told = either("x = 1\ny = x / 0")
    assert 'File "<code>", line 2' in told
    assert "    y = x / 0" in told
    assert told.endswith("ZeroDivisionError: division by zero")
    assert "_last_value" not in either("x = 1\nx / 0")
    assert either("def f(:").splitlines()[-1].startswith("SyntaxError")


def test_an_error_deep_down_is_told_in_a_few_lines(python):
    told = python("def f(): return f()\nf()")
    assert "RecursionError" in told
    assert len(told) < 2_000


def test_the_modules_that_are_promised_are_there(python):
    assert python(f"import {', '.join(sandbox.MODULES)}") == "[no output]"
    assert all(name in python.description for name in sandbox.MODULES)


def test_nothing_is_kept_and_no_key_is_seen(either, monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "sk-secret")
    assert "sk-secret" not in either("import os\nprint(dict(os.environ))")
    either("kept = 3")
    assert "NameError" in either("kept")


@pytest.mark.parametrize("kind", [{}, {"real": True}])
@pytest.mark.parametrize("code", ["print('begun', flush=True)\nwhile True: pass",
                                  "print('begun', flush=True)\na = [1]\n"
                                  "for i in range(60): a = [a, a]\na"])  # fmt: skip
def test_what_does_not_end_is_stopped(kind, code):
    told = samples.python(seconds=1, memory_mb=256, **kind)(code)
    assert told in ("begun\n[stopped after 1 s]", "begun\nMemoryError"), told


def test_a_long_sleep_is_stopped(python):
    assert "limit exceeded" in python("import time\ntime.sleep(9)")


def test_endless_output_is_bounded_and_said_to_be_cut():
    told = samples.python(seconds=1)("while True: print('x' * 1000)")
    assert len(told) <= sandbox.OUTPUT_LIMIT + 100
    assert "[cut here]" in told
    assert "[stopped after 1 s]" in told


def test_memory_is_bounded(python, real):
    assert "MemoryError" in python("x = 'x' * (1 << 31)")
    if sys.platform == "linux":
        assert "MemoryError" in real("x = 'x' * (1 << 33)")


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess",
        "import socket",
        "import ctypes",
        "import fcntl",
        "import signal",
        "import multiprocessing",
        "import numpy",
        "__import__('os')",
        "import os\nos.fork()",
        "import os\nos.kill(1, 9)",
        "import os\nos.getppid()",
        "import os\nos.system('true')",
        "import os\nos.environ['PATH']",
        "import os\nos.listdir('/')",
        "import os\nos.remove('/tmp/none')",
        "import os\nos.chmod('/etc', 0o777, dir_fd=3)",
        "open('/etc/passwd').read()",
        "open('../x', 'w').write('x')",
        "import pathlib\npathlib.Path('/etc/passwd').read_text()",
        "import io\nio.open('/proc/self/environ').read()",
        "import sys\nsys._getframe()",
        "(1).__class__.__mro__[1].__subclasses__()",
        "eval(\"open('/etc/passwd')\")",
        f"open({__file__!r}).read()",
    ],
)
def test_processes_network_files_and_the_interpreter_are_out_of_reach(python, code):
    told = python(code)
    assert told.startswith("Traceback"), told
    assert "Error: " in told.splitlines()[-1], told


@POSIX
def test_the_process_that_asked_outlives_what_once_killed_it():
    """A signal through F_SETOWN once ended the notebook that ran the code."""
    code = (
        "import os, fcntl\nr, w = os.pipe()\n"
        "fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\nfcntl.fcntl(r, 10, 9)\n"
        "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\nos.write(w, b'x')\n"
    )
    child = (
        "from kimikit.tools import samples\n"
        f"print(samples.python()(code={code!r})); print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("alive\n"), (done.returncode, done.stderr)


@POSIX
def test_priority_of_the_caller_stays(python):
    before = os.getpriority(os.PRIO_PROCESS, 0)
    python("import os\nos.setpriority(0, os.getppid(), 19)")
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_what_holds_is_tried_and_told():
    assert samples.containment() == dict.fromkeys(
        ["time", "memory", "files", "environment", "processes and network"], True
    )
    found = samples.containment(real=True)
    assert found["time"]
    assert found["environment"]
    assert found["files"] == bool(real_python.bubblewrap())


def test_the_real_python_says_what_it_is_and_asks_first(real, python):
    assert real.confirm
    assert not python.confirm
    assert "user's own Python" in real.description
    wall = "bubblewrap keeps it" if real_python.bubblewrap() else "no wall around it"
    assert wall in real.description
    assert real("import numpy\nnumpy.arange(3).sum().item()") == "3"
    client = Scripted(calls(call("run_python", 0, code="1")), Reply(text="no"))
    done = run(client, "go", [real], ask=lambda *_: False)
    assert done.stop_reason == "denied"


@POSIX
def test_the_real_python_has_its_limits(real):
    assert "File too large" in real("open('big', 'wb').write(b'x' * (64 << 20))")
    assert "[stopped by signal" in real("import os, signal\nos.kill(os.getpid(), 9)")
    assert "Too many open files" in real("import os\nwhile True: os.dup(0)")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_that_the_code_started_end_with_it(real):
    told = real(
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid)"
    )
    if not real_python.bubblewrap():  # whose numbers of processes are not ours
        state = Path(f"/proc/{int(told)}/stat")
        ended = wait_for(lambda: not state.exists() or ") Z " in state.read_text())
        assert ended


@pytest.mark.parametrize("depth", [5, 3000])
@POSIX
def test_a_folder_of_any_depth_is_deleted(tmp_path, depth):
    top = tmp_path / "top"
    top.mkdir()
    (top / "beside" / "inner").mkdir(parents=True)
    (top / "beside" / "inner").chmod(0)
    (top / "beside").chmod(0)
    (top / "link").symlink_to(tmp_path)
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(here)
        here = inner
    os.close(here)
    real_python.remove(top)
    assert os.listdir(tmp_path) == []


@POSIX
def test_nothing_is_left_behind(real, tmp_path, monkeypatch):
    monkeypatch.setattr(real_python.tempfile, "tempdir", str(tmp_path))
    deep = "import os\nopen('big', 'w').write('x')\n"
    real(deep + "for i in range(1200):\n    os.mkdir('d'); os.chdir('d')")
    assert os.listdir(tmp_path) == []
    assert threading.active_count() < 20


def test_a_wall_that_does_not_stand_is_not_told(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'No permissions to create new namespace'; exit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(broken))
    assert real_python.bubblewrap.__wrapped__() == ""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert real_python.bubblewrap.__wrapped__() == ""


@pytest.mark.skipif(not real_python.bubblewrap(), reason="bubblewrap is not here")
@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd').read()",
        "import pathlib; list(pathlib.Path.home().parent.glob('*/.ssh'))[0]",
        "import socket; socket.create_connection(('127.0.0.1', 22), 1)",
        "open('/usr/x', 'w')",
    ],
)
def test_bubblewrap_keeps_files_and_network_away(real, code):
    assert "Error" in real(code)


def test_limits_and_the_missing_package_are_told_at_once(monkeypatch):
    for wrong in (0, "5", None, float("inf"), float("nan"), 10**9):
        with pytest.raises(BadInput, match=r"seconds is .* Give a number above 0"):
            samples.python(seconds=wrong, real=True)
    for wrong in (0, -1, 1.5, "512"):
        with pytest.raises(BadInput, match=r"memory_mb is .* Give a whole number"):
            samples.python(memory_mb=wrong)
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingDependency, match=r"pip install .*pydantic-monty"):
        samples.python()
    assert samples.python(real=True)("1 + 1") == "2"


def test_a_worker_that_does_not_start_says_so(monkeypatch):
    monkeypatch.setenv("MONTY_BIN", str(Path(__file__).with_name("nothing")))
    with pytest.raises(MissingDependency, match="pydantic-monty does not start"):
        samples.python()("1")


def test_the_doctor_says_what_holds(monkeypatch):
    said = cli._run_python()
    assert "the sandbox holds time, memory, files, environment, processes" in said
    assert "python(real=True) holds time, memory" in said
    if not real_python.bubblewrap():
        assert "no wall against files, processes and network" in said
    monkeypatch.setattr(cli, "installed", lambda package: "")
    assert "pydantic-monty is not here" in cli._run_python()


@POSIX
@pytest.mark.parametrize("options", ["seconds=120", "seconds=120, real=True"])
def test_stop_ends_the_wait_long_before_the_limit(options):
    """Were it not heard, the child would be ended by the limit of this test."""
    child = (
        "import os, signal, threading\n"
        "from kimikit.tools import samples\n"
        f"run = samples.python({options})\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    run('while True: pass')\n"
        "except KeyboardInterrupt:\n    print('stopped')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", child],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout == "stopped\n", done.stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys\nprint('a')\nsys.exit(3)", "a\n[exit code 3]"),
        ("import sys\nsys.exit('no file')", "no file\n[exit code 1]"),
        ("import os\nos._exit(200)", "[exit code 200]"),
        ("import sys\nprint('a')\nsys.exit()", "a"),
        ("print('half \\ud800')", "half ?"),
    ],
)
def test_how_the_real_python_ended_is_told(real, code, told):
    if "200" in code and real_python.bubblewrap():
        pytest.skip("bubblewrap tells of signals so")
    assert real(code) == told


@pytest.mark.parametrize(
    "error", ["KeyboardInterrupt", "GeneratorExit", "BaseException"]
)
def test_an_error_of_any_kind_is_told_as_one_of_the_code(real, error):
    told = real(f"x = 1\nraise {error}")
    assert told.splitlines()[1].startswith('  File "<code>", line 2')
    assert told.endswith(f"\n{error}")


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")  # nobody may have asked how it ended
    return state.exists() and ") Z " in state.read_text()


@POSIX
@pytest.mark.parametrize(
    "code", ["import time\nwhile True: time.sleep(0.1)", "while 1: 0"]
)
def test_code_whose_caller_was_killed_ends_by_itself(code, tmp_path):
    mark = tmp_path / "pid"
    code = f"import os\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\n{code}"
    caller = f"from kimikit.tools import samples\nsamples.python(seconds=1, real=True)({code!r})"
    if real_python.bubblewrap():
        pytest.skip("bubblewrap ends it at once")
    with subprocess.Popen([sys.executable, "-c", caller]) as process:
        assert wait_for(lambda: mark.exists() and mark.read_text(), 20)
        process.kill()
    pid = int(mark.read_text())
    assert wait_for(lambda: has_ended(pid), 20)
