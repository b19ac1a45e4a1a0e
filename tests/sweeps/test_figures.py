"""Metrics, intervals and the verdict: known values, promises, and their coverage."""

import itertools
import math
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sweeps import pick

from kimikit.sweeps import metrics
from kimikit.sweeps.answers import SHORT, Answers
from kimikit.sweeps.figures import SHARES
from kimikit.sweeps.intervals import Part, mean, minus, pairwise, pool
from kimikit.sweeps.permutation import permutation_tests
from kimikit.sweeps.segmentation import words
from kimikit.sweeps.shares import chosen, exact, most_unseen, student, wilson
from kimikit.types import Reply, ToolCall

SHARE = (0.0, 1.0)
texts = st.lists(st.text(max_size=40), min_size=2, max_size=8)


def measure(some: list[str], vectors: Any = None) -> dict[str, Part]:
    split = [metrics.words(text) for text in some]
    return metrics.agreement(some) | metrics.variety(some, split, vectors, 99)


# Metrics


def test_the_answer_is_the_text_or_else_the_calls():
    call = ToolCall("functions.f:0", "f", '{"a":1}')
    assert metrics.text_of(Reply(text=" Hi ", tool_calls=(call,))) == "Hi"
    assert metrics.text_of(Reply(text="", tool_calls=(call,))) == 'f({"a":1})'


def test_case_space_and_full_stops_make_no_other_answer():
    same = ["Blue.", "blue", " BLUE ", '"blue!"', "Ｂlue"]
    assert {metrics.normal(text) for text in same} == {"blue"}
    figures = metrics.agreement([*same, "red"])
    assert figures["agreement"].value == pytest.approx(5 / 6)
    assert figures["unique_share"].value == pytest.approx(2 / 6)


def test_words_count_in_any_script():
    assert metrics.words("The cat's mat, 3.5!") == ["the", "cat", "s", "mat", "3", "5"]
    assert metrics.words("月之暗面 K2") == ["月", "之", "暗", "面", "k2"]
    assert metrics.cut("One, two; three four.", 3) == "One, two; three"
    assert metrics.cut("One two.", 5) == metrics.cut("One two.", 2) == "One two."


def test_distinct_n_is_that_of_li_et_al():
    """a b a / b c: 3 of 5 words differ, and 3 pairs for 5 words, none across answers."""
    found = metrics.distinct([["a", "b", "a"], ["b", "c"]])
    assert found["distinct_1"].value == pytest.approx(3 / 5)
    assert found["distinct_2"].value == pytest.approx(3 / 5)


def test_answers_of_one_word_have_no_distinct_2():
    assert "distinct_2" not in metrics.distinct([["red"], ["blue"], ["green"]])
    assert metrics.distinct([["red"], ["a", "b"]])["distinct_2"].value == 1 / 3
    assert set(metrics.distinct([[], []])) == {"distinct_1"}


def test_self_bleu_is_sacrebleus_over_pairs():
    from sacrebleu.metrics.bleu import BLEU

    some = [t.split() for t in ("the cat sat on it", "the cat sat on me", "a dog ran")]
    bleu = BLEU(effective_order=True, tokenize="none")
    joined = [" ".join(t) for t in some]
    pairs = [(a, b) for a in joined for b in joined if a != b]
    by_hand = np.mean([bleu.sentence_score(a, [b]).score / 100 for a, b in pairs])
    assert metrics.self_bleu(some).value == pytest.approx(by_hand)
    assert metrics.self_bleu([some[0]] * 3).value == 1.0


def test_compression_tells_repetition():
    same = metrics.compression(["The quick brown fox jumps."] * 20)
    rng = random.Random(1)
    free = metrics.compression(
        ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=26)) for _ in range(20)]
    )
    assert same.value > 5 > 2 > free.value


def by_hand(some: list[str]) -> list[list[float]]:
    """Return the Jaccard index of each pair, by sets of texts."""

    def pieces(text: str) -> set[str]:
        padded = f" {' '.join(text.casefold().split())} ".ljust(4)
        return {padded[i : i + 4] for i in range(len(padded) - 3)}

    sets = [pieces(text) for text in some]
    return [[len(a & b) / len(a | b) for b in sets] for a in sets]


def test_lexical_similarity_against_sets_by_hand():
    some = ["a blue one", "a blue two", "xyz", "a blue one", "", "月之暗面", "a\ud800b"]
    assert metrics.lexical(some) == pytest.approx(np.array(by_hand(some)), abs=1e-6)


@given(st.lists(st.text(alphabet="ab \u00e9\U0001f600月", max_size=30), min_size=1))
@settings(max_examples=60, deadline=None)
def test_lexical_similarity_is_that_of_sets_for_any_texts(some):
    assert metrics.lexical(some) == pytest.approx(np.array(by_hand(some)), abs=1e-6)


