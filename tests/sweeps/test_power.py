"""How many questions a study needs, against textbooks and by simulation."""

import math
from decimal import Decimal

import numpy as np
import pytest
import scipy
from support.sweeps import of_texts

from kimikit.errors import BadInput
from kimikit.sweeps.power import plan_for, power_of, questions_needed

NUMBER = {"value": lambda reply: float(reply.text)}


def pilot(rng, questions, repeats, *, between, within, settings=2, level=0.0):
    """Return a sweep of normal scores whose variances are known."""
    base = rng.normal(level, 1, questions)
    points = {}
    for setting in range(settings):
        helps = rng.normal(0, math.sqrt(between / settings), questions)
        noise = rng.normal(0, math.sqrt(within / 2), (questions, repeats))
        for q in range(questions):
            values = base[q] + helps[q] + noise[q]
            points[(f"q{q}", setting)] = [repr(float(v)) for v in values]
    return of_texts(points, axes=("prompt", "temperature"), metrics=NUMBER)


# Of statsmodels 0.15.0: TTestPower().solve_power(effect, power=, alpha=), rounded up.
# Above 10,000 pairs ours is of the normal distribution.
@pytest.mark.parametrize(
    ("effect", "power", "alpha", "pairs"),
    [
        (0.2, 0.8, 0.05, 199),
        (0.5, 0.8, 0.05, 34),
        (0.8, 0.8, 0.05, 15),
        (1.5, 0.8, 0.05, 6),
        (0.5, 0.9, 0.05, 44),
        (0.3, 0.5, 0.1, 32),
        (0.1, 0.95, 0.01, 1785),
        (0.05, 0.8, 0.05, 3142),
        (0.02, 0.8, 0.05, 19625),
    ],
)
def test_the_number_of_pairs_is_that_of_statsmodels(effect, power, alpha, pairs):
    needed = questions_needed(effect, power=power, alpha=alpha)
    assert abs(needed - pairs) <= (pairs > 10_000)


# Likewise: TTestPower().power(effect, pairs, alpha).
@pytest.mark.parametrize(
    ("effect", "pairs", "alpha", "power"),
    [
        (0.4, 25, 0.05, 0.484018),
        (1.1, 8, 0.05, 0.760651),
        (0.1, 400, 0.05, 0.514086),
        (0.2, 50, 0.01, 0.113381),
        (2.0, 4, 0.05, 0.754984),
        (0.3, 12, 0.1, 0.256067),
    ],
)
def test_the_power_is_that_of_statsmodels(effect, pairs, alpha, power):
    assert power_of(effect, pairs, alpha) == pytest.approx(power, abs=2e-6)


@pytest.mark.parametrize(("effect", "pairs"), [(0.4, 25), (1.1, 8), (0.1, 400)])
def test_its_power_is_that_of_simulated_studies(effect, pairs):
    rng = np.random.default_rng(pairs)
    p = scipy.stats.ttest_1samp(rng.normal(effect, 1, (8000, pairs)), 0, axis=1).pvalue
    assert abs(np.mean(p < 0.05) - power_of(effect, pairs, 0.05)) < 0.02


@pytest.mark.parametrize(("between", "within"), [(0.5, 4.0), (2.0, 0.5)])
def test_variances_are_told_apart(between, within):
    rng = np.random.default_rng(3)
    plans = [
        plan_for(pilot(rng, 60, 4, between=between, within=within), 0.5)
        for _ in range(12)
    ]
    assert np.mean([plan.between for plan in plans]) == pytest.approx(between, rel=0.2)
    assert np.mean([plan.within for plan in plans]) == pytest.approx(within, rel=0.1)


def test_a_study_of_the_planned_size_has_the_planned_power():
    """Pilots of 200 questions plan; studies of each option then find the difference."""
    rng = np.random.default_rng(1)
    plan = plan_for(pilot(rng, 200, 5, between=1.0, within=3.0), 0.4)
    for option in plan.options[:4]:
        n, k = option.questions, option.repeats
        gaps = rng.normal(0.4, math.sqrt(1.0 + 3.0 / k), (6000, n))
        found = np.mean(scipy.stats.ttest_1samp(gaps, 0, axis=1).pvalue < 0.05)
        assert abs(found - 0.8) < 0.07, option


def test_to_be_sure_is_enough_in_four_of_five_pilots():
    """The questions truly needed, against those that small pilots are assured of."""
    rng = np.random.default_rng(2)
    truth = questions_needed(0.5 / math.sqrt(1.0 + 2.0), power=0.8, alpha=0.05)
    assured, needed = [], []
    for _ in range(40):
        first = plan_for(pilot(rng, 12, 2, between=1.0, within=2.0), 0.5).options[0]
        assured.append(first.questions_assured >= truth)
        needed.append(first.questions >= truth)
    assert 0.65 < np.mean(assured) <= 0.95
    assert np.mean(needed) < np.mean(assured)


