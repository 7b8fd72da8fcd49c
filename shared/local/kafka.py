"""A real Apache Kafka 4.3 (KRaft) as a child process: one node by itself, or one of several."""

import base64
import os
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from shared.local.java import environment, find_java, kafka_class_path
from shared.local.kafka_security import PLAIN, SCRAM, Login, client, with_acls, with_one_user
from shared.local.private import UMASK, new_folder, private_file, private_folder, write_private
from shared.local.processes import Process

START_SECONDS = 120.0

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server
logger.server.level = info
"""


class KafkaServer:
    """One Kafka broker and controller on 127.0.0.1.

    Everything is under ``data``; starting again on the same data, also after ``kill`` and also on other
    ports, finds all topics, messages and offsets. ``properties`` are added to Kafka's own or replace them. With
    ``login``, a name and a password, clients have to prove who they are, without TLS. By SCRAM it is an
    administrator, of data that has always been used so, and others may do what ACLs allow. By PLAIN it is the only
    user; any data can be used so, and again without.

    Of a cluster's brokers each has a ``node`` of its own, and all have the same ``voters``, their controllers'
    ports by node, and the same ``cluster``, a name that ``new_cluster`` makes. They keep their ports.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        controller_port: int,
        log: Path,
        properties: Mapping[str, str] | None = None,
        heap: str = "512m",
        login: Login | None = None,
        mechanism: str = SCRAM,
        node: int = 1,
        voters: Mapping[int, int] | None = None,
        cluster: str | None = None,
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self.controller_port = controller_port
        self.log = log
        self.properties = dict(properties or {})
        self.heap = heap
        self.login = login
        self.mechanism = mechanism
        self.node = node
        self.voters = dict(voters or {node: controller_port})
        self._cluster = cluster
        self.process = Process("Kafka", [], log)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and return when the broker serves."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting until the broker serves."""
        private_folder(self.data)
        settings = self.data / "server.properties"  # it can hold a password
        write_private(settings, "".join(f"{key}={value}\n" for key, value in self._settings().items()))
        logging = self.data / "log4j2.properties"
        write_private(logging, LOGGING)
        java = [
            find_java(),
            f"-Xmx{self.heap}",
            f"-Dlog4j2.configurationFile={logging.as_uri()}",
            "-cp",
            kafka_class_path(),
        ]
        if not self._meta.exists():
            self._format([*java, "kafka.tools.StorageTool", "format", "-c", settings.name])
        self.process.argv = [*java, "kafka.Kafka", settings.name]
        self.process.env, self.process.cwd = environment(), self.data
        self.process.start()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when the broker answers a client; ProcessFailed when it ends or takes too long."""
        self.process.wait_until(lambda: None if self._answers() else "", seconds)
        # A broker that cannot listen ends; who answered may then be a stranger on the same port.
        self.process.check()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    @property
    def _meta(self) -> Path:
        return self.data / "logs" / "meta.properties"

    def _settings(self) -> dict[str, str]:
        controller = f"127.0.0.1:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in self.voters.items()),
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            # Relative to the folder it runs in: the file of settings is Latin-1, and this one a list with commas.
            "log.dirs": "logs",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.replication.factor": "1",
            # 50 by default, which one node only pays for: files, start time and recovery after a kill.
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "4",
            # After a kill, a start waits until the session of the broker's last life is over: 9 s otherwise.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **self._security(),
            **self.properties,
        }

    def _security(self) -> dict[str, str]:
        if self.login is None:
            return {}
        make = with_one_user if self.mechanism == PLAIN else with_acls
        return make(self.bootstrap, f"127.0.0.1:{self.controller_port}", self.login)

    def client(self, login: Login | None) -> dict[str, str]:
        """A client's options (kafka-python's) to come as a user; nobody in particular where there are none."""
        return {"bootstrap_servers": self.bootstrap, **client(self.mechanism, login)}

    def _format(self, command: list[str]) -> None:
        cluster = self._cluster or new_cluster()
        new_folder(self.log.parent)
        first = []
        if self.login is not None and self.mechanism == SCRAM:
            first = ["--add-scram", "{}=[name={},password={}]".format(SCRAM, *self.login)]
        with os.fdopen(private_file(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            done = subprocess.run(
                [*command, "-t", cluster, *first],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                env=environment(),
                cwd=self.data,
                umask=UMASK,
            )
        if done.returncode != 0:
            raise self.process.failure(f"could not format {self.data}")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            admin = KafkaAdminClient(**self.client(self.login), bootstrap_timeout_ms=2000)
        except (OSError, KafkaError):
            return False
        try:
            cluster = admin.describe_cluster()
        except KafkaError:
            return False
        finally:
            admin.close()
        # A broker is listed once it is registered and no longer fenced. The id tells it from a stranger's.
        listed = any(broker["broker_id"] == self.node for broker in cluster["brokers"])
        return listed and f"cluster.id={cluster['cluster_id']}" in self._meta.read_text()


def new_cluster() -> str:
    """A name for a Kafka cluster, as its tools make one."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # the tool would take it for an option
    return name
