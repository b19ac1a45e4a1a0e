"""Sweeps whose answers are in a folder: the same as in memory, and SQL over them."""

from __future__ import annotations

import _thread
import asyncio
import json
import os
import pickle
import shutil
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any
from weakref import WeakSet

import msgspec
import pytest
from support.sweeps import FakeClient, MemoryStore, reply

from kimikit import BadInput, MissingDependency, Sweep, html
from kimikit.errors import AuthenticationFailed, FixedTemperature, KimiError
from kimikit.runner.background import TELL_S
from kimikit.sweeps import sweep
from kimikit.sweeps.folders import PART_ROWS
from kimikit.sweeps.trial_writer import TrialWriter
from kimikit.types import ToolCall, Usage
from kimikit.types.sent import Sent

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

PROMPTS = {"colour": "Name a colour.", "animal": "Name an animal."}


def answer(prompt: Any, **params: Any) -> Any:
    """Return what only the question decides, all kinds of answers among them."""
    warm = params.get("temperature") or 0
    if warm == 2:
        raise KimiError("It is too hot.", "Cool it.")
    if warm == 1.5:
        return reply("half of a", partial=True, cost=None)
    if prompt == "Name an animal.":
        return reply("", tool_calls=(ToolCall("1", "zoo", '{"n": 1}'),))
    return reply(f" blue {warm} é ", cost=Decimal("0.000001234567"))


def run(client: Any = None, **given: Any) -> Sweep:
    options = {"temperature": [0, 0.5, 1.5, 2], "repeats": 3, "order_seed": 1}
    options |= {"progress": False, "name": None, **given}
    prompt = options.pop("prompt", PROMPTS)
    return sweep(lambda host: client or FakeClient(answer), prompt, **options)


def test_a_sweep_on_disk_tells_the_same_as_one_in_memory(tmp_path: Path) -> None:
    metrics = {"calm": lambda r: "blue" in r.text, "size": lambda r: len(r.text)}
    given = {"metrics": metrics, "model": ["a", None], "max_tokens": 9}
    memory = run(**given)
    disk = run(**given, results=tmp_path / "new" / "colours")
    again = Sweep.from_results(tmp_path / "new" / "colours")
    carried = pickle.loads(pickle.dumps(disk))
    shown = repr(memory).replace(memory.name, disk.name)
    for found in (disk, again, carried):
        assert not isinstance(found.trials, tuple)
        assert repr(found) == shown
        assert found.summary() == memory.summary()
        assert found.scores == memory.scores
        assert (found.cost, found.usage) == (memory.cost, memory.usage)
        assert found.failures() == memory.failures()
        assert [trial.params for trial in found] == [t.params for t in memory]
        assert [t.partial and t.partial.text for t in found][12:15] == ["half of a"] * 3
        assert found[-1].error == memory[-1].error
        assert len(found[3:20:4]) == 5
        assert found.compare().rows == memory.compare().rows
        part = found.where(temperature=0.5)
        assert part.summary() == memory.where(temperature=0.5).summary()
    assert again.seed == 1
    assert again.repeats == 3
    longer = Sweep.from_results(
        tmp_path / "new" / "colours",
        metrics={"most": lambda r, params: params["max_tokens"]},
    )
    assert set(longer.scores["most"]) == {9.0, None}


def test_frames_files_and_sql_have_the_same_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("polars")
    memory, disk = run(), run(results=tmp_path / "x")
    query = """select prompt, temperature, count(text) as n, avg(words) as words,
               sum(cost) as cost from trials group by all order by all"""
    assert memory.sql(query).rows == disk.sql(query).rows
    rows = disk.sql(query).rows
    assert len(rows) == 8
    assert rows[4] == {"prompt": "colour", "temperature": 0.0, "n": 3, "words": 3.0,
                       "cost": Decimal("0.000003703701")}  # fmt: skip
    for number, found in enumerate((memory, disk)):
        frame = found.to_polars()
        file = found.to_parquet(tmp_path / f"{number}.parquet")
        table = parquet.read_table(file)
        assert table.num_rows == len(frame) == 24
        assert not any(name.startswith("_") for name in table.column_names)
        assert frame["cost"].sum() == Decimal("0.006007407402")
        assert table.column("text").to_pylist() == frame["text"].to_list()
    view = disk.sql("select * from trials")
    assert "24 rows, the first 10 shown" in repr(view)
    assert len(view.to_pandas()) == len(view.to_polars()) == 24
    assert len(Sweep().sql("select * from trials")) == 0
    with pytest.raises(BadInput, match="varchar"):
        memory.sql("select interval 1 day").to_polars()


