"""The comparison: every contender in turn, repetition by repetition, each on fresh collections."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from pymongo import MongoClient

from services.bench.contenders import ALL_SCENARIOS, TUTORIAL_EVENTS, Contender
from services.bench.events import AMENDED, REDELIVERED, generate
from services.bench.measure import Run, RunFailed, measure
from services.bench.servers import BenchServers
from services.bench.start import Job
from services.bench.topics import PARTITIONS, BenchTopic, fill
from shared.contracts.topics import Topics
from shared.local.processes import ProcessFailed
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.protocols import Document
from shared.settings import Settings

#: Slower than any contender but the tutorial loop: a contender below it has failed.
_LEAST_RATE, _TUTORIAL_RATE = 500.0, 100.0


@dataclass
class Results:
    """All runs, and the failures with their reasons, by contender and scenario."""

    runs: list[Run] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


class Comparison:
    """Runs contenders on topics of ``events`` messages. ``say`` receives the progress."""

    def __init__(
        self, servers: BenchServers, client: MongoClient[Document], events: int, say: Callable[[str], None]
    ) -> None:
        self._servers = servers
        self._client = client
        self._events = events
        self._say = say
        self._settings = Settings(kafka=servers.kafka.bootstrap, mongo=servers.mongo.uri)
        self._topics: dict[str, BenchTopic] = {}

    def run(
        self, contenders: Sequence[Contender], repetitions: int, scenarios: Collection[str] = ALL_SCENARIOS
    ) -> Results:
        """Round-robin over the contenders, so that a disturbance of the machine affects all of them."""
        results = Results()
        for repetition in range(1, repetitions + 1):
            for contender in contenders:
                failed = {place.partition(" ")[0] for place in results.failures}
                if contender.name not in failed:
                    self._all_scenarios(contender, repetition, scenarios, results)
        return results

    def _all_scenarios(
        self, contender: Contender, repetition: int, scenarios: Collection[str], results: Results
    ) -> None:
        wanted = [name for name in ALL_SCENARIOS if name in scenarios and name in contender.scenarios]
        if "replay" in wanted and "first" not in wanted:
            wanted.insert(0, "first")  # it fills the collections
        database = f"bench-{contender.name}-{repetition}"
        for scenario in wanted:
            if scenario == "amended":
                self._drop(database)
            place = f"{contender.name} {scenario}"
            try:
                found = self._one(contender, database, scenario, repetition)
            except (RunFailed, ProcessFailed) as error:
                self._say(f"{place}: {error}")
                results.failures[place] = str(error)
                break
            self._say(f"{repetition} {place}: {found.rate:,.0f} events/s")
            results.runs.append(found)
        self._drop(database)

    def _one(self, contender: Contender, name: str, scenario: str, repetition: int) -> Run:
        topic = self._topic(scenario, contender.most_events)
        group = f"{name}-{scenario}"
        job = Job(
            self._servers.kafka.bootstrap,
            self._servers.mongo.uri,
            name,
            topic.prefix,
            topic.name,
            group,
            self._servers.folder / "log",
        )
        changes = self._changes(topic)
        limit = 60 + topic.events / (_TUTORIAL_RATE if contender.most_events else _LEAST_RATE)
        database = self._client[name]
        found = measure(self._servers, database, contender, job, topic, scenario, repetition, limit)
        # The last facts of the first topic and of its replay.
        more = PARTITIONS if scenario == "replay" else 0
        wanted, stored = {"facts": topic.facts + more}, {"facts": found.stored}
        if contender.kith:
            wanted["dead letters"], stored["dead letters"] = 0, database[DEAD_LETTERS].count_documents({})
        if contender.whole_job:
            summed = database["relationships"].aggregate([{"$group": {"_id": None, "n": {"$sum": "$count"}}}])
            effects = {"first": topic.facts, "replay": PARTITIONS, "amended": topic.events}
            wanted |= {"relations in relationships": topic.live + more, "changes": effects[scenario]}
            stored |= {
                "relations in relationships": next(iter(summed), {"n": 0})["n"],
                "changes": self._changes(topic) - changes,
            }
        if wanted != stored:
            raise RunFailed(f"stored {stored}, expected {wanted}")
        return found

    def _topic(self, scenario: str, most: int | None) -> BenchTopic:
        """The topic of a scenario, filled at the first use."""
        events = min(self._events, most or self._events) - PARTITIONS
        prefix = scenario if events == self._events - PARTITIONS else f"{scenario}-{TUTORIAL_EVENTS}"
        if prefix not in self._topics:
            self._say(f"publishing {events + PARTITIONS:,} events to {prefix}.relations")
            mix = AMENDED if scenario == "amended" else REDELIVERED
            self._topics[prefix] = fill(self._settings, prefix, generate(events, mix))
        return self._topics[prefix]

    def _changes(self, topic: BenchTopic) -> int:
        """The number of changes published for this topic so far."""
        name = Topics(topic.prefix).name("relation-changes")
        reader = KafkaConsumer(bootstrap_servers=self._servers.kafka.bootstrap, metrics_enabled=False)
        try:
            ends: dict[Any, int] = reader.end_offsets([TopicPartition(name, n) for n in range(PARTITIONS)])
            return sum(ends.values())
        finally:
            reader.close()

    def _drop(self, name: str) -> None:
        self._client.drop_database(name)
        # So that the dirty pages of one contender are not written during the next one.
        self._client.admin.command("fsync")
        time.sleep(0.2)
