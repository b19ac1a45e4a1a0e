"""Files and batches of the local host, asked by the SDKs that people use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import together
from starlette.applications import Starlette

from kimikit import local
from kimikit.local import batch_store, batch_work
from kimikit.local.batch_routes import Batches
from kimikit.local.checks import Refused
from kimikit.local.routes import error_answer
from kimikit.local.server import Guard

CHAT = "/v1/chat/completions"
KEY = "key-of-this-test"


def line(name: str, text: str = "Say hello.", **body: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": text}], "max_tokens": 4, **body}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": asked}


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def until_over(look: Any) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        batch = look()
        if batch.status.lower() in batch_store.OVER:
            return batch
        time.sleep(0.05)
    raise AssertionError(batch)


def test_the_openai_sdk_runs_a_batch(local_host: local.Running) -> None:
    made: Any = {"base_url": local_host.base_url, "api_key": local_host.api_key}
    with openai.OpenAI(**made) as client:
        lines = [
            line("a", "What is the capital of Germany?", max_tokens=24, temperature=0)
        ]
        lines += [line("b"), line("bad", temperature=9)]
        file = client.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
        assert client.files.content(file.id).content == jsonl(*lines)
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint=CHAT,
            completion_window="24h",
            metadata={"mine": "1"},
        )
        assert client.batches.list().data[0].id == batch.id
        over = until_over(lambda: client.batches.retrieve(batch.id))
        assert over.status == "completed"
        assert over.metadata == {"mine": "1"}
        assert (over.request_counts.completed, over.request_counts.failed) == (2, 1)
        output = client.files.content(over.output_file_id).text.splitlines()
        found = {each["custom_id"]: each for each in map(json.loads, output)}
        message = found["a"]["response"]["body"]["choices"][0]["message"]
        assert message["content"] == "The capital of Germany is Berlin."
        (bad,) = client.files.content(over.error_file_id).text.splitlines()
        assert json.loads(bad)["response"]["status_code"] == 400
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)


def test_the_together_sdk_runs_a_batch(
    local_host: local.Running, tmp_path: Path
) -> None:
    made: Any = {"base_url": local_host.base_url, "api_key": local_host.api_key}
    path = tmp_path / "requests.jsonl"
    path.write_bytes(jsonl(*({"custom_id": n, "body": line(n)["body"]} for n in "ab")))
    with together.Together(**made) as client:
        file = client.files.upload(file=path, purpose="batch-api", check=False)
        assert file.bytes == path.stat().st_size
        created = client.batches.create(endpoint=CHAT, input_file_id=file.id)
        assert created.job is not None
        name = str(created.job.id)
        over = until_over(lambda: client.batches.retrieve(name))
        assert (over.status, over.progress) == ("COMPLETED", 100)
        assert name in [job.id for job in client.batches.list()]
        text = client.files.content(str(over.output_file_id)).read().decode()
        assert {json.loads(each)["custom_id"] for each in text.splitlines()} == {
            "a",
            "b",
        }


class Upstream:
    """What answers the lines of a host of this process; a test opens its gate."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()

    async def answer(self, _: str, body: bytes) -> tuple[int, bytes]:
        text = json.loads(body)["messages"][-1]["content"]
        self.asked.append(text)
        if text.startswith("wait"):
            await self.gate.wait()
        if text == "refuse":
            raise Refused("No.")
        if text == "break":
            raise ValueError("broken")
        return 200, json.dumps({"said": text}).encode()


@contextlib.asynccontextmanager
async def host(folder: Path, upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    """Run the endpoints over a folder; leaving is the end of the process."""
    worker = batch_work.BatchWorker(batch_store.BatchStore(folder), upstream.answer, 2)
    app = Starlette(
        routes=Batches(worker, lambda text: f"signed-{text}", (CHAT,)).routes(),
        exception_handlers={Refused: error_answer},
    )
    way = httpx.ASGITransport(Guard(app, KEY, lambda: worker.busy))
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        worker.lifespan(app),
        httpx.AsyncClient(transport=way, base_url="http://h", headers=headers) as http,
    ):
        yield http


