"""A real RabbitMQ as a child process: the machine's own package, without root, systemd or plugins."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from shared.contracts.errors import ConfigurationError
from shared.local.private import private_folder, write_private
from shared.local.processes import Process, free_ports, is_free, running

#: Alone it is up after 7 to 17 s; several times that beside other load.
START_SECONDS = 120.0
#: The user that a start makes.
OWNER = "kith"
#: Where packages of Linux and macOS put it. What they put on the PATH asks for root or the user ``rabbitmq``.
_PLACES = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)
_LOOK_SECONDS = 0.2
_PASSWORD = "password"


class RabbitServer:
    """One RabbitMQ on 127.0.0.1, with its own epmd.

    Starting again on the same data finds everything, also after ``kill`` and also on another port. ``login`` is an
    administrator, whom the first start makes; the password is kept beside the data. ``settings`` are further ones
    of rabbitmq.conf.
    """

    def __init__(self, data: Path, port: int, log: Path, settings: Mapping[str, str] | None = None) -> None:
        self._settings = settings or {}
        self.data = data.absolute()
        self.port = port
        self.log = log
        self._dist, self._epmd_port = free_ports(2)
        self.epmd = Process("epmd", [], log.with_name("epmd.log"), grace=2.0)
        self.process = Process("RabbitMQ", [], log)

    @property
    def login(self) -> tuple[str, str]:
        """Name and password. Only after ``launch``."""
        return OWNER, (self.data / _PASSWORD).read_text()

    @property
    def uri(self) -> str:
        """The address with name and password, of the virtual host ``/``. Only after ``launch``."""
        name, password = self.login
        return f"amqp://{name}:{quote(password, safe='')}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start and return when it answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting until it can be used. Raises ConfigurationError if the machine has none."""
        program = find_rabbitmq()
        private_folder(self.data)
        if not (self.data / _PASSWORD).exists():
            write_private(self.data / _PASSWORD, secrets.token_urlsafe())
        environment = self._environment()
        if not self.epmd.running:
            # A child of its own: RabbitMQ would start a daemon, which stays behind.
            self.epmd.argv = [_epmd(), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self.epmd.env = environment
            self.epmd.start()
        name, password = self.login
        write_private(
            self.data / "rabbitmq.conf",
            "\n".join(
                [
                    f"listeners.tcp.1 = 127.0.0.1:{self.port}",
                    "log.console = true",
                    "log.file = false",
                    f"default_user = {name}",
                    f"default_pass = {password}",
                    "loopback_users = none",
                    # A share of the machine's memory would let one more server starve the others.
                    "vm_memory_high_watermark.absolute = 512MB",
                    "disk_free_limit.absolute = 50MB",
                    *(f"{name} = {value}" for name, value in self._settings.items()),
                    "",
                ]
            ),
        )
        write_private(self.data / "enabled_plugins", "[].\n")
        # Erlang's own are made of a clock. Whoever knows it runs what they like in the server.
        write_private(self.data / ".erlang.cookie", secrets.token_urlsafe())
        self.process.argv = [str(program)]
        self.process.env = environment
        self.process.start()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when a user can log in; ProcessFailed when it ends or takes too long."""
        self.process.wait_until(self._missing, seconds, _LOOK_SECONDS)

    def stop(self) -> None:
        self.process.stop()
        self.epmd.stop()

    def kill(self) -> None:
        """``kill -9`` of the server."""
        self.process.kill()

    def _missing(self) -> str | None:
        # The port is open before the server answers.
        if is_free(self.port):
            return "nothing listens yet"
        return login_problem(self.uri)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "ERL_ROOTDIR") if name in os.environ}
        return {
            **kept,
            # The cookie lies in HOME.
            "HOME": str(self.data),
            "RABBITMQ_NODENAME": "kith@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.data / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.data / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.data / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(self._dist),
            # Of itself it would listen for other nodes on every address.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Its script then becomes the server instead of a parent of it, so that signals reach the server.
            "NOTIFY_SOCKET": "/dev/null",
        }

    @property
    def processes(self) -> list[Process]:
        return [self.process, self.epmd]

    @property
    def address(self) -> SecretStr:
        """The address, as KITH_AMQP takes it."""
        return SecretStr(self.uri)


def server(folder: Path, log: Path) -> AbstractContextManager[RabbitServer]:
    """A running RabbitMQ on a free port, with its data in ``folder``."""
    return running(RabbitServer(folder, free_ports(1)[0], log))


def find_rabbitmq() -> Path:
    """``KITH_RABBITMQ_SERVER``, or the script of an installed package. Raises ConfigurationError."""
    if named := os.environ.get("KITH_RABBITMQ_SERVER"):
        if not os.access(named, os.X_OK):
            raise ConfigurationError(f"KITH_RABBITMQ_SERVER names {named}, which cannot be run")
        return Path(named)
    for pattern in _PLACES:
        if found := sorted(Path("/").glob(pattern.removeprefix("/"))):
            return found[-1]
    raise ConfigurationError(
        "there is no RabbitMQ on this machine: install it (apt-get install rabbitmq-server; it need not run), or"
        " name its sbin/rabbitmq-server in KITH_RABBITMQ_SERVER"
    )


def _epmd() -> str:
    root = os.environ.get("ERL_ROOTDIR", "/usr/lib/erlang")
    found = shutil.which("epmd") or next((str(path) for path in sorted(Path(root).glob("erts-*/bin/epmd"))), None)
    if found is None:
        raise ConfigurationError("there is no epmd, which belongs to the Erlang that RabbitMQ needs")
    return found


def login_problem(uri: str) -> str | None:
    """Why nobody can log in; None when one can."""
    return asyncio.run(_log_in(uri))


async def _log_in(uri: str) -> str | None:
    import aiormq

    try:
        async with asyncio.timeout(10):
            connection = await aiormq.connect(uri)
            await connection.close()
    except (OSError, TimeoutError, aiormq.exceptions.AMQPError) as error:
        return str(error) or type(error).__name__
    return None
