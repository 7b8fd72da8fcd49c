"""Connections to Cassandra, and what the driver's errors mean."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.cassandra.address import Address
from shared.contracts.errors import ConfigurationError, NotPrepared, Unavailable

#: Seconds for the answer of one statement.
TIMEOUT_SECONDS = 12.0
#: What Cassandra says of a statement about a keyspace or table that is not there (before 4.0 and since).
_ABSENT = re.compile(r"unconfigured table|(keyspace|table) \S+ does not exist", re.IGNORECASE)
#: And of one about a column that somebody has dropped or renamed: it names table and column, and no value.
_OTHER_COLUMNS = re.compile(r"undefined column name \S+( in table [\w.]+)?", re.IGNORECASE)


@contextmanager
def translated() -> Iterator[None]:
    """Translates the driver's errors to Unavailable: where the cluster, or enough of its replicas, cannot be
    reached for now, and where it refuses the user. A node that cannot read the users' table refuses everybody, so
    that is no proof of a wrong password, and an operator who corrects one need not restart anything."""
    from cassandra import (
        AuthenticationFailed,
        CoordinationFailure,
        InvalidRequest,
        OperationTimedOut,
        Timeout,
        Unauthorized,
    )
    from cassandra import Unavailable as TooFewReplicas
    from cassandra.cluster import NoHostAvailable
    from cassandra.connection import ConnectionException
    from cassandra.pool import NoConnectionsAvailable
    from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError

    try:
        yield
    except InvalidRequest as error:
        if other := _OTHER_COLUMNS.search(str(error)):
            raise Unavailable(
                f"Cassandra has Kith's tables with other columns, and somebody has to change that: {other[0]}"
            ) from error
        if not _ABSENT.search(str(error)):
            raise
        advice = "run `kith rebuild cassandra`, which makes and fills them, and keep `kith cassandra` running"
        raise NotPrepared(f"Cassandra does not have Kith's tables: {advice}") from error
    except (Unauthorized, AuthenticationFailed) as error:
        raise Unavailable(f"Cassandra refuses the user of KITH_CASSANDRA: {type(error).__name__}") from error
    except NoHostAvailable as error:
        refused = [
            each for each in getattr(error, "errors", {}).values() if isinstance(each, AuthenticationFailed)
        ]
        if refused:
            raise Unavailable("Cassandra refuses the user or password of KITH_CASSANDRA") from error
        raise Unavailable("Cassandra: no node answers") from error
    except (
        OperationTimedOut,
        Timeout,
        TooFewReplicas,
        CoordinationFailure,
        ConnectionException,
        NoConnectionsAvailable,
        OverloadedErrorMessage,
        IsBootstrappingErrorMessage,
        ServerError,
        OSError,
    ) as error:
        raise Unavailable(f"Cassandra: {type(error).__name__}") from error


def connect(address: Address) -> tuple[Any, Any]:
    """The driver's cluster, which the caller shuts down, and a session without keyspace. Raises the driver's
    errors, and ConfigurationError for a file that cannot be read."""
    from cassandra import ConsistencyLevel
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import tuple_factory

    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(address.datacenter)),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=TIMEOUT_SECONDS,
        row_factory=tuple_factory,
    )
    cluster = Cluster(
        list(address.hosts),
        port=address.port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=None if address.login is None else PlainTextAuthProvider(*address.login),
        ssl_context=None if address.ca is None else _tls(address.ca),
        reconnection_policy=ConstantReconnectionPolicy(2.0, max_attempts=None),
        connect_timeout=10.0,
        control_connection_timeout=10.0,
        executor_threads=2,
    )
    try:
        return cluster, cluster.connect()
    except BaseException:
        cluster.shutdown()
        raise


def _tls(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"KITH_CASSANDRA: the file {ca} cannot be used: {error}") from None