async def begin(http: httpx.AsyncClient, content: bytes, **more: Any) -> dict[str, Any]:
    sent = {"file": ("in.jsonl", content)}
    file = await http.post("/v1/files", files=sent, data={"purpose": "batch"})
    asked = {"input_file_id": file.json()["id"], "endpoint": CHAT, **more}
    made = await http.post("/v1/batches", json=asked)
    assert made.status_code == 200, made.text
    batch: dict[str, Any] = made.json()
    return batch


async def ended(http: httpx.AsyncClient, name: str) -> dict[str, Any]:
    for _ in range(400):
        batch: dict[str, Any] = (await http.get(f"/v1/batches/{name}")).json()
        if batch["status"] in batch_store.OVER:
            return batch
        await asyncio.sleep(0.02)
    raise AssertionError(batch)


async def lines_of(http: httpx.AsyncClient, file: str | None) -> list[Any]:
    if file is None:
        return []
    text = (await http.get(f"/v1/files/{file}/content")).text
    return [json.loads(each) for each in text.splitlines()]


async def seen(found: list[str], count: int) -> None:
    for _ in range(400):
        if len(found) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(found)


def test_a_restart_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    async def run() -> None:
        first, second = Upstream(), Upstream()
        texts = ["one", "two", "wait 3", "four", "refuse", "break"]
        lines = [line(f"c{n}", text) for n, text in enumerate(texts)]
        async with host(tmp_path, first) as http:
            batch = await begin(http, jsonl(*lines))
            await seen(first.asked, 6)
        second.gate.set()
        async with host(tmp_path, second) as http:
            over = await ended(http, batch["id"])
            good = await lines_of(http, over["output_file_id"])
            bad = await lines_of(http, over["error_file_id"])
        assert second.asked == ["wait 3"]
        assert over["request_counts"] == {"total": 6, "completed": 4, "failed": 2}
        assert [each["response"]["body"]["said"] for each in good] == texts[:4]
        assert {each["response"]["status_code"] for each in bad} == {400, 500}

    asyncio.run(run())


def test_a_cancelled_batch_keeps_what_was_answered(tmp_path: Path) -> None:
    async def run() -> None:
        upstream = Upstream()
        texts = ["one", "two", "wait 3", "wait 4", "five"]
        async with host(tmp_path, upstream) as http:
            lines = [line(f"c{n}", text) for n, text in enumerate(texts)]
            batch = await begin(http, jsonl(*lines))
            await seen(upstream.asked, 4)
            await http.post(f"/v1/batches/{batch['id']}/cancel")
            over = await ended(http, batch["id"])
            bad = await lines_of(http, over["error_file_id"])
        assert over["status"] == "cancelled"
        assert over["request_counts"]["completed"] == 2
        assert {each["error"]["code"] for each in bad} == {"batch_cancelled"}
        assert "five" not in upstream.asked

    asyncio.run(run())


