"""Connect a session to its host, and start the local host when it is needed."""

from __future__ import annotations

import contextlib
import functools
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from kimikit.errors import BadInput, KimiError
from kimikit.secrets import Key
from kimikit.types import Host
from kimikit.types.as_code import KEY_VARIABLE
from kimikit.types.sent import Again
from kimikit.wire import AsyncClient, Client, hosts
from kimikit.wire.recorder import everywhere

if TYPE_CHECKING:
    from kimikit.local import Running
    from kimikit.money.budget import Budgets
    from kimikit.money.ledger import Ledger
    from kimikit.replay import Tape
    from kimikit.runner.endpoint import ClientFor


class Connection:
    """One host and how to reach it, by clients of both kinds.

    Args:
        profile: The host.
        api_key: Its key; without one the profile's environment variable is read.
        options: What every client is made with.
        embedded: Whether a stand-in is to be started here, not at a given address.

    Attributes:
        key: The key in use.
        embedded: Whether the local host of this machine answers.
    """

    def __init__(
        self,
        profile: Host,
        api_key: str | None,
        options: dict[str, Any],
        *,
        embedded: bool,
    ) -> None:
        self.embedded = profile.stand_in and embedded
        api_key = Key.of(api_key)
        recorder = options.get("recorder")
        self._replayed = None
        if recorder is not None and recorder.offline:
            api_key = api_key or Key("")  # nobody is asked
            self._replayed = recorder.source
        self.key = hosts.key_of(profile) if api_key is None else api_key
        given = api_key is not None or os.environ.get(profile.key_variable or "-")
        kept = profile.key_variable and not given
        self._key_from = "the system's keyring" if kept else ""
        self._options = options
        self._again_by: Again | None = None
        self._others: dict[str, Client] = {}
        self._client = self._connect(profile)

    @functools.cached_property
    def embeds(self) -> bool:
        """Whether it embeds texts unasked, as a stand-in or its recording does."""
        if self._replayed is None:
            return self.embedded
        # Looked up when it is first wanted: a large recording is read through for it.
        return self._client.host.stand_in and bool(self._replayed.embeds)

    def continued_by(self, again: Again) -> None:
        """Let answers of this host be asked again by the session, which shows them."""
        self._again_by = self._client.asker = again

    @contextlib.contextmanager
    def through(self, recorder: Tape | None, ledger: Ledger) -> Iterator[None]:
        """Let a recorder stand between all clients and the network for a while."""
        before = self._options
        self._options = {**before, "recorder": _priced(recorder, ledger)}
        self._again()
        try:
            yield
        finally:
            self._options = before
            self._again()

    def _again(self) -> None:
        host = self._client.host
        self.close()
        self._client = self._connect(host)

    def _connect(self, profile: Host) -> Client:
        if self.embedded:
            profile, self.key = _started(profile)
        client = Client(profile, api_key=self.key, **self._options)
        client.asker = self._again_by or client.asker
        # Closed with this object, so that no notebook has to think of connections.
        self.close = weakref.finalize(self, client.close)
        return client

    @property
    def client(self) -> Client:
        """A client that is connected; a local host that ended is started again."""
        if self.embedded and not self._is(_running()):
            self.close()
            self._client = self._connect(self._client.host)
        return self._client

    def _is(self, running: Running) -> bool:
        """Say whether that is the host in use: another may have got its port."""
        used = (self._client.host.base_url, self.key)
        return (running.base_url, running.api_key) == used

    @property
    def host(self) -> Host:
        """The host; holds no key."""
        return self._client.host

    @property
    def key_state(self) -> str:
        """Whether there is a key, with all but its end masked."""
        where = self._key_from or self.host.key_variable or "no variable"
        if not self.key:
            return f"none; {where}"
        made = "made for this run" if self.embedded else where
        return f"...{self.key[-4:]} ({made})"

    def context_tokens(self) -> int:
        """Return the model's context window: as known, else as the host lists it.

        Raises:
            BadInput: If neither is to be had.
        """
        known = hosts.model_facts(self.host, self.host.model).context
        if not known and "models" in self.host.endpoints:
            with contextlib.suppress(KimiError):
                known = self.client.models().context(self.host.model)
        if not known:
            raise BadInput(
                f"The context window of {self.host.model} is not known.",
                "Pass context=, in tokens.",
            )
        return known

    @property
    def budgets(self) -> Budgets:
        """The limits in force for all clients."""
        found: Budgets = self._options["observers"][0]
        return found

    def client_of(self, name: str | None) -> Client:
        """Return a client of this or of another host, for what waits on it."""
        if name is None or name == self.host.name:
            return self.client
        if name not in self._others:
            profile, key = hosts.resolve(name), None
            if profile.stand_in:
                profile, key = _started(profile)
            made = Client(profile, api_key=key, **self._options)
            weakref.finalize(self, made.close)
            self._others[name] = made
        return self._others[name]

    def clients(self, via: object, *, named: bool) -> ClientFor:
        """Return what makes the clients of work that goes this way.

        Raises:
            BadInput: If ``via=`` is no way, or a cluster cannot be used.
        """
        own = functools.partial(self.async_client, named=named)
        if isinstance(via, str) and via in ("live", "batch"):
            return own
        from kimikit.runner.cluster import Cluster, is_cluster

        if not is_cluster(via):
            raise BadInput(
                f"via is {via!r}.", "Give 'live', 'batch' or a client of Dask."
            )
        recorder: Tape | None = self._options.get("recorder")
        if recorder is None:
            return Cluster(via, worker_client).client_for(own)
        if recorder.offline:
            return own  # a recording answers, so that workers have nobody to ask
        if recorder.source is not None:
            raise BadInput(
                "Workers do not have the recording that replay=True answers from.",
                "Leave via= out, or replay= to record all anew.",
            )
        return Cluster(via, recording_client, recorder.take).client_for(own)

    def async_client(
        self, name: str | None = None, *, named: bool = False
    ) -> AsyncClient:
        """Make a client of this or of another host, for the loop of a sweep or race.

        Args:
            name: The other host.
            named: Whether each call names its model: no host is then asked for one.
        """
        if name is None or name == self.host.name:
            host = self.client.host if named else with_model(self.client)
            here = AsyncClient(host, api_key=self.key, **self._options)
            here.asker = self._again_by
            return here
        recorder = self._options.get("recorder")
        if recorder is not None and recorder.offline:
            profile = profile_of(recorder, name, base_url=None, model=None)
            return AsyncClient(profile, api_key="", **self._options)
        profile, key = hosts.resolve(name), None
        if profile.stand_in:
            profile, key = _started(profile)
        elif not profile.model and not named:
            profile = with_model(self.client_of(name))
        return AsyncClient(profile, api_key=key, **self._options)