@pytest.mark.parametrize("words", [100, 2000, 20_000])
def test_long_answers_without_a_common_word_are_wholly_different(words):
    """Hashed into 8,192 buckets, two of 2,000 words looked 59 % alike."""
    rng = random.Random(1)
    some = [
        " ".join("".join(rng.choices(letters, k=6)) for _ in range(words))
        for letters in ("abcdefghijkl", "mnopqrstuvwxyz", "一丁七万丈三上下不与")
    ]
    assert metrics.lexical(some) == pytest.approx(np.eye(3), abs=1e-7)


def test_many_answers_of_one_beginning_are_compared_exactly():
    """Pieces that many answers share go through BLAS, others do not: both are exact."""
    rng = random.Random(2)
    some = [
        f"the sky over the sea is {' '.join(rng.choices('abcdefgh', k=9))} and blue"
        for _ in range(120)
    ]
    assert metrics.lexical(some) == pytest.approx(np.array(by_hand(some)), abs=1e-6)


def test_semantic_figures_follow_the_vectors():
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0, 1]], dtype=float)
    found = measure(["a", "b", "c", "d"], vectors)
    assert found["semantic_entropy"].value == pytest.approx(math.log(2))
    assert found["semantic_similarity"].value == pytest.approx(0.38, abs=0.02)
    assert found["diversity"].value == 1 - found["semantic_similarity"].value
    assert found["entropy"].value == pytest.approx(math.log(4))


def test_pass_at_k_is_chens_estimator():
    """Chance that 2 of 5 answers drawn hold one of the 3 right: 1 - 1/10."""
    three, none = Part(3 / 5, 5, hits=3), Part(0, 5, hits=0)
    assert metrics.pass_at(2, three).value == pytest.approx(0.9)
    assert metrics.pass_at(1, three).value == pytest.approx(0.6)
    assert metrics.pass_at(3, three).value == 1.0
    assert metrics.pass_at(5, none).value == 0.0


@given(texts)
@settings(max_examples=60, deadline=None)
def test_any_texts_have_figures_within_their_bounds(some):
    found = measure(some)
    for name, part in found.items():
        open_ended = name not in SHARES
        estimate = pool([[part]], (0.0, math.inf) if open_ended else SHARE)
        assert estimate.value >= -1e-6
        assert open_ended or estimate.value <= 1 + 1e-6, name
        assert math.isfinite(estimate.value)
        if estimate.low is not None:
            assert len(some) >= 3
            assert estimate.low - 1e-6 <= estimate.value <= estimate.high + 1e-6, name


@given(texts, st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_answers_does_not_matter(some, rng):
    mixed = list(some)
    rng.shuffle(mixed)
    first, second = (measure(each) for each in (some, mixed))
    for name in first.keys() - {"compression_ratio"}:
        assert first[name].value == pytest.approx(second[name].value, abs=1e-5), name


@given(st.text(min_size=1, max_size=30), st.integers(3, 9))
@settings(max_examples=30, deadline=None)
def test_equal_answers_have_no_diversity(text, n):
    found = measure([text] * n)
    for name in ("diversity", "entropy"):
        assert found[name].value == pytest.approx(0.0, abs=1e-6)
    for name in ("agreement", "similarity", "exact_match", "self_bleu"):
        assert found[name].value == pytest.approx(1.0, abs=1e-6)


# Intervals


def test_wilson_against_published_values():
    """Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29."""
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits, n) == pytest.approx((low, high), abs=6e-5)


def test_students_quantile_against_tables():
    for df, value in ((1, 12.706), (2, 4.303), (7, 2.365), (30, 2.042), (999, 1.962)):
        assert student(df) == pytest.approx(value, abs=5e-4)


def test_fewer_than_three_answers_get_no_interval():
    assert pool([[mean([1.0, 2.0])]]).low is None
    assert pool([[Part(0.5, 2, hits=1)]]).low is None
    assert pool([[mean([1.0, 2.0, 3.0])]], (0, 9)).low is not None


