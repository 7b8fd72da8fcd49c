"""``kith import``: the command around ``run``. Builds the publisher, shows progress, prints the report."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.observability.terminal import printable, printable_lines
from shared.service.launch import read_settings, settings_from

if TYPE_CHECKING:
    from services.importer.run import Report
    from shared.runtime.protocols import Publisher
    from shared.settings import Settings


def import_command(
    mapping: Annotated[
        Path, typer.Argument(help="The mapping file (TOML); with --init, the file of rows.", show_default=False)
    ],
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="File for rejected rows and reasons, JSON lines. Default: beside the mapping, "
            "MAPPING.rejected.jsonl.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check every row, publish nothing. Needs no Kafka.")
    ] = False,
    init: Annotated[
        bool,
        typer.Option(
            "--init",
            help="Draft a mapping of a file (CSV, JSON lines, Excel, Parquet, SQLite) beside it, for you to "
            "correct. Publishes nothing.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="The moment as of which the files state their rows, like 2026-03-02T10:00:00Z: the version of "
            "rows without a column for the time of change. Default: as_of in the mapping, or the file's "
            "modification time.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Import rows of CSV, JSON lines, Excel, Parquet or SQLite files as events.

    A mapping file names the files and maps their columns to fields. Rows that cannot become an event are written
    to a file of rejects, each with its reason; all others are imported. Importing the same data again changes
    nothing, so an interrupted import is simply run again.

    Exit status: 0 when every row was read (rejected ones included), 1 when the import could not be completed.
    """
    from services.importer.batch import Clock
    from services.importer.mapping import load
    from services.importer.run import run
    from shared.contracts.topics import Topics
    from shared.settings import require
    from shared.vault.open import open_vault

    if init:
        _init(mapping)
        return
    rejected_to = rejects or mapping.with_suffix(".rejected.jsonl")
    # A dry run talks to no stack.
    with settings_from(dict) if dry_run else nullcontext():
        settings = read_settings()
    moment = _moment(as_of)
    if not dry_run:
        require(settings, "kafka", *(("mongo", "master_key") if settings.encryption == "on" else ()))
    clock = Clock(datetime.now(UTC), timedelta(seconds=settings.max_future_seconds))
    try:
        loaded = load(mapping)
        topics = Topics(settings.topic_prefix)
        with (
            _ended_in_order(),
            nullcontext() if dry_run else open_vault(settings) as vault,
            nullcontext() if dry_run else closing(kafka_publisher(settings)) as publisher,
            _Bars() as bars,
        ):
            report = run(loaded, publisher, topics, rejected_to, clock, bars, vault, path=mapping, as_of=moment)
    except (ConfigurationError, Unavailable) as error:
        typer.echo(f"kith import: {printable_lines(str(error))}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        kept = "" if dry_run else " What was published stays. Running the same import again completes it."
        typer.echo(f"kith import: stopped before the end.{kept}", err=True)
        raise typer.Exit(130) from None
    text = _as_json(report, rejected_to, dry_run) if as_json else _as_text(report, rejected_to, dry_run)
    # Notes quote the names of files and columns.
    typer.echo(printable_lines(text))


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends an import as Ctrl-C does: the rows that were rejected until then are in their file."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _init(path: Path) -> None:
    from services.importer.draft import write_draft

    try:
        written = write_draft(path)
    except ConfigurationError as error:
        typer.echo(f"kith import: {printable_lines(str(error))}", err=True)
        raise typer.Exit(1) from None
    name = printable(quote(str(written)))
    typer.echo(
        f"Wrote {printable(str(written))}. Check the lines with # ?, then run:\nkith import {name} --dry-run"
    )


def _moment(as_of: str | None) -> datetime | None:
    from services.importer.times import to_time
    from services.importer.values import BadValue

    try:
        return None if as_of is None else datetime.fromisoformat(to_time(as_of))
    except BadValue as error:
        raise typer.BadParameter(f"{as_of!r} {error}", param_hint="--as-of") from None


def kafka_publisher(settings: "Settings") -> "Publisher":
    from shared.kafka.clients import open_publisher  # a dry run needs no Kafka client

    return open_publisher(settings)


class _Bars:
    """Progress bars on standard error, one per source; nothing if that is not a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[read]:,} rows, {task.fields[rejected]:,} rejected"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = TaskID(0)

    def begin(self, source: str, size: int | None) -> None:
        self._task = self._progress.add_task(printable(source), total=size, read=0, rejected=0)

    def advance(self, position: int, read: int, rejected: int) -> None:
        self._progress.update(self._task, completed=position, read=read, rejected=rejected)

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _as_json(report: "Report", rejected_to: Path, dry_run: bool) -> str:
    counts = {"read": report.read, "accepted": report.accepted, "rejected": report.rejected}
    sources = [
        {
            "source": one.source,
            "read": one.read,
            "accepted": one.accepted,
            "rejected": one.rejected,
            "as_of": one.moment.time.isoformat(),
            "as_of_from": one.moment.origin,
            "notes": one.notes,
        }
        for one in report.sources
    ]
    file = str(rejected_to) if report.rejected else None
    return json.dumps({**counts, "sources": sources, "rejects": file, "dry_run": dry_run})


def _as_text(report: "Report", rejected_to: Path, dry_run: bool) -> str:
    accepted = "acceptable" if dry_run else "accepted"
    lines: list[str] = []
    for one in report.sources:
        lines.append(
            f"{one.source}: {one.read:,} rows read, {one.accepted:,} {accepted}, {one.rejected:,} rejected"
        )
        version = "versions from the mapping's changed" if one.changed else "versions"
        lines.append(f"  {version} as of {one.moment.time.isoformat()} ({one.moment.origin})")
        lines += [f"  note: {note}" for note in one.notes]
    if report.rejected:
        lines.append(f"Rejected rows, with their reasons: {rejected_to}")
    if dry_run:
        lines.append("Nothing was published: this was a dry run.")
    return "\n".join(lines)
