"""Every part is read once, paid once, and the answer cites them."""

import threading
import time
from decimal import Decimal

import pytest
from support.prompting import FakeClient, FakeStore, answer, last, press_stop

from kimikit import Kimi
from kimikit.errors import BadInput, ContextTooLong
from kimikit.money.ledger import Ledger
from kimikit.prompting import map_reduce
from kimikit.prompting.history import estimate_tokens
from kimikit.types import Host, Price

DOCS = [f"Pump {i} failed." for i in range(6)]


def read(messages, params):
    order = last(messages)
    if "Note in" not in order:
        return "They failed [1, 3]."
    number = order.split("part [")[1].split("]")[0]
    return "NOTHING." if number == "2" else f"It failed [{number}]."


def test_parts_become_notes_and_notes_an_answer():
    client = FakeClient(read)
    made = map_reduce(
        client, DOCS, "What failed?", instructions="One line.", progress=False
    )
    assert made.reply.text == "They failed [1, 3]."
    assert [part.number for part in made.citations.used] == [1, 3]
    assert [note.text for note in made.notes][:2] == ["It failed [1].", "NOTHING."]
    body, order = (m["content"] for m in client.calls[-1]["messages"])
    assert "NOTHING" not in body, "parts that say nothing are left out"
    assert body.index("It failed [1].") < body.index("It failed [3]."), "in their order"
    assert order.startswith("Executive brief\nWhat failed?\nOne line.")
    assert len(client.calls) == 7
    assert "6 of 6 parts read" in str(made)
    assert "all together 70 -&gt; " in made._repr_html_()


def test_many_notes_are_put_together_group_by_group():
    def long(messages, params):
        order = last(messages)
        if "Note in" in order:
            return "note " * 250
        return "merged " * 40 if "Put these notes" in order else "Done [1]."

    client = FakeClient(long)
    made = map_reduce(client, DOCS, "What?", window_tokens=1000, progress=False)
    assert made.reply.text == "Done [1]."
    merges = [text for text in client.texts if "Put these notes" in text]
    assert len(merges) == 2
    assert len(made.merged) == 3


def test_it_ends_also_when_notes_do_not_shrink():
    client = FakeClient(lambda messages, params: "word " * 2000)
    made = map_reduce(client, DOCS, "What?", window_tokens=1000, progress=False)
    assert len(client.calls) == 6 + len(made.merged)
    assert len(made.merged) == 3 + 2 + 1, "six notes, three pairs, two, the answer"
    assert made.plan.calls == 6 + len(made.merged)
    sent = [m["content"] for call in client.calls for m in call["messages"]]
    assert sum(map(estimate_tokens, sent)) > 2 * made.plan.usage.prompt_tokens
    assert "at most" not in str(made.plan), "notes may be longer than they should"


def test_the_price_comes_before():
    def pricer(host, model, usage, unix_time):
        assert (host, model) == ("h", "m")
        return Price(input=Decimal(1), output=Decimal(3)).cost(usage)

    client = FakeClient(read)
    client.host = Host(name="h", base_url="http://x", model="m")
    client.pricer = pricer
    client.defaults = {"max_tokens": 300}
    plan = map_reduce(client, DOCS, "What?", dry_run=True)
    assert client.calls == []
    assert plan.calls == 7
    assert plan.usage.completion_tokens == 6 * 500 + 300
    made = map_reduce(client, DOCS, "What?", progress=False)
    sent = [m["content"] for call in client.calls for m in call["messages"]]
    assert sum(map(estimate_tokens, sent)) <= plan.usage.prompt_tokens
    assert plan == made.plan
    assert str(plan).startswith("about 7 calls \u00b7 ~")
    assert str(plan).endswith(f"~${plan.cost_usd:.4f}")


def test_a_real_session_knows_the_price_before():
    kimi = Kimi("moonshot", api_key="sk-none", max_tokens=300)
    plan = map_reduce(kimi, DOCS, "What?", dry_run=True)
    assert plan.cost_usd > 0
    assert plan.usage.completion_tokens == 6 * 500 + 300
    assert kimi.ledger.calls() == [], "nothing was asked"


def test_other_defaults_are_another_question():
    store = FakeStore()
    client = FakeClient(read)
    client.chat = store.keep(client.chat)
    asked = {"store": store, "name": "pumps", "progress": False}
    for temperature, reused in ((0.2, 0), (0.9, 0), (0.2, 7)):
        client.defaults = {"temperature": temperature}
        assert map_reduce(client, DOCS, "What?", **asked).reused == reused


