"""The table of a fact's fields: the only definition of them, besides a fact's ids and version. Pure.

The stored document, its validator, the published change, the personal fields and the exported row follow from it.
Separate models (an event's data, the change, the API's answer) and independent checks (the oracle, the checkers)
are compared with it by ``tests/unit/project/test_fact_fields.py``, which names a forgotten place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.contracts.bson_types import DATE, STRING, WHOLE

#: The type of an export column: ``choice`` is a text with few different values, ``json`` a map as JSON text.
ColumnType = Literal["text", "choice", "integer", "time", "json"]


@dataclass(frozen=True, slots=True)
class FactField:
    """``bson`` is its type in MongoDB's JSON Schema, ``column`` the type of its export column (None: not
    exported). ``published``: changes contain it. ``personal``: it is sealed, and masked without the scope.
    ``shown``: the API's answers contain it. ``stated``: an event's data has a field of this name that is stored
    unchanged."""

    name: str
    description: str
    bson: Mapping[str, Any]
    column: ColumnType | None
    published: bool = True
    personal: bool = False
    shown: bool = True
    stated: bool = True


#: In the order of stored documents.
FACT_FIELDS = (
    FactField("provider_id", "With whom.", STRING, "text", stated=False),
    FactField("kind", "purchase, review, view …", STRING, "choice", stated=False),
    # ``occurred_at`` of the event, otherwise its time, in milliseconds.
    FactField("time", "When it happened.", DATE, "time", stated=False),
    FactField("amount", "Money in minor units (cents); below zero it is a refund.", WHOLE, "integer"),
    FactField("currency", "ISO 4217.", STRING, "choice"),
    FactField("rating", "On the upstream's own scale, 0 to 100.", WHOLE, "integer"),
    FactField("text", "Free text of the consumer.", STRING, "text", published=False, personal=True),
    FactField("traits", "What else the upstream states of it.", {"bsonType": "object"}, "json"),
    # Of a retraction: its tombstone is never shown.
    FactField(
        "reason",
        "Why it was retracted.",
        STRING,
        None,
        published=False,
        personal=True,
        shown=False,
        stated=False,
    ),
)

#: The fields that a recorded fact copies from its event.
STATED = tuple(field.name for field in FACT_FIELDS if field.stated)
#: The fields of a fact in changes, before and after.
PUBLISHED = tuple(field.name for field in FACT_FIELDS if field.published)
#: Free texts, which may name any person.
PERSONAL = tuple(field.name for field in FACT_FIELDS if field.personal)
VALIDATORS: Mapping[str, Mapping[str, Any]] = {field.name: field.bson for field in FACT_FIELDS}
