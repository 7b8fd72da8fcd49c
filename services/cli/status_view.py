"""The status for a terminal: tables, once or again and again."""

import time
from collections.abc import Callable
from datetime import datetime

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from services.cli.status import Status
from shared.errors import Unavailable

_EVERY_SECONDS = 1.0


def status_tables(status: Status) -> list[Table]:
    tables = [_reading(status), _workers(status), _stored(status)]
    return [*tables, _dead(status)] if status.dead_letters else tables


def show_status(read: Callable[[], Status], *, as_json: bool, watch: bool) -> None:
    """Print what ``read`` gives, once or, with ``watch``, every second until Ctrl-C. Raises Unavailable; while
    it watches, a server that goes away is shown instead."""
    if not watch:
        _print(read(), as_json)
        return
    try:
        if as_json:
            while True:
                _print(read(), as_json)
                time.sleep(_EVERY_SECONDS)
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                live.update(_shown(read), refresh=True)
                time.sleep(_EVERY_SECONDS)
    except KeyboardInterrupt:
        return


def _print(status: Status, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(status.as_dict(), option=orjson.OPT_UTC_Z).decode(), flush=True)
        return
    for table in status_tables(status):
        Console().print(table)


def _shown(read: Callable[[], Status]) -> Group | Text:
    try:
        return Group(*status_tables(read()))
    except Unavailable as error:
        return Text(str(error), style="red")


def ago(moved: datetime | None, now: datetime) -> str:
    """How long ago, as in "3 s ago"; a dash for never."""
    if moved is None:
        return "–"
    seconds = max(0, round((now - moved).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _reading(status: Status) -> Table:
    table = Table("Service", "Topic", "Partition", "Stored", "End", "Lag", "Last commit", title="Reading")
    for p in status.partitions:
        table.add_row(
            p.service,
            p.topic.partition(".")[2],
            str(p.partition),
            "–" if p.stored is None else f"{p.stored:,}",
            f"{p.end:,}",
            f"{p.lag:,}",
            ago(p.moved, status.time),
            style="yellow" if p.lag else None,
        )
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _workers(status: Status) -> Table:
    table = Table("Service", "Worker", "Partitions", "Lag", "Last commit", title="Workers")
    for worker in status.workers:
        owner = worker.owner or "nobody yet"
        count = str(len(worker.partitions))
        table.add_row(worker.service, owner, count, f"{worker.lag:,}", ago(worker.moved, status.time))
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _stored(status: Status) -> Table:
    table = Table("Collection", "Documents", title="Stored")
    for name, count in status.documents.items():
        table.add_row(name, f"{count:,}")
    table.add_row("outbox (not published yet)", f"{status.outbox:,}")
    table.columns[1].justify = "right"
    return table


def _dead(status: Status) -> Table:
    table = Table("Reason", "Dead letters", title="Not accepted", style="red")
    for reason, count in status.dead_letters.items():
        table.add_row(reason, f"{count:,}")
    table.columns[1].justify = "right"
    return table
