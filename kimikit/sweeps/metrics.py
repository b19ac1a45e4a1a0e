"""What is measured of a set of answers, each figure with what its interval needs.

Diversity grows with length (PATTR, arXiv 2507.15092), so all measures of wording look
at the same number of words of each answer; length stands beside them.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from kimikit.sweeps.intervals import Array, Part, jackknife, mean, pairwise
from kimikit.types import Reply

PIECE = 4
"""Characters of the pieces that lexical similarity compares."""

BUCKETS = 8192
"""Pieces are hashed into this many; two of 1,000 share a bucket one time in eight."""

PAIR_ANSWERS = 256
"""Answers of a point that are compared with each other, the first so many."""

SAME_MEANING = 0.85
"""Cosine of embeddings from which two answers count as one meaning."""

# A character of Chinese, Japanese or Korean is a word; so is a run of other letters.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")


def text_of(reply: Reply) -> str:
    """Return what counts as the answer: the text, or the calls where there is none."""
    calls = (f"{call.name}({call.arguments})" for call in reply.tool_calls)
    return reply.text.strip() or "; ".join(calls)


def normal(text: str) -> str:
    """Return ``text`` so that ``Blue.`` and ``blue`` are one answer."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,!?;:\"'*`")


def words(text: str) -> list[str]:
    """Return the words, lower case, punctuation left out."""
    return _WORD.findall(text.casefold())


def cut(text: str, length: int) -> str:
    """Return the text up to its ``length``-th word, whole if it has no more."""
    found = itertools.islice(_WORD.finditer(text), length + 1)
    ends = [match.end() for match in found]
    return text[: ends[length - 1]] if len(ends) > length else text


def variety(
    cut: list[str], tokens: list[list[str]], vectors: Array | None, bleu_answers: int
) -> dict[str, Part]:
    """Return every figure of how two or more answers differ.

    Args:
        cut: The answers, each cut to the common length in words.
        tokens: The words of these.
        vectors: Embeddings of the answers, one row each, or ``None``.
        bleu_answers: Answers that self-BLEU compares, the first so many.
    """
    alike = pairwise(lexical(cut[:PAIR_ANSWERS]))
    out = distinct(tokens) | {
        "self_bleu": self_bleu(tokens[:bleu_answers]),
        "compression_ratio": compression(cut[:PAIR_ANSWERS]),
        "similarity": alike,
    }
    if vectors is not None:
        near = cosine(vectors[:PAIR_ANSWERS])
        alike = out["semantic_similarity"] = pairwise(near)
        out["semantic_entropy"] = entropy(meanings(near))
    return out | {"diversity": alike.complement()}


def agreement(texts: Sequence[str]) -> dict[str, Part]:
    """Return how far the answers agree, word for word but for case and full stops.

    ``unique_share`` is the share of different answers, ``agreement`` that of the most
    frequent one (self-consistency, Wang et al. 2022, arXiv 2203.11171), ``entropy``
    that of the answers in nats, ``exact_match`` the share of pairs that are equal to
    the letter. Wilson's interval is somewhat wide for ``unique_share``.
    """
    same = [normal(text) for text in texts]
    counts, n = Counter(same), len(texts)
    out = {
        "unique_share": Part(len(counts) / n, n, hits=len(counts)),
        "agreement": Part(max(counts.values()) / n, n, hits=max(counts.values())),
    }
    if n > 1:
        numbers = codes(texts[:PAIR_ANSWERS])
        out["exact_match"] = pairwise(numbers[:, None] == numbers[None, :])
        out["entropy"] = entropy(same)
    return out


def codes(items: Iterable[Hashable]) -> Array:
    """Return a number for each item, equal for equal ones."""
    seen: dict[Hashable, int] = {}
    return np.array(
        [seen.setdefault(item, len(seen)) for item in items], dtype=np.int64
    )


