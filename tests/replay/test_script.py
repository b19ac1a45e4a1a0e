"""A trajectory that a person wrote: real tools, templates, and never called a model."""

from pathlib import Path
from typing import Any

import pytest

from kimikit import Kimi, NotRecorded
from kimikit.errors import BadInput

WEATHER = '''
title = "Which city is warmer?"
by = "Ada, 2026-11-29"

[[turn]]
user = "Is it warmer in Lagos or in Paris?"

[[turn]]
assistant = "I look both up."
calls = [{get_weather = {city = "Lagos"}}, {get_weather = {city = "Paris"}}]

[[turn]]
thinking = "Compare."
assistant = """{{get_weather#1.celsius}} °C in Lagos, \\
{{get_weather.celsius:.1f}} °C in Paris: {{get_weather#2}}"""

[[turn]]
user = "Then pack for..."

[[turn]]
calls = [{pack = {degrees = "{{get_weather.celsius}}", list = ["{{get_weather.city}}"]}}]

[[turn]]
user = "Go on."

[[turn]]
assistant = "One."

[[turn]]
user = "Go on."

[[turn]]
assistant = "Two."
finish = "length"
'''


def get_weather(city: str) -> dict[str, Any]:
    """Weather of a city."""
    return {"celsius": {"Lagos": 31, "Paris": 12}[city], "city": city}


@pytest.fixture
def kimi(tmp_path: Path) -> Kimi:
    (tmp_path / "s.toml").write_text(WEATHER, encoding="utf-8")
    return Kimi("replay", path=tmp_path / "s.toml", speed=None, show=False)


def test_tools_run_and_templates_are_filled(kimi: Kimi) -> None:
    run = kimi.run("Is it  warmer in Lagos or\nin Paris?", [get_weather])
    assert [len(step.results) for step in run.steps] == [2, 0]
    want = '31 °C in Lagos, 12.0 °C in Paris: {"celsius":12,"city":"Paris"}'
    assert (run.reply.text, run.reply.reasoning) == (want, "Compare.")
    assert run.stop_reason == "done"


def test_every_view_says_that_it_is_no_model(kimi: Kimi) -> None:
    run = kimi.run("Is it warmer in Lagos or in Paris?", [get_weather])
    reply = kimi.chat("Go on.")
    sweep = kimi.sweep("Go on.", temperature=[0], repeats=1, progress=False)
    talk = kimi.conversation()
    talk.say("Go on.", temperature=0.5)
    for view in (
        reply,
        run,
        sweep,
        talk,
        talk.tree(),
        kimi.ledger,
        kimi.ledger.calls(),
    ):
        assert "scripted, not a model" in repr(view), type(view)
        html = getattr(view, "_repr_html_", lambda: None)()
        assert html is None or "scripted, not a model" in html, type(view)
    assert (kimi.host.name, kimi.host.model) == ("scripted", "script")


def test_it_streams_word_by_word(kimi: Kimi) -> None:
    texts = [delta.text for delta in kimi.stream("Is it warmer in Lagos or in Paris?")]
    assert [text for text in texts if text] == ["I", " look", " both", " up."]


def test_the_same_question_goes_on_in_the_order_of_the_script(kimi: Kimi) -> None:
    assert kimi.chat("Go on.").text == "One."
    last = kimi.chat("Go on.")
    assert (last.text, last.finish_reason) == ("Two.", "length")
    with pytest.raises(NotRecorded, match="2 times"):
        kimi.chat("Go on.")


def test_a_beginning_is_enough_and_values_keep_their_type(kimi: Kimi) -> None:
    kimi.run("Is it warmer in Lagos or in Paris?", [get_weather])
    asked = [{"role": "user", "content": "Then pack for the Alps."}]
    with pytest.raises(BadInput, match="0 calls of it returned"):
        kimi.chat(asked)


def test_it_answers_in_one_piece_too(kimi: Kimi) -> None:
    reply = kimi.chat("Is it warmer in Lagos or in Paris?", stream=False)
    assert next(c.arguments for c in reply.tool_calls) == '{"city": "Lagos"}'
    assert reply.text == "I look both up."


def test_what_it_does_not_answer_says_what_it_does(kimi: Kimi) -> None:
    with pytest.raises(NotRecorded, match="Is it warmer in Lagos") as caught:
        kimi.chat("Is it colder in Lagos?")
    assert "recording show" in caught.value.remedy


BROKEN = {
    "not TOML": "turn = [",
    "no turn": "title = 'x'",
    "another field": "[[turn]]\nuser = 'x'\nsays = 'y'",
    "both": "[[turn]]\nuser = 'x'\nassistant = 'y'",
    "neither": "[[turn]]\nuser = 'x'\n[[turn]]\nthinking = 'y'",
    "an assistant first": "[[turn]]\nassistant = 'y'",
    "two calls in one": "[[turn]]\nuser='x'\n[[turn]]\ncalls=[{a={}, b={}}]",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_script_that_is_wrong_says_where(name: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(BROKEN[name], encoding="utf-8")
    with pytest.raises(BadInput, match=r"s\.toml"):
        Kimi("replay", path=tmp_path / "s.toml")
