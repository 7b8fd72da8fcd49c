"""The datasets and their columns, as data. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.exports import flatten
from services.exports.columns import Column, Dataset
from shared.access.lineage import STRENGTH
from shared.contracts.events import microseconds
from shared.contracts.fact_fields import FACT_FIELDS
from shared.erasure.records import ANONYMISED

_MINOR = "in minor units (cents)"


def _stored_time(time: datetime) -> int:
    return microseconds(time)


def _fact_columns(*, personal: bool) -> list[Column]:
    """The columns of a fact's own fields. Maps and encrypted values cannot be filtered or ordered."""
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
_ID = "Identifier of the row, unique within its tenant."
_KEYS = ("kind", "provider_id", "consumer_id")
_MONEY = (
    Column("currency", "choice", "ISO 4217 code; null unless all amounts are in one currency."),
    Column("amount", "integer", f"Sum of the amounts in `currency`, {_MINOR}.", tells=("amount", "currency")),
    Column("amounts", "json", f"Sum of the amounts by currency, {_MINOR}.", tells=("amount", "currency")),
)
_RATINGS = (
    Column("rating_count", "integer", "Number of relations with a rating.", tells=()),
    Column("rating_sum", "integer", "Sum of the ratings.", tells=("rating",)),
)

RELATIONS = Dataset(
    "relations",
    "Facts between consumers and providers, without retracted ones.",
    "Relation",
    source="relations",
    collection="relations",
    columns=(
        Column("id", "text", _ID, "_id", tells=("relation_id", "consumer_id")),
        Column(
            "relation_id",
            "text",
            "Identifier of the relation in the upstream system, unique within its consumer.",
            "relation_id",
        ),
        Column("consumer_id", "text", "Identifier of the consumer.", "consumer_id"),
        *_FACTS,
        Column(
            "event_source",
            "choice",
            "Source of the event that last changed the relation.",
            "version.source",
            tells=("event.source",),
            anonymised=ANONYMISED["source"],
        ),
        Column(
            "event_id",
            "text",
            "Identifier of that event.",
            "version.id",
            tells=("event.id",),
            anonymised=ANONYMISED["id"],
        ),
        # In most events it equals the time of the relation.
        Column(
            "event_time",
            "time",
            "Time of that event.",
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
    "Sums of the relations of one consumer and one provider.",
    "Relationship",
    source="relations",
    collection="relationships",
    columns=(
        Column("id", "text", _ID, "_id", tells=("consumer_id", "provider_id")),
        Column("consumer_id", "text", "Identifier of the consumer.", "consumer_id"),
        Column("provider_id", "text", "Identifier of the provider.", "provider_id"),
        Column("count", "integer", "Number of relations.", "count", tells=()),
        Column("first", "time", "Time of the earliest relation.", "first", tells=("time",)),
        Column("last", "time", "Time of the latest relation.", "last", tells=("time",)),
        Column(
            "score",
            "number",
            "log2 of the strength as of January 2020. It orders relationships by strength.",
            "score",
            tells=STRENGTH,
        ),
        *_MONEY,
        *_RATINGS,
        Column(
            "kinds",
            "json",
            "Number of relations by kind; null for more than 1,000 kinds and months.",
            tells=("kind",),
        ),
    ),
    flat=flatten.relationship,
    fields=("_id", "consumer_id", "provider_id", "count", "first", "last", "score", "kinds", "sums"),
    day="last",
    filters=("kind", "category", "consumer_id", "provider_id"),
)

CONSUMERS = Dataset(
    "consumers",
    "Consumer profiles.",
    "Consumer",
    source="relations",
    collection="consumers",
    columns=(
        Column("id", "text", _ID, "_id", tells=("consumer_id",)),
        Column("consumer_id", "text", "Identifier of the consumer in the upstream system.", "consumer_id"),
        Column("country", "choice", "Country of the consumer.", "location.country", tells=("location.country",)),
        Column("region", "choice", "Region of the consumer.", "location.region", tells=("location.region",)),
        Column("city", "text", "City of the consumer.", personal=True, tells=("location.city",)),
        Column("lat", "number", "Latitude in degrees (WGS 84).", personal=True, tells=("location.lat",)),
        Column("lon", "number", "Longitude in degrees (WGS 84).", personal=True, tells=("location.lon",)),
        Column("traits", "json", "Further attributes."),
        Column("consent", "json", "Consent by purpose: true if granted."),
        Column(
            "erased",
            "choice",
            "Mode of the erasure, anonymise or delete; null if the consumer is not erased.",
            "erased",
            tells=("erased", "mode"),
        ),
        Column("personal", "json", "Fields that identify a person, such as name and address.", personal=True),
    ),
    flat=flatten.consumer,
    fields=("_id", "consumer_id", "location.country", "location.region", "traits", "consent", "erased"),
    personal_fields=("location.city", "location.lat", "location.lon", "personal"),
    filters=("consumer_id",),
)

PROVIDERS = Dataset(
    "providers",
    "Provider profiles.",
    "Provider",
    source="relations",
    collection="providers",
    columns=(
        Column("id", "text", _ID, "_id", tells=("provider_id",)),
        Column("provider_id", "text", "Identifier of the provider in the upstream system.", "provider_id"),
        Column("name", "text", "Name of the provider.", "name"),
        Column("categories", "texts", "Categories of the provider.", "categories"),
        Column("closed", "boolean", "Whether the provider is out of business.", "closed"),
        Column("country", "choice", "Country of the provider.", "location.country", tells=("location.country",)),
        Column("region", "choice", "Region of the provider.", "location.region", tells=("location.region",)),
        Column("city", "choice", "City of the provider.", "location.city", tells=("location.city",)),
        Column("lat", "number", "Latitude in degrees (WGS 84).", "location.lat", tells=("location.lat",)),
        Column("lon", "number", "Longitude in degrees (WGS 84).", "location.lon", tells=("location.lon",)),
        Column("traits", "json", "Further attributes."),
    ),
    flat=flatten.provider,
    fields=("_id", "provider_id", "name", "categories", "closed", "location", "traits"),
    filters=("category", "provider_id"),
)

AGGREGATES = Dataset(
    "aggregates",
    "Daily sums: in total, and by kind, provider, consumer, and provider and kind.",
    "Aggregate",
    source="analytics",
    collection="aggregates",
    columns=(
        Column("id", "text", _ID, tells=(*_KEYS, "by", "time", "day")),
        Column("by", "choice", "Grouping: total, kind, provider, consumer or provider_kind.", "by", tells=()),
        Column(
            "key",
            "text",
            "The kind, provider_id, consumer_id or provider_id:kind; empty for total.",
            "key",
            tells=_KEYS,
        ),
        Column("day", "day", "Day in UTC.", "day", stored=str, tells=("time",)),
        Column("count", "integer", "Number of relations.", tells=()),
        *_MONEY,
        *_RATINGS,
        Column("consumers", "integer", "Number of distinct consumers; only for total and provider.", tells=()),
    ),
    flat=flatten.aggregate,
    fields=("by", "key", "day", "count", "amount", "amount_count", "rating_count", "rating_sum", "consumers"),
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
    """The columns of a dataset that its reader may see. ``personal`` includes columns with personal data.

    Raises KeyError for an unknown dataset.
    """
    return DATASETS[dataset].visible(personal)
