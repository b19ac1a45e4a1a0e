"""Measure a set of answers, each figure with what its interval needs.

Diversity grows with length (PATTR, arXiv 2507.15092), so all measures of wording look
at the same number of words of each answer; length stands beside them.
"""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
import zlib
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from kimikit.sweeps.answers import once_if_short, text_of
from kimikit.sweeps.intervals import (
    RAREFIED,
    Array,
    Limits,
    Part,
    mean,
    of_set,
    pairwise,
    subsets,
)
from kimikit.sweeps.segmentation import cut, words
from kimikit.sweeps.shares import chosen, exact, wilson
from kimikit.sweeps.similarity import codes, in_order, lexical, numbered

__all__ = [
    "agreement", "codes", "compression", "cosine", "cut", "distinct", "entropy",
    "lexical", "meanings", "normal", "of_metric", "pass_at", "self_bleu", "text_of",
    "variety", "words",
]  # fmt: skip

SETS = 64
"""Sets whose different things are counted at once: the bits of a number."""

PAIR_ANSWERS = 256
"""Answers of a point that are compared with each other, the first so many."""

SAME_MEANING = 0.85
"""Cosine of embeddings from which two answers count as one meaning."""


@once_if_short
def normal(text: str) -> str:
    """Return ``text`` so that ``Blue.`` and ``blue`` are one answer."""
    if text.isascii():
        folded = text.lower()  # all that the next line would change
    else:
        folded = unicodedata.normalize("NFKC", text).casefold()
    if "  " in folded or not folded.isprintable():  # else its blanks are single spaces
        folded = " ".join(folded.split())
    return folded.strip(" .,!?;:\"'*`")


def variety(
    cut: list[str],
    tokens: list[list[str]],
    vectors: Array | None,
    bleu_answers: int,
    size: int | None = None,
) -> dict[str, Part]:
    """Return every figure of how two or more answers differ.

    Args:
        cut: The first ``PAIR_ANSWERS`` of the answers, or all, each cut to the common
            length in words.
        tokens: The words of all answers, cut to the same length.
        vectors: Embeddings of the answers, one row each, or ``None``.
        bleu_answers: Answers that self-BLEU compares, the first so many.
        size: Answers that the figures are of which depend on how many there are; all
            of them unless given.
    """
    alike = pairwise(lexical(cut[:PAIR_ANSWERS]))
    out = distinct(tokens, size) | {
        "self_bleu": self_bleu(tokens[:bleu_answers]),
        "compression_ratio": compression(cut[:PAIR_ANSWERS], size),
        "similarity": alike,
    }
    if vectors is not None:
        near = cosine(vectors[:PAIR_ANSWERS])
        alike = out["semantic_similarity"] = pairwise(near)
        out["semantic_entropy"] = entropy(meanings(near), size)
    return out | {"diversity": alike.complement()}


def agreement(texts: Sequence[str], size: int | None = None) -> dict[str, Part]:
    """Return how far the answers agree, word for word but for case and full stops.

    ``unique_share`` is the share of different answers, ``agreement`` that of the most
    frequent one (self-consistency, Wang et al. 2022, arXiv 2203.11171), ``entropy``
    that of the answers in nats, ``exact_match`` the share of pairs that are equal to
    the letter. All but ``exact_match`` depend on how many answers there are, so they
    are of ``size`` answers, all unless given.

    The interval of ``agreement`` is of the share among all answers the model would
    give; it holds that of n answers too, which is higher.
    """
    alike = {text: normal(text) for text in dict.fromkeys(texts)}
    same = codes(map(alike.__getitem__, texts))
    n, owner = len(texts), np.arange(len(texts))
    kept = min(size or n, n)
    counts = np.sort(np.bincount(same))[::-1]

    def modal(counts: Array, total: Array) -> Array:
        return np.asarray(counts.max(axis=0) / total)

    different = _of_different(same, owner, np.ones(n), kept).value
    share = _of_counts(modal, same, owner, np.ones(n), kept).value

    def find(_: Limits) -> Limits:
        low = chosen(int(counts[0]), n)[0]
        return low, exact(share * kept, kept)[1]

    out = {
        "unique_share": Part(
            different,
            kept,
            trials=kept,
            find=lambda _: exact(different * kept, kept),
        ),
        "agreement": Part(share, kept, least=_next_modal(counts) / n, find=find),
    }
    if n > 1:
        numbers = codes(texts[:PAIR_ANSWERS])
        out["exact_match"] = pairwise(numbers[:, None] == numbers[None, :])
        out["entropy"] = entropy(same, kept)
    return out