def test_columns_are_of_the_same_kinds_wherever_answers_are(tmp_path: Path) -> None:
    """Also where nothing has a price, or nothing came; and a part of a sweep has them."""
    unpriced = FakeClient(lambda *_, **p: reply("x", cost=None))
    query = "select * {}, sum(cost) over () as usd from trials"
    here, there = query.format(""), query.format("exclude (prompt_text)")
    for number, (client, warm) in enumerate(((unpriced, [0, 1]), (None, [2]))):
        given = {"temperature": warm, "max_tokens": 9}
        disk = run(client, **given, results=tmp_path / str(number))
        memory = run(client, **given)
        for found in (memory, Sweep.from_json(memory.to_json()), memory[1:2]):
            table = found.sql(here).arrow
            assert table.schema.equals(disk.sql(there).arrow.schema)
            assert len(table) == len(found)
        assert len(memory[:0].sql(here)) == 0


def test_a_table_says_what_was_asked_where_its_label_does_not() -> None:
    def asked(prompt: Any, **params: Any) -> Any:
        if params["temperature"] == 2:
            raise KimiError("It is too hot.", "Cool it.")
        sent = {"messages": [{"role": "user", "content": prompt}]}
        return reply("x", sent=Sent.of(sent, None))

    found = run(FakeClient(asked), temperature=[0, 2], repeats=1)
    rows = found.sql("select prompt, prompt_text from trials order by all").rows
    texts = {(row["prompt"], row["prompt_text"]) for row in rows}
    assert texts == {*PROMPTS.items(), *((label, None) for label in PROMPTS)}
    assert [row["prompt_text"] for row in found.rows()] == [
        row["prompt_text"] for row in found.sql("select * from trials").rows
    ]


def test_what_was_asked_is_known_though_the_first_of_a_point_failed(
    tmp_path: Path,
) -> None:
    def run_into(**where: Any) -> Sweep:
        failed: set[tuple[Any, Any]] = set()

        def asked(prompt: Any, **params: Any) -> Any:
            point = prompt, params["temperature"]
            if point not in failed:
                failed.add(point)
                raise KimiError("It is too hot.", "Cool it.")
            sent = {"messages": [{"role": "user", "content": prompt}]}
            return reply("x", sent=Sent.of(sent, None))

        return run(FakeClient(asked), temperature=[0, 1], concurrency=1, **where)

    query = "select prompt, temperature, prompt_text from trials order by all"
    memory, disk = run_into(), run_into(results=tmp_path / "x")
    rows = memory.sql(query).rows
    assert disk.sql(query).rows == rows
    assert sum(row["prompt_text"] is not None for row in rows) == 8
    assert sum(row["prompt_text"] is None for row in rows) == 4


def test_a_part_that_is_written_at_the_second_try_is_added_up_once(
    tmp_path: Path,
) -> None:
    memory, folder = run(), tmp_path / "x"
    writer = TrialWriter(folder, "colours", memory.axes, memory.fixed, [])
    for trial in memory.trials:
        writer.put(trial)
    folder.rename(tmp_path / "away")
    with pytest.raises(KimiError, match="cannot be written"):
        writer.flush()
    (tmp_path / "away").rename(folder)
    writer.flush()
    assert sum(some.count for some in writer._spent.values()) == len(memory.replies) + 6
    usd = [some.cost for some in writer._spent.values() if some.cost is not None]
    assert sum(usd) == sum(r.cost for r in memory.replies if r.cost is not None)


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('{file}')",
        "select * from '{file}'",
        "copy trials to '{file}.csv'",
        "attach '{file}.db'",
        "set enable_external_access = true",
        "install httpfs",
        "select * from nothing",
        "selec",
    ],
)
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_sql_sees_the_trials_and_nothing_else(
    tmp_path: Path, query: str, place: str
) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("key")
    where = {"results": tmp_path / "x"} if place == "disk" else {}
    found = run(temperature=0, repeats=1, **where)
    with pytest.raises(BadInput, match="Ask of the table trials, whose columns are"):
        found.sql(query.format(file=file))
    assert {path.name for path in tmp_path.iterdir()} <= {"secret.txt", "x"}


