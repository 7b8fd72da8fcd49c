"""The connectors over TLS, to real servers: one with a certificate of the authority that the address names is
believed, one of another authority is not."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12

from services.postgres.connections import Connections
from services.rabbitmq.client import connect
from shared.cassandra.address import parse
from shared.cassandra.store import CassandraTables
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.local.cassandra import CassandraServer
from shared.local.postgres import PostgresServer
from shared.local.processes import free_ports, running
from shared.local.rabbitmq import RabbitServer, find_rabbitmq
from tests.support.certificates import Authority, Files
from tests.support.rabbitmq import missing


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "another")


def test_rabbitmq(tmp_path: Path, authority: Authority, other: Authority) -> None:
    try:
        find_rabbitmq()
    except ConfigurationError as error:
        missing(error)
    port, encrypted = free_ports(2)
    server = RabbitServer(tmp_path / "data", port, tmp_path / "rabbitmq.log", _of_rabbitmq(authority, encrypted))

    async def reached(trusted: Authority) -> None:
        await (await connect(f"{address}?cafile={trusted.file}")).close()

    with running(server):
        address = server.uri.replace("amqp://", "amqps://").replace(f":{port}/", f":{encrypted}/")
        asyncio.run(reached(authority))
        with pytest.raises(Unavailable, match="certificate verify failed"):
            asyncio.run(reached(other))


def _of_rabbitmq(authority: Authority, port: int) -> Mapping[str, str]:
    files = authority.issue("rabbitmq")
    return {
        "listeners.ssl.1": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(authority.file),
        "ssl_options.certfile": str(files.cert),
        "ssl_options.keyfile": str(files.key),
    }


def test_postgres(tmp_path: Path, authority: Authority, other: Authority) -> None:
    data, log, port = tmp_path / "server" / "data", tmp_path / "postgres.log", free_ports(1)[0]
    with running(PostgresServer(data, port, log)):
        """It makes its folder, in which the files then are that its user may read."""
    for source, name in zip(authority.issue("postgres"), ("server.crt", "server.key"), strict=True):
        shutil.copy(source, data / name)
        os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        (data / name).chmod(0o600)
    with running(PostgresServer(data, port, log, {"ssl": "on"})) as server:

        def encrypted(trusted: Authority) -> bool | None:
            connections = Connections(f"{server.dsn}?sslmode=verify-full&sslrootcert={trusted.file}", "kith")
            try:
                with connections.lent() as connection:
                    return connection.pgconn.ssl_in_use
            finally:
                connections.close()

        assert encrypted(authority)
        with pytest.raises(Unavailable, match="certificate verify failed"):
            encrypted(other)


def test_cassandra(tmp_path: Path, authority: Authority, other: Authority) -> None:
    port, storage_port = free_ports(2)
    options = {
        "enabled": True,
        "optional": True,  # what starts the node asks it without
        "keystore": str(_keystore(tmp_path / "node.p12", authority.issue("cassandra"))),
        "keystore_password": "secret",
        "store_type": "PKCS12",
    }
    server = CassandraServer(
        tmp_path / "data",
        port,
        storage_port,
        tmp_path / "cassandra.log",
        secured=True,
        settings={"client_encryption_options": options},
    )
    try:
        server.launch()
    except (ConfigurationError, ImportError) as error:
        if os.environ.get("KITH_TEST_CASSANDRA") == "required":
            raise
        pytest.skip(f"there is no Cassandra: {error}")

    def problems(trusted: Authority, address: str) -> list[str]:
        tables = CassandraTables(parse(f"{address}&ca={trusted.file}"))
        try:
            return tables.problems()
        finally:
            tables.close()

    try:
        server.wait_ready()
        assert problems(authority, server.address) == []
        assert problems(other, server.address) == ["Cassandra: no node answers"]
        wrong = server.address.replace("cassandra://kith:", "cassandra://kith:not-")
        assert problems(authority, wrong) == ["Cassandra refuses the user or password of KITH_CASSANDRA"]
    finally:
        server.stop()


def _keystore(path: Path, files: Files) -> Path:
    """The certificate and its key as Java reads them."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"node", key, certificate, None, serialization.BestAvailableEncryption(b"secret")
        )
    )
    return path
