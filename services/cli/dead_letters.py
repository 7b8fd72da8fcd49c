"""`kith dead-letters`: list and show rejected messages, correct and replay them, or discard them."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import Json, Options, taking
from services.cli.times import time_option
from shared.contracts.errors import InvalidEvent
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from shared.contracts.topics import Topics
    from shared.letters.letter import Selection
    from shared.letters.store import Letters
    from shared.runtime.protocols import Publisher
    from shared.settings import Needed, Settings

dead_letters_app = typer.Typer(
    help="Dead letters: rejected messages, kept unchanged. They may contain personal data.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_FILTERS = "Which dead letters"
#: Which ones a command is about.
FILTERS: Options = {
    "reason": (
        Annotated[
            str | None,
            typer.Option(help="Only those with this reason: invalid, not_json …", rich_help_panel=_FILTERS),
        ],
        None,
    ),
    "type": (
        Annotated[
            str | None, typer.Option(help="Only of this event type: relation.recorded …", rich_help_panel=_FILTERS)
        ],
        None,
    ),
    "tenant": (
        Annotated[str | None, typer.Option(help="Only of this tenant.", rich_help_panel=_FILTERS)],
        None,
    ),
    "topic": (
        Annotated[
            str | None,
            typer.Option(
                help="Only from this topic; relations is short for kith.relations.", rich_help_panel=_FILTERS
            ),
        ],
        None,
    ),
    "since": (
        Annotated[
            str | None,
            typer.Option(
                help="Only messages since then, by Kafka's timestamp: 2026-11-21T10:00:00Z, or a duration ago: "
                "90m, 24h, 7d, 2w.",
                rich_help_panel=_FILTERS,
            ),
        ],
        None,
    ),
    "until": (
        Annotated[
            str | None,
            typer.Option(help="Only messages before then, by Kafka's timestamp.", rich_help_panel=_FILTERS),
        ],
        None,
    ),
    "everything": (
        Annotated[
            bool, typer.Option("--all", help="Include replayed and discarded ones.", rich_help_panel=_FILTERS)
        ],
        False,
    ),
}
IDS: Options = {
    "ids": (
        Annotated[list[str] | None, typer.Argument(help="Ids, as `list` shows them.", show_default=False)],
        None,
    ),
}
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and change nothing.")]


@dead_letters_app.command("list")
@taking(**FILTERS)
def list_command(
    limit: Annotated[int, typer.Option(min=1, help="Maximum number to show, latest first.")] = 50,
    summary: Annotated[
        bool, typer.Option("--summary", help="Show the number of dead letters per reason.")
    ] = False,
    json_line: Json = False,
    **which: Any,
) -> None:
    """List the open dead letters, latest first. Values are not shown."""
    from services.cli import dead_letters_view as letters
    from shared.letters.letter import summary as told

    selection = _selection(**which)
    with _opened() as (_, _, store):
        if summary:
            reasons = store.reasons(selection)
            _print(
                {"total": sum(reasons.values()), "reasons": reasons},
                lambda console: letters.reasons_table(reasons, console),
                json_line,
            )
            return
        found = [told(letter) for letter in store.latest(selection, limit)]
    _print({"items": found}, lambda console: letters.table(found, console), json_line)


@dead_letters_app.command("show")
def show_command(
    id: Annotated[str, typer.Argument(help="The id, as `list` shows it.")],
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Write only the original bytes of the message, to correct them in a file."),
    ] = False,
    json_line: Json = False,
) -> None:
    """Show one dead letter with the whole message. The message may hold personal data.

    A dead letter keeps only the beginning of a message of more than 1 MiB, and the place of the whole one in
    Kafka.
    """
    from services.cli import dead_letters_view as letters
    from shared.letters.letter import cut_note
    from shared.letters.sealing import is_sealed

    with _opened() as (_, _, store):
        sealed = any(map(is_sealed, _present(store, [id])))
    with _opened(*(("master_key",) if sealed else ())) as (settings, _, store):
        [letter] = store.opened(_present(store, [id]))
        _record(settings, "dead_letters.show", {"letter": id})
    if raw:
        if (note := cut_note(letter)) is not None:
            raise typer.BadParameter(note, param_hint="--raw")
        sys.stdout.buffer.write(letter["value"] or b"")
        return
    fields = letters.details(letter)
    typer.echo(json.dumps(fields) if json_line else letters.pretty(fields))


@dead_letters_app.command("replay")
@taking(**IDS, **FILTERS)
def replay_command(
    value: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Publish this file's event instead. For exactly one id."),
    ] = None,
    dry_run: DryRun = False,
    json_line: Json = False,
    **which: Any,
) -> None:
    """Publish dead letters again: the same bytes under the same key, in their original order.

    Do this once the cause is fixed: a worker that was too old, a clock that was wrong. If the event itself is
    wrong, correct it: `kith dead-letters show ID --raw > event.json`, edit the file, then
    `kith dead-letters replay ID --value event.json`.

    The output contains each letter's reason and what happens to it now; with --dry-run, what would happen.

    Replaying is safe, at any time and any number of times: an event counts with its own time, not with the time of
    the replay. A newer event that was stored since still wins; an event that was already stored changes nothing.

    A replayed letter is kept and marked as replayed. A message that is rejected again becomes a new dead letter,
    which names the old one (replay_of). A message of more than 1 MiB is only kept in part: publish a whole event
    with `--value`. Changes, which the relations service publishes, are never replayed: they would be counted
    twice. Rebuild the projection that rejected them instead.
    """
    from services.cli import dead_letters_view as letters
    from shared.letters.fate import Fate, mended_fate
    from shared.letters.letter import cut_note, mended

    selection = _definite(_selection(**which))
    if value is not None and len(selection.ids) != 1:
        raise typer.BadParameter("needs exactly one id", param_hint="--value")
    fates: list[Fate] = []
    with _opened("master_key", *(() if dry_run else ("kafka",))) as (settings, topics, store):
        notes = [note for letter in _present(store, selection.ids) if (note := cut_note(letter)) is not None]
        if notes and value is None:
            raise typer.BadParameter(f"{notes[0]}. Publish a whole event with --value", param_hint="ID")
        if not dry_run:
            _record(settings, "dead_letters.replay", selection.audit_subject())
        with nullcontext() if dry_run else closing(_publisher(settings)) as publisher:
            if value is not None:
                [letter] = _present(store, selection.ids)
                try:
                    message = store.sealed(mended(letter, value.read_bytes(), topics))
                except InvalidEvent as invalid:
                    raise typer.BadParameter(letters.refusal(invalid), param_hint="--value") from None
                if message is None:
                    raise typer.BadParameter("is about an erased consumer", param_hint="--value")
                done, left_out = store.publish([(letter["_id"], message)], publisher), list[str]()
                fates.append(mended_fate(letter))
            else:
                done, left_out = store.replay(selection, publisher, fates.append)
    found: dict[str, Any] = {"replayed": len(done), "dry_run": dry_run, "ids": done, "left_out": left_out}
    found["letters"] = [asdict(one) for one in fates]
    _print(found, letters.replay_report(fates, done, left_out, dry_run), json_line)


@dead_letters_app.command("discard")
@taking(**IDS, **FILTERS)
def discard_command(
    reason_text: Annotated[str, typer.Option(help="The reason, for later readers.")],
    dry_run: DryRun = False,
    json_line: Json = False,
    **which: Any,
) -> None:
    """Mark dead letters as discarded. They are kept, but no longer listed as open."""
    from services.cli import dead_letters_view as letters

    selection = _definite(_selection(**which))
    with _opened() as (settings, _, store):
        _present(store, selection.ids)
        if not dry_run:
            _record(settings, "dead_letters.discard", selection.audit_subject())
        done = store.discard(selection, reason_text, dry_run=dry_run)
    _print(
        {"discarded": len(done), "dry_run": dry_run, "ids": done},
        letters.report("discarded", done, dry_run),
        json_line,
    )


def _selection(
    *,
    since: str | None,
    until: str | None,
    everything: bool,
    ids: Sequence[str] | None = None,
    **filters: str | None,
) -> "Selection":
    from shared.letters.letter import Selection

    first, last = time_option("--since", since), time_option("--until", until)
    return Selection(ids or (), since=first, until=last, closed=everything, **filters)


def _definite(selection: "Selection") -> "Selection":
    if not selection.narrow:
        raise typer.BadParameter("needs ids or a filter; `--since 2000-01-01` selects all open ones")
    return selection


@contextmanager
def _opened(*needed: "Needed") -> "Iterator[tuple[Settings, Topics, Letters]]":
    """The store of dead letters. It decrypts and seals personal data only if ``needed`` contains the master
    key."""
    from shared.contracts.topics import Topics
    from shared.letters.store import Letters
    from shared.mongo.errors import translated
    from shared.mongo.store import connect
    from shared.settings import mongo_of, require
    from shared.vault.open import vault_in

    settings = read_settings()
    require(settings, "mongo", *needed)
    mongo = mongo_of(settings)
    topics = Topics(settings.topic_prefix)
    with connect(mongo) as client, translated():
        database = client[settings.database]
        yield (
            settings,
            topics,
            Letters(database, topics, vault_in(settings, database) if "master_key" in needed else None),
        )


def _record(settings: "Settings", action: str, subject: dict[str, str]) -> None:
    from shared.access.acts import record_act

    record_act(settings, action, subject)


def _publisher(settings: "Settings") -> "Publisher":
    from shared.kafka.clients import open_publisher

    return open_publisher(settings)


def _present(store: "Letters", ids: Sequence[str]) -> list[dict[str, Any]]:
    found = store.by_id(ids)
    if missing := set(ids) - {letter["_id"] for letter in found}:
        raise typer.BadParameter(f"there is no dead letter {', '.join(sorted(missing))}", param_hint="ID")
    return found


def _print(found: dict[str, Any], text: Any, json_line: bool) -> None:
    if json_line:
        typer.echo(json.dumps(found))
    else:
        from rich.console import Console

        console = Console()
        console.print(text(console) if callable(text) else text)
