"""Which setting is worth its price, and what that sentence may claim."""

import math
import random
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from support.contrast import faint_in
from support.fault_server import FaultServer
from support.sweeps import FakeClient, MemoryStore, reply
from support.until import falsely_close, vote_coverage

from kimikit import Kimi
from kimikit.errors import BadInput, BadRequest, NotSupported
from kimikit.evals import Task
from kimikit.evals.frontier import frontier
from kimikit.evals.in_sweeps import for_sweep
from kimikit.evals.settings import gap
from kimikit.sweeps import sweep
from kimikit.sweeps.shares import NO_INTERVAL
from kimikit.types import Usage

ROWS = tuple((f"Question {i}?", "yes" if i % 2 else "no") for i in range(40))
TASK = Task(instruction="Say yes or no.", rows=ROWS, name="doubts")


def client(shares, *, thinks=True, free=False, seed=4):
    """Return a client that is right with the share of its effort, and takes as much."""
    rng = random.Random(seed)

    def answer(messages, reasoning_effort="low", **params):
        number = int(messages[-1]["content"].split()[1].rstrip("?"))
        truth, wrong = ("yes", "no") if number % 2 else ("no", "yes")
        size = {"low": 10, "high": 100, "max": 1000}[reasoning_effort]
        return reply(
            truth if rng.random() < shares[reasoning_effort] else wrong,
            cost=Decimal(0) if free else Decimal(size) / 100_000,
            duration_s=size / 100,
            usage=Usage(20, size, reasoning_tokens=size - 1 if thinks else 0),
        )

    return FakeClient(answer)


def find(fake, *, store=None, votes=1, margin=0.05, metrics=None, **options):
    def ask(task, *, metrics=None, **asked):
        prompts, judged = for_sweep(task, metrics)
        given = {"progress": False, "order_seed": 1, "metrics": judged, "store": store}
        return sweep(lambda host: fake, prompts, **given, **asked)

    grid = {"reasoning_effort": ["low", "high", "max"]}
    given = {"votes": votes, "margin": margin, "metrics": metrics}
    return frontier(ask, TASK, grid=options.pop("grid", grid), **given, **options)


def test_the_cheapest_setting_within_the_margin_is_named_with_its_reason():
    found = find(client({"low": 0.5, "high": 1.0, "max": 1.0}), margin=0.15)
    chosen = found.recommended
    assert chosen.setting.labels == {"reasoning_effort": "high"}
    assert [one.name for one in found.pareto()] == [
        "reasoning_effort low",
        "reasoning_effort high",
    ]
    assert "has most right answers (100% of 40 questions)" in chosen.sentence
    worse = find(client({"low": 0.98, "high": 0.6, "max": 1.0}), margin=0.2)
    taken = worse.recommended
    assert taken.setting.labels == {"reasoning_effort": "low"}
    assert taken.best.labels == {"reasoning_effort": "max"}
    assert taken.gap.low >= -0.2
    assert "for 0.0001 instead of 0.01 US$ per question" in taken.sentence
    assert "the best of 3, so that chance flatters it" in str(worse)


def test_no_cheaper_one_is_taken_that_is_not_sure_to_be_close():
    found = find(client({"low": 0.8, "high": 0.5, "max": 0.9}), margin=0.01)
    assert found.recommended.gap is None
    assert "No cheaper setting is sure to lose at most 0.01" in str(found)


def test_each_figure_has_its_interval_and_its_price():
    found = find(client({"low": 0.5, "high": 0.8, "max": 0.9}))
    for row, size in zip(found.summary(), (10, 100, 1000), strict=True):
        assert row["n"] == 40
        assert row["cost_usd"] == pytest.approx(size / 100_000)
        assert row["tokens"] == 20 + size
        assert row["seconds"] == pytest.approx(size / 100)
        assert row["reasoning"] == size - 1
        assert row["right_low"] <= row["right"] <= row["right_high"]
        for name in ("cost_usd", "tokens", "seconds", "reasoning"):
            assert row[f"{name}_low"] is row[f"{name}_high"] is None, "all are alike"
    page = found._repr_html_()
    assert NO_INTERVAL in page
    assert "<small>[" in page
    assert "not told" not in page


