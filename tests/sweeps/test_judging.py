"""Metrics run as answers arrive, are asked once, and what they said is kept."""

import functools
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from support.sweeps import FakeClient, MemoryStore, reply

from kimikit.errors import BadInput
from kimikit.sweeps import Sweep, sweep


def ask(answer: Any = None, **options: Any) -> Sweep:
    given = {"repeats": 5, "progress": False, **options}
    return sweep(lambda _: FakeClient(answer or (lambda p, **k: "blue")), "q", **given)


def stopping(after: int) -> tuple[list[str], Any]:
    calls: list[str] = []

    def judge(answer: Any) -> bool:
        calls.append(answer.text)
        if len(calls) == after:
            raise KeyboardInterrupt
        return True

    return calls, judge


def test_answers_are_judged_once_before_anything_is_shown():
    calls, judge = stopping(-1)
    found = ask(metrics={"good": judge})
    assert len(calls) == 5
    found.summary(), str(found), found.to_json(), found.scores
    assert len(calls) == 5


def test_judging_begins_before_the_last_answer_is_there():
    judged = threading.Event()
    texts = iter(range(3))

    class Client(FakeClient):
        async def chat(self, messages: Any, **params: Any) -> Any:
            import asyncio

            if next(texts) == 2:
                await asyncio.to_thread(judged.wait, 10)
                assert judged.is_set()
            return reply("blue")

    def judge(answer: Any) -> bool:
        judged.set()
        return True

    found = sweep(lambda _: Client(), "q", repeats=3, concurrency=1, progress=False,
                  metrics={"good": judge})  # fmt: skip
    assert found.scores["good"] == [True] * 3


@pytest.mark.parametrize("after", [1, 3, 5])
def test_stop_in_a_metric_keeps_the_answers_and_the_judgements(after):
    calls, judge = stopping(after)
    found = ask(metrics={"good": judge})
    assert found.stop_reason == "interrupted"
    before = len(calls)
    judged = found.scores["good"]
    assert judged == [True] * len(found.replies)
    assert len(calls) <= len(found.replies) + 1
    assert before == after


def test_stop_at_a_display_keeps_what_was_judged_by_then():
    calls, judge = stopping(4)
    found = Sweep.from_json(ask().to_json())
    import msgspec

    found = msgspec.structs.replace(found, metrics={"good": judge})
    with pytest.raises(KeyboardInterrupt):
        found.summary()
    assert found.scores["good"] == [True] * 5
    assert len(calls) == 6


def test_progress_says_how_many_are_judged():
    lines: list[str] = []
    ask(metrics={"good": lambda r: True}, progress=lambda now: lines.append(str(now)))
    assert "5 judged" in lines[-1]
    ask(progress=lambda now: lines.append(str(now)))
    assert "judged" not in lines[-1]


def plain(answer, **options):
    return "params" not in options


def strict(answer, *, exact=True, **options):
    return exact is True


def both(answer, params, **options):
    return params["temperature"] == 0


def named(answer, *, params):
    return params["temperature"] == 0


def optional(answer, params=None):
    return params is not None


def only_stars(*args):
    return len(args) == 1


class Judge:
    def __call__(self, answer, least=3):
        return len(answer.text) > least


METRICS = [
    plain, strict, both, named, optional, only_stars, Judge(), Judge().__call__,
    functools.partial(both, extra=1), functools.partial(lambda least, r: True, 3),
    lambda r, /: True, lambda *_, **__: True, bool,
]  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_of_any_form_is_called_with_what_it_takes(metric):
    found = ask(temperature=0, metrics={"right": metric})
    assert found.metric_errors == {}
    assert found.scores["right"] == [True] * 5


async def waits(answer):
    return True


@pytest.mark.parametrize(
    "metric",
    [lambda: True, lambda a, b, c: True, lambda r, *, key: True, waits, 3, "x"],
)
def test_a_metric_that_cannot_be_called_is_refused_before_anything_is_asked(metric):
    fake = FakeClient()
    with pytest.raises(BadInput, match="right"):
        sweep(lambda _: fake, "q", progress=False, metrics={"right": metric})
    assert fake.asked == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (True, True), (np.bool_(False), False), (None, None), (3, 3.0),
        (np.float32(0.5), 0.5), (Decimal("0.25"), 0.25), (np.array([1.5]), 1.5),
    ],
)  # fmt: skip
def test_what_a_metric_may_say(said, kept):
    found = ask(metrics={"score": lambda r: said}, repeats=1)
    assert found.scores["score"] == [kept]
    assert type(found.scores["score"][0]) is type(kept)


@pytest.mark.parametrize("said", ["yes", [1, 2], float("nan"), object(), 10**400])
def test_a_metric_that_fails_names_itself_and_costs_no_answer(said):
    found = ask(metrics={"score": lambda r: said, "fine": lambda r: True})
    assert len(found.replies) == 5
    assert found.scores["fine"] == [True] * 5
    assert found.scores["score"] == [None] * 5
    assert len(found.metric_errors["score"]) == 5
    assert "score raised 5 times" in str(found)


@pytest.mark.parametrize(
    "raw",
    [
        {"temperature": 10**400}, {"temperature": True}, {"temperature": "hot"},
        {"generation_settings": [1]}, {"generation_settings": {"temperature": {}}},
        {"provider": {"name": "x"}}, {"system_fingerprint": ["x"]},
    ],
)  # fmt: skip
def test_an_odd_answer_is_kept_however_odd(raw):
    texts = "9" * 5000, "[" * 5000, "\\boxed{" * 2000, "a</think>" * 2000, "\x00\ufffe"
    places = iter(texts)
    found = ask(
        lambda p, **k: reply(next(places), raw=raw), temperature=0.5, metrics={
            "long": lambda r: len(r.text) > 3, "broken": lambda r: int(r.text)},
    )  # fmt: skip
    assert sorted(r.text for r in found.replies) == sorted(texts)
    assert found.stop_reason == "done"
    assert str(found)
    assert found._repr_html_()
    assert found.compare()._repr_html_()


@pytest.mark.parametrize("gone", [{"/0"}, {"/1", "/2"}])
def test_a_stored_answer_that_goes_before_it_is_judged_is_a_failure(gone, tmp_path):
    """Another kernel deleted it; the sweep ends, and says so."""
    pytest.importorskip("pyarrow")
    store, looks = MemoryStore(), set()

    class Forgetful(dict):
        def get(self, key, default=None):
            known = looks.add(key) if key not in looks else key[-2:] not in gone
            return default if known is False else super().get(key, default)

    def asked(client, **more):
        return sweep(lambda _: store.around(client), "q", temperature=[0], repeats=3,
                     name="mine", store=store, progress=False, **more)  # fmt: skip

    asked(FakeClient(lambda prompt, **params: reply("x")))
    store.answers = lambda _: Forgetful(store.rows)
    metrics = {"right": lambda r: True}
    found = asked(FakeClient(), metrics=metrics, results=tmp_path / "x")
    assert len(found) == 3
    assert found.answered == 3 - len(gone)
    assert found.scores["right"].count(None) == len(gone)
    assert "its stored answer is gone" in str(found.failures())
