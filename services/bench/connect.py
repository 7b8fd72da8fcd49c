"""The MongoDB sink connector on Kafka Connect, standalone: fetched from Maven Central, and its configuration."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from shared.contracts.errors import ConfigurationError
from shared.local.cache import cache_folder, locked
from shared.local.java import find_java
from shared.local.kafka import LOGGING

KAFKA = "4.3.0"
CONNECTOR = "2.0.1"
FOLDER = f"connect-{KAFKA}-mongo-{CONNECTOR}"
# Without the bridge to log4j, Connect would log nothing. "!" leaves out log4j's own list of versions.
RUNTIME = (
    f"org.apache.kafka:connect-runtime:{KAFKA}+org.apache.kafka:connect-json:{KAFKA}"
    "+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
)
HEAP = "1g"
MAX_POLL_RECORDS = 2000


def command(
    folder: Path, rest_port: int, bootstrap: str, mongo: str, database: str, topic: str, group: str, tasks: int
) -> list[str]:
    """The command line of a standalone Connect with one connector, its files written to ``folder``.

    Connect names the consumer group itself: ``connect-<group>``.
    """
    jars = jars_folder()
    folder.mkdir(parents=True, exist_ok=True)
    worker = _write(folder / "worker.properties", worker_properties(bootstrap, rest_port, jars / "plugin", folder))
    connector = _write(folder / "connector.properties", connector_properties(mongo, database, topic, group, tasks))
    logging = folder / "log4j2.properties"
    logging.write_text(LOGGING)
    return [
        find_java(),
        f"-Xmx{HEAP}",
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
        "-cp",
        str(jars / "runtime" / "*"),
        "org.apache.kafka.connect.cli.ConnectStandalone",
        str(worker),
        str(connector),
    ]


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


def jars_folder() -> Path:
    """``runtime`` and ``plugin``, downloaded (50 MB) by the first call on a machine. Raises ConfigurationError if
    that fails."""
    folder = cache_folder() / FOLDER
    if not folder.exists():
        with locked(FOLDER) as cache:
            if not folder.exists():
                _download(cache, folder)
    return folder


def _download(cache: Path, folder: Path) -> None:
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.env import EnvironmentBuilder
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ConfigurationError("downloading Kafka Connect needs jgo: install kith[local]") from error
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as name:
        staging = Path(name)
        repository = {"central": MAVEN_CENTRAL_URL}
        context = MavenContext(repo_cache=staging / "repository", remote_repos=repository, timeout=60)
        try:
            runtime = EnvironmentBuilder(context=context, cache_dir=staging / "build").from_endpoint(RUNTIME)
            # The archive with all dependencies: jgo cannot resolve the version range of its driver.
            connector = context.project("org.mongodb.kafka", "mongo-kafka-connect").at_version(CONNECTOR)
            plugin = Path(connector.artifact("all", "jar").resolve())
        except Exception as error:  # jgo has no base class of its own, and requests' errors pass through
            raise ConfigurationError(f"cannot fetch Kafka Connect from {MAVEN_CENTRAL_URL}: {error}") from error
        complete = staging / "complete"
        for part, files in {
            "runtime": [*runtime.class_path_jars, *runtime.module_path_jars],
            "plugin/mongo": [plugin],
        }.items():
            (complete / part).mkdir(parents=True)
            for file in files:
                shutil.copyfile(file, complete / part / Path(file).name)
        complete.rename(folder)  # atomic, and only when complete


def _write(path: Path, properties: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    return path