def test_what_varies_has_an_interval_however_small_it_is():
    fake = client({"low": 0.9, "high": 0.9, "max": 0.9})
    answer = fake.answer

    def slower(messages, **params):
        made, times = answer(messages, **params), 1 + len(fake.asked) / 40
        cost = made.cost * Decimal(times) / 1_000_000
        seconds = made.duration_s * times
        return msgspec.structs.replace(made, cost=cost, duration_s=seconds)

    fake.answer = slower
    found = find(fake)
    for row in found.summary():
        assert row["cost_usd_low"] < row["cost_usd"] < row["cost_usd_high"] < 1e-3
        assert row["seconds_low"] < row["seconds"] < row["seconds_high"]
    assert NO_INTERVAL in str(found), "of thinking"


def test_votes_share_their_answers_and_cost_as_many():
    fake = client({"low": 0.7, "high": 0.7, "max": 0.7})
    found = find(fake, votes=[1, 3, 5], grid={"reasoning_effort": ["low"]})
    assert len(fake.asked) == 5 * 40
    one, three, five = found.settings
    assert one.right.value < three.right.value <= five.right.value + 0.05
    assert [s.tokens.value for s in found.settings] == pytest.approx([30, 90, 150])
    assert five.seconds.value == pytest.approx(0.1), "asked at once"
    # One vote is the mean of all answers; five are the majority of the five.
    right = {}
    for place, trial in enumerate(found.sweep.trials):
        right.setdefault(trial.params["prompt"], []).append(
            found.sweep.scores["right"][place]
        )
    each = [float(np.mean(some)) for some in right.values()]
    assert one.right.value == pytest.approx(np.mean(each))
    assert five.right.value == pytest.approx(np.mean([share > 0.5 for share in each]))


def test_a_tie_is_right_as_often_as_its_answers_are_whatever_came_first():
    texts = {"Question 0?": ["no", "yes"], "Question 1?": ["yes", "no"]}

    def answer(messages, **params):
        return texts.get(messages[-1]["content"], ["yes", "yes"]).pop(0)

    task = Task(instruction="Say yes or no.", rows=ROWS[:2], name="two")
    prompts, judged = for_sweep(task, None)
    found = frontier(
        lambda task, **asked: sweep(
            lambda host: FakeClient(answer), prompts, progress=False,
            **{**asked, "metrics": judged},
        ),
        task, votes=2, grid={},
    )  # fmt: skip
    (one,) = found.settings
    assert one.marks == {"q1": 0.5, "q2": 0.5}


def test_a_host_that_tells_no_thinking_is_named_and_free_ones_are_paid_in_tokens():
    found = find(client({"low": 0.5, "high": 0.6, "max": 0.9}, thinks=False, free=True))
    assert found.currency == "tokens"
    assert all(one.reasoning is None for one in found.settings)
    text = str(found)
    assert "fake: no tokens of thinking are reported" in text
    assert "not told" in text


def test_what_failed_is_left_out_and_what_was_cut_is_wrong():
    fake = client({"low": 1.0, "high": 1.0, "max": 1.0})
    answer, tries = fake.answer, []

    def flaky(messages, **params):
        asked = messages[-1]["content"]
        tries.append(asked)
        if asked == "Question 7?" and tries.count(asked) < 3:
            raise BadRequest("no luck", "Try again.")
        if asked == "Question 8?":
            return reply("", finish_reason="length")
        return answer(messages, **params)

    fake.answer = flaky
    one, three = find(fake, votes=[1, 3], grid={"reasoning_effort": ["low"]}).settings
    assert (one.n, three.n) == (40, 39)
    assert one.marks["q8"] == 1
    assert "q8" not in three.marks
    assert one.marks["q9"] == three.marks["q9"] == 0


def test_by_its_name_it_buys_only_what_is_missing():
    store = MemoryStore()
    shares = {"low": 0.7, "high": 0.8, "max": 0.9}
    first = client(shares)
    find(store.around(first), store=store, name="x", votes=[1])
    second = client(shares)
    found = find(store.around(second), store=store, name="x", votes=[1, 3])
    assert (len(first.asked), len(second.asked)) == (120, 240)
    assert len(found.settings) == 6


