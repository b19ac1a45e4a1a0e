"""Measure recordings: adding an answer, opening 100,000, finding one, missing one.

Run: ``python tests/bench/bench_replay.py``; prints a Markdown table.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kimikit.json_values import digest  # noqa: E402
from kimikit.replay import RecordingFile  # noqa: E402
from kimikit.replay.file import Question  # noqa: E402
from kimikit.types import Host  # noqa: E402
from kimikit.wire.recorder import Recorded  # noqa: E402

HOST = Host(name="h", base_url="http://h/v1")
EVENTS = [f'data: {{"choices":[{{"delta":{{"content":" word{n}"}}}}]}}\n\n'.encode()
          for n in range(100)]  # fmt: skip


def question(number: int) -> Question:
    said = f"What is a token in sentence {number}? " * 10
    body = json.dumps({"messages": [{"content": said, "role": "user"}], "model": "m"})
    return Question(digest(body), "h", "POST", "/chat/completions", body)


def answer() -> Recorded:
    pieces = [(0.1 + n / 100, data) for n, data in enumerate(EVENTS)]
    return Recorded(
        1e9, 200, [("content-type", "x")], 0.1, pieces, None, 0.0, good=True
    )


def ms(what: Callable[[], Any], times: int = 5) -> float:
    """Return the median of milliseconds."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        what()
        took.append(1000 * (time.perf_counter() - start))
    return statistics.median(took)


def rows(count: int) -> Iterator[tuple[Question, Recorded]]:
    said = answer()
    return ((question(number % (count // 2)), said) for number in range(count))


def main() -> None:
    print("| answers recorded | add one | open | find one | not there | MB |")
    print("|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for count in (1_000, 10_000, 100_000):
            path = Path(folder, f"{count}.kimi")
            file = RecordingFile(path, new=True)
            file.add_all(rows(count), {"h": HOST}, {})
            said = answer()
            new = iter(range(count, count + 1000))
            add = ms(
                lambda f=file, s=said, n=new: f.add(question(next(n)), s, HOST, {}),
                50,
            )
            file.close()

            def opened(path: Path = path) -> None:
                found = RecordingFile(path)
                assert found.hosts()
                assert found.find(question(7), 1, good=False)
                found.close()

            source = RecordingFile(path)
            find = ms(lambda s=source: s.find(question(5), 0, good=False), 50)
            miss = ms(lambda s=source, n=count: s.missing(question(5 * n), 0))
            size = path.stat().st_size / 1e6
            print(f"| {count:,} | {add:.2f} ms | {ms(opened):.1f} ms | {find:.2f} ms "
                  f"| {miss:.0f} ms | {size:.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()
