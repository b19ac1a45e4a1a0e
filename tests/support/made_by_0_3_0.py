"""What `ledger_0_3_0.sqlite3` and `conversation_0_3_0.json` were made with.

It ran once, on the code of 0.3.0; the two files stand for what users of it have.
"""

import pathlib
import sys
from collections.abc import Callable

import httpx

from kimikit import Kimi
from kimikit.prompting import map_reduce, vote

TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}


def answer(request: httpx.Request) -> httpx.Response:
    message = {"role": "assistant", "content": "Answer: blue [1]"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    return httpx.Response(200, json={"choices": [choice], "usage": usage})


def work(
    ledger: pathlib.Path, answer: Callable[[httpx.Request], httpx.Response] = answer
) -> list[object]:
    """Do all that has a name; the test does the same and is to buy nothing."""

    def kimi(host: str, ledger: pathlib.Path, **options: object) -> Kimi:
        transport = httpx.MockTransport(answer)
        return Kimi(
            host, api_key="k", ledger=ledger, show=False, transport=transport, **options
        )

    model = "moonshotai/Kimi-K2-Instruct"
    at = kimi("together", ledger, model=model, max_tokens=50, top_p=0.9)
    own = kimi("mine", ledger, base_url="http://own.test/v1", model="m")
    quiet = {"progress": False}
    done = [
        at.sweep(
            ["Name a colour.", "Name a fruit."],
            temperature=[0, 0.5, 1.0],
            system="Be brief.",
            repeats=2,
            name="colours",
            **quiet,
        ),
        at.sweep("Where?", tools=[TOOL], seed=[1, 2], repeats=1, name="tools", **quiet),
        own.sweep("Name a colour.", top_p=[0.5, 1], repeats=2, name="own", **quiet),
        map_reduce(
            at.client,
            {"log": "The pump failed.", "diary": "It rained."},
            "What failed?",
            store=at.ledger,
            name="notes",
            **quiet,
        ),
        vote(at.client, "What colour?", 3, store=at.ledger, name="votes"),
    ]
    at.ledger.close()
    own.ledger.close()
    return done


def talk(folder: pathlib.Path) -> None:
    """Save a conversation with two branches, an edit and content in parts."""
    kimi = Kimi(
        "together",
        model="moonshotai/Kimi-K2-Instruct",
        api_key="k",
        ledger=folder / "unused.sqlite3",
        show=False,
        transport=httpx.MockTransport(answer),
    )
    talk = kimi.conversation(system="Be brief.", temperature=0.3)
    talk.say("What colour is the sky?")
    other = talk.fork("other")
    other.say([{"role": "user", "content": [{"type": "text", "text": "And now?"}]}])
    talk.edit(1, "What colour is the sea?")
    talk.save(folder / "conversation_0_3_0.json")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    work(folder / "ledger_0_3_0.sqlite3")
    talk(folder)