def worker_client(host: Host, options: Mapping[str, Any]) -> AsyncClient:
    """Make a client on a machine of a cluster, with a key that is kept there.

    Args:
        host: The host; its key is in the variable that it names, or in the keyring. An
            address of one's own has none, so that ``KIMIKIT_API_KEY`` is read.
        options: The other options of a client.
    """
    key: str | None = None
    if host.stand_in:
        host, key = _started(host)
    elif not host.key_variable:
        key = os.environ.get(KEY_VARIABLE, "")
    return AsyncClient(host, api_key=key, **options)


def recording_client(host: Host, options: Mapping[str, Any]) -> AsyncClient:
    """Make a client on a machine of a cluster; what it is answered goes back too."""
    from kimikit.replay.tape import Carrier

    return worker_client(host, {**options, "recorder": Carrier()})


class Session:
    """What every part of ``Kimi`` works with.

    Attributes:
        ledger: What all calls have cost, today and ever.
    """

    ledger: Ledger
    _connection: Connection
    _show: bool | None

    @property
    def client(self) -> Client:
        """The wire alone, connected; the local host is started again if it ended.

        Example:
            >>> kimi.client
            Client('local', model='smollm2-135m-instruct')
        """
        return self._connection.client

    @property
    def host(self) -> Host:
        """The host in use; holds no key.

        Example:
            >>> kimi.host.name, kimi.host.model
            ('local', 'smollm2-135m-instruct')
        """
        return self._connection.host

    def close(self) -> None:
        """Close all connections; so does the end of a ``with`` block, and collection.

        Example:
            >>> kimi.close()
            >>> kimi.chat("Hello")
            Traceback (most recent call last):
            kimikit.errors.BadInput: The client is closed. Make a new one.
        """
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _own_embed(self) -> Callable[[list[str]], Any] | None:
        return self._embed if self._connection.embeds else None

    def _embed(self, texts: list[str]) -> Any:
        return self.client.embed(texts).vectors


