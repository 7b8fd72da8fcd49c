"""The MongoDB sink connector on Kafka Connect, standalone: its command and its configuration."""

from collections.abc import Mapping
from pathlib import Path

from shared.local.artifacts import fetched
from shared.local.java import find_java
from shared.local.kafka import LOGGING

HEAP = "1g"
MAX_POLL_RECORDS = 2000


def command(
    folder: Path, rest_port: int, bootstrap: str, mongo: str, database: str, topic: str, group: str, tasks: int
) -> list[str]:
    """The command line of a standalone Connect with one connector, its files written to ``folder``.

    Connect names the consumer group itself: ``connect-<group>``.
    """
    runtime, plugin = fetched("connect"), fetched("connect-mongo")
    folder.mkdir(parents=True, exist_ok=True)
    worker = _write(folder / "worker.properties", worker_properties(bootstrap, rest_port, plugin, folder))
    connector = _write(folder / "connector.properties", connector_properties(mongo, database, topic, group, tasks))
    logging = folder / "log4j2.properties"
    logging.write_text(LOGGING)
    return [
        find_java(),
        f"-Xmx{HEAP}",
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
        "-cp",
        str(runtime / "*"),
        "org.apache.kafka.connect.cli.ConnectStandalone",
        str(worker),
        str(connector),
    ]


def fetch() -> None:
    """Fetch what the first call of ``command`` on a machine would (50 MB). Raises ConfigurationError."""
    fetched("connect")
    fetched("connect-mongo")


def worker_properties(bootstrap: str, rest_port: int, plugins: Path, folder: Path) -> dict[str, str]:
    return {
        "bootstrap.servers": bootstrap,
        "listeners": f"http://127.0.0.1:{rest_port}",
        "plugin.path": str(plugins),
        # The connector parses JSON straight to BSON, which is faster than Connect's JsonConverter, whose maps
        # are turned into BSON afterwards.
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "offset.storage.file.filename": str(folder / "offsets"),
        # 500 by default: larger batches are faster here.
        "consumer.max.poll.records": str(MAX_POLL_RECORDS),
    }


def connector_properties(mongo: str, database: str, topic: str, group: str, tasks: int) -> dict[str, str]:
    """Upserts by the relation's id: an update by ``_id`` is one look-up in the index that every collection has;
    the strategies by business key would need a second index and look up in it. ``$set`` rather than a
    replacement, which costs mongod 33 µs instead of 24 where many events come again."""
    strategy = "com.mongodb.kafka.connect.sink.processor.id.strategy.PartialValueStrategy"
    return {
        "name": group,
        "connector.class": "com.mongodb.kafka.connect.MongoSinkConnector",
        "tasks.max": str(tasks),
        "topics": topic,
        "connection.uri": mongo,
        "database": database,
        "collection": "relations",
        "document.id.strategy": strategy,
        "document.id.strategy.overwrite.existing": "true",
        "document.id.strategy.partial.value.projection.type": "AllowList",
        "document.id.strategy.partial.value.projection.list": "data.relation_id",
        "writemodel.strategy": "com.mongodb.kafka.connect.sink.writemodel.strategy.UpdateOneDefaultStrategy",
    }


def _write(path: Path, properties: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    return path
