"""`kith privileges`."""

import json
from typing import Annotated

import typer

from shared.service.launch import read_settings


def privileges_command(
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON for programs.")] = False,
) -> None:
    """Show the least privileges of each service, as commands for Kafka's and MongoDB's own tools.

    One Kafka user and one MongoDB role per service. `kith topics create`, `kith keys`, `kith rebuild` and similar
    commands are for an operator, who needs all privileges on this database and these topics.
    """
    from services.cli.privileges import kafka_acls, mongo_roles
    from shared.contracts.topics import Topics

    settings = read_settings()
    roles, acls = mongo_roles(settings.database), kafka_acls(Topics(settings.topic_prefix), settings.group)
    if json_line:
        told = {service: [acl._asdict() for acl in found] for service, found in acls.items()}
        typer.echo(json.dumps({"mongo": roles, "kafka": told}))
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