def test_answers_are_written_while_others_come(tmp_path: Path) -> None:
    """More than fit a part are on disk before the last is asked, in order at the end."""
    client = FakeClient(answer)
    whole = asyncio.Event()
    chat = client.chat

    async def looking(messages: Any, **params: Any) -> Any:
        # Two parts are full by then, and another thread writes them.
        if len(client.asked) > 2.5 * PART_ROWS and not whole.is_set():
            async with asyncio.timeout(30):
                while len(list(tmp_path.glob("x/*.parquet"))) < 2:  # noqa: ASYNC110, ASYNC240
                    await asyncio.sleep(0.01)
            whole.set()
        return await chat(messages, **params)

    client.chat = looking  # type: ignore[method-assign]
    count = 3 * PART_ROWS // 4
    found = run(client, results=tmp_path / "x", temperature=[0, 0.5], repeats=count)
    assert whole.is_set()
    assert len(found) == 4 * count
    assert [t.repeat for t in found[: 2 * count]] == [*range(count)] * 2
    assert len(list(tmp_path.glob("x/*.parquet"))) == 1
    assert [row["n"] for row in found.summary()] == [2 * count, 2 * count]


def test_stop_keeps_what_came_and_its_name_goes_on(tmp_path: Path) -> None:
    store = MemoryStore()
    timer = threading.Timer(0.05, _thread.interrupt_main)

    async def chat(messages: Any, **params: Any) -> Any:
        if len(store.rows) < 10:
            return reply("x")
        if not timer.is_alive():
            timer.start()
        await asyncio.sleep(60)

    client = FakeClient()
    client.chat = chat  # type: ignore[method-assign]
    given = {"temperature": 0, "repeats": 20, "name": "mine", "store": store}
    metrics = {"one": lambda r: True}
    stopped = run(
        store.around(client), results=tmp_path / "x", metrics=metrics, **given
    )
    assert stopped.stop_reason == "interrupted"
    assert len(Sweep.from_results(tmp_path / "x")) == len(stopped) == 10
    rest = FakeClient(answer)
    whole = run(store.around(rest), results=tmp_path / "x", metrics=metrics, **given)
    assert len(rest.asked) == 30
    assert len(whole) == 40
    assert whole.plan.stored == 10
    assert set(whole.scores["one"]) == {True}
    assert len(list(tmp_path.glob("x/*.parquet"))) == 1


def test_a_parameter_that_a_host_pins_is_left_out_on_disk_too(tmp_path: Path) -> None:
    def pinned(prompt: Any, **params: Any) -> Any:
        if params.get("temperature") not in (None, 1):
            raise FixedTemperature("Pinned.", "Leave it out.", parameter="temperature",
                                   allowed=1.0)  # fmt: skip
        return reply("blue")

    given = {"on_fixed": "omit", "prompt": "q"}
    disk = run(FakeClient(pinned), results=tmp_path / "x", **given)
    memory = run(FakeClient(pinned), **given)
    assert disk.summary() == memory.summary()
    assert [t.params for t in disk] == [t.params for t in memory]
    assert disk.pinned


def test_a_folder_that_holds_something_else_is_refused_before_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "kimikit.json").write_text("{")
    run(results=tmp_path / "b", temperature=0, repeats=1, name="x", store=MemoryStore())
    client = FakeClient(answer)
    for folder, said in (
        ("a", "holds other files"),
        ("b", "holds the sweep 'x'.*name='x' to go on"),
        ("file", "cannot be"),
        ("bad", "cannot be read"),
    ):
        with pytest.raises(BadInput, match=said):
            run(client, results=tmp_path / folder)
    for wrong in ("", 3, "\ud800", "a\udc80"):
        with pytest.raises(BadInput, match="path of a folder"):
            run(client, results=wrong)
    for package in ("pyarrow",):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingDependency, match=f"pip install .*{package}"):
                run(client, results=tmp_path / "c")
    assert not client.asked
    assert (tmp_path / "a" / "thesis.txt").read_text() == "mine"