def test_the_plan_asks_nothing():
    fake = client({"low": 0.7, "high": 0.8, "max": 0.9})
    found = find(fake, votes=[1, 3], dry_run=True)
    assert not fake.asked
    assert found.recommended is None
    assert "Frontier of doubts: 360 calls" in str(found)
    with pytest.raises(BadInput, match="nothing to plot"):
        found.plot()


def test_two_panels_are_drawn_with_the_frontier():
    found = find(client({"low": 0.5, "high": 0.8, "max": 0.9}))
    axes = Figure().subplots(1, 2)
    left, right = found.plot(axes)
    assert faint_in(left.figure) == []
    assert left.get_xlabel() == "US$ per question"
    assert right.get_xlabel() == "Seconds per question"
    assert len(left.texts) == 3
    with pytest.raises(BadInput, match="two panels"):
        found.plot(Figure().subplots(1, 3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"votes": []}, "votes is"),
        ({"votes": [1, 1]}, "votes is"),
        ({"votes": True}, "votes is"),
        ({"votes": [0]}, "votes is"),
        ({"margin": -0.1}, "margin is"),
        ({"margin": "5 %"}, "margin is"),
        ({"votes": 3, "grid": {"temperature": [0, 1]}}, "temperature=0"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_it_is_paid(options, said):
    fake = client({"low": 0.5, "high": 0.5, "max": 0.5})
    with pytest.raises(BadInput, match=said):
        find(fake, **options)
    assert not fake.asked


def test_a_metric_beyond_shares_is_refused_and_loses_no_answer():
    fake = client({"low": 0.5, "high": 0.5, "max": 0.5})
    with pytest.raises(BadInput, match="a frontier is of shares") as caught:
        find(fake, metrics={"size": lambda reply: 7 + len(reply.text)})
    assert len(caught.value.sweep) == len(fake.asked) == 120


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        ("moonshot", {"reasoning_effort": ["low", "medium"]}, "Use low, high, max"),
        ("moonshot", {"reasoning_effort": "low", "model": "kimi-k2.6"}, "no levels"),
        (
            "moonshot",
            {"model": ["kimi-k3", "kimi-k2.6"], "reasoning_effort": ["low"]},
            "no levels of thinking",
        ),
        ("local", {"reasoning_effort": ["low", "max"]}, "change nothing"),
        ("local", {"thinking": [{"type": "enabled"}, None]}, "change nothing"),
    ],
)
def test_efforts_that_a_host_cannot_take_are_refused_unsent(host, options, said):
    with FaultServer() as server:
        kimi = Kimi(host, base_url=server.url, api_key="sk-none", max_retries=0)
        with pytest.raises(NotSupported, match=said):
            kimi.frontier(TASK, progress=False, **options)
        assert not server.requests
        kimi.close()


def test_it_seldom_calls_close_what_loses_the_whole_margin():
    rng = np.random.default_rng(3)
    runs = [falsely_close(rng, 6, 300, 0.9) for _ in range(200)]
    assert sum(runs) <= 20, "5 % are to be expected at most; 10 % once in 300"


def test_intervals_of_votes_hold_as_often_as_they_say():
    held = vote_coverage(np.random.default_rng(4), 20, 100)
    assert min(held.values()) >= 86


@pytest.mark.parametrize(("n", "loss"), [(20, 0.2), (40, 0.1), (100, 0.05)])
def test_the_gap_covers_where_few_questions_part_two_settings(n, loss):
    best, covered = SimpleNamespace(marks=dict.fromkeys(range(n), 1)), 0.0
    for lost in range(n + 1):
        marks = {number: int(number >= lost) for number in range(n)}
        found = gap(SimpleNamespace(marks=marks), best, 1)
        chance = math.comb(n, lost) * loss**lost * (1 - loss) ** (n - lost)
        covered += chance * (found.low <= -loss <= found.high)
        assert found.value == -lost / n
    assert 0.945 < covered < 0.995
