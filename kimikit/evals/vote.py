"""Ask several times and take the answer given most often (self-consistency)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Literal, Unpack

import msgspec

from kimikit import html
from kimikit.display.footer import Paid, footer
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, KimiError, warn
from kimikit.evals.cells import not_asked, share
from kimikit.json_values import is_count, short
from kimikit.params import VoteParams, takes_chat_params
from kimikit.prompting.answers import final_answer
from kimikit.runner import Request, RunnerClient, WorkOptions, ask_all, runner_over
from kimikit.runner.rounds import done_by
from kimikit.sweeps.cells import each_right
from kimikit.sweeps.shares import RightPrice, chosen, right_price
from kimikit.types import AnswerStore, ChatClient, Reply

Extract = Callable[[str], Any]
"""From a reply's text to the answer in it, ``None`` where there is none."""


class Vote(Paid, Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What several answers to one question agree on.

    Attributes:
        counts: Each answer with its votes, most votes first.
        n: How many answers were asked for.
        replies: The answers that came, in order.
        truth: The right answer, where it was given.
        reused: How many answers had been paid for before.
        broken: What came of answers that broke off; they have no vote, and cost.
        failed: Errors that came instead of answers.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
    """

    counts: tuple[tuple[Any, int], ...]
    n: int
    replies: tuple[Reply, ...]
    truth: Any = None
    reused: int = 0
    broken: tuple[Reply, ...] = ()
    failed: tuple[KimiError, ...] = ()
    stop_reason: str = "done"

    @property
    def answer(self) -> Any:
        """The one given most often, the earliest of those that tie."""
        return self.counts[0][0] if self.counts else None

    @property
    def votes(self) -> int:
        """How many replies held an answer."""
        return sum(count for _, count in self.counts)

    @property
    def agreement(self) -> float:
        """Share of the votes that the answer got, from 0 to 1."""
        return self.counts[0][1] / self.votes if self.counts else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the agreement, of an answer that was chosen for its votes.

        Its lower limit is below Wilson's, which is for an answer named before asking.
        """
        return chosen(self.counts[0][1] if self.counts else 0, self.votes)

    @property
    def tied(self) -> bool:
        """Whether another answer got as many votes."""
        return len(self.counts) > 1 and self.counts[0][1] == self.counts[1][1]

    @property
    def cost_per_right(self) -> Decimal | None:
        """Dollars for each reply that is right by itself, ``None`` if none is."""
        return self.right_price.value

    @property
    def right_price(self) -> RightPrice:
        """``cost_per_right`` with its 95 % interval; all that was paid counts."""
        good = sum(count for value, count in self.counts if value == self.truth)
        return right_price([reply.cost for reply in self._paid], good)

    @property
    def _paid(self) -> tuple[Reply, ...]:
        return self.replies + self.broken

    def _parts(self) -> tuple[str, list[Table], str]:
        rows = []
        for value, votes in self.counts:
            mark = " (right)" if self.truth is not None and value == self.truth else ""
            ends = chosen(votes, self.votes)
            rows.append([f"{value}{mark}", votes, share(votes, self.votes, ends)])
        missing = self.n - len(self.replies) - len(self.failed)
        mute = len(self.replies) - self.votes
        price = self.right_price
        right = "" if price.value is None else f"{each_right(price)} a right answer"
        if price.value is None and self.truth is not None and price.low is not None:
            right = each_right(price).text
        remarks = [
            f"n = {self.votes}",
            "a tie" if self.tied else "",
            f"{mute} without an answer" if mute else "",
            f"{len(self.failed)} failed: {self.failed[0].what}" if self.failed else "",
            not_asked(missing, self.stop_reason),
            f"{self.reused} paid before" if self.reused else "",
            right,
        ]
        caption = html.footer_line(remarks)
        table = Table(["answer", "votes", "share [95 %]"], rows, (1, 2), caption)
        return "", [table], footer(self._paid)


@takes_chat_params(hidden=("n",), also=("watch", "meta"))
def vote(
    client: ChatClient,
    prompt: Any,
    n: int = 5,
    *,
    extract: Extract = final_answer,
    truth: Any = None,
    concurrency: int = 4,
    store: AnswerStore | None = None,
    name: str | None = None,
    max_cost: Decimal | float | str | None = None,
    via: Literal["live", "batch"] = "live",
    poll_s: float | None = None,
    progress: bool = False,
    **params: Unpack[VoteParams],
) -> Any:
    """Ask ``n`` times and count the answers (Wang et al. 2022, arXiv 2203.11171).

    Args:
        client: Anything with ``chat``.
        prompt: What to ask; let it end in a line ``Answer: ...``.
        n: How often to ask.
        extract: Finds the answer in a reply; by default what follows ``Answer:``.
        truth: The right answer, to price right ones.
        concurrency: How many are asked at once.
        store: Where paid answers are found again under ``name``.
        name: Makes the vote resumable: what was paid is not asked again.
        max_cost: US dollars that are not passed: no more is asked then.
        via: ``live``, or ``batch`` for the host's batch API: a ``Job`` at once.
        poll_s: Seconds between two looks at a batch, instead of 30 to 60.
        progress: Whether to show a bar.
        **params: What else ``chat`` takes.

    Returns:
        The ``Vote``. Stop keeps the answers that were complete, and one that failed is
        missing. By batch the ``Job`` whose ``wait()`` returns it.

    Raises:
        BadInput: If ``n`` is not positive or the temperature makes all answers one.
        KimiError: What every answer would meet, such as a wrong key. What was finished
            is the error's ``vote``.

    Example:
        >>> won = vote(client, "What is the capital of Germany?", 3, temperature=0.1)
        >>> won.answer, len(won.replies)
        ('the capital of germany is berlin', 3)
    """
    _check(n, extract, truth)
    options = WorkOptions(concurrency, name, store, max_cost)
    bar = "votes" if progress else None
    asked: dict[None, ChatClient] = {None: client}
    run = partial(_voted, asked, prompt, n, extract, truth, {**params}, bar)
    return done_by(via, poll_s, asked, "vote", options, run)


def _check(n: int, extract: Extract, truth: Any) -> None:
    """Refuse what no vote can be counted by, before anything is paid."""
    if not is_count(n):
        remedy = "Give 1 or more, 5 to 20 is usual."
        raise BadInput(f"n={short(n)} asks nothing.", remedy)
    if not callable(extract):
        raise BadInput(
            f"extract is {short(extract)}.",
            "Give a function from an answer's text to what it says.",
        )
    usable = truth is None
    with contextlib.suppress(Exception):  # what compares may be of any kind
        usable = usable or _comparable(truth) is not None
    if not usable:
        raise BadInput(
            f"truth is {short(truth)}, which equals nothing.",
            "Give a text, a number or another plain value, or leave it out.",
        )


def _comparable(value: Any) -> Any:
    """Return a value if it is one that answers can be counted by, else ``None``.

    NaN equals nothing, and what an array or a frame equals is no yes or no.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    return value if bool(value == value) else None


def _voted(
    asked: dict[None, ChatClient],
    prompt: Any,
    n: int,
    extract: Extract,
    truth: Any,
    params: dict[str, Any],
    bar: str | None,
    options: WorkOptions,
) -> Vote:
    """Ask by such a runner as the options have, and count."""
    runner, clients = runner_over(asked, "vote", options)
    watch, given = params.get("watch"), {k: params[k] for k in params if k != "watch"}
    requests = _requests(clients[None], prompt, n, given)
    came = ask_all(runner, requests, failed=runner.failed, watch=watch, progress=bar)
    replies = [one for one in came if isinstance(one, Reply)]
    failed = tuple(one for one in came if isinstance(one, KimiError))
    # What broke off has no vote, and is paid for.
    parts = (getattr(error, "reply", None) for error in failed)
    broken = [reply for reply in replies if reply.partial]
    broken += [part for part in parts if isinstance(part, Reply)]
    found = msgspec.structs.replace(
        counted([reply for reply in replies if not reply.partial], extract),
        n=n,
        truth=truth,
        reused=runner.reused,
        broken=tuple(broken),
        failed=failed,
        stop_reason=runner.stop_reason,
    )
    return runner.finished(found, "vote")


def _requests(
    client: RunnerClient, prompt: Any, n: int, params: dict[str, Any]
) -> list[Request]:
    """Return the same question so many times; each has a key of its own."""
    if n > 1 and {**client.defaults, **params}.get("temperature") == 0:
        raise BadInput(
            "At temperature=0 all answers are meant to be the same.",
            "Ask with temperature=0.6 or so.",
        )
    return [client.request(prompt, **params) for _ in range(n)]


def counted(replies: Sequence[Reply], extract: Extract) -> Vote:
    """Count the answers that replies hold."""
    values = [_answer(extract, reply.text) for reply in replies]
    given = [value for value in values if value is not None]
    # Compared one by one: answers such as dicts have no hash.
    distinct = [value for i, value in enumerate(given) if value not in given[:i]]
    counts = [(value, given.count(value)) for value in distinct]
    return Vote(
        counts=tuple(sorted(counts, key=lambda entry: -entry[1])),
        n=len(replies),
        replies=tuple(replies),
    )


def _answer(extract: Extract, text: str) -> Any:
    """Return the answer in a text; a function that fails on it costs no other one."""
    try:
        return _comparable(extract(text))
    except Exception as exc:  # a user's code: the replies are paid for
        said = f"{type(exc).__name__}: {exc}"
        warn(f"extract failed on an answer, which counts as none: {said}.")
        return None
