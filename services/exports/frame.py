"""Kith's data as a pandas or polars frame: one function, for scripts and notebooks."""

import json
import tempfile
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any, Literal
from urllib.parse import urlencode

from services.exports.column_access import personal_read
from services.exports.datasets import DATASETS
from services.exports.decryption import decryptor
from services.exports.query import ExportQuery
from services.exports.source import Exports
from shared.access.audit_factory import check_key, open_audit, user
from shared.access.chain import Act
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.http.parameters import moment
from shared.measures.query import NotInstalled
from shared.mongo.store import connect
from shared.service.launch import read_settings
from shared.vault.open import vault_in

When = str | date | datetime | None
#: In the order of ExportQuery.
_FILTERS = ("kind", "category", "consumer_id", "provider_id", "by", "key", "purpose")


def frame(
    dataset: str,
    *,
    mongo: str | None = None,
    url: str | None = None,
    key: str | None = None,
    tenant: str | None = None,
    database: str = "kith",
    since: When = None,
    until: When = None,
    personal: bool = False,
    library: Literal["pandas", "polars"] = "pandas",
    **filters: str,
) -> Any:
    """A dataset as of one moment, as a frame.

    ``dataset``: relations, relationships, consumers, providers or aggregates; with ``url`` also ``measures/rfm``
    and the others. It is read from MongoDB (``mongo`` is its address, ``database`` its name; without both
    addresses, those of KITH_MONGO and KITH_DATABASE) or from the exports service (``url``, with ``key``, an API
    key). The period is [since, until): days as text or dates in UTC, or aware times. ``filters``: kind, category,
    consumer_id, provider_id, purpose; of aggregates by and key; of a measure its own parameters. ``tenant`` is by
    default that of the key, and from MongoDB ``default``.

    Columns, units and descriptions are those of ``GET /v1/export``. pandas gets Int64 for whole numbers, category
    for kinds and currencies, datetime64[us, UTC] for times and datetime64 for days; polars gets Int64,
    Categorical, Datetime("us", "UTC") and Date. All of it is in memory: for more than fits, export Parquet.

    ``personal`` adds the columns with personal data. From MongoDB that needs the master key of the settings
    (KITH_MASTER_KEY_FILE), or KITH_ENCRYPTION=off, and is recorded in the audit; from the service, it needs a key
    with the scope personal:read.

    Raises ValueError for an invalid query, NotInstalled without the extra frames, ConfigurationError without an
    address, and Unavailable.
    """
    try:
        import pyarrow.parquet as pq

        from services.exports.arrow import table
    except ImportError:
        raise NotInstalled("frames need pyarrow, and pandas or polars: install Kith's extra frames") from None
    bounds = {name: _time(name, at) for name, at in (("since", since), ("until", until)) if at is not None}
    if url is not None:
        with tempfile.TemporaryFile() as file:
            _fetch(file, url, dataset, key, tenant, bounds, personal, filters)
            return _as(library, pq.read_table(file))
    if unknown := filters.keys() - set(_FILTERS):
        raise ValueError(f"there is no filter {', '.join(sorted(unknown))}; there are {', '.join(_FILTERS)}")
    settings = read_settings()
    if mongo is None:
        mongo, database = settings.mongo, settings.database
    if mongo is None:
        raise ConfigurationError("no address of the data: pass mongo or url, or set KITH_MONGO")
    tenant = tenant or "default"
    with connect(mongo) as client:
        query = ExportQuery(
            tenant, bounds.get("since"), bounds.get("until"), *(filters.get(name) for name in _FILTERS)
        )
        # The vault only if needed: most users of frames have no master key.
        reveal = None
        if personal and dataset in DATASETS:
            subject, fields = personal_read(DATASETS[dataset], query)
            if fields:
                reveal = decryptor(vault_in(settings, client[database], seals=False))
                check_key(settings, client[database], tenant)
                with closing(open_audit(settings, client[database])) as audit:
                    audit.record(Act(tenant, user(), "frame", "personal.read", subject, tuple(fields)))
        export = Exports(client[database], reveal).open(dataset, query, personal=personal)
        try:
            return _as(library, table(export))
        finally:
            export.rows.close()


def _fetch(
    file: Any,
    url: str,
    dataset: str,
    key: str | None,
    tenant: str | None,
    bounds: dict[str, datetime],
    personal: bool,
    filters: dict[str, str],
) -> None:
    asked = {"format": "parquet", **filters}
    asked |= {{"since": "from", "until": "to"}[name]: _text(at) for name, at in bounds.items()}
    if personal:
        asked["personal"] = "true"
    named = {"Kith-Tenant": tenant, "Authorization": None if key is None else f"Bearer {key}"}
    headers = {name: value for name, value in named.items() if value is not None}
    request = urllib.request.Request(f"{url.rstrip('/')}/v1/export/{dataset}?{urlencode(asked)}", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
    except urllib.error.HTTPError as error:
        with error:
            detail = json.loads(error.read() or b"{}").get("detail", error.reason)
        if error.code == 503:
            raise Unavailable(detail) from None
        raise ValueError(f"{error.code}: {detail}") from None
    except OSError as error:
        raise Unavailable(f"{url}: {error}") from error
    file.seek(0)


def _text(at: datetime) -> str:
    # Measures and aggregates take days only.
    midnight = (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
    return at.date().isoformat() if midnight else at.isoformat()


def _as(library: str, table: Any) -> Any:
    if library == "polars":
        import polars

        return polars.from_arrow(table)
    if library != "pandas":
        raise ValueError(f"the library is pandas or polars, not {library}")
    import pandas
    import pyarrow

    types = {pyarrow.int64(): pandas.Int64Dtype(), pyarrow.bool_(): pandas.BooleanDtype()}
    return table.to_pandas(types_mapper=types.get, date_as_object=False)


def _time(name: str, at: str | date | datetime) -> datetime:
    if isinstance(at, str):
        return moment(name, at)
    if not isinstance(at, datetime):
        return datetime(at.year, at.month, at.day, tzinfo=UTC)
    if at.tzinfo is None:
        raise ValueError(f"{name} is a time without its offset")
    return at.astimezone(UTC)
