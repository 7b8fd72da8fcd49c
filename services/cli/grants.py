"""Creates the users of the least privileges in Kafka and MongoDB: ``kith privileges --apply FOLDER``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from services.cli.privileges import BACKUP, kafka_acls, mongo_roles
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import Topics
from shared.kafka.python_client.opening import opened
from shared.kafka.python_client.reader import connection, reaching_brokers
from shared.mongo.errors import translated
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from shared.settings import Settings, servers_of

#: What a secret's file must have at least: a password that a person makes up is no password of a service.
MIN_LENGTH = 16


def user_of(service: str) -> str:
    """The user of a service in both servers."""
    return f"kith-{service}"


def passwords_in(folder: Path, services: Mapping[str, object]) -> dict[str, str]:
    """Reads the password of each service from its file ``<service>.password``. Raises ConfigurationError that
    names every file that is missing or too short."""
    found, wrong = {}, []
    for service in services:
        path = folder / f"{service}.password"
        try:
            found[service] = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            wrong.append(f"{path} ({getattr(error, 'strerror', None) or 'is not text'})")
            continue
        if len(found[service]) < MIN_LENGTH:
            wrong.append(f"{path} (shorter than {MIN_LENGTH} characters)")
    if wrong:
        raise ConfigurationError(f"a password is missing: {', '.join(wrong)}")
    return found


def apply(settings: Settings, folder: Path) -> list[str]:
    """Give each service and the operator a user with its least privileges, and the password of its file. The user
    of backups is made where there is a password for it.

    ``settings`` are an administrator's of both servers. What exists is brought up to date, so that a new version's
    privileges and new passwords are applied by another call. ACLs are only added: Kafka has no list of one's own.
    Returns the names of the users. Raises ConfigurationError, and Unavailable.
    """
    _, mongo = servers_of(settings)
    roles = mongo_roles(settings.database)
    wanted = {
        user: each for user, each in roles.items() if user != BACKUP or (folder / f"{user}.password").exists()
    }
    passwords = passwords_in(folder, wanted)
    _in_mongo(mongo, settings.database, roles, passwords)
    _in_kafka(settings, passwords)
    return [user_of(service) for service in passwords]


def _in_mongo(
    uri: str, database: str, roles: Mapping[str, list[dict[str, Any]]], passwords: Mapping[str, str]
) -> None:
    try:
        with connect(uri) as client, translated():
            _grant(client, database, roles, passwords)
    except OperationFailure as error:
        raise ConfigurationError(f"MongoDB does not let the user of KITH_MONGO create users: {error}") from error


def _grant(
    client: MongoClient[Document],
    database: str,
    roles: Mapping[str, list[dict[str, Any]]],
    passwords: Mapping[str, str],
) -> None:
    for service in passwords:
        privileges = roles[service]
        name = user_of(service)
        verb = "updateRole" if _knows(client, database, "rolesInfo", name) else "createRole"
        client[database].command(verb, name, privileges=privileges, roles=[])
        verb = "updateUser" if _knows(client, "admin", "usersInfo", name) else "createUser"
        granted = [{"role": name, "db": database}]
        client.admin.command(verb, name, pwd=passwords[service], roles=granted)


def _knows(client: MongoClient[Document], database: str, command: str, name: str) -> bool:
    kind = "roles" if command == "rolesInfo" else "users"
    return bool(client[database].command(command, name)[kind])


def _in_kafka(settings: Settings, passwords: Mapping[str, str]) -> None:
    acls = kafka_acls(Topics(settings.topic_prefix), settings.group)
    with reaching_brokers():
        admin = opened(KafkaAdminClient, **connection(settings))
    try:
        users = admin.alter_user_scram_credentials(
            [
                UserScramCredentialUpsertion(user_of(service), ScramMechanism.SCRAM_SHA_512, password)
                for service, password in passwords.items()
            ]
        )
        added = admin.create_acls(
            [
                ACL(
                    principal=f"User:{user_of(service)}",
                    host="*",
                    operation=ACLOperation[operation],
                    permission_type=ACLPermissionType.ALLOW,
                    resource_pattern=ResourcePattern(ResourceType[acl.kind], acl.name),
                )
                for service in passwords
                for acl in acls[service]
                for operation in acl.operations
            ]
        )
    except KafkaError as error:
        raise ConfigurationError(f"Kafka does not let KITH_KAFKA_USERNAME create users: {error}") from error
    finally:
        admin.close()
    check_granted(users, added["failed"])


def check_granted(users: Mapping[str, str | None], acls: Sequence[type[KafkaError]]) -> None:
    """Raise ConfigurationError for what Kafka has refused, which kafka-python returns and does not raise: by user
    its answer (None: the user is there), and the error of each ACL that was refused."""
    refused = [f"{user}: {answer}" for user, answer in users.items() if answer is not None]
    refused += sorted({f"ACLs: {error.__name__}" for error in acls})
    if refused:
        raise ConfigurationError(f"Kafka does not let KITH_KAFKA_USERNAME create users: {'; '.join(refused)}")
