"""The servers of deploy/compose.production.yml as processes of this machine, and what its services are told.

What the file states is taken as it is, except hosts, ports and the folder of the secrets.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from services.cli.privileges import mongo_roles
from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from shared.vault.schema import WRAPPING_KEYS
from tests.support.paths import ROOT

FILE = ROOT / "deploy/compose.production.yml"
SCRIPT = ROOT / "deploy/secrets.sh"
CONTAINERS: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
Login = tuple[str, str]
#: Of the container alone: its heap, and what `KafkaServer` states itself.
_ELSEWHERE = {"CLUSTER_ID", "KAFKA_HEAP_OPTS", "KAFKA_LOG_DIRS", "KAFKA_NODE_ID"}
#: What `MongoServer` states itself.
_STATED = ("mongod", "--replSet", "--setParameter=transactionLifetimeLimitSeconds")
#: Where a container finds the others. Here they listen where they have found a port.
_HOSTS = ("KITH_HOST", "KITH_EXPORTS_ANALYTICS", "KITH_EXPORTS_RELATIONS", "KITH_APPS_URL")


def has_master_key(service: str) -> bool:
    """Whether a service gets the master key: its role lets it read the keys under it, or it lists dead letters."""
    read = {each["resource"]["collection"] for each in mongo_roles("kith")[service]}
    return WRAPPING_KEYS in read or service == "analytics"


def make_secrets(folder: Path, mongo_port: int) -> None:
    """As an operator does. Passwords that are there stay."""
    subprocess.run(
        ["sh", SCRIPT, folder],
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "KITH_MONGO_HOST": f"127.0.0.1:{mongo_port}",
            "KITH_MONGO_CA": str(folder / "ca.crt"),
        },
        stdout=subprocess.DEVNULL,
        check=True,
    )


def environment_of(container: str, folder: Path) -> dict[str, str]:
    """What a container's processes are told, with the secrets of ``folder`` and the defaults of variables."""
    # Without a value is what an operator may state.
    stated = {key: value for key, value in CONTAINERS[container]["environment"].items() if value is not None}
    given = {key: str(value) for key, value in stated.items()}
    return {key: _here(value, folder) for key, value in given.items()}


def _here(text: str, folder: Path) -> str:
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text).replace("$$", "$")
    return text.replace("/run/secrets", str(folder))


def settings_of(container: str, folder: Path, kafka: "ProductionKafka") -> dict[str, str]:
    """The settings of a container's process, which finds Kafka on this machine."""
    given = environment_of(container, folder)
    port = given["KITH_KAFKA"].rpartition(":")[2]
    given["KITH_KAFKA"] = f"127.0.0.1:{kafka.admin_port if port == '9095' else kafka.port}"
    return {key: value for key, value in given.items() if key not in _HOSTS}


class ProductionKafka(KafkaServer):
    """The broker. The administrator has a listener of their own (PLAIN), everybody else comes by SCRAM."""

    def __init__(self, data: Path, ports: tuple[int, int, int], log: Path, secrets: Path, admin: Login) -> None:
        port, self.admin_port, controller = ports
        listeners = {"CLIENT://": port, "ADMIN://": self.admin_port, "CONTROLLER://localhost": controller}

        def here(value: str) -> str:
            for listener, number in listeners.items():
                name = listener.partition("://")[0]
                value = re.sub(rf"{name}://[a-z]*:\d+", f"{name}://127.0.0.1:{number}", value)
            return value.replace("1@localhost:9093", f"1@127.0.0.1:{controller}")

        properties = {
            # As the image reads its variables: a dot, a dash and an underscore are one, three and two underscores.
            key.removeprefix("KAFKA_")
            .lower()
            .replace("___", "-")
            .replace("__", "\0")
            .replace("_", ".")
            .replace("\0", "_"): here(value)
            for key, value in environment_of("kafka", secrets).items()
            if key not in _ELSEWHERE
        }
        super().__init__(data, port, controller, log, properties, "256m", admin, "PLAIN")
        self._ca = str(secrets / "ca.crt")

    def client(self, login: Login | None) -> dict[str, str]:
        trusted = {"ssl_cafile": self._ca}
        if login is None:
            return {"bootstrap_servers": self.bootstrap, "security_protocol": "SSL", **trusted}
        administers = login == self.login
        return {
            "bootstrap_servers": f"127.0.0.1:{self.admin_port}" if administers else self.bootstrap,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN" if administers else "SCRAM-SHA-512",
            "sasl_plain_username": login[0],
            "sasl_plain_password": login[1],
            **trusted,
        }


class ProductionMongo(MongoServer):
    """The mongod, which has its administrator already."""

    def __init__(self, data: Path, port: int, log: Path, secrets: Path, admin: Login) -> None:
        command = [_here(part, secrets) for part in CONTAINERS["mongo"]["command"]]
        arguments = [part for part in command if not part.startswith(_STATED)]
        super().__init__(data, port, log, arguments, 0.25, admin)
        self._ca = str(secrets / "ca.crt")

    def uri_for(self, login: Login | None, **options: str) -> str:
        return super().uri_for(login, **options, tls="true", tlsCAFile=self._ca)
