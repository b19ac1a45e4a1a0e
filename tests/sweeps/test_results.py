"""What a sweep tells: rows, verdict, recommendation, views, and saving it."""

import itertools
import json
import math
import random
import re
from decimal import Decimal
from typing import Any

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
from support.contrast import faint_in
from support.sweeps import WORDS, FakeClient, of_texts, pick, reply

from kimikit.errors import BadInput, StreamError
from kimikit.sweeps import Sweep, sweep
from kimikit.sweeps.cells import bar
from kimikit.sweeps.side_by_side import marked
from kimikit.sweeps.values import check_metrics
from kimikit.sweeps.views import ANY, filtered
from kimikit.types import Host, HostModel, ToolCall

mpl.use("Agg")

TEMPERATURES = [0, 0.3, 0.6, 0.9, 1.2]


def ask(answer: Any = None, prompt: Any = "Name a colour.", **options: Any) -> Sweep:
    client = FakeClient(answer, host=options.pop("host_profile", None))
    given = {"progress": False, "order_seed": 1, "repeats": 8, **options}
    return sweep(lambda host: client, prompt, **given)


def obeys(seed: int = 5) -> Any:
    rng = random.Random(seed)
    return lambda prompt, **p: f"I say {pick(p.get('temperature') or 0, rng)}."


# Rows