def _next_modal(counts: Array) -> float:
    """Return how many answers are the most frequent one of the others.

    Their share is on average at most that of the most frequent answer of all that the
    model would give, while ``agreement`` is on average at least that.
    """
    first, second = (int(counts[0]), int(counts[1]) if len(counts) > 1 else 0)
    if first - 1 > second:
        return float(first)
    tied = int((counts == second).sum()) + 1
    return first / tied if first - 1 == second and second else 0.0


def distinct(
    tokens: Sequence[Sequence[str]], size: int | None = None
) -> dict[str, Part]:
    """Return distinct-1 and distinct-2: different n-grams for each word.

    Li et al. 2016, A Diversity-Promoting Objective Function (N16-1014), scale both by
    the number of words. Where no answer has two words there is no distinct-2.
    """
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    numbers = codes(itertools.chain.from_iterable(tokens))
    owner = np.repeat(np.arange(len(tokens)), lengths)
    pairs = numbers[:-1] * (int(numbers.max(initial=0)) + 1) + numbers[1:]
    inside = owner[:-1] == owner[1:]
    size = min(size or len(tokens), len(tokens))

    out = {"distinct_1": _of_different(numbers, owner, lengths, size)}
    if inside.any():
        grams, whose = numbered(pairs[inside]), owner[:-1][inside]
        out["distinct_2"] = _of_different(grams, whose, lengths, size)
    return out


