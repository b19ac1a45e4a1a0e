"""Three hosts in a kernel: one fast, one slow, one that falls silent; ``go`` races them."""

from __future__ import annotations

SETUP = """
from kimikit.runner import Request
from kimikit.notebook.race_view import race
from kimikit.wire import AsyncClient
from support.fault_server import DONE, GATE, HOLD, FaultServer, Pause, chunk, event, head, plain, sse
from kimikit.display.cell import arm
arm()
def piece(text, **more):
    return {"model": "kimi-k2", "choices": [{"index": 0, "delta": {"content": text}, **more}]}
def end():
    usage = {"prompt_tokens": 9, "completion_tokens": 200}
    return {**piece("", finish_reason="stop"), "usage": usage}
fast, slow, stuck = (FaultServer().__enter__() for _ in range(3))
fast.play(sse(piece("Fast answer."), end(), DONE))
slow.play(head(), *(x for i in range(12) for x in (chunk(event(piece(f"word{i} "))), Pause(.1))),
          chunk(event(end())), chunk(event(DONE)), chunk(b""))
stuck.play(head(), chunk(event(piece("Half an ans"))), HOLD)
def go(**servers):
    def client_for(name):
        return AsyncClient("local", base_url=servers[name].url, model="kimi-k2",
                           api_key="k", max_retries=0)
    return race({name: Request(messages="Hi", host=name) for name in servers}, client_for)
"""
