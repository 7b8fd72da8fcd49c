"""The declaration of a collection: validator, indexes and guard, as data. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.contracts.bson_types import STRING


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A MongoDB collection that a service owns.

    ``validator`` is a JSON Schema (MongoDB's dialect), ``indexes`` are compound keys (field, 1 or -1). ``guard``
    names a field that differs whenever the document differs. A replacement or a deletion is refused (Stale) unless
    the stored document still has the value that was read. It is None where the position's epoch alone protects the
    document, because no other partition writes it. ``unique`` states that no two documents ever have the same
    value in the guard field, which makes writes cheaper. The indexes contain only documents with the values
    ``partial``: every list queries for these. ``complete_since`` is the revision from which documents have all
    that a rebuild would store: those of an earlier one are marked as incomplete until they are rebuilt. MongoDB
    deletes a document once the time in its field ``expires`` has passed.
    """

    validator: Mapping[str, Any]
    indexes: tuple[tuple[tuple[str, int], ...], ...] = ()
    guard: str | None = None
    unique: bool = False
    partial: Mapping[str, Any] = field(default_factory=dict)
    complete_since: int = 0
    expires: str | None = None

    @property
    def placing(self) -> tuple[str, ...]:
        """The fields that determine a document's place in the indexes, the most selective first."""
        names = (name.partition(".")[0] for keys in self.indexes for name, _ in reversed(keys))
        return tuple(dict.fromkeys(name for name in (*names, *self.partial) if name != "_id"))


Collections = Mapping[str, CollectionSpec]


def object_schema(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The schema of a closed object: these properties and ``_id``, no others."""
    return {
        "bsonType": "object",
        "required": ["_id", *required],
        "properties": {"_id": STRING, **required, **(optional or {})},
        "additionalProperties": False,
    }
