"""What a backup and a restore ask of Kafka: the ends of the topics, and whether somebody still reads them."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError

from services.backup.files import TopicEnds
from services.explain.log import LogScan
from shared.contracts.errors import ConfigurationError
from shared.contracts.services import PROJECTIONS
from shared.contracts.topics import INPUTS, OUTPUTS, Topics
from shared.kafka.python_client.opening import opened
from shared.kafka.python_client.reader import connection, reaching_brokers
from shared.runtime.protocols import Partition
from shared.settings import Settings
from shared.versions.generations import place_of

_PATIENCE_SECONDS, _PAUSE_SECONDS = 30.0, 0.5
#: How far from the end of a log its last record is looked for first.
_WINDOW = 100


def topic_ends(settings: Settings, more: Iterable[str] = ()) -> dict[str, TopicEnds]:
    """Kith's topics, and those of ``more``, with the bounds of their partitions. Raises Unavailable."""
    topics = Topics(settings.topic_prefix)
    names = {*(topics.name(short) for short in (*INPUTS, *OUTPUTS)), *more}
    with _admin(settings) as admin:
        there = set(admin.list_topics())
        ids = {
            found["name"]: str(found.get("topic_id", "")) for found in admin.describe_topics(sorted(names & there))
        }
    with LogScan(settings) as scan:
        bounds = scan.bounds(sorted(ids))
    found: dict[str, TopicEnds] = {name: TopicEnds(id, {}) for name, id in ids.items()}
    for (topic, number), (first, end) in bounds.items():
        found[topic].partitions[str(number)] = [first, end]
    return found


def record_ends(settings: Settings, positions: Mapping[Partition, int]) -> dict[Partition, int]:
    """The offset after the last record of each partition of the topics of relations, where there is a record from
    ``positions`` on. It may be below the end of the log: markers of transactions are no records. Raises
    Unavailable."""
    topics, found = Topics(settings.topic_prefix), dict[Partition, int]()
    with LogScan(settings) as scan:
        bounds = scan.bounds([topics.name(short) for short in INPUTS])
    left = {place: (max(first, positions.get(place, first)), end) for place, (first, end) in bounds.items()}
    width = _WINDOW
    while left := {place: known for place, known in left.items() if known[0] < known[1]}:
        windows = {place: (max(first, end - width), end) for place, (first, end) in left.items()}
        # A consumer for each round: one that has read a partition to its end may fetch nothing more of it.
        with LogScan(settings) as scan:
            for record in scan.read(windows, lambda _: True):
                found[record.partition] = record.offset + 1
        left = {place: (left[place][0], first) for place, (first, _) in windows.items() if place not in found}
        width *= 10
    return found


def check_no_members(settings: Settings) -> None:
    """Raise ConfigurationError while a worker of a service is a member of its group. Raises Unavailable."""
    groups = {f"{settings.group}.{name}": name for name in PROJECTIONS}
    with _admin(settings) as admin:
        found = _described(admin, list(groups))
    if busy := sorted(groups[group] for group, each in found.items() if each.get("members")):
        raise ConfigurationError(
            f"workers of {', '.join(busy)} are still running; stop all services first "
            "(a crashed one leaves its group after KITH_SESSION_TIMEOUT_MS)"
        )


def check_positions(
    positions: Iterable[tuple[str, int | None]], before: Mapping[str, TopicEnds], settings: Settings
) -> None:
    """Raise ConfigurationError unless Kafka's log continues each position (``projection@version/topic/partition``
    and its next offset, None where nothing was read yet). ``before`` are the topics of the backup."""
    given = {id: (*_place(id), next) for id, next in positions}
    # What was not read yet began where the log did then.
    read = {
        id: before[topic].partitions[number][0] if next is None else next
        for id, (topic, number, next) in given.items()
        if next is not None or (topic in before and number in before[topic].partitions)
    }
    now = topic_ends(settings, {_place(id)[0] for id in read})
    for topic, then in before.items():
        if topic in now and then.id and now[topic].id and now[topic].id != then.id:
            raise ConfigurationError(
                f"the topic {topic} is not the one of the backup: it was deleted and made anew, so its offsets "
                "have another meaning"
            )
    for id, next in read.items():
        topic, number = _place(id)
        bounds = now[topic].partitions.get(number) if topic in now else None
        if bounds is None:
            raise ConfigurationError(f"Kafka has no partition {topic}/{number}, which {id} has read")
        if not bounds[0] <= next <= bounds[1]:
            raise ConfigurationError(
                f"{id} continues at {next}, but Kafka's log holds {bounds[0]} to {bounds[1]}: this backup does "
                "not fit this Kafka"
            )


def _described(admin: KafkaAdminClient, groups: list[str]) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return admin.describe_groups(groups)
        except CoordinatorNotAvailableError:
            # A Kafka without any group makes the topic of groups when it is first asked about one.
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _place(position: str) -> tuple[str, str]:
    """Topic and partition of a position."""
    topic, _, number = place_of(position).rpartition("/")
    return topic, number


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    with reaching_brokers():
        admin = opened(KafkaAdminClient, **connection(settings))
        try:
            yield admin
        finally:
            admin.close()
