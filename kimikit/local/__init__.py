"""Answer as a host on this machine: small real models, addressed as OpenAI's API is.

Enter at ``ensure``, which finds or starts it (``process``, ``server``), or ``serve``.
``routes`` and ``batch_routes`` are its endpoints, ``chat``, ``needle`` and ``vectors``
its answers, ``models`` its files; ``upstream`` offers batches before another server.
"""

from kimikit.errors import BadInput
from kimikit.local import models
from kimikit.local.process import Running, ensure, status, stop

__all__ = ["Running", "ensure", "serve", "status", "stop"]


def serve(
    *,
    port: int = 0,
    api_key: str | None = None,
    upstream: str | None = None,
    concurrency: int = 8,
) -> None:
    """Run a local host in the foreground until it is interrupted.

    Args:
        port: The loopback port, 0 for a free one.
        api_key: The key to ask clients for; without one a random key is made.
        upstream: The address of another server, to offer batches in front of it in
            place of the local models.
        concurrency: Requests of batches that it is asked at once.

    Raises:
        BadInput: If ``upstream`` is no address, or ``concurrency`` is below 1.
        LocalHostError: If models cannot be had, or the port is taken.
        MissingDependency: If the extra ``local`` is not installed.
    """
    if concurrency < 1:
        raise BadInput(
            f"--concurrency is {concurrency}.", "Give a number of 1 or more."
        )
    if upstream is None:
        models.fetch()
    from kimikit.local import server

    if upstream is None:
        server.serve(port, api_key)
    else:
        server.serve_upstream(port, api_key, upstream, concurrency)
