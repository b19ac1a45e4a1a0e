"""The project as a whole: names, imports, versions and packages agree."""

import ast
import importlib
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
import warnings
from collections import defaultdict
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import kimikit
from kimikit.cli import EXTRAS

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "kimikit").rglob("*.py"))
PUBLIC = """
    Kimi Client AsyncClient tool Tool
    diff few_shot brief map_reduce vote score_tool_calls
    Message Usage ToolCall Delta Reply
    Sweep Trial Run Step Conversation
    Host Price KimiError BadInput UnknownHost
    MissingKey NotSupported NotRecorded BadTool MissingDependency BudgetExceeded
    LocalHostError InvalidAnswer HostError ConnectionFailed TimedOut
    StreamError StatusError AuthenticationFailed NoBalance ModelNotFound
    RateLimited Overloaded BadRequest FixedTemperature ContextTooLong
    ContentFiltered doctor load_ipython_extension __version__
""".split()  # noqa: SIM905

VERBS = """
    Add Answer Ask Bound Build Call Care Check Choose Compare Complete Connect Count
    Cut Decide Decode Define Describe Draw Embed Estimate Evaluate Explore Export
    Fetch Fill Find Flatten Fold Give Guard Hold Join Keep Know Lay Let Limit List
    Look Make Map Mask Measure Name Note Offer Open Parse Pass Plan Plot Price Put
    Read Recognise Record Refuse Register Remember Report Rewrite Run Say Score Search
    Send Serve Set Share Show State Store Stream Sum Sweep Take Talk Tell Test Try Turn
    Unpack Upload Verify Work Write
""".split()  # noqa: SIM905
"""What modules' docstrings may begin with."""


def test_public_names_are_the_contract():
    assert sorted(kimikit.__all__) == sorted(PUBLIC)
    assert kimikit.__all__ == sorted(kimikit.__all__)
    missing = [name for name in kimikit.__all__ if not hasattr(kimikit, name)]
    assert missing == []


def test_import_is_light():
    """`from kimikit import Kimi` leaves alone what a first answer may not need."""
    heavy = ["IPython", "ipywidgets", "matplotlib", "pandas", "numpy", "sacrebleu"]
    heavy += ["importlib.metadata", "scipy", "pyarrow", "tqdm", "markdown_it"]
    parts = ["kimikit.prompting", "kimikit.local", "kimikit.cli", "kimikit.markdown"]
    code = f"import sys; from kimikit import Kimi; m = {heavy + parts}"
    code += "; print([name for name in m if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_names_loaded_at_their_first_use_are_names_like_others():
    code = (
        "import kimikit; assert set(kimikit.__all__) <= set(dir(kimikit));"
        "from kimikit import *; from kimikit.prompting import vote as same;"
        "assert vote is kimikit.vote is same; kimikit.votes"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("AttributeError: module 'kimikit' has no attribute 'votes'")


def test_import_has_no_effects(tmp_path):
    """Importing writes nothing, prints nothing and starts nothing."""
    code = (
        "import threading, kimikit; assert threading.active_count() == 1; import os;"
        "assert os.listdir('.') == [], os.listdir('.')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_packages_import_one_way():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_only_the_wire_imports_httpx():
    users = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if re.search(r"^(import|from) httpx", path.read_text(), flags=re.M)
    }
    assert users == {"kimikit/wire/client.py"}


MODULE, FUNCTION = 400, 60
"""Lines with docstrings, in a function's but for its example."""

EXAMPLE = re.compile(r"^Example:\n(?:(?: .*)?(?:\n|\Z))+", flags=re.M)
"""What users read in a docstring and a test runs, with the blank lines behind it."""


def lines_of(function):
    """Count the lines of decorators, signature, docstring and body, but no example."""
    first = min(node.lineno for node in [function, *function.decorator_list])
    lines = function.end_lineno - first + 1
    if example := EXAMPLE.search(ast.get_docstring(function) or ""):
        # The blank line before an example at the end goes with it.
        lines -= len(example[0].splitlines()) + (example.end() == len(example.string))
    return lines


def test_a_function_is_counted_without_its_example_alone():
    blocks = {
        "text": ["Say it.", ""],
        "example": ["Example:", "    >>> f()", "", "    >>> f()", ""],
        "rest": ["Raises:", "    Error: If not."],
    }

    def counted(*names):
        doc = [line for name in names for line in blocks[name]]
        lines = "\n".join(f"    {line}".rstrip() for line in doc).strip()
        code = f'@cache\ndef f():\n    """{lines}\n    """\n    return 1\n'
        return lines_of(ast.parse(code).body[0])

    assert counted("text") == counted("text", "example") == 5
    assert counted("text", "rest") == counted("text", "example", "rest") == 8


BUDGET = 38_178
"""Lines of code that the whole package may have; raise it only for what is worth them.

Most of them keep a promise on inputs that few have and somebody will.
"""


def code_lines(text):
    """Count the lines that hold code: no blank ones, no comments, no docstrings.

    Python 3.12 took f-strings apart; here they are one string on every Python.
    """
    plain = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.STRING)
    spaces = (tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines, depth = set(), 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        starts, ends = name.endswith("STRING_START"), name.endswith("STRING_END")
        depth += starts - ends
        if not (depth or ends or token.type in (*plain, *spaces)):
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines)


