"""Answers to stream in tests: the steps a host would send, without a host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from support.fault_server import DONE, Pause, chunk, event, head

from kimikit.types import CallPart, Delta, Reply, Usage

LONG = """# A long answer

Some **bold** and *slanted* words with `code`, prices of $5 and $10, and $x^2$.

- one item of a list
- another item that is a little longer than the first one

```python
def add(a, b):
    return a + b
```

| name | value |
|------|------:|
| one  |     1 |
| two  |     2 |

"""


def pieces(text: str, size: int = 3) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def piece(text: str, finish: str | None = None, model: str = "kimi-k2") -> Any:
    """One chunk as a host sends it; the last one, with a finish, tells the usage."""
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 9, "completion_tokens": 20} if finish else None
    return {"model": model, "choices": [delta], "usage": usage}


def played(text: str, pause_s: float = 0.01, model: str = "kimi-k2") -> list[Any]:
    """The steps by which a ``FaultServer`` streams this text at a pace."""
    parts = [piece(part, model=model) for part in pieces(text)]
    steps = [x for part in parts for x in (chunk(event(part)), Pause(pause_s))]
    end = [event(piece("", "stop", model)), event(DONE), b""]
    return [head(), *steps, *map(chunk, end)]


def text_of(tokens: int, size: int = 3) -> str:
    """A Markdown text of about this many tokens of ``size`` characters."""
    return (LONG * (tokens * size // len(LONG) + 1))[: tokens * size]


def reply(text: str = "", **fields: Any) -> Reply:
    values: dict[str, Any] = {
        "host": "together",
        "model": "moonshotai/Kimi-K2-Instruct",
        "usage": Usage(41, max(1, len(text) // 3)),
        "cost": Decimal("0.0010"),
        "first_token_s": 0.4,
        "duration_s": 4.4,
        "created": 1_795_000_000.0,
        "finish_reason": "stop",
    }
    return Reply(text=text, **{**values, **fields})


def steps(
    text: str, *, reasoning: str = "", calls: tuple[tuple[str, str], ...] = ()
) -> Iterator[Delta]:
    for piece in pieces(reasoning):
        yield Delta(reasoning=piece)
    for piece in pieces(text):
        yield Delta(text=piece)
    for index, (name, arguments) in enumerate(calls):
        for piece in pieces(arguments):
            yield Delta(calls=(CallPart(index, name, piece),))


class FakeClient:
    """A client that answers each prompt with the prompt, at a pace.

    Args:
        per_s: Tokens of three characters a second, 0 for no pause.
        wait_s: Seconds before the first token.
    """

    def __init__(self, per_s: float = 0, wait_s: float = 0) -> None:
        self.per_s = per_s
        self.wait_s = wait_s
        self.asked: list[dict[str, Any]] = []

    def chat(self, messages: Any, *, watch: Any = None, **params: Any) -> Reply:
        """Answer as the wire does: Ctrl+C gives the part that had arrived."""
        self.asked.append({"messages": messages, **params})
        text = messages if isinstance(messages, str) else messages[-1]["content"]
        began = time.monotonic()
        sent: list[str] = []
        try:
            time.sleep(self.wait_s)
            for i, step in enumerate(steps(text)):
                if self.per_s:
                    due = began + self.wait_s + i / self.per_s
                    time.sleep(max(0.0, due - time.monotonic()))
                sent.append(step.text)
                if watch is not None:
                    watch(step)
        except KeyboardInterrupt:
            part = "".join(sent)
            usage = Usage(41, len(sent), estimated=True)
            return reply(part, partial=True, finish_reason=None, usage=usage)
        return reply(text)


SHOWCASE = r"""## Quicksort, 快速排序, and prices

Sorting costs $5 and $10 an hour, never $x^2$. Its mean is \( O(n \log n) \), and

\[
T(n) = 2\,T\!\left(\frac{n}{2}\right) + \Theta(n)
- \epsilon
\]

\begin{align}
a &= b + c \\
d &< e
\end{align}

1. Choose a **pivot**, `a[0]`, or `median(<list>)`:
   - smaller items go left
     - then again
   - larger ones go right 🙂👩‍💻🇨🇳
2. Recurse.

   ```python
   def quicksort(items: list[int]) -> list[int]:
       return items if len(items) < 2 else quicksort([i for i in items[1:] if i < items[0]]) + [items[0]] + quicksort([i for i in items[1:] if i >= items[0]])
   ```
3. Done.

**注意：**这是一个测试。**“引号”**也可以，中文和日本語テキスト、한국어 문장.

| Algorithm | Mean | Worst | Memory | Stable | Since | Price | Note |
|:----------|-----:|------:|:------:|--------|------:|------:|------|
| Quicksort | $n \log n$ | $n^2$ | `O(log n)` | no | 1961 | $5 | a rather long remark to make the table wide |
| Merge sort | $n \log n$ | $n \log n$ | `O(n)` | yes | 1945 | $10 | with<br>two lines, H<sub>2</sub>O |

> A quotation, with `code`
> and a [link](https://example.com/a_b).

- [x] done
- [ ] open

```sh
export PRICE="$5" && echo "$PRICE" | sed 's/<b>/**/g'
```

---

See https://example.com/path_with_underscores?q=1.
"""
