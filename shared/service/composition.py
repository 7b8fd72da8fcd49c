"""What the composition roots of the services share. A root builds a ``Service``, adds its parts, and serves.

Parts are opened in the order of the calls and closed in reverse, even if one fails in between. What a service
needs beyond this is an argument in its ``__main__``.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from fastapi import FastAPI
from pymongo.database import Database

from shared.access.factory import open_access
from shared.access.guard import Access
from shared.contracts.collections import Collections
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.contracts.services import SERVICES
from shared.contracts.topics import Topics
from shared.erasure.gate import ErasureGate
from shared.erasure.ledger import read_ledger
from shared.http.cors import READING, allow_origins
from shared.http.gating import add_gate
from shared.http.limits import Limits
from shared.http.metrics import add_metrics
from shared.http.serving import serve
from shared.http.tls import tls_of
from shared.kafka.clients import open_both, open_publisher
from shared.measures.computing import Compute, Elsewhere, children_of
from shared.mongo.errors import translated
from shared.mongo.restores import restore_problems
from shared.mongo.store import MongoStore, connect, prepare
from shared.observability.abandoned import AbandonedPartitions
from shared.observability.certificates import certificate_metric
from shared.observability.heartbeat import Heartbeat
from shared.observability.instrumentation import WorkerInstrumentation
from shared.observability.metrics import new_registry
from shared.observability.service_metrics import add_service_metrics
from shared.observability.tracing_setup import open_tracing
from shared.runtime.observer import CompositeObserver, Observer
from shared.runtime.protocols import Document, Projection, Publisher, Store
from shared.runtime.readiness import ReadinessGate
from shared.runtime.runner import Runner
from shared.runtime.tuning import shorten_switch_interval
from shared.runtime.watchdog import STORE_THREADS
from shared.runtime.worker import Worker, owner_name
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.open import vault_in
from shared.versions.generations import collections_of
from shared.versions.live import LiveNames, LiveStore
from shared.versions.mongo_registry import MongoRegistry


class Background(Protocol):
    """A part that works on its own thread."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Closable(Protocol):
    def close(self) -> None: ...


B = TypeVar("B", bound=Background)
C = TypeVar("C", bound=Closable)
T = TypeVar("T")


class Prepared:
    """Prepares collections as soon as MongoDB answers. Thread-safe, and idempotent."""

    def __init__(self, database: Database[Document], collections: Collections) -> None:
        self._database, self._collections = database, collections
        self._done = False

    def problems(self) -> list[str]:
        """Why they are not prepared yet; empty once they are."""
        try:
            if not self._done:
                with translated():
                    prepare(self._database, self._collections)
                self._done = True
        except Unavailable as error:
            return [str(error)]
        return []


