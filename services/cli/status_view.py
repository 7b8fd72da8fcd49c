"""The status for a terminal: tables, once or again and again."""

import time
from collections.abc import Callable
from datetime import datetime

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shared.contracts.errors import Unavailable
from shared.observability.status import Status

_EVERY_SECONDS = 1.0


def status_tables(status: Status) -> list[Table]:
    tables = [_services(status), _reading(status), _workers(status), _stored(status)]
    if status.plaintext:
        tables.append(_plaintext(status))
    return [*tables, _dead(status)] if status.dead_letters or status.closed_letters else tables


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


def duration(milliseconds: float | None) -> str:
    """As in "58 ms", "1.2 s", "3 min"; a dash for none."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def _services(status: Status) -> Table:
    table = Table("Service", "Workers", "Lag", "p50", "p99", "Messages", title="Services")
    for service, latency in status.latency.items():
        workers = sum(worker.alive for worker in status.workers if worker.service == service)
        figures = [duration(latency.p50_ms), duration(latency.p99_ms), f"{latency.messages:,}"]
        table.add_row(service, str(workers), f"{status.lag.get(service, 0):,}", *figures)
    for column in table.columns[1:]:
        column.justify = "right"
    table.caption = "From arrival in Kafka until stored, over the last minute"
    return table


def _reading(status: Status) -> Table:
    # Narrow enough for 80 columns with ten million messages.
    table = Table("Service", "Partition", "Stored", "Lag", "Last commit", title="Reading")
    for p in status.partitions:
        table.add_row(
            p.service,
            f"{p.topic.partition('.')[2]}/{p.partition}",
            "–" if p.stored is None else f"{p.stored:,}",
            f"{p.lag:,}",
            ago(p.moved, status.time),
            style="yellow" if p.lag else None,
        )
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _workers(status: Status) -> Table:
    table = Table("Service", "Worker", "Owns", "Lag", "Last commit", "Seen", title="Workers")
    table.columns[1].overflow = "fold"  # whole, however long
    for worker in status.workers:
        owner = worker.owner or "nobody yet"
        count = str(len(worker.partitions))
        seen = "alive" if worker.alive else ago(worker.seen, status.time)
        table.add_row(
            worker.service,
            owner,
            count,
            f"{worker.lag:,}",
            ago(worker.moved, status.time),
            seen,
            style=None if worker.alive else "yellow",
        )
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


def _plaintext(status: Status) -> Table:
    table = Table(
        "Topic", "Events", title="Findings: personal data that came into Kafka in plain text", min_width=76
    )
    table.columns[1].justify = "right"
    for topic, count in status.plaintext.items():
        table.add_row(topic, f"{count:,}")
    table.caption = (
        "It was sealed before it was stored, but lies in the topic as it came, and erasing a consumer does not "
        "reach it there. Send through the door, or set KITH_PLAINTEXT=refuse."
    )
    return table


def _dead(status: Status) -> Table:
    style = "red" if status.dead_letters else ""
    table = Table("Reason", "Open dead letters", title="Not accepted", style=style)
    for reason, count in status.dead_letters.items():
        table.add_row(reason, f"{count:,}")
    table.columns[1].justify = "right"
    if status.closed_letters:
        table.caption = f"Replayed or discarded: {status.closed_letters:,}"
    return table