def test_an_inline_batch_has_its_results_in_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr("kimikit.local.batch_routes.PAGE", 2)
        requests = [{"custom_id": n, "body": line(n, n)["body"]} for n in "abcde"]
        head: dict[str, Any] = {"endpoint": CHAT, "model": "m:batch"}
        async with host(tmp_path, Upstream()) as http:
            wrong = await http.post("/v1/batches", json={"requests": requests, **head})
            assert wrong.status_code == 400
            made = await http.post("/v1/batches", json={**head, "requests": requests})
            assert (made.status_code, made.json()["status"]) == (202, "validating")
            over = await ended(http, made.json()["id"])
            assert len(over["results"]) == 2
            found, cursor = [], ""
            while cursor is not None:
                url = f"/v1/batches/{over['id']}/results?cursor={cursor}"
                page = (await http.get(url)).json()
                found += [each["custom_id"] for each in page["data"]]
                cursor = page["next_cursor"]
        assert found == list("abcde")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "1 to"),
        (b"no json\n", "JSON"),
        (jsonl(line("a"), line("a")), "twice"),
        (jsonl(line("a", model="m"), line("b", model="n")), "one model"),
        (jsonl(line("a", stream=True)), "stream"),
        (jsonl(line("x" * 65)), "64"),
        (jsonl({**line("a"), "url": "/v1/embeddings"}), "POST"),
        (b'{"custom_id": "a", "body": {"a": ' + b"[" * 90_000, "recursion"),
        (jsonl(line("a")).replace(b"Say", rb"\ud800"), "JSON"),
    ],
)
def test_a_file_that_is_no_batch_fails_whole(
    tmp_path: Path, content: bytes, says: str
) -> None:
    async def run() -> None:
        upstream = Upstream()
        async with host(tmp_path, upstream) as http:
            over = await ended(http, (await begin(http, content))["id"])
        assert over["status"] == "failed"
        assert says in over["errors"]["data"][0]["message"]
        assert upstream.asked == []

    asyncio.run(run())


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": [1]},
        {"metadata": {"a": {"b": 1}}},
        {"completion_window": "9" * 5_000},
        {"completion_window": "²h"},
        {"endpoint": {}},
    ],
)
def test_an_odd_batch_is_refused_and_the_next_one_works(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    async def run() -> None:
        async with host(tmp_path, Upstream()) as http:
            good = await begin(http, jsonl(line("a", "one")))
            asked = {"input_file_id": good["input_file_id"], "endpoint": CHAT, **odd}
            said = await http.post("/v1/batches", json=asked)
            assert said.status_code == 400
            assert (await http.get("/v1/batches?limit=x")).status_code == 400
            assert (await ended(http, good["id"]))["status"] == "completed"

    asyncio.run(run())


def test_a_window_that_has_passed_expires_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        upstream = Upstream()
        monkeypatch.setattr(batch_work, "_LOOK_S", 0.05)
        async with host(tmp_path, upstream) as http:
            batch = await begin(http, jsonl(line("a", "one"), line("b", "wait 2")))
            await seen(upstream.asked, 2)
            later = SimpleNamespace(time=lambda: time.time() + 25 * 3600)
            monkeypatch.setattr(batch_work, "time", later)
            over = await ended(http, batch["id"])
        assert over["status"] == "expired"
        assert over["request_counts"] == {"total": 2, "completed": 1, "failed": 0}

    asyncio.run(run())


def test_an_upload_needs_its_signature_once_and_everything_else_the_key(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        form = {"purpose": "batch-api", "file_name": "x.jsonl", "file_type": "jsonl"}
        async with host(tmp_path, Upstream()) as http:
            # httpx makes a multipart form only where there is a file.
            begun = await http.post(
                "/v1/files", files={k: (None, v) for k, v in form.items()}
            )
            assert begun.status_code == 302
            place, name = begun.headers["location"], begun.headers["x-together-file-id"]
            del http.headers["authorization"]
            assert (await http.put(place + "x", content=b"no")).status_code == 403
            assert (await http.get(f"/v1/files/{name}")).status_code == 401
            assert (await http.put(place, content=b"yes")).status_code == 200
            assert (await http.put(place, content=b"again")).status_code == 409
            http.headers["authorization"] = f"Bearer {KEY}"
            assert (await http.get(f"/v1/files/{name}/content")).content == b"yes"

    asyncio.run(run())


# starlette before 1.8 leaves the file of a form that is refused to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_large_file_is_taken_and_a_larger_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with host(tmp_path, Upstream()) as http:
            content = b"x" * (40 << 20)
            sent: Any = {
                "files": {"file": ("in", content)},
                "data": {"purpose": "batch"},
            }
            made = await http.post("/v1/files", **sent)
            assert made.json()["bytes"] == 40 << 20
            monkeypatch.setattr("kimikit.local.server.LARGEST_FILE", 1 << 20)
            assert (await http.post("/v1/files", **sent)).status_code == 413

    asyncio.run(run())


def test_of_two_hosts_on_a_folder_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(batch_work, "_LOOK_S", 0.02)
        first, second = Upstream(), Upstream()
        async with host(tmp_path, first), host(tmp_path, second) as other:
            await ended(other, (await begin(other, jsonl(line("a", "one"))))["id"])
        assert (first.asked, second.asked) == (["one"], [])

    asyncio.run(run())
