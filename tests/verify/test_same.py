"""Two hosts are told apart by their answers, and one model is not told from itself."""

import random

import pytest
from support.simulated import Simulated
from support.sweeps import reply

from kimikit import BadInput, Kimi, KimiError
from kimikit.verify.same import LOGPROBS, Difference, SameModel, compared
from kimikit.wire.client import Client

WORDS = "amber birch cedar delta ember fjord grove haven inlet jetty".split()  # noqa: SIM905
ALL = {"repeats": 6, "progress": False}


def side(rng, heat, prompts=6, repeats=6):
    """Return answers of ten words each, of which a cold model says the first."""
    weights = [2.718 ** (-place * 0.3 / heat) for place in range(len(WORDS))]
    return {
        f"prompt {n}": [
            reply(" ".join(rng.choices(WORDS, weights, k=10))) for _ in range(repeats)
        ]
        for n in range(prompts)
    }


def told_apart(heat_a, heat_b, runs):
    found = 0
    for seed in range(runs):
        rng = random.Random(seed)
        rows = compared(side(rng, heat_a), side(rng, heat_b))
        found += any(row.corrected < 0.05 for row in rows)
    return found / runs


def test_one_model_is_seldom_told_from_itself_and_another_temperature_mostly():
    """Five in a hundred, whose sum over 60 runs stays below 9 but once in 300."""
    assert told_apart(1.0, 1.0, runs=60) <= 8 / 60
    assert told_apart(1.0, 0.4, runs=20) >= 0.9


def clients(*hosts):
    return [Client(base_url=h.url, api_key="k" * 20, model=h.model) for h in hosts]


@pytest.mark.parametrize(
    ("lie", "different"),
    [("", False), ("greedy", True), ("other tokenizer", True)],
)
def test_hosts_are_compared_by_what_they_answer_and_count(lie, different):
    with Simulated(seed=1) as one, Simulated(lie, seed=2) as two:
        a, b = clients(one, two)
        kimi = Kimi(base_url=one.url, api_key="k" * 20, model="m", show=False)
        found = kimi.same_model(
            a, b, [f"Make up village {n}é" + "é" * n for n in range(4)], **ALL
        )
        for each in (a, b, kimi):
            each.close()
    assert found.different is different, str(found)
    assert found.counts_differ == (lie == "other tokenizer")
    assert found.n == (24, 24)
    assert found.sentence in str(found)
    bodies = one.bodies + two.bodies
    assert {body["temperature"] for body in bodies} == {0.7}


def test_it_goes_on_by_name_with_answers_of_its_own_for_each_side():
    prompts = ["a village", "b village"]
    with Simulated() as one:
        kimi = Kimi(base_url=one.url, api_key="k" * 20, model="m", show=False)
        first = kimi.same_model(kimi, kimi, prompts, name="s", **ALL)
        asked = len(one.bodies)
        again = kimi.same_model(kimi, kimi, prompts, name="s", **ALL)
        kimi.close()
    assert asked == len(one.bodies) == again.reused == 24
    assert again.differences == first.differences
    assert len({r.text for r in first.replies}) > 12


def test_log_probabilities_count_where_both_give_them():
    def with_first(logs):
        top = [{"token": t, "logprob": v} for t, v in logs.items()]
        first = {"token": "a", "logprob": -1.0, "top_logprobs": top}
        return reply("a b", raw={"choices": [{"logprobs": {"content": [first]}}]})

    def host(logs):
        return {f"p{n}": [with_first(logs)] * 4 for n in range(4)}

    base = {"a": -0.2, "b": -1.8}
    for other, apart in ((base, False), ({"a": -0.24, "b": -1.7}, False),
                         ({"a": -0.9, "b": -0.6}, True)):  # fmt: skip
        (row,) = (r for r in compared(host(base), host(other)) if "log" in r.what)
        assert (row.corrected < 0.05) is apart
    assert all(
        "log" not in r.what for r in compared(host(base), {"p0": [reply("a")] * 4})
    )


def test_bad_input_is_refused_and_a_host_that_is_down_named():
    with Simulated() as host:
        (a,) = clients(host)
        kimi = Kimi(
            base_url=host.url, api_key="k" * 20, model="m", show=False, max_retries=0
        )
        for wrong in ({"prompts": "one text"}, {"prompts": []}, {"repeats": 1},
                      {"prompts": ["a", "a"]}, {"repeats": 2.5}):  # fmt: skip
            with pytest.raises(BadInput):
                kimi.same_model(a, a, **wrong)
        with pytest.raises(BadInput, match="Give a name"):
            kimi.same_model(a, 7)
        assert host.bodies == []
    with pytest.raises(KimiError) as caught:
        kimi.same_model(kimi, kimi, **ALL)
    assert caught.value.same_model.n[0] == 0
    kimi.close()
    a.close()


@pytest.mark.parametrize(("also", "warned"), [((), True), (("wording",), False)])
def test_log_probabilities_alone_are_no_proof_of_other_weights(also, warned):
    rows = [
        Difference(what=what, within=0.1, between=0.5, p=0.001, corrected=0.004)
        for what in (LOGPROBS, *also)
    ]
    found = SameModel(hosts=("a", "b"), differences=tuple(rows))
    assert ("another arithmetic" in found.sentence) is warned
    assert found.sentence in str(found)