def test_code_lines_are_counted_alike_on_every_python():
    text = """x = 1  # a comment

# another
f"{x}"
y = f'''{
    x + f"{x}"
} more'''
"""
    assert code_lines(text) == 2
    assert code_lines(f"def f():\n    {text[:5]}\n\n") == 2


def test_the_package_stays_within_its_budget():
    assert sum(code_lines(path.read_text()) for path in SOURCES) <= BUDGET


def test_files_stay_small_and_say_at_once_what_they_do():
    for path in SOURCES:
        text, name = path.read_text(), path.relative_to(ROOT).as_posix()
        assert text.count("\n") <= MODULE, name
        tree = ast.parse(text)
        # It begins with a verb, as functions do: put a new one into the list.
        assert re.match(r"\w*", ast.get_docstring(tree) or "")[0] in VERBS, name
        long = [
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and lines_of(node) > FUNCTION
        ]
        assert long == [], name


def requirements(lines):
    """Return {name: bound} of requirement strings, names as pip normalises them."""
    found = {}
    for line in lines:
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?\s*([^;]*)", line.strip())
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2].strip()
    return found


def test_environment_file_and_pyproject_ask_for_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = requirements(
        [*project["dependencies"], *extras["lab"], *extras["pandas"], *extras["tokens"]]
    )
    wanted["python"] = project["requires-python"]
    wanted["pip"] = requirements(extras["local"])["pip"]
    lines = (ROOT / "environment.yml").read_text().splitlines()
    conda = [line for line in lines if re.match(r"  - [a-z_-]+[>=]", line)]
    assert requirements(line.split("#")[0].strip("- ") for line in conda) == wanted
    (by_pip,) = re.findall(r"- -e \.\[(.*)\]", "\n".join(lines))
    (lab,) = re.findall(r"^EXTRAS := (.*)", (ROOT / "Makefile").read_text(), re.M)
    assert {*by_pip.split(","), "lab", "pandas", "tokens"} == set(lab.split())
    packages = [line for line in lines if re.match(r"\s+- .*[>\[]", line)]
    assert [line for line in packages if "#" not in line] == [], (
        "each line has a reason"
    )


LOCKS = {"lab": set(EXTRAS) - {"mcp"}, "dev": {*EXTRAS, "dev"}}
"""What each file in ``locks/`` holds: these extras, and what builds kimikit."""


