"""The status for a terminal: problems first, then tables."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Console, RenderableType
from rich.text import Text

from services.cli.health import Health
from services.cli.tables import Column, Row, fitted
from shared.access.chain import INSTALLATION
from shared.contracts.services import CONNECTORS
from shared.observability.status import PartitionStatus, Status
from shared.observability.terminal import printable

#: A partition with lag that stores nothing for this long is stuck, or has no worker.
STUCK_SECONDS = 10
_DONE = "delete what the collection lost_keys has with that tenant and an empty consumer_id"


def status_view(
    status: Status, services: Sequence[Health], console: Console, only_behind: bool = False
) -> list[RenderableType]:
    """Problems come first. With ``only_behind``, partitions without lag are only counted."""
    urgent = attention(status, services)
    parts: list[RenderableType] = [
        *([Text("Needs attention", style="bold"), *urgent] if urgent else [Text("Nothing needs attention.")]),
        services_table(services, console, status),
        *([_dead(status, console)] if status.dead_letters else []),
        _partitions(status, console, only_behind),
        _workers(status, console),
        _latency(status, console),
        _stored(status, console),
    ]
    if status.closed_letters:
        parts.append(Text(f"\nReplayed or discarded dead letters: {status.closed_letters:,}"))
    spaced: list[RenderableType] = []
    for part in parts:
        spaced += [part] if isinstance(part, Text) else [Text(""), part]
    return spaced


def attention(status: Status, services: Sequence[Health]) -> list[Text]:
    """One sentence for each problem, the worst first."""
    red = [
        *status.restoring,
        *_unready(services),
        *_lost_workers(status),
        *_waiting(status),
        *_open_letters(status),
    ]
    yellow = [
        *_plaintext(status),
        *_incomplete(status),
        *_lost_keys(status),
        *_lost_tenant_keys(status),
        *_not_in_nfc(status),
    ]
    lines = [*((text, "red") for text in red), *((text, "yellow") for text in yellow)]
    return [Text(printable(f"! {text}"), style=style) for text, style in lines]


def _unready(services: Sequence[Health]) -> Iterator[str]:
    for one in services:
        if one.state in ("no answer", "not ready"):
            what = "gives no answer" if one.state == "no answer" else "is not ready"
            yield f"{one.service} {what} at {one.address}" + (f": {one.detail}" if one.detail else "")


def _lost_workers(status: Status) -> Iterator[str]:
    for worker in status.workers:
        if worker.owner is not None and not worker.alive:
            silent = "has left" if worker.seen is None else f"was last seen {ago(worker.seen, status.time)}"
            behind = f", {worker.lag:,} behind" if worker.lag else ""
            if worker.lag and worker.service in CONNECTORS:
                behind += "; erasures wait for it"
            owns = f" with {len(worker.partitions)} partitions" if worker.partitions else ""
            yield f"worker {worker.owner} of {worker.service} {silent}{owns}{behind}"


def _waiting(status: Status) -> Iterator[str]:
    for service, stuck in _stuck(status).items():
        waiting = sum(p.lag for p in stuck)
        yield f"{service}: {waiting:,} messages wait and none was stored for {STUCK_SECONDS} s"


def _open_letters(status: Status) -> Iterator[str]:
    if status.dead_letters:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in status.dead_letters.items())
        total = sum(status.dead_letters.values())
        are = "dead letter is" if total == 1 else "dead letters are"
        yield f"{total:,} {are} open ({reasons}): kith dead-letters list"


def _plaintext(status: Status) -> Iterator[str]:
    for topic, count in status.plaintext.items():
        yield (
            f"Findings: {count:,} events with personal data in plain text in {topic}. The data was "
            "sealed before it was stored, but an erasure cannot remove it from the topic. Send events "
            "through the door, or set KITH_PLAINTEXT=refuse."
        )


def _incomplete(status: Status) -> Iterator[str]:
    for service in status.incomplete:
        yield (
            f"{service}: an earlier version of Kith stored documents without the number of facts by currency: "
            f"where sums of 0 are shown or missing, they may be wrong until kith rebuild {service}"
        )


def _lost_keys(status: Status) -> Iterator[str]:
    if status.lost_keys:
        where = ", ".join(f"{count:,} of {tenant}" for tenant, count in status.lost_keys.items())
        total = sum(status.lost_keys.values())
        have = "consumer has lost the key" if total == 1 else "consumers have lost the keys"
        yield (
            f"Findings: {total:,} {have} of personal data in a restore ({where}). What was sealed then cannot "
            "be read again. Let the sources send it anew, or erase them; the collection lost_keys lists them."
        )


def _lost_tenant_keys(status: Status) -> Iterator[str]:
    if tenants := [tenant for tenant in status.lost_tenant_keys if tenant != INSTALLATION]:
        yield (
            f"Findings: a restore has lost the own key of {', '.join(tenants)}. Make the webhook endpoints anew, "
            "whose secrets cannot be read again, and let the sources send the profiles anew, so that they are "
            f"found by e-mail and number. Then {_DONE}."
        )
    if INSTALLATION in status.lost_tenant_keys:
        yield (
            "Findings: a restore has lost the key of the keys that sign access tokens and receipts. Run "
            f"kith app rotate-key, and delete what is in the collection signing_keys. Then {_DONE}."
        )


def _not_in_nfc(status: Status) -> Iterator[str]:
    if status.not_in_nfc:
        where = ", ".join(f"{count:,} in {collection}" for collection, count in status.not_in_nfc.items())
        total = sum(status.not_in_nfc.values())
        have = "document has an id that is" if total == 1 else "documents have ids that are"
        yield (
            f"Findings: {total:,} {have} not in Unicode's form NFC ({where}). Such a document is counted "
            "twice or not found. Run kith rebuild relations, then "
            "kith rebuild switch relations --differences publish."
        )


def _stuck(status: Status) -> dict[str, list[PartitionStatus]]:
    limit = status.time - timedelta(seconds=STUCK_SECONDS)
    found: dict[str, list[PartitionStatus]] = {}
    for partition in status.partitions:
        if partition.lag and (partition.moved is None or partition.moved < limit):
            found.setdefault(partition.service, []).append(partition)
    return found


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
    """Writes milliseconds as in "58 ms", "1.2 s", "3 min"; a dash for none."""
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


def services_table(services: Sequence[Health], console: Console, status: Status | None = None) -> RenderableType:
    """Every service, whether it answers, and the lag of its workers if known."""
    columns = [Column("Service"), Column("State"), Column("Workers", right=True, rank=3)]
    columns += [Column("Lag", right=True, rank=6), Column("Address", rank=2)]
    rows = []
    for one in services:
        workers, lag = "–", "–"
        if status is not None and one.service in status.latency:
            workers = str(sum(worker.alive for worker in status.workers if worker.service == one.service))
            lag = f"{status.lag.get(one.service, 0):,}"
        style = "red" if one.state in ("no answer", "not ready") else "" if lag in ("–", "0") else "yellow"
        rows.append(Row([one.service, one.state, workers, lag, one.address], style))
    return fitted("Services", columns, rows, console)


def _latency(status: Status, console: Console) -> RenderableType:
    columns = [Column("Service"), Column("p50", right=True), Column("p99", right=True)]
    rows = [
        Row([service, duration(found.p50_ms), duration(found.p99_ms), f"{found.messages:,}"])
        for service, found in status.latency.items()
    ]
    return fitted(
        "Kafka to MongoDB, last minute", [*columns, Column("Messages", right=True, rank=2)], rows, console
    )


def _partitions(status: Status, console: Console, only_behind: bool) -> RenderableType:
    columns = [Column("Service", rank=4), Column("Partition"), Column("Stored", right=True, rank=2)]
    columns += [Column("Lag", right=True, rank=6), Column("Last commit", right=True, rank=1)]
    found = sorted(status.partitions, key=lambda p: -p.lag)
    rows = []
    for p in found:
        if p.lag or not only_behind:
            stored = "–" if p.stored is None else f"{p.stored:,}"
            place = f"{p.topic.partition('.')[2]}/{p.partition}"
            cells = [p.service, place, stored, f"{p.lag:,}", ago(p.moved, status.time)]
            rows.append(Row(cells, "yellow" if p.lag else ""))
    others = len(found) - len(rows)
    if only_behind and not rows:
        return Text(f"\nPartitions: all {others:,} are up to date.")
    more = f"; {others:,} others are up to date" if others else ""
    return fitted(f"Partitions{more}", columns, rows, console)


def _workers(status: Status, console: Console) -> RenderableType:
    columns = [Column("Service", rank=4), Column("Worker"), Column("Owns", right=True, rank=3)]
    columns += [Column("Lag", right=True, rank=4), Column("Last commit", right=True, rank=1)]
    rows = []
    for worker in sorted(status.workers, key=lambda worker: (worker.alive, -worker.lag)):
        seen = "alive" if worker.alive else ago(worker.seen, status.time)
        owner = worker.owner or "nobody yet"
        cells = [
            worker.service,
            owner,
            str(len(worker.partitions)),
            f"{worker.lag:,}",
            ago(worker.moved, status.time),
        ]
        rows.append(Row([*cells, seen], "" if worker.alive else "yellow"))
    return fitted("Workers", [*columns, Column("Seen", right=True, rank=5)], rows, console)


def _stored(status: Status, console: Console) -> RenderableType:
    rows = [Row([name, f"{count:,}"]) for name, count in status.documents.items()]
    rows.append(Row(["outbox (not published yet)", f"{status.outbox:,}"]))
    return fitted("Stored", [Column("Collection", wrap=True), Column("Documents", right=True)], rows, console)


def _dead(status: Status, console: Console) -> RenderableType:
    rows = [Row([reason, f"{count:,}"], "red") for reason, count in status.dead_letters.items()]
    return fitted(
        "Not accepted", [Column("Reason", wrap=True), Column("Open dead letters", right=True)], rows, console
    )
