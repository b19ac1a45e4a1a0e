"""What a sweep says of its numbers: pass@k, equal n, cost, verdicts, recommendation."""

import json
import math
import random
import subprocess
import sys
import weakref
from decimal import Decimal

import numpy as np
import pytest
import scipy
from support.sweeps import of_texts, pick, reply

from kimikit.errors import BadInput
from kimikit.sweeps import metrics, summary
from kimikit.sweeps.intervals import Part, minus, of_shares, pool
from kimikit.sweeps.permutation import holm, permutation_tests
from kimikit.sweeps.similarity import in_order
from kimikit.sweeps.summary import groups
from kimikit.sweeps.verdict import verdict

RIGHT = {"right": lambda answer: answer.text.startswith("yes")}


def by_prompt(answers, **fields):
    return of_texts(answers, axes=("prompt",), **fields)


def test_scipy_is_imported_when_a_sweep_is_summarised():
    """Neither by ``import kimikit`` nor by a sweep that nobody has looked at."""
    code = (
        "import sys, kimikit; from kimikit.sweeps import Sweep, Trial;"
        "from kimikit.types import Reply;"
        "found = Sweep(trials=(Trial(params={}, repeat=0, reply=Reply(text='a')),));"
        "early = 'scipy' in sys.modules; found.summary();"
        "print(early, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


# pass@k


@pytest.mark.parametrize(
    ("rights", "n"),
    [([10, 0], 10), ([10, 0, 0, 0], 10), ([1], 10), ([2, 0], 5), ([5], 5), ([0, 0], 8)],
)
def test_pass_at_k_lies_in_its_interval_whatever_the_prompts(rights, n):
    answers = {
        f"p{place}": ["yes"] * right + ["no"] * (n - right)
        for place, right in enumerate(rights)
    }
    row = by_prompt(answers, metrics=RIGHT).summary([])[0]
    k = max(k for k in (2, 5, 10) if k <= n)
    value, low, high = (row[f"right_pass@{k}{end}"] for end in ("", "_low", "_high"))
    each = [1 - math.comb(n - right, k) / math.comb(n, k) for right in rights]
    assert value == pytest.approx(np.mean(each))
    assert low <= value <= high


def test_pass_at_k_of_two_prompts_joins_the_interval_of_each():
    row = by_prompt({"a": ["yes"] * 10, "b": ["no"] * 10}, metrics=RIGHT).summary([])[0]
    assert row["right_pass@10"] == 0.5
    assert row["right_pass@10_low"] <= 0.5 < row["right_pass@10_high"]


def test_rates_of_few_prompts_have_students_factor():
    """Korn and Graubard 1998, by hand: shares .5, .7, .9 have the variance .04 / 3."""
    effective = 0.7 * 0.3 / (0.04 / 3) * (1.959964 / 4.302653) ** 2
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    middle = (0.7 + z2 / (2 * effective)) / (1 + z2 / effective)
    low, high = of_shares(np.array([0.5, 0.7, 0.9]))
    assert (low + high) / 2 == pytest.approx(middle, rel=1e-4)
    few = pool([[Part(v, 10, hits=10 * v)] for v in (0.5, 0.7, 0.9)])
    assert (few.low, few.high) == (low, high)


# Figures that depend on n


SIZED = ("unique_share", "agreement", "entropy", "distinct_1", "distinct_2")


def sentences(rng, n):
    some = ["red", "blue", "green", "teal", "pink", "gold", "grey", "plum"]
    return [
        f"the {rng.choices(some, [9, 5, 3, 2, 1, 1, 1, 1])[0]} {rng.choice(some[:2])}"
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("ns", "prompts"), [((5, 20), 1), ((20, 5), 1), ((3, 8), 1), ((3, 8), 12)]
)
def test_a_difference_of_figures_that_depend_on_n_is_of_equal_n(ns, prompts):
    """One host against itself, more answers on one side: nothing differs."""
    rng = random.Random(sum(ns) + prompts)
    gaps = {name: [] for name in SIZED}
    for _ in range(12):
        a, b = (
            by_prompt({f"p{p}": sentences(rng, n) for p in range(prompts)}) for n in ns
        )
        row = a.diff(b).rows[0]
        assert row["n"] == min(ns)
        for name in SIZED:
            gaps[name].append(row[name])
    for name, values in gaps.items():
        scale = max(np.std(values) / 12**0.5, 1e-9)
        assert abs(np.mean(values)) < 4.5 * scale, name
    assert "of n on both sides" in str(a.diff(b))


@pytest.mark.parametrize("n", [4, 7, 40])
def test_points_of_one_sweep_are_measured_at_equal_n(n):
    """Answers that failed at one point make no other look more varied."""
    rng = random.Random(n)
    some = [f"c{rng.randrange(30)} d{rng.randrange(30)}" for _ in range(80 + n)]
    sweep = of_texts({0: some[80:] + [None] * (80 - n), 1: some[:80]})
    short, whole = sweep.summary()
    assert (short["n"], whole["n"]) == (n, 80)
    texts = next(g.texts for g in groups(sweep) if len(g.texts) == 80)
    assert sorted(texts) == sorted(some[:80])
    tokens = [metrics.words(text) for text in texts]
    at_n = metrics.agreement(texts, n) | metrics.distinct(tokens, n)
    for name in SIZED:
        assert whole[name] == pytest.approx(at_n[name].value)
    assert abs(whole["distinct_1"] - short["distinct_1"]) < 0.2
    assert f"are of {n} answers" in str(sweep)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_answers_came_changes_no_figure(seed):
    """They come in another order when a recording is replayed."""
    rng = random.Random(seed)
    points = {0: sentences(rng, 6), 1: sentences(rng, 40)}
    metric = {"long": lambda answer: len(answer.text) > 9}
    first = of_texts(points, metrics=metric)
    later = of_texts(
        {at: rng.sample(some, len(some)) for at, some in points.items()}, metrics=metric
    )
    assert first.summary() == later.summary()
    assert str(first.compare()) == str(later.compare())


def test_rarefied_figures_are_the_mean_over_sets_of_the_smaller_n():
    """Of a, a, b, c two answers differ in 5 of 6 pairs."""
    part = metrics.agreement(["a", "a", "b", "c"], 2)["unique_share"]
    assert part.n == 2
    assert part.value == pytest.approx((5 * 1 + 1 * 0.5) / 6)


def test_points_with_too_few_answers_do_not_make_all_others_small():
    sweep = of_texts({0: ["a", "b"], 1: ["a", "b", "c", "d"]})
    assert [row["unique_share"] for row in sweep.summary()] == [1.0, 1.0]
    assert "are of 4 answers (points with fewer do not compare in these)" in str(sweep)


def test_entropy_is_shown_with_its_ceiling_and_without_an_upper_limit():
    sweep = of_texts({0: [f"w{place}" for place in range(8)]})
    row = sweep.summary()[0]
    assert row["entropy"] == pytest.approx(math.log(8))
    assert row["entropy_low"] < math.log(8)
    assert row["entropy_high"] == math.inf
    page = sweep._repr_html_()
    assert "entropy of so many is at most 2.08" in page
    assert "∞" in page
    assert row["distinct_2"] is None


def test_the_clearest_difference_has_an_interval():
    """All right against all wrong on 24 prompts, and nothing against nothing."""
    yes, no = (
        by_prompt({f"p{p}": [word] * 4 for p in range(24)}, metrics=RIGHT)
        for word in ("yes", "no")
    )
    row = yes.diff(no).rows[0]
    assert (row["right"], row["right_low"]) == (-1.0, -1.0)
    assert -0.8 < row["right_high"] < -0.5
    same = yes.diff(yes).rows[0]
    assert same["right_low"] == -same["right_high"]
    assert 0 < same["right_high"] < 0.2
    assert row["words_low"] is None
    assert "none where nothing varied in a figure that has no upper end" in str(yes)


def test_a_difference_of_one_prompt_has_none_where_a_side_has_no_upper_limit():
    side = {"p": [metrics.entropy(["a", "b", "c"])]}
    assert minus(side, side, (0.0, math.inf)).low is None


# Cost


def paid(text, usd):
    return reply(text, cost=None if usd is None else Decimal(usd))


def test_a_right_answer_costs_what_broken_and_wrong_ones_cost_too():
    broken = [paid("ye", "0.004")]
    sweep = of_texts(
        {0: [paid("yes", "0.002"), paid("no", "0.002"), broken, broken, None]},
        metrics=RIGHT,
    )
    row = sweep.summary()[0]
    assert row["cost"] == sweep.cost == Decimal("0.012")
    assert row["right_usd"] == Decimal("0.012")
    assert row["right_usd_low"] < row["right_usd"] < row["right_usd_high"]
    assert all(isinstance(row[f"right_usd{end}"], Decimal) for end in ("_low", "_high"))
    assert "US$ for each right" in sweep._repr_html_()
    assert "$0.0120 <small>[" in sweep._repr_html_()


def test_nothing_right_has_a_least_price_and_the_unknown_has_none():
    wrong = of_texts({0: [paid("no", "0.01")] * 8}, metrics=RIGHT)
    row = wrong.summary()[0]
    assert row["right_usd"] is row["right_usd_high"] is None
    assert row["right_usd_low"] > Decimal("0.01")
    assert "none right, at least $0.0308" in wrong._repr_html_()
    for lost in ([paid("", None)], paid("yes", None)):
        some = [paid("yes", "0.01"), paid("yes", "0.01"), paid("yes", "0.01"), lost]
        unknown = of_texts({0: some}, metrics=RIGHT).summary()[0]
        assert unknown["right_usd"] is unknown["right_usd_low"] is None
        assert unknown["cost"] is None


def test_rows_add_up_to_what_the_sweep_cost():
    rng = random.Random(1)
    points = {
        (f"p{prompt}", t): [
            rng.choice([paid("yes", "0.001"), [paid("y", "0.0003")], None])
            for _ in range(6)
        ]
        for prompt in range(4)
        for t in (0, 1)
    }
    sweep = of_texts(points, axes=("prompt", "temperature"), metrics=RIGHT)
    for by in (None, [], ["prompt"], ["prompt", "temperature"]):
        rows = sweep.summary(by)
        assert sum(row["cost"] for row in rows if row["cost"]) == sweep.cost


# The verdict


def test_other_answers_without_a_change_in_spread_are_seen():
    """Paris at 0 and a refusal at 1.2: as varied, and not one answer is shared."""
    found = of_texts(
        {0: ["Paris is the capital."] * 20, 1.2: ["I cannot answer that."] * 20}
    ).verdict
    assert found.changed is True
    assert found.p == 1.0
    assert found.p_answers < 0.01
    assert "Temperature changed what the answers are (p" in str(found)
    assert "no change in how varied they are was seen" in str(found)
    assert "one distribution" not in str(found)


def test_one_distribution_is_said_only_after_both_tests():
    rng = random.Random(3)
    found = of_texts({t: [pick(1.0, rng) for _ in range(8)] for t in (0, 0.6, 1.2)})
    said = str(found.verdict)
    assert "neither in how varied the answers are (p" in said
    assert "nor in what they are (p" in said
    assert found.verdict.tests == 2


def test_the_energy_distance_is_that_of_szekely_and_rizzo():
    """For two samples: 2 E d(X, Y) - E d(X, X') - E d(Y, Y'), shuffled."""
    cold, hot = (
        ["red one", "red two", "red one", "red"],
        ["blue", "green y", "red", "b"],
    )
    distance = 1 - metrics.lexical([*cold, *hot])

    def energy(first, second):
        within = [distance[np.ix_(side, side)].mean() for side in (first, second)]
        return 2 * distance[np.ix_(first, second)].mean() - sum(within)

    seen = energy(range(4), range(4, 8))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(8) for _ in range(4000)]
    extreme = [energy(order[:4], order[4:]) >= seen - 1e-6 for order in orders]
    _, p, n = permutation_tests([{0.0: cold, 1.0: hot}])
    assert n == 8
    assert p == pytest.approx(np.mean(extreme), abs=0.03)


