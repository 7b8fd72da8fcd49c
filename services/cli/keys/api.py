"""`kith keys api`: the API keys of callers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.completion import among, scopes
from services.cli.options import Json
from shared.http.caller import SCOPES
from shared.runtime.clock import now
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from pymongo.database import Database

    from shared.access.acts import Acts
    from shared.access.keys import ApiKey, ApiKeys
    from shared.runtime.protocols import Document

#: How long a rotated key stays valid by default: a day, to distribute the new one.
OVERLAP_HOURS = 24.0

api_app = typer.Typer(help="The API keys that callers show: Authorization: Bearer kith_…", no_args_is_help=True)
Prefix = Annotated[str, typer.Argument(help="The part of the key between the underscores.", show_default=False)]


@api_app.command("create")
def create_command(
    name: Annotated[str, typer.Option(help="A name for the key's user: till-7, crm, ann.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"A scope; may be repeated. One of: {', '.join(SCOPES)}.", autocompletion=among(scopes)),
    ] = None,
    all_scopes: Annotated[bool, typer.Option("--all-scopes", help="All scopes.")] = False,
    tenant: Annotated[str, typer.Option(help="The tenant whose data the key may access.")] = "default",
    mask: Annotated[
        list[str] | None, typer.Option(help="A field to hide from the key, as in personal.email; may be repeated.")
    ] = None,
    limit: Annotated[str | None, typer.Option(help="The key's own rate limit, as in 100/second, or none.")] = None,
    purpose: Annotated[
        str | None,
        typer.Option(help="Bind the key: for it, only consumers who have granted this purpose exist."),
    ] = None,
    events_a_day: Annotated[
        int | None, typer.Option(help="The most events that the key may send in a day (UTC).", min=0)
    ] = None,
    endpoints: Annotated[
        int | None, typer.Option(help="The most webhook endpoints that the key may have.", min=0)
    ] = None,
    json_line: Json = False,
) -> None:
    """Create a key and print it once: only its hash is stored.

    Running services accept it at once. A revoked key stops working within five seconds.
    """
    if not scope and not all_scopes:
        raise typer.BadParameter(f"name at least one of {', '.join(SCOPES)}", param_hint="--scope")
    with _opened() as (keys, acts, _):
        key, text = keys.create(
            tenant,
            name,
            [*SCOPES] if all_scopes else scope or [],
            mask or [],
            limit,
            purpose=purpose,
            events_a_day=events_a_day,
            endpoints=endpoints,
        )
        bound = {} if key.purpose is None else {"purpose": key.purpose}
        acts.record(key.tenant, "keys.create", _subject(key), {"scopes": " ".join(key.scopes), **bound})
    _show(key, text, json_line)


@api_app.command("list")
def list_command(
    tenant: Annotated[str | None, typer.Option(help="Only the keys of this tenant.")] = None,
    json_line: Json = False,
) -> None:
    """Show every key ever created, without its secret, and its last use, to the minute."""
    from rich.console import Console
    from rich.text import Text

    from services.cli.tables import Column, Row, with_notes
    from shared.access.key_uses import MongoKeyUses
    from shared.observability.terminal import printable

    with _opened() as (keys, _, database):
        found = [key for key in keys.all() if tenant in (None, key.tenant)]
        uses = MongoKeyUses(database).all()
    now = datetime.now(UTC)
    listed = [{**_key_fields(key, now), "last_used": _stamp(uses.get(key.prefix))} for key in found]
    if json_line:
        typer.echo(json.dumps(listed))
        return
    console = Console()
    columns = [Column("Key"), Column("Tenant"), Column("Name", rank=3), Column("Made", rank=1), Column("State")]
    rows, notes = [], []
    for key, each in zip(found, listed, strict=True):
        rows.append(Row([f"kith_{key.prefix}_…", key.tenant, key.name, each["created"], each["state"]]))
        used = f"last used {each['last_used']}" if each["last_used"] else "no use recorded"
        hidden = f"; hidden from it: {' '.join(key.masks)}" if key.masks else ""
        notes.append(Text(printable(f"{used}; may {' '.join(key.scopes)}{hidden}{_bounds(key)}"), style="dim"))
    console.print(with_notes("API keys", columns, rows, notes, console) if found else "no API keys")


@api_app.command("rotate")
def rotate_command(
    prefix: Prefix,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="How long the old key stays valid beside the new one.")
    ] = OVERLAP_HOURS,
    json_line: Json = False,
) -> None:
    """Create a key with the same scopes; the old one expires after a while."""
    with _opened() as (keys, acts, _):
        key, text = keys.rotate(prefix, timedelta(hours=overlap_hours))
        acts.record(key.tenant, "keys.rotate", {"key": prefix}, {"successor": key.prefix})
    _show(key, text, json_line)


@api_app.command("revoke")
def revoke_command(prefix: Prefix, json_line: Json = False) -> None:
    """Revoke a key: no service accepts it after five seconds."""
    with _opened() as (keys, acts, _):
        key = keys.revoke(prefix)
        acts.record(key.tenant, "keys.revoke", _subject(key))
    if json_line:
        typer.echo(json.dumps(_key_fields(key, datetime.now(UTC))))
    else:
        from shared.observability.terminal import printable

        typer.echo(f"kith_{key.prefix}_… of {printable(key.name)} is revoked")


@contextmanager
def _opened() -> "Iterator[tuple[ApiKeys, Acts, Database[Document]]]":
    from shared.access.acts import recorder
    from shared.access.keys import ApiKeys
    from shared.access.keys_mongo import MongoKeys
    from shared.mongo.store import connect
    from shared.settings import mongo_of

    settings = read_settings()
    mongo = mongo_of(settings)
    with connect(mongo) as client:
        database = client[settings.database]
        with recorder(settings, database) as acts:
            yield ApiKeys(MongoKeys(database), now), acts, database


def _bounds(key: "ApiKey") -> str:
    found: list[tuple[str, object]] = [("its limit", key.limit), ("bound to the purpose", key.purpose)]
    found += [("events a day", key.events_a_day), ("endpoints", key.endpoints)]
    return "".join(f"; {what}: {value}" for what, value in found if value is not None)


def _subject(key: "ApiKey") -> dict[str, str]:
    return {"key": key.prefix, "name": key.name}


def _show(key: "ApiKey", text: str, json_line: bool) -> None:
    if json_line:
        typer.echo(json.dumps({**_key_fields(key, datetime.now(UTC)), "key": text}))
        return
    typer.echo(text)
    typer.echo(
        f"This is shown once. It is for the tenant {key.tenant}, and may: {', '.join(key.scopes)}.\n"
        "Send it with each request as  Authorization: Bearer <key>",
        err=True,
    )


def _key_fields(key: "ApiKey", now: datetime) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(key).items() if name != "hash"}
    for name in ("created", "until", "revoked"):
        fields[name] = _stamp(fields[name])
    if key.revoked is not None:
        state = f"revoked {fields['revoked']}"
    elif key.until is not None:
        state = f"{'ends' if key.valid(now) else 'ended'} {fields['until']}"
    else:
        state = "good"
    return {**fields, "state": state}


def _stamp(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds").replace("+00:00", "Z")