def test_repeats_shrink_only_the_variance_within_questions():
    rng = np.random.default_rng(4)
    plan = plan_for(pilot(rng, 80, 6, between=0.3, within=6.0), 0.3)
    counts = [option.questions for option in plan.options]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] >= questions_needed(
        0.3 / math.sqrt(plan.between), power=0.8, alpha=0.05
    )
    assert plan.best == plan.options[0], "asked once is the cheapest"
    few = plan_for(
        pilot(np.random.default_rng(4), 80, 6, between=0.3, within=6.0),
        0.3,
        questions=plan.options[3].questions,
    )
    assert few.best.repeats == plan.options[3].repeats
    assert f"{few.best.repeats} times" in few.sentence
    none = plan_for(
        pilot(np.random.default_rng(4), 80, 6, between=0.3, within=6.0),
        0.3,
        questions=5,
    )
    assert none.best is None
    assert "5 questions are too few" in str(none)


def test_it_says_what_it_costs_and_from_what():
    rng = np.random.default_rng(5)
    sweep = pilot(rng, 10, 3, between=1.0, within=1.0)
    plan = plan_for(sweep, 0.5)
    for option in plan.options:
        assert option.calls == 2 * option.questions * option.repeats
        assert option.cost_usd == option.calls * Decimal("0.001")
    assert "From 10 questions at temperature 0 and temperature 1" in str(plan)
    assert "<table" in plan._repr_html_()


def test_one_setting_is_planned_against_one_with_nothing_in_common():
    rng = np.random.default_rng(6)
    sweep = pilot(rng, 300, 4, between=0.0, within=2.0, settings=1)
    plan = plan_for(sweep, 0.5)
    assert plan.between == pytest.approx(2.0, rel=0.25)  # twice the questions' own
    assert plan.within == pytest.approx(2.0, rel=0.15)
    assert "one setting" in str(plan)


def test_answers_asked_once_plan_no_other_number_of_repeats():
    rng = np.random.default_rng(7)
    plan = plan_for(pilot(rng, 40, 1, between=1.0, within=1.0), 0.5)
    assert [option.repeats for option in plan.options] == [1]
    assert plan.between is None
    assert "cannot be told apart" in str(plan)


def right(reply):
    return reply.text == "yes"


@pytest.mark.parametrize(
    ("points", "given", "said"),
    [
        ({("q", 0): ["yes", "no"]}, {}, "1 question"),
        ({(f"q{i}", 0): ["yes", "yes"] for i in range(9)}, {}, "same for all"),
        ({(f"q{i}", 0): ["yes", "no"] for i in range(9)}, {"metric": "wrong"}, "wrong"),
        ({(f"q{i}", 0): ["yes", "no"] for i in range(9)}, {"difference": 0}, "above 0"),
        ({(f"q{i}", 0): ["yes", "no"] for i in range(9)}, {"power": 1}, "below 1"),
        ({(f"q{i}", 0): ["yes", "no"] for i in range(9)}, {"alpha": True}, "alpha"),
        ({(f"q{i}", 0): ["yes", "no"] for i in range(9)}, {"questions": 1}, "from 2"),
        ({(f"q{i}", 0): [None, None] for i in range(9)}, {}, "0 questions"),
    ],
)
def test_what_cannot_be_planned_is_refused(points, given, said):
    sweep = of_texts(points, axes=("prompt", "temperature"), metrics={"right": right})
    with pytest.raises(BadInput, match=said):
        sweep.plan_for(**{"difference": 0.1, **given})


def test_a_sweep_without_a_metric_says_how_to_give_one():
    with pytest.raises(BadInput, match="metrics="):
        of_texts({0: ["a", "b"]}).plan_for(0.1)


def test_right_or_wrong_is_planned_too():
    rng = np.random.default_rng(8)
    points = {}
    for q in range(40):
        p = rng.beta(2, 2)
        for setting, shift in ((0, 0.0), (1, 0.1)):
            some = rng.random(6) < min(p + shift, 1)
            points[(f"q{q}", setting)] = ["yes" if one else "no" for one in some]
    sweep = of_texts(points, axes=("prompt", "temperature"), metrics={"right": right})
    plan = sweep.plan_for(0.05)
    assert 200 < plan.best.questions < 4000
    assert plan.sentence.startswith("To tell a difference of 0.05 in right")
