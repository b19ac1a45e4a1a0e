"""Read, check, execute and rewrite the notebooks.

``python tests/support/notebooks.py notebooks/03-temperature.ipynb`` executes a notebook
in place and leaves what is committed: outputs, counts 1..n, and nothing that differs
from run to run without meaning (timings, widget state, cell metadata).
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from support.kernel import kernel_options
from traitlets.config import Config

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "notebooks"
LIMIT_BYTES = 300_000
TIMEOUT_S = 900

WIDGET = "application/vnd.jupyter.widget-view+json"

FORBIDDEN = {
    "an install cell": r"(?m)^\s*[!%]\s*(pip|conda|uv)\b|subprocess.*pip",
    "eval": r"\beval\(",
    "a key": r"\bsk-[A-Za-z0-9]{8,}|api_key\s*=\s*['\"][A-Za-z0-9]",
    "an absolute path": r"/(?:home|Users|root|work|tmp)/",
}
SOURCE = re.compile(r"local stand-in, not Kimi|\d{4}-\d{2}-\d{2}")


def all_notebooks() -> list[Path]:
    """Return the notebooks of the project in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def code_cells(book: Any) -> list[Any]:
    """Return the code cells that hold code."""
    return [c for c in book.cells if c.cell_type == "code" and c.source.strip()]


def output_text(cell: Any) -> str:
    """Return all text of a cell's outputs."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/"):
                parts.append(value)
    return "\n".join("".join(part) for part in parts)


def faults(path: Path) -> list[str]:
    """Return what a reader would stumble over in a committed notebook."""
    book = nbformat.read(path, as_version=4)
    cells = code_cells(book)
    found = []
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"execution counts are {counts}")
    if path.stat().st_size > LIMIT_BYTES:
        found.append(f"{path.stat().st_size} bytes")
    if not book.cells or not book.cells[0].source.startswith("# "):
        found.append("no title")
    outputs = "\n".join(output_text(cell) for cell in cells)
    everything = "\n".join(cell.source for cell in book.cells) + outputs
    for name, pattern in FORBIDDEN.items():
        if match := re.search(pattern, everything):
            found.append(f"{name}: {match[0]!r}")
    if any(o.output_type == "error" for cell in cells for o in cell.outputs):
        found.append("an error output")
    if not SOURCE.search(outputs):
        found.append("no output names its source")
    if any(o.get("name") == "stderr" for cell in cells for o in cell.outputs):
        found.append("a warning in an output")
    if any(o.get("data") == {} for cell in cells for o in cell.outputs):
        found.append("an empty output")
    found += [
        f"cell {number} prints, and has no output"
        for number, cell in enumerate(cells, 1)
        if not cell.outputs and _prints(cell.source)
    ]
    if path.name != "index.ipynb":
        if not 14 <= len(book.cells) <= 25:
            found.append(f"{len(book.cells)} cells")
        found += [
            f"cell {number} has {lines} lines of code"
            for number, cell in enumerate(cells, 1)
            if (lines := len(cell.source.splitlines())) > 15
        ]
        found += _lonely_code(book) + _unframed(book, path)
    return found + _dead_links(book)


def _prints(source: str) -> bool:
    """Whether a cell itself prints something, outside the functions that it defines.

    A refusal that is to be shown and does not come leaves such a cell silent.
    """
    ways = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    try:
        own = [s for s in ast.parse(source).body if not isinstance(s, ways)]
    except SyntaxError:  # a magic, or await outside a function
        return False
    calls = [n for s in own for n in ast.walk(s) if isinstance(n, ast.Call)]
    return any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls)


def _unframed(book: Any, path: Path) -> list[str]:
    """Return what the first and the last cell fail to tell, in the order of reading."""
    later = [p.name for p in all_notebooks() if "index" > p.name > path.name]
    follows = later[0] if later else "index.ipynb"
    wanted = {
        "After this notebook you": book.cells[0].source,
        "## Key findings": book.cells[-1].source,
        "**Limits.**": book.cells[-1].source,
        f"({follows})": book.cells[-1].source,
    }
    return [f"no {words!r}" for words, text in wanted.items() if words not in text]


def _lonely_code(book: Any) -> list[str]:
    """Return code cells without prose before, or before the end without prose after."""
    kinds = [cell.cell_type for cell in book.cells]
    pairs = itertools.pairwise(kinds)
    return [
        f"cells {number} and {number + 1} are both code"
        for number, (one, two) in enumerate(pairs, 1)
        if one == two == "code"
    ]


def _dead_links(book: Any) -> list[str]:
    """Return links to notebooks and pictures that are not there."""
    prose = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^):#]+\.(?:ipynb|png))\)", prose)
    return [f"dead link {link}" for link in links if not (FOLDER / link).exists()]


_OFFLINE = """
def _only_here(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        where = args[1][0]
    elif event == "socket.getaddrinfo":
        where = args[0]
    else:
        return
    if not str(where or "localhost").startswith(("127.", "::1", "localhost")):
        raise OSError("the network is closed for this test")
import sys
sys.addaudithook(_only_here)
"""


def execute(path: Path, keep: Path | None = None, *, offline: bool = False) -> Any:
    """Run a notebook from top to bottom in a fresh kernel; raise on any error.

    Args:
        path: The notebook.
        keep: Where to leave what was run, also when it failed.
        offline: Whether the kernel reaches nothing but this machine.
    """
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        with kernel_options() as options:
            client = NotebookClient(
                book,
                config=Config(KernelManager=options),
                timeout=TIMEOUT_S,
                # On a busy machine outputs may come long after a cell has ended; by
                # default those that take over 4 s are lost without an error.
                iopub_timeout=300,
                raise_on_iopub_timeout=True,
                kernel_name="python3",
                resources={"metadata": {"path": str(FOLDER)}},
                store_widget_state=False,
                record_timing=False,
                extra_arguments=[f"--IPKernelApp.exec_lines={[_OFFLINE]!r}"] * offline,
            )
            # Jupyter's server tells the kernel which notebook it serves; the ledger
            # notes it.
            client.execute(env={**os.environ, "JPY_SESSION_NAME": path.name})
    finally:
        if keep is not None:
            nbformat.write(book, keep)
    return book


def _spent(output: Any) -> bool:
    """Whether an output is a progress line that has done its work, or was cleared."""
    data = output.get("data", {"text": ""})
    return not data or (WIDGET in data and data.keys() <= {WIDGET, "text/plain"})


def _merged(outputs: Iterable[Any]) -> list[Any]:
    """Put what was printed in pieces, as it was flushed, together again."""
    kept: list[Any] = []
    for output in outputs:
        if kept and "name" in output and output.name == kept[-1].get("name"):
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def tidy(book: Any) -> Any:
    """Drop what changes from run to run without meaning."""
    book.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _merged(each for each in cell.outputs if not _spent(each))
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
            if "metadata" in output:
                output.metadata = {}
    return book


def main(names: list[str]) -> None:
    """Execute and rewrite the named notebooks, or all."""
    for path in [Path(name) for name in names] or all_notebooks():
        book = tidy(execute(path))
        nbformat.write(book, path)
        print(path.name, path.stat().st_size, "bytes", *faults(path), sep="  ")


if __name__ == "__main__":
    main(sys.argv[1:])
