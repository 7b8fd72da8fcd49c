"""The datasets and their columns, as data. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.exports import flatten
from services.exports.columns import Column, Dataset
from shared.contracts.events import microseconds
from shared.contracts.fact_fields import FACT_FIELDS
from shared.erasure.records import ANONYMISED

_MINOR = "in minor units (cents)"


def _stored_time(time: datetime) -> int:
    return microseconds(time)


def _fact_columns(*, personal: bool) -> list[Column]:
    """The columns of a fact's own fields. Maps and sealed values are no places to filter or order by."""
    return [
        Column(
            field.name,
            field.column,
            field.description,
            None if field.personal or field.column == "json" else field.name,
            field.personal,
        )
        for field in FACT_FIELDS
        if field.column and field.personal == personal
    ]


def _names(columns: Iterable[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


_FACTS, _TEXTS = _fact_columns(personal=False), _fact_columns(personal=True)
_ID = "Names the row within its tenant."
_KEYS = ("kind", "provider_id", "consumer_id")
_MONEY = (
    Column("currency", "choice", "ISO 4217, where there is money in one currency only."),
    Column("amount", "integer", f"The sum of money in that currency, {_MINOR}."),
    Column("amounts", "json", f"The sums of money of all currencies, {_MINOR}.", tells=("amount", "currency")),
)
_RATINGS = (
    Column("rating_count", "integer", "Relations that carry a rating.", tells=()),
    Column("rating_sum", "integer", "Sum of these ratings.", tells=("rating",)),
)

RELATIONS = Dataset(
    "relations",
    "Facts between consumers and providers, without retracted ones.",
    "Relation",
    source="relations",
    collection="relations",
    columns=(
        Column("id", "text", _ID, "_id", tells=("relation_id", "consumer_id")),
        Column("relation_id", "text", "The upstream's name of it, within its consumer.", "relation_id"),
        Column("consumer_id", "text", "Whose it is.", "consumer_id"),
        *_FACTS,
        Column(
            "event_source",
            "choice",
            "The event that last said so: its source.",
            "version.source",
            tells=("event.source",),
            anonymised=ANONYMISED["source"],
        ),
        Column(
            "event_id",
            "text",
            "The same event's id.",
            "version.id",
            tells=("event.id",),
            anonymised=ANONYMISED["id"],
        ),
        # Mostly it is when it happened, too.
        Column(
            "event_time",
            "time",
            "The same event's time.",
            "version.time",
            stored=_stored_time,
            tells=("event.time",),
            digits=6,
        ),
        *_TEXTS,
    ),
    flat=flatten.relation,
    fields=("_id", "relation_id", "consumer_id", *_names(_FACTS), "version"),
    personal_fields=_names(_TEXTS),
    always={"retracted": False},
    period="time",
    day="time",
    filters=("from", "to", "kind", "category", "consumer_id", "provider_id"),
)

RELATIONSHIPS = Dataset(
    "relationships",
    "One consumer and one provider: the sum of their relations.",
    "Relationship",
    source="relations",
    collection="relationships",
    columns=(
        Column("id", "text", _ID, "_id", tells=("consumer_id", "provider_id")),
        Column("consumer_id", "text", "One side.", "consumer_id"),
        Column("provider_id", "text", "The other side.", "provider_id"),
        Column("count", "integer", "Relations.", "count", tells=()),
        Column("first", "time", "The earliest.", "first", tells=("time",)),
        Column("last", "time", "The latest.", "last", tells=("time",)),
        Column(
            "score",
            "number",
            "log2 of the strength as of January 2020; it orders by strength.",
            "score",
            tells=("strength", "kind", "time"),
        ),
        *_MONEY,
        *_RATINGS,
        Column("kinds", "json", "Relations by kind.", tells=("kind",)),
    ),
    flat=flatten.relationship,
    fields=("_id", "consumer_id", "provider_id", "count", "first", "last", "score", "kinds"),
    day="last",
    filters=("kind", "category", "consumer_id", "provider_id"),
)

CONSUMERS = Dataset(
    "consumers",
    "What is known of consumers.",
    "Consumer",
    source="relations",
    collection="consumers",
    columns=(
        Column("id", "text", _ID, "_id", tells=("consumer_id",)),
        Column("consumer_id", "text", "The upstream's name of the consumer.", "consumer_id"),
        Column("country", "choice", "Where the consumer is.", "location.country", tells=("location.country",)),
        Column("region", "choice", "Where the consumer is.", "location.region", tells=("location.region",)),
        Column("city", "text", "Where the consumer is.", personal=True, tells=("location.city",)),
        Column("lat", "number", "Degrees (WGS 84).", personal=True, tells=("location.lat",)),
        Column("lon", "number", "Degrees (WGS 84).", personal=True, tells=("location.lon",)),
        Column("traits", "json", "What else is known."),
        Column("consent", "json", "Purpose to granted."),
        Column("erased", "choice", "anonymise or delete, once the consumer is erased.", "erased"),
        Column("personal", "json", "Name, address …: what identifies a person.", personal=True),
    ),
    flat=flatten.consumer,
    fields=("_id", "consumer_id", "location.country", "location.region", "traits", "consent", "erased"),
    personal_fields=("location.city", "location.lat", "location.lon", "personal"),
    filters=("consumer_id",),
)

PROVIDERS = Dataset(
    "providers",
    "What is known of providers.",
    "Provider",
    source="relations",
    collection="providers",
    columns=(
        Column("id", "text", _ID, "_id", tells=("provider_id",)),
        Column("provider_id", "text", "The upstream's name of the provider.", "provider_id"),
        Column("name", "text", "What it is called.", "name"),
        Column("categories", "texts", "What it is.", "categories"),
        Column("closed", "boolean", "No longer in business.", "closed"),
        Column("country", "choice", "Where it is.", "location.country", tells=("location.country",)),
        Column("region", "choice", "Where it is.", "location.region", tells=("location.region",)),
        Column("city", "choice", "Where it is.", "location.city", tells=("location.city",)),
        Column("lat", "number", "Degrees (WGS 84).", "location.lat", tells=("location.lat",)),
        Column("lon", "number", "Degrees (WGS 84).", "location.lon", tells=("location.lon",)),
        Column("traits", "json", "What else is known."),
    ),
    flat=flatten.provider,
    fields=("_id", "provider_id", "name", "categories", "closed", "location", "traits"),
    filters=("category", "provider_id"),
)

AGGREGATES = Dataset(
    "aggregates",
    "What happened on a day: in all, and by kind, provider, consumer, and provider and kind.",
    "Aggregate",
    source="analytics",
    collection="aggregates",
    columns=(
        Column("id", "text", _ID, tells=(*_KEYS, "time")),
        Column("by", "choice", "total, kind, provider, consumer or provider_kind.", "by", tells=()),
        Column(
            "key",
            "text",
            "Which kind, provider_id, consumer_id or provider_id:kind; empty: total.",
            "key",
            tells=_KEYS,
        ),
        Column("day", "day", "UTC.", "day", stored=str, tells=("time",)),
        Column("count", "integer", "Relations.", tells=()),
        *_MONEY,
        *_RATINGS,
        Column("consumers", "integer", "Distinct consumers, of the total and of providers.", tells=()),
    ),
    flat=flatten.aggregate,
    fields=("by", "key", "day", "count", "amount", "rating_count", "rating_sum", "consumers"),
    key=("by", "day", "key"),
    partials=True,
    period="day",
    day="day",
    filters=("from", "to", "kind", "by", "key"),
)

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset for dataset in (RELATIONS, RELATIONSHIPS, CONSUMERS, PROVIDERS, AGGREGATES)
}


def columns(dataset: str, personal: bool = False) -> tuple[Column, ...]:
    """The columns of a dataset that its reader may see: with ``personal``, those that tell about a person, too.
    Raises KeyError for a dataset that there is not."""
    return DATASETS[dataset].visible(personal)
