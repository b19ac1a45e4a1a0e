"""Calls as users write them; mypy and Pyright refuse the lines that are marked so."""

from kimikit import Kimi, few_shot, map_reduce, score_tool_calls, vote
from kimikit.evals import Task, lab

kimi = Kimi("local", temperature=0.2)
kimi.chat("q", temperature=0.5, system="s", max_tokens=5)
kimi.sweep("q", temperature=[0, 0.5], repeats=3, max_cost=0.1)
kimi.race("q", ["a"], seed=1)
kimi.map(["q"], max_tokens=5, name="n", progress=False)
cost = kimi.chat("q").cost
if cost is not None:
    print(round(cost, 4))
task = Task(instruction="i", rows=(("q", 1),))
lab(kimi, task, max_cost=0.1, name="n").verdict.upper()
vote(kimi, "q", 3, max_cost="0.1", temperature=0.6).agreement.hex()
few_shot([("a", "b")], "c")[0].keys()
score_tool_calls({"h": kimi}, name="n", temperature=0.6).rates().keys()

Kimi("local", temprature=0.2)  # refused
kimi.chat("q", sytem="s")  # refused
kimi.chat("q", temperature="hot")  # refused
kimi.sweep("q", temperature=[0, 0.5], repeat=3)  # refused
kimi.race("q", ["a"], sead=1)  # refused
kimi.map(["q"], max_token=5)  # refused
kimi.lab(task, max_costs=0.1)  # refused
vote(kimi, "q", 3, max_costs=0.1)  # refused
lab(kimi, task, pattern=None)  # refused
map_reduce(kimi, "d", "q", part_token=8)  # refused
score_tool_calls({"h": kimi}, concurency=1)  # refused
kimi.run("q", [], max_step=3)  # refused
kimi.conversation("s", overflo="trim")  # refused
