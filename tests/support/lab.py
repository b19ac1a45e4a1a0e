"""A private JupyterLab and a Chromium to look at it with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from support import without_iri
from support.kernel import TRANSPORT

REPO = Path(__file__).resolve().parents[2]
ARTIFACTS = REPO / "artifacts"
CHROMIUM = "/usr/bin/chromium"
PATIENCE_S = 120
SCREEN: Any = {"width": 1100, "height": 1000}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_START = without_iri.program("jupyterlab.labapp")
_CELL = ".jp-Notebook-cell.jp-CodeCell"
_OPEN = """
async ([path, patience_ms]) => {
  const app = window.jupyterapp;
  for (const other of [...app.shell.widgets('main')]) if (other.context) other.dispose();
  const panel = await app.commands.execute('docmanager:open', {path});
  const kernel = () => panel.sessionContext.session?.kernel?.status;
  const opened = async () => {
    await panel.revealed;
    await panel.sessionContext.ready;
    app.shell.activateById(panel.id);
    while (kernel() !== 'idle' || !panel.content.widgets.length
           || app.shell.currentWidget !== panel)
      await new Promise(done => setTimeout(done, 20));
  };
  const late = new Promise((_, fail) => setTimeout(
    () => fail(new Error(`${path} did not open; its kernel is ${kernel()}`)),
    patience_ms));
  await Promise.race([opened(), late]);
}
"""
_CLOSE = """
async ([path, ends]) => {
  for (const panel of [...window.jupyterapp.shell.widgets('main')])
    if (panel.context?.path === path) {
      if (ends) await panel.sessionContext.shutdown();
      panel.dispose();
    }
}
"""
_WATCH = """
index => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
  window.seen = [];
  const look = () => {
    const text = [...cell.node.querySelectorAll('.jp-RenderedMarkdown')]
      .map(e => e.innerText).join('');
    const running = cell.promptNode.textContent.includes('*');
    if (text.length && text.length !== window.seen.at(-1)?.length)
      window.seen.push({length: text.length, running});
  };
  new MutationObserver(look).observe(cell.node, {
    childList: true, subtree: true, characterData: true});
}
"""

_AT_ONCE = """
(field, [event, texts, button]) => {
  for (const text of texts) {
    field.value = text;
    field.dispatchEvent(new Event(event, {bubbles: true}));
  }
  document.querySelector(button).click();
}
"""


def typed_and_pressed(field: Any, event: str, texts: list[str], button: str) -> None:
    """Change a field several times and press a button before the kernel hears of it.

    Args:
        field: The field.
        event: The event at which its widget takes what was typed.
        texts: What stands in it by and by.
        button: The selector of the button.
    """
    field.evaluate(_AT_ONCE, [event, texts, button])


class Cells:
    """One open notebook: run cells, look at outputs, save, reload."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.path = path

    def cell(self, index: int) -> Any:
        return self.page.locator(_CELL).nth(index)

    def outputs(self, index: int) -> Any:
        return self.cell(index).locator(".jp-OutputArea-output")

    def text(self, index: int) -> str:
        return "\n".join(self.outputs(index).all_inner_texts())

    def select(self, index: int) -> None:
        self.page.evaluate(
            "i => { const p = window.jupyterapp.shell.currentWidget;"
            " p.content.activeCellIndex = i; p.content.mode = 'command'; }",
            index,
        )

    def command(self, name: str, **arguments: Any) -> None:
        """Start a JupyterLab command without waiting for what it does."""
        self.page.evaluate(
            "([n, a]) => { window.jupyterapp.commands.execute(n, a); }",
            [name, arguments],
        )

    def start(self, index: int) -> None:
        """Run a cell and return while it runs."""
        self.select(index)
        self.command("notebook:run-cell")

    def run(self, index: int, timeout_s: float = PATIENCE_S) -> None:
        """Run a cell and wait until the kernel is idle again."""
        self.start(index)
        self.wait_idle(index, timeout_s)

    def wait_idle(self, index: int, timeout_s: float = PATIENCE_S) -> None:
        self.page.wait_for_function(
            """i => {
              const cell = window.jupyterapp.shell.currentWidget.content.widgets[i];
              const count = cell.model.executionCount;
              return count !== null && cell.model.executionState !== 'running'
                && !cell.promptNode?.textContent.includes('*');  // none before it is seen
            }""",
            arg=index,
            timeout=timeout_s * 1000,
        )

    def watch(self, index: int) -> None:
        """Have the page itself note how the answer of a cell grows from now on."""
        self.page.evaluate(_WATCH, index)

    def seen_to_grow(self) -> list[int]:
        """Return the lengths of the answer that were on the page while it came."""
        seen = self.page.evaluate("() => window.seen")
        return [step["length"] for step in seen if step["running"]]

    def interrupt(self) -> None:
        self.command("notebook:interrupt-kernel")

    def save(self) -> nbformat.NotebookNode:
        """Save as the user would, and return the file."""
        self.page.evaluate(
            "() => window.jupyterapp.commands.execute('docmanager:save')"
        )
        return nbformat.read(self.path, as_version=4)

    def close(self, *, keep_kernel: bool = False) -> None:
        """Close the notebook without saving it, and leave the page as it was."""
        self.page.evaluate(_CLOSE, [self.path.name, not keep_kernel])
        self.page.set_viewport_size(SCREEN)
        if self.page.evaluate("document.body.dataset.jpThemeLight") == "false":
            self.theme(dark=False)

    def theme(self, *, dark: bool) -> None:
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate(
            "t => window.jupyterapp.commands.execute("
            "'apputils:change-theme', {theme: t})",
            name,
        )
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light",
            arg="false" if dark else "true",
        )
        # A new theme's style sheet loads under a veil.
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def picture(self, name: str, target: Any | None = None) -> Path:
        """Keep a screenshot in ``artifacts/``."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        (target or self.page).screenshot(path=str(path))
        return path


class Lab:
    """A JupyterLab of our own, and the one page of a browser that looks at it.

    A page takes 5 s of CPU to load, so notebooks are opened in it one after the other.
    """

    def __init__(self, url: str, token: str, root: Path, browser: Any) -> None:
        self.url = url
        self.root = root
        # Whoever waits goes on with the event; a busy machine may take its time.
        self.page = browser.new_page(viewport=SCREEN)
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.goto(f"{url}/lab?token={token}")
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("async () => { await window.jupyterapp.restored; }")

    def open(self, name: str, cells: list[str] | None = None) -> Cells:
        """Open a notebook, made anew from ``cells`` if given, and close any other."""
        path = self.root / f"{name}.ipynb"
        if cells is not None:
            made = [nbformat.v4.new_code_cell(source) for source in cells]
            notebook = nbformat.v4.new_notebook(cells=made)
            notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Py"}
            nbformat.write(notebook, path)
        self.page.evaluate(_OPEN, [path.name, PATIENCE_S * 1000])
        return Cells(self.page, path)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Run JupyterLab on a free port in its own folders; give URL, token, root."""
    root = folder / "notebooks"
    settings = folder / "settings"
    root.mkdir()
    _settings(settings)
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "tests")]),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
    }
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # twice as slow, and not our code
    command = [
        *(sys.executable, "-c", _START, "--no-browser", "--allow-root"),
        f"--ServerApp.root_dir={root}",
        "--ServerApp.port=0",
        f"--IdentityProvider.token={token}",
        f"--KernelManager.transport={TRANSPORT}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=",
    ]
    with (
        (folder / "lab.log").open("wb") as log,
        tempfile.TemporaryDirectory(prefix="lab-") as runtime,
    ):
        environment["JUPYTER_RUNTIME_DIR"] = runtime
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            url = _until(lambda: _answering(Path(runtime), token), 60, server)
            yield url, token, root
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