def test_a_strangers_folder_is_refused_where_it_is_odd(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with pytest.raises(BadInput, match="holds no results"):
        Sweep.from_results(tmp_path)
    run(results=folder, temperature=0, repeats=2)
    title = json.loads((folder / "kimikit.json").read_text())
    (part,) = title["parts"]
    for change, said in (
        ({"parts": ["../../etc/passwd"]}, "names files elsewhere"),
        ({"kind": "map"}, "holds no sweep"),
        ({"facts": {"sweep": {"axes": 3}}}, "holds no sweep"),
        ({"facts": {"sweep": {**title["facts"]["sweep"], "repeats": []}}}, "no sweep"),
        ({"parts": ["gone.parquet"]}, "cannot be read"),
    ):
        (folder / "kimikit.json").write_text(json.dumps({**title, **change}))
        with pytest.raises(BadInput, match=said):
            len(Sweep.from_results(folder))
    (folder / "kimikit.json").write_text(json.dumps(title))
    (folder / part).write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(BadInput, match="cannot be read"):
        len(Sweep.from_results(folder))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("_point", None),
        ("_point", [None, 1, 2, 3]),
        ("_stored", [True, None, True, True]),
        ("_reply", [[1, 2]] * 4),
        ("_reply", [b"[" * 5000] * 4),
        ("seconds", ["<b>"] * 4),
        ("_came", [1, 2, 3, 4]),
        ("right", None),
    ],
)
def test_a_strangers_rows_are_refused_where_they_are_not_a_sweeps(
    tmp_path: Path, column: str, values: list[Any] | None
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    metrics = {"right": lambda reply: True}
    run(results=tmp_path / "x", temperature=0, repeats=2, metrics=metrics)
    (file,) = (tmp_path / "x").glob("*.parquet")
    table = pq.read_table(file)
    place = table.column_names.index(column)
    table = table.remove_column(place)
    if values is not None:
        table = table.add_column(place, column, pa.array(values))
    pq.write_table(table, file)
    with pytest.raises(BadInput, match=r"cannot be read|holds no sweep"):
        list(Sweep.from_results(tmp_path / "x"))


@pytest.mark.parametrize(
    "change", [{"axes": {"temperature": [{"a": 1}]}}, {"axes": {}}, {"metrics": [5]}]
)
def test_a_strangers_sweep_has_the_columns_of_its_grid(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    run(results=tmp_path, temperature=[0, 1], repeats=2)
    title = json.loads((tmp_path / "kimikit.json").read_text())
    title["facts"]["sweep"] |= change
    (tmp_path / "kimikit.json").write_text(json.dumps(title))
    with pytest.raises(BadInput, match="holds no sweep"):
        Sweep.from_results(tmp_path)


def test_a_query_with_odd_names_and_values_is_answered_or_refused() -> None:
    sweep = run(temperature=0, repeats=1, metrics={'a"; drop view trials': len})
    joined = sweep.sql("select a.*, b.* from trials a join trials b using (repeat)")
    assert len({*joined.columns}) == len(joined.columns) == len(joined.rows[0])
    two = sweep.sql("select 1 as a, 2 as a, 3 as a_2")
    assert two.rows == [{"a": 1, "a_2": 2, "a_2_2": 3}]
    for value in ("date '5000000-01-01'", "'infinity'::timestamp"):
        with pytest.raises(BadInput, match="Cast its column"):
            sweep.sql(f"select {value} as day")
        assert len(sweep.sql(f"select cast({value} as varchar) as day")) == 1
    clash = run(temperature=0, repeats=1, metrics={"Words": lambda reply: 1.0})
    assert len(clash.sql("select * from trials")) == 2


def test_a_disk_that_fails_ends_the_sweep_and_says_how_to_go_on(tmp_path: Path) -> None:
    store = MemoryStore()

    def breaking(prompt: Any, **params: Any) -> Any:
        if len(store.rows) == 100:
            shutil.rmtree(tmp_path / "x")
        return answer(prompt)

    client = store.around(FakeClient(breaking))
    with pytest.raises(KimiError, match=r"cannot be written into .*name='mine'"):
        run(client, results=tmp_path / "x", temperature=0, repeats=2 * PART_ROWS,
            name="mine", store=store)  # fmt: skip
    # One part is written, or cannot be, while the next comes.
    assert 100 < len(store.rows) < 3 * PART_ROWS


def test_no_key_in_use_is_in_the_folder(tmp_path: Path) -> None:
    key = "sk-test-0123456789abcdef"
    html.keep_out(key)
    found = run(FakeClient(lambda *_, **p: reply(f"It is {key}!\ud800", raw={"model": key})),
                results=tmp_path / "x", temperature=0, repeats=2)  # fmt: skip
    assert found[0].reply.text == "It is ***!�"
    assert found.sql("select text from trials").rows[0] == {"text": "It is ***!�"}
    for file in (tmp_path / "x").iterdir():
        assert key.encode() not in file.read_bytes()


@pytest.mark.parametrize("place", ["prompt", "names", "user", "name", "metric"])
def test_no_key_in_use_is_in_what_a_folder_says_of_its_sweep(
    tmp_path: Path, place: str
) -> None:
    key = "sk-test-0123456789abcdef"
    html.keep_out(key)

    def odd(found: Any) -> float:
        raise ValueError(f"{key} is wrong.")

    given: dict[str, Any] = {
        "prompt": {"prompt": [f"Is it {key}?", "b"]},
        "names": {"prompt": {key: "a", "b": f"Is it {key}?"}},
        "user": {"user": ["a", f"b{key}"]},
        "name": {"name": key, "store": MemoryStore()},
        "metric": {"metrics": {"odd": odd}},
    }[place]
    found = run(**given, results=tmp_path / "x", temperature=[0, 1])
    again = Sweep.from_results(tmp_path / "x")
    assert found.summary() == again.summary()
    assert {row["missing"] for row in found.summary()} == {0}
    assert found.axes == again.axes
    if place == "name":
        assert len(run(**given, results=tmp_path / "x", temperature=[0, 1])) == 12
    for file in (tmp_path / "x").iterdir():
        assert key.encode() not in file.read_bytes()
    with pytest.raises(BadInput, match="Give the metric a name of its own"):
        run(metrics={key: len})


def sent(prompt: Any, **params: Any) -> Any:
    """Return an answer that knows what was asked, or not, and now and then none."""
    if params["temperature"] == 2:
        raise KimiError("It is too hot.", "Cool it.")
    body = {"messages": [{"role": "user", "content": prompt}]}
    return reply("x", partial=params["temperature"] == 1.5, sent=Sent.of(body, None))


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_what_was_asked_is_told_alike_wherever_rows_are(
    tmp_path: Path, place: str
) -> None:
    """Of a sweep that went on, also: what was paid for before does not know it."""
    store = MemoryStore()
    given = {"name": "mine", "store": store, "temperature": [0, 1.5, 2]}
    run(store.around(FakeClient(sent)), repeats=1, **given)
    for key, kept in store.rows.items():
        store.rows[key] = msgspec.structs.replace(kept, sent=Sent())
    where = {"results": tmp_path / "x"} if place == "disk" else {}
    found = run(store.around(FakeClient(sent)), repeats=2, **given, **where)
    for some in (
        found,
        found.where(prompt="colour"),
        pickle.loads(pickle.dumps(found)),
    ):
        texts = [row["prompt_text"] for row in some.rows()]
        assert [row["prompt_text"] for row in some.sql("from trials").rows] == texts
        assert texts[:6] == [
            None,
            "Name a colour.",
            *["Name a colour."] * 2,
            None,
            None,
        ]
        assert "Name a colour." in some.to_csv()
    if place == "disk":
        assert pickle.loads(pickle.dumps(found[1:2])).rows()[0]["prompt_text"]


def test_a_value_that_no_column_holds_is_unknown_and_costs_no_other(
    tmp_path: Path,
) -> None:
    def odd(*_: Any, **params: Any) -> Any:
        return [
            reply("a", usage=Usage(2**70, 3)),
            reply("b", cost=Decimal("1e30")),
            reply("c"),
        ][params["seed"] % 3]

    given = {"prompt": "q", "temperature": 0, "seed": [0, 1, 2], "repeats": 3}
    given["max_tokens"] = [9, 10**400]
    query = "select text, prompt_tokens, cost is null as free, max_tokens from trials"
    memory, disk = (run(FakeClient(odd), **given, **where)
                    for where in ({}, {"results": tmp_path / "x"}))  # fmt: skip
    assert disk.sql(query).rows == memory.sql(query).rows
    rows = disk.sql(f"{query} where repeat = 0 order by all").rows
    assert [tuple(row.values()) for row in rows] == [
        ("a", None, False, 9.0), ("a", None, False, None),
        ("b", 10, True, 9.0), ("b", 10, True, None),
        ("c", 10, False, 9.0), ("c", 10, False, None),
    ]  # fmt: skip
    assert [t.reply.usage for t in disk] == [t.reply.usage for t in memory]


def test_what_cannot_be_written_is_kept_for_the_next_try(tmp_path: Path) -> None:
    memory = run()
    writer = TrialWriter(tmp_path / "x", "colours", memory.axes, memory.fixed, [])
    table, writer._table = writer._table, lambda rows: 1 / 0
    for trial in memory.trials:
        writer.put(trial)
    with pytest.raises(KimiError, match="cannot be written"):
        writer.flush()
    writer._table = table
    writer.flush()
    assert sum(some.count for some in writer._spent.values()) == len(memory.replies) + 6


def test_metrics_are_columns_of_figures_wherever_answers_are(tmp_path: Path) -> None:
    """Also where one says now true and now 0.5: it is no rate then."""

    def mixed(found: Any, params: Any) -> Any:
        return True if params["temperature"] else 0.5

    def raises(found: Any) -> float:
        return 1 / 0

    metrics = {"mixed": mixed, "right": lambda r: True, "é": len, "raises": raises}
    given = {"metrics": metrics, "temperature": [0, 1]}
    memory, disk = run(**given), run(**given, results=tmp_path / "x")
    again = Sweep.from_results(tmp_path / "x")
    query = 'select avg(mixed) as m, avg("right") as r, avg("é") as e from trials'
    for found in (disk, again):
        assert found.scores == memory.scores
        assert found.summary() == memory.summary()
        assert found.metric_errors == memory.metric_errors
        assert found.sql(query).rows == memory.sql(query).rows
    assert memory.sql(query).rows == [{"m": 0.75, "r": 1.0, "e": None}]
    figures = memory.summary()[0].keys()
    assert "right_usd" in figures
    assert "mixed_usd" not in figures


@pytest.mark.parametrize("name", ["_point", "_reply", "", " ", "\ud800", "used_model",
                                  "prompt", "words", 3])  # fmt: skip
def test_no_metric_hides_a_column_of_ours(tmp_path: Path, name: Any) -> None:
    client = FakeClient(answer)
    given: dict[str, Any] = {"model": ["a", "b"], "temperature": 0, "repeats": 1}
    with pytest.raises(BadInput, match="Give the metric a name of its own"):
        run(client, metrics={name: lambda reply: 1.0}, **given)
    assert not client.asked
    run(client, results=tmp_path / "x", **given)
    with pytest.raises(BadInput, match="Give the metric a name of its own"):
        Sweep.from_results(tmp_path / "x", metrics={name: lambda reply: 1.0})
    with pytest.raises(BadInput, match="which cannot be called"):
        Sweep.from_results(tmp_path / "x", metrics={"right": 3})  # type: ignore[dict-item]
    assert Sweep.from_results(tmp_path / "x", metrics={}).scores == {}


def test_a_folder_is_found_again_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)

    def leaving(reply: Any) -> bool:
        os.chdir(tmp_path / "other")
        return True

    found = run(results="x", metrics={"there": leaving})
    monkeypatch.chdir(tmp_path)
    again = Sweep.from_results("x")
    monkeypatch.chdir(tmp_path / "other")
    assert len(list(found)) == len(list(again)) == 24
    assert not list((tmp_path / "other").iterdir())


def test_who_reads_a_folder_leaves_what_another_kernel_writes_there(
    tmp_path: Path,
) -> None:
    given = {"name": "mine", "store": MemoryStore(), "results": tmp_path / "x"}
    first = run(**given)
    reader = Sweep.from_results(tmp_path / "x")
    known = {f: getattr(first, f) for f in first.__struct_fields__}
    known |= {"trials": (), "metrics": [], "embed": None}
    trials = run().trials
    writers = [
        TrialWriter(tmp_path / "x", "mine", first.axes, first.fixed, []) for _ in "ab"
    ]
    for writer in writers:
        for trial in trials:
            writer.put(trial)
        writer.flush()
    assert len(list(reader)) == len(list(first)) == 24
    assert len(writers[0].written(known, {})) == 24
    assert len(list(Sweep.from_results(tmp_path / "x"))) == 24
    last = writers[1].written(known, {})
    assert len(list(last)) == len(list(Sweep.from_results(tmp_path / "x"))) == 24
    run(**given)
    assert len(list((tmp_path / "x").glob("*.parquet"))) == 1


@pytest.mark.parametrize("name", ["\ud800", "a\0b/../\u202e", "x" * 9000])
def test_a_folder_goes_on_by_any_name(tmp_path: Path, name: str) -> None:
    store = MemoryStore()
    given = {"name": name, "store": store, "temperature": 0, "results": tmp_path / "x"}
    first, again = FakeClient(answer), FakeClient(answer)
    for client in (first, again):
        assert len(list(run(store.around(client), **given))) == 6
    assert (len(first.asked), len(again.asked)) == (6, 0)
    assert len(Sweep.from_results(tmp_path / "x").sql("from trials")) == 6


def test_a_run_whose_parts_are_gone_leaves_what_another_wrote(tmp_path: Path) -> None:
    given = {"name": "mine", "store": MemoryStore(), "results": tmp_path / "x"}
    first = run(**given)
    writer = TrialWriter(tmp_path / "x", "mine", first.axes, first.fixed, [])
    writer.put(first[0])
    writer.flush()
    run(**given)
    with pytest.raises(KimiError, match="Another kernel wrote into"):
        writer.written({}, {})
    assert len(list(Sweep.from_results(tmp_path / "x"))) == 24


def test_what_a_killed_kernel_left_is_told_and_goes_with_the_next_run(
    tmp_path: Path,
) -> None:
    given = {"name": "mine", "store": MemoryStore()}
    found, folder = run(**given), tmp_path / "x"
    folder.mkdir()
    (folder / ".kimikit.json.12345").write_text("{")
    writer = TrialWriter(folder, "mine", found.axes, found.fixed, [])
    writer.put(found[0])
    writer.flush()
    (folder / ".sorting1").mkdir()
    for name in (".sorting1/0.arrow", ".ab-2026-all.parquet.0f", ".thesis"):
        (folder / name).write_text("half")
    with pytest.raises(BadInput, match=r"has not ended yet.*name='mine'"):
        Sweep.from_results(folder)
    for _ in range(2):
        assert len(list(run(**given, results=folder))) == 24
        names = {file.name for file in folder.iterdir()}
        assert names >= {"kimikit.json", ".thesis"}
        assert len(names) == 3


def test_readers_at_once_find_one_folder_in_order(tmp_path: Path) -> None:
    run(results=tmp_path / "x", repeats=400)
    sweeps = [Sweep.from_results(tmp_path / "x") for _ in range(4)]
    seen: list[list[int]] = []
    readers = [
        threading.Thread(target=lambda s=s: seen.append([t.repeat for t in s]))
        for s in [*sweeps, *sweeps]
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert seen == [[*range(400)] * 8] * 8
    assert len(list((tmp_path / "x").iterdir())) == 2


@pytest.mark.parametrize("first", [0, 2, 7])
def test_a_sweep_that_a_host_ends_is_the_same_as_in_memory(
    tmp_path: Path, first: int
) -> None:
    """Points that nothing came of took nothing, and their prompt's others are priced."""
    found: list[Sweep] = []
    for where in ({}, {"results": tmp_path / "x"}):
        client = FakeClient()

        def ending(*_: Any, client: FakeClient = client, **params: Any) -> Any:
            if len(client.asked) > first:
                raise AuthenticationFailed("The key is wrong.", "Give another.")
            return reply("x")

        client.answer = ending
        given = {"temperature": [0, 1, None], "concurrency": 1, **where}
        with pytest.raises(AuthenticationFailed) as caught:
            run(client, **given)
        found.append(caught.value.sweep)  # type: ignore[attr-defined]
    memory, disk = found
    for some in (disk, Sweep.from_results(tmp_path / "x")):
        assert len(some) == len(memory) == first
        assert some.summary() == memory.summary()
        assert {row["cost"] for row in some.summary()} != {None}
        assert some.compare().rows == memory.compare().rows
        assert some.verdict == memory.verdict
        assert some.rows() == memory.rows()


def test_a_column_of_an_axis_is_of_its_kind_though_all_of_it_is_left_out(
    tmp_path: Path,
) -> None:
    def pinned(prompt: Any, **params: Any) -> Any:
        if params.get("temperature") is not None:
            raise FixedTemperature("Pinned.", "Leave it out.", parameter="temperature",
                                   allowed=1.0)  # fmt: skip
        return reply("blue")

    query = "select temperature from trials"
    for warm in ([0.5, None], [0, 0.5]):
        given = {"on_fixed": "omit", "temperature": warm, "repeats": 1}
        memory = run(FakeClient(pinned), **given)
        disk = run(FakeClient(pinned), **given, results=tmp_path / str(warm[1]))
        kinds = [str(some.sql(query).arrow.schema) for some in (memory, disk)]
        assert kinds == ["temperature: double"] * 2


def test_an_error_ends_a_sweep_whose_judge_is_far_behind(tmp_path: Path) -> None:
    """Who waits for the judge waits no more: nobody judges once a sweep has failed."""
    failed, never = threading.Event(), threading.Event()

    def ending(*_: Any, **params: Any) -> Any:
        if len(client.asked) <= PART_ROWS + 7:
            return reply("x")
        failed.set()
        raise AuthenticationFailed("The key is wrong.", "Give another.")

    def slow(found: Any) -> bool:
        failed.wait(20)
        never.wait(2 * TELL_S)
        return True

    client = FakeClient(ending)
    hung = threading.Timer(20, _thread.interrupt_main)
    hung.start()
    with pytest.raises(AuthenticationFailed) as caught:
        run(client, prompt="q", temperature=0, repeats=3 * PART_ROWS, concurrency=8,
            metrics={"slow": slow}, results=tmp_path / "x")  # fmt: skip
    assert hung.is_alive()
    hung.cancel()
    found = caught.value.sweep  # type: ignore[attr-defined]
    assert found.stop_reason == "error"
    assert len(found) >= PART_ROWS


@pytest.mark.parametrize("name", ["mine.parquet", "20261130-plot-all.parquet"])
def test_users_files_in_a_folder_stay_there(tmp_path: Path, name: str) -> None:
    given = {"name": "mine", "store": MemoryStore(), "results": tmp_path / "x"}
    run(**given).to_parquet(tmp_path / "x" / name)
    run(**given).summary()
    names = [file.name for file in (tmp_path / "x").iterdir()]
    assert name in names
    assert len(names) == 3


def test_stored_answers_are_read_again_to_be_judged(tmp_path: Path) -> None:
    store = MemoryStore()
    given = {"temperature": [0, 0.5], "repeats": 150, "name": "mine", "store": store}
    run(store.around(FakeClient(answer)), **given)
    alive: WeakSet[Any] = WeakSet()
    most = []

    class Fresh(dict[str, Any]):  # as in a ledger: each look makes a new one
        def get(self, key: str, _: Any = None) -> Any:
            alive.add(mark := threading.Event())
            found = super().get(key)
            return found and msgspec.structs.replace(found, parsed=mark)

    def right(_: Any) -> bool:
        most.append(len(alive))
        return True

    store.answers = lambda _: Fresh(store.rows)
    found = run(FakeClient(), **given, metrics={"right": right},
                results=tmp_path / "x")  # fmt: skip
    assert len(found) == found.plan.stored == len(most) == 600
    assert found.scores["right"] == [True] * 600
    assert most[0] < 300


def test_stop_writes_stored_answers_that_nobody_has_judged_yet(tmp_path: Path) -> None:
    store = MemoryStore()
    given = {"temperature": [0], "repeats": 150, "name": "mine", "store": store}
    run(store.around(FakeClient(answer)), **given)
    judged = []

    def right(_: Any) -> bool:
        judged.append(1)
        if len(judged) == 120:
            _thread.interrupt_main()
        return True

    options = {**given, "repeats": 150, "results": tmp_path / "x"}
    found = run(store.around(FakeClient(answer)), **options, metrics={"right": right})
    assert found.stop_reason == "interrupted"
    assert len(found) == 300
    late = found.scores["right"].count(None)
    assert late in (180, 181)  # Stop may end the judgement under way
    assert (
        f"{late} answers came too late to be judged: see from_results()." in found.notes
    )
