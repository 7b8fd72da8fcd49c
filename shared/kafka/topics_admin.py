"""Creates Kith's topics in Kafka, and adds partitions to them."""

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import INPUTS, LEDGER, OUTPUTS, Topics
from shared.kafka.python_client.reader import MAX_MESSAGE_BYTES, connection, reaching_brokers
from shared.settings import Settings


def ensure_topics(settings: Settings) -> list[str]:
    """Create missing topics, and add partitions to those that have fewer than the setting.

    Returns one line per change, none when nothing was missing. Outputs come first: a change topic must never have
    fewer partitions than the input whose changes it carries, one to one.
    """
    topics = Topics(settings.topic_prefix)
    names = [topics.name(short) for short in (*OUTPUTS, *INPUTS)]
    configs = {
        # The inputs of projections are kept for ever, so that a projection can always be rebuilt from the start of
        # its topics.
        **{topics.name(short): {"retention.ms": "-1"} for short in (*INPUTS, *OUTPUTS)},
        topics.name(LEDGER): {"retention.ms": "-1", "cleanup.policy": "compact"},
        topics.name("dead-letters"): {"retention.ms": "-1", "max.message.bytes": str(MAX_MESSAGE_BYTES)},
    }
    with reaching_brokers():
        admin = KafkaAdminClient(**connection(settings))
    done = []
    try:
        present = set(admin.list_topics())
        for name in names:
            if name not in present:
                wanted = {
                    "num_partitions": settings.partitions,
                    "replication_factor": settings.replication,
                    "configs": configs[name],
                }
                try:
                    admin.create_topics({name: wanted})
                except TopicAlreadyExistsError:
                    continue
                done.append(f"created {name} with {settings.partitions} partitions")
        admin.wait_for_topics(names)
        for topic in admin.describe_topics(names):
            count = len(topic["partitions"])
            if count < settings.partitions:
                admin.create_partitions({topic["name"]: settings.partitions})
                done.append(f"grew {topic['name']} from {count} to {settings.partitions} partitions")
    except KafkaError as error:
        raise ConfigurationError(f"the topics could not be created or changed: {error}") from error
    finally:
        admin.close()
    return done
