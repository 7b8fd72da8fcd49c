"""How dead letters look in a terminal. Pure."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
from rich.table import Table
from rich.text import Text

from shared.contracts.errors import InvalidEvent
from shared.letters.letter import as_json, cut_note, summary
from shared.observability.terminal import printable
from shared.runtime.protocols import Document


def details(letter: Document) -> dict[str, Any]:
    """Everything, for JSON: bytes as text where they are text, else in base64; a value that is JSON as such."""
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
    """Why a mended event would become a dead letter again."""
    where = f"{invalid.field} " if invalid.field else ""
    return f"the mended event would be refused again ({invalid.reason}): {where}{invalid.detail}"


def table(found: Sequence[dict[str, Any]]) -> Table | str:
    """Summaries of letters for a terminal."""
    if not found:
        return "no dead letters"
    table = Table("Id", "Came", "Reason", "Detail", "Type", "Tenant", "State", title="Dead letters")
    table.columns[0].no_wrap = True
    for letter in found:
        where = f"{letter['field']}: " if letter["field"] else ""
        cells = (
            letter["id"],
            letter["time"],
            letter["reason"],
            where + letter["detail"],
            letter.get("type", "–"),
            letter.get("tenant", "–"),
            letter["state"] + (f", replay of {letter['replay_of']}" if "replay_of" in letter else ""),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def reasons_table(reasons: dict[str, int]) -> Table | str:
    """Counts per reason for a terminal."""
    if not reasons:
        return "no dead letters"
    table = Table("Reason", "Dead letters", title="Dead letters by reason")
    table.columns[1].justify = "right"
    for reason, count in reasons.items():
        table.add_row(Text(printable(reason)), f"{count:,}")
    return table


def report(done: str, ids: Sequence[str], left_out: Sequence[str], dry_run: bool) -> Text:
    """What a command did, or would have done, to letters."""
    count = f"{len(ids):,} dead letter{'' if len(ids) == 1 else 's'}"
    lines = [printable(id) for id in ids] if dry_run else []
    lines.append(f"{count} would be {done}; this was a dry run" if dry_run else f"{count} {done}")
    if left_out:
        lines.append(
            f"{len(left_out):,} left out: changes must not be counted twice (rebuild the projection that refused "
            "them), a letter that is cut is no event (publish one with --value), and where personal data is "
            "encrypted, an event that would be refused again (mend it) or whose consumer is erased does not go "
            "into Kafka."
        )
    return Text("\n".join(lines))
