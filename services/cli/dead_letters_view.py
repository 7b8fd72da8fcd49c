"""Renders dead letters for a terminal. Pure."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
from rich.console import Console, RenderableType
from rich.text import Text

from services.cli.tables import Column, Row, fitted, with_notes
from shared.contracts.errors import InvalidEvent
from shared.letters.fate import Fate, counted
from shared.letters.letter import as_json, cut_note, summary
from shared.observability.terminal import printable
from shared.runtime.protocols import Document

#: For more letters than this, a replay only reports the number per reason.
NAMED = 20


def details(letter: Document) -> dict[str, Any]:
    """All fields, for JSON: bytes as text if they are text, else in base64; a JSON value as JSON."""
    try:
        value = orjson.loads(letter["value"] or b"")
    except orjson.JSONDecodeError:
        value = as_json(letter["value"])
    headers = [{"name": header["name"], "value": as_json(header["value"])} for header in letter["headers"]]
    places = {name: letter[name] for name in ("topic", "partition", "offset")}
    note = {} if (told := cut_note(letter)) is None else {"note": told}
    return {**summary(letter), **places, **note, "key": as_json(letter["key"]), "headers": headers, "value": value}


def pretty(fields: dict[str, Any]) -> str:
    """Details for a terminal: a line per field, then the value, indented when it is JSON."""
    lines = [f"{name}: {_line(value)}" for name, value in fields.items() if name not in ("value", "headers")]
    lines += [f"header {header['name']}: {_line(header['value'])}" for header in fields["headers"]]
    value = fields["value"]
    body = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    heading = "the beginning of the value:" if "cut" in fields else "value:"
    return "\n".join([*map(printable, lines), heading, *map(printable, body.split("\n"))])


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def refusal(invalid: InvalidEvent) -> str:
    """Why a corrected event would become a dead letter again."""
    where = f"{invalid.field} " if invalid.field else ""
    return f"the corrected event would be rejected again ({invalid.reason}): {where}{invalid.detail}"


def table(found: Sequence[dict[str, Any]], console: Console) -> RenderableType:
    """Summaries of letters for a terminal: a row for each, and below it the fault."""
    if not found:
        return "no dead letters"
    columns = [Column("Id"), Column("Came", rank=3), Column("Type", rank=2), Column("Tenant", rank=1)]
    columns.append(Column("State", rank=4))
    rows = [
        Row([one["id"], f"{one['time'][:19]}Z", one.get("type", "–"), one.get("tenant", "–"), one["state"]])
        for one in found
    ]
    return with_notes("Dead letters", columns, rows, [_wrong(one) for one in found], console)


def _wrong(one: dict[str, Any]) -> Text:
    where = f"{one['field']} " if one["field"] else ""
    again = f" (replay of {one['replay_of']})" if "replay_of" in one else ""
    return Text(printable(f"{one['reason']}: {where}{one['detail']}{again}"), style="red")


def reasons_table(reasons: dict[str, int], console: Console) -> RenderableType:
    """Counts per reason for a terminal."""
    if not reasons:
        return "no dead letters"
    rows = [Row([reason, f"{count:,}"]) for reason, count in reasons.items()]
    columns = [Column("Reason", wrap=True), Column("Dead letters", right=True)]
    return fitted("Dead letters by reason", columns, rows, console)


def report(done: str, ids: Sequence[str], dry_run: bool) -> Text:
    """A line about what a command did, or would do, to letters."""
    lines = [printable(id) for id in ids] if dry_run else []
    return Text("\n".join([*lines, _sum(done, ids, dry_run)]))


def replay_report(fates: Sequence[Fate], ids: Sequence[str], left_out: Sequence[str], dry_run: bool) -> Text:
    """What a replay does, or would do, to each letter, and why; for very many letters, the number per reason."""
    verb = "would be " if dry_run else ""
    lines: list[str] = []
    if len(fates) <= NAMED:
        for one in fates:
            what = f"{verb}published again" if one.published else f"{verb}left out"
            lines += [f"{one.id}: {what}", f"  it failed: {one.failed}", f"  {one.because}"]
    else:
        for published in (True, False):
            shared = counted([one for one in fates if one.published == published])
            heading = [f"{verb}published again:" if published else f"{verb}left out:"] if shared else []
            lines += [*heading, *(f"  {count:,} × {text}" for text, count in shared)]
    lines.append(_sum("replayed", ids, dry_run))
    if left_out:
        lines.append(f"{len(left_out):,} left out")
    return Text("\n".join(map(printable, lines)))


def _sum(done: str, ids: Sequence[str], dry_run: bool) -> str:
    count = f"{len(ids):,} dead letter{'' if len(ids) == 1 else 's'}"
    return f"{count} would be {done}; this was a dry run" if dry_run else f"{count} {done}"
