"""``kith capture``: the command around ``capture``. Opens Kafka, shows the lag, prints the report."""

import json
import signal
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.observability.terminal import printable_lines
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.importer.batch import Clock
    from services.importer.capture import Captured
    from services.importer.changes import Translator
    from shared.kafka.python_client.committed import CommittedLog
    from shared.runtime.protocols import Publisher
    from shared.settings import Settings

_SECONDS_BEFORE_RETRY = 5.0


def capture_command(
    mapping: Annotated[Path, typer.Argument(help="The mapping file (TOML).", show_default=False)],
    topic: Annotated[
        list[str],
        typer.Option(help="A topic of Debezium, as in shop.public.orders; repeatable.", show_default=False),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C, rather than to the present end.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the position in Kafka: the consumer group is KITH_GROUP.capture.NAME. Default: the "
            "mapping's file name.",
            show_default=False,
        ),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="File to which rejected changes are added with their reasons, JSON lines. Default: beside the "
            "mapping, MAPPING.rejected.jsonl. A dry run writes one of its own, dry-run-….",
            show_default=False,
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="The version of a snapshot's rows: needed for a new snapshot that replaces a lost log. It has to "
            "lie before the first change that follows. Default: older than every change.",
            show_default=False,
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option(
            "--new",
            help="Nothing was read under this name before: begin with what the topics still hold. Without it, a "
            "topic whose first records are gone and that has no position is refused.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check every change, publish and commit nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
) -> None:
    """Read the changes of a database's tables from Kafka, as Debezium writes them, as events.

    The mapping is that of `kith import`: a source is about the table of its name. Changes that cannot become an
    event are added to a file of rejects, each with its reason. Positions are committed after Kafka has
    acknowledged the events; what is read twice changes nothing.

    Exit status: 0 when all was read that there was, or after Ctrl-C; 1 when it could not be completed.
    """
    from services.importer.capture import Captured
    from services.importer.changes import Translator
    from services.importer.mapping import load
    from services.importer.rejects import refuse_inputs
    from services.importer.times import to_time
    from services.importer.values import BadValue
    from shared.contracts.events import EPOCH

    settings = read_settings()
    rejected_to = rejects or mapping.with_suffix(".rejected.jsonl")
    if dry_run:
        # The file of the runs that count is all that says what they rejected.
        rejected_to = rejected_to.with_name(f"dry-run-{rejected_to.name}")
    try:
        snapshots = EPOCH if as_of is None else datetime.fromisoformat(to_time(as_of))
    except BadValue as error:
        raise typer.BadParameter(f"{as_of!r} {error}", param_hint="--as-of") from None
    report = Captured()
    try:
        refuse_inputs(rejected_to, [mapping])
        translate = Translator(load(mapping), snapshots)
        session = _Session(settings, topic, name or mapping.stem, rejected_to, translate, report, dry_run, new)
        session.follow() if follow else session.run()
    except (ConfigurationError, Unavailable) as error:
        typer.echo(f"kith capture: {printable_lines(str(error))}", err=True)
        raise typer.Exit(1) from None
    text = (_as_json if as_json else _as_text)(report, translate, rejected_to, dry_run)
    typer.echo(printable_lines(text))


@dataclass
class _Session:
    """Opens what a capture needs, and closes it. Every run goes on at the committed position."""

    settings: "Settings"
    topics: list[str]
    name: str
    rejects: Path
    translate: "Translator"
    report: "Captured"
    dry_run: bool
    new: bool

    def run(self, follow: bool = False) -> None:
        from services.importer.capture import Capture
        from services.importer.rejects import Rejects
        from shared.contracts.topics import Topics
        from shared.settings import require
        from shared.vault.open import open_vault

        settings, dry = self.settings, self.dry_run
        sealing = ("mongo", "master_key") if settings.encryption == "on" and not dry else ()
        require(settings, "kafka", *sealing)
        with (
            nullcontext() if dry else open_vault(settings) as vault,
            nullcontext() if dry else closing(kafka_publisher(settings)) as publisher,
            closing(change_log(settings, f"capture.{self.name}", self.topics, self.new)) as log,
            Rejects(self.rejects, added=not dry) as rejects,
            _Line(self.report) as line,
        ):
            capture = Capture(
                self.translate, publisher, Topics(settings.topic_prefix), rejects, self._clock, vault, self.report
            )
            capture.run(log, follow=follow, progress=line.show)

    def follow(self) -> None:
        """Run until Ctrl-C or SIGTERM. While a server is unavailable, try again every five seconds."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while True:
                try:
                    self.run(follow=True)
                except Unavailable as error:
                    typer.echo(f"kith capture: waiting: {printable_lines(str(error))}", err=True)
                    time.sleep(_SECONDS_BEFORE_RETRY)
        except KeyboardInterrupt:
            return
        finally:
            signal.signal(signal.SIGTERM, before)

    def _clock(self) -> "Clock":
        from services.importer.batch import Clock

        return Clock(datetime.now(UTC), timedelta(seconds=self.settings.max_future_seconds))


def kafka_publisher(settings: "Settings") -> "Publisher":
    from shared.kafka.clients import open_publisher

    return open_publisher(settings)


def change_log(settings: "Settings", name: str, topics: list[str], new: bool) -> "CommittedLog":
    from shared.kafka.python_client.committed import CommittedLog

    return CommittedLog(settings, name, topics, new=new)


class _Line:
    """The state on standard error: a line that is written over in a terminal, elsewhere one a minute."""

    def __init__(self, report: "Captured") -> None:
        self._report = report
        self._terminal = sys.stderr.isatty()
        self._seconds = 1.0 if self._terminal else 60.0
        self._due = time.monotonic() + (0.0 if self._terminal else self._seconds)

    def show(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._seconds
        text = _counted(self._report, "accepted")
        sys.stderr.write(f"\r\x1b[K{text}" if self._terminal else f"kith capture: {text}\n")
        sys.stderr.flush()

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")


def _counted(report: "Captured", accepted: str) -> str:
    return (
        f"{report.total('records'):,} records read, {report.total('accepted'):,} events {accepted}, "
        f"{report.total('rejected'):,} rejected, {report.lag:,} records behind"
    )


def _as_json(report: "Captured", translate: "Translator", rejected_to: Path, dry_run: bool) -> str:
    counts = {name: report.total(name) for name in ("records", "accepted", "rejected")}
    partitions = [
        {"partition": part.source, "records": part.records, "accepted": part.accepted, "rejected": part.rejected}
        for part in report.parts.values()
    ]
    file = str(rejected_to) if counts["rejected"] else None
    notes = {
        "lag": report.lag,
        "ignored_deletions": translate.notes.ignored,
        "without_before": translate.notes.blind,
        "rekeyed_consumers": translate.notes.rekeyed,
        "without_column": translate.notes.lacking,
    }
    return json.dumps({**counts, **notes, "partitions": partitions, "rejects": file, "dry_run": dry_run})


def _as_text(report: "Captured", translate: "Translator", rejected_to: Path, dry_run: bool) -> str:
    lines = [_counted(report, "acceptable" if dry_run else "accepted")]
    if translate.notes.ignored:
        lines.append(
            f"  note: deletions of rows that do nothing (deleted in the mapping): {translate.notes.ignored:,}"
        )
    if translate.notes.rekeyed:
        lines.append(
            f"  note: consumers' rows that got another primary key: {translate.notes.rekeyed:,}. That erases "
            "nobody. Where a row names another consumer now, the former one is still there"
        )
    if translate.notes.blind:
        lines.append(
            f"  note: changes that do not say what their row was before: {translate.notes.blind:,}. Had one named "
            "another consumer, that relation is still there. Set REPLICA IDENTITY FULL for the table"
        )
    for column, rows in sorted(translate.notes.lacking.items()):
        lines.append(
            f"  note: changes whose row has no column {column}: {rows:,}. A profile keeps what it has of it, and "
            "a relation is without it. Has the table changed, or is the name mistyped?"
        )
    if report.total("rejected"):
        lines.append(f"Rejected changes, with their reasons: {rejected_to}")
    if dry_run:
        lines.append("Nothing was published: this was a dry run.")
    return "\n".join(lines)
