"""Many calls at once on one event loop: the engine that sweeps and labs move to.

Enter at ``Runner``, which asks ``Request`` values on an event loop in a thread of its
own: paced per host (``limits``), paid once (``cache``), within a limit of money, until
Stop. ``run_jobs`` runs ordinary blocking functions whose calls go through it.
"""

from kimikit.runner.cache import RequestCache
from kimikit.runner.client import RunnerClient, run_jobs, runner_over
from kimikit.runner.limits import RateLimiter
from kimikit.runner.live import Runner, Stopped
from kimikit.runner.requests import Request

__all__ = [
    "RateLimiter",
    "Request",
    "RequestCache",
    "Runner",
    "RunnerClient",
    "Stopped",
    "run_jobs",
    "runner_over",
]
