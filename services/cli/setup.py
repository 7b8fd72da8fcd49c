"""Prepares new servers, as ``python -m services.cli.setup``: a lone mongod's replica set, and the topics."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import pymongo.errors
from pymongo import MongoClient
from pymongo.errors import InvalidURI, OperationFailure
from pymongo.uri_parser import parse_uri

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.topics_admin import ensure_topics
from shared.mongo.errors import translated
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.service.launch import launch
from shared.settings import Settings, servers_of

WAIT_SECONDS = 120.0

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_ALREADY_INITIALIZED = 23
_NO_REPLICATION_ENABLED = 76
_NOT_YET_INITIALIZED = 94


def setup(settings: Settings, wait_seconds: float = WAIT_SECONDS) -> None:
    """Create the replica set and the topics if they are missing, and report on stdout what was done.

    Raises ConfigurationError, and Unavailable when a server does not answer within ``wait_seconds``.
    """
    _, mongo = servers_of(settings)
    deadline = time.monotonic() + wait_seconds
    done = [f"created the replica set {name}" for name in _retry_until(lambda: initiate(mongo), deadline)]
    _retry_until(lambda: _find_primary(mongo), deadline)
    done += _retry_until(lambda: ensure_topics(settings), deadline)
    for line in done or ["nothing to do: the replica set and all topics exist"]:
        print(line, flush=True)


def initiate(uri: str) -> list[str]:
    """Make the single server of ``uri`` a replica set, with the name and the address in ``uri``. Returns that
    name, or nothing if the server already belongs to a replica set.

    Does not change a replica set of several servers: its operator initiates it. Raises Unavailable, and
    ConfigurationError if the URI names no replica set or the server does not run as a member of one.
    """
    try:
        parts = parse_uri(uri)
    except (InvalidURI, pymongo.errors.ConfigurationError) as error:
        raise ConfigurationError(f"KITH_MONGO is not a MongoDB URI: {error}") from error
    name, servers = parts["options"].get("replicaSet"), parts["nodelist"]
    if name is None:
        raise ConfigurationError("KITH_MONGO names no replica set; append one, such as /?replicaSet=rs0")
    if len(servers) > 1 or parts["fqdn"] is not None:
        return []
    host, port = servers[0]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # The client must not name the replica set: no server accepts the name before the set exists.
    with (
        translated(),
        MongoClient[Document](
            uri, replicaSet=None, directConnection=True, serverSelectionTimeoutMS=1_000
        ) as client,
    ):
        try:
            client.admin.command("replSetGetStatus")
            return []
        except OperationFailure as error:
            if error.code == _NO_REPLICATION_ENABLED:
                raise ConfigurationError(f"the mongod at {address} was not started with --replSet") from error
            if error.code != _NOT_YET_INITIALIZED:
                raise
        members = [{"_id": 0, "host": address}]
        try:
            client.admin.command("replSetInitiate", {"_id": name, "members": members})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:  # a concurrent setup was first
                raise
            return []
    return [str(name)]


def _find_primary(uri: str) -> None:
    with connect(uri) as client, translated():
        client.admin.command("ping")  # needs the primary; fails until one is elected


def _retry_until(act: Callable[[], _Result], deadline: float) -> _Result:
    while True:
        try:
            return act()
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise
            _log.warning("waiting for a server: %s", error)
            time.sleep(1)


if __name__ == "__main__":
    launch("setup", setup)
