"""The contenders: how each is started, and how its progress is measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from services.bench import connect, quix, start
from services.bench.start import Job
from shared.contracts.errors import ConfigurationError
from shared.local.processes import Process
from shared.settings import Settings

#: The tutorial loop reads only a small topic: the whole would take minutes.
TUTORIAL_EVENTS = 10_000


@dataclass(frozen=True)
class Contender:
    """``start`` returns the processes, not yet started. ``missing`` returns the reason why it cannot be measured
    here."""

    name: str
    title: str
    start: Callable[[Job], list[Process]]
    missing: Callable[[], str | None] = lambda: None
    #: Whether stored positions show its progress (otherwise mongod's operation counters do).
    kith: bool = False
    whole_job: bool = False
    workers: int = 1
    scenarios: Sequence[str] = ("first",)
    most_events: int | None = None
    #: A shared library that its processes must have loaded.
    library: str | None = None
    #: The ``_id`` of a relation, if that is not the relation's id itself.
    document_id: Callable[[str], object] = field(default=lambda relation_id: relation_id)


ALL_SCENARIOS = ("first", "replay", "amended")


def _needs(*modules: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [module for module in modules if find_spec(module) is None]
        return f"{', '.join(absent)} is not installed (uv run --group bench)" if absent else None

    return missing


def _needs_settings(*names: str, modules: Sequence[str] = ()) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [f"KITH_{name.upper()}" for name in names if name not in Settings.model_fields]
        return f"Kith has no setting {', '.join(absent)}" if absent else _needs(*modules)()

    return missing


def _fetched(fetch: Callable[[], object]) -> Callable[[], str | None]:
    def missing() -> str | None:
        try:
            fetch()
        except ConfigurationError as error:
            return str(error)
        return None

    return missing


def _nested(relation_id: str) -> object:
    return {"data": {"relation_id": relation_id}}


def _kith_row(
    name: str, title: str, *, librdkafka: bool = False, facts: bool = False, workers: int = 1
) -> Contender:
    settings = {"relations_facts_only": "true"} if facts else {}
    if librdkafka:
        settings["kafka_client"] = "librdkafka"
    modules = ("confluent_kafka",) if librdkafka else ()
    return Contender(
        name,
        title,
        start.kith(workers, **settings),
        _needs_settings(*settings, modules=modules),
        kith=True,
        whole_job=not facts,
        workers=workers,
        library="librdkafka" if librdkafka else None,
        scenarios=ALL_SCENARIOS if workers == 1 else ("first",),
    )


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("tutorial", "tutorial loop, update_one", start.peer("tutorial"), most_events=TUTORIAL_EVENTS),
        Contender(
            "bulk-pure",
            "kafka-python, bulk_write, no crc32c",
            start.peer("bulk_writes", "--without-crc32c"),
        ),
        Contender("bulk", "kafka-python + crc32c, bulk_write", start.peer("bulk_writes")),
        Contender("quix", "Quix Streams, its MongoDB sink", start.quix_streams, _fetched(quix.interpreter)),
        Contender(
            "faststream",
            "FastStream (confluent), bulk_write",
            start.peer("faststream_batches"),
            _needs("faststream", "confluent_kafka"),
        ),
        Contender(
            "connector-1",
            "MongoDB sink connector, 1 task",
            start.connector(1),
            _fetched(connect.fetch),
            scenarios=ALL_SCENARIOS,
            document_id=_nested,
        ),
        Contender(
            "connector-2",
            "MongoDB sink connector, 2 tasks",
            start.connector(2),
            _fetched(connect.fetch),
            scenarios=ALL_SCENARIOS,
            document_id=_nested,
        ),
        _kith_row("facts", "Kith, facts only", facts=True),
        _kith_row("facts-librdkafka", "Kith, facts only, librdkafka", facts=True, librdkafka=True),
        _kith_row("kith", "Kith, whole job"),
        _kith_row("kith-librdkafka", "Kith, whole job, librdkafka", librdkafka=True),
        _kith_row("kith-2", "Kith, whole job, 2 workers", workers=2),
        _kith_row("kith-librdkafka-2", "Kith, whole job, librdkafka, 2 workers", librdkafka=True, workers=2),
    )
}
