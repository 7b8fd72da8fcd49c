"""A real Apache Cassandra 5.0 (one node) as a child process, from its jars at Maven Central."""

import json
import secrets
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from urllib.parse import quote

from shared.local.artifacts import fetched
from shared.local.java import environment, find_java
from shared.local.private import private_folder, write_private
from shared.local.processes import Process, free_ports, running

START_SECONDS = 180.0
#: Of the only node: that of Cassandra's simple snitch.
DATACENTER = "datacenter1"
USER = "kith"
_FIRST_LOGIN = ("cassandra", "cassandra")  # that of a new cluster, which is replaced at the first start

# What Cassandra's own start script opens on Java 17 and later (jvm17-server.options of 5.0.4).
_EXPORTS = (
    *("java.base/jdk.internal.misc", "java.base/java.lang.ref", "java.base/sun.nio.ch", "java.sql/java.sql"),
    *("java.management.rmi/com.sun.jmx.remote.internal.rmi", "jdk.unsupported/sun.misc"),
    *("java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.rmi/sun.rmi.transport.tcp"),
)
_OPENS = (
    *("java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect"),
    *("java.base/java.math", "java.base/java.net", "java.base/java.nio", "java.base/java.util"),
    *("java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic", "java.base/sun.nio.ch"),
    *("java.base/jdk.internal.loader", "java.base/jdk.internal.math", "java.base/jdk.internal.module"),
    *("java.base/jdk.internal.ref", "java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar"),
    "jdk.management/com.sun.management.internal",
)
_LOGGING = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %logger{1} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
  <logger name="org.apache.cassandra.service.CassandraDaemon" level="INFO"/>
</configuration>
"""


class CassandraServer:
    """One Cassandra node on 127.0.0.1.

    Everything is under ``data``; starting again on the same data, also after ``kill`` and on other ports, finds
    every row. With ``secured``, clients need the user and password of ``login``, which the data keep. ``settings``
    are further ones of cassandra.yaml.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        storage_port: int,
        log: Path,
        heap: str = "512m",
        secured: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._more = settings or {}
        self.data = data.absolute()
        self.port = port
        self.storage_port = storage_port
        self.heap = heap
        self.secured = secured
        self.process = Process("Cassandra", [], log)

    @property
    def address(self) -> str:
        """The value of KITH_CASSANDRA."""
        login = f"{quote(self.login[0])}:{quote(self.login[1])}@" if self.login else ""
        return f"cassandra://{login}127.0.0.1:{self.port}/kith?datacenter={DATACENTER}"

    @property
    def processes(self) -> list[Process]:
        return [self.process]

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password; None where nobody is asked."""
        return (USER, self._password.read_text()) if self.secured else None

    def start(self) -> None:
        """Start and return when the node serves."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting until the node serves."""
        private_folder(self.data)
        if self.secured and not self._password.exists():
            write_private(self._password, secrets.token_urlsafe())
        settings, logging = self.data / "cassandra.yaml", self.data / "logback.xml"
        write_private(settings, self._settings())
        write_private(logging, _LOGGING)
        self.process.argv = [
            find_java(),
            f"-Xmx{self.heap}",
            f"-Xms{self.heap}",
            "-XX:+UseSerialGC",  # its threads would only compete with those of everything else on one machine
            "-Djava.security.manager=allow",
            "-Djdk.attach.allowAttachSelf=true",
            *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS),
            *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS),
            f"-Dcassandra.config={settings.as_uri()}",
            f"-Dcassandra.storagedir={self.data}",
            f"-Dlogback.configurationFile={logging}",
            "-Dcassandra-foreground=yes",
            # One node has nobody to wait for.
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=1000",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-cp",
            str(fetched("cassandra") / "*"),
            "org.apache.cassandra.service.CassandraDaemon",
        ]
        self.process.env = environment()
        self.process.start()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when the node answers a client; ProcessFailed when it ends or takes too long."""
        self.process.wait_until(lambda: None if self._answers() else "", seconds, pause=0.2)
        self.process.check()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    @property
    def _password(self) -> Path:
        return self.data / "password"

    def _settings(self) -> str:
        secured = {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}
        seeds = [{"seeds": f"127.0.0.1:{self.storage_port}"}]
        # JSON is YAML, and needs no other quoting.
        return json.dumps(
            {
                "cluster_name": "kith",
                "num_tokens": 1,
                "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
                "endpoint_snitch": "SimpleSnitch",
                "seed_provider": [
                    {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": seeds}
                ],
                "listen_address": "127.0.0.1",
                "rpc_address": "127.0.0.1",
                "storage_port": self.storage_port,
                "native_transport_port": self.port,
                # Cassandra's own default acknowledges before it has written, because other replicas have it, too.
                # Here is none: a node that is killed would have lost rows whose position is stored.
                "commitlog_sync": "batch",
                "commitlog_segment_size": "8MiB",
                "memtable_heap_space": "96MiB",
                "memtable_offheap_space": "64MiB",
                "concurrent_reads": 16,
                "concurrent_writes": 16,
                "concurrent_compactors": 1,
                "auto_snapshot": False,
                # Two cores shared with all the rest may be busy for a while.
                "read_request_timeout": "10s",
                "write_request_timeout": "10s",
                **(secured if self.secured else {}),
                **self._more,
            },
            indent=1,
        )

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        if not self.secured:
            return self._asked(None)
        if self._asked(self.login):
            return True
        name, password = self.login or ("", "")
        # The first start: a user of its own, and an unguessable password for the one that everybody knows.
        return self._asked(
            _FIRST_LOGIN,
            f"CREATE ROLE IF NOT EXISTS {name} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '{password}'",
            f"ALTER ROLE cassandra WITH PASSWORD = '{secrets.token_urlsafe()}'",
        ) and self._asked(self.login)

    def _asked(self, login: tuple[str, str] | None, *statements: str) -> bool:
        """Whether a client of this login gets the statements answered."""
        from cassandra import DriverException
        from cassandra.cluster import NoHostAvailable

        from shared.cassandra.address import Address
        from shared.cassandra.session import connect

        cluster = None
        with suppress(NoHostAvailable, DriverException, OSError):
            cluster, session = connect(Address(("127.0.0.1",), self.port, DATACENTER, login))
            for statement in ("SELECT release_version FROM system.local", *statements):
                session.execute(statement, timeout=10)
        if cluster is None:
            return False
        cluster.shutdown()
        return True


def server(
    folder: Path, log: Path, settings: Mapping[str, object] | None = None
) -> AbstractContextManager[CassandraServer]:
    """A node with its data in ``folder`` and these further settings of cassandra.yaml, for the time of the block.
    Raises ConfigurationError, ProcessFailed."""
    port, storage_port = free_ports(2)
    return running(CassandraServer(folder, port, storage_port, log, secured=True, settings=settings))
