"""`kith audit`: the audit of data access, and the check of its integrity."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from services.cli.audit_list import list_command
from services.cli.options import Json
from shared.observability.terminal import printable
from shared.service.launch import read_settings

audit_app = typer.Typer(help="The record of who saw personal data and who did what.", no_args_is_help=True)
audit_app.command("list")(list_command)


@audit_app.command("verify")
def verify_command(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's chain; * is the installation's.")] = None,
    json_line: Json = False,
) -> None:
    """Check that no entry of the audit was changed, replaced or deleted, and that the topic agrees.

    Exit status 1: the check found a fault. A writer to the collection could recompute a whole chain;
    KITH_AUDIT_KEY prevents that, and without it the topic still disagrees. Entries deleted at the end are found if
    the topic still has them.
    """
    from services.explain.log import LogScan
    from shared.access.audit_factory import audit_key
    from shared.access.audit_mongo import MongoAuditLog
    from shared.access.verify import Witnessed, verify
    from shared.contracts.topics import AUDIT, Topics
    from shared.mongo.store import connect
    from shared.settings import servers_of

    settings = read_settings()
    _, mongo = servers_of(settings)
    with LogScan(settings) as scan:
        bounds = scan.bounds([Topics(settings.topic_prefix).name(AUDIT)])
        seen = Witnessed()
        # Checked one by one: none is kept in memory.
        scan.read(bounds, seen.take)
    with connect(mongo) as client:
        found = verify(MongoAuditLog(client[settings.database]), seen.hashes, audit_key(settings), tenant)
    if json_line:
        flaws = [asdict(flaw) for flaw in found.flaws]
        typer.echo(json.dumps({"entries": found.entries, "witnessed": found.witnessed, "flaws": flaws}))
    else:
        _show(found.entries, found.witnessed)
        for flaw in found.flaws:
            typer.echo(f"{flaw.kind}: {printable(flaw.tenant)}, entry {flaw.sequence}: {flaw.detail}")
        kinds = Counter(flaw.kind for flaw in found.flaws)
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        typer.echo(f"The audit is not intact: {said}." if said else "The audit is intact.")
    raise typer.Exit(1 if found.flaws else 0)


def _show(entries: dict[str, int], witnessed: dict[str, int]) -> None:
    from rich.console import Console

    from services.cli.tables import Column, Row, fitted

    rows = [
        Row([tenant, f"{entries.get(tenant, 0):,}", f"{witnessed.get(tenant, 0):,}"])
        for tenant in sorted({*entries, *witnessed})
    ]
    console = Console()
    columns = [Column("Tenant"), Column("Entries", right=True), Column("In the topic", right=True, rank=2)]
    console.print(fitted("Audit", columns, rows, console))
