"""A host that lies is found, by what it lies about; an honest one is not accused."""

import base64
import json

import matplotlib as mpl
import pytest
from support.contrast import faint_in
from support.simulated import MODEL, Simulated

from kimikit import BadInput, BudgetExceeded, Kimi, KimiError
from kimikit.verify.calling import TOOLS
from kimikit.verify.run import CHECKS
from kimikit.wire.client import Client

mpl.use("Agg")

CASES = [
    {
        "messages": [
            {"role": "user", "content": f"Case {n}: what is the {what} in X?"}
        ],
        "tools": TOOLS,
        "calls": ["get_weather"] if what == "weather" else [],
    }
    for n in range(24)
    for what in ("weather", "news")
]
OPTIONS = {"cases": CASES, "context_tokens": 4_000, "progress": False, "concurrency": 8}

LIES = {
    "model": {"model"},
    "no usage": {"usage in streams"},
    "temperature": {"temperature"},
    "greedy": {"temperature"},
    "temperature clamped": {"temperature"},
    "top_p": {"top_p"},
    "seed": {"seed"},
    "n": {"n"},
    "n clamped": {"n"},
    "stop": {"stop"},
    "stop kept": {"stop"},
    "limit": {"max_tokens"},
    "limit told": {"max_tokens"},
    "limit clamped": {"max_tokens"},
    "logprobs": {"logprobs"},
    "logprobs zero": {"logprobs"},
    "logprobs of others": {"logprobs"},
    "format": {"json_object", "json_schema"},
    "choice none": {"tool_choice none"},
    "choice required": {"tool_choice required"},
    "choice named": {"tool_choice named"},
    "other tokenizer": {"prompt tokens"},
    "ids empty": {"tool ids"},
    "ids refused": {"tool ids"},
    "no triggers": {"tool triggers"},
    "bad schemas": {"tool schemas"},
    "thoughts dropped": {"reasoning kept"},
    "window": {"context"},
    "one piece": {"stream"},
    "at once": {"stream"},
    "bursts": {"stream"},
}


@pytest.fixture(autouse=True)
def tokenizer(tmp_path, monkeypatch):
    """A vocabulary in which every byte is a token, as the simulated host counts."""
    lines = [b"%b %d" % (base64.b64encode(bytes([n])), n) for n in range(256)]
    path = tmp_path / "bytes.tiktoken"
    path.write_bytes(b"\n".join(lines))
    monkeypatch.setenv("KIMIKIT_TOKENIZER", str(path))


def kimi_of(host, **options):
    return Kimi(base_url=host.url, api_key="k" * 20, model=MODEL, show=False, **options)


def states(found):
    return {finding.check: finding.state for finding in found.findings}


def test_an_honest_host_keeps_everything():
    with Simulated() as host:
        kimi = kimi_of(host)
        plan = kimi.verify(dry_run=True, **OPTIONS)
        found = kimi.verify(**OPTIONS)
        kimi.close()
    every = [name for names in CHECKS.values() for name in names]
    assert [finding.check for finding in found.findings] == every
    assert states(found) == dict.fromkeys(every, "kept") | {"speed": "measured"}, str(
        found
    )
    assert found.stop_reason == "done"
    assert found.left == found.reused == 0
    # A plan has every turn that could be asked for: it is no less than what was.
    (planned,) = plan.calls.values()
    assert len(found.replies) == len(host.bodies) <= planned <= len(host.bodies) + 5


@pytest.mark.parametrize("lie", LIES)
def test_who_lies_is_found_and_of_nothing_else_accused(lie):
    wanted = LIES[lie]
    # What is asked together may all be judged by the answers: none of it is left out.
    asked = [n for names in CHECKS.values() if wanted & {*names} for n in names]
    with Simulated(lie) as host:
        kimi = kimi_of(host)
        found = kimi.verify(checks=asked, **OPTIONS)
        kimi.close()
    (accused,) = found.faults.values()
    assert {*accused} == wanted, str(found)


@pytest.mark.parametrize("name", ["temperature", "top_p", "seed", "n", "logprobs"])
def test_who_refuses_says_what_it_does_and_is_not_accused(name):
    asked = [n for names in CHECKS.values() if name in names for n in names]
    with Simulated(f"refuses {name}") as host:
        kimi = kimi_of(host)
        found = kimi.verify(checks=asked, **OPTIONS)
        kimi.close()
    assert found.faults == {next(iter(found.models)): []}
    assert states(found)[name] == "refused"
    (said,) = (f.evidence for f in found.findings if f.check == name)
    assert f"{name} is not supported" in said