def locked(name):
    """Return {name: versions} of a lock; a version can differ from Python to Python."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    found = defaultdict(set)
    for package, version in re.findall(r"^([a-z0-9-]+)==([^ ]+) ", text, flags=re.M):
        found[package].add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_pyproject_asks_for(lock):
    """If this fails after a change of pyproject.toml: make lock."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = data["project"]
    lines = [*project["dependencies"], *data["dependency-groups"]["build"]]
    for extra in LOCKS[lock]:
        lines += project["optional-dependencies"][extra]
    pins = locked(lock)
    wanted = requirements(line for line in lines if not line.startswith("kimikit["))
    assert wanted.keys() - pins.keys() == set(), "make lock"
    outside = [
        f"{name}{bound} is locked to {version}; make lock"
        for name, bound in wanted.items()
        for version in pins[name]
        if version not in SpecifierSet(bound)
    ]
    assert outside == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_pins_and_hashes_and_nothing_else(lock):
    """No address and no path: it installs from wherever the user's pip does."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text().replace(" \\\n", " ")
    pin = r"[a-z0-9-]+==\S+( ; [^:/]+?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert [line for line in lines if not re.fullmatch(pin, line)] == []


def test_who_tests_has_the_versions_of_who_explores():
    lab, dev = locked("lab"), locked("dev")
    assert {name for name in lab if lab[name] != dev[name]} == set()


@pytest.mark.parametrize(
    ("container", "user"), list(product(["", "docker"], ["0", "1000"]))
)
def test_jupyter_runs_as_root_in_a_container_only(container, user, tmp_path):
    (tmp_path / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (tmp_path / "id").chmod(0o755)
    said = subprocess.run(
        ["make", "--dry-run", "lab", f"IN_CONTAINER={container}"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "jupyter lab" in said
    assert ("--allow-root" in said) == (container == "docker" and user == "0")


def test_every_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.findall(r'^    "[A-Za-z].*>=.*",.*$', text, flags=re.M)
    assert [line for line in listed if "#" not in line] == []


def test_every_dependency_is_imported_and_listed_once():
    """But for JupyterLab and pip, which are run, for socksio, which httpx imports, and for
    python-multipart, which starlette does.

    Monty's module is in a part of it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[e] for e in extras if e != "dev")]
    listed = [name for group in groups for name in requirements(group)]
    assert sum(map(len, groups)) == len(listed) == len(set(listed))
    code = "\n".join(path.read_text() for path in SOURCES)
    used = set(re.findall(r"^\s*(?:import|from) (\w+)", code, flags=re.M))
    modules = metadata.packages_distributions()
    imported = {
        re.sub(r"[-_.]+", "-", distribution).lower()
        for module in used & modules.keys()
        for distribution in modules[module]
    }
    others = {"jupyterlab", "pip", "pydantic-monty", "python-multipart", "socksio"}
    assert set(listed) - imported == others


def test_changelog_ends_at_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert newest[1] == kimikit.__version__


