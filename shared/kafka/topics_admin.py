"""Creates Kith's topics in Kafka, and adds partitions to them."""

import time
from typing import Any

from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import INPUTS, LEDGER, OUTPUTS, WRAPPED_KEYS, Topics
from shared.kafka.python_client.opening import opened
from shared.kafka.python_client.reader import MAX_MESSAGE_BYTES, connection, reaching_brokers
from shared.settings import Settings

#: How many replicas have what is acknowledged. Kafka's default is one, which may then be lost with it.
_IN_SYNC = "min.insync.replicas"
#: Every broker knows a new topic within moments; on a busy machine, after ten seconds and more.
_KNOWN_SECONDS, _PAUSE_SECONDS = 60.0, 0.1
#: After so many hours Kafka begins to remove a destroyed key from the topic of wrapped keys.
KEYS_GONE_HOURS = 6


def ensure_topics(settings: Settings) -> list[str]:
    """Create missing topics, and add partitions to those that have fewer than the setting.

    Returns one line per change, none when nothing was missing. Outputs come first: a change topic must never have
    fewer partitions than the input whose changes it carries, one to one.
    """
    topics = Topics(settings.topic_prefix)
    in_sync = {_IN_SYNC: str(_majority(settings.replication))}
    wanted = (*OUTPUTS, *INPUTS, *((WRAPPED_KEYS,) if settings.keys_topic == "on" else ()))
    names = [topics.name(short) for short in wanted]
    configs = {
        # The inputs of projections are kept for ever, so that a projection can always be rebuilt from the start of
        # its topics.
        **{topics.name(short): {"retention.ms": "-1"} for short in (*INPUTS, *OUTPUTS)},
        topics.name(LEDGER): {"retention.ms": "-1", "cleanup.policy": "compact"},
        # What a mark of destruction follows is removed within that time, and the cleaner's own.
        topics.name(WRAPPED_KEYS): {
            "retention.ms": "-1",
            "cleanup.policy": "compact",
            "max.compaction.lag.ms": str(KEYS_GONE_HOURS * 3_600_000),
        },
        topics.name("dead-letters"): {"retention.ms": "-1", "max.message.bytes": str(MAX_MESSAGE_BYTES)},
    }
    with reaching_brokers():
        admin = opened(KafkaAdminClient, **connection(settings))
    done = []
    try:
        present = set(admin.list_topics())
        for name in names:
            if name not in present:
                topic = {
                    "num_partitions": settings.partitions,
                    "replication_factor": settings.replication,
                    "configs": {**in_sync, **configs[name]},
                }
                try:
                    admin.create_topics({name: topic})
                except TopicAlreadyExistsError:
                    continue
                done.append(f"created {name} with {settings.partitions} partitions")
        admin.wait_for_topics(names, timeout_ms=int(_KNOWN_SECONDS * 1000))
        described = _described(admin, names)
        done += _raise_in_sync(admin, described)
        for topic in described:
            count = len(topic["partitions"])
            # Compaction is by partition: in another one, the mark of a destroyed key would not remove it.
            if count < settings.partitions and topic["name"] != topics.name(WRAPPED_KEYS):
                admin.create_partitions({topic["name"]: settings.partitions})
                done.append(f"grew {topic['name']} from {count} to {settings.partitions} partitions")
    except KafkaError as error:
        raise ConfigurationError(f"the topics could not be created or changed: {error}") from error
    finally:
        admin.close()
    return done


def _described(admin: KafkaAdminClient, names: list[str]) -> list[Any]:
    """The topics with their partitions. Raises ConfigurationError.

    Each question goes to any of the brokers, and one that did not make a topic may not know its partitions yet.
    """
    deadline = time.monotonic() + _KNOWN_SECONDS
    while True:
        found: list[Any] = admin.describe_topics(names)
        known = {topic["name"] for topic in found if topic["partitions"]}
        if not (missing := [name for name in names if name not in known]):
            return found
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"a broker does not know the partitions of {', '.join(missing)} after {_KNOWN_SECONDS:.0f} s. "
                "Look whether all brokers belong to one cluster, and try again"
            )
        time.sleep(_PAUSE_SECONDS)


def _majority(replicas: int) -> int:
    return replicas // 2 + 1


def _raise_in_sync(admin: KafkaAdminClient, topics: list[Any]) -> list[str]:
    """Have a majority of the replicas acknowledge, in topics of three or more for which one was enough: those that
    an earlier version of Kith, or somebody else, has made."""
    copies = {each["name"]: min(len(p["replica_nodes"]) for p in each["partitions"]) for each in topics}
    several = [name for name, replicas in copies.items() if replicas > 2]
    if not several:
        return []
    asked = [ConfigResource("TOPIC", name, {_IN_SYNC: None}) for name in several]
    # A topic whose settings this user may not see has none here.
    found = admin.describe_configs(asked, config_filter="all").get("topic", {})
    weak = [name for name in several if found.get(name, {}).get(_IN_SYNC, {}).get("value") == "1"]
    wanted = [ConfigResource("TOPIC", name, {_IN_SYNC: str(_majority(copies[name]))}) for name in weak]
    if not wanted:
        return []
    answers = admin.alter_configs(wanted, raise_on_unknown=False)["topic"]
    return [_told(each.name, each.configs[_IN_SYNC], answers[each.name]) for each in wanted]


def _told(name: str, wanted: str, answer: str) -> str:
    """``answer`` is OK, or Kafka's refusal, which ends nothing: the topic works as before."""
    if answer == "OK":
        return f"set {_IN_SYNC} of {name} to {wanted}"
    return f"{_IN_SYNC} of {name} stays 1, and should be {wanted}: {answer}"
