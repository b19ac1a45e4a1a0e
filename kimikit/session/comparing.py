"""Compare points of a grid, hosts and patterns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack

from kimikit import sweeps
from kimikit.params import ChatParams, GridParams, takes_chat_params
from kimikit.session.filing import Filing
from kimikit.sweeps.grid import NOT_IN_A_GRID
from kimikit.tools import offered
from kimikit.wire.options import joined

if TYPE_CHECKING:
    from kimikit.evals.named import Metrics
    from kimikit.notebook.playground import Playground
    from kimikit.notebook.race_view import Race
    from kimikit.runner.batch import Way
    from kimikit.runner.cluster import Dask
    from kimikit.runner.jobs import Jobs
    from kimikit.sweeps.values import Embed
    from kimikit.types import Reply


class Comparing(Filing):
    """The verbs that ask often and compare."""

    @takes_chat_params(hidden=NOT_IN_A_GRID)
    def sweep(
        self,
        prompt: Any,
        *,
        repeats: int = 5,
        file: Any = None,
        host: str | Sequence[str | None] | None = None,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        dry_run: bool = False,
        metrics: Metrics | None = None,
        embed: Embed | None = None,
        concurrency: int | None = None,
        rpm: float | None = None,
        on_fixed: Literal["raise", "omit"] = "raise",
        progress: bool | Callable[[sweeps.Progress], None] = True,
        fresh: bool = False,
        order_seed: int | None = None,
        until: float | None = None,
        via: Literal["live", "batch"] | Dask = "live",
        poll_s: float | None = None,
        results: str | os.PathLike[str] | None = None,
        **grid: Unpack[GridParams],
    ) -> Any:
        """Ask at every point of a grid, several times, and measure how answers differ.

        Args:
            prompt: A text or messages; a list, a named dict or a ``Task`` is an axis.
            repeats: Answers per point, each asked by itself.
            file: As for ``chat``; a list is an axis, a list in it several at once.
            host: Other hosts to ask, by their names.
            name: Makes it resumable: asked again, only what is missing is bought.
            max_cost: US dollars; what likely costs more is refused, or ends before.
            dry_run: Return only the plan: calls, cost and minutes.
            metrics: Functions of ``reply`` or ``reply, params`` by name; or scorers.
            embed: From texts to vectors; the local host uses its own.
            concurrency: Calls at once per host; 8, or fewer where hosts serve few.
            rpm: Requests per minute and host; a host that says its limit is believed.
            on_fixed: Where a host pins a parameter: ``raise``, or ``omit`` it.
            progress: One line of progress, or a function that is given it.
            fresh: Start a named sweep over.
            order_seed: Seed of the order, else a fixed one; ``seed=`` is the model's.
            until: Half the width of an interval, such as 0.05: buy repeats in rounds
                until the first metric is known so well, or settings are told apart.
            via: ``live``; a client of Dask, whose workers ask; or ``batch`` for the
                hosts' batch APIs: within a day, at a lower price, a ``Job`` at once.
            poll_s: Seconds between two looks at a batch, instead of 30 to 60.
            results: A folder for answers as Parquet, so that memory stays flat.
            **grid: One value, or a list of values, which is an axis, as of ``host``.

        Returns:
            The ``Sweep``, a table; by batch a ``Job`` whose ``wait()`` has it.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> [(point["temperature"], point["n"]) for point in sweep.summary()]
            [(0, 2), (1, 2)]
        """
        given = sweeps.options(locals())
        embed = embed or self._own_embed
        prompt, metrics = self._judged(prompt, metrics, embed, name, max_cost)
        asked = self._axes(grid, host, file)
        given |= {"metrics": metrics, "embed": embed}
        return self._swept(prompt, given, asked, poll_s, via)

    def _axes(self, grid: Mapping[str, Any], host: Any, file: Any) -> dict[str, Any]:
        """Return what is varied, files as an axis that all asked hosts have checked."""
        asked = {**grid, **({} if host is None else {"host": host})}
        if file is None:
            return asked
        each = partial(self._files, host=host, model=asked.get("model"))
        several = isinstance(file, list | tuple)
        return {**asked, "file": [*map(each, file)] if several else each(file)}

    def _judged(
        self, prompt: Any, metrics: Any, embed: Any, name: Any, max_cost: Any
    ) -> tuple[Any, Any]:
        """Return prompts and metrics as ``sweeps`` takes them: no set, and no names."""
        if metrics is None and not hasattr(prompt, "variants"):
            return prompt, metrics  # most sweeps, which need no import
        from kimikit.evals.in_sweeps import ONE_AT_ONCE, for_sweep

        options = ONE_AT_ONCE._replace(name=name, store=self.ledger, max_cost=max_cost)
        client = self.client
        return for_sweep(prompt, metrics, embed=embed, client=client, options=options)

    def _swept(
        self,
        prompt: Any,
        given: dict[str, Any],
        asked: dict[str, Any],
        poll_s: float | None,
        via: object,
    ) -> Any:
        """Sweep by a batch or at once; what a batch of the name has is taken in."""
        given |= {"store": self.ledger, "estimate": self._bill}
        via = "live" if given["dry_run"] and via == "batch" else via
        named, batches = _named(asked.get("model")), self._way()
        client_for = self._connection.clients(via, named=named)
        if via == "batch":
            from kimikit.sweeps.by_batch import batch_sweep

            return batch_sweep(batches, client_for, prompt, given, asked, poll_s)
        from kimikit.runner.jobs import catch_up

        catch_up(batches, "sweep", given["name"])
        return sweeps.sweep(client_for, prompt, **given, **asked)

    def _bill(self, host: str, model: str, params: Any, prompt: Any) -> Any:
        """Price one call as it will be sent, the defaults of this object included."""
        asked = joined(self.client.defaults, params)
        return self.ledger.bill(host, model, asked, prompt)

    @takes_chat_params()
    def map(
        self,
        prompts: Any,
        *,
        template: str | None = None,
        file: Any = None,
        into: Any = None,
        retries: int = 2,
        schema: Literal["auto", "host", "prompt"] = "auto",
        name: str | None = None,
        via: Literal["live", "batch"] | Dask = "live",
        max_cost: Decimal | float | str | None = None,
        concurrency: int | None = None,
        rpm: float | None = None,
        poll_s: float | None = None,
        progress: bool = True,
        **params: Unpack[ChatParams],
    ) -> Any:
        """Ask many prompts, each once; the answers come in their order.

        A prompt that fails keeps no other from being asked: its error stands in the
        place of its answer. Stop keeps what is finished.

        Args:
            prompts: A list of texts or of conversations; or rows for ``template``: a
                frame, or a list of dicts.
            template: What to ask of each row: ``"Translate {text} into {language}."``
            file: Files that go before each prompt, as for ``chat``; ``"{picture}"``
                for the file, or the files, in that column of each row.
            into: A type that each answer must fit, as in ``chat``: ``.parsed``.
            retries: How often an answer that does not fit ``into`` goes back.
            schema: Whether the host, the prompt or both hold answers to ``into``.
            name: Makes it resumable: asked again, only missing answers are bought.
            via: ``live``; a client of Dask, whose workers ask; or ``batch`` for the
                host's batch API: within a day, at a lower price, a ``Job`` at once.
            max_cost: US dollars; what likely costs more is refused, or ends before.
            concurrency: Calls at once; 8, or fewer where hosts serve few.
            rpm: Requests per minute; a host that says its limit is believed.
            poll_s: Seconds between two looks at a batch, instead of 30 to 60.
            progress: Whether to show a bar.
            **params: For every call.

        Returns:
            The ``Results``: a list of answers with ``.failed``, ``.cost`` and
            ``.to_pandas()``; by batch a ``Job`` whose ``wait()`` has them.

        Raises:
            BadInput: If a prompt or an argument is impossible; nothing was sent then.
            BudgetExceeded: If ``max_cost`` or a budget refuses it.
            KimiError: What every prompt would meet, such as a wrong key. What was
                finished is the error's ``results``.

        Example:
            >>> rows = [{"country": "Germany"}, {"country": "France"}]
            >>> replies = kimi.map(rows, template="What is the capital of {country}?")
            >>> replies[0].text
            'The capital of Germany is Berlin.'
        """
        ask = self._structured(into, retries=retries, schema=schema)
        attach = self._attach_each(file, params.get("model"))
        own = {"concurrency": concurrency, "rpm": rpm, "progress": progress}
        asked, ways = (prompts, template, dict(params)), {"ask": ask, "attach": attach}
        return self._mapped(asked, via, poll_s, max_cost, name=name, **ways, **own)

    def _mapped(
        self,
        asked: tuple[Any, str | None, dict[str, Any]],
        via: object,
        poll_s: float | None,
        max_cost: Any,
        **own: Any,
    ) -> Any:
        """Ask prompts by a batch or at once; what a batch of the name has is taken."""
        from kimikit.runner import costs, mapping

        params = asked[-1]
        if "tools" in params:
            params["tools"] = offered(params["tools"])
        how = mapping.Mapping(
            client_for=self._connection.clients(via, named=_named(params.get("model"))),
            client=self.client,
            store=self.ledger,
            price=self._bill,
            max_cost=costs.dollars(max_cost),
            **own,
        )
        if via == "batch":
            return mapping.batch_prompts(how, self._way(), *asked, poll_s)
        return mapping.map_prompts(how, *asked, self._way())

    def _way(self) -> Way:
        """Return how batches are asked and paid for."""
        from kimikit.runner.batch import Way

        way = self._connection
        return Way(way.client_of, self.ledger, way.budgets)

    def jobs(self) -> Jobs:
        """Return all batches of the ledger, also those of yesterday's kernel.

        Example:
            >>> job = kimi.map(["Name a colour."], via="batch", max_tokens=8)
            >>> kimi.jobs()[0].name == job.name
            True
        """
        from kimikit.runner.jobs import all_jobs

        return all_jobs(self._way())

    def _structured(self, into: Any, **options: Any) -> Callable[..., Reply] | None:
        """Return what asks until an answer fits a type, ``None`` for no type."""
        if into is None:
            return None
        from kimikit import prompting, schema

        schema.of(into)  # refuses what has no schema, before anything is sent
        return partial(prompting.structured, into=into, **options)

    @takes_chat_params()
    def race(
        self,
        prompt: Any,
        hosts: Any = None,
        *,
        file: Any = None,
        show: bool | None = None,
        **params: Unpack[ChatParams],
    ) -> Race:
        """Ask several hosts or models at once, in live columns.

        Args:
            prompt: A text or messages.
            hosts: Names of hosts, or of models of this host, or by label the ``host``,
                ``model`` and parameters of each column:
                ``{"cold": {"temperature": 0}, "warm": {...}}``. ``models=[...]`` asks
                these models, of this host or of each of the hosts.
            file: Files to ask about, as for ``chat``.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: Parameters of every call.

        Returns:
            The ``Race``: replies and errors by column, shown as a table.

        Example:
            >>> columns = {"cold": {"temperature": 0}, "warm": {"temperature": 1}}
            >>> list(kimi.race("Name a colour.", columns).replies)
            ['cold', 'warm']
        """
        from kimikit.notebook.race_view import columns, race
        from kimikit.runner import Request
        from kimikit.wire.requests import refuse_key

        requests, models = {}, params.pop("models", None)
        for label, own in columns(hosts, models, own=self.host).items():
            asked: dict[str, Any] = {**params, **own}
            host, model = asked.pop("host", None), str(asked.get("model") or "")
            refuse_key(model)
            requests[label] = Request(
                messages=self._with_files(prompt, file, model, host),
                params=asked,
                host=host,
                model=model,
            )
        show = self._show if show is None else show
        named = _named([each.model for each in requests.values()])
        clients = partial(self._connection.async_client, named=named)
        return race(requests, clients, show=show)

    def playground(self) -> Playground:
        """Return an app: prompt, sliders, Run and Stop, live answer, running cost.

        Example:
            >>> app = kimi.playground()  # a cell that ends in it shows it
        """
        from kimikit.notebook.playground import Playground

        return Playground(self, self._connection.async_client)


def _named(models: Any) -> bool:
    """Say whether each call names its model, given one, several or none."""
    some = models if isinstance(models, list | tuple) else [models]
    return all(some) and bool(some)
