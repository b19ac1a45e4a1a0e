"""Write a lab as logs that the viewer of Inspect (UK AI Security Institute) opens.

One log per pattern, in version 2 of the JSON format. Nothing of Inspect is needed to
write it.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

from kimikit import html
from kimikit.display.footer import total_usage
from kimikit.errors import BadInput
from kimikit.evals.outcomes import Outcome, asked
from kimikit.evals.scorers import Score, as_text
from kimikit.evals.task import Task
from kimikit.json_values import digest, writable
from kimikit.paths import path_of, writing
from kimikit.secrets import encoded
from kimikit.types import Reply, Usage
from kimikit.version import __version__

STATUS = {"done": "success", "settled": "success", "error": "error"}
"""Inspect's words for why a lab ended; any other is ``cancelled``."""


def write_logs(
    task: Task,
    points: list[dict[str, Any]],
    outcomes: tuple[Outcome, ...],
    metrics: tuple[str, ...],
    stop_reason: str,
    folder: str | os.PathLike[str],
) -> list[Path]:
    """Write one log per pattern; return the files.

    Args:
        task: What was asked.
        points: The summary of each pattern.
        outcomes: What came.
        metrics: The names of the scorers.
        stop_reason: Why the lab ended.
        folder: Where to.

    Raises:
        BadInput: If a file cannot be written.
    """
    target = path_of(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise BadInput(
            f"{target} cannot be made: {exc}.", "Give another path."
        ) from exc
    now = datetime.datetime.now(datetime.UTC)
    stamp, files = now.isoformat(timespec="seconds"), []
    for place, point in enumerate(points):
        own = [one for one in outcomes if one.pattern == point["pattern"]]
        log = _log(task, point, own, metrics, stamp)
        log["status"] = STATUS.get(stop_reason, "cancelled")
        title = re.sub(r"[^\w-]+", "-", f"{task.name}-{point['pattern']}")[:80]
        path = target / f"{now:%Y-%m-%dT%H-%M-%S}_{place}_{title}.json"
        text = html.without_secrets(encoded(writable(log)).decode())
        with writing(path) as fresh:
            fresh.write_text(text, encoding="utf-8")
        files.append(path)
    return files


def _log(
    task: Task,
    point: dict[str, Any],
    own: list[Outcome],
    metrics: tuple[str, ...],
    stamp: str,
) -> dict[str, Any]:
    pattern = str(point["pattern"])
    replies = [one.reply for one in own if one.reply is not None]
    paid = (reply for one in own for reply in one.took)
    model = next((f"{r.host}/{r.model}" for r in replies), "unknown")
    name = digest(task.name, pattern, stamp)
    shown = {"accuracy": point["accuracy"], "low": point["low"], "high": point["high"]}
    spec = {
        "eval_id": name,
        "run_id": name,
        "task_id": name,
        "created": stamp,
        "task": task.name,
        "task_args": {"pattern": pattern, "instruction": task.instruction},
        "dataset": {"name": task.name, "samples": len(task.rows), "shuffled": True},
        "model": model,
        "config": {"epochs": 1},
        "packages": {"kimikit": __version__},
        "metadata": {"pattern": pattern},
    }
    return {
        "version": 2,
        "eval": spec,
        "plan": {"name": pattern, "steps": []},
        "results": {
            "total_samples": len(task.rows),
            "completed_samples": len(replies),
            "scores": [_figures(metrics[0], point["n"], shown)]
            + [_further(metric, point) for metric in metrics[1:]],
        },
        "stats": {
            "started_at": _time(min((r.created for r in replies), default=0), stamp),
            "completed_at": _time(max((_end(r) for r in replies), default=0), stamp),
            "model_usage": {model: _usage(total_usage([*paid]))},
        },
        "samples": [_sample(task, one, model) for one in own],
    }


def _further(metric: str, point: dict[str, Any]) -> dict[str, Any]:
    ends = {"mean": "", "low": "_low", "high": "_high"}
    figures = {name: point[f"{metric}{end}"] for name, end in ends.items()}
    return _figures(metric, point[f"{metric}_n"], figures)


def _figures(metric: str, n: int, figures: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in figures.items() if value is not None}
    return {
        "name": metric,
        "scorer": metric,
        "scored_samples": n,
        "metrics": {key: {"name": key, "value": float(v)} for key, v in known.items()},
    }


def _sample(task: Task, one: Outcome, model: str) -> dict[str, Any]:
    reply, (question, truth) = one.reply or Reply(), asked(task, one)
    answer = None if one.answer is None else as_text(one.answer)
    scores = {
        name: {"value": _value(score), "answer": answer}
        for name, score in one.scores.items()
        if score is not None
    }
    sent = [m for m in reply.request.get("messages") or [] if _is_text(m)]
    messages = sent or [{"role": "user", "content": question}]
    said = {"role": "assistant", "content": reply.text, "source": "generate"}
    known = task.columns[one.row] if len(task.columns) > one.row else {}
    sample = {
        "id": one.row + 1,
        "epoch": 1,
        "input": question,
        "target": as_text(truth),
        "messages": [*messages, said] if one.reply is not None else messages,
        "output": {
            "model": reply.model or model,
            "choices": [{"message": said, "stop_reason": _reason(reply)}],
            "usage": _usage(reply.usage),
            "time": reply.duration_s,
        },
        "scores": scores,
        "metadata": {
            k: v for k, v in known.items() if isinstance(v, str | int | float)
        },
        "model_usage": {model: _usage(total_usage(one.took))},
        "total_time": reply.duration_s,
    }
    if one.error:
        sample["error"] = {"message": one.error, "traceback": "", "traceback_ansi": ""}
    return sample


def _is_text(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in ("system", "user", "assistant")
        and isinstance(message.get("content"), str)
    )


def _value(score: Score) -> str | float | None:
    """Return a score in Inspect's words: C is correct, I incorrect."""
    return ("I", "C")[score] if isinstance(score, bool) else score


def _end(reply: Reply) -> float:
    return reply.created + reply.duration_s


def _time(seconds: float, otherwise: str) -> str:
    if not seconds:
        return otherwise
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return otherwise  # a saved lab of somebody else may hold any number


def _reason(reply: Reply) -> str:
    known = {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls"}
    return known.get(reply.finish_reason or "", "unknown")


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
