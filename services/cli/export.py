"""`kith export`: datasets and measures as files, as of one moment, from MongoDB."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.completion import among, formats
from services.cli.completion import datasets as datasets_offered
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from pymongo.database import Database

    from services.cli.export_progress import ExportProgress
    from services.exports.decryption import Reveal
    from services.exports.source import Export
    from shared.runtime.protocols import Document
    from shared.settings import Settings

_Text = str | None


def export_command(
    datasets: Annotated[
        list[str],
        typer.Argument(
            help="relations, relationships, consumers, providers, aggregates, measures/NAME. Several are exported "
            "as of the same moment, into a folder.",
            show_default=False,
            autocompletion=among(datasets_offered),
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File, or folder for several datasets. - writes to stdout. Default: DATASET-DAY.FORMAT."
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="csv, csv-excel, jsonl, parquet or hyper. Default: the suffix of --out, or csv.",
            autocompletion=among(formats),
        ),
    ] = None,
    from_: Annotated[_Text, typer.Option("--from", help="Start of the period: a day (UTC) or a time.")] = None,
    to: Annotated[_Text, typer.Option(help="End of the period, exclusive.")] = None,
    kind: Annotated[_Text, typer.Option(help="Only relations of this kind.")] = None,
    category: Annotated[_Text, typer.Option(help="Only providers of this category.")] = None,
    consumer_id: Annotated[_Text, typer.Option(help="Only rows of this consumer.")] = None,
    provider_id: Annotated[_Text, typer.Option(help="Only rows of this provider.")] = None,
    by: Annotated[_Text, typer.Option(help="Only aggregates of this grouping: total, kind, provider …")] = None,
    key: Annotated[_Text, typer.Option(help="Only aggregates with this key.")] = None,
    purpose: Annotated[_Text, typer.Option(help="Only rows of consumers who have granted this purpose.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter of a measure, as in unit=week. May be repeated.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Tenant of the data.")] = "default",
    personal: Annotated[bool, typer.Option("--personal", help="Include columns with personal data.")] = False,
    partition_by: Annotated[
        _Text, typer.Option(help="day: a folder of Parquet files, one or more for each UTC day.")
    ] = None,
) -> None:
    """Write relations, relationships, consumers, providers, aggregates or measures into files.

    Each file is a snapshot as of one moment; later writes do not change it. A file gets its name only once it is
    complete, a folder of days its days once all are written. A terminal shows the progress. Money is in minor
    units, times are in UTC.
    """
    from services.cli.export_progress import ExportProgress
    from services.exports.columns import WriterFailed
    from services.exports.decryption import decryptor
    from services.exports.snapshot import MomentPassed
    from shared.http.parameters import BadParameter
    from shared.measures.query import NotInstalled
    from shared.mongo.store import connect
    from shared.settings import mongo_of, require
    from shared.vault.open import vault_in

    settings = read_settings()
    require(settings, "mongo", *(("master_key",) if personal else ()))
    mongo = mongo_of(settings)
    given = {"from": from_, "to": to, "kind": kind, "category": category, "consumer_id": consumer_id}
    given |= {"provider_id": provider_id, "by": by, "key": key, "purpose": purpose}
    order = _Order(
        tenant, {name: value for name, value in given.items() if value is not None}, set_ or [], personal
    )
    target = _Target.of(out, format, partition_by, len(datasets))
    try:
        with connect(mongo) as client, ExportProgress() as progress:
            database = client[settings.database]
            reveal = decryptor(vault_in(settings, database, seals=False)) if personal else None
            for export in _exports(settings, database, datasets, order, reveal, progress):
                target.write(export, progress)
    except BadParameter as bad:
        raise typer.BadParameter(bad.detail, param_hint=order.option(bad.name)) from None
    except NotInstalled as missing:
        raise ConfigurationError(str(missing)) from None
    except MomentPassed as passed:
        raise Unavailable(str(passed)) from None
    except WriterFailed as failed:
        raise ConfigurationError(str(failed)) from None


@dataclass(frozen=True, slots=True)
class _Order:
    tenant: str
    filters: dict[str, str]
    parameters: Sequence[str]
    personal: bool

    def option(self, name: str) -> str:
        """How a parameter was given."""
        if any(text.partition("=")[0] == name for text in self.parameters):
            return f"--set {name}"
        return f"--{name.replace('_', '-')}"


def _exports(
    settings: "Settings",
    database: "Database[Document]",
    names: Sequence[str],
    order: _Order,
    reveal: "Reveal | None",
    progress: "ExportProgress",
) -> Iterator["Export"]:
    from services.cli.report import reports
    from services.exports.column_access import personal_read
    from services.exports.datasets import DATASETS
    from services.exports.query import ExportQuery
    from services.exports.source import Exports
    from shared.access.acts import record_act
    from shared.http.parameters import BadParameter, moment

    exports = Exports(database, reveal)
    snapshot = exports.snapshot()
    known = {report.name for report in reports()}
    for name in names:
        if name.startswith("measures/"):
            measure = name.removeprefix("measures/")
            if measure not in known:
                raise BadParameter(
                    "dataset", f"there is no measure {measure}; there are {', '.join(sorted(known))}"
                )
            yield _measure(settings, database, measure, order, progress)
            continue
        if order.parameters:
            raise BadParameter("set", f"is for measures only, and {name} is a dataset")
        fields: dict[str, Any] = {key: value for key, value in order.filters.items() if key not in ("from", "to")}
        for key, field in (("from", "since"), ("to", "until")):
            if key in order.filters:
                fields[field] = moment(key, order.filters[key])
        query = ExportQuery(order.tenant, **fields)
        if order.personal and name in DATASETS:
            query.check(DATASETS[name])
            subject, shown = personal_read(DATASETS[name], query)
            if shown:
                record_act(settings, "personal.read", subject, order.tenant, shown)
        yield exports.open(name, query, personal=order.personal, snapshot=snapshot)


def _measure(
    settings: "Settings", database: "Database[Document]", name: str, order: _Order, progress: "ExportProgress"
) -> "Export":
    """A measure as the services answer it. What its rows do not state is noted."""
    from pydantic import TypeAdapter, ValidationError

    from services.cli.report import answer_here
    from services.cli.report_view import about
    from services.exports.measures import measure_export
    from shared.contracts.events import Tenant
    from shared.contracts.wording import in_words
    from shared.http.parameters import BadParameter

    asked = order.filters | dict(_pair(text) for text in order.parameters)
    try:
        TypeAdapter(Tenant).validate_python(order.tenant)
    except ValidationError as error:
        raise BadParameter("tenant", in_words(error.errors()[0])) from None
    try:
        subject = {"export": f"measures/{name}"}
        found, personal = answer_here(settings, database, name, order.tenant, asked, subject)
    except ValidationError as error:
        wrong = error.errors()[0]
        unknown = wrong["type"] == "extra_forbidden"
        text = f"is no parameter of measures/{name}" if unknown else in_words(wrong)
        raise BadParameter(str(wrong["loc"][0]), text) from None
    for label, text, _ in about(found, asked):
        progress.note(f"{label}: {text}")
    schema = type(found).model_json_schema(mode="serialization")
    answer = found.model_dump(mode="json")
    return measure_export(name, order.tenant, answer, datetime.now(UTC), schema, personal)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, such as unit=week", param_hint="--set")
    return name, value


@dataclass(frozen=True, slots=True)
class _Target:
    """Where files are written. ``folder``: ``out`` is a folder with a file for each export."""

    out: Path | None
    format: str
    folder: bool
    by_day: bool

    @staticmethod
    def of(out: Path | None, format: str | None, partition_by: str | None, count: int) -> "_Target":
        from services.exports.formats import FORMATS

        if partition_by not in (None, "day"):
            raise typer.BadParameter("can be day only", param_hint="--partition-by")
        by_day = partition_by is not None
        ending = out.suffix.removeprefix(".") if out else ""
        chosen = format or (ending if ending in FORMATS else "parquet" if by_day else "csv")
        if chosen not in FORMATS:
            raise typer.BadParameter(f"can be {', '.join(FORMATS)}", param_hint="--format")
        if by_day and chosen != "parquet":
            raise typer.BadParameter("is for the format parquet only", param_hint="--partition-by")
        if count > 1 and str(out) == "-":
            raise typer.BadParameter("several datasets need a folder", param_hint="--out")
        folder = count > 1 or (not by_day and out is not None and out.is_dir())
        return _Target(out, chosen, folder, by_day)

    def write(self, export: "Export", progress: "ExportProgress") -> None:
        from services.exports.formats import FORMATS

        counted = progress.counted(export.name, export.rows)
        export = replace(export, rows=counted)
        with ExitStack() as stack:
            stack.callback(counted.close)
            if self.by_day:
                self._write_days(export, progress)
                return
            chunks = FORMATS[self.format].chunks(export)
            if str(self.out) == "-":
                for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                return
            path = self._path(export, f".{FORMATS[self.format].extension}")
            partial = path.with_name(f"{path.name}.partial")
            path.parent.mkdir(parents=True, exist_ok=True)
            # An incomplete file is removed in every case.
            stack.callback(partial.unlink, missing_ok=True)
            partial.unlink(missing_ok=True)
            # Whoever takes the name meanwhile, a link included, is in the way.
            mode, new = 0o600 if export.personal else 0o666, os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(partial, new, mode), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            partial.replace(path)
            progress.done(export.name, path)

    def _write_days(self, export: "Export", progress: "ExportProgress") -> None:
        from shared.measures.query import NotInstalled

        try:
            from services.exports.partitions import write_by_day
        except ImportError:
            raise NotInstalled("Parquet needs pyarrow: install Kith's extra exports") from None
        path = self._path(export, "")
        write_by_day(export, path, personal=export.personal)
        progress.done(export.name, path)

    def _path(self, export: "Export", extension: str) -> Path:
        if self.out is not None and not self.folder:
            return self.out
        return (self.out or Path()) / f"{export.filename}{extension}"
