"""Run Needle 3 in a process of its own: it reads questions and writes decisions.

Generating holds Python's global lock for seconds, which would stop every stream of
the server, and nothing but the end of its process stops it. Run as a file, so that
it starts without importing kimikit.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

DAMAGED = 3
"""Exit code where the weights are not those of the digest given."""


def decide(engine: Any, query: str, tools: str, *, score: bool) -> dict[str, Any]:
    """Return the calls that Needle makes and, if asked for, its confidence in them.

    The confidence costs a second reading of the prompt, so it is left out where
    there is no call to doubt.
    """
    made = engine.generate(query, tools, constrain=True)
    try:
        calls = json.loads(made["tool_call"] or "[]")
    except ValueError:  # it left a string open or broke off: no call to be made
        calls = []
    sure = engine.confidence_for(query, tools, made["text"]) if calls and score else 1.0
    new = len(made["token_ids"])
    return {
        "calls": calls,
        "confidence": sure,
        "prompt_tokens": made["positions"] - new,
        "completion_tokens": new,
    }


def verified(path: str, sha256: str) -> bytes:
    """Return the weights, read once and only used if they are what they should be."""
    try:
        data = Path(path).read_bytes()
    except OSError as exc:
        sys.exit(f"{exc}")
    if hashlib.sha256(data).hexdigest() != sha256:
        sys.exit(DAMAGED)
    return data


if __name__ == "__main__":
    import needle_rs

    engine = needle_rs.V3Engine.from_bytes(verified(*sys.argv[1:]))
    json.dump(decide(engine, **json.load(sys.stdin)), sys.stdout)
