"""An explanation for a terminal, and for programs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.explain.model import AggregateMove, Change, DocumentMove, Explanation, Occurrence, Origin, Report
from shared.contracts.events import EPOCH
from shared.letters.letter import as_json
from shared.observability.terminal import printable

#: Fields shown elsewhere, or of no use to a reader.
_UNSEEN = ("_id", "tenant", "fingerprint", "version", "versions")
_STYLES = {"counts": "green", "partly": "yellow", "waiting": "yellow", "dead_letter": "red"}


def report_json(report: Report) -> str:
    """One line of JSON: the report with all its fields, times in RFC 3339, bytes as text or in base64."""
    return orjson.dumps(report, default=as_json, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()


def report_view(report: Report) -> RenderableType:
    """The report for a person."""
    read = report.read
    foot = Text(f"read {read['messages']:,} messages in {read['seconds']:.1f} s", style="dim")
    if not report.found:
        return Group(_line(f"{report.id}: not found", "bold red"), _line(report.summary), foot)
    parts: list[RenderableType] = []
    for explanation in report.events:
        parts += [*_explanation(explanation), Text()]
    return Group(*parts, foot)


def _explanation(e: Explanation) -> Iterator[RenderableType]:
    yield _line(f"{e.type or 'event'} {e.source or '?'}/{e.id}", "bold")
    facts = Table.grid(padding=(0, 2))
    rows = (
        ("tenant", e.tenant),
        ("time", None if e.time is None else _shown(e.time)),
        ("sequence", e.sequence),
        ("relation", e.relation_id),
        ("consumer", e.consumer_id),
        ("provider", e.provider_id),
        ("door", e.door),
    )
    for name, value in rows:
        if value is not None:
            facts.add_row(Text(f"  {name}"), _line(value))
    facts.add_row(Text("  now"), _line(_now(e), _STYLES.get(e.standing, "")))
    yield facts
    for occurrence in e.occurrences:
        yield Text()
        yield from _occurrence(occurrence)
    if e.fields:
        yield Text()
        yield _fields(e.fields)
    for note in e.notes:
        yield _line(f"Note: {note}", "yellow")


def _fields(fields: Sequence[Origin]) -> Table:
    """The event that each field of the profile comes from; each event's name is shown once."""
    table = Table("Field", "Comes from", title="The profile's fields", title_justify="left")
    last = None
    for origin in sorted(
        fields, key=lambda each: (each.event.time or EPOCH, each.event.sequence or "", each.field)
    ):
        event = f"{origin.event.source}/{origin.event.id}"
        if origin.event.time is not None:
            event += f" of {_shown(origin.event.time)}"
        if origin.event.sequence is not None:
            event += f", sequence {origin.event.sequence}"
        name = f"{origin.field} (removed)" if origin.removed else origin.field
        table.add_row(_line(name), _line("" if event == last else event))
        last = event
    return table


def _now(e: Explanation) -> str:
    checked = {True: "; the stored documents equal the fold of the log", False: "", None: ""}[e.exact]
    return e.summary + checked


def _occurrence(o: Occurrence) -> Iterator[RenderableType]:
    head = f"{o.topic}/{o.partition}/{o.offset}, arrived {_shown(o.arrived)}"
    if o.replay_of is not None:
        head += f", a replay of {o.replay_of}"
    yield _line(head, "bold cyan")
    if not o.processed:
        wait = "1 message" if o.behind == 1 else f"{o.behind:,} messages"
        yield _indented(f"not processed yet: relations is {wait} behind. Its effect will be:", "yellow")
    if o.outcome == "dead_letter":
        yield _indented(o.reason, "red")
    else:
        yield _indented(f"{o.outcome}: {o.reason}")
    for move in o.documents:
        yield from _document(move)
    for change in o.changes:
        yield _indented(_change(change, o.processed))
    if o.aggregates:
        yield _aggregates(o.aggregates, o.processed)


def _document(move: DocumentMove) -> Iterator[RenderableType]:
    what = "new" if move.before is None else "gone" if move.after is None else "changed"
    yield _indented(f"{move.collection} {move.id}: {what}")
    table = Table.grid(padding=(0, 2))
    for field in move.fields:
        if field.field.partition(".")[0] in _UNSEEN or (move.before is None and _in_heading(field.field, move)):
            continue
        before = "" if move.before is None else f"{_shown(field.before)} →"
        table.add_row(_line(f"    {field.field}"), _line(f"{before} {_shown(field.after)}".strip()))
    if table.row_count:
        yield table


def _in_heading(field: str, move: DocumentMove) -> bool:
    """Whether the heading of the explanation already contains the field."""
    return field in ("relation_id", "consumer_id", "provider_id") and move.collection in (
        "relations",
        "relationships",
    )


def _change(change: Change, processed: bool) -> str:
    text = f"change {change.id}: "
    if not change.published:
        where = "it waits in the outbox, or retention has deleted it from the topic"
        return text + (where if processed else f"to be published in {change.topic}/{change.partition}")
    first, *more = change.published
    text += f"published at {first.topic}/{first.partition}/{first.offset} as number {first.number}"
    if more:
        places = ", ".join(f"{place.topic}/{place.partition}/{place.offset}" for place in more)
        text += f", and again at {places}, which consumers drop"
    if change.letter is not None:
        return f"{text}; analytics rejected it ({change.letter['reason']}: {change.letter['detail']})"
    counted = {True: "; analytics has counted it", False: "; analytics has not counted it yet", None: ""}
    return text + counted[change.counted]


def _aggregates(moves: Sequence[AggregateMove], processed: bool) -> Table:
    table = Table("Aggregate", "Hour", "Moved", title="Aggregates", title_justify="left")
    if processed:
        table.add_column("Day now")
    for move in moves:
        name, total = f"{move.by} {move.key}", _sums(move.day_total or {}, signed=False)
        rows = [(f"{move.day} {hour}", sums) for hour, sums in sorted(move.hours.items())]
        if consumers := move.sums.get("consumers"):
            rows.append((move.day, {"consumers": consumers}))
        for when, sums in rows:
            cells = (name, when, _sums(sums, signed=True), *([total] if processed else []))
            table.add_row(*(_line(cell) for cell in cells))
            name, total = "", ""
    return table


def _sums(sums: dict[str, Any], *, signed: bool) -> str:
    flat = {k: v for k, v in sums.items() if k != "amount"} | dict(sums.get("amount", {}))
    lines = [f"{name} {value:+,}" if signed else f"{name} {value:,}" for name, value in flat.items()]
    return "\n".join(lines) or "–"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return (
        value if isinstance(value, str) else orjson.dumps(value, default=as_json, option=orjson.OPT_UTC_Z).decode()
    )


def _line(text: str, style: str = "") -> Text:
    return Text("\n".join(printable(line) for line in text.split("\n")), style=style)


def _indented(text: str, style: str = "") -> Padding:
    return Padding(_line(text, style), (0, 0, 0, 2))