def distinct(tokens: Sequence[Sequence[str]]) -> dict[str, Part]:
    """Return distinct-1 and distinct-2: different n-grams among all.

    Li et al. 2016, A Diversity-Promoting Objective Function (N16-1014).
    """
    numbers = codes(word for some in tokens for word in some)
    owner = np.repeat(np.arange(len(tokens)), [len(some) for some in tokens])
    pairs = numbers[:-1] * (len(numbers) + 1) + numbers[1:]
    inside = owner[:-1] == owner[1:]
    return {
        "distinct_1": _distinct(numbers, owner, len(tokens)),
        "distinct_2": _distinct(pairs[inside], owner[:-1][inside], len(tokens)),
    }


def _distinct(grams: Array, owner: Array, n: int) -> Part:
    numbers = np.unique(grams, return_inverse=True)[1]

    def share(kept: Array) -> float:
        some = numbers[np.isin(owner, kept)]
        return float(np.count_nonzero(np.bincount(some)) / max(len(some), 1))

    return jackknife(share, n)


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


def compression(texts: Sequence[str]) -> Part:
    """Return how far zlib shrinks all answers together (Shaib et al. 2024).

    See arXiv 2403.00553: a high ratio means that answers repeat each other.
    """

    def ratio(kept: Array) -> float:
        data = "\n".join(texts[i] for i in kept).encode()
        # The error needs no more than the quick level.
        level = 6 if len(kept) == len(texts) else 1
        return len(data) / len(zlib.compress(data, level))

    return jackknife(ratio, len(texts))


def lexical(texts: Sequence[str]) -> Array:
    """Return for each pair the Jaccard index of their pieces of four characters.

    It needs no corpus, so values of two sweeps compare, unlike TF-IDF.
    """
    padded = [f" {' '.join(text.casefold().split())} ".ljust(PIECE) for text in texts]
    lengths = np.array([len(text) for text in padded])
    joined = "".join(padded).encode("utf-32-le", "surrogatepass")
    letters = np.frombuffer(joined, dtype=np.uint32).astype(np.uint64)
    pieces = np.zeros(len(letters) - PIECE + 1, dtype=np.uint64)
    for offset in range(PIECE):
        pieces = pieces * np.uint64(1_000_003) + letters[offset:][: len(pieces)]
    # Fibonacci hashing spreads the pieces over the buckets.
    bucket = (pieces * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(51)).astype(np.intp)
    row = np.repeat(np.arange(len(texts)), lengths)[: len(pieces)]
    # A piece that begins in one text and ends in the next belongs to neither.
    inside = np.arange(len(pieces)) + PIECE <= np.cumsum(lengths)[row]
    sets = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    sets[row[inside], bucket[inside]] = 1
    shared, sizes = sets @ sets.T, sets.sum(axis=1)
    return np.asarray(shared / (sizes[:, None] + sizes[None, :] - shared))


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


def entropy(clusters: Sequence[Hashable]) -> Part:
    """Return the discrete entropy of clusters in nats.

    Over clusters of one meaning it is semantic entropy (Kuhn et al. 2023, arXiv
    2302.09664; Farquhar et al. 2024, Nature 630).
    """
    numbers, n = codes(clusters), len(clusters)

    def of(kept: Array) -> float:
        counts = np.bincount(numbers[kept])
        shares = counts[counts > 0] / len(kept)
        return abs(float((shares * np.log(shares)).sum()))

    return jackknife(of, n)


def pass_at(k: int, right: Part) -> Part:
    """Return the unbiased chance that one of ``k`` answers is right (Chen et al. 2021).

    See arXiv 2107.03374: 1 - C(n - c, k) / C(n, k).
    """
    n = right.n
    chance = 1.0 - math.comb(n - int(right.hits or 0), k) / math.comb(n, k)
    return Part(chance, n, hits=chance * n)


def of_metric(values: Sequence[float | bool]) -> Part:
    """Return a user's metric: a rate where all values are true or false."""
    if all(isinstance(value, bool) for value in values):
        return Part(sum(values) / len(values), len(values), hits=sum(values))
    return mean([float(value) for value in values])
