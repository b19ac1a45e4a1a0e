"""Test whether two hosts answer with the same weights, by samples of answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from kimikit import html
from kimikit.display.footer import Paid, footer
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, KimiError
from kimikit.json_values import is_count
from kimikit.runner import WorkOptions, ask_all, runner_over
from kimikit.sweeps.intervals import Array, one_thread
from kimikit.sweeps.metrics import cosine
from kimikit.sweeps.permutation import holm, permutation_tests
from kimikit.sweeps.similarity import lexical
from kimikit.types import ChatClient, Reply, logprobs
from kimikit.verify.answering import told
from kimikit.verify.asking import Came, Facts
from kimikit.wire.hosts import model_facts

Alike = Callable[[Sequence[str]], Array]
"""From texts to how alike each two of them are, at most 1."""

LEVEL = 0.05
"""The chance that two hosts with the same model are told apart."""

NOISE = 0.1
"""Natural logarithms by which the same weights may differ on other machines."""

LOGPROBS = "first log probabilities"
ARITHMETIC = (
    " These alone may be the same weights in another arithmetic, such as another "
    "quantisation: ask both hosts for theirs."
)
"""Measured: a requantised copy of nearly the same weights was told apart by them."""

FLOOR = -12.0
"""Logarithm taken for a token that is not among the likeliest."""

TOKENS = 24
"""Length of the answers."""

TEMPERATURE = 0.7
"""Where neither host pins one."""

PROMPTS = (
    "Make up a village: its name and its river, in one sentence.",
    "Name an animal and say in a few words why you chose it.",
    "Write the first line of a novel about the sea.",
    "Give one unusual use for a brick.",
    "Complete this: The best thing about winter is",
    "Invent a title for a book about mathematics.",
    "Describe the smell of rain in one sentence.",
    "Say something kind to a stranger.",
)
"""What is asked unless told otherwise: questions with many good answers."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison of two hosts.

    Attributes:
        what: What of the answers is compared.
        within: Mean distance between two answers of the same host, from 0 to 1.
        between: Mean distance between answers of the two hosts.
        p: Chance of such a difference if both have one model, not corrected.
        corrected: The same, corrected for the number of comparisons (Holm).
    """

    what: str
    within: float
    between: float
    p: float
    corrected: float = 1.0


class SameModel(Paid, Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """Whether two hosts could be told apart by their answers.

    Attributes:
        hosts: What the two are called.
        differences: The comparisons.
        tokens: Of each prompt, the prompt tokens that each host counted.
        replies: All answers.
        n: Answers of each host that were compared.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
        created: Unix time of the end.

    Example:
        >>> found = kimi.same_model("local", "local", ["Name a pet."],
        ...                         repeats=4, max_tokens=4)
        >>> found.different
        False
    """

    hosts: tuple[str, str]
    differences: tuple[Difference, ...]
    tokens: tuple[tuple[int, int], ...] = ()
    replies: tuple[Reply, ...] = ()
    n: tuple[int, int] = (0, 0)
    reused: int = 0
    stop_reason: str = "done"
    created: float = msgspec.field(default_factory=time.time)

    @property
    def counts_differ(self) -> bool:
        """Whether prompts differ in tokens by more than what a template adds to all."""
        return len({mine - yours for mine, yours in self.tokens}) > 1

    @property
    def different(self) -> bool:
        """Whether they are told apart, which by chance is once in twenty times."""
        return self.counts_differ or any(
            one.corrected < LEVEL for one in self.differences
        )

    @property
    def _paid(self) -> tuple[Reply, ...]:
        return self.replies

    @property
    def sentence(self) -> str:
        """What was found, and what it does not say."""
        first, second = self.hosts
        if self.counts_differ:
            return f"{first} and {second} count tokens differently: two tokenizers."
        found = [one for one in self.differences if one.corrected < LEVEL]
        if found:
            what = ", ".join(f"{one.what} (p = {one.corrected:.3f})" for one in found)
            hint = ARITHMETIC if {one.what for one in found} == {LOGPROBS} else ""
            return f"{first} and {second} answer differently: {what}.{hint}"
        return (
            f"{first} and {second} are not told apart, which does not prove that they "
            "are the same: more prompts or repeats find smaller differences."
        )

    def _parts(self) -> tuple[str, list[Any], str]:
        rows = [
            [
                one.what,
                f"{one.within:.3f}",
                f"{one.between:.3f}",
                f"{one.p:.4f}",
                f"{one.corrected:.4f}",
            ]
            for one in self.differences
        ]
        apart = sorted({mine - yours for mine, yours in self.tokens})
        counts = "prompt tokens differ by " + " and ".join(f"{a:+d}" for a in apart)
        caption = html.footer_line(
            [
                f"n = {self.n[0]} and {self.n[1]}",
                "permutations within prompts, p corrected by Holm",
                counts if self.tokens else "prompt tokens not told",
                f"{self.reused} paid before" if self.reused else "",
                "" if self.stop_reason == "done" else f"stopped: {self.stop_reason}",
            ]
        )
        heads = ["distance of", "within a host", "between", "p", "corrected"]
        said = html.Cell(self.sentence, f"<p>{html.esc(self.sentence)}</p>")
        return (
            "",
            [said, Table(heads, rows, range(1, 5), caption)],
            footer(self.replies),
        )


Side = Mapping[str, Sequence[Reply]]
"""By prompt the answers of one host."""


def compared(
    mine: Side, yours: Side, embed: Callable[[list[str]], Any] | None = None
) -> tuple[Difference, ...]:
    """Compare the answers of two hosts prompt by prompt.

    Labels are shuffled within prompts, so that each p is exact whatever answers look
    like, as long as those of a host do not depend on each other.

    Args:
        mine: The answers of one host.
        yours: Those of the other.
        embed: From texts to vectors, to compare meaning too.
    """
    pairs = [
        (mine[prompt], yours[prompt])
        for prompt in mine
        if len(mine[prompt]) > 1 and len(yours.get(prompt, ())) > 1
    ]
    if not pairs:
        return ()
    texts = [tuple([r.reasoning + r.text for r in s] for s in pair) for pair in pairs]
    firsts = [tuple([_first(r) for r in s] for s in pair) for pair in pairs]
    found = [_tested("wording", texts, lexical), _tested("first word", firsts, _equal)]
    if embed is not None:

        def meaning(some: Sequence[str]) -> Array:
            vectors = embed([text or " " for text in some])
            return cosine(np.asarray(vectors, dtype=np.float64))

        found.append(_tested("meaning", texts, meaning))
    if all(r.raw and _top(r) for pair in pairs for side in pair for r in side):
        seen: dict[str, dict[str, float]] = {}
        keys = [tuple([_kept(r, seen) for r in s] for s in pair) for pair in pairs]
        found.append(_tested(LOGPROBS, keys, _near(seen)))
    corrected = holm([one.p for one in found])
    return tuple(
        msgspec.structs.replace(one, corrected=p)
        for one, p in zip(found, corrected, strict=True)
    )


def _tested(what: str, pairs: Sequence[Any], alike: Alike) -> Difference:
    """Return the energy distance's p of pairs of samples, and their mean distances."""
    strata = [{0.0: pair[0], 1.0: pair[1]} for pair in pairs]
    with one_thread():
        _, p, _ = permutation_tests(strata, tests=4, alike=alike)
    within, between = [], []
    for first, second in pairs:
        distance = 1.0 - np.asarray(alike([*first, *second]), dtype=np.float64)
        n = len(first)
        for part in (distance[:n, :n], distance[n:, n:]):
            within.append((part.sum() - part.trace()) / (len(part) * (len(part) - 1)))
        between.append(distance[:n, n:].mean())
    means = [float(np.mean(each)) for each in (within, between)]
    return Difference(what=what, within=means[0], between=means[1], p=p)