@contextlib.contextmanager
def running_chromium() -> Iterator[Any]:
    """Run a Chromium; Playwright allows for one at a time in a thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def event_loop(loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
    """Have asyncio take ``loop`` for the one that runs in this thread.

    Playwright's runs from its start to its end, even while nobody uses it, and then
    nothing else could run one.
    """
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


@contextlib.contextmanager
def running_lab(folder: Path, browser: Any) -> Iterator[Lab]:
    """Run JupyterLab, seen through ``browser``."""
    with running_server(folder) as (url, token, root):
        yield Lab(url, token, root, browser)


def _settings(folder: Path) -> None:
    wanted = {
        "apputils-extension/notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
        "docmanager-extension/plugin": {"autosave": False},
    }
    for plugin, values in wanted.items():
        file = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))


def _answering(runtime: Path, token: str) -> str:
    """Return the server's URL, or nothing as long as it does not answer there."""
    try:
        (written,) = runtime.glob("jpserver-*.json")
        url = f"http://127.0.0.1:{json.loads(written.read_text())['port']}"
        with urllib.request.urlopen(f"{url}/api/status?token={token}", timeout=2):
            return url
    except (OSError, ValueError):  # not begun, half written, or not listening
        return ""


def _until(ready: Callable[[], str], seconds: float, server: Any) -> str:
    end = time.monotonic() + seconds
    while not (found := ready()):
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError("JupyterLab did not start; see lab.log")
        time.sleep(0.1)
    return found