def _of_different(numbers: Array, owner: Array, weights: Array, size: int) -> Part:
    """Return how many different things there are in a set, for each unit of weight.

    Args:
        numbers: Which thing occurs, from 0, none left out.
        owner: In which answer.
        weights: The weight of each answer, such as its words.
        size: Answers that the figure is of.
    """
    different = int(numbers.max(initial=-1)) + 1

    @functools.cache
    def by_thing() -> tuple[Array, Array]:
        """Return the answers that each thing is in, and where those of each begin."""
        order = in_order(numbers)
        ordered = numbers[order]
        return owner[order], np.flatnonzero(np.diff(ordered, prepend=-1))

    def of(taken: Array) -> Array:
        if taken.all():
            return np.asarray(different / np.maximum(taken @ weights, 1))
        # A bit for each set: a thing has those of the sets of all answers it is in.
        sets = np.zeros((len(weights), SETS), dtype=bool)
        sets[:, : len(taken)] = taken.T
        bits = np.packbits(sets, axis=1).view(np.uint64)[:, 0]
        owners, starts = by_thing()
        seen = np.bitwise_or.reduceat(bits[owners], starts) if different else bits[:0]
        counts = np.unpackbits(seen.view(np.uint8).reshape(-1, SETS // 8), axis=1)
        found = counts.sum(axis=0, dtype=np.uint32)[: len(taken)]
        return np.asarray(found / np.maximum(taken @ weights, 1))

    step = len(weights) / (size * max(float(weights.sum()), 1.0))
    return of_set(of, len(weights), size, step=step)


def _of_counts(
    figure: Callable[[Array, Array], Array],
    numbers: Array,
    owner: Array,
    weights: Array,
    size: int,
    *,
    unbounded: bool = False,
) -> Part:
    """Return a figure of how often each thing occurs in a set of answers.

    Args:
        figure: From the counts, one row a thing and one column a set, and the weight
            of each set to the figure of each set.
        numbers: Which thing occurs, from 0.
        owner: In which answer.
        weights: The weight of each answer, such as its words.
        size: Answers that the figure is of.
        unbounded: Whether answers not seen yet may add any amount.
    """
    from scipy import sparse

    n, things = len(weights), int(numbers.max(initial=-1)) + 1

    def of(taken: Array) -> Array:
        total = taken @ weights
        if taken.all():
            counts = np.bincount(numbers, minlength=1)[:, None]
            return figure(counts, total[:1])
        ones = np.ones(len(numbers), dtype=np.int32)
        table = sparse.csr_array((ones, (numbers, owner)), shape=(max(things, 1), n))
        # A few sets at a time: long answers have very many different words.
        return np.concatenate(
            [
                figure(table @ some.T.astype(np.int32), total[at : at + 16])
                for at in range(0, len(taken), 16)
                for some in [taken[at : at + 16]]
            ]
        )

    step = n / (size * max(float(weights.sum()), 1.0))
    return of_set(of, n, size, step=step, unbounded=unbounded)


def self_bleu(tokens: Sequence[Sequence[str]]) -> Part:
    """Return the mean BLEU of one answer against another, from 0 to 1.

    Self-BLEU (Zhu et al. 2018, arXiv 1802.01886) takes all other answers as
    references and so grows with n; one reference at a time (pairwise BLEU, Shen et
    al. 2019, arXiv 1902.07816) does not. BLEU itself is sacrebleu's (Post 2018).
    """
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True, tokenize="none")
    joined = [" ".join(each) for each in tokens]

    @functools.cache
    def alike(one: str, two: str) -> float:
        return 1.0 if one == two else float(bleu.sentence_score(one, [two]).score) / 100

    return pairwise(np.array([[alike(one, two) for two in joined] for one in joined]))


def compression(texts: Sequence[str], size: int | None = None) -> Part:
    """Return how far zlib shrinks all answers together (Shaib et al. 2024).

    See arXiv 2403.00553: a high ratio means that answers repeat each other. Of one or
    two prompts it has no interval: no way to make one was found that holds for a few
    short answers.
    """
    size = min(size or len(texts), len(texts))
    some = subsets(len(texts), size, RAREFIED)
    joined = ["\n".join(itertools.compress(texts, row)) for row in some]
    data = [text.encode("utf-8", "surrogatepass") for text in joined]
    ratios = [len(each) / len(zlib.compress(each)) for each in data]
    return Part(sum(ratios) / len(ratios), size)


def cosine(vectors: Array) -> Array:
    """Return the cosine of each pair of embeddings, at least 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    return np.asarray(np.clip(unit @ unit.T, 0.0, 1.0))


def meanings(alike: Array) -> list[int]:
    """Return for each answer its cluster: the first answer it is alike to."""
    leaders: list[int] = []
    out = []
    for index in range(len(alike)):
        near = [k for k in leaders if alike[index, k] >= SAME_MEANING]
        if not near:
            leaders.append(index)
        out.append(near[0] if near else index)
    return out


def entropy(clusters: Sequence[Hashable] | Array, size: int | None = None) -> Part:
    """Return the discrete entropy of clusters in nats.

    Over clusters of one meaning it is semantic entropy (Kuhn et al. 2023, arXiv
    2302.09664; Farquhar et al. 2024, Nature 630). Of n answers it is at most ln n and
    on average less than that of all answers the model would give, which has a lower
    limit and no upper one: answers not seen yet may be any number.
    """
    numbers = clusters if isinstance(clusters, np.ndarray) else codes(clusters)
    n = len(numbers)

    def of(counts: Array, total: Array) -> Array:
        shares = counts / total
        terms = shares * np.log(np.where(shares > 0, shares, 1.0))
        out: Array = np.abs(terms.sum(axis=0))
        return out

    size = min(size or n, n)
    return _of_counts(of, numbers, np.arange(n), np.ones(n), size, unbounded=True)


def pass_at(k: int, right: Part) -> Part:
    """Return the unbiased chance that one of ``k`` answers is right (Chen et al. 2021).

    See arXiv 2107.03374: 1 - C(n - c, k) / C(n, k). The interval of one prompt follows
    from that of its rate; n answers are n / k chances at most.
    """
    n, hits = right.n, int(right.hits or 0)
    value = 1.0 - math.comb(n - hits, k) / math.comb(n, k)

    def find(_: Limits) -> Limits:
        low, high = (1 - (1 - end) ** k for end in wilson(hits, n))
        return min(low, value), max(high, value)

    return Part(value, n, trials=max(n // k, 1), find=find)


def of_metric(values: Sequence[float | bool]) -> Part:
    """Return a user's metric: a rate where all values are true or false."""
    if all(isinstance(value, bool) for value in values):
        n, hits = len(values), sum(values)
        return Part(hits / n, n, hits=hits, find=lambda _: wilson(hits, n))
    return mean([float(value) for value in values])
