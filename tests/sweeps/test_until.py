"""Buying until it is settled: few false claims, and no more paid than is needed."""

import _thread
import random
from decimal import Decimal

import numpy as np
import pytest
from support.prompting import FakeClient as Blocking
from support.prompting import FakeStore
from support.sweeps import FakeClient, MemoryStore
from support.until import (
    WORLDS,
    bought,
    coins,
    ever_missed,
    ever_missed_by_wilson,
    ever_told_apart,
    fixed,
)

from kimikit.errors import BadInput, BadRequest, BudgetExceeded
from kimikit.evals import Task, lab
from kimikit.sweeps import sweep
from kimikit.sweeps.anytime import limits, means
from kimikit.sweeps.settled import Buying

RIGHT = {"right": lambda reply: reply.text == "yes"}


def right_at(*shares, seed=3):
    """Return a client that is right with the share of its temperature's place."""
    rng = random.Random(seed)

    def answer(prompt, temperature=0, **params):
        return "yes" if rng.random() < shares[temperature] else "no"

    return FakeClient(answer)


def run(client, prompt="Is it?", **options):
    given = {"metrics": RIGHT, "until": 0.1, "repeats": 400, "order_seed": 1}
    return sweep(lambda host: client, prompt, progress=False, **{**given, **options})


# The benchmark looks 1,000 times in 1,000 runs of each world; 30 of 250 here would
# come by chance once in a million where 5 % are to be expected.
@pytest.mark.parametrize("name", WORLDS)
def test_looking_after_every_round_makes_few_false_claims(name):
    rng = np.random.default_rng(7)
    runs = 250
    assert sum(ever_missed(WORLDS[name], rng, 150) for _ in range(runs)) < 30
    assert sum(ever_told_apart(WORLDS[name], rng, 2, 150) for _ in range(runs)) < 30


def test_an_ordinary_interval_would_make_many():
    rng = np.random.default_rng(7)
    assert sum(ever_missed_by_wilson(0.5, rng, 300) for _ in range(100)) > 20


def test_it_ends_early_where_little_varies_or_much_differs():
    rng = np.random.default_rng(8)
    easy = [bought([coins(0.98)], rng, 0.05) for _ in range(10)]
    assert np.mean([one.rounds for one in easy]) < fixed(0.05) / 2
    apart = [bought([coins(0.3), coins(0.8)], rng, 0.05) for _ in range(10)]
    assert all(one.told and one.rounds < fixed(0.05) / 2 for one in apart)
    assert sum(not one.held for one in easy + apart) <= 2


def test_what_is_missing_may_have_been_anything():
    came = np.full((60, 1), 0.5)
    whole = limits(came, means(0.1))
    came[::6] = np.nan
    low, high = limits(came, means(0.1))
    assert low < whole[0]
    assert high > whole[1]
    assert limits(1 - came, means(0.1)) == pytest.approx((1 - high, 1 - low))


def test_a_sweep_ends_when_two_settings_are_told_apart():
    client = right_at(0.2, 0.9)
    found = run(client, temperature=[0, 1])
    assert found.stop_reason == "settled"
    assert len(client.asked) == len(found) < 200
    assert found.settled.told_apart
    assert "the two settings are told apart in right" in str(found)
    assert found.summary()[0]["missing"] == 0
    for row, one in zip(found.summary(), found.settled.settings, strict=True):
        assert row["right_low"] == one.low <= one.value <= one.high == row["right_high"]


def test_a_sweep_ends_when_its_intervals_are_narrow_and_not_before():
    found = run(right_at(0.5), ["Is it?", "Is it not?"])
    known = found.settled
    assert known.narrow
    assert known.settings[0].half_width <= 0.1
    assert known.settings[0].n == len(found) == 2 * found.repeats
    part = found.where(prompt="Is it?")
    assert part.settled.settings[0].n == found.repeats
    again = type(found).from_json(found.to_json())
    assert again.settled == known
    assert "known to ± 0.1, after" in known.sentence
    assert "<table" in known._repr_html_()


def test_repeats_are_asked_one_after_the_other_so_that_rounds_are_whole_early():
    client = right_at(0.5, 0.5)
    client.wait_s = 0.001
    prompts = [f"Is it {i}?" for i in range(6)]
    run(client, prompts, temperature=[0, 1], until=0.15, concurrency=1)
    asked = [(one["prompt"], one["temperature"]) for one in client.asked]
    assert all(len(set(asked[i : i + 12])) == 12 for i in range(0, len(asked), 12))


def test_the_most_is_repeats_and_then_it_says_that_nothing_is_settled():
    found = run(right_at(0.5, 0.5), temperature=[0, 1], repeats=30)
    assert (found.stop_reason, len(found)) == ("done", 60)
    assert found.settled.sentence.startswith("Not settled: right of each setting is")
    assert "not to ± 0.1, after 60 answers." in str(found)


def test_the_plan_says_the_least_and_the_most():
    price = (Decimal("0.001"), Decimal("0.002"))
    plan = run(right_at(0.5), dry_run=True, until=0.05, estimate=lambda *a: price).plan
    assert plan.calls == 400
    assert 40 < plan.least_calls < 80
    assert plan.upper_usd == Decimal("0.8")
    assert str(plan).startswith(f"{plan.least_calls} to 400 calls · at most $0.8")