def test_an_unknown_price_stays_unknown():
    plan = map_reduce(FakeClient(read), DOCS, "What?", dry_run=True)
    assert plan.cost_usd is None
    assert str(plan).endswith("\u00b7 unpriced")


def test_a_notebooks_object_lends_its_wire_and_its_ledger():
    """``Kimi.chat`` shows each answer; many at once would be shown through another."""

    class Notebook:
        def __init__(self, client, ledger):
            self.client, self.ledger = client, ledger

    store, client = FakeStore(), FakeClient(read)
    client.chat = store.keep(client.chat)
    for _ in range(2):
        made = map_reduce(Notebook(client, store), DOCS, "?", name="p", progress=False)
    assert made.reused == 7


def test_a_name_is_refused_where_answers_are_not_kept(tmp_path):
    """Or each new try would silently buy everything again."""
    ledger, client = Ledger(tmp_path / "ledger.db", store="usage"), FakeClient(read)
    with pytest.raises(BadInput, match=r"Leave name= out, or .*store='full'"):
        map_reduce(client, DOCS, "What?", store=ledger, name="pumps", progress=False)
    assert client.calls == []
    made = map_reduce(client, DOCS, "What?", store=ledger, progress=False)
    assert made.reply.text == "They failed [1, 3]."
    ledger.close()


def test_what_was_paid_is_not_asked_again():
    store, client = FakeStore(), FakeClient(read)
    client.chat = store.keep(client.chat)
    asking = {"store": store, "name": "pumps/1", "progress": False}
    first = map_reduce(client, DOCS[:3], "What?", **asking)
    assert first.reused == 0
    again = map_reduce(client, DOCS[:3], "What?", **asking)
    assert len(client.calls) == 4
    assert again.reused == 4
    assert again.reply == first.reply
    assert "4 answers paid before" in repr(again)
    more = map_reduce(client, DOCS[:4], "What?", **asking)
    assert more.reused == 3, "only the new part and the final answer are asked"
    map_reduce(client, DOCS[:3], "What?", store=store, name="other", progress=False)
    assert len(client.calls) == 4 + 2 + 4
    assert all(key.startswith("map_reduce/") for key in store.replies)


def test_a_failing_part_fails_it_and_ends_the_others():
    failed = threading.Event()

    def fail(messages, params):
        if "part [1]" in last(messages):
            failed.set()
            return ContextTooLong("Too long.", "Ask less.", status=400)
        failed.wait()
        return "fine"

    client = FakeClient(fail)
    with pytest.raises(ContextTooLong) as caught:
        map_reduce(client, DOCS * 50, "What?", concurrency=1, progress=False)
    assert len(client.calls) == 1
    assert caught.value.digest.notes[0] is None


def test_stop_keeps_the_notes_that_came():
    calls = []

    def chat(messages, *, watch=None, meta=None, **params):
        calls.append(messages)
        if len(calls) == 3:
            return press_stop(watch)
        return answer("It failed [1].")

    class Client:
        pass

    client = Client()
    client.chat = chat
    made = map_reduce(client, DOCS, "What?", concurrency=1, progress=False)
    assert made.reply.partial
    assert [note is not None for note in made.notes] == [True] * 3 + [False] * 3
    assert made.notes[2].partial
    assert made.stop_reason == "interrupted"
    assert str(made).count("stopped") == 1


def test_at_most_so_many_are_asked_at_once():
    now, most = [0], [0]
    lock = threading.Lock()

    def count(messages, params):
        return "It failed [1]."

    client = FakeClient(count)
    plain = client.chat

    def chat(messages, **params):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        try:
            return plain(messages, **params)
        finally:
            with lock:
                now[0] -= 1

    client.chat = chat
    map_reduce(client, DOCS * 3, "What?", concurrency=3, progress=True)
    assert most[0] == 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"question": " "}, "question=' '"),
        ({"window_tokens": 100}, "window_tokens=100"),
        ({"name": "x"}, "needs a store"),
        ({"name": " ", "store": FakeStore()}, "is no name"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"documents": []}, "no text"),
    ],
)
def test_nothing_is_sent_for_bad_input(options, named):
    client = FakeClient(read)
    given = {"documents": DOCS, "question": "What?", "progress": False, **options}
    with pytest.raises(BadInput, match=named):
        map_reduce(client, **given)
    assert client.calls == []


@pytest.mark.parametrize(
    "given", [{"window_tokens": "4k"}, {"window_tokens": 2000.5}, {"instructions": 5}]
)
def test_what_is_of_another_type_is_refused_by_name(given):
    with pytest.raises(BadInput, match=next(iter(given))):
        map_reduce(None, DOCS, "What?", dry_run=True, **given)