def test_hosts_stand_side_by_side_and_the_report_holds_them(tmp_path):
    checks = ["model", "n", "max_tokens", "usage in streams"]
    with Simulated() as honest, Simulated("n clamped") as liar:
        one = Client(base_url=honest.url, api_key="a" * 20, model=MODEL)
        kimi = kimi_of(liar)
        found = kimi.verify({"one": one, "two": kimi}, checks=checks, progress=False)
        one.close()
        kimi.close()
    assert found.faults == {"one": [], "two": ["n"]}
    text = str(found)
    head = text.splitlines()[0].split()
    assert head == ["check", "one", "two"]
    assert text.splitlines()[2].split() == [
        "n",
        "kept",
        "clamped",
    ]  # what is wrong first
    assert "n=3 brought 2 of 3 answers" in text
    report = json.loads(found.to_json(tmp_path / "report.json"))
    assert report == json.loads((tmp_path / "report.json").read_text())
    badge = report["hosts"]["two"]["badge"]
    assert badge == found.badge("two")
    assert badge.startswith(f"kimikit verify · two · {MODEL} · 20")
    assert "3 of 4 kept · clamped n · kimikit" in badge
    assert "a" * 20 not in found.to_json()
    axes = found.plot().axes[0]
    assert faint_in(axes.figure) == []
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "two"]


def test_it_goes_on_by_name_and_buys_nothing_twice():
    checks = ["temperature", "tool ids", "context", "stream"]
    with Simulated() as host:
        kimi = kimi_of(host)
        first = kimi.verify(checks=checks, name="v", **OPTIONS)
        asked = len(host.bodies)
        again = kimi.verify(checks=checks, name="v", **OPTIONS)
        more = kimi.verify(checks=[*checks, "n"], name="v", **OPTIONS)
        kimi.close()
    assert asked == len(first.replies) == again.reused
    assert len(host.bodies) == asked + 1
    assert more.reused == asked
    timed = {"stream": "unclear"}  # when its pieces came was not stored
    assert states(again) == states(first) | timed
    assert "paid before" in str(again)


def test_a_plan_costs_nothing_and_max_cost_is_held():
    with Simulated() as host:
        kimi = kimi_of(host)
        kimi.set_price(input=1_000, output=1_000)
        plan = kimi.verify(dry_run=True, checks=["n", "model"])
        assert sum(plan.calls.values()) == 3
        assert 0 < plan.cost_usd <= plan.most_usd
        with pytest.raises(BudgetExceeded, match="raise max_cost"):
            kimi.verify(checks=["n", "model"], max_cost=plan.cost_usd / 2)
        assert host.bodies == []
        kimi.close()


def test_bad_input_is_refused_before_anything_is_asked():
    with Simulated() as host:
        kimi = kimi_of(host)
        for wrong in (
            {"checks": ["temperatur"]},
            {"hosts": []},
            {"hosts": 7},
            {"hosts": [7]},
            {"context_tokens": 5},
            {"cases": [{"messages": []}]},
            {"max_cost": "much"},
            {"concurrency": 0},
        ):
            with pytest.raises(BadInput):
                kimi.verify(**wrong)
        with pytest.raises(KimiError, match="No host is called"):
            kimi.verify(["nowhere"])
        assert host.bodies == []
        kimi.close()


def test_a_host_that_is_down_is_an_error_that_tells_what_was_found():
    with Simulated() as host:
        pass
    kimi = kimi_of(host, max_retries=0)
    with pytest.raises(KimiError) as caught:
        kimi.verify(checks=["n", "stop"], progress=False)
    assert {f.state for f in caught.value.verification.findings} <= {"unclear"}
    kimi.close()


def test_the_local_host_is_not_accused(local_host):
    """Of tools neither: local/test_chat.py tries choices, and answers calls by their ids."""
    checks = ["model", "usage in streams", "n", "stop", "max_tokens", "logprobs",
              "json_schema"]  # fmt: skip
    kimi = Kimi("local", show=False)
    found = kimi.verify(checks=checks, progress=False)
    assert found.faults == {"local": []}, str(found)
    assert "local stand-in, not Kimi" in str(found)
    assert [f.state for f in found.findings].count("kept") >= 6
    kimi.close()
