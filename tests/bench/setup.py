"""Make the environments of the peers that the benchmarks compare with.

Run: ``python tests/bench/setup.py [folder]``; the folder is ``artifacts/peers`` unless
named. Peers need environments of their own: litellm asks for an older OpenAI SDK.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "artifacts" / "peers"
PEERS = {
    "sdk": ["openai", "together", "httpx"],
    "litellm": ["litellm", "openai"],
    # The last toolslm that lisette can be imported with, and a litellm that hides the
    # chunk without choices from it: 1.110 passes it on, and lisette falls over it.
    "lisette": ["lisette", "toolslm==0.3.44", "litellm==1.106.2", "ipykernel"],
    "curator": ["bespokelabs-curator"],
    "chatlab": ["chatlab", "openai<2", "ipykernel"],
}


def python(name: str, folder: Path = FOLDER) -> Path:
    """Return the interpreter of the environment ``name``."""
    scripts = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    return folder / name / scripts


def interpreter(name: str, folder: Path = FOLDER) -> str:
    """Return what runs a contender: this Python for no name, nothing if not made."""
    if not name:
        return sys.executable
    return str(python(name, folder)) if python(name, folder).exists() else ""


def named(contender: str, name: str, folder: Path = FOLDER) -> str:
    """Return a contender's title with the version of its package, if it is a peer."""
    if not name:
        return contender
    package = next(p for p in PEERS[name] if p in contender.lower())
    code = f"from importlib.metadata import version; print(version({package!r}))"
    command = [interpreter(name, folder), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"{contender} {done.stdout.strip()}"


def make(folder: Path) -> None:
    """Make what is missing."""
    for name, packages in PEERS.items():
        if not python(name, folder).exists():
            venv.create(folder / name, with_pip=True)
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([python(name, folder), *quiet, *packages], check=True)
        print(name, "is ready:", ", ".join(packages))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