@pytest.mark.parametrize("answer", ["word", "{}"])
def test_intervals_of_many_answers_take_memory_in_proportion_to_them(answer):
    some = [[answer.format(n)] for n in range(20_000)]
    tracemalloc.start()
    ends = metrics.distinct(some)["distinct_1"].limits(SHARE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ends is not None
    assert peak < 2_000 * len(some)  # a byte for each pair of answers is 20,000 each


def test_equal_values_have_an_interval_where_the_figure_has_ends():
    """Where w are others, eight equal answers come 5 % of the time at (1 - w)^8 = 5 %.

    So pairs differ up to 1 - (1 - w)^2.
    """
    assert pool([[mean([5.0] * 8)]], (0, math.inf)).low is None
    alike = pool([[pairwise(np.ones((8, 8)))]])
    assert (alike.low, alike.high) == (pytest.approx(0.05 ** (2 / 8)), 1.0)
    different = pool([[pairwise(np.eye(8)).complement()]])
    assert (different.low, different.high) == (
        pytest.approx(1 - most_unseen(1, 8) ** 2), 1.0
    )  # fmt: skip
    assert scipy.stats.binom.cdf(1, 8, most_unseen(1, 8)) == pytest.approx(0.05)
    middling = pool([[pairwise(np.full((8, 8), 0.5))]])
    assert middling.low < 0.4 < 0.6 < middling.high
    words = metrics.distinct([["red"]] * 8)["distinct_1"]
    found = pool([[words]])
    assert found.low <= 1 / 8 < 0.3 < found.high


@pytest.mark.parametrize("n", [3, 5, 8, 20])
def test_a_saturated_set_has_an_interval(n):
    """All halves of n different answers are different: that is no certainty."""
    texts = [f"word{place}x" for place in range(n)]
    entropy = pool([[metrics.entropy(texts)]], (0.0, math.inf))
    assert entropy.value == pytest.approx(math.log(n))
    assert entropy.low < 0.9 * math.log(n)
    assert entropy.high == math.inf
    for name in ("unique_share", "agreement", "exact_match"):
        found = pool([[metrics.agreement(texts)[name]]])
        assert found.high - found.low > 0.04, name


def test_an_answer_chosen_for_its_count_has_a_lower_limit_of_its_own():
    """The chance of 5 of 5 is p^5: it is 2.5 % of p at p = 0.025^(1/4)."""
    assert chosen(5, 5) == (pytest.approx(0.025**0.25), 1.0)
    assert chosen(1, 5)[0] == 0.0
    assert chosen(0, 0) == (0.0, 1.0)
    low, high = chosen(3, 4)
    assert 4 * low**3 * (1 - low) + low**4 == pytest.approx(0.025 * low)
    assert high == pytest.approx(scipy.stats.binomtest(3, 4).proportion_ci().high)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50, deadline=None)
def test_the_exact_interval_is_scipys(case):
    hits, n = case
    found = scipy.stats.binomtest(hits, n).proportion_ci()
    assert exact(hits, n) == pytest.approx((found.low, found.high))
    assert chosen(hits, n)[0] <= hits / n


def test_cells_that_are_pooled_are_resampled_apart():
    """The mean of four cells of one spread has half the spread of each."""
    rng = np.random.default_rng(2)
    values = rng.normal(5, 1, 20)
    wide = (-math.inf, math.inf)
    one, four = pool([[mean(values)]], wide), pool([[mean(values)] * 4], wide)
    ratio = (four.high - four.low) / (one.high - one.low)
    assert ratio == pytest.approx(0.5, abs=0.05)


def test_equal_meanings_are_equal_in_single_precision_too():
    vectors = np.tile(np.random.default_rng(1).normal(size=256), (8, 1))
    same = pairwise(metrics.cosine(vectors.astype(np.float32))).complement()
    assert pool([[same]]).high == pytest.approx(1 - 0.05 ** (2 / 8))


def test_prompts_widen_the_interval_of_answers_that_are_alike():
    """Ten right of ten at two prompts, none at two: 40 answers, four prompts."""
    parts = [[Part(share, 10, hits=share * 10)] for share in (1.0, 1.0, 0.0, 0.0)]
    clustered, naive = pool(parts), wilson(20, 40)
    assert clustered.value == 0.5
    assert clustered.low < naive[0] - 0.1
    assert clustered.high > naive[1] + 0.1


def test_differences_are_paired_by_prompt():
    """Prompts differ much, the gain is the same at each: pairing sees it."""
    rng = np.random.default_rng(0)
    levels = (1.0, 5.0, 9.0, 20.0)
    ours, theirs = (
        {level: [mean(rng.normal(level + gain, 0.1, 20))] for level in levels}
        for gain in (0.0, 1.0)
    )
    gap = minus(theirs, ours, (-math.inf, math.inf))
    assert 0.5 < gap.low < 1.0 < gap.high < 1.5


