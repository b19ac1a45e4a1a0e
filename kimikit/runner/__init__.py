"""Make many calls at once: one engine for all work that asks often.

Enter at ``Runner``, which asks ``Request`` values on an event loop in a thread of its
own: paced per host (``limits``), paid once (``cache``), within a limit of money, until
Stop. ``ask_all`` asks a list of them over clients that block (``runner_over``), and
``run_jobs`` runs ordinary blocking functions whose calls go through it;
``rounds.done_by`` does either live or by batches.
"""

from kimikit.runner.cache import RequestCache
from kimikit.runner.client import RunnerClient, WorkOptions, runner_over
from kimikit.runner.limits import RateLimiter
from kimikit.runner.live import Runner, Stopped
from kimikit.runner.many import ask_all, run_jobs
from kimikit.runner.requests import Request

__all__ = [
    "RateLimiter",
    "Request",
    "RequestCache",
    "Runner",
    "RunnerClient",
    "Stopped",
    "WorkOptions",
    "ask_all",
    "run_jobs",
    "runner_over",
]