def test_a_summary_has_one_row_a_point_with_intervals():
    rows = ask(obeys(), temperature=TEMPERATURES).summary()
    assert [row["temperature"] for row in rows] == TEMPERATURES
    for row in rows:
        assert (row["n"], row["failed"], row["missing"]) == (8, 0, 0)
        assert row["cost"] == Decimal("0.008")
        for name in ("diversity", "agreement", "unique_share"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert rows[0]["diversity"] == 0.0
    assert rows[-1]["diversity_low"] > rows[0]["diversity"]
    assert rows[0]["exact_match"] == 1.0


def test_wording_is_measured_at_equal_length():
    """A long answer that begins like the short ones is no more diverse than they."""

    def answer(prompt: Any, **p: Any) -> str:
        return "one two three" + (
            " and some more words here" if p["temperature"] else ""
        )

    first, last = ask(answer, temperature=[0, 1]).summary()
    assert (first["words"], last["words"]) == (3, 8)
    assert first["distinct_1"] == last["distinct_1"]
    assert first["self_bleu"] == last["self_bleu"] == 1.0


def test_two_answers_are_too_few_for_an_interval_and_one_for_diversity():
    two = ask(obeys(), temperature=[1.0], repeats=2)
    assert two.summary()[0]["diversity_low"] is None
    assert "none where n < 3" in str(two)
    one = ask(obeys(), temperature=[1.0], repeats=1).summary()[0]
    assert "diversity" not in one
    assert one["agreement"] == 1.0


def test_prompts_of_a_point_are_pooled_and_can_be_told_apart():
    def answer(prompt: str, **p: Any) -> str:
        return prompt if prompt == "a" else f"{prompt} {rng.random()}"

    rng = random.Random(1)
    found = ask(answer, ["a", "b", "c", "d"], temperature=[0, 1])
    assert len(found.summary()) == 2
    assert found.summary()[0]["n"] == 32
    apart = found.summary(["prompt", "temperature"])
    assert len(apart) == 8
    assert apart[0]["agreement"] == 1.0
    assert [row["prompt"] for row in found.summary(["prompt"])] == ["a", "b", "c", "d"]
    with pytest.raises(BadInput, match="'top_p' is not an axis"):
        found.summary(["top_p"])


def test_a_metric_gives_accuracy_pass_at_k_and_the_cost_of_a_right_answer():
    texts = iter(["yes"] * 6 + ["no"] * 2)
    found = ask(
        lambda prompt, **p: next(texts), metrics={"right": lambda r: r.text == "yes"}
    )
    row = found.summary()[0]
    assert row["right"] == 0.75
    assert (row["right_low"], row["right_high"]) == pytest.approx(
        (0.409, 0.929), abs=0.001
    )
    assert row["right_pass@5"] == 1.0
    assert row["right_usd"] == Decimal("0.008") / 6


def test_pass_at_k_lies_in_its_interval_when_answers_to_a_prompt_are_all_alike():
    found = ask(
        lambda prompt, **p: "yes" if prompt < "f" else "no",
        list("abcdefghij"),
        metrics={"right": lambda r: r.text == "yes"},
    )
    row = found.summary()[0]
    ends = row["right_pass@5_low"], row["right_pass@5_high"]
    assert row["right_pass@5"] == row["right"] == 0.5
    assert ends == (row["right_low"], row["right_high"])


def test_a_metric_may_look_at_the_parameters_and_give_numbers():
    found = ask(
        lambda prompt, **p: "Paris",
        {"France": "Capital of France?", "Peru": "Capital of Peru?"},
        metrics={
            "right": lambda r, params: (
                r.text == "Paris" and params["prompt"] == "France"
            ),
            "length": lambda r: len(r.text),
        },
    )
    row = found.summary()[0]
    assert row["right"] == 0.5
    assert row["length"] == 5.0
    assert "length_usd" not in row


def test_a_metric_that_raises_is_missing_and_named():
    def judge(answer: Any) -> bool:
        if "red" in answer.text:
            raise ValueError("no red")
        return True

    texts = iter(["red", "blue", "blue", "blue"])
    found = ask(lambda prompt, **p: next(texts), repeats=4, metrics={"good": judge})
    assert sorted(map(str, found.scores["good"])) == ["None", "True", "True", "True"]
    assert found.summary()[0]["good"] == 1.0
    assert "good raised once, first ValueError: no red." in str(found)


def test_a_metric_that_gives_no_number_is_missing_and_named():
    values = {"a": math.nan, "b": math.inf, "c": 1, "d": "2.5", "e": "many", "f": None}
    texts = iter(values)
    metrics = {"score": lambda r: values[r.text]}
    found = ask(lambda prompt, **p: next(texts), repeats=6, metrics=metrics)
    scores = dict(
        zip([r.text for r in found.replies], found.scores["score"], strict=True)
    )
    assert scores == {"a": None, "b": None, "c": 1.0, "d": 2.5, "e": None, "f": None}
    assert "score raised 3 times, first ValueError: " in str(found)
    assert "ValueError: nan is no figure" in found.metric_errors["score"]


@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")
@pytest.mark.parametrize("figures", [[1.7e308, 9e307, -1.6e308], [1e155, 1e200, 1e99]])
def test_a_metric_too_large_for_its_square_is_no_figure(figures):
    """Its variance was infinite, and numpy's warnings came instead of a word of ours."""
    values = itertools.cycle(figures)
    metrics = {"big": lambda _: next(values)}
    found = ask(obeys(), temperature=[0, 1], repeats=6, metrics=metrics)
    found.plot()
    rows = found.summary()
    assert all(abs(row.get("big") or 0) < 1e100 for row in rows)
    assert "is no figure: give one of 1e+100 at most" in str(found.metric_errors)


def test_no_metric_may_take_the_name_of_a_figure():
    found = ask(obeys(), temperature=[0, 1], embed=lambda texts: np.eye(len(texts)))
    ours = {name.removesuffix("_low").removesuffix("_high")
            for row in found.summary() for name in row}  # fmt: skip
    ours |= set(found.to_pandas())
    for name in ours - set(found.axes) - set(found.trials[0].params):
        with pytest.raises(BadInput, match="names another figure"):
            check_metrics({name: len}, ())


def test_numpys_own_truth_is_a_rate_and_defaults_are_no_parameters():
    found = ask(metrics={"good": lambda r, least=3: np.bool_(len(r.text) > least)})
    assert found.summary()[0]["good_high"] <= 1.0
    assert set(map(type, found.scores["good"])) == {bool}


def test_points_that_nothing_came_of_are_rows_too():
    def answer(prompt: Any, **p: Any) -> str:
        if p["temperature"]:
            raise StreamError("It broke.", "Again.", reply=reply(""))
        return "x"

    found = ask(answer, temperature=[0, 1], repeats=3)
    last = found.summary("temperature")[1]
    assert (last["n"], last["failed"]) == (0, 3)
    empty = msgspec.structs.replace(found, trials=found.trials[:2])
    assert [(r["n"], r["missing"]) for r in empty.summary()] == [(2, 1), (0, 3)]
    assert "missing" in str(empty)
    assert empty.plot() is not None


def test_embeddings_give_the_semantic_figures_and_are_asked_once():
    asked: list[list[str]] = []

    def embed(texts: list[str]) -> Any:
        asked.append(texts)
        return [[1.0, 0.0] if "blue" in text else [0.0, 1.0] for text in texts]

    found = ask(obeys(), temperature=[0, 1.2], embed=embed)
    first, last = found.summary()
    assert first["semantic_entropy"] == 0.0
    assert last["semantic_entropy"] > 0
    assert last["semantic_similarity"] < 1
    found.summary(["temperature"])
    assert len(asked) == 1
    assert len(asked[0]) == len(set(asked[0]))


def test_embeddings_that_fail_leave_the_wording():
    def embed(texts: list[str]) -> Any:
        raise RuntimeError("no model")

    found = ask(obeys(), temperature=[0, 1.2], embed=embed)
    assert "semantic_entropy" not in found.summary()[0]
    assert found.summary()[1]["diversity"] > 0
    assert "embed raised once, first RuntimeError: no model." in str(found)


# The verdict and the recommendation


def test_the_verdict_on_a_host_that_obeys():
    found = ask(obeys(), temperature=TEMPERATURES).verdict
    assert found.changed is True
    assert found.p < 0.01
    assert (found.low, found.high, found.n) == (0, 1.2, 40)
    assert found.noise_floor == 1.0
    assert found.gain.low > 0
    assert "diversity +0" in str(found)
    assert str(found).startswith("Temperature changed how varied the answers are")


def test_the_verdict_on_a_host_that_ignores():
    rng = random.Random(3)
    found = ask(lambda prompt, **p: pick(1.0, rng), temperature=TEMPERATURES).verdict
    assert found.changed is False
    assert found.p > 0.05
    assert found.noise_floor < 0.5
    assert found.gain.low < 0 < found.gain.high
    assert "may come from one distribution" in str(found)
    assert "the host may ignore it" in str(found)


def test_each_host_gets_its_own_verdict():
    rng = random.Random(3)

    def make(name: str | None) -> FakeClient:
        ignores = FakeClient(lambda prompt, **p: pick(1.0, rng))
        return ignores if name == "ignores" else FakeClient(obeys())

    found = sweep(make, "q", host=["ignores", "obeys"], temperature=TEMPERATURES,
                  repeats=8, progress=False, order_seed=1).verdict  # fmt: skip
    assert [part.changed for part in found.parts] == [False, True]
    assert found.changed is None
    assert "On obeys, temperature changed" in str(found)


def test_without_a_temperature_axis_there_is_no_verdict():
    found = ask(top_p=[0.1, 1.0])
    assert found.verdict.changed is None
    assert str(found.verdict) == "Temperature was not swept."
    assert found.recommended.temperature is None
    few = ask(temperature=[0, 1], repeats=1)
    assert "two answers at two values" in str(few.verdict)


def test_a_plan_says_that_nothing_could_be_tested():
    plan = ask(temperature=[0, 1], dry_run=True)
    assert "could not be tested" in str(plan.verdict)
    assert [row["missing"] for row in plan.summary()] == [8, 8]
    assert "16 calls" in plan._repr_html_()
    assert repr(plan.explore()) == str(plan.compare())


def test_the_recommendation_needs_a_metric_or_the_makers_word():
    assert ask(obeys(), temperature=TEMPERATURES).recommended.temperature is None
    models = (HostModel(id="k2", temperature=0.6),)
    host = Host(name="h", base_url="http://x", model="k2", models=models)
    told = ask(obeys(), temperature=TEMPERATURES, host_profile=host).recommended
    assert told.temperature == 0.6
    assert "maker" in str(told)


def test_a_difference_paired_by_prompt_rules_a_temperature_out():
    """Each prompt loses a little: the intervals overlap, the difference is clear."""
    share = {prompt: place + 2 for place, prompt in enumerate("abcdefgh")}
    seen: dict[Any, int] = {}

    def answer(prompt: str, **p: Any) -> str:
        cell = prompt, p["temperature"]
        seen[cell] = place = seen.get(cell, -1) + 1
        right = place < share[prompt] - 2 * (p["temperature"] > 0)
        end = WORDS[place] if p["temperature"] else "indeed"
        return f"{'yes' if right else 'no'} {end}"

    found = ask(answer, list(share), temperature=[0, 1], repeats=10, concurrency=1,
                metrics={"right": lambda r: r.text.startswith("yes")})  # fmt: skip
    low, high = found.summary()
    assert high["right_high"] > low["right_low"]
    assert high["diversity"] > low["diversity"]
    assert found.recommended.temperature == 0


def test_with_a_metric_it_is_the_best_and_of_level_ones_the_most_varied():
    """All answers are right up to 0.6 and none above."""
    rng = random.Random(2)

    def answer(prompt: Any, **p: Any) -> str:
        return pick(p["temperature"], rng) + (" bad" if p["temperature"] > 0.6 else "")

    found = ask(answer, temperature=TEMPERATURES, repeats=12,
                metrics={"good": lambda r: "bad" not in r.text})  # fmt: skip
    assert found.recommended.temperature == 0.6
    assert "the best of 5, so that chance flatters it" in str(found.recommended)
    assert "the most varied of the 3 that are level" in str(found.recommended)


# Differences


def test_two_sweeps_are_compared_by_prompt():
    prompts = ["a", "b", "c", "d"]
    plain = ask(lambda prompt, **p: f"{prompt} one", prompts, temperature=[0])
    longer = ask(lambda prompt, **p: f"{prompt} one two", prompts, temperature=[0])
    found = plain.diff(longer)
    assert found.rows[0]["words"] == 1.0
    assert found.rows[0]["prompts"] == 4
    assert "paired over 4 prompts" in str(found)
    rng = random.Random(1)
    wild = ask(lambda prompt, **p: str(rng.random()), prompts, temperature=[0])
    row = plain.diff(wild).rows[0]
    assert row["diversity_low"] > 0.5
    assert "diversity" in str(plain.diff(wild))
    assert "<table>" in plain.diff(wild)._repr_html_()


def test_one_value_is_compared_with_the_same_point_of_an_axis():
    axis = ask(lambda prompt, **p: "w " * int(p["temperature"]), temperature=[1, 2, 3])
    one = ask(lambda prompt, **p: "w " * 7, temperature=2)
    for rows in (axis.diff(one).rows, one.diff(axis).rows):
        assert [(r["temperature"], abs(r["words"])) for r in rows] == [(2, 5)]


def test_sweeps_with_nothing_in_common_are_refused():
    one, two = ask(prompt="a", temperature=[0, 1]), ask(prompt="b", temperature=[0, 1])
    with pytest.raises(BadInput, match="no prompt and point in common"):
        one.diff(two)


# Views


def test_the_table_has_bars_intervals_verdict_and_n():
    page = ask(obeys(), temperature=TEMPERATURES)._repr_html_()
    for piece in ("<table>", "border-left:5.00em", "diversity", "<small>[", "Temperature changed",
                  "40 answers, 8 asked per point", "<details>", "$0.0400"):  # fmt: skip
        assert piece in page, piece
    assert "missing" not in page


def test_text_says_what_the_table_says():
    found = ask(obeys(), temperature=[0, 1.2])
    lines = str(found).splitlines()
    assert repr(found) == str(found)
    assert lines[0].split()[:3] == ["temperature", "n", "diversity"]
    assert "[" in lines[2]
    assert "Temperature changed" in str(found)


def test_failures_show_with_their_reason():
    left = [StreamError("It broke.", "Again.", reply=reply("half"))]

    def answer(prompt: Any, **p: Any) -> str:
        if len(left) and p["temperature"]:
            raise left.pop()
        return "x"

    found = ask(answer, temperature=[0, 1])
    assert "Failed once: StreamError: It broke." in str(found)
    assert "failed" in str(found).splitlines()[0]


def test_with_unpriced_answers_the_cost_is_not_known_and_the_footer_tells_the_least():
    costs = iter([Decimal("0.5"), None, None, None])
    found = ask(lambda prompt, **p: reply("x", cost=next(costs)), repeats=4)
    assert found.cost is found.summary()[0]["cost"] is None
    assert "at least $0.5000, 3 unpriced" in str(found)
    none = ask(lambda prompt, **p: reply("x", cost=None))
    assert none.cost is None
    assert "unpriced" in str(none)


def test_the_stand_in_never_passes_for_kimi():
    host = Host(name="local", base_url="http://x", stand_in=True)
    answer = obeys()
    found = ask(
        lambda prompt, **p: reply(answer(prompt, **p), cost=None),
        temperature=[0, 1],
        host_profile=host,
    )
    assert "cost" not in str(found)
    assert "unpriced" not in str(found)
    for view in (str(found), found._repr_html_(), str(found.compare())):
        assert "local stand-in, not Kimi" in view
    caption = found.plot().ravel()[0].figure._supxlabel.get_text()
    assert "not Kimi" in caption


def test_what_a_model_writes_is_inert_in_every_view():
    bad = "<script>alert(1)</script><img src=x onerror=y>\x1b[31m"
    found = ask(lambda prompt, **p: bad, [bad, "b"], temperature=[0, 1])
    pages = [found._repr_html_(), found.compare()._repr_html_()]
    pages.append(filtered(found, {}, {}))
    pages += [
        found.diff(found)._repr_html_(),
        found.explore()._repr_mimebundle_()["text/html"],
    ]
    for page in pages:
        assert "<script" not in page
        assert "<img" not in page
        assert "\x1b" not in page


def test_compare_folds_equal_answers_and_marks_what_differs():
    found = ask(obeys(), temperature=[0, 1.2]).compare()
    page = found._repr_html_()
    assert "<b>8 ×</b> I say blue." in page
    assert "<u " in page
    assert "temperature 1.2 (n = 8)" in page
    assert "8 × I say blue." in str(found)


def test_compare_has_a_fold_for_each_prompt_and_says_what_it_leaves_out():
    found = ask(obeys(), ["a", "b"], temperature=[n / 10 for n in range(9)], repeats=2)
    page = found.compare()._repr_html_()
    assert page.count("<details") == 2
    assert "3 more points are not shown" in page
    many = iter(range(99))
    wild = ask(lambda prompt, **p: f"w{next(many)}").compare(most=3)
    assert "and 5 more" in wild._repr_html_()


def test_only_the_words_that_differ_are_marked():
    page = marked("the sky is blue", "the sea is blue\n<b>")
    assert page.startswith("the <u ")
    assert ">sea</u> is blue<" in page
    assert "<br>&lt;b&gt;" in page


def test_bars_are_drawn_by_style_alone():
    shares = (0, 0.5, 1, 7, -1)
    widths = [re.search(r"left:(\d\.\d\d)em", bar(share)) for share in shares]
    filled = [found and float(found[1]) / 5 for found in widths]
    assert filled == [0, 0.5, 1, 1, 0]
    assert re.sub("<[^>]*>", "", bar(0.5)) == "", "only the number is text"


def test_the_plot_has_four_panels_with_units_and_a_mark():
    models = (HostModel(id="k2", temperature=0.6),)
    host = Host(name="h", base_url="http://x", model="k2", models=models)
    axes = ask(obeys(), temperature=TEMPERATURES, host_profile=host).plot()
    panels = axes.ravel()
    assert faint_in(panels[0].figure) == []
    labels = [ax.get_ylabel() for ax in panels]
    assert labels[0].startswith("Diversity")
    assert "US dollars" in labels[3]
    assert {ax.get_xlabel() for ax in panels} == {"temperature"}
    assert panels[0].get_ylim()[0] == 0
    assert any(list(line.get_xdata()) == [0.6, 0.6] for line in panels[0].lines)
    assert "40 answers" in panels[0].figure._supxlabel.get_text()


def test_the_plot_draws_on_given_axes_any_axis_and_series():
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 4)
    found = ask(obeys(), system=["terse", "long"], model=["a", "b"],
                metrics={"right": lambda r: True})  # fmt: skip
    assert found.plot(axes) is axes
    assert axes[3].get_ylabel() == "right"
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["terse", "long"]
    legend = axes[0].get_legend()  # where names at the ends would overlap
    named = axes[0].texts if legend is None else legend.get_texts()
    assert {text.get_text() for text in named} == {"a", "b"}
    with pytest.raises(BadInput, match="four panels"):
        found.plot(axes[:2])
    with pytest.raises(BadInput, match="nothing to plot"):
        ask().plot()
    many = ask(obeys(), temperature=[0, 1], model=list("abcdef"), repeats=3).plot()
    assert many.ravel()[0].get_legend() is not None
    assert faint_in(many.ravel()[0].figure) == []
    plt.close("all")


