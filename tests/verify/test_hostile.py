"""A host that attacks whoever judges it: nothing hangs, and no report carries it."""

import itertools
import json
import re

import matplotlib as mpl
import pytest
from support.simulated import Simulated

from kimikit import Kimi, KimiError

mpl.use("Agg")

BAD = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>](http://evil.example) @all #1 \u202e\x00\r\n# Kept\n| a |"
HALF = "\ud800"
CHECKS = [
    "model",
    "n",
    "stop",
    "max_tokens",
    "logprobs",
    "json_object",
    "tool ids",
    "tool_choice required",
    "prompt tokens",
    "reasoning kept",
    "seed",
    "temperature",
    "top_p",
    "usage in streams",
    "json_schema",
    "tool_choice none",
    "tool_choice named",
]


class Hostile(Simulated):
    """Answers everything with what does harm somewhere."""

    def answer(self, body):
        status, answer = super().answer(body)
        if self.lie == "errors":
            message = BAD + HALF + "x" * 1_000_000
            return 400, {"error": {"message": message, "type": BAD, "code": 10**400}}
        if status != 200:
            return status, answer
        answer["model"] = BAD + HALF
        answer["system_fingerprint"] = [BAD] * 1000
        huge = {"numbers": 10**30, "negative": -5, "text": "9" * 5000}.get(self.lie)
        if huge is not None:
            answer["usage"] = dict.fromkeys(answer["usage"], huge)
        for choice in answer["choices"]:
            message = choice["message"]
            if self.lie == "long":
                message["content"] = (BAD + HALF) * 12_000
            elif message.get("content"):
                message["content"] = BAD + HALF + message["content"]
            for call in message.get("tool_calls") or ():
                call["id"], call["function"]["arguments"] = BAD + HALF, BAD * 100
            choice["finish_reason"] = BAD
            if choice.get("logprobs"):
                token = {
                    "token": BAD,
                    "logprob": 1e308,
                    "top_logprobs": [{"token": HALF, "logprob": -1e308}] * 50,
                }
                choice["logprobs"] = {"content": [token] * 50}
        return status, answer

    def events(self, answer):
        if self.lie == "long":
            text = answer["choices"][0]["message"]["content"]
            delta = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
            return [(0, {"id": "x", "choices": [delta]})]
        if self.lie == "endless":
            piece = {
                "index": 0,
                "delta": {"content": "x" * 10_000},
                "finish_reason": None,
            }
            return ((0, {"id": "x", "choices": [piece]}) for _ in itertools.count())
        return super().events(answer)


def is_inert(text: str) -> None:
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    text.encode()  # half a surrogate pair would not go


@pytest.mark.parametrize(
    "lie", ["", "long", "numbers", "negative", "text", "errors", "endless"]
)
def test_no_answer_of_a_host_gets_into_what_is_made_of_it(lie, tmp_path):
    with Hostile(lie) as host:
        kimi = Kimi(
            "vllm",
            base_url=host.url,
            model="moonshotai/Kimi-K2-Thinking",
            show=False,
            max_retries=0,
        )
        checks = CHECKS[: {"": None, "endless": 2}.get(lie, 4)]
        try:
            found = kimi.verify(checks=checks, progress=False, concurrency=8)
        except KimiError as error:  # of a host that answers nothing as it should
            assert lie == "long"
            found = error.verification
        kimi.close()
    if lie != "long":
        assert {each.check for each in found.findings} == {*checks}
    for text in (repr(found), found.to_markdown(), found.badge(), found.to_json()):
        is_inert(text)
        assert len(text) < 40_000
    assert "<script>" not in found._repr_html_()
    assert "\n" not in found.badge()
    assert "](http" not in found.to_markdown()
    path = tmp_path / "report.json"
    found.to_json(path)
    report = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert report["hosts"]
    found.plot().canvas.draw()


def test_a_name_that_a_host_chose_is_inert_in_the_badge():
    """An issue that it is put into would show it, link it and call people."""
    with Simulated(model=BAD) as host:
        kimi = Kimi(
            "vllm",
            base_url=host.url,
            model=BAD.replace("\x00", ""),
            show=False,
            max_retries=0,
        )
        found = kimi.verify(checks=["n"], progress=False)
        kimi.close()
    line = found.badge()
    is_inert(line)
    assert "\n" not in line
    assert not re.search(r"[<>\[\]()@#|*`]", line.replace("kimikit verify", ""))
    assert "://" not in line
    found.plot().canvas.draw()