def test_holm_steps_down():
    """Three times the smallest, twice the next, and never less than the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def models(rng, count, temperatures=(0, 0.6, 1.2), obeys=()):
    return of_texts(
        {
            (f"model{m}", t): [
                f"say {pick(t * 2 if m in obeys else 1.0, rng)}" for _ in range(8)
            ]
            for m in range(count)
            for t in temperatures
        },
        axes=("model", "temperature"),
    )


def test_many_models_that_ignore_temperature_are_rarely_accused():
    """Uncorrected, two of three sweeps of twenty models would accuse one."""
    rng = random.Random(21)
    accused = 0
    for _ in range(8):
        found = verdict(models(rng, 20))
        accused += any(part.changed for part in found.parts)
    assert accused <= 2
    assert "corrected for the 40 tests (Holm)" in str(found)
    assert found.parts[0].tests == 40


@pytest.mark.parametrize("count", [3, 40])
def test_one_model_that_obeys_is_found_among_many_that_do_not(count):
    """With 80 tests one in 2,000 is no evidence: there are more shuffles then."""
    found = verdict(models(random.Random(2), count, (0, 0.4, 0.8, 1.2), obeys={1}))
    assert found.parts[1].changed
    assert sum(bool(part.changed) for part in found.parts) == 1
    assert found.changed is None


# The recommendation


def scored(shares, n=8, seed=2):
    rng = random.Random(seed)
    words = ["red", "blue", "green", "teal", "pink", "gold", "grey", "plum"]
    return of_texts(
        {
            t: [
                f"{'yes' if place < round(share * n) else 'no'} "
                + " ".join(rng.choices(words[: 1 + int(6 * t)], k=7))
                for place in range(n)
            ]
            for t, share in shares.items()
        },
        metrics=RIGHT,
    )


def test_the_best_is_recommended_and_not_what_cannot_be_told_from_it():
    found = scored({0: 7 / 8, 0.6: 6 / 8, 1.2: 5 / 8}).recommended
    assert found.temperature == 0
    assert "right is highest there, 0.88 [0.53, 0.98]" in str(found)
    assert "the best of 3, so that chance flatters it" in str(found)


def test_a_margin_takes_a_more_varied_one_only_if_it_is_sure_to_lose_no_more():
    level = scored({0: 7 / 8, 1.2: 7 / 8}).recommend(margin=0.05)
    assert level.temperature == 1.2
    unsure = scored({0: 1, 1.2: 7 / 8}).recommend(margin=0.05)
    assert unsure.temperature == 0
    assert "is sure to lose at most 0.05" in str(unsure)
    many = scored({0: 0.91, 1.2: 0.9}, n=2000).recommend(margin=0.05)
    assert many.temperature == 1.2
    assert -0.05 <= many.gap.low < many.gap.value
    assert many.gap.value == pytest.approx(-0.01)
    assert f"up to {-many.gap.low:.2g} may be lost" in str(many)
    strict = scored({0: 0.91, 1.2: 0.9}, n=2000).recommend(margin=0.01)
    assert strict.temperature == 0


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf, "0.05", True])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(BadInput, match=r"margin is .*such as 0\.05"):
        scored({0: 1, 1: 1}).recommend(margin=margin)


def test_a_recommended_temperature_loses_little_on_average():
    """Of 8 answers each at 90, 80 and 60 %: the best is known no better than so."""
    rng = random.Random(4)
    truth = {0: 0.9, 0.6: 0.8, 1.2: 0.6}
    lost = []
    for _ in range(30):
        sweep = of_texts(
            {
                t: [
                    f"{'yes' if rng.random() < share else 'no'} {rng.random()}"
                    for _ in range(8)
                ]
                for t, share in truth.items()
            },
            metrics=RIGHT,
        )
        lost.append(0.9 - truth[sweep.recommended.temperature])
    assert np.mean(lost) < 0.06


def test_a_summary_is_json_but_for_decimals():
    text = json.dumps(scored({0: 1, 1: 0.5}).summary(), default=str)
    assert json.loads(text)[0]["right"] == 1.0


HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))

ODD = {
    "nothing": {0: [""] * 4, 1: ["", "a", "", ""]},
    "one answer": {0: ["a"]},
    "lone surrogates": {0: ["\ud800x"] * 3, 1: ["\udfff"] * 3},
    "all failed": {0: [None] * 3, 1: [None] * 3},
    "many letters": {0: [HAN, HAN[1000:], HAN[:1000], HAN[::-1]]},
    "no words": {0: ["..."] * 5, 1: ["😀" * k for k in range(1, 6)]},
    "unequal n": {0: ["a b"] * 3, 1: ["a c"] * 30, 2: [None] * 4 + ["x y"]},
    "two of each": {0: ["a", "b"], 1: ["a", "a"]},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_have_figures_within_their_intervals(name):
    sweep = of_texts(ODD[name], metrics={"long": lambda answer: len(answer.text) > 1})
    for row in sweep.summary() + (sweep.summary([]) if name != "all failed" else []):
        for figure in [key[:-4] for key in row if key.endswith("_low")]:
            value, low, high = (row[f"{figure}{end}"] for end in ("", "_low", "_high"))
            if low is not None and value is not None:
                assert float(low) - 1e-9 <= float(value), figure
                assert high is None or float(value) <= float(high) + 1e-9, figure
    for view in (sweep, sweep.verdict, sweep.recommended, sweep.recommend(margin=0.1)):
        assert str(view)
    assert "<table>" in sweep._repr_html_()


@pytest.mark.parametrize("largest", [1, 1 << 16, 1 << 31, 1 << 40])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_whole_numbers_are_sorted_as_numpy_does(largest: int, count: int) -> None:
    values = np.random.default_rng(1).integers(0, largest, count)
    values = np.concatenate([values, values[::3]])
    expected = np.argsort(values, kind="stable")
    assert np.array_equal(in_order(values), expected)


def test_an_interval_is_worked_out_once_and_lets_go_of_the_answers() -> None:
    held = np.arange(3)
    gone = weakref.ref(held)
    part = Part(0.5, 3, find=lambda bounds, held=held: (bounds[0], float(len(held))))
    other = part.complement()
    del held
    assert part.limits((0.25, 1)) == (0.25, 3)
    assert gone() is None
    assert part.limits((0, 1)) == (0.25, 3)
    assert other.limits((0, 1)) == (-2, 0.75)
    assert Part(0.5, 2, find=lambda bounds: bounds).limits((0, 1)) is None


def test_a_summary_of_few_prompts_keeps_figures_and_not_the_words() -> None:
    found = by_prompt({"q": ["a b", "b c", "a b", "d"], "p": ["a", "b", "b c"]})
    found.summary()
    size = summary.common_length(found), summary.common_answers(found)
    parts = [
        p for g in groups(found) for p in summary.measured(found, g, *size).values()
    ]
    assert parts
    assert not any(part.find for part in parts)
