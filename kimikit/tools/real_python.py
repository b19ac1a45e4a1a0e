"""Run Python code that a model wrote in the user's own Python, with limits.

It has all the packages that are installed, an empty folder and no secrets in its
environment. A wall stands around it only where bubblewrap is installed and works.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from kimikit.tools.sandbox import OUTPUT_LIMIT, Limits, Output, stopped

_FILE_MB = 16
_READABLE = (
    "/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache",
    "/etc/localtime", "/etc/fonts",
)  # fmt: skip
_KEPT = ("SYSTEMROOT", "LD_LIBRARY_PATH")

_CHILD = """\
import ast, json, linecache, signal, sys, traceback
if hasattr(signal, "alarm"):  # for the time when nobody is left to end it
    signal.alarm(int(sys.argv[2]))
sys.stdout.reconfigure(errors="replace")
try:
    import resource
except ImportError:
    resource = None
for name, value in json.loads(sys.argv[1]).items():
    try:
        resource.setrlimit(getattr(resource, name), (value, value))
    except (AttributeError, OverflowError, ValueError, OSError):
        pass
code = sys.stdin.buffer.read().decode()
linecache.cache["<code>"] = (len(code), None, code.splitlines(True), "<code>")
names = {"__name__": "__main__"}
try:
    tree = ast.parse(code, "<code>")
    shown = tree.body and isinstance(tree.body[-1], ast.Expr)
    last = tree.body.pop() if shown else None
    exec(compile(tree, "<code>", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "<code>", "eval"), names)
        if value is not None:
            print(repr(value))
except SystemExit:
    raise
except BaseException as error:
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != "<code>":
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace, file=sys.stdout)
"""
"""What the real Python runs: it lowers its limits, then does as a notebook's cell."""


class RealPython(msgspec.Struct, frozen=True):
    """The user's own Python in a process with limits.

    Attributes:
        limits: What one run may take.
    """

    limits: Limits = Limits()

    def run(self, code: str) -> str:
        """Return what the code prints, the value of its last line, or its error."""
        folder = tempfile.mkdtemp(prefix="kimikit-python-")
        try:
            return self._run(code, folder)
        finally:
            remove(Path(folder))

    def _run(self, code: str, folder: str) -> str:
        lowered = {
            "RLIMIT_AS": self.limits.memory_mb << 20,
            "RLIMIT_CPU": int(self.limits.seconds) + 1,
            "RLIMIT_FSIZE": _FILE_MB << 20,
            "RLIMIT_NOFILE": 128,
            "RLIMIT_CORE": 0,
        }
        env, wall = _environment(folder), bubblewrap()
        command = [
            sys.executable,
            "-I",
            "-X",
            "utf8",
            "-c",
            _CHILD,
            json.dumps(lowered),
            str(int(self.limits.seconds) + 2),
        ]
        if wall:
            command = [*_walled(wall, folder), *command]
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output,
                stderr=subprocess.STDOUT, cwd=folder, env=env, start_new_session=True,
            )  # fmt: skip
            note = ""
            try:
                sent = code.encode("utf-8", "replace")
                process.communicate(sent, timeout=self.limits.seconds)
            except subprocess.TimeoutExpired:
                note = stopped(self.limits)
            finally:
                with contextlib.suppress(OSError):
                    if os.name == "posix":
                        os.killpg(process.pid, signal.SIGKILL)
                    else:
                        process.kill()
                process.communicate()
            output.seek(0)
            text = Output()
            text.add("", output.read(4 * OUTPUT_LIMIT).decode(errors="replace"))
        ended = process.returncode
        if wall and ended > 128:  # so bubblewrap tells of a signal
            ended = 128 - ended
        if ended and not note:
            how = f"stopped by signal {-ended}" if ended < 0 else f"exit code {ended}"
            note = f"[{how}]"
        text.note(note)
        return text.text()

    def walls(self) -> dict[str, bool]:
        """Try each wall, and tell which held."""
        named = {"PWD", "LC_CTYPE", *_environment("")}
        hidden = sorted(os.environ.keys() - named)
        with (
            tempfile.NamedTemporaryFile() as file,
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            told = self.run(
                "import os, socket\n"
                f"print('file' if os.path.exists({file.name!r}) else '')\n"
                f"print('variable' if os.environ.keys() & {hidden!r} else '')\n"
                "try:\n"
                f"    socket.create_connection({listener.getsockname()!r}, 1)\n"
                "    print('network')\n"
                "except OSError:\n"
                "    pass\n"
                "print('ran')"
            )
        ran = "ran" in told
        return {
            "time": ran,
            "memory": ran and sys.platform not in ("darwin", "win32"),
            "files": ran and "file" not in told,
            "environment": ran and "variable" not in told,
            "processes and network": ran and "network" not in told,
        }


def _environment(folder: str) -> dict[str, str]:
    # One thread, as each of OpenBLAS's reserves memory of its own.
    env = {
        "HOME": folder, "TMPDIR": folder, "TEMP": folder, "PATH": os.defpath,
        "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg",
    }  # fmt: skip
    return env | {name: os.environ[name] for name in _KEPT if name in os.environ}


@functools.cache
def bubblewrap() -> str:
    """Return the path of bubblewrap where it is installed and allowed to work."""
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if not found:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_walled(found, folder), sys.executable, "-I", "-c", ""]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=10, check=False, cwd=folder
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return found if done.returncode == 0 else ""


def _walled(wall: str, folder: str) -> list[str]:
    """Return the words before a command that let it see Python and its folder alone."""
    own = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    places = dict.fromkeys([*_READABLE, *own, *map(os.path.realpath, own)])
    binds = [part for place in places for part in ("--ro-bind-try", place, place)]
    return [
        wall, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop",
        "ALL", "--proc", "/proc", "--dev", "/dev", *binds, "--bind", folder, folder,
        "--chdir", folder, "--",
    ]  # fmt: skip


def remove(folder: Path) -> None:
    """Delete a folder of any depth, of which ``shutil`` deletes only 1,000 levels.

    Folders inside are moved up to the top one before they are looked into, so no path
    gets long and nothing here recurses.
    """
    count = 0
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
        while entries := list(os.scandir(folder)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in os.scandir(entry.path):
                    if inner.is_dir(follow_symlinks=False):
                        os.chmod(inner.path, 0o700)  # without, it cannot be moved
                        os.rename(inner.path, folder / f".moved-{count}")
                        count += 1
                    else:
                        os.unlink(inner.path)
                os.rmdir(entry.path)
        os.rmdir(folder)
