"""`kith privileges`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import Json
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.cli.privileges import Acl


def privileges_command(
    json_line: Json = False,
    commands: Annotated[
        bool,
        typer.Option(
            "--commands", help="Print the commands for mongosh and kafka-acls.sh: some hundred kilobytes."
        ),
    ] = False,
    apply: Annotated[
        Path | None,
        typer.Option(
            "--apply",
            metavar="FOLDER",
            help="Create or update the users, with the passwords in FOLDER/SERVICE.password. The settings are an "
            "administrator's of both servers.",
        ),
    ] = None,
) -> None:
    """Show the least privileges of each service in Kafka and MongoDB: a summary, or the commands that grant them.

    One Kafka user and one MongoDB role per service. `kith topics create`, `kith keys`, `kith rebuild` and similar
    commands are for an operator, who needs all privileges on this database and these topics.
    """
    from services.cli.privileges import kafka_acls, mongo_roles
    from shared.contracts.topics import Topics

    settings = read_settings()
    if apply is not None:
        from services.cli.grants import apply as grant

        done = grant(settings, apply)
        typer.echo(json.dumps({"users": done}) if json_line else "\n".join(f"user {name}" for name in done))
        return
    roles, acls = mongo_roles(settings.database), kafka_acls(Topics(settings.topic_prefix), settings.group)
    if json_line:
        told = {service: [acl._asdict() for acl in found] for service, found in acls.items()}
        typer.echo(json.dumps({"mongo": roles, "kafka": told}))
        return
    if not commands:
        _summary(roles, acls)
        return
    typer.echo("# MongoDB, in mongosh as an administrator")
    typer.echo(f'use("{settings.database}")')
    for service, found in roles.items():
        typer.echo(f'db.createRole({{role: "kith-{service}", roles: [], privileges: {json.dumps(found)}}})')
    typer.echo("\n# Kafka")
    for service, granted in acls.items():
        for acl in granted:
            operations = " ".join(f"--operation {operation}" for operation in acl.operations)
            what = f"--{acl.kind.lower()} '{acl.name}' {operations}"
            typer.echo(f"kafka-acls.sh --add --allow-principal 'User:kith-{service}' {what}")


def _summary(roles: Mapping[str, Sequence[Mapping[str, Any]]], acls: "Mapping[str, Sequence[Acl]]") -> None:
    """The collections of one projection's versions have the same privileges, and are shown once."""
    for service, found in roles.items():
        typer.echo(service)
        for what, names in _by_rights(acls[service]).items():
            typer.echo(f"  Kafka    {what}: {', '.join(names)}")
        granted: dict[str, list[str]] = {}
        for privilege in found:
            collection = privilege["resource"]["collection"].partition("@")[0] or "(the database)"
            names = granted.setdefault(", ".join(privilege["actions"]), [])
            if collection not in names:
                names.append(collection)
        for actions, names in granted.items():
            typer.echo(f"  MongoDB  {actions}: {', '.join(names)}")
    typer.echo(
        "\nThe commands that grant this, for every version of each projection: kith privileges --commands > FILE"
    )


def _by_rights(acls: "Sequence[Acl]") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for acl in acls:
        found.setdefault(f"{acl.kind.lower()}s, {' and '.join(acl.operations).lower()}", []).append(acl.name)
    return found
