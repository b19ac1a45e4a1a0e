"""Sweeps through the files of offline engines, in the format of ``vllm run-batch``."""

import json

import pytest
from support.sweeps import ColourHost

from kimikit import BadInput, Kimi, Sweep


@pytest.fixture
def files(tmp_path):
    return tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"


@pytest.fixture
def kimi():
    made = {"base_url": "http://127.0.0.1:9/v1", "api_key": "k12345678", "model": "m"}
    return Kimi(**made, show=False)


def completion(text):
    """Return a chat completion as vLLM 0.32 writes it."""
    message = {
        "role": "assistant", "content": text, "refusal": None, "annotations": None,
        "audio": None, "function_call": None, "tool_calls": [], "reasoning": None,
    }  # fmt: skip
    choice = {
        "index": 0, "message": message, "logprobs": None, "finish_reason": "stop",
        "stop_reason": None, "token_ids": None,
    }  # fmt: skip
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1790000000,
        "model": "m", "choices": [choice], "service_tier": None,
        "system_fingerprint": None, "prompt_logprobs": None, "kv_transfer_params": None,
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12,
                  "prompt_tokens_details": None},
    }  # fmt: skip


def run_batch(requests, answers, *, older=False, skip=()):
    """Answer a file as ``vllm run-batch`` does, in the order of the requests."""
    with answers.open("w") as file:
        for line in requests.read_text().splitlines():
            asked = json.loads(line)
            assert (asked["method"], asked["url"]) == ("POST", "/v1/chat/completions")
            assert len(asked["custom_id"]) <= 64
            if asked["custom_id"] in skip:
                continue
            body = completion(f"at {asked['body']['temperature']}")
            data = {"status_code": 200, "request_id": "vllm-batch-1", "body": body}
            out = {"id": "vllm-1", "custom_id": asked["custom_id"]}
            out |= {"response": body if older else data, "error": None}
            file.write(json.dumps(out) + "\n")


@pytest.mark.parametrize("older", [False, True])
def test_a_sweep_goes_out_and_comes_back(kimi, files, older):
    prompts = ["Name a colour.", "Name a fruit."]
    asked = {"temperature": [0, 0.5], "max_tokens": 8, "repeats": 3}
    plan = kimi.sweep(prompts, **asked, system="Be brief.", dry_run=True)
    assert plan.to_batch_file(files[0]) == files[0]
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert len({line["custom_id"] for line in lines}) == 12
    assert all("stream" not in line["body"] for line in lines)
    assert lines[0]["body"]["messages"][0]["content"] == "Be brief."
    run_batch(*files, older=older)
    sweep = Sweep.from_batch_file(*files, metrics={"cold": lambda r: r.text == "at 0"})
    assert sweep.repeats == 3
    assert set(sweep.axes) == {"prompt", "temperature"}
    assert sweep.fixed["max_tokens"] == 8
    points = {row["temperature"]: row for row in sweep.summary()}
    assert (points[0]["n"], points[0]["cold"], points[0.5]["cold"]) == (6, 1, 0)
    assert sweep.replies[0].usage.total_tokens == 12
    assert "12" in repr(sweep) or sweep.summary()


@pytest.mark.parametrize("end", [-2, 50])
def test_a_part_of_the_answers_is_told(kimi, files, end):
    plan = kimi.sweep("q", temperature=[0, 1], repeats=1, dry_run=True)
    plan.to_batch_file(files[0])
    run_batch(*files)
    files[1].write_bytes(files[1].read_bytes().strip()[:end])
    if end == 50:
        with pytest.raises(BadInput, match="answers none of the 2 requests"):
            Sweep.from_batch_file(*files)
        return
    sweep = Sweep.from_batch_file(*files)
    assert len(sweep.replies) == 1
    assert any("ends within a line" in note for note in sweep.notes)


def test_what_is_missing_or_failed_is_told(kimi, files):
    plan = kimi.sweep("q", temperature=[0, 1], repeats=2, dry_run=True)
    plan.to_batch_file(files[0])
    names = [
        json.loads(line)["custom_id"] for line in files[0].read_text().splitlines()
    ]
    run_batch(*files, skip=names[:2])
    with files[1].open("a") as file:
        error = {"id": "1", "custom_id": names[0], "response": None}
        file.write(json.dumps({**error, "error": {"message": "too long"}}) + "\n")
        file.write("{broken\n")
        file.write(
            json.dumps({"custom_id": "other", "response": completion("x")}) + "\n"
        )
    sweep = Sweep.from_batch_file(*files)
    assert len(sweep.replies) == 2
    errors = [trial.error for trial in sweep.trials if trial.error]
    assert "too long" in errors[0]
    assert errors[1] == "It has no answer."
    assert any(names[1] in note for note in sweep.notes)
    assert any("other" in note for note in sweep.notes)


def test_files_that_do_not_belong_together_are_refused(kimi, files, tmp_path):
    kimi.sweep("q", temperature=[0, 1], repeats=2, dry_run=True).to_batch_file(files[0])
    files[1].write_text(json.dumps({"custom_id": "z", "response": completion("x")}))
    with pytest.raises(BadInput, match="answers none of the 4"):
        Sweep.from_batch_file(*files)
    with pytest.raises(BadInput, match="cannot be read"):
        Sweep.from_batch_file(files[0], tmp_path / "none")
    with pytest.raises(BadInput, match="Line 1 of answers"):
        Sweep.from_batch_file(files[1], files[1])
    with pytest.raises(BadInput, match="cannot be written"):
        kimi.sweep("q", repeats=1, dry_run=True).to_batch_file(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"messages": ["hi"]}, {"messages": [5, None]}, {"n": "x"}, {"tools": 5},
     {"tools": [{"function": {"name": ["x"]}}]}, {"model": []},
     {"messages": [{"tools": 5, "tool_calls": 7}]}],
)  # fmt: skip
def test_a_strangers_requests_are_read_as_far_as_they_can_be(files, change):
    body = {"messages": [{"role": "user", "content": "q"}], **change}
    files[0].write_text(json.dumps({"custom_id": "z", "body": body}))
    files[1].write_text(json.dumps({"custom_id": "z", "response": completion("x")}))
    found = Sweep.from_batch_file(*files)
    assert found[0].reply.text == "x"
    assert found.summary()[0]["n"] == 1
    assert "1 answers" in str(found)


def test_a_finished_sweep_knows_its_requests_and_a_loaded_one_does_not(files):
    with ColourHost("obeys").running() as host:
        made = {"base_url": host.base_url, "api_key": "k12345678", "model": "m"}
        kimi = Kimi(**made, show=False)
        sweep = kimi.sweep("q", temperature=[0, 1], repeats=2, progress=False)
    sweep.to_batch_file(files[0])
    assert len(files[0].read_text().splitlines()) == 4
    with pytest.raises(BadInput, match="loaded"):
        Sweep.from_json(sweep.to_json()).to_batch_file(files[0])
