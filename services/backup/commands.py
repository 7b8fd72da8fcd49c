"""`kith backup` and `kith restore`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shared.observability.terminal import printable
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.backup.restore import Restored

_SHOWN = 20
_OWN = "(its own key: search by e-mail and number, secrets of webhooks, dead letters without a consumer)"
_SIGNING = "(no tenant: the keys that sign access tokens and receipts)"


def backup_command(
    folder: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    part: Annotated[
        Literal["all", "data", "keys"],
        typer.Option(help="data: everything but the data keys; keys: only these. Keep them apart."),
    ] = "all",
) -> None:
    """Write the database into a folder, as of one moment, while the services go on.

    With --part data it lacks the keys of personal data, so nobody can read that in it. Take the keys more often: a
    consumer whose key was made after the last copy of the keys can never be read again. Kafka's topics are not in
    a backup: they are the log from which the services go on.
    """
    from services.backup.dump import backup

    manifest = backup(read_settings(), folder, part, typer.echo)
    documents = sum(each.documents for each in manifest.collections.values())
    typer.echo(f"{documents:,} documents of {manifest.moment} are in {folder}.")


def restore_command(
    folder: Annotated[Path, typer.Argument(help="The folder of a backup.", show_default=False)],
    keys: Annotated[
        Path | None,
        typer.Option(help="Another backup to take the data keys from: the newest there is.", show_default=False),
    ] = None,
    keys_from_topic: Annotated[
        bool,
        typer.Option(
            "--keys-from-topic",
            help="Take the data keys from their topic as well (KITH_KEYS_TOPIC): it has all that were ever made.",
        ),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop what the database holds. Otherwise it must be empty.")
    ] = False,
    json_line: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Load a backup into the database. All services must be stopped, and Kafka must be the one of the backup.

    Afterwards start the services: they go on from the positions of the backup, and end where they were. Exit
    status 1: the personal data of some consumers can no longer be read; their keys were made after the backup.
    """
    from services.backup.restore import restore

    def say(line: str) -> None:
        typer.echo(line, err=json_line)

    done = restore(read_settings(), folder, keys, replace, say, keys_topic=keys_from_topic)
    if json_line:
        lost = [{"tenant": tenant, "consumer_id": id} for tenant, id in done.lost_keys]
        typer.echo(json.dumps({**done.__dict__, "lost_keys": lost}))
    else:
        _show(done)
    raise typer.Exit(1 if done.lost_keys else 0)


def _show(done: "Restored") -> None:
    typer.echo(f"{done.documents:,} documents of {done.moment} are restored. Start the services now.")
    if done.from_topic:
        typer.echo(f"Data keys that only their topic had: {done.from_topic:,}.")
    typer.echo(f"Keys of consumers who have been erased since, destroyed again: {done.destroyed:,}.")
    typer.echo(f"API keys that have been revoked since, revoked again: {done.revoked:,}.")
    typer.echo(f"Entries of the audit: {done.recovered:,} taken from the topic, {done.lost_entries:,} lost.")
    if not done.lost_keys:
        return
    own = sum(not id for _, id in done.lost_keys)
    typer.echo(
        f"\n{len(done.lost_keys) - own:,} consumers and {own:,} tenants have lost their key. What was sealed "
        "with it can never be read again. Let the sources of consumers send it anew, or erase them; kith status "
        "says what to do for a tenant. The collection lost_keys has them all:"
    )
    for tenant, id in done.lost_keys[:_SHOWN]:
        typer.echo(f"  {tenant} {printable(id) or (_SIGNING if tenant == '*' else _OWN)}")
    if len(done.lost_keys) > _SHOWN:
        typer.echo(f"  and {len(done.lost_keys) - _SHOWN:,} more")
