"""The query of an export, checked, and its MongoDB filter. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from services.exports.columns import Dataset
from services.exports.purposes import check_purpose
from shared.contracts.events import Kind, Name, ShortText, Tenant
from shared.contracts.spelling import nfc
from shared.contracts.wording import in_words
from shared.http.parameters import BadParameter
from shared.http.paths import QueryId
from shared.runtime.protocols import Document

#: A category of more providers cannot be a filter.
MAX_PROVIDERS = 20_000

By = Literal["total", "kind", "provider", "consumer", "provider_kind"]
#: What the routes demand of each parameter, for those who ask without them.
_TYPES: Mapping[str, TypeAdapter[str]] = {
    "tenant": TypeAdapter(Tenant),
    "kind": TypeAdapter(Kind),
    "category": TypeAdapter(ShortText),
    "consumer_id": TypeAdapter(QueryId),
    "provider_id": TypeAdapter(QueryId),
    "by": TypeAdapter(By),
    "key": TypeAdapter(ShortText),
    "purpose": TypeAdapter(Name),
}


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """Which rows are wanted: all of a tenant, narrowed by what is not None. The period is [since, until). Ids may
    be in any spelling. Raises BadParameter for a value that no row can have, which would select nothing."""

    tenant: str = "default"
    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    category: str | None = None
    consumer_id: str | None = None
    provider_id: str | None = None
    by: str | None = None
    key: str | None = None
    #: Only rows of consumers who have granted it (services.exports.consent).
    purpose: str | None = None

    def __post_init__(self) -> None:
        for name, type in _TYPES.items():
            if (value := getattr(self, name)) is not None:
                try:
                    type.validate_python(value, strict=True)
                except ValidationError as error:
                    raise BadParameter(name, in_words(error.errors()[0])) from None
        for name in ("consumer_id", "provider_id", "key"):
            if (id := getattr(self, name)) is not None:
                object.__setattr__(self, name, nfc(id))

    def check(self, dataset: Dataset) -> None:
        """Raises BadParameter when the dataset cannot be narrowed so."""
        if self.purpose is not None:
            check_purpose(dataset.name)
        for field in fields(self):
            name = {"since": "from", "until": "to"}.get(field.name, field.name)
            if (
                name not in ("tenant", "purpose")
                and getattr(self, field.name) is not None
                and name not in dataset.filters
            ):
                known = ", ".join(dataset.filters)
                raise BadParameter(name, f"is no filter of {dataset.name}, which has {known}")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise BadParameter("to", "must be later than from")
        if dataset.day == "day" and any(at and (at.hour, at.minute, at.second) != (0, 0, 0) for at in self.period):
            raise BadParameter("from", f"{dataset.name} are of whole days: write the days alone, as in 2026-11-21")

    @property
    def period(self) -> tuple[datetime | None, datetime | None]:
        return self.since, self.until


def filter_of(
    dataset: Dataset, query: ExportQuery, providers: Sequence[str] | None = None, wide: Sequence[str] = ()
) -> Document:
    """The documents behind the rows that are wanted. ``providers`` are those of the query's category, ``wide`` the
    ids of the relationships with its kind whose kinds are in documents of their own."""
    wanted: dict[str, Any] = {**tenant_of(dataset, query.tenant), **(dataset.always or {})}
    for name in ("consumer_id", "provider_id"):
        if (value := getattr(query, name)) is not None:
            # With one side known, its index is the way.
            wanted["tenant"] = query.tenant
            wanted[name] = value
    if dataset.period is not None and (bounds := _bounds(dataset, query)):
        wanted[dataset.period] = bounds
    if query.kind is not None:
        wanted |= _of_kind(dataset, query.kind, wide)
    if query.by is not None:
        wanted["by"] = query.by
    if query.key is not None:
        wanted["key"] = query.key
    if query.category is not None:
        if dataset.name == "providers":
            wanted["categories"] = query.category
        else:
            among = {"provider_id": {"$in": list(providers or ())}}
            wanted["$and"] = [*wanted.get("$and", ()), among]
    return wanted


def tenant_of(dataset: Dataset, tenant: str) -> Document:
    """All of a tenant, by the index that gives the dataset's order."""
    if dataset.key == ("_id",):
        # ";" is the character after ":".
        return {"_id": {"$gte": f"{tenant}:", "$lt": f"{tenant};"}}
    return {"tenant": tenant}


def _bounds(dataset: Dataset, query: ExportQuery) -> Mapping[str, Any]:
    bounds = {"$gte": query.since, "$lt": query.until}
    as_day = dataset.day == "day"
    return {operator: at.date().isoformat() if as_day else at for operator, at in bounds.items() if at is not None}


def _of_kind(dataset: Dataset, kind: str, wide: Sequence[str]) -> Document:
    if dataset.name == "relationships":
        own = {f"kinds.{kind}": {"$exists": True}}
        return {"$or": [own, {"_id": {"$in": list(wide)}}]} if wide else own
    if dataset.partials:
        # A kind holds neither ":" nor what means something to a regular expression.
        ways = [{"by": "kind", "key": kind}, {"by": "provider_kind", "key": {"$regex": f":{kind}$"}}]
        return {"$or": ways}
    return {"kind": kind}