def test_max_cost_ends_it_and_refuses_only_what_could_settle_nothing():
    price = (Decimal("0.001"), Decimal("0.001"))
    options = {"estimate": lambda *a: price, "until": 0.05}
    found = run(right_at(0.5), max_cost=0.1, **options)
    assert found.stop_reason == "max_cost"
    assert 90 <= len(found) <= 100
    assert not found.settled.narrow
    client = right_at(0.5)
    with pytest.raises(BudgetExceeded):
        run(client, max_cost=0.01, **options)
    assert not client.asked


def test_by_its_name_it_goes_on_and_pays_nothing_once_it_is_settled():
    store, first = MemoryStore(), right_at(0.2, 0.9)
    options = {"name": "x", "store": store, "temperature": [0, 1]}
    whole = run(store.around(first), **options)
    second = right_at(0.2, 0.9)
    again = run(store.around(second), **options)
    assert (len(second.asked), again.stop_reason) == (0, "settled")
    assert again.settled == whole.settled
    third = right_at(0.2, 0.9)
    more = run(store.around(third), **options, until=0.08)
    assert len(third.asked) == len(more) - len(whole)


def test_stop_keeps_whole_rounds_for_the_intervals():
    client = right_at(0.5)
    answer = client.answer

    def stopping(prompt, **params):
        if len(client.asked) == 200:
            client.wait_s = 60  # of the others, which Stop ends
            _thread.interrupt_main()
        return answer(prompt, **params)

    client.answer = stopping
    found = run(client, until=0.02)
    assert found.stop_reason == "interrupted"
    assert 0 < found.settled.settings[0].n <= len(found) < 400


def test_what_failed_is_counted_as_anything():
    count = 0

    def flaky(prompt, **params):
        nonlocal count
        count += 1
        if count > 5 and count % 4 == 0:
            raise BadRequest("no luck", "Try again.")
        return "yes"

    found = run(FakeClient(flaky), repeats=60)
    (known,) = found.settled.settings
    assert found.stop_reason == "done", "a quarter unknown is never ± 0.1"
    assert known.n < 60
    assert known.value == 1
    assert known.low < 0.85


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": 0}, "until is 0"),
        ({"until": True}, "until is True"),
        ({"until": "5 %"}, "until is '5 %'"),
        ({"until": 0.5}, "until is 0.5"),
        ({"metrics": None}, "no metric"),
        ({"repeats": 5}, "out of reach of 5 rounds"),
        ({"prompt": {"a": "Is it?", "b": "Is it?"}}, "ask the same"),
    ],
)
def test_what_can_never_be_settled_is_refused_before_it_is_paid(options, said):
    client = right_at(0.5)
    with pytest.raises(BadInput, match=said):
        run(client, **options)
    assert not client.asked


def test_a_figure_beyond_0_to_1_ends_it_and_keeps_what_was_paid():
    client = right_at(0.5)
    with pytest.raises(BadInput, match="size is") as caught:
        run(client, metrics={"size": lambda reply: len(reply.text)})
    assert 0 < len(caught.value.sweep.replies) == len(client.asked) < 100


def task(n):
    rows = tuple((f"Question {i}?", "yes") for i in range(n))
    return Task(instruction="Say yes or no.", rows=rows)


def asks(word):
    return lambda client, task, question, **params: client.chat(
        question, system=word, **params
    )


def knowing(share, good):
    """Return answers that are right with a chance, or with another if asked well."""
    rng = random.Random(2)
    return lambda messages, params: (
        "yes"
        if rng.random() < (good if params["system"] == "well" else share)
        else "no"
    )


def test_a_lab_asks_no_more_questions_than_it_takes():
    client, store = Blocking(knowing(0.2, 0.9)), FakeStore()
    client.chat = store.keep(client.chat)
    ways = {"plain": asks("plain"), "well": asks("well")}
    options = {"until": 0.05, "progress": False, "name": "x", "store": store}
    found = lab(client, task(500), ways, **options)
    assert found.stop_reason == "settled"
    assert found.settled.told_apart
    assert len(client.calls) == len(found.outcomes) < 300
    assert "told apart" in str(found)
    assert "not asked" not in str(found)
    rows = {outcome.row for outcome in found.outcomes}
    assert max(rows) > 250, "they are drawn from the whole set"
    for point, one in zip(found.summary(), found.settled.settings, strict=True):
        assert point["low"] == one.low <= point["accuracy"] <= one.high == point["high"]
    again = Blocking(knowing(0.2, 0.9))
    second = lab(again, task(500), ways, **options)
    assert not again.calls
    assert second.settled == found.settled


def test_a_lab_of_too_few_questions_is_refused_or_says_so():
    client = Blocking(knowing(0.5, 0.5))
    ways = {"plain": asks("plain")}
    with pytest.raises(BadInput, match="out of reach of 9 rounds"):
        lab(client, task(9), ways, until=0.05, progress=False)
    assert not client.calls
    found = lab(client, task(60), ways, until=0.05, progress=False)
    assert (found.stop_reason, len(client.calls)) == ("done", 60)
    assert "Not settled: right is known to" in str(found)


def test_buying_begins_with_the_least_and_grows_by_a_tenth():
    buying = Buying.planned("right", 0.05, settings=1, questions=1, most=900)
    ends, done = [], 0
    while done < 900:
        done = buying.end(done, 8)
        ends.append(done)
    assert ends[0] == buying.first
    assert ends[1] == ends[0] + 8
    assert ends[-1] == 900
    assert len(ends) < 40
