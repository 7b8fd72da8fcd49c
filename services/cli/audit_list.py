"""`kith audit list`: the entries of the audit."""

import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.times import time_option
from shared.access.chain import INSTALLATION, Entry
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from shared.access.audit_reading import AuditFilter, AuditReader


def list_command(
    tenant: Annotated[
        str, typer.Option(help=f"The tenant; {INSTALLATION} is the installation itself.")
    ] = "default",
    subject: Annotated[
        str | None, typer.Option(help="The subject: a consumer_id, a key, a dead letter …", show_default=False)
    ] = None,
    caller: Annotated[
        str | None, typer.Option(help="The caller: a name, or the prefix of a key.", show_default=False)
    ] = None,
    action: Annotated[
        str | None, typer.Option(help="A code such as personal.read, or its first part: keys.", show_default=False)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Start: a time in ISO 8601, or a duration ago, as in 24h or 7d.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="End, exclusive, in the form of --from.")] = None,
    before: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only entries before the one of this number: the end of a list names it.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of entries, latest first.")] = 50,
    json_line: Annotated[bool, typer.Option("--json", help="Print entries as JSON, one a line.")] = False,
    csv_lines: Annotated[bool, typer.Option("--csv", help="Print entries as CSV.")] = False,
) -> None:
    """List who saw personal data and who did what, latest first.

    Reading the audit is an entry itself: audit.read. Times are in UTC.
    """
    from shared.access.acts import recorder
    from shared.access.audit_reading import AuditFilter, MongoAuditReader, described
    from shared.mongo.store import connect
    from shared.settings import mongo_of

    if json_line and csv_lines:
        raise typer.BadParameter("choose one of --json and --csv", param_hint="--csv")
    if tenant != INSTALLATION and not is_tenant(tenant):
        raise typer.BadParameter("is not a tenant's name", param_hint="--tenant")
    first, end = time_option("--from", from_), time_option("--to", to)
    if first is not None and end is not None and first >= end:
        raise typer.BadParameter("must be later than --from", param_hint="--to")
    sought = AuditFilter(subject, caller, action, first, end)
    settings = read_settings()
    with connect(mongo_of(settings)) as client:
        database = client[settings.database]
        with recorder(settings, database) as acts:
            acts.record(tenant, "audit.read", described(sought))
        found, more = gathered(MongoAuditReader(database), tenant, sought, limit, before)
    if json_line:
        for entry in found:
            typer.echo(json.dumps(entry))
    elif csv_lines:
        typer.echo(_as_csv(found), nl=False)
    else:
        for line in entries_table(tenant, found, more, shutil.get_terminal_size((80, 24)).columns):
            typer.echo(line)


def is_tenant(name: str) -> bool:
    from pydantic import TypeAdapter, ValidationError

    from shared.contracts.events import Tenant

    try:
        TypeAdapter(Tenant).validate_python(name)
    except ValidationError:
        return False
    return True


def gathered(
    reader: "AuditReader", tenant: str, sought: "AuditFilter", limit: int, below: int | None = None
) -> tuple[list[Entry], bool]:
    """The latest ``limit`` entries (below a sequence), and whether there may be more. Raises Unavailable."""
    found: list[Entry] = []
    while True:
        lot, below = reader.latest(tenant, sought, limit - len(found), below)
        found += lot
        if below is None or len(found) >= limit:
            return found, below is not None


def entries_table(tenant: str, found: Sequence[Entry], more: bool, width: int) -> list[str]:
    """The entries as a table."""
    from services.cli.report_table import Column, printable, table

    if not found:
        return [f"No entry of {'the installation' if tenant == INSTALLATION else f'the tenant {tenant}'} matches."]
    cells = [
        Column("Time (UTC)", [entry["time"].replace("T", " ").partition(".")[0] for entry in found], key=True),
        Column("Who", [printable(f"{entry['who']} ({entry['key']})") for entry in found], key=True, text=True),
        Column("Action", [printable(entry["action"]) for entry in found], key=True),
        Column("What", [printable(_what(entry)) for entry in found], key=True, text=True),
    ]
    lines = list(table(cells, width))
    if more:
        # By number: many entries may have one time.
        lines += ["", f"There are earlier entries: add --before {found[-1]['sequence']}, or raise --limit."]
    return lines


def _what(entry: Entry) -> str:
    """Subject, fields and details on one line."""
    parts = [f"{name}={value}" for name, value in {**entry["subject"], **entry["details"]}.items()]
    if entry["fields"]:
        parts.append(f"fields: {', '.join(entry['fields'])}")
    return " ".join(parts) or "–"


def _as_csv(found: Sequence[Entry]) -> str:
    from shared.measures.csv_cells import csv_rows, guarded_cell

    names = ("time", "sequence", "tenant", "who", "key", "action", "subject", "fields", "details", "hash")
    return csv_rows([names, *([guarded_cell(entry[name]) for name in names] for entry in found)], "\n")