def test_the_explorer_filters_and_has_a_static_form():
    found = ask(obeys(), temperature=TEMPERATURES,
                metrics={"calm": lambda r: "blue" in r.text})  # fmt: skip
    view = found.explore()
    page = view._page
    assert "40 of 40 trials" in page.value
    view._picks["temperature"].value = 0
    assert "8 of 40 trials" in page.value
    view._picks["temperature"].value = ANY
    view._least["calm"].value = 1.0
    view._filter.value = True
    calm = sum(bool(value) for value in found.scores["calm"])
    assert f"{calm} of 40 trials" in page.value
    view._filter.value = False
    assert "40 of 40 trials" in page.value
    bundle = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "I say blue." in bundle["text/html"]
    assert "I say blue." in bundle["text/plain"]


# Saving


def test_json_keeps_all_but_the_functions():
    found = ask(obeys(), temperature=TEMPERATURES, top_p=0.9, name=None,
                metrics={"calm": lambda r: "blue" in r.text})  # fmt: skip
    text = found.to_json()
    again = Sweep.from_json(text)
    assert str(again) == str(found)
    assert again.summary() == found.summary()
    assert again.trials == found.trials
    assert again.to_json() == text
    assert json.loads(text)["trials"][0]["params"].keys() == {"temperature"}


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"calm": ["<b>", None]}},
        {"scores": {"calm": [True]}},
        {"axes": {"temperature": [{"a": 1}, 1]}},
        {"until": 0},
        {"until": -5},
    ],
)
def test_a_strangers_sweep_is_one(change):
    found = ask(lambda prompt, **p: "blue", temperature=[0, 1], metrics={"calm": len})
    data = json.loads(found.to_json()) | change
    with pytest.raises(BadInput, match="not a saved sweep"):
        Sweep.from_json(json.dumps(data))
    data = json.loads(found.to_json())
    for trial in data["trials"]:
        trial["reply"]["cost"] = "Infinity"
    again = Sweep.from_json(json.dumps(data))
    assert {trial.reply.cost for trial in again.trials} == {None}