class Service:
    """The parts of one service process, until the end of the ``with`` block."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Opens only the tracing. ``name`` is the service's name. Raises ConfigurationError (TLS files)."""
        self.name, self.settings = name, settings
        self.topics = Topics(settings.topic_prefix)
        #: The metrics in ``/metrics``.
        self.metrics = new_registry()
        self._tls = tls_of(settings)
        self._closing = ExitStack()
        self._background: list[Background] = []
        self.tracing = self.closing(open_tracing(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def closing(self, part: C) -> C:
        """Close ``part`` when the service ends."""
        self._closing.callback(part.close)
        return part

    def entered(self, context: AbstractContextManager[T]) -> T:
        """Enter ``context`` now, and leave it when the service ends."""
        return self._closing.enter_context(context)

    def background(self, part: B) -> B:
        """Start ``part`` before the service answers, and stop it when it ends."""
        self._background.append(part)
        return part

    @cached_property
    def database(self) -> Database[Document]:
        """The database. Raises ConfigurationError when KITH_MONGO is not set."""
        if self.settings.mongo is None:
            raise ConfigurationError("KITH_MONGO is not set; set it to the URI of a MongoDB replica set")
        return self.entered(connect(self.settings.mongo, self.settings.query_seconds))[self.settings.database]

    @cached_property
    def vault(self) -> Vault | None:
        """The keys of personal data; None where nothing is encrypted. Raises ConfigurationError."""
        return vault_in(self.settings, self.database, seals=SERVICES[self.name].seals)

    @cached_property
    def access(self) -> Access:
        """The access control of the API. Raises ConfigurationError."""
        return self.entered(open_access(self.settings, None if self.settings.mongo is None else self.database))

    def publisher(self) -> Publisher:
        """A new publisher, which the caller closes. Raises Unavailable."""
        return open_publisher(self.settings)

    def versions(self, projection: str) -> MongoRegistry:
        """The versions of a projection."""
        return MongoRegistry(self.database, projection)

    def names(self, projection: str) -> LiveNames:
        """The current names of a projection's collections."""
        return LiveNames(self.versions(projection))

    def erasure_gate(self, *, corrects: bool = True) -> ErasureGate:
        """Keeps the service from answering while a consumer of the ledger is still in the database. If the
        database is older than an erasure, the gate publishes the erasure again if it ``corrects``. Otherwise it
        waits for another service to do so."""
        publisher = self.publisher if corrects else None
        return self.background(
            ErasureGate(
                self.database, self.names("relations"), lambda: read_ledger(self.settings), publisher, self.topics
            )
        )

    def worker(
        self,
        projection: Projection[Any],
        collections: Collections,
        *,
        beside: Mapping[str, Any] | None = None,
        wrap: Callable[[Store], Store] = lambda store: store,
        check: Callable[[], None] = lambda: None,
        observers: Sequence[Observer] = (),
    ) -> Worker:
        """A worker that folds the projection's topics into the ``collections`` of its live version.

        It starts once the servers answer and ``check`` no longer raises Unavailable. ``beside`` are unversioned
        collections that it prepares as well. ``wrap`` wraps the store of a version. ``observers`` are notified
        after those of metrics, logs and traces.
        """
        settings, versions = self.settings, self.versions(projection.name)
        instruments = WorkerInstrumentation(self.metrics, self.tracing, projection.name)

        def open_store(version: int) -> Store:
            return instruments.store.on(wrap(MongoStore(self.database, collections_of(collections, version))))

        def build() -> Runner:
            if problems := restore_problems(self.database):
                raise Unavailable(problems[0])
            check()
            with translated():
                prepare(self.database, {**collections_of(collections, versions.read().live), **(beside or {})})
            reader, publisher = open_both(settings, projection.name, projection.topics)
            return Runner(
                reader,
                LiveStore(versions, open_store),
                instruments.publisher.on(publisher),
                projection,
                owner=owner_name(),
                dead_letters=self.topics.name("dead-letters"),
                slice_events=settings.slice_events,
                committer=ThreadPoolExecutor(4, thread_name_prefix=STORE_THREADS),
                observer=CompositeObserver(instruments.observer, *observers),
            )

        abandoned = AbandonedPartitions(
            self.database,
            projection.name,
            projection.topics,
            lambda: self.versions(projection.name).read().live,
            settings.stuck_seconds,
        )
        worker = Worker(build, settings.stuck_seconds, abandoned.problems)
        instruments.watch(worker)
        latency = instruments.latency.counts
        beat = Heartbeat(self.database, projection.name, owner_name(), latency, abandoned.look, worker.behind)
        self.background(beat)
        return self.background(worker)

    def computing(self, module: str) -> Compute | None:
        """Processes of ``python -m module`` that compute measures, started when they are needed; None where the
        settings want none."""
        settings = self.settings
        if settings.measure_processes == 0:
            return None
        children = children_of(module, settings.measure_processes, settings.measure_seconds)
        return Elsewhere(self.closing(children).ask)

    def serve(
        self,
        app: FastAPI,
        port: int,
        *,
        gate: ReadinessGate | None = None,
        ungated: Sequence[str] = (),
        origins: Sequence[str] = (),
        methods: Sequence[str] = READING,
    ) -> None:
        """Start the background parts, answer until SIGTERM or SIGINT, and close everything.

        While ``gate`` is closed, requests for data get a 503, except the paths in ``ungated``. Pages from
        ``origins`` may call the API from a browser, with these ``methods``. Raises ConfigurationError, and the
        error that stopped a worker.
        """
        shorten_switch_interval()
        if gate is not None:
            add_gate(app, gate, but=ungated)
        add_service_metrics(self.metrics, self.name, app.state.ready)
        certificate_metric(self.metrics, self.name, self.settings)
        add_metrics(app, self.metrics)
        allow_origins(app, origins, methods)
        for part in self._background:
            part.start()
            self._closing.callback(part.stop)
        limits = Limits.of(self.settings)
        serve(app, self.settings.host, port, self._closing.close, tls=self._tls, limits=limits)