def with_model(client: Client) -> Host:
    """Return the host of a client, with its only model where none is named.

    Raises:
        KimiError: If it has several, none, or does not say.
    """
    if not client.host.model:
        client._only_model()
    return client.host


def _running() -> Running:
    """Return the local host, started if it is not up; who has a key never loads it."""
    from kimikit import local

    return local.ensure()


def _started(profile: Host) -> tuple[Host, Key]:
    """Return the local host as it runs now, and its key."""
    running = _running()
    model = profile.model or running.model
    host = hosts.resolve(profile.name, base_url=running.base_url, model=model)
    hosts.started.add(running.base_url)
    return host, Key(running.api_key)


def recorder_of(host: object, **options: Any) -> Tape | None:
    """Return what records or replays, ``None`` for nothing; see ``replay.tape``."""
    usual = {
        "record": None,
        "replay": False,
        "path": None,
        "speed": 1.0,
        "cycle": False,
    }
    named = any(map(os.environ.get, ("KIMIKIT_REPLAY", "KIMIKIT_RECORD")))
    plain = all(options[name] == usual[name] for name in options)
    if plain and host != "replay" and not named and not everywhere:
        return None  # who neither records nor replays loads nothing of it
    from kimikit import replay

    return replay.tape(host, **options)


def profile_of(
    recorder: Tape | None, host: Any, *, base_url: str | None, model: str | None
) -> Host:
    """Return the host to ask, or the one that a replay stands for."""
    if recorder is None or not recorder.offline:
        return hosts.resolve(host, base_url=base_url, model=model)
    from kimikit import replay

    return replay.profile(recorder, host, base_url=base_url, model=model)


def ledger_of(recorder: Tape | None, given: Any) -> Ledger:
    """Return the ledger that was given, or named, or the one of a replay."""
    from kimikit.money.ledger import Ledger

    if given is None and recorder is not None and recorder.offline:
        from kimikit import replay

        return replay.ledger_of(recorder)
    ledger = given if isinstance(given, Ledger) else Ledger(given)
    _priced(recorder, ledger)
    return ledger


def _priced(recorder: Tape | None, ledger: Ledger) -> Tape | None:
    """Let what records note the price of the day."""
    if recorder is not None:
        recorder.price = recorder.price or ledger.prices.lookup
    return recorder


def why(
    host: str | None, base_url: str | None, profile: Host, recorder: Tape | None = None
) -> str:
    """Say in a sentence why this host is used."""
    if recorder is not None and recorder.source is not None and recorder.offline:
        return f"{profile.name} ({profile.model}), replayed from {recorder.source.name}"
    if base_url:
        reason = "base_url was given"
    elif host:
        reason = "it was named"
    elif os.environ.get("KIMIKIT_HOST"):
        reason = "KIMIKIT_HOST names it"
    elif profile.stand_in:
        reason = "no key is set in the environment"
    else:
        reason = f"{profile.key_variable} is set"
    return f"{profile.name} ({profile.model or 'a model of its own'}), because {reason}"