def test_what_is_no_saved_sweep_is_refused():
    for text in ("", "[]", "{}", '{"trials": 3, "scores": {}, "metrics": []}'):
        with pytest.raises(BadInput, match="not a saved sweep"):
            Sweep.from_json(text)


def test_a_frame_has_a_row_a_trial():
    frame = ask(obeys(), temperature=[0, 1], model=["x"],
                metrics={"calm": lambda r: "blue" in r.text}).to_pandas()  # fmt: skip
    assert len(frame) == 16
    assert {"temperature", "repeat", "text", "cost", "tokens", "calm"} <= set(frame)
    assert set(frame["model"]) == {"x"}
    assert set(frame["used_model"]) == {"m"}


def test_figures_of_a_summary_are_plain_numbers():
    row = ask(obeys(), temperature=[0, 1.2]).summary()[1]
    assert row.pop("entropy_high") == math.inf
    floats = [value for value in row.values() if isinstance(value, float)]
    assert len(floats) > 20
    assert not any(isinstance(value, np.generic) for value in row.values())
    assert all(math.isfinite(value) for value in floats)


def test_a_notebook_shows_the_figure_and_no_list_of_axes():
    from IPython.core.formatters import DisplayFormatter

    axes = ask(obeys(), temperature=[0, 1]).plot()
    formats = DisplayFormatter().format
    assert formats(axes) == ({}, {})
    assert formats(axes.ravel()[0].figure)[0], "which is shown by itself"


@pytest.mark.parametrize(
    "odd",
    [
        {"tool_calls": (ToolCall("1", "zo\ud800o", "{}"),)},
        {"notes": ("odd \udc00",), "reasoning": "\ud800"},
    ],
)
def test_halves_of_a_pair_anywhere_in_an_answer_are_saved(odd: dict[str, Any]) -> None:
    found = of_texts({0: [reply("a", **odd)]})
    (trial,) = Sweep.from_json(found.to_json())
    assert "�" in str((trial.reply.tool_calls, trial.reply.notes))