def test_two_intervals_of_one_prompt_are_joined():
    a, b = Part(0.9, 40, hits=36), Part(0.5, 40, hits=20)
    gap = minus({"p": [a]}, {"p": [b]}, SHARE)
    assert gap.value == pytest.approx(0.4)
    # By hand: 36/40 is in [0.7695, 0.9604], 20/40 in [0.3520, 0.6480].
    below, above = math.hypot(0.1305, 0.1480), math.hypot(0.0604, 0.1480)
    expected = 0.4 - below, 0.4 + above
    assert (gap.low, gap.high) == pytest.approx(expected, abs=0.001)
    assert minus({"p": [mean([1.0])]}, {"p": [mean([2.0])]}, SHARE).low is None
    assert minus({"p": [a]}, {"q": [b]}, SHARE) is None
    # Newcombe 1998, Interval estimation for the difference, method 10, contrast (a).
    a, b = Part(56 / 70, 70, hits=56), Part(48 / 80, 80, hits=48)
    gap = minus({"p": [a]}, {"p": [b]}, SHARE)
    assert (gap.low, gap.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize("name", ["similarity", "distinct_2", "agreement", "words"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(name):
    """Of 120 samples of 10 answers at least 88 % of the intervals hold the mean."""
    rng = random.Random(3)
    patterns = ["the sky is {} over a {} sea", "I like {}, then {}", "{}, {}"]

    def sample() -> Part:
        some = [
            rng.choice(patterns).format(pick(0.8, rng), pick(0.8, rng))
            for _ in range(10)
        ]
        split = [metrics.words(text) for text in some]
        if name == "words":
            return mean([len(each) for each in split])
        if name == "similarity":
            return pairwise(metrics.lexical(some))
        return (metrics.distinct(split) | metrics.agreement(some))[name]

    parts = [sample() for _ in range(120)]
    truth = np.mean([part.value for part in parts])
    bounds = (0.0, math.inf) if name == "words" else SHARE
    found = [pool([[part]], bounds) for part in parts]
    held = np.mean([e.low <= truth <= e.high for e in found if e.low is not None])
    assert held >= 0.88


# The verdict


def colours(temperatures: list[float], n: int, seed: int) -> dict[float, list[str]]:
    rng = random.Random(seed)
    return {t: [f"I say {pick(t, rng)}" for _ in range(n)] for t in temperatures}


def test_the_test_finds_a_host_that_obeys():
    found = [permutation_tests([colours([0, 0.6, 1.2], 8, s)])[0] for s in range(10)]
    assert sum(p < 0.05 for p in found) >= 9


def test_p_is_the_share_of_all_orders_that_are_as_extreme():
    """Of eight answers there are 70 orders, few enough to go through them all."""
    cold, hot = ["red one", "red two", "red one", "red one"], ["blue", "green y", "red"]
    some = [*cold, *hot, "ochre it is"]
    distance = 1 - metrics.lexical(some)
    np.fill_diagonal(distance, 0)
    everyone = set(range(8))

    def spread(group: set[int]) -> float:
        return float(distance[np.ix_(list(group), list(group))].sum())

    orders = [set(order) for order in itertools.combinations(range(8), 4)]
    gaps = [abs(spread(everyone - order) - spread(order)) for order in orders]
    exact = np.mean([gap >= gaps[0] - 1e-5 for gap in gaps])
    strata = [{0.0: some[:4], 1.0: some[4:]}]
    found = [permutation_tests(strata, seed=seed)[0] for seed in range(8)]
    assert np.mean(found) == pytest.approx(exact, abs=0.012)


def test_the_test_rarely_accuses_a_host_that_ignores():
    """One in twenty is the level; of 40 sweeps at most six pass it (p = 0.01)."""
    rng = random.Random(7)
    wrong = 0
    for _ in range(40):
        some = {t: [pick(1.0, rng) for _ in range(8)] for t in (0, 0.6, 1.2)}
        wrong += permutation_tests([some])[0] < 0.05
    assert wrong <= 6


def test_prompts_are_shuffled_within_themselves():
    """Two prompts with other answers altogether: that is no effect of temperature."""
    flat = [{0.0: [word] * 6, 1.0: [word] * 6} for word in ("blue", "an utter other")]
    assert permutation_tests(flat)[0] == 1.0
    both = [colours([0, 1.2], 6, 1), colours([0, 1.2], 6, 2)]
    p, _, n = permutation_tests(both)
    assert p < 0.05
    assert n == 24


@pytest.mark.parametrize("letters", ["蓝红绿青", "жщю я", "ab cd"])
def test_the_words_of_short_answers_are_kept_once_each(letters: str) -> None:
    """They are for as long as a kernel runs: 16,000 Chinese texts would take 300 MB."""
    rng = random.Random(2)
    texts = ["".join(rng.choices(letters, k=SHORT)) for _ in range(300)]
    known = Answers(texts, [1] * 300, [1.0] * 300, []).words
    assert sorted(known) == sorted(map(words, texts))
    if not letters.isascii():
        each = [word for some in known for word in some]
        assert len({*map(id, each)}) == len({*each})