def test_no_registry_host_is_named():
    names = re.compile(r"pypi\.|pythonhosted|npmjs\.|deb\.debian")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    guilty = [
        name
        for name in tracked.stdout.split("\0")
        if name.endswith(
            (".py", ".md", ".toml", ".yml", ".txt", ".ipynb", "Makefile", "run")
        )
        and name != "tests/test_package.py"
        and names.search((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert guilty == []


def test_readme_lists_every_notebook_and_every_key():
    readme = (ROOT / "README.md").read_text()
    missing = [
        path.name
        for path in (ROOT / "notebooks").glob("*.ipynb")
        if f"(notebooks/{path.name})" not in readme
    ]
    assert missing == []
    from kimikit.wire.hosts import profiles

    for host in profiles().values():
        assert f"`{host.name}`" in readme
        assert host.key_variable in readme


def test_readme_shows_pictures_that_are_there():
    readme = (ROOT / "README.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", readme)
    assert pictures
    assert [name for name in pictures if not (ROOT / name).exists()] == []


def blocks(language):
    """Return the README's code blocks in a language."""
    readme = (ROOT / "README.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


def test_the_six_lines_run(local_host):
    """Only the length of the answers is limited, or a small model would go on."""
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) == 6
    names = {}
    warnings.simplefilter("error")  # as in a project that makes warnings errors
    exec(code.replace("Kimi()", "Kimi(max_tokens=4)"), names)
    assert names["reply"].text
    assert len(names["sweep"].replies) == 24
    calls = names["kimi"].ledger.calls()
    assert [call.endpoint for call in calls].count("chat") == 25


def test_the_commands_of_the_readme_are_there():
    commands = "\n".join(blocks("sh"))
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), flags=re.M)
    assert set(re.findall(r"^make (\S+)", commands, flags=re.M)) <= set(targets)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (named,) = re.findall(r"install -e '\.\[(.*)\]'", commands)
    assert set(named.split(",")) <= set(project["optional-dependencies"])
    paths = re.findall(r"notebooks/\S+|\S+\.yml", commands)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readme_names_every_extra_command_and_variable():
    readme = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"dev"}
    code = "\n".join(path.read_text() for path in SOURCES)
    commands = re.findall(r'commands\.add_parser\("(\w+)"', code)
    variables = set(re.findall(r"KIMIKIT_[A-Z_]+[A-Z]", code))
    assert len(commands) > 4
    assert len(variables) > 8
    named = set(re.findall(r"^\| `([^`]+)` \|", readme, flags=re.M))
    assert {name for name in named if name.startswith("KIMIKIT_")} == variables
    assert extras <= named
    assert extras == set(EXTRAS)
    assert {f"kimikit {command}" for command in commands} <= {
        " ".join(name.split()[:2]) for name in named
    }


def test_the_guide_for_contributors_names_what_is_there():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:kimikit|tests|notebooks)/[\w/.-]+|[\w/]+\.py)`", guide)
    homes = [ROOT, ROOT / "kimikit", *(ROOT / "kimikit").iterdir()]
    missing = [
        name
        for name in named
        if "NN-" not in name and not any((home / name).exists() for home in homes)
    ]
    assert len(named) > 20
    assert missing == []
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), flags=re.M)
    assert set(re.findall(r"`make ([a-z]+)`", guide)) <= set(targets)
    packages = {path.parent.name for path in SOURCES if path.name == "__init__.py"}
    assert {p for p in packages - {"kimikit"} if f"`{p}/`" not in guide} == set()


def test_every_target_of_make_has_a_rule():
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, flags=re.M)
    rules = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    told = set(re.findall(r"@echo 'make ([a-z-]+)  ", makefile))
    assert set(phony.split()) == rules
    assert told <= rules


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not a checkout")
def test_hooks_of_pre_commit_are_the_steps_of_ci():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    steps = re.findall(r"^must (make \w+)", (ROOT / ".ci" / "run").read_text(), re.M)
    assert re.findall(r"entry: (.*)", hooks) == steps
    assert set(re.findall(r"repo: (.*)", hooks)) == {"local"}, "nothing is fetched"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("money.estimates", "OPENING PER_MESSAGE TYPICAL ceiling estimate kinds"),
        ("money.store", "COUNTS GROUPS SUMS Store dollars pico"),
        ("prompting.extract", "final_answer find_json last_number one_of"),
        ("prompting.history", "TOKENS_A_MESSAGE"),
        ("schema", "accepted"),
        ("sweeps.views", "marked"),
        ("wire.markers", "Filter calls_in name_in"),
        ("wire.requests", "image_kind image_url"),
        ("wire.usage", "weigh"),
    ],
)
def test_names_of_0_3_0_are_found_where_they_were(module, names):
    """Code of users imports them from there, although they are defined elsewhere."""
    found = vars(importlib.import_module(f"kimikit.{module}"))
    assert set(names.split()) <= set(found)