def _first(reply: Reply) -> str:
    words = (reply.reasoning + reply.text).split(maxsplit=1)
    return words[0] if words else ""


def _equal(texts: Sequence[str]) -> Array:
    given = np.array(texts)
    return np.asarray(given[:, None] == given[None, :], dtype=np.float64)


def _top(reply: Reply) -> dict[str, float]:
    """Return the likeliest first tokens of an answer with their logarithms."""
    tokens = logprobs.tokens(reply.raw)
    return dict(tokens[0].alternatives) if tokens else {}


def _kept(reply: Reply, seen: dict[str, dict[str, float]]) -> str:
    seen[key := str(len(seen))] = _top(reply)
    return key


def _near(seen: Mapping[str, Mapping[str, float]]) -> Alike:
    """Return how alike first tokens are likely; a little is a matter of machines."""

    def alike(keys: Sequence[str]) -> Array:
        tops = [seen[key] for key in keys]
        names = list(dict.fromkeys(name for top in tops for name in top))
        rows = [[max(top.get(name, FLOOR), FLOOR) for name in names] for top in tops]
        values = np.array(rows)
        # By probability: what hardly ever comes may differ by much and mean nothing.
        weights = np.exp(values.mean(axis=0))
        apart = np.abs(values[:, None] - values[None, :]) @ (weights / weights.sum())
        return np.asarray(1.0 - np.maximum(apart - NOISE, 0.0))

    return alike


def prompts_of(given: Sequence[str] | None, repeats: int) -> list[str]:
    """Return what is asked, our own questions for none.

    Raises:
        BadInput: If it could tell nothing apart.
    """
    asked = list(PROMPTS if given is None else given)
    if isinstance(given, str) or not asked or len({*asked}) < len(asked):
        raise BadInput(f"prompts is {given!r:.60}.", "Give a list of different texts.")
    if not is_count(repeats, 2) or repeats * len(asked) < 4:
        raise BadInput(f"repeats={repeats!r} tells nothing apart.", "Give 4 or more.")
    return asked


def params_of(
    facts: Mapping[str, Facts],
    temperature: float | None,
    max_tokens: int,
    *,
    logprobs: bool | None,
) -> dict[str, Any]:
    """Return the parameters that both hosts are asked with.

    Raises:
        BadInput: If they pin different temperatures.
    """
    asked: dict[str, Any] = {"max_tokens": max_tokens}
    both = facts.values()
    asked["temperature"] = _pinned(both) if temperature is None else temperature
    return asked | _logprobs_of(both, wanted=logprobs)


def _pinned(facts: Iterable[Facts]) -> float:
    """Return the temperature that both hosts take."""
    known = {
        model_facts(one.host, one.model).fixed_temperature for one in facts if one.host
    } - {None}
    if len(known) > 1:
        raise BadInput(
            f"The hosts pin temperatures of their own: {sorted(map(str, known))}.",
            "Compare hosts that take the same temperature.",
        )
    return next(iter(known), None) or TEMPERATURE


def _logprobs_of(facts: Iterable[Facts], *, wanted: bool | None) -> dict[str, Any]:
    """Return how both hosts are asked for log probabilities, if they are."""
    names = [one.host.name if one.host else "" for one in facts]
    known = {logprobs.HOSTS.get(name) for name in names}
    if wanted is False or (wanted is None and known != {logprobs.OPENAI}):
        return {}
    return {"logprobs": True, "top_logprobs": 5}


def same_model(
    clients: Mapping[str, ChatClient],
    facts: Mapping[str, Facts],
    prompts: Sequence[str],
    options: WorkOptions,
    *,
    repeats: int,
    params: Mapping[str, Any],
    embed: Callable[[list[str]], Any] | None = None,
    progress: bool = True,
) -> SameModel:
    """Ask two hosts the same and compare what comes; see ``Kimi.same_model``."""
    runner, asking = runner_over(clients, "same", options)
    first, second = hosts = tuple(facts)
    work = [
        (prompt, host) for prompt in prompts for _ in range(repeats) for host in hosts
    ]
    requests = [
        asking[host].request(
            prompt, model=facts[host].model, meta={"as": host}, **params
        )
        for prompt, host in work
    ]
    label = "answers" if progress else None
    came = ask_all(runner, requests, failed=runner.failed, progress=label)
    sides: dict[str, dict[str, list[Reply]]] = {
        host: {prompt: [] for prompt in prompts} for host in hosts
    }
    replies, errors = [], []
    for (prompt, host), each in zip(work, came, strict=True):
        if isinstance(each, KimiError):
            errors.append(each)
        elif each is not None:
            replies.append(each)
            if not (each.partial or each.truncated):
                sides[host][prompt].append(each)
    found = SameModel(
        hosts=(first, second),
        differences=compared(sides[first], sides[second], embed),
        tokens=_counted(sides[first], sides[second]),
        replies=tuple(replies),
        n=(_size(sides[first]), _size(sides[second])),
        reused=runner.reused,
        stop_reason=runner.stop_reason,
    )
    if errors and not found.differences and runner.error is None:
        runner.end(errors[0])
    return runner.finished(found, "same_model")


def _size(side: Side) -> int:
    return sum(map(len, side.values()))


def _counted(mine: Side, yours: Side) -> tuple[tuple[int, int], ...]:
    """Return of each prompt the tokens that both hosts told themselves."""
    found = []
    for prompt in mine:
        told_by = [[told(Came(r)) for r in side[prompt]] for side in (mine, yours)]
        if all(each and all(each) for each in told_by):
            found.append((told_by[0][0], told_by[1][0]))
    return tuple(found)
